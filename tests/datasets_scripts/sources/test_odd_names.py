# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Folders, files and columns whose names mean something to SQL, globs or a shell: they are names."""

import json
import shutil

import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.raw_tables import identifier, quoted, scanned
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import base_tables, rows, write_tables
from tests.datasets_scripts.sources.small_hospital import build, hospital


ODD = ["a?b", "o'clock", 'say "x"', "[x]", "*", "a b;--", "{0}", "%s", "é\u00a0x", "$HOME", "a\nb"]


@pytest.mark.parametrize("name", ODD)
def test_a_folder_of_any_name_is_read_and_no_other(tmp_path, name):
    """Its neighbours, which `?` and `*` would find as well, hold a patient more."""
    tables = base_tables()
    for folder, left_out in ((name, 1), ("axb", 0), ("x", 0)):
        write_tables(tmp_path / folder, {table: records[left_out:] for table, records in tables.items()}, ".csv")
    output = tmp_path / "out"
    build_dataset.main(["--source", "mimic-iii", "--root", str(tmp_path / name), "--output", str(output)])
    assert sum(count["stays"] for count in read_metadata(output)["counts"].values()) == 11


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["a?b'c [x]", 'say "x" *'])
def test_a_hospitals_columns_and_files_may_have_any_name(tmp_path, name, suffix):
    tables, mapping = hospital(3)
    expected = build(tmp_path / "plain", tables, mapping)[0]
    root = tmp_path / name
    shutil.copytree(tmp_path / "plain/hospital", root)
    odd = {}
    for section in ("stays", "diagnoses", "measurements", "notes"):
        given = mapping[section] if isinstance(mapping[section], dict) else mapping[section][0]
        table = pyarrow.csv.read_csv(root / f"{given['file']}.csv", convert_options=TEXT)
        (root / f"{given['file']}.csv").unlink()
        table = table.rename_columns([f"{column} {name}" for column in table.column_names])
        file = f"{given['file']} {name.replace('*', '')}"
        write = pyarrow.csv.write_csv if suffix == "csv" else pyarrow.parquet.write_table
        write(table, root / f"{file}.{suffix}")
        odd[section] = {k: v if k == "icd" else f"{v} {name}" for k, v in given.items()} | {"file": file}
    (root / "map.yaml").write_text(yaml.safe_dump(mapping | odd), encoding="utf-8")
    build_dataset.main(
        ["--source", "tables", "--root", str(root), "--output", str(tmp_path / "out"), "--splits", "train=1"]
    )
    assert json.dumps(rows(tmp_path / "out")) == json.dumps(expected)


NAMES = (
    "patient",
    "stay",
    "begin",
    "end",
    "age",
    "sex",
    "ethnicity",
    "code",
    "time",
    "item",
    "value",
    "text",
    "stored",
)
TEXT = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(NAMES, "string"))


def test_a_meds_folder_of_any_name_is_exported_and_read(tmp_path):
    write_tables(tmp_path / "raw", base_tables(), ".csv")
    meds, output = tmp_path / "a?b'c [x] *", tmp_path / "again"
    first = ["--source", "mimic-iii", "--root", str(tmp_path / "raw"), "--output", str(tmp_path / "first")]
    build_dataset.main([*first, "--also-meds", str(meds)])
    build_dataset.main(["--source", "meds", "--root", str(meds), "--output", str(output)])
    assert set(rows(output)) == set(rows(tmp_path / "first"))


def test_names_and_texts_as_sql():
    assert identifier('a"b') == '"a""b"'
    assert quoted("it's") == "'it''s'"


def test_a_file_is_scanned_as_it_is_named_and_a_pattern_as_one(tmp_path):
    (tmp_path / "a[1]?.csv").write_text("x\n")
    assert scanned(tmp_path / "a[1]?.csv").endswith("/a[[]1][?].csv'")
    assert scanned(tmp_path / "*.csv").endswith("/*.csv'")


def test_a_table_whose_file_is_a_folder_is_missing(tmp_path):
    write_tables(tmp_path / "raw", base_tables(), ".csv")
    (tmp_path / "raw/PATIENTS.csv").unlink()
    (tmp_path / "raw/PATIENTS.csv").mkdir()
    with pytest.raises(ClinRaGenInputError, match=r"table .*PATIENTS is missing"):
        build_dataset.main(["--source", "mimic-iii", "--root", str(tmp_path / "raw"), "--output", str(tmp_path / "o")])
