# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Knowledge terms that a model's series attended to, against those that its rationale writes."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from modeling_clinragen.phrases_clinragen import PhraseFinder


NUM_TERMS = 10  # attended terms of a record that count, highest weight first


def knowledge_counts(
    attended: Sequence[Sequence[str]], rationales: Iterable[str], terms: Sequence[str], subject_ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """
    Terms of each record that were attended to, written, and both.

    Args:
        attended (lists of `str`): each record's terms, most attended first; of them `NUM_TERMS` count.
        rationales (iterable of `str`): a term is written where it stands as a whole phrase, negated or not, and not as
            a part of a longer term.
        terms (list of `str`): the knowledge vocabulary.
        subject_ids (list of `str`): the patient of each record.

    Returns:
        Counts of each record, each distinct term once: `attended`, `written`, `both`, and `chance`, how many of the
        written terms would be attended to if the record had the attended terms of another patient's record, on
        average over all of those (NaN without another patient): the expectation of a shuffle, without its noise.
    """
    find = PhraseFinder(terms)
    top = [{term.lower() for term in record[:NUM_TERMS]} for record in attended]
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
        "attended": np.array([len(record) for record in top]),
        "written": np.array([len(record) for record in written]),
        "both": np.array([len(a & b) for a, b in zip(top, written, strict=True)]),
        "chance": np.array(chance),
    }
