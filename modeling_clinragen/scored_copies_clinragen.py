# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Scores of a record and of copies of it, each without another part: estimated for all, and measured for some."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .t5_encoding_clinragen import T5Encoding


MOST_TOKENS = 2**9  # that are encoded at once: more do not fit into the caches of a CPU


class ScoredCopies:
    """
    Score copies of a record by a T5 on a CPU, as `encode` does.

    Estimates tell which copies are worth measuring, and are shown to nobody. What the linear classifier loses in a
    copy is exact. What the encoder loses is of first order: in how much of each token of the note is attended to,
    which is nothing of one that is removed, and in what the tokens of the series become.

    Args:
        model (`ClinRaGenForConditionalGeneration`): whose backbone [`T5Encoding.fits`].
        inputs (`dict`): as `encode` takes them, of the record and then of its copies; the terms that a changed note
            shows may be assumed.
        removed (list of lists of `int`): of each copy the places of the note's tokens that it lacks; none where it
            lacks something else.
    """

    def __init__(self, model, inputs: dict[str, torch.Tensor], removed: Sequence[Sequence[int]]):
        self.model, self.inputs, self.removed = model, inputs, removed
        self.encoding = T5Encoding(model.backbone)
        self.others = torch.tensor([i for i, places in enumerate(removed) if not places], dtype=torch.long)
        self.place = torch.zeros(1 + len(removed), dtype=torch.long)  # whose series: of a changed note the record's
        self.place[self.others + 1] = torch.arange(len(self.others)) + 1
        with torch.no_grad():
            self.tokens, self.token_mask = self._series_tokens()
            self.linear = self._linear_logits()

    @torch.no_grad()
    def logits(self, rows: Sequence[int], term_evidence: torch.Tensor | None = None) -> torch.Tensor:
        """
        Measure the `diagnosis_logits` of some rows of the inputs: 0 is the record, the others are its copies.

        Args:
            term_evidence (`torch.Tensor`, *optional*): of these rows, as `encode` takes it. Default: as assumed.
        """
        head = self.model.diagnosis_head
        scores = [head.encoder_scores(states, states.new_zeros(len(states))) for states in self._read(rows)]
        return self._mixed(torch.stack(scores), self.linear[rows] + self._terms_add(rows, term_evidence))

    def estimated_drops(self, labels: Sequence[int]) -> torch.Tensor:
        """Estimate by how much the logits of some diagnoses drop in each copy: `(num_copies, len(labels))`."""
        note_length = int(self.inputs["attention_mask"][0].sum())
        by_states, by_weights = self._gradients(labels)
        drops = torch.stack([by_weights[:, places].sum(dim=1) for places in self.removed])
        mask, others = self.token_mask[0], self.token_mask[1:]
        of_tokens = by_states.new_zeros(len(labels), *self.tokens.shape[1:])
        of_weights = by_weights.new_zeros(len(labels), len(mask))
        of_tokens[:, mask], of_weights[:, mask] = by_states[:, note_length:], by_weights[:, note_length:]
        changes = (self.tokens[0] - self.tokens[1:]) * (mask & others).unsqueeze(-1)
        gone = (mask & ~others).to(changes.dtype)
        drops[self.others] = changes.flatten(1) @ of_tokens.flatten(1).T + gone @ of_weights.T
        linear = (self.linear + self._terms_add(slice(None)))[:, labels]
        return self._mixed(drops, linear[0] - linear[1:])

    def _mixed(self, encoder: torch.Tensor, linear: torch.Tensor) -> torch.Tensor:
        return self.model.mix([encoder] if self.model.diagnosis_head.linear is None else [encoder, linear])

    def _read(self, rows: Sequence[int]) -> list[torch.Tensor]:
        """Return the encoder's states of some rows, `(sequence_length, hidden)` each."""
        tokens, places = self._distinct_tokens(rows)
        first, read = self.encoding.first_joint(tokens), []
        number = max(1, MOST_TOKENS // max(map(len, places)))
        for some in (places[i : i + number] for i in range(0, len(places), number)):
            joined = torch.cat(some)
            read += self.encoding.read_rows(tokens[joined], list(map(len, some)), first[joined])
        return read

    def _distinct_tokens(self, rows: Sequence[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """
        Return the embeddings of all tokens of some rows, `(distinct, hidden)`, those that copies share once, and for
        each row which of them it has, `(sequence_length,)`.
        """
        ids, kind = self.inputs["input_ids"][rows].unique(return_inverse=True)
        read = self.inputs["attention_mask"][rows].bool()
        series, of_record = self.tokens[self.place[rows]], self.tokens[0]
        changed = (series != of_record).any(dim=-1)
        number = torch.arange(len(of_record)).repeat(len(rows), 1) + len(ids)
        number[changed] = torch.arange(int(changed.sum())) + (len(ids) + len(of_record))
        tokens = torch.cat([self.model.get_input_embeddings()(ids), of_record, series[changed]])
        parts = zip(kind, read, number, self.token_mask[self.place[rows]], strict=True)
        return tokens, [torch.cat([note[real], own[held]]) for note, real, own, held in parts]

    def _gradients(self, labels: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return the gradients of the encoder's scores of some diagnoses: by the embeddings of the record's tokens,
        `(len(labels), sequence_length, hidden)`, and by how much of each is attended to, without the last axis.
        """
        with torch.enable_grad():
            tokens, (places,) = self._distinct_tokens([0])
            states = tokens[places].detach().requires_grad_()
            log_weights = states.new_zeros(len(states)).requires_grad_()
            read = self.encoding.read_row(states, log_weights)
            scores = self.model.diagnosis_head.encoder_scores(read, log_weights)
            found = [torch.autograd.grad(scores[label], (states, log_weights), retain_graph=True) for label in labels]
        by_states, by_weights = zip(*found, strict=True)
        return torch.stack(by_states), torch.stack(by_weights)

    def _series_tokens(self) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return the tokens of the series of the record and of the copies with its note, `(number, num_tokens, hidden)`,
        and which of them are real.
        """
        model, inputs = self.model, self.inputs
        rows = torch.cat([self.others.new_zeros(1), self.others + 1])
        if "past_values" not in inputs:
            hidden_size = model.get_input_embeddings().embedding_dim
            return torch.zeros(len(rows), 0, hidden_size), torch.zeros(len(rows), 0, dtype=torch.bool)
        mask = inputs["knowledge_mask"][rows] if "knowledge_mask" in inputs else None
        series = model.time_series_encoder(inputs["past_values"][rows], inputs["past_observed_mask"][rows], True)
        read = (series.last_hidden_state, series.patch_mask, model.get_input_embeddings(), mask, True)
        return model.knowledge_attention.tokens(*read)[:2]

    def _linear_logits(self) -> torch.Tensor:
        """
        Return the linear classifier's logits without what terms add, `(1 + num_copies, num_labels)`; zeros where there
        is none. What is read of the note is computed for each note once.
        """
        linear, inputs = self.model.diagnosis_head.linear, self.inputs
        logits = torch.zeros(1 + len(self.removed), len(self.model.config.labels))
        if linear is None:
            return logits
        names = ("input_ids", "attention_mask", "past_values", "past_observed_mask")
        rows = torch.tensor([0, *(i + 1 for i, places in enumerate(self.removed) if places)])
        logits[rows] = linear(*(inputs[name][rows] if name in inputs else None for name in names))
        others = self.others + 1
        logits[others] = logits[:1].clone()
        if "past_values" in inputs:
            rows = torch.cat([rows[:1], others])
            measured = linear.series_logits(inputs["past_values"][rows], inputs["past_observed_mask"][rows])
            logits[others] += measured[1:] - measured[0]
        return logits

    @torch.no_grad()
    def _terms_add(self, rows, term_evidence: torch.Tensor | None = None) -> torch.Tensor | float:
        """Return what terms add to the linear classifier's logits of some rows."""
        linear = self.model.diagnosis_head.linear
        if linear is None or not linear.reads_terms or "term_evidence" not in self.inputs:
            return 0.0
        term_evidence = self.inputs["term_evidence"][rows] if term_evidence is None else term_evidence
        observed = self.inputs.get("past_observed_mask")
        return linear.evidence_logits(term_evidence, None if observed is None else observed[rows])


__all__ = ["ScoredCopies"]
