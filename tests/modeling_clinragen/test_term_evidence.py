# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Follow the terms of the knowledge that a record shows, from the record to the decision."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.special import expit

from modeling_clinragen import CHANNELS, ClinRaGenFeatureExtractor, ClinRaGenPipeline, ClinRaGenProcessor
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.evidence_clinragen import Occlusion, Removal
from modeling_clinragen.integrity_clinragen import check_fit
from recipes.evaluation.figures.metrics import multi_hot
from recipes.evaluation.probes.counterfactual import shuffled_knowledge
from recipes.training import fitting
from recipes.training.data import ClinRaGenCollator
from tests.conftest import make_tiny_config, make_tiny_model
from tests.modeling_clinragen.test_record_terms_clinragen import KNOWLEDGE, LABELS, record_terms, series


PNEUMONIA, SEPSIS, SHOCK, FAILURE = (
    LABELS.index(name)
    for name in (
        "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
        "Septicemia (except in labor)",
        "Shock",
        "Congestive heart failure; nonhypertensive",
    )
)
POSITION = {term["term"]: i for i, term in enumerate(KNOWLEDGE)}


@pytest.fixture
def processor(tiny_tokenizer, tiny_config):
    extractor = ClinRaGenFeatureExtractor(tiny_config.channels, context_length=tiny_config.context_length)
    return ClinRaGenProcessor(
        extractor, tiny_tokenizer, labels=LABELS, max_note_tokens=60, knowledge=KNOWLEDGE, term_evidence=True
    )


@pytest.fixture
def model(tiny_tokenizer, processor):
    """A model with a classifier of terms only: weight 2 for names, 1 for other terms of a label."""
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, num_evidence_terms=len(KNOWLEDGE)))
    fitting.learn_terms(model, processor)
    model.config.decisions.mixture = 1.0
    model.diagnosis_head.linear.shared_evidence_weight.data.copy_(torch.tensor([2.0, 1.0, 1.0, 1.0]))
    return model


def test_terms_are_marked_where_they_stand():
    times, values = series(Heart_Rate=[124, 131, 118])
    evidence = record_terms().evidence("Rigors and a productive cough. Denies leg edema.", times, values)
    note, lab = ([KNOWLEDGE[i]["term"] for i in np.flatnonzero(row)] for row in evidence)
    assert note == ["productive cough", "rigors"]
    assert lab == ["fast heart rate", "racing heart of shock"]


def test_a_finding_supports_all_diseases_of_terms_with_its_words():
    """Pneumonia is the name of one disease and in the history of another; a form of several terms stands for all."""
    linked = {"name": ("pneumonia", PNEUMONIA), "history": ("pneumonia", SEPSIS), "sign": ("lung infection", SHOCK)}
    name, history, sign = (
        {"term": term, "type": kind, "diseases": [LABELS[label]], "synonyms": ["chest infection"]}
        for kind, (term, label) in linked.items()
    )
    knowledge = [history, name, sign, *KNOWLEDGE]
    notes = {"Admitted for pneumonia.": [0, 1], "Chest infection.": [0, 1, 2], "Lung infection.": [2]}
    for note, expected in notes.items():
        terms = record_terms(knowledge)
        evidence = terms.evidence(note, *series())
        assert np.flatnonzero(evidence[0]).tolist() == expected
        (left,) = terms.without(evidence, terms.find(note, *series()))
        assert not left.any()


@pytest.mark.parametrize(
    ("note", "terms"),
    [
        ("Pneumonia - within 6 months. Rigors.", ["rigors"]),
        ("History of pneumonia last year.", []),
        ("Known pneumonia.", ["pneumonia"]),
        ("History of pneumonia; now pneumonia again.", ["pneumonia"]),
        ("History of CHF.", ["CHF"]),  # it lasts
    ],
)
def test_an_event_of_the_past_is_no_sign_of_an_acute_disease(note, terms):
    knowledge = [*KNOWLEDGE, {"term": "pneumonia", "type": "name", "diseases": [LABELS[PNEUMONIA]]}]
    evidence = record_terms(knowledge).evidence(note, *series())
    assert [knowledge[i]["term"] for i in np.flatnonzero(evidence[0])] == terms


def test_the_processor_reads_terms_only_in_model_inputs(processor):
    times, values = series(Heart_Rate=[124, 131, 118])
    record = {"notes": ["Rigors."], "lab_values": [values], "lab_times": [times]}
    evidence = processor(**record)["term_evidence"]
    assert evidence.shape == (1, 2, len(KNOWLEDGE))
    assert evidence[0, 0, POSITION["rigors"]]
    assert evidence[0, 1, POSITION["fast heart rate"]]
    processor.modalities = ["note"]
    assert not processor(**record)["term_evidence"][0, 1].any()
    processor.modalities = ["lab"]
    assert not processor(**record)["term_evidence"][0, 0].any()
    processor.modalities = ["note", "lab"]
    late = processor(notes=["Rigors."], lab_values=[values], lab_times=[times + 500])["term_evidence"]
    assert not late[0, 1].any()  # beyond the hours that the model reads
    long = "The patient walks daily. " * 30 + "Rigors."
    assert not processor(notes=[long], lab_values=[None], lab_times=[None])["term_evidence"].any()  # cut before


def test_without_the_flag_or_knowledge_no_terms_are_read(processor):
    assert "term_evidence" in processor.model_input_names
    processor.knowledge = None
    assert "term_evidence" not in processor.model_input_names
    assert "term_evidence" not in processor(notes=["Rigors."], lab_values=[None], lab_times=[None])


def test_a_change_of_the_knowledge_is_seen(processor):
    before = processor(notes=["Rigors."], lab_values=[None], lab_times=[None])["term_evidence"]
    processor.knowledge = [term for term in KNOWLEDGE if term["term"] != "rigors"]
    after = processor(notes=["Rigors."], lab_values=[None], lab_times=[None])["term_evidence"]
    assert before.sum() == 1
    assert after.shape[2] == before.shape[2] - 1
    assert not after.any()


def test_terms_support_their_labels_and_share_their_weight(model, processor):
    linear = model.diagnosis_head.linear
    inputs = processor(notes=["Rigors and productive cough; CHF."], lab_values=[None], lab_times=[None])
    evidence = linear.evidence(torch.from_numpy(inputs["term_evidence"]), None)[0]
    assert evidence[PNEUMONIA].tolist() == pytest.approx([0, np.sqrt(1.5), 0, 0])  # rigors support two labels
    assert evidence[SEPSIS].tolist() == pytest.approx([0, np.sqrt(0.5), 0, 0])
    assert evidence[FAILURE].tolist() == pytest.approx([1, 0, 0, 0])
    assert not evidence[SHOCK].any()


def test_a_pattern_supports_each_of_its_labels_once(model, processor):
    times, values = series(Heart_Rate=[124, 131, 118])
    inputs = processor(notes=["Walks."], lab_values=[values], lab_times=[times], return_tensors="pt")
    evidence = model.diagnosis_head.linear.evidence(inputs["term_evidence"], inputs["past_observed_mask"])[0]
    assert evidence[SEPSIS].tolist() == evidence[SHOCK].tolist() == pytest.approx([0, 0, 0, np.sqrt(0.5)])


def test_terms_of_a_channel_that_is_hidden_do_not_count(model, processor):
    times, values = series(Heart_Rate=[124, 131, 118])
    inputs = processor(notes=["Walks."], lab_values=[values], lab_times=[times], return_tensors="pt")
    hidden = torch.zeros_like(inputs["past_observed_mask"])
    assert not model.diagnosis_head.linear.evidence(inputs["term_evidence"], hidden).any()


def test_evidence_moves_the_logits_of_the_model(model, processor):
    inputs = processor(notes=["Patient with CHF."], lab_values=[None], lab_times=[None], return_tensors="pt")
    given = model.encode(**inputs).member_logits[0, 1]
    without = model.encode(**{n: t for n, t in inputs.items() if n != "term_evidence"}).member_logits[0, 1]
    torch.testing.assert_close(given - without, 2.0 * torch.eye(len(LABELS))[FAILURE])


def test_evidence_of_another_shape_is_refused(model, processor):
    inputs = processor(notes=["Patient with CHF."], lab_values=[None], lab_times=[None], return_tensors="pt")
    inputs["term_evidence"] = inputs["term_evidence"][:, :, :-1]
    with pytest.raises(ValueError, match=r"term_evidence.*expected \(batch_size, 2, num_evidence_terms\)"):
        model.encode(**inputs)


def test_a_processor_with_other_terms_does_not_fit(model, processor):
    check_fit(model.config, processor, model.generation_config)
    processor.knowledge = KNOWLEDGE[:-1]
    with pytest.raises(ClinRaGenInputError, match="reads 7 terms of a record, the processor gives 6"):
        check_fit(model.config, processor, model.generation_config)


def test_a_folder_keeps_the_weights_of_terms(model, processor, tmp_path):
    from recipes.models.folder import load_model_folder, save_model_folder

    save_model_folder(model, processor, tmp_path / "model")
    loaded, its_processor = load_model_folder(tmp_path / "model")
    record = {"notes": ["Rigors, CHF."], "lab_values": [None], "lab_times": [None], "return_tensors": "pt"}
    expected, found = (
        m.encode(**p(**record)).diagnosis_logits for m, p in ((model, processor), (loaded, its_processor))
    )
    assert torch.equal(expected, found)


def described(evidence, features=None):
    """Records without words, or with given ones, of 3 labels and one kind of evidence."""
    features = np.zeros((len(evidence), 1)) if features is None else features
    return fitting.Described(features, np.asarray(evidence, dtype=float)[:, :, None])


def test_a_label_without_records_is_scored_by_the_weight_that_others_share():
    rng = np.random.default_rng(0)
    evidence = rng.random((400, 3)) < 0.4
    gold = torch.from_numpy(rng.random((400, 3)) < expit(4.0 * evidence - 2.0)).float()
    gold[:, 2] = 0
    weights = fitting.logistic_regression(described(evidence[:, :2]), gold[:, :2], c=2.0)
    assert float(weights.shared) == pytest.approx(4.0, abs=0.6)
    both = fitting.logistic_regression(described(evidence), gold, c=2.0)
    assert float(both.shared + both.deviation[0]) == pytest.approx(4.0, abs=0.7)


def test_the_fit_is_a_minimum():
    """The gradient, by finite differences of an objective written anew, is zero."""
    rng = np.random.default_rng(1)
    words, evidence = rng.normal(size=(50, 4)), rng.random((50, 3, 2))
    gold = torch.from_numpy(rng.random((50, 3)) < 0.4).float()
    found = fitting.logistic_regression(fitting.Described(words, evidence), gold, c=2.0)

    def objective(parts):
        own, bias, shared, deviation = np.split(parts, np.cumsum([12, 3, 2]))
        weights = shared + deviation.reshape(3, 2)
        logits = words @ own.reshape(3, 4).T + bias + (evidence * weights).sum(axis=2)
        loss = np.logaddexp(0, logits).sum() - (logits * gold.numpy()).sum()
        return loss + (own**2).sum() / 4 + (shared**2).sum() / 200 + (deviation**2).sum() / 2

    start = np.concatenate([np.ravel(p.double()) for p in (found.own, found.bias, found.shared, found.deviation)])
    for i in range(len(start)):
        step = np.eye(len(start))[i] * 1e-4
        assert (objective(start + step) - objective(start - step)) / 2e-4 == pytest.approx(0, abs=2e-3)


def test_a_rare_label_is_read_from_its_terms(tiny_tokenizer, processor):
    """Sepsis has one training record without its terms; records that show them are likelier to have it."""
    notes = ["Productive cough."] * 6 + ["Leg edema."] * 6 + ["Walks daily."] * 8
    gold = [[PNEUMONIA]] * 6 + [[FAILURE]] * 6 + [[SEPSIS]] + [[]] * 7
    inputs = processor(notes=notes, lab_values=[None] * 20, lab_times=[None] * 20)
    rows = {name: list(inputs[name]) for name in processor.model_input_names if name != "attention_mask"}
    rows |= {"labels": [[1]] * 20, "diagnosis_labels": list(multi_hot(gold, len(LABELS)))}
    records = Dataset.from_dict(rows).with_format("numpy")
    scores = {}
    for number in (0, len(KNOWLEDGE)):
        model = make_tiny_model(make_tiny_config(tiny_tokenizer, num_evidence_terms=number, num_token_pairs=0))
        fitting.prepare_decisions(model, processor, records, ClinRaGenCollator(processor))
        new = processor(notes=["Rigors.", "Walks."], lab_values=[None] * 2, lab_times=[None] * 2, return_tensors="pt")
        new = {name: new[name] for name in new if number or name != "term_evidence"}
        scores[number] = model.encode(**new).member_logits[:, 1, SEPSIS]
    assert scores[len(KNOWLEDGE)][0] > scores[len(KNOWLEDGE)][1] + 0.3
    assert scores[0][0] < scores[0][1] + 0.3


def test_without_a_term_its_diagnosis_loses_the_terms_effect(model, processor):
    occlusion = Occlusion(model, processor, "Rigors and CHF.", None, None)
    assert [occlusion.terms[i] for (i,) in occlusion.units["knowledge"]] == ["rigors", "CHF"]
    whole, less = occlusion.logits([Removal(), Removal(knowledge=[POSITION["CHF"]])])[:, 0]
    assert float(whole[FAILURE] - less[FAILURE]) == pytest.approx(2.0, abs=1e-4)
    evidence = torch.from_numpy(processor(notes=["Rigors and CHF."])["term_evidence"][0])
    left = evidence.clone()
    left[:, POSITION["CHF"]] = False
    owed = model.term_effects(evidence, left.unsqueeze(0))[0]
    assert float(owed[FAILURE]) == pytest.approx(2.0)
    assert owed.count_nonzero() == 1


def test_terms_are_ranked_by_their_effect_on_diagnoses(model, processor):
    pipe = ClinRaGenPipeline(model=model, tokenizer=processor.tokenizer, processor=processor)
    shown = pipe({"note": "CHF with leg edema and rigors."})["knowledge"]
    assert {entry["term"] for entry in shown} == {"CHF", "leg edema", "rigors"}
    effects = {entry["term"]: entry["effect"] for entry in shown}
    assert effects["CHF"] == pytest.approx(2.0)
    assert effects["CHF"] > effects["leg edema"] > 0
    assert [entry["term"] for entry in shown if entry["label"] == LABELS[FAILURE]] == ["CHF", "leg edema"]
    assert [entry["weight"] for entry in shown] == sorted((entry["weight"] for entry in shown), reverse=True)
    model.diagnosis_head.linear.shared_evidence_weight.data[1] = 0.0  # findings no longer count
    assert [entry["term"] for entry in pipe({"note": "CHF with leg edema and rigors."})["knowledge"]] == ["CHF"]


def test_terms_of_diseases_that_are_not_labels_are_left_out(tiny_tokenizer, processor):
    processor.knowledge = [*KNOWLEDGE, {"term": "joint pain", "type": "symptom", "diseases": ["Gout"]}]
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, num_evidence_terms=len(processor.knowledge)))
    fitting.learn_terms(model, processor)
    model.config.decisions.mixture = 1.0
    model.diagnosis_head.linear.shared_evidence_weight.data.fill_(1.0)
    pipe = ClinRaGenPipeline(model=model, tokenizer=processor.tokenizer, processor=processor)
    assert [entry["term"] for entry in pipe({"note": "CHF and joint pain."})["knowledge"]] == ["CHF"]


def test_shuffled_knowledge_supports_other_diagnoses(model, processor):
    inputs = processor(notes=["Patient with CHF."], lab_values=[None], lab_times=[None], return_tensors="pt")
    before = model.encode(**inputs).diagnosis_logits
    with shuffled_knowledge(model, seed=0):
        assert model.encode(**inputs).diagnosis_logits[0, FAILURE] < before[0, FAILURE]
    assert torch.equal(model.encode(**inputs).diagnosis_logits, before)


@pytest.fixture
def aligned(tiny_tokenizer):
    names = [channel["name"] for channel in CHANNELS]
    heart, pressure = names.index("Heart Rate"), names.index("Systolic blood pressure")
    config = make_tiny_config(
        tiny_tokenizer,
        knowledge_patterns=[[heart, "high"], [heart, "low"], [pressure, "low"], None],
        knowledge_alignment_weight=1.0,
    )
    return make_tiny_model(config), heart, pressure


def standardised(config, channel, values):
    grid = torch.zeros(1, config.context_length, config.num_input_channels)
    observed = torch.zeros_like(grid, dtype=torch.bool)
    for hour, value in values.items():
        grid[0, hour, channel] = (value - config.channels[channel]["mean"]) / config.channels[channel]["std"]
        observed[0, hour, channel] = True
    return grid, observed


def test_levels_of_patches_follow_from_the_limits_of_their_channel(aligned):
    model, heart, _ = aligned
    grid, observed = standardised(model.config, heart, {0: 150, 1: 80, 8: 80, 17: 30})
    levels = model.time_series_encoder.patch_levels(grid, observed, 3)
    assert levels.shape == (1, model.config.num_input_channels, 3, 3)
    assert levels[0, heart].tolist() == [[False, True, True], [False, True, False], [True, False, False]]
    assert not levels[0, torch.arange(levels.shape[1]) != heart].any()


def test_the_alignment_loss_wants_the_terms_of_a_patch_or_nothing(aligned):
    model, heart, _pressure = aligned
    attention = torch.zeros(1, model.config.num_input_channels, 2, 4)
    levels = torch.zeros(1, model.config.num_input_channels, 2, 3, dtype=torch.bool)
    mask = torch.zeros(1, model.config.num_input_channels, 2, dtype=torch.bool)
    levels[0, heart, 0, 2] = levels[0, heart, 1, 1] = True
    mask[0, heart] = True
    attention[0, heart, 0] = torch.tensor([0.5, 0.2, 0.2, 0.0])  # high: the first term is its own
    attention[0, heart, 1] = torch.tensor([0.1, 0.2, 0.2, 0.25])  # usual: a quarter attends to nothing
    loss = model.knowledge_attention.alignment_losses(attention, levels, mask)
    assert loss.tolist() == pytest.approx([-(np.log(0.5) + np.log(0.25)) / 2], abs=1e-5)
    levels[0, heart] = False  # between the limits: no patch counts
    assert model.knowledge_attention.alignment_losses(attention, levels, mask).tolist() == [0.0]


def test_attention_learns_the_terms_of_its_own_channel_and_level(aligned):
    model, heart, pressure = aligned
    parts = [standardised(model.config, heart, dict.fromkeys(range(24), v)) for v in (150, 80, 30)]
    parts += [standardised(model.config, pressure, dict.fromkeys(range(24), v)) for v in (60, 115)]
    grid, observed = (torch.cat(column) for column in zip(*parts, strict=True))
    batch = {"input_ids": torch.ones(5, 4, dtype=torch.long), "past_values": grid, "past_observed_mask": observed}
    batch |= {"labels": torch.ones(5, 3, dtype=torch.long), "diagnosis_labels": torch.zeros(5, len(LABELS))}
    trained = [*model.knowledge_attention.parameters(), *model.time_series_encoder.parameters()]
    optimizer = torch.optim.Adam([w for w in trained if w.requires_grad], 1e-2)
    model.train()
    for _ in range(150):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.eval()
    weights = model.encode(input_ids=batch["input_ids"], past_values=grid, past_observed_mask=observed)
    weights = weights.knowledge_attentions.detach()
    own = [weights[0, heart, 0, 0], weights[2, heart, 0, 1], weights[3, pressure, 0, 2]]
    assert min(own) > 0.9
    assert weights[1, heart, 0].sum() < 0.1
    assert weights[4, pressure, 0].sum() < 0.1


def test_the_alignment_loss_is_added_in_training_only_and_by_its_weight(aligned):
    model, heart, _ = aligned
    grid, observed = standardised(model.config, heart, dict.fromkeys(range(24), 150))
    batch = {"input_ids": torch.ones(1, 4, dtype=torch.long), "past_values": grid, "past_observed_mask": observed}
    batch["labels"] = torch.ones(1, 3, dtype=torch.long)
    assert model.encode(**{n: t for n, t in batch.items() if n != "labels"}).alignment_losses is None
    model.train()
    losses = {}
    for weight in (0.0, 1.0, 3.0):
        model.config.knowledge_alignment_weight = weight
        torch.manual_seed(0)
        losses[weight] = float(model(**batch).loss.detach())
    assert losses[3.0] - losses[0.0] == pytest.approx(3 * (losses[1.0] - losses[0.0]), rel=1e-3)
    assert losses[1.0] > losses[0.0]


@pytest.mark.parametrize(
    "patterns", [[[0, "high"]], [[99, "high"], None, None, None], [[0, "rising"], None, None, None]]
)
def test_patterns_that_fit_no_term_or_channel_are_refused(tiny_tokenizer, patterns):
    with pytest.raises(ValueError, match="knowledge_patterns"):
        make_tiny_config(tiny_tokenizer, knowledge_patterns=patterns)


def test_a_model_without_knowledge_trains_with_the_default_weights(tiny_tokenizer):
    config = make_tiny_config(tiny_tokenizer, knowledge_alignment_weight=0.5)
    config.knowledge_terms, config.knowledge_input_ids = [], []
    model = make_tiny_model(config).train()
    grid = torch.zeros(1, config.context_length, config.num_input_channels)
    batch = {"input_ids": torch.ones(1, 4, dtype=torch.long), "labels": torch.ones(1, 3, dtype=torch.long)}
    assert model(**batch, past_values=grid, past_observed_mask=torch.ones_like(grid)).loss.isfinite()
