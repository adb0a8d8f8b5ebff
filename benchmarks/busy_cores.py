# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Training steps a second, alone and beside busy processes, by the spin count of waiting OpenMP threads.

    OMP_NUM_THREADS=2 python -m benchmarks.busy_cores --output runs/busy_cores.json

One process for each setting, all with the same steps at the shape of the quickstart's model, in turns; idle and busy
cores alternate too. `unset` keeps the default of PyTorch's OpenMP, `default` is the setting of the project's commands.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.common.command import OWN_WAITING, WAITING, run_command


OWN = {"unset": {}, "default": WAITING, "passive": {"OMP_WAIT_POLICY": "PASSIVE"}}
QUICKSTART_T5 = {"model_type": "t5", "vocab_size": 4000, "d_model": 128, "d_ff": 256, "d_kv": 32, "num_heads": 4}
QUICKSTART_T5 |= {"num_layers": 2, "num_decoder_layers": 2, "dropout_rate": 0.0}
SERIES = {"context_length": 48, "d_model": 64, "ffn_dim": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
RECORDS, NOTE_TOKENS, TARGET_TOKENS, HOURS = 16, 224, 150, 48


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Training steps beside busy processes.")
    parser.add_argument("--settings", default="unset,default,passive", help="or a number: GOMP_SPINCOUNT")
    parser.add_argument("--busy", type=int, default=2, help="processes beside; default: 2")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=3, help="of each turn; default: 3")
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.steps:
        return answer_turns()
    names = arguments.settings.split(",")
    found = {name: {"idle": [], "busy": []} for name in names}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(worker(name)) for name in names}
        for turn in tqdm(range(arguments.rounds), desc="Rounds", unit="round"):
            for load, number in (("idle", 0), ("busy", arguments.busy)):
                with busy(number):
                    for name in names[:: -1 if turn % 2 else 1]:
                        found[name][load].append(ask(workers[name], arguments.seconds))
    show(found)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


@contextmanager
def worker(name: str):
    """Start a process that takes steps on request."""
    variables = {key: value for key, value in os.environ.items() if key not in OWN_WAITING}
    variables |= OWN.get(name, {"GOMP_SPINCOUNT": name})
    code = "import torch; from benchmarks.busy_cores import main; main(['--steps'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def busy(number: int):
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def ask(process: subprocess.Popen, seconds: float) -> float:
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def answer_turns() -> dict:
    """Take steps for the seconds given on each line of standard input; print the steps per second."""
    take_step = make_step()
    for _ in range(3):
        take_step()
    print("ready", flush=True)
    for line in sys.stdin:
        start, number = time.perf_counter(), 0
        while time.perf_counter() - start < float(line):
            take_step()
            number += 1
        print(number / (time.perf_counter() - start), flush=True)
    return {}


def make_step():
    import torch
    from transformers.optimization import Adafactor

    from modeling_clinragen import CHANNELS, ClinRaGenConfig, ClinRaGenForConditionalGeneration
    from recipes.training.cpu import speed_up_on_cpu

    torch.manual_seed(0)
    config = ClinRaGenConfig(
        text_config=QUICKSTART_T5,
        time_series_config=SERIES,
        knowledge_terms=[f"term {i}" for i in range(200)],
        knowledge_input_ids=[[3, 4 + i] for i in range(200)],
    )
    model = ClinRaGenForConditionalGeneration(config).train()
    speed_up_on_cpu(model.backbone)
    optimizer = Adafactor(model.parameters(), lr=1e-3, relative_step=False, scale_parameter=True)
    batch = {
        "input_ids": torch.randint(3, QUICKSTART_T5["vocab_size"], (RECORDS, NOTE_TOKENS)),
        "labels": torch.randint(3, QUICKSTART_T5["vocab_size"], (RECORDS, TARGET_TOKENS)),
        "past_values": torch.randn(RECORDS, HOURS, len(CHANNELS)),
        "past_observed_mask": torch.ones(RECORDS, HOURS, len(CHANNELS), dtype=torch.bool),
        "diagnosis_labels": torch.zeros(RECORDS, 25),
    }

    def take_step():
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return take_step


def show(found: dict) -> None:
    base = found.get("unset", next(iter(found.values())))
    print("| | steps/s idle | of unset, median of rounds | steps/s busy | slowest |\n" + "| --- " * 5 + "|")
    for name, runs in found.items():
        ratio = statistics.median(own / other for own, other in zip(runs["idle"], base["idle"], strict=True))
        medians = [statistics.median(runs[load]) for load in ("idle", "busy")]
        print(f"| {name} | {medians[0]:.2f} | {ratio:.3f} | {medians[1]:.2f} | {min(runs['busy']):.2f} |")


if __name__ == "__main__":
    run_command(main)
