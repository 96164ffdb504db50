"""What is known of every process before the first step: a table, and what is wrong with it."""

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

# What should be the same for all processes, and is told apart by rank where it is not.
VERSIONS = ("torch", "cuda", "python", "slowfast_mlp")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One process. `device_id` tells the hardware apart where two processes must not share it."""

    rank: int
    host: str
    pid: int
    device: str
    device_id: str
    torch: str
    cuda: str
    python: str
    slowfast_mlp: str


def row_of(rank: int, device: torch.device) -> Row:
    """This process."""
    name, device_id = device.type, ""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, device_id = f"{device} {properties.name}", str(properties.uuid)
    elif device.type != "cpu":
        device_id = str(device)
    return Row(
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


def demand_own_devices(rows: Sequence[Row]) -> None:
    """Raises UserError if two processes have one GPU."""
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


def table(rows: Sequence[Row]) -> str:
    """A line per process, in columns, without the GPU's UUID."""
    names = [field.name for field in fields(Row) if field.name != "device_id"]
    cells = [[str(getattr(row, name)) for name in names] for row in rows]
    return tabulate([names, *cells], tablefmt="plain", disable_numparse=True)


def differing_versions(rows: Sequence[Row]) -> list[str]:
    """A line for each of VERSIONS that is not the same everywhere, with the ranks that have each."""
    lines = []
    for name in VERSIONS:
        ranks = defaultdict(list)
        for row in rows:
            ranks[getattr(row, name)].append(row.rank)
        if len(ranks) > 1:
            owners = (f"{version} on ranks {', '.join(map(str, who))}" for version, who in ranks.items())
            lines.append(f"the processes have different versions of {name}: {'; '.join(owners)}")
    return lines
