# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Incremental decoding with a T5 decoder on a CPU, with the weights of transformers' own modules.

A small decoder's step is a few hundred thousand multiplications, and most of its time goes into overhead: nested
modules, new masks, and caches that are copied to grow by one. Here keys and values of the record are computed once,
those of the text are written into preallocated memory, and the bias of each distance is looked up.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration

from .t5_encoding_clinragen import fed, normalized


FIRST_LENGTH = 64  # initial capacity in tokens; doubled when full


class T5Decoding:
    """
    The decoder of a batch of records.

    Args:
        backbone (`T5ForConditionalGeneration`): satisfies [`is_plain_t5`].
        hidden_states (`torch.Tensor` of shape `(batch_size, source_length, d_model)`): the encoder's output.
        attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`): 1 for states to attend to.
    """

    def __init__(self, backbone: T5ForConditionalGeneration, hidden_states, attention_mask):
        stack, config = backbone.decoder, backbone.config
        self.embedding, self.head, self.norm = backbone.shared.weight, backbone.lm_head.weight, stack.final_layer_norm
        self.scale = config.d_model**-0.5 if config.scale_decoder_outputs else 1.0
        blocked = torch.zeros(attention_mask.shape, dtype=hidden_states.dtype)
        blocked = blocked.masked_fill(attention_mask == 0, torch.finfo(hidden_states.dtype).min)
        self.source_mask = blocked[:, None, None]
        heads = config.num_heads, config.d_kv
        self.layers = [_Layer(block, heads, hidden_states, FIRST_LENGTH) for block in stack.block]
        self.compute_bias = stack.block[0].layer[0].SelfAttention.compute_bias
        self.length, self.room = 0, FIRST_LENGTH
        self.bias = self._biases()

    def logits(self, input_ids: torch.LongTensor) -> torch.Tensor:
        """
        Read the new tokens of texts, `(batch_size, length)`; return the scores of the next token, `(batch_size,
        vocab_size)`.
        """
        while self.length < input_ids.shape[1]:
            if self.length == self.room:
                self._make_room()
            states, bias = (
                F.embedding(input_ids[:, self.length], self.embedding),
                self.bias[..., self.room - self.length - 1 :],
            )
            for layer in self.layers:
                states = layer.read(states, self.length, bias, self.source_mask)
            self.length += 1
        return F.linear(normalized(self.norm, states) * self.scale, self.head)

    def keep_rows(self, index: torch.LongTensor) -> None:
        """Keep some rows of the batch."""
        self.source_mask = self.source_mask[index]
        for layer in self.layers:
            layer.source = [part[index] for part in layer.source]
            layer.move(self.length, self.room, index)

    def _make_room(self) -> None:
        self.room *= 2
        for layer in self.layers:
            layer.move(self.length, self.room)
        self.bias = self._biases()

    def _biases(self) -> torch.Tensor:
        """Return the bias of the distances from `room` - 1 to 0: `(1, num_heads, 1, room)`."""
        return self.compute_bias(1, self.room, past_seen_tokens=self.room - 1)


class _Layer:
    def __init__(self, block: nn.Module, heads: tuple[int, int], hidden_states: torch.Tensor, room: int):
        own, cross, self.feed = block.layer
        self.heads, self.own_norm, self.cross_norm = heads, own.layer_norm, cross.layer_norm
        own, cross = own.SelfAttention, cross.EncDecAttention
        self.own_output, self.cross_query, self.cross_output = (part.weight for part in (own.o, cross.q, cross.o))
        self.joint = torch.cat([own.q.weight, own.k.weight, own.v.weight])
        number, length = hidden_states.shape[:2]
        read = cross.k(hidden_states), cross.v(hidden_states)
        keys, values = (part.view(number, length, *heads) for part in read)
        self.source = [keys.permute(0, 2, 3, 1).contiguous(), values.transpose(1, 2).contiguous()]
        self.text = [hidden_states.new_empty(number, heads[0], room, heads[1]) for _ in read]

    def read(self, states: torch.Tensor, place: int, bias: torch.Tensor, source_mask: torch.Tensor) -> torch.Tensor:
        """Read the token of each text at position `place`, `(batch_size, d_model)`."""
        query, *new = (
            F.linear(normalized(self.own_norm, states), self.joint).view(len(states), 3, *self.heads).unbind(dim=1)
        )
        for kept, one in zip(self.text, new, strict=True):
            kept[:, :, place] = one
        keys, values = (kept[:, :, : place + 1] for kept in self.text)
        states = states + F.linear(_attend(query, keys.transpose(2, 3), values, bias), self.own_output)
        query = F.linear(normalized(self.cross_norm, states), self.cross_query).view(len(states), *self.heads)
        states = states + F.linear(_attend(query, *self.source, source_mask), self.cross_output)
        return fed(self.feed, states)

    def move(self, length: int, room: int, index: torch.LongTensor | slice = slice(None)) -> None:
        """Copy keys and values of the first `length` tokens, of some rows, to memory for `room` tokens."""
        for i, part in enumerate(self.text):
            part = part[index, :, :length]
            self.text[i] = part.new_empty(*part.shape[:2], room, part.shape[3])
            self.text[i][:, :, :length] = part


def _attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """
    Attend from one position, `(batch_size, heads, width)`, to keys in columns, `(batch_size, heads, width, length)`,
    and their values: `(batch_size, heads * width)`.
    """
    scores = query.unsqueeze(2) @ keys + bias
    return (scores.softmax(dim=-1) @ values).flatten(1)


__all__ = ["T5Decoding"]
