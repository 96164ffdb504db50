"""Predictor: the classes of a video as its test finds them, or of a window that slides over it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slowfast_mlp.apps.predict.inputs import display_path, find_inputs
from slowfast_mlp.data.batch import Views
from slowfast_mlp.data.clip_sampling import ClipSampler
from slowfast_mlp.data.device_transform import scale_and_shift
from slowfast_mlp.data.records import Record, Records
from slowfast_mlp.data.sliding_window import WindowSampler, slide
from slowfast_mlp.data.video_io.decode_error import DecodeError
from slowfast_mlp.data.video_io.stream import FrameStream, Stream, TimedFrame, open_stream
from slowfast_mlp.engine.evaluate import EvalModel, probabilities, scores_of_views
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError


class Ranked(NamedTuple):
    """A class of a prediction: its number and name, its probability, and its score as a test writes it."""

    label: int
    name: str
    probability: float
    score: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of a video, or of the stretch of it from `start_sec` to `end_sec`.

    `scores` [K] (float64) are the means over `num_views` views that a test writes to predictions.csv,
    `probabilities` [K] those as shares of 1. Where a file could not be read, or not all of it, `failure` says
    why; without any view there are no scores.
    """

    path: str
    label_names: Sequence[str]
    scores: Tensor
    probabilities: Tensor
    num_views: int
    failure: str = ""
    start_sec: float | None = None
    end_sec: float | None = None

    def top(self, k: int = 5) -> list[Ranked]:
        """The k best classes, best first; of equals the lower number comes first."""
        order = self.scores.argsort(descending=True, stable=True)[:k].tolist()
        return [
            Ranked(
                label, self.label_names[label], float(self.probabilities[label]), float(self.scores[label])
            )
            for label in order
        ]


@dataclass(frozen=True, kw_only=True)
class ClipFormat:
    """What a model's clips are: [3, T, S, S], `window_sec` long where they are not spread over a whole video;
    of pixels from 0 to 1 less `mean`, over `std`, with the channels in `channel_order` (RGB or BGR).
    """

    shape: tuple[int, int, int, int]
    window_sec: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """[1, 3, 1, 1, 1] each: pixels of 0 to 255 · scale + shift are what the model gets."""
        return scale_and_shift(self.mean, self.std)


@dataclass(frozen=True, kw_only=True)
class ViewFormat:
    """How the views of a test are made of a video: the names and meanings of docs/export.md."""

    sampling: str  # dense or segments
    sampling_rate: int
    target_fps: float
    use_offset_sampling: bool
    short_size: int
    interpolation: str  # bilinear or bicubic
    antialias: bool
    crop: str  # centre, first or three
    num_clips: int
    ensemble: str  # logits or probs


class Predictor:
    """A model with the settings of its test; made by `load`."""

    def __init__(
        self,
        model: nn.Module,
        *,
        label_names: Sequence[str],
        precision: Precision,
        device_transform: Callable[[Views], Tensor],
        device: torch.device,
        ensemble: str,
        batch_size: int,
        num_views: int,
        make_loader: Callable[[Records], Iterable[Views]],
        clip_sampler: ClipSampler,
        transform: Callable[[Tensor], Tensor],
        clip_format: ClipFormat,
        view_format: ViewFormat,
        is_image_model: bool,
        seed: int,
    ):
        self.model = model
        self.label_names = tuple(label_names)
        self.num_views = num_views
        self.clip_format = clip_format
        self.view_format = view_format
        self.window_sec = clip_format.window_sec
        self.is_image_model = is_image_model
        self._precision = precision
        self._device_transform = device_transform
        self._device = device
        self._ensemble = ensemble
        self._batch_size = batch_size
        self._make_loader = make_loader
        self._clip_sampler = clip_sampler
        self._transform = transform
        self._seed = seed

    def predict(self, path: str) -> Prediction:
        """What the model says of a video file, a folder of numbered frames or a picture, in all views of its
        test. Raises DecodeError when it cannot be read, UserError when the path is none of these.
        """
        sources = find_inputs([path], folders_are_videos=not self.is_image_model)
        if len(sources) != 1 or isinstance(sources[0], Stream):
            raise UserError(f"{path} is not one video: predict_all takes several, slide takes streams.")
        (prediction,) = self.predict_all(sources)
        if not prediction.num_views:
            raise DecodeError(path, prediction.failure)
        return prediction

    def predict_all(self, records: Sequence[Record]) -> Iterator[Prediction]:
        """A prediction for every record, in order; what cannot be read has its `failure`, and no views."""
        records = Records(record._replace(label=0) for record in records)
        for number, views in enumerate(self._make_loader(records)):
            reason = "; ".join(failure.reason for failure in views.failures)
            scores = self._scores(views) if len(views.clips) else torch.empty(0, len(self.label_names))
            yield replace(self._prediction(display_path(records[number]), scores), failure=reason)

    def first_view(self, record: Record) -> tuple[Tensor, Tensor]:
        """The first view of a video's test: its frames [T, S, S, 3] uint8 RGB, and the clip [3, T, S, S] that
        the model gets, on its device. Raises DecodeError.
        """
        (views,) = self._make_loader(Records([record._replace(label=0)]))
        if not len(views.clips):
            raise DecodeError(display_path(record), "; ".join(failure.reason for failure in views.failures))
        first = views._replace(clips=views.clips[:1])
        frames = views.clips[0].permute(1, 2, 3, 0)  # T S S 3
        frames = frames.flip(-1) if self.clip_format.channel_order == "BGR" else frames
        return frames.contiguous(), self._device_transform(first.to(self._device))[0]

    def slide(
        self,
        source: Record | Stream | str,
        *,
        stride_sec: float | None = None,
        window_sec: float | None = None,
    ) -> Iterator[Prediction]:
        """A prediction every `stride_sec` (by default half a window) for a window that slides over a video or
        stream of any length; the last window ends where the video does.

        A window spans what a clip of the training does, or `window_sec`. The frames are read once, forward,
        and no more than a window of them is kept. Where frames were damaged they are left out, and the
        `failure` of the windows from then on says how many. Raises DecodeError.
        """
        if isinstance(source, str):
            (source,) = find_inputs([source], folders_are_videos=not self.is_image_model)
        video = open_stream(source)
        try:
            yield from self.slide_over(
                video, video, display_path(source), stride_sec=stride_sec, window_sec=window_sec
            )
        finally:
            video.close()

    def slide_over(
        self,
        video: FrameStream,
        frames: Iterable[TimedFrame],
        path: str,
        *,
        stride_sec: float | None = None,
        window_sec: float | None = None,
    ) -> Iterator[Prediction]:
        """As `slide`, over frames of an opened video that somebody else looks at too."""
        window_sec = self.window_sec if window_sec is None else window_sec
        stride_sec = window_sec / 2 if stride_sec is None else stride_sec
        if window_sec <= 0 or stride_sec <= 0:
            raise UserError(f"A window of {window_sec:g} s every {stride_sec:g} s: both must be above 0.")
        sampler = WindowSampler(
            clip_sampler=self._clip_sampler,
            transform=self._transform,
            fps=video.fps,
            channel_order=self.clip_format.channel_order,
            seed=self._seed,
        )
        num_frames = max(1, round(window_sec * video.fps))
        windows = slide(frames, sampler, num_frames=num_frames, stride=max(1, round(stride_sec * video.fps)))
        window = None
        for window in windows:
            zeros = torch.zeros(len(window.views), dtype=torch.int64)
            scores = self._scores(Views(window.views, zeros, zeros, ()))
            damaged = f"{video.num_damaged} damaged frames were left out" if video.num_damaged else ""
            prediction = self._prediction(path, scores)
            yield replace(prediction, failure=damaged, start_sec=window.start_sec, end_sec=window.end_sec)
        if window is None:
            raise DecodeError(path, "no frame of it can be decoded")

    def _scores(self, views: Views) -> Tensor:
        """Scores [V, K] of the views, as a test adds them up."""
        (scores,) = scores_of_views(
            views.to(self._device),
            models=[EvalModel(model=self.model, ensemble=self._ensemble)],
            precision=self._precision,
            batch_size=self._batch_size,
            device_transform=self._device_transform,
        )
        return scores

    def _prediction(self, path: str, scores: Tensor) -> Prediction:
        """The mean of the scores [V, K]; of no view, no scores."""
        num_views = len(scores)
        none = torch.empty(0, dtype=torch.float64)
        mean = scores.double().sum(dim=0) / num_views if num_views else none
        return Prediction(
            path=path,
            label_names=self.label_names,
            scores=mean,
            probabilities=probabilities(mean, self._ensemble),
            num_views=num_views,
        )
