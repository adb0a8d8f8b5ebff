# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Push a model folder to the Hub, where `from_pretrained("USER/NAME", trust_remote_code=True)` loads it.

    python recipes/push_model.py --model runs/quickstart/stage3 --report runs/quickstart/report \
        --repo-id USER/NAME --dry-run

and then without `--dry-run`.

The repo is private unless `--public` is given. What is pushed is written anew: the weights of the folder, the code of
this project, `training.json`, and a card with the figures of the report. With `--adapter-only` the adapter of a stage
with `lora` is pushed instead, without base and code.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.hub import add_push_options
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Push a model folder to the Hub.")
    parser.add_argument("--model", type=Path, required=True, help="finished model folder")
    parser.add_argument(
        "--report",
        type=Path,
        help="report folder of this model by evaluate_model.py; the card shows its figures",
    )
    parser.add_argument(
        "--adapter-only", action="store_true", help="push only the adapter of a stage that was trained with lora"
    )
    parser.add_argument(
        "--dataset-id", metavar="USER/NAME", help="dataset on the Hub that the card links as training data"
    )
    add_push_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.adapter_only and arguments.report is not None:
        raise ClinRaGenInputError("--report goes with the whole folder, which it was measured on, not --adapter-only")
    from recipes.models.push import push_model

    push_model(arguments)


if __name__ == "__main__":
    run_command(main)
