# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON by construction: whatever a model prefers, its answer fits the schema and ends in time."""

import json

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from datasets_scripts.llm.answers import parse_answer
from datasets_scripts.llm.json_only import JsonOnly, vocabulary_of
from datasets_scripts.teacher.prompt import SCHEMA
from tests.datasets_scripts.teacher.small_teacher import byte_tokenizer


WORDS = 'fever, cough and "chills" {"evidence": ["fever"], "sentence": "Fever points to pneumonia."} größer als 39 °C'


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = byte_tokenizer([WORDS], ["<pad>", "<eos>"], vocab_size=400)
    return vocabulary_of(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>"))


def write(vocabulary, schemas, tokens, seed, scale=3.0):
    """Write like a model with random preferences: one text per schema."""
    only, rng = JsonOnly(vocabulary, schemas, tokens), np.random.default_rng(seed)
    ids = torch.zeros((len(schemas), 1), dtype=torch.long)
    taste = rng.normal(scale=scale, size=(len(schemas), vocabulary.vocab_size))  # some tokens again and again
    for _ in range(tokens):
        scores = torch.tensor(taste + rng.normal(size=taste.shape), dtype=torch.float32)
        ids = torch.cat([ids, only(ids, scores).argmax(dim=-1, keepdim=True)], dim=1)
    rows = [row[1:].tolist() for row in ids]
    ends = [row.index(vocabulary.eos_token) if vocabulary.eos_token in row else None for row in rows]
    return [vocabulary.decode_bytes(row[:end]).decode() for row, end in zip(rows, ends, strict=True)]


def closed(properties):
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False
    }  # fmt: skip


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
leaves = st.one_of(
    st.builds(lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
              st.integers(0, 5), st.integers(0, 60)),
    st.just({"type": "integer"}),
    st.lists(names, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.builds(lambda value: {"const": [value]}, names),
)  # fmt: skip
schemas = st.dictionaries(
    names,
    st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.dictionaries(names, inner, max_size=3).map(closed),
            st.builds(lambda items, least, more: {"type": "array", "items": items, "minItems": least,
                                                  "maxItems": least + more},
                      inner, st.integers(0, 2), st.integers(0, 3)),
            st.lists(inner, min_size=1, max_size=3).map(
                lambda items: {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
            ),
            st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        ),
        max_leaves=6,
    ),
    max_size=3,
).map(closed)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(schemas, min_size=1, max_size=3), st.integers(0, 2**32), st.integers(1, 200))
def test_every_answer_fits_its_schema_and_ends_within_its_budget(vocabulary, wanted, seed, more):
    needed = max(JsonOnly(vocabulary, wanted, 10**6).reserves)
    for schema, text in zip(wanted, write(vocabulary, wanted, needed + more, seed), strict=True):
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize("seed", range(8))
def test_the_constraint_holds_for_any_preference_of_the_model(vocabulary, seed):
    text = write(vocabulary, [SCHEMA], 300, seed)[0]
    assert parse_answer(text, SCHEMA).value == json.loads(text)


def test_words_that_a_sentence_has_to_end_with_are_written_when_the_budget_ends(vocabulary):
    pattern = "^Fever [a-z ]{0,200} (suggests|points to) pneumonia\\.$"
    schema = closed({"a": {"type": "string", "pattern": pattern, "examples": ["Fever  suggests pneumonia."]}})
    endings = set()
    for seed in range(6):
        sentence = json.loads(write(vocabulary, [schema], 90, seed)[0])["a"]
        jsonschema.validate({"a": sentence}, schema)
        endings.add(sentence[-20:])
    assert all(ending.endswith(" pneumonia.") for ending in endings)


def test_a_model_that_wants_one_thing_only_writes_it_within_the_form(vocabulary):
    only, wanted = JsonOnly(vocabulary, [closed({"said": {"enum": ["no", "fever"]}})], 100), "fever"
    ids, scores = torch.zeros((1, 1), dtype=torch.long), torch.zeros((1, vocabulary.vocab_size))
    scores[0, vocabulary.tokenize_str(wanted)] = 5.0
    for _ in range(100):
        ids = torch.cat([ids, only(ids, scores).argmax(dim=-1, keepdim=True)], dim=1)
    assert vocabulary.decode_str(ids[0, 1:].tolist()).startswith('{"said": "fever"}')


def test_a_budget_that_no_answer_fits_is_refused(vocabulary):
    with pytest.raises(ValueError, match=r"^20 tokens are too few for an answer, which may take \d+$"):
        JsonOnly(vocabulary, [SCHEMA], 20)


def test_scores_of_a_larger_vocabulary_than_the_tokenizers_are_masked(vocabulary):
    scores = torch.zeros((1, vocabulary.vocab_size + 40))
    scores[0, -1] = 9.0
    assert JsonOnly(vocabulary, [SCHEMA], 300)(torch.zeros((1, 1), dtype=torch.long), scores).argmax() < 400
