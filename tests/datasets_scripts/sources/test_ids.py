# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Ids that could take one patient's notes and diagnoses to another: empty, shared or rounded ones."""

import pytest

from datasets_scripts import build_dataset
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources import small_hospital, test_eicu
from tests.datasets_scripts.sources.raw_tables import base_tables, build


def with_admissions(*stays):
    """Tables and mapping whose notes and diagnoses are joined by admission; `stays`: patient, stay, admission."""
    tables, mapping = small_hospital.hospital(len(stays))
    for row, (patient, stay, admission) in zip(tables["stays"], stays, strict=True):
        row |= {"patient": patient, "stay": stay, "admission": admission}
    for i, row in enumerate(tables["vitals"]):
        row["stay"] = stays[i * len(stays) // len(tables["vitals"])][1]
    mapping["stays"]["admission"] = "admission"
    mapping["diagnoses"] = [{"file": "diagnoses", "admission": "admission", "code": "code", "icd": 10}]
    mapping["notes"] = [{"file": "notes", "admission": "admission", "text": "text", "stored": "stored"}]
    tables["diagnoses"] = [{"admission": "100", "code": "I50.9"}]
    tables["notes"] = [{"admission": "100", "text": "short of breath", "stored": small_hospital.at(0.5)}]
    return tables, mapping


@pytest.mark.parametrize("empty", ["", " "])
def test_a_stay_without_an_admission_takes_nothing_from_another(tmp_path, empty):
    tables, mapping = with_admissions(("p1", "100", empty), ("p2", "200", "100"), ("p3", "300", "301"))
    tables["diagnoses"].append({"admission": "301", "code": "N17.9"})
    rows, metadata = small_hospital.build(tmp_path, tables, mapping)
    assert {stay: row["note"] for stay, row in rows.items()} == {"200": "Note: short of breath", "300": ""}
    assert {row["why"]: row["stays_lost"] for row in metadata["attrition"]}["no diagnosis"] == 1


def test_a_row_of_an_admission_that_is_only_the_number_of_a_stay_is_said(tmp_path):
    tables, mapping = with_admissions(("p1", "100", ""), ("p2", "200", "201"))
    tables["diagnoses"].append({"admission": "201", "code": "N17.9"})
    _, metadata = small_hospital.build(tmp_path, tables, mapping)
    said = [line for line in metadata["warnings"] if "name no listed ICU stay or admission" in line]
    assert said == ["diagnoses diagnoses: 1 rows name no listed ICU stay or admission of one, and are left out"]


def test_a_stay_without_an_admission_is_none_of_the_stays_of_another(tmp_path):
    tables, mapping = with_admissions(("p1", "100", ""), ("p2", "200", "100"))
    mapping["diagnoses"] = [{"file": "diagnoses", "stay": "stay", "code": "code", "icd": 10}]
    tables["diagnoses"] = [{"stay": stay, "code": "I50.9"} for stay in ("100", "200")]
    rows, _ = small_hospital.build(tmp_path, tables, mapping, "--splits", "train=1", "--stays", "single")
    assert set(rows) == {"100", "200"}


def test_tables_without_admissions_may_name_the_stay_as_one(tmp_path):
    tables, mapping = with_admissions(("p1", "100", ""), ("p2", "200", ""))
    del mapping["stays"]["admission"]
    rows, _ = small_hospital.build(tmp_path, tables, mapping)
    assert {stay: row["hadm_id"] for stay, row in rows.items()} == {"100": "100"}


@pytest.mark.parametrize("spelled", ["100", " 100", "100.0"])
def test_an_admission_of_two_patients_is_refused(tmp_path, spelled):
    tables, mapping = with_admissions(("p1", "1", "100"), ("p2", "2", spelled))
    with pytest.raises(ClinRaGenInputError, match=r"stays.csv: admission 100 is of 2 patients; give no two"):
        small_hospital.build(tmp_path, tables, mapping)


def test_several_stays_of_an_admission_of_one_patient_share_it(tmp_path):
    tables, mapping = with_admissions(("p1", "1", "100"), ("p1 ", "2", "100"))
    rows, _ = small_hospital.build(tmp_path, tables, mapping)
    assert {stay: row["note"] for stay, row in rows.items()} == dict.fromkeys("12", "Note: short of breath")


@pytest.mark.parametrize("column", ["patient", "stay"])
@pytest.mark.parametrize("empty", ["", " ", "\t"])
@pytest.mark.parametrize("also", [False, True])
def test_an_empty_id_of_a_stay_is_refused_with_its_row(tmp_path, column, empty, also):
    tables, mapping = small_hospital.hospital()
    tables["stays"][3][column] = empty
    options = ("--splits", "train=1", *(("--also-meds", str(tmp_path / "meds")) if also else ()))
    with pytest.raises(ClinRaGenInputError, match=f"stays.csv, row 5, column {column}: empty; give"):
        small_hospital.build(tmp_path, tables, mapping, *options)


@pytest.mark.parametrize(("repeated", "more"), [([2], ""), ([2, 5, 5], r" \(and 1 more are in several\)")])
def test_a_stay_in_several_rows_is_refused_with_their_number(tmp_path, repeated, more):
    tables, mapping = small_hospital.hospital()
    tables["stays"] += [tables["stays"][i] for i in repeated]
    with pytest.raises(ClinRaGenInputError, match=f"stays.csv: stay s2 is in 2 rows{more}; remove the duplicate rows"):
        small_hospital.build(tmp_path, tables, mapping)


@pytest.mark.parametrize(("place", "column"), [(0, "subject_id"), (2, "icustay_id")])
def test_an_empty_id_of_a_public_database_is_refused(tmp_path, place, column):
    tables = base_tables()
    tables["ICUSTAYS"][1][place] = ""
    with pytest.raises(ClinRaGenInputError, match=f"ICUSTAYS.csv.gz, row 3, column {column}: empty"):
        build(tmp_path, tables)


def test_an_empty_patient_of_eicu_is_refused(tmp_path):
    root = test_eicu.write_eicu(tmp_path / "raw", [("428.0", ""), ("428.0", "")])
    (root / "patient.csv").write_text((root / "patient.csv").read_text().replace("001-1", ""))
    arguments = ["--source", "eicu", "--root", str(root), "--output", str(tmp_path / "out")]
    with pytest.raises(ClinRaGenInputError, match=r"patient.csv, row 3, column uniquepid: empty"):
        build_dataset.main(arguments)
