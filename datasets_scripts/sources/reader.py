# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
One reader for every database: DuckDB over the raw tables, with what differs in `<source>.yaml`, item and unit tables.

A `<source>.yaml` gives the tables and the queries for stays, diagnoses, events (measurements as charted) and notes;
everything from there on - units, limits, choice among devices, the series - is shared and written here. The work is
done in a DuckDB file, one transaction a step: a build that was killed goes on after the last whole step.
"""

from __future__ import annotations

import csv
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import yaml
from tqdm import tqdm

from datasets_scripts.common.command import BusyError
from datasets_scripts.sources.labels import map_codes
from datasets_scripts.sources.phenotypes import FAMILY
from datasets_scripts.sources.raw_tables import READ_ERRORS, check_keys, create_views, explain, find_tables, quoted
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


HERE = Path(__file__).parent
DATABASE = "build.duckdb"
STAY_CHOICES = ("all", "single", "first")
SINGLE = "hadm_id IN (SELECT hadm_id FROM stays GROUP BY hadm_id HAVING count(*) = 1)"
FIRST = "stay_id IN (SELECT arg_min(stay_id, (intime, stay_id)) FROM stays GROUP BY subject_id)"
# What the queries of `stays` and `events` may give; what they do not give is null. `reversed`: the admission to which
# the stay belongs ends before it begins. `wrong`: marked as an error in the source.
STAY = """
SELECT NULL::VARCHAR AS subject_id, NULL::VARCHAR AS hadm_id, NULL::VARCHAR AS stay_id, NULL::TIMESTAMP AS intime,
       NULL::TIMESTAMP AS outtime, NULL::DOUBLE AS age, NULL::VARCHAR AS sex, NULL::VARCHAR AS ethnicity,
       NULL::VARCHAR AS care_unit, NULL::BOOLEAN AS reversed WHERE false
"""
EVENT = """
SELECT NULL::VARCHAR AS stay_id, NULL::VARCHAR AS subject_id, NULL::TIMESTAMP AS time, NULL::VARCHAR AS "table",
       NULL::VARCHAR AS itemid, NULL::VARCHAR AS number, NULL::VARCHAR AS text, NULL::TIMESTAMP AS stored,
       NULL::VARCHAR AS specimen, NULL::BOOLEAN AS wrong WHERE false
"""
# Why a charted value is left out, in the order in which it is asked.
DROPPED = {
    "no_number": "charted IS NULL",
    "marked_as_error": "wrong",
    "not_arterial": "specimen_needed <> '' AND NOT starts_with(upper(specimen), upper(specimen_needed))",
    "outside_of_stay": "time NOT BETWEEN intime AND outtime",
    "after_window": "hour > $hours",
    "implausible": "value NOT BETWEEN minimum AND maximum",
}


UNKNOWN = f"route LIKE 'unknown%' OR route LIKE '{FAMILY}%'"


@dataclass(frozen=True)
class CohortOptions:
    """
    Which stays are read, and how much of them.

    Args:
        min_age, max_age (`float`): years at ICU admission, inclusive.
        min_hours, max_hours (`float`): length of the stay.
        stays (`str`): `"all"`, `"single"` (admissions with one ICU stay) or `"first"` (of each patient).
        hours (`float`): values measured later than this after ICU admission are left out.
        seed (`int`), limit (`int`, *optional*): only that many patients, the first by the hash of seed and id.
    """

    min_age: float = 18
    max_age: float | None = None
    min_hours: float = 0
    max_hours: float | None = None
    stays: str = "all"
    hours: float = 1440
    seed: int = 0
    limit: int | None = None


@dataclass
class Cohort:
    """What a reader found, in a DuckDB file: counts for the card, and the stays themselves by `iterate_blocks`."""

    connection: duckdb.DuckDBPyConnection
    source: dict
    channels: list[dict]

    @property
    def attrition(self) -> list[dict]:
        """`step`, `stays` and `patients` that are left, `stays_lost` and `patients_lost`, `why`; in order."""
        return self._rows("SELECT * EXCLUDE (position) FROM attrition ORDER BY position")

    @property
    def values(self) -> list[dict]:
        """Per channel: values charted, dropped for each reason, converted, kept; and how late they are known."""
        return self._rows("SELECT * EXCLUDE (position) FROM value_counts ORDER BY position")

    @property
    def codes(self) -> list[dict]:
        """Per diagnosis code: `code`, `version`, `route`, `mapped`, `label` (empty: none), `rows`, `stays`."""
        return self._rows("SELECT * FROM label_audit ORDER BY stays DESC, code, version, label")

    @property
    def code_counts(self) -> dict:
        """
        How many diagnosis codes there are: in `total`, `unmapped` to any category, `unknown` to the tables of codes,
        and of these read `by_family`; with examples.
        """
        total, unmapped, by_family, unknown, names = self.connection.execute(
            f"""
            SELECT coalesce(sum("rows"), 0), coalesce(sum("rows") FILTER (NOT mapped), 0),
                   coalesce(sum("rows") FILTER (route LIKE '{FAMILY}%'), 0),
                   coalesce(sum("rows") FILTER ({UNKNOWN}), 0),
                   coalesce(list(DISTINCT code ORDER BY code) FILTER ({UNKNOWN}), [])
            FROM (SELECT DISTINCT code, version, route, mapped, "rows" FROM label_audit)
            """
        ).fetchone()
        share = round(int(unmapped) / int(total), 4) if total else None
        counts = {"total": int(total), "unmapped": int(unmapped), "unmapped_share": share}
        return counts | {"unknown": int(unknown), "by_family": int(by_family), "unknown_codes": names[:100]}

    @property
    def care_units(self) -> list[dict]:
        """ICU stays by `care_unit`, `None` where it is not known; the most frequent first."""
        return self._rows("SELECT care_unit, count(*) AS stays FROM stays GROUP BY 1 ORDER BY 2 DESC, 1")

    @property
    def num_stays(self) -> int:
        return self.connection.execute("SELECT count(*) FROM stays").fetchone()[0]

    def _rows(self, query: str) -> list[dict]:
        result = self.connection.execute(query)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def load_source(name: str) -> dict:
    """The description of a database, `<name>.yaml`."""
    return yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))


def read_source(
    source: dict,
    root: Path,
    work: Path,
    channels: list[dict],
    labels: list[dict],
    options: CohortOptions,
    *,
    documents_until: float | None = None,
    memory_limit: str = "4GB",
    threads: int | None = None,
) -> Cohort:
    """
    Read the raw tables under `root` into a database file in `work`; steps that are done there are not repeated.

    Args:
        source (`dict`): the database's description, as `load_source` gives it.
        root (`Path`): folder of its CSV, gzipped CSV or Parquet files; upper or lower case.
        work (`Path`): folder for the database file and for what does not fit into memory.
        channels (list of `dict`): as in `clinical_clinragen`; labels (list of `dict`): as `load_labels` gives them.
        documents_until (`float`, *optional*): read all documents that were stored by that hour after ICU admission,
            too, for the note view `as-of`.

    Raises:
        ClinRaGenInputError: naming file, row or field of what cannot be read.
    """
    files = find_tables(source, root)
    connection = _open(work, memory_limit, threads)
    cohort = Cohort(connection, source, channels)
    steps = {
        "Opening tables": lambda: _open_tables(cohort, files),
        "Selecting stays": lambda: _select_stays(cohort, options),
        "Mapping diagnoses": lambda: _label(cohort, labels),
        "Reading measurements": lambda: _measure(cohort, options.hours),
        "Reading notes": lambda: _read_notes(cohort, documents_until),
    }
    connection.execute("CREATE TABLE IF NOT EXISTS steps (name VARCHAR)")
    done = {row[0] for row in connection.execute("SELECT name FROM steps").fetchall()}
    try:
        for name, step in steps.items():
            if name not in done:
                with _progress(connection, name):
                    connection.begin()
                    step()
                    connection.execute("INSERT INTO steps VALUES (?)", [name])
                    connection.commit()
    except READ_ERRORS as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise
        raise explain(error, source, files) from error
    return cohort


def _open(work: Path, memory_limit: str, threads: int | None) -> duckdb.DuckDBPyConnection:
    work.mkdir(parents=True, exist_ok=True)
    try:
        connection = duckdb.connect(work / DATABASE)
    except duckdb.Error as error:
        if "lock" in str(error):
            raise BusyError(f"another process is at work in {work}; wait for it or end it") from None
        (work / DATABASE).unlink()  # killed while the file was written for the first time
        (work / f"{DATABASE}.wal").unlink(missing_ok=True)
        connection = duckdb.connect(work / DATABASE)
    try:
        connection.execute(f"SET memory_limit = {quoted(memory_limit)}")
    except duckdb.Error:
        raise ClinRaGenInputError(f"--memory-limit {memory_limit} is no size; write it as in 4GB") from None
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"SET temp_directory = {quoted(work / 'spill')}")
    if threads is not None:
        connection.execute(f"SET threads = {threads}")
    return connection


@contextmanager
def _progress(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[None]:
    """A bar that follows the statement under way, for steps that take long."""
    finished = threading.Event()

    def follow() -> None:
        if finished.wait(2):
            return
        with tqdm(total=100, desc=name, unit="%", bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}") as bar:
            while not finished.wait(0.5):
                bar.n = max(bar.n, connection.query_progress(), 0)
                bar.refresh()

    connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _open_tables(cohort: Cohort, files: dict[str, Path | None]) -> None:
    create_views(cohort.connection, cohort.source, files)
    check_keys(cohort.connection, cohort.source, files)
    _load_items(cohort)
    for statement in cohort.source.get("prepare", ()):
        cohort.connection.execute(statement)


def _load_items(cohort: Cohort) -> None:
    position = {channel["name"]: i for i, channel in enumerate(cohort.channels)}
    items = cohort.source["items"]
    if items == "channels":  # the codes are the channels' names, the values in their units
        rows = [{"table": "channels", "itemid": name, "channel": name} for name in position]
    elif isinstance(items, list):
        rows = items
    else:
        with open(HERE / items, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["channel"] in position]
    _insert(
        cohort,
        'items ("table" VARCHAR, itemid VARCHAR, channel INTEGER, unit VARCHAR, specimen_needed VARCHAR, '
        "priority INTEGER)",
        [
            (r["table"], r["itemid"], position[r["channel"]], r.get("unit", ""), r.get("specimen", ""), i)
            for i, r in enumerate(rows)
        ],
    )
    units = yaml.safe_load((HERE / "units.yaml").read_text(encoding="utf-8"))["readings"]
    units |= cohort.source.get("units", {})
    _insert(
        cohort,
        'units (unit VARCHAR, "from" DOUBLE, "to" DOUBLE, factor DOUBLE, "offset" DOUBLE)',
        [(u, r["from"], r["to"], r["factor"], r.get("offset", 0)) for u, ranges in units.items() for r in ranges],
    )
    _insert(
        cohort,
        "channels (channel INTEGER, name VARCHAR, minimum DOUBLE, maximum DOUBLE)",
        [(i, channel["name"], channel["minimum"], channel["maximum"]) for i, channel in enumerate(cohort.channels)],
    )


def _insert(cohort: Cohort, table: str, rows: list[tuple]) -> None:
    """Create a table, given as `name (columns)`, that holds the rows."""
    cohort.connection.execute(f"CREATE TABLE {table}")
    if rows:
        columns = [list(column) for column in zip(*rows, strict=True)]
        unnested = ", ".join(["unnest(?)"] * len(columns))
        cohort.connection.execute(f"INSERT INTO {table.split(' (')[0]} SELECT {unnested}", columns)


def _select_stays(cohort: Cohort, options: CohortOptions) -> None:
    run = cohort.connection.execute
    run(f"CREATE TABLE stays AS ({STAY}) UNION ALL BY NAME ({cohort.source['stays']})")
    run(
        "CREATE TABLE attrition (position INTEGER, step VARCHAR, stays BIGINT, patients BIGINT, "
        "stays_lost BIGINT, patients_lost BIGINT, why VARCHAR)"
    )
    _count(cohort, "ICU stays in the tables", "")
    twice = run("SELECT stay_id FROM stays GROUP BY stay_id HAVING count(*) > 1 ORDER BY 1 LIMIT 1").fetchone()
    if twice:
        raise ClinRaGenInputError(f"ICU stay {twice[0]} is listed more than once; remove the duplicate rows")
    for step, why, condition in _filters(cohort.source, options):
        run(f"DELETE FROM stays WHERE ({condition}) IS NOT TRUE")
        _count(cohort, step, why)
    if not cohort.num_stays:
        left = ", ".join(f"{row['stays']} {row['step']}" for row in cohort.attrition)
        raise ClinRaGenInputError(f"no ICU stay is left ({left}); are these the right tables?")
    run(
        "CREATE TABLE ranked AS SELECT * REPLACE (nullif(trim(care_unit), '') AS care_unit), "
        "CAST(row_number() OVER (ORDER BY subject_id, intime, stay_id) - 1 AS INTEGER) AS stay FROM stays"
    )
    run("DROP TABLE stays; ALTER TABLE ranked RENAME TO stays")


def _filters(source: dict, options: CohortOptions) -> Iterator[tuple[str, str, str]]:
    """What is asked of a stay, in order: what is left, why a stay is lost, and the condition."""
    length = "hours_between(intime, outtime)"
    yield "with an end after their beginning", "no end, or an end before it begins", "outtime > intime"
    yield "of admissions that end after they begin", "the admission ends before it begins", "reversed IS NOT TRUE"
    yield "of patients of known age", "age unknown", "age IS NOT NULL"
    yield f"of patients of {options.min_age:g} or older", "younger", f"age >= {options.min_age}"
    if options.max_age is not None:
        yield f"of patients of {options.max_age:g} or younger", "older", f"age <= {options.max_age}"
    if options.min_hours:
        yield f"of {options.min_hours:g} hours or longer", "shorter", f"{length} >= {options.min_hours}"
    if options.max_hours is not None:
        yield f"of {options.max_hours:g} hours or shorter", "longer", f"{length} <= {options.max_hours}"
    diagnosed = source.get("diagnosed", f"SELECT stay_id FROM ({source['diagnoses']})")
    yield "with at least one recorded diagnosis", "no diagnosis", f"stay_id IN ({diagnosed})"
    if options.stays == "single":
        yield "of admissions with one ICU stay", "one of several of its admission", SINGLE
    if options.stays == "first":
        yield "first of their patient", "a later one of its patient", FIRST
    if options.limit is not None:
        hashed = f"sha256({quoted(f'{options.seed}:')} || subject_id), subject_id"
        patients = f"SELECT subject_id FROM stays GROUP BY subject_id ORDER BY {hashed} LIMIT {options.limit}"
        yield f"of the first {options.limit} patients", "--limit", f"subject_id IN ({patients})"


def _count(cohort: Cohort, step: str, why: str) -> None:
    cohort.connection.execute(
        """
        INSERT INTO attrition
        WITH now AS (SELECT count(*) AS stays, count(DISTINCT subject_id) AS patients FROM stays),
             before AS (SELECT stays, patients FROM attrition ORDER BY position DESC LIMIT 1)
        SELECT (SELECT count(*) FROM attrition), ?, n.stays, n.patients,
               coalesce(b.stays - n.stays, 0), coalesce(b.patients - n.patients, 0), ?
        FROM now n LEFT JOIN before b ON true
        """,
        [step, why],
    )


def _label(cohort: Cohort, labels: list[dict]) -> None:
    """Table `labels`: stay -> sorted class ids; and the audit of codes."""
    run = cohort.connection.execute
    run(
        f"CREATE TABLE codes AS SELECT s.stay, d.code, d.version "
        f"FROM ({cohort.source['diagnoses']}) d JOIN stays s USING (stay_id)"
    )
    distinct = run("SELECT DISTINCT code, version FROM codes ORDER BY ALL").fetchall()
    mapped = map_codes(distinct, labels)
    _insert(
        cohort,
        "code_labels (code VARCHAR, version INTEGER, route VARCHAR, mapped BOOLEAN, label BIGINT)",
        [
            (code, version, m.route, m.mapped, label)
            for (code, version), m in mapped.items()
            for label in m.labels or [None]
        ],
    )
    run(
        "CREATE TABLE labels AS SELECT stay, list(DISTINCT label ORDER BY label) AS diagnoses "
        f"FROM codes c JOIN code_labels l ON {SAME_CODE} WHERE label IS NOT NULL GROUP BY stay"
    )
    _insert(cohort, "label_names (label BIGINT, name VARCHAR)", [(i, label["name"]) for i, label in enumerate(labels)])
    run(
        "CREATE TABLE label_audit AS SELECT c.code, c.version, l.route, l.mapped, coalesce(n.name, '') AS label, "
        'count(*) AS "rows", count(DISTINCT stay) AS stays '
        f"FROM codes c JOIN code_labels l ON {SAME_CODE} LEFT JOIN label_names n USING (label) GROUP BY ALL"
    )


SAME_CODE = "c.code IS NOT DISTINCT FROM l.code AND c.version IS NOT DISTINCT FROM l.version"


def _measure(cohort: Cohort, hours: float) -> None:
    """
    Table `kept`: one row a value - stay, time, hour, channel, value, and the hour from which it is known.

    Of several values of a channel at one moment the preferred item counts, then the one stored last, then the smaller.
    """
    run = cohort.connection.execute
    events = " UNION ALL BY NAME ".join(f"({query})" for query in (EVENT, *cohort.source["events"]))
    reasons = " ".join(f"WHEN {condition} THEN '{reason}'" for reason, condition in DROPPED.items())
    run(
        f"""
        CREATE TABLE judged AS
        WITH charted AS (
          SELECT e.* EXCLUDE ("table", itemid, number, text), i.channel, i.priority, i.unit, i.specimen_needed,
                 coalesce(measurement(e.number), leading_number(e.text)) AS charted
          FROM ({events}) e JOIN items i ON e."table" = i."table" AND e.itemid = i.itemid
        ), placed AS (
          SELECT s.stay, s.intime, s.outtime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN stays s ON c.stay_id = s.stay_id
          UNION ALL
          SELECT s.stay, s.intime, s.outtime, c.* EXCLUDE (stay_id, subject_id)
          FROM charted c JOIN stays s
            ON c.subject_id = s.subject_id AND c.time >= s.intime AND c.time <= s.outtime
          WHERE c.stay_id IS NULL
        ), converted AS (
          SELECT p.*, CAST(hours_between(p.intime, p.time) AS FLOAT) AS hour,
                 coalesce(p.charted * u.factor + u."offset", p.charted) AS value, k.minimum, k.maximum
          FROM placed p JOIN channels k USING (channel)
          LEFT JOIN units u ON p.unit = u.unit AND p.charted >= u."from" AND p.charted <= u."to"
        )
        SELECT stay, time, hour, channel, priority, stored, CAST(value AS FLOAT) AS value,
               greatest(hour, CAST(hours_between(intime, stored) AS FLOAT)) AS available,
               CASE {reasons.replace("$hours", str(float(hours)))} END AS dropped, value <> charted AS converted
        FROM converted
        """
    )
    run(
        """
        CREATE TABLE kept AS
        SELECT stay, time, hour, channel, value, available, stored
        FROM judged WHERE dropped IS NULL
        QUALIFY row_number() OVER (
          PARTITION BY stay, hour, channel ORDER BY priority, stored DESC NULLS LAST, value
        ) = 1
        ORDER BY stay, hour, channel
        """
    )
    counted = {reason: f"count(*) FILTER (dropped = '{reason}')" for reason in DROPPED}
    counted |= {"charted": "count(*)", "fit": "count(*) FILTER (dropped IS NULL)"}
    counted["unit_converted"] = "count(*) FILTER (dropped IS NULL AND converted)"
    left_over = {
        "kept": "count(*)",
        "stays_with_a_value": "count(DISTINCT stay)",
        "stored_time_known": "count(stored)",
    }
    query = {
        source: f"SELECT channel, {', '.join(f'{count} AS {name}' for name, count in counts.items())}"
        for source, counts in (("judged", counted), ("kept", left_over))
    }
    columns = ", ".join(f"coalesce({name}, 0) AS {name}" for name in (*counted, *left_over) if name != "fit")
    run(
        f"""
        CREATE TABLE value_counts AS
        SELECT channel AS position, name AS channel, {columns}, coalesce(fit - kept, 0) AS simultaneous,
               median_hours_until_stored
        FROM channels
        LEFT JOIN ({query["judged"]} FROM judged GROUP BY channel) USING (channel)
        LEFT JOIN ({query["kept"]}, median(available - hour) FILTER (stored IS NOT NULL) AS median_hours_until_stored
                   FROM kept GROUP BY channel) USING (channel)
        """
    )
    run("DROP TABLE judged")


def _read_notes(cohort: Cohort, documents_until: float | None) -> None:
    """Table `notes`: what was written of a stay, and how many hours after ICU admission it was stored, if known."""
    queries = {"note": cohort.source["notes"]}
    if documents_until is not None and "documents" in cohort.source:
        queries["document"] = cohort.source["documents"]
    selects = " UNION ALL ".join(
        f"SELECT stay_id, '{origin}' AS origin, kind, rank, stored, text FROM ({query})"
        for origin, query in queries.items()
    )
    cohort.connection.execute(
        f"CREATE TABLE notes AS SELECT s.stay, n.origin, n.kind, CAST(n.rank AS BIGINT) AS rank, n.stored, "
        f"hours_between(s.intime, n.stored) AS hour, n.text "
        f"FROM ({selects}) n JOIN stays s USING (stay_id) WHERE n.text IS NOT NULL "
        f"AND (n.origin = 'note' OR hours_between(s.intime, n.stored) <= {documents_until or 0}) ORDER BY s.stay"
    )


@dataclass
class Block:
    """
    Consecutive stays: rows of ids, demographics, class ids and documents; and their series, one after the other.

    Args:
        stays (list of `dict`): N stays.
        offsets (int array of shape `(N + 1,)`): the measurement times of stay i are `offsets[i]` to `offsets[i + 1]`.
        times (float32 of shape `(T,)`): hours since ICU admission.
        values, available (float32 of shape `(T, num_input_channels)`): measured values, and the hour from which each
            is known; NaN = not measured.
    """

    stays: list[dict]
    offsets: np.ndarray
    times: np.ndarray
    values: np.ndarray
    available: np.ndarray


def read_block(cohort: Cohort, start: int, end: int) -> Block:
    """The stays `start` up to `end`, by patient and time."""
    execute = cohort.connection.execute
    stays = cohort._rows(
        f"""
        SELECT s.subject_id, s.hadm_id, s.stay_id, CAST(s.age AS FLOAT) AS age, s.sex, s.ethnicity,
               s.care_unit, coalesce(l.diagnoses, []) AS diagnoses
        FROM stays s LEFT JOIN labels l USING (stay) WHERE s.stay >= {start} AND s.stay < {end} ORDER BY s.stay
        """
    )
    for row in stays:
        row["documents"] = []
    documents = execute(
        f"SELECT stay, origin, kind, rank, hour, text FROM notes WHERE stay >= {start} AND stay < {end} "
        "ORDER BY stay, rank, kind, hour, text"
    )
    for stay, *document in documents.fetchall():
        stays[stay - start]["documents"].append(
            dict(zip(("origin", "kind", "rank", "hour", "text"), document, strict=True))
        )
    kept = execute(
        f"SELECT stay, hour, channel, value, available FROM kept WHERE stay >= {start} AND stay < {end} "
        "ORDER BY stay, hour, channel"
    ).fetchnumpy()
    first = np.ones(len(kept["hour"]), dtype=bool)  # of the values of one moment
    first[1:] = (np.diff(kept["stay"]) != 0) | (np.diff(kept["hour"]) != 0)
    moment = np.cumsum(first) - 1
    values = np.full((int(first.sum()), len(cohort.channels)), np.nan, dtype=np.float32)
    available = values.copy()
    values[moment, kept["channel"]] = kept["value"]
    available[moment, kept["channel"]] = kept["available"]
    offsets = np.searchsorted(kept["stay"][first], np.arange(start, end + 1))
    return Block(stays, offsets, np.asarray(kept["hour"][first], dtype=np.float32), values, available)
