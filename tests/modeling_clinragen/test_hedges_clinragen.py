# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A clause with a word that may reverse it contradicts nothing; without the word the same claim is wrong."""

import numpy as np
import pytest

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen.claims_clinragen import ClaimChecker
from modeling_clinragen.hedges_clinragen import leaves_open


CHANNELS = load_channels("extended")
CHECK = ClaimChecker(CHANNELS)
HOURS = [1.0, 7.0, 13.0]
SERIES = {"Heart Rate": [72, 78, 75], "Oxygen saturation": [97, 89, 96], "Temperature": [36.8, 37.0, 36.9]}


def verdicts(text):
    grid = np.full((3, len(CHANNELS)), np.nan)
    for name, values in SERIES.items():
        grid[:, [channel["name"] for channel in CHANNELS].index(name)] = values
    return {claim.verdict for claim in CHECK(text, HOURS, grid) if claim.channel}


@pytest.mark.parametrize(
    ("plain", "hedged"),
    [
        ("Heart rate was 140.", "Heart rate was possibly 140."),
        ("Heart rate was 140.", "Heart rate was 140 at home last week."),
        ("Heart rate was 140.", "Heart rate was usually 140."),
        ("Heart rate was 140.", "Heart rate was 140 before admission."),
        ("Heart rate was high.", "Heart rate was borderline high."),
        ("Heart rate was high.", "Heart rate would be high."),
        ("Heart rate was high.", "Heart rate was higher than the nurse expected."),
        ("Heart rate was high.", "Heart rate was high only when agitated."),
        ("Febrile.", "Fever was suspected."),
        ("Febrile.", "Never without fever."),
        ("Tachycardia was present.", "Tachycardia was present until the last reading."),
        ("Sats stayed above 90.", "Apart from one reading of 89, sats stayed above 90."),
        ("Sats stayed above 90.", "Sats stayed above 90, except at hour 7."),
    ],
)
def test_a_word_that_may_reverse_a_statement_leaves_it_open(plain, hedged):
    assert verdicts(plain) == {"contradicted"}
    assert "contradicted" not in verdicts(hedged)


@pytest.mark.parametrize(
    "words",
    [
        "was no lower than 90",
        "was higher than normal more than twice",
        "was lower at the end than at the start",
        "more than doubled",
        "fell until hour 6 and was 80 until discharge",
        "was neither high nor low",
        "was not only high but rising",
    ],
)
def test_constructions_that_are_read_leave_nothing_open(words):
    assert not leaves_open(words)


def test_an_unknown_participle_may_end_a_finding():
    assert leaves_open(" had lysed by hour 6", finding=True)
    assert not leaves_open(" had resolved by hour 6", finding=True)
    assert not leaves_open(" had risen to 140")


def test_an_exception_of_another_channel_is_none():
    assert verdicts("Vital signs normal except for tachycardia.") >= {"contradicted"}
    assert verdicts("Her husband's temperature was 39.") == set()
