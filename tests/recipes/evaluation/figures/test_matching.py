# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from datasets_scripts.knowledge.retrieval import load_encoder
from modeling_clinragen.clinical_clinragen import NO_DISEASE, PHENOTYPES
from modeling_clinragen.processing_clinragen import TARGET
from recipes.evaluation.figures.compute import figures_by_embedding
from recipes.evaluation.figures.matching import match_by_embedding, written_names


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]


def target(*names):
    return TARGET.format(diagnoses=", ".join(names) or NO_DISEASE, note_rationale="Cough, fever.", lab_rationale="x")


@pytest.fixture(scope="module")
def encode():
    return load_encoder()


def test_every_written_label_matches_only_itself(encode):
    texts = [target(name) for name in LABELS] + [target(*LABELS), target(), "no list at all", ""]
    assert match_by_embedding(texts, LABELS, encode) == [[i] for i in range(25)] + [list(range(25)), [], [], []]


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("acute and unspecified renal failure", ["Acute and unspecified renal failure"]),
        ("Acute  cerebrovascular diseases", ["Acute cerebrovascular disease"]),
        ("Broken leg", []),
    ],
)
def test_names_count_by_their_meaning(encode, written, labels):
    (found,) = match_by_embedding([target(written)], LABELS, encode)
    assert [LABELS[i] for i in found] == labels


def test_the_threshold_is_that_of_the_cosine():
    vectors = {
        "a": [1.0, 0.0],
        "b": [0.0, 1.0],
        "near a": [0.9, np.sqrt(1 - 0.81)],
        "far": [0.89, np.sqrt(1 - 0.89**2)],
    }
    encode = lambda names: np.array([vectors[name] for name in names])  # noqa: E731
    assert match_by_embedding([target("near a", "far")], ["a", "b"], encode, threshold=0.9 - 1e-9) == [[0]]


def test_written_names_are_read_from_the_list_alone():
    assert written_names("### Disease Diagnosed: Shock, . Sepsis,. ### Rationale: fever, cough") == ["Shock", "Sepsis"]
    assert written_names("# # # disease diagnosed : shock") == ["shock"]


def test_names_written_out_count_the_same_by_both_matchings():
    gold = [["Shock"], ["Essential hypertension", "Shock"], [], ["Shock"]]
    written = [["Shock"], ["Essential hypertension"], ["Shock"], []]
    predictions = [
        {"subject_id": str(i), "gold": names, "generated_text": target(*wrote)}
        for i, (names, wrote) in enumerate(zip(gold, written, strict=True))
    ]
    figures = figures_by_embedding(predictions, LABELS)
    assert (figures["micro_precision"], figures["micro_recall"]) == pytest.approx((2 / 3, 2 / 4))
    assert figures["per_label"]["Shock"]["support"] == 3
    low, high = figures["intervals"]["micro_f1"]
    assert low < figures["micro_f1"] < high
