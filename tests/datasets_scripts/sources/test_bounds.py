# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Results that are no plain number: bounds count as their value and are counted; others are not called normal."""

import csv
import math

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.measurements import MACROS
from tests.datasets_scripts.sources import small_hospital
from tests.datasets_scripts.sources.raw_tables import (
    audit,
    base_tables,
    build,
    chart,
    lab,
    measured,
    rows,
    write_tables,
)
from tests.datasets_scripts.sources.small_hospital import hospital, vital
from tests.datasets_scripts.sources.test_eicu import write_eicu


@pytest.fixture(scope="module")
def bound():
    connection = duckdb.connect()
    for macro in MACROS:
        connection.execute(macro)
    return lambda text, macro="bound(?)": connection.execute(f"SELECT {macro}", [text]).fetchone()[0]


BEFORE = [
    ">", "<", ">=", "<=", "≥", "≤", "=>", "> =", "&gt;", "&lt;", "greater than", "GREATER THAN", "Less than",
    "more than", "less than or equal to", "above", "below", "over", "under", "at least", "at most", "exceeds",
    "lt", "GT",
]  # fmt: skip
AFTER = ["+", " +", " or more", " or less", " and above"]
UNITS = ["", " ", " mg/dL", "mg/dL", "%", " °C", " µmol/L", " mmHg", " H", " (L)", " *", " 10^9/L"]
numbers = st.floats(0, 5000, allow_nan=False).map(lambda x: f"{x:.2f}") | st.integers(0, 5000).map(str)


@given(
    st.sampled_from(BEFORE),
    st.sampled_from([" ", "  "]),
    numbers,
    st.sampled_from(UNITS[:-1]),
    st.sampled_from(["", " "]),
)
@settings(max_examples=300)
def test_a_bound_is_read_as_its_number(bound, before, between, number, unit, around):
    assert bound(f"{around}{before}{between}{number}{unit}{around}") == float(number)


@given(numbers, st.sampled_from(AFTER))
@settings(max_examples=50)
def test_a_bound_may_follow_its_number(bound, number, after):
    assert bound(f"{number}{after}") == float(number)


@pytest.mark.parametrize(
    ("text", "value"), [(">600", 600), ("<.5", 0.5), (">-5", -5), (">6e2", 600), (">=1.5E+2 mg/dL", 150)]
)
def test_bounds_without_a_space(bound, text, value):
    assert bound(text) == value


@given(st.text("abcxyz <>≥+-.,:()/%^", max_size=12))
@example("see comment")
@settings(max_examples=200)
def test_what_holds_no_digit_is_no_bound(bound, text):
    assert bound(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "hemolyzed", "7,30", ">7,30", ">1,000", "100-200", "<5-10", ">", "> high", "HI", "12:30", ">600 see comment",
        ">5x10^9/L", ">10^5", "2024-01-01", "5 or 6", "more than usual 5 times", "not >5", "1/2", "80", None,
    ],
)  # fmt: skip
def test_what_is_no_bound_is_not_read_as_one(bound, text):
    assert bound(text) is None


def test_a_meters_limit_is_kept_counted_and_called_high(tmp_path):
    tables, mapping = hospital(2)
    tables["vitals"] += [vital("s0", 3, "GLU", ">600"), vital("s0", 4, "GLU", "GREATER THAN 500")]
    found, metadata = small_hospital.build(tmp_path, tables, mapping)
    assert measured(found["s0"], "Glucose") == {1.0: 115.0, 2.0: 115.0, 3.0: 600.0, 4.0: 500.0}
    assert "Glucose is higher than normal 2 times" in found["s0"]["lab_caption"]
    assert "Glucose is normal all the time" in found["s1"]["lab_caption"]
    counts = {row["channel"]: (row["censored"], row["no_number"]) for row in metadata["values"]}
    assert counts["Glucose"] == (2, 0)
    assert sum(censored for censored, _ in counts.values()) == 2
    assert metadata["warnings"] == []


def test_a_bound_is_converted_like_a_number(tmp_path):
    tables, mapping = hospital(1)
    mapping["channels"]["Glucose"] = [{"code": "GLU", "unit": "mmol/L"}]
    tables["vitals"] = [row | ({"value": 6.5} if row["item"] == "GLU" else {}) for row in tables["vitals"]] + [
        vital("s0", 3, "GLU", "> 33.3"),
        vital("s0", 4, "GLU", "<1.1 mmol/L"),
    ]
    found, _ = small_hospital.build(tmp_path, tables, mapping)
    values = measured(found["s0"], "Glucose")
    assert (values[3.0], values[4.0]) == (
        pytest.approx(33.3 * 18.016, abs=0.01),
        pytest.approx(1.1 * 18.016, abs=0.01),
    )
    assert "Glucose is higher than normal 1 time and lower than normal 1 time" in found["s0"]["lab_caption"]


def test_bounds_of_mimic(tmp_path):
    tables = base_tables()
    tables["LABEVENTS"] += [lab(1, 50931, 3, ">600", number=""), lab(1, 50931, 4, "<20", number=20)]
    tables["CHARTEVENTS"] += [chart(1, 211, 5, "> 200", number=""), chart(1, 211, 6, ">999", number="")]
    folder = build(tmp_path, tables)
    row = rows(folder)["201"]
    assert measured(row, "Glucose") == {3.0: 600.0, 4.0: 20.0}
    assert measured(row, "Heart Rate") == {1.0: 80.0, 5.0: 200.0}
    assert (audit(folder, "Glucose")["censored"], audit(folder, "Heart Rate")["censored"]) == (2, 1)
    assert audit(folder, "Heart Rate")["implausible"] == 1


def test_bounds_and_texts_of_eicu(tmp_path):
    root = write_eicu(tmp_path / "raw", [("428.0", "")] * 2)
    with open(root / "lab.csv", newline="", encoding="utf-8") as file:
        header = file.readline().strip().split(",")
    results = [("600", ">600"), ("", "< 40"), ("", "clotted")]
    with open(root / "lab.csv", "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="")
        for hour, (number, text) in enumerate(results, start=1):
            writer.writerow(
                {
                    "patientunitstayid": 1000, "labresultoffset": 60 * hour, "labname": "glucose",
                    "labresult": number, "labresulttext": text, "labresultrevisedoffset": 60 * hour,
                }
            )  # fmt: skip
    arguments = ["--source", "eicu", "--root", str(root), "--output", str(tmp_path / "dataset")]
    build_dataset.main([*arguments, "--splits", "train=1"])
    row = rows(tmp_path / "dataset")["1000"]
    assert measured(row, "Glucose") == {1.0: 600.0, 2.0: 40.0}
    assert "Glucose is higher than normal 1 time and lower than normal 1 time" in row["lab_caption"]
    counts = audit(tmp_path / "dataset", "Glucose")
    assert (counts["censored"], counts["no_number"], counts["kept"]) == (2, 1, 2)


@pytest.mark.parametrize("text", ["hemolyzed", "see comment", "HI", "7,4", "___", ">1,000"])
def test_a_channel_with_results_that_are_no_number_is_not_called_normal(tmp_path, text):
    tables, mapping = hospital(2)
    tables["vitals"] += [vital("s0", 3, "GLU", text)]
    found, metadata = small_hospital.build(tmp_path, tables, mapping)
    assert set(measured(found["s0"], "Glucose")) == {1.0, 2.0}
    assert "Glucose is measured partly as text" in found["s0"]["lab_caption"]
    assert "Glucose is normal all the time" in found["s1"]["lab_caption"]
    assert next(row for row in metadata["values"] if row["channel"] == "Glucose")["no_number"] == 1


@pytest.mark.parametrize(
    ("item", "text"), [("GLU", ">3000"), ("GLU", "<2"), ("TEMP", ">50"), ("HR", ">400"), ("PH", "<6.0")]
)
def test_an_implausible_bound_is_dropped_and_the_channel_not_called_normal(tmp_path, item, text):
    channel = next(name for name, code in small_hospital.CODES.items() if code == item)
    tables, mapping = hospital(2)
    tables["vitals"] += [vital("s0", 3, item, text)]
    found, metadata = small_hospital.build(tmp_path, tables, mapping)
    assert set(measured(found["s0"], channel)) == {1.0, 2.0}
    assert f"{channel} is measured partly as text" in found["s0"]["lab_caption"]
    assert f"{channel} is normal all the time" in found["s1"]["lab_caption"]
    assert next(row for row in metadata["values"] if row["channel"] == channel)["implausible"] == 1


def test_an_implausible_bound_beside_its_number_is_not_called_normal(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, 2, ">400", number=400), chart(2, 211, 2, "400", number=400)]
    found = rows(build(tmp_path, tables))
    assert "Heart Rate is measured partly as text" in found["201"]["lab_caption"]
    assert "Heart Rate is normal all the time" in found["202"]["lab_caption"]


OF_OTHER_UNITS = [
    ("Glucose", "5.5 mmol/L"), ("Glucose", "> 33.3 mmol/L"), ("Glucose", "5.5\u00a0mmol / l"), ("Glucose", "5.5 mmol"),
    ("Glucose", "500%"), ("Temperature", "98.6 F"), ("Temperature", "98.6 °F"), ("Temperature", "37 deg F (H)"),
    ("Systolic blood pressure", "16 kPa"), ("Weight", "80 lbs"), ("Oxygen saturation", "97 mm Hg"),
    ("Heart Rate", "80 %"), ("Glucose", "100 µg/dL"),
]  # fmt: skip
OF_THE_UNIT = [
    ("Glucose", "120 mg/dL", 120), ("Glucose", "500 (H)", 500), ("Glucose", "500*", 500), ("Glucose", "500 !", 500),
    ("Glucose", "120 mg", 120), ("Glucose", "120 mg/dl(H)", 120), ("Temperature", "39.5 °C", 39.5),
    ("Temperature", "39.5°", 39.5), ("Temperature", "37.2\u00a0°C", 37.2), ("Temperature", "37.2 deg C", 37.2),
    ("Temperature", "37.2 c", 37.2), ("Heart Rate", "80 bpm", 80), ("Heart Rate", "80/min", 80),
    ("Heart Rate", "80 beats per minute", 80), ("Heart Rate", "80 regular", 80), ("Oxygen saturation", "98 %", 98),
    ("Systolic blood pressure", "120 mm Hg", 120), ("Weight", "80 kg *", 80), ("pH", "7.4 units", 7.4),
]  # fmt: skip


def test_a_number_in_another_unit_is_not_read_in_the_items(tmp_path):
    tables, mapping = hospital(len(OF_OTHER_UNITS))
    tables["vitals"] += [
        vital(f"s{i}", 3, small_hospital.CODES[c], text) for i, (c, text) in enumerate(OF_OTHER_UNITS)
    ]
    found, metadata = small_hospital.build(tmp_path, tables, mapping)
    for i, (channel, _) in enumerate(OF_OTHER_UNITS):
        assert set(measured(found[f"s{i}"], channel)) == {1.0, 2.0}, OF_OTHER_UNITS[i]
        assert f"{channel} is measured partly as text" in found[f"s{i}"]["lab_caption"], OF_OTHER_UNITS[i]
    assert sum(row["no_number"] for row in metadata["values"]) == len(OF_OTHER_UNITS)


def test_a_number_with_the_items_own_unit_or_a_mark_is_read(tmp_path):
    tables, mapping = hospital(len(OF_THE_UNIT))
    tables["vitals"] += [
        vital(f"s{i}", 3, small_hospital.CODES[c], text) for i, (c, text, _) in enumerate(OF_THE_UNIT)
    ]
    found, metadata = small_hospital.build(tmp_path, tables, mapping)
    for i, (channel, text, value) in enumerate(OF_THE_UNIT):
        assert measured(found[f"s{i}"], channel).get(3.0) == pytest.approx(value), text
    assert sum(row["no_number"] + row["censored"] for row in metadata["values"]) == 0


def test_the_unit_of_a_cell_is_compared_with_that_of_its_code(tmp_path):
    tables, mapping = hospital(1)
    mapping["channels"]["Glucose"] = [{"code": "GLU", "unit": "mmol/L"}]
    tables["vitals"] = [row | ({"value": 6.5} if row["item"] == "GLU" else {}) for row in tables["vitals"]]
    tables["vitals"] += [vital("s0", 3, "GLU", "6.5 mmol/L"), vital("s0", 4, "GLU", "120 mg/dL")]
    found, _ = small_hospital.build(tmp_path, tables, mapping)
    assert measured(found["s0"], "Glucose").keys() == {1.0, 2.0, 3.0}
    assert "Glucose is measured partly as text" in found["s0"]["lab_caption"]


@pytest.mark.parametrize("text", ["1/2", "120/80", ">120/80", "12:30", "12h30", "5-6", "5 or 6"])
def test_what_is_more_than_one_number_is_not_read(bound, text):
    assert bound(text, "reading(?).size") == ""


@pytest.mark.parametrize(("hour", "text"), [(60, "HI"), (3, ""), (3, "nan"), (3, "N/A")])
def test_an_empty_cell_or_one_of_another_time_does_not_change_the_caption(tmp_path, hour, text):
    tables, mapping = hospital(1)
    tables["vitals"] += [vital("s0", hour, "GLU", text)]
    found, _ = small_hospital.build(tmp_path, tables, mapping)
    assert "Glucose is normal all the time" in found["s0"]["lab_caption"]


def test_what_is_marked_as_an_error_or_venous_does_not_change_the_caption(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, 3, "see note", number="", error="1"), chart(2, 211, 3, "?", number="")]
    tables["LABEVENTS"] += [lab(1, 50820, 4, 7.4), lab(1, 50820, 3, "clotted", number="")]
    tables["LABEVENTS"] += [lab(1, 50800, 3, "VEN", number="")]
    found = rows(build(tmp_path, tables))
    assert "Heart Rate is normal all the time" in found["201"]["lab_caption"]
    assert "pH is normal all the time" in found["201"]["lab_caption"]
    assert "Heart Rate is measured partly as text" in found["202"]["lab_caption"]


def test_a_meds_folder_tells_what_was_no_number(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, 3, "see note", number=""), chart(2, 211, 3, "> 200", number="")]
    tables["LABEVENTS"] += [lab(1, 50931, 3, "90"), lab(1, 50931, 4, "> 33.3 mmol/L", number="")]
    root = write_tables(tmp_path / "raw", tables)
    common = ["--splits", "train=1", "--output"]
    first = ["--source", "mimic-iii", "--root", str(root), "--also-meds", str(tmp_path / "meds")]
    build_dataset.main([*first, *common, str(tmp_path / "direct")])
    build_dataset.main(["--source", "meds", "--root", str(tmp_path / "meds"), *common, str(tmp_path / "back")])
    direct, back = rows(tmp_path / "direct"), rows(tmp_path / "back")
    assert {stay: row["lab_caption"] for stay, row in back.items()} == {
        stay: row["lab_caption"] for stay, row in direct.items()
    }
    assert "Heart Rate is measured partly as text" in back["201"]["lab_caption"]
    assert "Glucose is measured partly as text" in back["201"]["lab_caption"]
    assert measured(back["202"], "Heart Rate") == {1.0: 80.0, 3.0: 200.0}
    assert math.isclose(read_metadata(tmp_path / "back")["values"][3]["no_number"], 1)
