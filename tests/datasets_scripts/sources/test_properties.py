# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What must hold for any charted events and any document, against rules written down here a second time."""

import math
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_scripts.dataset.records import RecordOptions, records_table
from datasets_scripts.sources.blocks import read_block
from datasets_scripts.sources.cohort import CohortOptions
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.sources.reader import load_source, read_source
from modeling_clinragen import CHANNELS
from tests.datasets_scripts.sources.raw_tables import COLUMN, base_tables, write_tables


NAMES = [channel["name"] for channel in CHANNELS]
STAY_HOURS, WINDOW = 48, 30


def as_read(value):
    return value


# Item -> channel, and what a charted number means in the channel's unit, by the documentation of the item.
ITEMS = {
    211: ("Heart Rate", as_read),
    51: ("Systolic blood pressure", as_read),
    455: ("Systolic blood pressure", as_read),
    678: ("Temperature", lambda v: (v - 32) / 1.8 if 75.2 <= v <= 113 else v),
    190: ("Fraction inspired oxygen", lambda v: v / 100 if 1 < v <= 100 else v),
    3581: ("Weight", lambda v: v * 0.45359237),
    780: ("pH", as_read),
    646: ("Oxygen saturation", lambda v: v * 100 if 0.1 <= v <= 1 else v),
}
LIMITS = {channel["name"]: (channel["minimum"], channel["maximum"]) for channel in CHANNELS}

numbers = st.one_of(
    st.sampled_from([0, 0.21, 0.5, 1, 7.35, 21, 36.6, 40, 75.2, 98.6, 100, 113, 128.5, 150, 999999, -5]),
    st.floats(-10, 400, allow_nan=False).map(lambda value: round(value, 2)),
)
events = st.lists(
    st.tuples(
        st.sampled_from([1, 2]),  # patient
        st.sampled_from(sorted(ITEMS)),
        st.integers(-60, 60 * (STAY_HOURS + 2))
        | st.sampled_from([0, 60, 60 * WINDOW, 60 * STAY_HOURS, None]),  # minute
        numbers,
        st.sampled_from(["", "", "", "1"]),  # marked as an error
        st.sampled_from([None, 0, 30, 600]),  # minutes until stored
    ),
    max_size=60,
)


def clock(minute):
    return "" if minute is None else (datetime(2100, 1, 1) + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S")


def read(charted):
    """The rows of the dataset for patients 1 and 2."""
    tables = base_tables()
    tables["CHARTEVENTS"] = [
        [
            p,
            200 + p,
            item,
            clock(minute),
            "" if None in (minute, delay) else clock(minute + delay),
            value,
            value,
            error,
        ]
        for p, item, minute, value, error, delay in charted
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = write_tables(Path(folder) / "raw", tables, suffix=".csv")
        labels = load_labels("phenotypes")
        options = CohortOptions(hours=WINDOW)
        cohort = read_source(load_source("mimic-iii"), root, Path(folder) / "work", CHANNELS, labels, options)
        block = read_block(cohort, 0, cohort.num_stays)
        counts = {row["channel"]: row for row in cohort.values}
        cohort.connection.close()
    record_options = RecordOptions("mimic-iii", "admission", "fixed", "fixed", {"train": 1.0}, 0)
    names = [label["name"] for label in labels]
    table = records_table(block, [""] * len(block.stays), CHANNELS, names, record_options).to_pylist()
    return {row["subject_id"]: row for row in table}, counts


@given(events)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_no_value_appears_that_was_not_measured_and_no_plausible_one_is_lost(charted):
    found, counts = read(charted)
    expected, known = {}, {}
    for p, item, minute, value, error, delay in charted:
        channel, meaning = ITEMS[item]
        low, high = LIMITS[channel]
        number = float(np.float32(meaning(value)))
        if (
            minute is not None
            and not error
            and 0 <= minute <= 60 * min(WINDOW, STAY_HOURS)
            and low <= meaning(value) <= high
        ):
            key = str(p), float(np.float32(minute / 60)), channel
            expected.setdefault(key, set()).add(number)
            known.setdefault(key, set()).add(float(np.float32((minute + (delay or 0)) / 60)))
    for subject in ("1", "2"):
        row = found[subject]
        times, values = row["lab_times"], np.array(row["lab_values"], dtype=float).reshape(-1, len(CHANNELS))
        available = np.array(row["lab_available_times"], dtype=float).reshape(-1, len(CHANNELS))
        assert times == sorted(set(times))
        cells = {(subject, times[i], NAMES[j]): values[i, j] for i, j in np.argwhere(~np.isnan(values))}
        assert set(cells) == {key for key in expected if key[0] == subject}
        for key, value in cells.items():
            assert any(math.isclose(value, wanted, rel_tol=1e-6) for wanted in expected[key])
            hour = available[times.index(key[1]), COLUMN[key[2]]]
            assert any(math.isclose(hour, wanted, rel_tol=1e-6) for wanted in known[key])
        np.testing.assert_array_equal(np.isnan(available), np.isnan(values))
        check_caption(row["lab_caption"], values)
    for channel in NAMES:
        dropped = (
            "no_time",
            "no_number",
            "marked_as_error",
            "not_arterial",
            "outside_of_stay",
            "after_window",
            "implausible",
        )
        total = sum(counts[channel][name] for name in (*dropped, "simultaneous", "kept"))
        assert total == counts[channel]["charted"] == sum(ITEMS[event[1]][0] == channel for event in charted)


def check_caption(caption, values):
    """The caption's words, counted again from the values."""
    for clause, channel, column in zip(caption.rstrip(".").split(", "), CHANNELS, values.T, strict=True):
        if np.isnan(column).all():
            assert clause == f"{channel['name']} is not measured"
            continue
        if channel["name"] == "Weight":  # nothing of it is normal: the range is told
            least, most = f"{np.nanmin(column):.1f}", f"{np.nanmax(column):.1f}"
            assert clause == f"Weight is {least if least == most else f'between {least} and {most}'} kg"
            continue
        column, normal = column.astype(np.float32), channel.get("normal", "normal")
        high = 0 if channel["high"] is None else int((column > np.float32(channel["high"])).sum())
        low = 0 if channel["low"] is None else int((column < np.float32(channel["low"])).sum())
        assert ("not measured" in clause, f"{normal} all the time" in clause) == (False, high == low == 0)
        for word, count in (("higher", high), ("lower", low)):
            said = f"{word} than {normal} {count} time{'' if count == 1 else 's'}"
            assert (said in clause) == (count > 0)
