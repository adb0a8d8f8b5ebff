# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Which stays are read and what of their series: filters, windows, availability, specimens, several stays."""

import numpy as np
import pytest

from datasets_scripts.dataset.folder import read_metadata
from tests.datasets_scripts.sources.raw_tables import (
    COLUMN,
    audit,
    base_tables,
    build,
    chart,
    lab,
    measured,
    moment,
    rows,
)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--min-age", "61"], {"202"}),
        (["--max-age", "59"], {"203"}),
        (["--min-age", "0"], {str(200 + i) for i in range(1, 13)} | {"301"}),
        (["--min-stay-hours", "72"], {"204"}),
        (["--max-stay-hours", "47"], {"301"}),
        (["--stays", "single"], {str(200 + i) for i in range(2, 13)}),
        (["--stays", "first"], {str(200 + i) for i in range(1, 13)}),
    ],
)
def test_filters_keep_the_stays_that_they_name(tmp_path, options, left):
    tables = base_tables()
    tables["PATIENTS"][1][2] = "2030-01-01 00:00:00"  # 70 years
    tables["PATIENTS"][2][2] = "2050-01-01 00:00:00"  # 50 years
    tables["ICUSTAYS"][3][4] = "2100-01-04 00:00:00"  # three days
    tables["ICUSTAYS"].append(
        [1, 101, 301, "2100-01-04 00:00:00", "2100-01-04 12:00:00"]
    )  # back in the same admission
    assert set(rows(build(tmp_path, tables, *options))) == left


def test_a_second_stay_of_an_admission_has_its_own_series_and_the_same_labels(tmp_path):
    tables = base_tables()
    tables["ICUSTAYS"].append([1, 101, 301, "2100-01-04 00:00:00", "2100-01-05 00:00:00"])
    tables["LABEVENTS"] += [lab(1, 50931, 4, 100), lab(1, 50931, 60, 110), lab(1, 50931, 74, 120)]
    found = rows(build(tmp_path, tables))
    assert measured(found["201"], "Glucose") == {4.0: 100.0}
    assert measured(found["301"], "Glucose") == {2.0: 120.0}
    assert found["201"]["diagnoses"] == found["301"]["diagnoses"] == [22]
    assert found["201"]["subject_id"] == found["301"]["subject_id"]


def test_the_attrition_says_what_was_lost_and_why(tmp_path, caplog):
    tables = base_tables()
    tables["ADMISSIONS"][0][3] = "2099-12-31 00:00:00"  # ends before it begins
    tables["PATIENTS"][1][2] = "2090-01-01 00:00:00"
    steps = read_metadata(build(tmp_path, tables))["attrition"]
    lost = {row["why"]: (row["stays_lost"], row["patients_lost"]) for row in steps}
    assert lost["the admission ends before it begins"] == (1, 1)
    assert lost["younger"] == (1, 1)
    assert steps[-1]["stays"] == steps[0]["stays"] - sum(row["stays_lost"] for row in steps) == 10
    assert "1 ICU stay left out: the admission ends before it begins" in caplog.text


def test_the_window_cuts_by_the_time_of_measurement(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, hour, 90) for hour in (11.5, 12, 12.5, 40)]
    folder = build(tmp_path, tables, "--hours", "12")
    assert set(measured(rows(folder)["201"], "Heart Rate")) == {1.0, 11.5, 12.0}
    assert audit(folder, "Heart Rate")["after_window"] == 2


def test_values_say_from_when_they_are_known(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [
        chart(1, 211, 3, 90, stored=moment(5)),
        chart(1, 211, 6, 91, stored=moment(5)),  # stored before it was measured: known when measured
        chart(1, 211, 8, 92, stored=" "),
    ]
    tables["LABEVENTS"].append(lab(1, 50931, 9, 120))  # MIMIC-III does not tell when
    row = rows(build(tmp_path, tables))["201"]
    known = np.array(row["lab_available_times"])
    values = np.array(row["lab_values"])
    np.testing.assert_array_equal(np.isnan(known), np.isnan(values))
    assert known[:, COLUMN["Heart Rate"]][:4].tolist() == [1, 5, 6, 8]
    assert known[-1, COLUMN["Glucose"]] == 9


@pytest.mark.parametrize(
    ("specimens", "kept"),
    [
        (["ART"], True),
        ([], True),
        (["VEN"], False),
        (["MIX"], False),
        (["CENTRAL VENOUS"], False),
        (["VEN", "ART"], True),
    ],
)
def test_ph_and_saturation_of_venous_blood_are_left_out(tmp_path, specimens, kept):
    tables = base_tables()
    tables["LABEVENTS"] += [lab(1, 50820, 3, 7.2), lab(1, 50817, 3, 71), lab(1, 50931, 3, 120)]
    tables["LABEVENTS"] += [lab(1, 50800, 3, specimen, number="") for specimen in specimens]
    folder = build(tmp_path, tables)
    row = rows(folder)["201"]
    assert measured(row, "pH") == ({3.0: 7.2} if kept else {})
    assert measured(row, "Oxygen saturation") == ({3.0: 71.0} if kept else {})
    assert measured(row, "Glucose") == {3.0: 120.0}
    assert audit(folder, "pH")["not_arterial"] == (not kept)


def without_time(event, column=3):
    return [*event[:column], " ", *event[column + 1 :]]


def test_a_value_without_a_time_is_dropped_before_all_else(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [
        without_time(chart(1, 211, 2, "?", number="", error="1")),
        ["1", "", *without_time(chart(1, 211, 2, 90))[2:]],  # of a patient, without a stay
        ["99", "", *without_time(chart(1, 211, 2, 90))[2:]],  # of nobody
    ]
    tables["LABEVENTS"].append(without_time(lab(1, 50931, 2, 100), 2))
    folder = build(tmp_path, tables)
    counts = audit(folder, "Heart Rate")
    assert (counts["no_time"], counts["no_number"], counts["marked_as_error"]) == (2, 0, 0)
    assert counts["charted"] == counts["kept"] + 2 == 14
    assert (audit(folder, "Glucose")["no_time"], audit(folder, "Glucose")["kept"]) == (1, 0)
    assert rows(folder)["201"]["lab_times"] == [1]
    assert "| no time |" in (folder / "README.md").read_text()


def test_a_value_at_the_moment_of_a_transfer_is_the_later_stays(tmp_path):
    tables = base_tables()
    tables["ICUSTAYS"] += [
        [1, 101, 301, "2100-01-03 00:00:00", "2100-01-04 00:00:00"],
        [1, 101, 302, "2100-01-04 00:00:00", "2100-01-04 06:00:00"],
        [2, 102, 303, "2100-01-03 00:00:01", "2100-01-04 00:00:00"],  # a second later: no transfer
    ]
    tables["LABEVENTS"] += [
        lab(patient, 50931, hour, 100 + hour) for patient in (1, 2) for hour in (0, 47, 48, 72, 78)
    ]
    tables["CHARTEVENTS"].append(chart(1, 211, 48, 90))  # of the stay that it names
    found = rows(build(tmp_path / "a", tables))
    assert measured(found["201"], "Glucose") == {0: 100, 47: 147}
    assert measured(found["301"], "Glucose") == {0: 148}
    assert measured(found["302"], "Glucose") == {0: 172, 6: 178}
    assert measured(found["202"], "Glucose") == {0: 100, 47: 147, 48: 148}
    assert list(measured(found["303"], "Glucose").values()) == [172]
    assert 48 in measured(found["201"], "Heart Rate")
    first = rows(build(tmp_path / "b", tables, "--stays", "first"))["201"]
    assert first["lab_times"] == found["201"]["lab_times"]  # whatever stays are read


def test_the_counts_of_a_channel_add_up(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [
        chart(1, 211, 2, 80), chart(1, 211, 2, 81), chart(1, 211, 3, 0), chart(1, 211, 4, "?", number=""),
        chart(1, 211, 5, 80, error="1"), chart(1, 211, 60, 80), chart(1, 211, 40, 80),
        without_time(chart(1, 211, 6, 80)),
    ]  # fmt: skip
    counts = audit(build(tmp_path, tables, "--hours", "24"), "Heart Rate")
    expected = {
        "no_number": 1, "marked_as_error": 1, "outside_of_stay": 1, "after_window": 1, "implausible": 1,
        "simultaneous": 1, "not_arterial": 0, "no_time": 1,
    }  # fmt: skip
    assert {name: counts[name] for name in expected} == expected
    assert counts["charted"] == counts["kept"] + sum(expected.values()) == 20


@pytest.mark.parametrize(
    ("view", "note"),
    [
        ("as-of=6", "Nursing: resting"),
        ("as-of=24", "Nursing: resting\nRadiology: clear lungs"),
        ("as-of=71", "Nursing: resting\nRadiology: clear lungs"),
        ("as-of=96", "Discharge summary: Chief Complaint: cough Brief Hospital Course: heart failure\n"
         "Nursing: resting\nRadiology: clear lungs"),
        ("admission", "Chief complaint: cough"),
        ("paper", "Brief hospital course: heart failure"),
    ],
)  # fmt: skip
def test_note_views_of_mimic_iii(tmp_path, view, note):
    tables = base_tables()
    summary = "Chief Complaint: cough\nBrief Hospital Course: heart failure\n"
    tables["NOTEEVENTS"] += [
        [101, "Discharge summary", "Report", "2100-01-03 00:00:00", "", "", summary],
        [101, "Nursing", "Report", "2100-01-01 00:00:00", moment(5), "", "resting"],
        [101, "Radiology", "X-ray", "2100-01-01 00:00:00", "", "", "clear lungs"],  # a date alone: known at its end
        [101, "Nursing", "Report", "2100-01-01 00:00:00", moment(1), "1", "of another patient"],
    ]
    folder = build(tmp_path, tables, "--note-view", view)
    assert rows(folder)["201"]["note"] == note
    leaks = read_metadata(folder)["leakage"]
    assert (leaks["admission"]["gold_named"], leaks["paper"]["gold_named"]) == (0.0, 1.0)
    assert set(leaks) == {"admission", "paper"} | ({view} if view.startswith("as-of") else set())
