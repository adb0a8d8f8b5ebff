# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A training step beside the published settings, in turn in one run, from random weights at the shape of FLAN-T5 small.

    OMP_NUM_THREADS=2 python -m benchmarks.training --output runs/training.json

Published: every note padded to 1,600 tokens, every target to 256, padding counted in the loss, eager attention, the
logits of all tokens at once, float32; with `--series-grid paper` also every series to 1,000 hours, as the original
release does. Ours: as in the recipes, batches of similar lengths, from the records of 50 batches at a time. Both have
records of the same lengths, in batches of the same size. `no series` and `backbone` are ours without series, and the
bare language model, on our batches. Linux only.
"""

import argparse
import json
import re
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad
from tqdm import tqdm

from datasets_scripts.common.command import run_command
from modeling_clinragen import CHANNELS, ClinRaGenConfig, ClinRaGenForConditionalGeneration, modeling_clinragen
from recipes.training.arguments import ModelArguments
from recipes.training.cpu import speed_up_on_cpu


VOCABULARY = 32128
MAX_NOTE, MAX_TARGET = 1600, 256
FLAN_T5_SMALL = {
    "model_type": "t5",
    "vocab_size": VOCABULARY,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 1024,
    "num_layers": 8,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}
SIDES = ("published", "ours", "no series", "backbone")


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Speed and memory of a training step beside the published settings.")
    parser.add_argument("--records", type=int, default=200, help="from which batches are made; default: 200")
    parser.add_argument("--every", type=int, default=4, help="measure each such batch of ours; default: 4")
    parser.add_argument("--batch-size", type=int, default=4, help="default: 4")
    parser.add_argument(
        "--published-steps", type=int, default=2, help="steps of the published settings, all alike; default: 2"
    )
    parser.add_argument(
        "--series-grid", choices=("hourly", "paper"), default="hourly", help="of the published side; default: hourly"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    arguments = parser.parse_args(argv)
    records, grid = made_up(arguments.records, seed=0), arguments.series_grid
    result = {
        "threads": torch.get_num_threads(),
        "batch_size": arguments.batch_size,
        "records": arguments.records,
        "series_grid": grid,
    }
    result["speed"] = measure_speed(records, arguments.batch_size, arguments.published_steps, grid, arguments.every)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        result["peak_mb"] = {
            side: pool.submit(peak_memory, side, arguments.records, arguments.batch_size, grid).result()
            for side in ("published", "ours")
        }
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=1), encoding="utf-8")
    show(result)
    return result


def made_up(number: int, seed: int) -> list[dict]:
    """
    Return records with the lengths of MIMIC's: notes of 600 tokens and targets of 150 in the median, log-normal, cut
    at 1,600 and 256; stays of 50 hours in the median, vital signs hourly and the other channels twice a day.
    """
    draw = np.random.default_rng(seed)
    note = np.minimum(draw.lognormal(np.log(600), 0.6, number), MAX_NOTE).astype(int)
    target = np.minimum(draw.lognormal(np.log(150), 0.3, number), MAX_TARGET).astype(int)
    hours = np.minimum(draw.lognormal(np.log(50), 0.9, number), 1000).astype(int) + 1
    step = np.array([12 if channel["name"] in RARE else 1 for channel in CHANNELS])
    rows = []
    for words, written, stay in zip(note, target, hours, strict=True):
        hour = np.arange(1000)[:, None]
        rows.append(
            {
                "input_ids": torch.from_numpy(draw.integers(3, VOCABULARY, words)),
                "labels": torch.from_numpy(draw.integers(3, VOCABULARY, written)),
                "past_values": torch.from_numpy(draw.normal(size=(1000, len(CHANNELS))).astype(np.float32)),
                "past_observed_mask": torch.from_numpy((hour % step == 0) & (hour < stay)),
                "diagnosis_labels": torch.from_numpy((draw.random(25) < 0.15).astype(np.float32)),
            }
        )
    return rows


RARE = ("Fraction inspired oxygen", "Glucose", "Weight", "pH", "Temperature")


def make_config(side: str) -> ClinRaGenConfig:
    patterns = [[i % len(CHANNELS), ("low", "high")[i % 2]] if i < 60 else None for i in range(200)]
    alignment = {"knowledge_patterns": patterns, "knowledge_alignment_weight": 0.5}
    return ClinRaGenConfig(
        text_config=FLAN_T5_SMALL,
        knowledge_terms=[f"term {i}" for i in range(200)],
        knowledge_input_ids=[[3 + 2 * i, 4 + 2 * i] for i in range(200)],
        max_series_tokens_per_channel=None if side == "published" else ModelArguments.max_series_tokens_per_channel,
        **({} if side == "published" else alignment),
    )


def make_model(side: str) -> torch.nn.Module:
    """Return a model in the state of stage 3, with a frozen series encoder."""
    torch.manual_seed(0)
    attention = "eager" if side == "published" else "sdpa"
    model = ClinRaGenForConditionalGeneration._from_config(make_config(side), attn_implementation=attention).train()
    model.time_series_encoder.requires_grad_(False)
    if side != "published":
        speed_up_on_cpu(model.backbone)
    return model


def batches(records: list[dict], batch_size: int, side: str, grid: str = "hourly") -> list[dict]:
    """Return batches: ours of similar lengths, padded to the longest; published in record order, of one shape."""
    order = range(len(records))
    if side != "published":
        order = sorted(order, key=lambda i: len(records[i]["input_ids"]) + len(records[i]["labels"]))
    groups = [[records[i] for i in order[k : k + batch_size]] for k in range(0, len(records), batch_size)]
    return [collated(group, side, grid) for group in groups]


def collated(rows: list[dict], side: str, grid: str = "hourly") -> dict[str, torch.Tensor]:
    published = side == "published"
    note = MAX_NOTE if published else max(len(row["input_ids"]) for row in rows)
    target = MAX_TARGET if published else max(len(row["labels"]) for row in rows)
    batch = {
        "input_ids": torch.stack([filled(row["input_ids"], note, 0) for row in rows]),
        "labels": torch.stack([filled(row["labels"], target, 0 if published else -100) for row in rows]),
    }
    batch["attention_mask"] = torch.stack([filled(torch.ones_like(row["input_ids"]), note, 0) for row in rows])
    if side != "backbone":
        batch["diagnosis_labels"] = torch.stack([row["diagnosis_labels"] for row in rows])
    if side in ("published", "ours"):
        for name in ("past_values", "past_observed_mask"):
            batch[name] = torch.stack([row[name] for row in rows])
    if published and grid == "paper":  # the last row is repeated, and all steps count as measured
        batch["past_observed_mask"] = torch.ones_like(batch["past_observed_mask"])
    return batch


def filled(tokens: torch.Tensor, length: int, value: int) -> torch.Tensor:
    return pad(tokens, (0, length - len(tokens)), value=value)


@contextmanager
def nothing_cut():
    """Compute padding common to all records of a batch too, within the block; it is masked."""
    pack = modeling_clinragen.pack_sequences

    def as_long(inputs_embeds, attention_mask, padding_side):
        packed, mask = pack(inputs_embeds, attention_mask)
        cut = inputs_embeds.shape[1] - packed.shape[1]
        return pad(packed, (0, 0, 0, cut)), pad(mask, (0, cut))

    modeling_clinragen.pack_sequences = as_long
    try:
        yield
    finally:
        modeling_clinragen.pack_sequences = pack


def step(model: torch.nn.Module, batch: dict, side: str) -> None:
    if side == "backbone":
        loss = model.backbone(**batch).loss
    elif side == "published":
        with nothing_cut():
            loss = model(**batch, skip_logits=False).loss
    else:
        loss = model(**batch).loss
    loss.backward()
    model.zero_grad()


def measure_speed(
    records: list[dict], batch_size: int, published_steps: int, grid: str = "hourly", every: int = 1
) -> dict:
    """Return seconds and processor seconds a record of each side, with batches in turns."""
    models = {name: make_model(name) for name in ("published", "ours")}
    rounds = {side: batches(records, batch_size, side, grid) for side in SIDES}
    rounds = {side: rows[every // 2 :: every] for side, rows in rounds.items()}  # from the shortest to the longest
    rounds["published"] = rounds["published"][:published_steps]
    number = max(map(len, rounds.values()))
    figures = {side: {"seconds": 0.0, "cpu_seconds": 0.0, "records": 0} for side in SIDES}
    draw = np.random.default_rng(0)
    for i in tqdm(draw.permutation(number), desc="Steps", unit="batch"):  # long batches at random times
        for side in draw.permutation(SIDES):  # the first side pays for allocating memory
            if i < len(rounds[side]):
                batch = rounds[side][i]
                wall, cpu = time.perf_counter(), time.process_time()
                step(models["published" if side == "published" else "ours"], batch, side)
                figures[side]["seconds"] += time.perf_counter() - wall
                figures[side]["cpu_seconds"] += time.process_time() - cpu
                figures[side]["records"] += len(batch["input_ids"])
    return {
        side: {f"{name}_per_record": round(run[name] / run["records"], 3) for name in ("seconds", "cpu_seconds")}
        for side, run in figures.items()
    }


def peak_memory(side: str, number: int, batch_size: int, grid: str = "hourly") -> int:
    """Return the peak MB of a step with the longest batch, beyond model and records, in a process of its own."""
    model = make_model(side)
    longest = max(batches(made_up(number, 0), batch_size, side, grid), key=lambda batch: batch["input_ids"].shape[1])
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    held = memory("VmRSS")
    step(model, longest, side)
    return round(memory("VmHWM") - held)


def memory(field: str) -> float:
    """Return a memory figure of this process in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024


def show(result: dict) -> None:
    slowest = result["speed"]["published"]["cpu_seconds_per_record"]
    print("| | CPU seconds a record | times as fast as published | MB at the peak |\n" + "| --- " * 4 + "|")
    for side, run in result["speed"].items():
        seconds = run["cpu_seconds_per_record"]
        print(f"| {side} | {seconds} | {slowest / seconds:.1f} | {result['peak_mb'].get(side, '-')} |")


if __name__ == "__main__":
    run_command(main)
