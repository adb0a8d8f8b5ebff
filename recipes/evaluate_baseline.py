# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Train a baseline on a dataset folder, and leave a report folder as `evaluate_model.py` does, for the same comparisons.

    python recipes/evaluate_baseline.py --baseline tfidf --dataset data/eicu --split test --output runs/eicu/tfidf

It learns from `train`, chooses thresholds and epochs on `validation`, and sees the diagnoses of the other split only
after prediction. Settings come from `recipes/configs/baselines/BASELINE.yaml`, or `--config FILE.yaml`, and the
command line.
"""

from datasets_scripts.common.command import run_command
from recipes.baselines.settings import parse_arguments


def main(argv: list[str] | None = None) -> dict:
    run, settings = parse_arguments(argv)
    from recipes.baselines.run import evaluate_baseline

    return evaluate_baseline(run, settings)


if __name__ == "__main__":
    run_command(main)
