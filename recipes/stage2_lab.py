# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Stage 2: the series encoder and the knowledge attention learn to drive the frozen language model,
L = -log P(D, R_t | f(T, V_k)).

    accelerate launch recipes/stage2_lab.py --config recipes/configs/quickstart/stage2.yaml

Source: arXiv 2411.07611, second stage. Differs from it: the diagnosis head learns too.
"""

from datasets_scripts.common.command import run_command
from recipes.training.fields import read_fields


STAGE = {
    "inputs": ["lab"],
    "rationales": ["lab"],
    "trained_modules": ["time_series_encoder", "knowledge_attention", "diagnosis_head"],
}


def main(argv: list[str] | None = None) -> None:
    given = read_fields(argv, **STAGE)
    from recipes.training.plan import train_or_plan

    train_or_plan(given)


if __name__ == "__main__":
    run_command(main)
