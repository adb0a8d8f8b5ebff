# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Tell what a reader of the rationales meets, as rows of the report, the model card and the page of rationales."""

from __future__ import annotations

from dataclasses import dataclass


# Name for readers, place in `metrics.json`, what the figure is a share of, and where their number stands.
ROWS = (
    ("supported claims and findings a record", "supported_per_record", "both", "records", "records"),
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
    ("sentences put right from the record", "sentence_origins", "repaired", "sentences", "total"),
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


@dataclass(frozen=True)
class ReaderRow:
    """One figure: its name, value and 95% interval, and of how many of what."""

    name: str
    value: float
    interval: list[float] | None
    whole: str


def reader_rows(metrics: dict) -> list[ReaderRow]:
    """Return the figures that a `metrics.json` has; none of a report before they were measured."""
    if "listed_diagnoses" not in metrics:
        return []
    rows = []
    for name, group, figure, whole, total in ROWS:
        figures = metrics.get(group) or {}
        if figures.get(figure) is not None:
            interval = (metrics["intervals"].get(group) or {}).get(figure)
            rows.append(ReaderRow(name, figures[figure], interval, f"{figures[total]:,} {whole}"))
    return rows
