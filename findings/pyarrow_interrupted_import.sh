#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# pyarrow 26.0.1 with pandas 3.1.1 installed: the first function that looks at a Python object imports pandas, which
# takes half a second. If that first function is to_numpy, a Ctrl-C pressed meanwhile is lost; pa.array lets it through.
# A good guess: KeyboardInterrupt leaves to_numpy as it leaves any other function, and the program ends.
# Seen: to_numpy returns its array, nothing is printed, pandas is not imported, and the program runs on to exit code 0.
# After an explicit `import pandas` nothing is lost.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "pyarrow==26.0.1" "pandas==3.1.1" "numpy==2.4.2"
cat > "$folder/press.py" <<'PYTHON'
import io
import os
import signal
import sys

import pyarrow as pa
from pyarrow import csv


class PressCtrlC:
    def find_spec(self, name, path, target=None):
        if name == "pandas.core.arrays":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)  # what a terminal sends


table = csv.read_csv(io.BytesIO(b"a\n1\n2\n"))  # pandas is not imported yet
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, PressCtrlC())
if sys.argv[1] == "pandas":
    import pandas
convert = {"to_numpy": table["a"].to_numpy, "array": lambda: pa.array([1, 2])}
values = convert.get(sys.argv[1], table["a"].to_numpy)()
print(pa.__version__, type(values).__name__, "pandas is imported:", "pandas" in sys.modules)
PYTHON
for first in to_numpy array pandas; do
    code=0
    "$folder/venv/bin/python" "$folder/press.py" "$first" > "$folder/$first" 2>&1 || code=$?
    echo "$first: exit code $code, $(tail -n 1 "$folder/$first")"
    echo "$code" > "$folder/$first.code"
done
[ "$(cat "$folder/to_numpy")" = "26.0.1 ndarray pandas is imported: False" ]
[ "$(cat "$folder/to_numpy.code")" = 0 ]
[ "$(tail -n 1 "$folder/array")" = "KeyboardInterrupt" ] && [ "$(tail -n 1 "$folder/pandas")" = "KeyboardInterrupt" ]
