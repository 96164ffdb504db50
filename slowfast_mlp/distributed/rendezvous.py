"""Rendezvous of the processes of a run: a store at MASTER_ADDR:MASTER_PORT, next to the process group.

A collective can only wait; the store tells which ranks are missing, and which failed first.
"""

import json
import os
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from urllib.parse import urlparse

import torch.distributed as dist

from slowfast_mlp.distributed.preflight import RankInfo, check_own_devices
from slowfast_mlp.errors import UserError

Store = dist.Store
# Raised by an operation on the store if the store is gone or does not answer.
STORE_ERRORS = (dist.DistError, RuntimeError)
POLL_SEC = 0.2
# Rank 0 holds the store, and stays this long so that the others can read why the run ends.
LINGER_SEC = 5.0
MAX_RANKS_NAMED = 16


class EndedByOther(UserError):
    """This rank ends because another failed first, which reports the reason."""


def set_address(init_method: str) -> None:
    """Sets MASTER_ADDR and MASTER_PORT from tcp://HOST:PORT. Raises UserError."""
    place = urlparse(init_method)
    if place.scheme != "tcp" or not place.hostname or not place.port:
        raise UserError(f"--init_method {init_method!r}: give tcp://FIRST_MACHINE:PORT.")
    os.environ.update(MASTER_ADDR=place.hostname, MASTER_PORT=str(place.port))


def open_store(*, serve: bool, timeout_sec: float) -> Store:
    """Opens a new connection to the store at MASTER_ADDR:MASTER_PORT; with `serve` this process holds the
    store, unless torchrun does.

    Raises UserError if the store cannot be reached within `timeout_sec`, or cannot be held.
    """
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE are set, but not {' and '.join(missing)}: set the name of rank 0's machine "
            "and a free port of it, or start with torchrun or srun, which do."
        )
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    serve = serve and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = dist.TCPStore(
            host,
            port,
            is_master=serve,
            timeout=timedelta(seconds=timeout_sec),
            wait_for_workers=False,
            multi_tenant=serve,
        )
    except (dist.DistError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        if serve:
            raise UserError(
                f"Rank 0 cannot open MASTER_PORT {port} on {host} ({reason}). If another program has the "
                "port, set MASTER_PORT to a free one; if this machine is not MASTER_ADDR, correct that."
            ) from error
        raise UserError(
            f"Rank 0 cannot be reached at MASTER_ADDR {host}, MASTER_PORT {port} within {timeout_sec:g} s "
            f"({reason}). Look at the output of rank 0; check that this machine knows the name and that no "
            "firewall closes the port."
        ) from error
    # After a restart by torchrun, entries of the attempt before must not be read.
    return dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def wait_for_ranks(store: Store, info: RankInfo, *, world_size: int, timeout_sec: float) -> None:
    """Returns when every rank has arrived with its own device.

    Raises UserError on rank 0 and EndedByOther on the others if a rank does not arrive within `timeout_sec`,
    or two ranks share a device.
    """
    store.set(f"roll/{info.rank}", json.dumps(asdict(info)))
    if info.rank == 0:
        verdict = _find_problem(store, world_size, timeout_sec)
        store.set("verdict", verdict)
        if verdict:
            _wait_until(lambda: store.add("heard", 0) >= store.add("present", 0), LINGER_SEC)
            raise UserError(verdict)
        return
    store.add("present", 1)
    try:
        store.wait(["verdict"], timedelta(seconds=timeout_sec + LINGER_SEC))
        verdict = store.get("verdict").decode()
        store.add("heard", 1)
    except STORE_ERRORS as error:
        raise UserError(
            f"Rank {info.rank} on {info.host} lost rank 0 at the start. Look at the output of rank 0."
        ) from error
    if verdict:
        raise EndedByOther(f"rank {info.rank} on {info.host} ends with rank 0, which found: {verdict}")


def _find_problem(store: Store, world_size: int, timeout_sec: float) -> str:
    """Why the ranks cannot start; empty if they can."""
    absent = set(range(world_size))

    def all_arrived() -> bool:
        absent.difference_update([rank for rank in absent if store.check([f"roll/{rank}"])])
        return not absent

    _wait_until(all_arrived, timeout_sec)
    present = [rank for rank in range(world_size) if rank not in absent]
    infos = [RankInfo(**json.loads(store.get(f"roll/{rank}"))) for rank in present]
    if absent:
        hosts = sorted({info.host for info in infos})
        return (
            f"{len(absent)} of {world_size} processes did not come within DIST_TIMEOUT_SEC {timeout_sec:g}: "
            f"ranks {_format_ranks(sorted(absent))}. {len(infos)} came, from {', '.join(hosts)}. "
            "Look at the output of those that did not; if there is none, fewer were started than planned."
        )
    try:
        check_own_devices(infos)
    except UserError as error:
        return str(error)
    return ""


def _format_ranks(ranks: list[int]) -> str:
    more = len(ranks) - MAX_RANKS_NAMED
    return ", ".join(map(str, ranks[:MAX_RANKS_NAMED])) + (f" and {more} more" if more > 0 else "")


def _wait_until(is_so: Callable[[], bool], seconds: float) -> None:
    """Returns as soon as `is_so()`, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(POLL_SEC)


def claim_failure(store: Store, what: str) -> str | None:
    """Records `what` as the first failure of the run, or returns the failure that was recorded before."""
    try:
        if store.add("num_failures", 1) == 1:
            store.set("failure", what)
            return None
        store.wait(["failure"], timedelta(seconds=LINGER_SEC))
        return store.get("failure").decode()
    except STORE_ERRORS:
        return None  # rank 0 is gone with the store, so this rank reports its own error


def first_failure(store: Store) -> str | None:
    """The failure that `claim_failure` recorded, if any."""
    return store.get("failure").decode() if store.check(["failure"]) else None


def ended_by_other(store: Store, rank: int, error: BaseException) -> EndedByOther | None:
    """Records `error` of this rank if it is the first failure of the run, and returns None; otherwise returns
    the error to raise instead.
    """
    here = f"rank {rank} on {socket.gethostname()}"
    what = traceback.format_exception_only(error)[-1].strip()
    first = claim_failure(store, f"{here} failed: {what}")
    return EndedByOther(f"{here} ends because {first} (here: {what})") if first else None
