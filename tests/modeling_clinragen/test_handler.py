# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS, ClinRaGenPipeline, handler
from modeling_clinragen.handler import (
    MAX_MEASUREMENTS,
    MAX_NOTE_CHARACTERS,
    MAX_RECORDS,
    EndpointHandler,
    RequestError,
)
from tests.recipes.models.test_folder import run_elsewhere


SHORT = {"max_new_tokens": 8}


def as_sent(record):
    """A record as JSON has it: null where nothing was measured."""
    note, values, times = record
    rows = [[None if np.isnan(cell) else cell for cell in row] for row in values.tolist()]
    return json.loads(json.dumps({"note": note, "lab_times": times.tolist(), "lab_values": rows}, allow_nan=False))


def same(answer, other):
    """
    Whether two answers say the same: numbers of records that were encoded together differ by some 1e-7 from those of a
    record alone, which may show in the last of their four digits; all else is equal. The version is left out: tests
    change the settings that models in memory share.
    """
    if isinstance(answer, float) and isinstance(other, float):
        return answer == pytest.approx(other, abs=1.01e-4)
    if isinstance(answer, dict) and isinstance(other, dict):
        given, expected = ({n: v for n, v in each.items() if n != "model_version"} for each in (answer, other))
        return list(answer) == list(other) and same(list(given.values()), list(expected.values()))
    if isinstance(answer, list) and isinstance(other, list):
        return len(answer) == len(other) and all(map(same, answer, other))
    return answer == other


@pytest.fixture
def pipe(tiny_model, tiny_processor):
    return ClinRaGenPipeline(tiny_model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)


@pytest.fixture
def endpoint(pipe):
    return EndpointHandler(pipe=pipe)


def test_alone_in_a_saved_folder_it_answers_in_a_process_that_knows_nothing_else(tiny_folder, tmp_path, records, pipe):
    shutil.copy(handler.__file__, tiny_folder / "handler.py")
    sent = [as_sent(record) for record in records]
    (tmp_path / "records.json").write_text(json.dumps(sent))
    code = """
        import importlib.util, json, sys
        spec = importlib.util.spec_from_file_location("handler", sys.argv[1] + "/handler.py")  # as the endpoint does
        module = importlib.util.module_from_spec(spec)
        sys.modules["handler"] = module
        spec.loader.exec_module(module)
        endpoint = module.EndpointHandler(sys.argv[1])
        records, short = json.load(open("records.json")), {"max_new_tokens": 8}
        many = endpoint({"inputs": records, "parameters": short})
        one = endpoint({"inputs": records[0], "parameters": {**short, "evidence": True, "attention": True}})
        try:
            endpoint({"inputs": [records[0], {"labs": {"Sodium": [[1, 140]]}}]})
        except Exception as error:
            refused = [isinstance(error, ValueError), error.status, str(error)]
        print(json.dumps([many, one, refused], allow_nan=False))
    """
    done = run_elsewhere(code, tiny_folder, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    many, one, refused = json.loads(done.stdout.splitlines()[-1])
    assert same(many, [pipe(record, **SHORT) for record in sent])
    assert same(one, json.loads(json.dumps(pipe(sent[0], evidence=True, attention=True, **SHORT))))
    assert refused[:2] == [True, 422]
    assert refused[2].startswith("inputs[1].labs: unknown channel 'Sodium'; the model reads: ")


def test_a_record_is_answered_as_the_pipeline_answers_it_alone(endpoint, pipe, records):
    sent = [as_sent(record) for record in records]
    assert same(endpoint({"inputs": sent, "parameters": SHORT}), [pipe(record, **SHORT) for record in sent])
    assert endpoint({"inputs": sent[0], "parameters": SHORT}) == pipe(sent[0], **SHORT)
    assert endpoint({"inputs": [sent[1]], "parameters": None}) == [pipe(sent[1])]


def test_a_request_may_ask_for_the_decoders_own_text(endpoint, pipe, records):
    sent = as_sent(records[0])
    plain = endpoint({"inputs": sent, "parameters": {"grounded": False, **SHORT}})
    assert plain["generated_text"] == pipe(sent, grounded=False, **SHORT)["generated_text"]
    assert plain["generated_text"] != endpoint({"inputs": sent, "parameters": SHORT})["generated_text"]


NOTE = {"note": "fever"}
MANY = {"labs": {"pH": [[1, 7.4]] * (MAX_MEASUREMENTS + 1)}}


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (None, 400, "a request is"),
        ([NOTE], 400, "a request is"),
        ({"input": NOTE}, 400, "a request is"),
        ({"inputs": NOTE, "params": {}}, 422, "params: unknown field"),
        ({"inputs": None}, 422, "inputs: must be an object"),
        ({"inputs": []}, 422, "inputs: empty"),
        ({"inputs": "fever"}, 422, "inputs: must be an object"),
        ({"inputs": [NOTE] * (MAX_RECORDS + 1)}, 413, f"inputs: {MAX_RECORDS + 1} records; send at most"),
        ({"inputs": [NOTE, {}]}, 422, r"inputs\[1\]: neither a note nor a measurement"),
        ({"inputs": {"note": " "}}, 422, "inputs: neither a note nor a measurement"),
        (
            {"inputs": {"labs": {"pH": [[1, 70]]}}},
            422,
            r"inputs: neither .*\. pH 70 at 1 h is left out: plausible",
        ),
        (
            {"inputs": {"labs": {"pH": [[-1, 7.2]]}}},
            422,
            r"inputs: neither .*\. pH 7\.2 at -1 h is left out",
        ),
        ({"inputs": {"note": 3}}, 422, "inputs.note: must be text, not int"),
        ({"inputs": {"note": "\ud800"}}, 422, "inputs.note: holds half of a character"),
        ({"inputs": {"note": "x" * (MAX_NOTE_CHARACTERS + 1)}}, 413, "inputs.note: longer than"),
        ({"inputs": [MANY]}, 413, r"inputs\[0\].labs: more than"),
        ({"inputs": {"lab_values": [[None]] * (MAX_MEASUREMENTS + 1)}}, 413, "inputs.lab_values: more than"),
        ({"inputs": {"labs": {"Sodium": [[1, 2]]}}}, 422, "inputs.labs: unknown channel 'Sodium'.*Heart Rate"),
        ({"inputs": {"labs": []}}, 422, "inputs.labs: the series must be a dict"),
        ({"inputs": {"labs": {"pH": 7.4}}}, 422, "inputs.labs: channel 'pH': every entry must be"),
        ({"inputs": {"labs": {"pH": [[1, "low"]]}}}, 422, "inputs.labs: channel 'pH': every entry must be"),
        ({"inputs": {"labs": {"pH": [[1, 10**400]]}}}, 422, "inputs.labs: channel 'pH': every entry must be"),
        ({"inputs": {"labs": {"pH": [[None, 7.4]]}}}, 422, "inputs.labs: channel 'pH': every entry must be"),
        ({"inputs": {"labs": {}, "lab_values": []}}, 422, "inputs.labs: give the series either so or as"),
        ({"inputs": {"lab_values": 5}}, 422, "inputs.lab_values: the series"),
        ({"inputs": {"lab_values": [[1, 2]], "lab_times": [1]}}, 422, "inputs.lab_values: .* 11 channels"),
        ({"inputs": {"lab_values": [[1] * 11], "lab_times": [None]}}, 422, "inputs.lab_values: .*lab_times holds"),
        ({"inputs": {"lab_values": [[10**400] * 11], "lab_times": [1]}}, 422, "inputs.lab_values: .*one number"),
        ({"inputs": NOTE, "parameters": []}, 422, "parameters: must be an object"),
        ({"inputs": NOTE, "parameters": {"num_return_sequences": 9}}, 422, "parameters.num_return_sequences: unknown"),
        ({"inputs": NOTE, "parameters": {"evidence": 1}}, 422, "parameters.evidence: must be true or false"),
        ({"inputs": NOTE, "parameters": {"num_beams": True}}, 422, "parameters.num_beams: must be a whole number"),
        ({"inputs": NOTE, "parameters": {"num_beams": 9}}, 422, "parameters.num_beams: .* from 1 to 8"),
        ({"inputs": NOTE, "parameters": {"num_beams": 2.0}}, 422, "parameters.num_beams: must be a whole number"),
        ({"inputs": NOTE, "parameters": {"max_new_tokens": 10**9}}, 422, "parameters.max_new_tokens: .* to 512"),
        ({"inputs": NOTE, "parameters": {"recall": 1}}, 422, "parameters.recall: must be a number from"),
        ({"inputs": NOTE, "parameters": {"recall": float("nan")}}, 422, "parameters.recall: must be a number from"),
        ({"inputs": NOTE, "parameters": {"recall": 0.9}}, 422, "parameters.recall: this model was not calibrated"),
    ],
)
def test_a_wrong_request_is_refused_with_its_field_and_the_remedy(endpoint, data, status, message):
    with pytest.raises(RequestError, match=f"^{message}") as caught:
        endpoint(data)
    assert caught.value.status == status
    assert "\n" not in str(caught.value)
    assert "fever" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["note", "labs", "lab_values", "lab_times"])
channel_series = st.dictionaries(st.sampled_from([channel["name"] for channel in CHANNELS]), json_values, max_size=2)


@given(st.dictionaries(fields, json_values | channel_series, max_size=4) | json_values)
@settings(max_examples=300)
def test_any_record_is_read_or_refused(tiny_processor, record):
    endpoint = EndpointHandler(pipe=type("Pipe", (), {"processor": tiny_processor}))
    try:
        (read,), _ = endpoint.read_request({"inputs": [record]})
    except RequestError as error:
        assert str(error).startswith("inputs[0]")  # noqa: PT017
    else:
        assert tiny_processor.can_read(**read)


def test_threads_are_answered_one_after_the_other_and_each_its_own(endpoint, records):
    sent = [as_sent(record) for record in records]
    expected = [endpoint({"inputs": record, "parameters": SHORT}) for record in sent]
    answers = {}

    def ask(i):
        answers[i] = endpoint({"inputs": sent[i % len(sent)], "parameters": SHORT})

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: expected[i % len(sent)] for i in range(16)}


def test_when_the_model_fails_on_a_record_the_others_are_answered_and_no_note_is_logged(
    endpoint, records, monkeypatch, caplog
):
    good = [endpoint.read_record(as_sent(record), "x") for record in records]
    bad = endpoint.read_record({"note": "secret"}, "x")
    preprocess = endpoint.pipe.preprocess

    def failing(record):
        if record["note"] == "secret":
            raise RuntimeError(record["note"])
        return preprocess(record)

    monkeypatch.setattr(endpoint.pipe, "preprocess", failing)
    answers = endpoint.try_answer([*good[:2], bad, *good[2:]], SHORT)
    assert isinstance(answers.pop(2), RuntimeError)
    assert same(answers, [endpoint.answer([record], SHORT)[0] for record in good])
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_numbers_that_are_not_finite_become_null():
    answer = {"a": [float("nan"), (1.5, float("-inf"))], 2: "x"}
    assert handler.as_json(answer) == {"a": [None, [1.5, None]], "2": "x"}
