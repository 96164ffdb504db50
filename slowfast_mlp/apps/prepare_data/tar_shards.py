"""Files put into tar shards, in processes; what is there already is kept."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from slowfast_mlp.apps.progress_bar import ProgressBar
from slowfast_mlp.apps.worker_pool import JobFailure, run_jobs
from slowfast_mlp.data.tar_files import sizes_of_members, write_shard
from slowfast_mlp.errors import UserError

SHARDS = "shards"  # folder of --out
# The files of a name: what each is called in the tar, and where it is. Must be picklable.
ListFiles = Callable[[str], Iterable[tuple[str, Path]]]


def write_shards(
    names: Iterable[str],
    *,
    list_files: ListFiles,
    target: Path,
    num_per_shard: int,
    num_processes: int,
    timeout_sec: float,
) -> dict[str, str]:
    """Writes the files of `num_per_shard` names each into `target`/shard-00000.tar and on, in their order.

    Returns the path of every name, from `target`. A shard that holds just these names and sizes is kept;
    `timeout_sec` is that of one name. Raises UserError.
    """
    target.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(names))
    jobs, places = [], {}
    for number, start in enumerate(range(0, len(names), num_per_shard)):
        shard, inside = f"shard-{number:05d}.tar", names[start : start + num_per_shard]
        jobs.append((target / shard, inside))
        places |= {name: f"{shard}/{name}" for name in inside}
    _check_no_other_shards(target, {path for path, _ in jobs})
    progress = ProgressBar("shards written", len(jobs))
    write = partial(_write_one, list_files=list_files)
    timeout_sec = timeout_sec * num_per_shard
    for position, result in run_jobs(write, jobs, num_processes=num_processes, timeout_sec=timeout_sec):
        if isinstance(result, JobFailure):
            raise UserError(f"{jobs[position][0]} cannot be written: {result.kind}, {result.reason}.")
        progress.add(failed=False)
    return places


def check_no_shards(folder: Path) -> None:
    """Refuses to leave the shards of an earlier run, whose lists would be written over. Raises UserError."""
    if any(folder.glob("shard-*.tar")):
        raise UserError(
            f"{folder} holds tar shards of an earlier run, and its lists lead there; without --shards they "
            f"would lead to the files themselves. Add --shards, choose another --out, or remove {folder}."
        )


def single_file(name: str, *, folder: Path) -> list[tuple[str, Path]]:
    """ListFiles for names of files in the folder."""
    return [(name, folder / name)]


def _write_one(job: tuple[Path, list[str]], *, list_files: ListFiles) -> None:
    path, names = job
    try:
        files = [pair for name in names for pair in list_files(name)]
        if sizes_of_members(path) != [(name, file.stat().st_size) for name, file in files]:
            write_shard(path, files)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def _check_no_other_shards(target: Path, ours: set[Path]) -> None:
    """Refuses a folder with shards of a run that had more of them: pictures are read from all."""
    others = sorted(set(target.glob("shard-*.tar")) - ours)
    if others:
        raise UserError(
            f"{others[0]} is of an earlier run that wrote more shards; remove it, or choose another --out."
        )
