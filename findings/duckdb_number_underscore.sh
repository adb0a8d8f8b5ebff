#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# DuckDB 2.0.0: an underscore inside a text does not keep it from being a number.
# A good guess: TRY_CAST('1_000' AS DOUBLE) is NULL, as TRY_CAST('1,000' AS DOUBLE) is: only SQL literals may hold
# underscores.
# Seen: 1000.0, and 1000 as INTEGER. Identifiers such as '12_3' pass for numbers where a cast is the test for one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "duckdb==2.0.0"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb

query = "SELECT TRY_CAST('1_000' AS DOUBLE), TRY_CAST('1_000' AS INTEGER), TRY_CAST('1,000' AS DOUBLE)"
(found,) = duckdb.sql(query).fetchall()
print("1_000 and 1,000 as numbers:", found)
assert found == (1000.0, 1000, None), "the behaviour has changed"
PYTHON
