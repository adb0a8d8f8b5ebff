# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Tests of the statistics of training records as a whole."""

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value

from modeling_clinragen import CHANNELS, PHENOTYPES
from recipes.training.inputs import input_statistics


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
GLUCOSE = [channel["name"] for channel in CHANNELS].index("Glucose")
FEATURES = Features(
    {"note": Value("string"), "lab_values": List(List(Value("float32"))), "diagnoses": List(Value("int64"))}
)


def records(*rows):
    """Records of a note, values of glucose, and diagnoses."""
    made = []
    for note, glucose, diagnoses in rows:
        values = np.full((len(glucose), len(CHANNELS)), np.nan, dtype=np.float32)
        values[:, GLUCOSE] = glucose
        made.append({"note": note, "lab_values": values.tolist(), "diagnoses": diagnoses})
    return Dataset.from_list(made, features=FEATURES)


ROWS = ("two words", [100, 120], [0, 3]), ("", [], []), ("four words of note", [150], [3]), ("", [90], [3, 24])


@pytest.mark.parametrize("streaming", [False, True])
def test_words_values_and_diagnoses_are_described(tiny_processor, streaming):
    given = records(*ROWS)
    found = input_statistics(given.to_iterable_dataset() if streaming else given, tiny_processor)
    assert found["records"] == 4
    assert found["note_words"] == {"share": 0.5, "mean": 3.0, "std": 1.0}
    assert found["channels"]["Glucose"]["share"] == 0.75
    assert found["channels"]["Glucose"]["mean"] == pytest.approx((110 + 150 + 90) / 3)
    assert found["channels"]["pH"] == {"share": 0.0, "mean": None, "std": None}
    assert list(found["prevalence"]) == LABELS
    assert {name: share for name, share in found["prevalence"].items() if share} == {
        LABELS[0]: 0.25,
        LABELS[3]: 0.75,
        LABELS[24]: 0.25,
    }


def test_records_without_any_diagnosis_have_zero_prevalence_unless_unlabelled(tiny_processor):
    healthy = records(("a", [100], []), ("b", [100], []))
    assert set(input_statistics(healthy, tiny_processor)["prevalence"].values()) == {0.0}
    assert "prevalence" not in input_statistics(healthy, tiny_processor, labelled=False)
