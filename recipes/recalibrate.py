# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Fit the decisions of a model anew on local records, and report how its inputs have drifted.

    python recipes/recalibrate.py --model runs/eicu/stage3 --dataset data/hospital --split validation \\
        --output runs/hospital/recalibrated

prints which inputs differ much from the training records, and the effect of a temperature and thresholds fitted on one
half of the patients, for the other half. `--output` gets the model folder with the same weights, and with
temperature, thresholds and guarantees fitted on all patients. `--drift-only` needs no labels.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Fit the decisions of a model anew on local records.")
    parser.add_argument("--model", required=True, help="model folder, or its name on the Hub")
    parser.add_argument("--dataset", required=True, help="dataset folder with records that the model has not seen")
    parser.add_argument("--split", default="validation", help="split of the dataset to fit on; default: validation")
    parser.add_argument(
        "--output", type=Path, help="model folder to write; default: none, only print the figures before and after"
    )
    parser.add_argument(
        "--drift-only", action="store_true", help="report only the drift of the inputs, which needs no labels"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    from recipes.evaluation.workflows.recalibrate import recalibrate

    return recalibrate(arguments)


if __name__ == "__main__":
    run_command(main)
