# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Tell whether notes are in English, which sections, checkers, knowledge and the template teacher read."""

from __future__ import annotations

import re
from collections import Counter


WORD = re.compile(r"[^\W\d_]+")
# Frequent in English notes, also in those of few verbs, and no words of German, French, Spanish, Italian or Dutch.
ENGLISH = frozenset(("the", "and", "with", "for", "from", "has", "are", "not", "by", "this", "that", "which"))
READ = 2000  # characters of each note
FEWEST = 1000  # words, by which a share is known
LEAST = 0.01  # of the words; notes of eICU, lists of findings, have 0.036, sentences of simulated patients 0.07


def count_words(note: str) -> Counter:
    """Count the words at the beginning of a note, and those of `ENGLISH`."""
    words = WORD.findall(note[:READ].lower())
    return Counter({"words": len(words), "English words": sum(word in ENGLISH for word in words)})


def language_warning(counts: Counter) -> str | None:
    """Return one line where notes do not look English, by the sum of `count_words`."""
    share = counts["English words"] / max(counts["words"], 1)
    if counts["words"] < FEWEST or share >= LEAST:
        return None
    return (
        f"the notes do not look English ({share:.1%} of their words are frequent English ones): sections, negation, "
        "claims, knowledge and the template teacher read English alone; see docs/own_data.md"
    )
