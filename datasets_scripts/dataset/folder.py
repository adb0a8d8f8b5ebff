# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The dataset folder: its columns and files, and the functions that read and write it.

`data/SPLIT-*.parquet` holds the records, `clinragen_dataset.json` describes them, `label_audit.csv` has the route of
every diagnosis code, `README.md` is the dataset card with its charts in `figures/`.
`load_dataset(folder)` reads it offline, with class labels.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datasets_scripts.dataset.checks import AGAIN, check_cells, check_files, check_metadata, opened, unreadable
from datasets_scripts.dataset.splits import SPLITS
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import LANGUAGE


if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


SCHEMA_VERSION = 2
METADATA_FILE = "clinragen_dataset.json"
LABEL_AUDIT = "label_audit.csv"
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
        "care_unit": pa.string(),
        "note": pa.string(),
        "lab_times": pa.list_(pa.float32()),
        "lab_values": pa.list_(pa.list_(pa.float32())),
        "lab_caption": pa.string(),
        "diagnoses": pa.list_(pa.int64()),
        "note_rationale": pa.string(),
        "lab_rationale": pa.string(),
        "teacher": pa.string(),
        "lab_available_times": pa.list_(pa.list_(pa.float32())),
    }
)


def schema_for(labels: list[str]) -> pa.Schema:
    """Return `COLUMNS` with the Hugging Face feature types in its metadata, so that `diagnoses` are class labels."""
    features = {field.name: _feature(field.type) for field in COLUMNS}
    features["diagnoses"] = {"feature": {"names": labels, "_type": "ClassLabel"}, "_type": "List"}
    return COLUMNS.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(arrow_type: pa.DataType) -> dict:
    if pa.types.is_list(arrow_type):
        return {"feature": _feature(arrow_type.value_type), "_type": "List"}
    return {"dtype": {"float": "float32"}.get(str(arrow_type), str(arrow_type)), "_type": "Value"}


def write_shard(folder: Path, split: str, number: int, table: pa.Table) -> None:
    """
    Write `data/SPLIT-NUMBER.parquet` atomically.

    A table without rows is not written: `load_dataset` fails on an empty shard.
    """
    if table.num_rows:
        path = shard_path(folder, split, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".unfinished")
        # takes half the time and two thirds of the size of the defaults (dictionaries and snappy)
        pq.write_table(table, aside, row_group_size=ROWS_PER_GROUP, use_dictionary=False, compression="zstd")
        aside.rename(path)


def shard_path(folder: Path, split: str, number: int) -> Path:
    return Path(folder) / "data" / f"{split}-{number:05d}.parquet"


def write_metadata(folder: Path, metadata: dict, card: Callable[[dict, Path], str]) -> None:
    """
    Complete a folder after its shards: write `clinragen_dataset.json`, with the content hash, and the card.

    Args:
        card (callable): metadata and folder -> text of the card; it may draw charts into the folder.

    Raises:
        ClinRaGenInputError: if the shards hold another number of rows than the metadata state.
    """
    if "counts" in metadata:
        check_files({split: shards(folder, split) for split in SPLITS}, COLUMNS, metadata, folder)
    metadata = {"schema_version": SCHEMA_VERSION, **metadata, "content_hash": content_hash(folder)}
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "README.md").write_text(card(metadata, folder), encoding="utf-8")


def content_hash(folder: Path, check: Callable[[pa.RecordBatch, int, Path], None] | None = None) -> str:
    """
    Hash the cells of all splits, column by column, independent of shards, compression and row groups (SHA-256).

    Args:
        check (callable, *optional*): called before hashing with each batch, the number of its first row, and its file.
    """
    total = hashlib.sha256()
    for split in SPLITS:
        digests: dict[str, Any] = defaultdict(hashlib.sha256)
        for shard in shards(folder, split):
            for first, batch in _batches(shard):
                if check is not None:
                    check(batch, first, shard)
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    _digest(digests, f"{split}/{name}", column)
        for name in digests:
            total.update(f"{name} {digests[name].hexdigest()}\n".encode())
    return total.hexdigest()


def _batches(shard: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the number of the first row, and the rows, of each batch of a shard, one row group in memory at a time."""
    batches, first = opened(shard).iter_batches(batch_size=ROWS_PER_GROUP), 0
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(shard, error) from None
        yield first, batch
        first += len(batch)


def _digest(digests: dict[str, Any], name: str, column: pa.Array) -> None:
    """Add cells to the digests of a column: null mask, lengths of texts and lists, values."""
    digests[f"{name}/valid"].update(column.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_list(column.type):
        digests[f"{name}/length"].update(pc.list_value_length(column).fill_null(0).to_numpy(False).tobytes())
        _digest(digests, f"{name}/item", column.flatten())
    elif pa.types.is_string(column.type):
        column = column.fill_null("")
        digests[f"{name}/length"].update(pc.binary_length(column).to_numpy(False).tobytes())
        together = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(column)], pa.int32()), column), "")
        digests[name].update(together[0].as_buffer())
    else:
        digests[name].update(column.fill_null(0).to_numpy(False).tobytes())


def shards(folder: Path, split: str) -> list[Path]:
    return sorted((Path(folder) / "data").glob(f"{split}-*.parquet"))


STAY_IDS = ("subject_id", "hadm_id", "stay_id")


def iterate_rows(folder: Path, split: str) -> Iterator[dict]:
    """Yield the rows of one split as plain dictionaries, one row group in memory at a time."""
    check_content(folder)
    for shard in shards(folder, split):
        for _, batch in _batches(shard):
            yield from batch.to_pylist()


def read_metadata(folder: str | Path) -> dict:
    """
    Read `clinragen_dataset.json` of a finished dataset folder, and check it against the footers of the files.

    Raises:
        ClinRaGenInputError: if there is no such folder, or it is unfinished, of another schema version, or damaged.
    """
    path = Path(folder) / METADATA_FILE
    if not path.is_file():
        raise ClinRaGenInputError(
            f"{folder} is not a finished dataset folder: {METADATA_FILE} missing; run build_dataset.py"
        )
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ClinRaGenInputError(f"{path} is damaged, not JSON ({error}); {AGAIN}") from None
    version = metadata.get("schema_version") if isinstance(metadata, dict) else None
    if version != SCHEMA_VERSION:
        raise ClinRaGenInputError(f"{path}: schema_version is {version}, this program reads {SCHEMA_VERSION}; {AGAIN}")
    check_metadata(metadata, path)
    check_files({split: shards(folder, split) for split in SPLITS}, COLUMNS, metadata, Path(folder))
    return metadata


def check_content(folder: str | Path) -> dict:
    """
    Read the metadata, and check all cells and their hash, once per process.

    Raises:
        ClinRaGenInputError: naming file, row and column of the first fault.
    """
    metadata = read_metadata(folder)
    files = [Path(folder) / METADATA_FILE, *(path for split in SPLITS for path in shards(folder, split))]
    _check_records(Path(folder), tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))
    return metadata


@cache
def _check_records(folder: Path, files: tuple) -> None:
    """Check all records; `files` identifies the state of the folder for the cache."""
    metadata = read_metadata(folder)
    sizes = len(metadata["channels"]), len(metadata["labels"])
    found = content_hash(folder, lambda batch, first, shard: check_cells(batch, first, shard, *sizes))
    if found != metadata["content_hash"]:
        raise ClinRaGenInputError(
            f"{folder}: its data are not those of {METADATA_FILE}, the hash differs: a file was changed or is of "
            f"another build; {AGAIN}"
        )


def check_labelled(metadata: dict, folder: str | Path) -> None:
    """
    Refuse a folder of patients with unknown diagnoses.

    Raises:
        ClinRaGenInputError: if it was built without labels.
    """
    if not metadata.get("labelled", True):
        raise ClinRaGenInputError(
            f"{folder} has no labels (build_dataset.py --unlabelled): there is nothing to learn from it or to compare "
            "with; recipes/recalibrate.py --drift-only reports its drift, recipes/predict.py --dataset answers it"
        )


def label_names(metadata: dict) -> list[str]:
    return [label["name"] for label in metadata["labels"]]


def labels_without_records(metadata: dict, split: str) -> list[str]:
    """Return the labels that no record of a split has; none are known to lack records in a folder that counts none."""
    return [label["name"] for label in metadata["labels"] if not label.get("stays_by_split", {}).get(split, 1)]


def language_in(metadata: dict) -> dict | None:
    """Return the language of notes and rationales, as a processor takes it; `None` for English."""
    described = metadata.get("language")
    fields = [name.rstrip("?") for name in LANGUAGE]
    return described and {name: described[name] for name in fields if name in described}


def load_split(
    folder: str | Path, split: str, streaming: bool = False, needs_labels: bool = True
) -> Dataset | IterableDataset:
    """
    Load one split as a `datasets.Dataset` in memory; with `streaming` as an `IterableDataset`.

    It is for training and evaluation: patients without labels are refused, unless `needs_labels` is `False`. Neither
    form leaves a copy of the records on disk, as `load_dataset` does in its cache, or uses the network.

    Raises:
        ClinRaGenInputError: if the folder is not a finished dataset, is damaged, has no labels, or has no such split.
    """
    from datasets import Dataset, IterableDataset, NamedSplit
    from datasets.table import InMemoryTable

    metadata = check_content(folder)
    if needs_labels:
        check_labelled(metadata, folder)
    files = shards_of(folder, split)
    if streaming:
        return IterableDataset.from_parquet([str(path) for path in files], split=NamedSplit(split))
    table = pa.concat_tables([opened(path).read() for path in files])
    return Dataset(InMemoryTable(table), split=NamedSplit(split))


def shards_of(folder: str | Path, split: str) -> list[Path]:
    """Return the files of a split; a missing split raises a `ClinRaGenInputError`."""
    files = shards(folder, split)
    if not files:
        there = ", ".join(name for name in SPLITS if shards(Path(folder), name))
        raise ClinRaGenInputError(f"{folder} has no split {split!r}; its splits are {there}")
    return files


def iterate_records(folder: Path) -> Iterator[dict]:
    """Yield all rows by split and shard, with `lab_times` (T,) and `lab_values` (T, C) as float32 arrays."""
    num_channels = len(check_content(folder)["channels"])
    for split in SPLITS:
        for shard in shards(folder, split):
            for batch in pq.ParquetFile(shard).iter_batches(batch_size=ROWS_PER_GROUP, columns=RECORD_COLUMNS):
                times, values = batch["lab_times"], batch["lab_values"]
                hours, cells = times.flatten().to_numpy(), values.flatten().flatten().to_numpy()
                cells = cells.reshape(-1, num_channels)
                ends = np.cumsum(pc.list_value_length(times).to_numpy())
                rows = batch.drop_columns(["lab_times", "lab_values"]).to_pylist()
                for row, start, end in zip(rows, [0, *ends[:-1]], ends, strict=True):
                    yield {**row, "lab_times": hours[start:end], "lab_values": cells[start:end]}


RECORD_COLUMNS = ["stay_id", "note", "lab_times", "lab_values", "lab_caption", "diagnoses"]


def iterate_stay_ids(folder: Path) -> Iterator[str]:
    """Yield the ids of the rows in the order of `iterate_records`."""
    for split in SPLITS:
        for shard in shards(folder, split):
            yield from pq.read_table(shard, columns=["stay_id"])["stay_id"].to_pylist()


def add_rationales(folder: Path, output: Path, rationales: Iterable[Any], teacher: str) -> None:
    """
    Copy the shards of `folder` to `output` with the rationales of a teacher; `write_metadata` completes the folder.

    Args:
        rationales (iterable of objects with `note` and `lab`, such as `Rationale`): one for each row of
            `iterate_records`, in its order.
        teacher (`str`): the column `teacher` of rows with a rationale; for the others it is empty.
    """
    stream = iter(rationales)
    for split in SPLITS:
        for shard in shards(folder, split):
            table = pq.read_table(shard)
            written = list(itertools.islice(stream, table.num_rows))
            columns = {
                "note_rationale": [rationale.note for rationale in written],
                "lab_rationale": [rationale.lab for rationale in written],
                "teacher": [teacher if rationale.note or rationale.lab else "" for rationale in written],
            }
            for name, texts in columns.items():
                table = table.set_column(table.schema.get_field_index(name), name, pa.array(texts, pa.string()))
            write_shard(output, split, int(shard.stem.split("-")[-1]), table)
    shutil.copy(folder / LABEL_AUDIT, output / LABEL_AUDIT)
