# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import gzip
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from datasets import load_dataset
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import SPLITS, iterate_rows, label_names, load_split, read_metadata
from datasets_scripts.dataset.splits import parse_splits, split_of
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import (
    COLUMN,
    EQUAL,
    audit,
    base_tables,
    build,
    chart,
    command,
    lab,
    measured,
    moment,
    rows,
    write_tables,
)


def test_columns_and_labels_as_the_contract_says(tmp_path):
    dataset = load_dataset(str(build(tmp_path, base_tables())))
    assert set(dataset) == set(SPLITS)
    features = dataset["train"].features
    assert list(features) == (
        [
            "subject_id",
            "hadm_id",
            "stay_id",
            "source",
            "age",
            "sex",
            "ethnicity",
            "care_unit",
            "note",
            "lab_times",
            "lab_values",
            "lab_caption",
            "diagnoses",
            "note_rationale",
            "lab_rationale",
            "teacher",
            "lab_available_times",
        ]
    )
    assert features["diagnoses"].feature.names[22] == "Congestive heart failure; nonhypertensive"
    row = dataset["train"][0]
    assert row["diagnoses"] == [22]
    assert (row["source"], row["age"], row["sex"], row["note"], row["teacher"]) == ("mimic-iii", 60.0, "F", "", "")
    assert row["lab_times"] == [1.0]
    assert row["lab_values"][0][COLUMN["Heart Rate"]] == 80.0
    assert "Heart Rate is normal all the time" in row["lab_caption"]
    assert "pH is not measured" in row["lab_caption"]


def test_a_rebuilt_folder_is_not_read_from_a_stale_cache(tmp_path):
    first = load_dataset(str(build(tmp_path / "a", base_tables())))
    tables = base_tables()
    tables["DIAGNOSES_ICD"] = [[admission, "486"] for admission, _ in tables["DIAGNOSES_ICD"]]
    second = load_dataset(str(build(tmp_path / "b", tables)))
    assert (first["train"][0]["diagnoses"], second["train"][0]["diagnoses"]) == ([22], [9])


def test_parquet_with_types_of_its_own_reads_the_same(tmp_path):
    """As other programs write it: times as times, ids with gaps as floating-point numbers."""
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, 3, 80.5), chart(1, 780, 4, 7.4, error="1"), chart(1, 678, 5, 98.6)]
    plain = rows(build(tmp_path / "a", tables))
    root = write_tables(tmp_path / "raw", tables, suffix=".parquet")
    events = pd.read_parquet(root / "CHARTEVENTS.parquet")
    for name in ("ICUSTAY_ID", "VALUENUM", "ERROR"):
        events[name] = events[name].astype(float)
    for name in ("SUBJECT_ID", "ITEMID"):
        events[name] = events[name].astype(int)
    events["CHARTTIME"] = pd.to_datetime(events["CHARTTIME"])
    events.to_parquet(root / "CHARTEVENTS.parquet")
    command("--source", "mimic-iii", "--root", root, "--output", tmp_path / "typed", "--splits", EQUAL)
    assert str(rows(tmp_path / "typed")) == str(plain)


@pytest.mark.parametrize(
    ("suffix", "lower"), [(".csv", True), (".csv", False), (".csv.gz", True), (".parquet", True), (".parquet", False)]
)
def test_case_and_compression_of_the_files_do_not_matter(tmp_path, suffix, lower):
    plain = rows(build(tmp_path / "a", base_tables()))
    other = rows(build(tmp_path / "b", base_tables(), suffix=suffix, lower=lower))
    assert str(plain) == str(other)


@pytest.mark.parametrize(
    ("channel", "item", "value", "expected"),
    [
        ("Temperature", 678, 98.6, 37.0),
        ("Temperature", 676, 37.2, 37.2),
        ("Temperature", 676, 98.6, 37.0),  # Fahrenheit charted under the Celsius item
        ("Temperature", 226329, 36.9, 36.9),  # blood, from a catheter in the pulmonary artery
        ("Temperature", 227632, 33.0, 33.0),  # of a patient who is cooled
        ("Temperature", 227634, 33.1, 33.1),
        ("Fraction inspired oxygen", 3420, 50, 0.5),
        ("Fraction inspired oxygen", 190, 0.5, 0.5),
        ("Weight", 3581, 220, 99.79),
        ("Weight", 763, 80, 80.0),
        ("Oxygen saturation", 646, 0.97, 97.0),
    ],
)
def test_units_are_converted(tmp_path, channel, item, value, expected):
    tables = base_tables()
    tables["CHARTEVENTS"].append(chart(1, item, 5, value))
    folder = build(tmp_path, tables)
    assert measured(rows(folder)["201"], channel) == {5.0: pytest.approx(expected, abs=0.01)}
    assert audit(folder, channel)["unit_converted"] == (value != expected)


def test_urine_ph_errors_and_impossible_values_are_left_out(tmp_path):
    tables = base_tables()
    tables["LABEVENTS"] += [
        lab(1, 51491, 3, 6.0),
        lab(1, 51094, 3, 6.5),
        lab(1, 50831, 4, 6.2),
        lab(1, 50820, 5, 7.31),
    ]
    tables["CHARTEVENTS"] += [
        chart(1, 780, 6, 7.4, error="1"),
        chart(1, 211, 7, 0),
        chart(1, 211, 8, 999999),
        chart(1, 211, 9, "see note", number=""),
        chart(1, 211, 10, "88 bpm", number=""),
    ]
    folder = build(tmp_path, tables)
    row = rows(folder)["201"]
    assert measured(row, "pH") == {5.0: 7.31}
    assert measured(row, "Heart Rate") == {1.0: 80.0, 10.0: 88.0}
    assert (audit(folder, "pH")["marked_as_error"], audit(folder, "Heart Rate")["implausible"]) == (1, 2)
    assert audit(folder, "Heart Rate")["no_number"] == 1


def test_of_simultaneous_values_the_arterial_line_and_the_last_stored_count(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] += [
        chart(1, 455, 3, 130),  # cuff
        chart(1, 51, 3, 121),  # arterial line
        chart(1, 211, 4, 90, stored=moment(4)),
        chart(1, 211, 4, 95, stored=moment(5)),
    ]
    folder = build(tmp_path, tables)
    assert measured(rows(folder)["201"], "Systolic blood pressure") == {3.0: 121.0}
    assert measured(rows(folder)["201"], "Heart Rate")[4.0] == 95.0
    assert audit(folder, "Systolic blood pressure")["simultaneous"] == 1


def test_only_measurements_within_the_stay_count_and_labs_are_assigned_by_time(tmp_path):
    tables = base_tables()
    tables["LABEVENTS"] += [lab(1, 50931, 2.5, 120), lab(1, 50931, 70, 130)]
    tables["CHARTEVENTS"].append(chart(1, 211, 60, 100))
    row = rows(build(tmp_path, tables))["201"]
    assert measured(row, "Glucose") == {2.5: 120.0}
    assert 60.0 not in measured(row, "Heart Rate")
    assert row["lab_times"] == sorted(set(row["lab_times"]))


def test_stays_without_events_keep_empty_series(tmp_path):
    tables = base_tables()
    tables["CHARTEVENTS"] = [event for event in tables["CHARTEVENTS"] if event[0] != 2]
    row = rows(build(tmp_path, tables))["202"]
    assert row["lab_times"] == row["lab_values"] == []


def test_attrition_names_the_losses(tmp_path):
    tables = base_tables()
    tables["PATIENTS"][0][2] = "2095-01-01 00:00:00"  # a child
    tables["ICUSTAYS"][1][4] = "2099-12-31 00:00:00"  # ends before it starts
    tables["DIAGNOSES_ICD"] = tables["DIAGNOSES_ICD"][:-1]
    tables["PATIENTS"][3][2] = "1800-01-01 00:00:00"  # above 89, moved by 300 years
    folder = build(tmp_path, tables)
    assert [step["stays"] for step in read_metadata(folder)["attrition"]] == [12, 11, 11, 11, 10, 9]
    assert rows(folder)["204"]["age"] == 90.0


def test_notes_come_from_the_discharge_summary_without_its_diagnosis(tmp_path):
    tables = base_tables()
    text = 'Chief Complaint: cough, "dry"\nHospital Course:\npneumonia\nDischarge Diagnosis:\npneumonia\n'
    tables["NOTEEVENTS"] += [
        [101, "Discharge summary", "Report", "2100-01-04", "", "", text],
        [101, "Nursing", "Report", "2100-01-02", "", "", "pneumonia"],
        [102, "Discharge summary", "Report", "2100-01-04", "", "1", text],
    ]
    found = rows(build(tmp_path / "a", tables))
    assert found["201"]["note"] == 'Chief complaint: cough, "dry"'
    assert found["202"]["note"] == ""
    assert "pneumonia" in rows(build(tmp_path / "b", tables, "--note-view", "paper"))["201"]["note"]


def test_paper_caption_calls_missing_channels_normal(tmp_path):
    caption = rows(build(tmp_path, base_tables(), "--caption", "paper"))["201"]["lab_caption"]
    assert "not measured" not in caption
    assert "pH is normal all the time" in caption


def test_the_same_build_gives_the_same_hash_and_limit_keeps_patients(tmp_path):
    first, again = (read_metadata(build(tmp_path / name, base_tables())) for name in "ab")
    assert first["content_hash"] == again["content_hash"]
    fewer = rows(build(tmp_path / "c", base_tables(), "--limit", "8", "--splits", "train=1"))
    assert len(fewer) == 8
    assert set(fewer) < set(rows(tmp_path / "a" / "dataset"))


def test_a_split_without_patients_is_left_out_and_reported(tmp_path, caplog):
    folder = build(tmp_path, base_tables(), "--splits", "train=0.998,validation=0.001,test=0.001")
    assert "no patient fell into split validation, test" in caplog.text
    assert set(load_dataset(str(folder))) == {"train"}
    with pytest.raises(ClinRaGenInputError, match="no split 'test'; its splits are train"):
        load_split(folder, "test")


def test_when_no_stay_is_left_then_the_steps_are_named(tmp_path):
    tables = base_tables()
    tables["ICUSTAYS"] = [[*row[:4], row[3]] for row in tables["ICUSTAYS"]]
    with pytest.raises(ClinRaGenInputError, match=r"no ICU stay is left .*0 with an end after their beginning"):
        build(tmp_path, tables)


@given(st.text(min_size=1, max_size=12), st.integers(0, 5))
def test_a_patients_split_depends_on_id_and_seed_alone(subject, seed):
    shares = parse_splits("train=0.8,validation=0.1,test=0.1")
    assert split_of(subject, shares, seed) == split_of(subject, shares, seed)
    assert split_of(subject, {"train": 1.0, "validation": 0.0, "test": 0.0}, seed) == "train"


def test_split_shares_are_met():
    shares = parse_splits("train=0.6,validation=0.3,test=0.1")
    drawn = [split_of(str(i), shares, 0) for i in range(5000)]
    for split, share in shares.items():
        assert drawn.count(split) / 5000 == pytest.approx(share, abs=0.02)


def damage(name):
    def missing_table(root):
        (root / "ICUSTAYS.csv.gz").unlink()

    def missing_column(root):
        write_plain(root, "CHARTEVENTS", "SUBJECT_ID,ITEMID\n1,211\n")

    def truncated_gzip(root):
        path = root / "CHARTEVENTS.csv.gz"
        path.write_bytes(path.read_bytes()[:-30])

    def gzip_cut_in_the_middle(root):
        path = root / "CHARTEVENTS.csv.gz"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def mixed_encodings(root):
        path = root / "CHARTEVENTS.csv"
        write_plain(root, "CHARTEVENTS", "")
        path.write_bytes(PLAIN_EVENTS.encode() + "1,201,211,2100-01-01 03:00:00,,80 für,80,\n".encode("latin-1"))

    def duplicated_patient(root):
        path = root / "PATIENTS.csv.gz"
        lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
        path.write_bytes(gzip.compress("".join([*lines, lines[3]]).encode()))

    def duplicated_admission(root):
        path = root / "ADMISSIONS.csv.gz"
        lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
        path.write_bytes(gzip.compress("".join([*lines, lines[2], lines[2]]).encode()))

    def no_parquet(root):
        (root / "LABEVENTS.csv.gz").rename(root / "LABEVENTS.parquet")

    def text_for_a_time(root):
        write_plain(root, "CHARTEVENTS", PLAIN_EVENTS.replace("2100-01-01 02:00:00", "yesterday"))

    def text_for_a_number(root):
        write_plain(root, "CHARTEVENTS", PLAIN_EVENTS.replace(",80,80,\n1", ",80,eighty,\n1"))

    def too_few_columns(root):
        write_plain(root, "CHARTEVENTS", PLAIN_EVENTS + "1,201\n")

    def duplicated_stay(root):
        path = root / "ICUSTAYS.csv.gz"
        path.unlink()
        line = "1,101,201,2100-01-01 00:00:00,2100-01-03 00:00:00\n"
        (root / "ICUSTAYS.csv").write_text("SUBJECT_ID,HADM_ID,ICUSTAY_ID,INTIME,OUTTIME\n" + line * 2)

    return locals()[name]


def write_plain(root, table, text):
    (root / f"{table}.csv.gz").unlink()
    (root / f"{table}.csv").write_text(text)


PLAIN_EVENTS = (
    "SUBJECT_ID,ICUSTAY_ID,ITEMID,CHARTTIME,STORETIME,VALUE,VALUENUM,ERROR\n"
    "1,201,211,2100-01-01 01:00:00,,80,80,\n1,201,211,2100-01-01 02:00:00,,80,80,\n"
)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing_table", ["ICUSTAYS", "missing"]),
        ("missing_column", ["CHARTEVENTS.csv", "icustay_id", "column"]),
        ("truncated_gzip", ["CHARTEVENTS.csv.gz", "again"]),
        ("gzip_cut_in_the_middle", ["CHARTEVENTS.csv.gz", "cut short or damaged", "again"]),
        ("mixed_encodings", ["CHARTEVENTS.csv, row 4", "UTF-8", "iconv"]),
        ("duplicated_patient", ["PATIENTS.csv.gz", "subject_id 3 is in 2 rows"]),
        ("duplicated_admission", ["ADMISSIONS.csv.gz", "hadm_id 102 is in 3 rows"]),
        ("no_parquet", ["LABEVENTS.parquet", "Parquet", "again"]),
        ("text_for_a_time", ["CHARTEVENTS.csv", "row 3", "charttime"]),
        ("text_for_a_number", ["CHARTEVENTS.csv", "row 2", "valuenum", "not a number"]),
        ("too_few_columns", ["CHARTEVENTS.csv", "row 4"]),
        ("duplicated_stay", ["ICUSTAYS.csv", "icustay_id 201", "2 rows"]),
    ],
)
def test_bad_tables_end_in_one_clear_line(tmp_path, fault, words):
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, 1 + i / 60, 80 + i % 7) for i in range(2, 600)]
    root = write_tables(tmp_path / "raw", tables)
    damage(fault)(root)
    done = command("--source", "mimic-iii", "--root", root, "--output", tmp_path / "out", "--splits", EQUAL)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip() and "Writing records" not in line]
    assert len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in words), lines[0]
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--splits", "train=0.5,test=0.1"], "--splits"),
        (["--splits", "0.8,0.1,0.1"], "as in train=0.8,validation=0.1,test=0.1"),
        (["--limit", "0"], "--limit"),
        (["--threads", "0"], "--threads"),
        (["--splits", "train=nan"], "--splits is 'train=nan'"),
        (["--memory-limit", "much"], "--memory-limit much is no size"),
        (["--hours", "nan"], "--hours is nan; give 0 or more"),
        (["--hours", "-1"], "--hours is -1.0; give 0 or more"),
        (["--min-age", "nan"], "--min-age is nan"),
        (["--max-stay-hours", "inf"], "--max-stay-hours is inf"),
        (["--note-view", "as-of=soon"], "--note-view"),
        (["--note-view", "as-of=-1"], "--note-view"),
        (["--labels", "nowhere.yaml"], "--labels nowhere.yaml: there is no such file"),
        (["--channels", "nowhere.yaml"], "--channels nowhere.yaml"),
        (["--root", "nowhere"], "no folder"),
        (["--source", "other"], "invalid choice"),
    ],
)
def test_bad_arguments_end_with_code_2(tmp_path, options, words):
    root = write_tables(tmp_path / "raw", base_tables())
    done = command("--source", "mimic-iii", "--root", root, "--output", tmp_path / "out", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"raw"}


def test_unknown_codes_and_reversed_admissions_are_one_line_each(tmp_path):
    tables = base_tables()
    tables["DIAGNOSES_ICD"].append([101, "99999X"])
    tables["ADMISSIONS"][1][3] = "2099-01-01 00:00:00"
    root = write_tables(tmp_path / "raw", tables)
    done = command("--source", "mimic-iii", "--root", root, "--output", tmp_path / "out", "--splits", EQUAL)
    assert done.returncode == 0
    assert "1 of 12 diagnosis codes are in no table of codes (such as 99999X), 0 of them read" in done.stderr
    assert "1 ICU stay left out: the admission ends before it begins" in done.stderr


def test_an_existing_output_is_left_alone(tmp_path):
    folder = build(tmp_path, base_tables())
    done = command("--source", "mimic-iii", "--root", tmp_path / "raw", "--output", folder)
    assert (done.returncode, "exists already" in done.stderr) == (2, True)
    assert read_metadata(folder)


def test_mimic_iii_demo_agrees_with_the_benchmark_oracle(real_data, tmp_path):
    output = tmp_path / "dataset"
    build_dataset.main(["--source", "mimic-iii", "--root", str(real_data / "mimic-iii-demo"), "--output", str(output)])
    checker = real_data.parent / "tools" / "check_mimic.py"
    done = subprocess.run(
        [sys.executable, str(checker), str(output), str(real_data / "mimic-iii-demo-benchmark")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Not distinguished by the equivalence maps: stay -> labels that only one of the two readers gives.
CHANGED_BY_THE_MAPS = {
    "243123": {"Gastrointestinal hemorrhage"},  # 530.82 became K22.8, which leads back to 530.83 too
    "251281": {
        "Chronic obstructive pulmonary disease and bronchiectasis",  # 493.22 became J44.1, also 491.21
        "Other lower respiratory disease",  # 799.02 became R09.02, which HCUP's own table classes so
    },
}


def test_mimic_iv_reader_agrees_with_the_mimic_iii_reader(real_data, tmp_path):
    for source, root in (("mimic-iii", "mimic-iii-demo"), ("mimic-iv", "mimic-iv-layout")):
        build_dataset.main(["--source", source, "--root", str(real_data / root), "--output", str(tmp_path / source)])
    three, four = rows(tmp_path / "mimic-iii"), rows(tmp_path / "mimic-iv")
    names = label_names(read_metadata(tmp_path / "mimic-iii"))
    assert set(four) <= set(three)
    only_four = 0
    for stay, row in four.items():
        changed = {names[i] for i in set(row["diagnoses"]) ^ set(three[stay]["diagnoses"])}
        assert changed == CHANGED_BY_THE_MAPS.get(stay, set())
        cells, other = (
            {
                (t, c): v
                for t, vs in zip(r["lab_times"], r["lab_values"], strict=True)
                for c, v in enumerate(vs)
                if v == v
            }
            for r in (three[stay], row)
        )
        assert all(other[cell] == value for cell, value in cells.items())
        only_four += len(set(other) - set(cells))
    # MIMIC-IV has no error flag: the values that MIMIC-III marks as wrong stay in.
    flagged = sum(channel["marked_as_error"] for channel in read_metadata(tmp_path / "mimic-iii")["values"])
    assert 0 < only_four <= flagged


def test_eicu_demo(real_data, tmp_path):
    build_dataset.main(
        ["--source", "eicu", "--root", str(real_data / "eicu-crd-demo"), "--output", str(tmp_path / "d")]
    )
    found = rows(tmp_path / "d")
    assert len(found) > 1400
    assert np.mean([bool(row["note"]) for row in found.values()]) > 0.95
    assert not any("Performed" in row["note"] for row in found.values())
    patients = {split: {r["subject_id"] for r in iterate_rows(tmp_path / "d", split)} for split in SPLITS}
    assert not (patients["train"] & patients["test"])
    assert not (patients["train"] & patients["validation"])
    assert json.loads((tmp_path / "d" / "clinragen_dataset.json").read_text())["content_hash"]
