# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
What a model says of its doubt: fitted on a calibration split, and whether its guarantees hold.

    python recipes/conformal.py --report runs/quickstart/report --recall 0.9 --precision 0.8 --splits 100

cuts the records of a report into random halves many times, fits on one, counts on the other, and compares with what
the theory says.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm import tqdm

from datasets_scripts.command import run_command
from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from modeling_clinragen.doubt_clinragen import (
    MORE_IS_UNUSUAL,
    PRECISION_GRID,
    UNUSUAL,
    ClinRaGenDoubt,
    evidence_of,
    precision_threshold,
    recall_threshold,
)
from recipes.compare_reports import read_predictions
from recipes.data import ClinRaGenCollator


NUM_SCORES = 200  # probabilities of positives that are kept for each label; of more, evenly chosen ones
UNUSUAL_SHARE = 0.02  # of the calibration records are beyond the limit of each measure of the evidence
INFLUENCE_RECORDS = 256
STEP = 1e-4  # to which probabilities are rounded


def fit_doubt(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: Dataset,
    collator: ClinRaGenCollator,
    probabilities: np.ndarray,
) -> None:
    """
    Set `doubt` of the model's configuration.

    Args:
        records (`Dataset`): the calibration split, as `encode_records` gives it.
        probabilities (array of shape `(num_records, num_labels)`): of these records, from what did not learn of them.
    """
    model.eval()
    evidence = [evidence_of(model, inputs).cpu() for inputs in batches(model, processor, records, collator)]
    gold = np.stack(records.with_format("numpy", columns=["diagnosis_labels"])["diagnosis_labels"])
    few = records.select(range(min(INFLUENCE_RECORDS, len(records))))
    model.config.doubt = asdict(
        ClinRaGenDoubt(
            **fit_guarantees(probabilities, gold),
            evidence_limits=fit_evidence_limits(torch.cat(evidence).numpy()),
            influence=channel_influence(model, processor, few, collator).double().numpy().round(4).tolist(),
        )
    )


def batches(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: Dataset,
    collator: ClinRaGenCollator,
    batch_size: int = 64,
) -> Iterator[dict[str, torch.Tensor]]:
    """What the model reads, on its device."""
    for batch in DataLoader(records, batch_size=batch_size, collate_fn=collator):
        yield {name: batch[name].to(model.device) for name in processor.model_input_names}


def fit_guarantees(probabilities: np.ndarray, gold: np.ndarray) -> dict[str, list]:
    """
    What thresholds with a guarantee for any recall and precision are found from, in little space.

    Args:
        probabilities, gold (arrays of shape `(num_records, num_labels)`): of the calibration split.

    Returns:
        `num_positives`, `positive_scores`, `selected` and `correct` of [`ClinRaGenDoubt`].
    """
    gold = np.asarray(gold, dtype=bool)
    above = probabilities[:, None, :] >= np.array(PRECISION_GRID)[:, None]  # (num_records, grid, num_labels)
    return {
        "num_positives": gold.sum(axis=0).tolist(),
        "positive_scores": [_thinned(np.sort(p[g])) for p, g in zip(probabilities.T, gold.T, strict=True)],
        "selected": above.sum(axis=0).T.tolist(),
        "correct": (above & gold[:, None, :]).sum(axis=0).T.tolist(),
    }


def _thinned(scores: np.ndarray) -> list[float]:
    """Of ascending scores those of ranks ceil(i * number / kept), rounded down, so that a threshold errs downwards."""
    kept = min(len(scores), NUM_SCORES)
    ranks = [-(-i * len(scores) // kept) for i in range(1, kept + 1)]
    down = np.floor(scores[np.array(ranks, dtype=int) - 1].astype(np.float64) / STEP + 1e-6)
    return (down * STEP).round(4).tolist()


def fit_evidence_limits(evidence: np.ndarray) -> dict[str, float]:
    """
    The limit of each measure of `evidence_of`, `(num_records, num_measures)`, beyond which at most `UNUSUAL_SHARE` of
    the records are. A measure that is NaN, of what the model does not read, has none.
    """
    limits = {}
    for name, values in zip(UNUSUAL, evidence.T.astype(np.float64), strict=True):
        if np.isnan(values).any():
            continue
        if name in MORE_IS_UNUSUAL:
            limit = np.ceil(np.quantile(values, 1 - UNUSUAL_SHARE, method="higher") / STEP)
        else:
            limit = np.floor(np.quantile(values, UNUSUAL_SHARE, method="lower") / STEP)
        limits[name] = round(float(limit * STEP), 4)
    return limits


@torch.no_grad()
def channel_influence(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: Dataset,
    collator: ClinRaGenCollator,
) -> torch.Tensor:
    """
    The mean absolute change of each diagnosis's log-odds where a channel, or the note, is taken from a record.

    Returns:
        `torch.Tensor` of shape `(num_labels, num_input_channels + 1)`, the note last; 0 where no record has it.
    """
    num_channels = model.config.num_input_channels
    total = torch.zeros(num_channels + 1, len(model.config.labels))
    number = torch.zeros(num_channels + 1)
    whole_split = batches(model, processor, records, collator)
    for inputs in tqdm(whole_split, desc="Influence of each channel", unit="batch"):
        whole = model.encode(**inputs).diagnosis_logits
        for part, (rows, less) in enumerate(without_each_part(inputs, processor, num_channels)):
            if rows.any():
                change = model.encode(**less).diagnosis_logits - whole[rows]
                total[part] += change.abs().sum(dim=0).cpu()
                number[part] += rows.sum().cpu()
    return (total / number.clamp(min=1).unsqueeze(1)).T


def without_each_part(
    inputs: dict[str, torch.Tensor], processor: ClinRaGenProcessor, num_channels: int
) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """For each channel, and last the note: which records have it, `(batch_size,)`, and their inputs without it."""
    tokens, mask = inputs["input_ids"], inputs["attention_mask"]
    for channel in range(num_channels):
        if "past_observed_mask" not in inputs:
            yield torch.zeros(len(tokens), dtype=torch.bool), {}
            continue
        rows = inputs["past_observed_mask"][..., channel].bool().any(dim=1)
        less = {name: tensor[rows] for name, tensor in inputs.items()}
        less["past_observed_mask"] = less["past_observed_mask"].clone()
        less["past_observed_mask"][..., channel] = False
        yield rows, less
    blank = processor.encode([None], [None], [None])["input_ids"][0]
    rows = torch.tensor([row[kept.bool()].tolist() != blank for row, kept in zip(tokens, mask, strict=True)])
    less = {name: tensor[rows] for name, tensor in inputs.items()}
    less["input_ids"] = torch.tensor(blank, device=tokens.device).expand(int(rows.sum()), -1)
    less["attention_mask"] = torch.ones_like(less["input_ids"])
    yield rows, less


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
    parser = argparse.ArgumentParser(description="Whether the guarantees on recall and precision hold.")
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
    """Labels, probabilities and diagnoses, `(num_records, num_labels)` both, of the records that were read."""
    predictions = [prediction for prediction in read_predictions(folder) if prediction["probabilities"]]
    if len(predictions) < 2:
        raise ClinRaGenInputError(f"{folder}/predictions.jsonl holds probabilities of fewer than two records")
    labels = list(predictions[0]["probabilities"])
    probabilities = np.array([[prediction["probabilities"][name] for name in labels] for prediction in predictions])
    gold = np.array([[name in prediction["gold"] for name in labels] for prediction in predictions])
    return labels, probabilities, gold


def random_halves(number: int, splits: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows to count on, `splits` times."""
    generator = np.random.default_rng(seed)
    for _ in range(splits):
        order = generator.permutation(number)
        yield order[: number // 2], order[number // 2 :]


def check_recall(
    probabilities: np.ndarray, gold: np.ndarray, recall: float, halves: list[tuple[np.ndarray, np.ndarray]]
) -> list[dict]:
    """
    Of each label the recall that thresholds from one half reach on the other, beside what the theory expects.

    With `n` positives to fit on and `m` to count on, the number that is found is beta-binomial with parameters
    n + 1 - k and k, where k = floor((1 - recall) * (n + 1)), whatever the model is; equal probabilities only make it
    larger. Random halves of the same records are independent in this respect, so that the mean over `splits` has the
    variance of one divided by their number.

    Returns:
        For each label `positives`; over the halves that have positives to count on the mean `recall`, the `expected`
        mean and the 95% `band` around it, `None` without any; and `always_possible`, the share of halves that have too
        few positives to fit on for any threshold but 0; and the mean share of records in the set, `set_share`.
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
    """Recall, its expectation and variance (`None` without positives to count on), no threshold, share in the set."""
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
    Of each label how often a threshold from one half is certified, and how often it breaks its promise.

    What a threshold truly gives is its precision over all records of the report, of which the half is a random part.

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
    print("\n| diagnosis | certified | promise broken | recall of what is sure |\n" + "| --- " * 4 + "|")
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
