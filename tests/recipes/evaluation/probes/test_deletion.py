# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Deletion tests: random deletions have the size of the named ones, and the figures recognize good evidence."""

import copy
import json
from collections import Counter, defaultdict
from dataclasses import asdict

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, permutation_test

from modeling_clinragen import ClinRaGenPipeline
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.evidence_clinragen import Occlusion
from modeling_clinragen.links_clinragen import KnowledgeLinks, argue
from modeling_clinragen.note_claims_clinragen import check_note_claims
from recipes import evaluate_model
from recipes.evaluation.probes.deletion import (
    DRAWS,
    SHARE,
    cited_atoms,
    cited_deletions,
    deletion_metrics,
    named_atoms,
    named_deletions,
    paired_test,
    random_removals,
    record_drops,
    sign_flip_test,
)
from recipes.evaluation.report.write import evidence
from tests.conftest import make_tiny_model


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10), st.integers(0, 5))
@settings(max_examples=25)
def test_the_p_value_is_that_of_all_sign_flips(differences, seed):
    """For few pairs scipy enumerates all flips; random flips are close to that."""
    differences = np.round(differences, 3)
    exact = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    ).pvalue
    assert sign_flip_test(differences, seed) == pytest.approx(exact, abs=0.025)


def test_each_patient_counts_once_whatever_the_number_of_diagnoses():
    drops = [
        ("a", 0.5, 0.1, 0.2, 1.0, 0.5),
        ("a", 0.3, 0.1, 0.3, 0.0, 0.25),
        ("b", 0.1, 0.2, 0.25, 1.0, 1.0),
        ("c", 0.4, 0.0, 0.25, 1.0, 0.0),
    ]
    found = paired_test(drops)
    assert (found["patients"], found["diagnoses"]) == (3, 4)
    assert found["named"] == pytest.approx((0.4 + 0.1 + 0.4) / 3)
    assert found["random"] == pytest.approx((0.1 + 0.2 + 0.0) / 3)
    assert found["difference"] == pytest.approx((0.3 - 0.1 + 0.4) / 3)
    assert found["falls"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert found["random_falls"] == pytest.approx((0.375 + 1 + 0) / 3)
    low, high = found["interval"]
    assert -0.1 - 1e-9 <= low <= found["difference"] <= high <= 0.4 + 1e-9
    # Of the eight flips four sums are as far from zero as 0.6: 0.3 and 0.4 of one sign, 0.1 of either.
    assert found["p_value"] == pytest.approx(0.5, abs=0.02)


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(-2, 2)), min_size=1, max_size=30))
@settings(max_examples=100)
def test_the_most_effective_units_are_named_until_a_share_is_reached(units):
    sizes, effects = zip(*units, strict=True)
    cells = [tuple((i, j) for j in range(size)) for i, size in enumerate(sizes)]
    effects = torch.tensor(effects, dtype=torch.float64)
    atoms = named_atoms(cells, effects)
    chosen = list(dict.fromkeys(i for i, _ in atoms))
    assert atoms == [cell for i in chosen for cell in cells[i]]  # whole units
    assert all(effects[i] > 0 for i in chosen)
    left = [float(effects[i]) for i in range(len(cells)) if i not in chosen]
    if left and max(left) > 0.01:  # something was left: enough is gone, and nothing larger was passed over
        assert len(atoms) >= SHARE * sum(sizes)
        assert max(left) <= min(float(effects[i]) for i in chosen)
    if chosen:
        assert len(atoms) - len(cells[chosen[-1]]) < SHARE * sum(sizes)


@pytest.fixture
def split(records):
    return Dataset.from_dict(
        {
            "subject_id": ["p0", "p1", "p2", "p3", "p0"],
            "note": [note for note, _, _ in (*records, records[0])],
            "lab_times": [times.tolist() for _, _, times in (*records, records[0])],
            "lab_values": [values.tolist() for _, values, _ in (*records, records[0])],
        }
    )


def knows_a_word(config, processor, word, label=3, mixture=1.0):
    """A model with a linear classifier that knows one word for one diagnosis."""
    model = make_tiny_model(copy.deepcopy(config))
    linear = model.diagnosis_head.linear
    token = processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        linear.inverse_document_frequency.fill_(1)
        linear.weight.zero_()[label, token] = 20.0
    model.config.decisions.mixture = mixture
    return model


def test_random_deletions_are_exactly_as_large_and_differ(tiny_config, tiny_processor, records):
    model = knows_a_word(tiny_config, tiny_processor, "fever")
    note, values, times = records[3]
    occlusion = Occlusion(model, tiny_processor, note, values, times)
    draws = random_removals(occlusion, {"note": 4, "series": 17}, np.random.default_rng(0))
    assert len(draws) == DRAWS
    everything = {part: {atom for unit in units for atom in unit} for part, units in occlusion.units.items()}
    for draw in draws:
        for part, size in (("note", 4), ("series", 17), ("knowledge", 0)):
            atoms = getattr(draw, part)
            assert len(atoms) == len(set(atoms)) == size
            assert set(atoms) <= everything[part]
    assert len({tuple(sorted(draw.series)) for draw in draws}) > 1


def test_any_word_may_be_deleted_at_random(tiny_config, tiny_processor):
    """A note of three clauses: one word of it is deleted, and each of the nine as often."""
    note = "fever and cough, pain in chest, pulse was high."
    occlusion = Occlusion(make_tiny_model(tiny_config), tiny_processor, note, None, None)
    generator = np.random.default_rng(0)
    drawn = [draw.note for _ in range(150) for draw in random_removals(occlusion, {"note": 1}, generator)]
    counts = Counter(note[start:end] for ((start, end),) in drawn)
    assert set(counts) == set(note.split())
    assert chisquare(list(counts.values())).pvalue > 0.001


def drops_of_named(occlusion, labels):
    """For each test and judge of a record's diagnoses the drops of named evidence."""
    deletions, found = named_deletions(occlusion, labels), defaultdict(list)
    for deletion, drop in zip(deletions, record_drops(occlusion, deletions, np.random.default_rng(0)), strict=True):
        found[deletion.test, deletion.judge].append(drop)
    return found


def test_the_word_that_decides_is_deleted_and_random_words_seldom_are(tiny_config, tiny_processor):
    model = knows_a_word(tiny_config, tiny_processor, "hypertension")
    note = "fever, cough, pain, chest, hypertension, heart, pulse, pressure, blood, notes."
    occlusion = Occlusion(model, tiny_processor, note, None, None)
    found = drops_of_named(occlusion, [3])
    assert ("series", "the model") not in found
    (drop,) = found["note", "the model"]
    probability = float(model.diagnosis_probabilities(**tiny_processor(notes=[note], return_tensors="pt"))[0, 3])
    assert drop.share == pytest.approx(0.1)  # one word of ten; no other has an effect
    assert drop.named == pytest.approx(probability - 0.5, abs=1e-3)
    assert drop.random < drop.named
    assert drop.falls == 1.0
    assert drop.random_falls < 1.0


def test_each_member_judges_what_the_other_named(tiny_config, tiny_processor, records):
    """The linear classifier knows one word, and the encoder says what it loses without it."""
    _, values, times = records[0]
    model = knows_a_word(tiny_config, tiny_processor, "hypertension", mixture=0.5)
    note = "fever, cough, pain, hypertension, pulse."
    found = drops_of_named(Occlusion(model, tiny_processor, note, values, times), [3])
    (drop,) = found["note", "encoder, named by the linear classifier"]
    encoder = [
        model.encode(**tiny_processor(notes=[text], lab_values=[values], lab_times=[times], return_tensors="pt"))
        .member_logits[0, 0, 3]
        .detach()
        for text in (note, "fever, cough, pain, pulse.")
    ]
    assert drop.share == pytest.approx(0.2)
    assert drop.named == pytest.approx(float(encoder[0].sigmoid() - encoder[1].sigmoid()), abs=1e-5)
    assert ("series", "encoder, named by the linear classifier") not in found  # its other weights are zero
    assert ("series", "linear classifier, named by the encoder") in found


def prediction_of(text_of_note, text_of_series, note, values, times, processor):
    """What a rationale about a record claims; the knowledge links its findings with two diagnoses."""
    labels = processor.labels
    links = KnowledgeLinks(
        [
            {"term": "productive cough", "type": "symptom", "synonyms": [], "diseases": [labels[3]], "pattern": None},
            {"term": "fever", "type": "symptom", "synonyms": [], "diseases": [labels[3], labels[4]], "pattern": None},
            {
                "term": "tachycardia",
                "type": "sign",
                "synonyms": [],
                "diseases": [labels[3]],
                "pattern": {"channel": "Heart Rate", "direction": "high"},
            },
        ],
        labels,
        processor.feature_extractor.channels,
    )
    claims = {
        "note_claims": argue(check_note_claims(text_of_note, note), text_of_note, links),
        "claims": argue(
            check_claims(text_of_series, processor.feature_extractor.channels, times, values), text_of_series, links
        ),
    }
    return {name: [asdict(claim) for claim in found] for name, found in claims.items()}


NOTE = "Productive cough since Monday. Fever at home. Pain in the back. Denies chills."
TIMES = np.array([0.5, 1.25, 2.0, 30.0])  # the tiny model reads 24 hours


def series_of(processor, heart_rates):
    values = np.full((len(TIMES), len(processor.feature_extractor.channels)), np.nan)
    values[:, [c["name"] for c in processor.feature_extractor.channels].index("Heart Rate")] = heart_rates
    return values


def test_cited_evidence_supports_claims_and_is_read_by_the_model(tiny_config, tiny_processor):
    values = series_of(tiny_processor, [80.0, 130.0, 140.0, 150.0])
    first, second = tiny_processor.labels[3:5]
    prediction = prediction_of(
        f"Productive cough supports {first}. Fever supports {second}. Chills support {first}. "
        f"Back rash supports {first}. Pain in the back.",
        f"Heart rate was high, which supports {first}. Heart rate was low, which supports {second}.",
        NOTE, values, TIMES, tiny_processor,
    )  # fmt: skip
    occlusion = Occlusion(make_tiny_model(tiny_config), tiny_processor, NOTE, values, TIMES)
    cited = cited_atoms(occlusion, prediction, first)
    assert [NOTE[start:end] for start, end in cited["note"]] == ["Productive", "cough"]
    channel = [c["name"] for c in tiny_processor.feature_extractor.channels].index("Heart Rate")
    assert cited["series"] == [(1, channel), (2, channel)]  # not the normal one, and not the one of hour 30
    cited = cited_atoms(occlusion, prediction, second)
    assert [NOTE[start:end] for start, end in cited["note"]] == ["Fever"]
    assert cited["series"] == []
    assert cited_atoms(occlusion, prediction, tiny_processor.labels[5]) == {"note": [], "series": []}


def test_cited_evidence_is_deleted_by_part_and_together(tiny_config, tiny_processor):
    """The model knows one word: the rationale that cites it is about what moved the decision, the other is not."""
    model = knows_a_word(tiny_config, tiny_processor, "fever", label=4)
    first, second = tiny_processor.labels[3:5]
    values = series_of(tiny_processor, [80.0, 130.0, 140.0, 150.0])
    prediction = prediction_of(
        f"Productive cough supports {first}. Fever supports {second}.",
        f"Heart rate was high, which supports {first}.",
        NOTE.replace("Fever", "fever"), values, TIMES, tiny_processor,
    )  # fmt: skip
    occlusion = Occlusion(model, tiny_processor, NOTE.replace("Fever", "fever"), values, TIMES)
    deletions = cited_deletions(occlusion, [3, 4, 5], prediction)
    asked = [(deletion.test, deletion.label) for deletion in deletions]
    assert asked == [
        ("cited note", 3),
        ("cited series", 3),
        ("all that is cited", 3),
        ("cited note", 4),
        ("all that is cited", 4),  # of the series nothing is cited
    ]
    drops = dict(zip(asked, record_drops(occlusion, deletions, np.random.default_rng(0)), strict=True))
    words = len(NOTE.split())
    assert drops["cited note", 3].share == pytest.approx(2 / words)
    assert drops["cited series", 3].share == pytest.approx(2 / 3)  # three of four measurements are read
    assert drops["all that is cited", 3].share == pytest.approx(4 / (words + 3))
    assert drops["cited note", 3].named == pytest.approx(0, abs=1e-6)
    assert drops["cited note", 3].falls == 0.0
    decisive = drops["cited note", 4]
    assert decisive.named > 0.1 > decisive.random
    assert decisive.falls == 1.0


def predictions_of(split, labels):
    claims = {"note_claims": [], "claims": []}
    return [
        {"subject_id": subject_id, "readable": True, "diagnoses": [{"label": label} for label in labels], **claims}
        for subject_id in split["subject_id"]
    ]


def test_the_figures_of_a_split_can_be_repeated_and_shown(tiny_config, tiny_processor, split):
    model = knows_a_word(tiny_config, tiny_processor, "fever", mixture=0.5)
    pipe = ClinRaGenPipeline(model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer, device="cpu")
    predictions = predictions_of(split, tiny_processor.labels[2:5])
    predictions[1]["readable"] = False
    found = deletion_metrics(pipe, split, predictions)
    assert deletion_metrics(pipe, split, predictions) == found
    assert list(found) == ["note", "series", "knowledge", "note and series"]
    for judges in found.values():
        for figures in judges.values():
            assert figures["patients"] <= 3  # one is not readable, one has two stays
            assert figures["difference"] == pytest.approx(figures["named"] - figures["random"])
            assert 0 < figures["share"] < 1
            assert 0 < figures["p_value"] <= 1
    own = found["series"]["the model"]
    assert own["named"] > own["random"]
    shown = evidence({"deletion": found})
    assert shown.count("<tr>") == 1 + sum(map(len, found.values()))
    assert evidence({}) == ""


def test_without_diagnoses_there_is_nothing_to_test(tiny_config, tiny_processor, split):
    model = make_tiny_model(tiny_config)
    pipe = ClinRaGenPipeline(model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer, device="cpu")
    assert deletion_metrics(pipe, split, predictions_of(split, [])) == {}


def test_an_evaluation_tests_evidence_and_the_decoders_own_text_when_asked(stage1_folder, data_folder, tmp_path):
    metrics = evaluate_model.main(
        ["--model", str(stage1_folder), "--dataset", str(data_folder / "dataset"), "--output", str(tmp_path / "out")]
        + ["--limit", "3", "--deletion", "--ungrounded"]
    )
    assert metrics["run"]["ungrounded"] is True
    assert set(metrics["deletion"]) <= {"note", "knowledge"}  # stage 1 reads notes, and their terms
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    sentences = [sentence for line in lines for sentence in json.loads(line)["sentences"]]
    assert {sentence["origin"] for sentence in sentences} <= {"written"}
