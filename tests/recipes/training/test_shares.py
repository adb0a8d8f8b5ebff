# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""How common each term of the knowledge is among the training records."""

import copy

import numpy as np
import pytest
from datasets import Dataset

from modeling_clinragen import CHANNELS, PHENOTYPES
from recipes.training import shares
from recipes.training.shares import fit_shares


SHOCK = PHENOTYPES[12]["name"]
PRESSURE = [channel["name"] for channel in CHANNELS].index("Systolic blood pressure")
LOW = {"channel": "Systolic blood pressure", "direction": "low"}
KNOWLEDGE = [
    {"term": "cool extremities", "type": "sign", "synonyms": ["cold hands"], "diseases": [SHOCK], "pattern": None},
    {"term": "low pressure", "type": "vital-sign pattern", "synonyms": [], "diseases": [SHOCK], "pattern": LOW},
    {"term": "mottled skin", "type": "sign", "synonyms": [], "diseases": [SHOCK], "pattern": None},
]


def row(note, pressures):
    values = np.full((len(pressures), len(CHANNELS)), np.nan)
    values[:, PRESSURE] = pressures
    return {"note": note, "lab_times": list(map(float, range(len(pressures)))), "lab_values": values.tolist()}


ROWS = [row("Cold hands.", [80, 76]), row("No cool extremities.", [120, 118]), row(None, [72, 70]), row("Pain.", [])]


@pytest.fixture
def processor(tiny_processor):
    processor = copy.copy(tiny_processor)
    processor.knowledge = copy.deepcopy(KNOWLEDGE)
    return processor


@pytest.mark.parametrize("streaming", [False, True])
def test_a_share_is_that_of_the_records_whose_note_or_series_show_the_term(processor, streaming):
    records = Dataset.from_list(ROWS)
    fit_shares(processor, records.to_iterable_dataset() if streaming else records)
    assert [(t["term"], t["share"]) for t in processor.knowledge] == [
        ("cool extremities", 0.25),
        ("low pressure", 0.5),
        ("mottled skin", 0.0),
    ]
    assert [{k: v for k, v in t.items() if k != "share"} for t in processor.knowledge] == KNOWLEDGE
    fit_shares(processor, records.select([0]))
    assert [t["share"] for t in processor.knowledge] == [1.0, 1.0, 0.0]


def test_a_large_dataset_is_sampled_at_equal_distances(processor, monkeypatch):
    monkeypatch.setattr(shares, "SAMPLE", 5)
    records = Dataset.from_list([row("Cold hands." if i >= 60 else "", [100.0]) for i in range(101)])
    fit_shares(processor, records)  # of 0, 25, 50, 75 and 100 the last two
    assert processor.knowledge[0]["share"] == 0.4


def test_without_knowledge_there_are_no_shares(tiny_processor):
    processor = copy.copy(tiny_processor)
    processor.knowledge = None
    fit_shares(processor, Dataset.from_list(ROWS))
    assert processor.knowledge is None
