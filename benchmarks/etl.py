# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Time and memory of `build_dataset.py` against the size of the database: the MIMIC-III demo, and copies of it under new
ids; and an extrapolation to the full databases.

    python -m benchmarks.etl --root mimic-iii-demo --factors 1 10 50 --output runs/etl
    python -m benchmarks.etl --root mimic-iii-demo --factors 20 50 --before ../before --pairs 5 --output runs/etl_pairs
    python -m benchmarks.etl --root mimic-iii-demo --factors 1 50 --summaries 16590 --output runs/etl_notes
    python -m benchmarks.etl --root mimic-iii-demo --factors 20 --copies --output runs/etl_copies

The third has a twentieth of MIMIC-IV's rows and summaries. `scan` is the time in which DuckDB alone reads the columns
of the two large tables; `copying` is a build that writes the copies of `--cache`, `copied` one that reads them.
"""

import argparse
import csv
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import duckdb
import matplotlib
import numpy as np


matplotlib.use("Agg")

import matplotlib.pyplot as plt

from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.sources.raw_tables import find_table
from datasets_scripts.sources.reader import load_source
from datasets_scripts.sources.synthetic import draw_diseases, read_world
from datasets_scripts.sources.synthetic_notes import discharge_summary


ID_COLUMNS = ("subject_id", "hadm_id", "icustay_id")
ID_STEP = 10_000_000  # above every id of MIMIC-III
HERE = Path(__file__).resolve().parents[1]
MEASURED = ("chartevents", "labevents")
# A process inherits the peak of its parent: a small process in between keeps ours out of the figure.
RUN = (
    "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:], stderr=subprocess.DEVNULL); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(used.ru_utime + used.ru_stime, used.ru_maxrss); sys.exit(status)"
)
SCAN = "import duckdb\nfor query in {queries}: duckdb.sql(query).fetchall()"
FULL_ROWS = {  # rows of these tables, by the databases' documentation
    "MIMIC-III 1.4": (330_712_483, 27_854_055),
    "MIMIC-IV 3.1": (432_997_491, 158_374_764),
}
FULL_SUMMARIES = 331_794  # of MIMIC-IV-Note 2.2
SUMMARY_LENGTH, TEXTS = 10_000, 500  # characters; different texts


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Time and memory of build_dataset.py against the size of a database.")
    parser.add_argument("--root", type=Path, required=True, help="the MIMIC-III demo's tables")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10, 50], help="default: 1 10 50")
    parser.add_argument("--summaries", type=int, help="discharge summaries of a further build of the last factor")
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit, which takes turns with this one")
    parser.add_argument("--copies", action="store_true", help="measure builds with --cache, too")
    parser.add_argument("--pairs", type=int, default=1, help="turns of each side; default: 1")
    parser.add_argument("--memory-limit", default="4GB", help="given to build_dataset.py; default: 4GB")
    parser.add_argument("--work", type=Path, help="folder for the copied tables; default: inside the output, removed")
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json and etl.png to")
    arguments = parser.parse_args(argv)
    with finished_folder(arguments.output) as aside:
        work = arguments.work or aside / "work"
        builds = [(factor, 0) for factor in arguments.factors]
        builds += [(arguments.factors[-1], arguments.summaries)] if arguments.summaries else []
        runs = [measure(arguments, work, *build) for build in builds]
        plain = [run for run in runs if not run["summaries"]]
        metrics = {"runs": runs, "extrapolated": extrapolate(plain)}
        if arguments.summaries and metrics["extrapolated"]:
            add_summaries(metrics["extrapolated"]["databases"]["MIMIC-IV 3.1"], *runs[-2:])
        (aside / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
        plot(aside / "etl.png", plain)
    show(metrics)
    return metrics


def measure(arguments: argparse.Namespace, work: Path, factor: int, summaries: int) -> dict:
    """Return medians of whole processes: builds, and the table engine's scan of the same tables."""
    tables = arguments.root if factor == 1 else copy_tables(arguments.root, factor, work / f"x{factor}")
    if summaries:
        tables = with_summaries(tables, summaries, work / f"x{factor}-with-{summaries}")
    output = work / f"dataset-x{factor}"
    output.parent.mkdir(parents=True, exist_ok=True)
    options = ["--source", "mimic-iii", "--root", tables, "--memory-limit", arguments.memory_limit]
    build = ["datasets_scripts/build_dataset.py", *options, "--output", output]
    sides = {"now": (HERE, build), "scan": (HERE, ["-c", SCAN.format(queries=scans(tables))])}
    if arguments.before is not None:
        sides["before"] = (arguments.before.resolve(), build)
    cache = work / f"cache-x{factor}"
    if arguments.copies:  # the first turn goes through the sides from the last one on
        sides |= dict.fromkeys(("copied", "copying"), (HERE, [*build, "--cache", cache]))
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    hashes = set()
    for pair in range(arguments.pairs):
        for name in list(sides)[:: 1 if pair % 2 else -1]:
            shutil.rmtree(output, ignore_errors=True)
            if name == "copying":
                shutil.rmtree(cache, ignore_errors=True)
            found[name].append(run(*sides[name]))
            if name != "scan":
                metadata = json.loads((output / "clinragen_dataset.json").read_text(encoding="utf-8"))
                hashes.add(metadata["content_hash"])
    if len(hashes) > 1:
        raise RuntimeError(f"the builds of {tables} differ")
    chart_rows, lab_rows = (count_rows(tables, table) for table in MEASURED)
    seconds = statistics.median(wall for wall, _, _ in found["now"])
    return {
        "factor": factor,
        "summaries": summaries,
        "chart_rows": chart_rows,
        "lab_rows": lab_rows,
        "stays": sum(count["stays"] for count in metadata["counts"].values()),
        "seconds": round(seconds, 2),
        "rows_per_second": round((chart_rows + lab_rows) / seconds),
        "peak_memory_gb": max(round(peak, 2) for _, _, peak in found["now"]),
        "memory_limit": arguments.memory_limit,
        "content_hash": metadata["content_hash"],
        "tables_mb": megabytes(
            find_table(tables, name, spec) for name, spec in load_source("mimic-iii")["tables"].items()
        ),
        "copies_mb": megabytes(cache.glob("*.parquet")),
        "sides": {
            name: {
                "seconds": [round(wall, 2) for wall, _, _ in turns],
                "cpu_seconds": [round(cpu, 2) for _, cpu, _ in turns],
                "peak_memory_gb": [round(peak, 2) for _, _, peak in turns],
            }
            for name, turns in found.items()
        },
    }


def megabytes(files: Iterable[Path | None]) -> float:
    return round(sum(file.stat().st_size for file in files if file is not None) / 1e6, 2)


def run(root: Path, command: list) -> tuple[float, float, float]:
    """Run Python in a checkout; return its seconds, processor seconds and peak memory in GB."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed in {root}")
    cpu, peak = map(float, done.stdout.split()[-2:])
    return seconds, cpu, peak / 2**20


def scans(tables: Path) -> list[str]:
    """Return queries that read every cell of the columns that a build reads of the measured tables."""
    specs = load_source("mimic-iii")["tables"]
    return [
        f"SELECT {', '.join(f'count({column})' for column in specs[table]['columns'])} "
        f"FROM {scan(find_table(tables, table, specs[table]))}"
        for table in MEASURED
    ]


def count_rows(root: Path, table: str) -> int:
    path = find_table(root, table, load_source("mimic-iii")["tables"][table])
    return duckdb.sql(f"SELECT count(*) FROM {scan(path)}").fetchall()[0][0]


def copy_tables(root: Path, factor: int, folder: Path) -> Path:
    """Copy every table `factor` times, each copy with ids of its own, as gzipped CSV like the original."""
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


def with_summaries(tables: Path, number: int, folder: Path) -> Path:
    """Return the tables with `number` simulated discharge summaries: one an admission, then of other admissions."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in tables.iterdir():
        if not file.name.startswith("NOTEEVENTS"):
            (folder / file.name).symlink_to(file.resolve())
    texts = [summary(seed) for seed in range(TEXTS)]
    admissions = scan(find_table(tables, "admissions", load_source("mimic-iii")["tables"]["admissions"]))
    known = [row[0] for row in duckdb.sql(f"SELECT hadm_id FROM {admissions}").fetchall()]
    with gzip.open(folder / "NOTEEVENTS.csv.gz", "wt", compresslevel=6, encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["hadm_id", "category", "description", "chartdate", "storetime", "iserror", "text"])
        for i in range(number):
            hadm_id = known[i] if i < len(known) else -i
            text = f"Admission {i}\n{texts[i % TEXTS]}"
            rows.writerow([hadm_id, "Discharge summary", "Report", "2200-01-01", "", "", text])
    return folder


def summary(seed: int) -> str:
    """Write a simulated discharge summary of the usual length, its results and its history in equal parts."""
    rng, diseases = np.random.default_rng(seed), read_world()["diseases"]
    present = draw_diseases(read_world(), rng)
    text = discharge_summary(diseases, present, int(rng.integers(18, 90)), "MF"[seed % 2], rng)
    missing = (SUMMARY_LENGTH - len(text)) // 2
    sex, rest = text.split("\n", 1)
    history, results = (
        " ".join(f"At {h:02d}:{m:02d} it was {v:.1f}." for h, m, v in zip(*numbers(rng), strict=True))[:missing]
        for _ in range(2)
    )
    return f"{sex}\nPast Medical History:\n{history}\n{rest}\nPertinent Results:\n{results}\n"


def numbers(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    count = SUMMARY_LENGTH // 20
    return rng.integers(0, 24, count), rng.integers(0, 60, count), rng.uniform(1, 100, count)


def add_summaries(database: dict, without: dict, beside: dict) -> None:
    """Add the cost of the whole database's summaries to an extrapolation, by that of the last run's."""
    times = FULL_SUMMARIES / beside["summaries"]
    database["summaries"] = FULL_SUMMARIES
    database["minutes"] = round(database["minutes"] + times * (beside["seconds"] - without["seconds"]) / 60, 1)


def scan(path: Path) -> str:
    return f"read_csv('{path}', all_varchar = true, delim = ',', quote = '\"', escape = '\"', header = true)"


def extrapolate(runs: list[dict]) -> dict[str, dict]:
    """
    Return minutes and memory for the full databases, and the deviation of the runs from a straight line in percent.

    The cost of a row of chartevents or labevents is the slope between the smallest and the largest run; the rest is
    fixed. Memory grows likewise, up to the table engine's limit plus the memory of the smallest run.
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
    """Return `"4GB"` or `"300MB"` as a number of gigabytes."""
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
    head = "| copies | chart rows | laboratory rows | stays | summaries | seconds | rows/s | peak memory, GB |"
    print(head + "\n" + "| --- " * 8 + "|")
    for run in metrics["runs"]:
        print(
            f"| {run['factor']} | {run['chart_rows']:,} | {run['lab_rows']:,} | {run['stays']:,} "
            f"| {run['summaries']:,} | {run['seconds']} | {run['rows_per_second']:,} | {run['peak_memory_gb']} |"
        )
    for run in metrics["runs"]:
        if run["copies_mb"]:
            print(f"x{run['factor']}: tables {run['tables_mb']} MB, their copies {run['copies_mb']} MB")
        for side, turns in run["sides"].items():
            medians = ", ".join(f"{name} {statistics.median(values):.2f}" for name, values in turns.items())
            print(f"x{run['factor']}, {run['summaries']:,} summaries, {side}: {medians}; {turns['seconds']}")
    if metrics["extrapolated"]:
        print(f"\nTime is off a straight line by at most {metrics['extrapolated']['off_the_line_percent']}%.")
        for name, guess in metrics["extrapolated"]["databases"].items():
            rows = f"{guess['chart_rows']:,} chart and {guess['lab_rows']:,} laboratory rows"
            rows += f", {guess['summaries']:,} summaries" if "summaries" in guess else ""
            print(f"{name}, {rows}: {guess['minutes']} minutes, {guess['memory_gb']} GB by extrapolation")


if __name__ == "__main__":
    run_command(main)
