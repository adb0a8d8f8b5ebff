# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import random

import pytest
import torch
from transformers import LogitsProcessor, StoppingCriteria, T5Config, T5ForConditionalGeneration

from modeling_clinragen import greedy_clinragen
from modeling_clinragen.t5_decoding_clinragen import T5Decoding
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
        patched.setattr(greedy_clinragen, "can_drop_rows", lambda *parts: False)
        return model.generate(**options)


def rows_computed(model, **options):
    """The text, and for how many rows the vocabulary's scores were computed in all steps."""
    rows = []
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    text = model.generate(**options)
    hook.remove()
    return text, sum(rows)


@pytest.fixture
def all_shapes(shapes, phrase_processor):  # noqa: F811
    """Those of `shapes`, and T5 as FLAN-T5 is: gated, its head not tied to the embedding."""
    flan = {"model_type": "t5", "vocab_size": len(phrase_processor.tokenizer), "d_model": 24, "d_ff": 32, "d_kv": 8}
    flan |= {"num_heads": 2, "num_layers": 2, "num_decoder_layers": 2, "feed_forward_proj": "gated-gelu"}
    return [*shapes, (phrase_processor, {**flan, "tie_word_embeddings": False, "scale_decoder_outputs": False})]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("head", [False, True])
def test_texts_are_those_of_transformers(all_shapes, batch_size, head, monkeypatch):
    draw, saved = random.Random(batch_size), 0
    for processor, text_config in all_shapes:
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


@pytest.mark.parametrize("gated", [False, True])
def test_a_t5_decodes_step_by_step_as_it_does_at_once(gated):
    torch.manual_seed(0)
    config = {"feed_forward_proj": "gated-gelu"} if gated else {}
    backbone = T5ForConditionalGeneration(
        T5Config(vocab_size=50, d_model=16, d_ff=32, d_kv=8, num_heads=2, num_layers=2, **config)
    ).eval()
    source, mask = torch.randn(5, 11, 16), (torch.rand(5, 11) > 0.3).long()
    mask[:, 0] = 1
    texts = torch.randint(0, 50, (5, 150))
    with torch.no_grad():
        expected = backbone(encoder_outputs=(source,), attention_mask=mask, decoder_input_ids=texts).logits
        decoding = T5Decoding(backbone, source, mask)
        for length in (1, 2, 7, 64, 65, 100):  # several tokens at once, and more than there is room for at first
            found = decoding.logits(texts[:, :length])
            torch.testing.assert_close(found, expected[:, length - 1], atol=1e-5, rtol=1e-4)
        decoding.keep_rows(torch.tensor([3, 0]))
        for length in (101, 140, 150):
            found = decoding.logits(texts[[3, 0], :length])
            torch.testing.assert_close(found, expected[[3, 0], length - 1], atol=1e-5, rtol=1e-4)


def test_a_streamer_gets_each_token_when_it_is_written(phrase_processor, monkeypatch):  # noqa: F811
    class Kept:
        def __init__(self):
            self.given, self.ended = [], False

        def put(self, tokens):
            self.given += tokens.flatten().tolist()

        def end(self):
            self.ended = True

    draw, model = random.Random(3), shaken(model_with(phrase_processor))
    options = {**phrase_processor(notes=made_records(draw, 1), return_tensors="pt"), **options_of(draw, model)}
    streamers = Kept(), Kept()
    text = model.generate(**options, streamer=streamers[0])
    as_transformers_writes(monkeypatch, model, **options, streamer=streamers[1])
    assert [streamer.ended for streamer in streamers] == [True, True]
    assert streamers[0].given == streamers[1].given == text[0].tolist()


class _Callers(LogitsProcessor, StoppingCriteria):
    """Of the caller: it may know the rows by their number."""

    def __init__(self):
        self.rows = set()

    def __call__(self, input_ids, scores):
        self.rows.add(len(input_ids))
        return scores


@pytest.mark.parametrize("option", ["logits_processor", "output_scores", "use_cache", "do_sample"])
def test_a_processor_of_the_caller_sees_all_rows(phrase_processor, option):  # noqa: F811
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
