# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from recipes.evaluation.figures.compute import knowledge_shown, knowledge_use
from recipes.evaluation.figures.knowledge_use import knowledge_counts, specificity_counts


TERMS = ["Fever", "heart failure", "failure", "cough", "edema", "low blood pressure"]


def test_terms_are_whole_phrases_each_counted_once():
    counts = knowledge_counts(
        [["Fever", "failure", "cough"], ["edema"]],
        ["Fever, FEVER and heart failure; coughing.", ""],
        TERMS,
        ["a", "b"],
    )
    assert counts["shown"].tolist() == [3, 1]
    assert counts["written"].tolist() == [2, 0]  # "failure" is part of a longer term, "coughing" another word
    assert counts["both"].tolist() == [1, 0]


def test_the_ten_terms_of_the_highest_weight_are_counted():
    terms = [f"term{i:02}" for i in range(12)]
    counts = knowledge_counts([terms], [" ".join(terms)], terms, ["a"])
    assert (counts["shown"][0], counts["written"][0], counts["both"][0]) == (10, 12, 10)
    assert np.isnan(counts["chance"][0])  # no other patient


some = st.lists(st.sampled_from(TERMS), max_size=4, unique=True)


@given(st.lists(st.tuples(some, some, st.sampled_from("abc")), min_size=1, max_size=8))
@settings(max_examples=100)
def test_chance_is_the_mean_over_the_records_of_all_other_patients(rows):
    shown, written, patients = map(list, zip(*rows, strict=True))
    counts = knowledge_counts(shown, [", ".join(terms) for terms in written], TERMS, patients)
    for i, patient in enumerate(patients):
        shared = [len(set(shown[j]) & set(written[i])) for j, other in enumerate(patients) if other != patient]
        assert counts["chance"][i] == pytest.approx(np.mean(shared) if shared else np.nan, nan_ok=True)
        assert counts["both"][i] == len(set(shown[i]) & set(written[i]))


def prediction(patient, shown, rationale):
    knowledge = [{"term": term, "weight": 0.1} for term in shown]
    return {"subject_id": patient, "knowledge": knowledge, "note_rationale": rationale, "lab_rationale": ""}


def test_a_model_that_writes_what_is_shown_is_above_chance():
    rng = np.random.default_rng(0)
    drawn = [rng.choice(TERMS, 2, replace=False).tolist() for _ in range(60)]
    own = [prediction(str(i), terms, " and ".join(terms)) for i, terms in enumerate(drawn)]
    part, sure = knowledge_use(own, TERMS)["knowledge_use"]
    assert part["shown_written"] > 0.8
    assert sure["shown_written_above_chance"][0] > 0.2
    others = [prediction(str(i), drawn[i - 1], " and ".join(terms)) for i, terms in enumerate(drawn)]
    part, sure = knowledge_use(others, TERMS)["knowledge_use"]
    assert sure["shown_written_above_chance"][0] < 0 < sure["shown_written_above_chance"][1]
    assert part["written_shown"] == pytest.approx(part["written_shown_by_chance"], abs=0.1)


def test_without_knowledge_there_are_no_figures():
    assert knowledge_use([prediction("a", [], "fever")], TERMS) == {}
    assert knowledge_use([prediction("a", ["Fever"], "fever")], []) == {}


DISEASES = {"Fever": ["A", "B"], "cough": ["A"], "edema": ["C"], "low blood pressure": ["D"]}


def entries(*pairs):
    return [{"term": term, "weight": weight} for term, weight in pairs]


def test_pairs_of_terms_are_ordered_by_weight_within_a_record():
    shown = [
        entries(("edema", 0.9), ("Fever", 0.5), ("cough", 0.4), ("low blood pressure", 0.4)),
        entries(("cough", 0.7)),
        [],
    ]
    counts = specificity_counts(shown, [["A"], ["A", "C"], ["A"]], DISEASES, ["a", "b", "c"])
    assert counts["shown"].tolist() == [4, 1, 0]
    assert counts["none"].tolist() == [0, 0, 1]
    assert counts["recorded"].tolist() == [2, 1, 0]
    assert counts["pairs"].tolist() == [4, 0, 0]
    assert counts["ordered"].tolist() == [1.5, 0, 0]  # Fever and cough lose to edema; cough is equal with the last


weighted = st.dictionaries(st.sampled_from(sorted(DISEASES)), st.sampled_from([0.1, 0.2, 0.7]), max_size=4)


@given(st.lists(st.tuples(weighted, st.sets(st.sampled_from("ABCD")), st.sampled_from("abc")), max_size=8))
@settings(max_examples=100)
def test_the_order_is_the_auroc_and_the_overlap_that_of_two_patients(rows):
    shown = [entries(*terms.items()) for terms, *_ in rows]
    patients = [patient for *_, patient in rows]
    counts = specificity_counts(shown, [sorted(gold) for _, gold, _ in rows], DISEASES, patients)
    for i, (terms, gold, patient) in enumerate(rows):
        own = [bool(gold & set(DISEASES[term])) for term in terms]
        assert (counts["pairs"][i] > 0) == (len(set(own)) == 2)
        if counts["pairs"][i]:
            expected = roc_auc_score(own, list(terms.values()))
            assert counts["ordered"][i] / counts["pairs"][i] == pytest.approx(expected)
        others = [set(other) for other, _, someone in rows if someone != patient and (terms or other)]
        overlaps = [len(set(terms) & other) / len(set(terms) | other) for other in others]
        assert bool(counts["partners"][i]) <= bool(overlaps)
        if counts["partners"][i]:
            assert min(overlaps) - 1e-9 <= counts["overlap"][i] / counts["partners"][i] <= max(overlaps) + 1e-9


def test_the_overlap_is_near_that_of_all_pairs():
    generator = np.random.default_rng(1)
    names = [f"term{i}" for i in range(12)]
    shown = [entries(*((name, 0.5) for name in generator.choice(names, 4, replace=False))) for _ in range(80)]
    counts = specificity_counts(shown, [[]] * 80, {}, [str(i) for i in range(80)])
    sets = [{entry["term"] for entry in record} for record in shown]
    exact = np.mean([len(a & b) / len(a | b) for a, b in itertools.combinations(sets, 2)])
    assert counts["overlap"].sum() / counts["partners"].sum() == pytest.approx(exact, abs=0.01)


def test_figures_of_the_terms_shown():
    knowledge = [{"term": term, "diseases": diseases} for term, diseases in DISEASES.items()]
    rows = [
        {"subject_id": "a", "readable": True, "gold": ["A"], "knowledge": entries(("Fever", 0.8), ("edema", 0.1))},
        {"subject_id": "b", "readable": True, "gold": ["C"], "knowledge": entries(("edema", 0.8))},
        {"subject_id": "c", "readable": True, "gold": [], "knowledge": []},
        {"subject_id": "d", "readable": False, "gold": ["A"], "knowledge": []},
    ]
    figures, bounds = knowledge_shown(rows, knowledge)["knowledge_shown"]
    assert (figures["records"], figures["terms"], figures["none"]) == (3, 1.0, pytest.approx(1 / 3))
    assert (figures["total"], figures["recorded"]) == (3, pytest.approx(2 / 3))
    assert (figures["pairs"], figures["auroc"]) == (1, 1.0)
    assert 0 < figures["overlap"] < 0.5  # 1/2 of the first two, 0 with the third
    assert set(bounds) == {"terms", "none", "recorded", "auroc", "overlap"}
    assert knowledge_shown(rows, None) == {}
    assert knowledge_shown(rows[2:], knowledge) == {}
