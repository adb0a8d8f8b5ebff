# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Let a large language model judge the rationales of a report; write its answers and how far they agree."""

import argparse
import json
from contextlib import closing
from datetime import date
from pathlib import Path

from datasets import Dataset

from datasets_scripts.common.outputs import check_free, finished_folder
from datasets_scripts.dataset.folder import label_names, load_split, read_metadata
from datasets_scripts.dataset.terms import is_open
from datasets_scripts.llm.options import check_model_options, open_model, parse_model
from datasets_scripts.llm.request_log import RequestLog
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.evaluation.raters.control import conclusions, control_figures, most_common_score, with_other_rationales
from recipes.evaluation.raters.judge import (
    ORDERS,
    Judge,
    JudgePrompt,
    answer_rows,
    has_rationale,
    preference_figures,
    rating_figures,
    rating_rows,
    sample_cases,
)
from recipes.evaluation.report.folder import read_metrics, read_predictions
from recipes.evaluation.report.text import decimals, markdown_table


def judge_rationales(arguments: argparse.Namespace) -> dict:
    """Write the output folder of `judge_rationales.py` for its arguments, and return the figures."""
    check_free(arguments.output, arguments.dataset)
    kind, model_name = parse_model(arguments.judge, "--judge", (), arguments.gguf_file)
    metadata = read_metadata(arguments.dataset)
    confined = not is_open(arguments.dataset, metadata)
    check_model_options(arguments, kind, confined)
    cases = sample_cases(read_predictions(arguments.report), arguments.sample, arguments.seed)
    if not cases:
        raise ClinRaGenInputError(f"{arguments.report}: no record has a rationale, so there is nothing to judge")
    system, rows = read_metrics(arguments.report)["run"]["model"], rows_of(cases, arguments)
    others = None if arguments.second is None else others_of(cases, arguments.second)
    prompt = JudgePrompt(metadata["channels"], arguments.max_note)
    requests = arguments.requests or arguments.output.with_name(arguments.output.name + ".requests.sqlite")
    with closing(RequestLog(requests)) as log, finished_folder(arguments.output) as folder:
        judge = Judge(open_model(arguments, kind, model_name, log, confined), model_name, prompt)
        figures = {
            "settings": settings_of(arguments, kind, prompt.version),
            "system": system,
            "records": len(cases),
            "notes_cut": sum(len(note) > arguments.max_note for note in rows["note"]),
            "ratings": rate(judge, cases, rows, system, arguments, folder),
        }
        if others is not None:
            figures["preference"] = compare(judge, cases, others, rows, arguments, folder)
        figures |= log.report()
        (folder / "judge.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    show(figures)
    return figures


def rows_of(cases: list[dict], arguments: argparse.Namespace) -> Dataset:
    """Return the dataset row of each case, in order; a dataset other than the evaluated one is refused."""
    records = load_split(arguments.dataset, arguments.split)
    labels = label_names(read_metadata(arguments.dataset))
    columns = records.select_columns(["stay_id", "subject_id", "diagnoses"])
    known = {
        (row["stay_id"], row["subject_id"], *(labels[i] for i in row["diagnoses"])): place
        for place, row in enumerate(columns)
    }
    places = [known.get((case["stay_id"], case["subject_id"], *case["gold"])) for case in cases]
    if None in places:
        raise ClinRaGenInputError(
            f"{arguments.dataset}: split {arguments.split!r} has no stay {cases[places.index(None)]['stay_id']} with "
            f"the diagnoses that {arguments.report} holds; give the --dataset and --split that were evaluated"
        )
    return records.select(places)


def others_of(cases: list[dict], report: Path) -> list[dict | None]:
    """Return the prediction of another report for each case, `None` where it has no rationale."""
    predictions = {prediction["stay_id"]: prediction for prediction in read_predictions(report)}
    others = [predictions.get(case["stay_id"]) for case in cases]
    for case, other in zip(cases, others, strict=True):
        if other and any(other[name] != case[name] for name in ("subject_id", "gold")):
            raise ClinRaGenInputError(f"--second {report}: stay {case['stay_id']} is of another patient or dataset")
    others = [other if other and has_rationale(other) else None for other in others]
    if not any(others):
        raise ClinRaGenInputError(f"--second {report} has no rationale for any record that was drawn")
    return others


def settings_of(arguments: argparse.Namespace, kind: str, prompt: str) -> dict:
    names = (
        "report",
        "second",
        "dataset",
        "split",
        "judge",
        "sample",
        "seed",
        "repeats",
        "controls",
        "temperature",
        "max_note",
    )
    settings = {name: getattr(arguments, name) for name in names}
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    settings["prompt"] = prompt
    if kind == "openai":
        settings["endpoint"] = arguments.base_url
    if arguments.permission:
        settings["permission_to_send"] = f"{arguments.permission} (given {date.today().isoformat()})"
    return settings


def rate(
    judge: Judge, cases: list[dict], rows: Dataset, system: str, arguments: argparse.Namespace, folder: Path
) -> dict:
    """
    Rate the cases, some also with another patient's rationale, write the answers, and return the figures.

    A judge without any usable rating is an error.
    """
    answers = judge.rate(cases, rows, arguments.repeats, arguments.seed)
    write_lines(folder / "ratings.jsonl", rating_rows(answers, cases, system, judge.name))
    write_lines(folder / "answers.jsonl", answer_rows("rating", answers, cases))
    figures = rating_figures(answers, [case["subject_id"] for case in cases])
    if figures["records_without_a_score"] == len(cases):
        reasons = ", ".join(f"{count} {reason}" for reason, count in figures["missing"].items())
        raise ClinRaGenInputError(
            f"{judge.name} rated nothing ({reasons}); is it running and able to answer in JSON? See --base-url and "
            "--response-format"
        )
    swapped = with_other_rationales(cases, arguments.controls, arguments.seed)
    places = [place for place, _ in swapped]
    others = [case for _, case in swapped]
    controls = judge.rate(others, rows.select(places), 1, arguments.seed)[0] if swapped else []
    write_lines(folder / "answers.jsonl", answer_rows("control", [controls], others))
    figures["most_common_score"] = most_common_score(answers)
    figures["control"] = control_figures(answers, controls, places, cases)
    figures["told"] = conclusions(figures)
    return figures


def compare(
    judge: Judge,
    cases: list[dict],
    others: list[dict | None],
    rows: Dataset,
    arguments: argparse.Namespace,
    folder: Path,
) -> dict:
    """Compare the cases with those of the second report, write the answers, and return the figures."""
    both = [i for i, other in enumerate(others) if other is not None]
    cases = [cases[i] for i in both]
    answers = judge.compare(cases, [others[i] for i in both], rows.select(both), arguments.seed)
    write_lines(folder / "answers.jsonl", answer_rows("preference", answers, cases))
    return {
        "system": read_metrics(arguments.second)["run"]["model"],
        "records_without_its_rationale": len(others) - len(both),
        **preference_figures(answers, [case["subject_id"] for case in cases]),
    }


def write_lines(path: Path, rows: list[dict]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def show(figures: dict) -> None:
    rows = []
    for axis, f in figures["ratings"]["axes"].items():
        interval = "{:.2f} to {:.2f}".format(*f["interval"]) if f["interval"] else "-"
        shown = (f[name] for name in ("exact_agreement", "mean_absolute_difference", "krippendorff_alpha"))
        rows.append([axis, decimals(f["mean"]), interval, *map(decimals, (*shown, *f["mean_by_order"].values()))])
    header = ["axis", "mean", "95% interval", "repeats agree", "difference", "alpha", *ORDERS]
    print(markdown_table(header, rows), *figures["ratings"]["told"], sep="\n\n")
    if "preference" in figures:
        f = figures["preference"]
        shares = ", ".join(f"{name} {decimals(f[name])}" for name in ("win", "tie", "loss"))
        print(
            f"\nAgainst {f['system']}: {shares}; the same in both positions {decimals(f['position_consistency'])}, "
            f"for position A {decimals(f['prefers_position_a'])}"
        )
