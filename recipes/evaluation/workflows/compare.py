# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Two evaluations of the same records, with a paired test."""

from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.evaluation.figures.intervals import compare_sets
from recipes.evaluation.figures.metrics import cells_of
from recipes.evaluation.report.folder import read_predictions


SHOWN = ("micro_f1", "macro_f1", "weighted_f1", "micro_precision", "micro_recall", "exact_match")


def compare_reports(first_report: Path, second_report: Path) -> dict[str, dict]:
    """
    Return, and print, both reports' figures of the diagnoses, their difference, its interval and p-value.

    Raises:
        ClinRaGenInputError: if the reports are not about the same records.
    """
    first, second = read_predictions(first_report), read_predictions(second_report)
    if [p["stay_id"] for p in first] != [p["stay_id"] for p in second]:
        raise ClinRaGenInputError(f"{first_report} and {second_report} are not about the same records, in order")
    if [p["gold"] for p in first] != [p["gold"] for p in second]:
        raise ClinRaGenInputError(f"{first_report} and {second_report} differ in the recorded diagnoses")
    names = sorted({name for p in (*first, *second) for name in (*p["gold"], *(d["label"] for d in p["diagnoses"]))})
    position = {name: i for i, name in enumerate(names)}
    gold = cells_of([[position[name] for name in p["gold"]] for p in first], len(names))
    answers = [
        cells_of([[position[d["label"]] for d in p["diagnoses"]] for p in run], len(names)) for run in (first, second)
    ]
    patients = [p["subject_id"] for p in first]
    compared = compare_sets(gold, *answers, patients)
    show(compared)
    return compared


def show(compared: dict[str, dict]) -> None:
    print("| figure | first | second | difference | 95% interval | p |\n" + "| --- " * 6 + "|")
    for name in SHOWN:
        r = compared[name]
        interval = "{:+.3f} to {:+.3f}".format(*r["interval"])
        print(
            f"| {name.replace('_', ' ')} | {r['first']:.3f} | {r['second']:.3f} | {r['difference']:+.3f} "
            f"| {interval} | {r['p_value']:.4f} |"
        )
    print("\nMacro figures are over the diagnoses that are recorded or written in either.")
