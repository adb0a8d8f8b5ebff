# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What documents of a label are searched with: its names, what is known to speak for it, the titles of its codes."""

from __future__ import annotations

from dataclasses import dataclass, field

from datasets_scripts.knowledge.base import read_builtin
from datasets_scripts.knowledge.words import label_forms
from datasets_scripts.sources.phenotypes import titles_of


@dataclass(frozen=True)
class Query:
    """
    Args:
        label (`str`): a label's name.
        names (list of `str`): what it is called, most telling first.
        terms (list of `str`): the built-in knowledge of a label of that name, if there is any.
        titles (list of `str`): of the ICD codes that belong to it.
    """

    label: str
    names: list[str]
    terms: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


def queries_for(labels: list[dict], with_terms: bool = True) -> list[Query]:
    """A query for each label, with the built-in terms unless `with_terms` is false."""
    known = read_builtin()["diseases"] if with_terms else {}
    queries = []
    for label in labels:
        groups = {kind: entries for kind, entries in known.get(label["name"], {}).items() if kind != "source"}
        # "rising creatinine | creatinine rise @ channel direction ^source": the term stands first
        terms = [
            entry.split(" ^")[0].split(" @ ")[0].split("|")[0].strip() for group in groups.values() for entry in group
        ]
        queries.append(
            Query(label["name"], label_forms(label), terms, titles_of(label.get("ccs", ()), label.get("codes", {})))
        )
    return queries
