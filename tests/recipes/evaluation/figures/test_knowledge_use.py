# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.evaluation.figures.compute import knowledge_use
from recipes.evaluation.figures.knowledge_use import knowledge_counts


TERMS = ["Fever", "heart failure", "failure", "cough", "edema", "low blood pressure"]


def test_terms_are_whole_phrases_each_counted_once():
    counts = knowledge_counts(
        [["Fever", "failure", "cough"], ["edema"]],
        ["Fever, FEVER and heart failure; coughing.", ""],
        TERMS,
        ["a", "b"],
    )
    assert counts["attended"].tolist() == [3, 1]
    assert counts["written"].tolist() == [2, 0]  # "failure" is part of a longer term, "coughing" another word
    assert counts["both"].tolist() == [1, 0]


def test_the_ten_terms_of_the_highest_weight_count():
    terms = [f"term{i:02}" for i in range(12)]
    counts = knowledge_counts([terms], [" ".join(terms)], terms, ["a"])
    assert (counts["attended"][0], counts["written"][0], counts["both"][0]) == (10, 12, 10)
    assert np.isnan(counts["chance"][0])  # nobody to exchange with


some = st.lists(st.sampled_from(TERMS), max_size=4, unique=True)


@given(st.lists(st.tuples(some, some, st.sampled_from("abc")), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_chance_is_the_mean_over_the_records_of_all_other_patients(rows):
    attended, written, patients = map(list, zip(*rows, strict=True))
    counts = knowledge_counts(attended, [", ".join(terms) for terms in written], TERMS, patients)
    for i, patient in enumerate(patients):
        shared = [len(set(attended[j]) & set(written[i])) for j, other in enumerate(patients) if other != patient]
        assert counts["chance"][i] == pytest.approx(np.mean(shared) if shared else np.nan, nan_ok=True)
        assert counts["both"][i] == len(set(attended[i]) & set(written[i]))


def prediction(patient, attended, rationale):
    knowledge = [{"term": term, "weight": 0.1} for term in attended]
    return {"subject_id": patient, "knowledge": knowledge, "note_rationale": rationale, "lab_rationale": ""}


def test_a_model_that_writes_what_it_attends_to_is_above_chance():
    rng = np.random.default_rng(0)
    drawn = [rng.choice(TERMS, 2, replace=False).tolist() for _ in range(60)]
    own = [prediction(str(i), terms, " and ".join(terms)) for i, terms in enumerate(drawn)]
    part, sure = knowledge_use(own, TERMS)["knowledge_use"]
    assert part["attended_written"] > 0.8
    assert sure["attended_written_above_chance"][0] > 0.2
    others = [prediction(str(i), drawn[i - 1], " and ".join(terms)) for i, terms in enumerate(drawn)]
    part, sure = knowledge_use(others, TERMS)["knowledge_use"]
    assert sure["attended_written_above_chance"][0] < 0 < sure["attended_written_above_chance"][1]
    assert part["written_attended"] == pytest.approx(part["written_attended_by_chance"], abs=0.1)


def test_without_knowledge_there_is_nothing_to_tell():
    assert knowledge_use([prediction("a", [], "fever")], TERMS) == {}
    assert knowledge_use([prediction("a", ["Fever"], "fever")], []) == {}
