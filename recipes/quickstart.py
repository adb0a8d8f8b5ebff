# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The whole way on simulated patients, offline: dataset, knowledge, rationales, three stages, evaluation, an example.

    python recipes/quickstart.py --output runs/quickstart

Started again, it resumes where it stopped.
"""

import json
import logging
import time
from collections import Counter
from pathlib import Path

from datasets_scripts import build_dataset, build_knowledge, generate_rationales
from datasets_scripts.common.command import CommandParser, run_command
from datasets_scripts.common.outputs import held
from recipes import evaluate_model, stage1_note, stage2_lab, stage3_multimodal
from recipes.configs import FOLDER


logger = logging.getLogger(__name__)

CONFIGS = FOLDER / "quickstart"
PATIENTS = 4000


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(
        description="Simulate patients, train the three stages, evaluate them and show a worked example."
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/quickstart"), help="folder to write; default: runs/quickstart"
    )
    arguments = parser.parse_args(argv)
    started = time.perf_counter()
    from recipes.training.devices import see_one_gpu

    see_one_gpu()
    with held(arguments.output):
        prepare_data(arguments.output, PATIENTS, seed=0)
        train(arguments.output, seed=0)
        results = evaluate(arguments.output)
        show_example(arguments.output)
    show_results(arguments.output, results, time.perf_counter() - started)


def prepare_data(output: Path, patients: int, seed: int) -> None:
    knowledge, records, dataset = output / "knowledge.json", output / "records", output / "dataset"
    if not knowledge.exists():
        build_knowledge.main(["--corpus", "builtin", "--output", str(knowledge)])
    if not records.exists():
        build_dataset.main(
            ["--source", "synthetic", "--root", str(output / "raw"), "--output", str(records)]
            + ["--limit", str(patients), "--seed", str(seed)]
        )
    if not dataset.exists():
        generate_rationales.main(
            ["--dataset", str(records), "--knowledge", str(knowledge), "--teacher", "template"]
            + ["--output", str(dataset), "--seed", str(seed)]
        )


def train(output: Path, seed: int) -> None:
    before = None
    for stage, script in (("stage1", stage1_note), ("stage2", stage2_lab), ("stage3", stage3_multimodal)):
        if not (output / stage).exists():
            logger.info("%s", script.__doc__.strip().splitlines()[0])
            arguments = ["--config", str(CONFIGS / f"{stage}.yaml"), "--dataset", str(output / "dataset")]
            arguments += ["--output_dir", str(output / stage), "--seed", str(seed)]
            arguments += ["--knowledge", str(output / "knowledge.json")] if before is None else []
            arguments += ["--model_name_or_path", str(before)] if before is not None else []
            script.main(arguments)
        before = output / stage


def evaluate(output: Path) -> dict[str, dict]:
    """Return the metrics of each stage on the test split; the reports of stages 1 and 2 lie in that of stage 3."""
    from recipes.evaluation.report.folder import read_metrics
    from recipes.models.card import add_report_to_card

    folders = {"stage3": output / "report", "stage1": output / "report/stage1", "stage2": output / "report/stage2"}
    for stage, folder in folders.items():
        if not (folder / "metrics.json").exists():
            evaluate_model.main(
                ["--model", str(output / stage), "--dataset", str(output / "dataset")]
                + ["--split", "test", "--output", str(folder), "--batch-size", "32"]
            )
    for stage, folder in folders.items():
        add_report_to_card(output / stage, folder)
    return {stage: read_metrics(folders[stage]) for stage in sorted(folders)}


def show_example(output: Path) -> None:
    """Print the answer to one test patient with something in the note and in the series."""
    from modeling_clinragen import ClinRaGenPipeline
    from recipes.evaluation.report.plots import plot_series, plot_training
    from recipes.models.folder import load_model_folder
    from recipes.training.data import load_records

    model, processor = load_model_folder(output / "stage3")
    records = load_records(str(output / "dataset"), "test")
    record = next(row for row in records if len(row["diagnoses"]) >= 2 and row["lab_times"] and row["note"])
    channels = processor.feature_extractor.channels
    plot_series(
        output / "patient.png", channels, record["lab_times"], record["lab_values"], f"Stay {record['stay_id']}"
    )
    histories = {
        s: json.loads((output / s / "training.json").read_text())["log"] for s in ("stage1", "stage2", "stage3")
    }
    plot_training(output / "training.png", histories)
    answer = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer)(
        {name: record[name] for name in ("note", "lab_times", "lab_values")}, do_sample=False
    )
    print(f"\nStay {record['stay_id']} of the test split (series: {output / 'patient.png'})\n")
    print(f"{record['note']}\n\nSeries: {record['lab_caption']}\n")
    print("Recorded: " + ("; ".join(processor.labels[i] for i in record["diagnoses"])))
    print("Written:  " + "; ".join(f"{d['label']} ({d['probability']:.2f})" for d in answer["diagnoses"]))
    print(f"\nFrom the note: {answer['note_rationale']}\nFrom the series: {answer['lab_rationale']}")
    origins = Counter(sentence["origin"] for sentence in answer["sentences"])
    print("Sentences: " + ", ".join(f"{number} {origin}" for origin, number in origins.items()) + "\n")
    for claim in answer["claims"]:
        if claim["channel"]:
            print(f"  {claim['verdict']}: {claim['text']} [{claim['quote']}]")
    terms = [f"{k['term']} ({k['label']} {k['weight']:.2f})" for k in answer["knowledge"]]
    print("\nKnowledge that the record shows: " + ("; ".join(terms) or "none"))


def show_results(output: Path, results: dict[str, dict], seconds: float) -> None:
    reads = {"stage1": "notes", "stage2": "series", "stage3": "notes and series"}
    print("\n| model | reads | micro-F1 | macro-F1 | claims supported |\n| --- | --- | --- | --- | --- |")
    for stage, metrics in results.items():
        diagnosis, supported = metrics["diagnosis"], metrics["claims"]["supported"]
        shown = "-" if supported is None else f"{supported:.3f}"
        print(f"| {stage} | {reads[stage]} | {diagnosis['micro_f1']:.3f} | {diagnosis['macro_f1']:.3f} | {shown} |")
    records = results["stage3"]["records"]
    print(f"\n{records} test patients, {seconds / 60:.1f} minutes. Report: {output / 'report' / 'report.html'}")


if __name__ == "__main__":
    run_command(main)
