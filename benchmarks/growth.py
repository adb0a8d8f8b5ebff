# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Time and memory of `predict.py` against the number of records, and those of `serve.py` over time. Linux only.

    python -m benchmarks.growth --model runs/quickstart/stage3 --dataset runs/quickstart/dataset --output runs/growth

Memory is the proportional set size of the command and all its child processes, sampled each second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.handler import ask, read_inputs
from benchmarks.side_by_side import HERE, held_mb, running_server, started_in
from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Time and memory against the number of records, and over time.")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; its test split is asked")
    parser.add_argument("--records", type=int, nargs="+", default=[400, 4000, 40000], help="default: 400 4000 40000")
    parser.add_argument("--minutes", type=float, default=20, help="of the server; default: 20")
    parser.add_argument("--clients", type=int, default=8, help="default: 8")
    parser.add_argument("--output", type=Path, required=True, help="folder to write growth.json and growth.png to")
    arguments = parser.parse_args(argv)
    records = read_inputs(arguments.dataset, 400)
    with finished_folder(arguments.output) as aside:
        found = {
            "predict": [measure_predict(arguments.model, records, number) for number in arguments.records],
            "serve": measure_serve(arguments.model, records, arguments.clients, arguments.minutes),
        }
        (aside / "growth.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        plot(found, aside / "growth.png")
    for run in found["predict"]:
        print(run["records"], run["seconds"], "s", run["peak_mb"], "MB")
    return found


def measure_predict(model: Path, records: list[dict], number: int) -> dict:
    """Return seconds, and memory over time, of a command that answers `number` records."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "records.jsonl"), Path(folder, "answers.jsonl")
        with open(source, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(records[i % len(records)]) + "\n" for i in range(number))
        command = [sys.executable, HERE / "recipes/predict.py", "--model", model.resolve(), "--input", source]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--output", output], **started_in(HERE))
        memory = watched(process.pid, lambda: process.poll() is None)
        seconds = time.perf_counter() - started
        answered = len(output.read_bytes().splitlines()) if process.returncode == 0 else 0
    if answered != number:
        raise RuntimeError(f"predict.py ended with code {process.returncode} and {answered} answers of {number}")
    return {"records": number, "seconds": round(seconds, 1), "peak_mb": max(mb for _, mb in memory), "memory": memory}


def measure_serve(model: Path, records: list[dict], clients: int, minutes: float) -> dict:
    """Return answered requests, and memory over time, of a server under constant load."""
    counted, lock = 0, threading.Lock()

    def asking(port: int, first: int, ends: float) -> None:
        nonlocal counted
        i = first
        while time.monotonic() < ends:
            ask(port, records[i % len(records)])
            i += clients
            with lock:
                counted += 1

    with running_server(HERE, model) as (process, port), ThreadPoolExecutor(clients) as threads:
        ends = time.monotonic() + 60 * minutes
        asked = [threads.submit(asking, port, i, ends) for i in range(clients)]
        memory = watched(process.pid, lambda: time.monotonic() < ends)
        for client in asked:
            client.result()
    return {"requests": counted, "seconds": 60 * minutes, "memory": memory}


def watched(pid: int, goes_on) -> list[tuple[float, int]]:
    """Sample the memory of a process and all its child processes each second: `(seconds, MB)`."""
    started, memory = time.perf_counter(), []
    while goes_on():
        memory.append((round(time.perf_counter() - started, 1), held_mb(pid)))
        time.sleep(1)
    return memory


def plot(found: dict, path: Path) -> None:
    """Draw time against the number of records, and memory over time."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    runs = found["predict"]
    axes[0].plot([run["records"] for run in runs], [run["seconds"] for run in runs], marker="o", label="predict.py")
    axes[0].set(xlabel="records", ylabel="seconds", xscale="log", yscale="log", title="Time of predict.py")
    for run in runs:
        seconds = [second / 60 for second, _ in run["memory"]]
        axes[1].plot(seconds, [mb for _, mb in run["memory"]], label=f"{run['records']:,} records")
    axes[1].set(xlabel="minutes", ylabel="MB", title="Memory of predict.py", ylim=(0, None))
    minutes = [second / 60 for second, _ in found["serve"]["memory"]]
    label = f"{found['serve']['requests']:,} requests"
    axes[2].plot(minutes, [mb for _, mb in found["serve"]["memory"]], label=label)
    axes[2].set(xlabel="minutes", ylabel="MB", title="Memory of serve.py", ylim=(0, None))
    for panel in axes:
        panel.legend()
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    run_command(main)
