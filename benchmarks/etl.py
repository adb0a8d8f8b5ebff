# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Time and memory of `build_dataset.py` against the size of the database: the MIMIC-III demo, and copies of it under new
ids; with what the full databases would take by extrapolation.

    python -m benchmarks.etl --root mimic-iii-demo --factors 1 10 50 --output runs/etl
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt

from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.sources.raw_tables import find_table
from datasets_scripts.sources.reader import load_source


ID_COLUMNS = ("subject_id", "hadm_id", "icustay_id")
ID_STEP = 10_000_000  # above every id of MIMIC-III
BUILD = Path(__file__).resolve().parents[1] / "datasets_scripts" / "build_dataset.py"
MEASURED = ("chartevents", "labevents")
# A process starts with the peak of the one that started it: a small one in between keeps ours out of the figure.
RUN = (
    "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:], stderr=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)"
)
FULL_ROWS = {  # rows of these tables, by the databases' documentation
    "MIMIC-III 1.4": (330_712_483, 27_854_055),
    "MIMIC-IV 3.1": (432_997_491, 158_374_764),
}


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Time and memory of build_dataset.py against the size of a database.")
    parser.add_argument("--root", type=Path, required=True, help="the MIMIC-III demo's tables")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10, 50], help="default: 1 10 50")
    parser.add_argument("--memory-limit", default="4GB", help="given to build_dataset.py; default: 4GB")
    parser.add_argument("--work", type=Path, help="folder for the copied tables; default: inside the output, removed")
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json and etl.png to")
    arguments = parser.parse_args(argv)
    with finished_folder(arguments.output) as aside:
        work = arguments.work or aside / "work"
        runs = [measure(arguments.root, factor, work, arguments.memory_limit) for factor in arguments.factors]
        metrics = {"runs": runs, "extrapolated": extrapolate(runs)}
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
        plot(aside / "etl.png", runs)
    show(metrics)
    return metrics


def measure(root: Path, factor: int, work: Path, memory_limit: str) -> dict:
    """One build as a process of its own, from start to exit."""
    tables = root if factor == 1 else copy_tables(root, factor, work / f"x{factor}")
    output = work / f"dataset-x{factor}"
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", RUN, sys.executable, str(BUILD), "--source", "mimic-iii"]
    command += ["--root", str(tables), "--output", str(output), "--memory-limit", memory_limit]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"build_dataset.py failed on {tables}")
    metadata = json.loads((output / "clinragen_dataset.json").read_text(encoding="utf-8"))
    chart_rows, lab_rows = (count_rows(tables, table) for table in MEASURED)
    rows = chart_rows + lab_rows
    return {
        "factor": factor,
        "chart_rows": chart_rows,
        "lab_rows": lab_rows,
        "stays": sum(count["stays"] for count in metadata["counts"].values()),
        "seconds": round(seconds, 2),
        "rows_per_second": round(rows / seconds),
        "peak_memory_gb": round(int(done.stdout.split()[-1]) / 2**20, 2),
        "memory_limit": memory_limit,
        "content_hash": metadata["content_hash"],
    }


def count_rows(root: Path, table: str) -> int:
    path = find_table(root, table, load_source("mimic-iii")["tables"][table])
    return duckdb.sql(f"SELECT count(*) FROM {scan(path)}").fetchall()[0][0]


def copy_tables(root: Path, factor: int, folder: Path) -> Path:
    """Every table `factor` times, each copy with ids of its own, as gzipped CSV like the original."""
    if folder.exists():
        return folder
    aside = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for table, spec in load_source("mimic-iii")["tables"].items():
        path = find_table(root, table, spec)
        if path is None:
            continue
        columns = [
            f"CAST({name} AS BIGINT) + copy * {ID_STEP} AS {name}" if name.lower() in ID_COLUMNS else f'"{name}"'
            for name in duckdb.sql(f"SELECT * FROM {scan(path)} LIMIT 0").columns
        ]
        duckdb.sql(
            f"COPY (SELECT {', '.join(columns)} FROM range({factor}) copies(copy), {scan(path)}) "
            f"TO '{aside / path.name}' (FORMAT csv, HEADER, COMPRESSION gzip)"
        )
    aside.rename(folder)
    return folder


def scan(path: Path) -> str:
    return f"read_csv('{path}', all_varchar = true, delim = ',', quote = '\"', escape = '\"', header = true)"


def extrapolate(runs: list[dict]) -> dict[str, dict]:
    """
    Minutes and memory for the full databases, and by how many percent the runs are off a straight line.

    A row of chartevents or labevents costs what it costs between the smallest and the largest run; the rest is fixed.
    Memory grows alike, up to the table engine's limit and what the smallest run takes.
    """
    first, last = runs[0], runs[-1]
    if first is last:
        return {}
    rows = [run["chart_rows"] + run["lab_rows"] for run in runs]
    per_row = (last["seconds"] - first["seconds"]) / (rows[-1] - rows[0])
    fixed = first["seconds"] - per_row * rows[0]
    guessed = [fixed + per_row * n for n in rows]
    memory_per_row = (last["peak_memory_gb"] - first["peak_memory_gb"]) / (rows[-1] - rows[0])
    most_memory = gigabytes(last["memory_limit"]) + first["peak_memory_gb"]
    return {
        "off_the_line_percent": max(
            round(100 * abs(run["seconds"] / guess - 1), 1) for run, guess in zip(runs, guessed, strict=True)
        ),
        "databases": {
            name: {
                "chart_rows": chart,
                "lab_rows": lab,
                "minutes": round((fixed + per_row * (chart + lab)) / 60, 1),
                "memory_gb": round(min(memory_per_row * (chart + lab) + first["peak_memory_gb"], most_memory), 1),
            }
            for name, (chart, lab) in FULL_ROWS.items()
        },
    }


def gigabytes(size: str) -> float:
    """`"4GB"` or `"300MB"` as a number."""
    return float(size[:-2]) / {"GB": 1, "MB": 1000}[size[-2:].upper()]


def plot(path: Path, runs: list[dict]) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    rows = [run["chart_rows"] / 1e6 for run in runs]
    for axis, name, label in ((axes[0], "seconds", "seconds"), (axes[1], "peak_memory_gb", "peak memory, GB")):
        axis.plot(rows, [run[name] for run in runs], marker="o")
        axis.set_xlabel("million chart rows")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def show(metrics: dict) -> None:
    print(
        "| copies | chart rows | laboratory rows | stays | seconds | rows/s | peak memory, GB |\n" + "| --- " * 7 + "|"
    )
    for run in metrics["runs"]:
        print(
            f"| {run['factor']} | {run['chart_rows']:,} | {run['lab_rows']:,} | {run['stays']:,} | {run['seconds']} "
            f"| {run['rows_per_second']:,} | {run['peak_memory_gb']} |"
        )
    if metrics["extrapolated"]:
        print(f"\nTime is off a straight line by at most {metrics['extrapolated']['off_the_line_percent']}%.")
        for name, guess in metrics["extrapolated"]["databases"].items():
            rows = f"{guess['chart_rows']:,} chart and {guess['lab_rows']:,} laboratory rows"
            print(f"{name}, {rows}: {guess['minutes']} minutes, {guess['memory_gb']} GB by extrapolation")


if __name__ == "__main__":
    run_command(main)
