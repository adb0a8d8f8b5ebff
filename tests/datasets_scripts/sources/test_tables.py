# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A hospital's own tables: the MIMIC-III demo under other names, formats and units; and what users get wrong."""

import csv
from pathlib import Path

import duckdb
import numpy as np
import pytest
import yaml

from datasets_scripts.build_dataset import main
from datasets_scripts.dataset.folder import SPLITS, iterate_rows, read_metadata
from datasets_scripts.sources import reader
from modeling_clinragen import CHANNELS, ClinRaGenInputError
from tests.datasets_scripts.sources import small_hospital


COLUMN = {channel["name"]: i for i, channel in enumerate(CHANNELS)}
EXAMPLE = Path(reader.__file__).with_name("tables_example.yaml")


def build(root, mapping, output, *options):
    main(["--source", "tables", "--root", str(root), "--mapping", str(mapping), "--output", str(output), *options])
    return {row["stay_id"]: row for split in SPLITS for row in iterate_rows(output, split)}


def test_the_demo_as_a_hospitals_tables_gives_the_dataset_of_the_direct_path(real_data, tmp_path):
    demo, root = real_data / "mimic-iii-demo", tmp_path / "hospital"
    (root / "vitals").mkdir(parents=True)

    def read(name):
        return f"read_csv('{demo}/{name}.csv.gz', all_varchar = true, delim = ',', quote = '\"', escape = '\"')"

    duckdb.sql(
        f"""COPY (
          SELECT s.subject_id AS "Pat", s.icustay_id AS "Fall", s.hadm_id AS "Aufenthalt", s.intime AS "Von",
                 s.outtime AS "Bis", p.dob AS "Geburt", CASE p.gender WHEN 'M' THEN 'Mann' ELSE 'Frau' END AS "Sex",
                 a.ethnicity AS "Gruppe", s.first_careunit AS "Station"
          FROM {read("ICUSTAYS")} s
          JOIN {read("PATIENTS")} p USING (subject_id) JOIN {read("ADMISSIONS")} a USING (hadm_id)
        ) TO '{root}/Stays.parquet'"""
    )
    duckdb.sql(f"COPY (SELECT hadm_id, icd9_code AS code FROM {read('DIAGNOSES_ICD')}) TO '{root}/diag.csv' (HEADER)")
    for half in (0, 1):  # charted values in two Parquet files
        duckdb.sql(
            f"""COPY (
              SELECT icustay_id, subject_id, charttime, storetime, itemid, coalesce(valuenum, value) AS result
              FROM {read("CHARTEVENTS")} WHERE error IS DISTINCT FROM '1' AND itemid::BIGINT % 2 = {half}
            ) TO '{root}/vitals/{half}.parquet'"""
        )
    venous = f"""SELECT subject_id, charttime FROM {read("LABEVENTS")} WHERE itemid = '50800'
                 GROUP BY ALL HAVING NOT bool_or(value LIKE 'ART%')"""
    duckdb.sql(
        f"""COPY (
          SELECT l.subject_id, l.itemid, l.charttime, coalesce(l.valuenum, l.value) AS result
          FROM {read("LABEVENTS")} l LEFT JOIN ({venous}) v USING (subject_id, charttime)
          WHERE l.itemid NOT IN ('50820', '50817') OR v.subject_id IS NULL
        ) TO '{root}/lab.csv.gz' (HEADER, COMPRESSION gzip)"""
    )
    channels = {}
    with open(EXAMPLE.with_name("mimic_items.csv"), encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["channel"] in COLUMN:
                channels.setdefault(row["channel"], []).append({"code": int(row["itemid"]), "unit": row["unit"]})
    mapping = {
        "stays": {
            "file": "stays", "patient": "pat", "stay": "fall", "admission": "Aufenthalt", "begin": "Von", "end": "Bis",
            "birth": "Geburt", "sex": "Sex", "ethnicity": "Gruppe",
            "care_unit": "Station",
        },
        "sex": {"M": ["Mann"], "F": ["Frau"]},
        "diagnoses": {"file": "diag", "admission": "hadm_id", "code": "code", "icd": 9},
        "measurements": [
            {
                "file": "vitals/*.parquet", "stay": "icustay_id", "patient": "subject_id", "time": "charttime",
                "stored": "storetime", "code": "itemid", "value": "result",
            },
            {"file": "lab", "patient": "subject_id", "time": "charttime", "code": "itemid", "value": "result"},
        ],
        "channels": channels,
    }  # fmt: skip
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    ours = build(root, tmp_path / "map.yaml", tmp_path / "ours")
    main(["--source", "mimic-iii", "--root", str(demo), "--output", str(tmp_path / "direct")])
    direct = {row["stay_id"]: row for split in SPLITS for row in iterate_rows(tmp_path / "direct", split)}
    assert set(ours) == set(direct)
    for stay_id, row in direct.items():
        same = {**ours[stay_id], "source": "mimic-iii"}
        for name in ("lab_values", "lab_available_times"):
            np.testing.assert_array_equal(same.pop(name), row.pop(name), err_msg=stay_id)
        assert same == row


STAYS = """patient_id,stay_id,admission_id,icu_in,icu_out,age,sex,ethnicity,unit
p1,s1,a1,2026-01-01 00:00:00,2026-01-03 00:00:00,60,mann,,
p2,s2,a2,2026-01-01 00:00:00,2026-01-03 00:00:00,95,frau,x, Neuro ICU
"""
FILES = {
    "stays.csv": STAYS,
    "diagnoses.csv": "admission_id,code\na1,I50.9\na2,N17.9\n",
    "vitals.csv": "stay_id,charted,entered,item,value\n"
    "s1,2026-01-01 01:00:00,2026-01-01 01:30:00,HR,80\ns1,2026-01-01 02:00:00,,TEMP_F,98.6\n"
    "s1,2026-01-01 02:00:00,,FIO2,40\ns2,2026-01-01 02:00:00,,UNKNOWN,1\n",
    "laboratory.csv": "patient_id,taken,validated,test,result\np1,2026-01-01 03:00:00,2026-01-01 05:00:00,GLU,5.5\n",
    "notes.csv": "stay_id,kind,text,written\ns1,Admission,short of breath,2026-01-01 00:30:00\n"
    "s1,Discharge letter,heart failure,2026-01-03 00:00:00\n",
}


@pytest.fixture
def hospital(tmp_path):
    root = tmp_path / "hospital"
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_the_example_mapping_reads_what_it_says(hospital, tmp_path):
    rows = build(hospital, EXAMPLE, tmp_path / "out")
    row = rows["s1"]
    assert (row["subject_id"], row["hadm_id"], row["age"], row["sex"], rows["s2"]["age"]) == ("p1", "a1", 60, "M", 90)
    assert [(r["ethnicity"], r["care_unit"]) for r in map(rows.get, ("s1", "s2"))] == [
        (None, None),
        ("x", "Neuro ICU"),
    ]
    assert [row["diagnoses"], rows["s2"]["diagnoses"]] == [[22], [0]]
    assert row["lab_times"] == [1, 2, 3]
    at = lambda channel, time: row["lab_values"][time][COLUMN[channel]]  # noqa: E731
    assert at("Heart Rate", 0) == 80
    assert at("Temperature", 1) == pytest.approx(37, abs=1e-4)
    assert at("Fraction inspired oxygen", 1) == pytest.approx(0.4)
    assert at("Glucose", 2) == pytest.approx(5.5 * 18.016, rel=1e-5)
    known = row["lab_available_times"]
    assert (known[0][COLUMN["Heart Rate"]], known[2][COLUMN["Glucose"]]) == (1.5, 5)
    assert row["note"] == "Admission: short of breath"  # what was written two days later is not about the admission


def test_the_only_yaml_file_beside_the_tables_describes_them(hospital, tmp_path):
    arguments = ["--source", "tables", "--root", str(hospital), "--output", str(tmp_path / "out")]
    with pytest.raises(ClinRaGenInputError, match=r"--mapping is needed.*holds 0"):
        main(arguments)
    (hospital / "hospital.yaml").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    main(arguments)
    assert read_metadata(tmp_path / "out")["counts"]
    (hospital / "another.yaml").write_text("", encoding="utf-8")
    with pytest.raises(ClinRaGenInputError, match="holds 2"):
        main([*arguments[:-1], str(tmp_path / "again")])


@pytest.mark.parametrize(
    ("hours", "note"),
    [
        ("0.4", ""),
        ("0.5", "Admission: short of breath"),
        ("48", "Admission: short of breath\nDischarge letter: heart failure"),
    ],
)
def test_as_of_reads_only_what_was_stored_by_then(hospital, tmp_path, hours, note):
    rows = build(hospital, EXAMPLE, tmp_path / "out", "--note-view", f"as-of={hours}")
    assert rows["s1"]["note"] == note
    leaks = read_metadata(tmp_path / "out")["leakage"][f"as-of={hours}"]
    assert leaks["gold_named"] == (None if not note else 1.0 if hours == "48" else 0.0)


def test_a_unit_column_decides_row_by_row(hospital, tmp_path):
    mapping = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    mapping["measurements"] = [
        {"file": "vitals", "stay": "stay_id", "time": "charted", "code": "item", "value": "value", "unit": "unit"}
    ]
    mapping["channels"] = {"Glucose": ["GLU"], "Temperature": ["TEMP"]}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    (hospital / "vitals.csv").write_text(
        "stay_id,charted,item,value,unit\ns1,2026-01-01 01:00:00,GLU,10,mmol/l\ns1,2026-01-01 02:00:00,GLU,100,mg/dL\n"
        "s1,2026-01-01 03:00:00,TEMP,98.6,deg. F\ns1,2026-01-01 04:00:00,TEMP,38,\n",
        encoding="utf-8",
    )
    values = np.array(build(hospital, tmp_path / "map.yaml", tmp_path / "out")["s1"]["lab_values"])
    assert values[:2, COLUMN["Glucose"]] == pytest.approx([180.16, 100])
    assert values[2:, COLUMN["Temperature"]] == pytest.approx([37, 38])
    with open(hospital / "vitals.csv", "a", encoding="utf-8") as file:
        file.write("s1,2026-01-01 05:00:00,GLU,10,furlong\n")
    with pytest.raises(
        ClinRaGenInputError, match=r"vitals.csv, row 6, column unit: unit 'furlong' is unknown for Glucose"
    ):
        build(hospital, tmp_path / "map.yaml", tmp_path / "again")


def test_one_table_may_have_a_unit_column_and_another_none(tmp_path, capsys):
    tables, mapping = small_hospital.hospital(2)
    glucose = [row for row in tables["vitals"] if row["item"] == "GLU"]
    tables["vitals"] = [row for row in tables["vitals"] if row["item"] != "GLU"]
    tables["vitals_b"] = [
        {**row, "value": value, "unit": unit}
        for row, (value, unit) in zip(glucose, [(10, "mmol/l"), (100, "mg/dL"), (6, ""), (7, "mmol/L")], strict=True)
    ]
    mapping["measurements"].append({**mapping["measurements"][0], "file": "vitals_b", "unit": "unit"})
    mapping["channels"]["Glucose"] = {"code": "GLU", "unit": "mmol/L"}
    rows, metadata = small_hospital.build(tmp_path, tables, mapping)
    read = [values[COLUMN["Glucose"]] for stay in ("s0", "s1") for values in rows[stay]["lab_values"]]
    assert read == pytest.approx([180.16, 100, 6 * 18.016, 7 * 18.016])
    assert not metadata["warnings"]
    counts = {row["channel"]: row["kept"] for row in metadata["values"]}
    assert (counts["Heart Rate"], counts["Temperature"]) == (4, 4)
    main(["--source", "tables", "--root", str(tmp_path / "hospital"), "--check"])
    printed = capsys.readouterr().out
    assert "    codes: HR 4 (/min)\n" in printed
    (codes,) = [line for line in printed.splitlines() if line.startswith("    codes: GLU")]
    assert sorted(codes.removeprefix("    codes: ").split(", ")) == [
        "GLU 1 (mmol/L)",
        "GLU mg/dL 1 (mg/dL)",
        "GLU mmol/L 1 (mmol/L)",
        "GLU mmol/l 1 (mmol/L)",
    ]


def test_check_counts_the_values_that_the_model_reads_alike(tmp_path, capsys):
    tables, mapping = small_hospital.hospital(2)
    for row, value in zip([row for row in tables["vitals"] if row["item"] == "GLU"], (4, 16, 300, 900), strict=True):
        row |= {"item": "CRP", "value": value}
    mapping["channels"] = {"Heart Rate": "HR", "C-reactive protein": "CRP"}
    small_hospital.build(tmp_path, tables, {**mapping, "channels": {"Heart Rate": "HR"}})
    (tmp_path / "hospital" / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    channels = tmp_path / "channels.yaml"
    crp = {"name": "C-reactive protein", "unit": "mg/L", "low": None, "high": 5, "minimum": 0, "maximum": 700}
    command = ["--source", "tables", "--root", str(tmp_path / "hospital"), "--channels", str(channels), "--check"]
    for statistics, told in (({}, "2 of 4 lie outside of -10 to 15, and"), ({"mean": 50, "std": 60}, None)):
        channels.write_text(yaml.safe_dump({"extends": "paper", "channels": [crp | statistics]}), encoding="utf-8")
        main(command)
        said = [line.strip() for line in capsys.readouterr().out.splitlines() if "lie outside of" in line]
        assert [line.startswith(told) for line in said] == ([True] if told else [])


@pytest.mark.parametrize(
    ("version", "reading"),
    [("9", 9), ("10", 10), ("ICD-9-CM", 9), ("ICD10CM", 10), ("icd9", 9), ("10.0", 10), ("2019 ICD-10", 10)]
    + [("ICD-10-GM 2009", 10), ("X", None), ("2019", None), ("19", None), ("910", None)],
)
def test_the_version_of_a_diagnosis(tmp_path, version, reading):
    tables, mapping = small_hospital.hospital(2)
    codes = {9: "428.0", 10: "I50.9", None: "I50.9"}
    mapping["diagnoses"] = [{"file": "diagnoses", "stay": "stay", "code": "code", "version": "version"}]
    tables["diagnoses"] = [
        {"stay": "s0", "code": "I50.9", "version": "10"},
        {"stay": "s1", "code": codes[reading], "version": version},
    ]
    if reading is None:
        with pytest.raises(ClinRaGenInputError, match=r"diagnoses.csv, row 3, column version: not a version of ICD"):
            small_hospital.build(tmp_path, tables, mapping)
    else:
        rows, metadata = small_hospital.build(tmp_path, tables, mapping)
        assert [row["diagnoses"] for row in rows.values()] == [[22], [22]]
        assert metadata["warnings"] == []


def change(path, value):
    def apply(mapping):
        *parents, last = path
        for key in parents:
            mapping = mapping[key]
        if value is None:
            del mapping[last]
        else:
            mapping[last] = value

    return apply


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (change(["stays"], None), "section stays is missing"),
        (change(["stays", "begin"], None), "stays: begin is missing"),
        (change(["stays", "age"], None), "stays: age or birth is missing"),
        (change(["stays", "colour"], "red"), "stays: unknown field 'colour'"),
        (change(["stays", "patient"], "who"), "stays.csv: column who missing"),
        (change(["stays", "file"], "beds"), "table beds is missing"),
        (change(["diagnoses", "icd"], None), "diagnoses: give either version"),
        (change(["diagnoses", "icd"], 11), "icd is 11"),
        (change(["measurements", 1, "patient"], None), "measurements: stay or patient is missing"),
        (change(["channels", "Glucose"], [{"code": "GLU", "unit": "stone"}]), "unit 'stone' is unknown for Glucose"),
        (change(["channels", "Glucose"], [{"unit": "mg/dL"}]), "channels: Glucose: give a code"),
        (change(["channels", "Heart rate"], ["HR"]), "there is no channel 'Heart rate'; did you mean Heart Rate?"),
        (
            change(["channels", "C-reactive protein"], ["CRP"]),
            "channel 'C-reactive protein'; give its file as --channels",
        ),
        (change(["extra"], {}), "unknown section 'extra'"),
    ],
)
def test_mistakes_in_the_mapping_are_named(hospital, tmp_path, fault, words):
    mapping = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    fault(mapping)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    with pytest.raises(ClinRaGenInputError) as error:
        build(hospital, tmp_path / "map.yaml", tmp_path / "out")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
