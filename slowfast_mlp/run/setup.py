"""Construction of a run: settings and lists in, model, training and evaluators out.

Everything that a run can refuse before its first step is refused here. A dry run is `setup` on a CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from slowfast_mlp.builders import loaders, solver
from slowfast_mlp.builders import model as model_builder
from slowfast_mlp.builders.annotations import Records
from slowfast_mlp.checkpoint import checkpoint
from slowfast_mlp.config.load import dump_config
from slowfast_mlp.config.schema import Config, Data, Model, Solver
from slowfast_mlp.distributed import process_group as dist
from slowfast_mlp.engine.compile import check_compiler
from slowfast_mlp.engine.evaluate import Evaluator
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.training import Training
from slowfast_mlp.log.decode_failures import FailedVideos
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress
from slowfast_mlp.log.run_log import RunLog
from slowfast_mlp.run.resume import training_environment


@dataclass(frozen=True, kw_only=True)
class RunParts:
    """The model of a run, and what trains and tests it; None where the run does not."""

    model: nn.Module
    training: Training | None
    test_evaluator: Evaluator | None


def setup(
    config: Config,
    videos: Mapping[str, Records],
    *,
    device: torch.device,
    precision: Precision,
    log: RunLog | None = None,
) -> RunParts:
    """Builds what the run needs of the splits in `videos`. Writes and reads no file of the run.

    Raises UserError for settings, or lists, that the run cannot work with.
    """
    model = build_model(config.model, config.data, config.rng_seed, device)
    for path in (config.train.checkpoint_file_path, config.test.checkpoint_file_path):
        if path:
            checkpoint.check_file(path)
    training = None
    if config.train.enable and "train" in videos:
        training = _training(config, model, videos["train"], device, precision, log)
        if "val" in videos:
            views = loaders.EvalViews.of_validation(config.test, dataset=config.train.dataset)
            training.evaluator = build_evaluator(config, videos["val"], views, device, precision)
    test_evaluator = None
    if config.test.enable and "test" in videos:
        views = loaders.EvalViews.of_test(config.test, config.data, dataset=config.train.dataset)
        test_evaluator = build_evaluator(config, videos["test"], views, device, precision)
    return RunParts(model=model, training=training, test_evaluator=test_evaluator)


def build_model(model: Model, data: Data, seed: int, device: torch.device) -> nn.Module:
    """The model with the initial weights of a seed."""
    torch.manual_seed(seed)
    return model_builder.model_for(model, data).to(device)


def build_evaluator(
    config: Config, videos: Records, views: loaders.EvalViews, device: torch.device, precision: Precision
) -> Evaluator:
    """The evaluator over these views of the videos."""
    seed, batch_size = config.rng_seed, config.test.batch_size
    return Evaluator(
        loader=loaders.eval_loader(
            config.data, config.data_loader, videos, views, batch_size=batch_size, device=device, seed=seed
        ),
        labels=videos.labels,
        num_classes=config.model.num_classes,
        views_per_video=views.num_clips * views.num_crops,
        batch_size=batch_size,
        device_transform=loaders.device_transform(config.data, device),
        precision=precision,
        device=device,
    )


def _training(
    config: Config, model: nn.Module, videos: Records, device: torch.device, precision: Precision, log: RunLog
) -> Training:
    """The training of the model, at its start."""
    train, seed, num_classes = config.train, config.rng_seed, config.model.num_classes
    clips_per_rank = train.batch_size // dist.world_size() * config.aug.num_sample
    if train.compile:
        check_compiler(device)
    sampler = loaders.train_sampler(train, videos, num_classes=num_classes, seed=seed)
    views = loaders.train_videos(config.data, config.aug, videos, dataset=train.dataset, seed=seed)
    steps_of_epochs = [sampler.num_steps(epoch) for epoch in range(config.solver.max_epoch)]
    failed = FailedVideos(config.output_dir, max_fraction=config.data.max_failed_fraction)
    progress = Progress(log, failed, log_period=config.log_period, steps_of_epochs=steps_of_epochs)
    skipped_steps = _skipped_steps(config.output_dir, config.solver, videos, seed, device)
    return Training(
        model=model,
        optimizer=solver.optimizer(config.solver, model, shard=train.shard_optimizer),
        precision=precision,
        loader=loaders.train_loader(config.data_loader, views, sampler, device=device),
        sampler=sampler,
        device_transform=loaders.device_transform(config.data, device),
        make_targets=solver.targets(config.solver, num_classes),
        lr_at=solver.schedule(config.solver),
        progress=progress,
        skipped_steps=skipped_steps,
        num_classes=num_classes,
        device=device,
        seed=seed,
        mix=loaders.mix(config.mixup, clips_per_rank=clips_per_rank, seed=seed),
        max_grad_norm=config.solver.clip_grad_l2norm,
        accumulate_steps=solver.accumulate_steps(train, smallest_batch=clips_per_rank),
        ema=solver.ema(train, model),
        num_precise_batches=solver.precise_batches(config.bn, model, name=config.model.name),
        ensemble=config.test.ensemble,
        config_text=dump_config(config),
        label_names=videos.label_names,
        ran_on=training_environment(device),
    )


def _skipped_steps(
    output_dir: str, settings: Solver, videos: Records, seed: int, device: torch.device
) -> SkippedSteps:
    """The list of steps that are skipped because they are not finite."""
    return SkippedSteps(
        output_dir,
        max_in_a_row=settings.max_nonfinite_steps,
        seed=seed,
        path_of=lambda record: videos[record].path,
        device=device,
    )
