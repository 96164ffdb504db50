"""A checkpoint of the authors' code, or of an image model, as one of ours."""

import hashlib

import torch

from slowfast_mlp.atomic_file import atomic_write, explain_write_errors
from slowfast_mlp.builders import model
from slowfast_mlp.checkpoint.weights import LoadReport
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config


def convert(config: Config, source: str, target: str) -> tuple[LoadReport, str]:
    """Loads `source` into the model of the config, by the rules of TRAIN.CHECKPOINT_FILE_PATH, and writes
    `target` in our format: model_state and cfg.

    Returns what became of every entry, and the sha256 of the written file. Raises UserError.
    """
    torch.manual_seed(config.rng_seed)  # what the source lacks is drawn
    net = model.model_for(config.model, config.data)
    report = model.start_weights(config.model, net, source)
    contents = {"model_state": net.state_dict(), "cfg": dump_config(config)}
    with explain_write_errors(target), atomic_write(target) as temporary, temporary.open("wb") as file:
        torch.save(contents, file)
    with open(target, "rb") as file:
        return report, hashlib.sha256(file.read()).hexdigest()
