# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline's streamed text, and its attention over time."""

import copy
import itertools
import json
import threading
import time

import numpy as np
import pytest

from modeling_clinragen import PHENOTYPES, ClinRaGenInputError, ClinRaGenPipeline
from tests.conftest import make_tiny_config, make_tiny_model


@pytest.fixture
def pipe(tiny_config, tiny_processor):
    model = make_tiny_model(copy.deepcopy(tiny_config))
    model.config.decisions.token_ids = tiny_processor.diagnosis_token_ids()
    model.config.decisions.thresholds = [0.7] * 25  # a short list, and room for a rationale
    model.generation_config.max_new_tokens = 80
    return ClinRaGenPipeline(model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer, device="cpu")


@pytest.fixture
def knowing_pipe(pipe):
    """The same with knowledge in its processor: each term that the series may attend to is a sign of shock."""
    sign = {"type": "sign", "synonyms": [], "diseases": [PHENOTYPES[12]["name"]], "pattern": None}
    pipe.processor = copy.copy(pipe.processor)
    pipe.processor.knowledge = [{"term": term, **sign} for term in pipe.model.config.knowledge_terms]
    return pipe


def as_record(note, values, times):
    return {"note": note, "lab_values": values.tolist(), "lab_times": times.tolist()}


@pytest.mark.parametrize(
    ("options", "least"), [({"grounded": False}, 4), ({}, 1), ({"attention": True, "evidence": True}, 1)]
)
def test_the_stream_ends_in_the_answer_and_its_text_grows_into_it(pipe, records, options, least):
    record = as_record(*records[0])
    first, *texts, last = pipe.stream(record, do_sample=False, **options)
    assert last == pipe(record, do_sample=False, **options)
    assert first == {"generated_text": "", **{name: last[name] for name in ("diagnoses", "probabilities")}}
    written = [step["generated_text"] for step in texts]
    assert len(written) >= least
    assert all(after.startswith(before) and after != before for before, after in itertools.pairwise(written))
    assert written[-1] == last["generated_text"]


def test_without_a_diagnosis_head_the_stream_begins_empty(tiny_tokenizer, tiny_processor, records):
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, diagnosis_loss_weight=0.0))
    model.generation_config.max_new_tokens = 20
    pipe = ClinRaGenPipeline(model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer, device="cpu")
    first, *_, last = pipe.stream(as_record(*records[0]), do_sample=False)
    assert first == {"diagnoses": [], "probabilities": {}, "generated_text": ""}
    assert last == pipe(as_record(*records[0]), do_sample=False)


@pytest.mark.parametrize(
    ("record", "options", "message"),
    [({"note": ""}, {}, "neither a note nor"), ({"note": "fever"}, {"num_beams": 2}, "streamer")],
)
def test_an_error_in_a_stream_reaches_its_consumer(pipe, record, options, message):
    with pytest.raises((ClinRaGenInputError, ValueError), match=message):
        list(pipe.stream(record, do_sample=False, **options))


def test_generation_stops_when_the_consumer_of_the_stream_leaves(pipe, records):
    pipe.model.generation_config.max_new_tokens = 100_000
    before = set(threading.enumerate())
    stream = pipe.stream(as_record(*records[0]), do_sample=False, min_new_tokens=100_000)
    next(stream)
    (writer,) = set(threading.enumerate()) - before
    stream.close()
    writer.join(timeout=60)
    assert not writer.is_alive()


def test_concurrent_streams_do_not_mix(pipe, records):
    batch = [as_record(*record) for record in records]
    alone = [pipe(record, do_sample=False) for record in batch]
    streams = [pipe.stream(record, do_sample=False) for record in batch]
    ends = [None] * len(batch)
    while any(end is None or "note_rationale" not in end for end in ends):
        ends = [next(stream, end) for stream, end in zip(streams, ends, strict=True)]
        time.sleep(0)
    assert ends == alone


def test_attention_over_time_is_the_mean_weight_of_the_measured_channels_of_each_patch(knowing_pipe, records):
    pipe, record = knowing_pipe, as_record(*records[0])
    answer = pipe(record, do_sample=False, attention=True)
    found = answer["knowledge_over_time"]
    assert found["terms"] == [entry["term"] for entry in answer["knowledge"]] == ["fever", "productive cough"]
    assert found["patch_hours"] == 8
    note, values, times = records[0]
    batch = pipe.processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt")
    attention = pipe.model.encode(**batch).knowledge_attentions[0].detach().numpy()
    observed = batch["past_observed_mask"][0].numpy().reshape(3, 8, 11).any(axis=1)  # (patches, channels)
    for patch in range(3):
        expected = attention[observed[patch], patch].mean(axis=0) if observed[patch].any() else None
        for term, row in zip(found["terms"], found["weights"], strict=True):
            place = pipe.model.config.knowledge_terms.index(term)
            if patch < len(row):
                assert (row[patch] is None) == (expected is None)
                assert row[patch] is None or row[patch] == pytest.approx(expected[place], abs=1e-4)
    json.dumps(answer, allow_nan=False)


def test_without_series_there_is_no_attention_over_time(knowing_pipe, records):
    pipe = knowing_pipe
    batch = [as_record("fever", np.empty((0, 11)), np.empty(0)), as_record(*records[0])]
    without, within = pipe(batch, batch_size=2, do_sample=False, attention=True)
    assert [entry["term"] for entry in without["knowledge"]] == ["fever"]
    assert without["knowledge_over_time"] is None
    assert within["knowledge_over_time"]["terms"]
    assert within["knowledge_over_time"] == pipe(batch[1], do_sample=False, attention=True)["knowledge_over_time"]
    assert "knowledge_over_time" not in pipe(batch[1], do_sample=False)


def test_findings_of_the_note_are_checked_against_the_note_of_the_record(pipe):
    parse = pipe.processor.parse
    pipe.processor = copy.copy(pipe.processor)
    pipe.processor.parse = lambda text: {**parse(text), "note_rationale": "Fever and cough point to Pneumonia."}
    answer = pipe({"note": "Fever. Denies cough."}, do_sample=False, grounded=False)
    assert [(c["text"], c["verdict"]) for c in answer["note_claims"]] == [
        ("Fever", "supported"),
        ("cough", "contradicted"),
    ]
