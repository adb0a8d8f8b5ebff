# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Evaluate a model folder on one split of a dataset folder.

    python recipes/evaluate_model.py --model runs/quickstart/stage3 --dataset runs/quickstart/dataset \
        --split test --output runs/quickstart/report

leaves `metrics.json`, `predictions.jsonl` and `report.html`.
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset
from tqdm import tqdm

from datasets_scripts.command import finished_folder, run_command
from datasets_scripts.dataset_folder import read_metadata
from modeling_clinragen import ClinRaGenPipeline
from recipes.data import load_records
from recipes.evaluation.figures import compute_metrics, figures_by_embedding
from recipes.evaluation.report import write_report
from recipes.model_folder import load_model_folder


logger = logging.getLogger(__name__)

IDS = ("subject_id", "hadm_id", "stay_id")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evaluate a model folder on one split of a dataset folder.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; rationales are compared where it has them")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--output", required=True, help="report folder to write")
    parser.add_argument("--limit", type=int, help="only the first N records")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--num-beams", type=int, default=1, help="default: 1, greedy")
    parser.add_argument(
        "--embedding-matching",
        action="store_true",
        help="also count diagnoses as the paper does: by the embedding (all-MiniLM-L6-v2) of what was written",
    )
    parser.add_argument("--device", default=None, help="default: cuda if there is one, else cpu")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    model, processor = load_model_folder(arguments.model)
    records = load_records(arguments.dataset, arguments.split, limit=arguments.limit)
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device=arguments.device)
    started = time.perf_counter()
    with finished_folder(Path(arguments.output)) as aside:
        predictions = list(
            tqdm(predict(pipe, records, arguments), total=len(records), desc="Evaluating", unit="record")
        )
        synonyms = {label["name"]: label["synonyms"] for label in read_metadata(arguments.dataset)["labels"]}
        metrics = compute_metrics(predictions, processor.labels, records, synonyms)
        if arguments.embedding_matching:
            metrics["diagnosis_by_embedding"] = figures_by_embedding(predictions, processor.labels)
        metrics["run"] = {
            "model": arguments.model,
            "dataset": arguments.dataset,
            "split": arguments.split,
            "num_beams": arguments.num_beams,
            "num_parameters": model.num_parameters(),
            "seconds": round(time.perf_counter() - started, 1),
        }
        with open(aside / "predictions.jsonl", "w", encoding="utf-8") as file:
            file.writelines(json.dumps(prediction, ensure_ascii=False) + "\n" for prediction in predictions)
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
        write_report(aside, metrics, predictions, records, processor)
    diagnosis = metrics["diagnosis"]
    logger.info("%s: micro-F1 %.4f, macro-F1 %.4f", arguments.output, diagnosis["micro_f1"], diagnosis["macro_f1"])
    return metrics


def predict(pipe: ClinRaGenPipeline, records: Dataset, arguments: argparse.Namespace) -> Iterator[dict]:
    """One prediction per record, in order; a record that the model cannot read is predicted to have no disease."""
    processor = pipe.processor
    readable = [
        processor.can_read(row["note"], row["lab_values"], row["lab_times"], where=f"row {i}")
        for i, row in enumerate(records.select_columns(["note", "lab_values", "lab_times"]))
    ]
    inputs = ({name: row[name] for name in ("note", "lab_times", "lab_values")} for row in records)
    answers = pipe(
        (row for row, can in zip(inputs, readable, strict=True) if can),
        batch_size=arguments.batch_size,
        num_beams=arguments.num_beams,
        do_sample=False,
    )
    answers = iter(answers)
    nothing = {
        "diagnoses": [],
        "note_rationale": "",
        "lab_rationale": "",
        "generated_text": "",
        "claims": [],
        "knowledge": [],
        "probabilities": {},
    }
    for row, can in zip(records, readable, strict=True):
        yield {
            **{name: row[name] for name in IDS},
            "readable": can,
            "gold": [processor.labels[i] for i in row["diagnoses"]],
            "reference_note_rationale": row["note_rationale"],
            "reference_lab_rationale": row["lab_rationale"],
            **(next(answers) if can else nothing),
        }


if __name__ == "__main__":
    run_command(main)
