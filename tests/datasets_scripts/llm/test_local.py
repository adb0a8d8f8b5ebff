# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Language models in this process, with tokenizers and files that lack something."""

import json
import shutil

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from datasets_scripts.llm.chat import Request
from datasets_scripts.llm.endpoint import Sampling
from datasets_scripts.llm.local import LocalModel, _by_similar_length
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.llm.request_log import RequestLog
from datasets_scripts.teacher.prompt import SCHEMA
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.datasets_scripts.teacher.small_teacher import ANSWER, make_small_teacher


TOKENS = 200  # of an answer
WORDS = ["fever and a cough", "a long and dry cough"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return make_small_teacher(tmp_path_factory.mktemp("local") / "model", WORDS)


@pytest.fixture
def copy(teacher, tmp_path):
    return shutil.copytree(teacher, tmp_path / "model")


@pytest.fixture
def log(tmp_path):
    log = RequestLog(tmp_path / "requests.sqlite")
    yield log
    log.close()


def change_tokenizer(folder, **changed):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for name, value in changed.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)


def ask(folder, log, chats, **options):
    model = LocalModel(str(folder), log, sampling=Sampling(max_tokens=TOKENS, **options))
    requests = [Request([{"role": role, "content": text} for role, text in chat], SCHEMA) for chat in chats]
    return list(map_in_order(model.answer, requests, model))


def test_a_tokenizer_without_padding_and_end_answers_in_batches_as_alone(copy, log):
    change_tokenizer(copy, pad_token=None, eos_token=None)
    chats = [[("user", "fever")], [("user", "a long and dry cough and a fever")]]
    together = ask(copy, log, chats)
    log.connection.execute("DELETE FROM answers")
    assert together == [ask(copy, log, [chat])[0] for chat in chats]
    assert together[0].value == ANSWER


@pytest.fixture(scope="module")
def untaught(teacher, tmp_path_factory):
    """A model of random weights."""
    folder = shutil.copytree(teacher, tmp_path_factory.mktemp("untaught") / "model")
    LlamaForCausalLM(LlamaConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_model_would_write_each_answer_of_a_batch_fits_its_own_schema(untaught, log, seed):
    schemas = [
        SCHEMA,
        {"type": "object", "properties": {"score": {"enum": [1, 2, 3]}}, "required": ["score"]},
        {
            "type": "object",
            "properties": {"terms": {"type": "array", "items": {"type": "string"}}},
            "required": ["terms"],
        },
    ]
    model = LocalModel(str(untaught), log, sampling=Sampling(temperature=1.0, max_tokens=TOKENS, seed=seed))
    requests = [Request([{"role": "user", "content": text}], s) for s in schemas for text in WORDS]
    answers = list(map_in_order(model.answer, requests, model))
    assert [answer.reason for answer in answers] == [""] * len(requests)
    assert len({json.dumps(answer.value) for answer in answers}) > len(schemas)


def test_the_common_beginning_of_chats_is_encoded_once_and_changes_no_answer(untaught, log, monkeypatch):
    said = "a long and dry cough and a fever " * 12
    chats = [[("user", f"{said}{end}")] for end in ("fever", "cough and fever", "and a dry cough")]
    model = LocalModel(str(untaught), log, sampling=Sampling(max_tokens=TOKENS))
    model.model.to(torch.float32)
    requests = [Request([{"role": role, "content": text} for role, text in chat], SCHEMA) for chat in chats]
    shared = model._texts(requests, 0)
    assert len(model.opening) > 32
    assert [model._texts([request], 0)[0] for request in requests] == shared
    monkeypatch.setattr(model, "_read_opening", lambda prompts: 0)
    assert model._texts(requests, 0) == shared


def test_answers_to_another_schema_are_not_taken_from_the_log(untaught, log):
    model = LocalModel(str(untaught), log, sampling=Sampling(max_tokens=TOKENS))
    chat = [{"role": "user", "content": "fever"}]
    narrow = {"type": "object", "properties": {"note_rationale": {"const": []}, "lab_rationale": {"const": []}}}
    requests = [Request(chat, SCHEMA), Request(chat, SCHEMA, narrow=narrow | {"required": list(narrow["properties"])})]
    wide, empty = list(map_in_order(model.answer, requests, model))
    assert empty.value == {"note_rationale": [], "lab_rationale": []}
    assert wide.value is not None
    assert log.report()["requests"] == 2


def test_too_few_tokens_for_an_answer_is_one_line(untaught, log):
    model = LocalModel(str(untaught), log, sampling=Sampling(max_tokens=20))
    with pytest.raises(ClinRaGenInputError, match=r"20 tokens are too few for an answer.*raise --max-answer-tokens"):
        list(map_in_order(model.answer, [Request([{"role": "user", "content": "fever"}], SCHEMA)], model))


def test_a_template_without_system_messages_gets_it_with_the_first_message(copy, log):
    change_tokenizer(
        copy,
        chat_template="{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + AutoTokenizer.from_pretrained(copy).chat_template,
    )
    model = LocalModel(str(copy), log, sampling=Sampling(max_tokens=TOKENS))
    chat = [{"role": "system", "content": "Write JSON."}, {"role": "user", "content": "fever"}]
    merged = [{"role": "user", "content": "Write JSON.\n\nfever"}]
    assert model._prompt(chat) == model._prompt(merged)
    assert ask(copy, log, [[("system", "Write JSON."), ("user", "fever")]])[0].value == ANSWER


def test_a_template_that_refuses_every_chat_is_one_line(copy, log):
    change_tokenizer(copy, chat_template="{{ raise_exception('not today') }}")
    with pytest.raises(ClinRaGenInputError, match="cannot answer: TemplateError: not today"):
        ask(copy, log, [[("user", "fever")]])


def test_no_chat_template_is_one_line(copy, log):
    change_tokenizer(copy, chat_template=None)
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ClinRaGenInputError, match="has no chat template"):
        LocalModel(str(copy), log)


def test_a_context_that_an_answer_fills_is_one_line(teacher, log):
    with pytest.raises(ClinRaGenInputError, match=r"room for 8192 tokens, and --max-answer-tokens is 8192"):
        LocalModel(str(teacher), log, sampling=Sampling(max_tokens=8192))


def test_a_prompt_that_is_too_long_is_counted_and_the_others_are_answered(teacher, log):
    long, short = ask(teacher, log, [[("user", "cough " * 9000)], [("user", "fever")]])
    assert (long.value, long.reason) == (None, "too long a prompt")
    assert short.value == ANSWER
    assert log.report()["replies"] == {"answered": 1, "too long a prompt": 1}


def test_where_no_prompt_fits_there_is_no_result(teacher, log):
    ask(teacher, log, [[("user", "cough " * 9000)]] * 2)
    with pytest.raises(ClinRaGenInputError, match=r"no request was answered \(2 too long a prompt\)"):
        log.report()


def test_invalid_numbers_are_one_line(copy, log):
    model = LlamaForCausalLM.from_pretrained(copy)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    model.save_pretrained(copy)
    with pytest.raises(ClinRaGenInputError, match="cannot answer: RuntimeError: probability tensor"):
        ask(copy, log, [[("user", "fever")]], temperature=1.0)


def test_a_vocabulary_larger_than_the_model_is_one_line(copy, log):
    config = LlamaConfig.from_pretrained(copy)
    config.vocab_size = 3
    config.pad_token_id = config.eos_token_id = 0
    LlamaForCausalLM(config).save_pretrained(copy)
    with pytest.raises(ClinRaGenInputError, match="cannot answer: IndexError"):
        ask(copy, log, [[("user", "fever")]])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", b"{"),
        ("config.json", json.dumps({"model_type": "no-such-model"}).encode()),
        ("config.json", json.dumps({"model_type": "llama", "hidden_size": "wide"}).encode()),
        ("config.json", json.dumps({"model_type": "t5"}).encode()),
        ("tokenizer.json", b"[1, 2"),
        ("tokenizer.json", json.dumps({"model": {"type": "none"}}).encode()),
        ("model.safetensors", b"not a tensor in sight"),
        ("model.safetensors", b""),
    ],
)
def test_a_damaged_folder_is_one_line(copy, log, name, content):
    (copy / name).write_bytes(content)
    with pytest.raises(ClinRaGenInputError, match=r"^transformers:\S+/model cannot be loaded: \w+: .") as error:
        LocalModel(str(copy), log)
    assert "\n" not in str(error.value)


def test_answers_of_one_length_share_a_batch_with_the_one_that_waits_longest():
    def waiting(key, sentences, words):
        schema = {"type": "array", "items": {"const": "pneumonia"}, "minItems": sentences}
        return key, Request([{"role": "user", "content": "word " * words}], schema), 0, None

    given = [waiting("a", 4, 10), waiting("b", 1, 10), waiting("c", 4, 90), waiting("d", 5, 10), waiting("e", 4, 12)]
    assert [key for key, *_ in _by_similar_length(given)] == ["a", "e", "c", "d", "b"]
