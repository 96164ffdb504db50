"""The loop: it waits for the device at log lines only; and the model compiled for it."""

import shutil
from contextlib import ExitStack
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode

from slowfast_mlp.data.batch import Views
from slowfast_mlp.data.samplers import TrainSampler
from slowfast_mlp.engine.compile import compile_replica
from slowfast_mlp.engine.ema import Ema
from slowfast_mlp.engine.metrics import soft_targets
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.engine.train import train_one_epoch
from slowfast_mlp.engine.training import Training
from slowfast_mlp.errors import UserError
from slowfast_mlp.log.decode_failures import FailedVideos
from slowfast_mlp.log.nonfinite_steps import SkippedSteps
from slowfast_mlp.log.progress import Progress
from slowfast_mlp.log.run_log import RunLog
from tests.distributed import jobs

CPU = torch.device("cpu")
NUM_STEPS = 6


@pytest.fixture
def prepared():
    with ExitStack() as logs:
        yield partial(prepare, logs)


def prepare(logs, folder, device=CPU, *, log_period=NUM_STEPS, spoil=None, before_step=None):
    """A training of NUM_STEPS steps an epoch with all that a run may set."""
    model, clips, labels = jobs.model_and_batch()
    model.to(device)
    batches = [Views(clips + step, labels, torch.arange(4), ()) for step in range(NUM_STEPS)]
    if spoil is not None:
        batches[spoil] = batches[spoil]._replace(clips=batches[spoil].clips * float("nan"))
    steps = iter(range(NUM_STEPS))

    def device_transform(views):
        if before_step:
            before_step(next(steps))
        return views.clips

    log = logs.enter_context(RunLog(str(folder), enabled=True, tensorboard=False))
    failed = FailedVideos(str(folder), max_fraction=1.0)
    return Training(
        model=model,
        optimizer=jobs.adamw(model, shard=False),
        precision=Precision("fp32", device),
        loader=batches,
        sampler=TrainSampler(torch.zeros(4 * NUM_STEPS), batch_size=4, rank=0, world_size=1, seed=0),
        device_transform=device_transform,
        make_targets=partial(soft_targets, num_classes=3, smoothing=0.1),
        lr_at=lambda epoch: 0.01,
        progress=Progress(log, failed, log_period=log_period, steps_of_epochs=[NUM_STEPS]),
        skipped_steps=SkippedSteps(str(folder), max_in_a_row=3, seed=0, path_of=str, device=device),
        num_classes=3,
        device=device,
        seed=0,
        max_grad_norm=1.0,
        accumulate_steps=2,
        ema=Ema(model, decay=0.9),
    )


def train(training):
    for _ in train_one_epoch(training, 0):
        pass


WAITING_OPS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique")
WAITING_METHODS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__len_of_nonzero__")


class Ops(TorchDispatchMode):
    """Counts operations whose result the host has to see."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.__name__.split(".")[0] in WAITING_OPS:
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    """Counts calls that hand a tensor's values to Python."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if (resolve_name(func) or "").rsplit(".", 1)[-1] in WAITING_METHODS:
            self.found.append(resolve_name(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("log_period", "waits"), [(6, 1), (2, 3)])
def test_the_host_looks_at_the_device_once_a_log_line_and_never_between(
    prepared, tmp_path, log_period, waits
):
    found = []
    training = prepared(tmp_path, log_period=log_period)
    with Ops(found), Methods(found):
        train(training)
    assert found == ["torch.Tensor.tolist"] * waits


def test_what_counts_the_waits_sees_them():
    found = []
    with Ops(found), Methods(found):
        value = torch.ones(1)
        value.item(), value.tolist(), bool(value), value.nonzero(), float(value)
    assert {"torch.Tensor.item", "torch.Tensor.tolist"} <= set(found) and len(found) >= 5


@pytest.mark.gpu
def test_on_a_gpu_no_step_waits(prepared, tmp_path):
    # The last step ends with a line; "error" makes every wait before it one.
    def before_step(step):
        torch.cuda.set_sync_debug_mode("error" if 0 < step < NUM_STEPS - 1 else "default")

    train(prepared(tmp_path, torch.device("cuda"), before_step=before_step))


def test_a_step_with_a_clip_that_is_not_finite_is_as_if_it_had_not_been(prepared, tmp_path, capsys):
    training = prepared(tmp_path / "spoilt", spoil=2)
    train(training)
    assert all(value.isfinite().all() for value in training.model.state_dict().values())
    assert "skipped steps 1" in capsys.readouterr().out
    (line,) = (tmp_path / "spoilt" / "skipped_steps.jsonl").read_text().splitlines()
    assert line == (
        '{"epoch": 1, "step": 3, "rank": 0, "rng_seed": 0, "records": [0, 1, 2, 3], '
        '"videos": ["0", "1", "2", "3"]}'
    )


def test_the_average_of_the_weights_does_not_follow_a_step_that_was_skipped(prepared, tmp_path):
    training = prepared(tmp_path, spoil=2)
    averages = [training.ema.model.head.weight.clone() for _ in train_one_epoch(training, 0)]
    stood = [torch.equal(before, after) for before, after in pairwise(averages)]
    assert stood == [False, True, False, False, False]


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_model_has_the_same_gradients_and_leaves_the_bare_one_as_it_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))
    clips, gradients = torch.randn(4, 6), []
    compiled = compile_replica(model, model, CPU)
    for net in (model, compiled):
        model.zero_grad()
        net(clips).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for plain, own in zip(*gradients):
        assert torch.allclose(plain, own, atol=1e-5)
    assert compiled is not model and type(model) is nn.Sequential


def test_without_a_compiler_the_setting_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    model = nn.Linear(1, 1)
    with pytest.raises(UserError, match="TRAIN.COMPILE True: on a CPU it needs .* no no-such-compiler"):
        compile_replica(model, model, CPU)
