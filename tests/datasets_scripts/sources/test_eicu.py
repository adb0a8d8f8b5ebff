# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The codes of eICU's cells, each of which may hold several of both versions."""

import csv

import pytest

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.reader import load_source
from tests.datasets_scripts.sources.raw_tables import EQUAL, rows


STAY = {"gender": "Male", "age": "60", "unitdischargeoffset": "2880", "hospitaldischargeoffset": "5000"}
SEPSIS, SHOCK, RENAL = "Septicemia (except in labor)", "Shock", "Acute and unspecified renal failure"
RESPIRATORY, HEART = "Respiratory failure; insufficiency; arrest (adult)", "Congestive heart failure; nonhypertensive"
LOWER, PRESSURE = "Other lower respiratory disease", "Hypertension with complications and secondary hypertension"


def write_eicu(root, diagnoses, text=True):
    """Write one patient a diagnosis, a pair of cell and text, in eICU's layout; all else is empty."""
    root.mkdir()
    tables = {name: [] for name in load_source("eicu")["tables"]}
    for i, (cell, said) in enumerate(diagnoses):
        stay = str(1000 + i)
        ids = {"patientunitstayid": stay, "patienthealthsystemstayid": f"5{i}", "uniquepid": f"001-{i}"}
        tables["patient"].append({**STAY, **ids, "hospitaladmitoffset": "-60"})
        tables["diagnosis"].append({"patientunitstayid": stay, "icd9code": cell, "diagnosisstring": said})
    for name, spec in load_source("eicu")["tables"].items():
        columns = [column for column in spec["columns"] if text or column != "diagnosisstring"]
        with (root / f"{spec['file']}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(tables[name])
    return root


def labels_of(folder):
    names = [label["name"] for label in read_metadata(folder)["labels"]]
    return {stay: {names[i] for i in row["diagnoses"]} for stay, row in rows(folder).items()}


def build(tmp_path, diagnoses, **writing):
    root, folder = write_eicu(tmp_path / "raw", diagnoses, **writing), tmp_path / "dataset"
    build_dataset.main(["--source", "eicu", "--root", str(root), "--output", str(folder), "--splits", EQUAL])
    return folder


CELLS = [
    ("038.9, 785.52, R65.21", {SEPSIS, SHOCK}),
    ("038.9,584.9,R65.20,N17", {SEPSIS, RENAL}),
    ("R65.20, N17.9; I50.9", {SEPSIS, RENAL, HEART}),  # no ICD-9 code: every ICD-10 one
    (" 518.81 ,518.81, j96.00", {RESPIRATORY}),
    ("V58.61, E980.2, I50.9", set()),  # of ICD-9 all the same
    ("E11.9, I50.9", {HEART, "Diabetes mellitus without complication"}),
    ("???, 428.0", {HEART}),
    ("038.9/785.52", {SEPSIS, SHOCK}),
    ('"038.9|584.9"', {SEPSIS, RENAL}),
    ("{038.9}，[584.9]", {SEPSIS, RENAL}),
    ("038.9\u00a0,\u00a0584.9:", {SEPSIS, RENAL}),
    ("799.02, J96.91", set()),
    ("428.0", {HEART}),
]


def test_every_icd_9_code_of_a_cell_counts_and_without_one_every_icd_10_code(tmp_path):
    folder = build(tmp_path, [(cell, "") for cell, _ in CELLS], text=False)
    assert labels_of(folder) == {str(1000 + i): names for i, (_, names) in enumerate(CELLS)}
    counts = read_metadata(folder)["codes"]
    assert (counts["total"], counts["unknown"], counts["unknown_codes"]) == (24, 1, ["???"])


@pytest.mark.parametrize(
    ("cell", "text", "names"),
    [
        ("799.02, J96.91", "pulmonary|respiratory failure|hypoxemia", {RESPIRATORY}),
        ("786.09, J96.92", "pulmonary|respiratory failure|hypercarbia", {LOWER, RESPIRATORY}),
        ("799.02, R09.02", "pulmonary|disorders of the airways|hypoxemia", set()),
        ("785.52, R65.21", "Cardiovascular|Shock / Hypotension|Septic shock", {SEPSIS, SHOCK}),
        ("785.59, R65.21", "cardiovascular|shock / hypotension|shock", {SHOCK}),
        ("401.0, I10", "cardiovascular|vascular disorders|hypertension|malignant", {PRESSURE}),
        ("790.6, R73.9", "endocrine|glucose metabolism|hyperglycemia", set()),
    ],
)
def test_where_text_and_icd_10_code_name_more_than_the_icd_9_code_both_codes_count(tmp_path, cell, text, names):
    assert labels_of(build(tmp_path, [(cell, text)])) == {"1000": names}
