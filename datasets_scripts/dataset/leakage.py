# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The leak meter: how often a note names the diagnoses that a model should predict.

A named diagnosis need not be a leak (a known diabetes is in every history), but a view that names most of its
gold labels asks a model to copy, not to diagnose. The share among diagnoses that the stay does not have distinguishes
the two. Stays without a note do not count.
"""

import re
from collections import Counter


class LeakMeter:
    """
    Count the labels whose name or synonyms occur in the notes, as whole words in any case, per view.

    Args:
        labels (list of `dict`): `name` and `synonyms`; the position is the class id.
    """

    def __init__(self, labels: list[dict]):
        self.labels = labels
        self.phrases = [
            sorted({f" {plain_words(phrase)} " for phrase in (label["name"], *label["synonyms"])}) for label in labels
        ]

    def named(self, note: str) -> set[int]:
        """Return the class ids of the labels that a note names."""
        words = f" {plain_words(note)} "
        return {i for i, phrases in enumerate(self.phrases) if any(phrase in words for phrase in phrases)}

    def count(self, note: str, diagnoses: list[int]) -> Counter:
        """
        Count for one stay: `gold` labels and how many of them are `gold_named`, `other` labels and `other_named`; and
        `"ID gold"`, `"ID gold_named"` for each gold label. Counters of several stays add up.
        """
        if not note:
            return Counter()
        named, gold = self.named(note), set(diagnoses)
        counts = Counter(gold=len(gold), gold_named=len(gold & named))
        counts.update(other=len(self.labels) - len(gold), other_named=len(named - gold))
        counts.update(f"{i} gold" for i in gold)
        counts.update(f"{i} gold_named" for i in gold & named)
        return counts

    def report(self, counts: Counter) -> dict:
        """Return shares from the counts of all stays; `None` for an empty total."""
        return {
            "gold_labels": counts["gold"],
            "gold_named": _share(counts["gold_named"], counts["gold"]),
            "other_named": _share(counts["other_named"], counts["other"]),
            "labels": {
                label["name"]: _share(counts[f"{i} gold_named"], counts[f"{i} gold"])
                for i, label in enumerate(self.labels)
            },
        }


def plain_words(text: str) -> str:
    """Lower the case and keep letters and digits, with one space between words."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
