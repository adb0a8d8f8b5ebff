# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The first rows of a user's tables: where they show that a table is written otherwise than it is read."""

from __future__ import annotations

from pathlib import Path

import duckdb

from datasets_scripts.sources.raw_tables import create_macros, identifier, select_columns
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


FIRST_ROWS = 10_000
# `1,5` and `1,2345` hold a decimal comma; `1,234` may be a thousand or more. The sign before it is that of a bound.
COMMA = r"^\s*[-+<>=≤≥]*\s*[0-9]+,([0-9]{1,2}|[0-9]{4,})(\s*[^\s0-9,]\S*)?\s*$"
POINT = r"^\s*[-+<>=≤≥]*\s*[0-9]+\.[0-9]"
QUOTED = r"""^\s*(".*"|'.*')\s*$"""


def check_first_rows(source: dict, files: dict[str, Path | None]) -> None:
    """
    Check the signs in the first rows of the tables that have a `dialect`.

    Raises:
        ClinRaGenInputError: naming file and column where the numbers have the other decimal sign alone, or where most
            cells still stand in quotes.
    """
    described = {table: spec for table, spec in source["tables"].items() if "dialect" in spec}
    if described:
        connection = duckdb.connect()
        create_macros(connection, source, files)
        for table, spec in described.items():
            _check(connection, files[table], spec)


def _check(connection: duckdb.DuckDBPyConnection, path: Path, spec: dict) -> None:
    columns = spec["columns"]
    counted = [
        f"count(*) FILTER (regexp_matches({identifier(column)}, '{pattern}'))"
        for column in columns
        for pattern in (r"\S", QUOTED.replace("'", "''"), COMMA, POINT)
    ]
    cells = select_columns(path, columns, {**spec, "first_rows": FIRST_ROWS})
    row = connection.execute(f"SELECT {', '.join(counted)} FROM ({cells})").fetchone()
    for i, column in enumerate(columns):
        filled, in_quotes, with_comma, with_point = row[4 * i : 4 * i + 4]
        if in_quotes * 2 > filled:
            raise ClinRaGenInputError(f"{path.name}: cells of column {column} are in quotes; give their sign as quote")
        if column in spec["decimals"] and with_comma and not with_point:
            found, sign = ("commas", ",") if spec["dialect"].decimal == "." else ("points", ".")
            raise ClinRaGenInputError(f"{path.name}: column {column} holds decimal {found}; give decimal: {sign!r}")
