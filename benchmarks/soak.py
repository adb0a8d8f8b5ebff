# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Check that memory stays flat while one process trains and generates in turn on batches of many lengths. Linux only.

    OMP_NUM_THREADS=1 python -m benchmarks.soak --model runs/quickstart/stage3 --dataset runs/quickstart/dataset \
        --output runs/soak

leaves `samples.csv`, `metrics.json` and `soak.png`, and ends with exit code 1 if memory grew: if, after the warm-up,
its mean over the last third of the samples exceeds that over the first by more than `--tolerance`.

The memory is that of the process alone (`RssAnon`). Pages of mapped files, such as the datasets, are recorded beside
it: the system reclaims them when needed.
"""

import argparse
import csv
import json
import re
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
from datasets import Dataset
from matplotlib.figure import Figure
from tqdm import tqdm
from transformers import TrainerCallback

from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from modeling_clinragen import ClinRaGenForConditionalGeneration, ClinRaGenPipeline, ClinRaGenProcessor
from recipes.models.folder import load_model_folder
from recipes.training.arguments import StageArguments
from recipes.training.data import ClinRaGenCollator, encode_records, load_records
from recipes.training.trainer import ClinRaGenTrainer


RECORDS = 400
BATCH_SIZE = 8
STEPS = 8  # of training in a round, each with a batch of its own length
ANSWERED = 16  # records in a round
WARM_UP = 0.2  # of the time: by then all batches have occurred, and all data have been read


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Memory of a process that trains and generates in turn.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder with rationales")
    parser.add_argument("--minutes", type=float, default=30, help="default: 30")
    parser.add_argument("--tolerance", type=float, default=10, help="MB that the memory may grow by; default: 10")
    parser.add_argument("--output", type=Path, required=True, help="folder to write the figures to")
    arguments = parser.parse_args(argv)
    with finished_folder(arguments.output) as aside:
        samples = soak(arguments.model, arguments.dataset, 60 * arguments.minutes)
        metrics = {"minutes": arguments.minutes, "tolerance_mb": arguments.tolerance, **figures(samples)}
        metrics["flat"] = metrics["grown_mb"] <= arguments.tolerance
        with open(aside / "samples.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, samples[0])
            writer.writeheader()
            writer.writerows(samples)
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
        plot(aside / "soak.png", samples)
    print(json.dumps(metrics, indent=1))
    if not metrics["flat"]:
        sys.exit(f"error: memory grew by {metrics['grown_mb']} MB")
    return metrics


def soak(model_folder: str, dataset: str, seconds: float) -> list[dict]:
    """Train and generate for a number of seconds; return a sample after each round."""
    model, processor = load_model_folder(model_folder)
    records = with_many_lengths(load_records(dataset, "train", needs_rationales=True, limit=RECORDS), seed=0)
    records = in_batches(records, seed=0)
    rounds = Rounds(model, processor, records, seconds)
    with tempfile.TemporaryDirectory() as folder:
        trainer_of(model, processor, records, folder, rounds).train()
    return rounds.samples


def with_many_lengths(records: Dataset, seed: int) -> Dataset:
    """Return the records with one to eight notes, usually few, joined in each."""
    draw = np.random.default_rng(seed)
    notes = list(records["note"])
    longer = [
        " ".join([note, *draw.choice(notes, min(int(draw.lognormal(0.3, 0.8)), 7))])  # lengths like those of MIMIC's
        for note in notes
    ]
    return records.remove_columns("note").add_column("note", longer)


def in_batches(records: Dataset, seed: int) -> Dataset:
    """
    Return the records in batches of similar lengths, as in the recipes, but the same in each epoch. New batches would
    sometimes exceed all earlier ones, and the memory of a step grows with the largest so far.
    """
    order = np.argsort([len(note) for note in records["note"]], kind="stable")
    batches = [order[i : i + BATCH_SIZE] for i in range(0, len(order), BATCH_SIZE)]
    np.random.default_rng(seed).shuffle(batches)
    return records.select(np.concatenate(batches))


def trainer_of(
    model: ClinRaGenForConditionalGeneration,
    processor: ClinRaGenProcessor,
    records: Dataset,
    folder: str,
    rounds: TrainerCallback,
) -> ClinRaGenTrainer:
    """Return a trainer like that of stage 3 of the quickstart, without an end, and without checkpoints."""
    arguments = StageArguments(
        output_dir=folder,
        max_steps=10**9,
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=1e-5,
        optim="adafactor",
        train_sampling_strategy="sequential",
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        load_best_model_at_end=False,
        disable_tqdm=True,
    )
    encoded = encode_records(records, processor, ["note", "lab"], model.generation_config.max_new_tokens)
    return ClinRaGenTrainer(
        model=model,
        args=arguments,
        train_dataset=encoded.with_format("numpy"),
        data_collator=ClinRaGenCollator(processor),
        processing_class=processor,
        callbacks=[rounds],
    )


class Rounds(TrainerCallback):
    """
    Generates after every `STEPS` steps of training, samples the memory, and ends the training in time.

    Args:
        seconds (`float`): how long it is to take.

    Attributes:
        samples (list of `dict`): `seconds` since the start, `steps` of training and `answers` so far; `anonymous_mb`
            and `mapped_mb`, the memory of the process and the files' pages in it.
    """

    def __init__(
        self,
        model: ClinRaGenForConditionalGeneration,
        processor: ClinRaGenProcessor,
        records: Dataset,
        seconds: float,
    ):
        self.pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer)
        self.batches = cycle(range(i, min(i + ANSWERED, len(records))) for i in range(0, len(records), ANSWERED))
        self.records = records.select_columns(["note", "lab_times", "lab_values"])
        self.seconds, self.samples, self.answers = seconds, [], 0
        self.bar = tqdm(total=round(seconds), desc="Training and generating", unit="s")

    def on_train_begin(self, args, state, control, **kwargs):
        self.started = time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % STEPS:
            return
        self.pipe.model.eval()  # the trainer's next step sets training mode again
        batch = self.records.select(next(self.batches))
        self.answers += len(self.pipe(list(batch), batch_size=BATCH_SIZE, do_sample=False))
        passed = time.monotonic() - self.started
        self.samples.append(
            {
                "seconds": round(passed, 1),
                "steps": state.global_step,
                "answers": self.answers,
                "anonymous_mb": round(memory("RssAnon"), 2),
                "mapped_mb": round(memory("RssFile"), 2),
            }
        )
        self.bar.update(min(round(passed), self.bar.total) - self.bar.n)
        control.should_training_stop = passed >= self.seconds

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


def memory(field: str) -> float:
    """Return a memory figure of this process in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def figures(samples: list[dict]) -> dict:
    """Return the course of memory after the warm-up: means of thirds of the samples, and the slope through them."""
    end = samples[-1]["seconds"]
    counted = [sample for sample in samples if sample["seconds"] >= WARM_UP * end] or samples
    hours = np.array([sample["seconds"] for sample in counted]) / 3600
    held = np.array([sample["anonymous_mb"] for sample in counted])
    thirds = [third.mean() for third in np.array_split(held, min(3, len(held)))]
    slope = np.polyfit(hours, held, 1)[0] if len(held) > 1 else 0.0
    return {
        "rounds": len(samples),
        "steps": samples[-1]["steps"],
        "answers": samples[-1]["answers"],
        "mean_mb_of_thirds": [round(float(third), 1) for third in thirds],
        "grown_mb": round(float(thirds[-1] - thirds[0]), 1),
        "mb_per_hour": round(float(slope), 1),
        "highest_mb": round(float(held.max()), 1),
    }


def plot(path: Path, samples: list[dict]) -> None:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axis = figure.subplots()
    minutes = [sample["seconds"] / 60 for sample in samples]
    for name, label in (("anonymous_mb", "the process"), ("mapped_mb", "pages of mapped files")):
        axis.plot(minutes, [sample[name] for sample in samples], label=label, linewidth=1)
    axis.axvline(WARM_UP * minutes[-1], color="grey", linestyle=":", label="end of the warm-up")
    axis.set_xlabel("minutes of training and generation in turn")
    axis.set_ylabel("memory, MB")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    run_command(main)
