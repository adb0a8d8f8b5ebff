# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Merge a LoRA adapter into its base, or add diseases to a model's knowledge.

    python recipes/export_model.py --format merged --model google/flan-t5-small --adapter runs/lora/stage1/adapter \
        --output runs/merged
    python recipes/export_model.py --format extended --model runs/quickstart/stage3 --knowledge more.json \
        --output runs/quickstart/more

`evaluate_model.py`, `predict.py` and `serve.py` take the folder that it leaves as they take any model folder.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.outputs import check_free
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


NEEDED = {"merged": "adapter", "extended": "knowledge"}  # format -> the option that goes with it


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Make a new model folder from a trained one.")
    parser.add_argument(
        "--format",
        choices=list(NEEDED),
        required=True,
        help="merged: the base with --adapter merged into its weights; extended: the model, "
        "also ranking the diseases of --knowledge",
    )
    parser.add_argument(
        "--model",
        required=True,
        help="extended: the model folder, or its name on the Hub; merged: the base that the adapter was trained on, a "
        "model folder or checkpoint, also on the Hub, or FOLDER/FILE.gguf",
    )
    parser.add_argument("--adapter", help="merged only: adapter folder, or its name on the Hub")
    parser.add_argument(
        "--knowledge", help="extended only: knowledge.json with diseases that are not labels of the model"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    for form, option in NEEDED.items():
        given = getattr(arguments, option) is not None
        if given and form != arguments.format:
            raise ClinRaGenInputError(
                f"--{option} goes with --format {form}, not --format {arguments.format}; do that first, then export it"
            )
        if not given and form == arguments.format:
            raise ClinRaGenInputError(f"--format {form} needs --{option}")
    check_free(arguments.output, arguments.model, arguments.adapter, arguments.knowledge)
    if arguments.format == "merged":
        from recipes.models.adapter_folder import merge_into_base

        merge_into_base(arguments.model, arguments.adapter, arguments.output)
    else:
        from recipes.models.extended import extend_folder

        extend_folder(arguments.model, arguments.knowledge, arguments.output)


if __name__ == "__main__":
    run_command(main)
