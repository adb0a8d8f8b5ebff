# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A user's own terms: a YAML file of diseases with their terms, in any language, in the format of `builtin.yaml`."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.knowledge.base import (
    DIRECTIONS,
    NAME,
    NAME_SOURCE,
    builtin_entries,
    knowledge_of,
    parse_entry,
    read_builtin,
)
from datasets_scripts.sources.channels import load_channels
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


logger = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml")
SHAPE = {"extends?": str, "source?": str, "sources?": {str: str}, "diseases": {str: {str: (str, [str])}}}
_OWN = "own"  # key of the file's `source`


def own_knowledge(path: Path, labels: Sequence[str]) -> dict:
    """
    Return the knowledge base of a file with `diseases`: label -> type of term -> entries. `source` names their origin,
    for the file or for a disease, in words or by a key of `sources`; with `extends: builtin`, labels that the file
    does not hold keep their built-in terms. The caller reports labels without terms.

    Raises:
        ClinRaGenInputError: naming the file, and the disease, type or entry that is wrong.
    """
    if not path.is_file():
        raise ClinRaGenInputError(f"--corpus {path}: no such file")
    raw = read_yaml(path, SHAPE, only_text=True)
    if raw.get("extends", "builtin") != "builtin":
        raise ClinRaGenInputError(f"{path}: extends is {raw['extends']!r}; give builtin, or leave it out")
    sources = {**read_builtin()["sources"], **raw.get("sources", {})}
    if "source" in raw:
        sources[_OWN] = raw["source"]
    diseases = {name: _checked(path, name, groups, sources, labels) for name, groups in raw["diseases"].items()}
    _warn_of_unknown_channels(path, diseases)
    if "extends" in raw:
        diseases = {**_builtin_diseases(), **diseases}
    return knowledge_of(
        {"sources": sources, "diseases": diseases},
        list(labels),
        {"corpus": str(path), "date": datetime.date.today().isoformat()},
        name_source=None,
    )


def _checked(path: Path, disease: str, groups: dict, sources: dict[str, str], labels: Sequence[str]) -> dict:
    """Return the entries of a disease with the key of its source, which is added to `sources` if it is in words."""
    place = f"{path}: {disease}"
    if disease not in labels:
        named = ", ".join(map(repr, labels))
        raise ClinRaGenInputError(f"{place}: no label of that name; add it with --labels, or take one of {named}")
    kinds = dict.fromkeys(kind for _, kind, _ in builtin_entries(names=True))
    entries = {kind: given for kind, given in groups.items() if kind != "source"}
    for kind, given in entries.items():
        if kind not in kinds:
            raise ClinRaGenInputError(f"{place}: {kind!r} is not a type of term; the types are {', '.join(kinds)}")
        if fault := fault_of(given, [str], f"diseases.{disease}.{kind}"):
            raise ClinRaGenInputError(f"{path}: {fault}")
        for entry in given:
            _check(entry, f"{place}, {kind}", sources)
    source = groups.get("source", _OWN)
    if isinstance(source, list) or (source == _OWN and _OWN not in sources):
        raise ClinRaGenInputError(f"{place}: source is missing; say where the terms are written, here or for the file")
    sources.setdefault(source, source)
    return {**entries, "source": source}


def _check(entry: str, place: str, sources: dict[str, str]) -> None:
    forms, pattern, key = parse_entry(entry)
    if not all(forms):
        raise ClinRaGenInputError(f"{place}: {entry!r} is not an entry; write term | synonym @ Channel direction")
    if pattern and (pattern["direction"] not in DIRECTIONS or not pattern["channel"]):
        raise ClinRaGenInputError(f"{place}: {entry!r}: after @ come a channel and one of {', '.join(DIRECTIONS)}")
    if key and key not in sources:
        raise ClinRaGenInputError(f"{place}: {entry!r}: no source {key!r}; add it to the file's sources")


def _warn_of_unknown_channels(path: Path, diseases: dict[str, dict]) -> None:
    known = {_letters(channel["name"]): channel["name"] for channel in load_channels("extended")}
    entries = (entry for groups in diseases.values() for kind in groups if kind != "source" for entry in groups[kind])
    channels = dict.fromkeys(pattern["channel"] for entry in entries if (pattern := parse_entry(entry)[1]))
    for channel in channels:
        if channel not in known.values():
            meant = known.get(_letters(channel))
            told = f"did you mean {meant!r}?" if meant else "its patterns need a dataset whose --channels hold it"
            logger.warning("%s: no built-in channel is called %r; %s", path, channel, told)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _builtin_diseases() -> dict[str, dict]:
    """Return the diseases of `builtin.yaml`, their names with the source of names."""
    return {
        disease: {**groups, NAME: [f"{entry} ^{NAME_SOURCE}" for entry in groups[NAME]]}
        for disease, groups in read_builtin()["diseases"].items()
    }
