# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Stage 1: the language model learns diagnoses and both rationales from the notes alone, L = -log P(D, R_m, R_t | M).

    accelerate launch recipes/stage1_note.py --config recipes/configs/quickstart/stage1.yaml

Source: arXiv 2411.07611, first stage. Differs from it: a diagnosis head learns beside (`diagnosis_loss_weight`).
"""

from datasets_scripts.common.command import run_command
from recipes.training.fields import read_fields


STAGE = {
    "inputs": ["note"],
    "rationales": ["note", "lab"],
    "trained_modules": ["backbone", "diagnosis_head"],
}


def main(argv: list[str] | None = None) -> None:
    given = read_fields(argv, **STAGE)
    from recipes.training.plan import train_or_plan

    train_or_plan(given, builds_model=True)


if __name__ == "__main__":
    run_command(main)
