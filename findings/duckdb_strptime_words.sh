#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# DuckDB 2.0.0: two words fit every format of a time.
# A good guess: try_strptime(text, '%Y-%m-%d %H:%M:%S') is NULL for what does not have that form.
# Seen: 'epoch' and 'infinity' give 1900-01-01 00:00:00, other words NULL. As a test of the form it lets these through,
# and the moment is that of neither word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "duckdb==2.0.0"
"$folder/venv/bin/python" - <<'PYTHON'
from datetime import datetime

import duckdb

words = ("epoch", "infinity", "nonsense")
found = {w: duckdb.execute("SELECT try_strptime(?, '%Y-%m-%d %H:%M:%S')", [w]).fetchone()[0] for w in words}
print(found)
start = datetime(1900, 1, 1)
assert found == {"epoch": start, "infinity": start, "nonsense": None}, "the behaviour has changed"
PYTHON
