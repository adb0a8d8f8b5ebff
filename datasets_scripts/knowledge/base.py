# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The knowledge base: medical terms, their diseases, and the sources."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from datasets_scripts.knowledge.documents import Document
from datasets_scripts.knowledge.words import american, plain_phrase
from modeling_clinragen.clinical_clinragen import PHENOTYPES, ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import TERM, fault_of


SCHEMA_VERSION = 2
BUILTIN = Path(__file__).with_name("builtin.yaml")
KEPT_FIELDS = ("term", "type", "synonyms", "diseases", "pattern")  # of a term, in a model folder
NAME = "name"  # type of a term that names its diseases: found in notes, but not attended to
NAME_SOURCE = "ccs"  # key of the source of the built-in names
DIRECTIONS = ("high", "low", "rising", "falling")
DOCUMENTS_PER_TERM = 3  # cited for one term and disease
REMEDY = "make it again with datasets_scripts/build_knowledge.py"
CITED = {"disease": str, "document": str, "sentence?": (None, str), "score?": (None, float)}
FIELDS = {**TERM, "source": str, "provenance": [CITED]}  # of a term


@cache
def read_builtin() -> dict:
    """Return `builtin.yaml`."""
    return yaml.safe_load(BUILTIN.read_text(encoding="utf-8"))


def builtin_entries(names: bool = False) -> Iterator[tuple[str, str, str]]:
    """
    Yield disease, type of term and entry, in the order of the file.

    Args:
        names (`bool`): with those of type `name`, what the diseases themselves are called.
    """
    yield from _entries(read_builtin(), names)


def _entries(raw: dict, names: bool) -> Iterator[tuple[str, str, str]]:
    for disease, groups in raw["diseases"].items():
        for kind, entries in groups.items():
            for entry in entries if kind != "source" and (names or kind != NAME) else ():
                yield disease, kind, entry


def builtin_knowledge(labels: list[str] | None = None) -> dict:
    """
    Return the knowledge base that comes with the project.

    Args:
        labels (list of `str`, *optional*): default: the paper's 25 diseases.

    Returns:
        `{"schema_version", "labels", "terms", "documents", "settings"}`. A term is `{"term", "type", "diseases",
        "source", "synonyms", "pattern", "provenance"}`, with `pattern` `{"channel", "direction"}` or `None`; one of
        several diseases appears once; a name that is evidence of another disease once more. `provenance` is a list of
        `{"disease", "document", "offset", "sentence", "score"}`; `documents` holds `{"title", "url", "date"}` of those
        cited. The built-in terms cite whole books and guidelines: their offset, sentence and score are `None`.

    Raises:
        ClinRaGenInputError: if none of the labels has terms.
    """
    raw = read_builtin()
    labels = [phenotype["name"] for phenotype in PHENOTYPES] if labels is None else labels
    if not raw["diseases"].keys() & set(labels):
        raise ClinRaGenInputError(
            "--corpus builtin knows none of the labels; it holds the 25 phenotypes: give another --corpus, such as a "
            "YAML file of your own terms (docs/own_data.md#your-own-labels)"
        )
    return knowledge_of(raw, labels, {"corpus": "builtin", "date": raw["date"].isoformat()})


def knowledge_of(raw: dict, labels: list[str], settings: dict, name_source: str | None = NAME_SOURCE) -> dict:
    """
    Return the knowledge base of `sources` and `diseases` in the format of `builtin.yaml`.

    Args:
        name_source (`str`, *optional*): key of the source of names; `None`: that of the disease.
    """
    terms: dict[tuple[str, bool], dict] = {}
    names = _forms_of_names(raw)
    for disease, kind, entry in _entries(raw, names=True):
        if disease in labels:
            of_disease = raw["diseases"][disease]["source"]
            source = (name_source or of_disease) if kind == NAME else of_disease
            _add_builtin(terms, disease, kind, entry, raw["sources"], source, names)
    cited = {cited["document"] for term in terms.values() for cited in term["provenance"]}
    return {
        "schema_version": SCHEMA_VERSION,
        "labels": labels,
        "terms": list(terms.values()),
        "documents": {
            key: {"title": title, "url": None, "date": None} for key, title in raw["sources"].items() if key in cited
        },
        "settings": {**settings, "retriever": None, "top_k": None, "extractor": None, "prompt": None},
    }


def _forms_of_names(raw: dict) -> dict[str, list[str]]:
    """Return the first form of each name -> all its forms."""
    named = [parse_entry(entry)[0] for _, kind, entry in _entries(raw, names=True) if kind == NAME]
    return {forms[0]: forms for forms in named}


def _add_builtin(
    terms: dict[tuple[str, bool], dict],
    disease: str,
    kind: str,
    entry: str,
    sources: dict,
    default_source: str,
    names: dict[str, list[str]],
) -> None:
    forms, pattern, key = parse_entry(entry)
    forms = list(dict.fromkeys((*forms, *names.get(forms[0], ()))))
    key = key or default_source
    new = {
        "term": forms[0],
        "type": kind,
        "diseases": [],
        "source": sources[key],
        "synonyms": [],
        "pattern": pattern,
        "provenance": [],
    }
    known = terms.setdefault((forms[0], kind == NAME), new)
    known["diseases"].append(disease)
    known["synonyms"] = sorted({*known["synonyms"], *forms[1:]})
    known["provenance"].append({"disease": disease, "document": key, "offset": None, "sentence": None, "score": None})


def parse_entry(entry: str) -> tuple[list[str], dict | None, str]:
    """Read an entry of `builtin.yaml`: the term and its synonyms, its pattern, and the key of its own source."""
    entry, _, source = entry.partition(" ^")
    entry, _, pattern = entry.partition(" @ ")
    channel, _, direction = pattern.rpartition(" ")
    forms = [part.strip() for part in entry.split("|")]
    return forms, {"channel": channel, "direction": direction} if pattern else None, source


@dataclass(frozen=True)
class Finding:
    """
    A term that a document gives for a disease.

    Args:
        term (`str`): as written in the document.
        offset (`int`): of the sentence, in characters of the document.
        score (`float`): strength of the term as evidence for the disease; equal for all findings of both.
    """

    term: str
    type: str
    disease: str
    document: str
    offset: int
    sentence: str
    score: float
    pattern: tuple[str, str] | None = None


def collect_terms(findings: Iterable[Finding], documents: dict[str, Document], max_terms: int) -> list[dict]:
    """
    Merge findings into the terms of a knowledge base: one for all inflected forms, and for all its diseases.

    Args:
        max_terms (`int`): for one disease; those with the best scores are kept.
    """
    groups: dict[str, dict[str, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in findings:
        groups[finding.disease][plain_phrase(finding.term)].append(finding)
    kept: dict[str, list[Finding]] = defaultdict(list)
    for phrases in groups.values():
        best = sorted(phrases, key=lambda phrase: (-max(f.score for f in phrases[phrase]), phrase))
        for phrase in best[:max_terms]:
            kept[phrase] += phrases[phrase]
    return [_term(found, documents) for found in kept.values()]


def _term(findings: list[Finding], documents: dict[str, Document]) -> dict:
    forms = Counter(finding.term for finding in findings)
    term = min(forms, key=lambda form: (-forms[form], form))
    spelled = [american(form) for form in forms if american(form) != form.lower()]  # the spelling of most notes
    types = Counter(finding.type for finding in findings)
    cited = Counter()
    provenance = []
    for finding in findings:
        cited[finding.disease] += 1
        if cited[finding.disease] <= DOCUMENTS_PER_TERM:
            place = {"disease": finding.disease, "document": finding.document, "offset": finding.offset}
            provenance.append({**place, "sentence": finding.sentence, "score": round(finding.score, 4)})
    first = documents[findings[0].document]
    return {
        "term": term,
        "type": min(types, key=lambda kind: (-types[kind], kind)),
        "diseases": list(cited),
        "source": ", ".join(filter(None, (first.title or first.id, first.url, first.date))),
        "synonyms": sorted({*forms, *spelled} - {term}),
        "pattern": next(
            ({"channel": f.pattern[0], "direction": f.pattern[1]} for f in findings if f.pattern is not None), None
        ),
        "provenance": provenance,
    }


def load_knowledge(path: str | Path) -> dict:
    """
    Read and check a `knowledge.json`.

    Raises:
        ClinRaGenInputError: if it is missing, not JSON, of another schema version, without terms, or a term is
            incomplete, repeated, or has a field of a wrong type.
    """
    path = Path(path)
    if not path.is_file():
        raise ClinRaGenInputError(f"no knowledge file at {path}; make one with datasets_scripts/build_knowledge.py")
    try:
        knowledge = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ClinRaGenInputError(f"{path} is not a JSON file: {error}; make it again") from None
    terms = knowledge.get("terms") if isinstance(knowledge, dict) else None
    if not isinstance(terms, list) or not terms:
        raise ClinRaGenInputError(f"{path} holds no terms; {REMEDY}")
    version = knowledge.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ClinRaGenInputError(
            f"{path}: schema_version is {version}, this program reads {SCHEMA_VERSION}; {REMEDY}"
        )
    for name, kind in (("labels", list), ("documents", dict), ("settings", dict)):
        if not isinstance(knowledge.get(name), kind):
            raise ClinRaGenInputError(f"{path}: {name} missing; {REMEDY}")
    fault = fault_of(knowledge, {"labels": [str], "documents": {str: dict}})
    if fault:
        raise ClinRaGenInputError(f"{path}: {fault}; {REMEDY}")
    known: dict[tuple[str, bool], int] = {}
    for i, term in enumerate(terms):
        where = f"{path}, term {i}"
        _check(term, knowledge, where)
        first = known.setdefault((term["term"], term["type"] == NAME), i)
        if first != i:
            raise ClinRaGenInputError(f"{where} ({term['term']}): term {first} is the same; write it once")
    return knowledge


def read_terms(path: str | Path) -> list[dict]:
    """Read the terms of a `knowledge.json` with the fields that a model keeps; raises as `load_knowledge`."""
    return [{name: term[name] for name in KEPT_FIELDS if name in term} for term in load_knowledge(path)["terms"]]


def _check(term: object, knowledge: dict, where: str) -> None:
    needed = ("term", "type", "diseases", "source", "provenance")
    missing = [name for name in needed if not isinstance(term, dict) or not term.get(name)]
    if missing:
        raise ClinRaGenInputError(f"{where}: {', '.join(missing)} missing")
    fault = fault_of(term, FIELDS)
    if fault or not term["term"].strip():
        raise ClinRaGenInputError(f"{where}: {fault or 'its name is blank'}; {REMEDY}")
    where = f"{where} ({term['term']})"
    unknown = [disease for disease in term["diseases"] if disease not in knowledge["labels"]]
    if unknown:
        raise ClinRaGenInputError(f"{where}: disease {unknown[0]!r} is not among the file's labels")
    if len(set(term["diseases"])) < len(term["diseases"]):
        raise ClinRaGenInputError(f"{where}: a disease is repeated; write it once")
    pattern = term.get("pattern")
    if pattern and (pattern.get("direction") not in DIRECTIONS or not pattern.get("channel")):
        raise ClinRaGenInputError(f"{where}: a pattern needs a channel and a direction of {', '.join(DIRECTIONS)}")
    for cited in term["provenance"]:
        _check_provenance(cited, term, knowledge, where)


def _check_provenance(cited: dict, term: dict, knowledge: dict, where: str) -> None:
    if cited["disease"] not in term["diseases"]:
        raise ClinRaGenInputError(f"{where}: a provenance names a disease that the term does not have")
    if cited["document"] not in knowledge["documents"]:
        raise ClinRaGenInputError(f"{where}: document {cited['document']!r} is not among the file's documents")
    offset = cited.get("offset")
    if offset is not None and (fault_of(offset, int) or offset < 0):
        raise ClinRaGenInputError(f"{where}: the offset {offset!r} is not a number of characters")
