# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A report folder: `metrics.json` and `predictions.jsonl`, written and read in one place."""

from __future__ import annotations

import json
from pathlib import Path

from modeling_clinragen import ClinRaGenInputError


METRICS, PREDICTIONS = "metrics.json", "predictions.jsonl"


def write_evaluation(folder: Path, metrics: dict, predictions: list[dict]) -> None:
    """Write the two files that every report folder holds."""
    with open(folder / PREDICTIONS, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(prediction, ensure_ascii=False) + "\n" for prediction in predictions)
    (folder / METRICS).write_text(json.dumps(metrics, indent=1), encoding="utf-8")


def read_metrics(folder: str | Path, weights: str | None = None) -> dict:
    """
    Return `metrics.json` of a report folder.

    Args:
        weights (`str`, *optional*): the hash of the weights that must be those that were evaluated.

    Raises:
        ClinRaGenInputError: if it is no report folder, or one of other weights.
    """
    metrics = json.loads(_existing(folder, METRICS).read_text(encoding="utf-8"))
    if weights is not None and metrics["run"].get("weights_hash") != weights:
        raise ClinRaGenInputError(
            f"{folder}/{METRICS} was measured on other weights than the model's; run evaluate_model.py again"
        )
    return metrics


def read_predictions(folder: str | Path) -> list[dict]:
    """
    Return the predictions of a report folder, in the order of the records.

    Raises:
        ClinRaGenInputError: if it is no report folder.
    """
    with open(_existing(folder, PREDICTIONS), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _existing(folder: str | Path, name: str) -> Path:
    path = Path(folder) / name
    if not path.is_file():
        raise ClinRaGenInputError(f"{folder} is no report folder: {name} missing; run evaluate_model.py")
    return path
