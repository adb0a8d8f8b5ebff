# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
One step of a T5 decoder after the other on a CPU, with the weights of transformers' own modules.

A small decoder's step is a few hundred thousand multiplications, and takes longest for what stands around them: layers
of modules, masks that are made anew, and caches that are copied to grow by one. Here keys and values of the record are
computed once, those of the text are written into their place, and the bias of each distance is looked up.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from transformers import T5ForConditionalGeneration


FIRST_LENGTH = 64  # tokens for which there is room at first; doubled when it is full


class T5Decoding:
    """
    The decoder of a batch of records.

    Args:
        backbone (`T5ForConditionalGeneration`): one that `fits`.
        hidden_states (`torch.Tensor` of shape `(batch_size, source_length, d_model)`): what the decoder attends to.
        attention_mask (`torch.Tensor` of shape `(batch_size, source_length)`): 1 where it may.
    """

    def __init__(self, backbone: T5ForConditionalGeneration, hidden_states, attention_mask):
        stack, config = backbone.decoder, backbone.config
        self.embedding, self.head, self.norm = backbone.shared, backbone.lm_head, stack.final_layer_norm
        self.scale = config.d_model**-0.5 if config.scale_decoder_outputs else 1.0
        blocked = torch.zeros(attention_mask.shape, dtype=hidden_states.dtype)
        blocked = blocked.masked_fill(attention_mask == 0, torch.finfo(hidden_states.dtype).min)
        self.source_mask = blocked[:, None, None]
        heads = config.num_heads, config.d_kv
        self.layers = [_Layer(block, heads, hidden_states, FIRST_LENGTH) for block in stack.block]
        self.compute_bias = stack.block[0].layer[0].SelfAttention.compute_bias
        self.length, self.room = 0, FIRST_LENGTH
        self.bias = self._biases()

    @staticmethod
    def fits(backbone: nn.Module) -> bool:
        """Tell if a language model is a T5 in single precision whose modules are as transformers makes them."""
        return is_plain_t5(backbone, lambda model: [model.decoder, model.lm_head])

    def logits(self, input_ids: torch.LongTensor) -> torch.Tensor:
        """
        Read what is new of texts, `(batch_size, length)`; return the scores of the token that follows, `(batch_size,
        vocab_size)`.
        """
        while self.length < input_ids.shape[1]:
            if self.length == self.room:
                self._make_room()
            states, bias = self.embedding(input_ids[:, self.length]), self.bias[..., self.room - self.length - 1 :]
            for layer in self.layers:
                states = layer.read(states, self.length, bias, self.source_mask)
            self.length += 1
        return self.head(self.norm(states) * self.scale)

    def keep_rows(self, index: torch.LongTensor) -> None:
        """Go on with some texts of the batch."""
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
        self.own_output, self.cross_query, self.cross_output = own.o, cross.q, cross.o
        self.joint = torch.cat([own.q.weight, own.k.weight, own.v.weight])
        number, length = hidden_states.shape[:2]
        read = cross.k(hidden_states), cross.v(hidden_states)
        self.source = [part.view(number, length, *heads).transpose(1, 2).contiguous() for part in read]
        self.text = [hidden_states.new_empty(number, heads[0], room, heads[1]) for _ in read]

    def read(self, states: torch.Tensor, place: int, bias: torch.Tensor, source_mask: torch.Tensor) -> torch.Tensor:
        """Read a token of each text, `(batch_size, d_model)`, which stands at `place`."""
        query, *new = F.linear(self.own_norm(states), self.joint).view(len(states), 3, *self.heads).unbind(dim=1)
        for kept, one in zip(self.text, new, strict=True):
            kept[:, :, place] = one
        keys, values = (kept[:, :, : place + 1] for kept in self.text)
        states = states + self.own_output(_attend(query, keys, values, bias))
        query = self.cross_query(self.cross_norm(states)).view(len(states), *self.heads)
        states = states + self.cross_output(_attend(query, *self.source, source_mask))
        return self.feed(states)

    def move(self, length: int, room: int, index: torch.LongTensor | slice = slice(None)) -> None:
        """Copy keys and values of the first `length` tokens, of some texts, to where `room` tokens have place."""
        for i, part in enumerate(self.text):
            part = part[index, :, :length]
            self.text[i] = part.new_empty(*part.shape[:2], room, part.shape[3])
            self.text[i][:, :, :length] = part


def _attend(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Attend from one place, `(batch_size, heads, width)`, to others: `(batch_size, heads * width)`."""
    scores = query.unsqueeze(2) @ keys.transpose(2, 3) + bias
    return (scores.softmax(dim=-1) @ values).flatten(1)


def is_plain_t5(backbone: nn.Module, parts_of: Callable) -> bool:
    """Tell if a model is a T5 of which some parts, in single precision, are as transformers makes them."""
    if type(backbone) is not T5ForConditionalGeneration or backbone.training:
        return False
    modules = [module for part in parts_of(backbone) for module in part.modules()]
    if any(module._forward_hooks or module._forward_pre_hooks for module in modules):
        return False
    modules = [module for module in modules if list(module.parameters())]  # LoRA's hold other ones
    return all(
        type(module).__module__.startswith(("torch.nn.", "transformers.models.t5.")) for module in modules
    ) and all(weight.dtype == torch.float32 for module in modules for weight in module.parameters())


__all__ = ["T5Decoding", "is_plain_t5"]
