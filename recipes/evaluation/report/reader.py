# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Show what a reader of the rationales meets, and what the decoder writes by itself, as rows of the report, the model
card and the page of rationales.
"""

from __future__ import annotations

from dataclasses import dataclass


# Name for readers, place in `metrics.json`, unit of the denominator, and the field with the denominator.
ROWS = (
    ("supported claims and findings per record", "supported_per_record", "both", "records", "records"),
    ("findings that are not in the note", "note_claims", "absent", "findings", "total"),
    ("findings that the note contradicts", "note_claims", "contradicted", "findings", "total"),
    ("claims that the series contradict", "claims", "contradicted", "claims", "claims"),
    ("wrong counts", "count_claims", "wrong", "counts", "total"),
    ("arguments that the knowledge links", "arguments", "linked", "arguments", "total"),
    ("arguments that it does not link", "arguments", "unlinked", "arguments", "total"),
    ("arguments from findings that it does not know", "arguments", "unknown", "arguments", "total"),
    ("listed diagnoses explained by evidence", "listed_diagnoses", "explained", "listed diagnoses", "total"),
    ("listed diagnoses said to be unexplained", "listed_diagnoses", "unexplained", "listed diagnoses", "total"),
    ("listed diagnoses that are neither", "listed_diagnoses", "neither", "listed diagnoses", "total"),
    (
        "listed diagnoses not explained though the note names them",
        "listed_diagnoses",
        "overlooked",
        "listed diagnoses",
        "total",
    ),
    ("repeated sentences", "sentences", "repeated", "sentences", "total"),
    ("sentences as the model wrote them", "sentence_origins", "written", "sentences", "total"),
    ("sentences corrected from the record", "sentence_origins", "repaired", "sentences", "total"),
    ("sentences composed from the record", "sentence_origins", "composed", "sentences", "total"),
    ("teacher's note rationales without evidence", "teacher_evidence", "note_without_evidence", "records", "records"),
    (
        "teacher's series rationales without evidence",
        "teacher_evidence",
        "series_without_evidence",
        "records",
        "records",
    ),
)

# The same for the figures of the decoder alone.
DECODER_ROWS = (
    ("micro-F1 of the diagnoses that it lists by itself", "free_list", "micro_f1", "records drawn", "records"),
    ("macro-F1 of these", "free_list", "macro_f1", "records drawn", "records"),
    ("agreement with the diagnoses that are given (F1)", "free_list", "agreement", "records drawn", "records"),
    ("lists that are the same", "free_list", "same_list", "records drawn", "records"),
    ("own sentences that cannot be read", "sentences", "unreadable", "sentences", "total"),
    ("of all, without a word", "sentences", "wordless", "sentences", "total"),
    ("of all, that repeat themselves", "sentences", "looping", "sentences", "total"),
    ("of all, of unknown words", "sentences", "unknown_words", "sentences", "total"),
    ("of all, with words in an unknown order", "sentences", "unknown_order", "sentences", "total"),
    ("own sentences that stayed as written", "sentences", "written", "sentences", "total"),
    ("own sentences corrected from the record", "sentences", "repaired", "sentences", "total"),
    ("own sentences left out", "sentences", "left_out", "sentences", "total"),
    ("texts without a rationale", "rationales", "empty", "records", "records"),
    ("texts cut at the token limit", "rationales", "cut", "records", "records"),
    ("repeated four-word sequences", "rationales", "rep_4", "records", "records"),
    (
        "the same rationale for other diagnoses",
        "rationales",
        "same_for_others",
        "pairs of records",
        "pairs_of_records",
    ),
    ("findings that the note supports", "findings", "supported", "findings", "total"),
    ("findings that the note contradicts", "findings", "contradicted", "findings", "total"),
    ("findings that are not in the note", "findings", "absent", "findings", "total"),
    ("findings that another patient's note supports", "findings", "by_chance", "findings", "total"),
    ("claims that the series support", "claims", "supported", "claims", "total"),
    ("claims that the series contradict", "claims", "contradicted", "claims", "total"),
)


@dataclass(frozen=True)
class ReaderRow:
    """One figure: its name, value and 95% interval, and its denominator."""

    name: str
    value: float
    interval: list[float] | None
    whole: str


def reader_rows(metrics: dict) -> list[ReaderRow]:
    """Return the figures that a `metrics.json` has; older reports have none."""
    return _rows(ROWS, metrics, metrics["intervals"]) if "listed_diagnoses" in metrics else []


def decoder_rows(metrics: dict) -> list[ReaderRow]:
    """Return the figures of the decoder alone that a `metrics.json` or a `training.json` has."""
    bounds = metrics.get("intervals", {}).get("decoder") or {}
    return _rows(DECODER_ROWS, metrics.get("decoder") or {}, bounds)


def decoder_warnings(metrics: dict) -> list[str]:
    """Return in plain words what the decoder has not learned; empty for older reports."""
    return (metrics.get("decoder") or {}).get("warnings", [])


def _rows(rows: tuple, metrics: dict, bounds: dict) -> list[ReaderRow]:
    found = []
    for name, group, figure, whole, total in rows:
        figures = metrics.get(group) or {}
        if figures.get(figure) is not None and total in figures:
            interval = (bounds.get(group) or {}).get(figure)
            found.append(ReaderRow(name, figures[figure], interval, f"{figures[total]:,} {whole}"))
    return found
