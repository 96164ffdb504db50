"""What is wrong with the lists and files of a data set, and the reports of it."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from slowfast_mlp.apps.check_data.file_scan import FileFacts, file_key, find_duplicates, scan_files
from slowfast_mlp.data.records import Record, Records, wrong_label, wrong_names
from slowfast_mlp.data.samplers import empty_classes
from slowfast_mlp.data.skip_list import read_skip_list

# In the order in which they are told. The first ones keep a video from being read at all.
UNREADABLE = {
    "missing": "files that do not exist",
    "empty": "files without a byte",
    "damaged": "files that cannot be decoded",
    "hung": "files given up, because reading them took too long",
    "crashed": "files that made the decoder crash",
}
PROBLEMS = {
    **UNREADABLE,
    "count": "folders with more frames than the list says",
    "label": "labels outside the classes",
    "duplicate": "videos that the list has twice",
    "leak": "videos of an evaluation list that are in the train list too",
}
SHORT = "short"  # a note, no problem: clips of such videos repeat the last frame
MAX_NAMED = 10
COLUMNS = ("split", "path", "label", "num_frames", "fps", "width", "height", "codec", "num_bytes", "findings")


class VideoFinding(NamedTuple):
    """Something about a video: `kind` is a key of PROBLEMS, or SHORT."""

    kind: str
    text: str


@dataclass
class CheckedVideo:
    """One line of a list with what was found."""

    split: str
    record: Record
    facts: FileFacts
    findings: list[VideoFinding] = field(default_factory=list)


@dataclass
class CheckReport:
    """Why a run is refused before it reads any; all lines of all lists; and what concerns whole lists."""

    config_errors: list[str]
    videos: list[CheckedVideo]
    problems: list[str]
    notes: list[str]

    @property
    def has_problems(self) -> bool:
        """Whether there is anything that a training or an evaluation would suffer from."""
        found = any(finding.kind in PROBLEMS for video in self.videos for finding in video.findings)
        return found or bool(self.config_errors or self.problems)


def check_lists(
    lists: dict[str, Records],
    config_errors: list[str],
    *,
    num_classes: int,
    frames_needed: Callable[[str, float], float],
    decode: str,
    decoder: str,
    num_processes: int,
    timeout_sec: float,
    cache: Path,
) -> CheckReport:
    """Looks at every file of the lists (split -> records) once; the report begins with the `config_errors`;
    `frames_needed` is the length of a clip of a
    split in a video of a frame rate. The other arguments are those of scan_files. Raises UserError.
    """
    every = (record for records in lists.values() for record in records)
    processes = {"num_processes": num_processes, "timeout_sec": timeout_sec}
    facts = scan_files(every, decode=decode, decoder=decoder, cache=cache, **processes)
    same = {path: group[0] for group in find_duplicates(facts.values(), **processes) for path in group}
    videos = [
        CheckedVideo(split, record, facts[file_key(record)])
        for split, records in lists.items()
        for record in records
    ]
    for video in videos:
        video.findings += _findings_of_one(video, num_classes, frames_needed)
    _add_duplicate_findings(videos, same)
    notes = [*_empty_classes(lists, num_classes), *_shared_by_val_and_test(lists)]
    return CheckReport(config_errors, videos, list(_wrong_names(lists, num_classes)), notes)


def _findings_of_one(
    video: CheckedVideo, num_classes: int, frames_needed: Callable[[str, float], float]
) -> Iterable[VideoFinding]:
    facts, listed = video.facts, video.record.num_frames
    if facts.kind:
        yield VideoFinding(facts.kind, facts.problem)
    elif facts.contents and facts.contents.num_frames < (
        needed := frames_needed(video.split, facts.contents.fps)
    ):
        yield VideoFinding(SHORT, f"{facts.contents.num_frames} frames; a clip takes {needed:.0f}")
    if listed and facts.contents and facts.contents.num_frames > listed:
        yield VideoFinding("count", f"the list says {listed} frames, there are {facts.contents.num_frames}")
    if wrong := wrong_label(video.record.label, num_classes):
        yield VideoFinding("label", wrong)


def _add_duplicate_findings(videos: Sequence[CheckedVideo], same: dict[str, str]) -> None:
    """Adds findings for what a list has twice and for evaluation videos that are trained on; `same` maps
    paths of equal files to one of them.
    """
    first: dict[tuple[str, str], CheckedVideo] = {}
    for video in videos:
        content = same.get(video.record.path, video.record.path)
        earlier = first.setdefault((video.split, content), video)
        if earlier is not video:
            video.findings.append(
                VideoFinding("duplicate", _describe_duplicate(earlier, video, "listed before"))
            )
    for video in videos:
        trained = first.get(("train", same.get(video.record.path, video.record.path)))
        if trained and video.split != "train":
            video.findings.append(
                VideoFinding("leak", _describe_duplicate(trained, video, "in the train list"))
            )


def _describe_duplicate(other: CheckedVideo, video: CheckedVideo, where: str) -> str:
    same = "pictures at its start, middle and end" if video.record.num_frames else "bytes"
    name = "" if other.record.path == video.record.path else f" as {other.record.path}, with the same {same}"
    if other.record.label == video.record.label:
        return f"{where}{name}"
    return f"{where}{name}, with the label {other.record.label} instead of {video.record.label}"


def _wrong_names(lists: dict[str, Records], num_classes: int) -> Iterable[str]:
    for split, records in lists.items():
        if wrong := wrong_names(records, num_classes):
            yield f"{split}: {wrong}"


def _empty_classes(lists: dict[str, Records], num_classes: int) -> Iterable[str]:
    for split, records in lists.items():
        empty = empty_classes(records.labels, num_classes)
        if empty:
            more = ", ..." if len(empty) > MAX_NAMED else ""
            named = ", ".join(map(str, empty[:MAX_NAMED])) + more
            yield f"{split}: {len(empty)} of {num_classes} classes have no video: {named}"


def _shared_by_val_and_test(lists: dict[str, Records]) -> Iterable[str]:
    shared = {r.path for r in lists.get("val", ())} & {r.path for r in lists.get("test", ())}
    if shared:
        yield f"val and test share {len(shared)} videos, as is usual where the test has no labels"


def summary(report: CheckReport) -> str:
    """The report for a reader: what is refused, counts for each split, then the problems, the first few of
    each by name.
    """
    lines = [f"run_net.py refuses: {text}" for text in report.config_errors]
    for split in dict.fromkeys(video.split for video in report.videos):
        videos = [video for video in report.videos if video.split == split]
        num_bad = sum(any(f.kind in PROBLEMS for f in video.findings) for video in videos)
        frames = sorted(v.facts.contents.num_frames for v in videos if v.facts.contents)
        length = f"; {frames[0]} to {frames[-1]} frames, median {frames[len(frames) // 2]}" if frames else ""
        lines.append(f"{split}: {len(videos)} videos, {num_bad} with problems{length}")
    for kind, meaning in {**PROBLEMS, SHORT: "note: videos shorter than a clip"}.items():
        found = [(video, f) for video in report.videos for f in video.findings if f.kind == kind]
        if found:
            lines.append(f"{meaning}: {len(found)}")
        lines += [f"  {video.split}: {video.record.path}: {f.text}" for video, f in found[:MAX_NAMED]]
        if len(found) > MAX_NAMED:
            lines.append(f"  ... and {len(found) - MAX_NAMED} more; --report FILE.csv names all")
    lines += report.problems
    lines += [f"note: {note}" for note in report.notes]
    lines.append("there are problems" if report.has_problems else "no problems")
    return "\n".join(lines)


def as_json(report: CheckReport) -> Iterator[str]:
    """A line of JSON for every finding: its kind, what it says, and the split and path of its video if it is
    of one; then one that counts the videos and says whether there are problems.
    """
    for text in report.config_errors:
        yield json.dumps({"kind": "refused", "text": text})
    for video in report.videos:
        for kind, text in video.findings:
            yield json.dumps({"kind": kind, "text": text, "split": video.split, "path": video.record.path})
    for kind, texts in (("list", report.problems), ("note", report.notes)):
        yield from (json.dumps({"kind": kind, "text": text}) for text in texts)
    sizes = Counter(video.split for video in report.videos)
    yield json.dumps({"kind": "summary", "num_videos": sizes, "has_problems": report.has_problems})


def write_csv(report: CheckReport, path: Path) -> None:
    """One line for every line of the lists, with COLUMNS; several findings are joined by "; "."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for video in report.videos:
            contents = video.facts.contents or ("", "", "", "", "")
            findings = "; ".join(f"{f.kind}: {f.text}" for f in video.findings)
            writer.writerow(
                [video.split, *video.record[:2], *contents, video.facts.num_bytes or "", findings]
            )


def write_skip_list(report: CheckReport, path: Path, *, known: str) -> int:
    """Writes the paths of all videos that cannot be read, one a line, behind those of the list `known`
    (DATA.SKIP_LIST; "" is none), which were not looked at; returns their number.
    """
    bad = [v.record.path for v in report.videos if any(f.kind in UNREADABLE for f in v.findings)]
    before = sorted(read_skip_list(known)) if known else []
    unique = list(dict.fromkeys([*before, *bad]))
    path.write_text("".join(f"{name}\n" for name in unique), encoding="utf-8")
    return len(unique)
