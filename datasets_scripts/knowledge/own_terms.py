# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A user's own terms: a YAML file of diseases with their terms, in any language, written as `builtin.yaml` is."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.knowledge.base import DIRECTIONS, knowledge_of, parse_entry, read_builtin
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


SUFFIXES = (".yaml", ".yml")
SHAPE = {"source?": str, "diseases": {str: {str: [str]}}}
_OWN = "own"


def own_knowledge(path: Path, labels: Sequence[str]) -> dict:
    """
    Return the knowledge base of a file with `source`, where its terms are written, and `diseases`: label -> type of
    term -> entries. Labels without terms are left to the caller to tell.

    Raises:
        ClinRaGenInputError: naming the file, and the disease, type or entry that is wrong.
    """
    if not path.is_file():
        raise ClinRaGenInputError(f"--corpus {path}: no such file")
    raw = read_yaml(path, SHAPE, only_text=True)
    if not raw.get("source"):
        raise ClinRaGenInputError(f"{path}: source is missing; say once, beside diseases, where the terms are written")
    kinds = [*dict.fromkeys(kind for groups in read_builtin()["diseases"].values() for kind in groups)]
    kinds.remove("source")
    for disease, groups in raw["diseases"].items():
        place = f"{path}: {disease}"
        if disease not in labels:
            raise ClinRaGenInputError(f"{place}: no label of that name; the labels are {', '.join(labels)}")
        for kind, entries in groups.items():
            if kind not in kinds:
                raise ClinRaGenInputError(f"{place}: {kind!r} is no type of term; there are {', '.join(kinds)}")
            for entry in entries:
                _check(entry, f"{place}, {kind}")
    return knowledge_of(
        {
            "sources": {_OWN: raw["source"]},
            "diseases": {disease: {**groups, "source": _OWN} for disease, groups in raw["diseases"].items()},
        },
        list(labels),
        {"corpus": str(path), "date": datetime.date.today().isoformat()},
        name_source=_OWN,
    )


def _check(entry: str, place: str) -> None:
    forms, pattern, key = parse_entry(entry)
    if key or not all(forms):
        raise ClinRaGenInputError(f"{place}: {entry!r} is no entry; write term | synonym @ Channel direction")
    if pattern and (pattern["direction"] not in DIRECTIONS or not pattern["channel"]):
        raise ClinRaGenInputError(f"{place}: {entry!r}: after @ come a channel and one of {', '.join(DIRECTIONS)}")
