"""What a run says of itself: the block at its start, and the protocol of its test."""

import torch
from torch import nn

from slowfast_mlp.builders import annotations, loaders
from slowfast_mlp.config.schema import Config, Data, Solver, Test, Train
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine import results
from slowfast_mlp.engine.flops import count_flops, count_parameters
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.log.run_log import RunLog

ORDERS_IN_WORDS = {
    "shuffle": "",
    "balanced": "; every class equally often",
    "repeated": "; a third of the videos an epoch, each 3 times",
}


def log_start(
    log: RunLog,
    config: Config,
    model: nn.Module,
    device: torch.device,
    precision: Precision,
    videos: dict[str, annotations.Records],
) -> None:
    """Logs the block at the start of a run, and writes it to environment.json; rank 0 only."""
    if not log.enabled:
        return
    data, test, crop_size = config.data, config.test, config.data.test_crop_size
    flops = count_flops(model, (3, data.num_frames, crop_size, crop_size)) / 1e9
    num_views = test.num_ensemble_views * test.num_spatial_crops
    facts = {
        "device": f"{results.describe_device(device)}, {precision.mode}, processes: {dist.world_size()}",
        **_describe_data(data, config.train.dataset, videos),
        "model": f"{config.model.name} {config.model.variant}: {count_parameters(model) / 1e6:.2f} M "
        f"parameters, {flops:.3g} GFLOPs a view, {flops * num_views:.4g} over "
        f"{test.num_ensemble_views} x {test.num_spatial_crops} views",
    }
    if config.train.enable:
        flip = ", flip" if data.random_flip else ""
        num_samples, num_videos = config.aug.num_sample, len(videos["train"])
        facts |= {
            "augment": f"random crop{flip}{loaders.describe_augmentation(config.aug, config.mixup)}",
            "batch": _describe_steps(config.train, config.solver.max_epoch, num_samples, num_videos),
            "lr": _describe_schedule(config.solver),
        }
    facts["output"] = config.output_dir
    log.info(results.format_facts(facts))
    results.write_environment(config.output_dir, facts)


def _describe_data(data: Data, dataset: str, videos: dict[str, annotations.Records]) -> dict[str, str]:
    """Lists of videos, and the clips that are read from them."""
    sizes = ", ".join(f"{len(records)} {split}" for split, records in videos.items())
    order = ", BGR" if data.channel_order == "BGR" else ""
    order += ", FRAMES SHUFFLED (control)" if data.shuffle_frames else ""
    rate = f"at rate {data.sampling_rate}"
    rate = rate if annotations.sampling(data, dataset) == "dense" else "from as many segments"
    prints = [f"{records.fingerprint()[:12]} {split}" for split, records in videos.items()]
    num_named = {len(records.label_names) for records in videos.values()}
    names = f"; {max(num_named)} classes with names" if max(num_named) else "; classes without names"
    crop_size = data.test_crop_size
    pixels = f"{data.train_crop_size} pixels" + (
        f", tested with {crop_size}" if crop_size != data.train_crop_size else ""
    )
    return {
        "data": f"{dataset}: {sizes} videos; clips of {data.num_frames} frames {rate}, {pixels}{order}",
        "lists": f"sha256 {', '.join(prints)}{names}",
    }


def _describe_steps(train: Train, max_epoch: int, num_samples: int, num_videos: int) -> str:
    """Batches and steps of a training."""
    batch_size = train.batch_size
    num_steps, num_left_out = divmod(num_videos, batch_size)
    text = (
        f"{batch_size} videos x {num_samples} views = {batch_size * num_samples} clips over all processes, "
        f"{num_steps} steps an epoch, {max_epoch} epochs, {num_steps * max_epoch} steps"
    )
    if num_left_out:
        text += f"; {num_left_out} videos, others every epoch, are left over"
    return text + ORDERS_IN_WORDS[train.sampler]


def _describe_schedule(solver: Solver) -> str:
    """The learning rate over the epochs."""
    warmup = f"{solver.warmup_start_lr:g} to {solver.base_lr:g} in {solver.warmup_epochs:g} epochs"
    warmup = warmup if solver.warmup_epochs else f"{solver.base_lr:g}"
    cosine = "then a cosine" if solver.cosine_after_warmup else "then the rest of a cosine over all epochs"
    cooldown = f", the last {solver.cooldown_epochs} epochs there" if solver.cooldown_epochs else ""
    return f"{warmup}, {cosine} to {solver.cosine_end_lr:g}{cooldown}"


def protocol(test: Test, data: Data, train_dataset: str) -> str:
    """The protocol of a test in one line: what its figures depend on besides the weights."""
    num_clips, num_crops = test.num_ensemble_views, test.num_spatial_crops
    crop = f" ({test.single_crop} crop)" if num_crops == 1 else ""
    colors = ", BGR" if data.channel_order == "BGR" else ""
    shuffled = ", FRAMES SHUFFLED (control)" if data.shuffle_frames else ""
    return (
        f"{num_clips} x {num_crops} views{crop}, {test.ensemble} averaged, "
        f"{annotations.sampling(data, test.dataset or train_dataset)} sampling{colors}{shuffled}"
    )
