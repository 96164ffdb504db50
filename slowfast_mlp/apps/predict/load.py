"""A checkpoint -> a Predictor: the model, the way of its test, and the names of its classes."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from slowfast_mlp.apps.predict.predictor import ClipFormat, Predictor, ViewFormat
from slowfast_mlp.builders import annotations, loaders, model
from slowfast_mlp.checkpoint import checkpoint as checkpoints
from slowfast_mlp.checkpoint.weights import label_names_of, load_weights
from slowfast_mlp.config.diff import changes_between, fixed_changes, stored_config
from slowfast_mlp.config.load import load_config, override
from slowfast_mlp.config.schema import Config, Data, DataLoader, Test
from slowfast_mlp.data.annotations import read_label_names
from slowfast_mlp.data.transforms.resize_crop import ViewTransform, resize_mode
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.errors import UserError

logger = logging.getLogger(__name__)

# Of a model whose clips are spread over a whole video: the mean length of those of Something-Something.
SEGMENTS_WINDOW_SEC = 4.0


def load(
    checkpoint: str,
    *,
    config_file: str | None = None,
    overrides: Sequence[str] = (),
    label_names: str | None = None,
    device: str = "auto",
) -> Predictor:
    """The model of a checkpoint file, ready to predict.

    Its settings and the names of its classes are those in the file; `config_file` is for files without
    settings, `overrides` (KEY, VALUE, ...) go over either, and `label_names` is a file of names in the order
    of the outputs. Where the file has averaged weights (TRAIN.EMA_DECAY) they are taken, as by a test.
    `device` is auto (a GPU if there is one), cpu, cuda, cuda:1 or mps. Raises UserError.
    """
    contents = checkpoints.read(checkpoint)
    config = _config(contents, checkpoint, config_file, overrides)
    torch_device = find_device(device)
    net = model.model_for(config.model, config.data)
    weights = model.official_weights(config.model, contents, checkpoint)
    logger.info("%s: %s", checkpoint, load_weights(net, weights, source=checkpoint))
    names = read_label_names(label_names) if label_names else label_names_of(contents)
    if names and len(names) != config.model.num_classes:
        raise UserError(
            f"{label_names or checkpoint} names {len(names)} classes; the model has "
            f"{config.model.num_classes}. Give the list of names that it was trained with."
        )
    return _predictor(
        config,
        net.to(torch_device).eval(),
        torch_device,
        names or _default_label_names(config.model.num_classes),
    )


def _predictor(
    config: Config, net: torch.nn.Module, torch_device: torch.device, names: Sequence[str]
) -> Predictor:
    data, test = config.data, config.test
    dataset = test.dataset or config.train.dataset
    sampling = annotations.sampling(data, dataset)
    views = loaders.EvalViews.of_test(test, data, dataset=config.train.dataset)
    transform = loaders.view_transform(data, views)
    return Predictor(
        net,
        label_names=names,
        precision=Precision(config.train.precision, torch_device),
        device_transform=loaders.device_transform(data, torch_device),
        device=torch_device,
        ensemble=test.ensemble,
        batch_size=test.batch_size,
        num_views=test.num_ensemble_views * test.num_spatial_crops,
        make_loader=partial(_make_loader, data, config.data_loader, views, torch_device, config.rng_seed),
        clip_sampler=loaders.clip_sampler(data, dataset, offset=True),
        transform=transform,
        clip_format=_clip_format(data, sampling),
        view_format=_view_format(data, test, sampling, transform),
        is_image_model=data.num_frames == 1,
        seed=config.rng_seed,
    )


def _clip_format(data: Data, sampling: str) -> ClipFormat:
    dense_sec = data.num_frames * data.sampling_rate / data.target_fps
    return ClipFormat(
        shape=(3, data.num_frames, data.test_crop_size, data.test_crop_size),
        window_sec=SEGMENTS_WINDOW_SEC if sampling == "segments" else dense_sec,
        mean=data.mean,
        std=data.std,
        channel_order=data.channel_order,
    )


def _view_format(data: Data, test: Test, sampling: str, transform: ViewTransform) -> ViewFormat:
    return ViewFormat(
        sampling=sampling,
        sampling_rate=data.sampling_rate,
        target_fps=data.target_fps,
        use_offset_sampling=data.use_offset_sampling,
        short_size=transform.resized_short_size,
        interpolation=resize_mode(transform.interpolation, antialias=transform.antialias),
        antialias=transform.antialias,
        crop="three" if test.num_spatial_crops == 3 else test.single_crop,
        num_clips=test.num_ensemble_views,
        ensemble=test.ensemble,
    )


def _make_loader(
    data: Data,
    loading: DataLoader,
    views: loaders.EvalViews,
    torch_device: torch.device,
    seed: int,
    videos: annotations.Records,
) -> Any:
    """The views of a test of these videos, one video at a time; a single one is read by this process."""
    num_videos = len(videos)
    if num_videos == 1:
        loading = replace(loading, num_workers=0)
    elif loading.num_workers is None:
        num_workers = max(1, min(dist.cores_of_process(), num_videos) - 1)
        loading = replace(loading, num_workers=min(loaders.MAX_WORKERS, num_workers))
    return loaders.eval_loader(data, loading, videos, views, batch_size=1, device=torch_device, seed=seed)


def _config(contents: dict[str, Any], path: str, config_file: str | None, overrides: Sequence[str]) -> Config:
    """The settings of the model. Raises UserError where there are none, or they are those of another."""
    stored = stored_config(contents.get("cfg"))
    if config_file is None and stored is None:
        raise UserError(
            f"{path} does not hold our settings: give the config of its model, as in "
            "--cfg configs/Kinetics/MORPHMLP_S_16x4.yaml (in Python: config_file=...)."
        )
    config = load_config(config_file, overrides) if config_file else override(stored, overrides)
    if stored and (differing := fixed_changes(changes_between(stored, config), "model")):
        raise UserError(
            f"{path} is a checkpoint of another model: it has {'; '.join(differing)}. Leave the config out: "
            "the checkpoint holds its own."
        )
    return config


def find_device(name: str) -> torch.device:
    """The device of a name such as auto, cpu, cuda, cuda:1 or mps. Raises UserError where it is not there."""
    if name == "auto":
        return dist.device(None)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device {name!r}: use auto, cpu, cuda, cuda:1 or mps.") from error
    num_gpus = torch.cuda.device_count()
    is_available = {
        "cpu": True,
        "cuda": (device.index or 0) < num_gpus,
        "mps": torch.backends.mps.is_available(),
    }
    if not is_available.get(device.type):
        raise UserError(
            f"This torch sees no device {name!r} ({num_gpus} CUDA devices); use auto or cpu, and see "
            "tools/doctor.py."
        )
    return device


def _default_label_names(num_classes: int) -> tuple[str, ...]:
    """Names for classes that have none."""
    return tuple(f"class {number}" for number in range(num_classes))
