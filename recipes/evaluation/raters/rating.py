# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Rating sheets for the rationales of reports, and the agreement of the raters who filled them in."""

import argparse
import json
import logging
import re
from pathlib import Path

from datasets import Dataset

from datasets_scripts.common.outputs import check_free, finished_folder
from datasets_scripts.dataset.folder import label_names, read_metadata
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.evaluation.raters.agreement import rating_figures
from recipes.evaluation.raters.judge import SCORES
from recipes.evaluation.raters.sheets import (
    KEY,
    REFERENCE,
    read_answers,
    read_key,
    sample_records,
    teacher_rationales,
    write_sheets,
    written_rationales,
)
from recipes.evaluation.report.folder import read_lines, read_metrics, read_predictions
from recipes.evaluation.report.text import decimals, markdown_table
from recipes.training.data import load_records


logger = logging.getLogger(__name__)

JUDGE_FIGURES = ("alpha", "kappa", "spearman")
RATING = {"stay_id": str, "system": str, "rater": str, "axis": str, "score": int}

NOTICE = (
    "The sheets hold patient records: give them only to raters whom the data-use agreement of the records covers. "
    f"{KEY} names the author of each: keep it from the raters. Research software; not a medical device."
)


def make_sheets(arguments: argparse.Namespace) -> dict:
    raters = checked_raters(arguments.raters)
    for name, least in (("sample", 1), ("seed", 0)):
        if getattr(arguments, name) < least:
            raise ClinRaGenInputError(f"--{name} is {getattr(arguments, name)}; give at least {least}")
    check_free(arguments.output, arguments.dataset)
    metadata, records = read_metadata(arguments.dataset), load_records(arguments.dataset, arguments.split)
    labels = label_names(metadata)
    systems = read_reports(arguments.report, records, labels)
    if arguments.reference:
        systems[REFERENCE] = teacher_rationales(records, labels)
    if not systems:
        raise ClinRaGenInputError("there is nothing to rate; give --report, --reference or both")
    sample = sample_records(records, systems, arguments.sample, arguments.seed)
    if len(sample) < arguments.sample:
        logger.info("only %d records have a rationale of each system; all are taken", len(sample))
    with finished_folder(arguments.output) as aside:
        key = write_sheets(aside, sample, systems, metadata, raters, arguments.seed)
    logger.info("%s: %d items for each of %s", arguments.output, len(sample) * len(systems), ", ".join(raters))
    logger.warning(NOTICE)
    return key


def checked_raters(names: str) -> list[str]:
    raters = [name.strip() for name in names.split(",")]
    for name in raters:
        if not re.fullmatch(r"[\w-]+", name):
            raise ClinRaGenInputError(f"--raters: {name!r} is not a valid name; use letters, digits, - and _")
    if len(set(raters)) < len(raters):
        raise ClinRaGenInputError(f"--raters: {names} names a rater twice")
    return raters


def read_reports(folders: list[Path], records: Dataset, labels: list[str]) -> dict[str, dict]:
    """Read the answers of each report's model, by the model's name; a report of another dataset is refused."""
    recorded = {
        row["stay_id"]: (row["subject_id"], [labels[i] for i in row["diagnoses"]])
        for row in records.select_columns(["stay_id", "subject_id", "diagnoses"])
    }
    systems = {}
    for folder in folders:
        predictions, system = read_predictions(folder), read_metrics(folder)["run"]["model"]
        if any(recorded.get(p["stay_id"]) != (p["subject_id"], p["gold"]) for p in predictions):
            raise ClinRaGenInputError(
                f"--report: {folder} is not about these records; give the --dataset and --split that it evaluated"
            )
        if system in (*systems, REFERENCE):
            raise ClinRaGenInputError(
                f"--report: {folder} is of the model {system!r}, and so is another; give one of them"
            )
        systems[system] = written_rationales(predictions)
    return systems


def measure_agreement(arguments: argparse.Namespace) -> dict:
    check_free(arguments.output)
    key = read_key(arguments.sheets)
    ratings, comments = read_answers(arguments.answers, key)
    if not ratings:
        raise ClinRaGenInputError(f"--answers: no item is rated in {', '.join(map(str, arguments.answers))}")
    judged = [row for folder in arguments.judge for row in read_judge(folder, key)]
    raters = sorted({row["rater"] for row in ratings})
    per_rater = len(key["patients"]) * len(key["systems"]) * len(key["axes"])
    answered = {rater: sum(row["rater"] == rater for row in ratings) for rater in raters}
    figures = {
        "systems": key["systems"],
        "raters": raters,
        "records": len(key["patients"]),
        "unanswered": {rater: per_rater - number for rater, number in answered.items()},
        "axes": rating_figures(ratings, judged, key["patients"], key["systems"], key["axes"], SCORES[-1]),
    }
    with finished_folder(arguments.output) as aside:
        for name, rows in (("ratings", ratings), ("comments", comments)):
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (aside / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        (aside / "agreement.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        (aside / "agreement.md").write_text(as_markdown(figures), encoding="utf-8")
    print(as_markdown(figures))
    return figures


def read_judge(folder: Path, key: dict) -> list[dict]:
    """
    Return a judge's scores of the items in the sheets.

    Raises:
        ClinRaGenInputError: if there are none.
    """
    path = folder / "ratings.jsonl"
    if not path.is_file():
        raise ClinRaGenInputError(f"--judge: {folder} holds no ratings.jsonl; give one of judge_rationales.py")
    rows = read_lines(path, RATING, "run judge_rationales.py again")
    common = [row for row in rows if row["stay_id"] in key["patients"] and row["system"] in key["systems"]]
    if not common:
        there = ", ".join(sorted({row["system"] for row in rows})) or "nothing"
        raise ClinRaGenInputError(
            f"--judge: {path} rates {there}, and none of the sheets' records of {', '.join(key['systems'])}"
        )
    return common


def as_markdown(figures: dict) -> str:
    axes, systems = figures["axes"], figures["systems"]
    means = [[name, *(_with_interval(axis["systems"][system]) for system in systems)] for name, axis in axes.items()]
    pairs = [" and ".join(pair["raters"]) for pair in next(iter(axes.values()))["kappa"]]
    agreed = [
        [name, *map(decimals, (axis["alpha"], axis["icc_2_1"], axis["icc_2_k"], *(p["kappa"] for p in axis["kappa"])))]
        for name, axis in axes.items()
    ]
    judged = [
        [name, str(axis["judge"]["items"]), *(decimals(axis["judge"][figure]) for figure in JUDGE_FIGURES)]
        for name, axis in axes.items()
        if "judge" in axis
    ]
    text = f"Raters: {', '.join(figures['raters'])}; {figures['records']} records. Unanswered questions: "
    text += ", ".join(f"{rater} {number}" for rater, number in figures["unanswered"].items())
    text += "\n\nMean score, 1 to 5 (95% interval over patients)\n\n" + markdown_table(["axis", *systems], means)
    header = ["axis", "alpha", "ICC(2,1)", "ICC(2,k)", *(f"kappa {pair}" for pair in pairs)]
    text += "\n\nAgreement of the raters\n\n" + markdown_table(header, agreed)
    if judged:
        header = ["axis", "items", *JUDGE_FIGURES]
        text += "\n\nThe raters' mean score and the judge's\n\n" + markdown_table(header, judged)
    return text + "\n"


def _with_interval(score: dict) -> str:
    return decimals(score["mean"]) + (" ({:.2f} to {:.2f})".format(*score["interval"]) if score["interval"] else "")
