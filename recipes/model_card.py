# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The card of a model folder: the project's `model_card.md`, and what this model was trained on and measured at."""

from pathlib import Path


CARD = Path(__file__).resolve().parents[1] / "model_card.md"


def model_card(training: dict, dataset: dict, num_parameters: int, knowledge_terms: int) -> str:
    """
    The folder's `README.md`.

    Args:
        training (`dict`): what `training.json` holds.
        dataset (`dict`): what the training dataset's `clinragen_dataset.json` holds.
        num_parameters (`int`): of the whole model.
        knowledge_terms (`int`): size of the knowledge vocabulary, 0 without one.
    """
    source = dataset["source_description"]
    data = training["data"]
    facts = {
        "parameters": f"{num_parameters:,}",
        "reads": " and ".join(data["inputs"]),
        "knowledge terms": knowledge_terms,
        "trained parts": ", ".join(training["trained_modules"]),
        "data": f"{source['title']} {source['version']}, split {data['train_split']}",
        "licence of the data": source["licence"],
        "content hash of the data": dataset["content_hash"],
    }
    parts = [CARD.read_text(encoding="utf-8").rstrip(), "\n\n## This model\n\n| | |\n| --- | --- |\n"]
    parts += [f"| {name} | {value} |\n" for name, value in facts.items()]
    best = next((row for row in training["log"] if row.get("eval_micro_f1") == training["best_metric"]), None)
    if best is not None:
        parts.append(
            f"\nMeasured on the split `{data['eval_split']}`, which chose the checkpoint (test figures: "
            "`recipes/evaluate_model.py`):\n\n| metric of the diagnoses | |\n| --- | --- |\n"
        )
        parts += [
            f"| {name} | {best[f'eval_{name}']:.4f} |\n"
            for name in ("micro_f1", "macro_f1", "micro_precision", "micro_recall", "exact_match")
        ]
    return "".join(parts)
