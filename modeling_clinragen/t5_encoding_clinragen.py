# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A T5 encoder on a CPU, one record after the other, with the weights of transformers' own modules.

Copies of a record differ in length. In a batch they are padded, and the scores of all its rows, with a bias and a mask
of that size, are larger than the caches. One row at a time has no padding, needs no mask, and stays within them.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration

from .t5_decoding_clinragen import is_plain_t5


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
        self.bias: torch.Tensor | None = None  # of the longest row so far

    @staticmethod
    def fits(backbone) -> bool:
        """Tell if a language model is a T5 on a CPU, in single precision, as transformers makes it."""
        return is_plain_t5(backbone, lambda model: [model.encoder]) and backbone.device.type == "cpu"

    def read(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode rows whose real tokens stand first: `(batch_size, sequence_length, d_model)`, zeros for padding."""
        read = torch.zeros_like(inputs_embeds)
        for row, states, length in zip(read, inputs_embeds, attention_mask.sum(dim=1).tolist(), strict=True):
            row[:length] = self.read_row(states[:length])
        return read

    def read_row(self, states: torch.Tensor, log_weights: torch.Tensor | None = None) -> torch.Tensor:
        """
        Encode one record.

        Args:
            states (`torch.Tensor` of shape `(sequence_length, d_model)`): embeddings.
            log_weights (`torch.Tensor` of shape `(sequence_length,)`, *optional*): added to all scores of a token: the
                logarithm of how much of it is attended to. Default: 0, all of it.
        """
        bias = self._bias_of(len(states))
        for block, attention, joint in zip(self.stack.block, self.attentions, self.joint, strict=True):
            projected = F.linear(_norm(block.layer[0].layer_norm, states), joint)
            query, key, value = projected.view(len(states), 3, *self.heads).permute(1, 2, 0, 3)
            scores = torch.baddbmm(bias, query, key.transpose(1, 2))
            scores = scores if log_weights is None else scores + log_weights
            attended = (scores.softmax(dim=-1) @ value).transpose(0, 1).flatten(1)
            states = states + attention.o(attended)
            feed = block.layer[-1]
            states = states + feed.DenseReluDense(_norm(feed.layer_norm, states))
        return _norm(self.stack.final_layer_norm, states)

    def _bias_of(self, length: int) -> torch.Tensor:
        """Return the bias of all pairs of tokens, `(num_heads, length, length)`: it depends on their distance."""
        if self.bias is None or self.bias.shape[1] < length:
            self.bias = self.attentions[0].compute_bias(length, length)[0]
        return self.bias[:, :length, :length]


def _norm(module: torch.nn.Module, states: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(states, states.shape[-1:], module.weight, module.variance_epsilon)


__all__ = ["T5Encoding"]
