"""A batch in parts has the gradient of the batch."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from slowfast_mlp.distributed.launch import launch
from slowfast_mlp.engine.grad_accumulation import backward_in_parts
from slowfast_mlp.engine.precision import Precision
from tests.distributed import jobs

CPU = torch.device("cpu")


def gradients_of(num_parts, batch=5):
    """Loss, logits and gradients of a batch of clips in parts; batch norms use their running statistics."""
    model, clips, labels = jobs.model_and_batch(batch)
    model.eval()
    targets = F.one_hot(labels, 3).float() * 0.7 + 0.1
    parts = backward_in_parts(model, clips, targets, Precision("fp32", CPU), accumulate_steps=num_parts)
    return *parts, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def test_one_part_is_the_batch_bit_for_bit():
    model, clips, labels = jobs.model_and_batch(5)
    model.eval()
    logits = model(clips)
    loss = F.cross_entropy(logits, F.one_hot(labels, 3).float() * 0.7 + 0.1)
    loss.backward()
    own_loss, own_logits, gradients = gradients_of(1)
    assert torch.equal(own_loss, loss.detach()) and torch.equal(own_logits, logits.detach())
    assert torch.equal(gradients, torch.cat([p.grad.flatten() for p in model.parameters()]))


@pytest.mark.parametrize("num_parts", [2, 3, 5])  # 3 + 2, 2 + 2 + 1, one by one
def test_parts_add_up_to_the_batch_also_where_they_are_not_equal(num_parts):
    (loss, logits, gradients), (whole_loss, whole_logits, whole) = gradients_of(num_parts), gradients_of(1)
    assert torch.allclose(loss, whole_loss, atol=1e-6)
    assert torch.allclose(logits, whole_logits, atol=1e-5)
    assert whole.abs().max() > 0.1
    assert torch.allclose(gradients, whole, atol=1e-6, rtol=1e-5)


def test_two_processes_in_parts_give_the_gradients_of_one_and_share_them_once(tmp_path):
    launch(partial(jobs.save_accumulated_gradients, tmp_path), num_gpus=0, processes=2)
    two = torch.load(tmp_path / "accumulated.pt", weights_only=True)
    assert torch.allclose(two["gradients"], gradients_of(1, batch=4)[2], atol=1e-6, rtol=1e-5)
    assert two["shared_before_the_last_part"] == 0
    assert two["shared_with_the_last_part"] == two["num_parameters"]
