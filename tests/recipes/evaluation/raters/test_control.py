# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The controls of a judge: own and other patients' rationales, and the detection of useless judges."""

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from datasets_scripts import build_dataset
from datasets_scripts.llm.chat import Answer
from recipes.evaluation.raters.control import conclusions, control_figures, most_common_score, with_other_rationales
from recipes.evaluation.raters.judge import AXES, axis_figures
from tests.datasets_scripts.llm.chat_server import ChatServer
from tests.recipes.evaluation.raters.test_judge import asked, lines, rating, run, write_report


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset and its report, in which the checkers contradict every third rationale."""
    folder = tmp_path_factory.mktemp("control")
    splits = "train=0.1,validation=0.1,test=0.8"
    build_dataset.main(
        ["--source", "synthetic", "--output", str(folder / "dataset"), "--limit", "40", "--splits", splits]
    )
    write_report(folder / "report", folder / "dataset", lambda i: i % 5, changed=with_claims)
    return folder


def with_claims(i, prediction):
    return prediction | {"claims": [{"verdict": "contradicted" if i % 3 == 0 else "supported"}], "note_claims": []}


def is_own(body):
    recorded = re.search(r"Recorded diagnoses: (.*)", asked(body))[1]
    return recorded == re.search(r"written for these diagnoses: (.*)", asked(body))[1]


def figures_of(folder, output, judge, *options):
    with ChatServer(judge) as server:
        return run(folder, output, "--base-url", server.url, "--controls", 200, *options)["ratings"]


def test_a_judge_that_recognizes_another_patients_rationale_is_reported_as_such(folder, tmp_path, capsys):
    found = figures_of(folder, tmp_path / "out", lambda body: rating([5 if is_own(body) else 2] * len(AXES)))
    control = found["control"]
    assert (control["mean"], control["control_mean"], control["auroc"]) == (5, 2, 1)
    assert control["interval"] == [1, 1]
    printed = capsys.readouterr().out
    assert "another patient's 2.00 on average: AUROC 1.00" in " ".join(printed.split()) or "AUROC 1" in printed
    assert "cannot distinguish" not in printed
    assert control["records"] == len(
        [row for row in lines(tmp_path / "out" / "answers.jsonl") if row["question"] == "control"]
    )


def test_a_judge_with_a_constant_score_is_reported_in_plain_words(folder, tmp_path, capsys):
    found = figures_of(folder, tmp_path / "out", lambda body: rating([4] * len(AXES)))
    assert found["most_common_score"] == {"score": 4, "share": 1.0, "scores": {"4": found["asked"] * len(AXES)}}
    assert found["control"]["auroc"] == 0.5
    printed = capsys.readouterr().out
    assert "Warning: The judge gives 4 to 100% of all axes." in printed
    assert "cannot distinguish a record's own rationale from another patient's" in printed
    assert found["told"] == json.loads((tmp_path / "out" / "judge.json").read_text())["ratings"]["told"]


def test_a_judge_that_follows_the_checkers_agrees_with_them(folder, tmp_path):
    def follows(body):
        wrong = re.search(r"Quality (\d)", asked(body))
        return rating([int(wrong[1]) + 1] * len(AXES))

    found = figures_of(folder, tmp_path / "out", follows)
    cases = lines(folder / "report" / "predictions.jsonl")
    scores = [i % 5 + 1 for i in range(len(cases))]
    right = [case["claims"][0]["verdict"] == "supported" for case in cases]
    assert found["control"]["checkers"]["auroc"] == pytest.approx(roc_auc_score(right, scores))
    assert found["control"]["checkers"]["contradicted"] == right.count(False)


patients = st.lists(st.tuples(st.integers(0, 5), st.sets(st.sampled_from("abc"), max_size=2)), min_size=1, max_size=12)


@given(patients, st.integers(0, 20), st.integers(0, 99))
def test_a_control_is_of_another_patient_and_of_other_diagnoses_if_there_is_one(people, number, seed):
    cases = [
        {"subject_id": str(who), "stay_id": i, "gold": sorted(gold), "note_rationale": f"of {i}", "lab_rationale": "",
         "diagnoses": [{"label": name} for name in sorted(gold)]}
        for i, (who, gold) in enumerate(people)
    ]  # fmt: skip
    found = with_other_rationales(cases, number, seed)
    assert len(found) <= min(number, len(cases))
    for place, case in found:
        other = cases[int(case["note_rationale"].split()[1])]
        assert (case["stay_id"], case["gold"]) == (place, cases[place]["gold"])
        assert other["subject_id"] != case["subject_id"]
        unlike = any(set(o["gold"]).isdisjoint(case["gold"]) for o in cases if o["subject_id"] != case["subject_id"])
        assert not unlike or set(other["gold"]).isdisjoint(case["gold"])


def answer(score):
    return (
        Answer(None, "no JSON") if score is None else Answer({axis: {"reason": "", "score": score} for axis in AXES})
    )


scores = st.one_of(st.none(), st.integers(1, 5))


@settings(max_examples=40)
@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=12))
def test_the_auroc_is_that_of_scikit_learn_over_records_with_both_scores(pairs):
    cases = [{"subject_id": str(i)} for i in range(len(pairs))]
    answers, controls = [[answer(own) for own, _ in pairs]], [answer(other) for _, other in pairs]
    found = control_figures(answers, controls, list(range(len(pairs))), cases)
    both = [pair for pair in pairs if None not in pair]
    assert found["records"] == len(both)
    if both:
        own, other = zip(*both, strict=True)
        assert found["auroc"] == pytest.approx(roc_auc_score([1] * len(own) + [0] * len(other), [*own, *other]))
        assert found["interval"][0] <= found["interval"][1]
    given_scores = [own for own, _ in pairs if own]
    common = most_common_score(answers)
    assert common["share"] == (
        max(map(given_scores.count, given_scores)) / len(given_scores) if given_scores else None
    )
    axes = {axis: axis_figures(np.array([[np.nan if own is None else own for own, _ in pairs]]), ["p"] * len(pairs))
            for axis in AXES}  # fmt: skip
    assert all("\n" not in line for line in conclusions({"axes": axes, "most_common_score": common, "control": found}))
