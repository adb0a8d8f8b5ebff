# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A T5 encoder on a CPU, with the weights of transformers' own modules.

Each record attends to itself alone, at its own length: nothing is computed for padding, the bias of distances is not
copied for each record and joined with a mask, and but for rounding what is read of a record depends on no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration


def is_plain_t5(backbone: nn.Module, stack: str) -> bool:
    """
    Return whether a language model is a T5 in single precision, of which a part is as transformers makes it.

    Args:
        stack (`str`): `encoder` or `decoder`.
    """
    if type(backbone) is not T5ForConditionalGeneration or backbone.training:
        return False
    part = getattr(backbone, stack)
    modules = list(part.modules())
    return (
        # LoRA's modules hold other ones
        all(_is_known(module) or next(module.parameters(), None) is None for module in (*modules, backbone.lm_head))
        and all(weight.dtype == torch.float32 for held in (part, backbone.lm_head) for weight in held.parameters())
        and not any(module._forward_hooks or module._forward_pre_hooks for module in modules)
    )


def _is_known(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.nn.", "transformers.models.t5."))


class T5Encoding:
    """
    The encoder of a backbone.

    Args:
        backbone (`T5ForConditionalGeneration`): one that `fits`.
    """

    def __init__(self, backbone: T5ForConditionalGeneration):
        self.stack = backbone.encoder
        self.heads = backbone.config.num_heads, backbone.config.d_kv
        self.attentions = [block.layer[0].SelfAttention for block in self.stack.block]
        self.joint = [torch.cat([layer.q.weight, layer.k.weight, layer.v.weight]) for layer in self.attentions]
        self.bias: torch.Tensor | None = None  # of the longest record so far

    @staticmethod
    def fits(backbone: nn.Module) -> bool:
        """Return whether a language model is a T5 on a CPU, in single precision, as transformers makes it."""
        return is_plain_t5(backbone, "encoder") and backbone.device.type == "cpu"

    def read(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode records whose tokens stand first: `(batch_size, sequence_length, d_model)`, zeros for padding."""
        lengths = attention_mask.sum(dim=1).tolist()
        states = torch.cat([row[:length] for row, length in zip(inputs_embeds, lengths, strict=True)])
        read = torch.zeros_like(inputs_embeds)
        for row, part in zip(read, self.read_rows(states, lengths), strict=True):
            row[: len(part)] = part
        return read

    def read_rows(
        self, states: torch.Tensor, lengths: Sequence[int], first: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """
        Encode records whose tokens follow each other.

        Args:
            states (`torch.Tensor` of shape `(tokens, d_model)`): embeddings.
            lengths (list of `int`): number of tokens of each record.
            first (`torch.Tensor`, *optional*): of the tokens, as `first_joint` gives them.

        Returns:
            For each record `(length, d_model)`.
        """
        biases = [self._bias_of(length) for length in (max(lengths), *lengths)][1:]  # the longest first

        def attend(joint: torch.Tensor) -> torch.Tensor:
            parts = zip(joint.split(lengths), biases, strict=True)
            return torch.cat([self._attend(part, bias) for part, bias in parts])

        return self._pass(states, attend, first).split(lengths)

    def first_joint(self, states: torch.Tensor) -> torch.Tensor:
        """
        Return queries, keys and values of embeddings `(tokens, d_model)` in the first layer, side by side: those of a
        token depend neither on its position nor on others.
        """
        return F.linear(normalized(self.stack.block[0].layer[0].layer_norm, states), self.joint[0])

    def read_row(self, states: torch.Tensor, log_weights: torch.Tensor | None = None) -> torch.Tensor:
        """
        Encode one record.

        Args:
            states (`torch.Tensor` of shape `(sequence_length, d_model)`): embeddings.
            log_weights (`torch.Tensor` of shape `(sequence_length,)`, *optional*): added to all scores of a token: the
                logarithm of how much of it is attended to. Default: 0, all of it.
        """
        bias = self._bias_of(len(states))
        bias = bias if log_weights is None else bias + log_weights
        return self._pass(states, lambda joint: self._attend(joint, bias))

    def _pass(
        self,
        states: torch.Tensor,
        attend: Callable[[torch.Tensor], torch.Tensor],
        first: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Pass states through all layers.

        Args:
            states (`torch.Tensor` of shape `(tokens, d_model)`): of one record or several.
            attend (callable): gives what tokens attend to, of their queries, keys and values side by side.
            first (`torch.Tensor`, *optional*): as `first_joint` gives it. Default: it is computed.
        """
        read = self.first_joint(states) if first is None else first
        for number, (block, attention) in enumerate(zip(self.stack.block, self.attentions, strict=True)):
            own, feed = block.layer
            if number:
                read = F.linear(normalized(own.layer_norm, states), self.joint[number])
            states = states + attention.o(attend(read))
            states = fed(feed, states)
        return normalized(self.stack.final_layer_norm, states)

    def _attend(self, joint: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Attend from each place of a record to all, `(sequence_length, heads * width)`."""
        query, key, value = joint.view(len(joint), 3, *self.heads).permute(1, 2, 0, 3).unsqueeze(1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        return attended[0].transpose(0, 1).flatten(1)

    def _bias_of(self, length: int) -> torch.Tensor:
        """Return the bias of all pairs of tokens, `(1, num_heads, length, length)`: it depends on their distance."""
        if self.bias is None or self.bias.shape[-1] < length:
            self.bias = self.attentions[0].compute_bias(length, length)
        return self.bias[:, :, :length, :length]


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


__all__ = ["T5Encoding", "fed", "is_plain_t5", "normalized"]
