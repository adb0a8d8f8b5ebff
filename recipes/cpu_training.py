# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
What makes a training step on a CPU quicker and leaner than PyTorch's own parts, with the same result.

PyTorch has no kernel for attention with a learned bias (T5's) or with dropout on a CPU: it makes the scores of all
pairs of tokens, several times, and keeps them for the backward pass. Its dropout draws one random number for each
element and keeps the result as a float.
"""

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.activations import NewGELUActivation
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


ATTENTION = "blockwise"
BLOCK_SIZE = 2**18  # scores at a time: they stay in a core's cache
LANES = 2**16  # an element is dropped by 16 random bits


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
        return ctx.draw.drop(hidden_states, ctx.draw.start())

    @staticmethod
    def backward(ctx, gradient):
        return ctx.draw.drop(gradient, ctx.draw.start()), None


class _Draw:
    """
    Which elements are dropped, as often as asked the same.

    Args:
        probability (`float`): of an element to be dropped, in steps of 2 ** -16.
    """

    def __init__(self, probability: float):
        self.dropped = round(probability * LANES)
        self.scale = LANES / (LANES - self.dropped) if self.dropped < LANES else 0.0
        self.seed = int(torch.randint(2**62, ()))

    def start(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)

    def kept(self, values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Of the next elements, as many as there are values: 0 where one is dropped, else 1."""
        number = values.numel()
        bits = torch.empty(-(-number // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        bits = bits.view(torch.int16)[:number].view(values.shape)
        return bits.to(values.dtype).ge_(self.dropped - LANES // 2)  # arithmetic in place: the quickest way by far

    def drop(self, values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.kept(values, generator).mul_(values).mul_(self.scale)


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
    Attention as [`AttentionInterface`] wants it, block by block of queries, whose scores are made again in the
    backward pass: memory grows with the length, not with its square, and keys that are padding cost nothing.

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
    """Whether gradients will be asked for, on a CPU, in full precision; PyTorch does the rest as well."""
    wanted = torch.is_grad_enabled() and query.device.type == "cpu" and query.dtype in (torch.float32, torch.float64)
    return wanted and query.shape[1] == key.shape[1] and (mask is None or mask.dtype == torch.bool)


class _BlockwiseAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, bias, mask, dropout, scaling):
        ctx.draw, ctx.scaling = _Draw(dropout) if dropout else None, scaling
        output = torch.empty(*query.shape[:3], value.shape[-1], dtype=query.dtype)
        generator = ctx.draw.start() if dropout else None
        for row, queries, keys in _blocks(query, key, mask):
            weights = _weights(query, key, bias, mask, scaling, row, queries, keys)
            if dropout:
                weights *= ctx.draw.kept(weights, generator)
            output[row, :, queries] = weights @ value[row, :, keys]
        if dropout:
            output *= ctx.draw.scale
        ctx.save_for_backward(query, key, value, bias, mask, output)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        query, key, value, bias, mask, output = ctx.saved_tensors
        means = (grad_output * output).sum(dim=-1, keepdim=True)  # of the gradient of a query's weights
        generator, scale = (ctx.draw.start(), ctx.draw.scale) if ctx.draw else (None, 1.0)
        grad_query, grad_key, grad_value = (torch.zeros_like(part) for part in (query, key, value))
        grad_bias = torch.zeros_like(bias) if ctx.needs_input_grad[3] else None
        for row, queries, keys in _blocks(query, key, mask):
            weights = _weights(query, key, bias, mask, ctx.scaling, row, queries, keys)
            received = grad_output[row, :, queries] * scale
            gradient, used = received @ value[row, :, keys].transpose(1, 2), weights
            if ctx.draw:
                kept = ctx.draw.kept(weights, generator)
                gradient *= kept
                used = kept.mul_(weights)
            grad_value[row, :, keys] += used.transpose(1, 2) @ received
            gradient.sub_(means[row, :, queries]).mul_(weights)  # of the scores
            if grad_bias is not None:
                grad_bias[0, :, queries, keys] += gradient
            grad_query[row, :, queries] = gradient @ key[row, :, keys] * ctx.scaling
            grad_key[row, :, keys] += gradient.transpose(1, 2) @ query[row, :, queries] * ctx.scaling
        return grad_query, grad_key, grad_value, grad_bias, None, None, None


def _blocks(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None):
    """Row of the batch, block of its queries, and its keys up to the last that any query sees."""
    num_heads, num_queries, num_keys = query.shape[1], query.shape[2], key.shape[2]
    for row in range(query.shape[0]):
        length = num_keys
        if mask is not None:
            seen = mask[row % mask.shape[0], 0].any(dim=0).nonzero()
            length = int(seen[-1]) + 1 if len(seen) else num_keys
        size = max(1, BLOCK_SIZE // (num_heads * length))
        for start in range(0, num_queries, size):
            yield row, slice(start, min(start + size, num_queries)), slice(0, length)


def _weights(query, key, bias, mask, scaling, row, queries, keys) -> torch.Tensor:
    """(num_heads, block of queries, keys): after the softmax, before dropout."""
    transposed = key[row, :, keys].transpose(1, 2)
    if bias is None:
        scores = torch.bmm(query[row, :, queries], transposed).mul_(scaling)
    else:
        scores = torch.baddbmm(bias[0, :, queries, keys], query[row, :, queries], transposed, alpha=scaling)
    if mask is not None:
        seen = mask[row % mask.shape[0], :, queries, keys]
        if not seen.all():
            scores.masked_fill_(~seen, torch.finfo(scores.dtype).min)
    return torch.softmax(scores, dim=-1, out=scores)


AttentionInterface.register(ATTENTION, blockwise_attention_forward)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
