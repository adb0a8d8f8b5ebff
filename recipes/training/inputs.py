# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of records as a whole: measurements, values, lengths of notes, prevalence of diagnoses."""

from __future__ import annotations

import numpy as np
from datasets import Dataset, IterableDataset

from modeling_clinragen import ClinRaGenProcessor
from recipes.training.shares import sample


def input_statistics(records: Dataset | IterableDataset, processor: ClinRaGenProcessor, labelled: bool = True) -> dict:
    """
    Describe records, or a sample of them, by aggregate numbers.

    Args:
        records: of a dataset folder's split.
        labelled (`bool`, *optional*, defaults to `True`): `False` for patients whose diagnoses are not known.

    Returns:
        `records`, their number; `note_words` (`share` of the records with a note, `mean` and `std`); `channels`,
        name -> `share` (of the records with a measurement), `mean` and `std` (of the mean of each record);
        `prevalence`, label -> share of the records, if they are labelled.
    """
    channels = [channel["name"] for channel in processor.feature_extractor.channels]
    words, means, gold = [], [], []
    for row in sample(records):
        words.append(len((row["note"] or "").split()) or np.nan)
        means.append(_means(row["lab_values"], len(channels)))
        gold += row["diagnoses"] if labelled else ()
    means = np.array(means)
    described = {
        "records": len(words),
        "note_words": _spread(np.array(words, dtype=float)),
        "channels": {name: _spread(means[:, i]) for i, name in enumerate(channels)},
    }
    if labelled:
        counts = np.bincount(np.array(gold, dtype=int), minlength=len(processor.labels))
        described["prevalence"] = dict(zip(processor.labels, (counts / len(words)).round(4).tolist(), strict=True))
    return described


def _means(values, num_channels: int) -> np.ndarray:
    """Return the mean of each channel, NaN where nothing was measured."""
    values = np.array(values, dtype=float).reshape(-1, num_channels)
    number = np.isfinite(values).sum(axis=0)
    return np.where(number > 0, np.nansum(values, axis=0) / np.maximum(number, 1), np.nan)


def _spread(column: np.ndarray) -> dict[str, float | None]:
    known = column[np.isfinite(column)]
    mean, std = (float(known.mean()), float(known.std())) if len(known) else (None, None)
    return {"share": round(len(known) / len(column), 4), "mean": mean, "std": std}
