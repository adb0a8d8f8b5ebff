# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modeling_clinragen import CHANNELS, PAPER_CHANNELS
from modeling_clinragen.claims_clinragen import ClaimChecker, check_claims, describe_anomalies
from modeling_clinragen.note_claims_clinragen import check_note_claims
from modeling_clinragen.statements_clinragen import trend_of


NAMES = [channel["name"] for channel in PAPER_CHANNELS]
HOURS = np.arange(10.0)

cells = st.one_of(st.just(np.nan), st.floats(0, 300, allow_nan=False, width=32))
series = st.integers(0, 12).flatmap(lambda rows: arrays(np.float64, (rows, len(PAPER_CHANNELS)), elements=cells))


def patient(**columns):
    """Ten hours with the given channels, e.g. `Heart_Rate=[...]`; the others are not measured."""
    values = np.full((10, len(PAPER_CHANNELS)), np.nan)
    for name, column in columns.items():
        values[: len(column), NAMES.index(name.replace("_", " "))] = column
    return values


def verdicts(text, values):
    return [
        (c.channel, c.verdict) for c in check_claims(text, PAPER_CHANNELS, HOURS[: len(values)], values) if c.channel
    ]


TACHYCARDIC = patient(Heart_Rate=[100, 130, 140, 120, 150, 90, 100, 110, 100, 100], Temperature=[37.0] * 10)
RISING = patient(Heart_Rate=[60, 62, 65, 70, 80, 85, 90, 95, 99, 104], Glucose=[90] * 10)


@given(series)
@settings(max_examples=150)
def test_caption_counts_are_those_of_the_values(values):
    caption = describe_anomalies(values, PAPER_CHANNELS)
    clauses = caption.rstrip(".").split(", ")
    assert len(clauses) == len(PAPER_CHANNELS)
    for clause, channel, column in zip(clauses, PAPER_CHANNELS, values.T, strict=True):
        assert clause.startswith(channel["name"] + " is ")
        single = np.array([channel["high"], channel["low"]], np.float32).astype(
            float
        )  # a limit in single precision is itself
        high, low = (
            np.nansum(column > max(channel["high"], single[0])),
            np.nansum(column < min(channel["low"], single[1])),
        )
        counts = {way: int(n) for way, n in re.findall(r"(higher|lower) than normal (\d+) times?", clause)}
        assert (counts.get("higher", 0), counts.get("lower", 0)) == (high, low)
        assert ("not measured" in clause) == bool(np.isnan(column).all())
        assert ("normal all the time" in clause) == (not np.isnan(column).all() and not counts)


@given(series)
@settings(max_examples=150)
def test_a_caption_is_true_of_its_own_record(values):
    claims = check_claims(describe_anomalies(values, PAPER_CHANNELS), PAPER_CHANNELS, np.arange(len(values)), values)
    assert [claim.channel for claim in claims] == NAMES
    assert {claim.verdict for claim in claims} == {"supported"}


@given(series, arrays(bool, len(PAPER_CHANNELS)))
@settings(max_examples=100)
def test_a_channel_with_unread_results_is_not_called_normal(values, unread):
    caption = describe_anomalies(values, PAPER_CHANNELS, unread=unread)
    plain = describe_anomalies(values, PAPER_CHANNELS).rstrip(".").split(", ")
    for clause, same, partly in zip(caption.rstrip(".").split(", "), plain, unread, strict=True):
        if partly:
            same = same.replace("normal all the time", "measured partly as text")
            same = same.replace("not measured", "not measured as a number")
        assert clause == same
    claims = check_claims(caption, PAPER_CHANNELS, np.arange(len(values)), values)
    assert [claim.channel for claim in claims] == NAMES
    assert {claim.verdict for claim in claims} == {"supported"}


def test_captions_of_other_patients_are_often_contradicted():
    rng = np.random.default_rng(0)
    centre = np.array([60, 0.4, 120, 90, 77, 95, 20, 120, 37, 80, 7.4])
    records = [centre * rng.normal(1, 0.25, (20, 11)) for _ in range(50)]
    captions = [describe_anomalies(values, PAPER_CHANNELS) for values in records]
    swapped = [v for i, c in enumerate(captions) for _, v in verdicts_of(c, records[i - 1])]
    assert swapped.count("contradicted") / len(swapped) > 0.4


def verdicts_of(text, values):
    return [(c.channel, c.verdict) for c in check_claims(text, PAPER_CHANNELS, np.arange(len(values)), values)]


def test_real_captions_hold_and_swapped_ones_mostly_do_not(real_data):
    table = pd.read_csv(real_data / "mimic-iii-demo-benchmark" / "timeseries.csv.gz")
    records = []
    for _, stay in table.groupby("icustay_id"):
        wide = stay.pivot_table(index="hours", columns="channel", values="value").reindex(columns=NAMES)
        records.append(wide.to_numpy(dtype=float))
    captions = [describe_anomalies(values, PAPER_CHANNELS) for values in records]
    own = [v for c, values in zip(captions, records, strict=True) for _, v in verdicts_of(c, values)]
    assert set(own) == {"supported"}
    swapped = [v for i, c in enumerate(captions) for _, v in verdicts_of(c, records[i - 1])]
    assert swapped.count("contradicted") / len(swapped) >= 0.6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heart Rate is higher than normal 3 times.", "supported"),
        ("Heart Rate is higher than normal 2 times.", "contradicted"),
        ("Heart rate was elevated three times, up to 150 /min.", "supported"),
        ("Pulse is above normal once.", "contradicted"),
        ("Tachycardia up to 150 per minute.", "supported"),
        ("Tachycardia up to 151 per minute.", "contradicted"),
        ("The pulse is down to 90 /min.", "supported"),
        ("No tachycardia.", "contradicted"),
        ("Three of ten heart rate readings were high.", "supported"),
        ("Four of ten heart rate readings were high.", "contradicted"),
        ("3/10 heart rate values are above normal.", "supported"),
        ("3/9 heart rate values are above normal.", "contradicted"),
        ("Out of 10 heart rate measurements, 3 were high.", "supported"),
        ("Out of 10 heart rate measurements, 2 were high.", "contradicted"),
        ("Heart rate elevated (n=3).", "supported"),
        ("Heart rate elevated (n=4).", "contradicted"),
        ("Heart rate > normal 3 times.", "supported"),
        ("The number of high heart rate readings is 3.", "supported"),
        ("The number of high heart rate readings is 2.", "contradicted"),
        ("We count 3 elevated heart rates.", "supported"),
        ("We count 5 elevated heart rates.", "contradicted"),
        ("Bradycardia is seen.", "contradicted"),
        ("The heart rate was never low.", "supported"),
        ("Heart rate is normal all the time.", "contradicted"),
        ("Heart rate is not normal.", "supported"),
        ("Heart rate between 90 and 150.", "supported"),
        ("Heart rate between 80 and 150.", "contradicted"),
        ("Heart rate is not measured.", "contradicted"),
        ("Heart rate matters here.", "unverifiable"),
        ("No fever.", "supported"),
        ("Fever is present.", "contradicted"),
        ("Temperature is 98.6 °F.", "supported"),
        ("Temperature is normal all the time.", "supported"),
        ("pH is not measured.", "supported"),
        ("Acidosis is present.", "contradicted"),
        ("pH is normal all the time.", "contradicted"),
    ],
)
def test_wordings_and_their_truth(text, expected):
    assert [verdict for _, verdict in verdicts(text, TACHYCARDIC)] == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heart rate is rising.", "supported"),
        ("Heart rate is falling.", "contradicted"),
        ("Heart rate is not rising.", "contradicted"),
        ("Glucose is stable.", "supported"),
        ("Heart rate climbs while glucose is steady.", "supported"),
    ],
)
def test_trends(text, expected):
    assert {verdict for _, verdict in verdicts(text, RISING)} == {expected}


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        ([60, 90], "Heart rate is rising.", "supported"),
        ([140, 122, 95], "Heart rate fell.", "supported"),
        ([140, 122, 95], "Heart rate rose.", "contradicted"),
        ([140, 122, 95], "Heart rate was stable.", "contradicted"),
        ([140, 122, 95], "Heart rate did not fall.", "contradicted"),
        ([90, 91, 90], "Heart rate was stable.", "supported"),
        ([90, 91, 92], "Heart rate is rising.", "unverifiable"),  # too little
        ([90, 120, 110], "Heart rate is rising.", "unverifiable"),  # up and down
        ([90, 120, 110], "Heart rate fell.", "unverifiable"),
        ([90, 120, 110], "Heart rate was stable.", "unverifiable"),
        ([90], "Heart rate is rising.", "unverifiable"),
    ],
)
def test_a_trend_of_few_values_is_judged_where_first_and_last_are_the_extremes(values, text, expected):
    assert verdicts(text, patient(Heart_Rate=values)) == [("Heart Rate", expected)]


def test_a_conclusion_is_no_claim_about_the_channel():
    text = "Respiratory rate is up to 41 /min, which fits Other lower respiratory disease."
    assert verdicts(text, patient(Respiratory_rate=[20, 41])) == [("Respiratory rate", "supported")]


def test_claims_have_their_span_in_the_text():
    text = "Cough for days. Pulse is high 3 times, and glucose is not measured; pH 7.4 was expected."
    for claim in check_claims(text, PAPER_CHANNELS, HOURS, TACHYCARDIC):
        assert text[claim.start : claim.end] == claim.text
    named = [mention and text[slice(*mention)] for _, _, mention in ClaimChecker(PAPER_CHANNELS).split(text)]
    assert named == [None, "Pulse", "glucose", "pH"]


@given(series, st.sampled_from(range(11)), st.integers(1, 40))
@settings(max_examples=100)
def test_extremes_off_by_more_than_rounding_are_contradicted(values, channel, off):
    column = values[:, channel][~np.isnan(values[:, channel])]
    assume(len(column))
    name = NAMES[channel]
    true = f"{name} is up to {column.max():.1f}."
    assert verdicts_of(true, values) == [(name, "supported")]
    assume(channel not in (1, 8))  # written in another unit the number may be right again
    assert verdicts_of(f"{name} is up to {column.max() + off:.1f}.", values) == [(name, "contradicted")]


def test_trend_of_is_symmetric():
    rng = np.random.default_rng(1)
    opposite = {"rising": "falling", "falling": "rising", "stable": "stable"}
    for _ in range(50):
        values = np.cumsum(rng.normal(size=12))
        assert trend_of(-values) == opposite[trend_of(values)]


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_any_text_is_read_without_error(text):
    for claim in check_claims(text, PAPER_CHANNELS, HOURS, TACHYCARDIC):
        assert claim.verdict in ("supported", "contradicted", "unverifiable")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("Heart Rate is higher than normal 3 times", [1, 2, 4]),  # 130, 140 and 150; normal ends at 120
        ("Heart Rate is normal all the time", [1, 2, 4]),
        ("Heart Rate peaked at 150", [4]),
        ("Heart Rate reached 177", [4, 5]),  # no such value: the highest and the lowest
        ("Heart Rate was 140 at hour 2", [2]),
        ("Heart Rate was high in the first 3 hours", [1, 2]),
        ("Heart Rate was above normal 3 times, with a peak of 150 at hour 4", [1, 2, 4]),
        ("Heart Rate was above normal 3 times and 90 at hour 5", [1, 2, 4, 5]),
        ("Heart Rate rose from 100 at the start to 150 at hour 4 and was 100 at the end", [0, 4, 9]),
        ("Heart Rate was 90 at hour 5 and 150 at hour 4", [4, 5]),
        ("Heart Rate averaged 114", list(range(10))),
        ("Heart Rate was above 135 twice", [2, 4]),
        ("Heart Rate was below 105 on five occasions, lowest 90 at hour 5", [0, 5, 6, 8, 9]),
        ("Temperature was normal", list(range(10))),
        ("Heart Rate was not measured", list(range(10))),
        ("Glucose was high", []),
        ("The patient is unwell", []),
    ],
)
def test_a_claim_has_the_hours_of_its_deciding_measurements(text, hours):
    claim = check_claims(text, PAPER_CHANNELS, HOURS, TACHYCARDIC)[0]
    assert claim.hours == hours


@given(st.lists(st.integers(40, 200), min_size=6, max_size=10), st.booleans())
@settings(max_examples=100)
def test_each_number_of_a_course_has_its_measurement(rates, counted):
    """The hour of the peak is no time of the first value, of the last, or of the values counted."""
    limit = PAPER_CHANNELS[NAMES.index("Heart Rate")]["high"]
    top, outside = int(np.argmax(rates)), [i for i, rate in enumerate(rates) if rate > limit]
    peak = f"{rates[top]} at hour {top}"
    text = f"Heart Rate was {rates[0]} at the start, reached {peak} and was {rates[-1]} at the end"
    wanted = {0, top, len(rates) - 1}
    if counted and outside:
        text, wanted = f"Heart Rate was above normal {len(outside)} times, with a peak of {peak}", {*outside, top}
    (claim,) = check_claims(text, PAPER_CHANNELS, HOURS, patient(Heart_Rate=rates))
    assert claim.verdict == "supported"
    assert wanted <= set(claim.hours)
    assert {rates[int(hour)] for hour in claim.hours} == {rates[i] for i in wanted}


BOTH_WAYS = patient(Heart_Rate=[30, 130, 80, 35, 140, 90], Temperature=[39.5, 37, 33])


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("Heart Rate is higher than normal", [1, 4]),
        ("Heart Rate is lower than normal 2 times", [0, 3]),
        ("Heart Rate is higher than normal 2 times and lower than normal 2 times", [0, 1, 3, 4]),
        ("Heart Rate is abnormal", [0, 1, 3, 4]),
        ("Heart Rate was not high", [1, 4]),  # which contradict it
        ("Heart Rate was > normal", [1, 4]),
        ("Heart Rate was low in the first 2 hours", [0]),
        ("Tachycardia was seen", [1, 4]),
        ("Bradycardia was seen", [0, 3]),
        ("The patient was afebrile", [0]),
        ("The patient was normothermic", [0, 2]),
        ("Euglycemia persisted", []),
    ],
)
def test_only_measurements_on_the_stated_side_of_normal_decide(text, hours):
    claim = check_claims(text, PAPER_CHANNELS, HOURS, BOTH_WAYS)[0]
    assert claim.hours == hours


def test_without_values_on_the_stated_side_every_measurement_decides():
    low = patient(Glucose=[40, 90, 45])
    for text, verdict in (("Glucose is higher than normal", "contradicted"), ("Glucose is not high", "supported")):
        claim = check_claims(text, PAPER_CHANNELS, HOURS, low)[0]
        assert (claim.verdict, claim.hours) == (verdict, [0, 1, 2])


@given(series, st.sampled_from(["higher than normal", "lower than normal", "at most 120", "up to {top}"]), st.data())
@settings(max_examples=150)
def test_without_the_deciding_measurements_no_claim_is_supported(values, said, data):
    position = data.draw(st.integers(0, len(NAMES) - 1))
    column = values[:, position]
    assume((~np.isnan(column)).any())
    text = f"{NAMES[position]} is {said.format(top=f'{np.nanmax(column):.2f}')}"
    hours = np.arange(len(values), dtype=float)
    (claim,) = [c for c in check_claims(text, PAPER_CHANNELS, hours, values) if c.channel]
    measured = hours[~np.isnan(column)]
    assert claim.hours
    assert set(claim.hours) <= set(measured)
    left = values.copy()
    left[np.isin(hours, claim.hours), position] = np.nan
    written_alike = "up to" in said and np.any(np.abs(left[:, position] - np.nanmax(column)) < 0.01)
    if claim.verdict == "supported" and not written_alike:
        again = [c.verdict for c in check_claims(text, PAPER_CHANNELS, hours, left) if c.channel]
        assert "at most" in said or again == ["contradicted"]


def test_findings_have_their_spans_in_the_note_even_after_letters_with_a_longer_lower_case():
    note = "Seen at İİİ clinic. Fever since Monday. Denies cough. FEVER again today."
    fever, cough = check_note_claims("Fever and no cough point to influenza.", note)
    assert [note[start:end] for start, end in fever.spans] == ["Fever", "FEVER"]
    assert [note[start:end] for start, end in cough.spans] == ["cough"]
    assert (fever.verdict, cough.verdict) == ("supported", "supported")


def test_a_clause_ends_before_the_word_that_joins_the_next_one():
    claims = check_claims(
        "Heart Rate is high and, with Temperature normal, pH is not measured.", PAPER_CHANNELS, [], []
    )
    assert [claim.text for claim in claims] == ["Heart Rate is high", "Temperature normal", "pH is not measured"]


def test_the_number_of_a_count_is_no_value_and_has_no_direction():
    (claim,) = check_claims("Heart Rate was higher than normal 3 times.", PAPER_CHANNELS, HOURS, TACHYCARDIC)
    assert (claim.kind, claim.verdict, claim.direction) == ("count", "supported", "high")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("At discharge the heart rate was normal.", [9]),
        ("Initially tachycardic.", [0]),
        ("The patient is no longer tachycardic.", [9]),
        ("Heart rate 140, now normal.", [1]),
        ("Tachycardia resolved.", list(range(10))),  # a course is of all values
    ],
)
def test_a_level_at_one_end_has_the_hours_of_that_end(text, hours):
    column = [135, 140, 138, 131, 120, 110, 104, 98, 92, 88]
    (claim,) = (c for c in check_claims(text, CHANNELS, HOURS, patient(Heart_Rate=column)) if c.channel)
    assert (claim.verdict, claim.hours) == ("supported", hours)


def test_a_single_deviating_value_at_an_end_is_no_trend():
    assert trend_of(np.array([24.0, 24, 24, 24, 24, 24, 23])) == "stable"
    assert trend_of(np.array([1.0, 1, 1, 1, 1, 1, 1, 5, 5])) == "rising"
