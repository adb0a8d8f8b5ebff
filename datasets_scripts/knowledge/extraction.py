# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Terms for each label from the documents that were retrieved for it: by contrast with the corpus, or by a model."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from tqdm import tqdm

from datasets_scripts.knowledge.base import Finding, builtin_entries
from datasets_scripts.knowledge.documents import Document, sentence_spans
from datasets_scripts.knowledge.phrases import Mention, TypeModel, mentions, stated_pattern
from datasets_scripts.knowledge.retrieval import Encode
from datasets_scripts.knowledge.words import label_forms, plain_phrase
from datasets_scripts.llm.chat import Ask, Request
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


PRIOR = 10.0  # prior documents of each label, distributed like the corpus
MIN_SIMILARITY = 0.35  # of a medical term to the nearest built-in terms
CANDIDATES = 10  # phrases considered for each term that is kept
PROMPTS = Path(__file__).parent / "prompts"
LONGEST_TERM = 6  # words, from a model
SENTENCES_PER_REQUEST = 40

Retrieved = dict[str, list[Document]]  # label -> its documents, best first


def forbidden_phrases(labels: list[dict]) -> dict[str, set[str]]:
    """Return the phrases that the terms of each label must not hold: its names and synonyms, and all labels' names."""
    names = {plain_phrase(label["name"]) for label in labels}
    names |= {plain_phrase(form) for label in labels for form in label_forms({"name": label["name"]})}
    return {label["name"]: names | {plain_phrase(form) for form in label_forms(label)} for label in labels}


def names_label(plain: str, forbidden: set[str]) -> bool:
    """Return whether a phrase contains a forbidden one, or is part of one."""
    return any(f" {phrase} " in f" {plain} " or f" {plain} " in f" {phrase} " for phrase in forbidden)


def log_odds(inside: int, size: int, outside: int, rest: int, prior: float = PRIOR) -> float:
    """
    Return how much more often a phrase occurs in a label's documents than in the others, in standard deviations.

    Args:
        inside, size (`int`): the label's documents with the phrase, and all of them.
        outside, rest (`int`): the same for the other documents.
        prior (`float`): prior documents of both, with the frequency of the phrase in the corpus.

    Source: Monroe, Colaresi, Quinn, "Fightin' Words", Political Analysis 16(4), 2008, Eq. 16, 20 and 22; counts
    documents, not words.
    """
    if inside + outside == size + rest:
        return 0.0  # the phrase is in all documents
    expected = prior * (inside + outside) / (size + rest)
    in_label = math.log((inside + expected) / (size + prior - inside - expected))
    elsewhere = math.log((outside + expected) / (rest + prior - outside - expected))
    return (in_label - elsewhere) / math.sqrt(1 / (inside + expected) + 1 / (outside + expected))


def extract_by_contrast(
    labels: list[dict], retrieved: Retrieved, documents: list[Document], encode: Encode, max_terms: int
) -> list[Finding]:
    """
    Extract the phrases that are frequent in a label's documents but not in the others, and resemble medical terms.

    The score is the phrase's `log_odds`, times the logarithm of its length, times its similarity to the nearest
    built-in terms.
    """
    found = {document.id: _by_phrase(document) for document in tqdm(documents, desc="reading", unit="document")}
    frequency = Counter(plain for phrases in found.values() for plain in phrases)
    forbidden = forbidden_phrases(labels)
    scores = {}
    for label, best in retrieved.items():
        own = {document.id: found[document.id] for document in best}
        scores[label] = _candidates(own, frequency, len(documents), forbidden[label], CANDIDATES * max_terms)
    written = {plain: _written(plain, found.values()) for candidates in scores.values() for plain in candidates}
    typed = dict(zip(written, TypeModel(encode)(list(written.values())), strict=True)) if written else {}
    findings = []
    for label, candidates in scores.items():
        for plain, score in candidates.items():
            kind, similarity = typed[plain]
            if similarity >= MIN_SIMILARITY:
                mentioned = [found[document.id][plain] for document in retrieved[label] if plain in found[document.id]]
                findings += [_finding(mention, kind, label, score * similarity) for mention in mentioned]
    return findings


def _by_phrase(document: Document) -> dict[str, Mention]:
    """Return the first mention of each phrase."""
    by_phrase: dict[str, Mention] = {}
    for mention in mentions(document):
        by_phrase.setdefault(mention.plain, mention)
    return by_phrase


def _written(plain: str, found: Iterable[dict[str, Mention]]) -> str:
    return next(phrases[plain].text for phrases in found if plain in phrases)


def _candidates(
    own: dict[str, dict[str, Mention]], frequency: Counter, size: int, forbidden: set[str], limit: int
) -> dict[str, float]:
    """Return the label's phrases with the best scores, without those that only the last third of its documents has."""
    inside = Counter(plain for phrases in own.values() for plain in phrases)
    first = list(own.values())[: math.ceil(len(own) * 2 / 3)]
    trusted = dict.fromkeys(plain for phrases in first for plain in phrases)
    scores = {}
    for plain in trusted:
        if not names_label(plain, forbidden):
            count = inside[plain]
            rest = size - len(own)  # 0: nothing to contrast with
            contrast = log_odds(count, len(own), frequency[plain] - count, rest) if rest else math.log(1 + count)
            scores[plain] = contrast * math.log2(1 + len(plain.split()))
    best = sorted((plain for plain in scores if scores[plain] > 0), key=lambda plain: -scores[plain])
    return {plain: scores[plain] for plain in _longest_only(best[:limit], own)}


def _longest_only(phrases: list[str], own: dict[str, dict[str, Mention]]) -> list[str]:
    """Leave out phrases that occur only within a single longer phrase."""
    where = {plain: {name for name, found in own.items() if plain in found} for plain in phrases}
    return [plain for plain in phrases if not any(_inside(plain, other, where) for other in phrases)]


def _inside(plain: str, other: str, where: dict[str, set[str]]) -> bool:
    return plain != other and f" {plain} " in f" {other} " and where[plain] <= where[other]


def _finding(mention: Mention, kind: str, disease: str, score: float) -> Finding:
    place = (mention.document, mention.offset, mention.sentence)
    return Finding(mention.text, kind, disease, *place, score, stated_pattern(mention.text))


@dataclass(frozen=True)
class Prompt:
    """The prompt of a model; `user` has the placeholders `types`, `disease` and `sentences`."""

    version: str
    system: str
    user: str

    @classmethod
    def load(cls, version: str = "extraction-1") -> Prompt:
        path = PROMPTS / f"{version}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.yaml")))
            raise ClinRaGenInputError(f"no prompt {version}; there are {known}")
        return cls(**yaml.safe_load(path.read_text(encoding="utf-8")))


def term_types() -> list[str]:
    """Return the types of terms in the built-in knowledge."""
    return sorted({kind for _, kind, _ in builtin_entries()})


def _schema(types: list[str]) -> dict:
    fields = {"term": {"type": "string"}, "type": {"enum": types}, "sentence": {"type": "integer"}}
    term = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    terms = {"type": "array", "items": term}
    return {"type": "object", "properties": {"terms": terms}, "required": ["terms"], "additionalProperties": False}


@dataclass(frozen=True)
class Question:
    """Sentences of a document, as (offset, sentence), to read for one label."""

    label: str
    document: str
    sentences: list[tuple[int, str]]


def extract_by_model(
    labels: list[dict], retrieved: Retrieved, ask: Ask, prompt: Prompt | None = None
) -> tuple[list[Finding], Counter]:
    """
    Extract the terms that a language model copies from the retrieved documents.

    A term counts only if it is in the sentence that it cites, regardless of case. The score is the number of the
    label's documents that give the term.

    Returns:
        the findings, and how many answers and terms were dropped, by reason.
    """
    prompt, types = prompt or Prompt.load(), term_types()
    questions = list(_questions(retrieved))
    requests = (Request(_messages(prompt, types, question), _schema(types)) for question in questions)
    forbidden, dropped, found = forbidden_phrases(labels), Counter(), []
    answers = tqdm(ask(requests), desc="extracting", unit="request", total=len(questions))
    for question, answer in zip(questions, answers, strict=True):
        if answer.value is None:
            dropped[f"no answer: {answer.reason}"] += 1
            continue
        for term in answer.value["terms"]:
            fault = _fault(term, question, forbidden[question.label])
            if fault:
                dropped[fault] += 1
            else:
                found.append((question, term))
    support = defaultdict(set)
    for question, term in found:
        support[question.label, plain_phrase(term["term"])].add(question.document)
    return [_from_model(q, term, len(support[q.label, plain_phrase(term["term"])])) for q, term in found], dropped


def _questions(retrieved: Retrieved) -> Iterator[Question]:
    for label, documents in retrieved.items():
        for document in documents:
            sentences = [(start, document.text[start:end]) for start, end in sentence_spans(document.text)]
            for i in range(0, len(sentences), SENTENCES_PER_REQUEST):
                yield Question(label, document.id, sentences[i : i + SENTENCES_PER_REQUEST])


def _messages(prompt: Prompt, types: list[str], question: Question) -> list[dict]:
    numbered = "\n".join(f"[{i}] {' '.join(text.split())}" for i, (_, text) in enumerate(question.sentences, start=1))
    user = prompt.user.format(types=", ".join(types), disease=question.label, sentences=numbered)
    return [{"role": "system", "content": prompt.system.strip()}, {"role": "user", "content": user.strip()}]


def _fault(term: dict, question: Question, forbidden: set[str]) -> str | None:
    plain, cited = plain_phrase(term["term"]), int(term["sentence"])  # JSON schema accepts 2.0 as an integer
    if not 1 <= cited <= len(question.sentences):
        return "cites no sentence"
    if not plain or term["term"].lower() not in question.sentences[cited - 1][1].lower():
        return "not in the sentence it cites"
    if names_label(plain, forbidden):
        return "names a label"
    return "too long" if len(term["term"].split()) > LONGEST_TERM else None


def _from_model(question: Question, term: dict, support: int) -> Finding:
    offset, sentence = question.sentences[int(term["sentence"]) - 1]
    place = (question.label, question.document, offset, sentence)
    return Finding(term["term"], term["type"], *place, float(support), stated_pattern(term["term"]))
