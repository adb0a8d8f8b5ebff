# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The reader of every database: DuckDB over the raw tables, with what differs in `<source>.yaml`, item and unit tables.

A `<source>.yaml` gives the tables and the queries for stays, diagnoses, events (measurements as charted) and notes;
everything from there on - units, limits, choice among devices, the series - is shared. The work is done in a DuckDB
file, one transaction a step: a build that was killed resumes after the last whole step.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import yaml
from tqdm import tqdm

from datasets_scripts.common.outputs import BusyError, ResumableError, is_full_disk, is_interruption
from datasets_scripts.sources.code_cells import check_code_cells
from datasets_scripts.sources.cohort import Cohort, CohortOptions, select_stays
from datasets_scripts.sources.copies import read_copies
from datasets_scripts.sources.first_rows import check_first_rows
from datasets_scripts.sources.labels import map_codes
from datasets_scripts.sources.measurements import load_items, measure
from datasets_scripts.sources.queries import named_query
from datasets_scripts.sources.raw_tables import check_keys, create_views, explain, find_tables, is_unreadable, quoted
from datasets_scripts.sources.unpacked import UnpackedFileSystem
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


HERE = Path(__file__).parent
DATABASE = "build.duckdb"
NO_NOTES = (
    "SELECT NULL::VARCHAR AS stay_id, NULL::VARCHAR AS kind, 0 AS rank, NULL::VARCHAR AS text, "
    "NULL::TIMESTAMP AS stored WHERE false"
)
SAME_CODE = "c.code IS NOT DISTINCT FROM l.code AND c.version IS NOT DISTINCT FROM l.version"


def load_source(name: str) -> dict:
    """Return the description of a database, `<name>.yaml`, with the name of its `file`."""
    file = f"{name}.yaml"
    return {"file": file, **yaml.safe_load((HERE / file).read_text(encoding="utf-8"))}


def sections_of(source: dict, root: Path, asked: Collection[str] | None) -> tuple[str, ...]:
    """
    Return the sections that a note view reads beside the notes.

    Args:
        asked (`Collection[str]`): names of the source's `note_sections`; `None`: all whose table is there.

    Raises:
        ClinRaGenInputError: if the source has no such section, or its table is missing.
    """
    known, files = source.get("note_sections", {}), find_tables(source, root)
    if asked is None:
        return tuple(name for name, section in known.items() if files[section["table"]] is not None)
    for name in asked:
        if name not in known:
            has = f"this source has {', '.join(known)}" if known else "this source has none"
            raise ClinRaGenInputError(f"--sections {name}: {has}")
        if files[known[name]["table"]] is None:
            file = source["tables"][known[name]["table"]]["file"]
            raise ClinRaGenInputError(f"--sections {name}: table {file} is missing; give --sections none")
    return tuple(asked)


def read_source(
    source: dict,
    root: Path,
    work: Path | None,
    channels: list[dict],
    labels: list[dict],
    options: CohortOptions,
    *,
    documents_until: float | None = None,
    sections: Collection[str] = (),
    sections_until: float = 0,
    memory_limit: str = "4GB",
    threads: int | None = None,
    cache: Path | None = None,
) -> Cohort:
    """
    Read the raw tables under `root` into a database file in `work`; steps that are done there are not repeated.

    Args:
        source (`dict`): the database's description, as `load_source` gives it.
        root (`Path`): folder of its CSV, gzipped CSV or Parquet files; upper or lower case.
        work (`Path`, *optional*): folder for the database file and for what does not fit into memory; without it,
            nothing is written.
        channels (list of `dict`): as in `clinical_clinragen`; labels (list of `dict`): as `load_labels` gives them.
        documents_until (`float`, *optional*): read all documents that were stored by that hour after ICU admission,
            too, for the note view `as-of`.
        sections (`Collection[str]`): as `sections_of` gives them, read up to the hour `sections_until` after ICU
            admission.
        cache (`Path`, *optional*): folder of copies of the CSV tables, to be read in their place; see `read_copies`.

    Raises:
        ClinRaGenInputError: naming file, row or field of what cannot be read.
    """
    files = find_tables(source, root)
    connection = _open(work, memory_limit, threads)
    cohort = Cohort(connection, source, channels)
    steps = {
        "Opening tables": lambda: open_tables(cohort, files),
        "Selecting stays": lambda: select_stays(cohort, options),
        "Mapping diagnoses": lambda: _map_diagnoses(cohort, labels),
        "Reading measurements": lambda: measure(cohort, options.hours),
        "Reading notes": lambda: _read_notes(cohort, documents_until, sections, sections_until),
    }
    try:
        with _progress(connection, "Copying tables"):
            _create_views(connection, source, files, cache)
        connection.execute("CREATE TABLE IF NOT EXISTS steps (name VARCHAR)")
        done = {row[0] for row in connection.execute("SELECT name FROM steps").fetchall()}
        for name, step in steps.items():
            if name not in done:
                with _progress(connection, name):
                    connection.begin()
                    step()
                    connection.execute("INSERT INTO steps VALUES (?)", [name])
                    connection.commit()
    except duckdb.Error as error:
        if is_full_disk(error) or is_interruption(error) or not is_unreadable(error):
            raise
        raise explain(error, source, files) from error
    return cohort


@contextmanager
def enough_memory(memory_limit: str) -> Iterator[None]:
    """Raise a `ResumableError` where the table engine runs out of its memory."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        if is_full_disk(error):  # what does not fit into memory goes to the disk
            raise
        raise ResumableError(
            f"--memory-limit {memory_limit} is too little for these tables; start the same command with more, 1GB or "
            "above, to resume it"
        ) from error


def _connect(work: Path) -> duckdb.DuckDBPyConnection:
    work.mkdir(parents=True, exist_ok=True)
    try:
        return duckdb.connect(work / DATABASE)
    except duckdb.Error as error:
        if "lock" in str(error):
            raise BusyError(f"another process is working on {work}; wait for it or end it") from None
        (work / DATABASE).unlink()  # killed while the file was written for the first time
        (work / f"{DATABASE}.wal").unlink(missing_ok=True)
        return duckdb.connect(work / DATABASE)


def _open(work: Path | None, memory_limit: str, threads: int | None) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect() if work is None else _connect(work)
    try:
        connection.execute(f"SET memory_limit = {quoted(memory_limit)}")
        if memory_limit.strip().startswith("-"):  # which stands for no limit at all
            raise duckdb.ParserException
    except duckdb.Error:
        raise ClinRaGenInputError(f"--memory-limit {memory_limit} is no size; write it as in 4GB") from None
    connection.execute(f"SET preserve_insertion_order = {work is None}")  # in which the first rows are the first
    connection.register_filesystem(UnpackedFileSystem())
    connection.execute("SET TimeZone = 'UTC'")  # else times with a zone would be written in that of the machine
    connection.execute(f"SET temp_directory = {quoted('' if work is None else work / 'spill')}")
    if threads is not None:
        connection.execute(f"SET threads = {threads}")
    return connection


@contextmanager
def _progress(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[None]:
    """Show a bar that follows the statement under way, for steps that take long."""
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


def _create_views(
    connection: duckdb.DuckDBPyConnection, source: dict, files: dict[str, Path | None], cache: Path | None
) -> None:
    """Create the views of the tables: at each start, since the copies of an earlier one may be gone."""
    create_views(connection, source, files)
    if cache is not None:
        read_copies(connection, source, files, cache)


def open_tables(cohort: Cohort, files: dict[str, Path | None]) -> None:
    """Check the tables, and create those that the queries of a source read beside the views of its files."""
    check_first_rows(cohort.source, files)
    check_code_cells(cohort.source, files)
    check_keys(cohort.connection, cohort.source, files)
    load_items(cohort)
    for table, file in cohort.source.get("lookups", {}).items():
        scan = f"""read_csv({quoted(HERE / file)}, header = true, all_varchar = true, delim = ',', quote = '"')"""
        cohort.connection.execute(f"CREATE TABLE {table} AS FROM {scan}")
    for name in ("prepare", "prepare_diagnoses"):
        for i, statement in enumerate(cohort.source.get(name, ()), 1):
            with named_query(cohort.source, f"{i} of {name}"):
                cohort.connection.execute(statement)


def _map_diagnoses(cohort: Cohort, labels: list[dict]) -> None:
    """Create the table `labels`, stay -> sorted class ids, and the audit of codes."""
    run = cohort.connection.execute
    run(
        f"CREATE TABLE codes AS SELECT s.stay, d.code, d.version "
        f"FROM ({cohort.source['diagnoses']}) d JOIN stays s USING (stay_id)"
    )
    distinct = run("SELECT DISTINCT code, version FROM codes ORDER BY ALL").fetchall()
    mapped = map_codes(distinct, labels)
    cohort.create_table(
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
    cohort.create_table(
        "label_names (label BIGINT, name VARCHAR)", [(i, label["name"]) for i, label in enumerate(labels)]
    )
    run(
        "CREATE TABLE label_audit AS SELECT c.code, c.version, l.route, l.mapped, coalesce(n.name, '') AS label, "
        'count(*) AS "rows", count(DISTINCT stay) AS stays '
        f"FROM codes c JOIN code_labels l ON {SAME_CODE} LEFT JOIN label_names n USING (label) GROUP BY ALL"
    )


def _read_notes(
    cohort: Cohort, documents_until: float | None, sections: Collection[str], sections_until: float
) -> None:
    """Create the table `notes`: the documents of each stay, and how many hours after ICU admission each was stored."""
    queries = [("note", cohort.source.get("notes", NO_NOTES), None)]  # origin, query, up to which hour
    if documents_until is not None and "documents" in cohort.source:
        queries.append(("document", cohort.source["documents"], documents_until))
    queries += [("section", cohort.source["note_sections"][name]["query"], sections_until) for name in sections]
    selects = " UNION ALL ".join(
        f"SELECT stay_id, '{origin}' AS origin, kind, rank, stored, text, "
        f"CAST({'NULL' if until is None else until} AS DOUBLE) AS until FROM ({query})"
        for origin, query, until in queries
    )
    cohort.connection.execute(
        f"CREATE TABLE notes AS SELECT s.stay, n.origin, n.kind, CAST(n.rank AS BIGINT) AS rank, n.stored, "
        f"hours_between(s.intime, n.stored) AS hour, n.text "
        f"FROM ({selects}) n JOIN stays s USING (stay_id) WHERE n.text IS NOT NULL "
        f"AND (n.until IS NULL OR hours_between(s.intime, n.stored) <= n.until) ORDER BY s.stay"
    )
