"""What the ranks of a run do together beside training: check each other, watch each other, decide as one."""

import logging
import socket
from collections.abc import Callable
from typing import Any

import torch

from slowfast_mlp.distributed import rendezvous
from slowfast_mlp.distributed.preflight import differing_versions, row_of, table
from slowfast_mlp.distributed.process_group import gather_objects, rank, sum_over_ranks, world_size
from slowfast_mlp.distributed.watchdog import Watchdog
from slowfast_mlp.errors import UserError

# An answer of the store takes no longer, or rank 0 is gone.
STORE_TIMEOUT_SEC = 20.0

logger = logging.getLogger(__name__)


def watchdog(limit_sec: float | None) -> Watchdog:
    """The watchdog of this rank, which knows of the others."""
    alone = world_size() == 1
    store = None if alone else rendezvous.open_store(serve=False, timeout_sec=STORE_TIMEOUT_SEC)
    host = socket.gethostname()
    return Watchdog(rank=rank(), world_size=world_size(), host=host, limit_sec=limit_sec, store=store)


def preflight(where: torch.device) -> str:
    """One all-reduce over all ranks, and the table of them. Empty for one process.

    Warns of versions that differ. Raises RuntimeError if the sum is wrong.
    """
    if world_size() == 1:
        return ""
    total = sum_over_ranks(torch.tensor([rank() + 1.0], device=where)).item()
    expected = world_size() * (world_size() + 1) / 2
    if total != expected:
        raise RuntimeError(
            f"The first all-reduce over {world_size()} ranks gave {total:g}, not {expected:g}."
        )
    rows = gather_objects(row_of(rank(), where))
    for line in differing_versions(rows) if rank() == 0 else []:
        logger.warning(line)
    return table(rows)


def only_on_rank_0(function: Callable[[], Any]) -> Any:
    """What `function` gives on rank 0, None on the others; a UserError of it is raised on every rank."""
    result, refusal = None, None
    if rank() == 0:
        try:
            result = function()
        except UserError as error:
            refusal = str(error)
    refusal = gather_objects(refusal)[0]
    if refusal is not None:
        raise UserError(refusal)
    return result
