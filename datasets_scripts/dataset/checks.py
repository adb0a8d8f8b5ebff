# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find damage in a dataset folder before it is used: in its description, its files and their cells."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas  # noqa: F401 - else `to_numpy` of PyArrow 26.0.1 does, and swallows a Ctrl-C meanwhile
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datasets_scripts.dataset.splits import SPLITS
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.language_clinragen import fault_of_language
from modeling_clinragen.shapes_clinragen import CHANNEL, LANGUAGE, fault_of


AGAIN = "copy the folder again, or build it again with datasets_scripts/build_dataset.py"
NUMBERS = ("mean?", "std?", "minimum", "maximum")  # the model's configuration estimates a missing mean
METADATA = {
    "source": str,
    "source_description": {
        **dict.fromkeys(("title", "version", "licence", "url", "cite"), (str, float, None)),
        "credentialed": bool,
    },
    "channels": [{**CHANNEL, **dict.fromkeys(NUMBERS, float), **dict.fromkeys(("low", "high"), (None, float))}],
    "labels": [{"name": str, "ccs": [int], "synonyms": [str], "stays": int, "stays_by_split?": {str: int}}],
    "settings": {"note_view": str},
    "seed": int,
    "labelled?": bool,
    "counts": {str: {"stays": int}},
    "attrition": [{"step": str, "stays": int, "patients": int, "stays_lost": int, "patients_lost": int, "why": str}],
    "care_units?": [{"care_unit": (None, str), "stays": int}],
    "codes": {
        **dict.fromkeys(("total", "unmapped", "unknown", "by_family"), int),
        "unmapped_share": (None, float),
    },
    "values": [
        {
            **dict.fromkeys(("stays_with_a_value", "stored_time_known"), int),
            "channel": str,
            "median_hours_until_stored": (None, float),
        }
    ],
    "measurements?": [dict.fromkeys(("rows", "of_no_stay", "of_no_patient", "in_stays"), int)],
    "leakage": {
        str: {
            "gold_labels": int,
            **dict.fromkeys(("gold_named", "other_named"), (None, float)),
            "labels": {str: (None, float)},
        }
    },
    "warnings?": [str],
    "content_hash": str,
    "rationales?": {"claims": {str: int}, "outcomes": {str: int}, "reasons": {str: int}},
    "permissions?": {str: str},
    "language?": (None, LANGUAGE),
}
NEVER_NULL = (
    "subject_id",
    "stay_id",
    "source",
    "note",
    "lab_times",
    "lab_values",
    "lab_caption",
    "diagnoses",
    "note_rationale",
    "lab_rationale",
    "teacher",
)


def check_metadata(metadata: dict, path: Path) -> None:
    """
    Check the fields of `clinragen_dataset.json`.

    Raises:
        ClinRaGenInputError: naming the field that is missing or wrong.
    """
    fault = fault_of(metadata, METADATA) or _contradiction(metadata)
    if fault:
        raise ClinRaGenInputError(f"{path} is damaged: {fault}; {AGAIN}")


def _contradiction(metadata: dict) -> str | None:
    """Return the contradiction in metadata, if any; the types of the fields are checked already."""
    for name in ("channels", "labels"):
        names = [part["name"] for part in metadata[name]]
        twice = next((other for i, other in enumerate(names) if other in names[:i]), None)
        if twice is not None or not names:
            return f"{name} names {twice!r} twice" if names else f"{name} is empty"
    if metadata.get("language") is not None and (fault := fault_of_language(metadata["language"])):
        return f"language: {fault}"
    counts = metadata["counts"]
    if counts.keys() != set(SPLITS) or any(count["stays"] < 0 for count in counts.values()):
        return f"counts needs the records of {', '.join(SPLITS)}"
    for i, channel in enumerate(metadata["channels"]):
        if channel.get("std", 1) <= 0 or channel["minimum"] > channel["maximum"]:
            return f"channels[{i}] needs a positive std, and a minimum below its maximum"
    for view, report in metadata["leakage"].items():
        unknown = [label["name"] for label in metadata["labels"] if label["name"] not in report["labels"]]
        if unknown:
            return f"leakage.{view}.labels lacks {unknown[0]!r}"
    return None if metadata["attrition"] else "attrition is empty"


def check_files(files: dict[str, list[Path]], columns: pa.Schema, metadata: dict, folder: Path) -> None:
    """
    Check number of records, columns and label names of all files, from their footers only.

    Args:
        files (`dict[str, list[Path]]`): split -> its Parquet files.
        columns (`Schema`): those of each file.

    Raises:
        ClinRaGenInputError: naming the file or the split.
    """
    names = [label["name"] for label in metadata["labels"]]
    for split, paths in files.items():
        number = 0
        for path in paths:
            footer = opened(path)
            number += footer.metadata.num_rows
            _check_columns(path, footer.schema_arrow, columns, names)
        wanted = metadata["counts"][split]["stays"]
        if number != wanted:
            raise ClinRaGenInputError(
                f"{folder}: split {split!r} has {number} records in {len(paths)} files of data/, but "
                f"clinragen_dataset.json counts {wanted}: files are missing or of another build; {AGAIN}"
            )


def opened(path: Path) -> pq.ParquetFile:
    """Open a Parquet file; a truncated or other file raises a `ClinRaGenInputError`."""
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> ClinRaGenInputError:
    """Return the error of a file that Arrow cannot read."""
    return ClinRaGenInputError(f"{path} cannot be read, it is damaged ({str(error).splitlines()[0][:120]}); {AGAIN}")


def _check_columns(path: Path, schema: pa.Schema, columns: pa.Schema, names: list[str]) -> None:
    for column in columns:
        place = schema.get_field_index(column.name)
        if place < 0:
            raise ClinRaGenInputError(f"{path}: column {column.name} is missing or repeated; {AGAIN}")
        if not schema.types[place].equals(column.type):
            raise ClinRaGenInputError(
                f"{path}: column {column.name} holds {schema.types[place]}, not {column.type}; {AGAIN}"
            )
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        own = features["diagnoses"]["feature"]["names"]
    except (KeyError, TypeError, ValueError):
        return  # written by another program, without class names
    if own != names:
        raise ClinRaGenInputError(
            f"{path}: its diagnoses are of other labels, or in another order, than those of clinragen_dataset.json; "
            f"{AGAIN}"
        )


def check_cells(batch: pa.RecordBatch, first: int, path: Path, num_channels: int, num_labels: int) -> None:
    """
    Check series and diagnoses of records, and that columns with an empty value of their own hold no null.

    Args:
        first (`int`): row of the file that `batch` begins with.

    Raises:
        ClinRaGenInputError: naming file, row and column.
    """
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name in NEVER_NULL:
        _check(columns[name].is_null(), first, path, f"{name} is null")
    times, values = columns["lab_times"], columns["lab_values"]
    lengths, rows = _lengths(times), _lengths(values)
    _check(
        lengths != rows,
        first,
        path,
        "lab_times does not have as many entries as lab_values has rows",
    )
    record = np.repeat(np.arange(len(batch)), lengths)
    hours = times.flatten().to_numpy(zero_copy_only=False)
    _check_parts(~np.isfinite(hours), record, first, path, "lab_times holds a value that is not a finite number")
    falls = (np.diff(hours) <= 0) & (record[1:] == record[:-1])
    _check_parts(falls, record[1:], first, path, "lab_times must increase strictly")
    for name in ("lab_values", "lab_available_times"):
        known = columns[name].is_valid()  # null if the times of availability are unknown
        at = np.flatnonzero(known.to_numpy(zero_copy_only=False))
        _check_matrix(columns[name].filter(known), name, lengths[at], at, num_channels, first, path)
    classes = columns["diagnoses"].flatten()
    record = np.repeat(np.arange(len(batch)), _lengths(columns["diagnoses"]))
    ids = classes.fill_null(-1).to_numpy(zero_copy_only=False)
    wrong = f"diagnoses holds an unknown class: the classes are 0 to {num_labels - 1}"
    _check_parts((ids < 0) | (ids >= num_labels), record, first, path, wrong)
    unsorted = (np.diff(ids) <= 0) & (record[1:] == record[:-1])
    _check_parts(unsorted, record[1:], first, path, "diagnoses are not sorted, or one is repeated")


def _check_matrix(
    column: pa.Array, name: str, lengths: np.ndarray, at: np.ndarray, num_channels: int, first: int, path: Path
) -> None:
    """
    Check a column with a number for each channel at each time; NaN is valid, null and infinity are not. It holds
    the rows `at` of the batch.
    """
    few = f"{name} does not have as many rows as lab_times has entries"
    _check_parts(_lengths(column) != lengths, at, first, path, few)
    record = np.repeat(at, lengths)
    rows = column.flatten()
    wrong = f"{name} needs one number (or NaN) for each of the {num_channels} channels at every time"
    _check_parts(_lengths(rows) != num_channels, record, first, path, wrong)
    cells = rows.flatten()
    record = np.repeat(record, num_channels)
    _check_parts(
        cells.is_null().to_numpy(zero_copy_only=False), record, first, path, f"{name} holds null; NaN is none"
    )
    infinite = np.isinf(cells.to_numpy(zero_copy_only=False))
    _check_parts(infinite, record, first, path, f"{name} holds an infinite value")


def _lengths(lists: pa.Array) -> np.ndarray:
    return pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)


def _check(wrong: pa.Array | np.ndarray, first: int, path: Path, what: str) -> None:
    wrong = wrong.to_numpy(zero_copy_only=False) if isinstance(wrong, pa.Array) else wrong
    _check_parts(wrong, np.arange(len(wrong)), first, path, what)


def _check_parts(wrong: np.ndarray, record: np.ndarray, first: int, path: Path, what: str) -> None:
    if wrong.any():
        raise ClinRaGenInputError(f"{path}, row {first + record[wrong.argmax()]}: {what}; {AGAIN}")
