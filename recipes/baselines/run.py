# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a baseline, predict a split, and write the same report folder as of a model."""

import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from datasets import Dataset

from datasets_scripts.common.outputs import check_free, finished_folder
from datasets_scripts.dataset.folder import label_names, language_in, read_metadata
from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenInputError
from modeling_clinragen.language_clinragen import language_of
from recipes.baselines.common import Fitted, Task
from recipes.baselines.settings import RunArguments
from recipes.evaluation.figures.compute import compute_metrics
from recipes.evaluation.prediction import INPUTS, prediction_of
from recipes.evaluation.report.folder import write_evaluation
from recipes.evaluation.report.text import decimals, markdown_table
from recipes.training.data import channels_with_statistics, load_records
from recipes.training.devices import see_one_gpu


CONTEXT_LENGTH = 48  # hours of the series that are read, as by a ClinRaGen model


def evaluate_baseline(run: RunArguments, settings) -> dict:
    """Return the metrics of a baseline, which learns from `train` and chooses on `validation`."""
    check_free(run.output, run.dataset)
    see_one_gpu()
    baseline = import_module(f"recipes.baselines.{run.baseline}")
    records = load_records(run.dataset, run.split)
    metadata = read_metadata(run.dataset)
    depends_on = {**asdict(run), **asdict(settings), "content_hash": metadata["content_hash"]}
    with finished_folder(Path(run.output), resume=depends_on) as aside:
        task = read_task(run, baseline.READS, aside / "work")
        started = time.perf_counter()
        fitted = baseline.fit(task, settings)
        trained = time.perf_counter()
        predictions = predict(fitted, records, baseline.READS, task)
        synonyms = {label["name"]: label["synonyms"] for label in metadata["labels"]}
        metrics = compute_metrics(
            predictions,
            task.labels,
            records,
            synonyms,
            channels=task.extractor.channels,
            language=language_of(task.language),
        )
        metrics["run"] = {
            **asdict(run),
            "settings": asdict(settings),
            "num_parameters": fitted.num_parameters,
            **fitted.details,
            "seconds": round(trained - started, 1),
            "prediction_seconds": round(time.perf_counter() - trained, 1),
        }
        write_evaluation(aside, metrics, predictions)
    show(run.baseline, metrics)
    return metrics


def read_task(run: RunArguments, reads: tuple[str, ...], work: Path) -> Task:
    """Return the training and validation records that hold an input of the baseline."""
    train = load_records(run.dataset, "train")
    extractor = ClinRaGenFeatureExtractor(channels_with_statistics(run.dataset, train), CONTEXT_LENGTH)
    splits = {"train": train, "validation": load_records(run.dataset, "validation")}
    for split, records in splits.items():
        splits[split] = records.select(readable(records, reads, extractor))
        if not len(splits[split]):
            raise ClinRaGenInputError(f"{run.dataset}: no record of split {split!r} holds a {' or '.join(reads)}")
    metadata = read_metadata(run.dataset)
    description = {"labels": label_names(metadata), "language": language_in(metadata)}
    return Task(**splits, **description, extractor=extractor, seed=run.seed, work=work)


def readable(records: Dataset, reads: tuple[str, ...], extractor: ClinRaGenFeatureExtractor) -> list[int]:
    """Return the positions of the records that hold a note or a measurement, whichever the baseline reads."""
    found = []
    for i, row in enumerate(records.select_columns(list(INPUTS))):
        series = extractor.validate(row["lab_values"], row["lab_times"], where=f"row {i}")
        if ("note" in reads and row["note"].strip()) or ("lab" in reads and extractor.has_measurement(*series)):
            found.append(i)
    return found


def predict(fitted: Fitted, records: Dataset, reads: tuple[str, ...], task: Task) -> list[dict]:
    """Return one prediction per record, in order; the baseline sees inputs only, neither diagnoses nor rationales."""
    positions = readable(records, reads, task.extractor)
    inputs = records.select(positions).select_columns(list(INPUTS))
    answers = dict(zip(positions, fitted.answer(inputs) if positions else [], strict=True))
    return [prediction_of(row, task.labels, answers.get(i)) for i, row in enumerate(records)]


def show(baseline: str, metrics: dict) -> None:
    figures = {
        "micro-F1": metrics["diagnosis"]["micro_f1"],
        "macro-F1": metrics["diagnosis"]["macro_f1"],
        "macro-AUROC": metrics.get("probability", {}).get("macro_auroc"),
        "claims supported": metrics["claims"]["supported"],
    }
    row = [baseline, *(decimals(figure, 3) for figure in figures.values()), str(metrics["run"]["seconds"])]
    print(markdown_table(["baseline", *figures, "seconds"], [row]))
