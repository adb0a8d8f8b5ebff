# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure how fast `recipes/predict.py` and `recipes/serve.py` answer, and in how much memory. Linux only.

    python -m benchmarks.handler --model runs/quickstart/stage3 --dataset runs/quickstart/dataset \
        --output runs/handler

The server is measured with and without joining requests, and by the number of concurrent clients.
"""

import argparse
import http.client
import json
import math
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from recipes import serve
from recipes.serving.answers import answer_chunk, chunks, load_handler
from recipes.serving.record_files import read_records
from recipes.training.data import load_records


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Speed and memory of predict.py and serve.py.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", required=True, help="dataset folder; its test split is asked")
    parser.add_argument("--records", type=int, default=200, help="default: 200; the split is repeated if need be")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16], help="default: 1 16")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16], help="default: 1 16")
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json to")
    arguments = parser.parse_args(argv)
    records = read_inputs(arguments.dataset, arguments.records)
    with finished_folder(arguments.output) as aside:
        metrics = {
            "predict": [measure_predict(arguments.model, records, size, aside) for size in arguments.batch_sizes],
            "serve": [run for size in arguments.batch_sizes for run in measure_serve(arguments, records, size)],
        }
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    for name, runs in metrics.items():
        for run in runs:
            print(name, json.dumps(run))
    return metrics


def read_inputs(dataset: str, number: int) -> list[dict]:
    """Return records of the test split in the form of JSON."""
    rows = load_records(dataset, "test").select_columns(["note", "lab_times", "lab_values"])
    return [as_sent(rows[i % len(rows)]) for i in range(number)]


def as_sent(row: dict) -> dict:
    measured = [[None if cell is None or math.isnan(cell) else cell for cell in cells] for cells in row["lab_values"]]
    return {**row, "lab_values": measured}


def measure_predict(model: str, records: list[dict], batch_size: int, folder: Path) -> dict:
    """Measure a whole run of the command, and the rate between its first and its last chunk of answers."""
    source, output = folder / "records.jsonl", folder / "answers.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    options = ["--model", model, "--input", str(source), "--output", str(output), "--batch-size", str(batch_size)]
    script = (
        "import sys; from recipes import predict; predict.main(sys.argv[1:]); "
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"  # kB at the peak
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *options], stdout=subprocess.PIPE, text=True, check=True)
    whole = time.perf_counter() - started
    handler = load_handler(model, None, None)
    parts = list(chunks(read_records(source, handler.pipe.processor.feature_extractor.channels), 128))
    started = time.perf_counter()
    for chunk in parts:
        answer_chunk(handler, chunk, batch_size, {})
    seconds = time.perf_counter() - started
    for path in (source, output):
        path.unlink()
    return {
        "batch_size": batch_size,
        "records": len(records),
        "records_per_second": round(len(records) / seconds, 1),
        "seconds_of_the_command": round(whole, 1),
        "peak_mb": round(int(done.stdout.split()[-1]) / 1024),
    }


def measure_serve(arguments: argparse.Namespace, records: list[dict], batch_size: int) -> list[dict]:
    """Measure requests of one record each."""
    runs = []
    with running_server(arguments.model, batch_size) as (process, port):
        ask(port, records[0])
        for clients in arguments.clients:
            with ThreadPoolExecutor(clients) as threads:
                started = time.perf_counter()
                times = sorted(threads.map(lambda record: ask(port, record), records))
                seconds = time.perf_counter() - started
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            runs.append(
                {
                    "batch_size": batch_size,
                    "clients": clients,
                    "requests_per_second": round(len(records) / seconds, 1),
                    "median_seconds": round(times[len(times) // 2], 2),
                    "seconds_of_95_percent": round(times[int(0.95 * len(times))], 2),
                    "resident_mb": round(int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024),
                }
            )
    return runs


@contextmanager
def running_server(model: str, batch_size: int):
    """Yield the server's process and its port."""
    command = [sys.executable, serve.__file__, "--model", model, "--port", "0", "--batch-size", str(batch_size)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = next(line for line in process.stderr if "answers at" in line)
            yield process, int(re.search(r":(\d+) ", line).group(1))
        finally:
            process.send_signal(signal.SIGTERM)


def ask(port: int, record: dict) -> float:
    """Return the seconds until a record is answered."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/", json.dumps({"inputs": record}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {answer.decode()}")
    return time.perf_counter() - started


if __name__ == "__main__":
    run_command(main)
