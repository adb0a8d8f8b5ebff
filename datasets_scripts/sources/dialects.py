# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Read how the cells of a table are written: the declared settings, what its first line shows, and what is wrong.

Only the first line decides by itself, never a sample of the cells: UTF-16 by its byte order mark; columns are
separated by commas, unless the header lacks a named column and another sign parts such columns; cells are quoted with
`"`, unless all names of the header stand in `'`. Decimal sign, order of dates and time zone are declared: `1,234`,
`03/04/2026`, `1764547200` and the time of a ward do not tell which is meant.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars (pipes)"}
QUOTES = ('"', "'", "none")
ENCODINGS = {
    "utf-8": "utf-8",
    "iso8859-1": "latin-1",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16",
}  # Python's -> DuckDB's
NOT_UTF8 = "not UTF-8 text; convert the file (iconv -f latin1 -t utf-8)"
PROBED = 2**20  # bytes at the start of a file, whose encoding is checked before it is read


class Dialect(NamedTuple):
    """Describe how a table is written; the default is how the public databases are."""

    delimiter: str = ","
    quote: str = '"'
    decimal: str = "."
    encoding: str = "utf-8"
    date_format: str = ""
    time_zone: str = ""


PLAIN = Dialect()


def parse_settings(fields: dict, where: str) -> dict[str, str]:
    """
    Return the fields of a dialect that a user gives, as `Dialect` holds them.

    Raises:
        ClinRaGenInputError: beginning with `where`, for a value that a field cannot have.
    """
    given = {name: str(fields[name]) for name in Dialect._fields if name in fields}
    readers = {"delimiter": _delimiter, "encoding": _encoding, "date_format": strptime_format}
    choices = {"quote": QUOTES, "decimal": (".", ",")}
    for name, value in given.items():
        if name in readers:
            given[name] = readers[name](value, where)
        elif name in choices and value not in choices[name]:
            raise ClinRaGenInputError(f"{where}: {name} is {value!r}; give {' or '.join(choices[name])}")
    return given


def _delimiter(value: str, where: str) -> str:
    sign = {"tab": "\t", "\\t": "\t"}.get(value, value)
    if len(sign) != 1 or sign.isalnum() or sign in "\"'\r\n ":
        raise ClinRaGenInputError(f"{where}: delimiter is {value!r}; give one sign in quotes, such as ';', or tab")
    return sign


def _encoding(value: str, where: str) -> str:
    try:
        name = codecs.lookup(value).name
    except LookupError:
        name = ""
    if name not in ENCODINGS:
        remedy = f"; convert the files (iconv -f {name} -t utf-8)" if name else ""
        raise ClinRaGenInputError(f"{where}: encoding is {value!r}, not utf-8, latin-1 or utf-16{remedy}")
    return ENCODINGS[name]


PART = "(d{1,2}|m{1,3}|yy|yyyy)"
WORDS = re.compile(rf"(?i){PART}([./-]?){PART}\2{PART}(?:[ T]+h{{1,2}}:mm\b.*)?")
DIRECTIVES = {"d": "%d", "m": "%m", "mmm": "%b", "yy": "%y", "yyyy": "%Y"}
EPOCHS = {"epoch seconds": 1, "epoch milliseconds": 1000}  # a `date_format`, of numbers since 1970 -> its unit
EPOCH_TIMES = (3e8, 1e10)  # seconds, July 1979 to 2286: a number of the other unit is not among them
EPOCH_BIRTHS = (-1e10, 1e10)
CLOCK = re.compile(r"[ T]+%[HIk-]+:.*")


def strptime_format(value: str, where: str = "") -> str:
    """
    Return the format of a date, of `dd.mm.yyyy hh:mm` or `%d.%m.%Y %H:%M`: `%d.%m.%Y`; the clock is read without one.
    Those of `EPOCHS` are returned as they are.

    Raises:
        ClinRaGenInputError: beginning with `where`, if it does not tell day, month and year.
    """
    if (named := value.strip().lower()) in EPOCHS:
        return named
    if words := WORDS.fullmatch(value.strip()):
        parts = [part.lower() for part in words.group(1, 3, 4)]
        date = words[2].join(DIRECTIVES.get(part) or DIRECTIVES[part[0]] for part in parts)
    else:
        date = CLOCK.sub("", value.strip())
    day = datetime(2019, 11, 23)
    try:
        tells_all = "%" in date and datetime.strptime(day.strftime(date), date).date() == day.date()
    except (ValueError, re.error):  # the second for a directive that is there twice
        tells_all = False
    if not tells_all:
        raise ClinRaGenInputError(
            f"{where}: date_format is {value!r}; write it as dd.mm.yyyy, mm/dd/yyyy or %d.%m.%Y, or give one of "
            f"{', '.join(EPOCHS)}"
        )
    return date


def find_dialect(files: list[Path], columns: Collection[str], settings: dict[str, str]) -> tuple[Dialect, list[str]]:
    """
    Find how the CSV files of a table are written.

    Args:
        columns (`Collection[str]`): those that its header must have, in lower case.
        settings (`dict[str, str]`): what the user says, as `parse_settings` gives it.

    Returns:
        `Dialect`, and what was found by itself, in words.

    Raises:
        ClinRaGenInputError: naming the first file that is written otherwise.
    """
    first, found = _find(files[0], columns, settings)
    for file in files[1:]:
        other, _ = _find(file, columns, settings)
        if other != first:
            name = next(n for n in Dialect._fields if getattr(other, n) != getattr(first, n))
            raise ClinRaGenInputError(
                f"{file.name}: its {name} differs from that of {files[0].name}; write both alike, or list them apart"
            )
    return first, found


def _find(file: Path, columns: Collection[str], settings: dict[str, str]) -> tuple[Dialect, list[str]]:
    dialect, found = PLAIN._replace(**settings), []
    if "encoding" not in settings and _beginning(file, 2) == codecs.BOM_UTF16_LE:
        dialect = dialect._replace(encoding="utf-16")
        found.append("its encoding is utf-16, by its first bytes")
    _check_encoding(file, dialect.encoding)
    header = read_header(file, dialect)
    if header and re.fullmatch("sep=.?", header[0]):
        raise ClinRaGenInputError(f"{file.name}, row 1: {header[0]} of a spreadsheet, no header; remove this line")
    if sign := other_delimiter(header, columns, dialect.delimiter):
        named = f"columns are separated by {DELIMITERS[sign]}"
        if "delimiter" in settings:
            raise ClinRaGenInputError(f"{file.name}: {named}; give delimiter: {sign!r}")
        dialect = dialect._replace(delimiter=sign)
        found.append(f"{named}, by its header")
        header = read_header(file, dialect)
    wrapped = next((q for q in QUOTES[:2] if all(re.fullmatch(f"{q}.*{q}", name) for name in header)), None)
    if header and wrapped is not None:
        if "quote" in settings:
            raise ClinRaGenInputError(f"{file.name}: cells are quoted with {wrapped}; give quote: {wrapped!r}")
        dialect = dialect._replace(quote=wrapped)
        found.append(f"cells are quoted with {wrapped}, by its header")
    return dialect, found


def other_delimiter(header: list[str], wanted: Collection[str], used: str = ",") -> str | None:
    """Return what separates the columns instead, if splitting the header there finds more of those wanted."""
    have = set(wanted) & {_bare(name) for name in header}
    least = max(len(have) + 1, min(2, len(wanted)))
    for sign in DELIMITERS:
        parts = [_bare(part) for part in used.join(header).split(sign)]
        if sign != used and len(parts) > 1 and len(set(parts) & set(wanted)) >= least:
            return sign
    return None


def _bare(name: str) -> str:
    return name.strip(" \"'").lower()


def read_header(file: Path, dialect: Dialect = PLAIN) -> list[str]:
    """
    Return the names of the columns of a CSV file.

    Raises:
        ClinRaGenInputError: if the file cannot be read.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    encoding = "utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding
    quoting = {"quoting": csv.QUOTE_NONE} if dialect.quote == "none" else {"quotechar": dialect.quote}
    try:
        with opener(file, "rt", encoding=encoding, errors="replace", newline="") as lines:
            return next(csv.reader(lines, delimiter=dialect.delimiter, **quoting), [])
    except (OSError, EOFError) as error:
        raise ClinRaGenInputError(f"{file.name} cannot be read: {error}; fetch the file again") from None


def _beginning(file: Path, length: int) -> bytes:
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as content:
            return content.read(length)
    except (OSError, EOFError) as error:
        raise ClinRaGenInputError(f"{file.name} cannot be read: {error}; fetch the file again") from None


def _check_encoding(file: Path, encoding: str) -> None:
    """Raise a `ClinRaGenInputError` where the beginning of a file is not in its encoding."""
    content = _beginning(file, PROBED)
    place = _not_utf8(content)
    if encoding == "utf-8" and place is not None:
        row = content[:place].count(b"\n") + 1
        raise ClinRaGenInputError(f"{file.name}, row {row}: {encoding_fault('utf-8', content)}")
    if encoding == "latin-1" and place is None and not content.isascii():
        raise ClinRaGenInputError(f"{file.name}: UTF-8, not latin-1; leave encoding out for it, or give utf-8")
    if (encoding == "latin-1" and WINDOWS.search(content)) or (encoding == "utf-16" and b"\0" not in content):
        raise ClinRaGenInputError(f"{file.name}: {encoding_fault(encoding)}")


WINDOWS = re.compile(rb"[\x80-\x9f]")  # no letters in latin-1, but dashes and quotes in the code page of Windows


def _not_utf8(content: bytes) -> int | None:
    """Return where the first byte lies that is no UTF-8, apart from a letter that the end has cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)
    except UnicodeDecodeError as error:
        return error.start
    return None


def encoding_fault(encoding: str, content: bytes = b"") -> str:
    """Say that a file is not in the encoding in which it is read, and the remedy; `content` is some of it."""
    if encoding == "utf-16":
        return "not UTF-16; leave encoding out, or give latin-1"
    if content.startswith(codecs.BOM_UTF16_BE):
        return "neither UTF-8 nor latin-1; convert the file (iconv -f utf-16 -t utf-8)"
    if encoding == "utf-8" and not WINDOWS.search(content):
        return "not UTF-8: give encoding: latin-1"
    wrong = "neither UTF-8 nor latin-1" if encoding == "utf-8" else "not latin-1"
    return f"{wrong}; if a program of Windows wrote it, convert the file (iconv -f cp1252 -t utf-8)"


DAY_AND_MONTH = re.compile(r"\s*(\d{1,2}([./-])\d{1,2}\2(?:\d{4}|\d{2}))\b")
YEAR_FIRST = re.compile(r"\s*\d{4}[-/]")


def date_fault(cell: str, dialect: Dialect) -> str | None:
    """
    Say of a refused time that its day or month comes first, that it counts from 1970, or that it is not written as
    `date_format` says.
    """
    if (epoch := _epoch_of(cell)) and epoch != dialect.date_format:
        unit = epoch.split()[1]
        return f"a number of {unit} since 1970; give date_format: {epoch}, for this table alone among its fields"
    if dialect.date_format:
        wrong = f"not a date by date_format ({dialect.date_format}); correct the row, or date_format"
        return None if YEAR_FIRST.match(cell) else wrong
    match = DAY_AND_MONTH.match(cell)
    if match is None:
        return None
    sign, year = match[2], "yyyy" if re.search(r"\d{4}$", match[1]) else "yy"
    formats = {"day": sign.join(("dd", "mm", year)), "month": sign.join(("mm", "dd", year))}
    if sign == ".":
        del formats["month"]  # nobody writes it so
    fits = {part: written for part, written in formats.items() if _reads(match[1], strptime_format(written))}
    if not fits:
        return None
    return f"a date with the {' or the '.join(fits)} first; give date_format: {' or '.join(fits.values())}"


def _epoch_of(cell: str) -> str | None:
    """Return the `date_format` of a number that is a time of one of the `EPOCHS`."""
    if not re.fullmatch(r"\s*\d+(\.\d+)?\s*", cell):
        return None
    low, high = EPOCH_TIMES
    return next((name for name, unit in EPOCHS.items() if low <= float(cell) / unit < high), None)


def _reads(date: str, date_format: str) -> bool:
    try:
        return bool(datetime.strptime(date, date_format))
    except ValueError:
        return False


def since_1970(text: str, date_format: str, is_birth: bool) -> str:
    """Write the SQL for the instant of a number since 1970, in UTC; other cells stay what they are."""
    seconds, (low, high) = (
        f"TRY_CAST({text} AS DOUBLE) / {EPOCHS[date_format]}",
        EPOCH_BIRTHS if is_birth else EPOCH_TIMES,
    )
    instant = f"make_timestamp(CAST(round({seconds} * 1e6) AS BIGINT))"
    written = f"strftime({instant}, '%Y-%m-%d %H:%M:%S.%f') || '+00:00'"
    return f"CASE WHEN {seconds} >= {low:.0f} AND {seconds} < {high:.0f} THEN {written} ELSE {text} END"
