# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Parquet copies of CSV tables, which later builds read in place of the tables (`build_dataset.py --cache`).

A copy holds the columns that a source reads of a table, as its view gives them. Its name has two hashes: one of the
view's query and this program's version, one of the table's files - size, times of change, first and last bytes, where
a gzipped file has the checksum of its content. A table that has changed is copied anew, in place of its old copy.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import duckdb

from datasets_scripts.common.outputs import held, is_full_disk
from datasets_scripts.sources.raw_tables import files_of, is_csv, quoted, scanned, select_table
from modeling_clinragen import __version__
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

EDGE = 2**16  # bytes that are hashed at either end of a file


def read_copies(
    connection: duckdb.DuckDBPyConnection, source: dict, files: dict[str, Path | None], folder: Path
) -> None:
    """
    Let the views of CSV tables read their copies; those that are not in `folder` yet are written, for the owner alone.

    A table whose copy cannot be written is read as it is, and a warning says why: the folder is read-only, its disk
    has less free space than the table's files take, or another process is writing that copy.

    Args:
        connection (`DuckDBPyConnection`): with the views of `create_views`, and outside of a transaction.
    """
    left = defaultdict(list)
    for table, path in files.items():
        if path is None or not is_csv(path):
            continue
        query = select_table(path, source["tables"][table], unpacked=True)
        place = folder / f"{table}-{_digest([query, __version__])}"
        copy = place.with_name(f"{place.name}-{_digest(map(_state, files_of(path)))}.parquet")
        fault = None if _is_whole(connection, copy) else _write(connection, query, place, copy, files_of(path))
        if fault is None:
            connection.execute(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM read_parquet({scanned(copy)})")
        else:
            left[fault].append(path.name)
    for fault, names in left.items():
        logger.warning("--cache %s: %s; read without a copy: %s", folder, fault, ", ".join(names))


def _digest(parts: Iterable) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{part}\n".encode())
    return total.hexdigest()[:20]


def _state(file: Path) -> tuple[int, int, int, str]:
    """Return what tells the content of a file from another that it may get."""
    stat = file.stat()
    with open(file, "rb") as stream:
        edges = hashlib.sha256(stream.read(EDGE))
        stream.seek(max(stat.st_size - EDGE, 0))
        edges.update(stream.read())
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, edges.hexdigest()


def _is_whole(connection: duckdb.DuckDBPyConnection, copy: Path) -> bool:
    """Return whether a copy is there, with its footer, which is written last."""
    if not copy.is_file():
        return False
    try:
        connection.execute(f"SELECT count(*) FROM parquet_file_metadata({scanned(copy)})")
    except duckdb.Error:
        return False
    return True


def _write(
    connection: duckdb.DuckDBPyConnection, query: str, place: Path, copy: Path, files: list[Path]
) -> str | None:
    """Write a copy, whole or not at all, in place of the old ones; return why it cannot be, if so."""
    aside, needed = place.with_name(place.name + ".unfinished"), sum(file.stat().st_size for file in files)
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(place.parent).free < needed:
            return "its disk has less free space than the table takes"
        with held(place):
            try:
                _write_aside(connection, query, aside)
                for old in place.parent.glob(f"{place.name}-*.parquet"):
                    old.unlink()
                aside.rename(copy)
            finally:
                aside.unlink(missing_ok=True)
    except (OSError, ClinRaGenInputError, duckdb.IOException) as error:
        if isinstance(error, duckdb.IOException) and not is_full_disk(error):  # of the table
            raise
        return "its disk is full" if is_full_disk(error) else str(error)
    return None


def _write_aside(connection: duckdb.DuckDBPyConnection, query: str, aside: Path) -> None:
    aside.unlink(missing_ok=True)  # of a killed process
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection.execute(f"COPY ({query}) TO {quoted(aside)} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)")
    with open(aside, "rb") as file:
        os.fsync(file.fileno())
