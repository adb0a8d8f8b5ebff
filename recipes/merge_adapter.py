# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Merge an adapter into its base: a complete model folder, that needs neither of them.

    python recipes/merge_adapter.py --base google/flan-t5-small --adapter runs/lora/stage1/adapter --output runs/merged
"""

import argparse
from pathlib import Path

from datasets_scripts.common.command import check_free, finished_folder, run_command
from recipes.models.adapter_folder import adapter_history, load_adapter
from recipes.models.card import write_card
from recipes.models.folder import fetched, load_model_folder, save_model_folder
from recipes.models.lora import merge_adapters


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Merge an adapter into its base.")
    parser.add_argument(
        "--base", required=True, help="what it was trained upon: a model folder, or a checkpoint; also on the Hub"
    )
    parser.add_argument("--adapter", required=True, help="adapter folder, or its name on the Hub")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    arguments = parser.parse_args(argv)
    check_free(arguments.output)
    adapter = fetched(arguments.adapter)
    training = adapter_history(adapter)
    model, processor = load_adapter(arguments.base, adapter)
    merge_adapters(model)
    with finished_folder(arguments.output) as aside:
        save_model_folder(model, processor, aside)
        write_card(aside, training, model, processor)
    load_model_folder(arguments.output)


if __name__ == "__main__":
    run_command(main)
