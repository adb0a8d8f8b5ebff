# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Export a model folder to ONNX, or merge a LoRA adapter into its base.

    python recipes/export_model.py --format onnx --model runs/quickstart/stage3 --output runs/quickstart/onnx
    python recipes/export_model.py --format merged --model google/flan-t5-small --adapter runs/lora/stage1/adapter \
        --output runs/merged

`evaluate_model.py`, `predict.py` and `serve.py` take the folder that it leaves as they take any model folder.
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.outputs import check_free
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


FORMATS = ("onnx", "merged")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = CommandParser(description="Export a model folder to ONNX, or merge an adapter into its base.")
    parser.add_argument("--format", choices=FORMATS, required=True, help="onnx: three graphs; merged: a model folder")
    parser.add_argument(
        "--model",
        required=True,
        help="onnx: the model folder, or its name on the Hub; merged: what the adapter was trained upon, a model "
        "folder or a checkpoint, also on the Hub, or FOLDER/FILE.gguf",
    )
    parser.add_argument("--adapter", help="merged alone: adapter folder, or its name on the Hub")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    merges = arguments.format == "merged"
    if merges and arguments.adapter is None:
        raise ClinRaGenInputError("--format merged needs --adapter, the folder that is merged into --model")
    if arguments.adapter is not None and not merges:
        raise ClinRaGenInputError(
            f"--adapter goes with --format merged, not --format {arguments.format}; merge it first, then export that"
        )
    check_free(arguments.output, arguments.model, arguments.adapter)
    if merges:
        from recipes.models.adapter_folder import merge_into_base

        merge_into_base(arguments.model, arguments.adapter, arguments.output)
    else:
        from recipes.models.onnx_export import export_folder

        export_folder(arguments.model, arguments.output)


if __name__ == "__main__":
    run_command(main)
