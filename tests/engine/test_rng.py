"""What a model draws in a step is that step's."""

import pytest
import torch

from slowfast_mlp.engine.rng import seed_step


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_draws_are_those_of_the_step_whatever_came_before(kind):
    device, draws = torch.device(kind), {}
    for step in (1, 2, 1):
        seed_step(device, 0, 0, 0, step)
        draws.setdefault(step, []).append(torch.rand(3, device=device).tolist())
        torch.rand(5, device=device)
    assert draws[1][0] == draws[1][1] != draws[2][0]
