"""What every rank has for itself in the middle of an epoch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.engine.failures import FailedVideos
from slowfast_mlp.engine.progress import Progress


class RankState:
    """Batch norm's running statistics, the sums of the log's window and epoch, and the videos that failed.

    In the state of a rank they lie side by side as plain values and tensors on the CPU.
    """

    def __init__(self, model: nn.Module, progress: Progress, failed: FailedVideos):
        self.model = model
        self.progress = progress
        self.failed = failed

    def state_dict(self, *, in_epoch: bool) -> dict[str, Any]:
        """The state of this rank. At the end of an epoch all ranks have the same statistics, and no sums."""
        state = {"failed": self.failed.state_dict()}
        if in_epoch:
            buffers = {name: buffer.cpu().clone() for name, buffer in _float_buffers(self.model)}
            state |= {"buffers": buffers, "progress": self.progress.state_dict()}
        return state

    def load(self, states: Sequence[dict[str, Any]], *, rank: int, world_size: int) -> None:
        """Takes up the state of this rank among those of all that there were; of another number of ranks,
        the joined one.
        """
        if not states:
            return
        state = states[rank] if len(states) == world_size else joined(states, of_first=rank == 0)
        self.failed.load_state_dict(state["failed"])
        if "progress" in state:
            self.progress.load_state_dict(state["progress"])
            own = dict(_float_buffers(self.model))
            for name, value in state["buffers"].items():
                own[name].copy_(value)


def joined(states: Sequence[dict[str, Any]], *, of_first: bool) -> dict[str, Any]:
    """One state of several ranks' for another number of ranks: means of the statistics; what is summed goes
    to the first of the new ranks, nothing to the others.
    """
    times: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for failed in (state["failed"] for state in states if of_first):
        for path, count in failed["times"].items():
            times[path] = times.get(path, 0) + count
        reasons |= failed["reasons"]
    state: dict[str, Any] = {"failed": {"times": times, "reasons": reasons}}
    if "progress" in states[0]:
        progress = dict(states[0]["progress"])
        all_sums = [other["progress"]["sums"] for other in states if of_first]
        progress["sums"] = {name: sum(sums[name] for sums in all_sums) for name in progress["sums"]}
        state |= {"progress": progress, "buffers": mean_buffers(states)}
    return state


def mean_buffers(states: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """The means over ranks of batch norm's statistics, by name."""
    names = states[0].get("buffers", {})
    return {name: torch.stack([state["buffers"][name] for state in states]).mean(0) for name in names}


def _float_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, buffer) for name, buffer in model.named_buffers() if buffer.is_floating_point()]
