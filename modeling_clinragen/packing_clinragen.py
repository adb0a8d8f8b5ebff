# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Packing of sequences: the real tokens of each row in one run."""

import torch


def pack_sequences(
    inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, padding_side: str = "right"
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Move the real tokens of each row to its front, in their order, and cut columns that are padding in all rows.

    A record then has the same tokens at the same positions in any batch, for backbones with absolute
    and with relative positions alike, and nothing is computed for patches without a measurement.

    Args:
        inputs_embeds (`torch.Tensor` of shape `(batch_size, sequence_length, hidden_size)`): token embeddings.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`): 1 for real tokens.
        padding_side (`str`, *optional*, defaults to `"right"`): `"left"` moves them to the row's end.
    """
    length = max(1, int(attention_mask.sum(dim=1).max()))
    if padding_side == "left":
        order = attention_mask.argsort(dim=1, stable=True)[:, -length:]  # (batch, length)
    else:
        order = attention_mask.argsort(dim=1, descending=True, stable=True)[:, :length]
    index = order.unsqueeze(-1).expand(-1, -1, inputs_embeds.shape[-1])
    return inputs_embeds.gather(1, index), attention_mask.gather(1, order)


__all__ = ["pack_sequences"]
