# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how fast the recipes load records, in comparison with training a model at the shape of FLAN-T5 small on them.

    OMP_NUM_THREADS=1 python -m benchmarks.data_loading --output runs/data_loading.json

A dataset folder holds made-up records with the lengths of MIMIC's. Batches come from the trainer's own loader, of
records encoded on disk beforehand and of streamed ones, without and with workers; training steps are those of
benchmarks/training.py, on the same batches, between the passes of the loaders. Processor seconds include those of
workers. Linux only.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import datasets
import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.training import MAX_NOTE, MAX_TARGET, made_up, make_model, memory, step
from datasets_scripts.common.command import run_command
from datasets_scripts.dataset.folder import SPLITS, schema_for, write_metadata, write_shard
from modeling_clinragen import CHANNELS, PHENOTYPES, ClinRaGenFeatureExtractor, ClinRaGenProcessor
from recipes.models.backbone import train_tokenizer
from recipes.training.arguments import StageArguments
from recipes.training.data import ClinRaGenCollator, encode_records, encode_rows, load_records
from recipes.training.streaming import RecordStream, StreamCollator
from recipes.training.trainer import ClinRaGenTrainer


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
RECORDS_PER_FILE = 500
ENCODING = {"rationales": ["note", "lab"], "max_target_tokens": MAX_TARGET, "rationale_first": False}
LOADERS = {"encoded on disk": (False, 0), "encoded on disk, 2 workers": (False, 2)} | {
    "streamed": (True, 0),
    "streamed, 2 workers": (True, 2),
}


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Speed of loading records beside that of training on them.")
    parser.add_argument("--records", type=int, default=2000, help="default: 2000")
    parser.add_argument("--batch-size", type=int, default=2, help="default: 2")
    parser.add_argument("--rounds", type=int, default=3, help="passes of each loader; default: 3")
    parser.add_argument("--steps", type=int, default=4, help="training steps in each round; default: 4")
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as aside, patch.object(datasets.config, "HF_DATASETS_CACHE", f"{aside}/cache"):
        write_folder(Path(aside, "dataset"), arguments.records)
        processor = make_processor(f"{aside}/dataset")
        encoded, seconds = encode_twice(f"{aside}/dataset", processor)
        loaders = make_loaders(f"{aside}/dataset", encoded, processor, arguments.batch_size)
        result = {
            "threads": torch.get_num_threads(),
            "records": arguments.records,
            "batch_size": arguments.batch_size,
            "median_note_tokens": int(np.median([len(row) for row in encoded["input_ids"]])),
            "encoding_seconds": seconds,
            "speed": measure(loaders, arguments.rounds, arguments.steps),
        }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    show(result)
    return result


def write_folder(folder: Path, number: int) -> None:
    """Write a dataset folder of `number` training records with the lengths of `made_up`."""
    draw = np.random.default_rng(0)
    words = np.array(["".join(draw.choice(list("abcdefghilmnoprstu"), draw.integers(3, 10))) for _ in range(2000)])
    for file, first in enumerate(range(0, number, RECORDS_PER_FILE)):
        rows = made_up(min(RECORDS_PER_FILE, number - first), seed=file)
        records = [record(f"{first + i}", row, words, draw) for i, row in enumerate(rows)]
        write_shard(folder, "train", file, pa.Table.from_pylist(records, schema_for(LABELS)))
    write_metadata(folder, described(number), lambda *_: "")


def described(number: int) -> dict:
    """Return the description of a dataset folder of made-up records."""
    nothing = dict.fromkeys(("title", "version", "licence", "url", "cite"))
    step = {"step": "made up", "stays": number, "patients": number, "stays_lost": 0, "patients_lost": 0, "why": ""}
    return {
        "source": "synthetic",
        "source_description": {**nothing, "credentialed": False},
        "channels": CHANNELS,
        "labels": [{"name": name, "ccs": [], "synonyms": [], "stays": 0} for name in LABELS],
        "settings": {"note_view": "admission"},
        "seed": 0,
        "counts": {split: {"stays": number if split == "train" else 0} for split in SPLITS},
        "attrition": [step],
        "codes": {**dict.fromkeys(("total", "unmapped", "unknown", "by_family"), 0), "unmapped_share": None},
        "values": [],
        "leakage": {},
    }


def record(name: str, row: dict, words: np.ndarray, draw: np.random.Generator) -> dict:
    seen = row["past_observed_mask"].numpy()
    hours = np.flatnonzero(seen.any(axis=1))
    typical = np.array([channel["mean"] for channel in CHANNELS])
    half = len(row["labels"]) // 2
    return {
        "subject_id": name,
        "stay_id": name,
        "source": "synthetic",
        "note": " ".join(draw.choice(words, len(row["input_ids"]))),
        "lab_times": (hours + 0.5).tolist(),
        "lab_values": np.where(seen, typical, np.nan)[hours].tolist(),
        "lab_caption": "",
        "diagnoses": np.flatnonzero(row["diagnosis_labels"].numpy()).tolist(),
        "note_rationale": " ".join(draw.choice(words, half)),
        "lab_rationale": " ".join(draw.choice(words, half)),
        "teacher": "made up",
    }


def make_processor(folder: str) -> ClinRaGenProcessor:
    tokenizer = train_tokenizer(load_records(folder, "train", streaming=True)["note"], [], vocab_size=8000)
    extractor = ClinRaGenFeatureExtractor(CHANNELS, context_length=1000)
    return ClinRaGenProcessor(extractor, tokenizer, LABELS, max_note_tokens=MAX_NOTE)


def encode_twice(folder: str, processor: ClinRaGenProcessor) -> tuple[datasets.Dataset, dict]:
    """Return the encoded records, and the seconds to encode them and to find them again on disk."""
    seconds = {}
    for name in ("first", "again"):
        started = time.perf_counter()
        encoded = encode_records(load_records(folder, "train"), processor, **ENCODING)
        seconds[name] = round(time.perf_counter() - started, 2)
    return encoded, seconds


def make_loaders(
    folder: str, encoded: datasets.Dataset, processor: ClinRaGenProcessor, batch_size: int
) -> dict[str, DataLoader]:
    """Return the loaders of the recipes' trainer, with batches of similar lengths."""
    collator = StreamCollator(ClinRaGenCollator(processor), partial(encode_rows, processor=processor, **ENCODING))
    records = load_records(folder, "train", streaming=True)
    texts = ["note", "note_rationale", "lab_rationale"]
    stream = RecordStream(records, processor, batch_size, buffer_size=1000, seed=0, length_columns=texts)
    loaders = {}
    for name, (streaming, workers) in LOADERS.items():
        args = StageArguments(
            output_dir=folder,
            eval_strategy="no",
            load_best_model_at_end=False,
            per_device_train_batch_size=batch_size,
            train_sampling_strategy="group_by_length",
            length_column_name="length",
            dataloader_num_workers=workers,
            accelerator_config={"dispatch_batches": False},
        )
        train = stream if streaming else encoded.with_format("numpy")
        trainer = ClinRaGenTrainer(torch.nn.Linear(1, 1), args, collator, train, processing_class=processor)
        loaders[name] = trainer.get_train_dataloader()
    return loaders


def measure(loaders: dict[str, DataLoader], rounds: int, steps: int) -> dict:
    """Return seconds and processor seconds a record of training and of each loader, in turns."""
    model = make_model("ours")
    loader = loaders["encoded on disk"]
    apart = max(len(loader) // (rounds * steps), 1)
    sample = iter([batch for i, batch in enumerate(loader) if i % apart == apart // 2])
    runs = {name: [] for name in ("training", *LOADERS)}
    for _ in tqdm(range(rounds), desc="Rounds"):
        runs["training"].append(timed(islice(sample, steps), partial(step, model, side="ours")))
        for name, loader in loaders.items():
            runs[name].append(timed(loader))
    figures = {}
    for name, passes in runs.items():
        total = {key: sum(run[key] for run in passes) for key in passes[0]}
        figures[name] = {
            "seconds_per_record": total["seconds"] / total["records"],
            "cpu_seconds_per_record": total["cpu_seconds"] / total["records"],
            "padding": round(total["padding"] / total["cells"], 3),
            "mb": max(run["mb"] for run in passes),
        }
    for run in figures.values():
        run["times"] = figures["training"]["cpu_seconds_per_record"] / run["cpu_seconds_per_record"]
    return figures


def timed(batches: Iterable[dict], use: Callable[[dict], None] | None = None) -> dict:
    """Measure the time of a pass over batches with their use, and the memory meanwhile."""
    run = {"records": 0, "padding": 0, "cells": 0, "mb": 0}
    held, wall, cpu = memory("RssAnon"), time.perf_counter(), processor_seconds()
    for batch in batches:
        run["mb"] = max(run["mb"], round(memory("RssAnon") - held))
        if use is not None:
            use(batch)
        run["records"] += len(batch["labels"])
        run["cells"] += batch["attention_mask"].numel()
        run["padding"] += int((batch["attention_mask"] == 0).sum())
    return {**run, "seconds": time.perf_counter() - wall, "cpu_seconds": processor_seconds() - cpu}


def processor_seconds() -> float:
    """Return the processor seconds of this process and of finished workers."""
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + workers.ru_utime + workers.ru_stime


def show(result: dict) -> None:
    print(f"encoding {result['records']} records: {result['encoding_seconds']['first']} s, found again in ", end="")
    print(f"{result['encoding_seconds']['again']} s; notes of {result['median_note_tokens']} tokens in the median")
    print("| | records a second | CPU ms a record | times as fast as training | padding | MB |\n" + "| --- " * 6 + "|")
    for name, run in result["speed"].items():
        rate, milliseconds = 1 / run["seconds_per_record"], 1000 * run["cpu_seconds_per_record"]
        print(
            f"| {name} | {rate:.1f} | {milliseconds:.2f} | {run['times']:.0f} | {run['padding']:.0%} | {run['mb']} |"
        )


if __name__ == "__main__":
    run_command(main)
