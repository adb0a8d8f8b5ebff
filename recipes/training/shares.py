# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure how common each term of the knowledge is among the training records."""

from __future__ import annotations

from collections import Counter

import numpy as np
from datasets import Dataset, IterableDataset

from modeling_clinragen import ClinRaGenProcessor


SAMPLE = 1000  # records, for an error of a share of at most 0.03


def fit_shares(processor: ClinRaGenProcessor, records: Dataset | IterableDataset) -> None:
    """
    Set `share` of each term of the processor's knowledge: the share of the records that show it.

    Args:
        records: of the training split, with `note`, `lab_times` and `lab_values`; at most `SAMPLE` are used, at equal
            distances, or the first ones of a stream.
    """
    if not processor.knowledge:
        return
    terms, counts, number = processor.record_terms, Counter(), 0
    for row in sample(records.select_columns(["note", "lab_times", "lab_values"])):
        shown = terms.find(row["note"] or "", row["lab_times"], row["lab_values"])
        counts.update({term for finding in shown for term in finding.terms})
        number += 1
    processor.knowledge = [{**term, "share": round(counts[term["term"]] / number, 4)} for term in processor.knowledge]


def sample(records: Dataset | IterableDataset) -> Dataset | IterableDataset:
    """Return up to `SAMPLE` records at equal distances, or the first ones of a stream."""
    if isinstance(records, IterableDataset) or len(records) <= SAMPLE:
        return records.take(SAMPLE) if isinstance(records, IterableDataset) else records
    return records.select(np.linspace(0, len(records) - 1, SAMPLE).round().astype(int))
