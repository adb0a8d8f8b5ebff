# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Answers of this code beside those of an earlier commit: speed, memory, and whether they are the same. Linux only.

    git worktree add ../before COMMIT
    python -m benchmarks.side_by_side --before ../before --model runs/quickstart/stage3 \
        --dataset runs/quickstart/dataset --output runs/side_by_side.json

Both sides run whole commands, in turns, each with its own defaults: `predict.py` for one record and for many,
`predict.py --evidence`, `serve.py` asked by `--clients` at the same time, and the first word of commands that only
print their help.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.handler import ask, read_inputs
from datasets_scripts.common.command import run_command


HERE = Path(__file__).resolve().parents[1]
COMMANDS = ("predict", "serve", "evaluate_model", "recalibrate")


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    sides = {"before": arguments.before.resolve(), "now": HERE}
    found: dict[str, dict[str, list[dict]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for work, number in (("predict", arguments.records), ("evidence", arguments.evidence_records), ("first", 1)):
            sources[work] = Path(folder, f"{work}.jsonl")
            lines = (json.dumps(record) + "\n" for record in read_inputs(arguments.dataset, number))
            sources[work].write_text("".join(lines), encoding="utf-8")
        for pair in range(arguments.pairs):
            for name in list(sides)[:: 1 if pair % 2 else -1]:
                for work in arguments.work:
                    run = MEASURES[work](sides[name], arguments, sources.get(work, sources["predict"]), Path(folder))
                    found.setdefault(work, {}).setdefault(name, []).append(run)
                    print(work, name, json.dumps(run), flush=True)
    show(found)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answers of this code beside those of an earlier commit.")
    parser.add_argument("--before", type=Path, required=True, help="checkout of the earlier commit")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; its test split is asked")
    parser.add_argument("--work", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--records", type=int, default=4010, help="default: 4010")
    parser.add_argument("--evidence-records", type=int, default=100, help="default: 100")
    parser.add_argument("--requests", type=int, default=600, help="default: 600, of one record each")
    parser.add_argument("--clients", type=int, default=32, help="default: 32")
    parser.add_argument("--pairs", type=int, default=5, help="default: 5")
    parser.add_argument("--output", type=Path, help="file for the figures, *.json")
    return parser.parse_args(argv)


def measure_predict(root: Path, arguments: argparse.Namespace, source: Path, folder: Path, *options: str) -> dict:
    """Return seconds and peak memory of a command and its processes, and a hash of its answers."""
    output = folder / "answers.jsonl"
    command = [sys.executable, root / "recipes/predict.py", "--model", arguments.model.resolve(), *options]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--input", source, "--output", output], **started_in(root))
    peak = watch(process)
    seconds = time.perf_counter() - started
    answers = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    output.unlink()
    for answer in answers:
        answer.pop("model_version", None)
        for term in answer.get("knowledge", ()):
            term.pop("text", None)  # missing in some earlier commits
    return {"seconds": round(seconds, 2), "peak_mb": peak, "hash": hash_of(answers)}


def measure_evidence(root: Path, arguments: argparse.Namespace, source: Path, folder: Path) -> dict:
    return measure_predict(root, arguments, source, folder, "--evidence")


def measure_serve(root: Path, arguments: argparse.Namespace, source: Path, folder: Path) -> dict:
    """Return requests a second of many clients, and the 95th percentile of their times."""
    with open(source, encoding="utf-8") as file:
        records = [json.loads(line) for line, _ in zip(file, range(arguments.requests), strict=False)]
    with running_server(root, arguments.model) as (_, port), ThreadPoolExecutor(arguments.clients) as clients:
        list(clients.map(lambda record: ask(port, record), records[: arguments.clients]))
        started = time.perf_counter()
        times = sorted(clients.map(lambda record: ask(port, record), records))
        seconds = time.perf_counter() - started
    return {
        "requests_per_second": round(len(records) / seconds, 1),
        "seconds_of_95_percent": round(times[int(0.95 * len(times))], 3),
    }


def measure_help(root: Path, arguments: argparse.Namespace, source: Path, folder: Path) -> dict:
    """Return the seconds until each command has printed its help."""
    found = {}
    for name in COMMANDS:
        started = time.perf_counter()
        subprocess.run([sys.executable, root / f"recipes/{name}.py", "--help"], check=True, **started_in(root))
        found[name] = round(time.perf_counter() - started, 3)
    return found


MEASURES = {
    "first": measure_predict,
    "predict": measure_predict,
    "evidence": measure_evidence,
    "serve": measure_serve,
    "help": measure_help,
}


def started_in(root: Path) -> dict:
    return {
        "cwd": root,
        "env": {**os.environ, "PYTHONPATH": str(root)},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }


@contextmanager
def running_server(root: Path, model: Path):
    """Yield a server of a checkout, and its port."""
    command = [sys.executable, root / "recipes/serve.py", "--model", model.resolve(), "--port", "0"]
    process = subprocess.Popen(command, **{**started_in(root), "stderr": subprocess.PIPE}, text=True)
    try:
        line = next(line for line in process.stderr if "answers at" in line)
        yield process, int(re.search(r":(\d+) ", line).group(1))
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.close()
        process.wait()


def watch(process: subprocess.Popen) -> int:
    """Wait for the end of a process; return the peak memory of it and its children together, in MB."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, held_mb(process.pid))
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)  # no shorter: measuring takes the kernel long, and stops the process meanwhile
    if process.returncode:
        raise RuntimeError(f"{process.args[1]} ended with code {process.returncode}")
    return peak


def held_mb(pid: int) -> int:
    """Return the memory of a process and all its child processes, in MB."""
    return round(sum(map(private_kb, family(pid))) / 1024)


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def private_kb(pid: int) -> int:
    """Return the proportional set size of a process: shared memory counts in part."""
    try:
        return int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text()).group(1))
    except (OSError, AttributeError):
        return 0


def hash_of(answers: list[dict]) -> str:
    return hashlib.sha256(json.dumps(answers).encode()).hexdigest()[:16]


def show(found: dict[str, dict[str, list[dict]]]) -> None:
    """Print the median and the range of each figure, and the ratio of the medians."""
    print("\n| work | figure | before | now | ratio |\n| --- | --- | --- | --- | --- |")
    for work, sides in found.items():
        for figure in next(iter(sides.values()))[0]:
            values = {name: [run[figure] for run in runs] for name, runs in sides.items()}
            if figure == "hash":
                same = len({value for side in values.values() for value in side}) == 1
                print(f"| {work} | answers | - | {'the same' if same else 'others'} | - |")
                continue
            cells = {name: f"{statistics.median(v)} ({min(v)} to {max(v)})" for name, v in values.items()}
            ratio = statistics.median(values["now"]) / statistics.median(values["before"])
            print(f"| {work} | {figure} | {cells['before']} | {cells['now']} | {ratio:.2f} |")


if __name__ == "__main__":
    run_command(main)
