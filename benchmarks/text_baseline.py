# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Baselines without a language model, on the same records and splits: TF-IDF with logistic regression on notes, gradient
boosting on statistics of the series, and the mean of their probabilities.

    python benchmarks/text_baseline.py --dataset data/eicu --split test --output runs/eicu/baseline
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from tqdm import tqdm

from datasets_scripts.command import finished_folder, run_command
from datasets_scripts.dataset_folder import label_names, read_metadata
from recipes.data import load_records, multi_hot
from recipes.evaluation.metrics import diagnosis_metrics, probability_metrics


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Baselines without a language model on a dataset folder.")
    parser.add_argument("--dataset", required=True, help="dataset folder")
    parser.add_argument("--split", default="test", help="split to report; default: test")
    parser.add_argument("--output", type=Path, required=True, help="folder to write metrics.json to")
    arguments = parser.parse_args(argv)
    metadata = read_metadata(arguments.dataset)
    labels = label_names(metadata)
    records = {s: load_records(arguments.dataset, s) for s in ("train", "validation", arguments.split)}
    gold = {split: multi_hot(rows["diagnoses"], len(labels)) for split, rows in records.items()}
    probabilities, seconds = {}, {}
    for name, fit in (("TF-IDF + logistic regression", notes), ("gradient boosting on series", series)):
        started = time.perf_counter()
        probabilities[name] = fit(records, gold["train"])
        seconds[name] = round(time.perf_counter() - started, 1)
    probabilities["mean of both"] = {s: sum(p[s] for p in probabilities.values()) / 2 for s in records}
    seconds["mean of both"] = round(sum(seconds.values()), 1)
    results = {}
    for name, scores in probabilities.items():
        threshold = best_threshold(gold["validation"], scores["validation"], labels)
        results[name] = evaluate(gold[arguments.split], scores[arguments.split], threshold, labels)
        results[name]["seconds"] = seconds[name]
    with finished_folder(arguments.output) as folder:
        (folder / "metrics.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    print("| baseline | micro-F1 | macro-F1 | macro-AUROC | seconds |\n| --- | --- | --- | --- | --- |")
    for name, result in results.items():
        figures = [
            result["diagnosis"]["micro_f1"],
            result["diagnosis"]["macro_f1"],
            result["probability"]["macro_auroc"],
        ]
        print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + f" | {result['seconds']} |")
    return results


def notes(records: dict, gold: np.ndarray) -> dict[str, np.ndarray]:
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    train = vectorizer.fit_transform(records["train"]["note"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label may be constant in a small split
        model = OneVsRestClassifier(LogisticRegression(C=10, class_weight=None, max_iter=1000)).fit(train, gold)
    return {s: model.predict_proba(vectorizer.transform(rows["note"])) for s, rows in records.items()}


def series(records: dict, gold: np.ndarray) -> dict[str, np.ndarray]:
    num_channels = next(len(values[0]) for values in records["train"]["lab_values"] if len(values))
    features = {
        split: np.stack([statistics(values, num_channels) for values in rows["lab_values"]])
        for split, rows in records.items()
    }
    probabilities = {split: np.zeros((len(rows), gold.shape[1])) for split, rows in records.items()}
    for i in tqdm(range(gold.shape[1]), desc="Boosting", unit="label"):
        if len(set(gold[:, i])) == 1:
            for split in records:
                probabilities[split][:, i] = gold[0, i]
            continue
        model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0).fit(
            features["train"], gold[:, i]
        )
        for split in records:
            probabilities[split][:, i] = model.predict_proba(features[split])[:, 1]
    return probabilities


def statistics(values: list[list[float]], num_channels: int) -> np.ndarray:
    """Per channel: mean, minimum, maximum, last, last minus first, count; NaN where it was not measured."""
    columns = []
    for column in np.asarray(values, dtype=float).reshape(-1, num_channels).T:
        measured = column[~np.isnan(column)]
        if len(measured):
            last = measured[-1]
            columns += [measured.mean(), measured.min(), measured.max(), last, last - measured[0], len(measured)]
        else:
            columns += [np.nan] * 5 + [0]
    return np.array(columns)


def best_threshold(gold: np.ndarray, probabilities: np.ndarray, labels: list[str]) -> float:
    """The one threshold for all labels with the best micro-F1."""
    candidates = np.arange(0.05, 0.95, 0.01)
    scores = [evaluate(gold, probabilities, c, labels)["diagnosis"]["micro_f1"] for c in candidates]
    return float(candidates[int(np.argmax(scores))])


def evaluate(gold: np.ndarray, probabilities: np.ndarray, threshold: float, labels: list[str]) -> dict:
    def sets(cells: np.ndarray) -> list[list[int]]:
        return [np.flatnonzero(row).tolist() for row in cells]

    return {
        "threshold": threshold,
        "diagnosis": diagnosis_metrics(sets(gold > 0.5), sets(probabilities >= threshold), labels),
        "probability": probability_metrics(gold, probabilities),
    }


if __name__ == "__main__":
    run_command(main)
