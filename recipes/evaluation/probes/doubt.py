# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure doubt: abstention, confidence, and the recall of the diagnoses that cannot be ruled out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from modeling_clinragen import ClinRaGenPipeline
from modeling_clinragen.doubt_clinragen import ClinRaGenDoubt
from recipes.evaluation.figures.calibration import calibration
from recipes.evaluation.figures.intervals import divide, intervals, once, set_figures
from recipes.evaluation.figures.metrics import label_cells
from recipes.evaluation.probes.deletion import sign_flip_test


HIDDEN = 3  # channels hidden from a record; the model names the one that would help most
COVERAGES = tuple(i / 10 for i in range(1, 11))
RECALL = 0.9


def doubt_metrics(predictions: list[dict], labels: list[str], fitted: dict | None) -> dict:
    """
    Args:
        predictions (list of `dict`): as `predict` gives them.
        labels (list of `str`): in class-id order.
        fitted (`dict`, *optional*): `doubt` of the model's configuration.

    Returns:
        `abstention`: its `share` among the records with an answer, the count of each of the `reasons`, and the figures
        of the `answered` and the `abstained` records; `selection`, see [`selection`]; and `recall` of the diagnoses
        that cannot be ruled out at recall `RECALL`, for each label and overall. Each with `intervals` over patients.
        Empty where there are no probabilities.
    """
    answers = [prediction for prediction in predictions if prediction["probabilities"]]
    if not answers:
        return {}
    probabilities = np.array([[answer["probabilities"][label] for label in labels] for answer in answers])
    true, predicted = label_cells(answers, labels)
    patients = np.array([answer["subject_id"] for answer in answers])
    found = {
        "abstention": abstention([answer["doubt"] for answer in answers], true, predicted, probabilities, patients),
        "selection": selection(true, predicted, probabilities, patients),
    }
    if fitted is not None:
        found["recall"] = possible_recall(true, probabilities, labels, patients, ClinRaGenDoubt(**fitted))
    return found


def abstention(doubts: list[dict], true, predicted, probabilities, patients) -> dict:
    """Return share, reasons, and the figures of answered and of abstained records."""
    abstained = np.array([doubt["abstain"] for doubt in doubts])
    reasons = Counter(reason.partition(" (")[0] for doubt in doubts for reason in doubt["reasons"])
    cells = (true, predicted, probabilities, patients)
    return {
        "share": float(abstained.mean()),
        "reasons": dict(reasons.most_common()),
        "answered": figures_of_part(*(part[~abstained] for part in cells)),
        "abstained": figures_of_part(*(part[abstained] for part in cells)),
    }


def figures_of_part(true, predicted, probabilities, patients) -> dict:
    """Return number, micro-F1 and calibration error of some of the records, with intervals; without records only 0."""
    if not len(true):
        return {"records": 0}
    f1, error = set_figures(true, predicted), "expected_calibration_error"
    calibrated, bounds = calibration(true.astype(int), probabilities, patients)
    return {
        "records": len(true),
        "micro_f1": once(f1, len(true))["micro_f1"],
        error: calibrated[error],
        "intervals": {"micro_f1": intervals(f1, patients)["micro_f1"], error: bounds[error]},
    }


def selection(true: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> dict:
    """
    Return the share of wrong cells (a cell is one record and one diagnosis) among the records with the most confident
    predictions, which are those with the least entropy of their probabilities.

    Returns:
        `coverage`, shares of the records, and the `error` among them; `area`, its mean over all shares, and that
        mean for records in random and in the best order, `area_at_random` and `area_at_best`.
    """
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    entropy = -(clipped * np.log(clipped) + (1 - clipped) * np.log(1 - clipped)).mean(axis=1)
    wrong = (true != predicted).mean(axis=1)
    figures = selection_figures(wrong, entropy)
    whole, bounds = once(figures, len(wrong)), intervals(figures, patients)
    best = np.cumsum(np.sort(wrong)) / np.arange(1, len(wrong) + 1)
    return {
        "coverage": list(COVERAGES),
        "error": [whole[share] for share in COVERAGES],
        "area": whole["area"],
        "area_at_random": float(wrong.mean()),
        "area_at_best": float(best.mean()),
        "intervals": {"error": [bounds[share] for share in COVERAGES], "area": bounds["area"]},
    }


def selection_figures(wrong: np.ndarray, doubt: np.ndarray) -> Callable[[np.ndarray], dict]:
    """
    Return a function of the weights, for `intervals`: the error at each of `COVERAGES`, and the area.

    Args:
        wrong (array of shape `(num_records,)`): share of wrong cells; doubt (array of the same shape).
    """
    order = np.argsort(doubt, kind="stable")

    def figures(weights: np.ndarray) -> dict:
        drawn = weights[:, order].astype(np.float64)
        total = drawn.sum(axis=1, keepdims=True)
        covered = np.cumsum(drawn, axis=1)
        error = divide(np.cumsum(drawn * wrong[order], axis=1), covered, empty=np.nan)
        found = {}
        for share in COVERAGES:
            reached = np.argmax(covered >= share * total - 1e-9, axis=1)
            found[share] = np.take_along_axis(error, reached[:, None], axis=1)[:, 0]
        return {**found, "area": np.nansum(error * drawn, axis=1) / total[:, 0]}

    return figures


def possible_recall(
    true: np.ndarray, probabilities: np.ndarray, labels: list[str], patients: np.ndarray, doubt: ClinRaGenDoubt
) -> dict:
    """Return the recall of the diagnoses that cannot be ruled out, and their number a record."""
    thresholds = np.array(doubt.possible_from(RECALL))
    possible = probabilities >= thresholds

    def figures(weights: np.ndarray) -> dict:
        hits, actual = weights @ (possible & true).astype(np.float32), weights @ true.astype(np.float32)
        per_label = divide(hits, actual, empty=np.nan)
        named = {label: per_label[:, i] for i, label in enumerate(labels)}
        return {**named, "all": divide(hits.sum(axis=1), actual.sum(axis=1), empty=np.nan)}

    whole, bounds = once(figures, len(true)), intervals(figures, patients)
    return {
        "asked": RECALL,
        "all": whole["all"],
        "possible_per_record": float(possible.sum(axis=1).mean()),
        "per_label": {
            label: {
                "recall": whole[label],
                "interval": bounds[label],
                "support": int(true[:, i].sum()),
                "threshold": float(thresholds[i]),
                "possible": float(possible[:, i].mean()),
            }
            for i, label in enumerate(labels)
        },
        "intervals": {"all": bounds["all"]},
    }


@torch.no_grad()
def helpfulness(pipe: ClinRaGenPipeline, records: Dataset, seed: int = 0) -> dict:
    """
    Test that the channel that would help most, by the model, changes its probabilities more than another.

    In each record with more than `HIDDEN` measured channels, `HIDDEN` are hidden at random, and one is shown again.

    Returns:
        `records`; the absolute `change` of the probabilities, summed over diagnoses and averaged over records, with
        the `named` channel and on average with each (`random`), and `expected` of the named one; `difference` of the
        first two, its 95% `interval` and the `p_value` of a paired test. Empty without such records.
    """
    doubt, generator = ClinRaGenDoubt.of(pipe.model.config), np.random.default_rng(seed)
    found, patients = [], []
    for row in tqdm(records, desc="What would help", unit="record"):
        inputs = pipe.processor.encode([row["note"]], [row["lab_values"]], [row["lab_times"]], return_tensors="pt")
        measured = np.flatnonzero(inputs["past_observed_mask"][0].any(dim=0)) if "past_values" in inputs else []
        if len(measured) > HIDDEN:
            hidden = generator.choice(measured, HIDDEN, replace=False)
            found.append(_change_with_channel(pipe.model, doubt, inputs.to(pipe.device), hidden))
            patients.append(row["subject_id"])
    if not found:
        return {}
    named, random, expected = np.array(found).T
    difference = named - random

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"difference": divide(weights @ difference, weights.sum(axis=1))}

    return {
        "records": len(found),
        "change": {"named": float(named.mean()), "random": float(random.mean()), "expected": float(expected.mean())},
        "difference": float(difference.mean()),
        "interval": intervals(figures, patients)["difference"],
        "p_value": sign_flip_test(difference),
    }


def _change_with_channel(model, doubt: ClinRaGenDoubt, inputs, hidden: np.ndarray) -> tuple[float, float, float]:
    """Return the change with the named channel, the mean change over all hidden channels, and the expected change."""
    many = {name: tensor.repeat(1 + HIDDEN, *[1] * (tensor.dim() - 1)) for name, tensor in inputs.items()}
    for i, channel in enumerate(hidden):
        rows = [k for k in range(1 + HIDDEN) if k != 1 + i]
        many["past_observed_mask"][rows, :, channel] = False
    probabilities = model.diagnosis_probabilities(**many).cpu()
    missing = torch.zeros(model.config.num_input_channels + 1, dtype=torch.bool)
    missing[hidden] = True
    expected = doubt.would_help(probabilities[0], missing).sum(dim=0)[hidden]
    change = (probabilities[1:] - probabilities[0]).abs().sum(dim=1)
    named = int(expected.argmax())
    return float(change[named]), float(change.mean()), float(expected[named])
