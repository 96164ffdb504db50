"""Facts of every process before the first step: a table, and checks of devices and versions."""

import os
import platform
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib import metadata

import torch
from tabulate import tabulate

from slowfast_mlp.errors import UserError

# Versions that should be the same on all ranks.
VERSIONS = ("torch", "cuda", "python", "slowfast_mlp")


@dataclass(frozen=True, kw_only=True)
class RankInfo:
    """One process. `device_id` identifies hardware that two processes must not share; empty for a CPU."""

    rank: int
    host: str
    pid: int
    device: str
    device_id: str
    torch: str
    cuda: str
    python: str
    slowfast_mlp: str


def rank_info(rank: int, device: torch.device) -> RankInfo:
    """The facts of this process."""
    name, device_id = device.type, ""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, device_id = f"{device} {properties.name}", str(properties.uuid)
    elif device.type != "cpu":
        device_id = str(device)
    return RankInfo(
        rank=rank,
        host=socket.gethostname(),
        pid=os.getpid(),
        device=name,
        device_id=device_id,
        torch=str(torch.version.__version__),
        cuda=torch.version.cuda or "none",
        python=platform.python_version(),
        slowfast_mlp=_own_version(),
    )


def _own_version() -> str:
    try:
        return metadata.version("slowfast_mlp")
    except metadata.PackageNotFoundError:
        return "not installed"


def check_own_devices(rows: Sequence[RankInfo]) -> None:
    """Raises UserError if two processes share a GPU."""
    users = defaultdict(list)
    for row in rows:
        if row.device_id:
            users[row.host, row.device_id].append(row)
    for (host, _), (first, *others) in users.items():
        if others:
            raise UserError(
                f"Ranks {first.rank} and {others[0].rank} both have {first.device} of {host}. Start as many "
                "processes on a machine as it has GPUs, one for each; under SLURM --ntasks-per-node and "
                "--gpus-per-node are then equal."
            )


def table(rows: Sequence[RankInfo]) -> str:
    """A line per process, in columns, without the GPU's UUID."""
    names = [field.name for field in fields(RankInfo) if field.name != "device_id"]
    cells = [[str(getattr(row, name)) for name in names] for row in rows]
    return tabulate([names, *cells], tablefmt="plain", disable_numparse=True)


def differing_versions(rows: Sequence[RankInfo]) -> list[str]:
    """A line for each of VERSIONS that differs between ranks, with the ranks of each version."""
    lines = []
    for name in VERSIONS:
        ranks = defaultdict(list)
        for row in rows:
            ranks[getattr(row, name)].append(row.rank)
        if len(ranks) > 1:
            owners = (f"{version} on ranks {', '.join(map(str, who))}" for version, who in ranks.items())
            lines.append(f"the processes have different versions of {name}: {'; '.join(owners)}")
    return lines
