"""What can be done to the videos on the way into the lists: written anew, put into tar shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from slowfast_mlp.apps.prepare_data.reencode import SETTINGS_NAME, reencode_all
from slowfast_mlp.apps.prepare_data.tar_shards import SHARDS, demand_no_shards, file_itself, write_shards
from slowfast_mlp.data.video_io.encode import Encoding
from slowfast_mlp.errors import UserError

REENCODED = "videos"  # folder of --out


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
    is there already is kept. Raises UserError, also where videos that were written anew, or shards, would be
    left for the originals.
    """
    names = list(dict.fromkeys(names))
    treated = Treated(source, {name: name for name in names}, {})
    if treatment.encoding:
        new_names, failures = reencode_all(
            names,
            source=source,
            target=out / REENCODED,
            encoding=treatment.encoding,
            num_processes=treatment.num_processes,
            timeout_sec=treatment.timeout_sec,
        )
        treated = Treated(out / REENCODED, new_names, failures)
    elif (out / REENCODED / SETTINGS_NAME).exists():
        raise UserError(
            f"{out / REENCODED} holds videos that an earlier run wrote anew, and its lists lead there; "
            "without --reencode they would lead to the originals. Add --reencode, choose another --out, or "
            f"remove {out / REENCODED}."
        )
    if not treatment.videos_per_shard:
        demand_no_shards(out / SHARDS)
    else:
        places = write_shards(
            treated.new_names.values(),
            files_of=partial(file_itself, folder=treated.folder),
            target=out / SHARDS,
            num_per_shard=treatment.videos_per_shard,
            num_processes=treatment.num_processes,
            timeout_sec=treatment.timeout_sec,
        )
        in_shards = {old: places[new] for old, new in treated.new_names.items()}
        treated = Treated(out / SHARDS, in_shards, treated.failures)
    return treated
