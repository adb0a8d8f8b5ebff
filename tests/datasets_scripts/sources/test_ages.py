# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Ages by the calendar, unknown ones as unknown, in every source; and small datasets that hold every split."""

import csv
import datetime
import re
from collections import Counter

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.dataset.splits import SPLITS, first_patients, parse_splits, split_of
from datasets_scripts.sources.raw_tables import create_macros
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources import small_hospital
from tests.datasets_scripts.sources.raw_tables import base_tables, build, rows
from tests.datasets_scripts.sources.test_eicu import write_eicu


days = st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 12, 31))
LEAP_DAY = datetime.date(2000, 2, 29)


def age_at(birth, day):
    """Birthdays counted one by one: those of 29 February are on 1 March in other years."""
    birthdays = 0
    for year in range(birth.year + 1, day.year + 1):
        try:
            birthday = birth.replace(year=year)
        except ValueError:
            birthday = datetime.date(year, 3, 1)
        birthdays += birthday <= day
    return birthdays


@pytest.fixture(scope="module")
def years():
    connection = duckdb.connect()
    create_macros(connection, {"tables": {}}, {})
    return lambda *dates: connection.execute("SELECT years(?::TIMESTAMP, ?::TIMESTAMP)", dates).fetchone()[0]


@given(days, days, st.booleans())
@settings(max_examples=300)
def test_age_counts_birthdays(years, birth, day, on_leap_day):
    birth = LEAP_DAY if on_leap_day else birth
    if birth <= day:
        assert years(birth, day) == age_at(birth, day)


@pytest.mark.parametrize(
    ("birth", "admission", "age"),
    [
        ("2008-03-01", "2026-03-01", 18),
        ("2008-03-02", "2026-03-01", 17),
        ("2008-02-29", "2026-02-28", 17),
        ("2008-02-29", "2026-03-01", 18),
        ("1957-07-16", "2026-07-15", 68),
        ("1930-01-01", "2026-01-01", 90),
        ("1726-01-01", "2026-01-01", 90),
    ],
)
def test_a_hospitals_dates_of_birth(tmp_path, birth, admission, age):
    tables, mapping = small_hospital.hospital(1)
    del mapping["stays"]["age"]
    mapping["stays"]["birth"] = "birth"
    stay = tables["stays"][0]
    stay |= {"birth": birth, "begin": f"{admission} 10:00:00", "end": f"{admission} 20:00:00"}
    found, _ = small_hospital.build(tmp_path, tables, mapping, "--min-age", "0", "--splits", "train=1")
    assert found["s0"]["age"] == age


@pytest.mark.parametrize("age", ["", "nan", " ", "-1", "inf", "NA", "n/a", "Unknown", "-"])
def test_an_unknown_age_leaves_the_stay_out_and_is_said(tmp_path, caplog, age):
    tables, mapping = small_hospital.hospital(2)
    tables["stays"][0]["age"] = age
    found, metadata = small_hospital.build(tmp_path, tables, mapping, "--min-age", "0", "--splits", "train=1")
    assert set(found) == {"s1"}
    assert {row["why"]: row["stays_lost"] for row in metadata["attrition"]}["age unknown"] == 1
    assert metadata["warnings"] == ["1 ICU stay left out: age unknown"]
    assert "1 ICU stay left out: age unknown" in caplog.text


@pytest.mark.parametrize(
    ("age", "years"),
    [(">89", 90), ("> 89", 90), ("90+", 90), ("90 and above", 90), ("≥90", 90), ("89", 89), ("95", 90), ("0", 0)],
)
def test_the_age_of_the_oldest_may_be_a_bound(tmp_path, age, years):
    tables, mapping = small_hospital.hospital(1)
    tables["stays"][0]["age"] = age
    found, _ = small_hospital.build(tmp_path, tables, mapping, "--min-age", "0", "--splits", "train=1")
    assert found["s0"]["age"] == years


@pytest.mark.parametrize(
    ("age", "named"),
    [("<18", "row 3, column age: not a number"), ("61,5", "column age holds decimal commas; give decimal: ','")]
    + [("old", "row 3, column age: not a number")],
)
def test_an_age_that_is_no_number_is_named(tmp_path, age, named):
    tables, mapping = small_hospital.hospital(2)
    tables["stays"][0]["age"] = ">89"
    tables["stays"][1]["age"] = age
    with pytest.raises(ClinRaGenInputError, match=named):
        small_hospital.build(tmp_path, tables, mapping)


def test_mimic_iii_without_a_date_of_birth(tmp_path):
    tables = base_tables()
    tables["PATIENTS"][0][2] = ""
    tables["PATIENTS"][1][2] = "2082-01-01 00:00:00"  # eighteen on the day of admission
    tables["PATIENTS"][2][2] = "2082-01-02 00:00:00"
    folder = build(tmp_path, tables)
    found = rows(folder)
    assert {"201", "203"} & set(found) == set()
    assert found["202"]["age"] == 18
    lost = {row["why"]: row["stays_lost"] for row in read_metadata(folder)["attrition"]}
    assert (lost["age unknown"], lost["younger"]) == (1, 1)


@pytest.mark.parametrize("age", ["", "nan", "-1", "unknown"])
def test_a_birth_tells_an_age_that_is_unknown(tmp_path, age):
    tables, mapping = small_hospital.hospital(2)
    mapping["stays"]["birth"] = "birth"
    for row, cell in zip(tables["stays"], (age, "60"), strict=True):
        row |= {"age": cell, "birth": "1976-01-01"}
    found, _ = small_hospital.build(tmp_path, tables, mapping)
    assert {stay: row["age"] for stay, row in found.items()} == {"s0": 50, "s1": 60}


def mimic_iv(root, anchors, begin="2150-06-01 00:00:00", end="2150-06-03 00:00:00", first="2150-06-01 01:00:00"):
    """Two days in intensive care for each patient; `anchors`: anchor_age and anchor_year, as in hosp/patients."""
    ids = list(enumerate(anchors, start=1))
    tables = {
        "hosp/patients": [[i, "F", age, year] for i, (age, year) in ids],
        "hosp/admissions": [[100 + i, begin, end, "WHITE"] for i, _ in ids],
        "icu/icustays": [[i, 100 + i, 200 + i, "MICU", begin, end] for i, _ in ids],
        "hosp/diagnoses_icd": [[100 + i, "I509", 10] for i, _ in ids],
        "icu/chartevents": [[i, 200 + i, 220045, first, "", 80, 80] for i, _ in ids],
        "hosp/labevents": [],
    }
    columns = {
        "hosp/patients": "subject_id,gender,anchor_age,anchor_year",
        "hosp/admissions": "hadm_id,admittime,dischtime,race",
        "icu/icustays": "subject_id,hadm_id,stay_id,first_careunit,intime,outtime",
        "hosp/diagnoses_icd": "hadm_id,icd_code,icd_version",
        "icu/chartevents": "subject_id,stay_id,itemid,charttime,storetime,value,valuenum",
        "hosp/labevents": "subject_id,itemid,charttime,storetime,value,valuenum",
    }
    for name, records in tables.items():
        path = root / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([columns[name].split(","), *records])
    return root


def test_mimic_iv_without_an_anchor(tmp_path):
    root = mimic_iv(tmp_path / "raw", [(60, 2150), ("", 2150), (60, ""), (91, 2150), (88, 2140), (50, 2140)])
    arguments = ["--source", "mimic-iv", "--root", str(root), "--output", str(tmp_path / "dataset")]
    build_dataset.main([*arguments, "--splits", "train=1"])
    ages = {stay: row["age"] for stay, row in rows(tmp_path / "dataset").items()}
    assert ages == {"201": 60, "204": 90, "205": 90, "206": 60}
    assert "2 ICU stays left out: age unknown" in read_metadata(tmp_path / "dataset")["warnings"]


@pytest.mark.parametrize("offset", ["", "+02:00", "-05:00"])
def test_mimic_iv_counts_the_years_of_the_ward(tmp_path, offset):
    """An hour after New Year in Berlin is still the old year in UTC; an hour before it in Boston is the new one."""
    begin = {"-05:00": "2149-12-31 23:00:00"}.get(offset, "2150-01-01 01:00:00") + offset
    times = {"begin": begin, "end": f"2150-01-03 00:00:00{offset}", "first": f"2150-01-01 02:00:00{offset}"}
    root = mimic_iv(tmp_path / "raw", [(60, 2150)], **times)
    arguments = ["--source", "mimic-iv", "--root", str(root), "--output", str(tmp_path / "dataset")]
    build_dataset.main([*arguments, "--splits", "train=1"])
    assert rows(tmp_path / "dataset")["201"]["age"] == (59 if offset == "-05:00" else 60)


def test_meds_without_a_birth(tmp_path):
    (tmp_path / "raw" / "data").mkdir(parents=True)
    moment = datetime.datetime.fromisoformat
    stays = [(i, f"s{i}", moment("2020-07-15 08:00:00"), moment("2020-07-16 08:00:00")) for i in (1, 2)]
    events = [(i, begin, "ICU_ADMISSION//MICU", stay) for i, stay, begin, _ in stays]
    events += [(i, end, "ICU_DISCHARGE//MICU", stay) for i, stay, _, end in stays]
    events += [(i, end, "DIAGNOSIS//ICD//10//I50.9", stay) for i, stay, _, end in stays]
    events += [(1, moment("1950-07-16 00:00:00"), "MEDS_BIRTH", None)]
    connection = duckdb.connect()
    connection.execute("CREATE TABLE e (subject_id BIGINT, time TIMESTAMP, code VARCHAR, icustay_id VARCHAR)")
    connection.executemany("INSERT INTO e VALUES (?, ?, ?, ?)", events)
    connection.execute(
        "COPY (SELECT *, NULL::VARCHAR AS hadm_id, NULL::VARCHAR AS race, NULL::FLOAT AS numeric_value, "
        f"NULL::VARCHAR AS text_value FROM e) TO '{tmp_path}/raw/data/0.parquet'"
    )
    arguments = ["--source", "meds", "--root", str(tmp_path / "raw"), "--output", str(tmp_path / "dataset")]
    build_dataset.main([*arguments, "--mapping", "mimic-iv", "--splits", "train=1"])
    assert {stay: row["age"] for stay, row in rows(tmp_path / "dataset").items()} == {"s1": 69}
    assert "1 ICU stay left out: age unknown" in read_metadata(tmp_path / "dataset")["warnings"]


def test_eicu_and_the_benchmark_folders_without_an_age(tmp_path):
    root = write_eicu(tmp_path / "eicu", [("428.0", "")] * 6)
    text = (root / "patient.csv").read_text(encoding="utf-8")
    for stay, age in (("1001", ""), ("1002", "> 89"), ("1004", ">89"), ("1005", ">90")):
        text = re.sub(rf"^({stay},.*?),60,", rf"\1,{age},", text, flags=re.M)
    (root / "patient.csv").write_text(text, encoding="utf-8")
    subject = tmp_path / "benchmark" / "train" / "1"
    subject.mkdir(parents=True)
    stays = [("201", "1940-07-16 00:00:00", ""), ("202", "", ""), ("203", "", "17.9"), ("204", "", "307.5")]
    files = {
        "stays": "SUBJECT_ID,HADM_ID,ICUSTAY_ID,INTIME,OUTTIME,DOB,AGE,ETHNICITY,GENDER\n"
        + "".join(
            f"1,1{stay},{stay},2010-07-15 00:00:00,2010-07-16 00:00:00,{dob},{age},WHITE,F\n"
            for stay, dob, age in stays
        ),
        "diagnoses": "ICUSTAY_ID,ICD9_CODE\n" + "".join(f"{stay},4280\n" for stay, *_ in stays),
        "episode1": "Icustay,Age\n201,69\n",
        "episode1_timeseries": "Hours,Heart Rate\n1,80\n",
    }
    for name, text in files.items():
        (subject / f"{name}.csv").write_text(text, encoding="utf-8")
    for source, folder, ages in (
        ("eicu", root, {"1000": 60, "1002": 90, "1003": 60, "1004": 90, "1005": 90}),
        ("mimic3-benchmarks", tmp_path / "benchmark", {"201": 69, "203": 17, "204": 90}),
    ):
        output = tmp_path / f"of {source}"
        arguments = ["--source", source, "--root", str(folder), "--output", str(output), "--splits", "train=1"]
        build_dataset.main([*arguments, "--min-age", "0"])
        assert {stay: row["age"] for stay, row in rows(output).items()} == ages
        assert "1 ICU stay left out: age unknown" in read_metadata(output)["warnings"]


SHARES = "train=0.8,validation=0.1,test=0.1"
ids = st.sets(st.text("0123456789abc", min_size=1, max_size=8), min_size=1, max_size=300)


@pytest.mark.parametrize("limit", [24, 100, 300])
@pytest.mark.parametrize("splits", [SHARES, "train=0.5,validation=0.25,test=0.25"])
def test_a_small_dataset_has_every_split_in_its_share(limit, splits):
    shares = parse_splits(splits)
    chosen = first_patients([str(10_000 + i) for i in range(5000)], limit, shares, 0)
    counts = Counter(split_of(patient, shares, 0) for patient in chosen)
    assert len(set(chosen)) == limit
    for split in SPLITS:
        assert abs(counts[split] - limit * shares[split]) <= 1, counts


@given(ids, st.integers(1, 300), st.integers(1, 20), st.integers(0, 3), st.randoms())
@settings(max_examples=100)
def test_a_larger_limit_keeps_the_patients_of_a_smaller_one(patients, limit, more, seed, random):
    shares = parse_splits(SHARES)
    listed = sorted(patients)
    random.shuffle(listed)
    fewer = first_patients(listed, limit, shares, seed)
    assert fewer == first_patients(sorted(patients), limit, shares, seed)
    assert len(fewer) == min(limit, len(patients))
    assert set(fewer) <= set(first_patients(listed, limit + more, shares, seed)) <= patients


def test_limit_reads_patients_of_every_split(tmp_path):
    tables, mapping = small_hospital.hospital(120)
    options = ["--splits", "train=0.5,validation=0.25,test=0.25"]
    _, metadata = small_hospital.build(tmp_path / "few", tables, mapping, *options, "--limit", "12")
    assert {split: count["patients"] for split, count in metadata["counts"].items()} == {
        "train": 6,
        "validation": 3,
        "test": 3,
    }
    assert metadata["attrition"][-1]["why"] == "--limit"
