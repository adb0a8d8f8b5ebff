# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
One reader for every database: DuckDB over the raw tables, with what differs in `<source>.yaml`, item and unit tables.

A `<source>.yaml` gives the tables and the queries for stays, diagnoses, events (measurements as charted) and notes;
everything from there on - units, limits, choice among devices, the series - is shared and written here.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import yaml

from datasets_scripts.sources.phenotypes import phenotypes_of
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


HERE = Path(__file__).parent
SUFFIXES = (".csv.gz", ".csv", ".parquet")

MACROS = r"""
CREATE MACRO number(x) AS TRY_CAST(trim(x) AS DOUBLE);
CREATE MACRO measurement(x) AS CAST(nullif(trim(x), '') AS DOUBLE);
CREATE MACRO moment(x) AS CAST(nullif(trim(x), '') AS TIMESTAMP);
CREATE MACRO years(a, b) AS floor(date_diff('day', a, b) / 365.2425);
CREATE MACRO after(minutes) AS TIMESTAMP '2000-01-01' + to_minutes(CAST(trim(minutes) AS BIGINT));
CREATE MACRO path_part(path, back) AS string_split(path, '/')[-back];
CREATE MACRO leading_number(x) AS
  TRY_CAST(regexp_extract(trim(x), '^([-+]?[0-9]+\.?[0-9]*)\s*(%|[a-zA-Z/]*)$', 1) AS DOUBLE);
"""


@dataclass
class Cohort:
    """What a reader found: counts for the card, and the rows themselves by `iterate`."""

    connection: duckdb.DuckDBPyConnection
    source: dict
    attrition: list[dict] = field(default_factory=list)
    values: list[dict] = field(default_factory=list)
    codes: dict = field(default_factory=dict)


def load_source(name: str) -> dict:
    """The description of a database, `<name>.yaml`."""
    return yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))


def read_source(
    source: dict,
    root: Path,
    channels: list[dict],
    labels: list[dict],
    *,
    seed: int = 0,
    limit: int | None = None,
    min_age: float = 18,
    memory_limit: str = "4GB",
    temp_directory: Path | None = None,
    keep_events: bool = False,
) -> Cohort:
    """
    Read the raw tables under `root` up to one row per ICU stay.

    Args:
        source (`dict`): the database's description, as `load_source` gives it.
        root (`Path`): folder of its CSV, gzipped CSV or Parquet files; upper or lower case.
        channels, labels (lists of `dict`): as in `clinical_clinragen`.
        limit (`int`, *optional*): only that many patients, the first by the hash of their id.
        keep_events (`bool`): leave the table `kept` (stay_id, time, channel, value) for an export.

    Raises:
        ClinRaGenInputError: naming file, row or field of what cannot be read.
    """
    connection = duckdb.connect()
    connection.execute(f"SET memory_limit = '{memory_limit}'")
    connection.execute("SET preserve_insertion_order = false")
    if temp_directory is not None:
        connection.execute(f"SET temp_directory = '{temp_directory}'")
    for statement in MACROS.strip().split(";\n"):
        connection.execute(statement)
    tables = {table: find_table(Path(root), table, spec) for table, spec in source["tables"].items()}
    for table, spec in source["tables"].items():
        connection.execute(f"CREATE VIEW {table} AS {_select(tables[table], spec['columns'])}")
    cohort = Cohort(connection, source)
    try:
        _load_items(cohort, channels)
        for statement in source.get("prepare", ()):
            connection.execute(statement)
        _select_stays(cohort, seed, limit, min_age)
        _label(cohort, labels)
        _measure(cohort, channels, keep_events)
        connection.execute(f"CREATE TABLE notes AS {source['notes']}")
    except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.IOException) as error:
        raise explain(error, tables, source) from error
    return cohort


def find_table(root: Path, table: str, spec: dict) -> Path | None:
    """
    The file of a table, whatever its case and suffix.

    Raises:
        ClinRaGenInputError: if it is missing (and not optional) or lacks a column.
    """
    if not root.is_dir():
        raise ClinRaGenInputError(f"--root {root} is no folder")
    path = root / spec["file"] if "*" in spec["file"] else _named_file(root, spec["file"])
    if path is None or not _files(path):
        if spec.get("optional"):
            return None
        suffixes = "" if "*" in spec["file"] else f"{SUFFIXES[0]} (nor {' or '.join(SUFFIXES[1:])})"
        raise ClinRaGenInputError(f"table {spec['file']} is missing: no {spec['file']}{suffixes} in {root}")
    present = {name.lower() for name in _header(path)}
    missing = [c for c in spec["columns"] if c not in present and c not in spec.get("optional_columns", ())]
    if missing:
        raise ClinRaGenInputError(
            f"{path.name}: column {', '.join(missing)} missing; is it the right table and version?"
        )
    return path


def _named_file(root: Path, name: str) -> Path | None:
    """The file of that name below `root`, whatever the case of its folders, its case and its suffix."""
    folder = root
    for part in Path(name).parts[:-1]:
        folder = next((f for f in folder.iterdir() if f.is_dir() and f.name.lower() == part.lower()), folder / part)
    names = {f.name.lower(): f for f in folder.iterdir()} if folder.is_dir() else {}
    stem = Path(name).name.lower()
    return next((names[stem + suffix] for suffix in ("", *SUFFIXES) if stem + suffix in names), None)


def _files(path: Path) -> list[Path]:
    """The files of a table: one, or all that a pattern such as `data/**/*.parquet` finds."""
    anchor = Path(*itertools.takewhile(lambda part: "*" not in part, path.parts))
    return sorted(anchor.glob(str(path.relative_to(anchor)))) if anchor != path else [path]


def _header(path: Path) -> list[str]:
    first = _files(path)[0]
    if first.suffix == ".parquet":
        return duckdb.sql(f"SELECT * FROM read_parquet({_quoted(first)}) LIMIT 0").columns
    opener = gzip.open if first.suffix == ".gz" else open
    try:
        with opener(first, "rt", encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, EOFError) as error:
        raise ClinRaGenInputError(f"{first.name} cannot be read: {error}; fetch the file again") from None


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _select(path: Path | None, columns: list[str]) -> str:
    """SQL for the columns as text; no rows where an optional table is absent, nulls for an absent column."""
    if path is None:
        return "SELECT " + ", ".join(f"NULL::VARCHAR AS {column}" for column in columns) + " WHERE false"
    actual = {name.lower(): f'"{name}"' for name in _header(path)}
    picked = ", ".join(f"CAST({actual.get(column, 'NULL')} AS VARCHAR) AS {column}" for column in columns)
    if path.suffix == ".parquet":
        return f"SELECT {picked} FROM read_parquet({_quoted(path)})"
    types = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in _header(path))
    return (
        f"SELECT {picked} FROM read_csv({_quoted(path)}, auto_detect = false, header = true, delim = ',', "
        f"quote = '\"', escape = '\"', columns = {{{types}}})"
    )


def _select_stays(cohort: Cohort, seed: int, limit: int | None, min_age: float) -> None:
    run = cohort.connection.execute
    run(f"CREATE TABLE stays AS {cohort.source['stays']}")
    duplicate = run("SELECT stay_id FROM stays GROUP BY stay_id HAVING count(*) > 1 ORDER BY 1 LIMIT 1").fetchone()
    if duplicate:
        raise ClinRaGenInputError(f"ICU stay {duplicate[0]} is listed more than once; remove the duplicate rows")
    _count(cohort, "ICU stays in the tables")
    run("DELETE FROM stays WHERE intime IS NULL OR outtime IS NULL OR outtime <= intime")
    _count(cohort, "with an end after their beginning")
    run("DELETE FROM stays WHERE age IS NULL OR age < ?", [min_age])
    _count(cohort, f"of patients known to be {min_age:g} or older")
    diagnosed = cohort.source.get("diagnosed", f"SELECT DISTINCT stay_id FROM ({cohort.source['diagnoses']})")
    run(f"DELETE FROM stays WHERE stay_id NOT IN ({diagnosed})")
    _count(cohort, "with at least one recorded diagnosis")
    if limit is not None:
        run(
            "DELETE FROM stays WHERE subject_id NOT IN "
            "(SELECT subject_id FROM stays GROUP BY subject_id ORDER BY sha256(? || subject_id), subject_id LIMIT ?)",
            [f"{seed}:", limit],
        )
        _count(cohort, f"of the first {limit} patients")
    if not run("SELECT count(*) FROM stays").fetchone()[0]:
        steps = ", ".join(f"{row['stays']} {row['step']}" for row in cohort.attrition)
        raise ClinRaGenInputError(f"no ICU stay is left ({steps}); are these the right tables?")


def _count(cohort: Cohort, step: str) -> None:
    stays, patients = cohort.connection.execute("SELECT count(*), count(DISTINCT subject_id) FROM stays").fetchone()
    cohort.attrition.append({"step": step, "stays": stays, "patients": patients})


def _label(cohort: Cohort, labels: list[dict]) -> None:
    """Table `labels`: stay_id -> sorted class ids; and the audit of codes."""
    run = cohort.connection.execute
    diagnoses = f"({cohort.source['diagnoses']}) SEMI JOIN stays USING (stay_id)"
    run(f"CREATE TABLE codes AS SELECT stay_id, code, version FROM {diagnoses}")
    counts = run("SELECT code, version, count(*) FROM codes GROUP BY ALL ORDER BY ALL").fetchall()
    class_of = {label["ccs"]: i for i, label in enumerate(labels)}
    mapped = [(code, version, phenotypes_of(code, version)[0], n) for code, version, n in counts]
    cohort.codes = {
        "total": sum(n for *_, n in mapped),
        "unmapped": sum(n for _, _, categories, n in mapped if not categories),
        "unmapped_codes": sorted({str(code) for code, _, categories, _ in mapped if not categories})[:100],
    }
    run("CREATE TABLE code_labels (code VARCHAR, version INTEGER, label BIGINT)")
    rows = [
        (code, version, class_of[ccs])
        for code, version, categories, _ in mapped
        for ccs in categories
        if ccs in class_of
    ]
    if rows:
        cohort.connection.executemany("INSERT INTO code_labels VALUES (?, ?, ?)", rows)
    run(
        "CREATE TABLE labels AS SELECT stay_id, list(DISTINCT label ORDER BY label) AS diagnoses "
        "FROM codes JOIN code_labels USING (code, version) GROUP BY stay_id"
    )


def _measure(cohort: Cohort, channels: list[dict], keep_events: bool) -> None:
    """Table `series`: stay_id -> times and values, as measured; and the count of what was changed or dropped."""
    run = cohort.connection.execute
    events = " UNION ALL ".join(f"({query})" for query in cohort.source["events"])
    run(
        f"""
        CREATE TABLE measured AS
        WITH charted AS (
          SELECT e.*, i.channel, i.priority, i.unit, coalesce(measurement(e.number), leading_number(e.text)) AS charted
          FROM ({events}) e JOIN items i ON e."table" = i."table" AND e.itemid = i.itemid
        ), placed AS (
          SELECT s.stay_id, s.intime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN stays s ON c.stay_id = s.stay_id
          WHERE c.time BETWEEN s.intime AND s.outtime
          UNION ALL
          SELECT s.stay_id, s.intime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN stays s
            ON c.subject_id = s.subject_id AND c.time >= s.intime AND c.time <= s.outtime
          WHERE c.stay_id IS NULL
        )
        SELECT p.stay_id, p.time, CAST(date_diff('microsecond', p.intime, p.time) / 3.6e9 AS FLOAT) AS hour, p.channel,
               p.priority, p.stored, p.wrong,
               p.charted, coalesce(p.charted * u.factor + u."offset", p.charted) AS value
        FROM placed p LEFT JOIN units u
          ON p.unit = u.unit AND p.charted >= u."from" AND p.charted <= u."to"
        """
    )
    run(
        """
        CREATE TABLE judged AS
        SELECT m.stay_id, m.time, m.hour, m.channel, m.priority, m.stored, CAST(m.value AS FLOAT) AS value,
               CASE WHEN m.charted IS NULL THEN 'no number'
                    WHEN m.wrong THEN 'marked as an error'
                    WHEN m.value < c.minimum OR m.value > c.maximum THEN 'implausible' END AS dropped,
               m.value <> m.charted AS converted
        FROM measured m JOIN channels c ON m.channel = c.channel
        """
    )
    run("DROP TABLE measured")
    # Of several values at one moment: the preferred item, then the one stored last, then the smaller.
    run(
        """
        CREATE TABLE kept AS
        SELECT stay_id, time, hour, channel, value FROM judged WHERE dropped IS NULL
        QUALIFY row_number() OVER (
          PARTITION BY stay_id, hour, channel ORDER BY priority, stored DESC NULLS LAST, value
        ) = 1
        """
    )
    _audit_values(cohort, channels)
    run("DROP TABLE judged")
    cells = ", ".join(f"max(value) FILTER (channel = {i})" for i in range(len(channels)))
    run(
        f"""
        CREATE TABLE series AS
        SELECT stay_id, list(hour ORDER BY hour) AS lab_times, list(cells ORDER BY hour) AS lab_values
        FROM (SELECT stay_id, hour, [{cells}] AS cells FROM kept GROUP BY stay_id, hour)
        GROUP BY stay_id
        """
    )
    if not keep_events:
        run("DROP TABLE kept")


def _load_items(cohort: Cohort, channels: list[dict]) -> None:
    position = {channel["name"]: i for i, channel in enumerate(channels)}
    run, many = cohort.connection.execute, cohort.connection.executemany
    run('CREATE TABLE items ("table" VARCHAR, itemid VARCHAR, channel INTEGER, unit VARCHAR, priority INTEGER)')
    if cohort.source["items"] == "channels":  # the codes are the channels' names, the values in their units
        items = [("channels", name, i, "", i) for name, i in position.items()]
    else:
        with open(HERE / cohort.source["items"], encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["channel"] in position]
        items = [(r["table"], r["itemid"], position[r["channel"]], r["unit"], i) for i, r in enumerate(rows)]
    many("INSERT INTO items VALUES (?, ?, ?, ?, ?)", items)
    run('CREATE TABLE units (unit VARCHAR, "from" DOUBLE, "to" DOUBLE, factor DOUBLE, "offset" DOUBLE)')
    units = yaml.safe_load((HERE / "units.yaml").read_text(encoding="utf-8"))
    many(
        "INSERT INTO units VALUES (?, ?, ?, ?, ?)",
        [(u, r["from"], r["to"], r["factor"], r.get("offset", 0)) for u, ranges in units.items() for r in ranges],
    )
    run("CREATE TABLE channels (channel INTEGER, name VARCHAR, minimum DOUBLE, maximum DOUBLE)")
    many(
        "INSERT INTO channels VALUES (?, ?, ?, ?)",
        [(i, channel["name"], channel["minimum"], channel["maximum"]) for i, channel in enumerate(channels)],
    )


def _audit_values(cohort: Cohort, channels: list[dict]) -> None:
    query = """
        SELECT channel, count(*), count(*) FILTER (dropped = 'no number'),
               count(*) FILTER (dropped = 'marked as an error'), count(*) FILTER (dropped = 'implausible'),
               count(*) FILTER (dropped IS NULL AND converted)
        FROM judged GROUP BY channel
    """
    kept = dict(cohort.connection.execute("SELECT channel, count(*) FROM kept GROUP BY channel").fetchall())
    counts = {row[0]: row[1:] for row in cohort.connection.execute(query).fetchall()}
    for i, channel in enumerate(channels):
        charted, no_number, wrong, implausible, converted = counts.get(i, (0, 0, 0, 0, 0))
        cohort.values.append(
            {
                "channel": channel["name"],
                "charted": charted,
                "no_number": no_number,
                "marked_as_error": wrong,
                "implausible": implausible,
                "unit_converted": converted,
                "simultaneous": charted - no_number - wrong - implausible - kept.get(i, 0),
                "kept": kept.get(i, 0),
            }
        )


def iterate(cohort: Cohort) -> Iterator[dict]:
    """One row per stay, by patient and time: ids, demographics, series, class ids and documents."""
    result = cohort.connection.sql(
        """
        SELECT s.subject_id, s.hadm_id, s.stay_id, CAST(s.age AS FLOAT) AS age, s.sex, s.ethnicity,
               coalesce(r.lab_times, []) AS lab_times, coalesce(r.lab_values, []) AS lab_values,
               coalesce(l.diagnoses, []) AS diagnoses, coalesce(n.documents, []) AS documents
        FROM stays s LEFT JOIN series r USING (stay_id) LEFT JOIN labels l USING (stay_id)
        LEFT JOIN (
          SELECT stay_id, list({'kind': kind, 'text': text} ORDER BY rank, kind) AS documents
          FROM notes GROUP BY stay_id
        ) n USING (stay_id)
        ORDER BY s.subject_id, s.intime, s.stay_id
        """
    )
    for batch in result.to_arrow_reader(500):
        yield from batch.to_pylist()


def explain(error: duckdb.Error, tables: dict[str, Path | None], source: dict) -> ClinRaGenInputError:
    """A reader's failure as one line that names the file and, where it can be found, row and field."""
    text = str(error)
    for _table, path in tables.items():
        if path is not None and path.name in text:
            row = re.search(r"(?:Line|line)[: ]+(\d+)", text)
            where = f"{path.name}, row {row[1]}" if row else path.name
            return ClinRaGenInputError(f"{where}: {_reason(text)}")
    bad = _find_bad_cell(tables, source)
    return bad or ClinRaGenInputError(f"the tables cannot be read: {_reason(text)}")


def _reason(text: str) -> str:
    if "gzip" in text.lower() or "GZIP" in text or "inflate" in text.lower():
        return "the compressed file is cut short or damaged; fetch it again"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = next((line for line in lines if line.startswith(("Error", "Expected", "Invalid"))), lines[0])
    return re.sub(r'"[^"]*"', "a value", shown)[:200]


def _find_bad_cell(tables: dict[str, Path | None], source: dict) -> ClinRaGenInputError | None:
    """Look for the first time or number that is none: only after a conversion has failed, since it reads all again."""
    connection = duckdb.connect()
    for table, path in tables.items():
        if path is None:
            continue
        spec = source["tables"][table]
        for column in spec["columns"]:
            kind = _kind(column, spec)
            if kind is None:
                continue
            found = connection.execute(
                f"SELECT row FROM (SELECT row_number() OVER () + 1 AS row, {column} AS x "
                f"FROM ({_select(path, [column])})) "
                f"WHERE trim(x) <> '' AND TRY_CAST(trim(x) AS {kind}) IS NULL LIMIT 1"
            ).fetchone()
            if found:
                return ClinRaGenInputError(
                    f"{path.name}, row {found[0]}, column {column}: not {KINDS[kind]}; correct the row"
                )
    return None


KINDS = {"TIMESTAMP": "a date and time", "BIGINT": "a number of minutes", "DOUBLE": "a number"}


def _kind(column: str, spec: dict) -> str | None:
    """What the cells of a column must be, by the source's `numbers` and by the databases' own naming."""
    if column in spec.get("numbers", ()):
        return "DOUBLE"
    if "time" in column or column == "dob":
        return "TIMESTAMP"
    return "BIGINT" if "offset" in column else None
