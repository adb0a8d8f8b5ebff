# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The client of OpenAI-compatible endpoints, against a real HTTP server on loopback."""

import json
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datasets_scripts.common.outputs import ResumableError
from datasets_scripts.llm.answers import parse_answer
from datasets_scripts.llm.chat import Request
from datasets_scripts.llm.endpoint import (
    FAULTS_IN_A_ROW,
    LONGEST_WAIT,
    Budget,
    BudgetError,
    EndpointModel,
    Sampling,
    _retry_after,
)
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.llm.request_log import RequestLog
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.datasets_scripts.llm.chat_server import ChatServer, body_key, some_of


SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}


def request(text):
    return Request([{"role": "user", "content": text}], SCHEMA)


def echo(body):
    return json.dumps({"word": body["messages"][-1]["content"]})


def ask(server, log, texts, **options):
    options = {"confined": True, "concurrency": 8, "seconds": 1.0, "first_wait": 0.01, **options}
    model = EndpointModel("m", server.url, log, **options)
    return list(map_in_order(model.answer, map(request, texts), model))


@pytest.fixture
def log(tmp_path):
    log = RequestLog(tmp_path / "requests.sqlite")
    yield log
    log.close()


def test_answers_come_in_order_however_long_each_takes(log):
    with ChatServer(echo) as server:
        answers = ask(server, log, map(str, range(100)))
    assert [answer.value["word"] for answer in answers] == [str(i) for i in range(100)]
    assert 1 < server.most_at_once <= 8
    assert server.bodies[0]["model"] == "m"
    assert server.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_answered_requests_are_not_repeated(log):
    with ChatServer(echo) as server:
        ask(server, log, "abc")
        again = ask(server, log, "abcd")
    assert [answer.value["word"] for answer in again] == list("abcd")
    assert len(server.bodies) == 4
    assert log.usage().requests == 4
    assert (log.usage().prompt_tokens, log.usage().completion_tokens) == (4 * 4, 4 * 10)


def test_the_same_chat_with_another_seed_is_another_request(log):
    with ChatServer(echo) as server:
        model = EndpointModel("m", server.url, log, confined=True, sampling=Sampling(seed=3))
        chats = [Request(request("a").messages, SCHEMA, seed) for seed in (None, 3, 4, 4)]
        for chat in chats:
            list(map_in_order(model.answer, [chat], model))
    assert [body["seed"] for body in server.bodies] == [3, 4]


FAULTS = ["HTTP 429", "HTTP 500", "HTTP 503", "dropped", "malformed", "truncated", "no choices", "slow"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_transient_fault_costs_a_retry(log, fault):
    with ChatServer(echo, fault=lambda number: fault if number == 0 else None) as server:
        (answer,) = ask(server, log, ["a"])
    assert answer.value == {"word": "a"}
    assert len(server.bodies) == 2
    assert log.statuses()["answered"] == 1
    assert log.usage().requests == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("HTTP 429", "HTTP 429"),
        ("HTTP 500", "HTTP 500"),
        ("dropped", "broken connection"),
        ("truncated", "broken connection"),
        ("malformed", "malformed reply"),
        ("no choices", "malformed reply"),
        ("slow", "timeout"),
    ],
)
def test_a_lasting_fault_is_a_counted_reason(log, fault, reason):
    with ChatServer(echo, fault=lambda number: fault) as server:
        (answer,) = ask(server, log, ["a"], attempts=3, seconds=0.3)
    assert (answer.value, answer.reason) == (None, reason)
    assert log.statuses() == {reason: 3}


@pytest.mark.parametrize(("concurrency", "attempts", "tried"), [(1, 2, 2), (1, 9, 5), (16, 9, 16)])
def test_a_server_that_is_not_there_ends_the_run_after_the_first_connections(log, concurrency, attempts, tried):
    with ChatServer(echo) as server:
        pass
    line = (
        rf"^{server.url}/chat/completions does not answer .*no connection \(Connection refused\).*same command again"
    )
    with pytest.raises(ResumableError, match=line):
        ask(server, log, map(str, range(200)), concurrency=concurrency, attempts=attempts)
    assert log.usage().requests <= tried


def test_a_server_that_goes_away_ends_the_run_and_loses_nothing(log):
    with ChatServer(echo) as server:
        ask(server, log, "abc")
    with pytest.raises(ResumableError, match="no connection"):
        ask(server, log, "abcd", attempts=2)
    assert log.statuses() == {"answered": 3, "no connection": 2}


@pytest.mark.parametrize("fault", ["HTTP 429", "HTTP 500", "HTTP 503", "dropped", "malformed", "truncated", "slow"])
def test_an_endpoint_that_never_answers_is_not_asked_for_every_record(log, fault):
    with ChatServer(echo, fault=lambda number: fault) as server, pytest.raises(ResumableError) as error:
        ask(server, log, map(str, range(300)), attempts=2, seconds=0.3)
    assert len(server.bodies) <= 2 * (FAULTS_IN_A_ROW + 8)
    (reason,) = log.statuses()
    assert f"{server.url}/chat/completions does not answer 5 requests in a row: {reason}" in str(error.value)


def test_an_endpoint_that_has_answered_may_fail_for_more_records_in_a_row(log):
    with ChatServer(echo, fault=lambda number: None if number == 0 else "HTTP 500") as server:
        with pytest.raises(ResumableError, match=r"25 requests in a row: HTTP 500 \(Internal Server Error\)"):
            ask(server, log, map(str, range(100)), attempts=1, concurrency=1)
        assert len(server.bodies) == 1 + 25
        server.fault = lambda number: None
        answers = ask(server, log, map(str, range(100)), attempts=1, concurrency=1)
    assert all(answer.value for answer in answers)
    assert max(server.answered.values()) == 1


def test_many_faults_lose_no_request(log):
    with ChatServer(echo, fault=some_of(FAULTS, 0.4, seed=0)) as server:
        answers = ask(server, log, map(str, range(120)), attempts=12, seconds=0.4)
    assert [answer.value["word"] for answer in answers] == [str(i) for i in range(120)]
    assert len(server.faults) == len(FAULTS)
    assert log.statuses()["answered"] == 120
    assert sum(log.statuses().values()) == len(server.bodies) == 120 + server.faults.total()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"HTTP 401 \(Unauthorized\); the key is wrong"),
        (402, "no money left"),
        (403, "may not use this model"),
        (404, "wrong --base-url, or no model 'm' there"),
        (400, r"5 requests in a row: HTTP 400 \(Bad Request\); is 'm' the model's name there"),
    ],
)
def test_an_endpoint_that_refuses_ends_the_run_with_one_line(log, status, message):
    with (
        ChatServer(echo, fault=lambda number: f"HTTP {status}") as server,
        pytest.raises(ClinRaGenInputError, match=message),
    ):
        ask(server, log, map(str, range(50)))
    assert len(server.bodies) < 50


def test_one_refused_request_is_a_counted_reason(log):
    with ChatServer(echo, fault=lambda number: "HTTP 400" if number == 3 else None) as server:
        answers = ask(server, log, map(str, range(20)), concurrency=1)
    assert [answer.reason for answer in answers if answer.value is None] == ["HTTP 400"]


@pytest.mark.parametrize(
    ("budget", "sent"),
    [
        (Budget(requests=7), 7),
        (Budget(tokens=10_000), None),
        (Budget(money=0.01, prices=(1.0, 2.0)), None),
    ],
)
def test_the_budget_is_never_exceeded_and_paid_answers_are_kept(log, budget, sent):
    sampling = Sampling(max_tokens=64)
    with ChatServer(echo, latency=0.01) as server:
        for _ in range(2):  # a second run counts what the first has spent
            with pytest.raises(BudgetError, match="is spent"):
                ask(server, log, map(str, range(2000)), budget=budget, sampling=sampling, seconds=30)
            usage = log.usage()
            assert 0 < usage.requests == len(server.bodies) == log.statuses()["answered"]
            assert sent is None or usage.requests == sent
            assert budget.tokens is None or usage.prompt_tokens + usage.completion_tokens <= budget.tokens
            assert budget.money is None or budget.cost(usage.prompt_tokens, usage.completion_tokens) <= budget.money
        answers = ask(server, log, map(str, range(usage.requests)), budget=budget, sampling=sampling)
        assert len(server.bodies) == usage.requests
    assert all(answer.value for answer in answers)


def test_connections_that_are_refused_spend_no_budget(log):
    with ChatServer(echo) as server:
        url = server.url
    budget = Budget(requests=3)  # fewer than are under way at once
    with pytest.raises(ResumableError, match=r"no connection \(Connection refused\); is a server running there"):
        ask(Namespace(url=url), log, "abcdefgh", budget=budget)
    assert log.usage().requests == 0
    assert set(log.statuses()) == {"no connection"}
    with ChatServer(echo) as server:
        assert [answer.value["word"] for answer in ask(server, log, "abc", budget=budget)] == list("abc")


def test_a_budget_that_is_only_reserved_is_waited_for(log):
    sampling = Sampling(max_tokens=500)  # an answer takes 10
    with ChatServer(echo, latency=0.05) as server:
        answers = ask(server, log, map(str, range(20)), budget=Budget(tokens=1200), sampling=sampling)
    assert all(answer.value for answer in answers)
    assert server.most_at_once == 2


def test_a_fault_that_may_pass_is_reported_once_with_its_remedy(log, caplog):
    with ChatServer(echo, fault=lambda number: "slow" if number < 3 else None) as server:
        ask(server, log, "abc", seconds=0.3, concurrency=3)
    (message,) = (record.getMessage() for record in caplog.records if record.name.startswith("datasets_scripts"))
    assert "timeout (within 0.3 s); it is slow, or takes none; raise --timeout, or lower --concurrency" in message
    assert "sent again" in message


def test_the_number_of_concurrent_requests_is_as_requested(log):
    with ChatServer(echo, latency=1.0) as server:  # a busy machine, too, sends 32 requests in that time
        ask(server, log, map(str, range(96)), concurrency=32, seconds=10)
    assert server.most_at_once == 32


def test_the_log_belongs_to_one_process(tmp_path, log):
    command = (
        "from pathlib import Path; from datasets_scripts.llm.request_log import RequestLog; RequestLog(Path({!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", command.format(str(log.path))], capture_output=True, text=True, cwd="."
    )
    assert "is in use by another process" in done.stderr


def test_a_file_of_another_kind_is_not_a_log(tmp_path):
    (tmp_path / "notes.txt").write_text(
        "not a database, but some text that is long enough to be read as a header " * 9
    )
    with pytest.raises(ClinRaGenInputError, match="not a log of requests"):
        RequestLog(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"word": "a"}', "a"),
        ('```json\n{"word": "a"}\n```', "a"),
        ('<think>{"word": "b"} or so</think> Here it is: {"word": "a"}', "a"),
        ('{"word": "a",}', "a"),
        ("{'word': 'a'}", "a"),
        ('{"word": "a"', None),
        ('{"word": "a and then it was cut', None),
        ("no object at all", None),
        ('{"other": "a"}', None),
        ('{"word": 1}', None),
        ("", None),
    ],
)
def test_texts_that_are_valid_answers(content, value):
    answer = parse_answer(content, SCHEMA)
    assert (answer.value and answer.value["word"]) == value
    assert bool(answer.reason) == answer.again == (value is None)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3), ("0.5", 0.5), ("0", 0), ("-4", 0), ("9" * 400, LONGEST_WAIT), ("nan", 0), ("inf", LONGEST_WAIT)]
    + [("soon", None), ("", None), (None, None), ("Tue, 99 Foo 2020", None)],
)
def test_the_wait_that_a_server_asks_for_is_bounded(header, seconds):
    assert _retry_after(header) == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(20, 18, 20), (-500, 0, 0), (9999, LONGEST_WAIT, LONGEST_WAIT)])
def test_the_wait_may_be_a_date(ahead, least, most):
    assert least <= _retry_after(formatdate(time.time() + ahead, usegmt=True)) <= most


@given(st.text(max_size=60), st.integers(0, 40))
@example("}", 0)
@example("</think>", 0)
@example("1}", 1)
@example('"}', 1)
@settings(max_examples=200)
def test_any_text_is_read_and_a_cut_one_is_never_taken_for_whole(word, cut):
    whole = json.dumps({"word": word})
    assert parse_answer(whole, SCHEMA).value == {"word": word}
    part = whole[: max(0, len(whole) - 1 - cut)]
    answer = parse_answer(part, SCHEMA)
    assert answer.value is None or answer.value == {"word": word}


def test_the_same_body_has_the_same_key():
    bodies = [{"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, {"a": 1, "b": [2, 1]}]
    keys = [RequestLog.key(body) for body in bodies]
    assert keys[0] == keys[1] != keys[2]
    assert Counter(map(body_key, bodies)).most_common(1)[0][1] == 2
