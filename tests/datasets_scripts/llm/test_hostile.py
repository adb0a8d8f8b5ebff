# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Malformed replies of endpoints: each is a counted reason, at once and after a restart with the same log.

The oracle of the mutated replies is the rule that a result is either complete by the schema or a reason in words.
"""

import json
import sqlite3
import stat
import tempfile
import time
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_scripts.common.outputs import ResumableError
from datasets_scripts.llm.answers import LONGEST, LONGEST_REPAIRED, parse_answer
from datasets_scripts.llm.chat import Request
from datasets_scripts.llm.endpoint import LARGEST_ANSWER, EndpointModel
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.llm.request_log import RequestLog
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.datasets_scripts.llm.raw_server import RawServer, chat, http


SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}
GOOD = '{"word": "a"}'
DEEP = "[" * 100_000 + "]" * 100_000
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def with_usage(tokens):
    return http(f'{{"choices": [{{"message": {{"content": "{{}}"}}}}], "usage": {{"prompt_tokens": {tokens}}}}}')


def ask(url, path, texts=("x",), **options):
    log = RequestLog(path)
    try:
        options = {"attempts": 2, "seconds": 5.0, "first_wait": 0.001, **options}
        model = EndpointModel("m", url, log, confined=True, **options)
        requests = [Request([{"role": "user", "content": text}], SCHEMA) for text in texts]
        return list(map_in_order(model.answer, requests, model))
    finally:
        log.close()


MALFORMED = {
    "deep JSON": http(DEEP),
    "deep objects": http('{"a":' * 50_000 + "1" + "}" * 50_000),
    "no choices": http({}),
    "empty choices": http(chat("", choices=[])),
    "choices of another kind": http(chat("", choices={"0": GOOD})),
    "null choices": http(chat("", choices=None)),
    "no message": http(chat("", choices=[{}])),
    "text as message": http(chat("", choices=[{"message": "hello"}])),
    "list as content": http(chat([{"type": "text", "text": GOOD}])),
    "empty list as content": http(chat([])),
    "number as content": http(chat(5)),
    "zero as content": http(chat(0)),
    "infinity as content": http('{"choices": [{"message": {"content": 1e999}}]}'),
    "NaN as content": http('{"choices": [{"message": {"content": NaN}}]}'),
    "truth as content": http(chat(True)),
    "object as content": http(chat({"word": "a"})),
    "half a character": http(b'{"choices": [{"message": {"content": "\\ud800"}}]}'),
    "usage of another kind": http(chat(GOOD, usage=[1, 2])),
    "no UTF-8": http(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
    "a page": http("<html><body>It works!</body></html>", headers=("Content-Type: text/html",)),
    "nothing": http(b""),
    "null": http("null"),
    "a list": http([chat(GOOD)]),
    "a number": http("1e999"),
    "an error with status 200": http({"error": {"message": "no such model", "code": "model_not_found"}}),
    "a number of 5000 digits": http("9" * 5000),
    "JSON that was cut": http(json.dumps(chat(GOOD))[:-20]),
}
BROKEN = {
    "a cut chunk": CHUNKED + b"fff\r\n" + b"{" * 9,
    "a chunk without a length": CHUNKED + b"zz\r\nabc",
    "a body that is cut": http(chat(GOOD))[:-9],
    "no HTTP": b"\x00\x01\x02 hello\r\n\r\n",
    "no reply": b"",
    "a status that is no number": http(chat(GOOD), "OK OK"),
    "a line without an end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
    "compressed, but it is not": http(chat(GOOD), headers=("Content-Encoding: gzip",)),
    "longer than any answer": http(b" " * (LARGEST_ANSWER + 1)),
}
USELESS = {  # a text, which is kept, but no answer: asked again with the reason
    "no JSON": [None, "", "I cannot help with that.", "<html></html>", DEEP],
    "JSON nested too deep": ['{"word":' * 3000 + "1" + "}" * 3000],
    "JSON of another shape": ["{}", '{"word": 1e999}', '{"word": NaN}', '{"word": ["a"]}', '{"other": "a"}'],
    "JSON with a key twice": ['{"word": "a", "word": "b"}'],
    "half a character": ['{"word": "\\ud83d"}'],
    "JSON that was cut off": ['{"word": "a', '{"word": "a", "'],
    "too long an answer": ['{"word": "' + "a" * LONGEST + '"}', '{"word":' + "[" * 200_000 + "}"],
    "broken JSON": ["{" * 7000 + "}", '{"word": ["' + 'a"' * 4500 + '"]}', '{"word": ' + "[" * 900 + "}"],
}


def check_counted(reply, reason, path):
    with RawServer(lambda number: reply) as server:
        for _ in range(2):  # the second run finds the log of the first
            (answer,) = ask(server.url, path)
            assert (answer.value, answer.reason) == (None, reason)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_reply_other_than_a_completion_is_counted(tmp_path, name):
    check_counted(MALFORMED[name], "malformed reply", tmp_path / "log")


@pytest.mark.parametrize("name", BROKEN)
def test_a_reply_that_does_not_arrive_is_counted(tmp_path, name):
    check_counted(BROKEN[name], "broken connection", tmp_path / "log")


@pytest.mark.parametrize(("reason", "content"), [(reason, c) for reason, cs in USELESS.items() for c in cs])
def test_a_text_without_an_answer_is_counted_and_may_be_requested_again(tmp_path, reason, content):
    began = time.monotonic()
    check_counted(http(chat(content)), reason, tmp_path / "log")
    assert time.monotonic() - began < 20


def test_tool_calls_instead_of_a_text_are_counted(tmp_path):
    calls = {"message": {"content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}}
    check_counted(http(chat("", choices=[calls])), "no JSON", tmp_path / "log")


TOKENS = ["1e999", "NaN", "-1e999", "1e30", "-5000000", '"many"', "[1]", "null", "true", "1.5"]


@pytest.mark.parametrize("tokens", TOKENS)
def test_impossible_token_counts_are_replaced_by_estimates(tmp_path, tokens):
    with RawServer(lambda number: with_usage(tokens)) as server:
        ask(server.url, tmp_path / "log")
    log = RequestLog(tmp_path / "log")
    usage = log.usage()
    log.close()
    assert (usage.prompt_tokens, usage.completion_tokens) == (8, 1024)  # reserved for a chat of one letter


def test_one_poisonous_reply_costs_no_other_record(tmp_path):
    poison = [*MALFORMED.values(), *(http(chat(c)) for cs in USELESS.values() for c in cs)]
    with RawServer(lambda number: poison[number // 2] if number % 2 else http(chat(GOOD))) as server:
        answers = ask(
            server.url, tmp_path / "log", map(str, range(2 * len(poison))), attempts=1, concurrency=1, seconds=30
        )
    assert [bool(answer.value) for answer in answers] == [True, False] * len(poison)


def test_an_error_names_status_code_and_address_but_no_message_and_no_key(tmp_path):
    secret = "xylophonic crepitations"
    error = {"error": {"message": f"key sk-hunter2: {secret}", "type": secret, "code": "invalid_api_key"}}
    reply = http(error, "401 Unauthorized", (f"X-Why: {secret}",))
    with RawServer(lambda number: reply) as server, pytest.raises(ResumableError) as caught:
        ask(server.url, tmp_path / "log", ["a", "b"], api_key="sk-hunter2")
    assert b"Authorization: Bearer sk-hunter2" in server.heads[0]
    assert f"{server.url}/chat/completions" in str(caught.value)
    assert "HTTP 401 (Unauthorized, invalid_api_key)" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("hunter2", *secret.split()))


def test_an_error_with_status_200_is_named_when_it_ends_the_run(tmp_path):
    reply = MALFORMED["an error with status 200"]
    with RawServer(lambda number: reply) as server, pytest.raises(ResumableError, match=r"reply \(model_not_found\)"):
        ask(server.url, tmp_path / "log", map(str, range(50)))
    assert len(server.bodies) < 50


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(GOOD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["choices", "message", "content", "usage", "prompt_tokens", "completion_tokens", "error", "word", 0]


@st.composite
def completions(draw):
    """A completion of which some fields are replaced, left out, or cut."""
    reply = chat(draw(st.just(GOOD) | st.text(max_size=30) | JSON))
    for _ in range(draw(st.integers(0, 3))):
        place = reply
        for step in draw(st.permutations(FIELDS))[: draw(st.integers(1, 3))]:
            inner = place.get(step) if isinstance(place, dict) else None
            if isinstance(inner, list) and inner:
                inner = inner[0]
            if not isinstance(inner, dict):
                break
            place = inner
        place[draw(st.sampled_from(FIELDS[:-1]))] = draw(JSON)
    text = json.dumps(reply).encode()
    cut = draw(st.none() | st.integers(0, len(text)))
    text = text if cut is None else text[:cut] + draw(st.binary(max_size=6)) + text[cut + draw(st.integers(0, 4)) :]
    whole = http(
        text, draw(st.sampled_from(["200 OK", "200 OK", "200 OK", "429 Wait", "500 Oh", "400 No", "299 Odd"]))
    )
    return whole[: draw(st.none() | st.integers(0, len(whole)))]


def check_mutated(replies):
    """Each reply is answered to one record, in two runs with one log: a value of the right shape, or a reason."""
    with tempfile.TemporaryDirectory() as folder, RawServer(lambda number: replies[number]) as server:
        for _ in range(2):
            server.bodies.clear()
            began = time.monotonic()
            answers = ask(
                server.url, Path(folder) / "log", map(str, range(len(replies))), attempts=1, concurrency=1, seconds=5
            )
            assert time.monotonic() - began < 10
            for answer in answers:
                assert bool(answer.reason) == (answer.value is None)
                if answer.value is not None:
                    jsonschema.validate(answer.value, SCHEMA)


@given(st.lists(completions(), min_size=1, max_size=4))
@settings(max_examples=30, suppress_health_check=list(HealthCheck))
def test_mutated_replies_are_answers_or_reasons(replies):
    check_mutated(replies)


@given(st.text(alphabet="{}[]\",:\\a1 \n`/<>#'u0", max_size=300), st.integers(1, 20))
@settings(max_examples=150)
def test_any_marks_are_read_in_time(text, times):
    began = time.monotonic()
    answer = parse_answer("{" + text * times + "}", SCHEMA)
    assert bool(answer.reason) == (answer.value is None)
    assert time.monotonic() - began < 8


def test_the_longest_text_that_is_mended_is_mended_in_time():
    text = '{"word": "' + "fever, " * ((LONGEST_REPAIRED - 20) // 7) + 'chills",}'
    assert parse_answer(text, SCHEMA).value is not None


def written(tmp_path, texts="abc"):
    with RawServer(lambda number: http(chat(GOOD))) as server:
        ask(server.url, tmp_path / "log", texts)
    return tmp_path / "log"


@pytest.mark.parametrize("content", ["NULL", "x'ff00'", "CAST(x'ff61' AS TEXT)"])
def test_a_damaged_answer_is_requested_again_and_counted(tmp_path, content, caplog):
    path = written(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE answers SET content = {content} WHERE rowid = 2")
        connection.execute("UPDATE requests SET status = CAST(x'ff61' AS TEXT) WHERE id = 2")
    connection.close()
    with RawServer(lambda number: http(chat(GOOD))) as server:
        answers = ask(server.url, path, "abc")
    assert [answer.value for answer in answers] == [{"word": "a"}] * 3
    assert len(server.bodies) == 1


def read_again(path, texts):
    """Return the answers of a damaged log, or the error line."""
    with RawServer(lambda number: http(chat(GOOD))) as server:
        try:
            return ask(server.url, path, texts)
        except ClinRaGenInputError as error:
            return str(error)


def test_a_log_that_was_cut_or_overwritten_is_one_line_or_read(tmp_path):
    texts, lines = [str(i) for i in range(100)], 0
    whole = written(tmp_path, texts).read_bytes()
    for place in range(0, len(whole), 5000):
        for damaged in (whole[:place], whole[:place] + b"\xa5" * 700 + whole[place + 700 :]):
            path = tmp_path / f"log-{place}-{len(damaged)}"
            path.write_bytes(damaged)
            found = read_again(path, texts)
            if isinstance(found, str):
                lines += 1
                assert found.startswith(f"{path} is ")
                assert "\n" not in found
            else:
                assert [answer.value for answer in found] == [{"word": "a"}] * 100
    assert lines


def test_a_database_of_other_tables_is_not_a_log(tmp_path):
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE answers (question TEXT)")
    connection.close()
    with pytest.raises(ClinRaGenInputError, match="is not a log of requests"):
        RequestLog(tmp_path / "other")


def test_a_place_that_cannot_hold_a_log_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "log", tmp_path):
        with pytest.raises(ClinRaGenInputError, match=r"cannot be written: .*; name another file with --requests"):
            RequestLog(path)


def test_only_the_owner_can_read_a_log(tmp_path):
    (tmp_path / "log").touch(0o644)
    log = RequestLog(tmp_path / "log")
    log.answered(log.sent("k"), "k", "a", 1, 1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    log.close()
    assert modes["log"] == 0o600
    assert set(modes.values()) == {0o600}
    assert "log-wal" in modes


def test_a_log_without_an_answer_is_not_a_result(tmp_path):
    with RawServer(lambda number: http("", "503 Busy")) as server:
        ask(server.url, tmp_path / "log", "ab")
    log = RequestLog(tmp_path / "log")
    with pytest.raises(ClinRaGenInputError, match=r"no request was answered \(4 HTTP 503\)"):
        log.report()
    log.close()
