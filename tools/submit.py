"""Submits a training to SLURM by way of submitit (pip install submitit):

python tools/submit.py --nodes 2 --gpus-per-node 8 -- --cfg configs/... KEY VALUE ...
"""

import argparse
import sys
from pathlib import Path

from slowfast_mlp.apps.cli import make_parser, run_tool, say, written_to
from slowfast_mlp.apps.slurm_submit import submit

EXAMPLE = """example:
  python tools/submit.py --nodes 2 --gpus-per-node 8 -- \\
      --cfg configs/Kinetics/MORPHMLP_S_16x4.yaml DATA.PATH_TO_DATA_DIR /data/k400

docs/multi_node.md says what it does with signals, requeues and the end of its time."""
RUN_NET = Path(__file__).resolve().with_name("run_net.py")


def main(argv: list[str]) -> int:
    """Submits, and writes the number of the job; returns the exit status."""
    parser = make_parser(
        "submit.py",
        usage="submit.py [flags] -- --cfg FILE KEY VALUE ...",
        description="Submits a training to SLURM by way of submitit (pip install submitit).",
        examples=EXAMPLE,
    )
    parser.add_argument(
        "--folder", default="output/slurm", help="what the tasks print; all nodes must see it"
    )
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--gpus-per-node", type=int, default=8, help="also the tasks of a node")
    parser.add_argument("--tasks-per-node", type=int, help="where there are no GPUs")
    parser.add_argument("--cpus-per-task", type=int, default=8, help="for a process and its decoding workers")
    parser.add_argument(
        "--minutes", type=int, default=24 * 60, help="of a piece; the run goes on in the next"
    )
    parser.add_argument("--partition")
    parser.add_argument("--max-restarts", type=int, default=100, help="pieces of the job after its first")
    parser.add_argument("words", nargs="+", help="the command line of run_net.py")
    arguments = parser.parse_args(argv)
    return run_tool(lambda: _submit(arguments), wrong=1)


def _submit(arguments: argparse.Namespace) -> int:
    with written_to(Path(arguments.folder), "--folder"):
        job = submit(
            str(RUN_NET),
            arguments.words,
            folder=arguments.folder,
            nodes=arguments.nodes,
            tasks_per_node=arguments.tasks_per_node or arguments.gpus_per_node or 1,
            gpus_per_node=arguments.gpus_per_node,
            cpus_per_task=arguments.cpus_per_task,
            minutes=arguments.minutes,
            partition=arguments.partition,
            max_restarts=arguments.max_restarts,
        )
    say(str(job))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
