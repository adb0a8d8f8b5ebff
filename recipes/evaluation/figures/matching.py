# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The paper's way to count a generated diagnosis: by sentence similarity instead of an exact match."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np


THRESHOLD = 0.9  # least cosine similarity
_LIST = re.compile(r"(?:#\s*){3}disease diagnosed\s*:(.*?)(?:(?:#\s*){3}|$)", re.IGNORECASE | re.DOTALL)


def match_by_embedding(
    texts: Sequence[str], labels: list[str], encode: Callable[[list[str]], np.ndarray], threshold: float = THRESHOLD
) -> list[list[int]]:
    """
    Return class ids of the labels that the generated texts name: a written name counts as every label with a sentence
    embedding at a cosine of `threshold` or more to its own.

    Args:
        texts (list of `str`): generated; the text between "Disease Diagnosed:" and the next mark is read.
        labels (list of `str`): in class-id order; none holds a comma.
        encode (callable): texts -> unit vectors of shape `(num_texts, width)`.

    Source: arXiv 2411.07611, with all-MiniLM-L6-v2.
    """
    written = [written_names(text) for text in texts]
    names = sorted({name for row in written for name in row})
    if not names:
        return [[] for _ in texts]
    near = encode(names) @ encode(labels).T >= threshold  # (num_names, num_labels)
    ids = {name: np.flatnonzero(row).tolist() for name, row in zip(names, near, strict=True)}
    return [sorted({i for name in row for i in ids[name]}) for row in written]


def written_names(text: str) -> list[str]:
    """Return the names in the list of diagnoses of a generated text."""
    found = _LIST.search(text)
    names = (name.strip(" .;\n") for name in (found[1] if found else "").split(","))
    return [name for name in names if name]
