"""What can be done to the videos on the way into the lists: re-encoded, put into tar shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from slowfast_mlp.apps.prepare_data.reencode import SETTINGS_NAME, reencode_all
from slowfast_mlp.apps.prepare_data.tar_shards import SHARDS, check_no_shards, single_file, write_shards
from slowfast_mlp.data.video_io.encode import Encoding
from slowfast_mlp.errors import UserError

REENCODED = "videos"  # folder of --out


@dataclass(frozen=True, kw_only=True)
class TranscodeOptions:
    """How videos are treated: `encoding` None leaves them as they are, `videos_per_shard` 0 out of tars."""

    encoding: Encoding | None = None
    videos_per_shard: int = 0
    num_processes: int = 1
    timeout_sec: float = 600.0


class TranscodeResult(NamedTuple):
    """Where the videos are now: old name -> new, both from their folders; and why some are not."""

    folder: Path
    new_names: dict[str, str]
    failures: dict[str, str]


def transcode(
    names: Sequence[str], *, source: Path, out: Path, transcode_options: TranscodeOptions
) -> TranscodeResult:
    """Writes `source`/name for every name into out/videos, out/shards or both, as the treatment says; what
    is there already is kept. Raises UserError, also where videos that were re-encoded, or shards, would be
    left for the originals.
    """
    names = list(dict.fromkeys(names))
    transcoded = TranscodeResult(source, {name: name for name in names}, {})
    if transcode_options.encoding:
        new_names, failures = reencode_all(
            names,
            source=source,
            target=out / REENCODED,
            encoding=transcode_options.encoding,
            num_processes=transcode_options.num_processes,
            timeout_sec=transcode_options.timeout_sec,
        )
        transcoded = TranscodeResult(out / REENCODED, new_names, failures)
    elif (out / REENCODED / SETTINGS_NAME).exists():
        raise UserError(
            f"{out / REENCODED} holds videos that an earlier run re-encoded, and its lists lead there; "
            "without --reencode they would lead to the originals. Add --reencode, choose another --out, or "
            f"remove {out / REENCODED}."
        )
    if not transcode_options.videos_per_shard:
        check_no_shards(out / SHARDS)
    else:
        places = write_shards(
            transcoded.new_names.values(),
            list_files=partial(single_file, folder=transcoded.folder),
            target=out / SHARDS,
            num_per_shard=transcode_options.videos_per_shard,
            num_processes=transcode_options.num_processes,
            timeout_sec=transcode_options.timeout_sec,
        )
        in_shards = {old: places[new] for old, new in transcoded.new_names.items()}
        transcoded = TranscodeResult(out / SHARDS, in_shards, transcoded.failures)
    return transcoded
