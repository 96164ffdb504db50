"""State that differs between ranks during an epoch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.log.decode_failures import FailedVideos
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress


class RankState:
    """BN running statistics, the sums of the log's window and epoch, failed videos, and the number of steps
    skipped in a row.

    `nets` are the models with statistics by their key in the state: the trained model ("buffers"), and the
    averaged one if there is one. The state holds plain values and tensors on the CPU.
    """

    def __init__(
        self, nets: Mapping[str, nn.Module], progress: Progress, failed: FailedVideos, skipped: SkippedSteps
    ):
        self.nets = nets
        self.progress = progress
        self.failed = failed
        self.skipped = skipped

    def state_dict(self, *, in_epoch: bool) -> dict[str, Any]:
        """The state of this rank. At the end of an epoch all ranks have the same statistics, left out."""
        state = {"failed": self.failed.state_dict(), "skipped": self.skipped.state_dict()}
        if in_epoch:
            state["progress"] = self.progress.state_dict()
            for key, net in self.nets.items():
                state[key] = {name: buffer.cpu().clone() for name, buffer in _float_buffers(net)}
        return state

    def load(self, states: Sequence[dict[str, Any]], *, rank: int, world_size: int) -> None:
        """Restores the state of this rank from those of all ranks, merged if their number was another."""
        if not states:
            return
        same = len(states) == world_size
        state = states[rank] if same else merge_states(states, self.nets, of_first=rank == 0)
        self.failed.load_state_dict(state["failed"])
        self.skipped.load_state_dict(state["skipped"])
        if "progress" in state:
            self.progress.load_state_dict(state["progress"])
        for key, net in self.nets.items():
            own = dict(_float_buffers(net))
            for name, value in state.get(key, {}).items():
                own[name].copy_(value)


def merge_states(states: Sequence[dict[str, Any]], keys: Iterable[str], *, of_first: bool) -> dict[str, Any]:
    """Merges the states of all ranks for another number of ranks: the means of the statistics under `keys`,
    and the sums for the first of the new ranks only. State that all ranks share is kept.
    """
    times: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for failed in (state["failed"] for state in states if of_first):
        for path, count in failed["times"].items():
            times[path] = times.get(path, 0) + count
        reasons |= failed["reasons"]
    state: dict[str, Any] = {"failed": {"times": times, "reasons": reasons}, "skipped": states[0]["skipped"]}
    if "progress" in states[0]:
        progress = dict(states[0]["progress"])
        all_sums = [other["progress"]["sums"] for other in states if of_first]
        progress["sums"] = {name: sum(sums[name] for sums in all_sums) for name in progress["sums"]}
        state |= {"progress": progress, **{key: mean_buffers(states, key) for key in keys}}
    return state


def mean_buffers(states: Sequence[dict[str, Any]], key: str) -> dict[str, Tensor]:
    """Means over ranks of the statistics under `key`, by name; empty if the ranks have none."""
    names = states[0].get(key, {})
    return {name: torch.stack([state[key][name] for state in states]).mean(0) for name in names}


def _float_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [(name, buffer) for name, buffer in model.named_buffers() if buffer.is_floating_point()]
