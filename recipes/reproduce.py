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
    parser = CommandParser(description="Train and evaluate every row of a YAML file, and write one table.")
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="YAML file of rows, such as recipes/configs/reproduce/synthetic.yaml; docs/reproduce.md lists its fields",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder for all results, which several YAML files may share; default: runs/reproduce",
    )
    parser.add_argument("--root", help="folder of the raw tables; default: as in the YAML file")
    parser.add_argument("--rows", nargs="+", default=(), metavar="NAME", help="make only these rows and the reference")
    parser.add_argument(
        "--processes", type=int, help="number of jobs at once; default: one per GPU, else one per CPU core"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="run nothing: list the jobs of each row that are left, and name missing files",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[dict] | None:
    arguments = parse_arguments(argv)
    from recipes.reproduction.run import reproduce

    return reproduce(arguments)


if __name__ == "__main__":
    run_command(main)
