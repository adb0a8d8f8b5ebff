# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A command for tests of the runner: writes to its output what it found in its inputs; `--fail` ends it."""

import argparse
import sys
import time
from pathlib import Path

from modeling_clinragen import ClinRaGenInputError


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path)
    parser.add_argument("--inputs", type=Path, nargs="*", default=[])
    parser.add_argument("--fail")
    parser.add_argument("--seconds", type=float, default=0.0)
    arguments = parser.parse_args(argv)
    print("reading", *arguments.inputs, file=sys.stderr)
    if arguments.fail == "input":
        raise ClinRaGenInputError("no such thing; give another")
    if arguments.fail:
        raise RuntimeError(arguments.fail)
    time.sleep(arguments.seconds)
    arguments.output.write_text("".join(path.read_text() for path in arguments.inputs) + arguments.output.name)
