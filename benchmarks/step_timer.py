"""Where the time of a training step goes, noted from outside of the loop."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.apps import timing
from slowfast_mlp.data.batch import Views

# The parts of a step, in order: each ends where the mark of its name is set.
PARTS = ("data wait", "to device", "targets, mix", "forward", "loss, backward", "optimiser", "sums")


class StepTimer:
    """Moments of the steps of a training loop, noted from outside: on a GPU by events in its queue, so that
    nothing waits.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device):
        self._device = device
        self._events: list[tuple[str, Any]] = []
        model.register_forward_pre_hook(lambda *_: self.mark("targets, mix"))
        model.register_forward_hook(lambda *_: self.mark("forward"))
        optimizer.register_step_pre_hook(lambda *_: self.mark("loss, backward"))
        optimizer.register_step_post_hook(lambda *_: self.mark("optimiser"))
        self._is_enabled = False

    def mark(self, part: str) -> None:
        """Notes that a part has ended."""
        if not self._is_enabled:
            return
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append((part, event))
        else:
            self._events.append((part, timing.now()))

    def wrap_loader(self, batches: Iterable[Views]) -> Iterator[Views]:
        """The batches, with marks where the loop gets one and where it asks for the next; forgets what was
        noted before.
        """
        self._events, self._is_enabled = [], True
        self.mark("sums")
        for batch in batches:
            self.mark("data wait")
            yield batch
            self.mark("sums")
        self._is_enabled = False

    def wrap(self, part: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The function, with a mark when it returns."""

        def wrapped(*args: Any) -> Tensor:
            result = function(*args)
            self.mark(part)
            return result

        return wrapped

    def seconds(self) -> dict[str, float]:
        """Seconds of every part, over all steps."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        parts = dict.fromkeys(PARTS, 0.0)
        for (_, before), (part, at) in zip(self._events, self._events[1:]):
            parts[part] += before.elapsed_time(at) / 1000 if self._device.type == "cuda" else at - before
        return parts
