# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of diagnoses and of their probabilities. Every value is ready for JSON."""

from collections.abc import Sequence

import numpy as np

from recipes.evaluation.figures.intervals import scores, set_figures


def label_cells(predictions: Sequence[dict], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the recorded and the predicted diagnoses of predictions, both bool `(num_records, num_labels)`."""
    position = {label: i for i, label in enumerate(labels)}
    gold = [[position[name] for name in p["gold"]] for p in predictions]
    predicted = [[position[d["label"]] for d in p["diagnoses"]] for p in predictions]
    return cells_of(gold, len(labels)), cells_of(predicted, len(labels))


def diagnosis_metrics(gold: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]], labels: list[str]) -> dict:
    """
    Return precision, recall and F1 of predicted sets of diagnoses.

    Args:
        gold, predicted (lists of class-id lists): one per record.
        labels (`list[str]`): names in class-id order.

    Returns:
        `micro_*` over all cells, `macro_*` the mean over all labels, `weighted_*` that by their support,
        `exact_match` the share of records whose set is right, and `per_label`. A quotient without cases is 0, as in
        scikit-learn with `zero_division=0`.
    """
    true, written = cells_of(gold, len(labels)), cells_of(predicted, len(labels))
    hits, named, actual = (true & written).sum(axis=0), written.sum(axis=0), true.sum(axis=0)
    precision, recall, f1 = scores(hits, named, actual)
    whole = set_figures(true, written)(np.ones((1, len(true)), dtype=np.float32)) if len(true) else {}
    return {
        **{name: float(value[0]) for name, value in whole.items()},
        "per_label": {
            label: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(actual[i]),
                "predicted": int(named[i]),
            }
            for i, label in enumerate(labels)
        },
    }


def cells_of(sets: Sequence[Sequence[int]], num_labels: int) -> np.ndarray:
    """Convert lists of class ids to a bool array of shape `(num_records, num_labels)`."""
    cells = np.zeros((len(sets), num_labels), dtype=bool)
    for row, ids in zip(cells, sets, strict=True):
        row[list(ids)] = True
    return cells


def probability_metrics(gold: np.ndarray, probabilities) -> dict:
    """
    Return AUROC and AUPRC of probabilities.

    Args:
        gold (`np.ndarray` of shape `(num_records, num_labels)`): 1 where a record has the label.
        probabilities (array of the same shape): in [0, 1].

    Returns:
        `micro_*` over all cells, `macro_*` over the labels that have both kinds of records; `None` without any.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    gold, probabilities = np.asarray(gold).astype(int), np.asarray(probabilities, dtype=float)
    both = [i for i in range(gold.shape[1]) if 0 < gold[:, i].sum() < len(gold)]
    if not both:
        return {"micro_auroc": None, "micro_auprc": None, "macro_auroc": None, "macro_auprc": None}
    return {
        "micro_auroc": float(roc_auc_score(gold.ravel(), probabilities.ravel())),
        "micro_auprc": float(average_precision_score(gold.ravel(), probabilities.ravel())),
        "macro_auroc": float(np.mean([roc_auc_score(gold[:, i], probabilities[:, i]) for i in both])),
        "macro_auprc": float(np.mean([average_precision_score(gold[:, i], probabilities[:, i]) for i in both])),
    }


def multi_hot(diagnoses: list[list[int]], num_labels: int) -> np.ndarray:
    """Convert lists of class ids to float32 (num_records, num_labels), 1 where a record has the label."""
    hot = np.zeros((len(diagnoses), num_labels), dtype=np.float32)
    for row, ids in zip(hot, diagnoses, strict=True):
        row[ids] = 1.0
    return hot
