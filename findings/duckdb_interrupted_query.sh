#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# DuckDB 2.0.0 (Python): Ctrl-C while a query runs.
# A good guess: KeyboardInterrupt, or DuckDB's own InterruptException, reaches the caller.
# Seen: a plain RuntimeError with the text "Query interrupted" and no cause. A command that ends on KeyboardInterrupt
# with exit code 130, or catches duckdb.Error, shows a traceback instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "duckdb==2.0.0"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import signal
import threading

import duckdb

query = "select count(*) from range(200000) a, range(200000) b where (a.range * b.range) % 7 = 3"
threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    duckdb.connect().execute(query).fetchall()
except BaseException as error:
    print(f"{type(error).__module__}.{type(error).__name__}: {error}; cause: {error.__cause__!r}")
    assert type(error) is RuntimeError and str(error) == "Query interrupted", "Ctrl-C arrives otherwise now"
    assert not isinstance(error, duckdb.Error)
else:
    raise SystemExit("the query ended before Ctrl-C")
PYTHON
