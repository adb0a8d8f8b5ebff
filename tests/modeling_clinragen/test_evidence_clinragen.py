# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What speaks for a diagnosis: units of a record, what is left without them, and what the pipeline says of it."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from modeling_clinragen.copies_clinragen import without_measurements, without_words
from modeling_clinragen.evidence_clinragen import (
    MAX_CLAUSE_WORDS,
    MAX_SEGMENTS,
    Occlusion,
    Removal,
    clauses,
    find_evidence,
    part_read,
    segments,
)
from tests.conftest import make_tiny_config, make_tiny_model


def texts(note):
    return [note[unit[0][0] : unit[-1][1]] for unit in clauses(note)]


def test_a_note_is_cut_at_punctuation_and_lines_and_numbers_stay_whole():
    note = "Reason: Sepsis, pulmonary; pH 7.2\n\nPast history  COPD.  Temp 38.5 at 12:30"
    assert texts(note) == ["Reason:", "Sepsis,", "pulmonary;", "pH 7.2", "Past history  COPD.", "Temp 38.5 at 12:30"]
    assert [len(unit) for unit in clauses(" word" * 40)] == [15, 15, 10]


@given(st.text(alphabet="ab.,; \n\t\u2003", max_size=200))
@settings(max_examples=200)
def test_clauses_hold_each_word_once_in_order(note):
    units = clauses(note)
    assert [note[start:end] for unit in units for start, end in unit] == note.split()
    assert all(1 <= len(unit) <= MAX_CLAUSE_WORDS for unit in units)
    for unit in units:
        assert without_words(note, unit).split() == [note[a:b] for other in units if other != unit for a, b in other]
        assert len(without_words(note, unit)) == len(note)


@given(st.integers(0, 300), st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=60)
def test_segments_hold_each_measurement_once_and_are_not_many(num_times, num_channels, seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 400, num_times))
    read = rng.random((num_times, num_channels)) < 0.5
    units = segments(times, read)
    assert sorted(cell for unit in units for cell in unit) == list(zip(*map(list, np.nonzero(read)), strict=True))
    assert len(units) <= MAX_SEGMENTS
    spans = []
    for unit in units:
        assert len({channel for _, channel in unit}) == 1
        hours = [times[row] for row, _ in unit]
        assert hours == sorted(hours)
        spans.append((unit[0][1], hours[0], hours[-1]))
    for (channel, _, end), (other, start, _) in itertools.pairwise(spans):
        assert channel < other or (channel == other and end < start)


def test_few_measurements_make_windows_of_four_hours():
    times = np.array([0.0, 3.9, 4.0, 9.0, 100.0])
    read = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [1, 0]], dtype=bool)
    assert segments(times, read) == [((0, 0), (1, 0)), ((2, 0),), ((4, 0),), ((2, 1),), ((3, 1),)]


def test_removed_measurements_are_as_if_never_made_and_the_record_keeps_its_own():
    values = np.arange(6.0).reshape(3, 2)
    left = without_measurements(values, [(0, 1), (2, 0)])
    np.testing.assert_array_equal(left, [[0, np.nan], [2, 3], [np.nan, 5]])
    assert not np.isnan(values).any()


def test_evidence_lies_in_the_part_of_the_note_that_is_read(tiny_processor):
    note = "  fever,\n\n and   productive cough; " * 30
    read = part_read(tiny_processor, note)
    assert note.startswith(read)
    assert len(read) < len(note)
    assert " ".join(read.split()) == tiny_processor.cut_notes([note])[0].strip()
    assert part_read(tiny_processor, "denies chest pain") == "denies chest pain"
    assert part_read(tiny_processor, " \n") == part_read(tiny_processor, None) == ""


def some_linear_weights(model, seed=0):
    """A linear classifier as if it were fitted, that counts one half."""
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.diagnosis_head.linear.weight, std=3.0)
    torch.nn.init.ones_(model.diagnosis_head.linear.inverse_document_frequency)
    model.config.decisions.mixture, model.config.decisions.temperature = 0.5, 0.8
    return model


@pytest.fixture
def model(tiny_config):
    return some_linear_weights(make_tiny_model(copy.deepcopy(tiny_config)))


def log_odds(model, processor, note, values, times):
    batch = processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt")
    p = model.diagnosis_probabilities(**batch)[0].double()
    return (p / (1 - p)).log()


def test_an_effect_is_what_the_record_without_the_unit_has_less(model, tiny_processor, records):
    note, values, times = records[0]
    note = "fever, productive cough; denies chest pain."
    occlusion = Occlusion(model, tiny_processor, note, values, times, batch_size=7)
    whole, effects = occlusion.effects()
    as_given = log_odds(model, tiny_processor, note, values, times)
    torch.testing.assert_close(whole[0].double(), as_given, atol=1e-4, rtol=0)
    for left, drops in zip(
        ["productive cough; denies chest pain.", "fever, denies chest pain.", "fever, productive cough;"],
        effects["note"],
        strict=True,
    ):
        alone = log_odds(model, tiny_processor, left, values, times)
        torch.testing.assert_close(drops[0].double(), as_given - alone, atol=1e-4, rtol=0)
    for unit, drops in zip(occlusion.units["series"], effects["series"], strict=True):
        left = values.copy()
        for row, channel in unit:
            left[row, channel] = np.nan
        alone = log_odds(model, tiny_processor, note, left, times)
        torch.testing.assert_close(drops[0].double(), as_given - alone, atol=1e-4, rtol=0)
    assert effects["knowledge"].shape == (4, 3, 25)


def test_a_masked_term_is_left_out_of_what_patches_attend_to(model, tiny_processor, records):
    note, values, times = records[0]
    occlusion = Occlusion(model, tiny_processor, note, values, times)
    masked = occlusion.logits([Removal(), Removal(knowledge=(2,)), Removal(knowledge=(0, 1, 2, 3))])
    assert sorted(occlusion.units["knowledge"]) == [(0,), (1,), (2,), (3,)]
    assert (masked[0] - masked[1]).abs()[:2].max() > 1e-4
    torch.testing.assert_close(masked[0, 2], masked[1, 2])  # the linear classifier reads no knowledge
    # By hand: the same with the term's column taken out of the attention.
    layer, batch = (
        model.knowledge_attention,
        tiny_processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt"),
    )
    series = model.time_series_encoder(batch["past_values"], batch["past_observed_mask"])
    patches, embedding = series.last_hidden_state.flatten(1, 2), model.get_input_embeddings()
    _, token_mask, whole = layer(series.last_hidden_state, series.patch_mask, embedding)
    terms = layer._unit_scale(layer.embed_knowledge(embedding))
    query, key, value = (
        layer._heads(states) for states in (layer.query(patches), layer.key(terms), layer.value(terms))
    )
    attention = (query @ key.transpose(-1, -2) * layer.head_dim**-0.5).softmax(dim=-1)
    for gone, logits in (([2], masked[1]), ([0, 1, 2, 3], masked[2])):
        kept = attention.clone()
        kept[..., gone] = 0
        attended = layer.output((kept @ value).transpose(1, 2).flatten(2))
        expected = layer.norm(layer.series_projection(patches) + attended)
        handle = layer.register_forward_hook(lambda *_, tokens=expected: (tokens, token_mask, whole))
        try:
            by_hand = model.encode(**batch).diagnosis_logits[0]
        finally:
            handle.remove()
        torch.testing.assert_close(logits[0], by_hand, atol=1e-4, rtol=0)


def test_patches_of_copies_of_a_record_attend_once(model, tiny_processor, records):
    note, values, times = records[3]
    copies = [values.copy() for _ in range(6)]
    for i, copy_of_values in enumerate(copies[1:]):
        copy_of_values[3 * i : 3 * i + 4, i] = np.nan
    batch = tiny_processor([note] * 6, copies, [times] * 6, return_tensors="pt")
    mask = torch.ones(6, 4, dtype=torch.long)
    mask[2, 1] = mask[5, 0] = mask[5, 3] = 0
    asked, series = [], []
    layer = model.time_series_encoder.layers[0]
    layer.register_forward_pre_hook(lambda module, given: series.append(given[0].shape[1]))
    model.knowledge_attention.query.register_forward_pre_hook(lambda module, given: asked.append(given[0].shape[1]))
    with torch.no_grad():
        together = model.encode(**batch, knowledge_mask=mask, are_copies=True)
        alone = [
            model.encode(**{name: rows[i : i + 1] for name, rows in batch.items()}, knowledge_mask=mask[i : i + 1])
            for i in range(6)
        ]
    assert asked[0] < asked[1] + 5 * 4  # of each copy no more than one channel's patches
    assert series[0] < series[1] + 5 * 4
    for name in ("diagnosis_logits", "knowledge_attentions"):
        expected = torch.cat([one[name] for one in alone])
        torch.testing.assert_close(together[name], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["term", "prototype"])
def test_knowledge_is_masked_for_each_record_of_a_batch(tiny_tokenizer, tiny_processor, records, kind):
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, knowledge_attention_type=kind))
    notes, values, times = zip(*records, strict=True)
    batch = tiny_processor(list(notes), list(values), list(times), return_tensors="pt")
    mask = torch.ones(4, model.config.num_knowledge_tokens, dtype=torch.long)
    assert mask.shape[1] == {"term": 4, "prototype": 3}[kind]
    with torch.no_grad():
        whole = model.encode(**batch)
        assert torch.equal(model.encode(**batch, knowledge_mask=mask).last_hidden_state, whole.last_hidden_state)
        mask[0, 1] = 0
        masked = model.encode(**batch, knowledge_mask=mask)
        changed = (masked.diagnosis_logits != whole.diagnosis_logits).any(dim=1)
        assert changed.tolist() == [True, False, False, False]
        assert torch.equal(masked.knowledge_attentions, whole.knowledge_attentions)
        output = model(**batch, knowledge_mask=mask, labels=torch.full((4, 3), 5))
        assert torch.equal(output.diagnosis_logits, masked.diagnosis_logits)
        with pytest.raises(ValueError, match=r"`knowledge_mask` has shape \(4, 2\); expected \(batch_size, num_know"):
            model.encode(**batch, knowledge_mask=mask[:, :2])


def test_a_word_that_alone_decides_is_named_first(model, tiny_processor):
    """A linear classifier that knows one token: exactly the clause with that token is the evidence."""
    head = model.diagnosis_head
    token = tiny_processor.tokenizer(" hypertension", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        head.linear.weight.zero_()[3, token] = 40.0
        head.linear.inverse_document_frequency.fill_(1)
    model.config.decisions.mixture = 1.0
    note = "denies fever; History of hypertension and\nproductive cough"
    occlusion = Occlusion(model, tiny_processor, note, None, None)
    (found,) = find_evidence(occlusion, [3])
    assert found["label"] == tiny_processor.labels[3]
    assert note[found["note"][0]["start"] : found["note"][0]["end"]] == found["note"][0]["text"]
    assert found["note"][0]["text"] == "History of hypertension and"
    assert found["series"] == found["knowledge"] == []
    # Without its one token the label has the logit of the bias, 0.
    before = float(model.diagnosis_probabilities(**tiny_processor(notes=[note], return_tensors="pt"))[0, 3])
    assert found["note"][0]["probability_drop"] == pytest.approx(before - 0.5, abs=1e-4)
    assert found["note"][0]["effect"] == pytest.approx(math.log(before / (1 - before)), abs=1e-3)


@pytest.mark.parametrize("modality", ["note", "lab"])
def test_a_model_of_one_modality_has_evidence_of_that_alone(model, tiny_processor, records, modality):
    processor = copy.copy(tiny_processor)
    processor.modalities = [modality]
    note, values, times = records[0]
    occlusion = Occlusion(model, processor, note, values, times)
    assert bool(occlusion.units["note"]) == (modality == "note")
    assert bool(occlusion.units["series"]) == bool(occlusion.units["knowledge"]) == (modality == "lab")
    entries = find_evidence(occlusion, list(range(25)))
    assert any(entry["note" if modality == "note" else "series"] for entry in entries)


def test_when_the_only_unit_of_a_record_goes_then_nothing_is_read(model, tiny_processor):
    processor = copy.copy(tiny_processor)
    processor.modalities = ["lab"]
    values, times = np.full((1, 11), np.nan), np.array([2.0])
    values[0, 3] = 130
    occlusion = Occlusion(model, processor, "", values, times)
    _, effects = occlusion.effects()
    assert effects["series"].isfinite().all()
    assert effects["series"].shape == (1, 3, 25)


def test_a_prototype_belongs_to_no_term_and_a_model_without_knowledge_has_none(
    tiny_tokenizer, tiny_processor, records
):
    note, values, times = records[0]
    prototypes = make_tiny_model(make_tiny_config(tiny_tokenizer, knowledge_attention_type="prototype"))
    config = make_tiny_config(tiny_tokenizer)
    config.knowledge_terms, config.knowledge_input_ids = [], []
    for model in (prototypes, make_tiny_model(config)):
        assert Occlusion(model, tiny_processor, note, values, times).units["knowledge"] == []


def test_what_is_listed_has_an_effect_and_the_largest_comes_first(model, tiny_processor, records):
    note, values, times = records[3]
    entries = find_evidence(Occlusion(model, tiny_processor, note, values, times), range(25), max_units=3)
    assert [entry["label"] for entry in entries] == tiny_processor.labels
    for entry in entries:
        for part in ("note", "series", "knowledge"):
            effects = [unit["effect"] for unit in entry[part]]
            assert len(effects) <= 3
            assert effects == sorted(effects, reverse=True)
            assert all(effect > 0 for effect in effects)
        for unit in entry["series"]:
            assert 0 <= unit["from_hour"] <= unit["to_hour"] < 24  # the grid of the tiny model ends there


def pipeline_of(model, processor):
    model.generation_config.max_new_tokens = 60
    return ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")


def as_record(note, values, times):
    return {"note": note, "lab_values": values.tolist(), "lab_times": times.tolist()}


@pytest.fixture
def constrained(model, tiny_processor):
    model.config.decisions.token_ids = tiny_processor.diagnosis_token_ids()
    return model


def test_the_pipeline_gives_evidence_for_each_diagnosis_when_asked(constrained, tiny_processor, records):
    pipe, batch = pipeline_of(constrained, tiny_processor), [as_record(*record) for record in records]
    plain = pipe(batch, batch_size=3, do_sample=False)
    asked = pipe(batch, batch_size=3, do_sample=False, evidence=True)
    assert any(answer["diagnoses"] for answer in plain)
    for before, after, record in zip(plain, asked, batch, strict=True):
        evidence = after.pop("evidence")
        assert after == before
        assert [entry["label"] for entry in evidence] == [d["label"] for d in before["diagnoses"]]
        for unit in (unit for entry in evidence for unit in entry["note"]):
            assert record["note"][unit["start"] : unit["end"]] == unit["text"]
    alone = pipe(batch[0], do_sample=False, evidence=True)["evidence"]
    again = pipe(batch, batch_size=3, do_sample=False, evidence=True)[0]["evidence"]
    assert [entry["label"] for entry in alone] == [entry["label"] for entry in again]
    for mine, other in zip(alone, again, strict=True):
        assert [unit["effect"] for unit in mine["note"]] == pytest.approx(
            [unit["effect"] for unit in other["note"]], abs=1e-3
        )


def test_evidence_without_probabilities_is_refused(tiny_tokenizer, tiny_processor, records):
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, diagnosis_loss_weight=0.0))
    with pytest.raises(ClinRaGenInputError, match="diagnosis_loss_weight=0"):
        pipeline_of(model, tiny_processor)(as_record(*records[0]), evidence=True)
