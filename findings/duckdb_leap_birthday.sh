#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# DuckDB 2.0.0: a child of 29 February is a year older on 28 February.
# A good guess: date_sub('year', birth, day) counts whole years, so 29 February 2000 to 28 February 2018 is 17, as
# 28 February 2000 to 27 February 2018 is.
# Seen: 18. On the last day of February the year counts as whole, and a filter for adults lets the patient in a day
# early.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "duckdb==2.0.0"
"$folder/venv/bin/python" - <<'PYTHON'
import duckdb

query = "SELECT date_sub('year', DATE '2000-02-29', DATE '2018-02-28'), date_sub('year', DATE '2000-02-28', DATE '2018-02-27')"
(found,) = duckdb.sql(query).fetchall()
print("whole years to the day before the 18th birthday:", found)
assert found == (18, 17), "the behaviour has changed"
PYTHON
