# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The export of a made-up hospital: simulated patients in tables as a European program writes them."""

import csv
import tempfile
from datetime import datetime
from pathlib import Path

from datasets_scripts.sources.synthetic import write_synthetic_tables
from tests.mimic_files import rows_of


FAHRENHEIT, POUND, GLUCOSE = "223761", "226531", ("225664", "50931")  # items with values that a hospital would convert
CODES = {
    "HR": ["220045"],
    "ART_SYS": ["220050"],
    "NBP_SYS": ["220179"],
    "ART_DIA": ["220051"],
    "NBP_DIA": ["220180"],
    "ART_MEAN": ["220052"],
    "NBP_MEAN": ["220181"],
    "RR": ["220210"],
    "SPO2": ["220277"],
    "FIO2": ["223835"],
    "TEMP": [FAHRENHEIT, "223762"],
    "WEIGHT": ["224639", POUND],
    "GLU": [*GLUCOSE],
    "PH_ART": ["50820"],
    "PH_URINE": ["51491"],
    "CREA": ["50912"],
    "GCS_EYES": ["220739"],
}
CODE_OF = {item: code for code, items in CODES.items() for item in items}
TABLES = ("hosp/patients", "hosp/diagnoses_icd", "hosp/labevents", "icu/icustays", "icu/chartevents", "note/discharge")
SEX = {"M": "männlich", "F": "weiblich"}


def write_tables(root, tables, encoding="latin-1", delimiter=";"):
    """Write lists of cells, the header first, as CSV files of a new folder."""
    root.mkdir()
    for name, lines in tables.items():
        with open(root / name, "w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(lines)
    return root


def write_export(root: Path, num_patients: int, seed: int = 0, *, new: bool = False) -> Path:
    """
    Write the export of simulated patients: semicolons, decimal commas, days first, Latin-1, glucose in mmol/L, ids
    with leading zeros, vital signs in two files.

    Args:
        new (`bool`): without diagnoses, and the stay of every second patient has not ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic_tables(Path(folder), num_patients, seed)
        tables = {name: rows_of(Path(folder, f"{name}.csv.gz")) for name in TABLES}
    vitals = tables["icu/chartevents"]
    export = {
        "stays.csv": _stays(tables, new),
        "vitals_1.csv": _values(vitals[: len(vitals) // 2], "stay_id", "case_no"),
        "vitals_2.csv": _values(vitals[len(vitals) // 2 :], "stay_id", "case_no"),
        "laboratory.csv": _values(tables["hosp/labevents"], "subject_id", "patient_no"),
        "letters.csv": [["case_no", "written", "text"]]
        + [[_id(row["hadm_id"]), _time(row["storetime"]), row["text"]] for row in tables["note/discharge"]],
    }
    if not new:
        codes = tables["hosp/diagnoses_icd"]
        export["diagnoses.csv"] = [["case_no", "icd", "version"]]
        export["diagnoses.csv"] += [[_id(row["hadm_id"]), row["icd_code"], row["icd_version"]] for row in codes]
    return write_tables(root, export)


def _stays(tables: dict, new: bool) -> list[list[str]]:
    patients = {row["subject_id"]: row for row in tables["hosp/patients"]}
    lines = [["patient_no", "case_no", "admitted", "discharged", "birth_date", "sex", "unit"]]
    for i, stay in enumerate(tables["icu/icustays"]):
        patient, begin = patients[stay["subject_id"]], datetime.fromisoformat(stay["intime"])
        end = "" if new and i % 2 else _time(stay["outtime"])
        born = f"01.01.{begin.year - int(patient['anchor_age'])}"
        ids = [_id(stay["subject_id"]), _id(stay["hadm_id"])]
        lines.append([*ids, _time(stay["intime"]), end, born, SEX[patient["gender"]], stay["first_careunit"]])
    return lines


def _values(rows: list[dict], of: str, column: str) -> list[list[str]]:
    lines = [[column, "time", "code", "value", "stored"]]
    for row in rows:
        cells = [CODE_OF[row["itemid"]], f"{_metric(row):g}".replace(".", ","), _time(row["storetime"])]
        lines.append([_id(row[of]), _time(row["charttime"]), *cells])
    return lines


def _metric(row: dict) -> float:
    """Return a value in the unit of a European hospital."""
    value = float(row["valuenum"])
    if row["itemid"] == FAHRENHEIT:
        return round((value - 32) / 1.8, 2)
    if row["itemid"] == POUND:
        return round(value * 0.45359237, 1)
    return round(value / 18.016, 2) if row["itemid"] in GLUCOSE else value


def _id(number: str) -> str:
    """Return an id with leading zeros; that of a patient, an admission and a stay are the same number."""
    return f"{int(number) % 10_000_000:06d}"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text):%d.%m.%Y %H:%M:%S}"
