# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Train a baseline on a dataset folder, and leave a report folder as `evaluate_model.py` does, for the same comparisons.

    python recipes/evaluate_baseline.py --baseline tfidf --dataset data/eicu --split test --output runs/eicu/tfidf

It learns from `train`, chooses thresholds and epochs on `validation`, and sees the other split's diagnoses when all is
predicted. Settings come from `recipes/configs/baselines/BASELINE.yaml`, or `--config FILE.yaml`, and the command line.
"""

import argparse
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

from datasets import Dataset
from yaml import YAMLError

from datasets_scripts.common.command import finished_folder, run_command
from datasets_scripts.dataset.folder import label_names, read_metadata
from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenInputError
from recipes.baselines.common import Fitted, NoSettings, Task
from recipes.evaluation.figures.compute import compute_metrics
from recipes.evaluation.prediction import INPUTS, prediction_of
from recipes.evaluation.report.folder import write_evaluation
from recipes.training.arguments import StageParser
from recipes.training.data import channels_with_statistics, load_records


BASELINES = ("tfidf", "boosting", "fusion", "encoder", "decoder")
CONFIGS = Path(__file__).parent / "configs" / "baselines"


@dataclass
class RunArguments:
    """What is run, on which records."""

    baseline: str = field(metadata={"help": "Which baseline.", "choices": BASELINES})
    dataset: str = field(metadata={"help": "Dataset folder; the decoder needs one with rationales."})
    output: str = field(metadata={"help": "Report folder to write."})
    split: str = field(default="test", metadata={"help": "Split to predict."})
    seed: int = field(default=0, metadata={"help": "Of all that is drawn."})
    context_length: int = field(
        default=48, metadata={"help": "Hours of the series that are read, as of the ClinRaGen model beside it."}
    )


def main(argv: list[str] | None = None) -> dict:
    run, baseline, settings = parse_arguments(argv)
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
        metrics = compute_metrics(predictions, task.labels, records, synonyms, channels=task.extractor.channels)
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


def parse_arguments(argv: list[str] | None) -> tuple[RunArguments, ModuleType, object]:
    """
    The run's arguments, the baseline's module, and its settings.

    Raises:
        ClinRaGenInputError: for an unknown or ill-valued field, or a file that cannot be read.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--baseline")
    name = first.parse_known_args(argv)[0].baseline
    baseline = import_module(f"recipes.baselines.{name}") if name in BASELINES else None
    if (CONFIGS / f"{name}.yaml").is_file() and "--config" not in argv:
        argv = ["--config", str(CONFIGS / f"{name}.yaml"), *argv]
    parser = StageParser((RunArguments, baseline.Settings if baseline else NoSettings))
    try:
        run, settings = parser.parse_args_and_config(argv)
    except (ValueError, OSError, TypeError, YAMLError) as error:
        raise ClinRaGenInputError(f"arguments: {error}") from None
    if baseline is None:
        raise ClinRaGenInputError("arguments: --baseline is needed on the command line")
    return run, baseline, settings


def read_task(run: RunArguments, reads: tuple[str, ...], work: Path) -> Task:
    """The records to learn from that hold something of what the baseline reads."""
    train = load_records(run.dataset, "train")
    extractor = ClinRaGenFeatureExtractor(channels_with_statistics(run.dataset, train), run.context_length)
    splits = {"train": train, "validation": load_records(run.dataset, "validation")}
    for split, records in splits.items():
        splits[split] = records.select(readable(records, reads, extractor))
        if not len(splits[split]):
            raise ClinRaGenInputError(f"{run.dataset}: no record of split {split!r} holds a {' or '.join(reads)}")
    return Task(
        **splits, labels=label_names(read_metadata(run.dataset)), extractor=extractor, seed=run.seed, work=work
    )


def readable(records: Dataset, reads: tuple[str, ...], extractor: ClinRaGenFeatureExtractor) -> list[int]:
    """Positions of the records that hold a note or a measurement, whichever is read."""
    found = []
    for i, row in enumerate(records.select_columns(list(INPUTS))):
        series = extractor.validate(row["lab_values"], row["lab_times"], where=f"row {i}")
        if ("note" in reads and row["note"].strip()) or ("lab" in reads and extractor.has_measurement(*series)):
            found.append(i)
    return found


def predict(fitted: Fitted, records: Dataset, reads: tuple[str, ...], task: Task) -> list[dict]:
    """One prediction per record, in order; what is asked holds inputs alone, neither diagnoses nor rationales."""
    positions = readable(records, reads, task.extractor)
    asked = records.select(positions).select_columns(list(INPUTS))
    answers = dict(zip(positions, fitted.answer(asked) if positions else [], strict=True))
    return [prediction_of(row, task.labels, answers.get(i)) for i, row in enumerate(records)]


def show(baseline: str, metrics: dict) -> None:
    figures = {
        "micro-F1": metrics["diagnosis"]["micro_f1"],
        "macro-F1": metrics["diagnosis"]["macro_f1"],
        "macro-AUROC": metrics.get("probability", {}).get("macro_auroc"),
        "claims supported": metrics["claims"]["supported"],
    }
    shown = ["-" if figure is None else f"{figure:.3f}" for figure in figures.values()]
    print(f"| baseline | {' | '.join(figures)} | seconds |\n" + "| --- " * (len(figures) + 2) + "|")
    print(f"| {baseline} | {' | '.join(shown)} | {metrics['run']['seconds']} |")


if __name__ == "__main__":
    run_command(main)
