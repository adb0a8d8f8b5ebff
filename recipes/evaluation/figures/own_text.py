# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Count properties of the decoder's own text, before grounding: whether it is readable, complete and about the patient.

Where a classifier decides and the rationale is completed from the record, neither reveals a decoder that has learned
nothing. Counts of each record; `recipes/evaluation/probes/decoder.py` takes shares and intervals of them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from modeling_clinragen.grounding_clinragen import REPAIRED, WRITTEN, split_sentences
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.note_claims_clinragen import NoteIndex, check_note_claims


FAULTS = ("wordless", "looping", "unknown_words", "unknown_order")  # of a sentence, the first that applies
FATES = ("written", "repaired", "left_out")  # of a sentence, in grounding
FINDINGS = ("supported", "contradicted", "absent", "by_chance")

_WORD = re.compile(r"[^\W\d_]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case, without numbers."""
    return _WORD.findall(text.lower())


class KnownText:
    """
    Words, and pairs of neighbouring words, of the texts that a decoder could learn from.

    Args:
        rationales (iterable of `str`): the teacher's; without any, the order of words is not judged.
        others (iterable of `str`): notes, names and terms.
    """

    def __init__(self, rationales: Iterable[str], others: Iterable[str] = ()):
        self.words, self.pairs = set(), set()
        self._learn(rationales)
        self.judges_order = bool(self.pairs)
        self._learn(others)

    def _learn(self, texts: Iterable[str]) -> None:
        for text in texts:
            words = words_of(text)
            self.words.update(words)
            self.pairs.update(pairwise(words))

    def fault(self, sentence: str) -> str | None:
        """
        Return why a sentence is unreadable, one of `FAULTS`; `None` if it is readable.

        It is `looping` if at least half of its word pairs repeat earlier ones, has `unknown_words` if more than half
        of its words are in none of the texts, and `unknown_order` if more than two thirds of its word pairs are.
        """
        words = words_of(sentence)
        pairs = list(pairwise(words))
        if not words:
            return "wordless"
        if len(pairs) >= 2 and len(set(pairs)) <= len(pairs) / 2:
            return "looping"
        if sum(word not in self.words for word in words) > len(words) / 2:
            return "unknown_words"
        unknown = sum(pair not in self.pairs for pair in pairs)
        if self.judges_order and len(pairs) >= 2 and unknown > 2 * len(pairs) / 3:
            return "unknown_order"
        return None


def own_sentence_counts(predictions: Sequence[dict], known: KnownText) -> dict[str, np.ndarray]:
    """
    Count for each record the sentences of the decoder (`total`), those with each of `FAULTS`, and what grounding did
    with them (`FATES`). A sentence that repeats an earlier one of the same text is `looping`.

    Args:
        predictions (list of `dict`): with `own_text`, as the pipeline gives it.
    """
    rows = [_sentence_counts(prediction, known) for prediction in predictions]
    return {name: np.array([row[name] for row in rows]) for name in ("total", *FAULTS, *FATES)}


def _sentence_counts(prediction: dict, known: KnownText) -> Counter:
    counts, before = Counter(), set()
    for part in ("note_rationale", "lab_rationale"):
        for sentence in split_sentences(prediction["own_text"][part]):
            fault = "looping" if sentence in before else known.fault(sentence)
            counts.update(["total"] if fault is None else ["total", fault])
            before.add(sentence)
    kept = Counter(sentence["origin"] for sentence in prediction["sentences"])
    counts |= {name: kept[name] for name in (WRITTEN, REPAIRED)}
    counts["left_out"] = max(0, counts["total"] - kept[WRITTEN] - kept[REPAIRED])
    return counts


def own_rationale(prediction: dict) -> str:
    return "{note_rationale} {lab_rationale}".format(**prediction["own_text"]).strip()


def own_rationale_counts(predictions: Sequence[dict]) -> dict[str, np.ndarray]:
    """Count for each record whether the rationale is missing (`empty`) or not ended (`cut`), and its `rep_4`."""
    return {
        "empty": np.array([not own_rationale(prediction) for prediction in predictions]),
        "cut": np.array([not prediction["own_text"]["finished"] for prediction in predictions]),
        "rep_4": np.array([repetition(words_of(own_rationale(prediction))) for prediction in predictions]),
    }


def repetition(words: Sequence[str], order: int = 4) -> float:
    """
    Return the share of a text's n-grams that repeat earlier ones.

    Source: Welleck et al., "Neural Text Generation with Unlikelihood Training", ICLR 2020 (seq-rep-4, of words here).
    """
    ngrams = list(zip(*(words[i:] for i in range(order)), strict=False))
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def same_for_others(predictions: Sequence[dict]) -> tuple[int, float | None]:
    """Return the number of pairs of records with other diagnoses, and the share of these with the same rationale."""
    lists = [tuple(entry["label"] for entry in prediction["diagnoses"]) for prediction in predictions]
    texts = [own_rationale(prediction) for prediction in predictions]
    same_list, same_text, same_both = map(_pairs, (lists, texts, zip(texts, lists, strict=True)))
    differ = len(predictions) * (len(predictions) - 1) // 2 - same_list
    return differ, (same_text - same_both) / differ if differ else None


def _pairs(values: Iterable) -> int:
    """Count the pairs of equal values."""
    return sum(count * (count - 1) // 2 for count in Counter(values).values())


def own_finding_counts(
    predictions: Sequence[dict], notes: Sequence[str], links: KnowledgeLinks | None = None
) -> dict[str, np.ndarray]:
    """
    Count for each record the findings of the note that the decoder names (`total`), those that are `supported` by
    it, `contradicted` or `absent`; and `by_chance`, those that the note of another patient supports.

    Args:
        notes (list of `str`): of each record.
        links (`KnowledgeLinks`, *optional*): synonyms of findings.
    """
    indices, others, rows = [NoteIndex(note) for note in notes], other_patients(predictions), []
    for prediction, index, other in zip(predictions, indices, others, strict=True):
        text = prediction["own_text"]["note_rationale"]
        verdicts = Counter(claim.verdict for claim in check_note_claims(text, index, links))
        elsewhere = [] if other is None else check_note_claims(text, indices[other], links)
        verdicts |= {"by_chance": sum(claim.verdict == "supported" for claim in elsewhere)}
        rows.append({**verdicts, "total": verdicts.total() - verdicts["by_chance"]})
    return {name: np.array([row.get(name, 0) for row in rows]) for name in ("total", *FINDINGS)}


def other_patients(predictions: Sequence[dict]) -> list[int | None]:
    """Return for each record the position of another patient's, about half of the records further on, or `None`."""
    patients, number = [prediction["subject_id"] for prediction in predictions], len(predictions)
    places = ([(i + number // 2 + step) % number for step in range(number)] for i in range(number))
    return [next((j for j in order if patients[j] != own), None) for own, order in zip(patients, places, strict=True)]
