# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Compare the diagnoses of two evaluations of the same records, with a paired test.

    python recipes/compare_reports.py --first runs/quickstart/report/stage1 --second runs/quickstart/report
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.figures.intervals import compare_sets
from recipes.evaluation.figures.metrics import cells_of
from recipes.evaluation.report.folder import read_predictions


SHOWN = ("micro_f1", "macro_f1", "weighted_f1", "micro_precision", "micro_recall", "exact_match")


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Compare the diagnoses of two evaluations of the same records.")
    parser.add_argument("--first", type=Path, required=True, help="report folder of evaluate_model.py")
    parser.add_argument("--second", type=Path, required=True, help="report folder that is compared with the first")
    parser.add_argument("--resamples", type=int, default=1000, help="of patients, and swaps of answers; default 1000")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if arguments.resamples < 1:
        raise ClinRaGenInputError(f"--resamples is {arguments.resamples}; give at least 1")
    first, second = read_predictions(arguments.first), read_predictions(arguments.second)
    if [p["stay_id"] for p in first] != [p["stay_id"] for p in second]:
        raise ClinRaGenInputError(f"{arguments.first} and {arguments.second} are not about the same records, in order")
    if [p["gold"] for p in first] != [p["gold"] for p in second]:
        raise ClinRaGenInputError(f"{arguments.first} and {arguments.second} differ in the recorded diagnoses")
    names = sorted({name for p in (*first, *second) for name in (*p["gold"], *(d["label"] for d in p["diagnoses"]))})
    position = {name: i for i, name in enumerate(names)}
    gold = cells_of([[position[name] for name in p["gold"]] for p in first], len(names))
    answers = [
        cells_of([[position[d["label"]] for d in p["diagnoses"]] for p in run], len(names)) for run in (first, second)
    ]
    patients = [p["subject_id"] for p in first]
    compared = compare_sets(gold, *answers, patients, arguments.resamples, arguments.seed)
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


if __name__ == "__main__":
    run_command(main)
