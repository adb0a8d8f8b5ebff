# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A T5 encoder on a CPU, with the weights of transformers' own modules.

Each record attends to itself alone, at its own length: nothing is computed for padding, the bias of distances is not
copied for each record and joined with a mask, and but for rounding what is read of a record depends on no other.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration


def is_plain_t5(backbone: nn.Module, stack: str) -> bool:
    """
    Tell if a language model is a T5 in single precision, of which a part is as transformers makes it.

    Args:
        stack (`str`): `encoder` or `decoder`.
    """
    if type(backbone) is not T5ForConditionalGeneration or backbone.training:
        return False
    modules = list(getattr(backbone, stack).modules())
    holders = [
        module for module in (*modules, backbone.lm_head) if list(module.parameters())
    ]  # LoRA's hold other ones
    return (
        all(type(module).__module__.startswith(("torch.nn.", "transformers.models.t5.")) for module in holders)
        and all(weight.dtype == torch.float32 for module in holders for weight in module.parameters())
        and not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    )


def encode_each(backbone: T5ForConditionalGeneration, inputs_embeds: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    """
    Encode records, without gradients.

    Args:
        backbone (`T5ForConditionalGeneration`): one that [`is_plain_t5`].
        inputs_embeds (`torch.Tensor` of shape `(batch_size, sequence_length, d_model)`): the records' tokens first.
        lengths (`list[int]`): how many tokens each record has.

    Returns:
        `torch.Tensor` of the same shape: 0 after a record's tokens.
    """
    stack, config = backbone.encoder, backbone.config
    states = torch.cat([row[:length] for row, length in zip(inputs_embeds, lengths, strict=True)])
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(max(lengths), max(lengths))  # (1, num_heads, most, most)
    for block in stack.block:
        own, feed = block.layer
        attention = own.SelfAttention
        joint = torch.cat([attention.q.weight, attention.k.weight, attention.v.weight])
        joint = F.linear(normalized(own.layer_norm, states), joint).view(len(states), 3, config.num_heads, config.d_kv)
        attended = [_attend(part, bias[:, :, : len(part), : len(part)]) for part in joint.split(lengths)]
        states = fed(feed, states + attention.o(torch.cat(attended)))
    encoded = torch.zeros_like(inputs_embeds)
    for row, part in zip(encoded, normalized(stack.final_layer_norm, states).split(lengths), strict=True):
        row[: len(part)] = part
    return encoded


def normalized(norm: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """Scale states as T5's layer norm does."""
    return F.rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def fed(layer: nn.Module, states: torch.Tensor) -> torch.Tensor:
    """Pass states through a feed-forward layer, gated or not."""
    dense, read = layer.DenseReluDense, normalized(layer.layer_norm, states)
    if hasattr(dense, "wi_0"):
        hidden = dense.act(F.linear(read, dense.wi_0.weight)) * F.linear(read, dense.wi_1.weight)
    else:
        hidden = dense.act(F.linear(read, dense.wi.weight))
    return states + F.linear(hidden, dense.wo.weight)


def _attend(joint: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Attend from each place of a record to all: `(length, 3, heads, width)` to `(length, heads * width)`."""
    query, key, value = joint.permute(1, 2, 0, 3).unsqueeze(1)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
    return attended[0].transpose(0, 1).flatten(1)


__all__ = ["encode_each", "fed", "is_plain_t5", "normalized"]
