"""A trained model as a file that runs without this package: ONNX, or a program of torch.export.

B batch, T time, S side of a clip, K classes.
"""

import copy
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_mlp.apps.predict.predictor import Predictor
from slowfast_mlp.apps.timing import Summary, measure, summarize
from slowfast_mlp.errors import UserError
from slowfast_mlp.kernels.fused import use_reference

logger = logging.getLogger(__name__)

ONNX, PROGRAM = ".onnx", ".pt2"
FACTS_FILE = "slowfast_mlp.json"  # of a program, next to its weights
CHECKED_BATCHES = (1, 3)  # two, so that a batch that became fixed is found
MAX_BATCH = 4096

Runner = Callable[[Tensor], Tensor]  # clips -> logits


class Deployed(nn.Module):
    """A model that takes pixels: uint8 [B, 3, T, S, S] of 0 to 255 -> logits [B, K].

    Pixels · `scale` + `shift`, [1, 3, 1, 1, 1] each, are what `model` was trained with.
    """

    def __init__(self, model: nn.Module, *, scale: Tensor, shift: Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, clips: Tensor) -> Tensor:
        """Pixels [B, 3, T, S, S] uint8 -> logits [B, K]; normalises as the training did."""
        return self.model(torch.addcmul(self.shift, clips.float(), self.scale))


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, and how it compares with the model: the largest difference of a logit over
    random clips, and milliseconds a batch of every way to run it.
    """

    path: str
    num_bytes: int
    max_difference: float
    latency_ms: dict[str, Summary]


def export(
    predictor: Predictor,
    path: str,
    *,
    max_difference: float,
    batch_size: int = 1,
    num_rounds: int = 5,
    compiled: bool = True,
) -> Exported:
    """Writes the model of a predictor as `path`, whose ending (.onnx or .pt2) tells the format, for batches
    of any size; what was written is read again and compared with the model.

    A file that differs by more than `max_difference` is not left behind. With `num_rounds` 0 no latency is
    measured; `compiled` adds torch.compile to those that are. Raises UserError.
    """
    clip = predictor.clip_format
    scale, shift = clip.scale_and_shift()
    own = copy.deepcopy(predictor.model)  # the predictor's stays on its device
    model = Deployed(own, scale=scale, shift=shift).cpu().eval()
    difference = write(
        model, path, clip_shape=clip.shape, facts=_facts(predictor), max_difference=max_difference
    )
    latency = {}
    if num_rounds:
        compiler = {"torch.compile": torch.compile(model)} if compiled else {}
        name = "onnxruntime" if path.endswith(ONNX) else "torch.export"
        workloads = {"eager": model, **compiler, name: runner(path)}
        latency = _latency(workloads, _pixels(batch_size, clip.shape), num_rounds)
    return Exported(
        path=path,
        num_bytes=Path(path).stat().st_size,
        max_difference=difference,
        latency_ms=latency,
    )


def write(
    model: Deployed, path: str, *, clip_shape: Sequence[int], facts: dict[str, Any], max_difference: float
) -> float:
    """Writes a model that takes clips [B, *clip_shape], on a CPU and in eval mode, with facts about it; the
    largest difference of a logit. Raises UserError, and leaves no file then.
    """
    target = Path(path)
    if target.suffix not in (ONNX, PROGRAM):
        raise UserError(f"{path}: end it in {ONNX} or {PROGRAM}, which tells the format.")
    if target.suffix == ONNX:
        _demand_onnx()
    part = target.with_name(f"{target.stem}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        writer = _write_onnx if target.suffix == ONNX else _write_program
        with use_reference():  # layers as they are written: whoever runs the file has quick forms of these
            writer(model, _pixels(2, clip_shape), part, facts)
        difference = _largest_difference(model, runner(str(part)), clip_shape)
        if not difference <= max_difference:  # also where it is no number
            raise UserError(
                f"{path}: its logits differ from the model's by {difference:.3g}, more than "
                f"--max-difference {max_difference:g}. It was not written."
            )
        part.replace(target)
        return difference
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}). Choose another place.") from error
    finally:
        if part.is_file():
            part.unlink()


def runner(path: str) -> Runner:
    """What an exported file does to clips on a CPU, with as many threads as torch has."""
    if path.endswith(PROGRAM):
        return torch.export.load(path).module()
    _demand_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda clips: torch.from_numpy(session.run(None, {"clips": clips.numpy()})[0])


def read_facts(path: str) -> dict[str, Any]:
    """What an exported file says of its clips and classes."""
    if path.endswith(PROGRAM):
        files = {FACTS_FILE: ""}
        torch.export.load(path, extra_files=files)
        return json.loads(files[FACTS_FILE])
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return json.loads(session.get_modelmeta().custom_metadata_map["slowfast_mlp"])


def _facts(predictor: Predictor) -> dict[str, Any]:
    """What somebody needs who has the file alone."""
    clip = predictor.clip_format
    return {
        "input": "clips: uint8 [batch, 3, time, height, width], pixels of 0 to 255",
        "output": "logits: float32 [batch, classes]",
        "clip_shape": list(clip.shape),
        "channel_order": clip.channel_order,
        "seconds_of_a_clip": clip.window_sec,
        "view": asdict(predictor.view_format),
        "label_names": list(predictor.label_names),
    }


def _write_program(model: nn.Module, clips: Tensor, path: Path, facts: dict[str, Any]) -> None:
    program = torch.export.export(model, (clips,), dynamic_shapes=_any_batch())
    torch.export.save(program, path, extra_files={FACTS_FILE: json.dumps(facts)})


def _write_onnx(model: nn.Module, clips: Tensor, path: Path, facts: dict[str, Any]) -> None:
    program = torch.onnx.export(
        model,
        (clips,),
        dynamo=True,
        dynamic_shapes=_any_batch(),
        input_names=["clips"],
        output_names=["logits"],
        verbose=False,
    )
    program.model.metadata_props["slowfast_mlp"] = json.dumps(facts)
    program.save(path, external_data=False)


def _any_batch() -> dict[str, Any]:
    return {"clips": {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}}


def _demand_onnx() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        needed = " ".join(missing)
        raise UserError(f"ONNX needs {needed}: pip install {needed}; or end the file in {PROGRAM}.")


def _pixels(batch_size: int, shape: Sequence[int]) -> Tensor:
    generator = torch.Generator().manual_seed(batch_size)
    return torch.randint(0, 256, (batch_size, *shape), dtype=torch.uint8, generator=generator)


def _largest_difference(model: nn.Module, run: Runner, shape: Sequence[int]) -> float:
    with torch.inference_mode():
        batches = [_pixels(size, shape) for size in CHECKED_BATCHES]
        return max((model(clips) - run(clips)).abs().max().item() for clips in batches)


def _latency(workloads: dict[str, Runner], clips: Tensor, num_rounds: int) -> dict[str, Summary]:
    logger.info("measuring %s", ", ".join(workloads))
    with torch.inference_mode():
        costs = measure(
            {name: lambda run=run: run(clips) for name, run in workloads.items()}, num_rounds=num_rounds
        )
    return {name: summarize([1000 * cost.wall_sec for cost in passed]) for name, passed in costs.items()}
