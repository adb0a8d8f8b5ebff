# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A hospital's own tables, small and clean, for tests to spoil; and builds of them."""

import copy
import csv

import yaml

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen import CHANNELS
from tests.datasets_scripts.sources.raw_tables import rows


CODES = {
    "Heart Rate": "HR", "Temperature": "TEMP", "Glucose": "GLU", "pH": "PH", "Oxygen saturation": "SPO2",
    "Systolic blood pressure": "SBP", "Diastolic blood pressure": "DBP", "Weight": "WT",
}  # fmt: skip
NORMAL = {channel["name"]: channel["mean"] for channel in CHANNELS} | {"Oxygen saturation": 97}
MAPPING = {
    "stays": {
        "file": "stays", "patient": "patient", "stay": "stay", "begin": "begin", "end": "end", "age": "age",
        "sex": "sex", "ethnicity": "ethnicity",
    },
    "diagnoses": [{"file": "diagnoses", "stay": "stay", "code": "code", "icd": 10}],
    "measurements": [{"file": "vitals", "stay": "stay", "time": "time", "code": "item", "value": "value"}],
    "channels": CODES,
    "notes": [{"file": "notes", "stay": "stay", "text": "text", "stored": "stored"}],
}  # fmt: skip


def at(hour):
    return f"2026-01-{1 + int(hour) // 24:02d} {int(hour) % 24:02d}:{round(hour * 60) % 60:02d}:00"


def vital(stay, hour, item, value):
    return {"stay": stay, "time": at(hour), "item": item, "value": value}


def hospital(patients=12):
    """Tables and mapping of patients with one stay of two days each, all channels measured, and a note."""
    stays = [f"s{i}" for i in range(patients)]
    tables = {
        "stays": [
            {"patient": f"p{i}", "stay": stay, "begin": at(0), "end": at(48), "age": 60, "sex": "F", "ethnicity": "x"}
            for i, stay in enumerate(stays)
        ],
        "diagnoses": [{"stay": stay, "code": "I50.9"} for stay in stays],
        "vitals": [
            vital(stay, hour, code, round(NORMAL[channel], 2))
            for stay in stays
            for channel, code in CODES.items()
            for hour in (1, 2)
        ],
        "notes": [{"stay": stay, "text": "short of breath", "stored": at(0.5)} for stay in stays],
    }
    return tables, copy.deepcopy(MAPPING)


def build(folder, tables, mapping, *options):
    """Rows by stay, and the metadata, of a build whose one split holds all patients."""
    root = folder / "hospital"
    root.mkdir(parents=True, exist_ok=True)
    for name, records in tables.items():
        with open(root / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]) if records else HEADERS[name])
            writer.writeheader()
            writer.writerows(records)
    (root / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    output = folder / "dataset"
    arguments = ["--source", "tables", "--root", str(root), "--output", str(output)]
    build_dataset.main([*arguments, *(options or ("--splits", "train=1"))])
    return rows(output), read_metadata(output)


HEADERS = {
    "diagnoses": ["stay", "code"],
    "vitals": ["stay", "time", "item", "value"],
    "vitals_b": ["patient", "time", "item", "value"],
    "notes": ["stay", "text", "stored"],
}
