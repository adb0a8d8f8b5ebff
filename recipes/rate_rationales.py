# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Let people rate rationales without knowing who wrote them, and see how far they agree.

    python recipes/rate_rationales.py sheets --report runs/quickstart/report --dataset runs/quickstart/dataset \
        --reference --raters alice,bob --output runs/quickstart/sheets

leaves `sheet-alice.html` and `sheet-bob.html`, which work offline, and `key.json`, which no rater may see. With the
files that the sheets save,

    python recipes/rate_rationales.py agreement --sheets runs/quickstart/sheets --answers answers-*.json \
        --output runs/quickstart/ratings

leaves `ratings.jsonl`, `comments.jsonl`, `agreement.json` and `agreement.md`.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Prepare a blind rating of rationales by people, and measure their agreement.")
    commands = parser.add_subparsers(dest="command", required=True)
    sheets = commands.add_parser(
        "sheets", help="write one rating sheet for each rater", description="Write rating sheets."
    )
    sheets.add_argument(
        "--report", type=Path, action="append", default=[], help="report folder of evaluate_model.py; repeatable"
    )
    sheets.add_argument("--reference", action="store_true", help="rate the teacher's rationales too")
    sheets.add_argument("--dataset", required=True, help="dataset folder that was evaluated")
    sheets.add_argument("--split", default="test", help="split that was evaluated; default: test")
    sheets.add_argument("--sample", type=int, default=100, help="number of records; default: 100")
    sheets.add_argument("--seed", type=int, default=0, help="seed of the sample and of the order; default: 0")
    sheets.add_argument("--raters", required=True, help="names separated by commas, such as alice,bob")
    sheets.add_argument("--output", type=Path, required=True, help="folder to write")
    agreement = commands.add_parser(
        "agreement", help="measure the raters' agreement", description="Measure the raters' agreement."
    )
    agreement.add_argument("--sheets", type=Path, required=True, help="folder that the command sheets wrote")
    agreement.add_argument("--answers", type=Path, nargs="+", required=True, help="answer files that the sheets saved")
    agreement.add_argument(
        "--judge", type=Path, nargs="+", default=[], help="folders of judge_rationales.py, to compare with"
    )
    agreement.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    from recipes.evaluation.raters.rating import make_sheets, measure_agreement

    return make_sheets(arguments) if arguments.command == "sheets" else measure_agreement(arguments)


if __name__ == "__main__":
    run_command(main)
