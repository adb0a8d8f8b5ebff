# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The tables of the paper, and more: every row of a YAML file trained and evaluated with every seed, and one table.

    python recipes/reproduce.py --config recipes/configs/reproduce/synthetic.yaml

Started again, it resumes where it stopped; rows that share datasets or stages share their work.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Train and evaluate every row of a YAML file; write one table.")
    parser.add_argument("--config", type=Path, required=True, help="rows, such as recipes/configs/reproduce/*.yaml")
    parser.add_argument(
        "--output", type=Path, help="folder for everything, which several files may share; default: runs/reproduce"
    )
    parser.add_argument("--root", help="folder of the raw tables; default: the file's")
    parser.add_argument("--rows", nargs="+", default=(), metavar="NAME", help="only these, and the reference")
    parser.add_argument("--processes", type=int, help="jobs at once; default: one per GPU, else per CPU core")
    parser.add_argument("--dry-run", action="store_true", help="only list the jobs that are left")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[dict] | None:
    arguments = parse_arguments(argv)
    from recipes.reproduction.run import reproduce

    return reproduce(arguments)


if __name__ == "__main__":
    run_command(main)
