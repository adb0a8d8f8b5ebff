# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how well a disease can be told from its terms of the knowledge alone, without any record that has it.

    python -m benchmarks.unseen_diseases --model runs/quickstart/stage3 --dataset runs/quickstart/dataset

fits the linear classifier on the training and validation records without one diagnosis, as if it were no label, scores
that diagnosis on the test records by the weights of terms that all labels share, and prints its AUROC; so for each.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from datasets import concatenate_datasets
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenInputError
from recipes.models.folder import load_model_folder
from recipes.training.data import ClinRaGenCollator, encode_records, load_records
from recipes.training.fitting import Described, describe, regression


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description="How well diseases are told from their terms alone.")
    parser.add_argument("--model", required=True, help="model folder whose classifier reads terms")
    parser.add_argument("--dataset", required=True, help="dataset folder")
    arguments = parser.parse_args(argv)
    model, processor = load_model_folder(arguments.model)
    if not processor.reads_terms:
        raise ClinRaGenInputError(f"--model: {arguments.model} does not read which terms a record shows")
    collator = ClinRaGenCollator(processor)
    splits = [
        encode_records(load_records(arguments.dataset, split), processor, [], 8)
        for split in ("train", "validation", "test")
    ]
    described, gold = describe(model, concatenate_datasets(splits), collator)
    is_test = np.arange(len(gold)) >= len(splits[0]) + len(splits[1])
    found = {}
    for i, label in enumerate(tqdm(processor.labels, desc="Diagnoses", unit="diagnosis")):
        held = gold[is_test, i].numpy()
        if 0 < held.sum() < len(held):
            found[label] = float(roc_auc_score(held, scores_without(described, gold, is_test, i)))
    for label, value in found.items():
        print(f"{label}: {value:.3f}")
    print(f"mean AUROC of {len(found)} diagnoses: {np.mean(list(found.values())):.3f}")
    return found


def scores_without(described: Described, gold: torch.Tensor, is_test: np.ndarray, label: int) -> np.ndarray:
    """Score a label on the test records by what the others share; nothing of its own is used but its terms."""
    others = np.arange(gold.shape[1]) != label
    known = Described(described.features[~is_test], described.evidence[~is_test][:, others])
    weights = regression(known, gold[~is_test][:, others])
    return described.evidence[is_test, label] @ weights.shared.double().numpy()


if __name__ == "__main__":
    run_command(main)
