# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The encoder of lab and vital-sign series: PatchTST over series with gaps."""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization
from transformers.modeling_outputs import ModelOutput
from transformers.models.patchtst.modeling_patchtst import PatchTSTEncoder, PatchTSTEncoderLayer, PatchTSTPatchify

from .clinical_clinragen import clear_limits, usual_limits
from .configuration_clinragen import ClinRaGenConfig


@dataclass
class ClinRaGenTimeSeriesOutput(ModelOutput):
    """
    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, num_input_channels, num_patches, d_model)`):
            Encoded patches, zero without a measurement. `num_patches` counts to the last patch in the batch with a
            measurement.
        patch_mask (`torch.BoolTensor` of shape `(batch_size, num_input_channels, num_patches)`):
            `True` for patches with at least one measurement.
    """

    last_hidden_state: torch.FloatTensor | None = None
    patch_mask: torch.BoolTensor | None = None


class ClinRaGenTimeSeriesEncoderLayer(PatchTSTEncoderLayer):
    """PatchTST's layer, computed only for patches with measurements: in a long context most are empty."""

    def forward(
        self, hidden_state: torch.Tensor, positions: torch.Tensor, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        """
        Args:
            hidden_state (`torch.Tensor` of shape `(1, num_encoded, d_model)`): the encoded patches of all series.
            positions (`torch.LongTensor` of shape `(num_encoded,)`): their positions in the flattened `(rows,
                num_patches)`.
            attention_mask (`torch.Tensor` of shape `(rows, 1, num_patches, num_patches)`): added to the scores.
        """
        if self.pre_norm:
            attended = self._attend(self.norm_sublayer1(hidden_state), positions, attention_mask)
            hidden_state = hidden_state + self.dropout_path1(attended)
            return hidden_state + self.dropout_path3(self.ff(self.norm_sublayer3(hidden_state)))
        attended = self._attend(hidden_state, positions, attention_mask)
        hidden_state = self.norm_sublayer1(hidden_state + self.dropout_path1(attended))
        return self.norm_sublayer3(hidden_state + self.dropout_path3(self.ff(hidden_state)))

    def _attend(self, hidden_state, positions, attention_mask) -> torch.Tensor:
        attention, (rows, _, num_patches, _) = self.self_attn, attention_mask.shape
        heads = (rows, num_patches, attention.num_heads, attention.head_dim)
        states = (attention.q_proj(hidden_state), attention.k_proj(hidden_state), attention.v_proj(hidden_state))
        query, key, value = (
            scatter(part, positions, rows * num_patches).view(heads).transpose(1, 2) for part in states
        )
        attended = nn.functional.scaled_dot_product_attention(
            query, key, value, attention_mask, attention.dropout if self.training else 0.0, scale=attention.scaling
        )
        return attention.out_proj(attended.transpose(1, 2).flatten(2).flatten(0, 1)[positions].unsqueeze(0))


class ClinRaGenTimeSeriesEncoder(PatchTSTEncoder):
    """
    PatchTST over series with gaps: every patch is embedded from its values and its observed mask, plus an embedding of
    its channel; patches without a measurement are masked.

    Source: arXiv 2411.07611 (PatchTST, patches of 8). Differs from it: observed mask, channel embedding.
    """

    def __init__(self, config: ClinRaGenConfig):
        series = config.time_series_config
        super().__init__(series, config.num_patches)
        self.patch_layout = config.patch_layout
        self.limits = _standardised_limits(config.channels)
        self.patchify = PatchTSTPatchify(series)
        self.observed_embedding = nn.Linear(series.patch_length, series.d_model, bias=False)
        self.channel_embedding = nn.Embedding(series.num_input_channels, series.d_model)
        self.layers = nn.ModuleList([ClinRaGenTimeSeriesEncoderLayer(series) for _ in range(series.num_hidden_layers)])
        self.norm = nn.LayerNorm(series.d_model, eps=series.norm_eps) if series.pre_norm else nn.Identity()
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        init_linear(module)
        if isinstance(module, nn.Embedding):
            initialization.normal_(module.weight)

    def forward(
        self, past_values: torch.Tensor, past_observed_mask: torch.Tensor, are_copies: bool = False
    ) -> ClinRaGenTimeSeriesOutput:
        """
        Args:
            past_values (`torch.Tensor` of shape `(batch_size, context_length, num_input_channels)`):
                Standardised values; unobserved cells are ignored.
            past_observed_mask (`torch.Tensor`, same shape): 1 where a value was measured.
            are_copies (`bool`): whether many of the series are equal, to encode each distinct series once.
        """
        observed = past_observed_mask.bool()
        past_values = torch.where(observed, past_values, 0.0).to(self.observed_embedding.weight.dtype)
        values, observed = self._patches(past_values), self._patches(observed.to(past_values.dtype))
        patch_mask = observed.any(dim=-1)  # (batch, num_channels, num_patches)
        num_patches = _last_true(patch_mask.flatten(0, 1).any(dim=0))
        values, observed = values[:, :, :num_patches], observed[:, :, :num_patches]
        patch_mask = patch_mask[:, :, :num_patches]

        channels = torch.arange(patch_mask.shape[1], device=patch_mask.device).repeat(len(patch_mask))
        embedded = (self.embedder(values), self.observed_embedding(observed), patch_mask)
        rows, place = [part.flatten(0, 1) for part in embedded] + [channels], None
        if are_copies:
            first, place = _distinct(values.flatten(0, 1), observed.flatten(0, 1), channels)
            rows = [part[first] for part in rows]
        hidden_state = self._encode(*rows)
        hidden_state = hidden_state if place is None else hidden_state[place]
        return ClinRaGenTimeSeriesOutput(hidden_state.view(*patch_mask.shape, -1), patch_mask)

    def _encode(
        self,
        values: torch.Tensor,
        observed: torch.Tensor,
        patch_mask: torch.BoolTensor,
        channels: torch.LongTensor,
    ) -> torch.Tensor:
        """
        Encode series of one channel each, `(rows, num_patches, d_model)`.

        Args:
            values, observed (`torch.Tensor` of shape `(rows, num_patches, d_model)`): their embedded patches.
            patch_mask (`torch.BoolTensor` of shape `(rows, num_patches)`): those with a measurement.
            channels (`torch.LongTensor` of shape `(rows,)`): the channel of each row.
        """
        positions = patch_mask.flatten().nonzero().squeeze(1)
        rows, patches = indices_of(patch_mask.shape, positions)
        hidden_state = values.flatten(0, 1)[positions] + observed.flatten(0, 1)[positions]
        hidden_state = hidden_state + self.channel_embedding(channels[rows])
        hidden_state = hidden_state + self.positional_encoder.position_enc[patches]
        hidden_state = self.positional_encoder.positional_dropout(hidden_state).unsqueeze(0)

        attention_mask = _additive_mask(patch_mask, hidden_state.dtype)
        for layer in self.layers:
            hidden_state = layer(hidden_state, positions, attention_mask)
        hidden_state = scatter(self.norm(hidden_state), positions, patch_mask.numel())
        return hidden_state.view(*patch_mask.shape, -1)

    def patch_levels(
        self, past_values: torch.Tensor, past_observed_mask: torch.Tensor, num_patches: int
    ) -> torch.BoolTensor:
        """
        Mark the patches with a value clearly below, within and clearly above the usual range of their channel.

        Args:
            past_values, past_observed_mask: as for `forward`.
            num_patches (`int`): number of patches, from the first.

        Returns:
            `(batch_size, num_input_channels, num_patches, 3)`: low, usual, high. A value between a usual and a
            clear limit is none of the three.
        """
        observed = past_observed_mask.bool()
        low, usual_low, usual_high, high = past_values.new_tensor(self.limits)  # each (num_input_channels,)
        levels = (past_values < low, (past_values >= usual_low) & (past_values <= usual_high), past_values > high)
        patches = [self._patches((level & observed).to(past_values.dtype))[:, :, :num_patches] for level in levels]
        return torch.stack([patch.any(dim=-1) for patch in patches], dim=-1)

    def _patches(self, grid: torch.Tensor) -> torch.Tensor:
        if self.patch_layout == "paper":  # the release's error: the axes are swapped, but not the memory order
            grid = grid.reshape(grid.shape[0], grid.shape[2], grid.shape[1]).transpose(1, 2)
        return self.patchify(grid)  # (batch, num_channels, num_patches, patch_length)


def _standardised_limits(channels: list[dict]) -> list[list[float]]:
    """Return the clear and usual limits of channels as standard scores: 4 lists in ascending order."""
    rows = []
    for channel in channels:
        (low, high), (usual_low, usual_high) = clear_limits(channel), usual_limits(channel)
        rows.append([(limit - channel["mean"]) / channel["std"] for limit in (low, usual_low, usual_high, high)])
    return [list(limits) for limits in zip(*rows, strict=True)]


def indices_of(shape: torch.Size, positions: torch.Tensor) -> list[torch.Tensor]:
    """Return the index along each axis of positions in a flattened tensor of that shape."""
    axes = [torch.arange(size, device=positions.device) for size in shape]
    return [index.flatten()[positions] for index in torch.meshgrid(*axes, indexing="ij")]


def scatter(states: torch.Tensor, positions: torch.Tensor, number: int) -> torch.Tensor:
    """Scatter (..., num_encoded, width) to (number, width): each at its position, zeros elsewhere."""
    return states.new_zeros(number, states.shape[-1]).index_copy(0, positions, states.flatten(0, -2))


def pool_patches(
    states: torch.Tensor, patch_mask: torch.BoolTensor, longest: int | None
) -> tuple[torch.Tensor, torch.BoolTensor]:
    """
    Pool to at most `longest` states of each channel: for a record with more patches, means over as many neighbours as
    needed. Records of at most `longest` patches are not pooled.

    Args:
        states (`torch.Tensor` of shape `(batch_size, num_channels, num_patches, width)`).
        patch_mask (`torch.BoolTensor` of shape `(batch_size, num_channels, num_patches)`): those with a measurement.

    Returns:
        `(batch_size, num_channels, min(longest, num_patches), width)`, and the mask of those with a patch.
    """
    num_patches = patch_mask.shape[2]
    if longest is None or num_patches <= longest:
        return states, patch_mask
    order = torch.arange(num_patches, device=states.device)
    last = (patch_mask.any(dim=1) * (order + 1)).amax(dim=1, keepdim=True)  # (batch, 1)
    groups = order // ((last + longest - 1) // longest).clamp(min=1)  # (batch, num_patches)
    members = (groups.unsqueeze(1) == torch.arange(longest, device=states.device)[:, None]).unsqueeze(1)
    members = members & patch_mask.unsqueeze(2)  # (batch, num_channels, longest, num_patches)
    numbers = members.sum(dim=3, keepdim=True)
    return members.to(states.dtype) @ states / numbers.clamp(min=1), numbers.squeeze(3) > 0


def _last_true(flags: torch.Tensor) -> int:
    """Return 1 + the index of the last `True`; 1 without any."""
    return max(1, int((flags.long() * torch.arange(1, len(flags) + 1, device=flags.device)).max()))


def _distinct(*parts: torch.Tensor) -> tuple[torch.LongTensor, torch.LongTensor]:
    """Group equal rows, given by several tensors: return the index of one row per group, and the group of each row."""
    described = torch.cat([part.flatten(1) if part.dim() > 1 else part.unsqueeze(1) for part in parts], dim=1)
    kinds, place = described.unique(dim=0, return_inverse=True)
    first = torch.zeros(len(kinds), dtype=torch.long, device=place.device)
    return first.scatter(0, place, torch.arange(len(place), device=place.device)), place


def _additive_mask(patch_mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the additive attention mask of patches: (rows, 1, num_patches, num_patches)."""
    blocked = torch.zeros(patch_mask.shape, dtype=dtype, device=patch_mask.device)
    blocked = blocked.masked_fill(~patch_mask, torch.finfo(dtype).min)
    return blocked[:, None, None, :].expand(-1, 1, patch_mask.shape[-1], -1)


def init_linear(module):
    if isinstance(module, nn.Linear):  # keeps the scale of the input at any width
        initialization.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            initialization.zeros_(module.bias)


__all__ = ["ClinRaGenTimeSeriesEncoder", "ClinRaGenTimeSeriesOutput"]
