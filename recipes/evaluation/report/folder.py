# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A report folder: `metrics.json` and `predictions.jsonl`, written and read in one place."""

from __future__ import annotations

import json
from pathlib import Path

from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


METRICS, PREDICTIONS = "metrics.json", "predictions.jsonl"
RUN = {"run": {"model?": (None, str)}}
PREDICTION = {
    "stay_id": str,
    "subject_id": str,
    "gold": [str],
    "diagnoses": [{"label": str}],
    "readable?": bool,
    "note_rationale?": str,
    "lab_rationale?": str,
}


def write_evaluation(folder: Path, metrics: dict, predictions: list[dict]) -> None:
    """Write the two files that every report folder holds."""
    with open(folder / PREDICTIONS, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(prediction, ensure_ascii=False) + "\n" for prediction in predictions)
    (folder / METRICS).write_text(json.dumps(metrics, indent=1), encoding="utf-8")


def read_metrics(folder: str | Path, weights: str | None = None) -> dict:
    """
    Return `metrics.json` of a report folder.

    Args:
        weights (`str`, *optional*): the hash that the evaluated weights must have.

    Raises:
        ClinRaGenInputError: if it is not a report folder, is damaged, or is of other weights.
    """
    path = _existing(folder, METRICS)
    metrics = read_value(path, RUN, "run evaluate_model.py again")
    metrics["run"]["model"] = metrics["run"].get("model") or str(folder)  # baselines and random weights have no name
    if weights is not None and metrics["run"].get("weights_hash") != weights:
        raise ClinRaGenInputError(
            f"{folder}/{METRICS} was measured on other weights than the model's; run evaluate_model.py again"
        )
    return metrics


def read_predictions(folder: str | Path) -> list[dict]:
    """
    Return the predictions of a report folder, in the order of the records.

    Raises:
        ClinRaGenInputError: if it is not a report folder, or is damaged.
    """
    return read_lines(_existing(folder, PREDICTIONS), PREDICTION, "run evaluate_model.py again")


def read_value(path: Path, shape: dict, remedy: str) -> dict:
    """Return the value of a file with a single one; otherwise like [`read_lines`]."""
    return _value(path.read_bytes(), shape, str(path), remedy)


def read_lines(path: Path, shape: dict, remedy: str) -> list[dict]:
    """
    Return the values of a file with one on each line.

    Args:
        shape (`dict`): of each, see [`fault_of`].
        remedy (`str`): what to do about a file that is damaged.

    Raises:
        ClinRaGenInputError: naming the first line without a valid one.
    """
    with open(path, "rb") as lines:
        return [_value(line, shape, f"{path}, line {i}", remedy) for i, line in enumerate(lines, start=1)]


def _value(text: bytes, shape: dict, where: str, remedy: str) -> dict:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ClinRaGenInputError(f"{where} is damaged: not JSON; {remedy}") from None
    fault = fault_of(value, shape)
    if fault is not None:  # leave out the value, which may be text of a record
        field, _, missing = fault.partition(" is ")
        reason = fault if missing == "missing" else f"{field} is of another kind"
        raise ClinRaGenInputError(f"{where} is damaged: {reason}; {remedy}")
    return value


def _existing(folder: str | Path, name: str) -> Path:
    path = Path(folder) / name
    if not path.is_file():
        raise ClinRaGenInputError(f"{folder} is not a report folder: {name} missing; run evaluate_model.py")
    return path
