#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# DuckDB 2.0.0 beside Python's zoneinfo: the hour that a change of clocks repeats is another hour in each.
# A good guess: 02:30 on the day on which Berlin's clocks go back is read alike by both.
# Seen: DuckDB takes the later of the two moments, zoneinfo (fold=0, the default) the earlier: an hour apart. Hours
# between events that were written by the one and read by the other are wrong once a year.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "duckdb==2.0.0"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime
from zoneinfo import ZoneInfo

import duckdb

duck = duckdb.sql("SELECT epoch(timezone('Europe/Berlin', TIMESTAMP '2024-10-27 02:30:00'))").fetchall()[0][0]
python = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
print("DuckDB less zoneinfo, in seconds:", duck - python)
assert duck - python == 3600, "the behaviour has changed"
PYTHON
