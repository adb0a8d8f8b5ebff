# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A training step of this code beside that of an earlier commit: seconds, and memory at the peak. Linux only.

    git worktree add ../before COMMIT
    OMP_NUM_THREADS=2 python -m benchmarks.step_before --before ../before --output runs/step_before.json

Batches of `benchmarks/training.py`, at equal distances up to the longest, with PyTorch's fused AdamW: one process for
each side, with steps in turns. Memory is the peak so far beyond the memory of the process before it had a model:
weights, gradients, the optimizer's state, activations, and memory kept by the C library.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path

from datasets_scripts.common.command import run_command


HERE = Path(__file__).resolve().parents[1]
SIDES = ("before", "now")


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="A training step beside that of an earlier commit.")
    parser.add_argument("--before", type=Path, help="a checkout of the earlier commit")
    parser.add_argument("--records", type=int, default=200, help="from which batches are made; default: 200")
    parser.add_argument("--batches", type=int, default=2, help="of 4 records, the longest is the last; default: 2")
    parser.add_argument("--rounds", type=int, default=5, help="after one to warm up; default: 5")
    parser.add_argument("--output", type=Path, help="JSON file to write, if any")
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    given = arguments.records, arguments.batches
    if arguments.steps:
        return answer_turns(*given)
    folders = {"before": arguments.before.resolve(), "now": HERE}
    with ExitStack() as stack:
        workers = {side: stack.enter_context(worker(folders[side], given)) for side in SIDES}
        sizes, _ = (json.loads(one.stdout.readline()) for one in workers.values())
        rows = [{"size": size, **{side: [] for side in SIDES}} for size in sizes]
        for turn in range(arguments.rounds + 1):
            for i, row in enumerate(rows):
                for side in SIDES[:: -1 if (turn + i) % 2 else 1]:
                    workers[side].stdin.write(f"{i}\n")
                    workers[side].stdin.flush()
                    row[side].append(json.loads(workers[side].stdout.readline()))
                    print(turn, row["size"], side, row[side][-1], file=sys.stderr, flush=True)
    show(rows)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows


@contextmanager
def worker(folder: Path, given: tuple[int, int]):
    """Start a process that takes steps with the code of a checkout on request."""
    options = ["--steps", "--records", str(given[0]), "--batches", str(given[1])]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def answer_turns(number: int, count: int) -> dict:
    """Take a step with the batch of the number on each line of standard input; print its cost."""
    import torch

    from benchmarks import training

    ordered = training.batches(training.made_up(number, 0), 4, "ours")
    chosen = [ordered[round((len(ordered) - 1) * (i + 1) / count)] for i in range(count)]
    print(json.dumps([[*one["input_ids"].shape, one["labels"].shape[1]] for one in chosen]), flush=True)
    before = training.memory("VmRSS")
    model = training.make_model("ours")
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer, trim_heap = torch.optim.AdamW(trained, lr=1e-5, fused=True), heap_trimmer(model)
    for line in sys.stdin:
        batch = chosen[int(line)]
        wall, cpu = time.perf_counter(), time.process_time()
        trim_heap()
        loss = model(**batch).loss
        trim_heap()
        loss.backward()
        del loss
        optimizer.step()
        optimizer.zero_grad()
        took = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps({**took, "peak_mb": round(training.memory("VmHWM") - before)}), flush=True)
    return {}


def heap_trimmer(model) -> Callable[[], object]:
    """Return what the trainer calls around a forward pass; in a checkout whose trainer trims no heap, do nothing."""
    if importlib.util.find_spec("recipes.training.allocator") is None:
        return lambda: None
    from recipes.training.allocator import trim_after_decoder, trim_heap

    trim_after_decoder(model.backbone.get_encoder())
    return trim_heap


def show(rows: list[dict]) -> None:
    print("| records x tokens of note x target | CPU s before | now | times as fast | MB at the peak before | now |")
    print("| --- " * 6 + "|")
    for row in rows:
        runs = {side: row[side][1:] for side in SIDES}
        seconds = [statistics.median(run["cpu_seconds"] for run in runs[side]) for side in SIDES]
        ratios = [a["cpu_seconds"] / b["cpu_seconds"] for a, b in zip(runs["before"], runs["now"], strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        peaks = [f"{row[side][0]['peak_mb']:,}" for side in SIDES]  # later peaks include longer batches
        times = " | ".join(f"{each:.2f}" for each in seconds)
        print(f"| {' x '.join(map(str, row['size']))} | {times} | {ratio} | {' | '.join(peaks)} |")


if __name__ == "__main__":
    run_command(main)
