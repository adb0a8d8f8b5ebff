# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Small raw tables in MIMIC-III's format, written by the tests; no row of a real database."""

import csv
import gzip


HEADERS = {
    "PATIENTS": "SUBJECT_ID GENDER DOB",
    "ADMISSIONS": "SUBJECT_ID HADM_ID ADMITTIME ETHNICITY",
    "ICUSTAYS": "SUBJECT_ID HADM_ID ICUSTAY_ID INTIME OUTTIME",
    "DIAGNOSES_ICD": "HADM_ID ICD9_CODE",
    "CHARTEVENTS": "SUBJECT_ID ICUSTAY_ID ITEMID CHARTTIME STORETIME VALUE VALUENUM ERROR",
    "LABEVENTS": "SUBJECT_ID ITEMID CHARTTIME VALUE VALUENUM",
    "NOTEEVENTS": "HADM_ID CATEGORY DESCRIPTION CHARTDATE ISERROR TEXT",
}
PATIENTS = range(1, 13)


def base_tables():
    """Twelve patients with one stay of two days each and a heart rate of 80 at hour 1."""
    return {
        "PATIENTS": [[i, "F", "2040-01-01 00:00:00"] for i in PATIENTS],
        "ADMISSIONS": [[i, 100 + i, "2100-01-01 00:00:00", "WHITE"] for i in PATIENTS],
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
        opener = gzip.open if suffix.endswith(".gz") else open
        path = root / f"{name.lower() if lower else name}{suffix}"
        with opener(path, "wt", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([column.lower() for column in header] if lower else header)
            writer.writerows(rows)
    return root
