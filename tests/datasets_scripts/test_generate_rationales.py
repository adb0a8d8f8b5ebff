# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Rationales of language models, from a dataset folder to one with rationales."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from datasets_scripts import build_dataset, build_knowledge, generate_rationales
from datasets_scripts.dataset.folder import SPLITS, iterate_records, iterate_rows, label_names, read_metadata
from datasets_scripts.knowledge.base import load_knowledge
from datasets_scripts.llm import json_only
from datasets_scripts.llm.endpoint import BudgetError
from datasets_scripts.teacher.prompt import Prompt
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.datasets_scripts.llm.chat_server import ChatServer, some_of
from tests.datasets_scripts.llm.raw_server import RawServer, chat, http
from tests.datasets_scripts.llm.test_hostile import BROKEN, MALFORMED
from tests.datasets_scripts.teacher.small_teacher import ANSWER, make_small_teacher, serving


HOSTILE = MALFORMED | BROKEN
RECORDS = 300
FAULTS = ["HTTP 429", "HTTP 500", "dropped", "malformed", "truncated", "slow"]
QUIET = json.dumps(ANSWER)
WRONG = json.dumps(ANSWER | {"lab_rationale": [{"sentence": "Weight is up to 499.9 kg.", "evidence": ["Weight"]}]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rationales")
    for name, limit in (("dataset", 40), ("large", RECORDS)):
        build_dataset.main(["--source", "synthetic", "--output", str(folder / name), "--limit", str(limit)])
    build_knowledge.main(["--corpus", "builtin", "--output", str(folder / "knowledge.json")])
    return folder


@pytest.fixture(scope="module")
def small_teacher(folder):
    metadata = read_metadata(folder / "dataset")
    prompt = Prompt(load_knowledge(folder / "knowledge.json"), metadata["channels"], label_names(metadata))
    rows = list(iterate_records(folder / "dataset"))[:6]
    chats = ["\n".join(message["content"] for message in prompt(row)) for row in rows]
    return make_small_teacher(folder / "model", chats)


@pytest.fixture(scope="module")
def untaught(folder, small_teacher):
    """A model of random weights, with the tokenizer of the small teacher."""
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(small_teacher))
    model.save_pretrained(folder / "untaught")
    AutoTokenizer.from_pretrained(small_teacher).save_pretrained(folder / "untaught")
    return folder / "untaught"


def arguments(folder, output, *options, dataset="dataset", teacher="openai:m"):
    named = {"--dataset": folder / dataset, "--knowledge": folder / "knowledge.json", "--output": output}
    return [str(part) for pair in named.items() for part in pair] + ["--teacher", teacher, *map(str, options)]


def generate(folder, output, *options, **kwargs):
    generate_rationales.main(arguments(folder, output, *options, **kwargs))
    return read_metadata(output)["rationales"]


def rows_of(output):
    return [row for split in SPLITS for row in iterate_rows(output, split)]


def last_words(body):
    return body["messages"][-1]["content"]


def test_each_record_gets_the_answer_to_its_own_prompt(folder, tmp_path):
    def answer(body):  # states facts of the record that it was shown
        line = next(x for x in last_words(body).splitlines() if x.startswith("Heart Rate"))
        sentence = "Heart Rate is not measured." if "not measured" in line else (
            f"Heart Rate is up to {line.split('highest ')[1].split()[0]} /min."
        )  # fmt: skip
        return json.dumps(ANSWER | {"lab_rationale": [{"sentence": sentence, "evidence": ["Heart Rate"]}]})

    with ChatServer(answer) as server:
        report = generate(folder, tmp_path / "out", "--base-url", server.url)
    rows = rows_of(tmp_path / "out")
    assert report["outcomes"] == {"accepted at once": len(rows)}
    assert report["claims"]["value supported"] + report["claims"].get("unmeasured supported", 0) == len(rows)
    assert report["requests"] == len(rows) == len(server.bodies)
    assert report["prompt"] == "rationale-3"
    assert {row["teacher"] for row in rows} == {"openai:m"}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"| accepted at once | {len(rows)} |" in card
    assert f"| answered | {len(rows)} |" in card


def test_a_rejected_rationale_is_asked_for_again_with_the_reason(folder, tmp_path):
    with ChatServer(lambda body: QUIET if "499.9" in last_words(body) else WRONG) as server:
        report = generate(folder, tmp_path / "out", "--base-url", server.url)
    records = len(rows_of(tmp_path / "out"))
    assert report["outcomes"] == {"accepted after a second try": records}
    assert len(server.bodies) == 2 * records
    again = next(body for body in server.bodies if "499.9" in last_words(body))
    assert "is wrong" in last_words(again)
    assert again["messages"][-2] == {"role": "assistant", "content": json.dumps(json.loads(WRONG))}


@pytest.mark.parametrize("rejected", ["drop", "keep"])
def test_rationales_that_stay_wrong_are_left_out_or_kept_and_counted(folder, tmp_path, caplog, rejected):
    caplog.set_level("INFO")
    with ChatServer(lambda body: WRONG) as server:
        report = generate(folder, tmp_path / "out", "--base-url", server.url, "--tries", 2, "--rejected", rejected)
    rows = rows_of(tmp_path / "out")
    outcome = {"drop": "left out", "keep": "kept with faults"}[rejected]
    assert report["outcomes"] == {outcome: len(rows)}
    assert report["reasons"] == {"series contradicted": len(rows)}
    assert f"not accepted: series contradicted ({len(rows)}); by stay in {tmp_path / 'out'}/set_aside" in caplog.text
    assert (
        {bool(row["lab_rationale"]) for row in rows} == {bool(row["teacher"]) for row in rows} == {rejected == "keep"}
    )
    aside = [json.loads(line) for line in (tmp_path / "out" / "set_aside.jsonl").read_text().splitlines()]
    assert [line["stay_id"] for line in aside] == [row["stay_id"] for row in rows]
    assert aside[0] == {"stay_id": rows[0]["stay_id"], "outcome": outcome, "reasons": ["series contradicted"]}


def test_answers_other_than_json_are_retried_then_counted(folder, tmp_path):
    with ChatServer(lambda body: "I would rather not." if len(body["messages"]) < 8 else QUIET) as server:
        report = generate(folder, tmp_path / "out", "--base-url", server.url, "--tries", 2)
        assert report["outcomes"] == {"accepted after a second try": report["requests"] // 2}
    with ChatServer(lambda body: QUIET[:-30]) as server:
        report = generate(folder, tmp_path / "cut", "--base-url", server.url, "--tries", 2)
    assert report["reasons"] == {"JSON that was cut off": report["requests"] // 2}


POISON = {
    "malformed reply": ["deep JSON", "list as content", "half a character", "empty choices", "a page"],
    "broken connection": ["a cut chunk", "no reply"],
}
USELESS = {
    "overlong sentence": "pneumonia " * 3000,
    "half a character": "fever \ud800",
    "too long an answer": "fever. " * 9000,
}


def test_poisonous_replies_are_left_out_and_counted_and_a_restart_reads_their_log(folder, tmp_path):
    replies = [HOSTILE[name] for names in POISON.values() for name in names]
    records = len(rows_of(folder / "dataset"))

    def reply(number):  # every third record gets one
        return replies[number // 3 % len(replies)] if number % 3 == 0 else http(chat(QUIET))

    options = ("--attempts", 1, "--concurrency", 1, "--requests", tmp_path / "log")
    with RawServer(reply) as server:
        first = generate(folder, tmp_path / "first", "--base-url", server.url, *options)
    left_out = -(-records // 3)
    assert first["outcomes"] == {"accepted at once": records - left_out, "left out": left_out}
    assert set(first["reasons"]) == set(POISON)
    with RawServer(lambda number: http(chat(QUIET))) as server:
        again = generate(folder, tmp_path / "again", "--base-url", server.url, *options)
    assert len(server.bodies) == left_out
    assert again["outcomes"] == {"accepted at once": records}


@pytest.mark.parametrize("reason", USELESS)
def test_texts_that_no_gate_can_read_are_left_out_and_counted(folder, tmp_path, reason):
    text = json.dumps(ANSWER | {"note_rationale": [{"sentence": USELESS[reason], "evidence": []}]})
    began = time.monotonic()
    with RawServer(lambda number: http(chat(text if number == 0 else QUIET))) as server:
        report = generate(folder, tmp_path / "out", "--base-url", server.url, "--tries", 1)
    assert report["reasons"] == {reason: 1}
    assert time.monotonic() - began < 60


def test_an_endpoint_that_is_not_there_is_one_line_and_nothing_is_left_out(folder, tmp_path):
    with RawServer(lambda number: b"") as server:
        url = server.url
    options = arguments(folder, tmp_path / "out", "--base-url", url, "--requests", tmp_path / "log")
    done = subprocess.run(
        [sys.executable, generate_rationales.__file__, *options],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OPENAI_API_KEY": "sk-hunter2"},
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"error: {url}/chat/completions does not answer" in done.stderr.splitlines()[-1]
    assert "no connection (Connection refused)" in done.stderr
    assert "hunter2" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_few_records_of_which_none_is_answered_are_no_dataset(folder, tmp_path):
    build_dataset.main(["--source", "synthetic", "--output", str(tmp_path / "few"), "--limit", "3"])
    options = ("--base-url", "URL", "--attempts", 1, "--dataset", tmp_path / "few")
    with RawServer(lambda number: http("", "503 Busy")) as server, pytest.raises(ClinRaGenInputError) as error:
        generate(folder, tmp_path / "out", *(server.url if option == "URL" else option for option in options))
    assert "no request was answered (3 HTTP 503)" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_sends_and_writes_nothing(folder, tmp_path, capsys):
    with ChatServer(lambda body: QUIET) as server:
        options = ("--dry-run", "--prices", 2, 8, "--max-answer-tokens", 500)
        generate_rationales.main(arguments(folder, tmp_path / "out", "--base-url", server.url, *options))
    output = capsys.readouterr().out
    records = len(rows_of(folder / "dataset"))
    assert output.startswith(f"{records} requests, ")
    assert f"at most {records * 500:,} to write" in output
    assert "at the given prices" in output
    assert not server.bodies
    assert not list(tmp_path.iterdir())


def test_a_spent_budget_ends_the_run_and_a_larger_one_resumes_it(folder, tmp_path):
    with ChatServer(lambda body: QUIET) as server:
        with pytest.raises(BudgetError, match="--max-requests 25 is spent"):
            generate(folder, tmp_path / "out", "--base-url", server.url, "--max-requests", 25)
        assert not (tmp_path / "out").exists()
        report = generate(folder, tmp_path / "out", "--base-url", server.url, "--max-requests", 100)
        assert max(server.answered.values()) == 1
    assert report["requests"] == len(server.bodies) == len(rows_of(tmp_path / "out"))


def test_a_dry_run_counts_what_earlier_runs_spent_and_names_a_budget_that_does_not_suffice(folder, tmp_path, capsys):
    with ChatServer(lambda body: QUIET) as server:
        options = ("--base-url", server.url, "--max-requests", 25)
        with pytest.raises(BudgetError):
            generate(folder, tmp_path / "out", *options)
        generate_rationales.main(arguments(folder, tmp_path / "out", *options, "--dry-run"))
        few = capsys.readouterr().out
        generate_rationales.main(arguments(folder, tmp_path / "out", *options[:2], "--max-requests", 100, "--dry-run"))
        enough = capsys.readouterr().out
        assert len(server.bodies) == 25
    held = f"{tmp_path / 'out'}.requests.sqlite holds 25 answers of earlier runs, which are not asked for again"
    assert held in few
    assert held in enough
    assert "more than --max-requests 25: the run would stop there" in few
    assert "would stop" not in enough


def test_the_result_does_not_depend_on_the_number_of_concurrent_requests(folder, tmp_path):
    hashes = set()
    for concurrency in (1, 7, 32):
        output = tmp_path / f"out-{concurrency}"
        with ChatServer(lambda body: QUIET if len(last_words(body)) % 3 else WRONG) as server:
            generate(folder, output, "--base-url", server.url, "--concurrency", concurrency)
        hashes.add(read_metadata(output)["content_hash"])
    assert len(hashes) == 1


def test_a_model_in_this_process(folder, small_teacher, tmp_path):
    options = ("--max-answer-tokens", 200, "--sentences", "free")
    report = generate(folder, tmp_path / "out", *options, teacher=f"transformers:{small_teacher}")
    rows = rows_of(tmp_path / "out")
    assert report["outcomes"]["accepted at once"] > 0.9 * len(rows)
    assert ANSWER["note_rationale"][0]["sentence"] in {row["note_rationale"] for row in rows}
    assert report["completion_tokens"] > 0


@pytest.mark.parametrize("sentences", ["chosen", "grounded", "free"])
def test_a_model_that_has_learned_nothing_answers_in_json_that_the_gate_can_judge(
    folder, untaught, tmp_path, sentences
):
    options = ("--max-answer-tokens", 700, "--sentences", sentences, "--temperature", 1, "--tries", 1)
    few = tmp_path / "few"
    build_dataset.main(["--source", "synthetic", "--output", str(few), "--limit", "8"])
    report = generate(folder, tmp_path / "out", *options, "--dataset", few, teacher=f"transformers:{untaught}")
    assert report["sentences"] == sentences
    assert not [reason for reason in report["reasons"] if "JSON" in reason]
    assert sum(report["outcomes"].values()) == len(rows_of(tmp_path / "out"))
    if sentences == "chosen":
        assert set(report["outcomes"]) == {"accepted at once"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--teacher", "gpt"], "--teacher is 'gpt'; give template, openai:MODEL, transformers:MODEL"),
        (["--teacher", "openai:"], "--teacher is 'openai:'"),
        (["--teacher", "transformers:nowhere"], "cannot be loaded"),
        (["--concurrency", "0"], "--concurrency is 0; give at least 1"),
        (["--max-cost", "1"], "--max-cost needs --prices"),
        (["--base-url", "nonsense"], "is not an address"),
    ],
)
def test_a_mistake_in_the_arguments_is_one_line(folder, tmp_path, options, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        generate_rationales.main(arguments(folder, tmp_path / "out") + options)
    assert not (tmp_path / "out").exists()


def start(folder, output, server, timeout, **kwargs):
    options = ("--base-url", server.url, "--concurrency", 8, "--timeout", timeout, "--attempts", 8)
    command = [sys.executable, generate_rationales.__file__, *arguments(folder, output, *options, **kwargs)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def kill_and_resume(folder, output, server, kills, records, timeout=4, **kwargs):
    """Kill the command `kills` times between answers, then let it end; all it sent was answered once."""
    for kill in range(kills):
        server.holding.clear()
        server.hold_after = (kill + 1) * records // (kills + 2)
        process = start(folder, output, server, timeout, **kwargs)
        assert server.holding.wait(300)
        while server.being_answered:  # by a slow upstream server, since before the others were held
            time.sleep(0.05)
        time.sleep(1)  # answers have arrived
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not output.exists()
    server.hold_after = None
    process = start(folder, output, server, timeout, **kwargs)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert max(server.answered.values()) == 1, "a request that had been answered was sent again"
    return read_metadata(output)["rationales"]


@pytest.mark.slow
def test_killed_and_resumed_no_answered_request_is_sent_again(folder, tmp_path):
    records = len(rows_of(folder / "dataset"))
    with ChatServer(lambda body: QUIET, fault=some_of(["HTTP 500", "dropped"], 0.2, seed=1), latency=0.01) as server:
        report = kill_and_resume(folder, tmp_path / "out", server, kills=2, records=records)
    assert report["outcomes"] == {"accepted at once": records}
    assert report["replies"]["answered"] == records
    lost = report["requests"] - len(server.bodies)  # noted, but the kill or a closed connection kept them back
    faults = [status for status in report["replies"] if status != "answered" and not status.startswith("HTTP")]
    assert 0 <= lost <= sum(report["replies"][status] for status in faults)


@pytest.fixture
def transformers_serve(small_teacher):
    with serving(small_teacher) as url:
        yield url


@pytest.mark.slow
def test_transformers_serve_keeps_an_untaught_model_to_the_schema(folder, untaught, tmp_path):
    few, served = tmp_path / "few", shutil.copytree(untaught, tmp_path / "served")
    build_dataset.main(["--source", "synthetic", "--output", str(few), "--limit", "8"])
    (served / "custom_generate").mkdir()
    shutil.copy(json_only.__file__, served / "custom_generate" / "generate.py")
    options = ("--dataset", few, "--temperature", 1, "--max-answer-tokens", 700, "--tries", 1, "--sentences", "chosen")
    with serving(served, "--trust-remote-code") as url:
        options = (*options, "--base-url", url, "--response-format")
        free = generate(folder, tmp_path / "free", *options, "json_schema", teacher=f"openai:{served}")
        kept = generate(folder, tmp_path / "kept", *options, "generation_config", teacher=f"openai:{served}")
    assert [reason for reason in free["reasons"] if "JSON" in reason]  # the field that it ignores
    assert set(kept["outcomes"]) == {"accepted at once"}


@pytest.mark.slow
def test_a_real_server_behind_faults_answers_for_every_record_through_five_kills(
    folder, small_teacher, transformers_serve, tmp_path
):
    """300 records, `transformers serve` behind a proxy that injects faults, five kills: each has a counted end."""
    fault = some_of([*FAULTS, "HTTP 400"], 0.25, seed=2)
    records = len(rows_of(folder / "large"))
    with ChatServer(upstream=transformers_serve, fault=fault) as proxy:
        report = kill_and_resume(
            folder,
            tmp_path / "out",
            proxy,
            5,
            records,
            timeout=20,  # a busy machine must not take as long: who gives up just then is counted as answered
            dataset="large",
            teacher=f"openai:{small_teacher}",
        )
    print(report["outcomes"], report["reasons"], report["replies"])
    assert records >= RECORDS
    assert set(proxy.faults) == {*FAULTS, "HTTP 400"}
    assert sum(report["outcomes"].values()) == records
    assert sum(report["reasons"].values()) == report["outcomes"].get("left out", 0)
    assert report["outcomes"]["accepted at once"] > 0.5 * records  # on a busy machine, faults take more of the tries
    assert report["replies"]["answered"] == proxy.answered.total()
