"""Weights from a checkpoint of this package or another codebase, loaded with a report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from slowfast_mlp.errors import UserError

EMA_KEY = "ema_state"
# Keys of the weights in files of PySlowFast, its forks, timm and the image models' code.
WEIGHT_KEYS = ("model_state", "state_dict_ema", "state_dict", "model")
NUM_NAMES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Names of loaded, missing and unexpected entries when weights are loaded into a model."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]  # in the model only
    unexpected: tuple[str, ...]  # in the file only
    misshapen: tuple[str, ...]  # in both, with different shapes

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} entries loaded"]
        for kind in ("missing", "unexpected", "misshapen"):
            if names := getattr(self, kind):
                shown = ", ".join(names[:NUM_NAMES_SHOWN]) + (", ..." if len(names) > NUM_NAMES_SHOWN else "")
                parts.append(f"{len(names)} {kind} ({shown})")
        return "; ".join(parts)


def weights_of(contents: dict[str, Any], path: str) -> dict[str, Tensor]:
    """The weights in the contents of a file, under any of WEIGHT_KEYS or none, without `module.` prefixes.

    Of a file with averaged weights (TRAIN.EMA_DECAY) it returns the average. Raises UserError if there are
    no weights.
    """
    if EMA_KEY in contents:
        contents = {"model_state": contents[EMA_KEY]["weights"]}
    for key in WEIGHT_KEYS:
        if isinstance(contents.get(key), Mapping):
            contents = dict(contents[key])
            break
    weights = {
        name.removeprefix("module."): value for name, value in contents.items() if isinstance(value, Tensor)
    }
    if not weights:
        raise UserError(f"{path} holds no weights; its keys are {', '.join(map(str, list(contents)[:10]))}.")
    return weights


def label_names_of(contents: dict[str, Any]) -> tuple[str, ...]:
    """Class names in the order of the outputs; empty if the file has none."""
    return tuple(contents.get("label_names") or ())


def load_weights(
    model: nn.Module, weights: dict[str, Tensor], *, source: str, may_miss: tuple[str, ...] = ()
) -> LoadReport:
    """Copies weights into the model and reports every entry.

    Raises UserError, before copying anything, unless all fit. Entries whose names contain one of `may_miss`
    may be missing and keep their values.
    """
    own = model.state_dict()
    # Older files lack the counters of batch norm, which no result depends on.
    missing = tuple(n for n in own if n not in weights and not n.endswith("num_batches_tracked"))
    report = LoadReport(
        loaded=tuple(n for n in own if n in weights and own[n].shape == weights[n].shape),
        missing=missing,
        unexpected=tuple(n for n in weights if n not in own),
        misshapen=tuple(n for n in own if n in weights and own[n].shape != weights[n].shape),
    )
    not_allowed = [n for n in missing if not any(part in n for part in may_miss)]
    if not_allowed or report.unexpected or report.misshapen:
        raise UserError(
            f"{source} does not fit this model: {report}. Set MODEL.NAME, MODEL.VARIANT, MODEL.ARGS, "
            "MODEL.NUM_CLASSES and DATA.NUM_FRAMES to what it was trained with."
        )
    model.load_state_dict({name: weights[name] for name in report.loaded}, strict=False)
    return report


def check_finite(model: nn.Module) -> None:
    """Raises UserError if a weight is not finite: resuming from such a checkpoint could not work."""
    broken = [name for name, value in model.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise UserError(
            f"{len(broken)} weights are no longer finite ({broken[0]}, ...), so no checkpoint is written. "
            "Lower SOLVER.BASE_LR, set SOLVER.CLIP_GRAD_L2NORM, or try TRAIN.PRECISION fp32."
        )
