# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The knowledge base: medical terms, the diseases they belong to, and where that is written."""

import json
from pathlib import Path

import yaml

from modeling_clinragen.clinical_clinragen import PHENOTYPES, ClinRaGenInputError


SCHEMA_VERSION = 1
BUILTIN = Path(__file__).with_name("builtin.yaml")
DIRECTIONS = ("high", "low", "rising", "falling")


def builtin_knowledge() -> dict:
    """
    The knowledge base that comes with the project.

    Returns:
        `{"schema_version", "corpus", "date", "labels", "terms"}`; a term is `{"term", "type", "diseases", "source",
        "synonyms", "pattern"}`, with `pattern` `{"channel", "direction"}` or `None`. A term of several diseases
        appears once.
    """
    raw = yaml.safe_load(BUILTIN.read_text(encoding="utf-8"))
    terms: dict[str, dict] = {}
    for disease, groups in raw["diseases"].items():
        groups = dict(groups)
        default_source = groups.pop("source")
        for kind, entries in groups.items():
            for entry in entries:
                term = _parse(entry, kind, raw["sources"], default_source)
                known = terms.setdefault(term["term"], {**term, "diseases": []})
                known["diseases"].append(disease)
                known["synonyms"] = sorted({*known["synonyms"], *term["synonyms"]})
    labels = [phenotype["name"] for phenotype in PHENOTYPES]
    return {
        "schema_version": SCHEMA_VERSION,
        "corpus": "builtin",
        "date": raw["date"].isoformat(),
        "labels": labels,
        "terms": list(terms.values()),
    }


def _parse(entry: str, kind: str, sources: dict[str, str], default_source: str) -> dict:
    entry, _, source = entry.partition(" ^")
    entry, _, pattern = entry.partition(" @ ")
    term, *synonyms = (part.strip() for part in entry.split("|"))
    channel, _, direction = pattern.rpartition(" ")
    return {
        "term": term,
        "type": kind,
        "diseases": [],
        "source": sources[source or default_source],
        "synonyms": synonyms,
        "pattern": {"channel": channel, "direction": direction} if pattern else None,
    }


def load_knowledge(path: str | Path) -> dict:
    """
    Read and check a `knowledge.json`.

    Raises:
        ClinRaGenInputError: if it is missing, no JSON, without terms, or a term is incomplete.
    """
    path = Path(path)
    if not path.is_file():
        raise ClinRaGenInputError(f"no knowledge file at {path}; make one with datasets_scripts/build_knowledge.py")
    try:
        knowledge = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClinRaGenInputError(f"{path} is no JSON file: {error}; make it again") from None
    terms = knowledge.get("terms") if isinstance(knowledge, dict) else None
    if not terms:
        raise ClinRaGenInputError(f"{path} holds no terms; make it again with datasets_scripts/build_knowledge.py")
    labels = set(knowledge.get("labels", ()))
    for i, term in enumerate(terms):
        _check(term, labels, f"{path}, term {i}")
    return knowledge


def _check(term: dict, labels: set[str], where: str) -> None:
    missing = [
        name for name in ("term", "type", "diseases", "source") if not isinstance(term, dict) or not term.get(name)
    ]
    if missing:
        raise ClinRaGenInputError(f"{where}: {', '.join(missing)} missing")
    unknown = [disease for disease in term["diseases"] if disease not in labels]
    if unknown:
        raise ClinRaGenInputError(f"{where}: disease {unknown[0]!r} is not among the file's labels")
    pattern = term.get("pattern")
    if pattern and (pattern.get("direction") not in DIRECTIONS or not pattern.get("channel")):
        raise ClinRaGenInputError(f"{where}: a pattern needs a channel and a direction of {', '.join(DIRECTIONS)}")
