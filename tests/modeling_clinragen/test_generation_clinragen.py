# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import random
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from datasets_scripts.checkpoints import MINILM, resolve_checkpoint
from modeling_clinragen import PHENOTYPES, ClinRaGenFeatureExtractor, ClinRaGenProcessor
from modeling_clinragen.clinical_clinragen import NO_DISEASE
from modeling_clinragen.generation_clinragen import ClinRaGenDiagnosisLogitsProcessor, DiagnosisGrammar


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
ALIKE = ["Fever", "Fever, rash, and cough", "Rash", "Rash and fever"]


def processor_of(tokenizer, labels):
    return ClinRaGenProcessor(ClinRaGenFeatureExtractor(context_length=8), tokenizer, labels=labels)


@pytest.fixture(scope="module")
def wordpiece():
    return AutoTokenizer.from_pretrained(resolve_checkpoint(MINILM))


@pytest.fixture(params=["tiny_tokenizer", "wordpiece"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def assert_lists_only(text, names):
    """Between the marks stand these names, and nothing else."""
    listed = re.search(r"iagnosed ?:(.*?)\.? ?# ?# ?#", text).group(1)
    plain = ["".join(c for c in words.lower() if c.isalnum()) for words in (listed, "".join(names) or NO_DISEASE)]
    assert plain[0] == plain[1]


def random_list(grammar, draw, decided=None):
    """Tokens of a random walk through the grammar, to its end."""
    states, tokens = grammar.start(decided), []
    while states != [None]:
        token = draw.choice(sorted(grammar.options(states, decided)))
        states = grammar.step(states, token, decided)
        assert states
        tokens.append(token)
    return tokens


@pytest.mark.parametrize("labels", [LABELS, ALIKE])
def test_every_walk_through_the_grammar_writes_labels_each_once(tokenizer, labels):
    processor = processor_of(tokenizer, labels)
    grammar, draw, seen = DiagnosisGrammar(**processor.diagnosis_token_ids()), random.Random(0), set()
    for _ in range(100):
        text = tokenizer.decode([*grammar.opening, *random_list(grammar, draw)], skip_special_tokens=True)
        found = processor.parse(text)["diagnoses"]
        seen.add(tuple(found))
        assert_lists_only(text, found)
    assert () in seen
    assert len(seen) > 20 or labels is ALIKE


@given(st.sets(st.integers(0, 24)), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_decided_list_is_the_one_that_is_taught(tiny_processor, decided, seed):
    grammar = DiagnosisGrammar(**tiny_processor.diagnosis_token_ids())
    tokens = random_list(grammar, random.Random(seed), frozenset(decided))
    taught = tiny_processor.tokenizer(text_target=tiny_processor.target_text(decided))["input_ids"]
    assert taught[: len(grammar.opening) + len(tokens)] == [*grammar.opening, *tokens]


def test_what_is_taught_is_allowed(tokenizer):
    processor = processor_of(tokenizer, LABELS)
    grammar = DiagnosisGrammar(**processor.diagnosis_token_ids())
    for decided in ([], [3], [0, 8, 9, 24], list(range(25))):
        tokens = tokenizer(text_target=processor.target_text(decided, "fever", "low"))["input_ids"]
        assert tokens[: len(grammar.opening)] == list(grammar.opening)
        states = grammar.start()
        for token in tokens[len(grammar.opening) :]:
            if states == [None]:
                break
            assert token in grammar.options(states)
            states = grammar.step(states, token)
        assert states == [None]


def test_a_label_is_not_written_twice_nor_before_its_turn():
    grammar = DiagnosisGrammar([1], [[5], [5, 6], [7]], separator=[2], end=[3], nothing=[8])
    start = grammar.start()
    assert grammar.options(start) == {5, 7, 8}
    first = grammar.step(start, 5)
    assert grammar.options(first) == {2, 3, 6}
    after = grammar.step(first, 2)
    assert grammar.options(after) == {5, 7}  # 5 begins the second name
    assert grammar.options(grammar.step(after, 5)) == {6}
    last = grammar.step(grammar.step(after, 7), 3)
    assert last == [None]
    assert grammar.options(grammar.step(after, 7)) == {3}
    assert grammar.step(start, 9) == []


def generate(model, processor, records, **options):
    notes, values, times = zip(*records, strict=True)
    batch = processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")
    return model.generate(**batch, **options)


SETTINGS = [
    {"do_sample": False},
    {"do_sample": True, "temperature": 5.0, "top_k": 0},
    {"num_beams": 3},
    {"num_beams": 3, "num_return_sequences": 3, "do_sample": True, "temperature": 3.0},
    {"do_sample": True, "num_return_sequences": 4, "top_p": 0.9},
]


@pytest.mark.parametrize("options", SETTINGS)
@pytest.mark.parametrize("with_decisions", [False, True])
def test_random_weights_write_valid_lists_however_they_generate(
    tiny_model, tiny_processor, records, options, with_decisions
):
    torch.manual_seed(0)
    decisions = torch.rand(len(records), 25) < 0.2 if with_decisions else None
    constraint = ClinRaGenDiagnosisLogitsProcessor(DiagnosisGrammar(**tiny_processor.diagnosis_token_ids()), decisions)
    ids = generate(tiny_model, tiny_processor, records, logits_processor=[constraint], max_new_tokens=400, **options)
    per_record = len(ids) // len(records)
    for i, text in enumerate(tiny_processor.batch_decode(ids, skip_special_tokens=True)):
        assert text.startswith("### Disease Diagnosed:")
        found = tiny_processor.parse(text)["diagnoses"]
        assert_lists_only(text, found)
        if with_decisions:
            wanted = decisions[i // per_record].nonzero().flatten().tolist()
            assert found == [LABELS[j] for j in wanted]


def test_the_rest_of_the_text_is_what_it_would_be(tiny_model, tiny_processor, records):
    grammar = DiagnosisGrammar(**tiny_processor.diagnosis_token_ids())
    decisions = torch.zeros(len(records), 25, dtype=torch.bool)
    decisions[:, 3] = True
    constraint = ClinRaGenDiagnosisLogitsProcessor(grammar, decisions)
    ids = generate(
        tiny_model, tiny_processor, records, logits_processor=[constraint], max_new_tokens=80, do_sample=False
    )
    start = len(tiny_processor.tokenizer(text_target=tiny_processor.target_text([3]))["input_ids"])
    listed = len(grammar.opening) + len(random_list(grammar, random.Random(0), frozenset([3])))
    free = generate(
        tiny_model,
        tiny_processor,
        records,
        decoder_input_ids=ids[:, : listed + 1],
        max_new_tokens=80 - listed,
        do_sample=False,
    )
    assert listed < start
    assert torch.equal(free[:, : ids.shape[1]], ids[:, : free.shape[1]])
