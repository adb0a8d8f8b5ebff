# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder like those of the public mimic3-benchmarks extraction, made from a direct build, must give it back."""

import csv
import itertools

import duckdb
import numpy as np

from datasets_scripts.build_dataset import main
from datasets_scripts.dataset.folder import SPLITS, iterate_rows
from modeling_clinragen import CHANNELS


UNREAD = ["Capillary refill rate", "Glascow coma scale total", "Height"]


def build(source, root, output, *options):
    main(["--source", source, "--root", str(root), "--output", str(output), *options])
    return {split: list(iterate_rows(output, split)) for split in SPLITS}


def write_benchmark_folder(root, rows, tables):
    """`tables`: stay id -> the fields of stays.csv; and hadm id -> ICD-9 codes."""
    stays, codes = tables
    for subject, group in itertools.groupby(sorted(rows, key=lambda r: r["subject_id"]), lambda r: r["subject_id"]):
        folder = root / ("train" if int(subject) % 3 else "test") / subject
        group = sorted(group, key=lambda r: stays[r["stay_id"]]["INTIME"])
        write(folder / "stays.csv", [stays[r["stay_id"]] for r in group])
        write(
            folder / "diagnoses.csv",
            [
                {
                    "SUBJECT_ID": subject,
                    "HADM_ID": r["hadm_id"],
                    "SEQ_NUM": i,
                    "ICD9_CODE": code,
                    "ICUSTAY_ID": r["stay_id"],
                }
                for r in group
                for i, code in enumerate(codes[r["hadm_id"]])
            ],
        )
        for number, row in enumerate(group, 1):
            write(folder / f"episode{number}.csv", [{"Icustay": row["stay_id"], "Age": row["age"], "Height": ""}])
            names = sorted([c["name"] for c in CHANNELS] + UNREAD[number % 2 :])  # columns differ between files
            series = []
            for hour, values in zip(row["lab_times"], row["lab_values"], strict=True):
                cells = {c["name"]: "" if v != v else repr(v) for c, v in zip(CHANNELS, values, strict=True)}
                series.append({"Hours": repr(hour)} | {name: cells.get(name, "") for name in names})
            write(folder / f"episode{number}_timeseries.csv", series, ["Hours", *names])


def write(path, rows, header=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_benchmark_folder_gives_the_dataset_of_the_direct_path(real_data, tmp_path):
    demo = real_data / "mimic-iii-demo"
    direct = build("mimic-iii", demo, tmp_path / "direct")
    rows = [row for split in direct.values() for row in split]
    query = f"""
        SELECT s.subject_id, s.hadm_id, s.icustay_id, s.intime, s.outtime, a.ethnicity, p.gender, p.dob,
               s.first_careunit
        FROM read_csv('{demo}/ICUSTAYS.csv.gz', all_varchar = true) s
        JOIN read_csv('{demo}/ADMISSIONS.csv.gz', all_varchar = true) a USING (hadm_id)
        JOIN read_csv('{demo}/PATIENTS.csv.gz', all_varchar = true) p ON s.subject_id = p.subject_id
    """
    names = ["SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "INTIME", "OUTTIME", "ETHNICITY", "GENDER", "DOB", "LAST_CAREUNIT"]
    stays = {row[2]: dict(zip(names, row, strict=True)) for row in duckdb.sql(query).fetchall()}
    codes = {}
    for hadm, code in duckdb.sql(
        f"SELECT hadm_id, icd9_code FROM read_csv('{demo}/DIAGNOSES_ICD.csv.gz', all_varchar = true)"
    ).fetchall():
        codes.setdefault(hadm, []).append(code)
    write_benchmark_folder(tmp_path / "root", rows, (stays, codes))
    read = build("mimic3-benchmarks", tmp_path / "root", tmp_path / "read")
    for split in SPLITS:
        assert len(read[split]) == len(direct[split]) > 0
        for ours, theirs in zip(read[split], direct[split], strict=True):
            np.testing.assert_array_equal(ours.pop("lab_values"), theirs.pop("lab_values"))
            known = np.array(ours.pop("lab_available_times"), dtype=float)
            np.testing.assert_array_equal(np.nanmax(known, axis=1), ours["lab_times"])
            theirs.pop("lab_available_times")  # the benchmark's folders do not hold it
            assert (ours.pop("source"), theirs.pop("source")) == ("mimic3-benchmarks", "mimic-iii")
            assert ours == theirs
