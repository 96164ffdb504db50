"""MorphMLP's mixing with few passes over memory, and little kept for the backward pass.

What models/morphmlp.py says plainly is computed here in another order, with the same outputs but for rounding
(tests/models/test_morphmlp_quick.py):

- The weights of the branches follow from the mean of their sum, and that mean is linear in the input: the
  mean input of every place in a chunk, times the layer's weights averaged over the places of their output.
  So they are known before the branches, and each branch is added to the sum as it is computed.
- Normalised inputs are recomputed in the backward pass. In wide stages (many groups, few tokens) the
  outputs of the spatial branches are kept; in others the gradient of the branches' weights comes out of that
  of the layer, computed group by group.

Axes: B batch, T time, H W space, C channels, G groups, S = C/G channels of a group, L places in a chunk, M
chunks of a clip, D = L·S what a spatial layer mixes; G = L, so that D = C.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from slowfast_mlp.kernels.autocast import custom_fwd
from slowfast_mlp.kernels.layer_norm import LayerNormState, recompute_norm
from slowfast_mlp.kernels.linear import input_grad, linear, sum_dtype, weight_grad


def rows(x: Tensor, chunk_len: int) -> Tensor:
    """[B, T, H, W, C] -> a view [B, G, M, L, S]: chunks of neighbours in a row, G = L."""
    B, C, L = x.shape[0], x.shape[-1], chunk_len
    return x.view(B, -1, L, L, C // L).permute(0, 3, 1, 2, 4)


def columns(x: Tensor, chunk_len: int) -> Tensor:
    """[B, T, H, W, C] -> a view [B, G, M1, M2, L, S] or [B, G, M1, M2, L1, L2, S]: chunks of neighbours in a
    column, or of whole columns. Only for lengths that divide the height or are a multiple of it.
    """
    B, T, H, W, C = x.shape
    L, S = chunk_len, C // chunk_len
    if H % L == 0:
        return x.view(B, T * H // L, L, W, L, S).permute(0, 4, 1, 3, 2, 5)
    width = L // H  # columns of a chunk
    return x.view(B, T, H, W // width, width, L, S).permute(0, 5, 1, 3, 4, 2, 6)


def strided(x: Tensor, chunk_len: int) -> Tensor:
    """[B, T, H, W, C] -> a view [B, G, T, M, L, S]: token = place·M + chunk of a frame."""
    B, T, H, W, C = x.shape
    L = chunk_len
    return x.view(B, T, L, H * W // L, L, C // L).permute(0, 4, 1, 3, 2, 5)


ORDERS = {"rows": rows, "columns": columns, "strided": strided}


def can_view(order: str, shape: torch.Size, chunk_len: int) -> bool:
    """Whether the chunks of maps [B, T, H, W, C] are views."""
    H, W = shape[2:4]
    if order == "columns":
        return H % chunk_len == 0 or (chunk_len % H == 0 and W % (chunk_len // H) == 0)
    return H * W % chunk_len == 0


def frame_mean(x: Tensor) -> Tensor:
    """[B, T, H, W, C] -> [B, 1, H, W, C], in float32: the one pass over x that all means are made from."""
    # Divided when small: autograd would divide the gradient of a mean at the size of x.
    return x.sum(dim=1, keepdim=True, dtype=sum_dtype(x)) / x.shape[1]


def position_means(frame: Tensor, order: str, chunk_len: int) -> Tensor:
    """A mean frame [B, 1, H, W, C] -> the mean over all chunks [B, G, D] of every place and channel."""
    return gather_chunks(frame, order, chunk_len).mean(dim=2)


def branch_mean(means: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The mean over all tokens [B, C] of what a layer [D, D] makes of chunks with the means [B, G, D]."""
    B, G, D = means.shape
    # Averaged over the places of the output: S rows are left.
    weight = weight.view(G, D // G, D).mean(dim=0)  # S D
    bias = bias.view(G, D // G).mean(dim=0)  # S
    return (means @ weight.t() + bias).reshape(B, D)


class GatedBranchSum(torch.autograd.Function):
    """The weighted sum of the branches of one clip-wise re-weighting: [B, T, H, W, C] -> the same.

    sum over k of gates[k]·branch k, the last branch being the plain linear layer. What is kept for the
    backward pass is in `norm`, but for stages where keeping outputs of the branches costs less.
    """

    @staticmethod
    @custom_fwd
    def forward(
        ctx: Any,
        normed: Tensor,
        gates: Tensor,
        norm: tuple,
        orders: tuple[str, ...],
        chunk_len: int,
        *layers: Tensor,
    ) -> Tensor:
        """`gates` [K, B, C], `orders` of the branches before the last, `layers` weight and bias of each."""
        gates_cast = gates.to(normed.dtype)
        mixed = _gated_linear(normed, gates_cast[-1], layers[-2], layers[-1])
        save_branches = _should_save_branches(normed, chunk_len)
        saved_branches = []
        for k, order in enumerate(orders):
            chunks = gather_chunks(normed, order, chunk_len)  # B G M D
            branch = linear(chunks, layers[2 * k], layers[2 * k + 1])
            _scatter_add(mixed, branch, gates_cast[k], order, chunk_len)
            if save_branches:
                saved_branches.append(branch)
        ctx.save_for_backward(gates, *norm[:5], *layers, *saved_branches)
        ctx.eps, ctx.orders, ctx.chunk_len = norm[5], orders, chunk_len
        return mixed.view(normed.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of input, gates and layers."""
        gates, x, mean, rstd, norm_weight, norm_bias, *rest = ctx.saved_tensors
        num_layers = 2 * (len(ctx.orders) + 1)
        layers, saved_branches = rest[:num_layers], rest[num_layers:]
        normed = recompute_norm(LayerNormState(x, mean, rstd, norm_weight, norm_bias, ctx.eps)).to(ctx.dtype)
        grad = grad.to(ctx.dtype).contiguous()
        gates_cast = gates.to(ctx.dtype)
        out, d_gate, d_weight, d_bias = _linear_grads(grad, normed, gates_cast[-1], layers[-2], layers[-1])
        d_gates, d_layers = [d_gate], [d_weight, d_bias]
        for k in reversed(range(len(ctx.orders))):
            order = ctx.orders[k]
            d_chunks = gather_chunks(grad, order, ctx.chunk_len)
            chunks = gather_chunks(normed, order, ctx.chunk_len)
            weights = (layers[2 * k], layers[2 * k + 1])
            if saved_branches:
                parts = _grads_with_branch(d_chunks, chunks, saved_branches[k], gates_cast[k], *weights)
            else:
                parts = _grads_by_group(d_chunks, chunks, gates_cast[k], *weights)
            d_input, d_gate, d_weight, d_bias = parts
            _scatter_add(out, d_input, None, order, ctx.chunk_len)
            d_gates.insert(0, d_gate)
            d_layers = [d_weight, d_bias, *d_layers]
        d_layers = [d_layer.to(layer.dtype) for d_layer, layer in zip(d_layers, layers)]
        return out, torch.stack(d_gates).to(gates.dtype), None, None, None, *d_layers


def gather_chunks(x: Tensor, order: str, chunk_len: int) -> Tensor:
    """[B, T, H, W, C] -> chunks [B, G, M, D], contiguous: one copy."""
    view = ORDERS[order](x, chunk_len)
    # Of a single chunk or group the reshaped tensor may still be a view in another order.
    return view.reshape(x.shape[0], chunk_len, -1, x.shape[-1]).contiguous()


def _scatter_add(target: Tensor, chunks: Tensor, gate: Tensor | None, order: str, chunk_len: int) -> None:
    """Adds chunks [B, G, M, D], times their gate [B, C], to a map [B, T, H, W, C] in place."""
    B, C = target.shape[0], target.shape[-1]
    target_view = ORDERS[order](target, chunk_len)
    chunks = chunks.view(target_view.shape)
    if target.device.type == "cpu" and target.dtype != torch.float32:
        # torch has no vector code on a CPU for strided arithmetic in half precision, but has it for a copy.
        ordered = torch.empty_like(target)
        ORDERS[order](ordered, chunk_len).copy_(chunks)
        if gate is None:
            target.add_(ordered)
        else:
            target.addcmul_(ordered, gate.view(B, 1, 1, 1, C))
    elif gate is None:
        target_view.add_(chunks)
    else:
        gate = gate.view(B, chunk_len, *[1] * (target_view.ndim - 3), C // chunk_len)
        target_view.addcmul_(chunks, gate)


def _gated_linear(x: Tensor, gate: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gate·(x W' + b): [B, T, H, W, C], with the gate [B, C] folded into a weight of each sample."""
    B, C = gate.shape
    weights = gate.unsqueeze(-1) * weight.to(x.dtype)  # B O I
    biases = (gate * bias.to(x.dtype)).unsqueeze(1)  # B 1 O
    if B == 1:
        return linear(x, weights[0], biases[0, 0])
    return torch.baddbmm(biases, x.view(B, -1, C), weights.transpose(1, 2)).view(x.shape)


def _linear_grads(
    grad: Tensor, x: Tensor, gate: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `_gated_linear`'s x, gate [B, C], weight and bias.

    The weight's gradient of every sample without its gate gives that of the gate too: their product by rows.
    """
    B, C = gate.shape
    tokens, inputs = grad.view(B, -1, C), x.view(B, -1, C)
    weights = gate.unsqueeze(-1) * weight.to(x.dtype)  # B O I
    if B == 1:
        d_input = input_grad(tokens, weights[0])
        products = weight_grad(tokens, inputs).unsqueeze(0)
    else:
        d_input = tokens @ weights
        products = tokens.transpose(1, 2) @ inputs  # B O I
    wide = sum_dtype(x)
    sums = tokens.sum(dim=1, dtype=wide)  # B O
    products, gate = products.to(wide), gate.to(wide)
    d_gate = (products * weight).sum(dim=-1) + sums * bias
    d_weight = torch.einsum("bo,boi->oi", gate, products)
    return d_input.view(x.shape), d_gate, d_weight, (gate * sums).sum(dim=0)


def _should_save_branches(x: Tensor, num_groups: int) -> bool:
    """Whether the outputs of the branches are smaller than the products that would stand in for them."""
    B, C = x.shape[0], x.shape[-1]
    return num_groups * C * C > 2 * x.numel() // B


def _grads_by_group(
    d_chunks: Tensor, chunks: Tensor, gate: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of a branch's chunks [B, G, M, D], gate [B, C], weight [D, D] and bias [D].

    As in `_linear_grads`, for every sample and group: with the gate in the weight [B, G, D, D].
    """
    B, G, M, D = chunks.shape
    wide, gate = sum_dtype(chunks), gate.view(B * G, 1, D // G, 1)
    weight = weight.to(chunks.dtype)
    weights = (gate * weight.view(1, G, D // G, D)).view(B * G, D, D)
    d_chunks, chunks = d_chunks.view(B * G, M, D), chunks.view(B * G, M, D)
    d_input = torch.bmm(d_chunks, weights)
    # Row by row of the layer, as batched products that read these where they are.
    products = torch.bmm(d_chunks.transpose(1, 2), chunks).transpose(0, 1)  # D BG D
    sums = d_chunks.sum(dim=1, dtype=wide).view(B * G, G, D // G)
    by_row = torch.bmm(products, weight.unsqueeze(2)).to(wide).view(G, D // G, B * G).permute(2, 0, 1)
    d_gate = (by_row + sums * bias.view(G, D // G)).sum(dim=1)  # BG S, summed over the places of the output
    gate_by_row = gate.expand(-1, G, -1, -1).reshape(B * G, D).t().unsqueeze(1)  # D 1 BG
    d_weight = torch.bmm(gate_by_row, products).view(D, D)
    d_bias = (sums * gate.to(wide).squeeze(-1)).sum(dim=0).view(D)
    return d_input, d_gate.view(B, D), d_weight, d_bias


def _grads_with_branch(
    d_chunks: Tensor, chunks: Tensor, branch: Tensor, gate: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same, from the branch's output [B, G, M, D]."""
    B, G, M, D = chunks.shape
    wide, by_place = sum_dtype(chunks), (B, G, M, G, D // G)
    d_gate = (d_chunks * branch).view(by_place).sum(dim=(2, 3), dtype=wide)  # B G S
    d_branch = (d_chunks.view(by_place) * gate.view(B, G, 1, 1, D // G)).view(B, G, M, D)
    d_bias = d_branch.sum(dim=(0, 1, 2), dtype=wide)
    return input_grad(d_branch, weight), d_gate.view(B, D), weight_grad(d_branch, chunks), d_bias
