"""Statistics of batch norms: recomputed, and put back after a skipped step."""

from functools import partial

import torch
from torch import nn

from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.engine.precise_bn import recompute_statistics
from slowfast_mlp.engine.precision import Precision
from slowfast_mlp.layers.batch_norm import KeptStatistics
from tests.distributed import jobs

FP32 = Precision("fp32", torch.device("cpu"))


def test_new_statistics_are_those_of_all_values_of_the_batches():
    model, batches = jobs.net_with_norm()
    before = model[0].weight.clone()
    recompute_statistics(model, batches, FP32)
    with torch.no_grad():
        values = torch.cat([model[0](batch) for batch in batches]).double()  # B C T H W
    assert torch.allclose(model[1].running_mean.double(), values.mean((0, 2, 3, 4)), atol=1e-6)
    variance = values.transpose(0, 1).flatten(1).var(dim=1)
    assert torch.allclose(model[1].running_var.double(), variance, rtol=1e-5)
    assert torch.equal(model[0].weight, before) and model.training
    assert model[1].momentum == 0.1 and model[1].num_batches_tracked == 0


def test_a_later_norm_sees_what_training_shows_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.BatchNorm1d(2))
    batches = [torch.randn(8, 2) * 5 + 3, torch.randn(8, 2)]
    recompute_statistics(model, batches, FP32)
    # The first normalises each batch by itself; nothing is dropped.
    assert torch.allclose(model[2].running_mean, torch.zeros(2), atol=1e-6)
    assert torch.allclose(model[2].running_var, torch.full((2,), 16 / 15), rtol=1e-4)


def test_two_processes_find_the_statistics_of_one(tmp_path):
    model, batches = jobs.net_with_norm()
    recompute_statistics(model, batches, FP32)
    launch(partial(jobs.save_precise_statistics, tmp_path), num_gpus=0, processes=2)
    two = torch.load(tmp_path / "statistics.pt", weights_only=True)
    assert torch.allclose(two["mean"], model[1].running_mean, atol=1e-6)
    assert torch.allclose(two["var"], model[1].running_var, rtol=1e-5)


def test_statistics_are_put_back_only_where_the_step_was_skipped():
    norm = nn.BatchNorm1d(1)
    statistics = KeptStatistics(norm)
    norm(torch.full((2, 1), float("nan")))
    statistics.restore_where(torch.tensor(True))
    assert (norm.running_mean.item(), norm.running_var.item(), norm.num_batches_tracked) == (0, 1, 0)
    statistics.keep()
    norm(torch.full((2, 1), 10.0))
    statistics.restore_where(torch.tensor(False))
    assert (norm.running_mean.item(), norm.num_batches_tracked) == (1, 1)
