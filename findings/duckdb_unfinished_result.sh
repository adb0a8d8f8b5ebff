#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# DuckDB 2.0.0 (Python): one row that was fetched leaves its connection closed to other work.
# A good guess: execute(...).fetchone() on a query of one row is done with it, as in sqlite3, and the next query runs.
# Seen: the next query on the connection, the module's own included, raises ResourceInUseException until a further
# fetch returns no row. fetchall() ends the result.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "duckdb==2.0.0"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb

assert duckdb.execute("SELECT 1").fetchone() == (1,)
try:
    found = duckdb.sql("SELECT 2").fetchall()
except duckdb.Error as error:
    found = type(error).__name__
print("the next query after a fetchone():", found)
assert found == "ResourceInUseException", "the behaviour has changed"
assert duckdb.execute("SELECT 1").fetchall() and duckdb.sql("SELECT 2").fetchall() == [(2,)]
PYTHON
