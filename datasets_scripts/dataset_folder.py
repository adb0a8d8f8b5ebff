# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The dataset folder: its columns, its files, and how it is read and written.

`data/SPLIT-*.parquet` holds the records, `clinragen_dataset.json` what they mean, `README.md` the dataset card.
`load_dataset(folder)` reads it offline, with class labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


if TYPE_CHECKING:
    from datasets import Dataset


SCHEMA_VERSION = 1
METADATA_FILE = "clinragen_dataset.json"
SPLITS = ("train", "validation", "test")
ROWS_PER_SHARD = 10_000
ROWS_PER_GROUP = 500

COLUMNS = pa.schema(
    {
        "subject_id": pa.string(),
        "hadm_id": pa.string(),
        "stay_id": pa.string(),
        "source": pa.string(),
        "age": pa.float32(),
        "sex": pa.string(),
        "ethnicity": pa.string(),
        "note": pa.string(),
        "lab_times": pa.list_(pa.float32()),
        "lab_values": pa.list_(pa.list_(pa.float32())),
        "lab_caption": pa.string(),
        "diagnoses": pa.list_(pa.int64()),
        "note_rationale": pa.string(),
        "lab_rationale": pa.string(),
        "teacher": pa.string(),
    }
)


def schema_for(labels: list[str]) -> pa.Schema:
    """`COLUMNS` with the Hugging Face feature types in its metadata, so that `diagnoses` are class labels."""
    features = {field.name: _feature(field.type) for field in COLUMNS}
    features["diagnoses"] = {"feature": {"names": labels, "_type": "ClassLabel"}, "_type": "List"}
    return COLUMNS.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(arrow_type: pa.DataType) -> dict:
    if pa.types.is_list(arrow_type):
        return {"feature": _feature(arrow_type.value_type), "_type": "List"}
    return {"dtype": {"float": "float32"}.get(str(arrow_type), str(arrow_type)), "_type": "Value"}


class SplitWriter:
    """
    Writes the rows of one split to shards named `SPLIT-00000.parquet`, in the order given, at flat memory.

    A split without rows has no shard: `load_dataset` fails on an empty one.
    """

    def __init__(self, folder: Path, split: str, labels: list[str]):
        self.folder, self.split, self.schema = Path(folder) / "data", split, schema_for(labels)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.num_rows = 0
        self._buffer: list[dict] = []
        self._writer: pq.ParquetWriter | None = None

    def write(self, row: dict) -> None:
        self._buffer.append(row)
        self.num_rows += 1
        if len(self._buffer) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            shard = (self.num_rows - 1) // ROWS_PER_SHARD
            self._writer = pq.ParquetWriter(self.folder / f"{self.split}-{shard:05d}.parquet", self.schema)
        self._writer.write_table(pa.Table.from_pylist(self._buffer, schema=self.schema))
        self._buffer = []
        if self.num_rows % ROWS_PER_SHARD == 0:
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        if self._buffer:
            self._flush()
        if self._writer is not None:
            self._writer.close()


def write_metadata(folder: Path, metadata: dict, card: Callable[[dict], str]) -> None:
    """Complete a folder whose shards are written: `clinragen_dataset.json`, with the content's hash, and the card."""
    metadata = {"schema_version": SCHEMA_VERSION, **metadata, "content_hash": content_hash(folder)}
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "README.md").write_text(card(metadata), encoding="utf-8")


def content_hash(folder: Path) -> str:
    """SHA-256 over the rows of all splits, independent of shards and file format."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for row in iterate_rows(folder, split):
            digest.update(json.dumps([split, row], sort_keys=True).encode())
    return digest.hexdigest()


def shards(folder: Path, split: str) -> list[Path]:
    return sorted((Path(folder) / "data").glob(f"{split}-*.parquet"))


def iterate_rows(folder: Path, split: str) -> Iterator[dict]:
    """The rows of one split as plain dictionaries, one row group in memory at a time."""
    for shard in shards(folder, split):
        for batch in pq.ParquetFile(shard).iter_batches(batch_size=ROWS_PER_GROUP):
            yield from batch.to_pylist()


def read_metadata(folder: str | Path) -> dict:
    """
    `clinragen_dataset.json` of a finished dataset folder.

    Raises:
        ClinRaGenInputError: if there is no such folder, or it is unfinished or of another schema version.
    """
    path = Path(folder) / METADATA_FILE
    if not path.is_file():
        raise ClinRaGenInputError(
            f"{folder} is no finished dataset folder: {METADATA_FILE} missing; run datasets_scripts/build_dataset.py"
        )
    metadata = json.loads(path.read_text(encoding="utf-8"))
    if metadata.get("schema_version") != SCHEMA_VERSION:
        raise ClinRaGenInputError(
            f"{path}: schema_version is {metadata.get('schema_version')}, this program reads {SCHEMA_VERSION}; "
            "build the dataset again"
        )
    return metadata


def label_names(metadata: dict) -> list[str]:
    return [label["name"] for label in metadata["labels"]]


def load_split(folder: str | Path, split: str) -> Dataset:
    """
    One split as a `datasets.Dataset`, memory-mapped.

    Raises:
        ClinRaGenInputError: if the folder is no finished dataset folder, or has no such split.
    """
    from datasets import load_dataset

    read_metadata(folder)
    files = [str(path) for path in shards(Path(folder), split)]
    if not files:
        there = ", ".join(name for name in SPLITS if shards(Path(folder), name))
        raise ClinRaGenInputError(f"{folder} has no split {split!r}; its splits are {there}")
    return load_dataset("parquet", data_files={split: files}, split=split)


def add_rationales(
    folder: Path,
    output: Path,
    write_rationales: Callable[[dict], tuple[str, str]],
    teacher: str,
    settings: dict,
    card: Callable[[dict], str],
    progress: Callable[[int], object],
) -> None:
    """
    Write a copy of `folder` to `output` with the rationales of a teacher.

    Args:
        write_rationales (callable): row -> (note rationale, lab rationale).
        teacher (`str`): what the column `teacher` says.
        settings (`dict`): recorded under `rationales` in the metadata.
        progress (callable): told the number of rows done, after each row.
    """
    metadata = read_metadata(folder)
    for split in SPLITS:
        writer = SplitWriter(output, split, label_names(metadata))
        for row in iterate_rows(folder, split):
            row["note_rationale"], row["lab_rationale"] = write_rationales(row)
            row["teacher"] = teacher
            writer.write(row)
            progress(1)
        writer.close()
    write_metadata(output, {**metadata, "rationales": {"teacher": teacher, **settings}}, card)
