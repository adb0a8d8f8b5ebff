# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Estimates of what each part of a record adds to a diagnosis, from one reading of it and its gradients.

They tell which parts are worth measuring, by reading the record without them, and are shown to nobody. What the linear
classifier loses is exact. What the encoder loses is of first order: in how much of each token of the note is attended
to, which is nothing of one that is removed, and in what the tokens of the series become.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .t5_encoding_clinragen import T5Encoding


def can_estimate(model) -> bool:
    """Tell if a model's encoder is one that [`estimate_drops`] reads."""
    return T5Encoding.fits(model.backbone)


def estimate_drops(
    model, inputs: dict[str, torch.Tensor], removed: Sequence[Sequence[int]], labels: Sequence[int]
) -> torch.Tensor:
    """
    Estimate by how much the logits of diagnoses drop in copies of a record.

    Args:
        model (`ClinRaGenForConditionalGeneration`): one that `can_estimate`.
        inputs (`dict`): as `encode` takes them, of the record and of its copies.
        removed (list of lists of `int`): of each copy the tokens that its note lacks; none: it lacks something else.
        labels (list of `int`): class ids of the diagnoses.

    Returns:
        `torch.Tensor` of shape `(num_copies, num_labels)`, of the labels asked for.
    """
    drops = torch.zeros(len(removed), len(labels))
    series = torch.tensor([i for i, places in enumerate(removed) if not places], dtype=torch.long)
    note = model.get_input_embeddings()(inputs["input_ids"][0][inputs["attention_mask"][0].bool()]).detach()
    tokens, token_mask = _series_tokens(model, inputs, torch.cat([series.new_zeros(1), series + 1]))
    by_states, by_weights = _gradients(model, torch.cat([note, tokens[0][token_mask[0]]]), labels)
    for i, places in enumerate(removed):
        drops[i] = by_weights[:, places].sum(dim=1)
    of_tokens = by_states.new_zeros(len(labels), *tokens.shape[1:])
    of_tokens[:, token_mask[0]] = by_states[:, len(note) :]
    of_weights = by_states.new_zeros(len(labels), tokens.shape[1])
    of_weights[:, token_mask[0]] = by_weights[:, len(note) :]
    changes = (tokens[0] - tokens[1:]) * (token_mask[0] & token_mask[1:]).unsqueeze(-1)
    gone = (token_mask[0] & ~token_mask[1:]).float()
    drops[series] = changes.flatten(1) @ of_tokens.flatten(1).T + gone @ of_weights.T
    members = [drops]
    if model.diagnosis_head.linear is not None:
        scores = _linear_scores(model, inputs)[:, list(labels)]
        members.append(scores[0] - scores[1:])
    return model.mix(members)


@torch.no_grad()
def _series_tokens(model, inputs: dict[str, torch.Tensor], rows: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tokens of the series of some rows, `(number, num_tokens, hidden)`, and which of them are real."""
    if "past_values" not in inputs:
        hidden_size = model.get_input_embeddings().embedding_dim
        return torch.zeros(len(rows), 0, hidden_size), torch.zeros(len(rows), 0, dtype=torch.bool)
    mask = inputs["knowledge_mask"][rows] if "knowledge_mask" in inputs else None
    series = model.time_series_encoder(inputs["past_values"][rows], inputs["past_observed_mask"][rows], True)
    read = (series.last_hidden_state, series.patch_mask, model.get_input_embeddings(), mask, True)
    return model.knowledge_attention(*read)[:2]


def _gradients(model, states: torch.Tensor, labels: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return the gradients of the encoder's scores of some diagnoses of a record: by the embeddings of its tokens,
    `(num_labels, sequence_length, hidden)`, and by how much of each is attended to, `(num_labels, sequence_length)`.
    """
    with torch.enable_grad():
        states = states.detach().requires_grad_()
        log_weights = states.new_zeros(len(states)).requires_grad_()
        read = T5Encoding(model.backbone).read_row(states, log_weights)
        scores = model.diagnosis_head.encoder_scores(read, log_weights)
        found = [torch.autograd.grad(scores[label], (states, log_weights), retain_graph=True) for label in labels]
    by_states, by_weights = zip(*found, strict=True)
    return torch.stack(by_states), torch.stack(by_weights)


@torch.no_grad()
def _linear_scores(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    names = ("input_ids", "attention_mask", "past_values", "past_observed_mask", "term_evidence")
    return model.diagnosis_head.linear(*(inputs.get(name) for name in names))


__all__ = ["can_estimate", "estimate_drops"]
