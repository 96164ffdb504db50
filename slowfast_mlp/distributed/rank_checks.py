"""Collective checks around training: preflight, watchdog, rank-0 errors raised on all ranks."""

import logging
import socket
from collections.abc import Callable
from typing import Any

import torch

from slowfast_mlp.distributed import rendezvous
from slowfast_mlp.distributed.preflight import differing_versions, rank_info, table
from slowfast_mlp.distributed.process_group import gather_objects, rank, sum_over_ranks, world_size
from slowfast_mlp.distributed.watchdog import Watchdog
from slowfast_mlp.errors import UserError

# If the store takes longer to answer, rank 0 is gone.
STORE_TIMEOUT_SEC = 20.0

logger = logging.getLogger(__name__)


def watchdog(limit_sec: float | None) -> Watchdog:
    """The watchdog of this rank."""
    alone = world_size() == 1
    store = None if alone else rendezvous.open_store(serve=False, timeout_sec=STORE_TIMEOUT_SEC)
    host = socket.gethostname()
    return Watchdog(rank=rank(), world_size=world_size(), host=host, limit_sec=limit_sec, store=store)


def preflight(where: torch.device) -> str:
    """Runs one all-reduce over all ranks and returns the table of ranks, empty for one process.

    Warns if versions differ. Raises RuntimeError if the sum is wrong.
    """
    if world_size() == 1:
        return ""
    total = sum_over_ranks(torch.tensor([rank() + 1.0], device=where)).item()
    expected = world_size() * (world_size() + 1) / 2
    if total != expected:
        raise RuntimeError(
            f"The first all-reduce over {world_size()} ranks gave {total:g}, not {expected:g}."
        )
    rows = gather_objects(rank_info(rank(), where))
    for line in differing_versions(rows) if rank() == 0 else []:
        logger.warning(line)
    return table(rows)


def rank_zero_only(function: Callable[[], Any]) -> Any:
    """Calls `function` on rank 0; its result is None elsewhere, and its UserError is raised on every rank."""
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
