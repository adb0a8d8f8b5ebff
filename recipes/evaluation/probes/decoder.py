# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The decoder alone: the diagnoses that it lists without the constraint on them, its own text before grounding,
and warnings in plain words if it has not learned to write.

Thresholds lie between models that were trained and models that were not; docs/evaluation.md has their figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import torch
from datasets import Dataset
from transformers import StoppingCriteria

from datasets_scripts.dataset.folder import load_split
from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenPipeline, ClinRaGenProcessor
from modeling_clinragen.generation_clinragen import DiagnosisGrammar
from recipes.evaluation.figures.faithfulness import VERDICTS, series_claim_counts
from recipes.evaluation.figures.intervals import intervals, once, set_figures, share_figures
from recipes.evaluation.figures.metrics import label_cells
from recipes.evaluation.figures.own_text import (
    FATES,
    FAULTS,
    FINDINGS,
    KnownText,
    own_finding_counts,
    own_rationale_counts,
    own_sentence_counts,
    same_for_others,
)
from recipes.evaluation.prediction import predict


SEED = 0
CHECKED, LISTED, SHARE = 32, 16, 20  # a sample is a twentieth of the records, but at least this many
TEXTS = 500  # records of a split that known words are collected from
FEWEST_PAIRS, FEWEST_FINDINGS = 45, 30  # needed for a warning; ten records make 45 pairs

UNREADABLE = 0.2  # of the sentences: at most 0.04 of trained decoders, 0.30 or more of untrained ones
UNFINISHED = 0.5  # of the texts
SAME = 0.1  # of the pairs of patients with other diagnoses: at most 0.05, 0.26 or more
ABOVE_CHANCE = 0.1  # share of findings: 0.31 or more above it, 0.06 or less

_FAULT_WORDS = {
    "wordless": "hold no word",
    "looping": "repeat themselves",
    "unknown_words": "are of words that none of its texts has",
    "unknown_order": "put words in an order that none of its texts has",
}


def known_text(dataset: str, split: str, processor: ClinRaGenProcessor, predictions: Sequence[dict]) -> KnownText:
    """
    Collect the texts that a decoder could learn from: notes and teacher's rationales of the training split, if the
    folder has one, and of `split`; names and terms of the model; and sentences composed from the records.
    """
    columns, rows = ["note", "note_rationale", "lab_rationale"], []
    for name in dict.fromkeys(("train", split)):
        with suppress(ClinRaGenInputError):
            rows += load_split(dataset, name, streaming=True).select_columns(columns).take(TEXTS)
    composed = [s["text"] for p in predictions for s in p["sentences"] if s["origin"] == "composed"]
    channels = [channel["name"] for channel in processor.feature_extractor.channels]
    terms = [term["term"] for term in processor.knowledge or ()]
    rationales = [row[name] or "" for row in rows for name in columns[1:]]
    return KnownText(
        rationales, [*(row["note"] or "" for row in rows), *composed, *channels, *terms, *processor.labels]
    )


def decoder_metrics(
    pipe: ClinRaGenPipeline,
    records: Dataset,
    predictions: list[dict],
    known: KnownText,
    batch_size: int,
    num_beams: int = 1,
) -> tuple[dict, dict]:
    """
    Measure what the decoder writes by itself.

    Args:
        predictions (list of `dict`): of `records`, with `own_text`.
        known (`KnownText`): the texts that it could learn from.

    Returns:
        Figures and their 95% intervals over patients: `sentences` of its own, `rationales`, and of samples of the
        records `findings` of the note and `claims` about the series in its own text, and its `free_list`; with the
        figures `warnings`, in plain words. Both are empty if no record is readable.
    """
    read = [i for i, prediction in enumerate(predictions) if prediction["readable"]]
    if not read:
        return {}, {}
    own, checked, listed = [predictions[i] for i in read], sample_of(read, CHECKED), sample_of(read, LISTED)
    parts = {
        "sentences": _sentences(own, known),
        "rationales": _rationales(own),
        **_checked(pipe, [predictions[i] for i in checked], records.select(checked)),
        "free_list": _free_list(pipe, [predictions[i] for i in listed], records.select(listed), batch_size, num_beams),
    }
    figures = {name: found for name, (found, _) in parts.items()}
    composed = [s["origin"] == "composed" for p in predictions for s in p["sentences"]]
    figures["warnings"] = warnings_of(figures, float(np.mean(composed)) if composed else 0.0)
    return figures, {name: bounds for name, (_, bounds) in parts.items()}


def sample_of(positions: Sequence[int], fewest: int) -> list[int]:
    """Draw a sample, in order."""
    number = min(len(positions), max(fewest, len(positions) // SHARE))
    return sorted(np.random.default_rng(SEED).choice(positions, number, replace=False).tolist())


Part = tuple[dict, dict]  # figures, and their intervals


def _shares(counts: dict[str, np.ndarray], whole: np.ndarray, predictions: list[dict], total: str) -> Part:
    figures = share_figures(counts, whole)
    patients = [prediction["subject_id"] for prediction in predictions]
    return {total: int(np.sum(whole)), **once(figures, len(whole))}, intervals(figures, patients)


def _sentences(predictions: list[dict], known: KnownText) -> Part:
    counts = own_sentence_counts(predictions, known)
    counts["unreadable"] = sum(counts[name] for name in FAULTS)
    named = {name: counts[name] for name in ("unreadable", *FAULTS, *FATES)}
    return _shares(named, counts["total"], predictions, "total")


def _rationales(predictions: list[dict]) -> Part:
    figures, bounds = _shares(
        own_rationale_counts(predictions), np.ones(len(predictions)), predictions, total="records"
    )
    pairs, same = same_for_others(predictions)
    return figures | {"pairs_of_records": pairs, "same_for_others": same}, bounds


def _checked(pipe: ClinRaGenPipeline, predictions: list[dict], rows: Dataset) -> dict[str, Part]:
    """Check findings and claims of the decoder's own text, for the inputs that the model reads."""
    parts, grounding, english = {}, pipe.grounding, pipe.processor.spoken.english
    if "note" in pipe.processor.modalities:
        notes = [english(note) for note in rows["note"]]
        own = [english(row["own_text"]["note_rationale"]) for row in predictions]
        read = [{**row, "own_text": {"note_rationale": text}} for row, text in zip(predictions, own, strict=True)]
        counts = own_finding_counts(read, notes, grounding.links if grounding.has_knowledge else None)
        parts["findings"] = _shares({n: counts[n] for n in FINDINGS}, counts["total"], predictions, "total")
    if "lab" in pipe.processor.modalities:
        texts = [english(prediction["own_text"]["lab_rationale"]) for prediction in predictions]
        series = rows.select_columns(["lab_times", "lab_values"])
        claims = [grounding.check(text, *row.values()) for text, row in zip(texts, series, strict=True)]
        counts = series_claim_counts([[vars(claim) for claim in found] for found in claims])
        counts = {name: counts[name] for name in VERDICTS}
        parts["claims"] = _shares(counts, sum(counts.values()), predictions, "total")
    return parts


def _free_list(pipe: ClinRaGenPipeline, predictions: list[dict], rows: Dataset, batch_size: int, beams: int) -> Part:
    """Compare the decoder's own list with the recorded diagnoses, and with the diagnoses decided by the model."""
    labels, patients = pipe.processor.labels, [prediction["subject_id"] for prediction in predictions]
    answers = free_lists(pipe, predictions, rows, batch_size, beams)
    (gold, made), (_, written) = label_cells(predictions, labels), label_cells(answers, labels)
    figures, bounds = {"records": len(predictions), "seed": SEED}, {}
    for names, cells in (
        ({"micro_f1": "micro_f1", "macro_f1": "macro_f1"}, gold),
        ({"micro_f1": "agreement", "exact_match": "same_list"}, made),
    ):
        found = set_figures(cells, written)
        whole, around = once(found, len(predictions)), intervals(found, patients)
        figures |= {name: whole[of] for of, name in names.items()}
        bounds |= {name: around[of] for of, name in names.items()}
    return figures, bounds


def free_lists(
    pipe: ClinRaGenPipeline, predictions: list[dict], rows: Dataset, batch_size: int, num_beams: int
) -> list[dict]:
    """
    Return predictions with the `diagnoses` that the decoder lists by itself: neither the names of labels nor the
    decisions of the diagnosis head, which it reads, are forced on it. Generation ends with the list.
    """
    token_ids, options = pipe.model.config.decisions.token_ids, {}
    if token_ids and not token_ids["opens_anywhere"]:
        grammar, position = DiagnosisGrammar(**token_ids), {name: i for i, name in enumerate(pipe.processor.labels)}
        lists = [grammar.write(position[d["label"]] for d in p["diagnoses"]) for p in predictions]
        options["stopping_criteria"] = [_Ended(grammar.end)]
        options["max_new_tokens"] = len(grammar.opening) + 2 * max(map(len, lists))
    with unconstrained(pipe.model):
        return list(predict(pipe, rows, batch_size, num_beams, desc="The decoder's lists", grounded=False, **options))


@contextmanager
def unconstrained(model: ClinRaGenLanguageModel) -> Iterator[None]:
    """Let a model write any text, including its list of diagnoses."""
    decisions = model.config.decisions
    token_ids, decisions.token_ids = decisions.token_ids, None
    try:
        yield
    finally:
        decisions.token_ids = token_ids


class _Ended(StoppingCriteria):
    """Ends each text at a sequence of tokens."""

    def __init__(self, end: Sequence[int]):
        self.end = list(end)

    def __call__(self, input_ids: torch.LongTensor, scores, **kwargs) -> torch.BoolTensor:
        end = torch.tensor(self.end, device=input_ids.device)
        last = input_ids[:, -len(end) :]
        return (
            (last == end).all(dim=1) if last.shape[1] == len(end) else torch.zeros_like(last[:, 0], dtype=torch.bool)
        )


def warnings_of(figures: dict, composed: float) -> list[str]:
    """
    Return in plain words what a decoder has not learned; an empty list if nothing.

    Args:
        figures (`dict`): as [`decoder_metrics`] gives them.
        composed (`float`): share of the sentences of the rationales that were composed from the record.
    """
    sentences, rationales, findings = figures["sentences"], figures["rationales"], figures.get("findings", {})
    left = f" {composed:.0%} of the sentences of the rationales were composed from the record." if composed else ""
    if rationales["empty"] >= UNFINISHED:
        return [f"The decoder writes no rationale in {rationales['empty']:.0%} of its texts.{left}"]
    if sentences["unreadable"] is not None and sentences["unreadable"] >= UNREADABLE:
        faults = [f"{sentences[name]:.0%} {words}" for name, words in _FAULT_WORDS.items() if sentences[name] >= 0.005]
        return [
            f"The decoder has not learned to write: {sentences['unreadable']:.0%} of its own sentences are unreadable "
            f"({', '.join(faults)}).{left}"
        ]
    warnings = []
    named, chance = findings.get("supported"), findings.get("by_chance")
    if rationales["cut"] >= UNFINISHED:
        warnings.append(f"The decoder does not come to an end: {rationales['cut']:.0%} of its texts were cut.{left}")
    if rationales["pairs_of_records"] >= FEWEST_PAIRS and rationales["same_for_others"] >= SAME:
        warnings.append(
            "The decoder has learned words, but not the patient: in "
            f"{rationales['same_for_others']:.0%} of the pairs of records with other diagnoses it writes the same "
            f"rationale, word for word.{left}"
        )
    elif findings.get("total", 0) >= FEWEST_FINDINGS and named - chance < ABOVE_CHANCE:
        warnings.append(
            f"The decoder has learned words, but not the patient: the note supports {named:.0%} of the findings that "
            f"it names, and another patient's note {chance:.0%}.{left}"
        )
    return warnings
