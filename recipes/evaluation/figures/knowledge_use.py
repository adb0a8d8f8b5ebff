# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Knowledge terms shown for a record: how specific to it they are, and how many of them its rationale writes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from modeling_clinragen.phrases_clinragen import PhraseFinder


NUM_TERMS = 10  # shown terms of a record that are counted, highest weight first
NUM_PARTNERS = 50  # records of other patients that each record's terms are compared with
SEED = 0


def knowledge_counts(
    shown: Sequence[Sequence[str]], rationales: Iterable[str], terms: Sequence[str], subject_ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """
    Count the terms of each record that were shown, written, and both.

    Args:
        shown (lists of `str`): each record's terms, the highest weight first; of them `NUM_TERMS` count.
        rationales (iterable of `str`): a term is written where it stands as a whole phrase, negated or not, and not as
            a part of a longer term.
        terms (list of `str`): the knowledge vocabulary.
        subject_ids (list of `str`): the patient of each record.

    Returns:
        Counts of each record, each distinct term once: `shown`, `written`, `both`, and `chance`, how many of the
        written terms would be shown if the record had the terms of another patient's record, on average over all
        other records (NaN without another patient): the expectation of a shuffle, without its noise.
    """
    find = PhraseFinder(terms)
    top = [{term.lower() for term in record[:NUM_TERMS]} for record in shown]
    written = [{lower[a:b] for a, b in find(lower)} for lower in (text.lower() for text in rationales)]
    everyone, own, records_of = Counter(), {subject_id: Counter() for subject_id in subject_ids}, Counter(subject_ids)
    for subject_id, record in zip(subject_ids, top, strict=True):
        everyone.update(record)
        own[subject_id].update(record)
    chance = []
    for subject_id, record in zip(subject_ids, written, strict=True):
        others = len(top) - records_of[subject_id]
        hits = sum(everyone[term] - own[subject_id][term] for term in record)
        chance.append(hits / others if others else np.nan)
    return {
        "shown": np.array([len(record) for record in top]),
        "written": np.array([len(record) for record in written]),
        "both": np.array([len(a & b) for a, b in zip(top, written, strict=True)]),
        "chance": np.array(chance),
    }


def specificity_counts(
    shown: Sequence[Sequence[dict]],
    gold: Sequence[Sequence[str]],
    diseases: Mapping[str, Sequence[str]],
    subject_ids: Sequence[str],
) -> dict[str, np.ndarray]:
    """
    Count how specific the terms that are shown for each record are to it.

    Args:
        shown (lists of `dict`): each record's entries, with `term` and `weight`; the first `NUM_TERMS` count.
        gold (lists of `str`): its recorded diagnoses.
        diseases (`dict`): term -> the diagnoses that it belongs to.
        subject_ids (list of `str`): the patient of each record.

    Returns:
        Of each record `shown`, its terms; `none`, 1 where there are none; `recorded`, the terms of a recorded
        diagnosis; `ordered`, the pairs of such a term and another one in which it has the higher weight (ties
        count half), of all such `pairs`; and `overlap`, the sum of the Jaccard overlaps with the terms of `partners`,
        up to `NUM_PARTNERS` records of other patients, drawn by a seed (two records without terms are not a pair).
    """
    top = [record[:NUM_TERMS] for record in shown]
    names = [frozenset(entry["term"] for entry in record) for record in top]
    found = [_ordered_pairs(r, set(g), diseases) for r, g in zip(top, gold, strict=True)]
    overlaps = _overlaps(names, subject_ids)
    return {
        "shown": np.array([len(record) for record in top]),
        "none": np.array([not record for record in top], dtype=int),
        **{name: np.array([f[i] for f in found]) for i, name in enumerate(("recorded", "ordered", "pairs"))},
        **{name: np.array([o[i] for o in overlaps]) for i, name in enumerate(("overlap", "partners"))},
    }


def _ordered_pairs(
    entries: Sequence[dict], gold: set[str], diseases: Mapping[str, Sequence[str]]
) -> tuple[int, float, int]:
    """Return the number of terms of recorded diagnoses, the pairs in which such a term is higher, and all pairs."""
    own = [entry["weight"] for entry in entries if gold & set(diseases.get(entry["term"], ()))]
    others = [entry["weight"] for entry in entries if not gold & set(diseases.get(entry["term"], ()))]
    ordered = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in own for b in others)
    return len(own), ordered, len(own) * len(others)


def _overlaps(names: Sequence[frozenset[str]], subject_ids: Sequence[str]) -> list[tuple[float, int]]:
    """Return for each record the sum of its overlaps with some records of other patients, and their number."""
    generator, found = np.random.default_rng(SEED), []
    for own, patient in zip(names, subject_ids, strict=True):
        drawn = generator.integers(len(names), size=NUM_PARTNERS)
        others = [names[i] for i in drawn if subject_ids[i] != patient and own | names[i]]
        found.append((sum(len(own & other) / len(own | other) for other in others), len(others)))
    return found
