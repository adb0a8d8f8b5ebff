# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The judge of rationales, against real servers on loopback and a model in this process."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import recipes.evaluation.raters.judge
from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import METADATA_FILE, iterate_rows, label_names, read_metadata
from datasets_scripts.llm.chat import Answer
from datasets_scripts.llm.guard import LeavesMachineError
from modeling_clinragen import ClinRaGenInputError
from recipes import judge_rationales
from recipes.evaluation.raters.judge import (
    AXES,
    JudgePrompt,
    axis_figures,
    preference_figures,
    rating_figures,
    sample_cases,
)
from tests.datasets_scripts.llm.chat_server import ChatServer, some_of
from tests.datasets_scripts.llm.test_guard import own_address
from tests.datasets_scripts.teacher.small_teacher import make_small_teacher, serving


SECRET = "xylophonic crepitations"  # in a note, a rationale and a reason, and must not be in a log
MODEL = "models/student"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`dataset/`, its test split with 30 records or more, and `report/`, an evaluation of it."""
    folder = tmp_path_factory.mktemp("judge")
    splits = "train=0.1,validation=0.1,test=0.8"
    arguments = ["--source", "synthetic", "--output", str(folder / "dataset"), "--limit", "50", "--splits", splits]
    build_dataset.main(arguments)
    write_report(folder / "report", folder / "dataset", quality)
    return folder


def quality(i):
    """Return the score, 0 to 4, that a fair judge gives record `i`."""
    return i % 5


def write_report(report, dataset, quality, model=MODEL, changed=lambda i, prediction: prediction):
    """A report folder in which each rationale states its own quality."""
    labels, report = label_names(read_metadata(dataset)), Path(report)
    report.mkdir()
    with open(report / "predictions.jsonl", "w", encoding="utf-8") as file:
        for i, row in enumerate(iterate_rows(dataset, "test")):
            gold = [labels[k] for k in row["diagnoses"]]
            prediction = {name: row[name] for name in ("subject_id", "hadm_id", "stay_id")}
            prediction |= {"readable": True, "gold": gold, "diagnoses": [{"label": name} for name in gold]}
            prediction |= {
                "note_rationale": f"Quality {quality(i)}: {SECRET}.",
                "lab_rationale": "Heart Rate is normal.",
            }
            file.write(json.dumps(changed(i, prediction)) + "\n")
    (report / "metrics.json").write_text(json.dumps({"run": {"model": model}}))
    return report


def records_of(folder):
    return list(iterate_rows(folder / "dataset", "test"))


def command(folder, output, *options, judge="openai:m", report="report", dataset="dataset"):
    named = {"--report": folder / report, "--dataset": folder / dataset, "--judge": judge, "--output": output}
    named["--controls"] = 0
    return [str(part) for pair in named.items() for part in pair] + [str(option) for option in options]


def run(folder, output, *options, **kwargs):
    judge_rationales.main(command(folder, output, *options, **kwargs))
    return json.loads((output / "judge.json").read_text(encoding="utf-8"))


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def asked(body):
    return body["messages"][1]["content"]


def is_reversed(body):
    return asked(body).index("From the series:") < asked(body).index("From the note:")


def qualities(body):
    """The qualities of the shown rationales, in their order."""
    return [int(digit) for digit in re.findall(r"Quality (\d)", asked(body))]


def rating(scores):
    return json.dumps(
        {axis: {"reason": f"Because of {SECRET}.", "score": s} for axis, s in zip(AXES, scores, strict=True)}
    )


def fair(body):
    """Rates a rationale by its quality, each axis differently; of two it prefers the better one."""
    found = qualities(body)
    if "Rationale B." in asked(body):
        better = "tie" if found[0] == found[1] else "A" if found[0] > found[1] else "B"
        return json.dumps({"reason": "Quality.", "better": better})
    return rating([(found[0] + k) % 5 + 1 for k in range(len(AXES))])


def test_a_fair_judge_gives_the_scores_of_its_rule_and_agrees_with_itself(folder, tmp_path):
    with ChatServer(fair) as server:
        figures = run(folder, tmp_path / "out", "--base-url", server.url)
    rows, ratings = records_of(folder), lines(tmp_path / "out" / "ratings.jsonl")
    assert len(rows) >= 30
    expected = {
        (row["stay_id"], MODEL, f"judge:m#{repeat}", axis, (quality(i) + k) % 5 + 1)
        for i, row in enumerate(rows)
        for repeat in (1, 2)
        for k, axis in enumerate(AXES)
    }
    assert all(list(row) == ["stay_id", "system", "rater", "axis", "score"] for row in ratings)
    assert {tuple(row.values()) for row in ratings} == expected
    assert len(ratings) == len(expected)
    for k, axis in enumerate(AXES):
        found, mean = (
            figures["ratings"]["axes"][axis],
            np.mean([(quality(i) + k) % 5 + 1 for i in range(len(rows))]),
        )
        assert found["mean"] == pytest.approx(mean)
        assert found["interval"][0] < mean < found["interval"][1]
        assert (found["exact_agreement"], found["mean_absolute_difference"]) == (1, 0)
        assert found["krippendorff_alpha"] == pytest.approx(1)
        assert found["mean_by_order"] == pytest.approx({"given": mean, "reversed": mean})
    found = {name: figures["ratings"][name] for name in ("asked", "missing", "records_without_a_score")}
    assert found == {"asked": 2 * len(rows), "missing": {}, "records_without_a_score": 0}
    assert figures["system"] == MODEL
    assert figures["settings"]["prompt"] == "judge-1"
    assert figures["requests"] == figures["replies"]["answered"] == len(server.bodies) == 2 * len(rows)
    answers = lines(tmp_path / "out" / "answers.jsonl")
    assert answers[0]["answer"]["correctness"]["reason"] == f"Because of {SECRET}."


def test_the_judge_is_shown_the_record_and_asked_again_in_the_reverse_order_with_another_seed(folder, tmp_path):
    with ChatServer(fair) as server:
        run(folder, tmp_path / "out", "--base-url", server.url, "--repeats", 3, "--seed", 5, "--concurrency", 1)
    rows = records_of(folder)
    size = len(rows)
    assert [body["seed"] for body in server.bodies] == [5] * size + [6] * size + [7] * size
    assert [is_reversed(body) for body in server.bodies] == [False] * size + [True] * size + [False] * size
    labels = label_names(read_metadata(folder / "dataset"))
    for row, first, second in zip(rows, server.bodies, server.bodies[size:], strict=False):
        for body in (first, second):
            assert row["note"] in asked(body)
            assert row["lab_caption"] in asked(body)
            assert all(labels[i] in asked(body) for i in row["diagnoses"])
        assert Counter(re.findall(r"\w+", asked(first))) == Counter(
            re.findall(r"\w+", asked(second))
        )  # the same, in another order
        given, turned = (
            list(body["response_format"]["json_schema"]["schema"]["properties"]) for body in (first, second)
        )
        assert given == list(AXES) == turned[::-1]


def test_a_judge_biased_by_the_order_is_detected(folder, tmp_path):
    def swayed(body):
        return rating([4 if is_reversed(body) else 2 + qualities(body)[0] % 2] * len(AXES))

    with ChatServer(swayed) as server:
        figures = run(folder, tmp_path / "out", "--base-url", server.url)
    first = [2 + quality(i) % 2 for i in range(len(records_of(folder)))]
    found = figures["ratings"]["axes"]["soundness"]
    assert found["mean_by_order"] == pytest.approx({"given": np.mean(first), "reversed": 4})
    assert found["mean"] == pytest.approx((np.mean(first) + 4) / 2)
    assert found["exact_agreement"] == 0
    assert found["mean_absolute_difference"] == pytest.approx(4 - np.mean(first))
    assert found["krippendorff_alpha"] < 0


def test_a_fair_judge_prefers_the_better_rationale_in_both_positions(folder, tmp_path):
    second = write_report(tmp_path / "second", folder / "dataset", lambda i: 2, model="models/other")
    with ChatServer(fair) as server:
        figures = run(folder, tmp_path / "out", "--base-url", server.url, "--second", second, "--repeats", 1)
    size = len(records_of(folder))
    won, lost = (sum(sign * (quality(i) - 2) > 0 for i in range(size)) / size for sign in (1, -1))
    found = figures["preference"]
    assert (found["win"], found["loss"], found["tie"]) == pytest.approx((won, lost, 1 - won - lost))
    assert found["intervals"]["win"][0] < won < found["intervals"]["win"][1]
    assert found["position_consistency"] == 1
    assert found["prefers_position_a"] == 0.5
    assert found["system"] == "models/other"
    assert (found["asked"], found["records"], found["missing"]) == (2 * size, size, {})
    assert figures["ratings"]["axes"]["correctness"]["krippendorff_alpha"] is None  # one repeat agrees with nothing
    kinds = Counter((row["question"], row["time"]) for row in lines(tmp_path / "out" / "answers.jsonl"))
    assert kinds == {("rating", 1): size, ("preference", 1): size, ("preference", 2): size}


def test_a_judge_that_always_prefers_the_first_is_detected(folder, tmp_path):
    second = write_report(tmp_path / "second", folder / "dataset", lambda i: 2, model="models/other")
    first = json.dumps({"reason": "It stands first.", "better": "A"})
    with ChatServer(lambda body: first if "Rationale B." in asked(body) else fair(body)) as server:
        found = run(folder, tmp_path / "out", "--base-url", server.url, "--second", second)["preference"]
    assert found["position_consistency"] == 0
    assert found["prefers_position_a"] == 1
    assert (found["win"], found["tie"], found["loss"]) == (0, 1, 0)


def test_unusable_answers_are_counted_and_not_imputed(folder, tmp_path):
    """By the quality: 0 has no JSON, 1 a score of 7, 2 an axis too few, 3 is mended on the second try, 4 is right."""

    def reply(body):
        found, score = qualities(body)[0], json.loads(rating([3] * len(AXES)))
        if found == 1:
            score["soundness"]["score"] = 7
        if found == 2:
            del score["readability"]
        retried = len(body["messages"]) > 2
        return "A fine text." if found == 0 or (found == 3 and not retried) else json.dumps(score)

    with ChatServer(reply) as server:
        figures = run(folder, tmp_path / "out", "--base-url", server.url)
    by_quality = Counter(quality(i) for i in range(len(records_of(folder))))
    assert figures["ratings"]["missing"] == {
        "JSON of another shape": 2 * (by_quality[1] + by_quality[2]),
        "no JSON": 2 * by_quality[0],
    }
    assert figures["ratings"]["records_without_a_score"] == by_quality[0] + by_quality[1] + by_quality[2]
    ratings = lines(tmp_path / "out" / "ratings.jsonl")
    assert len(ratings) == 2 * len(AXES) * (by_quality[3] + by_quality[4])
    assert {row["score"] for row in ratings} == {3}
    missing = [row for row in lines(tmp_path / "out" / "answers.jsonl") if row["answer"] is None]
    assert Counter(row["missing"] for row in missing) == figures["ratings"]["missing"]


@pytest.mark.parametrize("reply", [lambda body: "no", lambda body: rating([3] * len(AXES))[:-20]])
def test_a_judge_without_answers_is_an_error_with_the_reason(folder, tmp_path, reply):
    with ChatServer(reply) as server, pytest.raises(ClinRaGenInputError, match=r"rated nothing .*6 .*JSON"):
        run(folder, tmp_path / "out", "--base-url", server.url, "--sample", 3)
    assert not (tmp_path / "out").exists()


def test_an_unreachable_judge_is_an_error(folder, tmp_path):
    with ChatServer(fair) as server:
        url = server.url
    with pytest.raises(ClinRaGenInputError, match=r"no connection \(Connection refused\); is a server running"):
        run(folder, tmp_path / "out", "--base-url", url, "--sample", 3, "--attempts", 1)
    assert not (tmp_path / "out").exists()


def test_transient_faults_lose_no_answer(folder, tmp_path):
    faults = ["HTTP 429", "HTTP 500", "dropped", "malformed", "truncated", "slow"]
    with ChatServer(fair, fault=some_of(faults, 0.3, seed=0)) as server:
        options = ("--sample", 8, "--timeout", 1, "--attempts", 12, "--concurrency", 16)
        figures = run(folder, tmp_path / "out", "--base-url", server.url, *options)
    assert figures["ratings"]["missing"] == {}
    assert len(server.faults) >= 3
    assert figures["replies"]["answered"] == 2 * 8


def test_lasting_faults_are_missing_answers(folder, tmp_path):
    with ChatServer(fair, fault=lambda number: "HTTP 500" if number % 2 else None) as server:
        options = ("--sample", 8, "--attempts", 1, "--concurrency", 1)
        figures = run(folder, tmp_path / "out", "--base-url", server.url, *options)
    assert figures["ratings"]["missing"] == {"HTTP 500": 8}
    assert len(lines(tmp_path / "out" / "ratings.jsonl")) == 8 * len(AXES)


@pytest.mark.slow
def test_after_a_kill_no_request_is_repeated(folder, tmp_path):
    second = write_report(tmp_path / "second", folder / "dataset", lambda i: 7)
    output, total = tmp_path / "out", 4 * len(records_of(folder))
    with ChatServer(fair, latency=0.01) as server:
        options = ("--base-url", server.url, "--second", second, "--concurrency", 8)
        arguments = [sys.executable, judge_rationales.__file__, *command(folder, output, *options)]
        for hold_after in (total // 4, 3 * total // 4):  # while it rates, and while it compares
            server.holding.clear()
            server.hold_after = hold_after
            process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
            assert server.holding.wait(120)
            time.sleep(1)  # answers have arrived
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert not output.exists()
        server.hold_after = None
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert max(server.answered.values()) == 1
    assert server.answered.total() == total
    undisturbed = tmp_path / "undisturbed"
    with ChatServer(fair) as server:
        run(folder, undisturbed, "--base-url", server.url, "--second", second)
    for name in ("ratings.jsonl", "answers.jsonl"):
        assert (output / name).read_bytes() == (undisturbed / name).read_bytes()


@pytest.fixture(scope="module")
def real(folder):
    """The same dataset as if it were of real patients."""
    copy = folder / "real"
    shutil.copytree(folder / "dataset", copy)
    metadata = read_metadata(copy)
    (copy / METADATA_FILE).write_text(json.dumps(metadata | {"source": "eicu"}), encoding="utf-8")
    return copy.name


def test_records_of_patients_leave_the_machine_only_with_a_permission_on_record(folder, real, tmp_path):
    with ChatServer(fair, host=own_address()) as server:
        with pytest.raises(LeavesMachineError, match="nothing was sent"):
            run(folder, tmp_path / "out", "--base-url", server.url, dataset=real)
        assert not server.bodies
        assert not list(tmp_path.iterdir())
        permission = ("--i-am-permitted-to-send", "agreement 12, signed by the ethics board")
        figures = run(folder, tmp_path / "out", "--base-url", server.url, *permission, dataset=real)
        assert server.bodies
        run(folder, tmp_path / "simulated", "--base-url", server.url)
    assert figures["settings"]["permission_to_send"].startswith(permission[1])
    assert figures["settings"]["endpoint"] == server.url


def test_a_server_on_this_machine_needs_no_permission(folder, real, tmp_path):
    with ChatServer(fair) as server:
        figures = run(folder, tmp_path / "out", "--base-url", server.url, "--sample", 2, dataset=real)
    assert figures["ratings"]["asked"] == 4
    assert "permission_to_send" not in figures["settings"]


def test_logs_carry_no_text_of_a_note_or_an_answer(folder, tmp_path, caplog, capsys):
    caplog.set_level("DEBUG")
    note = records_of(folder)[0]["note"]
    with ChatServer(fair, fault=some_of(["HTTP 500", "malformed"], 0.2, seed=3)) as server:
        run(folder, tmp_path / "out", "--base-url", server.url, "--attempts", 2)
    assert any(note in asked(body) for body in server.bodies)
    printed = capsys.readouterr()
    for text in (caplog.text, printed.out, printed.err, (tmp_path / "out" / "judge.json").read_text()):
        assert SECRET not in text
        assert note[:40] not in text


def test_the_same_seed_draws_the_same_stays_of_every_report():
    def prediction(i, **changes):
        row = {"stay_id": str(i), "readable": True, "note_rationale": "a", "lab_rationale": ""}
        return row | changes

    whole = [prediction(i) for i in range(200)]
    drawn = [p["stay_id"] for p in sample_cases(whole, 50, seed=0)]
    assert len(set(drawn)) == 50
    assert drawn == sorted(drawn, key=int)
    assert sample_cases(whole[::-1], 50, seed=0)[::-1] == sample_cases(whole, 50, seed=0)
    assert drawn != [p["stay_id"] for p in sample_cases(whole, 50, seed=1)]
    without = [prediction(i, note_rationale="") if str(i) in drawn[:10] else prediction(i) for i in range(200)]
    assert set(drawn[10:]) <= {p["stay_id"] for p in sample_cases(without, 50, seed=0)}
    unreadable = [prediction(i, readable=i % 2 == 0) for i in range(200)]
    assert all(int(p["stay_id"]) % 2 == 0 for p in sample_cases(unreadable, 150, seed=0))
    assert len(sample_cases(unreadable, 150, seed=0)) == 100


def test_only_records_with_a_rationale_in_both_reports_are_compared(folder, tmp_path):
    def changed(i, prediction):
        return prediction | ({"note_rationale": "", "lab_rationale": ""} if i % 2 else {})

    second = write_report(tmp_path / "second", folder / "dataset", lambda i: 2, changed=changed)
    with ChatServer(fair) as server:
        found = run(folder, tmp_path / "out", "--base-url", server.url, "--second", second)["preference"]
    size = len(records_of(folder))
    assert (found["records"], found["records_without_its_rationale"]) == ((size + 1) // 2, size // 2)


def test_long_notes_are_cut_and_counted(folder, tmp_path):
    with ChatServer(fair) as server:
        figures = run(folder, tmp_path / "out", "--base-url", server.url, "--sample", 5, "--max-note", 100)
    assert figures["notes_cut"] == 5
    notes = [row["note"] for row in records_of(folder)]
    for body in server.bodies:
        assert any(note[:100] in asked(body) and note[:101] not in asked(body) for note in notes)


@pytest.fixture(scope="module")
def local_judge(folder):
    """A small model that rates any rationale from 1 to 5, axis after axis; it has learned on the ends of prompts."""
    prompt = JudgePrompt(read_metadata(folder / "dataset")["channels"])
    cases = lines(folder / "report" / "predictions.jsonl")[:7]
    rows = records_of(folder)[:7]
    requests = [prompt.rating(row, case, i % 2, 0) for i, (row, case) in enumerate(zip(rows, cases, strict=True))]
    answer = {axis: {"reason": "Fine.", "score": k + 1} for k, axis in enumerate(AXES)}
    return make_small_teacher(folder / "model", [r.messages[1]["content"][-1000:] for r in requests], answer)


def test_a_model_in_this_process(folder, local_judge, tmp_path):
    second = write_report(tmp_path / "second", folder / "dataset", lambda i: 2)
    options = ("--sample", 6, "--second", second, "--max-answer-tokens", 300, "--controls", 3)
    figures = run(folder, tmp_path / "out", *options, judge=f"transformers:{local_judge}")
    assert figures["ratings"]["missing"] == figures["preference"]["missing"] == {}  # JSON by construction
    assert figures["ratings"]["control"]["records"] == 3
    assert figures["completion_tokens"] > 0
    ratings = lines(tmp_path / "out" / "ratings.jsonl")
    assert {row["rater"] for row in ratings} == {f"judge:{local_judge}#{repeat}" for repeat in (1, 2)}


@pytest.mark.slow
def test_a_real_server_behind_faults_rates_every_record_that_was_drawn(folder, local_judge, tmp_path):
    faults = ["HTTP 429", "HTTP 500", "dropped", "malformed", "truncated", "slow"]
    with serving(local_judge) as url, ChatServer(upstream=url, fault=some_of(faults, 0.3, seed=4)) as proxy:
        options = ("--base-url", proxy.url, "--timeout", 20, "--attempts", 10, "--max-answer-tokens", 160)
        figures = run(folder, tmp_path / "out", *options, "--sample", 15, judge=f"openai:{local_judge}")
    assert len(proxy.faults) >= 3
    assert figures["ratings"]["missing"] == {}
    assert [figures["ratings"]["axes"][axis]["mean"] for axis in AXES] == [1, 2, 3, 4, 5]
    assert max(proxy.answered.values()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge", "gpt"], "--judge is 'gpt'; give openai:MODEL, transformers:MODEL"),
        (["--repeats", "0"], "--repeats is 0; give at least 1"),
        (["--sample", "0"], "--sample is 0"),
        (["--split", "other"], "has no split 'other'"),
        (["--split", "train"], "give the --dataset and --split that were evaluated"),
        (["--report", "nowhere"], "nowhere is not a report folder"),
        (["--second", "nowhere"], "nowhere is not a report folder"),
        (["--dataset", "nowhere"], "not a finished dataset folder"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(folder, tmp_path, options, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        judge_rationales.main(command(folder, tmp_path / "out") + options)
    assert not list(tmp_path.iterdir())


def test_reports_of_other_records_are_refused(folder, tmp_path):
    def of_another(i, prediction):
        return prediction | {"subject_id": "somebody else"}

    def empty(i, prediction):
        return prediction | {"note_rationale": "", "lab_rationale": ""}

    other = write_report(tmp_path / "other", folder / "dataset", quality, changed=of_another)
    silent = write_report(tmp_path / "silent", folder / "dataset", quality, changed=empty)
    for options, message in (
        (["--second", other], "is of another patient or dataset"),
        (["--report", other], "give the --dataset and --split that were evaluated"),
        (["--second", silent], "has no rationale for any record"),
        (["--report", silent], "no record has a rationale"),
    ):
        with pytest.raises(ClinRaGenInputError, match=message):
            judge_rationales.main([*command(folder, tmp_path / "out"), *map(str, options)])


def test_the_prompt_asks_for_the_axes_of_the_paper_and_its_version_is_its_name():
    (path,) = (Path(recipes.evaluation.raters.judge.__file__).parent / "prompts").glob("judge-*.yaml")
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert raw["version"] == path.stem
    assert tuple(raw["axes"]) == AXES


def answer_of(scores):
    """An answer of one score, for all axes; `None` for a missing one."""
    if scores is None:
        return Answer(None, "no JSON")
    return Answer({axis: {"reason": "", "score": scores} for axis in AXES})


def test_figures_by_hand():
    """Three records of two patients, two repeats; the second record was answered once."""
    repeats = [[5, 2, 4], [4, None, 4]]
    figures = rating_figures([[answer_of(score) for score in row] for row in repeats], ["p", "q", "q"])
    found = figures["axes"]["persuasiveness"]
    assert (figures["asked"], figures["missing"], figures["records_without_a_score"]) == (6, {"no JSON": 1}, 0)
    assert found["mean"] == pytest.approx((5 + 2 + 4 + 4 + 4) / 5)
    assert found["interval"] == pytest.approx([10 / 3, 4.5])  # only q drawn, only p drawn
    assert found["exact_agreement"] == 1 / 2
    assert found["mean_absolute_difference"] == 1 / 2
    assert found["mean_by_order"] == pytest.approx({"given": 11 / 3, "reversed": 4})
    # Values 4, 4, 4, 5 in two units: one pair of 4 and 5, of which by chance there were 3 x 1 among 4 x 3 / 2.
    assert found["krippendorff_alpha"] == pytest.approx(1 - (1 / 2) / (3 / 6))


@settings(max_examples=100)
@given(
    st.integers(1, 4).flatmap(
        lambda repeats: st.lists(
            st.lists(st.one_of(st.none(), st.integers(1, 5)), min_size=repeats, max_size=repeats),
            min_size=1,
            max_size=8,
        )
    )
)
def test_figures_agree_with_loops(records):
    scores = np.array([[np.nan if s is None else s for s in record] for record in records]).T
    found = axis_figures(scores, [str(i) for i in range(len(records))])
    given_scores = [s for record in records for s in record if s is not None]
    pairs = [(a, b) for record in records for a, b in combinations(record, 2) if None not in (a, b)]
    assert found["mean"] == (pytest.approx(sum(given_scores) / len(given_scores)) if given_scores else None)
    agreed = sum(a == b for a, b in pairs) / len(pairs) if pairs else None
    assert found["exact_agreement"] == pytest.approx(agreed)
    apart = sum(abs(a - b) for a, b in pairs) / len(pairs) if pairs else None
    assert found["mean_absolute_difference"] == pytest.approx(apart)
    for order, name in enumerate(("given", "reversed")):
        own = [s for record in records for k, s in enumerate(record) if s is not None and k % 2 == order]
        assert found["mean_by_order"][name] == (pytest.approx(sum(own) / len(own)) if own else None)


BETTER = st.sampled_from(["A", "B", "tie", None])


@settings(max_examples=100)
@given(st.lists(st.tuples(BETTER, BETTER), max_size=12))
def test_preferences_agree_with_a_count_of_each_kind(pairs):
    answers = [
        [Answer(w and {"reason": "", "better": w}, "" if w else "timeout") for w in row]
        for row in zip(*pairs, strict=True)
    ]
    found = preference_figures(answers or [[], []], [str(i) for i in range(len(pairs))])
    kinds = Counter(pair for pair in pairs if None not in pair)
    number = kinds.total()
    assert found["records"] == number
    assert sum(found["missing"].values()) == sum(pair.count(None) for pair in pairs)
    if not number:
        assert found["win"] is found["position_consistency"] is found["prefers_position_a"] is None
        return
    assert found["win"] == pytest.approx(kinds["A", "B"] / number)
    assert found["loss"] == pytest.approx(kinds["B", "A"] / number)
    assert found["win"] + found["tie"] + found["loss"] == pytest.approx(1)
    kept = kinds["A", "B"] + kinds["B", "A"] + kinds["tie", "tie"]
    assert found["position_consistency"] == pytest.approx(kept / number)
    said = Counter(answer for pair, count in kinds.items() for answer in pair for _ in range(count))
    decided = said["A"] + said["B"]
    assert found["prefers_position_a"] == (pytest.approx(said["A"] / decided) if decided else None)
