"""Where the model of a checkpoint looks in videos, and what its token mixing does, as pictures."""

import os
from typing import NamedTuple

import torch
from torch import Tensor

from slowfast_mlp.apps.predict.inputs import display_path, find_inputs
from slowfast_mlp.apps.predict.predictor import Predictor
from slowfast_mlp.apps.visualize.attribution import saliency, stage_saliency
from slowfast_mlp.apps.visualize.pictures import Picture, draw_maps, draw_strip
from slowfast_mlp.apps.visualize.token_mixing import mixing_maps
from slowfast_mlp.data.records import Record
from slowfast_mlp.data.video_io.stream import Stream
from slowfast_mlp.errors import UserError

ONE_VIEW = ("TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1")  # the middle clip, the centre crop


class Explanation(NamedTuple):
    """A clip as the model sees it: frames [T, S, S, 3] uint8, the saliency [T, S, S] of the class `label`
    in them with the sum 1, the clip [3, T, S, S] itself, and the class that it takes it for, with the
    probability.
    """

    frames: Tensor
    saliency: Tensor
    clip: Tensor
    label: int
    best: int
    probability: float


def explain_video(
    predictor: Predictor, record: Record, *, label: int | None = None, baseline: str = "grey"
) -> Explanation:
    """What the model sees in the first view of a video, for a class, else for the one that it takes it for.

    Raises DecodeError.
    """
    frames, clip = predictor.first_view(record)
    with torch.inference_mode():
        shares = predictor.model(clip[None])[0].float().softmax(dim=0)
    best = int(shares.argmax())
    label = best if label is None else label
    found = saliency(predictor.model, clip, label, baseline=baseline)
    return Explanation(frames, found, clip, label, best, float(shares[best]))


def draw_saliency_strip(explanation: Explanation, *lines: str) -> Picture:
    """The frames with their saliency, under lines of text."""
    return draw_strip(explanation.frames, explanation.saliency, lines)


def layer_pictures(predictor: Predictor, explanation: Explanation) -> list[tuple[str, Picture]]:
    """Name and picture of what every token-mixing layer does, then of the places that the answer depends on
    after every stage; gates and places are those of the clip that was seen.
    """
    maps = mixing_maps(predictor.model, explanation.clip) + stage_saliency(
        predictor.model, explanation.clip, explanation.label
    )
    return [(one.layer, draw_maps(one)) for one in maps]


def record_from_path(path: str) -> Record:
    """The record of a path in predictions.csv, which for a folder of frames is a template.

    Raises UserError where it is no such folder.
    """
    if "{" not in path or os.path.exists(path):
        return Record(path, 0)
    found = find_inputs([os.path.dirname(path)], folders_are_videos=True)
    if len(found) != 1 or isinstance(found[0], Stream):
        raise UserError(f"{display_path(found[0])} and others are there, and not the frames of one video.")
    return found[0]
