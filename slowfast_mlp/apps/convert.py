"""A checkpoint of the authors' code, or of an image model, as one of ours."""

import hashlib

import torch

from slowfast_mlp.atomic_file import atomic_write, explain_write_errors
from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.checkpoint.weights import LoadReport
from slowfast_mlp.config.schema import Data, Model


def convert(
    source: str, target: str, *, model: Model, data: Data, config_text: str, seed: int
) -> tuple[LoadReport, str]:
    """Loads `source` into a model, by the rules of TRAIN.CHECKPOINT_FILE_PATH, and writes
    `target` in our format: model_state and cfg.

    Returns what became of every entry, and the sha256 of the written file. Raises UserError.
    """
    torch.manual_seed(seed)  # what the source lacks is drawn
    net = model_builder.model_for(model, data)
    report = model_builder.start_weights(model, net, source)
    contents = {"model_state": net.state_dict(), "cfg": config_text}
    with explain_write_errors(target), atomic_write(target) as temporary, temporary.open("wb") as file:
        torch.save(contents, file)
    with open(target, "rb") as file:
        return report, hashlib.sha256(file.read()).hexdigest()
