# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Stage 1: the language model learns diagnoses and both rationales from the notes alone, L = -log P(D, R_m, R_t | M).

    accelerate launch recipes/stage1_note.py --config recipes/configs/quickstart/stage1.yaml

Source: arXiv 2411.07611, first stage. Differs from it: a diagnosis head learns beside (`diagnosis_loss_weight`).
"""

from transformers import set_seed

from datasets_scripts.common.command import run_command
from recipes.training.adapters import with_adapters
from recipes.training.arguments import parse_arguments
from recipes.training.data import load_records
from recipes.training.stages import build_model, run_stage


STAGE = {
    "inputs": ["note"],
    "rationales": ["note", "lab"],
    "trained_modules": ["backbone", "diagnosis_head"],
}


def main(argv: list[str] | None = None) -> None:
    model_args, data_args, stage_args = parse_arguments(argv, **STAGE)
    records = load_records(
        data_args.dataset, data_args.train_split, needs_rationales=True, streaming=data_args.streaming
    )
    set_seed(stage_args.seed)  # before any weight is drawn
    model, processor = build_model(model_args, data_args, records)
    with_adapters(model, model_args, stage_args)
    run_stage(model, processor, data_args, stage_args, model_args.model_name_or_path)


if __name__ == "__main__":
    run_command(main)
