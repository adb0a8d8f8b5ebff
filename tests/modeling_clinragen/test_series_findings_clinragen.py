# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""State what a series shows as it was measured, and take no error of measurement for evidence."""

import random
import re

import numpy as np
import pytest

from datasets_scripts.knowledge.base import builtin_knowledge
from datasets_scripts.sources.channels import load_channels
from modeling_clinragen import PHENOTYPES
from modeling_clinragen.composition_clinragen import Composer
from modeling_clinragen.links_clinragen import KnowledgeLinks
from tests.modeling_clinragen.composed import (
    CHF,
    DYSRHYTHMIAS,
    FLUIDS,
    HYPERTENSION,
    RENAL,
    RESPIRATORY,
    SEPSIS,
    SHOCK,
    composer,
    faults,
    series,
)


CONDUCTION = "Conduction disorders"


def sentences(disease, note="", **columns):
    lab = series(**columns)
    for seed in range(40):
        _, part = composer().rationale(note, *lab, [disease], random.Random(seed))
        for sentence in part:
            assert not faults(note, lab, [], [sentence.text])
            yield sentence.text


def shown(disease, note="", **columns):
    return composer().evidence(note, *series(**columns), [disease])[disease].series


@pytest.mark.parametrize(
    ("disease", "columns"),
    [
        (SHOCK, {"Systolic_blood_pressure": [70, 140, 145, 150, 70]}),
        (SEPSIS, {"Temperature": [39.5, 36.5, 36.4, 36.9, 39.5]}),
        (RESPIRATORY, {"Oxygen_saturation": [80, 97, 98, 99, 80]}),
        (CONDUCTION, {"Heart_Rate": [40, 90, 95, 90, 40]}),
    ],
)
def test_equal_ends_are_not_the_whole_course(disease, columns):
    for text in sentences(disease, **columns):
        assert not re.search(r" was [\d.]+ ?(?:mmHg|°C|%|/min)(?:,|$)", text), text
    assert any("at the start and again at the end" in text for text in sentences(disease, **columns))


def test_a_constant_value_is_stated_once():
    assert any(
        re.match(r"Systolic blood pressure was 70 mmHg(?:,|$)", text)
        for text in sentences(SHOCK, Systolic_blood_pressure=[70, 70, 70])
    )


@pytest.mark.parametrize(
    ("disease", "columns"),
    [
        (SEPSIS, {"Temperature": [33.0, 33.1, 36.5, 36.5]}),
        (SEPSIS, {"Temperature": [39.9, 37.0, 39.0, 37.1]}),
        (SHOCK, {"Systolic_blood_pressure": [60, 85, 120, 121]}),
    ],
)
def test_no_value_moves_to_the_first_one(disease, columns):
    for text in sentences(disease, **columns):
        assert not re.search(r"(?:went|fell|peaked|reached|dropped|rose)[^,]* at hour 0", text), text


def test_numbers_have_their_unit():
    for text in sentences(CHF, Weight=[80, 80, 80, 84, 84, 84]):
        assert re.search(r"84\.0 kg", text), text


def test_a_small_change_is_weak_evidence():
    for text in sentences(CHF, Weight=[80, 80, 80, 82, 82, 82]):
        assert not re.search("indicate|point|favor", text), text


@pytest.mark.parametrize(
    ("disease", "columns"),
    [
        (CONDUCTION, {"Heart_Rate": [80] * 9 + [8] + [80] * 5 + [9] + [79] * 4}),
        (SHOCK, {"Systolic_blood_pressure": [120] * 5 + [28] + [120] * 4 + [28] + [119] * 4}),
        (HYPERTENSION, {"Systolic_blood_pressure": [118, 290, 119, 285, 120]}),
        (SEPSIS, {"Temperature": [36.8, 24.5, 36.8, 24.6, 36.9]}),
        (FLUIDS, {"Weight": [180, 180, 180, 81.6, 81.6, 81.6]}),
        (CHF, {"Weight": [70, 70, 70, 154, 154, 154]}),
        (SHOCK, {"Systolic_blood_pressure": [70, 68, 72], "Diastolic_blood_pressure": [120, 118, 119]}),
    ],
)
def test_an_error_of_measurement_is_no_evidence(disease, columns):
    assert not shown(disease, **columns)


@pytest.mark.parametrize(
    ("disease", "columns"),
    [
        (SHOCK, {"Systolic_blood_pressure": [80, 60, 35, 60, 82]}),
        (SHOCK, {"Systolic_blood_pressure": [70, 68, 72], "Diastolic_blood_pressure": [40, 38, 39]}),
        (DYSRHYTHMIAS, {"Heart_Rate": [150, 260, 155, 80]}),
        (CHF, {"Weight": [80, 80, 80, 86, 86, 86]}),
    ],
)
def test_an_extreme_value_among_abnormal_ones_is_evidence(disease, columns):
    assert shown(disease, **columns)


@pytest.mark.parametrize(
    ("note", "is_sign"),
    [
        ("Cooled to 33 C after arrest.", False),
        ("Targeted temperature management.", False),
        ("TTM started", False),
        ("Hypothermia protocol completed.", False),
        ("Cool extremities.", True),
        ("", True),
    ],
)
def test_a_low_temperature_of_a_cooled_patient_is_no_sign_of_sepsis(note, is_sign):
    assert bool(shown(SEPSIS, note, Temperature=[33.0, 33.1, 36.5, 36.5])) == is_sign


def test_a_clinical_term_that_names_another_diagnosis_is_not_used():
    channels = load_channels("extended")
    labels = [phenotype["name"] for phenotype in PHENOTYPES]
    made = Composer(KnowledgeLinks(builtin_knowledge()["terms"], labels, channels), channels, labels)
    values = np.full((4, len(channels)), np.nan)
    values[:, [channel["name"] for channel in channels].index("Potassium")] = [6.2, 6.3, 6.4, 6.3]
    for disease, named in ((RENAL, False), (FLUIDS, True)):
        parts = [made.rationale("", np.arange(4.0), values, [disease], random.Random(seed))[1] for seed in range(30)]
        assert any("yperkalemia" in part[0].text for part in parts) == named
        assert all("otassium" in part[0].text or named for part in parts)
