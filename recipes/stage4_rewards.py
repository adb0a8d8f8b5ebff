# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Stage 4, optional: the decoder learns from texts of its own that are the best of several, by rewards that are checked
against the record. All else is frozen, so that diagnoses and probabilities stay those of stage 3.

    accelerate launch recipes/stage4_rewards.py --config recipes/configs/quickstart/stage4.yaml
"""

from datasets_scripts.common.command import run_command
from recipes.training.fields import RewardFields, read_fields


STAGE = {"inputs": ["note", "lab"], "rationales": ["note", "lab"], "trained_modules": ["decoder"]}


def main(argv: list[str] | None = None) -> None:
    given = read_fields(argv, RewardFields, **STAGE)
    from recipes.training.reward_stage import train_by_rewards

    train_by_rewards(given)


if __name__ == "__main__":
    run_command(main)
