# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Stage 3: language model and knowledge attention learn from notes and series together, the series encoder is frozen,
L = -log P(D, R_m, R_t | M, f(T, V_k)).

    accelerate launch recipes/stage3_multimodal.py --config recipes/configs/quickstart/stage3.yaml

Source: arXiv 2411.07611, third stage. Differs from it: the diagnosis head learns too.
"""

from datasets_scripts.common.command import run_command
from recipes.training.fields import read_fields


STAGE = {
    "inputs": ["note", "lab"],
    "rationales": ["note", "lab"],
    "trained_modules": ["backbone", "knowledge_attention", "diagnosis_head"],
}


def main(argv: list[str] | None = None) -> None:
    given = read_fields(argv, **STAGE)
    from recipes.training.plan import train_or_plan

    train_or_plan(given)


if __name__ == "__main__":
    run_command(main)
