# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Blind rating sheets for human raters, and the reader of their answers.

A sheet is one HTML page that works offline (`sheet.html`, filled). It names no system and no stay; only the key says
which system wrote an item.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from datasets import Dataset
from tqdm import tqdm

from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.raters.judge import SCORES, JudgePrompt, has_rationale
from recipes.evaluation.report.folder import read_value
from recipes.evaluation.report.plots import series_plot


REFERENCE = "reference"
KEY = "key.json"
SHEETS = {
    "systems": [str],
    "axes": [str],
    "patients": {str: str},
    "sheets": {str: {"sheet": str, "items": {str: [str]}}},
}
PARTS = ("note_rationale", "lab_rationale")
TEMPLATE = Path(__file__).with_name("sheet.html")
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def written_rationales(predictions: Sequence[dict]) -> dict[str, dict]:
    """Return stay_id -> sorted `diagnoses`, `note_rationale` and `lab_rationale`, where there is a rationale."""
    return {
        p["stay_id"]: {"diagnoses": sorted(d["label"] for d in p["diagnoses"]), **{part: p[part] for part in PARTS}}
        for p in predictions
        if has_rationale(p)
    }


def teacher_rationales(records: Dataset, labels: list[str]) -> dict[str, dict]:
    """Return the teacher's rationales in the form of `written_rationales`."""
    rows = records.select_columns(["stay_id", "diagnoses", *PARTS])
    return {
        row["stay_id"]: {"diagnoses": _names(row, labels), **{part: row[part] for part in PARTS}}
        for row in rows
        if any(row[part] for part in PARTS)
    }


def _names(row: dict, labels: list[str]) -> list[str]:
    return sorted(labels[i] for i in row["diagnoses"])


def sample_records(records: Dataset, systems: dict[str, dict[str, dict]], number: int, seed: int) -> Dataset:
    """
    Draw at most `number` records with a rationale of every system, by the seed and their stay_id alone.

    Raises:
        ClinRaGenInputError: if there are none.
    """
    stays = records["stay_id"]
    rows = [i for i, stay in enumerate(stays) if all(stay in written for written in systems.values())]
    if not rows:
        raise ClinRaGenInputError(
            f"no record of this split has a rationale of each of {', '.join(systems)}; evaluate them on the same split"
        )
    # drawn as for the judge, so that people and judge rate the same records for the same seed
    drawn = sorted(rows, key=lambda i: hashlib.sha256(f"{seed} {stays[i]}".encode()).digest())[:number]
    return records.select(sorted(drawn))


def write_sheets(
    folder: Path,
    records: Dataset,
    systems: dict[str, dict[str, dict]],
    metadata: dict,
    raters: Sequence[str],
    seed: int,
) -> dict:
    """
    Write `sheet-RATER.html` for each rater, and `key.json`.

    The order of the records, and of the systems at each record, differs by rater; seed and name determine it.

    Args:
        records (`Dataset`): what is rated.
        systems (`dict`): name -> stay_id -> its rationale, as `written_rationales` returns it.
        metadata (`dict`): of the dataset, with channels and labels.

    Returns:
        `dict`: the key: `systems`, `axes`, `patients` (stay_id -> subject_id), and `sheets` (rater -> `sheet`, its id,
        and `items`: item id -> stay_id and system).
    """
    channels, labels = metadata["channels"], [label["name"] for label in metadata["labels"]]
    axes = JudgePrompt(channels).axes  # the same questions as for the judge
    shown = {
        row["stay_id"]: {
            "note": row["note"],
            "plot": series_svg(channels, row["lab_times"], row["lab_values"]),
            "caption": row["lab_caption"],
            "diagnoses": _names(row, labels),
        }
        for row in tqdm(records, desc="Drawing series", unit="record")
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    key = {
        "systems": list(systems),
        "axes": list(axes),
        "patients": dict(zip(records["stay_id"], records["subject_id"], strict=True)),
        "sheets": {},
    }
    for rater in raters:
        items = shuffled_items(list(shown), list(systems), rater, seed)
        sheet = {"rater": rater, "axes": axes, "scores": SCORES, **_content(items, shown, systems)}
        name = hashlib.sha256(json.dumps(sheet).encode()).hexdigest()[:16]
        data = json.dumps({"sheet": name, **sheet}, ensure_ascii=False).replace("<", "\\u003c")
        (folder / f"sheet-{rater}.html").write_text(template.replace("SHEET_DATA", data), encoding="utf-8")
        key["sheets"][rater] = {"sheet": name, "items": items}
    (folder / KEY).write_text(json.dumps(key, indent=1), encoding="utf-8")
    return key


def shuffled_items(stays: list[str], systems: list[str], rater: str, seed: int) -> dict[str, list[str]]:
    """Return random item id -> stay and system, in the order that a rater sees; items of a stay are adjacent."""
    generator = np.random.default_rng([seed, *rater.encode()])
    pairs = [
        [stays[i], systems[j]]
        for i in generator.permutation(len(stays))
        for j in generator.permutation(len(systems))
    ]  # fmt: skip
    ids = generator.choice(16**8, len(pairs), replace=False)
    return {f"{number:08x}": pair for number, pair in zip(ids, pairs, strict=True)}


def _content(items: dict[str, list[str]], shown: dict[str, dict], systems: dict[str, dict[str, dict]]) -> dict:
    """Return the content of a page: each record once, in the order of the items, and items that point to them."""
    place = {stay: i for i, stay in enumerate(dict.fromkeys(stay for stay, _ in items.values()))}
    return {
        "records": [shown[stay] for stay in place],
        "items": [
            {"id": item, "record": place[stay], **systems[system][stay]} for item, (stay, system) in items.items()
        ],
    }


def series_svg(channels: list[dict], lab_times, lab_values) -> str:
    """Return `series_plot` as an `<svg>` element, the same for the same series; empty where nothing was measured."""
    if np.isnan(np.asarray(lab_values, dtype=float)).all():
        return ""
    figure, file = series_plot(channels, lab_times, lab_values), io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "series"}):
        figure.savefig(file, format="svg", metadata=NO_METADATA)
    plt.close(figure)
    return file.getvalue()[file.getvalue().index("<svg") :]


def read_key(folder: Path) -> dict:
    path = Path(folder) / KEY
    if not path.is_file():
        raise ClinRaGenInputError(f"{folder} is not a folder of rating sheets: {KEY} missing; run the command sheets")
    return read_value(path, SHEETS, "it cannot be made again: restore a copy of it")


def read_answers(paths: Sequence[Path], key: dict) -> tuple[list[dict], list[dict]]:
    """
    Read the answers of raters, one file each.

    Returns:
        Rows with `stay_id`, `system`, `rater`, `axis` and `score`, and rows with `stay_id`, `system`, `rater` and
        `comment`.

    Raises:
        ClinRaGenInputError: if a file holds no answers, or answers to another sheet, of a rater read before,
            to an unknown item, or an invalid score.
    """
    ratings, comments, file_of = [], [], {}
    for path in paths:
        rater, answers = _read_file(path, key["sheets"])
        if rater in file_of:
            raise ClinRaGenInputError(f"{path}: the answers of {rater} are in {file_of[rater]} already; give one file")
        file_of[rater] = path
        items = key["sheets"][rater]["items"]
        for item, answer in answers.items():
            if item not in items:
                raise ClinRaGenInputError(f"{path}: item {item!r} is not in the sheet of {rater}")
            scores = _checked(answer, key["axes"], f"{path}: item {item!r}")
            stay, system = items[item]
            row = {"stay_id": stay, "system": system, "rater": rater}
            ratings += [{**row, "axis": axis, "score": score} for axis, score in scores.items()]
            comments += [{**row, "comment": answer["comment"]}] if answer.get("comment") else []
    return ratings, comments


def _read_file(path: Path, sheets: dict[str, dict]) -> tuple[str, dict]:
    """Return the rater of a file of answers, one of the raters of the sheets, and the answers by item."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        sheet, rater, answers = found["sheet"], str(found["rater"]), dict(found["answers"])
    except OSError as error:
        raise ClinRaGenInputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ClinRaGenInputError(f"{path} is not a file of answers; give one that a sheet saved") from None
    if rater not in sheets or sheets[rater]["sheet"] != sheet:
        raise ClinRaGenInputError(f"{path}: sheet {sheet!r} of {rater!r} is none of these, of {', '.join(sheets)}")
    return rater, answers


def _checked(answer: dict, axes: list[str], where: str) -> dict[str, int]:
    """Return the scores of one item, by axis; the remaining field is the comment."""
    if not isinstance(answer, dict):
        raise ClinRaGenInputError(f"{where}: expected scores by axis, found {answer!r}")
    scores = {field: value for field, value in answer.items() if field != "comment"}
    for axis, score in scores.items():
        if axis not in axes:
            raise ClinRaGenInputError(f"{where}: {axis!r} is not an axis; the axes are {', '.join(axes)}")
        if type(score) is not int or score not in SCORES:
            raise ClinRaGenInputError(f"{where}: {axis} is {score!r}; give {SCORES[0]} to {SCORES[-1]}")
    return scores
