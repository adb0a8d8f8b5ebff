# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Predictions on a Ray cluster of two nodes on this machine, also with one of them killed meanwhile, against a local run:
equality of the bytes, and time of each. `tests/datasets_scripts/common/` compares builds in the same way.

    python -m benchmarks.ray_cluster --model runs/quickstart/stage3 --dataset runs/quickstart/dataset --output runs/ray
"""

import argparse
import json
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.handler import as_sent
from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.dataset.folder import iterate_rows
from recipes import predict
from recipes.serving.resumed_file import file_hash
from tests.ray_nodes import node_killed_when, two_nodes


FIELDS = ("note", "lab_times", "lab_values")


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Predictions on a Ray cluster of two nodes against a local run.")
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder; its train split is answered")
    parser.add_argument("--records", type=int, default=2000, help="default: 2000")
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json to")
    arguments = parser.parse_args(argv)
    with finished_folder(arguments.output) as folder:
        records = write_records(arguments.dataset, arguments.records, folder / "records.jsonl")
        runs = {"local": answer(arguments.model, records, folder / "local.jsonl")}
        for name in ("two nodes", "one node killed"):
            with two_nodes() as cluster:
                output = folder / f"{name}.jsonl"
                begun = output.with_name(output.name + ".unfinished") / "answers.jsonl"
                killed = node_killed_when(cluster, lambda begun=begun: begun.exists() and begun.stat().st_size > 0)
                with killed if name == "one node killed" else nullcontext():
                    runs[name] = answer(arguments.model, records, output, "--ray", cluster.address)
            runs[name]["equal"] = runs[name]["sha256"] == runs["local"]["sha256"]
        (folder / "metrics.json").write_text(json.dumps(runs, indent=1), encoding="utf-8")
    print("| run | records | seconds | bytes of the local run |\n| --- | --- | --- | --- |")
    for name, run in runs.items():
        print(f"| {name} | {run['answered']} | {run['seconds']} | {run.get('equal', '-')} |")
    return runs


def write_records(dataset: Path, number: int, path: Path) -> Path:
    """Write the first records of the train split."""
    with open(path, "w", encoding="utf-8") as file:
        for _, row in zip(range(number), iterate_rows(dataset, "train"), strict=False):
            file.write(json.dumps({"id": row["stay_id"], **{name: as_sent(row)[name] for name in FIELDS}}) + "\n")
    return path


def answer(model: str, records: Path, output: Path, *options: str) -> dict:
    started = time.perf_counter()
    counts = predict.main(["--model", model, "--input", str(records), "--output", str(output), *options])
    return {**counts, "seconds": round(time.perf_counter() - started, 1), "sha256": file_hash(output)}


if __name__ == "__main__":
    run_command(main)
