# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Time and memory of the figures of an evaluation, against the number of predictions. Linux only.

    python -m benchmarks.evaluation --output runs/evaluation

The predictions are simulated stays' rationales with changes: words left out, sentences of other stays, diagnoses
added and left out. Generation is not included, BERTScore only with `--bertscore-model`.
"""

import argparse
import json
import random
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.dataset.folder import label_names, read_metadata
from modeling_clinragen.claims_clinragen import ClaimChecker
from recipes import quickstart
from recipes.evaluation.figures.bertscore import BertScorer
from recipes.evaluation.figures.compute import compute_metrics
from recipes.training.data import load_records


STAYS = 1000  # distinct ones; further predictions repeat these stays as other patients


def main(argv: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description="Time and memory of an evaluation's figures.")
    parser.add_argument("--predictions", type=int, nargs="+", default=[1000, 10000], help="default: 1000 10000")
    parser.add_argument("--stays", type=int, default=STAYS, help=f"distinct simulated ones; default: {STAYS}")
    parser.add_argument("--bertscore-model", help="as evaluate_model.py takes it")
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json and the data to")
    arguments = parser.parse_args(argv)
    with finished_folder(arguments.output) as aside:
        quickstart.prepare_data(aside, arguments.stays, seed=0)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
            runs = [
                pool.submit(measure, aside, number, arguments.bertscore_model).result()
                for number in arguments.predictions
            ]
        (aside / "metrics.json").write_text(json.dumps(runs, indent=1), encoding="utf-8")
    show(runs)
    return runs


def measure(folder: Path, number: int, bertscore_model: str | None) -> dict:
    """Compute the figures of `number` predictions in a process of its own, and return their cost."""
    dataset = str(folder / "dataset")
    metadata = read_metadata(dataset)
    stays = concatenate_datasets([load_records(dataset, split) for split in ("train", "validation", "test")])
    records = concatenate_datasets([stays] * (number // len(stays) + 1)).select(range(number))
    knowledge = json.loads((folder / "knowledge.json").read_text(encoding="utf-8"))
    terms = [term["term"] for term in knowledge["terms"]]
    predictions = made_up(records, metadata, terms)
    bertscore = BertScorer.from_pretrained(bertscore_model) if bertscore_model else None
    compute_metrics(predictions[:20], label_names(metadata), records.select(range(20)))  # warm-up
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    held, started, worked = memory("VmRSS"), time.perf_counter(), time.process_time()
    compute_metrics(
        predictions,
        label_names(metadata),
        records,
        {label["name"]: label["synonyms"] for label in metadata["labels"]},
        channels=metadata["channels"],
        knowledge_terms=terms,
        bertscore=bertscore,
    )
    return {
        "predictions": number,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "held_mb": round(held),
        "peak_mb": round(memory("VmHWM")),
    }


def memory(field: str) -> float:
    """Return a memory figure of this process in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def made_up(records: Dataset, metadata: dict, terms: list[str], seed: int = 0) -> list[dict]:
    """Return a partly correct prediction for each record."""
    draw, labels, check = random.Random(seed), label_names(metadata), ClaimChecker(metadata["channels"])
    others = records.select_columns(["note_rationale", "lab_rationale"]).select(range(min(len(records), STAYS)))[:]
    predictions = []
    for i, row in enumerate(records):
        gold = [labels[k] for k in row["diagnoses"]]
        written = {label for label in labels if draw.random() < (0.8 if label in gold else 0.02)}
        parts = {
            part: perturbed(row[part], draw.choice(others[part]), draw) for part in ("note_rationale", "lab_rationale")
        }
        claims = check(parts["lab_rationale"], row["lab_times"], row["lab_values"])
        predictions.append(
            {
                "subject_id": str(i),
                "readable": True,
                "gold": gold,
                "diagnoses": [{"label": label} for label in sorted(written)],
                "probabilities": {
                    label: round(draw.betavariate(2, 2 + 4 * (label not in gold)), 4) for label in labels
                },
                **{f"reference_{part}": row[part] for part in parts},
                **parts,
                "claims": [asdict(claim) for claim in claims],
                "knowledge": [{"term": term, "weight": 0.1} for term in draw.sample(terms, min(10, len(terms)))],
            }
        )
    return predictions


def perturbed(text: str, other: str, draw: random.Random) -> str:
    """Drop a tenth of a text's words, and replace each sentence by another text's with a probability of a fifth."""
    foreign = other.split(". ")
    sentences = [draw.choice(foreign) if draw.random() < 0.2 else sentence for sentence in text.split(". ")]
    return " ".join(word for word in ". ".join(sentences).split() if draw.random() < 0.9)


def show(runs: list[dict]) -> None:
    print(
        "| predictions | seconds | CPU seconds | MB before, predictions held | MB at the peak |\n" + "| --- " * 5 + "|"
    )
    for run in runs:
        times, sizes = f"{run['seconds']} | {run['cpu_seconds']}", f"{run['held_mb']:,} | {run['peak_mb']:,}"
        print(f"| {run['predictions']:,} | {times} | {sizes} |")


if __name__ == "__main__":
    run_command(main)
