# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost in silence: each kind of loss is one line with its counts, and clean tables give none."""

import re
from pathlib import Path

import pytest

from datasets_scripts import build_dataset
from datasets_scripts.dataset import build as dataset_build
from datasets_scripts.dataset.folder import read_metadata
from tests.datasets_scripts.sources.raw_tables import base_tables, chart, lab, measured, write_tables
from tests.datasets_scripts.sources.raw_tables import build as build_mimic
from tests.datasets_scripts.sources.small_hospital import at, build, hospital, vital


def test_clean_tables_give_no_warning(tmp_path, caplog):
    _, metadata = build(tmp_path, *hospital())
    assert metadata["warnings"] == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert "The build warned of nothing." in (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")


def test_simulated_patients_give_no_warning(tmp_path):
    build_dataset.main(["--source", "synthetic", "--limit", "150", "--output", str(tmp_path / "dataset")])
    assert read_metadata(tmp_path / "dataset")["warnings"] == []


# What is lost of the open demo extracts: the documents of both MIMIC ones are not open, nor is `vitalPeriodic` in this
# copy of eICU; eICU holds discharges before admissions, patients without an age and codes to three digits (S12).
OF_THE_DEMOS = {
    ("mimic-iii", "mimic-iii-demo"): ["0 of 88 ICU stays have a note"],
    ("mimic-iv", "mimic-iv-layout"): ["0 of 44 ICU stays have a note"],
    ("eicu", "eicu-crd-demo"): [
        "10 ICU stays left out: no end, or an end before it begins",
        "3 ICU stays left out: age unknown",
        "diagnosis codes are in no table of codes (such as S10.8, S12, S14.1)",
        "diagnosis codes were changed by a spreadsheet and are restored",
        "measurements vitalPeriodic: no row has a code that is read",
    ],
}


@pytest.mark.parametrize(("source", "root"), OF_THE_DEMOS)
def test_the_warnings_of_the_open_demos_are_explained(real_data, tmp_path, source, root):
    build_dataset.main(["--source", source, "--root", str(real_data / root), "--output", str(tmp_path / "d")])
    warnings = read_metadata(tmp_path / "d")["warnings"]
    assert len(warnings) == len(OF_THE_DEMOS[source, root])
    assert all(said in line for said, line in zip(OF_THE_DEMOS[source, root], warnings, strict=True))


def rename(items, old, new):
    return [row | {"item": new} if row["item"] == old else row for row in items]


def without_numbers(tables, _):
    tables["vitals"] = [
        row | {"value": str(row["value"]).replace(".", ",")} if row["item"] == "PH" else row
        for row in tables["vitals"]
    ]


def some_with_a_comma(tables, _):
    tables["vitals"] += [vital("s0", 3, "PH", "7,41"), vital("s1", 3, "PH", "7,4")]


def in_fahrenheit(tables, _):
    for row in tables["vitals"]:
        if row["item"] == "TEMP":
            row["value"] = 98.6


def some_in_fahrenheit(tables, _):
    for row in tables["vitals"]:
        if row["item"] == "TEMP" and row["stay"] in ("s0", "s1"):
            row["value"] = 99.5


def in_mmol(tables, _):
    for row in tables["vitals"]:
        if row["item"] == "GLU":
            row["value"] = 6.4


def in_pounds(tables, _):
    for row in tables["vitals"]:
        if row["item"] == "WT":
            row["value"] = 176


def in_kilopascal(tables, _):
    for row in tables["vitals"]:
        if row["item"] == "DBP":
            row["value"] = 9.1


def far_from_normal(tables, _):
    for row in tables["vitals"]:
        if row["item"] == "HR":
            row["value"] = 300


def codes_that_are_not_there(_, mapping):
    mapping["channels"] = mapping["channels"] | {"Glucose": ["GLU", "GLUC"], "Respiratory rate": "RR"}


def other_ids(tables, _):
    for row in tables["vitals"][:5]:
        row["stay"] = "0" + row["stay"]


def other_ids_of_patients(tables, mapping):
    add_laboratory(tables, mapping, [{"patient": "P-1", "time": at(3), "item": "GLU", "value": 100}] * 4)


def times_of_another_year(tables, mapping):
    add_laboratory(tables, mapping, [{"patient": "p1", "time": "2025" + at(3)[4:], "item": "GLU", "value": 100}] * 4)


def times_outside(tables, _):
    tables["vitals"] += [vital("s0", 60, "GLU", 100)] * 50


def other_words_for_codes(tables, mapping):
    add_laboratory(tables, mapping, [{"patient": "p1", "time": at(3), "item": "glucose", "value": 100}] * 4)


def no_measurements_in_a_table(tables, mapping):
    add_laboratory(tables, mapping, [])


def add_laboratory(tables, mapping, records):
    tables["vitals_b"] = records
    section = {"file": "vitals_b", "patient": "patient", "time": "time", "code": "item", "value": "value"}
    mapping["measurements"].append(section)


def unknown_codes(tables, mapping):
    tables["others"] = [{"stay": row["stay"], "code": "heart failure"} for row in tables["stays"]]
    mapping["diagnoses"].append({"file": "others", "stay": "stay", "code": "code", "icd": 10})


def diagnoses_of_other_stays(tables, mapping):
    tables["others"] = [{"stay": "x" + row["stay"], "code": "I10"} for row in tables["stays"]]
    mapping["diagnoses"].append({"file": "others", "stay": "stay", "code": "code", "icd": 10})


def no_label(tables, _):
    for row in tables["diagnoses"]:
        row["code"] = "Z00.00"


def few_notes(tables, _):
    del tables["notes"][5:]


def no_notes(tables, _):
    tables["notes"].clear()


def notes_of_other_stays(tables, _):
    for row in tables["notes"]:
        row["stay"] = "n" + row["stay"]


def sex_in_other_words(tables, _):
    for row in tables["stays"][:4]:
        row["sex"] = "weiblich"


def no_sex(tables, _):
    for row in tables["stays"]:
        row["sex"] = ""


def no_ethnicity(tables, _):
    for row in tables["stays"]:
        row["ethnicity"] = ""


def unknown_age(tables, _):
    for row in tables["stays"][:3]:
        row["age"] = ""


@pytest.mark.parametrize(
    ("spoil", "lines"),
    [
        (
            without_numbers,
            ["pH: 24 of 24 charted values are dropped, 24 of them as no number (is there a decimal comma?)"],
        ),
        (
            some_with_a_comma,
            ["pH: 2 of 26 charted values are dropped, numbers with a comma: write a point"],
        ),
        (
            in_fahrenheit,
            [
                "Temperature: 24 of 24 charted values are dropped, 24 of them as outside of 24 to 45 °C; the median "
                "is 98.6, as in °F: give the unit"
            ],
        ),
        (
            some_in_fahrenheit,
            [
                "Temperature: 4 of 24 charted values are dropped, as outside of 24 to 45 °C; their median is 99.5, "
                "as in °F: give the unit"
            ],
        ),
        (
            in_mmol,
            [
                "Glucose: the median of its values is 6.4, far from typical (43 to 187 mg/dL), as in mmol/L: give the "
                "unit"
            ],
        ),
        (
            in_pounds,
            ["Weight: the median of its values is 176, far from typical (31.3 to 127.9 kg), as in lb: give the unit"],
        ),
        (
            in_kilopascal,
            [
                "Diastolic blood pressure: the median of its values is 9.1, far from typical (28 to 92 mmHg), as in "
                "kPa: give the unit"
            ],
        ),
        (
            far_from_normal,
            ["Heart Rate: the median of its values is 300, far from typical (40 to 128 /min), is it in another unit?"],
        ),
        (codes_that_are_not_there, ["2 mapped codes are in no row: GLUC (Glucose), RR (Respiratory rate)"]),
        (other_ids, ["measurements vitals: 5 of 192 name an ICU stay that is not listed, and are left out"]),
        (other_ids_of_patients, ["measurements vitals_b: 4 of 4 are of no listed patient, and are left out"]),
        (times_of_another_year, ["measurements vitals_b: none of the 4 lies within an ICU stay that is read"]),
        (
            times_outside,
            ["Glucose: 50 of 74 charted values are dropped, 50 of them as outside of the stay"],
        ),
        (
            other_words_for_codes,
            ["measurements vitals_b: none of its 4 rows has a code that is listed under channels"],
        ),
        (no_measurements_in_a_table, ["measurements vitals_b: the table has no rows"]),
        (
            unknown_codes,
            [
                "12 of 24 diagnosis codes are in no table of codes (such as heart failure), 0 of them read by their "
                "family; label_audit.csv lists them",
                "diagnoses others: none of its 12 codes is known; is the version right?",
            ],
        ),
        (
            diagnoses_of_other_stays,
            ["diagnoses others: none of its 12 rows is of an ICU stay that is read; do their ids match?"],
        ),
        (no_label, ["no ICU stay has any of the 25 labels"]),
        (few_notes, ["5 of 12 ICU stays have a note"]),
        (no_notes, ["notes notes: the table has no rows", "0 of 12 ICU stays have a note"]),
        (
            notes_of_other_stays,
            [
                "notes notes: none of its 12 rows is of an ICU stay that is read; do their ids match?",
                "0 of 12 ICU stays have a note",
            ],
        ),
        (
            sex_in_other_words,
            ["sex is not understood of 4 of 12 ICU stays (such as 'weiblich'); give the words for M and F under sex"],
        ),
        (no_sex, ["sex is known of none of the 12 ICU stays"]),
        (no_ethnicity, ["ethnicity is known of none of the 12 ICU stays"]),
        (unknown_age, ["3 ICU stays left out: age unknown"]),
    ],
)
def test_a_loss_is_said_on_the_terminal_in_the_metadata_and_in_the_card(tmp_path, caplog, spoil, lines):
    tables, mapping = hospital()
    spoil(tables, mapping)
    _, metadata = build(tmp_path, tables, mapping)
    assert metadata["warnings"] == lines
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == lines
    card = (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")
    assert all(f"\n- {line}\n" in card for line in lines)


def test_a_resumed_build_says_the_same(tmp_path, monkeypatch):
    tables, mapping = hospital()
    other_ids(tables, mapping)
    diagnoses_of_other_stays(tables, mapping)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset_build, "write_records", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, tables, mapping)
    root, output = tmp_path / "hospital", tmp_path / "dataset"
    assert not output.exists()
    build_dataset.main(["--source", "tables", "--root", str(root), "--output", str(output), "--splits", "train=1"])
    _, undisturbed = build(tmp_path / "again", tables, mapping)
    assert read_metadata(output)["warnings"] == undisturbed["warnings"]
    assert len(undisturbed["warnings"]) == 2


def test_codes_with_a_unit_column_are_found_by_their_code(tmp_path):
    tables, mapping = hospital()
    tables["vitals"] = [row | {"unit": "mg/dL" if row["item"] == "GLU" else ""} for row in tables["vitals"]]
    mapping["measurements"][0]["unit"] = "unit"
    mapping["channels"]["Respiratory rate"] = "RR"
    _, metadata = build(tmp_path, tables, mapping)
    assert metadata["warnings"] == ["1 mapped codes are in no row: RR (Respiratory rate)"]


@pytest.mark.parametrize(
    ("channel", "code", "value", "line"),
    [
        (
            "Glucose", "METER", 6.4,
            "Glucose by METER: the median of its values is 6.4, far from typical (43 to 187 mg/dL), as in mmol/L: "
            "give the unit",
        ),
        (
            "Temperature", "TEMP_F", 99.1,
            "Temperature by TEMP_F: 5 of 5 charted values are dropped, 5 of them as outside of 24 to 45 °C; the "
            "median is 99.1, as in °F: give the unit",
        ),
        (
            "pH", "GAS", "clotted",
            "pH by GAS: 5 of 5 charted values are dropped, 5 of them as no number (is there a decimal comma?)",
        ),
    ],
)  # fmt: skip
def test_one_code_of_several_in_another_unit_is_said(tmp_path, channel, code, value, line):
    tables, mapping = hospital(30)  # so that it is less than a tenth of the channel
    tables["vitals"] += [vital(f"s{i}", 5, code, value) for i in range(5)]
    mapping["channels"][channel] = [mapping["channels"][channel], code]
    _, metadata = build(tmp_path, tables, mapping)
    assert metadata["warnings"] == [line]


@pytest.mark.parametrize(
    ("channel", "value", "unit"),
    [
        ("Hemoglobin", 110, "g/L"),
        ("Creatinine", 88, "µmol/L"),
        ("Magnesium", 0.8, "mmol/L"),
        ("Lactate", 18, "mg/dL"),
        ("Total calcium", 2.2, "mmol/L"),
        ("Weight", 80_000, "g"),
        ("Fraction inspired oxygen", 40, "%"),
    ],
)
def test_the_unit_in_which_the_values_would_be_normal_is_named(tmp_path, channel, value, unit):
    tables, mapping = hospital(3)
    mapping["channels"][channel] = "NEW"
    tables["vitals"] += [vital(f"s{i}", hour, "NEW", value) for i in range(3) for hour in (1, 2)]
    tables["vitals"] = [row for row in tables["vitals"] if row["item"] != "WT" or channel != "Weight"]
    _, metadata = build(tmp_path, tables, mapping, "--channels", "extended", "--splits", "train=1")
    (line,) = metadata["warnings"]
    assert line.startswith(f"{channel}: ")
    assert f"is {value:g}, " in line
    assert line.endswith(f", as in {unit}: give the unit")


def test_slips_of_the_hand_beside_normal_values_are_no_other_unit(tmp_path):
    tables, mapping = hospital()
    tables["vitals"] += [vital(f"s{i}", 5, code, value) for i in range(4) for code, value in (("WT", 0), ("DBP", 999))]
    _, metadata = build(tmp_path, tables, mapping)
    assert metadata["warnings"] == []
    weight = next(row for row in metadata["values"] if row["channel"] == "Weight")
    assert (weight["implausible"], weight["implausible_median"]) == (4, 0)


@pytest.mark.parametrize("value", [20, 300])
def test_few_values_may_be_far_from_normal(tmp_path, value):
    tables, mapping = hospital(1)
    tables["vitals"] = [row | ({"value": value} if row["item"] == "HR" else {}) for row in tables["vitals"]]
    _, metadata = build(tmp_path, tables, mapping)
    assert metadata["warnings"] == []


def test_the_table_of_changes_names_counts_and_tests_that_exist(tmp_path):
    """The document's own table, against a build and the folder of the tests."""
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = [
        line.strip("|").split("|")
        for line in re.findall(r"^\| (?:dropped|(?:not )?converted|unmatched|defaulted): .*$", text, re.M)
    ]
    kinds = {row[0].split(":")[0].strip() for row in rows}
    assert {"dropped", "converted", "unmatched", "defaulted"} <= kinds
    _, metadata = build(tmp_path, *hospital())
    counts = {*metadata, *metadata["values"][0], *metadata["counts"]["train"], "label_audit.csv"}
    for _, counted, _, tests in rows:
        assert set(re.findall(r"`([\w.]+)`", counted)) - {"restored"} <= counts, counted
        named = re.findall(r"`(\w+)`", tests)
        assert named
        assert all(Path(__file__).with_name(f"{name}.py").is_file() for name in named), tests


def test_a_limit_is_no_loss(tmp_path):
    _, metadata = build(tmp_path, *hospital(), "--limit", "2", "--splits", "train=1")
    assert metadata["warnings"] == []
    assert metadata["measurements"] == [
        {"part": 0, "table": "vitals", "rows": 192, "in_stays": 32}
        | {"of_no_stay": 0, "of_no_patient": 0, "of_nobody": 0, "of_other_patient": 0}
    ]


def test_channels_without_a_value_and_stays_that_are_not_listed_in_mimic(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"].append(chart(99, 211, 3, 80))
    tables["LABEVENTS"] += [lab(patient, 50931, 3, 100) for patient in range(1, 101)]
    warnings = read_metadata(build_mimic(tmp_path, tables))["warnings"]
    assert "measurements chartevents: 1 of 13 name an ICU stay that is not listed, and are left out" in warnings
    empty = next(line for line in warnings if line.startswith("no value is charted of "))
    assert "Weight" in empty
    assert "Glucose" not in empty
    assert not any("of no listed patient" in line for line in warnings)  # most patients of a laboratory are elsewhere


def test_a_window_of_hours_is_no_loss(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, hour, 80) for hour in range(10, 40)]
    root = write_tables(tmp_path / "raw", tables)
    arguments = ["--source", "mimic-iii", "--root", str(root), "--output", str(tmp_path / "d"), "--hours", "6"]
    build_dataset.main([*arguments, "--splits", "train=1"])
    assert not any("Heart Rate" in line for line in read_metadata(tmp_path / "d")["warnings"])


def test_a_row_of_a_stay_and_of_another_patient_is_dropped_and_said(tmp_path):
    tables, mapping = hospital(2)
    mapping["measurements"][0]["patient"] = "patient"
    tables["vitals"] = [row | {"patient": "p" + row["stay"][1:]} for row in tables["vitals"]]
    tables["vitals"] += [vital("s0", 3, "GLU", 101) | {"patient": "p1"}, vital("s0", 4, "GLU", 102) | {"patient": ""}]
    found, metadata = build(tmp_path, tables, mapping)
    assert measured(found["s0"], "Glucose").keys() == {1.0, 2.0, 4.0}
    assert measured(found["s1"], "Glucose").keys() == {1.0, 2.0}
    assert metadata["warnings"] == [
        "measurements vitals: 1 of 34 name an ICU stay of another patient, and are left out"
    ]


def test_a_measurement_of_neither_stay_nor_patient_is_said(tmp_path):
    tables, mapping = hospital(2)
    tables["vitals"] += [vital("", 3, "GLU", 101)] * 2
    _, metadata = build(tmp_path, tables, mapping)
    assert metadata["warnings"] == ["measurements vitals: 2 of 34 name neither ICU stay nor patient, and are left out"]


def test_diagnoses_and_notes_of_which_a_part_is_of_no_listed_stay_are_said(tmp_path):
    tables, mapping = hospital(2)
    tables["stays"] = [row | {"admission": "a" + row["stay"]} for row in tables["stays"]]
    tables["diagnoses"] = [row | {"admission": ""} for row in tables["diagnoses"]]
    mapping["stays"]["admission"] = mapping["diagnoses"][0]["admission"] = "admission"
    ids = [("x", ""), ("", "ax"), ("", ""), ("", "as0"), ("x", "as0")]
    tables["diagnoses"] += [{"stay": stay, "admission": admission, "code": "I10"} for stay, admission in ids]
    tables["notes"] += [{"stay": "x", "text": "well", "stored": at(1)}]
    _, metadata = build(tmp_path, tables, mapping)
    assert metadata["warnings"] == [
        "diagnoses diagnoses: 4 rows name no listed ICU stay or admission of one, and are left out",
        "notes notes: 1 rows name no listed ICU stay or admission of one, and are left out",
    ]


OVERLAPPING = {  # begin and end of each stay in hours, hour of a value: the stay to which it belongs
    "a minute": ([(8, 12.02), (12, 20)], 12.01, 1),
    "half an hour": ([(8, 12.5), (12, 20)], 12.25, 1),
    "before the overlap": ([(8, 12.5), (12, 20)], 11.5, 0),
    "at the transfer": ([(8, 12), (12, 20)], 12, 1),
    "one within another": ([(8, 20), (10, 12)], 11, 1),
    "after the one within": ([(8, 20), (10, 12)], 15, 0),
    "three": ([(8, 14), (9, 14), (10, 14)], 11, 2),
    "the same times": ([(8, 14), (8, 14)], 11, 1),
}


@pytest.mark.parametrize(("stays", "hour", "owner"), OVERLAPPING.values(), ids=OVERLAPPING)
def test_a_value_of_a_patient_in_overlapping_stays_counts_in_the_later_one(tmp_path, stays, hour, owner):
    tables, mapping = hospital(2)
    tables["stays"] = [
        tables["stays"][0] | {"stay": f"t{i}", "begin": at(a), "end": at(b)} for i, (a, b) in enumerate(stays)
    ] + [tables["stays"][1]]
    tables["diagnoses"] += [{"stay": f"t{i}", "code": "I50.9"} for i in range(len(stays))]
    tables["vitals"] = [row for row in tables["vitals"] if row["stay"] == "s1"]
    add_laboratory(tables, mapping, [{"patient": "p0", "time": at(hour), "item": "GLU", "value": 101}])
    found, _ = build(tmp_path, tables, mapping)
    held = [i for i in range(len(stays)) if 101 in measured(found[f"t{i}"], "Glucose").values()]
    assert held == [owner]
