# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""New patients: stays without diagnoses, of which some have not ended."""

import duckdb
import pytest

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import LABEL_AUDIT, load_split
from datasets_scripts.sources.reader import load_source
from datasets_scripts.sources.synthetic import write_synthetic_tables
from datasets_scripts.sources.unlabelled import without_labels
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources import raw_tables, small_hospital
from tests.datasets_scripts.sources.raw_tables import rows
from tests.datasets_scripts.sources.test_eicu import write_eicu


STAYS = 6


def new_patients():
    """Stays of which the second has no end, and the third neither end nor measurements; there are no diagnoses."""
    tables, mapping = small_hospital.hospital(STAYS)
    del tables["diagnoses"], mapping["diagnoses"]
    for stay in (1, 2):
        tables["stays"][stay]["end"] = ""
    tables["vitals"] = [row for row in tables["vitals"] if row["stay"] != "s2"]
    tables["vitals"] += [small_hospital.vital("s1", 70, "HR", 88), small_hospital.vital("s0", 70, "HR", 88)]
    return tables, mapping


def test_every_stay_is_kept_and_one_without_an_end_lasts_until_its_last_measurement(tmp_path):
    tables, mapping = new_patients()
    built, metadata = small_hospital.build(tmp_path, tables, mapping, "--unlabelled")
    assert len(built) == STAYS
    assert all(row["diagnoses"] == [] for row in built.values())
    assert built["s1"]["lab_times"] == [1, 2, 70]
    assert built["s0"]["lab_times"] == [1, 2]
    assert built["s2"]["lab_times"] == []
    assert built["s2"]["note"]
    assert metadata["labelled"] is False
    assert metadata["leakage"] == {}
    assert {split: count["stays"] for split, count in metadata["counts"].items()} == {
        "train": 0, "validation": 0, "test": STAYS,
    }  # fmt: skip
    assert [row["stays_lost"] for row in metadata["attrition"]] == [0] * len(metadata["attrition"])
    assert "no diagnosis" not in [row["why"] for row in metadata["attrition"]]
    assert metadata["warnings"] == [f"2 of {STAYS} ICU stays have no end; each lasts until its last measurement"]
    output = tmp_path / "dataset"
    assert "no labels" in (output / "README.md").read_text(encoding="utf-8")
    assert "Diagnoses" not in (output / "README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in (output / "figures").iterdir()) == ["attrition.png", "missingness.png"]
    assert (output / LABEL_AUDIT).read_text(encoding="utf-8").count("\n") == 1
    with pytest.raises(ClinRaGenInputError, match=r"dataset has no labels .*predict\.py --dataset answers it$"):
        load_split(output, "test")


def test_the_end_of_stays_may_have_no_column_and_values_may_name_the_patient_alone(tmp_path):
    """A patient's later stay takes the values from its beginning on."""
    tables, mapping = small_hospital.hospital(2)
    del mapping["diagnoses"], mapping["stays"]["end"], mapping["notes"], tables["diagnoses"], tables["notes"]
    for row in tables["stays"]:
        row["patient"] = "p0"
    tables["stays"][1]["begin"] = small_hospital.at(10)
    mapping["measurements"][0].update({"patient": "patient"})
    del mapping["measurements"][0]["stay"]
    tables["vitals"] = [
        {**small_hospital.vital("", hour, "HR", 80 + hour), "patient": "p0"} for hour in (3, 9, 10, 30)
    ]
    built, _ = small_hospital.build(tmp_path, tables, mapping, "--unlabelled")
    assert built["s0"]["lab_times"] == [3, 9]
    assert built["s1"]["lab_times"] == [0, 20]


def test_labelled_tables_need_diagnoses_and_ends(tmp_path):
    tables, mapping = new_patients()
    with pytest.raises(ClinRaGenInputError, match="section diagnoses is missing"):
        small_hospital.build(tmp_path, tables, mapping)
    tables, mapping = small_hospital.hospital(2)
    del mapping["stays"]["end"]
    with pytest.raises(ClinRaGenInputError, match="stays: end is missing"):
        small_hospital.build(tmp_path, tables, mapping)


def test_diagnoses_that_are_there_are_not_read(tmp_path):
    tables, mapping = small_hospital.hospital(3)
    built, metadata = small_hospital.build(tmp_path, tables, mapping, "--unlabelled")
    assert [row["diagnoses"] for row in built.values()] == [[]] * 3
    assert metadata["warnings"] == []
    assert metadata["codes"]["total"] == 0


def test_a_meds_folder_needs_neither_diagnoses_nor_ends(tmp_path):
    """Assign what names no stay to the one that has begun."""
    tables, mapping = small_hospital.hospital(4)
    expected, _ = small_hospital.build(tmp_path, tables, mapping, "--also-meds", str(tmp_path / "meds"))
    for file in (tmp_path / "meds" / "data").rglob("*.parquet"):
        named = "CASE WHEN code NOT LIKE 'NOTE%' THEN {0} END AS {0}"
        duckdb.sql(
            f"COPY (SELECT * REPLACE ({named.format('stay_id')}, {named.format('hadm_id')}) FROM '{file}' "
            f"WHERE NOT regexp_matches(code, '^(DIAGNOSIS|ICU_DISCHARGE)')) TO '{file}.new' (FORMAT parquet)"
        )
        file.with_name(f"{file.name}.new").rename(file)
    arguments = ["--source", "meds", "--root", str(tmp_path / "meds"), "--output", str(tmp_path / "again")]
    build_dataset.main([*arguments, "--unlabelled"])
    found = rows(tmp_path / "again")
    for stay, row in expected.items():
        assert found[stay]["lab_times"] == row["lab_times"]
        assert found[stay]["note"] == row["note"] != ""


@pytest.mark.parametrize(("option", "value"), [("--splits", "train=1"), ("--also-meds", "meds")])
def test_options_that_do_not_fit_are_refused(tmp_path, option, value):
    with pytest.raises(ClinRaGenInputError, match=f"^{option}: .*leave it out$"):
        small_hospital.build(tmp_path, *new_patients(), "--unlabelled", option, value)


@pytest.mark.parametrize(
    ("name", "table"),
    [("mimic-iii", "diagnoses_icd"), ("mimic-iv", "diagnoses_icd"), ("eicu", "diagnosis")]
    + [("mimic3-benchmarks", "subject_diagnoses")],
)
def test_no_source_needs_its_table_of_diagnoses(name, table):
    source = load_source(name)
    assert set(source["tables"]) - set(without_labels(source)["tables"]) == {table}


def mimic_iii(root):
    raw_tables.write_tables(root, raw_tables.base_tables())
    (root / "DIAGNOSES_ICD.csv.gz").unlink()
    return {str(200 + patient) for patient in raw_tables.PATIENTS}


def mimic_iv(root):
    write_synthetic_tables(root, 12, 0)
    (diagnoses,) = root.glob("hosp/diagnoses_icd*")
    diagnoses.unlink()
    (stays,) = root.glob("icu/icustays*")
    return {str(stay) for (stay,) in duckdb.sql(f"SELECT stay_id FROM read_csv('{stays}')").fetchall()}


def eicu(root):
    write_eicu(root, [("428.0", ""), ("038.9", "")])
    (root / "diagnosis.csv").unlink()
    return {"1000", "1001"}


@pytest.mark.parametrize(("source", "write"), [("mimic-iii", mimic_iii), ("mimic-iv", mimic_iv), ("eicu", eicu)])
def test_every_stay_is_read_of_a_database_without_its_table_of_diagnoses(tmp_path, source, write):
    stays = write(tmp_path / "raw")
    arguments = ["--source", source, "--root", str(tmp_path / "raw"), "--output", str(tmp_path / "dataset")]
    build_dataset.main([*arguments, "--unlabelled"])
    found = rows(tmp_path / "dataset")
    assert found.keys() == stays
    assert {len(row["diagnoses"]) for row in found.values()} == {0}


def test_tables_of_new_patients_can_be_checked(tmp_path, capsys):
    """By the description of those with diagnoses."""
    tables, mapping = new_patients()
    mapping["diagnoses"] = small_hospital.MAPPING["diagnoses"]
    small_hospital.build(tmp_path, tables, mapping, "--unlabelled")
    capsys.readouterr()
    arguments = ["--source", "tables", "--root", str(tmp_path / "hospital"), "--check"]
    build_dataset.main([*arguments, "--unlabelled"])
    said = capsys.readouterr().out
    assert f"stays\n  {STAYS} ICU stays in the tables" in said
    assert "diagnos" not in said
    with pytest.raises(ClinRaGenInputError, match="table diagnoses is missing"):
        build_dataset.main(arguments)
