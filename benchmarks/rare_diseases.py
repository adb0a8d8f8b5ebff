# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Measure the benefit of knowledge for diseases with few patients in the training records.

    python -m benchmarks.rare_diseases --dataset runs/quickstart/dataset --knowledge runs/quickstart/knowledge.json \
        --output runs/rare --records 800 --seeds 0 1 2

takes six labels for each seed, keeps 4 to 8 training records and 1 or 2 validation records with each, trains the
three stages of `--stages` with knowledge, without, with knowledge whose diseases are exchanged, and in the paper's
forms, and compares macro-F1 and macro-AUROC of the rare labels and of the others on the test records, which stay as
they are. An interrupted run is resumed by the same command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from scipy.stats import rankdata

from datasets_scripts.common.command import run_command
from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.dataset.card import dataset_card
from datasets_scripts.dataset.folder import SPLITS, read_metadata, shards, write_metadata, write_shard
from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.figures.metrics import multi_hot
from recipes.evaluation.report.folder import read_predictions
from recipes.reproduction.plan import STAGES


NUM_RARE, FEWEST, MOST = 6, 4, 8
RESAMPLES = 1000
ROWS = {  # settings of stage 1; knowledge unchanged, left out, or with exchanged diseases
    "with knowledge": ("own", {}),
    "without knowledge": (None, {}),
    "diseases exchanged": ("exchanged", {}),
    "attention to terms alone": ("own", {"use_term_evidence": False}),
    "attention to prototypes alone (paper)": (
        "own",
        {"use_term_evidence": False, "knowledge_alignment_weight": 0.0, "knowledge_attention_type": "prototype"},
    ),
}


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    runs = [(seed, row) for seed in arguments.seeds for row in arguments.rows]
    for seed in arguments.seeds:
        prepare(arguments, seed)
    with ThreadPoolExecutor(arguments.workers) as pool:
        for (seed, row), _ in zip(runs, pool.map(lambda run: train_and_predict(arguments, *run), runs), strict=True):
            print(f"seed {seed}, {row}: done", flush=True)
    found = {row: [read_run(arguments, seed, row) for seed in arguments.seeds] for row in arguments.rows}
    show(found, arguments.rows[0])
    return found


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Benefit of knowledge for rare diseases.")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder with rationales")
    parser.add_argument("--knowledge", type=Path, required=True, help="knowledge.json")
    parser.add_argument("--output", type=Path, required=True, help="folder of datasets, models and reports")
    parser.add_argument(
        "--stages", type=Path, default=Path("recipes/configs/quickstart"), help="folder of stage*.yaml"
    )
    parser.add_argument("--records", type=int, default=800, help="training records, those of rare labels among them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time; one thread each")
    return parser.parse_args(argv)


def prepare(arguments: argparse.Namespace, seed: int) -> None:
    """Write the dataset and the knowledge of a seed, unless they exist."""
    folder, labels = folder_of(arguments, seed), label_names(arguments.dataset)
    choose = np.random.default_rng(seed)
    gold = gold_of(arguments.dataset, "train", len(labels))
    rare = np.sort(choose.choice(np.flatnonzero(gold.sum(axis=0) > MOST), NUM_RARE, replace=False))
    quota = choose.integers(FEWEST, MOST + 1, NUM_RARE)
    kept = {
        "train": thin_out(gold, rare, quota, arguments.records, choose),
        "validation": thin_out(gold_of(arguments.dataset, "validation", len(labels)), rare, quota // 4, None, choose),
    }
    exchanged = choose.permutation(len(labels))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rare.json").write_text(json.dumps([labels[i] for i in rare]), encoding="utf-8")
    knowledge = json.loads(arguments.knowledge.read_text(encoding="utf-8"))
    (folder / "own.json").write_text(json.dumps(knowledge), encoding="utf-8")
    other = {label: labels[i] for label, i in zip(labels, exchanged, strict=True)}
    for term in knowledge["terms"]:
        term["diseases"] = [other[name] for name in term["diseases"]]
        for source in term.get("provenance", ()):
            source["disease"] = other[source["disease"]]
    (folder / "exchanged.json").write_text(json.dumps(knowledge), encoding="utf-8")
    if not (folder / "dataset").exists():
        write_dataset(arguments.dataset, folder / "dataset", kept)


def thin_out(
    gold: np.ndarray, rare: np.ndarray, quota: np.ndarray, number: int | None, choose: np.random.Generator
) -> np.ndarray:
    """
    Choose records so that no rare label has more of them than its quota.

    Args:
        gold (bool array of shape `(num_records, num_labels)`).
        rare (int array of shape `(num_rare,)`), quota (the same): labels, and how many records each may have.
        number (`int`, *optional*): of records; those with a rare label are taken first. Default: all that may stay.

    Returns:
        bool array of shape `(num_records,)`.
    """
    counts, chosen, others = np.zeros(len(rare), dtype=int), [], []
    for record in choose.permutation(len(gold)):
        has = gold[record, rare]
        if not has.any():
            others.append(record)
        elif (counts + has <= quota).all():
            counts += has
            chosen.append(record)
    left = None if number is None else max(0, number - len(chosen))
    kept = np.zeros(len(gold), dtype=bool)
    kept[[*chosen, *others[:left]]] = True
    return kept


def write_dataset(source: Path, target: Path, kept: dict[str, np.ndarray]) -> None:
    """Write the kept records of a dataset folder; splits without a mask are kept whole."""
    metadata = read_metadata(source)
    counts = {split: dict(numbers) for split, numbers in metadata["counts"].items()}
    with finished_folder(target) as folder:
        for split in SPLITS:
            first = 0
            if split in kept:
                counts[split]["stays"] = int(kept[split].sum())
            for number, shard in enumerate(shards(source, split)):
                table = pq.read_table(shard)
                rows = kept[split][first : first + len(table)] if split in kept else np.ones(len(table), dtype=bool)
                write_shard(folder, split, number, table.filter(rows))
                first += len(table)
        write_metadata(folder, {**metadata, "counts": counts}, dataset_card)


def train_and_predict(arguments: argparse.Namespace, seed: int, row: str) -> None:
    """Run the stages and the evaluation of a row in processes of their own, unless their folders exist."""
    knowledge, settings = ROWS[row]
    folder, before = folder_of(arguments, seed), None
    runs = folder / slug(row)
    for stage, command in STAGES.items():
        output = runs / stage
        config = {
            "extends": str(arguments.stages / f"{stage}.yaml"),
            "output_dir": str(output),
            "dataset": str(folder / "dataset"),
            "seed": seed,
            "disable_tqdm": True,
        }
        if before is None:
            config |= {"knowledge": knowledge and str(folder / f"{knowledge}.json"), **settings}
        else:
            config["model_name_or_path"] = str(before)
        if not output.exists():
            runs.mkdir(exist_ok=True)
            path = runs / f"{stage}.yaml"
            path.write_text(yaml.safe_dump(config), encoding="utf-8")
            run([f"recipes/{command}.py", "--config", str(path)], runs / f"{stage}.log")
        before = output
    report = runs / "report"
    if not report.exists():
        read = ["--dataset", str(folder / "dataset"), "--split", "test"]
        run(["recipes/evaluate_model.py", "--model", str(before), *read, "--output", str(report)], runs / "report.log")


def run(command: list[str], log: Path) -> None:
    with log.open("w", encoding="utf-8") as file:
        code = subprocess.run(
            [sys.executable, *command], stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise ClinRaGenInputError(f"{command[0]} failed; its output is in {log}")


def read_run(arguments: argparse.Namespace, seed: int, row: str) -> dict[str, np.ndarray]:
    """Return `gold`, decisions (`made`) and `probabilities` of a run, and the columns of its rare labels."""
    folder, labels = folder_of(arguments, seed), label_names(arguments.dataset)
    predictions = read_predictions(folder / slug(row) / "report")
    position = {label: i for i, label in enumerate(labels)}
    made = [[position[d["label"]] for d in p["diagnoses"]] for p in predictions]
    rare = json.loads((folder / "rare.json").read_text(encoding="utf-8"))
    return {
        "gold": multi_hot([[position[name] for name in p["gold"]] for p in predictions], len(labels)) > 0,
        "made": multi_hot(made, len(labels)) > 0,
        "probabilities": np.array([[p["probabilities"][label] for label in labels] for p in predictions]),
        "rare": np.array([position[name] for name in rare]),
    }


def figures(run: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return macro-F1 and macro-AUROC of the rare labels, then of the others, on some test records."""
    gold, made, probabilities = (run[name][rows] for name in ("gold", "made", "probabilities"))
    hits, total = (gold & made).sum(axis=0), gold.sum(axis=0) + made.sum(axis=0)
    f1 = np.divide(2 * hits, total, out=np.zeros(len(total)), where=total > 0)
    positives = gold.sum(axis=0)
    pairs = positives * (len(gold) - positives)
    above = (rankdata(probabilities, axis=0) * gold).sum(axis=0) - positives * (positives + 1) / 2
    ranking = np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    is_rare = np.isin(np.arange(gold.shape[1]), run["rare"])
    return np.array([np.nanmean(values[labels]) for labels in (is_rare, ~is_rare) for values in (f1, ranking)])


def show(found: dict[str, list[dict]], reference: str) -> None:
    """Print a table: means over seeds, and the difference from the first row with its 95% interval."""
    print("| | rare: macro-F1 | difference | macro-AUROC | others: macro-F1 | difference | macro-AUROC |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    number = len(found[reference][0]["gold"])
    draws = np.random.default_rng(0).integers(number, size=(RESAMPLES, number))
    resampled = {row: _means(runs, draws) for row, runs in found.items()}
    for row, runs in found.items():
        rare, rare_ranking, other, other_ranking = np.mean([figures(r, np.arange(number)) for r in runs], axis=0)
        differences = [_interval(resampled[row][:, i] - resampled[reference][:, i], row, reference) for i in (0, 2)]
        cells = [f"{rare:.3f}", differences[0], f"{rare_ranking:.3f}", f"{other:.3f}", differences[1]]
        print(f"| {row} | {' | '.join(cells)} | {other_ranking:.3f} |")


def _means(runs: list[dict], draws: np.ndarray) -> np.ndarray:
    """Return the figures of resampled test records, means over seeds: `(RESAMPLES, 4)`."""
    return np.mean([[figures(r, rows) for rows in draws] for r in runs], axis=0)


def _interval(differences: np.ndarray, row: str, reference: str) -> str:
    if row == reference:
        return "-"
    low, high = np.percentile(differences, [2.5, 97.5])
    return f"{differences.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def gold_of(dataset: Path, split: str, num_labels: int) -> np.ndarray:
    columns = [
        pq.read_table(shard, columns=["diagnoses"])["diagnoses"].to_pylist() for shard in shards(dataset, split)
    ]
    return multi_hot([row for column in columns for row in column], num_labels) > 0


def label_names(dataset: Path) -> list[str]:
    return [label["name"] for label in read_metadata(dataset)["labels"]]


def folder_of(arguments: argparse.Namespace, seed: int) -> Path:
    return arguments.output / f"records{arguments.records}-seed{seed}"


def slug(row: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in row.lower()).strip("-")


if __name__ == "__main__":
    run_command(main)
