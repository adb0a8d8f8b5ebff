# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Export a cohort as a folder in the Medical Event Data Standard.

Source: Medical-Event-Data-Standard, version 0.4, whose schemas the files have.
"""

import glob
import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from datasets_scripts.sources.cohort import Cohort
from datasets_scripts.sources.meds import described
from datasets_scripts.sources.raw_tables import quoted
from modeling_clinragen import __version__


ROWS_PER_GROUP = 50_000
# The schemas of MEDS 0.4, `DataSchema` with further columns, `SubjectSplitSchema` and `CodeMetadataSchema`. Its
# validation wants these very types: DuckDB's own Parquet files have other strings.
EVENTS = pa.schema(
    [
        pa.field("subject_id", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("us")),
        pa.field("code", pa.string(), nullable=False),
        pa.field("numeric_value", pa.float32()),
        pa.field("text_value", pa.large_string()),
        pa.field("available_time", pa.timestamp("us")),
        *(pa.field(name, pa.string()) for name in ("stay_id", "hadm_id", "source_subject_id")),
    ]
)
SUBJECT_SPLITS = pa.schema([EVENTS.field("subject_id"), pa.field("split", pa.string(), nullable=False)])
CODES = pa.schema(
    [
        EVENTS.field("code"),
        pa.field("description", pa.string()),
        pa.field("parent_codes", pa.list_(pa.string())),
    ]
)
SPLIT_NAMES = {"train": "train", "validation": "tuning", "test": "held_out"}


def export_meds(cohort: Cohort, folder: Path, split_of: Callable[[str], str]) -> None:
    """
    Write a cohort as a MEDS folder: what `meds/clinragen.yaml` reads back into the same dataset.

    Args:
        cohort (`Cohort`): as `read_source` gives it.
        folder (`Path`): an empty folder.
        split_of (callable): patient's id -> `"train"`, `"validation"` or `"test"`.
    """
    _number_patients(cohort, split_of)
    write = partial(_write_parquet, cohort.connection)
    for split in SPLIT_NAMES.values():
        write(
            f"{described()['export']} WHERE p.split = '{split}' "
            "ORDER BY p.subject_id, r.time, r.code, r.stay, r.rank, r.number, r.text",
            folder / "data" / split / "0.parquet",
            EVENTS,
        )
    write(
        "SELECT subject_id, split FROM exported_patients ORDER BY 1",
        folder / "metadata" / "subject_splits.parquet",
        SUBJECT_SPLITS,
    )
    write(
        "SELECT DISTINCT code, NULL AS description, NULL::VARCHAR[] AS parent_codes "
        f"FROM read_parquet({quoted(f'{glob.escape(str(folder))}/data/*/*.parquet')}) ORDER BY 1",
        folder / "metadata" / "codes.parquet",
        CODES,
    )
    metadata = json.dumps(_describe_dataset(cohort.source), indent=1)
    (folder / "metadata" / "dataset.json").write_text(metadata, encoding="utf-8")


def _number_patients(cohort: Cohort, split_of: Callable[[str], str]) -> None:
    """Create the table `exported_patients`: the patients with their numbers and splits in MEDS."""
    run = cohort.connection.execute
    patients = [row[0] for row in run("SELECT DISTINCT subject_id FROM stays ORDER BY 1").fetchall()]
    run("CREATE TABLE exported_patients (source_subject_id VARCHAR, subject_id BIGINT, split VARCHAR)")
    columns = [patients, list(map(_subject_number, patients)), [SPLIT_NAMES[split_of(p)] for p in patients]]
    run("INSERT INTO exported_patients SELECT unnest(?), unnest(?), unnest(?)", columns)


def _subject_number(patient: str) -> int:
    """Return a whole number, as MEDS wants it: the id itself where it is one, else 62 bits of its hash."""
    if re.fullmatch(r"[0-9]{1,18}", patient) and str(int(patient)) == patient:
        return int(patient)
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") >> 2


def _write_parquet(connection: duckdb.DuckDBPyConnection, query: str, file: Path, schema: pa.Schema) -> None:
    """Write the rows of a query as one Parquet file of exactly that schema, a batch at a time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection.execute("SET arrow_large_buffer_size = true")  # a batch may hold more than 2 GB of text
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in connection.sql(query).to_arrow_reader(ROWS_PER_GROUP):
            writer.write_batch(batch.cast(schema))


def _describe_dataset(source: dict) -> dict:
    """Return what `metadata/dataset.json` says."""
    return {
        "dataset_name": source["title"],
        "dataset_version": str(source["version"]),
        "etl_name": "clinragen",
        "etl_version": __version__,
        "meds_version": "0.4.1",
        "created_at": datetime.now(timezone.utc).isoformat(),
        "license": source["licence"],
        "description_uri": source["url"],
        "raw_source_id_columns": ["stay_id", "hadm_id", "source_subject_id"],
        "other_extension_columns": ["available_time"],
    }
