# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Queries for the documents of a label: its names, known terms of evidence for it, and the titles of its codes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from datasets_scripts.knowledge.base import builtin_entries, parse_entry
from datasets_scripts.knowledge.words import label_forms
from datasets_scripts.sources.phenotypes import titles_of


@dataclass(frozen=True)
class Query:
    """
    Args:
        label (`str`): a label's name.
        names (list of `str`): its names, most specific first.
        terms (list of `str`): the built-in terms of a label of that name, if any.
        titles (list of `str`): of its ICD codes.
    """

    label: str
    names: list[str]
    terms: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


def queries_for(labels: list[dict], with_terms: bool = True) -> list[Query]:
    """Return a query for each label, with the built-in terms unless `with_terms` is false."""
    known = defaultdict(list)
    for disease, _, entry in builtin_entries() if with_terms else ():
        known[disease].append(parse_entry(entry)[0][0])
    return [
        Query(
            label["name"],
            label_forms(label),
            known[label["name"]],
            titles_of(label.get("ccs", ()), label.get("codes", {})),
        )
        for label in labels
    ]
