# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The raw tables of a database as DuckDB views: CSV, gzipped CSV or Parquet, upper or lower case, one file or many; or
the tables of one DuckDB file, where a source allows it. `FILE.duckdb/TABLE` stands for such a table.

Every cell is text here; a source's queries cast it with the macros `number`, `moment` and the like. Ids are whole
numbers or words: `200.0` and `1e+05`, as programs write whole numbers that have gaps between them, are 200 and 100000.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import duckdb

from datasets_scripts.sources.dialects import (
    DELIMITERS,
    EPOCHS,
    NOT_UTF8,
    PLAIN,
    Dialect,
    date_fault,
    encoding_fault,
    other_delimiter,
    read_header,
    since_1970,
)
from datasets_scripts.sources.times import create_time_macros, has_offset, time_fault
from datasets_scripts.sources.unpacked import PROTOCOL, UnpackedFileSystem, unpacked_files
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


SHOWN = 20  # columns in a line
SUFFIXES = (".csv.gz", ".csv", ".parquet")
READ_ERRORS = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.IOException,
    duckdb.NotImplementedException,  # an unknown time zone
)

MACROS = r"""
CREATE OR REPLACE MACRO number(x) AS TRY_CAST(trim(x) AS DOUBLE);
CREATE OR REPLACE MACRO measurement(x) AS CAST(nullif(trim(x), '') AS DOUBLE);
CREATE OR REPLACE MACRO years(a, b) AS
  year(b) - year(a) - CAST((month(b), day(b)) < (month(a), day(a)) AS INTEGER);
CREATE OR REPLACE MACRO oldest(x) AS regexp_extract(
  x, '(?i)^\s*(?:(?:>|≥|&gt;|over|above|(?:older|more) than)\s*=?\s*(\d+)|' ||
     '(\d+)\s*(?:\+|(?:and|or) (?:above|older|over|more)))\s*$', ['least', 'and_more']);
CREATE OR REPLACE MACRO years_old(x) AS
  CASE WHEN lower(trim(x)) IN ('', '-', '.', '?', 'na', 'n/a', 'nan', 'none', 'null', 'unk', 'unknown') THEN NULL
       WHEN TRY_CAST(oldest(x).least || oldest(x).and_more AS INTEGER) >= 89 THEN 90 ELSE CAST(trim(x) AS DOUBLE) END;
CREATE OR REPLACE MACRO icd_version(x) AS
  CAST(regexp_extract(x, '(?:^|[^0-9])(9|10)(?:\.0*)?(?:[^0-9.]|$)', 1) AS INTEGER);
CREATE OR REPLACE MACRO hours_between(a, b) AS date_diff('microsecond', a, b) / 3.6e9;
CREATE OR REPLACE MACRO after(minutes) AS
  TIMESTAMP '2000-01-01' + to_minutes(CAST(nullif(trim(minutes), '') AS BIGINT));
CREATE OR REPLACE MACRO after_milliseconds(x) AS
  TIMESTAMP '2000-01-01' + to_milliseconds(CAST(nullif(trim(x), '') AS BIGINT));
CREATE OR REPLACE MACRO unless_filled(x, other) AS CASE WHEN trim(x) <> '' THEN NULL ELSE other END;
CREATE OR REPLACE MACRO whole(x) AS coalesce(CAST(TRY_CAST(number(x) AS INTEGER) AS VARCHAR), trim(x));
CREATE OR REPLACE MACRO path_part(path, back) AS string_split(path, '/')[-back];
"""


def create_views(connection: duckdb.DuckDBPyConnection, source: dict, files: dict[str, Path | None]) -> None:
    """
    Create one view a table, with the columns that the source names in lower case, and the macros; the
    connection gets an `UnpackedFileSystem` for the gzipped files, if it has none.
    """
    if not connection.filesystem_is_registered(PROTOCOL):
        connection.register_filesystem(UnpackedFileSystem())
    create_macros(connection, source, files)
    for table, spec in source["tables"].items():
        connection.execute(f"CREATE OR REPLACE VIEW {table} AS {select_table(files[table], spec, unpacked=True)}")


def create_macros(connection: duckdb.DuckDBPyConnection, source: dict, files: dict[str, Path | None]) -> bool:
    """Create the macros; tell whether the times of this source have an offset from UTC, as its first one does."""
    for statement in MACROS.strip().split(";\n"):
        connection.execute(statement)
    connection.execute(f"CREATE OR REPLACE MACRO id(x) AS {whole_number('x')}")
    create_time_macros(connection, zoned=False)
    first = next(_first_times(connection, source, files), None)
    zoned = first is not None and has_offset(connection, first)
    create_time_macros(connection, zoned)
    return zoned


def _first_times(connection: duckdb.DuckDBPyConnection, source: dict, files: dict[str, Path | None]) -> Iterator[str]:
    """Yield the first time of each column of times, as it is written."""
    for table, spec in source["tables"].items():
        for column in spec["columns"]:
            if files[table] is not None and _kind(column, spec) == "time":
                cells = f"SELECT {identifier(column)} AS x FROM ({select_columns(files[table], [column], spec)})"
                first = connection.execute(f"{cells} WHERE trim(x) <> '' LIMIT 1").fetchone()
                yield from first or ()


def find_tables(source: dict, root: Path) -> dict[str, Path | None]:
    """
    Find the file (or pattern of files) of each table, `None` where an optional one is absent.

    Raises:
        ClinRaGenInputError: if a table or one of its columns is missing.
    """
    if not root.is_dir() and not (source.get("database") and is_database(root)):
        raise ClinRaGenInputError(f"--root {root} is no folder{' or .duckdb file' if source.get('database') else ''}")
    return {table: find_table(root.resolve(), table, spec) for table, spec in source["tables"].items()}


def is_database(path: Path) -> bool:
    """Return whether a path is a DuckDB file."""
    return path.suffix == ".duckdb" and path.is_file()


def is_csv(path: Path) -> bool:
    """Return whether a table's files are CSV, gzipped or not."""
    return path.suffix != ".parquet" and not is_database(path.parent)


def find_table(root: Path, table: str, spec: dict) -> Path | None:
    """Find the file of one table, whatever its case and suffix; see `find_tables`."""
    path = locate(root, spec)
    if path is None:
        if spec.get("optional"):
            return None
        suffixes = "" if "*" in spec["file"] else f"{SUFFIXES[0]} (nor {' or '.join(SUFFIXES[1:])})"
        suffixes = " among its tables (views are not read)" if is_database(root) else suffixes
        raise ClinRaGenInputError(f"table {spec['file']} is missing: no {spec['file']}{suffixes} in {root}")
    header = header_of(path, spec)
    present = {name.lower() for name in header} | {"filename"}
    missing = [c for c in spec["columns"] if c not in present and c not in spec.get("optional_columns", ())]
    if missing:
        if "dialect" in spec and not any(header):
            raise ClinRaGenInputError(
                f"{path.name}: the file is empty; export it again, or take it out of the description"
            )
        if "dialect" in spec:
            has = ", ".join(header[:SHOWN]) + (", ..." if len(header) > SHOWN else "")
            raise ClinRaGenInputError(f"{path.name}: column {', '.join(missing)} missing; it has {has}")
        if sign := other_delimiter(header, spec["columns"]):
            signs = DELIMITERS[sign]
            raise ClinRaGenInputError(f"{path.name}: columns are separated by {signs}; save it with commas instead")
        hint = spec.get("hint", "is it the right table and version?")
        raise ClinRaGenInputError(f"{path.name}: column {', '.join(missing)} missing; {hint}")
    if "dialect" in spec:
        _check_names(path, spec)
    return path


def is_tab_separated(path: Path) -> bool:
    """Return whether the columns of a table's files are separated by tabs."""
    return any("\t" in name for name in header_of(path, {}))


def _check_names(path: Path, spec: dict) -> None:
    """Raise a `ClinRaGenInputError` where a column that is read is there twice in a file."""
    for header in _headers(path, spec):
        names = [name.lower() for name in header]
        twice = next((column for column in spec["columns"] if names.count(column) > 1), None)
        if twice:
            raise ClinRaGenInputError(f"{path.name}: column {twice} is there twice; rename one")


def locate(root: Path, spec: dict) -> Path | None:
    """Return the file of a table, its pattern, or its place in a DuckDB file; `None` if there is none."""
    if is_database(root):
        path = root / spec["file"]
        return path if header_of(path, spec) else None
    path = Path(glob.escape(str(root))) / spec["file"] if "*" in spec["file"] else _named_file(root, spec["file"])
    return path if path is not None and files_of(path) else None


def _named_file(root: Path, name: str) -> Path | None:
    """Find the file of that name below `root`, whatever the case of its folders, its case and its suffix."""
    folder = root
    for part in Path(name).parts[:-1]:
        folder = next((f for f in folder.iterdir() if f.is_dir() and f.name.lower() == part.lower()), folder / part)
        if not folder.is_dir():
            return None
    names = {f.name.lower(): f for f in folder.iterdir() if not f.is_dir()}
    stem = Path(name).name.lower()
    return next((names[stem + suffix] for suffix in ("", *SUFFIXES) if stem + suffix in names), None)


def files_of(path: Path) -> list[Path]:
    """Return the files of a table: one, or all that a pattern such as `data/**/*.parquet` finds."""
    if path.is_file():
        return [path]
    if is_database(path.parent):
        return [path.parent]
    found = map(Path, glob.glob(str(path), recursive=True, include_hidden=True))
    return sorted(file for file in found if file.is_file())


def header_of(path: Path, spec: dict) -> list[str]:
    """Return the columns of a table; those of all its files, if it has several."""
    return list(dict.fromkeys(column for header in _headers(path, spec) for column in header))


def dialect_of(spec: dict) -> Dialect:
    """Return how a table is written: as a user declares it, or plain but for the `encoding` that a source names."""
    return spec.get("dialect") or PLAIN._replace(encoding=spec.get("encoding", PLAIN.encoding))


def _headers(path: Path, spec: dict) -> list[list[str]]:
    """Return the headers of the files of a table, each once."""
    versions = tuple((file, file.stat().st_mtime_ns) for file in files_of(path))
    return _read_headers(path, versions, dialect_of(spec))


# Read together, a date would become midnight, and the time of a ward an instant.
MIXED_TIMES = """
SELECT lower(name) FROM parquet_schema({}) WHERE type = 'INT96' OR regexp_matches(logical_type, '^(Timestamp|Date)')
GROUP BY 1 HAVING count(DISTINCT CASE WHEN logical_type LIKE 'Date%' THEN 'date'
                                      WHEN logical_type LIKE '%isAdjustedToUTC=1%' THEN 'instant' ELSE 'ward' END) > 1
"""


@cache
def _read_headers(path: Path, versions: tuple[tuple[Path, int], ...], dialect: Dialect) -> list[list[str]]:
    files = [file for file, _ in versions]
    if is_database(path.parent):
        return [_database_header(path)]
    if files[0].suffix == ".parquet":
        try:
            mixed = duckdb.sql(MIXED_TIMES.format(scanned(path))).fetchall()
            names = duckdb.sql(f"SELECT * FROM read_parquet({scanned(path)}, union_by_name = true) LIMIT 0").columns
        except duckdb.Error:
            raise ClinRaGenInputError(f"{path.name} is no whole Parquet file; fetch it again") from None
        if mixed:
            raise ClinRaGenInputError(
                f"{path.name}: column {mixed[0][0]} holds dates, times and times with a zone, by file; write all alike"
            )
        return [names]
    return [list(header) for header in {tuple(read_header(file, dialect)): None for file in files}]


def _database_header(path: Path) -> list[str]:
    """Return the columns of a table of a DuckDB file; none where the file does not hold it."""
    try:
        return duckdb.sql(f"SELECT * FROM {_database_scan(path)} LIMIT 0").columns
    except duckdb.BinderException as error:
        if "multiple" in str(error):
            raise ClinRaGenInputError(
                f"{path.parent.name}: several schemas hold a table {path.name}; copy the tables to read into a file"
            ) from None
        return []
    except duckdb.Error as error:
        raise ClinRaGenInputError(
            f"{path.parent.name} cannot be read as a DuckDB file ({str(error).splitlines()[0][:100]}); "
            "close what has it open, or fetch it again"
        ) from None


def _database_scan(path: Path) -> str:
    return f"read_duckdb({scanned(path.parent)}, table_name = {quoted(path.name)})"


def quoted(text: str | Path) -> str:
    """Return a text as a literal of SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as SQL writes that of a column."""
    return '"' + name.replace('"', '""') + '"'


def scanned(path: Path) -> str:
    """Return a table's file, or pattern of files, as a literal of SQL; `?` and `[` in its own name are no pattern."""
    return quoted(glob.escape(str(path)) if path.is_file() else path)


def select_table(path: Path | None, spec: dict, unpacked: bool = False) -> str:
    """Write the SQL for the columns of a table, as the source describes it; see `select_columns`."""
    columns = spec["columns"]
    ids = spec.get("ids", [name for name in columns if name.endswith("id")])
    return select_columns(path, columns, spec, ids, unpacked)


def select_columns(
    path: Path | None, columns: list[str], spec: dict, ids: Collection[str] = (), unpacked: bool = False
) -> str:
    """
    Write the SQL for the columns as text; no rows where an optional table is absent, nulls for an absent column.

    Whole numbers among the `ids` are written without a fraction; numbers and times as `spec["dialect"]` tells, with a
    decimal point and the year first. Of a table with `first_rows` no more are read. `unpacked`: the connection has an
    `UnpackedFileSystem`, which is to read the gzipped files.
    """
    if path is None:
        return "SELECT " + ", ".join(f"NULL::VARCHAR AS {identifier(column)}" for column in columns) + " WHERE false"
    header = header_of(path, spec)
    dialect, typed = dialect_of(spec), set()
    actual = {name.lower(): identifier(name) for name in header} | {"filename": "filename"}
    filename = ", filename = true" if "filename" in columns else ""
    if not is_csv(path):
        scan = f"read_parquet({scanned(path)}, union_by_name = true{filename})"
        scan = _database_scan(path) if is_database(path.parent) else scan
        relation = duckdb.sql(f"SELECT * FROM {scan} LIMIT 0")
        for name, kind in zip(relation.columns, relation.types, strict=True):
            cell = actual[name.lower()] = TYPED.get(str(kind), "{}").format(identifier(name))
            if str(kind) == "FLOAT" and (name.lower() in ids or name.lower().endswith(("_id", "stayid"))):
                refuse = _refuse_rounded(f"CAST({identifier(name)} AS VARCHAR)", f"{path.name}, column {name.lower()}")
                actual[name.lower()] = (
                    f"CASE WHEN abs({identifier(name)}) >= {EXACT['FLOAT']} THEN {refuse} ELSE {cell} END"
                )
            if str(kind) != "VARCHAR":
                typed.add(name.lower())
    else:
        named = (unpacked and not filename and unpacked_files(files_of(path))) or scanned(path)
        scan = f"read_csv({named}, {_csv(dialect)}, {_csv_columns(_headers(path, spec))}{filename})"
    texts = {column: f"CAST({actual.get(column, 'NULL')} AS VARCHAR)" for column in columns}
    where = {column: f"{path.name}, column {column}" for column in columns}
    if dialect != PLAIN:
        of_types = dialect._replace(decimal=PLAIN.decimal)  # DuckDB writes them
        texts = {c: _in_plain(text, c, spec, of_types if c in typed else dialect) for c, text in texts.items()}
    picked = ", ".join(f"{whole_number(t, where[c]) if c in ids else t} AS {identifier(c)}" for c, t in texts.items())
    return f"SELECT {picked} FROM {scan}" + (f" LIMIT {spec['first_rows']}" if "first_rows" in spec else "")


def _distinct(header: list[str]) -> list[str]:
    """Return the names of columns, those that are empty or were there before by their place, as DuckDB needs them."""
    names: dict[str, str] = {}
    for place, name in enumerate(header, 1):
        own = name if name and name.lower() not in names else f"{name} of column {place}"
        names[own.lower()] = own
    return list(names.values())


def _in_plain(text: str, column: str, spec: dict, dialect: Dialect) -> str:
    """
    Write the SQL for a cell as other sources write it. A sign that is not the decimal one becomes a comma: a number
    with it is read nowhere, and counted. What is no date by `date_format` stays what it is.
    """
    if dialect.decimal == "," and column in spec["decimals"]:
        return f"CASE WHEN regexp_matches({text}, '[.,][0-9]') THEN translate({text}, '.,', ',.') ELSE {text} END"
    if _kind(column, spec) not in ("time", "birth"):
        return text
    if dialect.date_format in EPOCHS:
        text = since_1970(text, dialect.date_format, _kind(column, spec) == "birth")
    elif dialect.date_format:
        parts = rf"'^\s*((?:\S+\s+){{{dialect.date_format.count(' ')}}}[^\sT]\S*?)((?:\s|T\d).*)?$'"
        date = f"try_strptime(regexp_extract({text}, {parts}, 1), {quoted(dialect.date_format)})"
        written = "%Y-%m-%d %H:%M:%S" if re.search("%[HI]", dialect.date_format) else "%Y-%m-%d"
        text = f"coalesce(strftime({date}, '{written}') || regexp_extract({text}, {parts}, 2), {text})"
    if dialect.time_zone and _kind(column, spec) == "time":
        text = f"with_zone({text}, {quoted(dialect.time_zone)})"
    return text


def whole_number(text: str, where: str = "a table") -> str:
    """
    Write the SQL for a text without blanks around it, and without the fraction or the exponent that a program has
    given to a whole number. Large numbers written so have been rounded: they end the query; see `explain`.
    """
    number = f"TRY_CAST({text} AS DOUBLE)"
    exact = f"abs({number}) < {EXACT['DOUBLE']}"
    return (
        f"CASE WHEN NOT contains({text}, '.') AND strlen({text}) <> 5 THEN trim({text}) "  # 1e+05 has five characters
        f"WHEN regexp_matches({text}, '^\\s*-?\\d+\\.0+\\s*$') "
        f"THEN CASE WHEN {exact} THEN regexp_extract({text}, '-?\\d+') ELSE {_refuse_rounded(text, where)} END "
        f"WHEN regexp_matches({text}, '^\\s*-?\\d(\\.\\d+)?[eE]\\+\\d\\d?\\s*$') AND trunc({number}) = {number} "
        f"THEN CASE WHEN {exact} THEN CAST(TRY_CAST({number} AS BIGINT) AS VARCHAR) "
        f"ELSE {_refuse_rounded(text, where)} END ELSE trim({text}) END"
    )


def _refuse_rounded(text: str, where: str) -> str:
    """Write the SQL that ends a query, since neighbours of so large a number are written as it is."""
    said = f"{quoted(f'{where}: the id ')} || {text} || {quoted(ROUNDED)}"
    return f"CAST(CAST({said} AS BIGINT) AS VARCHAR)"


# From these on, a floating-point number may stand for several whole numbers.
EXACT = {"DOUBLE": 2**53, "FLOAT": 2**24}
ROUNDED = " is a rounded number; write ids as whole numbers or as text"
# Parquet's types whose text would not be what is meant: ids with gaps are often stored as floating-point numbers, and
# 201.0 is the id 201; no number is no value; and a time with a zone is an instant.
NUMBER = (
    "CASE WHEN isnan({0}) THEN NULL WHEN trunc({0}) = {0} AND abs({0}) < 9007199254740992 "
    "THEN CAST(TRY_CAST({0} AS BIGINT) AS VARCHAR) ELSE CAST({0} AS VARCHAR) END"
)
INSTANT = "CAST(timezone('UTC', CAST({0} AS TIMESTAMPTZ)) AS VARCHAR) || '+00'"
TYPED = {"DOUBLE": NUMBER, "FLOAT": NUMBER, "TIMESTAMP WITH TIME ZONE": INSTANT, "TIMESTAMPTZ_NS": INSTANT}


def _csv_columns(headers: list[list[str]]) -> str:
    """Write the options of DuckDB for columns of text, in files of one header or of several."""
    if len(headers) > 1:
        return "all_varchar = true, union_by_name = true"
    types = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in _distinct(headers[0]))
    return f"auto_detect = false, columns = {{{types}}}"


def _csv(dialect: Dialect) -> str:
    """Write the options of DuckDB for a CSV file."""
    quote = "" if dialect.quote == "none" else dialect.quote
    delim, quote, encoding = quoted(dialect.delimiter), quoted(quote), quoted(dialect.encoding)
    options = f"header = true, delim = {delim}, quote = {quote}, escape = {quote}"
    return options if dialect.encoding == PLAIN.encoding else f"{options}, encoding = {encoding}"


def check_keys(connection: duckdb.DuckDBPyConnection, source: dict, files: dict[str, Path | None]) -> None:
    """
    Raise a `ClinRaGenInputError` where a table holds one `key` in several rows, nothing in a column that must be
    `filled`, or one number for several of what it is `of_one`.
    """
    for table, spec in source["tables"].items():
        if files[table] is not None:
            _check_filled(files[table], spec)
        if "of_one" in spec:
            _check_of_one(connection, table, files[table].name, *spec["of_one"])
        if "key" not in spec or files[table] is None:
            continue
        key = spec["key"]
        twice = connection.execute(
            f"SELECT {key}, count(*), count(*) OVER () - 1 FROM {table} GROUP BY {key} HAVING count(*) > 1 "
            "ORDER BY 1 LIMIT 1"
        ).fetchone()
        if twice:
            number, rows, others = twice
            more = f" (and {others} more are in several)" if others else ""
            name = key.strip('"')
            raise ClinRaGenInputError(
                f"{files[table].name}: {name} {number} is in {rows} rows{more}; remove the duplicate rows"
            )


def _check_filled(path: Path, spec: dict) -> None:
    for column in spec.get("filled", ()):
        cells = select_columns(path, [column], spec)
        numbered = f"SELECT row_number() OVER () + 1 AS row, {identifier(column)} AS x FROM ({cells})"
        rows = duckdb.connect().execute(
            rf"SELECT row FROM ({numbered}) WHERE regexp_matches(x, '\S') IS NOT TRUE LIMIT 1"
        )
        if found := rows.fetchone():
            raise ClinRaGenInputError(
                f"{path.name}, row {found[0]}, column {column}: empty; give each row its number, or remove the row"
            )


def _check_of_one(connection: duckdb.DuckDBPyConnection, table: str, name: str, number: str, owner: str) -> None:
    rows = f"SELECT trim({identifier(number)}) AS number, trim({identifier(owner)}) AS owner FROM {table}"
    shared = connection.execute(
        f"SELECT number, count(DISTINCT owner) FROM ({rows}) WHERE number <> '' "
        "GROUP BY number HAVING count(DISTINCT owner) > 1 ORDER BY number LIMIT 1"
    ).fetchone()
    if shared:
        raise ClinRaGenInputError(
            f"{name}: {number} {shared[0]} is of {shared[1]} patients; give no two patients the same number"
        )


FAULTS = {
    "minutes": "not a number of minutes; correct the row",
    "milliseconds": "not a number of milliseconds; correct the row",
    "number": "not a number; correct the row",
    "age": "not a number; correct the row",
    "version": "not a version of ICD; write 9 or 10",
}
# An unknown zone ends a query even under TRY.
UNREADABLE = {
    "time": "CASE WHEN contains(time_parts(x).zone, '/') AND lower(time_parts(x).zone) NOT IN "
    "(SELECT lower(name) FROM pg_timezone_names()) THEN true ELSE TRY(moment(x)) IS NULL END",
    "birth": "TRY(wall_time(x)) IS NULL",
    "minutes": "TRY_CAST(trim(x) AS BIGINT) IS NULL",
    "milliseconds": "TRY_CAST(trim(x) AS BIGINT) IS NULL",
    "number": "TRY_CAST(trim(x) AS DOUBLE) IS NULL",
    "age": "TRY(coalesce(years_old(x), 0)) IS NULL",
    "version": "TRY(icd_version(x)) IS NULL",
}


# Fields of a table that name its columns of a kind.
KINDS = {"numbers": "number", "ages": "age", "versions": "version", "milliseconds": "milliseconds"}


def is_unreadable(error: duckdb.Error) -> bool:
    """Tell whether a failure is one to read; those of an `UnpackedFileSystem` have no class of their own."""
    return isinstance(error, READ_ERRORS) or type(error) is duckdb.Error


def explain(error: duckdb.Error, source: dict, files: dict[str, Path | None]) -> ClinRaGenInputError:
    """Explain a failure to read in one line that names the file and, where it can be found, row and field."""
    text = re.sub(r"(?s)^Traceback .*\n(?=\S)", "", str(error))  # whose lines are of our code
    if rounded := re.search(rf"string '(.*: the id .*{ROUNDED})'", text):
        return ClinRaGenInputError(rounded[1])
    if "File is not" in text and "encoded" in text:  # without its name
        return _find_other_encoding(source, files)
    for table, path in files.items():
        if path is None:
            continue
        named = path.parent.name if is_database(path.parent) else path.name  # a table's own name may stand in a cell
        if "*" in named:
            named = next((f.name for f in files_of(path) if str(f) in text), None)
        if named and named in text:
            row = re.search(r"(?:Line|line)[: ]+(\d+)", text)
            where = f"{named}, row {row[1]}" if row else named
            return ClinRaGenInputError(f"{where}: {_reason(text, source['tables'][table])}")
    bad = _find_bad_cell(source, files)
    return bad or ClinRaGenInputError(f"the tables cannot be read: {_reason(text, {})}")


def _reason(text: str, spec: dict) -> str:
    if "gzip" in text.lower() or "inflate" in text.lower():
        return "the compressed file is cut short or damaged; fetch it again"
    if "unicode" in text.lower():
        return encoding_fault("utf-8") if "dialect" in spec else NOT_UTF8
    if "state machine" in text:
        return "lines end with \\r\\n and with \\n, or a cell goes on after its closing quote; write all lines alike"
    if "unterminated quote" in text.lower():
        setting = ", or give quote" if "dialect" in spec else ""
        return f"the quote that opens a cell is never closed; close it{setting}"
    if "dialect" in spec and "Number of Columns" in text:
        return "more or fewer cells than its header; put a cell that holds the delimiter in quotes, or give delimiter"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = next((line for line in lines if line.startswith(("Error", "Expected", "Invalid"))), lines[0])
    return re.sub(r'"[^"]*"', "a value", shown)[:200]


def _find_other_encoding(source: dict, files: dict[str, Path | None]) -> ClinRaGenInputError:
    """Look for the file that is not in the encoding that a user has given for it."""
    connection = duckdb.connect()
    create_time_macros(connection, zoned=False)
    for table, path in files.items():
        spec = source["tables"][table]
        dialect = dialect_of(spec)
        if path is None or dialect.encoding == PLAIN.encoding:
            continue
        for file in files_of(path):
            try:
                connection.execute(f"SELECT count(*) FROM ({select_columns(file, spec['columns'], spec)})")
            except duckdb.InvalidInputException:
                return ClinRaGenInputError(f"{file.name}: {encoding_fault(dialect.encoding)}")
    return ClinRaGenInputError("the tables cannot be read: a file is not in the encoding that is given")


def _find_bad_cell(source: dict, files: dict[str, Path | None]) -> ClinRaGenInputError | None:
    """Look for the first time or number that is none: only after a conversion has failed, since it reads all again."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    zoned = create_macros(connection, source, files)
    for table, path in files.items():
        if path is None:
            continue
        spec = source["tables"][table]
        for column, kind, read in _readings(spec):
            numbered = f"SELECT row_number() OVER () + 1 AS row, {read} AS x"
            found = connection.execute(
                f"SELECT row, x, time_parts(x).zone FROM ({numbered} FROM "
                f"({select_columns(path, spec['columns'], spec)})) WHERE trim(x) <> '' AND {UNREADABLE[kind]} LIMIT 1"
            ).fetchone()
            if found:
                row, cell, zone = found
                fault = FAULTS.get(kind) or _date_fault(cell, spec) or time_fault(cell, zone, zoned, "dialect" in spec)
                return ClinRaGenInputError(f"{path.name}, row {row}, column {column}: {fault}")
    return None


def _readings(spec: dict) -> Iterator[tuple[str, str, str]]:
    """Yield each column that must be of a kind, the kind, and the SQL of what is read of it; see `omop.yaml`."""
    for column in spec["columns"]:
        kind = _kind(column, spec)
        if kind is not None:
            yield column, kind, identifier(column)
        for kind, read in spec.get("read_as", {}).get(column, {}).items():
            yield column, kind, read


def _date_fault(cell: str, spec: dict) -> str | None:
    return date_fault(cell, spec["dialect"]) if "dialect" in spec else None


def _kind(column: str, spec: dict) -> str | None:
    """Return what the cells of a column must be: what the source says, or what the databases' own naming does."""
    for name, kind in KINDS.items():
        if column in spec.get(name, ()):
            return kind
    if column in spec.get("births", ("dob",)):
        return "birth"
    if "times" in spec:
        return "time" if column in spec["times"] else None
    if "time" in column or column == "chartdate":
        return "time"
    return "minutes" if "offset" in column else None
