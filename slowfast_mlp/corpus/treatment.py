"""What can be done to the videos on the way into the lists: written anew, put into tar shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from slowfast_mlp.corpus.processes import GivenUp, run_jobs
from slowfast_mlp.corpus.progress import CountProgress
from slowfast_mlp.corpus.reencode import reencode_all
from slowfast_mlp.data.encode import Encoding
from slowfast_mlp.data.shards import sizes_of_members, write_shard
from slowfast_mlp.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """How videos are treated: `encoding` None leaves them as they are, `videos_per_shard` 0 out of tars."""

    encoding: Encoding | None = None
    videos_per_shard: int = 0
    num_processes: int = 1
    timeout_sec: float = 600.0


class Treated(NamedTuple):
    """Where the videos are now: old name -> new, both from their folders; and why some are not."""

    folder: Path
    new_names: dict[str, str]
    failures: dict[str, str]


def treat(names: Sequence[str], *, source: Path, out: Path, treatment: Treatment) -> Treated:
    """Writes `source`/name for every name into out/videos, out/shards or both, as the treatment says; what
    is there already is kept. Raises UserError.
    """
    names = list(dict.fromkeys(names))
    treated = Treated(source, {name: name for name in names}, {})
    if treatment.encoding:
        new_names, failures = reencode_all(
            names,
            source=source,
            target=out / "videos",
            encoding=treatment.encoding,
            num_processes=treatment.num_processes,
            timeout_sec=treatment.timeout_sec,
        )
        treated = Treated(out / "videos", new_names, failures)
    if treatment.videos_per_shard:
        places = _write_shards(list(treated.new_names.values()), treated.folder, out / "shards", treatment)
        in_shards = {old: places[new] for old, new in treated.new_names.items()}
        treated = Treated(out / "shards", in_shards, treated.failures)
    return treated


def _write_shards(names: list[str], source: Path, target: Path, treatment: Treatment) -> dict[str, str]:
    """Writes shards of the files in the order given; returns the path of every name, from `target`."""
    target.mkdir(parents=True, exist_ok=True)
    size = treatment.videos_per_shard
    jobs, places = [], {}
    for number, start in enumerate(range(0, len(names), size)):
        shard, members = f"shard-{number:05d}.tar", names[start : start + size]
        jobs.append((target / shard, [(name, source / name) for name in members]))
        places |= {name: f"{shard}/{name}" for name in members}
    progress = CountProgress("shards written", len(jobs))
    timeout_sec = treatment.timeout_sec * size
    for position, result in run_jobs(
        _write_one, jobs, num_processes=treatment.num_processes, timeout_sec=timeout_sec
    ):
        if isinstance(result, GivenUp):
            raise UserError(f"{jobs[position][0]} cannot be written: {result.kind}, {result.reason}.")
        progress.add(failed=False)
    return places


def _write_one(job: tuple[Path, list[tuple[str, Path]]]) -> None:
    path, members = job
    try:
        if not _holds(path, members):
            write_shard(path, members)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be written: {error}") from error


def _holds(path: Path, members: list[tuple[str, Path]]) -> bool:
    """Whether the shard and its index are there, with just these names and sizes."""
    return sizes_of_members(path) == [(name, file.stat().st_size) for name, file in members]
