# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""MEDS folders: what the exporter writes is valid MEDS and reads back as the same dataset; other mappings."""

import gzip
import json
import re
from pathlib import Path

import duckdb
import meds
import pyarrow.parquet as pq
import pytest
import yaml

from datasets_scripts import build_dataset
from datasets_scripts.dataset import build as dataset_build
from datasets_scripts.dataset.folder import SPLITS, iterate_rows, read_metadata
from datasets_scripts.sources import meds as meds_module
from datasets_scripts.sources import meds_export
from datasets_scripts.sources.meds import load_mapping
from datasets_scripts.sources.synthetic import write_synthetic_tables
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import COLUMN, base_tables, chart, write_tables


MAPPINGS = Path(meds_module.__file__).with_name("meds")


def build(source, root, output, *options):
    build_dataset.main(["--source", source, "--root", str(root), "--output", str(output), *map(str, options)])
    return {
        split: [{k: v for k, v in row.items() if k != "source"} for row in iterate_rows(output, split)]
        for split in SPLITS
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A small cohort with two stays of one patient: dataset and MEDS folder."""
    folder = tmp_path_factory.mktemp("meds")
    tables = base_tables()
    tables["ICUSTAYS"].append([1, 101, 301, "2100-01-03 06:00:00", "2100-01-04 00:00:00"])
    tables["CHARTEVENTS"] += [chart(1, 223761, hour, 98.6 + hour / 7) for hour in (2, 2.5, 30)]
    tables["DIAGNOSES_ICD"] = [row for row in tables["DIAGNOSES_ICD"] if row[0] != 102] + [[102, "V700"]]
    root = write_tables(folder / "raw", tables)
    direct = build("mimic-iii", root, folder / "direct", "--also-meds", folder / "meds")
    return folder / "meds", direct


def test_a_meds_folder_reads_back_as_the_same_dataset(folders, tmp_path):
    folder, direct = folders
    assert repr(build("meds", folder, tmp_path / "back")) == repr(direct)


@pytest.mark.parametrize(
    ("source", "root"),
    [
        ("mimic-iii", "mimic-iii-demo"),
        ("mimic-iv", "mimic-iv-layout"),
        pytest.param("eicu", "eicu-crd-demo", marks=pytest.mark.slow),
    ],
)
def test_real_patients_read_back_the_same(real_data, tmp_path, source, root):
    direct = build(source, real_data / root, tmp_path / "direct", "--also-meds", tmp_path / "meds")
    assert repr(build("meds", tmp_path / "meds", tmp_path / "back")) == repr(direct)


def test_a_killed_build_goes_on_beside_its_finished_meds_folder(tmp_path, monkeypatch):
    root = write_tables(tmp_path / "raw", base_tables())
    arguments = ["--source", "mimic-iii", "--root", str(root), "--output", str(tmp_path / "out")]
    arguments += ["--also-meds", str(tmp_path / "meds")]

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset_build, "write_records", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_dataset.main(arguments)
    monkeypatch.undo()
    assert (tmp_path / "meds").is_dir()
    assert not (tmp_path / "out").exists()
    build_dataset.main(arguments)
    assert read_metadata(tmp_path / "out")["counts"]["train"]["stays"] > 0
    with pytest.raises(ClinRaGenInputError, match="meds exists already"):
        build_dataset.main([*arguments[:4], "--output", str(tmp_path / "other"), *arguments[6:]])


def test_a_mapping_of_ones_own_lists_channels_with_codes_and_units(folders, tmp_path):
    folder, direct = folders
    mapping = yaml.safe_load((MAPPINGS / "clinragen.yaml").read_text(encoding="utf-8"))
    mapping["items"] = {"Heart Rate": "Heart Rate", "Temperature": [{"code": "Temperature", "unit": "°F"}]}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    back = build("meds", folder, tmp_path / "back", "--mapping", tmp_path / "map.yaml")
    values = lambda dataset, i: sum(row[i] == row[i] for s in dataset.values() for r in s for row in r["lab_values"])  # noqa: E731
    assert values(back, COLUMN["Heart Rate"]) == values(direct, COLUMN["Heart Rate"]) > 0
    assert values(direct, COLUMN["Temperature"]) > values(back, COLUMN["Temperature"]) == 0  # 37 °F is no temperature
    for items, words in (({"Pulse": "HR"}, "no channel 'Pulse'"), ("mine.csv", "mine.csv is no table"), ({}, "items")):
        (tmp_path / "map.yaml").write_text(yaml.safe_dump({**mapping, "items": items}), encoding="utf-8")
        with pytest.raises(ClinRaGenInputError, match=words):
            build("meds", folder, tmp_path / "wrong", "--mapping", tmp_path / "map.yaml")


def check_valid(folder):
    """The files as they lie on disk, without any conversion."""
    shards = list(folder.glob("data/*/*.parquet"))
    assert {path.parent.name for path in shards} == {"train", "tuning", "held_out"}
    for shard in shards:
        table = pq.read_table(shard)
        meds.DataSchema.validate(table)
        assert table.column_names[:5] == ["subject_id", "time", "code", "numeric_value", "text_value"]
        subjects = table["subject_id"].to_pylist()
        times = list(zip(subjects, table["time"].to_pylist(), strict=True))
        assert times == sorted(times)
    meds.SubjectSplitSchema.validate(pq.read_table(folder / meds.subject_splits_filepath))
    codes = pq.read_table(folder / meds.code_metadata_filepath)
    meds.CodeMetadataSchema.validate(codes)
    assert set(codes["code"].to_pylist()) == {code for s in shards for code in pq.read_table(s)["code"].to_pylist()}
    metadata = json.loads((folder / meds.dataset_metadata_filepath).read_text(encoding="utf-8"))
    meds.DatasetMetadataSchema.validate(metadata)
    further = {*metadata["raw_source_id_columns"], *metadata["other_extension_columns"]}
    assert further == set(table.column_names[5:])


def test_the_folder_is_valid_meds(folders):
    folder, direct = folders
    check_valid(folder)
    splits = pq.read_table(folder / meds.subject_splits_filepath)
    assert dict(zip(*splits.to_pydict().values(), strict=True)) == {
        int(row["subject_id"]): {"train": "train", "validation": "tuning", "test": "held_out"}[split]
        for split, rows in direct.items()
        for row in rows
    }


def test_shards_of_notes_of_any_length_and_script_are_valid_and_read_back(tmp_path):
    tables = base_tables()
    texts = ["Chief Complaint: fièvre 発熱", "x" * 1_000_000, "", 'tab\t\x0b, "quote"', "NULL"]
    tables["NOTEEVENTS"] = [
        [100 + i, "Discharge summary", "Report", "2100-01-03", "2100-01-03 10:00:00", "", text]
        for i, text in enumerate(texts, 1)
    ]
    tables["CHARTEVENTS"] += [chart(1, 211, hour / 60, 80) for hour in range(2, 120)]
    root = write_tables(tmp_path / "raw", tables)
    options = ["--note-view", "paper"]
    direct = build("mimic-iii", root, tmp_path / "direct", "--also-meds", tmp_path / "meds", *options)
    check_valid(tmp_path / "meds")
    assert repr(build("meds", tmp_path / "meds", tmp_path / "back", *options)) == repr(direct)


def test_a_shard_larger_than_a_group_of_rows_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(meds_export, "ROWS_PER_GROUP", 2048)  # the least that DuckDB hands over
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1, 211, minute / 60, 80) for minute in range(100, 2700)]
    options = ["--splits", "train=1,validation=0,test=0"]
    root = write_tables(tmp_path / "raw", tables)
    direct = build("mimic-iii", root, tmp_path / "direct", "--also-meds", tmp_path / "meds", *options)
    assert pq.ParquetFile(tmp_path / "meds" / "data" / "train" / "0.parquet").num_row_groups > 1
    assert repr(build("meds", tmp_path / "meds", tmp_path / "back", *options)) == repr(direct)


def test_diagnoses_of_unknown_version_are_read_back(tmp_path):
    write_synthetic_tables(tmp_path / "raw", 20, seed=0)
    table = tmp_path / "raw" / "hosp" / "diagnoses_icd.csv.gz"
    lines = gzip.decompress(table.read_bytes()).decode()
    table.write_bytes(gzip.compress(re.sub(r",10$", ",", lines, flags=re.MULTILINE).encode()))
    direct = build("mimic-iv", tmp_path / "raw", tmp_path / "direct", "--also-meds", tmp_path / "meds")
    check_valid(tmp_path / "meds")
    assert repr(build("meds", tmp_path / "meds", tmp_path / "back")) == repr(direct)
    audits = [(tmp_path / name / "label_audit.csv").read_text(encoding="utf-8") for name in ("direct", "back")]
    assert audits[0] == audits[1]


def test_the_public_extraction_of_mimic_iv_reads_like_its_tables(real_data, tmp_path):
    """Codes as in the public extraction, made here from the tables; laboratory results are stored later there."""
    root = real_data / "mimic-iv-layout"
    direct = build("mimic-iv", root, tmp_path / "direct")
    table = {
        name: f"read_csv('{next(root.glob(f'*/{name}.csv*'))}', all_varchar = true, quote = '\"')"
        for name in ("icustays", "patients", "admissions", "diagnoses_icd", "chartevents", "labevents")
    }
    (tmp_path / "meds" / "data" / "train").mkdir(parents=True)
    columns = "subject_id::BIGINT AS subject_id, {}::TIMESTAMP AS time, {} AS code"
    parts = [
        (table["icustays"], "intime", "'ICU_ADMISSION//' || first_careunit", {"hadm_id": 1, "icustay_id": "stay_id"}),
        (table["icustays"], "outtime", "'ICU_DISCHARGE//' || last_careunit", {"hadm_id": 1, "icustay_id": "stay_id"}),
        (table["patients"], "NULL", "'GENDER//' || gender", {}),
        (table["patients"], "make_timestamp((anchor_year::INT - anchor_age::INT)::BIGINT, 1, 1, 0, 0, 0.0)",
         "'MEDS_BIRTH'", {}),
        (table["admissions"], "admittime", "'HOSPITAL_ADMISSION//' || admission_type", {"hadm_id": 1, "race": 1}),
        (f"(SELECT d.*, a.dischtime FROM {table['diagnoses_icd']} d JOIN {table['admissions']} a USING (hadm_id)) "
         "t(subject_id, hadm_id, seq_num, icd_code, icd_version, dischtime)", "dischtime",
         "'DIAGNOSIS//ICD//' || icd_version || '//' || icd_code", {"hadm_id": 1}),
        (table["chartevents"], "charttime", "'LAB//' || itemid || '//' || coalesce(valueuom, 'UNK')",
         {"numeric_value": "valuenum::FLOAT", "text_value": "value", "icustay_id": "stay_id"}),
        (table["labevents"], "charttime", "'LAB//RESULT//' || itemid || '//' || coalesce(valueuom, 'UNK')",
         {"numeric_value": "valuenum::FLOAT", "text_value": "value", "hadm_id": 1}),
    ]  # fmt: skip
    selects = []
    for source, time, code, extra in parts:
        extras = ", ".join(
            f"{name if extra.get(name) == 1 else extra.get(name, 'NULL')} AS {name}"
            for name in ("numeric_value", "text_value", "hadm_id", "icustay_id", "race")
        )
        selects.append(f"SELECT {columns.format(time, code)}, {extras} FROM {source}")
    shard = tmp_path / "meds" / "data" / "train" / "0.parquet"
    duckdb.sql(f"COPY ({' UNION ALL '.join(selects)}) TO '{shard}' (FORMAT parquet)")
    read = build("meds", tmp_path / "meds", tmp_path / "back", "--mapping", "mimic-iv")
    same = ("subject_id", "hadm_id", "stay_id", "sex", "ethnicity", "care_unit", "diagnoses")
    pick = lambda rows: {r["stay_id"]: [r[name] for name in same] for s in rows.values() for r in s}  # noqa: E731
    assert pick(read) == pick(direct)
    numbers = [
        sum(
            value == value
            for rows in dataset.values()
            for row in rows
            for values in row["lab_values"]
            for value in values
        )
        for dataset in (read, direct)
    ]
    assert numbers[0] == numbers[1] > 10_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["codes"].pop("stay_begin"), "codes: stay_begin is missing"),
        (lambda m: m["codes"].update(stay_begin="(ICU)_(ADMISSION)"), "codes: stay_begin: 2 groups instead of 1"),
        (lambda m: m["codes"].update(sex="GENDER"), "codes: sex: 0 groups instead of 1"),
        (lambda m: m["codes"].update(sex="("), "codes: sex: no regular expression"),
        (lambda m: m["codes"].update(gender="x"), "codes must be a table of"),
        (lambda m: m["columns"].pop("stay_id"), "columns: stay_id is missing"),
        (lambda m: m.pop("items"), "items is missing"),
        (lambda m: m.pop("columns"), "columns must be a table of"),
    ],
)
def test_a_mapping_with_a_fault_names_the_field(tmp_path, change, message):
    mapping = load_mapping("clinragen")
    change(mapping)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mapping))
    with pytest.raises(ClinRaGenInputError, match=message):
        load_mapping(str(tmp_path / "mine.yaml"))


def test_bad_folders_are_refused(tmp_path):
    (tmp_path / "raw" / "data").mkdir(parents=True)
    with pytest.raises(ClinRaGenInputError, match="neither a file nor one of clinragen, eicu, mimic-iv"):
        build("meds", tmp_path / "raw", tmp_path / "out", "--mapping", "nothing")
    with pytest.raises(ClinRaGenInputError, match=r"no data/\*\*/\*.parquet in"):
        build("meds", tmp_path / "raw", tmp_path / "out")
    duckdb.sql(f"COPY (SELECT 1 AS subject_id, 'x' AS code) TO '{tmp_path}/raw/data/0.parquet'")
    with pytest.raises(ClinRaGenInputError, match="column time, stay_id missing; is there another --mapping"):
        build("meds", tmp_path / "raw", tmp_path / "out")
