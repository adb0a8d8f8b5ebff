# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Check on the records of a report whether the guarantees on recall and precision hold.

    python -m benchmarks.guarantees --report runs/quickstart/report --recall 0.9 --precision 0.8 --splits 100

splits the records into random halves many times, fits on one, counts on the other, and compares with the theory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.doubt_clinragen import (
    precision_threshold,
    recall_threshold,
)
from recipes.evaluation.report.folder import read_predictions
from recipes.training.guarantees import fit_guarantees


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    labels, probabilities, gold = read_report(arguments.report)
    halves = list(random_halves(len(gold), arguments.splits, arguments.seed))
    found = {"recall": check_recall(probabilities, gold, arguments.recall, halves)}
    show_recall(found["recall"], labels, arguments.recall)
    if arguments.precision is not None:
        asked = arguments.precision, arguments.confidence
        found["precision"] = check_precision(probabilities, gold, *asked, halves)
        show_precision(found["precision"], labels, *asked)
    return found


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check whether the guarantees on recall and precision hold.")
    parser.add_argument("--report", type=Path, required=True, help="report folder of evaluate_model.py")
    parser.add_argument("--recall", type=float, default=0.9, help="of each diagnosis; default: 0.9")
    parser.add_argument("--precision", type=float, help="of each diagnosis; default: not checked")
    parser.add_argument("--confidence", type=float, default=0.9, help="that the precision is kept; default: 0.9")
    parser.add_argument("--splits", type=int, default=100, help="random halves; default: 100")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    for name in ("recall", "precision", "confidence"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < 1:
            raise ClinRaGenInputError(f"--{name} is a share between 0 and 1, not {value}")
    if arguments.splits < 1:
        raise ClinRaGenInputError(f"--splits is {arguments.splits}; give at least 1")
    return arguments


def read_report(folder: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return labels, and probabilities and diagnoses, `(num_records, num_labels)` both, of the readable records."""
    predictions = [prediction for prediction in read_predictions(folder) if prediction["probabilities"]]
    if len(predictions) < 2:
        raise ClinRaGenInputError(f"{folder}/predictions.jsonl holds probabilities of fewer than two records")
    labels = list(predictions[0]["probabilities"])
    probabilities = np.array([[prediction["probabilities"][name] for name in labels] for prediction in predictions])
    gold = np.array([[name in prediction["gold"] for name in labels] for prediction in predictions])
    return labels, probabilities, gold


def random_halves(number: int, splits: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows to fit on and rows to count on, `splits` times."""
    generator = np.random.default_rng(seed)
    for _ in range(splits):
        order = generator.permutation(number)
        yield order[: number // 2], order[number // 2 :]


def check_recall(
    probabilities: np.ndarray, gold: np.ndarray, recall: float, halves: list[tuple[np.ndarray, np.ndarray]]
) -> list[dict]:
    """
    Return for each label the recall of thresholds from one half on the other, beside the theoretical expectation.

    With `n` positives to fit on and `m` to count on, the number that is found is beta-binomial with parameters
    n + 1 - k and k, where k = floor((1 - recall) * (n + 1)), for any model; ties of probabilities only make it
    larger. Random halves of the same records are independent in this respect, so that the mean over `splits` has the
    variance of one divided by their number.

    Returns:
        For each label `positives`; over the halves that have positives to count on the mean `recall`, the `expected`
        mean and the 95% `band` around it, `None` without any; `always_possible`, the share of halves that have too
        few positives to fit on for any threshold but 0; and `set_share`, the mean share of records in the set.
    """
    found = []
    for scores, has in zip(probabilities.T, gold.T, strict=True):
        rows = [_recall_of_halves(scores, has, fit, count, recall) for fit, count in halves]
        counted = np.array([row[:3] for row in rows if row[0] is not None])
        reached, expected, variance = counted.T if len(counted) else (None, None, None)
        middle = None if reached is None else float(expected.mean())
        margin = None if reached is None else 1.96 * float(np.sqrt(variance.sum())) / len(counted)
        found.append(
            {
                "positives": int(has.sum()),
                "recall": None if reached is None else float(reached.mean()),
                "expected": middle,
                "band": None if reached is None else [middle - margin, min(middle + margin, 1.0)],
                "always_possible": float(np.mean([row[3] for row in rows])),
                "set_share": float(np.mean([row[4] for row in rows])),
            }
        )
    return found


def _recall_of_halves(scores, has, fit, count, recall) -> tuple:
    """Return recall, its mean and variance (`None` without positives to count on), no threshold, share in the set."""
    kept = fit_guarantees(scores[fit, None], has[fit, None])
    number, positives = kept["num_positives"][0], int(has[count].sum())
    threshold = recall_threshold(number, kept["positive_scores"][0], recall)
    inside = scores[count] >= threshold
    missed = np.floor((1 - recall) * (number + 1) + 1e-9)
    if not positives:
        return None, None, None, missed == 0, inside.mean()
    share, size = missed / (number + 1), number + 1
    variance = share * (1 - share) * (size + positives) / (positives * (size + 1))
    return inside[has[count]].mean(), 1 - share, variance, missed == 0, inside.mean()


def show_recall(found: list[dict], labels: list[str], recall: float) -> None:
    print("| diagnosis | positives | recall | expected | 95% band | | records in its set | too few |")
    print("| --- " * 8 + "|")
    for label, row in zip(labels, found, strict=True):
        if row["recall"] is None:
            print(f"| {label} | {row['positives']} | - | - | - | | {row['set_share']:.3f} | - |")
            continue
        low, high = row["band"]
        place = "below" if row["recall"] < low - 1e-9 else "above" if row["recall"] > high + 1e-9 else ""
        print(
            f"| {label} | {row['positives']} | {row['recall']:.3f} | {row['expected']:.3f} | {low:.3f} to {high:.3f} "
            f"| {place} | {row['set_share']:.3f} | {row['always_possible']:.2f} |"
        )
    counted = [row for row in found if row["recall"] is not None]
    below = sum(row["recall"] < row["band"][0] - 1e-9 for row in counted)
    above = sum(row["recall"] > row["band"][1] + 1e-9 for row in counted)
    print(
        f"\nRecall {recall:g} was asked for. Of {len(counted)} diagnoses {below} are below the band and {above} above "
        f"it; 2.5% each are expected by chance, and more above it where probabilities are equal. Too few: the share "
        "of halves whose positives are too few to rule anything out."
    )


def check_precision(
    probabilities: np.ndarray,
    gold: np.ndarray,
    precision: float,
    confidence: float,
    halves: list[tuple[np.ndarray, np.ndarray]],
) -> list[dict]:
    """
    Return for each label how often a threshold from one half is certified, and how often its precision is too low.

    The true precision of a threshold is that over all records of the report, of which the half is a random sample.

    Returns:
        For each label `certified` and `broken`, shares of the halves, and the mean `recall` over the halves.
    """
    found = []
    for scores, has in zip(probabilities.T, gold.T, strict=True):
        thresholds = []
        for fit, _ in halves:
            counts = fit_guarantees(scores[fit, None], has[fit, None])
            thresholds.append(
                precision_threshold(counts["selected"][0], counts["correct"][0], precision, 1 - confidence)
            )
        thresholds = np.array(thresholds)
        named = scores >= thresholds[:, None]  # (splits, num_records)
        right = (named & has).sum(axis=1)
        broken = right < precision * named.sum(axis=1) - 1e-9
        found.append(
            {
                "certified": float(np.isfinite(thresholds).mean()),
                "broken": float(broken.mean()),
                "recall": float(right.mean() / max(has.sum(), 1)),
            }
        )
    return found


def show_precision(found: list[dict], labels: list[str], precision: float, confidence: float) -> None:
    print("\n| diagnosis | certified | promise broken | recall of what is certified |\n" + "| --- " * 4 + "|")
    for label, row in zip(labels, found, strict=True):
        print(f"| {label} | {row['certified']:.2f} | {row['broken']:.2f} | {row['recall']:.3f} |")
    worst = max(row["broken"] for row in found)
    print(
        f"\nPrecision {precision:g} was asked for with confidence {confidence:g}: a promise may be broken in "
        f"{1 - confidence:.2f} of the halves. Most often it is in {worst:.2f}, on average over the diagnoses in "
        f"{np.mean([row['broken'] for row in found]):.3f}."
    )


if __name__ == "__main__":
    run_command(main)
