"""A checkpoint of the authors' code, or of an image model, as one of ours."""

import hashlib

import torch

from slowfast_mlp.atomic_file import write_atomically
from slowfast_mlp.builders import model
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config


def convert(config: Config, source: str, target: str) -> tuple[checkpoint.LoadReport, str]:
    """Loads `source` into the model of the config, by the rules of TRAIN.CHECKPOINT_FILE_PATH, and writes
    `target` in our format: model_state and cfg.

    Returns what became of every entry, and the sha256 of the written file. Raises UserError.
    """
    torch.manual_seed(config.rng_seed)  # what the source lacks is drawn
    net = model.model_for(config.model, config.data)
    report = model.start_weights(config.model, net, source)
    contents = {"model_state": net.state_dict(), "cfg": dump_config(config)}
    write_atomically(target, lambda file: torch.save(contents, file))
    with open(target, "rb") as file:
        return report, hashlib.sha256(file.read()).hexdigest()
