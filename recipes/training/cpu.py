# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Parts that make a training step on a CPU quicker and leaner than PyTorch's own, with the same result.

PyTorch has no kernel for attention with a learned bias (T5's) or with dropout on a CPU: it makes the scores of all
pairs of tokens, several times, and keeps them for the backward pass. Its dropout draws one random number for each
element and keeps the result as a float. Here 8 random bits decide on an element, as in FlashAttention's kernels, so
that a dropout of 0.1 is one of 26/256.

Of what the backward pass needs, least is kept: of a norm what it gives, which the layer after it keeps anyway, and
from which what it read is found again; of a gated layer its first two products, from which the rest is made again; of
T5's bias, which the distance of two tokens decides, one number for each distance in place of one for each pair.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


ATTENTION = "blockwise"
BLOCK_SIZE = 2**18  # scores at a time: they stay in a core's cache
KEPT_SCORES = 14 * 2**20  # of a layer and a batch: so many weights of attention are kept, more are made again
KEPT_PRODUCTS = 8 * 2**20  # numbers of a gated layer's first two products, likewise
LANES = 2**8  # an element is dropped by 8 random bits
GATED_SIZE = 2**19  # numbers of a gated layer at a time
SMALLEST_SCALE = 1e-30  # of a norm: below it, what was read is not found again from what is given


def speed_up_on_cpu(model: PreTrainedModel) -> None:
    """Give a language model attention, dropout, norms and activations of the same function that cost less on a CPU."""
    model.set_attn_implementation(ATTENTION)
    for module in list(model.modules()):
        for name, part in module.named_children():
            if type(part) is nn.Dropout:
                setattr(module, name, SeededDropout(part.p))
            elif type(part) is NewGELUActivation:
                setattr(module, name, nn.GELU(approximate="tanh"))
        lean = LEAN.get(type(module).__name__)
        if lean is not None:
            module.__class__ = type(lean.__name__, (lean, type(module)), {})


class SeededDropout(nn.Dropout):
    """Dropout that keeps the seed of its random numbers for the backward pass, not what they were."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if not (self.training and self.p and torch.is_grad_enabled() and hidden_states.device.type == "cpu"):
            return super().forward(hidden_states)
        return _SeededDropout.apply(hidden_states, self.p)


class _SeededDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_states, probability):
        ctx.draw = _Draw(probability)
        return ctx.draw.drop(hidden_states)

    @staticmethod
    def backward(ctx, gradient):
        return ctx.draw.drop(gradient), None


class _Draw:
    """
    Draw the elements that are dropped, the same each time.

    Args:
        probability (`float`): of an element to be dropped, in steps of 1 / 256.
    """

    def __init__(self, probability: float):
        self.dropped = round(probability * LANES)
        self.scale = LANES / (LANES - self.dropped) if self.dropped < LANES else 0.0
        self.seed = int(torch.randint(2**62, ()))

    def start(self) -> np.random.SFC64:
        return np.random.SFC64(self.seed)

    def bits(self, shape: torch.Size, source: np.random.SFC64) -> torch.Tensor:
        """(shape) in int8: of the next elements."""
        number = shape.numel()
        return torch.from_numpy(source.random_raw(-(-number // 8))).view(torch.int8)[:number].view(shape)

    def kept(self, bits: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """0 where an element is dropped, else 1."""
        return bits.to(dtype).ge_(self.dropped - LANES // 2)  # arithmetic in place: the quickest way by far

    def drop(self, values: torch.Tensor) -> torch.Tensor:
        return self.kept(self.bits(values.shape, self.start()), values.dtype).mul_(values).mul_(self.scale)


def blockwise_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: torch.Tensor | None = None,
    **kwargs,
) -> tuple[torch.Tensor, None]:
    """
    Attention as [`AttentionInterface`] wants it, block by block of queries; keys that are padding cost nothing. A
    batch with more than `KEPT_SCORES` scores has them made again in the backward pass: memory then grows with the
    length, not with its square.

    Args:
        query, key, value (`torch.Tensor` of shape `(batch_size, num_heads, length, head_dim)`).
        attention_mask (`torch.BoolTensor` of shape `(batch_size, 1, query_length, key_length)`, *optional*): `True`
            where a query sees a key.
        position_bias (`torch.Tensor` of shape `(1, num_heads, query_length, key_length)`, *optional*): T5's; of shape
            `(1, num_heads, query_length + key_length - 1)` by the distance of query and key, see [`BiasByDistance`].

    Returns:
        `(batch_size, query_length, num_heads, head_dim)`, and `None` for the weights.
    """
    if not _is_ours(query, key, attention_mask):
        bias = {} if position_bias is None else {"position_bias": _of_pairs(position_bias, key)}
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **bias, **kwargs
        )
    is_causal = getattr(module, "is_causal", True) if kwargs.get("is_causal") is None else kwargs["is_causal"]
    if attention_mask is None and is_causal and query.shape[2] > 1:
        attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()[None, None]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    output = _BlockwiseAttention.apply(query, key, value, position_bias, attention_mask, dropout, scaling)
    return output.transpose(1, 2), None


def _is_ours(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Return true if gradients will be asked for, on a CPU, in full precision; PyTorch does the rest as well."""
    wanted = torch.is_grad_enabled() and query.device.type == "cpu" and query.dtype in (torch.float32, torch.float64)
    return wanted and query.shape[1] == key.shape[1] and (mask is None or mask.dtype == torch.bool)


def keeps_weights(query: torch.Tensor, key: torch.Tensor) -> bool:
    """
    Return true if the weights of attention are kept for the backward pass. Those of a decoder over an encoder's
    states are kept where the encoder's own are, which have as many queries as keys: long batches need the memory.
    """
    rows, num_heads, num_queries, _ = query.shape
    return rows * num_heads * max(num_queries, key.shape[2]) * key.shape[2] <= KEPT_SCORES


class _BlockwiseAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, bias, mask, dropout, scaling):
        ctx.draw, ctx.scaling = _Draw(dropout) if dropout else None, scaling
        ctx.made = [] if keeps_weights(query, key) else None
        rows, num_heads, num_queries, _ = query.shape
        output = torch.empty(rows, num_queries, num_heads, value.shape[-1], dtype=query.dtype).transpose(1, 2)
        of_blocks = _weights_by_block(ctx.draw, query, key, bias, mask, scaling)
        for row, of_row in groupby(of_blocks, lambda block: block.row):
            values = _ordered(value[row], bias)
            for block in of_row:
                if ctx.made is not None:
                    ctx.made.append(block)
                used = block.weights
                if block.bits is not None:
                    used = ctx.draw.kept(block.bits, used.dtype).mul_(used)
                output[row, :, block.queries] = used @ values[:, block.keys]
        if dropout:
            output *= ctx.draw.scale
        ctx.save_for_backward(query, key, value, bias, mask, output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        query, key, value, bias, mask, output = ctx.saved_tensors
        means = (grad_output * output).sum(dim=-1, keepdim=True)  # of the gradient of a query's weights
        scale = ctx.draw.scale if ctx.draw else 1.0
        grad_query, grad_key, grad_value = (torch.empty_like(part) for part in (query, key, value))
        grad_bias = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
        made, ctx.made = ctx.made, None
        of_blocks = made or _weights_by_block(ctx.draw, query, key, bias, mask, ctx.scaling)
        for row, of_row in groupby(of_blocks, lambda block: block.row):
            keys, values = _ordered(key[row], bias), _ordered(value[row], bias)
            of_keys, of_values = torch.zeros_like(keys), torch.zeros_like(values)
            for _, queries, part, weights, bits in of_row:
                received = grad_output[row, :, queries] * scale
                gradient, used = received @ values[:, part].transpose(1, 2), weights
                if bits is not None:
                    kept = ctx.draw.kept(bits, weights.dtype)
                    gradient *= kept
                    used = kept.mul_(weights)
                of_values[:, part].baddbmm_(used.transpose(1, 2), received)
                gradient = _of_scores(gradient.sub_(means[row, :, queries]), weights, grad_bias, queries, part)
                grad_query[row, :, queries] = torch.bmm(gradient, keys[:, part]).mul_(ctx.scaling)
                of_keys[:, part].baddbmm_(gradient.transpose(1, 2), query[row, :, queries], alpha=ctx.scaling)
            grad_key[row], grad_value[row] = _ordered(of_keys, bias), _ordered(of_values, bias)
        return grad_query, grad_key, grad_value, grad_bias, None, None, None


class _Block(NamedTuple):
    """Row of the batch, some of its queries, the keys that they see, their weights before dropout, and its bits."""

    row: int
    queries: slice
    keys: slice
    weights: torch.Tensor  # (num_heads, queries, keys)
    bits: torch.Tensor | None


def _weights_by_block(draw: _Draw | None, query, key, bias, mask, scaling) -> Iterator[_Block]:
    source = draw.start() if draw else None
    for row, length, seen in _rows(query, key, mask):
        part = slice(key.shape[2] - length, None) if _is_by_distance(bias) else slice(0, length)
        transposed = _ordered(key[row], bias)[:, part].transpose(1, 2)
        seen = seen if seen is None else _ordered(seen, bias).expand(query.shape[2], length)
        size = max(1, BLOCK_SIZE // (query.shape[1] * length))
        for start in range(0, query.shape[2], size):
            queries = slice(start, min(start + size, query.shape[2]))
            if bias is None:
                scores = torch.bmm(query[row, :, queries], transposed).mul_(scaling)
            else:
                added = _bias_of(bias, queries, part, length)
                scores = torch.baddbmm(added, query[row, :, queries], transposed, alpha=scaling)
            if seen is not None:
                scores.masked_fill_(~seen[queries], torch.finfo(scores.dtype).min)
            weights = torch.softmax(scores, dim=-1, out=scores)
            yield _Block(row, queries, part, weights, draw.bits(weights.shape, source) if draw else None)


def _rows(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None):
    """
    Row of the batch, its keys up to the last that any query sees, and which of them each of the queries sees, or all
    of them alike, unless all are seen.
    """
    for row in range(query.shape[0]):
        length, seen = key.shape[2], None
        if mask is not None:
            seen = mask[row % mask.shape[0], 0]
            seen = seen[:1] if seen.stride(0) == 0 else seen  # the same for all queries
            any_sees = seen.view(torch.uint8).amax(dim=0).nonzero()  # a tenth of the time of `any`
            length = int(any_sees[-1]) + 1 if len(any_sees) else length
            seen = None if seen[:, :length].view(torch.uint8).amin() else seen[:, :length]
        yield row, length, seen


class BiasByDistance(nn.Module):
    """
    T5's attention with one number for each distance of query and key in place of a bias for each pair: `compute_bias`
    gives `(1, num_heads, query_length + key_length - 1)`, from the first query and last key to the last and the first.
    """

    def compute_bias(self, query_length, key_length, device=None, past_seen_tokens=0):
        weight = self.relative_attention_bias.weight
        is_whole = isinstance(past_seen_tokens, int) and past_seen_tokens == 0
        if not (is_whole and _learns_in_full(weight) and self.config._attn_implementation == ATTENTION):
            return super().compute_bias(query_length, key_length, device, past_seen_tokens)
        buckets = self._relative_position_bucket(
            torch.arange(key_length - 1, -query_length, -1),
            bidirectional=not self.is_decoder,
            num_buckets=self.relative_attention_num_buckets,
            max_distance=self.relative_attention_max_distance,
        )
        return self.relative_attention_bias(buckets).T.contiguous()[None]


def _is_by_distance(bias: torch.Tensor | None) -> bool:
    return bias is not None and bias.dim() == 3


def _ordered(part: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """
    Return keys, or what belongs to them, in contiguous memory: beside a bias by distance from the last to the first.
    So each query's bias is a part of the line of distances, one further on than that of the query before.
    """
    return part.flip(1) if _is_by_distance(bias) else part.contiguous()


def _bias_of(bias: torch.Tensor, queries: slice, keys: slice, length: int) -> torch.Tensor:
    """Return the bias of a block, (num_heads, queries, keys), of the keys as [`_ordered`] has them."""
    if not _is_by_distance(bias):
        return bias[0, :, queries, keys]
    return bias[0, :, queries.start + keys.start : queries.stop + keys.start + length - 1].unfold(1, length, 1)


def _of_scores(
    centred: torch.Tensor, weights: torch.Tensor, grad_bias: torch.Tensor | None, queries: slice, keys: slice
) -> torch.Tensor:
    """Return the gradient of a block's scores, `centred * weights`, and add it to that of the bias, if any."""
    if not _is_by_distance(grad_bias):
        gradient = centred.mul_(weights)
        if grad_bias is not None:
            grad_bias[0, :, queries, keys] += gradient
        return gradient
    num_heads, size, length = centred.shape
    rows = centred.new_empty(num_heads, size, length + size)
    rows[:, :, length:] = 0
    gradient = torch.mul(centred, weights, out=rows[:, :, :length])
    width = length + size - 1  # rows that are one shorter begin one further on: a distance stands in one column
    skewed = rows.flatten(1)[:, : size * width].unflatten(1, (size, width))
    first = queries.start + keys.start
    grad_bias[0, :, first : first + width] += skewed.sum(dim=1)
    return gradient


def _of_pairs(bias: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return a bias for each pair of tokens, (1, num_heads, query_length, key_length)."""
    return bias.unfold(2, key.shape[2], 1).flip(3) if _is_by_distance(bias) else bias


def _learns_in_full(*tensors: torch.Tensor) -> bool:
    """Return true if gradients will be asked for, on a CPU, in full precision."""
    kinds = {(tensor.device.type, tensor.dtype) for tensor in tensors}
    full = [{("cpu", kind)} for kind in (torch.float32, torch.float64)]
    return torch.is_grad_enabled() and kinds in full and not torch.is_autocast_enabled("cpu")


class LeanNorm(nn.Module):
    """Root-mean-square norm that keeps what it gives, in place of what it reads and two tensors on the way."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if _learns_in_full(hidden_states, self.weight) and self.weight.detach().abs().min() >= SMALLEST_SCALE:
            return _Norm.apply(hidden_states, self.weight, self.variance_epsilon)
        return super().forward(hidden_states)


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden_states, weight, epsilon):
        length = torch.linalg.vector_norm(hidden_states, dim=-1, keepdim=True)
        scale = length.square_().div_(hidden_states.shape[-1]).add_(epsilon).rsqrt_()
        output = (hidden_states * scale).mul_(weight)
        ctx.save_for_backward(output, scale, weight)
        return output

    @staticmethod
    def backward(ctx, gradient):
        output, scale, weight = ctx.saved_tensors
        products = gradient * output
        means = products.mean(dim=-1, keepdim=True)
        grad_weight = products.flatten(0, -2).sum(dim=0).div_(weight) if ctx.needs_input_grad[1] else None
        normed = torch.mul(output, weight.reciprocal(), out=products)
        return (gradient * weight).sub_(normed.mul_(means)).mul_(scale), grad_weight, None


class LeanGatedLayer(nn.Module):
    """T5's gated layer, that keeps its first two products alone, and of a long batch makes them again as well."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        layers = (self.wi_0, self.wi_1, self.wo)
        is_plain = all(type(layer) is nn.Linear and layer.bias is None and not _is_watched(layer) for layer in layers)
        if not (is_plain and isinstance(self.act, nn.GELU | nn.ReLU)):
            return super().forward(hidden_states)
        weights = [layer.weight for layer in layers]
        if not _learns_in_full(hidden_states, *weights):
            return super().forward(hidden_states)
        output = _GatedLayer.apply(hidden_states.flatten(0, -2), *weights, self.act, self.dropout.p * self.training)
        return output.unflatten(0, hidden_states.shape[:-1])


def _is_watched(layer: nn.Module) -> bool:
    """Return true if a call of the layer would do more than its own forward pass, such as gather its weights."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


class _GatedLayer(torch.autograd.Function):
    """(act(states @ gate.T) * (states @ up.T)) @ down.T, with dropout before the last product."""

    @staticmethod
    def forward(ctx, states, gate, up, down, act, dropout):
        ctx.draw, ctx.act = _Draw(dropout) if dropout else None, act
        gates, ups = (_room_for_product(states, weight) for weight in (gate, up))
        output = states.new_empty(len(states), len(down))
        for rows, kept in _gated_blocks(ctx.draw, states, gate):
            opened = act(_product(states, gate, rows, out=gates))
            inner = opened.mul_(_product(states, up, rows, out=ups))
            torch.mm(inner if kept is None else inner.mul_(kept), down.T, out=output[rows])
        ctx.save_for_backward(states, gate, up, down, gates, ups)
        return output

    @staticmethod
    def backward(ctx, gradient):
        states, gate, up, down, gates, ups = ctx.saved_tensors
        grad_states = torch.empty_like(states)
        grad_gate, grad_up, grad_down = (
            torch.zeros_like(weight) if needed else None
            for weight, needed in zip((gate, up, down), ctx.needs_input_grad[1:4], strict=True)
        )
        for rows, kept in _gated_blocks(ctx.draw, states, gate):
            opening = _product(states, gate, rows) if gates is None else gates[rows]
            raised = _product(states, up, rows) if ups is None else ups[rows]
            with torch.enable_grad():
                inner = opening.detach().requires_grad_()
                opened = ctx.act(inner)
            received = gradient[rows] @ down
            if kept is not None:
                received.mul_(kept)
            if grad_down is not None:
                used = opened.detach() * raised
                grad_down.addmm_(gradient[rows].T, used if kept is None else used.mul_(kept))
            of_up = received * opened.detach()
            (of_gate,) = torch.autograd.grad(opened, inner, received.mul_(raised))
            for grad_weight, of_product in ((grad_gate, of_gate), (grad_up, of_up)):
                if grad_weight is not None:
                    grad_weight.addmm_(of_product.T, states[rows])
            torch.mm(of_gate, gate, out=grad_states[rows])
            grad_states[rows].addmm_(of_up, up)
        return grad_states, grad_gate, grad_up, grad_down, None, None


def _room_for_product(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
    """Return memory for states @ weight.T, or nothing where the batch is so long that it is made again."""
    is_kept = 2 * len(states) * len(weight) <= KEPT_PRODUCTS
    return states.new_empty(len(states), len(weight)) if is_kept else None


def _product(states: torch.Tensor, weight: torch.Tensor, rows: slice, out: torch.Tensor | None = None) -> torch.Tensor:
    return torch.mm(states[rows], weight.T, out=None if out is None else out[rows])


def _gated_blocks(draw: _Draw | None, states: torch.Tensor, gate: torch.Tensor):
    """Block by block: its rows, and what dropout multiplies them with, if any."""
    source, size = draw.start() if draw else None, max(1, GATED_SIZE // len(gate))
    for start in range(0, len(states), size):
        rows = slice(start, min(start + size, len(states)))
        shape = torch.Size([rows.stop - rows.start, len(gate)])
        yield rows, draw.kept(draw.bits(shape, source), states.dtype).mul_(draw.scale) if draw else None


LEAN = {  # of transformers' classes
    "T5LayerNorm": LeanNorm,
    "MT5LayerNorm": LeanNorm,
    "LlamaRMSNorm": LeanNorm,
    "Qwen2RMSNorm": LeanNorm,
    "Qwen3RMSNorm": LeanNorm,
    "T5DenseGatedActDense": LeanGatedLayer,
    "MT5DenseGatedActDense": LeanGatedLayer,
    "T5Attention": BiasByDistance,
    "MT5Attention": BiasByDistance,
}
AttentionInterface.register(ATTENTION, blockwise_attention_forward)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
