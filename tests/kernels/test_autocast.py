"""What autocast makes of the kernels, also on a GPU: of fake tensors no value is computed, but each has the
type that the real one would have.
"""

from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from slowfast_mlp.kernels.autocast import compute_dtype, disable_autocast
from slowfast_mlp.models.morphmlp import MorphMLP
from slowfast_mlp.models.posmlp_video import PosMLPVideo

CLIP = dict(num_classes=5, num_frames=4, crop_size=64)
STAGES = dict(depths=(1, 1, 1, 1), dims=(8, 16, 32, 64))
MODELS = {
    "morphmlp": lambda: MorphMLP(**CLIP, **STAGES, drop_path=0.5),
    "posmlp_video": lambda: PosMLPVideo(**CLIP, **STAGES, num_groups=(2, 4, 8, 16), drop_path=0.5),
}
# What would be float32 if it were left to autocast, or be made for it.
OF_MAPS = ("_to_copy", "add", "mul", "addcmul", "addmm", "mm")


def test_the_arithmetic_is_autocasts_where_that_is_on_but_for_float64():
    x = torch.ones(1)
    assert compute_dtype(x) == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compute_dtype(x) == torch.bfloat16
        assert compute_dtype(x.double()) == torch.float64
        assert compute_dtype(x.to("meta")) == torch.float32


def test_without_autocast_products_have_the_type_of_their_factors():
    x = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with disable_autocast(x), disable_autocast(x.to("meta")):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16


class Results(TorchDispatchMode):
    """Every tensor that an operator gives, with the operator's name."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        result = operator(*arguments, **(keywords or {}))
        tensors = (leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        self.found += [(operator.overloadpacket.__name__, tensor) for tensor in tensors]
        return result


@contextmanager
def gpus_autocast(dtype):
    """torch.autocast leaves itself off where there is no GPU."""
    torch.set_autocast_dtype("cuda", dtype)
    torch.set_autocast_enabled("cuda", True)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", False)


def maps_on_a_gpu(make, *, training):
    """Operators that give maps after the first norm of a forward pass, with the types of these: maps
    [B, T, H, W, C] or tokens [.., C], but not sums over them.
    """
    with torch.device("meta"):
        model = make().train(training)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        for module in model.modules():
            for name, value in [*module.named_parameters(recurse=False)]:
                module.register_parameter(name, nn.Parameter(torch.empty(value.shape, device="cuda")))
            for name, value in [*module.named_buffers(recurse=False)]:
                module.register_buffer(name, torch.empty(value.shape, dtype=value.dtype, device="cuda"))
        clips = torch.empty(2, 3, 4, 64, 64, device="cuda")
        with gpus_autocast(torch.bfloat16), torch.set_grad_enabled(training), Results() as results:
            model(clips)
    names = [name for name, _ in results.found]
    return [
        (name, tensor.dtype)
        for name, tensor in results.found[names.index("native_layer_norm") :]
        if (tensor.ndim == 5 and name in OF_MAPS) or (name == "native_layer_norm" and tensor.shape[-1] > 1)
    ]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_on_a_gpu_no_map_of_a_bf16_pass_is_made_float32(name, training):
    maps = maps_on_a_gpu(MODELS[name], training=training)
    assert maps.count(("native_layer_norm", torch.bfloat16)) >= 7
    # The norm before the head, whose mean the logits hang on: a copy of the map, and the result.
    wide = [operator for operator, dtype in maps if dtype != torch.bfloat16]
    assert wide == ["_to_copy", "native_layer_norm"]
