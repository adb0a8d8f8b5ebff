#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# transformers 5.23.0 with torch 2.13.0: what a command waits for that needs `PreTrainedModel` alone.
# A good guess: torch, the configuration and generation code; compilers, symbolic algebra and optimisers are imported
# when they are used; Python's garbage collector has no share that one could measure.
# Seen: the base class brings torch's compiler front end (through continuous batching), distributed tensors and
# checkpoints with sympy (through weight loading), and scipy.optimize (through the losses of object detectors). Looking
# for garbage meanwhile takes more than a twentieth of the time on top, a sixth where it was measured first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0"
"$folder/venv/bin/pip" install --quiet "transformers==5.23.0" "scipy==1.17.1"
"$folder/venv/bin/python" - <<'PYTHON'
import statistics
import subprocess
import sys

NAMES = ("torch._dynamo", "torch.distributed.tensor", "torch.distributed.checkpoint", "sympy", "scipy.optimize")
IMPORT = f"""
import time
started = time.process_time()
from transformers import PreTrainedModel
import sys
print(time.process_time() - started, *(name for name in {NAMES!r} if name in sys.modules))
"""


def run(code):
    seconds, *names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    return float(seconds), tuple(names)


run(IMPORT)  # compiles
seconds = {"with the collector": [], "without it": []}
for _ in range(5):
    for kind, before in zip(seconds, ("", "import gc; gc.disable()")):
        taken, names = run(before + IMPORT)
        seconds[kind].append(taken)
        assert names == NAMES, f"it has changed: {names}"
print("imported by the base class:", ", ".join(NAMES))
medians = {kind: statistics.median(taken) for kind, taken in seconds.items()}
print("processor seconds:", ", ".join(f"{median:.2f} {kind}" for kind, median in medians.items()))
assert medians["with the collector"] > 1.05 * medians["without it"], "it has changed"
PYTHON
