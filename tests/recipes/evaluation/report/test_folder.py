# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Report folders, and files of raters and judges, that were cut or changed."""

import json

import pytest

from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.raters.rating import read_judge
from recipes.evaluation.raters.sheets import read_answers, read_key
from recipes.evaluation.report.folder import read_metrics, read_predictions, write_evaluation


SECRET = "xylophonic crepitations"
ROW = {
    "stay_id": "1",
    "subject_id": "2",
    "readable": True,
    "gold": ["a"],
    "diagnoses": [{"label": "a", "probability": 0.5}],
    "note_rationale": SECRET,
    "lab_rationale": "",
}
RATING = {"stay_id": "1", "system": "m", "rater": "judge:j#1", "axis": "soundness", "score": 4}
KEY = {
    "systems": ["m"],
    "axes": ["soundness"],
    "patients": {"1": "2"},
    "sheets": {"alice": {"sheet": "abc", "items": {"00000001": ["1", "m"]}}},
}
DEEP = "[" * 100_000


def line_of(read, *given):
    with pytest.raises(ClinRaGenInputError) as error:
        read(*given)
    line = str(error.value)
    assert "\n" not in line
    assert SECRET not in line
    return line


def test_written_files_are_read_back(tmp_path):
    write_evaluation(tmp_path, {"run": {"model": "m"}}, [ROW, ROW])
    assert read_predictions(tmp_path) == [ROW, ROW]
    assert read_metrics(tmp_path) == {"run": {"model": "m"}}


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (json.dumps(ROW)[:60], "not JSON"),
        ("", "not JSON"),
        (DEEP, "not JSON"),
        ("[1]", "it is of another kind"),
        (json.dumps({k: v for k, v in ROW.items() if k != "gold"}), "gold is missing"),
        (json.dumps(ROW | {"note_rationale": [SECRET]}), "note_rationale is of another kind"),
        (json.dumps(ROW | {"gold": [None]}), r"gold\[0\] is of another kind"),
        (json.dumps(ROW | {"diagnoses": [{"name": "a"}]}), r"diagnoses\[0\].label is missing"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, second, reason):
    write_evaluation(tmp_path, {"run": {"model": "m"}}, [ROW])
    path = tmp_path / "predictions.jsonl"
    path.write_text(path.read_text() + second + "\n" + json.dumps(ROW) + "\n")
    with pytest.raises(
        ClinRaGenInputError, match=rf"predictions.jsonl, line 2 is damaged: {reason}; run evaluate_model"
    ):
        read_predictions(tmp_path)
    line_of(read_predictions, tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", DEEP.encode(), b"[]", b"{}", b'{"run": []}'])
def test_damaged_figures_are_named(tmp_path, content):
    (tmp_path / "metrics.json").write_bytes(content)
    assert "metrics.json is damaged: " in line_of(read_metrics, tmp_path)


@pytest.mark.parametrize("line", ['{"stay_id": "1"', DEEP, "{}", json.dumps(RATING | {"score": "4"}), "null"])
def test_a_damaged_line_of_a_judge_is_named(tmp_path, line):
    (tmp_path / "ratings.jsonl").write_text(json.dumps(RATING) + "\n" + line + "\n")
    assert "ratings.jsonl, line 2 is damaged: " in line_of(read_judge, tmp_path, KEY)


@pytest.mark.parametrize("content", ["", "{", DEEP, "[]", "{}", json.dumps(KEY | {"sheets": {"alice": {}}})])
def test_a_damaged_key_of_the_sheets_is_named(tmp_path, content):
    (tmp_path / "key.json").write_text(content)
    assert "key.json is damaged: " in line_of(read_key, tmp_path)


@pytest.mark.parametrize("content", ["", "{", DEEP, "[]", "null", '{"sheet": "abc"}', '{"answers": 5}'])
def test_damaged_answers_of_a_rater_are_named(tmp_path, content):
    (tmp_path / "answers.json").write_text(content)
    assert "answers.json is not a file of answers" in line_of(read_answers, [tmp_path / "answers.json"], KEY)
