# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure a training step against the length of notes and stays, the size of the batch, the number of channels and of
knowledge terms, and the number of processes: random weights at the shape of FLAN-T5 small. Linux only.

    OMP_NUM_THREADS=1 python -m benchmarks.cost --output runs/cost

One of them varies at a time; the points of a line take turns. Writes `cost.json` and `cost.png`.
"""

import argparse
import json
import socket
import time
from pathlib import Path

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from benchmarks.training import FLAN_T5_SMALL, VOCABULARY
from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from modeling_clinragen import CHANNELS, ClinRaGenConfig, ClinRaGenForConditionalGeneration
from recipes.training.arguments import ModelArguments
from recipes.training.cpu import speed_up_on_cpu


USUAL = {"note_tokens": 600, "hours": 48, "batch_size": 4, "channels": 11, "terms": 200}
POINTS = {
    "note_tokens": (100, 400, 800, 1600),
    "hours": (8, 48, 200, 1000),
    "batch_size": (1, 2, 4, 8),
    "channels": (1, 5, 11, 22),
    "terms": (10, 200, 1000, 4000),
}
PROCESSES = (1, 2)
GLOBAL_BATCH = 4
TARGET_TOKENS = 150


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Cost of a training step against what it grows with.")
    parser.add_argument("--rounds", type=int, default=3, help="steps of each point; default: 3")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    with finished_folder(arguments.output) as aside:
        result = {"threads": torch.get_num_threads(), "usual": USUAL, "cpu_seconds_per_record": {}}
        for name, values in POINTS.items():
            result["cpu_seconds_per_record"][name] = measure(name, values, arguments.rounds)
        result["seconds_per_record"] = {
            "processes": {number: spread(number, arguments.rounds) for number in tqdm(PROCESSES, desc="processes")}
        }
        (aside / "cost.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
        plot(aside / "cost.png", result)
    show(result)
    return result


def measure(name: str, values: tuple[int, ...], rounds: int) -> dict[int, float]:
    """Return median processor seconds a record for each value; the first round is a warm-up."""
    runs = {value: [] for value in values}
    models = {value: make_model(**{**USUAL, name: value}) for value in values}
    for _ in tqdm(range(rounds + 1), desc=name, unit="round"):
        for value in values:
            batch = make_batch(**{**USUAL, name: value})
            start = time.process_time()
            step(models[value], batch)
            runs[value].append((time.process_time() - start) / len(batch["labels"]))
    return {value: round(float(np.median(run[1:])), 4) for value, run in runs.items()}


def make_model(channels: int, terms: int, **_) -> ClinRaGenForConditionalGeneration:
    torch.manual_seed(0)
    config = ClinRaGenConfig(
        text_config=FLAN_T5_SMALL,
        channels=[{**CHANNELS[i % len(CHANNELS)], "name": f"channel {i}"} for i in range(channels)],
        time_series_config={"num_input_channels": channels},
        knowledge_terms=[f"term {i}" for i in range(terms)],
        knowledge_input_ids=[[3 + 2 * i, 4 + 2 * i] for i in range(terms)],
        max_series_tokens_per_channel=ModelArguments.max_series_tokens_per_channel,
    )
    model = ClinRaGenForConditionalGeneration(config).train()
    model.time_series_encoder.requires_grad_(False)  # as in stage 3
    speed_up_on_cpu(model.backbone)
    return model


def make_batch(note_tokens: int, hours: int, batch_size: int, channels: int, **_) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    observed = (torch.arange(1000) < hours)[None, :, None].expand(batch_size, 1000, channels)
    return {
        "input_ids": torch.randint(3, VOCABULARY, (batch_size, note_tokens), generator=draw),
        "labels": torch.randint(3, VOCABULARY, (batch_size, TARGET_TOKENS), generator=draw),
        "past_values": torch.randn(batch_size, 1000, channels, generator=draw),
        "past_observed_mask": observed,
        "diagnosis_labels": torch.zeros(batch_size, 25),
    }


def step(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> None:
    model(**batch).loss.backward()
    model.zero_grad()


def spread(processes: int, rounds: int) -> float:
    """Return seconds a record of a global batch split over processes with gloo; one thread each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(share, (processes, port, rounds, queue), nprocs=processes)
    return round(queue.get() / GLOBAL_BATCH, 4)


def share(rank: int, processes: int, port: int, rounds: int, queue) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
    model = DistributedDataParallel(make_model(**USUAL))
    batch = make_batch(**{**USUAL, "batch_size": GLOBAL_BATCH // processes})
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        step(model, batch)
        seconds.append(time.perf_counter() - start)
    if rank == 0:
        queue.put(float(np.median(seconds[1:])))
    distributed.destroy_process_group()


def plot(path: Path, result: dict) -> None:
    lines = {**result["cpu_seconds_per_record"], **result["seconds_per_record"]}
    figure, axes = plt.subplots(2, 3, figsize=(9, 5), layout="constrained")
    for axis, (name, line) in zip(axes.flat, lines.items(), strict=True):
        axis.plot(list(line), list(line.values()), marker="o")
        axis.set(xlabel=name.replace("_", " "), ylim=(0, 1.1 * max(line.values())))
        axis.set_xticks(list(line))
        axis.tick_params(axis="x", labelsize=7, labelrotation=60)
    for axis in axes[:, 0]:
        axis.set_ylabel("processor seconds a record")
    axes[1, 2].set_ylabel("seconds a record")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def show(result: dict) -> None:
    for name, line in {**result["cpu_seconds_per_record"], **result["seconds_per_record"]}.items():
        print(f"{name}: " + ", ".join(f"{value}: {seconds}" for value, seconds in line.items()))


if __name__ == "__main__":
    run_command(main)
