# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The splits of a dataset, and the assignment of patients to them."""

import hashlib
from collections import Counter
from collections.abc import Iterable

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


SPLITS = ("train", "validation", "test")


def parse_splits(text: str) -> dict[str, float]:
    """Read `"train=0.8,validation=0.1,test=0.1"` as shares that add up to 1."""
    try:
        pairs = [(name.strip(), float(share)) for name, share in (pair.split("=") for pair in text.split(","))]
    except ValueError:
        pairs = []
    shares = dict(pairs)
    if len(pairs) > len(shares):
        raise ClinRaGenInputError(f"--splits is {text!r}, which names a split twice; give each once")
    if set(shares) - set(SPLITS) or not abs(sum(shares.values()) - 1) <= 1e-6 or min(shares.values()) < 0:
        raise ClinRaGenInputError(
            f"--splits is {text!r}; give shares that add up to 1, as in train=0.8,validation=0.1,test=0.1"
        )
    return {split: shares.get(split, 0.0) for split in SPLITS}


def split_of(subject_id: str, shares: dict[str, float], seed: int) -> str:
    """Return the split of a patient: a hash of the id decides, so that it depends on nothing else."""
    draw = _draw(subject_id, seed)
    edge = 0.0
    for split, share in shares.items():
        edge += share
        if draw < edge:
            return split
    return max(shares, key=shares.get)  # a draw above the last edge, by rounding


def first_patients(subject_ids: Iterable[str], limit: int, shares: dict[str, float], seed: int) -> list[str]:
    """
    Choose the patients of a small dataset: from each split its share, those with the smallest hash.

    The n-th patient of a split has rank (n - 1/2) / share, and the lowest ranks are chosen (Webster's method): the
    shares are exact to within a patient, and a larger limit keeps the patients of a smaller one.
    """
    taken: Counter = Counter()
    places = []
    for subject_id in sorted(subject_ids, key=lambda subject_id: (_draw(subject_id, seed), subject_id)):
        split = split_of(subject_id, shares, seed)
        taken[split] += 1
        places.append(((taken[split] - 0.5) / shares[split], subject_id))
    return [subject_id for _, subject_id in sorted(places)[:limit]]


def _draw(subject_id: str, seed: int) -> float:
    """Hash a patient's id to a number from 0 to 1."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{subject_id}".encode()).digest()[:8], "big") / 2**64
