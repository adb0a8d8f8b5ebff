# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the benefit for the linear classifier of reading the knowledge terms that a record shows.

    python -m benchmarks.terms --model runs/eicu/stage3 --dataset data/eicu

fits the classifier alone on four fifths of the patients of the training and validation splits and scores the others,
five times: without terms, with them, and with terms linked to other diagnoses (exchanged at random). Thresholds
are fitted on one half of the patients for the other. Then each diagnosis is scored on the test split by a classifier
that was not trained on it, by the weights that the others share. The encoder is not used.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from datasets import concatenate_datasets
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenInputError
from recipes.models.folder import load_model_folder
from recipes.training.data import ClinRaGenCollator, encode_records, load_records
from recipes.training.fitting import Described, describe, fit_thresholds, held_out_logits, regression


RARE = 40  # a diagnosis with fewer training records


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Benefit of reading terms for the linear classifier.")
    parser.add_argument("--model", required=True, help="model folder whose classifier reads terms")
    parser.add_argument("--dataset", required=True, help="dataset folder")
    parser.add_argument("--seed", type=int, default=0, help="of the exchange; default: 0")
    arguments = parser.parse_args(argv)
    model, processor = load_model_folder(arguments.model)
    if not processor.reads_terms:
        raise ClinRaGenInputError(f"--model: {arguments.model} does not read which terms a record shows")
    splits = [
        encode_records(load_records(arguments.dataset, split), processor, [], 8)
        for split in ("train", "validation", "test")
    ]
    records, is_test = concatenate_datasets(splits), np.repeat([False, False, True], list(map(len, splits)))
    described, gold = describe(model, records, ClinRaGenCollator(processor))
    patients = np.array(records["subject_id"])[~is_test]
    known = Described(described.features[~is_test], described.evidence[~is_test])
    is_rare = gold[: len(splits[0])].sum(dim=0).numpy() < RARE
    found = {"held out": show_held_out(known, gold[~is_test], patients, is_rare, arguments.seed)}
    found["unseen"] = show_unseen(described, gold, is_test, processor.labels)
    return found


def show_held_out(
    known: Described, gold: torch.Tensor, patients: np.ndarray, is_rare: np.ndarray, seed: int
) -> dict[str, list[float]]:
    """Print figures of patients that the classifier was not fitted on, and return them."""
    exchanged = np.random.default_rng(seed).permutation(gold.shape[1])
    evidence = {
        "without terms": known.evidence[:, :, :0],
        "with terms": known.evidence,
        "terms exchanged": known.evidence[:, exchanged],
    }
    print(f"| {len(patients)} records | cross-entropy | macro-AUROC | rare | macro-F1 | rare |\n| --- |{' --- |' * 5}")
    found = {}
    for row, given in evidence.items():
        logits = held_out_logits(Described(known.features, given), gold, patients)
        found[row] = figures(logits.sigmoid().numpy(), gold.numpy(), patients, is_rare)
        print(f"| {row} | {found[row][0]:.4f} | {' | '.join(f'{value:.3f}' for value in found[row][1:])} |")
    return found


def figures(probabilities: np.ndarray, gold: np.ndarray, patients: np.ndarray, is_rare: np.ndarray) -> list[float]:
    """Return cross-entropy, and of all diagnoses and the rare ones macro-AUROC, then macro-F1."""
    made = np.zeros(gold.shape, dtype=bool)
    for one, other in GroupKFold(2).split(gold, groups=patients):
        made[other] = probabilities[other] >= fit_thresholds(probabilities[one], gold[one])
    true, total = gold > 0, gold.sum(axis=0) + made.sum(axis=0)
    f1 = np.divide(2 * (true & made).sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)
    defined = true.any(axis=0) & ~true.all(axis=0)
    ranking = np.array(
        [roc_auc_score(true[:, i], probabilities[:, i]) if defined[i] else np.nan for i in range(len(defined))]
    )
    groups = (defined, defined & is_rare)
    values = [np.mean(of[which]) if which.any() else np.nan for of in (ranking, f1) for which in groups]
    return [float(log_loss(true.ravel(), probabilities.ravel())), *map(float, values)]


def show_unseen(described: Described, gold: torch.Tensor, is_test: np.ndarray, labels: list[str]) -> dict[str, float]:
    """Print and return the AUROC of each diagnosis without its own label in training, and their mean."""
    found = {}
    for i, label in enumerate(tqdm(labels, desc="Diagnoses", unit="diagnosis")):
        held = gold[is_test, i].numpy()
        if 0 < held.sum() < len(held):
            found[label] = float(roc_auc_score(held, scores_without(described, gold, is_test, i)))
    for label, value in found.items():
        print(f"{label}: {value:.3f}")
    print(f"mean AUROC of {len(found)} diagnoses, none seen as a label: {np.mean(list(found.values())):.3f}")
    return found


def scores_without(described: Described, gold: torch.Tensor, is_test: np.ndarray, label: int) -> np.ndarray:
    """Score a label on the test records by the shared weights; only its terms are its own."""
    others = np.arange(gold.shape[1]) != label
    known = Described(described.features[~is_test], described.evidence[~is_test][:, others])
    weights = regression(known, gold[~is_test][:, others])
    return described.evidence[is_test, label] @ weights.shared.double().numpy()


if __name__ == "__main__":
    run_command(main)
