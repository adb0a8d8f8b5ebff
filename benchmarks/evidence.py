# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Evidence measured for the most promising units by estimates, beside the effects of all units of a record.

    OMP_NUM_THREADS=1 python -m benchmarks.evidence --model runs/quickstart/stage3 \
        --dataset runs/quickstart/dataset --output runs/evidence.json

For each part of a record: the measured units; how many of the units named by full occlusion are named, and in how many
lists all of them; and the sum of the named effects beside that of full occlusion.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import torch

from benchmarks.handler import read_inputs
from datasets_scripts.common.command import run_command
from modeling_clinragen.evidence_clinragen import NEGLIGIBLE, PARTS, Occlusion
from recipes.serving.answers import load_handler


NAMED = 5


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    pipe = load_handler(arguments.model, None, "cpu").pipe
    found = measure(pipe, map(pipe._read, read_inputs(arguments.dataset, arguments.records)))
    print(json.dumps(found, indent=1))
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evidence by estimates beside the effects of all units.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; its test split is read")
    parser.add_argument("--records", type=int, default=200, help="default: 200")
    parser.add_argument("--output", type=Path, help="file for the figures, *.json")
    return parser.parse_args(argv)


def measure(pipe, records) -> dict:
    """Return figures of each part, and processor seconds a record both ways, of records with diagnoses."""
    counts, seconds, number = {part: defaultdict(float) for part in PARTS}, defaultdict(float), 0
    for record in records:
        given = record["note"], record["lab_values"], record["lab_times"]
        inputs = pipe.processor(*([field] for field in given), return_tensors="pt")
        labels = pipe.model.diagnosis_decisions(**inputs)[0].nonzero().flatten().tolist()
        if not labels:
            continue
        number += 1
        started = time.process_time()
        _, largest = Occlusion(pipe.model, pipe.processor, *given).largest_effects(labels, NAMED)
        seconds["largest"] += time.process_time() - started
        started = time.process_time()
        _, effects = Occlusion(pipe.model, pipe.processor, *given).effects()
        seconds["all"] += time.process_time() - started
        for part in PARTS:
            compare(counts[part], largest[part], effects[part][:, 0, labels])
    figures = {"records": number, "seconds": {name: round(total / number, 4) for name, total in seconds.items()}}
    return figures | {part: shares(count, number) for part, count in counts.items()}


def compare(counts: dict[str, float], largest: torch.Tensor, effects: torch.Tensor) -> None:
    """Count units and lists of a part, `(num_units, num_labels)` each."""
    counts["units"] += len(effects)
    counts["measured"] += int((largest > -torch.inf).any(dim=1).sum())
    for some, every in zip(largest.T, effects.T, strict=True):
        named, expected = named_units(some), named_units(every)
        counts["lists"] += 1
        counts["same lists"] += set(named) == set(expected)
        counts["expected"] += len(expected)
        counts["named"] += len(set(named) & set(expected))
        counts["effect"] += float(every[named].sum())
        counts["expected effect"] += float(every[expected].sum())


def named_units(drops: torch.Tensor) -> list[int]:
    return [i for i in drops.argsort(descending=True).tolist() if drops[i] > NEGLIGIBLE][:NAMED]


def shares(counts: dict[str, float], number: int) -> dict[str, float]:
    return {
        "units": round(counts["units"] / number, 1),
        "measured": round(counts["measured"] / number, 1),
        "named": round(counts["named"] / max(counts["expected"], 1), 4),
        "same lists": round(counts["same lists"] / max(counts["lists"], 1), 4),
        "effect": round(counts["effect"] / (counts["expected effect"] or 1), 4),
    }


if __name__ == "__main__":
    run_command(main)
