# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The queries of a database's description: a faulty one is named before its rows are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


FAULTS = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
NOTE = {"stay_id", "kind", "rank", "text", "stored"}
NEEDED = {  # field -> columns that its queries must give
    "stays": {"subject_id", "stay_id", "intime", "outtime", "age"},
    "diagnoses": {"stay_id", "code", "version"},
    "diagnosed": {"stay_id"},
    "events": {"time", "table", "itemid"},
    "notes": NOTE,
    "documents": NOTE,
    "note_sections": NOTE,
}


@contextmanager
def named_query(source: dict, name: str) -> Iterator[None]:
    """
    Name the query that runs in the block.

    Raises:
        ClinRaGenInputError: with file, query and the table engine's reason, for a fault in the query itself. A source
            without a `file`, whose queries are the code's, keeps its error.
    """
    try:
        yield
    except FAULTS as error:
        if "file" not in source:
            raise
        raise ClinRaGenInputError(f"{source['file']}, query {name}: {_reason(error)}; correct the query") from None


def check_query(connection: duckdb.DuckDBPyConnection, source: dict, field: str, query: str, name: str = "") -> None:
    """
    Bind a query without reading rows.

    Raises:
        ClinRaGenInputError: see `named_query`; and if it does not give the columns that the reader takes.
    """
    name = name or field
    with named_query(source, name):
        given = {row[0].lower() for row in connection.execute(f"DESCRIBE ({query})").fetchall()}
    missing = sorted(NEEDED.get(field, set()) - given)
    if missing and "file" in source:
        raise ClinRaGenInputError(f"{source['file']}, query {name}: it has no column {', '.join(missing)}; add it")


def check_queries(connection: duckdb.DuckDBPyConnection, source: dict) -> None:
    """
    Check the queries that read the table `stays`, which must be there; see `check_query`. Those of `losses` also read
    tables of later steps.
    """
    for field in ("diagnoses", "diagnosed", "notes", "documents"):
        if field in source:
            check_query(connection, source, field, source[field])
    for i, query in enumerate(source["events"], 1):
        check_query(connection, source, "events", query, f"{i} of events")
    for name, section in source.get("note_sections", {}).items():
        check_query(connection, source, "note_sections", section["query"], f"{name} of note_sections")


def _reason(error: duckdb.Error) -> str:
    """Return the first line of an error of the table engine, as one sentence."""
    return str(error).splitlines()[0].rstrip("!. ")
