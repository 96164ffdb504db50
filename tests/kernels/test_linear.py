"""Linear layers and their gradients, by whatever library computes them."""

import pytest
import torch
from torch.nn import functional as F

from slowfast_mlp.kernels.gelu_conv import GeluConv
from slowfast_mlp.kernels.linear import input_grad, linear, sum_dtype, weight_grad

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.02}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 4, 6), (1, 9)])
def test_a_product_and_its_gradients_are_those_of_a_linear_layer(shape, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, shape[-1], dtype=torch.float64, requires_grad=True)
    bias = torch.randn(8, dtype=torch.float64)
    expected = F.linear(x, weight, bias)
    grad = torch.randn_like(expected)
    expected.backward(grad)
    here = [value.detach().to(dtype) for value in (x, weight, bias, grad)]
    found = (linear(*here[:3]), input_grad(here[3], here[1]), weight_grad(here[3], here[0]))
    for value, right in zip(found, (expected, x.grad, weight.grad)):
        assert value.shape == right.shape and value.dtype == dtype
        assert (value.double() - right).abs().max() <= TOLERANCES[dtype] * right.abs().max()


def test_weights_are_cast_to_the_type_of_the_tokens():
    x, weight = torch.ones(2, 3, dtype=torch.bfloat16), torch.ones(4, 3)
    assert linear(x, weight, torch.ones(4)).tolist() == [[4.0] * 4] * 2


def test_sums_of_half_precision_are_made_in_float32():
    kinds = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
    assert [sum_dtype(torch.ones(1, dtype=kind)) for kind in kinds] == [torch.float32] * 3 + [torch.float64]


@pytest.mark.parametrize("num_axes", [2, 3])
def test_an_activated_convolution_is_gelu_and_convolution(num_axes):
    torch.manual_seed(0)
    kind = torch.nn.Conv2d if num_axes == 2 else torch.nn.Conv3d
    conv = kind(3, 4, kernel_size=3, stride=2, padding=1).double()
    x = torch.randn(2, 3, *[6] * num_axes, dtype=torch.float64, requires_grad=True)
    inputs = (x, conv.weight, conv.bias)
    ours = GeluConv.apply(*inputs, conv.stride, conv.padding)
    expected = conv(F.gelu(x))
    assert torch.allclose(ours, expected)
    grad = torch.randn_like(ours)
    found, right = (torch.autograd.grad(out, inputs, grad) for out in (ours, expected))
    assert all(torch.allclose(a, b) for a, b in zip(found, right))
