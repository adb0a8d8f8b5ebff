#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# pyarrow 26.0.1 with pandas 3.1.1 installed: the first function that looks at a Python object (pa.array,
# Array.to_numpy, pq.read_table) imports pandas, which takes up to half a second, and loses a Ctrl-C pressed meanwhile.
# A good guess: KeyboardInterrupt leaves the function as it leaves any other, and the program ends.
# Seen: the function returns its array, nothing is printed, pandas is not imported, and the program runs on to exit code
# 0. After an explicit `import pandas`, or with pandas absent, nothing is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "pyarrow==26.0.1" "pandas==3.1.1" "numpy==2.4.2"
cat > "$folder/press.py" <<'PYTHON'
import os
import signal
import sys


class PressCtrlC:
    def find_spec(self, name, path, target=None):
        if name == "pandas.core.arrays":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)  # what a terminal sends


sys.meta_path.insert(0, PressCtrlC())
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[1] == "explicit":
    import pandas
import pyarrow as pa

print(pa.__version__, pa.array([1, 2]).to_pylist(), "pandas is imported:", "pandas" in sys.modules)
PYTHON
code=0
"$folder/venv/bin/python" "$folder/press.py" lazy > "$folder/lazy" 2>&1 || code=$?
cat "$folder/lazy"
echo "exit code $code"
[ "$code" = 0 ] && [ "$(cat "$folder/lazy")" = "26.0.1 [1, 2] pandas is imported: False" ]
code=0
"$folder/venv/bin/python" "$folder/press.py" explicit > "$folder/explicit" 2>&1 || code=$?
tail -n 1 "$folder/explicit"
[ "$(tail -n 1 "$folder/explicit")" = "KeyboardInterrupt" ] && [ "$code" -ne 0 ]
