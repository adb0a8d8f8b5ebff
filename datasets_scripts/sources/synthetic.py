# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Simulated patients, written as raw tables in MIMIC-IV's layout, for tests and first runs.

Diseases (`synthetic.yaml`) drive what the notes say and how the series move; some show in one of the two only. The
tables are as untidy as real ones: irregular times, gaps, two devices at once, both units of temperature and weight,
slips of the hand, urine pH, items that no channel reads, and a discharge summary that names the diagnoses.
"""

from __future__ import annotations

import filecmp
import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import yaml

from datasets_scripts.sources.synthetic_notes import discharge_summary
from datasets_scripts.sources.synthetic_series import simulate_series
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


AGES = (20, 89)
SIMULATED = "simulated.json"  # marks a folder of simulated tables
DESCRIPTION = Path(__file__).with_name("synthetic.yaml")


def read_world() -> dict:
    """Return `synthetic.yaml`: diseases, channels, items and tables."""
    return yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8"))


def write_synthetic_tables(root: Path, num_patients: int, seed: int) -> None:
    """
    Write the tables of `num_patients` simulated patients under `root`.

    Patient `i` is the same whatever `num_patients`; everything follows from `seed`. A file that is the same already
    stays as it is, so that a build that was killed resumes.

    Raises:
        ClinRaGenInputError: if a table is there that was not simulated.
    """
    world = read_world()
    _mark(root, list(world["tables"]))
    tables = {name: {column: [] for column in columns.split()} for name, columns in world["tables"].items()}
    for i in range(num_patients):
        unit = np.random.default_rng([seed, i, 1])  # of its own: what else is drawn does not depend on it
        care_unit = str(unit.choice(list(world["care_units"]), p=list(world["care_units"].values())))
        _add_patient(tables, world, i, care_unit, np.random.default_rng([seed, i]))
    for name, disease in world["diseases"].items():
        for version, code in zip((9, 10), disease["codes"], strict=True):
            _append(tables["hosp/d_icd_diagnoses"], icd_code=code, icd_version=version, long_title=name)
    for channel, items in world["items"].items():
        for table, item, unit in items:
            _append(tables["icu/d_items" if table == "chartevents" else "hosp/d_labitems"], itemid=item, label=channel)
            if table == "chartevents":
                tables["icu/d_items"]["unitname"][-1] = unit
    for name, columns in tables.items():
        _write(_file(root, name), columns)


def _mark(root: Path, tables: list[str]) -> None:
    """Mark a folder as one of simulated tables; one that holds others is refused, as they would be lost."""
    mark = root / SIMULATED
    others = [] if mark.exists() else [file for file in (_file(root, name) for name in tables) if file.exists()]
    if others:
        raise ClinRaGenInputError(
            f"--root: {others[0]} exists without a {SIMULATED} that says it is simulated; name another folder to "
            "write the simulated tables to"
        )
    root.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"tables": tables}), encoding="utf-8")


def _file(root: Path, table: str) -> Path:
    return root / f"{table}.csv.gz"


def _append(table: dict[str, list], **values) -> None:
    for column, cells in table.items():
        cells.append(values.get(column))


def _write(path: Path, columns: dict[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".unfinished")
    table = pa.table({name: pa.array([None if v is None else str(v) for v in c]) for name, c in columns.items()})
    with open(aside, "wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:  # the same bytes at any time
        pa.csv.write_csv(table, file, pa.csv.WriteOptions(quoting_style="needed"))
    if path.is_file() and filecmp.cmp(aside, path, shallow=False):
        aside.unlink()
    else:
        aside.replace(path)


def _add_patient(tables: dict, world: dict, i: int, care_unit: str, rng: np.random.Generator) -> None:
    subject, hadm, stay = 10_000_000 + i, 20_000_000 + i, 30_000_000 + i
    diseases = draw_diseases(world, rng)
    age, sex, year = draw_age(world, diseases, rng), str(rng.choice(["M", "F"])), int(rng.integers(2110, 2190))
    admitted = datetime(year, 1, 1) + timedelta(minutes=int(rng.integers(0, 500_000)))
    begin = admitted + timedelta(minutes=int(rng.integers(10, 300)))
    hours = float(rng.uniform(24, 48))
    end = begin + timedelta(hours=hours)
    ids = {"subject_id": subject, "hadm_id": hadm}
    anchor = {"anchor_age": age, "anchor_year": year, "anchor_year_group": "2008 - 2010"}
    _append(tables["hosp/patients"], subject_id=subject, gender=sex, **anchor)
    _append(
        tables["hosp/admissions"],
        **ids,
        admittime=admitted,
        dischtime=end + timedelta(days=3),
        admission_type="EMERGENCY",
        race=str(rng.choice(["WHITE", "BLACK/AFRICAN AMERICAN", "ASIAN", "HISPANIC/LATINO", "UNKNOWN"])),
        hospital_expire_flag=0,
    )
    stayed = {"intime": begin, "outtime": end, "los": round(hours / 24, 4)}
    units = {"first_careunit": care_unit, "last_careunit": care_unit}
    _append(tables["icu/icustays"], **ids, stay_id=stay, **units, **stayed)
    version = int(rng.choice([9, 10]))
    codes = [world["diseases"][name]["codes"][version == 10] for name in diseases] or [
        {9: "V700", 10: "Z0000"}[version]
    ]
    for rank, code in enumerate(codes, start=1):
        _append(tables["hosp/diagnoses_icd"], **ids, seq_num=rank, icd_code=code, icd_version=version)
    for channel, readings in simulate_series(world, diseases, sex, hours, rng).items():
        _add_channel(tables, world, channel, readings, ids, stay, begin, rng)
    _add_distractors(tables, world["unread_items"], ids, stay, begin, hours, rng)
    _append(
        tables["note/discharge"],
        note_id=f"{subject}-DS-1",
        **ids,
        note_type="DS",
        note_seq=1,
        charttime=end + timedelta(days=3),
        storetime=end + timedelta(days=4),
        text=discharge_summary(world["diseases"], diseases, age, sex, rng),
    )


def draw_diseases(world: dict, rng: np.random.Generator) -> list[str]:
    """Draw the diseases of one patient: each by its rate, without those that exclude each other."""
    drawn = [name for name, disease in world["diseases"].items() if rng.random() < disease["rate"]]
    excluded = {other for name in drawn for other in world["diseases"][name].get("excludes", ())}
    return [name for name in drawn if name not in excluded]


def draw_age(world: dict, diseases: list[str], rng: np.random.Generator) -> int:
    """Draw an age in years at which the diseases occur."""
    least = max([AGES[0], *(world["diseases"][name].get("min_age", 0) for name in diseases)])
    return int(np.clip(rng.normal(64, 15), least + rng.integers(0, 8), AGES[1]))


def _add_channel(tables, world, channel, readings, ids, stay, begin, rng) -> None:
    items, arterial = world["items"][channel], world["arterial_items"].get(channel)
    table, item, unit = items[int(rng.integers(len(items)))]
    for time, value in zip(*readings, strict=True):
        if rng.random() < 0.003:
            value = float(rng.choice([0.0, 999999.0]))  # a slip of the hand
        _chart(tables, table, ids, stay, begin, time, item, _in_unit(value, unit, channel), unit)
        if arterial and rng.random() < 0.03:  # an arterial line reads the same moment a little differently
            _chart(tables, table, ids, stay, begin, time, arterial, round(value + rng.normal(0, 1)), unit)


def _in_unit(value: float, unit: str, channel: str) -> float:
    if channel == "Temperature":
        return round(value * 1.8 + 32, 1) if unit == "°F" else round(value, 1)
    if channel == "Weight":
        return round(value / 0.45359237, 1) if unit == "lb" else round(value, 1)
    if channel == "Fraction inspired oxygen":
        return round(value * 100)
    return round(value, 2) if channel == "pH" else round(value)


def _chart(tables, table, ids, stay, begin, time, item, value, unit) -> None:
    charted = (begin + timedelta(hours=float(time))).replace(microsecond=0)
    times = {"charttime": charted, "storetime": charted + timedelta(minutes=5)}
    cells = {**ids, **times, "itemid": item, "value": value, "valuenum": value, "valueuom": unit}
    if table == "chartevents":
        _append(tables["icu/chartevents"], **cells, stay_id=stay, warning=0)
    else:
        number = len(tables["hosp/labevents"]["itemid"])
        _append(tables["hosp/labevents"], **cells, labevent_id=number, specimen_id=number)


def _add_distractors(tables, items, ids, stay, begin, hours, rng) -> None:
    for time in rng.uniform(0, hours, 3):
        _chart(tables, "labevents", ids, stay, begin, time, items["urine_ph"], round(rng.uniform(5, 8), 1), "units")
        _chart(
            tables, "labevents", ids, stay, begin, time, items["creatinine"], round(rng.uniform(0.6, 1.4), 1), "mg/dL"
        )
        _chart(tables, "chartevents", ids, stay, begin, time, items["glasgow_eyes"], int(rng.integers(1, 5)), None)
