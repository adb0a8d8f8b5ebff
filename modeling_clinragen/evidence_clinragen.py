# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Evidence for a diagnosis: the clauses of the note, the stretches of a channel's series and the knowledge terms without
which the model would hold the diagnosis for less likely. One is taken away, and the record is scored anew: of all, or
of those whose estimated effects are the largest. No effect is given that was not measured.

What is found is what moved this model, for better or worse; it need not be what causes or proves the disease. Two
clauses that say the same may both seem to matter little, since either of them is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch

from .clinical_clinragen import ClinRaGenInputError
from .copies_clinragen import RecordCopies, Removal
from .processing_clinragen import beginning
from .scored_copies_clinragen import ScoredCopies
from .t5_encoding_clinragen import T5Encoding


MAX_CLAUSE_WORDS = 15
SEGMENT_HOURS, MAX_SEGMENTS = 4.0, 64
MAX_TERMS = 32
NEGLIGIBLE = 1e-3  # of log-odds: as much as may come of rounding
PARTS = ("note", "series", "knowledge")

Unit = tuple  # of atoms: words as (start, end), measurements as (row, channel), terms as their number


class Occlusion:
    """
    Score a record without some of the units that it is made of.

    Attributes:
        units (`dict`): for each of `PARTS` a list of units: clauses, segments of a channel's series, and the terms
            that the record shows, or of a model that does not read these the attended ones. A part that the model
            does not read, or the record does not hold, has none.
        terms (list of `str`): the terms of the knowledge.

    Args:
        model (`ClinRaGenLanguageModel`): with a diagnosis head.
        processor (`ClinRaGenProcessor`): its `modalities` say what is read.
        note (`str`, *optional*), lab_values, lab_times (arrays, *optional*): the record, as the processor takes it.
        batch_size (`int`, *optional*): removals that are scored at once. Default: 16 on a CPU, whose caches hold no
            more, else 64.

    Raises:
        ClinRaGenInputError: if the model has no diagnosis head.
    """

    def __init__(self, model, processor, note, lab_values, lab_times, batch_size: int | None = None):
        if model.diagnosis_head is None:
            raise ClinRaGenInputError(
                "evidence is what moves a probability, and this model has none: it was trained with "
                "diagnosis_loss_weight=0"
            )
        self.model, self.processor = model, processor
        self.batch_size = batch_size or (16 if model.device.type == "cpu" else 64)
        self.note = part_read(processor, note)
        self.values, self.times = processor.feature_extractor.validate(lab_values, lab_times)
        self.copies = RecordCopies(processor, self.note, self.values, self.times)
        self.units: dict[str, list[Unit]] = {"note": clauses(self.note), "series": [], "knowledge": []}
        attended = model.config.knowledge_terms
        self.terms = [term["term"] for term in processor.knowledge] if processor.reads_terms else attended
        place = {term: i for i, term in enumerate(attended)}
        self.attended = {i: place[term] for i, term in enumerate(self.terms) if term in place}
        if "lab" in processor.modalities:
            read = processor.feature_extractor.reaches_model(self.values, self.times)
            self.units["series"] = segments(self.times, read)
        self.units["knowledge"] = self._shown_terms() if processor.reads_terms else self._attended_terms()

    def logits(self, removals: Sequence[Removal]) -> torch.Tensor:
        """
        Score the record without each of `removals`: shape `(num_removals, num_scores, num_labels)`, on the CPU.

        The first score is `diagnosis_logits`, the others are `member_logits`, as `encode` gives them.
        """
        batches = (removals[i : i + self.batch_size] for i in range(0, len(removals), self.batch_size))
        outputs = (self._encode(batch) for batch in batches)
        scores = [torch.cat([o.diagnosis_logits.unsqueeze(1), o.member_logits], dim=1).float().cpu() for o in outputs]
        return torch.cat(scores)

    def effects(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        Return the `logits` of the whole record, `(num_scores, num_labels)`, and for each of `PARTS` their drop without
        each unit, `(num_units, num_scores, num_labels)`.
        """
        whole, *without = self.logits([Removal(), *self._removals()]).split([1, *self._sizes()])
        return whole[0], {part: whole - logits for part, logits in zip(PARTS, without, strict=True)}

    def largest_effects(self, labels: Sequence[int], number: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """
        Measure those effects on some diagnoses that are likely to be among the `number` largest of a part.

        Units are measured by the order of their estimated effects, see [`ScoredCopies`]: of each diagnosis and part
        `number` and one more, then those that are estimated to be larger than the last of the `number` largest
        measured ones. By a model without estimates all are.

        Returns:
            `diagnosis_logits` of the whole record, `(len(labels),)`, and for each of `PARTS` their drop without each
            unit, `(num_units, len(labels))`, `-inf` where it was not measured.
        """
        labels, removals = list(labels), self._removals()
        removed = [self.copies.removed_tokens(removal.note) for removal in removals]
        if None in removed or not removals or not T5Encoding.fits(self.model.backbone):
            whole, effects = self.effects()
            return whole[0, labels], {part: drops[:, 0, labels] for part, drops in effects.items()}
        scored = ScoredCopies(self.model, self._inputs([Removal(), *removals], reads_notes=False), removed)
        whole, estimates = scored.logits([0])[0, labels], scored.estimated_drops(labels)
        drops = torch.full_like(estimates, -torch.inf)
        for _ in range(2):
            parts = zip(estimates.split(self._sizes()), drops.split(self._sizes()), strict=True)
            chosen = torch.cat([_promising(*part, number) for part in parts]).nonzero().flatten()
            if len(chosen):
                terms = self._inputs([removals[i] for i in chosen]).get("term_evidence")
                drops[chosen] = whole - scored.logits((chosen + 1).tolist(), terms)[:, labels]
        return whole, dict(zip(PARTS, drops.split(self._sizes()), strict=True))

    def _removals(self) -> list[Removal]:
        return [Removal(**{part: unit}) for part in PARTS for unit in self.units[part]]

    def _sizes(self) -> list[int]:
        return [len(self.units[part]) for part in PARTS]

    @torch.no_grad()
    def _encode(self, removals: Sequence[Removal]):
        return self.model.encode(**self._inputs(removals), are_copies=True)

    def _inputs(self, removals: Sequence[Removal], reads_notes: bool = True) -> dict[str, torch.Tensor]:
        inputs = self.copies.inputs(removals, reads_notes)
        terms = [removal.knowledge for removal in removals]
        if self.model.config.knowledge_attention_type == "term":
            attended = [[self.attended[i] for i in removed if i in self.attended] for removed in terms]
            inputs["knowledge_mask"] = without_terms(attended, self.model.config.num_knowledge_tokens)
        if "term_evidence" in inputs:
            inputs["term_evidence"] &= without_terms(terms, len(self.terms)).bool().unsqueeze(1)
        return {name: tensor.to(self.model.device) for name, tensor in inputs.items()}

    def _shown_terms(self) -> list[Unit]:
        """Return the terms that the record shows."""
        evidence = self.copies.inputs([Removal()])["term_evidence"][0]
        return [(int(i),) for i in np.flatnonzero(evidence.any(axis=0))]

    def _attended_terms(self) -> list[Unit]:
        """Return the terms that the series attend to, the most attended first."""
        attention = self._encode([Removal()]).knowledge_attentions
        if (
            attention is None
            or "lab" not in self.processor.modalities
            or self.model.config.knowledge_attention_type != "term"
        ):
            return []
        weights = attention[0].sum(dim=(0, 1))  # (num_terms,)
        return [(int(i),) for i in weights.argsort(descending=True)[:MAX_TERMS] if weights[i] > 0]


def find_evidence(occlusion: Occlusion, labels: Sequence[int], max_units: int = 5) -> list[dict]:
    """
    Find the evidence for each of some diagnoses by [`Occlusion.largest_effects`].

    Args:
        labels (list of `int`): class ids of the diagnoses.
        max_units (`int`, *optional*, defaults to 5): of each kind the most that are given.

    Returns:
        One `dict` for each diagnosis: `label`; `note`, with `text`, `start` and `end` (characters of the note as
        given); `series`, with `channel`, `from_hour` and `to_hour` (of the first and last measurement); and
        `knowledge`, with `term`. Each entry has its `effect`, the drop of the diagnosis' log-odds without it, and
        `probability_drop`. Those whose effect is above zero, the largest first.
    """
    if not len(labels):
        return []
    describe = {"note": _clause, "series": _segment, "knowledge": _term}
    whole, effects = occlusion.largest_effects(labels, max_units)
    found = []
    for column, label in enumerate(labels):
        entry = {"label": occlusion.processor.labels[label]}
        for part, drops in effects.items():
            drops = drops[:, column]
            lost = whole[column].sigmoid() - (whole[column] - drops).sigmoid()
            first = [i for i in drops.argsort(descending=True).tolist() if drops[i] > NEGLIGIBLE][:max_units]
            entry[part] = [
                {
                    **describe[part](occlusion, occlusion.units[part][i]),
                    "effect": round(float(drops[i]), 4),
                    "probability_drop": round(float(lost[i]), 4),
                }
                for i in first
            ]
        found.append(entry)
    return found


def _promising(estimates: torch.Tensor, drops: torch.Tensor, number: int) -> torch.BoolTensor:
    """
    Choose the units of a part to measure.

    Args:
        estimates, drops (`torch.Tensor` of shape `(num_units, num_labels)`): estimated, and measured so far.
    """
    measured = (drops > -torch.inf).any(dim=1)
    if not measured.any():
        return estimates.argsort(dim=0, descending=True).argsort(dim=0).le(number).any(dim=1)
    limits = drops.sort(dim=0, descending=True).values[:number][-1].clamp(min=NEGLIGIBLE)
    return (estimates > limits).any(dim=1) & ~measured


def _clause(occlusion: Occlusion, unit: Unit) -> dict:
    start, end = unit[0][0], unit[-1][1]
    return {"text": occlusion.note[start:end], "start": start, "end": end}


def _segment(occlusion: Occlusion, unit: Unit) -> dict:
    hours = [float(occlusion.times[row]) for row, _ in unit]
    channel = occlusion.processor.feature_extractor.channels[unit[0][1]]
    return {"channel": channel["name"], "from_hour": round(hours[0], 2), "to_hour": round(hours[-1], 2)}


def _term(occlusion: Occlusion, unit: Unit) -> dict:
    return {"term": occlusion.terms[unit[0]]}


def part_read(processor, note: str | None) -> str:
    """Return the beginning of a note that reaches the model; a long note is cut, and the rest has no effect."""
    if not note or not note.strip() or "note" not in processor.modalities:
        return ""
    return beginning(note, processor.cut_notes([note])[0])


def clauses(note: str) -> list[Unit]:
    """
    Cut a note after the words that end in a mark of punctuation or a line, and else after `MAX_CLAUSE_WORDS`.

    Returns:
        For each clause its words as `(start, end)`.
    """
    found, clause = [], []
    for match in re.finditer(r"(\S+)(\s*)", note):
        word, space = match.groups()
        clause.append(match.span(1))
        if word[-1] in ".,;:!?" or "\n" in space or len(clause) == MAX_CLAUSE_WORDS:
            found.append(tuple(clause))
            clause = []
    return [*found, tuple(clause)] if clause else found


def segments(times: np.ndarray, read: np.ndarray) -> list[Unit]:
    """
    Group each channel's measurements by windows of `SEGMENT_HOURS`, doubled until they are at most `MAX_SEGMENTS`.

    Args:
        times (array of shape `(T,)`): hours since ICU admission.
        read (bool array of shape `(T, num_input_channels)`): the measurements that reach the model.

    Returns:
        For each segment its measurements as `(row, channel)`, in their order in time.
    """
    row, channel = np.nonzero(read)
    hours = SEGMENT_HOURS
    while True:
        window = (times[row] // hours).astype(int)
        keys = sorted(set(zip(channel.tolist(), window.tolist(), strict=True)))
        if len(keys) <= max(MAX_SEGMENTS, read.shape[1]):
            break
        hours *= 2
    found: dict[tuple[int, int], list] = {key: [] for key in keys}
    for r, c, w in zip(row.tolist(), channel.tolist(), window.tolist(), strict=True):
        found[c, w].append((r, c))
    return [tuple(unit) for unit in found.values()]


def without_terms(terms: Sequence[Sequence[int]], num_terms: int) -> torch.Tensor:
    """Return a mask of shape `(len(terms), num_terms)`: 0 for the terms of each record, 1 for the others."""
    mask = torch.ones(len(terms), num_terms, dtype=torch.long)
    for row, masked in zip(mask, terms, strict=True):
        row[list(masked)] = 0
    return mask


__all__ = ["Occlusion", "Removal", "find_evidence"]
