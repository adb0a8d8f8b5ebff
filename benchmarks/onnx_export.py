# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A model folder beside its ONNX export: size, time and what they answer to the same records, on one thread.

    python -m benchmarks.onnx_export --model runs/quickstart/stage3 --dataset runs/quickstart/dataset \
        --output runs/onnx

The two take turns batch by batch, so that what else runs on the machine slows both alike. The export stays in the
output folder.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from datasets import Dataset

from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from modeling_clinragen import ClinRaGenPipeline
from recipes.evaluation.figures.metrics import diagnosis_metrics
from recipes.evaluation.prediction import predict
from recipes.models.folder import load_model_folder
from recipes.models.onnx_export import export_folder
from recipes.training.data import load_records


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="A model folder beside its ONNX export.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; its test split is asked")
    parser.add_argument("--records", type=int, default=100, help="default: 100")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--num-beams", type=int, default=1, help="default: 1, greedy")
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json and the export to")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    records = load_records(arguments.dataset, "test", limit=arguments.records)
    with finished_folder(arguments.output) as aside:
        folders = {"torch": Path(arguments.model), "onnx": aside / "onnx"}
        export_folder(arguments.model, folders["onnx"])
        metrics = compare(folders, records, arguments.batch_size, arguments.num_beams)
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    for name, figures in metrics.items():
        print(name, json.dumps(figures))
    return metrics


def compare(folders: dict[str, Path], records: Dataset, batch_size: int, num_beams: int) -> dict[str, dict]:
    """Figures of each folder; the first is what the others are compared with."""
    pipes = {}
    for name, folder in folders.items():
        model, processor = load_model_folder(folder)
        pipes[name] = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")
    answers, seconds = {name: [] for name in folders}, dict.fromkeys(folders, 0.0)
    for pipe in pipes.values():
        list(predict(pipe, records.select(range(2)), 2, num_beams))
    for begin in range(0, len(records), batch_size):
        batch = records.select(range(begin, min(begin + batch_size, len(records))))
        for name, pipe in pipes.items():
            started = time.perf_counter()
            answers[name] += predict(pipe, batch, batch_size, num_beams)
            seconds[name] += time.perf_counter() - started
    first = answers[next(iter(folders))]
    return {
        name: {
            "megabytes": round(weights_size(folder) / 1e6, 2),
            "seconds": round(seconds[name], 1),
            "micro_f1": round(micro_f1(answers[name], pipes[name].processor.labels), 4),
            "same_lists": share([same(a, b, "diagnoses") for a, b in zip(first, answers[name], strict=True)]),
            "same_texts": share([same(a, b, "generated_text") for a, b in zip(first, answers[name], strict=True)]),
            "largest_difference_of_a_probability": difference(first, answers[name]),
        }
        for name, folder in folders.items()
    }


def weights_size(folder: Path) -> int:
    return sum(path.stat().st_size for kind in ("*.safetensors", "*.onnx") for path in folder.glob(kind))


def micro_f1(answers: list[dict], labels: list[str]) -> float:
    gold = [[labels.index(label) for label in answer["gold"]] for answer in answers]
    named = [[labels.index(entry["label"]) for entry in answer["diagnoses"]] for answer in answers]
    return diagnosis_metrics(gold, named, labels)["micro_f1"]


def same(one: dict, other: dict, field: str) -> bool:
    if field == "diagnoses":
        return [entry["label"] for entry in one[field]] == [entry["label"] for entry in other[field]]
    return one[field] == other[field]


def share(flags: list[bool]) -> float:
    return round(sum(flags) / len(flags), 4)


def difference(these: list[dict], those: list[dict]) -> float:
    """0 for a model without a diagnosis head, which gives no probabilities."""
    return max(
        (
            abs(one["probabilities"][label] - other["probabilities"][label])
            for one, other in zip(these, those, strict=True)
            for label in one["probabilities"]
        ),
        default=0.0,
    )


if __name__ == "__main__":
    run_command(main)
