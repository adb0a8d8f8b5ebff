# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import random

import pytest
import torch
from transformers import LogitsProcessor, StoppingCriteria

from modeling_clinragen import modeling_clinragen as modeling
from tests.modeling_clinragen.test_causal_lm_clinragen import FAMILIES, make_causal_model
from tests.modeling_clinragen.test_generation_clinragen import (  # noqa: F401 - fixtures
    made_records,
    model_with,
    phrase_processor,
    shapes,
    small_wordpiece,
)


def options_of(draw, model):
    """Many tokens, none of a list of diagnoses, end a text, so that rows of random weights end at different places."""
    listed = {token for part in (model.config.decisions.token_ids or {}).values() for token in numbers_in(part)}
    free = sorted(set(range(2, model.get_input_embeddings().num_embeddings)) - listed)
    options = {"eos_token_id": draw.sample(free, len(free) // draw.choice([4, 8, 20])), "pad_token_id": 0}
    options |= {"max_new_tokens": draw.randint(6, 90), "do_sample": False}
    return options | draw.choice([{}, {"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 2, "min_new_tokens": 5}])


def numbers_in(part):
    if isinstance(part, list):
        return [number for one in part for number in numbers_in(one)]
    return [] if isinstance(part, bool) else [part]


def shaken(model):
    """As drawn, all words are about as likely, and all records alike."""
    with torch.no_grad():
        for weight in (*model.backbone.parameters(), *getattr(model.diagnosis_head, "parameters", list)()):
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def as_transformers_writes(monkeypatch, model, **options):
    with monkeypatch.context() as patched:
        patched.setattr(modeling, "can_leave_rows", lambda *parts: False)
        return model.generate(**options)


def rows_computed(model, **options):
    """The text, and how many rows the decoder has read in all steps."""
    rows = []
    hook = model.register_forward_pre_hook(
        lambda module, args, given: rows.append(len(given["decoder_input_ids"])), with_kwargs=True
    )
    text = model.generate(**options)
    hook.remove()
    return text, sum(rows)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("head", [False, True])
def test_texts_are_those_of_transformers(shapes, batch_size, head, monkeypatch):  # noqa: F811
    draw, saved = random.Random(batch_size), 0
    for processor, text_config in shapes:
        model = shaken(model_with(processor, head, text_config=text_config, seed=draw.randrange(10**6)))
        batch = processor(notes=made_records(draw, batch_size), return_tensors="pt")
        for _ in range(4):
            options = {**batch, **options_of(draw, model)}
            expected = as_transformers_writes(monkeypatch, model, **options)
            found, rows = rows_computed(model, **options)
            assert torch.equal(found, expected)
            saved += batch_size * (found.shape[1] - 1) - rows
    assert saved > 0 or batch_size == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_of_a_decoder_only_model_are_those_of_transformers(family, phrase_processor, monkeypatch):  # noqa: F811
    draw, saved = random.Random(1), 0
    model = shaken(make_causal_model(phrase_processor.tokenizer, family, diagnosis_loss_weight=1.0))
    model.config.decisions.token_ids = phrase_processor.diagnosis_token_ids()
    model.config.decisions.thresholds = torch.rand(25).mul(0.9).add(0.3).clamp(max=0.99).tolist()
    batch = phrase_processor(notes=made_records(draw, 7), return_tensors="pt")
    for _ in range(6):
        options = {**batch, **options_of(draw, model)}
        found, rows = rows_computed(model, **options)
        assert torch.equal(found, as_transformers_writes(monkeypatch, model, **options))
        saved += 7 * (found.shape[1] - 1) - rows
    assert saved > 0


class _Callers(LogitsProcessor, StoppingCriteria):
    """Of the caller: it may know the rows by their number."""

    def __init__(self):
        self.rows = set()

    def __call__(self, input_ids, scores):
        self.rows.add(len(input_ids))
        return scores


@pytest.mark.parametrize("option", ["logits_processor", "output_scores", "use_cache", "do_sample"])
def test_who_may_see_the_rows_sees_all_of_them(phrase_processor, option):  # noqa: F811
    draw, callers = random.Random(0), _Callers()
    model = model_with(phrase_processor)
    batch = phrase_processor(notes=made_records(draw, 7), return_tensors="pt")
    options = options_of(draw, model) | {"max_new_tokens": 60}
    options |= {
        "logits_processor": {"logits_processor": [callers]},
        "output_scores": {"output_scores": True, "return_dict_in_generate": True},
        "use_cache": {"use_cache": False},
        "do_sample": {"do_sample": True},
    }[option]
    found, rows = rows_computed(model, **batch, **options)
    if option == "output_scores":
        assert {len(scores) for scores in found.scores} == {7}
        found = found.sequences
    assert rows == 7 * (found.shape[1] - 1)
    assert callers.rows == ({7} if option == "logits_processor" else set())
