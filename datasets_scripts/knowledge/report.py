# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The report beside a knowledge base: its content, its documents, and the quality of the retrieval."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations

from datasets_scripts.knowledge.documents import Document


MAX_OVERLAPS = 15  # pairs of diseases that are listed


def write_report(
    knowledge: dict,
    vocabulary: tuple[str, int] | None,
    retrieved: dict[str, list[Document]] | None = None,
    recalls: dict[str, dict[str, float]] | None = None,
    dropped: Counter | None = None,
) -> str:
    """
    Write the report as Markdown.

    Args:
        vocabulary (`tuple[str, int]`, *optional*): a tokenizer's name, and its number of distinct tokens in the terms.
        retrieved, recalls (`dict`, *optional*): documents per label, best first; result of `evaluate_retrieval`.
        dropped (`Counter`, *optional*): unused answers and terms of a model, by reason.
    """
    settings = ", ".join(f"{name} {value}" for name, value in knowledge["settings"].items() if value is not None)
    sections = [f"# Knowledge base\n\n{settings}.", _terms(knowledge, vocabulary), _overlap(knowledge)]
    if recalls:
        sections.append(_recall(recalls))
    if dropped:
        rows = [f"| {reason} | {count} |" for reason, count in sorted(dropped.items())]
        sections.append("\n".join(["## Dropped answers", "", "| reason | count |", "| --- | --- |", *rows]))
    if retrieved:
        sections.append(_documents(retrieved))
    return "\n\n".join(sections) + "\n"


def _terms(knowledge: dict, vocabulary: tuple[str, int] | None) -> str:
    types = sorted({term["type"] for term in knowledge["terms"]})
    counts = Counter((disease, term["type"]) for term in knowledge["terms"] for disease in term["diseases"])
    lines = [f"{len(knowledge['terms'])} terms of {len(knowledge['labels'])} diseases."]
    if vocabulary:
        lines.append(f"Vocabulary |V_k|: {vocabulary[1]} distinct tokens by the tokenizer {vocabulary[0]}.")
    lines += ["", f"| disease | all | {' | '.join(types)} |", "| --- |" + " --- |" * (len(types) + 1)]
    for disease in knowledge["labels"]:
        row = [counts[disease, kind] for kind in types]
        lines.append(f"| {disease} | {sum(row)} | {' | '.join(map(str, row))} |")
    return "\n".join(["## Terms", "", *lines])


def _overlap(knowledge: dict) -> str:
    shared = defaultdict(list)
    for term in knowledge["terms"]:
        for pair in combinations(sorted(term["diseases"]), 2):
            shared[pair].append(term["term"])
    several = sum(len(term["diseases"]) > 1 for term in knowledge["terms"])
    most = sorted(shared, key=lambda pair: (-len(shared[pair]), pair))[:MAX_OVERLAPS]
    lines = [f"{several} terms belong to several diseases. Pairs that share most:", ""]
    lines += ["| diseases | shared | such as |", "| --- | --- | --- |"]
    lines += [f"| {' / '.join(pair)} | {len(shared[pair])} | {', '.join(shared[pair][:3])} |" for pair in most]
    return "\n".join(["## Overlap", "", *(lines if most else ["No term belongs to several diseases."])])


def _recall(recalls: dict[str, dict[str, float]]) -> str:
    methods = list(next(iter(recalls.values())))
    lines = ["Share of the documents marked with a disease that are among the ten best.", ""]
    lines += [f"| disease | {' | '.join(methods)} |", "| --- |" + " --- |" * len(methods)]
    lines += [f"| {disease} | {_figures(recall)} |" for disease, recall in recalls.items()]
    mean = {method: sum(recall[method] for recall in recalls.values()) / len(recalls) for method in methods}
    return "\n".join(["## Recall@10", "", *lines, f"| mean | {_figures(mean)} |"])


def _figures(recall: dict[str, float]) -> str:
    return " | ".join(f"{figure:.3f}" for figure in recall.values())


def _documents(retrieved: dict[str, list[Document]]) -> str:
    lines = []
    for disease, documents in retrieved.items():
        lines += [f"- {disease}: " + "; ".join(f"{d.title or d.id}" for d in documents)]
    return "\n".join(["## Retrieved documents", "", *lines])
