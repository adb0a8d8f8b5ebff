# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The knowledge-augmented attention: series patches attend to medical terms."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .configuration_clinragen import LEVELS, ClinRaGenConfig
from .time_series_clinragen import indices_of, pool_patches, scatter


class ClinRaGenKnowledgeAttention(nn.Module):
    """
    Knowledge-augmented attention: series patches (queries) attend to medical terms (keys and values), and come out in
    the language model's embedding space.

    The terms are embedded by the language model itself: the mean of their tokens' embeddings. In the `"prototype"`
    form the distinct tokens of all terms are mixed into a few prototypes first; then no weight belongs to a term.

    Patches with a measurement are computed, others are not. A record with many of them gives the language model means
    over neighbours, see [`pool_patches`].

    Source: arXiv 2411.07611, "knowledge-augmented attention" (8 heads of 32). Differs from it: term form, residual,
    pooling.
    """

    def __init__(self, config: ClinRaGenConfig, hidden_size: int):
        super().__init__()
        self.num_heads, self.head_dim = config.knowledge_num_attention_heads, config.knowledge_head_dim
        d_model, width = config.time_series_config.d_model, self.num_heads * self.head_dim
        self.max_tokens_per_channel = config.max_series_tokens_per_channel
        self.series_projection = nn.Linear(d_model, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.use_residual = config.use_knowledge_residual or not config.knowledge_terms
        self.use_prototypes = config.knowledge_attention_type == "prototype"
        self.has_knowledge = bool(config.knowledge_terms)
        self.has_patterns = bool(config.knowledge_patterns) and not self.use_prototypes
        self._kept: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        if not self.has_knowledge:
            return
        term_ids = config.knowledge_input_ids
        if self.use_prototypes:  # the paper's knowledge vocabulary: every distinct token stands for itself
            term_ids = [[token_id] for token_id in sorted({token_id for ids in term_ids for token_id in ids})]
            self.prototypes = nn.Linear(len(term_ids), config.num_knowledge_prototypes)
        ids, mask = _pad_terms(term_ids)
        self.register_buffer("knowledge_input_ids", ids)
        self.register_buffer("knowledge_attention_mask", mask)
        self.query = nn.Linear(d_model, width)
        self.key = nn.Linear(hidden_size, width)
        self.value = nn.Linear(hidden_size, width)
        if self.has_patterns:
            self.nothing = nn.Parameter(torch.zeros(self.num_heads, 1, self.head_dim))  # the key of no term
            self.register_buffer("pattern_terms", pattern_terms(config.knowledge_patterns, len(config.channels)))
        self.output = nn.Linear(width, hidden_size)

    def embed_knowledge(self, embedding: nn.Module) -> torch.Tensor:
        """Return the (num_knowledge_tokens, hidden_size) vectors attended to, once per batch."""
        vectors = embedding(self.knowledge_input_ids)  # (num_terms, term_length, hidden_size)
        mask = self.knowledge_attention_mask.unsqueeze(-1).to(vectors.dtype)
        vectors = (vectors * mask).sum(dim=1) / mask.sum(dim=1)
        return self.prototypes(vectors.transpose(0, 1)).transpose(0, 1) if self.use_prototypes else vectors

    @contextmanager
    def kept_terms(self) -> Iterator[None]:
        """Compute keys and values of the terms once for all calls within; weights must stay as they are."""
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def _keys_and_values(self, embedding: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what patches attend to, `(num_heads, num_knowledge_tokens, head_dim)` each."""
        if self._kept:
            return self._kept[0]
        knowledge = self._unit_scale(self.embed_knowledge(embedding))
        found = self._heads(self.key(knowledge)), self._heads(self.value(knowledge))
        if self._kept is not None and not torch.is_grad_enabled():
            self._kept.append(found)
        return found

    def forward(
        self,
        hidden_states: torch.Tensor,
        patch_mask: torch.BoolTensor,
        embedding: nn.Module,
        knowledge_mask: torch.Tensor | None = None,
        are_copies: bool = False,
    ) -> tuple[torch.Tensor, torch.BoolTensor, torch.Tensor | None]:
        """
        Args:
            hidden_states (`torch.Tensor` of shape `(batch_size, num_input_channels, num_patches, d_model)`): encoded
                patches.
            patch_mask (`torch.BoolTensor` of shape `(batch_size, num_input_channels, num_patches)`): those that hold
                a measurement.
            embedding (`nn.Module`): the language model's token embedding.
            knowledge_mask (`torch.Tensor` of shape `(batch_size, num_knowledge_tokens)`, *optional*): 0 for those
                whose values are left out of the sum over what is attended to. Default: 1 for all.
            are_copies (`bool`): as [`~ClinRaGenForConditionalGeneration.encode`] takes it.

        Returns:
            The series' tokens `(batch_size, num_tokens, hidden_size)`; which of them are real; and what each patch
            attends to, `(batch_size, num_input_channels, num_patches, num_knowledge_tokens)`, as the mean over heads,
            or `None` without knowledge.
        """
        shape, positions = patch_mask.shape, patch_mask.flatten().nonzero().squeeze(1)
        read = (hidden_states, patch_mask, embedding, knowledge_mask, are_copies)
        tokens, token_mask, attention, place = self.tokens(*read)
        if attention is not None:
            attention = _at(attention, place, dim=1)
            attention = scatter(attention, positions, shape.numel()).view(*shape, -1)
            attention = attention * patch_mask.unsqueeze(-1)
        return tokens, token_mask, attention

    def tokens(
        self,
        hidden_states: torch.Tensor,
        patch_mask: torch.BoolTensor,
        embedding: nn.Module,
        knowledge_mask: torch.Tensor | None = None,
        are_copies: bool = False,
    ) -> tuple[torch.Tensor, torch.BoolTensor, torch.Tensor | None, torch.LongTensor | None]:
        """
        Return tokens and their mask, as `forward`; what distinct patches attend to, `(1, distinct,
        num_knowledge_tokens)`; and which of them each patch is, `None` where all are.
        """
        shape, positions = patch_mask.shape, patch_mask.flatten().nonzero().squeeze(1)
        records, _, _ = indices_of(shape, positions)
        knowledge_mask = knowledge_mask if self.has_knowledge else None
        patches, place, read, made = hidden_states.flatten(0, 2)[positions], None, None, None
        if are_copies:
            patches, place = patches.unique(dim=0, return_inverse=True)
            made = place
        if knowledge_mask is not None and are_copies:  # copies share masks, too
            masks, kind = knowledge_mask.bool().unique(dim=0, return_inverse=True)
            pairs, made = (place * len(masks) + kind[records]).unique(return_inverse=True)
            read, knowledge_mask = pairs // len(masks), masks[pairs % len(masks)]
        elif knowledge_mask is not None:
            knowledge_mask = knowledge_mask.bool()[records]  # (patches, num_knowledge_tokens)
        tokens, attention = self._attend(patches.unsqueeze(0), embedding, read, knowledge_mask)
        tokens = scatter(_at(tokens, made, dim=1), positions, shape.numel()).view(*shape, -1)
        tokens, token_mask = pool_patches(tokens, patch_mask, self.max_tokens_per_channel)
        return tokens.flatten(1, 2), token_mask.flatten(1), attention, place

    def _attend(
        self,
        hidden_states: torch.Tensor,
        embedding: nn.Module,
        place: torch.LongTensor | None,
        knowledge_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """
        Attend to the terms.

        Args:
            hidden_states (`torch.Tensor` of shape `(1, distinct, d_model)`): patches, of like ones one.
            place (`torch.LongTensor` of shape `(patches,)`, *optional*): which of them each patch is. Default: all.

        Returns:
            Tokens `(1, patches, hidden_size)`; and weights, the mean of all heads, `(1, distinct,
            num_knowledge_tokens)`.
        """
        projected = _at(self.series_projection(hidden_states), place, dim=1)
        if not self.has_knowledge:
            return self.norm(projected), None
        queries = self._heads(self.query(hidden_states))[0]  # (num_heads, distinct, head_dim)
        keys, values = self._keys_and_values(embedding)
        if self.has_patterns:  # what attends to nothing has the value 0
            keys = torch.cat([keys, self.nothing], dim=-2)
        attended, total = [], 0
        for query, key, value in zip(queries, keys, values, strict=True):  # all at once would not fit into caches
            weights = (query @ key.transpose(0, 1)).mul_(self.head_dim**-0.5).softmax(dim=-1)[:, : len(value)]
            attended.append(_told(weights, value, place, knowledge_mask))
            total = total + weights
        attended = self.output(torch.cat(attended, dim=-1).unsqueeze(0))
        tokens = self.norm(projected + attended if self.use_residual else attended)
        return tokens, (total / self.num_heads).unsqueeze(0)

    def alignment_losses(
        self, attention: torch.Tensor, levels: torch.BoolTensor, patch_mask: torch.BoolTensor
    ) -> torch.Tensor:
        """
        Return how far patches attend to other terms than those of their own channel and level: the negative logarithm
        of the weight of these, or where there are none of the weight of nothing, as the mean of each record.

        Args:
            attention (`torch.Tensor` of shape `(batch_size, num_input_channels, num_patches, num_terms)`).
            levels (`torch.BoolTensor` of shape `(batch_size, num_input_channels, num_patches, 3)`): as
                [`~ClinRaGenTimeSeriesEncoder.patch_levels`] gives them. A patch without any of them does not count.
            patch_mask (`torch.BoolTensor` of shape `(batch_size, num_input_channels, num_patches)`).

        Returns:
            `(batch_size,)`.
        """
        own = torch.einsum("bcpl,clt->bcpt", levels[..., ::2].to(attention.dtype), self.pattern_terms.to(attention))
        own = own.clamp(max=1)
        told = (attention * own).sum(dim=-1)
        weight = torch.where(own.any(dim=-1), told, 1 - attention.sum(dim=-1))
        counts = (patch_mask & levels.any(dim=-1)).to(attention.dtype)
        losses = -weight.clamp(min=1e-6).log() * counts
        return losses.sum(dim=(1, 2)) / counts.sum(dim=(1, 2)).clamp(min=1)

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.num_heads, self.head_dim)).transpose(-2, -3)

    @staticmethod
    def _unit_scale(vectors: torch.Tensor) -> torch.Tensor:
        """Remove the scale of a backbone's embeddings, which ranges from 0.02 to 20."""
        return nn.functional.layer_norm(vectors, vectors.shape[-1:])


def _told(
    weights: torch.Tensor, value: torch.Tensor, place: torch.LongTensor | None, knowledge_mask: torch.Tensor | None
) -> torch.Tensor:
    """Return the values that one head attends to, `(patches, head_dim)`, without the terms that are masked."""
    told = _at(weights @ value, place, dim=0)
    if knowledge_mask is None:
        return told
    left_out = knowledge_mask.logical_not()  # (patches, num_knowledge_tokens)
    terms = left_out.any(dim=0).nonzero().squeeze(1)
    return told - (_at(weights[:, terms], place, dim=0) * left_out[:, terms]) @ value[terms]


def _at(states: torch.Tensor, place: torch.LongTensor | None, dim: int) -> torch.Tensor:
    return states if place is None else states.index_select(dim, place)


def pattern_terms(patterns: list, num_channels: int) -> torch.Tensor:
    """Mark the terms of each channel's low and high level: bool, `(num_channels, 2, num_terms)`."""
    marks = torch.zeros(num_channels, len(LEVELS), len(patterns), dtype=torch.bool)
    for term, pattern in enumerate(patterns):
        if pattern is not None:
            marks[pattern[0], LEVELS.index(pattern[1]), term] = True
    return marks


def _pad_terms(term_ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad lists of token ids; return ids and mask, both (num_terms, longest)."""
    longest = max(len(ids) for ids in term_ids)
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in term_ids])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in term_ids])
    return ids, mask


__all__ = ["ClinRaGenKnowledgeAttention"]
