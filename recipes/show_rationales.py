# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Show rationales of a report on a Markdown page, each with the facts of its record beside it.

    python recipes/show_rationales.py --report runs/quickstart/report --dataset runs/quickstart/dataset \
        --records 20 --output rationales.md

chooses records by a rule that the page states, whatever they hold: every k-th in the order of a hash of the seed and
the id. The page holds records of patients: credentialed data are refused.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Show rationales of a report beside the facts of their records.")
    parser.add_argument("--report", type=Path, required=True, help="report folder of evaluate_model.py")
    parser.add_argument(
        "--beside", type=Path, help="report folder of another model on the same records, to compare with"
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder that was evaluated")
    parser.add_argument("--records", type=int, default=20, help="number of records; default: 20")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of records; default: 0")
    parser.add_argument("--output", type=Path, required=True, help="file to write, *.md")
    parser.add_argument(
        "--data-are-open",
        metavar="REASON",
        help="permit showing records of a credentialed source because they are its open demo extract; the page "
        "gives the reason",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> Path:
    arguments = parse_arguments(argv)
    from recipes.evaluation.workflows.show import show_rationales

    return show_rationales(arguments)


if __name__ == "__main__":
    run_command(main)
