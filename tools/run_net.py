"""The door: python tools/run_net.py --cfg configs/... KEY VALUE ..."""

import shlex
import sys
from functools import partial

from slowfast_mlp.apps.cli import INTERRUPTED, TRY_AGAIN
from slowfast_mlp.apps.report.after_run import report_run
from slowfast_mlp.config.command_line import parse_arguments
from slowfast_mlp.config.load import dump_config, load_config
from slowfast_mlp.distributed.launch import is_launched, launch
from slowfast_mlp.errors import Stopped, UserError
from slowfast_mlp.run.main import run_all


def main(argv: list[str]) -> int:
    """Runs every config file in turn, or prints them; returns the exit status.

    0 done, 1 an error of a line, 75 stopped by a signal with everything saved (EX_TEMPFAIL: run it again).
    """
    try:
        arguments = parse_arguments(argv)
        # All are read before the first runs: a typo in the last should not show tomorrow.
        configs = [load_config(*pair) for pair in zip(arguments.configs, arguments.overrides)]
        folders = [config.output_dir for config in configs]
        if len(set(folders)) < len(folders):
            raise UserError(
                f"Several configs would write to one OUTPUT_DIR ({', '.join(folders)}); set it in each."
            )
        if arguments.print_config:
            sys.stdout.write("---\n".join(map(dump_config, configs)))
            return 0
        # Processes that a launcher started meet once and stay together; else every config starts its own.
        for group in [configs] if is_launched() else [[config] for config in configs]:
            launch(
                partial(run_all, group, quiet=arguments.quiet, report_run=report_run),
                num_gpus=group[0].num_gpus,
                num_shards=group[0].num_shards,
                shard_id=group[0].shard_id,
                init_method=arguments.init_method,
                timeout_sec=group[0].dist_timeout_sec,
            )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except Stopped as stop:
        command = shlex.join([sys.executable, *sys.orig_argv[1:]])
        sys.stderr.write(f"{stop}. The same command goes on: {command}\n")
        return TRY_AGAIN
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same command goes on from the last checkpoint\n")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
