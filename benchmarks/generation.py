# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
An evaluation pass, generation included, beside the published procedure, in turn in one run. Linux only.

    OMP_NUM_THREADS=1 python -m benchmarks.generation --model runs/quickstart/stage3 \
        --dataset runs/quickstart/dataset --output runs/generation.json

Published: every note padded to 1,600 tokens, eager attention, float32, records in the order of the file, two beams of
up to 500 tokens, diagnoses read from the free text. Ours: `recipes/evaluate_model.py` up to its predictions, with
checked claims. Batches hold the same number of records.

The first table is of a trained model, with the micro-F1 of both, on records of its test split, then of its validation
split. The second is of random weights at the shape of FLAN-T5 small, on notes and texts with the lengths of MIMIC's:
each text ends at a given length, so that both sides write the same number of tokens.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from datasets import Dataset, concatenate_datasets
from torch.nn.functional import pad
from tqdm import tqdm
from transformers import LogitsProcessor

from benchmarks.training import MAX_NOTE, collated, made_up, make_config, memory, nothing_cut
from datasets_scripts.common.command import run_command
from modeling_clinragen import (
    ClinRaGenForConditionalGeneration,
    ClinRaGenPipeline,
    ClinRaGenProcessor,
)
from recipes.evaluation.figures.metrics import diagnosis_metrics
from recipes.evaluation.prediction import INPUTS, predict
from recipes.models.folder import load_model_folder
from recipes.training.data import load_records


SIDES = ("published", "ours")
PUBLISHED = {"num_beams": 2, "max_new_tokens": 500, "do_sample": False}
GREEDY = {"num_beams": 1, "max_new_tokens": 256, "do_sample": False}
BATCHES_PER_TURN = 8
DECIDED = 5  # diagnoses of each record of the random model


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Speed of an evaluation pass beside the published procedure.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder")
    parser.add_argument("--records", type=int, default=500, help="of the dataset; default: 500")
    parser.add_argument("--made-up", type=int, default=8, help="records of MIMIC's lengths; default: 8")
    parser.add_argument("--batch-size", type=int, default=8, help="default: 8")
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    arguments = parser.parse_args(argv)
    trained = measure_trained(arguments.model, arguments.dataset, arguments.records, arguments.batch_size)
    show(trained, "micro_f1", "micro-F1")
    made_up = measure_made_up(arguments.made_up, arguments.batch_size)
    show(made_up, "peak_mb", "MB at the peak")
    result = {
        "threads": torch.get_num_threads(),
        "batch_size": arguments.batch_size,
        "trained": trained,
        "made_up": made_up,
    }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def measure_trained(folder: str, dataset: str, number: int, batch_size: int) -> dict:
    """Return time and micro-F1 of both sides, which take turns on the same records."""
    splits = [load_records(dataset, split).select_columns([*COLUMNS]) for split in ("test", "validation")]
    records = concatenate_datasets(splits)
    records = records.select(range(min(number, len(records))))
    model, processor = load_model_folder(folder)
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer)
    published = load_model_folder(folder)[0]
    published.set_attn_implementation("eager")
    published.config.decisions.token_ids = None
    ways = {
        "published": lambda rows: list(published_diagnoses(published, processor, rows, batch_size)),
        "ours": lambda rows: [
            [diagnosis["label"] for diagnosis in prediction["diagnoses"]]
            for prediction in predict(pipe, rows, batch_size, num_beams=1)
        ],
    }
    size = batch_size * BATCHES_PER_TURN
    parts = [records.select(range(i, min(i + size, len(records)))) for i in range(0, len(records), size)]
    answers, figures = in_turn(ways, parts, len(records))
    position = {label: i for i, label in enumerate(processor.labels)}
    for side, named in answers.items():
        predicted = [[position[label] for label in labels] for labels in named]
        micro_f1 = diagnosis_metrics(records["diagnoses"], predicted, processor.labels)["micro_f1"]
        figures[side]["micro_f1"] = round(micro_f1, 4)
    return figures


COLUMNS = (*INPUTS, "diagnoses", "note_rationale", "lab_rationale", "subject_id", "hadm_id", "stay_id")


def published_diagnoses(
    model: ClinRaGenForConditionalGeneration, processor: ClinRaGenProcessor, records: Dataset, batch_size: int
) -> Iterator[list[str]]:
    for rows in records.iter(batch_size):
        batch = dict(processor(rows["note"], rows["lab_values"], rows["lab_times"], return_tensors="pt"))
        for name, value in (("input_ids", processor.tokenizer.pad_token_id), ("attention_mask", 0)):
            batch[name] = pad(batch[name], (0, MAX_NOTE - batch[name].shape[1]), value=value)
        with nothing_cut():
            tokens = model.generate(**batch, **PUBLISHED)
        for text in processor.tokenizer.batch_decode(tokens, skip_special_tokens=True):
            yield processor.parse(text)["diagnoses"]


def in_turn(ways: dict[str, Callable], parts: list, number: int) -> tuple[dict[str, list], dict[str, dict]]:
    """Return the answers of each way for all parts, and its seconds a record; the order alternates."""
    answers = {side: [] for side in ways}
    spent = {side: {"seconds": 0.0, "cpu_seconds": 0.0} for side in ways}
    for i, part in enumerate(tqdm(parts, desc="Turns", unit="part")):
        for side in list(ways)[:: 1 if i % 2 else -1]:
            wall, cpu = time.perf_counter(), time.process_time()
            answers[side] += ways[side](part)
            spent[side]["seconds"] += time.perf_counter() - wall
            spent[side]["cpu_seconds"] += time.process_time() - cpu
    figures = {
        side: {"records": number, **{f"{name}_per_record": round(value / number, 4) for name, value in times.items()}}
        for side, times in spent.items()
    }
    return answers, figures


class FixedLengths(LogitsProcessor):
    """
    Gives every text of a `generate` call a fixed number of tokens, the last of which is its end.

    Args:
        lengths (`torch.LongTensor` of shape `(batch_size,)`): of each text.
        end (`int`): token that ends a text.
    """

    def __init__(self, lengths: torch.LongTensor, end: int):
        self.lengths, self.end = lengths, end

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        lengths = self.lengths.repeat_interleave(len(scores) // len(self.lengths))
        last = (input_ids.shape[1] >= lengths).unsqueeze(1)  # the start token does not count
        end = torch.arange(scores.shape[1]) == self.end
        return scores.masked_fill(last != end, -torch.inf)


def make_model(side: str) -> ClinRaGenForConditionalGeneration:
    """Return a model with random weights; ours lists `DECIDED` diagnoses, with names of as many tokens as T5's."""
    config = make_config(side)
    if side == "ours":
        config.decisions.token_ids = {
            "opening": list(range(10, 18)),
            "labels": [list(range(20 + 7 * i, 27 + 7 * i)) for i in range(len(config.labels))],
            "separator": [5],
            "end": list(range(5, 10)),
            "nothing": [18, 19],
        }
        config.decisions.thresholds = [0.0 if i < DECIDED else 1.0 for i in range(len(config.labels))]
    torch.manual_seed(0)
    attention = "eager" if side == "published" else "sdpa"
    return ClinRaGenForConditionalGeneration._from_config(config, attn_implementation=attention).eval()


def measure_made_up(number: int, batch_size: int) -> dict:
    records = made_up(number, seed=0)
    ways = {side: writer(side) for side in SIDES}
    size = batch_size * BATCHES_PER_TURN
    parts = [batches(records[i : i + size], batch_size) for i in range(0, number, size)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        peaks = {side: pool.submit(peak_memory, side, number, batch_size).result() for side in SIDES}
    answers, figures = in_turn(ways, parts, number)
    for side in SIDES:
        figures[side] |= {"tokens": sum(answers[side]), "peak_mb": peaks[side]}
    return figures


def batches(records: list[dict], batch_size: int) -> dict[str, list[dict]]:
    """Return collated batches of each side: ours of similar notes, published in record order, of one shape."""
    by_length = sorted(records, key=lambda record: len(record["input_ids"]))
    return {
        side: [collated(order[i : i + batch_size], side) for i in range(0, len(order), batch_size)]
        for side, order in (("published", records), ("ours", by_length))
    }


def writer(side: str) -> Callable[[dict[str, list[dict]]], list[int]]:
    """Return a function that writes the texts of a side's batches, and returns the number of tokens of each."""
    model = make_model(side)
    return lambda parts: [length for batch in parts[side] for length in write(model, batch, side)]


def write(model: ClinRaGenForConditionalGeneration, batch: dict, side: str) -> list[int]:
    padding = 0 if side == "published" else -100
    lengths = (batch["labels"] != padding).sum(dim=1)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "past_values", "past_observed_mask")}
    ends = [FixedLengths(lengths, model.config.eos_token_id)]
    if side == "published":
        with nothing_cut():
            tokens = model.generate(**inputs, **PUBLISHED, logits_processor=ends)
    else:
        tokens = model.generate(**inputs, **GREEDY, logits_processor=ends)
    return (tokens == model.config.eos_token_id).int().argmax(dim=1).tolist()


def peak_memory(side: str, number: int, batch_size: int) -> int:
    """Return the peak MB of the batch with the longest notes, beyond model and records, in a process of its own."""
    model = make_model(side)
    longest = max(
        batches(made_up(number, 0), batch_size)[side], key=lambda batch: batch["attention_mask"].sum(dim=1).max()
    )
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    held = memory("VmRSS")
    write(model, longest, side)
    return round(memory("VmHWM") - held)


def show(runs: dict[str, dict], last: str, title: str) -> None:
    slowest = runs["published"]["cpu_seconds_per_record"]
    print(f"\n| | seconds a record | CPU seconds a record | times as fast | {title} |\n" + "| --- " * 5 + "|")
    for side, run in runs.items():
        seconds = run["cpu_seconds_per_record"]
        print(f"| {side} | {run['seconds_per_record']} | {seconds} | {slowest / seconds:.1f} | {run[last]} |")


if __name__ == "__main__":
    run_command(main)
