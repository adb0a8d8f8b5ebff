# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Two evaluations of the same records, with a paired test."""

from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.evaluation.figures.intervals import compare_sets
from recipes.evaluation.figures.metrics import label_cells
from recipes.evaluation.report.folder import read_predictions
from recipes.evaluation.report.text import decimals, markdown_table


SHOWN = ("micro_f1", "macro_f1", "weighted_f1", "micro_precision", "micro_recall", "exact_match")


def compare_reports(first_report: Path, second_report: Path) -> dict[str, dict]:
    """
    Print and return both reports' figures of the diagnoses, their difference, its interval and p-value.

    Raises:
        ClinRaGenInputError: if the reports are not about the same records.
    """
    first, second = read_predictions(first_report), read_predictions(second_report)
    if [p["stay_id"] for p in first] != [p["stay_id"] for p in second]:
        raise ClinRaGenInputError(f"{first_report} and {second_report} are not about the same records, in order")
    if [p["gold"] for p in first] != [p["gold"] for p in second]:
        raise ClinRaGenInputError(f"{first_report} and {second_report} differ in the recorded diagnoses")
    names = sorted({name for p in (*first, *second) for name in (*p["gold"], *(d["label"] for d in p["diagnoses"]))})
    (gold, answers), (_, others) = label_cells(first, names), label_cells(second, names)
    compared = compare_sets(gold, answers, others, [p["subject_id"] for p in first])
    show(compared)
    return compared


def show(compared: dict[str, dict]) -> None:
    rows = []
    for name in SHOWN:
        r = compared[name]
        numbers = (decimals(r["first"], 3), decimals(r["second"], 3), f"{r['difference']:+.3f}")
        interval = "{:+.3f} to {:+.3f}".format(*r["interval"])
        rows.append((name.replace("_", " "), *numbers, interval, decimals(r["p_value"], 4)))
    print(markdown_table(("figure", "first", "second", "difference", "95% interval", "p"), rows))
    print("\nMacro figures are over the diagnoses that are recorded or written in either.")
