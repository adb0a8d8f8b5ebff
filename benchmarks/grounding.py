# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The cost of grounded answers beside plain greedy generation of the same model, in turn in one run. Linux only.

    OMP_NUM_THREADS=1 python -m benchmarks.grounding --model runs/quickstart/stage3 \
        --dataset runs/quickstart/dataset --output runs/grounding.json

Plain: `model.generate`, and the parsed text. Ungrounded and grounded: the pipeline's whole answer, checked claims
included. Peak memory is of a process of its own.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch

from benchmarks.training import memory
from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenPipeline
from recipes.evaluation.prediction import INPUTS
from recipes.models.folder import load_model_folder
from recipes.training.data import load_records


SIDES = ("plain", "ungrounded", "grounded")


def main(argv: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description="Cost of grounded answers beside plain greedy generation.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; its test split is answered")
    parser.add_argument("--records", type=int, default=64, help="default: 64")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 32], help="default: 1 32")
    parser.add_argument("--rounds", type=int, default=5, help="passes over the records that are timed; default: 5")
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    arguments = parser.parse_args(argv)
    runs = [
        {"batch_size": size, **measure(arguments.model, arguments.dataset, arguments.records, size, arguments.rounds)}
        for size in arguments.batch_sizes
    ]
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(runs, indent=1), encoding="utf-8")
    show(runs)
    return runs


def measure(folder: str, dataset: str, number: int, batch_size: int, rounds: int) -> dict:
    """Return median processor seconds a record of each side, measured in turns, and its peak memory."""
    answer, records = writers(folder, batch_size), read_records(dataset, number)
    spent = {side: [] for side in SIDES}
    for i in range(rounds + 1):  # the first round is a warm-up
        for side in SIDES[:: 1 if i % 2 else -1]:
            started = time.process_time()
            answer[side](records)
            if i:
                spent[side].append((time.process_time() - started) / len(records))
    return {
        side: {
            "cpu_seconds_per_record": round(median(spent[side]), 5),
            "ratio": round(median(own / plain for own, plain in zip(spent[side], spent["plain"], strict=True)), 3),
            "peak_mb": peak_memory(folder, dataset, number, batch_size, side),
        }
        for side in SIDES
    }


def writers(folder: str, batch_size: int) -> dict[str, Callable[[list[dict]], list[dict]]]:
    """Return the function that answers records, for each side."""
    model, processor = load_model_folder(folder)
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")

    @torch.no_grad()
    def plain(records: list[dict]) -> list[dict]:
        parsed = []
        for i in range(0, len(records), batch_size):
            rows = records[i : i + batch_size]
            notes, values, times = ([row[name] for row in rows] for name in ("note", "lab_values", "lab_times"))
            tokens = model.generate(**processor(notes, values, times, return_tensors="pt"), do_sample=False)
            parsed += map(processor.parse, processor.batch_decode(tokens, skip_special_tokens=True), times, values)
        return parsed

    def answer(grounded: bool) -> Callable[[list[dict]], list[dict]]:
        return lambda records: pipe(records, batch_size=batch_size, do_sample=False, grounded=grounded)

    return {"plain": plain, "ungrounded": answer(False), "grounded": answer(True)}


def read_records(dataset: str, number: int) -> list[dict]:
    return load_records(dataset, "test", limit=number).select_columns([*INPUTS]).to_list()


def peak_memory(folder: str, dataset: str, number: int, batch_size: int, side: str) -> int:
    """Return the peak MB of a process that does nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak, folder, dataset, number, batch_size, side).result()


def _peak(folder: str, dataset: str, number: int, batch_size: int, side: str) -> int:
    writers(folder, batch_size)[side](read_records(dataset, number))
    return round(memory("VmHWM"))


def show(runs: list[dict]) -> None:
    print("| batch size | | CPU seconds a record | times plain | MB at the peak |\n" + "| --- " * 5 + "|")
    for run in runs:
        for side in SIDES:
            found = run[side]
            print(
                f"| {run['batch_size']} | {side} | {found['cpu_seconds_per_record']:.4f} | {found['ratio']:.2f} "
                f"| {found['peak_mb']} |"
            )


if __name__ == "__main__":
    run_command(main)
