"""A program: a run in two processes on the CPU, for which run_net has no setting."""

import sys
from functools import partial

from slowfast_mlp.config.command_line import parse_arguments
from slowfast_mlp.config.load import load_config
from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.errors import Stopped
from slowfast_mlp.run.main import run

if __name__ == "__main__":
    arguments = parse_arguments(sys.argv[1:])
    config = load_config(arguments.configs[0], arguments.overrides[0])
    try:
        launch(partial(run, config), num_gpus=0, processes=2)
    except Stopped as stop:
        sys.stderr.write(f"{stop}\n")
        sys.exit(75)
