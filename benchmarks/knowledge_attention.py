# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure whether series attend to terms that match their values.

    python -m benchmarks.knowledge_attention --model runs/quickstart/stage3 --dataset runs/quickstart/dataset

reads the patches of a split whose values lie clearly below, within or clearly above the usual range of their channel,
and prints how often a term of a patch's own channel and level has more weight than another term (AUROC, mean over
patches that have such terms), and the total variation between the mean weights of low, usual and high patches of one
channel (mean over channels and pairs; the weight on no term counts as one more term).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from itertools import combinations

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.knowledge_clinragen import pattern_terms
from recipes.models.folder import load_model_folder
from recipes.training.data import load_records
from recipes.training.stages import patterns_of


BATCH = 32
LEVELS = ("low", "usual", "high")
FEWEST = 20  # patches of a channel's level for a mean


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Whether series attend to terms of their own channel and level.")
    parser.add_argument("--model", required=True, help="model folder that reads series")
    parser.add_argument("--dataset", required=True, help="dataset folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="records; default: all")
    arguments = parser.parse_args(argv)
    model, processor = load_model_folder(arguments.model)
    if model.config.knowledge_attention_type != "term" or "lab" not in processor.modalities:
        raise ClinRaGenInputError(f"--model: {arguments.model} attends to no terms with its series")
    own = own_terms(model.config, processor.knowledge)
    scores, weights = measure(
        model.eval(), processor, load_records(arguments.dataset, arguments.split), own, arguments.limit
    )
    variation = variations(weights)
    found = {
        "auroc": float(np.mean(scores)),
        "patches": len(scores),
        "variation": float(np.mean(list(variation.values()))) if variation else None,
    }
    print(f"AUROC of terms of a patch's own channel and level: {found['auroc']:.3f} ({found['patches']} patches)")
    print(f"total variation within a channel: {found['variation']:.3f} ({len(variation)} pairs)")
    for (channel, *pair), value in sorted(variation.items()):
        print(f"  {model.config.channels[channel]['name']}, {pair[0]} and {pair[1]}: {value:.2f}")
    return found


def own_terms(config, knowledge: list[dict]) -> np.ndarray:
    """Mark the attended terms of each channel's low and high level: bool, `(num_channels, 2, num_terms)`."""
    by_name = {term["term"]: term for term in knowledge}
    attended = [by_name.get(term, {}) for term in config.knowledge_terms]
    return pattern_terms(patterns_of(attended, config.channels), len(config.channels)).numpy()


@torch.no_grad()
def measure(model, processor, records, own: np.ndarray, limit: int | None) -> tuple[list[float], dict]:
    """Return the AUROC of each patch that has terms of its own, and all weights by channel and level."""
    scores, weights = [], defaultdict(list)
    records = records if limit is None else records.select(range(min(limit, len(records))))
    for rows in records.iter(BATCH):
        inputs = processor.encode(rows["note"], rows["lab_values"], rows["lab_times"], return_tensors="pt")
        attention = model.encode(**inputs).knowledge_attentions
        levels = model.time_series_encoder.patch_levels(
            inputs["past_values"], inputs["past_observed_mask"], attention.shape[2]
        )
        attention, levels = attention.numpy(), levels.numpy()
        for record, channel, patch in np.argwhere(levels.sum(axis=-1) == 1):  # patches with all values of one level
            level, given = int(levels[record, channel, patch].argmax()), attention[record, channel, patch]
            weights[channel, LEVELS[level]].append(given)
            if level != 1 and own[channel, level // 2].any():
                scores.append(auroc(given, own[channel, level // 2]))
    return scores, weights


def auroc(weights: np.ndarray, is_own: np.ndarray) -> float:
    return float(roc_auc_score(is_own, weights))


def variations(weights: dict) -> dict[tuple, float]:
    """Return the total variation between the mean weights of two levels of a channel."""
    means = {key: np.mean(rows, axis=0) for key, rows in weights.items() if len(rows) >= FEWEST}
    means = {key: np.append(mean, max(0.0, 1 - mean.sum())) for key, mean in means.items()}
    found = {}
    for channel in sorted({channel for channel, _ in means}):
        for pair in combinations([level for level in LEVELS if (channel, level) in means], 2):
            found[(channel, *pair)] = float(np.abs(means[channel, pair[0]] - means[channel, pair[1]]).sum() / 2)
    return found


if __name__ == "__main__":
    run_command(main)
