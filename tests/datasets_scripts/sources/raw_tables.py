# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Small raw tables in MIMIC-III's format, written by the tests; no row of a real database. And builds of them."""

import csv
import gzip
import math

import pyarrow as pa
import pyarrow.parquet as pq

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import SPLITS, iterate_rows, read_metadata
from modeling_clinragen import CHANNELS
from tests.commands import run_script


COLUMN = {channel["name"]: i for i, channel in enumerate(CHANNELS)}
EQUAL = "train=0.34,validation=0.33,test=0.33"


HEADERS = {
    "PATIENTS": "SUBJECT_ID GENDER DOB",
    "ADMISSIONS": "SUBJECT_ID HADM_ID ADMITTIME DISCHTIME ETHNICITY",
    "ICUSTAYS": "SUBJECT_ID HADM_ID ICUSTAY_ID INTIME OUTTIME",
    "DIAGNOSES_ICD": "HADM_ID ICD9_CODE",
    "CHARTEVENTS": "SUBJECT_ID ICUSTAY_ID ITEMID CHARTTIME STORETIME VALUE VALUENUM ERROR",
    "LABEVENTS": "SUBJECT_ID ITEMID CHARTTIME VALUE VALUENUM",
    "NOTEEVENTS": "HADM_ID CATEGORY DESCRIPTION CHARTDATE STORETIME ISERROR TEXT",
}
PATIENTS = range(1, 13)


def base_tables():
    """Twelve patients with one stay of two days each and a heart rate of 80 at hour 1."""
    return {
        "PATIENTS": [[i, "F", "2040-01-01 00:00:00"] for i in PATIENTS],
        "ADMISSIONS": [[i, 100 + i, "2100-01-01 00:00:00", "2100-01-05 00:00:00", "WHITE"] for i in PATIENTS],
        "ICUSTAYS": [[i, 100 + i, 200 + i, "2100-01-01 00:00:00", "2100-01-03 00:00:00"] for i in PATIENTS],
        "DIAGNOSES_ICD": [[100 + i, "4280"] for i in PATIENTS],
        "CHARTEVENTS": [chart(i, 211, 1, 80) for i in PATIENTS],
        "LABEVENTS": [],
        "NOTEEVENTS": [],
    }


def moment(hour):
    return f"2100-01-{1 + int(hour) // 24:02d} {int(hour) % 24:02d}:{round(hour * 60) % 60:02d}:00"


def chart(patient, item, hour, value, number=None, error="", stored=None):
    number = value if number is None else number
    return [patient, 200 + patient, item, moment(hour), stored or moment(hour), value, number, error]


def lab(patient, item, hour, value, number=None):
    return [patient, item, moment(hour), value, value if number is None else number]


def write_tables(root, tables, suffix=".csv.gz", lower=False):
    root.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        header = HEADERS[name].split()
        path = root / f"{name.lower() if lower else name}{suffix}"
        if suffix == ".parquet":
            columns = {column.lower() if lower else column: [] for column in header}
            for row in rows:
                for column, cell in zip(columns.values(), row, strict=True):
                    column.append(None if cell == "" else str(cell))
            pq.write_table(pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()}), path)
            continue
        opener = gzip.open if suffix.endswith(".gz") else open
        with opener(path, "wt", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([column.lower() for column in header] if lower else header)
            writer.writerows(rows)
    return root


def build(tmp_path, tables, *options, source="mimic-iii", **writing):
    root = write_tables(tmp_path / "raw", tables, **writing)
    output = tmp_path / "dataset"
    build_dataset.main(["--source", source, "--root", str(root), "--output", str(output), "--splits", EQUAL, *options])
    return output


def rows(folder):
    return {row["stay_id"]: row for split in SPLITS for row in iterate_rows(folder, split)}


def measured(row, channel):
    """{hour: value} of one channel."""
    pairs = zip(row["lab_times"], (values[COLUMN[channel]] for values in row["lab_values"]), strict=True)
    return {round(hour, 3): round(value, 3) for hour, value in pairs if not math.isnan(value)}


def audit(folder, channel):
    return read_metadata(folder)["values"][COLUMN[channel]]


def command(*arguments):
    return run_script(build_dataset.__file__, *arguments)
