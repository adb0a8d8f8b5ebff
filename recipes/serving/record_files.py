# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Files of records to be answered, read one record at a time.

`*.jsonl`: one JSON object a line, with the fields that the pipeline takes, and an `id` (or `stay_id`).
`*.csv`: columns `id` (or `stay_id`), `note`, and those of a table of series, wide or long, see
[`ClinRaGenFeatureExtractor.series_from_csv`]. Rows of one id follow each other; its note is in the first of them. A
row of units, if there is one, follows the header, with neither id nor note.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.series_csv_clinragen import SeriesTable, without_first


MAX_LINE = 16 * 2**20  # bytes of a line of JSON, characters of a cell; longer ones are refused
IDS = ("id", "stay_id")
NOT_PRINTABLE = "holds characters that cannot be printed; name the record in plain text"


@dataclass
class Entry:
    """
    A record of a file, or why it cannot be read.

    Args:
        line (`int`): the line where it begins, or the row of a dataset.
        id (`str` or `int`): its own, or `"line N"` without one.
        record (`dict`, *optional*): as the pipeline takes it.
        error (`str`, *optional*): where and why it cannot be read; holds no text of the record.
        unit (`str`): of `line`: `"line"` for a file, `"row"` for a dataset.
        ids (`dict[str, str]`): further ids, for the answer.
    """

    line: int
    id: str | int
    record: dict | None = None
    error: str | None = None
    unit: str = "line"
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.unit} {self.line}"


def read_records(path: str | Path, channels: list[dict]) -> Iterator[Entry]:
    """
    Yield the records of a file in their order; only one record at a time is in memory, and for a `*.csv` the ids.

    Args:
        channels (`list[dict]`): those of the model's feature extractor.

    Raises:
        ClinRaGenInputError: if the file is missing, of another kind or empty, or its header is wrong.
    """
    path = Path(path)
    if path.suffix not in (".jsonl", ".csv"):
        raise ClinRaGenInputError(f"{path}: unknown kind of file; name it *.jsonl or *.csv")
    if not path.is_file():
        raise ClinRaGenInputError(f"{path}: there is no such file of records")
    entries = _read_jsonl(path) if path.suffix == ".jsonl" else _read_csv(path, channels)
    first = next(entries, None)
    if first is None:
        raise ClinRaGenInputError(f"{path}: holds no record")
    yield first
    yield from entries


def _read_jsonl(path: Path) -> Iterator[Entry]:
    with open(path, "rb") as file:
        for number, line in _short_lines(file):
            if line is None:
                yield Entry(number, f"line {number}", error=f"line {number}: longer than {MAX_LINE} bytes; shorten it")
            elif line.strip():
                yield _parse(line, number)


def _short_lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Yield lines with their numbers, `None` in place of one that is too long."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        whole = line
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line, whole = file.readline(MAX_LINE + 1), None
        yield number, whole if number > 1 or whole is None else whole.removeprefix(b"\xef\xbb\xbf")


def _parse(line: bytes, number: int) -> Entry:
    entry = Entry(number, f"line {number}")
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        entry.error = f"line {number}: not in UTF-8; save the file in UTF-8"
    except json.JSONDecodeError as error:
        entry.error = f"line {number}: invalid JSON at column {error.colno} ({error.msg}); give one object per line"
    except (ValueError, RecursionError):
        entry.error = f"line {number}: no JSON of a record (a number of thousands of digits, or thousands of brackets)"
    else:
        if isinstance(record, dict):
            return _identified(entry, record)
        entry.error = f"line {number}: no JSON object; give one record a line, in {{}}"
    return entry


def _identified(entry: Entry, record: dict) -> Entry:
    name = next((name for name in IDS if record.get(name) is not None), None)
    if name is not None:
        if isinstance(record[name], bool) or not isinstance(record[name], str | int):
            entry.error = f"line {entry.line}: {name} is neither text nor a whole number"
            return entry
        if not str(record[name]).isprintable():
            entry.error = f"line {entry.line}: {name} {NOT_PRINTABLE}"
            return entry
        entry.id = record[name]
    entry.record = record
    return entry


def _read_csv(path: Path, channels: list[dict]) -> Iterator[Entry]:
    csv.field_size_limit(MAX_LINE)
    # Bytes that are not UTF-8 become surrogates, which are refused with the record that holds them.
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = _rows(file)
        line, header = next(rows, (0, []))
        if header is None:
            raise ClinRaGenInputError(f"{path}, line {line}: the header is not CSV; close every quotation mark")
        if header:
            try:
                table = RecordTable(channels, header, f"line {line}")
                rows = without_first(rows, table.read_units)
            except ClinRaGenInputError as error:
                raise ClinRaGenInputError(f"{path}, {error}") from None
            yield from table.entries(rows)


def _rows(file) -> Iterator[tuple[int, list[str] | None]]:
    """Yield rows with the number of the line where each begins; `None` in place of one that is not CSV."""
    reader = csv.reader(file, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells = None
        if cells != []:
            yield line, cells


class RecordTable:
    """
    The columns of a `*.csv` of records, by its header.

    Raises:
        ClinRaGenInputError: if there is no column `id`, or a column is unknown or repeated.
    """

    def __init__(self, channels: list[dict], header: list[str], where: str):
        plain = [name.strip().lower() for name in header]
        self.width = len(header)
        self._id = next((plain.index(name) for name in IDS if name in plain), None)
        if self._id is None:
            raise ClinRaGenInputError(f"{where}: no column id; name each record in it, separated by commas")
        self._note = plain.index("note") if "note" in plain else None
        self._series = [i for i in range(len(header)) if i not in (self._id, self._note)]
        names = [header[i] for i in self._series]
        self._table = SeriesTable(channels, names, where, beside=(*IDS, "note")) if names else None

    def read_units(self, line: int, cells: list[str] | None) -> bool:
        """Read a row of units, as `SeriesTable.read_units` does; it has neither id nor note."""
        if self._table is None or cells is None or len(cells) != self.width:
            return False
        if not self._table.read_units(line, [cells[i] for i in self._series]):
            return False
        if any(cells[i].strip() for i in (self._id, self._note) if i is not None):
            raise ClinRaGenInputError(f"line {line}: a row of units with an id or a note; leave these cells empty")
        return True

    def entries(self, rows: Iterator[tuple[int, list[str] | None]]) -> Iterator[Entry]:
        """Yield the record of each run of rows with the same id."""
        seen: set[str] = set()
        name, entry, series, unread = None, None, [], None
        for line, cells in rows:
            if cells is None or len(cells) <= self._id:
                unread = f"line {line}: no row of this table; close every quotation mark, and fill every column"
                if entry is not None:
                    entry.error = entry.error or unread
                continue
            if entry is None or cells[self._id].strip() != name:
                if entry is not None:
                    yield self._finished(entry, series)
                name, series = cells[self._id].strip(), []
                entry = self._opened(name, cells, line, name in seen)
                seen.add(name)
                entry.error = entry.error or unread  # the unreadable row may have been the first of this record
            unread = None
            if entry.error is None:
                self._add(entry, series, cells, line)
        if entry is not None:
            yield self._finished(entry, series)
        elif unread:
            yield Entry(line, f"line {line}", error=unread)

    def _opened(self, name: str, cells: list[str], line: int, again: bool) -> Entry:
        if not name:
            return Entry(line, f"line {line}", error=f"line {line}: the id is empty; name the record")
        if not name.isprintable():
            return Entry(line, f"line {line}", error=f"line {line}: id {NOT_PRINTABLE}")
        if again:
            return Entry(line, name, error=f"line {line}: this id occurred before; put the rows of an id together")
        note = "" if self._note is None or len(cells) <= self._note else cells[self._note]
        return Entry(line, name, record={"note": note})

    def _add(self, entry: Entry, series: list, cells: list[str], line: int) -> None:
        if len(cells) != self.width:
            entry.error = (
                f"line {line} has {len(cells)} cells under {self.width} columns; give one for each, and put a note "
                "with commas in quotation marks"
            )
            return
        if self._note is not None and cells[self._note].strip() and cells[self._note] != entry.record["note"]:
            entry.error = f"line {line}: another note than in line {entry.line}; a record has one, in its first row"
            return
        if self._table is not None:
            try:
                row = self._table.read([cells[i] for i in self._series], f"line {line}")
            except ClinRaGenInputError as error:
                entry.error = str(error)
                return
            if row is not None:
                series.append(row)

    def _finished(self, entry: Entry, series: list) -> Entry:
        if entry.error is not None:
            entry.record = None
        elif self._table is not None:
            entry.record["lab_values"], entry.record["lab_times"] = self._table.series(series)
        return entry
