# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of a PostgreSQL database, copied to Parquet files of a private folder that is there while they are read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from tqdm import tqdm

from datasets_scripts.sources.raw_tables import identifier
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


HOST = r"(?:\[[^\]]*\]|[^:/@?,\[\]]*)(?::\d*)?"
URL = re.compile(rf"postgres(?:ql)?://(?:[^:/@?]*@)?{HOST}(?:,{HOST})*(?:/[^?@]*)?(?:\?(?P<fields>.*))?")
PASSWORD = "a password is read from PGPASSWORD or ~/.pgpass"
# All tables are read as they were at one moment, and nothing can be written; times are told in UTC, the year first.
SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL datestyle = 'ISO'",
)
COLUMNS = """
SELECT n.nspname::text, c.relname::text, a.attname::text
FROM pg_class c JOIN pg_namespace n ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = ANY(current_schemas(false)) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY array_position(current_schemas(false), n.nspname), c.relname DESC, a.attnum
"""


@contextmanager
def copied_tables(url: str, tables: dict[str, dict]) -> Iterator[Path]:
    """
    Copy tables of a PostgreSQL database to a folder that only this user can read, and remove it afterwards.

    Args:
        url (`str`): as libpq takes it, without a password; `schema=NAME` among its fields is the schema of the tables.
        tables (`dict`): table -> `columns` to copy, as far as they are there; `optional`, if the table may be absent;
            `rows`, a condition in SQL on those to copy.

    Raises:
        ClinRaGenInputError: if the URL holds a password, the server refuses, or a table is missing.
    """
    address, schema = parse_url(url)
    with tempfile.TemporaryDirectory(prefix="clinragen-") as folder:
        _copy(address, schema, tables, Path(folder))
        yield Path(folder)


def parse_url(url: str) -> tuple[str, str | None]:
    """
    Return the URL for libpq, and the schema that it names.

    Raises:
        ClinRaGenInputError: which does not show the URL, if it is none or may hold a password.
    """
    parsed = URL.fullmatch(url)
    fields = [] if parsed is None else [field for field in (parsed["fields"] or "").split("&") if field]
    if parsed is None or any("pass" in unquote(field).partition("=")[0].lower() for field in fields):
        raise ClinRaGenInputError(
            "--root: write it as postgresql://USER@HOST:PORT/DATABASE?schema=SCHEMA, without a password and with %40 "
            f"and the like for signs that part it; {PASSWORD}"
        )
    schema = dict(parse_qsl(parsed["fields"] or "")).get("schema")
    others = "&".join(field for field in fields if not field.startswith("schema="))
    return url.partition("?")[0] + ("?" + others if others else ""), schema


def _copy(address: str, schema: str | None, tables: dict[str, dict], folder: Path) -> None:
    from adbc_driver_postgresql import dbapi
    from pyarrow import ArrowException

    try:
        with dbapi.connect(address) as connection, connection.cursor() as cursor:
            for statement in SETTINGS:
                cursor.execute(statement)
            if schema is not None:
                cursor.execute(f"SET LOCAL search_path = {identifier(schema)}")
            found = _find(cursor, tables)
            with tqdm(desc="Copying tables", unit="row") as bar:
                for name, query in found.items():
                    bar.set_postfix_str(name)
                    _write(cursor, query, folder / f"{name}.parquet", bar)
    except (dbapi.Error, ArrowException, OSError) as error:
        said = str(error).partition("[libpq] ")[2].splitlines()
        if not said:  # nothing that the server or the connection told
            raise
        raise ClinRaGenInputError(
            f"--root: PostgreSQL: {said[0]}; check address, database and rights ({PASSWORD})"
        ) from None


def _find(cursor, tables: dict[str, dict]) -> dict[str, str]:
    """Return the query for each table that is there, in the first schema of the search path that holds it."""
    cursor.execute("SELECT array_to_string(current_schemas(false), ', ')")
    schemas = cursor.fetchone()[0] or "the search path, which names none that is there"
    cursor.execute(COLUMNS)
    present: dict[str, dict[tuple[str, str], list[str]]] = {}
    for in_schema, table, column in cursor.fetchall():
        present.setdefault(table.lower(), {}).setdefault((in_schema, table), []).append(column)
    queries = {}
    for name, spec in tables.items():
        if name in present:
            place, columns = next(iter(present[name].items()))
            cells = [f"{identifier(c)}::text AS {c.lower()}" for c in columns if c.lower() in spec["columns"]]
            rows = f" WHERE {spec['rows']}" if "rows" in spec else ""
            queries[name] = f"SELECT {', '.join(cells)} FROM {'.'.join(map(identifier, place))}{rows}"
        elif not spec.get("optional"):
            raise ClinRaGenInputError(
                f"--root: PostgreSQL: table {name} is missing in {schemas}; name its schema by ?schema=SCHEMA"
            )
    return queries


def _write(cursor, query: str, path: Path, bar: tqdm) -> None:
    import pyarrow.parquet as pq

    cursor.execute(query)
    with cursor.fetch_record_batch() as reader, pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            bar.update(batch.num_rows)
