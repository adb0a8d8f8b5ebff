# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Parts that make a training step on a CPU quicker and leaner than PyTorch's own, with the same result.

PyTorch has no kernel for attention with a learned bias (T5's) or with dropout on a CPU: it makes the scores of all
pairs of tokens, several times, and keeps them for the backward pass. Its dropout draws one random number for each
element and keeps the result as a float. Here 8 random bits decide on an element, as in FlashAttention's kernels, so
that a dropout of 0.1 is one of 26/256.
"""

import numpy as np
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


ATTENTION = "blockwise"
BLOCK_SIZE = 2**18  # scores at a time: they stay in a core's cache
KEPT_SCORES = 2**25  # of a layer and a batch: so many weights of attention are kept, more are made again
LANES = 2**8  # an element is dropped by 8 random bits


def speed_up_on_cpu(model: PreTrainedModel) -> None:
    """Give a language model attention, dropout and activations of the same function that cost less on a CPU."""
    model.set_attn_implementation(ATTENTION)
    for module in list(model.modules()):
        for name, part in module.named_children():
            if type(part) is nn.Dropout:
                setattr(module, name, SeededDropout(part.p))
            elif type(part) is NewGELUActivation:
                setattr(module, name, nn.GELU(approximate="tanh"))


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
        position_bias (`torch.Tensor` of shape `(1, num_heads, query_length, key_length)`, *optional*): T5's.

    Returns:
        `(batch_size, query_length, num_heads, head_dim)`, and `None` for the weights.
    """
    if not _is_ours(query, key, attention_mask):
        bias = {} if position_bias is None else {"position_bias": position_bias}
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


class _BlockwiseAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, bias, mask, dropout, scaling):
        ctx.draw, ctx.scaling = _Draw(dropout) if dropout else None, scaling
        ctx.made = [] if query.shape[:3].numel() * key.shape[2] <= KEPT_SCORES else None
        output = torch.empty(*query.shape[:3], value.shape[-1], dtype=query.dtype)
        for block, weights, bits in _weights_by_block(ctx.draw, query, key, bias, mask, scaling):
            row, queries, keys = block
            if ctx.made is not None:
                ctx.made.append((block, weights, bits))
            used = weights if bits is None else ctx.draw.kept(bits, weights.dtype).mul_(weights)
            output[row, :, queries] = used @ value[row, :, keys]
        if dropout:
            output *= ctx.draw.scale
        ctx.save_for_backward(query, key, value, bias, mask, output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        query, key, value, bias, mask, output = ctx.saved_tensors
        means = (grad_output * output).sum(dim=-1, keepdim=True)  # of the gradient of a query's weights
        scale = ctx.draw.scale if ctx.draw else 1.0
        grad_query, grad_key, grad_value = (torch.zeros_like(part) for part in (query, key, value))
        grad_bias = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
        made, ctx.made = ctx.made, None
        for block, weights, bits in made or _weights_by_block(ctx.draw, query, key, bias, mask, ctx.scaling):
            row, queries, keys = block
            received = grad_output[row, :, queries] * scale
            gradient, used = received @ value[row, :, keys].transpose(1, 2), weights
            if bits is not None:
                kept = ctx.draw.kept(bits, weights.dtype)
                gradient *= kept
                used = kept.mul_(weights)
            grad_value[row, :, keys] += used.transpose(1, 2) @ received
            gradient.sub_(means[row, :, queries]).mul_(weights)  # of the scores
            if grad_bias is not None:
                grad_bias[0, :, queries, keys] += gradient
            grad_query[row, :, queries] = gradient @ key[row, :, keys] * ctx.scaling
            grad_key[row, :, keys] += gradient.transpose(1, 2) @ query[row, :, queries] * ctx.scaling
        return grad_query, grad_key, grad_value, grad_bias, None, None, None


def _weights_by_block(draw: _Draw | None, query, key, bias, mask, scaling):
    """
    Block by block: its place (row of the batch, queries, keys), the weights of shape (num_heads, queries, keys) before
    dropout, and the random bits of dropout, if any.
    """
    source = draw.start() if draw else None
    for row, queries, keys, seen in _blocks(query, key, mask):
        transposed = key[row, :, keys].transpose(1, 2)
        if bias is None:
            scores = torch.bmm(query[row, :, queries], transposed).mul_(scaling)
        else:
            scores = torch.baddbmm(bias[0, :, queries, keys], query[row, :, queries], transposed, alpha=scaling)
        if seen is not None:
            scores.masked_fill_(~seen, torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=-1, out=scores)
        yield (row, queries, keys), weights, draw.bits(weights.shape, source) if draw else None


def _blocks(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None):
    """
    Row of the batch, block of its queries, its keys up to the last that any query sees, and which of them each of the
    queries sees, unless all do.
    """
    num_heads, num_queries, num_keys = query.shape[1], query.shape[2], key.shape[2]
    for row in range(query.shape[0]):
        length, seen = num_keys, None
        if mask is not None:
            seen = mask[row % mask.shape[0], 0]
            seen = seen[:1] if seen.stride(0) == 0 else seen  # the same for all queries
            any_sees = seen.any(dim=0).nonzero()
            length = int(any_sees[-1]) + 1 if len(any_sees) else num_keys
            seen = None if seen[:, :length].all() else seen[:, :length].expand(num_queries, length)
        size = max(1, BLOCK_SIZE // (num_heads * length))
        for start in range(0, num_queries, size):
            queries = slice(start, min(start + size, num_queries))
            yield row, queries, slice(0, length), None if seen is None else seen[queries]


AttentionInterface.register(ATTENTION, blockwise_attention_forward)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
