"""Mobile-Former's dynamic ReLU: the numbers and gradients of the plain form, from less memory."""

import torch

from slowfast_mlp.benchmark.traffic import saved_bytes
from slowfast_mlp.kernels.two_slopes import two_slopes
from slowfast_mlp.models.mobile_former import MobileFormer
from tests.models.reference import reference
from tests.models.test_every_model import TINY


def models(**arguments):
    """A tiny model away from its start, and the plain form of it."""
    torch.manual_seed(0)
    model = MobileFormer(num_classes=5, **{**TINY["mobile_former"]["arguments"], **arguments})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model, reference("mobile_former").build(model)


def test_values_are_the_larger_of_both_products():
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0]).reshape(1, 1, 1, 1, 5)
    first, second = (torch.tensor(slope).reshape(1, 1, 1, 1, 1) for slope in (0.5, -0.25))
    assert two_slopes(x, first, second).flatten().tolist() == [0.5, 0.25, 0.0, 0.5, 1.5]
    assert two_slopes(x, second, first).flatten().tolist() == [0.5, 0.25, 0.0, 0.5, 1.5]
    assert two_slopes(x, first, first).flatten().tolist() == [-1.0, -0.5, 0.0, 0.5, 1.5]


def test_the_gradient_is_the_slope():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    first, second = (torch.randn(2, 1, 4, 1, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(two_slopes, (x, first, second))


def test_logits_and_gradients_are_those_of_the_plain_form():
    clips = torch.randn(3, 3, 4, 32, 32, dtype=torch.float64)
    results = []
    for net in models():
        logits = net.double()(clips)
        logits.square().sum().backward()
        results.append([logits, *(parameter.grad for parameter in net.parameters())])
    names = ["logits", *(name for name, _ in net.named_parameters())]
    for name, ours, plain in zip(names, *results, strict=True):
        assert (ours - plain).norm() < 1e-9 * plain.norm() + 1e-12, name


def test_half_precision_is_no_further_from_single_precision_than_the_plain_form_is():
    clips = torch.randn(4, 3, 4, 32, 32)

    def gradient(net, precision):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = net(clips).float().square().sum()
        net.zero_grad()
        loss.backward()
        return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])

    ours, plain = models()
    exact = gradient(plain, "fp32")
    errors = [(gradient(net, "bf16") - exact).norm() / exact.norm() for net in (ours, plain)]
    assert 0 < errors[0] < 1.3 * errors[1] < 0.5


def test_training_keeps_less_than_the_plain_form():
    kept = []
    for net in models():
        with saved_bytes() as saved:
            logits = net(torch.randn(2, 3, 4, 32, 32))
            kept.append(saved())
        del logits
    assert 0.5 < kept[0] / kept[1] < 0.85  # in a size at which the paper's nets keep 0.7


def test_it_compiles_to_one_graph():
    def work(x, first, second):
        return two_slopes(x, first, second).square().sum()

    torch.manual_seed(0)
    leaves = [torch.randn(2, 3, 4, 2, 2), *(torch.randn(2, 1, 4, 1, 1) for _ in range(2))]
    for leaf in leaves:
        leaf.requires_grad_()
    eager = torch.autograd.grad(work(*leaves), leaves)
    compiled = torch.compile(work, fullgraph=True, backend="aot_eager")
    for ours, expected in zip(torch.autograd.grad(compiled(*leaves), leaves), eager):
        assert torch.allclose(ours, expected)
