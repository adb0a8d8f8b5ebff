# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a clause, unread words, and negations of other things."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen.claims_clinragen import ClaimChecker
from modeling_clinragen.segments_clinragen import negations_of_other_things, read_part, segments


CHANNELS = load_channels("extended")
CHECK = ClaimChecker(CHANNELS)


def verdict(text, name, *series):
    hours, values = zip(*series, strict=True)
    grid = np.full((len(hours), len(CHANNELS)), np.nan)
    grid[:, [channel["name"] for channel in CHANNELS].index(name)] = values
    return next(claim.verdict for claim in CHECK(text, hours, grid) if claim.channel == name)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("was normal until hour 8, then 152 at hour 12", ["was normal until hour 8", "152 at hour 12"]),
        ("never cleared and was still 5", ["never cleared", "was still 5"]),
        ("was 90 at hour 5 and 150 at hour 9", ["was 90 at hour 5 and 150 at hour 9"]),  # one chain of numbers
        ("rose from 86 to 97 and fell to 90", ["rose from 86 to 97 and fell to 90"]),
    ],
)
def test_a_clause_is_split_where_another_time_or_negation_begins(words, parts):
    assert segments(words) == parts


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (" was 118 on arrival and fell to 90", None),
        (" improved with esmolol to 96", None),
        (" responded to two liters of crystalloid and norepinephrine at 0.1", (" ", False)),
        (" 8, zq 28", (" 8, ", True)),
        (" was high on norepinephrine", None),  # no number follows
    ],
)
def test_words_before_a_number_are_read_or_not(words, read):
    part = read_part(words)
    assert (part is None) == (read is None)
    if read is not None:
        assert part == read


def test_only_negations_of_other_things_are_left_out():
    words = " improved to 146 without insulin"
    ((start, end),) = negations_of_other_things(words)
    assert words[start:end] == "without insulin"
    assert negations_of_other_things(" was 146 without any change") == []
    assert negations_of_other_things("no insulin was given, 146") == []  # before the statement


@given(st.sampled_from(["zorv", "frell", "quask", "trimbo"]), st.integers(60, 200), st.integers(60, 200))
def test_a_number_after_an_unknown_word_contradicts_nothing(word, measured, written):
    text = f"Heart rate {word} the {word} {written}."
    found = verdict(text, "Heart Rate", (0, measured))
    assert found == ("supported" if written == measured else "unverifiable")


@given(st.integers(60, 200), st.integers(60, 200))
def test_a_number_after_known_words_is_right_or_wrong(measured, written):
    found = verdict(f"Heart rate was found to be {written}.", "Heart Rate", (0, measured))
    assert found == ("supported" if written == measured else "contradicted")


@given(st.integers(60, 99), st.integers(101, 200), st.booleans())
def test_two_numbers_are_true_in_the_order_of_time_alone(low, high, rising):
    first, last = (low, high) if rising else (high, low)
    way = "gone up" if rising else "come down"
    series = (0, first), (5, last)
    assert verdict(f"Heart rate was {first} but has {way} to {last}.", "Heart Rate", *series) == "supported"
    back = (0, last), (5, first)
    assert verdict(f"Heart rate was {first} but has {way} to {last}.", "Heart Rate", *back) == "contradicted"
