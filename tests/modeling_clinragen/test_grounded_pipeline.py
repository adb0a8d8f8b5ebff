# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline's text is grounded: alone, in a batch, as a stream, and cut short."""

import itertools

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor

from modeling_clinragen import ClinRaGenPipeline
from tests.conftest import make_tiny_config, make_tiny_model
from tests.modeling_clinragen.grounded import (
    ILL,
    LABELS,
    PNEUMONIA,
    SHOCK,
    record_of,
)


class Dictated(LogitsProcessor):
    """Lets the decoder write given tokens, one list a record."""

    def __init__(self, texts):
        self.texts = texts

    def __call__(self, input_ids, scores):
        rows, place = len(input_ids) // len(self.texts), input_ids.shape[1] - 1
        forced = torch.full_like(scores, -torch.inf)
        for i, row in enumerate(forced):
            tokens = self.texts[i // rows]
            row[tokens[min(place, len(tokens) - 1)]] = 0.0
        return forced


@pytest.fixture(scope="module")
def pipe(make_processor, tokenizer):
    config = make_tiny_config(tokenizer)
    config.decisions.token_ids = None  # the list is dictated, too
    model = make_tiny_model(config)
    model.generation_config.max_new_tokens = 400
    processor = make_processor()
    return ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")


def dictated(pipe, *texts):
    return {
        "logits_processor": [Dictated(pipe.processor.encode_targets(list(texts))["input_ids"])],
        "do_sample": False,
    }


def dictated_texts(pipe):
    ids = [LABELS.index(name) for name in (PNEUMONIA, SHOCK)]
    return (
        pipe.processor.target_text(
            ids, "Crackles fit Pneumonia. Night sweats fit Pneumonia.", "Heart Rate is up to 7."
        ),
        pipe.processor.target_text(ids[:1], "", "Heart Rate is lower than normal, which fits Pneumonia."),
    )


def test_by_default_the_pipelines_text_is_grounded_with_the_origin_of_each_sentence(pipe):
    text = dictated_texts(pipe)[0]
    plain = pipe(ILL, grounded=False, **dictated(pipe, text))
    assert plain["generated_text"] == text
    assert [s["origin"] for s in plain["sentences"]] == ["written"] * 3
    answer = pipe(ILL, **dictated(pipe, text))
    assert answer["diagnoses"] == plain["diagnoses"]
    assert answer["note_rationale"] == "Crackles fit Pneumonia."
    assert [s["origin"] for s in answer["sentences"]] == ["written", "repaired", "composed"]
    assert (
        " ".join(s["text"] for s in answer["sentences"]) == pipe.processor.parse(answer["generated_text"])["rationale"]
    )
    for part, claims in (("note", answer["note_claims"]), ("lab", answer["claims"])):
        assert {(claim["verdict"], claim["argument"]) for claim in claims if claim["channel"]} <= {
            ("supported", "linked"),
            ("supported", ""),
        }
        assert all(answer[f"{part}_rationale"][c["start"] : c["end"]] == c["text"] for c in claims)
    assert [claim["text"] for claim in answer["note_claims"]] == ["Crackles"]


def test_alone_in_a_batch_with_beams_and_several_sequences_the_text_is_the_same(pipe):
    batch, texts = [ILL, record_of("History of PNA.")], dictated_texts(pipe)
    alone = [pipe(record, **dictated(pipe, text)) for record, text in zip(batch, texts, strict=True)]
    assert [a["generated_text"] for a in pipe(batch, batch_size=2, **dictated(pipe, *texts))] == [
        answer["generated_text"] for answer in alone
    ]
    several = {**dictated(pipe, *texts), "num_beams": 2, "num_return_sequences": 2}
    assert [a["generated_text"] for a in pipe(batch, batch_size=2, **several)] == [
        answer["generated_text"] for answer in alone
    ]


def test_the_stream_yields_each_sentence_after_its_check(pipe):
    text = dictated_texts(pipe)[0]
    *_, last = steps = list(pipe.stream(ILL, **dictated(pipe, text)))
    assert last == pipe(ILL, **dictated(pipe, text))
    shown = [step["generated_text"] for step in steps[1:-1]]
    assert len(shown) >= 3
    assert all(after.startswith(before) and after != before for before, after in itertools.pairwise(shown))
    assert not any("Night sweats" in part or "up to 7." in part for part in shown)
    assert shown[-1] == last["generated_text"]
    words = [step["generated_text"] for step in pipe.stream(ILL, grounded=False, **dictated(pipe, text))][1:-1]
    assert words[-1] == text
    assert len(words) > len(shown)


def test_the_decoders_own_text_is_returned_beside_the_grounded_one(pipe):
    text = dictated_texts(pipe)[0]
    plain = pipe(ILL, grounded=False, own_text=True, **dictated(pipe, text))
    answer = pipe(ILL, own_text=True, **dictated(pipe, text))
    written = {name: plain[name] for name in ("note_rationale", "lab_rationale")}
    assert answer.pop("own_text") == plain["own_text"] == {**written, "finished": True}
    assert answer == pipe(ILL, **dictated(pipe, text))
    tokens = pipe.processor.encode_targets([text])["input_ids"][0]
    cut = pipe(ILL, own_text=True, max_new_tokens=len(tokens) - 10, **dictated(pipe, text))["own_text"]
    assert not cut["finished"]
    assert cut["note_rationale"] == written["note_rationale"]
    assert written["lab_rationale"].startswith(cut["lab_rationale"])


def test_a_text_that_is_cut_ends_in_a_whole_sentence(pipe):
    text = dictated_texts(pipe)[0]
    tokens = pipe.processor.encode_targets([text])["input_ids"][0]
    for length in range(30, len(tokens), 20):
        answer = pipe(ILL, max_new_tokens=length, **dictated(pipe, text))
        assert answer["generated_text"].endswith(".")
        assert "Night" not in answer["generated_text"]


@pytest.mark.parametrize("wrong", [9999.0, np.inf, -np.inf])
def test_implausible_values_are_not_stated(pipe, wrong):
    record = record_of(hr=[96, wrong, 128, 118, 110, 99])
    text = dictated_texts(pipe)[0]
    plain = pipe(record, grounded=False, **dictated(pipe, text))
    for answer in (pipe(record, **dictated(pipe, text)), plain):
        assert "9999" not in answer["generated_text"] + str(answer["claims"])
        assert "inf" not in answer["lab_rationale"] + str(answer["claims"])
    assert "128" in pipe(record, **dictated(pipe, text))["lab_rationale"]
    *_, last = pipe.stream(record, **dictated(pipe, text))
    assert last == pipe(record, **dictated(pipe, text))


def test_a_cut_text_is_detected_even_if_start_and_end_token_are_the_same(pipe):
    """As of BART, whose decoder starts with the end token."""
    generation = pipe.model.generation_config
    end, generation.eos_token_id = generation.eos_token_id, pipe.model.config.decoder_start_token_id
    try:
        start = torch.tensor([generation.eos_token_id, 9, 8])
        assert not pipe._is_finished(start)
        assert pipe._is_finished(torch.cat([start, start[:1]]))
    finally:
        generation.eos_token_id = end
