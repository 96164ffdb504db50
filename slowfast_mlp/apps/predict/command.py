"""What tools/predict.py does with its videos: predicts, tells, draws, and says what could not be read."""

import contextlib
import signal
import sys
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from slowfast_mlp.apps.predict import output
from slowfast_mlp.apps.predict.captions import draw_caption
from slowfast_mlp.apps.predict.inputs import display_path
from slowfast_mlp.apps.predict.output_files import OutputPaths, Source, output_files
from slowfast_mlp.apps.predict.predictor import Prediction, Predictor, Ranked
from slowfast_mlp.apps.predict.timeline import draw_timeline, image_suffixes
from slowfast_mlp.apps.progress_bar import ProgressBar
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.frame_writer import ENDINGS, FrameWriter
from slowfast_mlp.data.video_io.stream import FrameStream, Stream, TimedFrame, open_stream
from slowfast_mlp.errors import UserError

Caption = Callable[[float], Sequence[Ranked]]  # of a time in seconds
MAX_CAPTION_CLASSES = 3  # classes on a frame, at most


class FailedVideo(NamedTuple):
    """A video that could not be read, or not all of it."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What is asked for: `top_k` classes as a table or as `json` lines, of whole videos or of windows.

    `video`, `timeline` and `segments` are files to write, or folders where there are several videos.
    """

    top_k: int = 5
    json: bool = False
    sliding: bool = False
    stride_sec: float | None = None
    window_sec: float | None = None
    max_sec: float | None = None
    video: Path | None = None
    timeline: Path | None = None
    segments: Path | None = None


class Command:
    """Predicts source after source. `print_line` takes the lines, for a terminal (`is_terminal`) or not;
    `show_progress` is for standard error.
    """

    def __init__(
        self,
        predictor: Predictor,
        options: PredictOptions,
        *,
        print_line: Callable[[str], None],
        is_terminal: bool,
        use_color: bool,
        show_progress: bool,
    ):
        self._predictor = predictor
        self._options = options
        self._print_line = print_line
        self._is_terminal = is_terminal
        self._use_color = use_color
        self._show_progress = show_progress

    def run(self, sources: Sequence[Source]) -> list[FailedVideo]:
        """Predicts all, and returns those that could not be read whole. Raises UserError."""
        options = self._options
        places = [
            OutputPaths(*files)
            for files in zip(
                output_files(options.video, sources, ".mp4", endings=ENDINGS),
                output_files(options.timeline, sources, ".png", endings=image_suffixes()),
                output_files(options.segments, sources, ".json"),
            )
        ]
        whole, sliding = [], []
        for source, outputs in zip(sources, places):
            is_sliding = options.sliding or isinstance(source, Stream)
            (sliding if is_sliding else whole).append((source, outputs))
        failed = self._predict_videos(whole) if whole else []
        for source, outputs in sliding:
            failed += self._predict_windows(source, outputs)
        return failed

    def _predict_videos(self, pairs: Sequence[tuple[Record, OutputPaths]]) -> list[FailedVideo]:
        """Every video as a test sees it."""
        failed = []
        records = [record for record, _ in pairs]
        progress = self._progress("predicted", len(pairs))
        for (record, outputs), prediction in zip(pairs, self._predictor.predict_all(records)):
            if self._options.json:
                self._print_line(output.as_json(prediction, self._options.top_k))
            else:
                self._print_line(output.table(prediction, self._options.top_k, use_color=self._use_color))
            if prediction.failure:
                failed.append(FailedVideo(prediction.path, prediction.failure))
            if outputs.video and prediction.num_views:
                rows = self._rows(prediction)
                failed += self._annotate(record, outputs.video, lambda _, rows=rows: rows)
            if progress:
                progress.add(failed=bool(prediction.failure))
        return failed

    def _predict_windows(self, source: Source, outputs: OutputPaths) -> list[FailedVideo]:
        """A video or stream, window by window, and the files that are made of the windows."""
        path = display_path(source)
        windows: list[Prediction] = []
        if not self._options.json:
            self._print_line(path)
        try:
            with contextlib.closing(open_stream(source)) as video:
                reason = self._slide(source, video, outputs, windows)
                damaged = f"{video.num_damaged} damaged frames were left out" if video.num_damaged else ""
            reason = "; ".join(filter(None, (reason, damaged)))
        except DecodeError as error:
            reason = error.reason
        failed = [FailedVideo(path, reason)] if reason else []
        if reason:
            self._print_line(output.failure_as_json(path, reason) if self._options.json else f"  {reason}")
        if windows and outputs.timeline:
            title = f"{path}   (windows of {windows[0].end_sec - windows[0].start_sec:.3g} s)"
            _write(outputs.timeline, draw_timeline(windows, title).save)
        if windows and outputs.segments:
            text = output.segments_as_json(path, windows, self._options.top_k)
            _write(outputs.segments, lambda file: file.write_text(text + "\n", encoding="utf-8"))
        if windows and outputs.video and not isinstance(source, Stream):
            failed += self._annotate(source, outputs.video, self._caption_of(windows))
        return failed

    def _slide(
        self, source: Source, video: FrameStream, outputs: OutputPaths, windows: list[Prediction]
    ) -> str:
        """Adds the windows to the list as they come, and returns why they ended early, if they did.

        Only the last stays where nothing is made of the others: a stream may have no end. It is drawn on with
        what is known by then, for it cannot be read again; what was drawn stays when the stream breaks off.
        """
        path, is_live = display_path(source), isinstance(source, Stream)
        keep_all = outputs.timeline or outputs.segments or (outputs.video and not is_live)
        with contextlib.ExitStack() as stack:
            # Lines of windows and a bar would get into each other's way on one terminal.
            title = "" if is_live or self._is_terminal else "frames read"
            frames = stack.enter_context(contextlib.closing(self._frames(video, title)))
            if is_live:
                is_ending = stack.enter_context(_catch_ctrl_c())
                frames = takewhile(lambda _: not is_ending(), frames)
            if outputs.video and is_live:
                writer = stack.enter_context(FrameWriter(outputs.video, fps=video.fps))
                frames = _with_captions(frames, writer, lambda _: self._rows(windows[-1]) if windows else [])
            try:
                for window in self._predictor.slide_over(
                    video,
                    frames,
                    path,
                    stride_sec=self._options.stride_sec,
                    window_sec=self._options.window_sec,
                ):
                    if not keep_all:
                        windows.clear()
                    windows.append(window)
                    self._print_window(window)
            except DecodeError as error:
                return error.reason
            except KeyboardInterrupt:
                if not is_live:  # a camera has no other end
                    raise
        return ""

    def _print_window(self, window: Prediction) -> None:
        top_k = self._options.top_k
        as_line = output.format_window(window, top_k, use_color=self._use_color)
        self._print_line(output.as_json(window, top_k) if self._options.json else as_line)

    def _frames(self, video: FrameStream, title: str) -> Iterator[TimedFrame]:
        """The frames up to `max_sec`, counted on standard error under the title, if there is one."""
        limit = self._options.max_sec
        frames = iter(video) if limit is None else takewhile(lambda frame: frame.time_sec < limit, video)
        if not (title and video.num_frames and self._show_progress):
            yield from frames
            return
        expected = video.num_frames if limit is None else min(video.num_frames, round(limit * video.fps))
        progress = ProgressBar(title, expected, stream=sys.stderr)
        for frame in frames:
            yield frame
            progress.add(failed=False)
        progress.close()

    def _annotate(self, source: Record, path: Path, caption: Caption) -> list[FailedVideo]:
        """Writes the video with captions; sound is left out."""
        try:
            with (
                contextlib.closing(open_stream(source)) as video,
                FrameWriter(path, fps=video.fps) as writer,
            ):
                for _ in _with_captions(self._frames(video, "frames written"), writer, caption):
                    pass
        except DecodeError as error:
            return [FailedVideo(display_path(source), error.reason)]
        return []

    def _caption_of(self, windows: Sequence[Prediction]) -> Caption:
        """What the window whose middle is nearest says."""
        ends = [end for _, end in output.window_spans(windows)]
        rows = [self._rows(window) for window in windows]
        return lambda seconds: rows[min(bisect_right(ends, seconds), len(rows) - 1)]

    def _rows(self, prediction: Prediction) -> list[Ranked]:
        return prediction.top(min(self._options.top_k, MAX_CAPTION_CLASSES))

    def _progress(self, title: str, total: int) -> ProgressBar | None:
        return (
            ProgressBar(title, total, stream=sys.stderr)
            if self._show_progress and total > 1 and not self._is_terminal
            else None
        )


@contextlib.contextmanager
def _catch_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Within it, what is yielded says whether Ctrl-C was pressed. It raises KeyboardInterrupt as ever, but
    that is lost where it comes in the middle of what native code calls.
    """
    seen = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        seen.set()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # the only one that hears of signals
        yield seen.is_set
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield seen.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _with_captions(
    frames: Iterable[TimedFrame], writer: FrameWriter, caption: Caption
) -> Iterator[TimedFrame]:
    """The frames as they are; each is written with its caption once it was looked at."""
    for frame in frames:
        yield frame
        writer.add(draw_caption(frame.pixels, caption(frame.time_sec)), frame.time_sec)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    try:
        write(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be written ({reason}). Name a file that can.") from error
