# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Evidence that is measured where estimates promise most: what is measured is exact, and estimates find it."""

import copy

import numpy as np
import pytest
import torch

from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenProcessor, scored_copies_clinragen
from modeling_clinragen.evidence_clinragen import NEGLIGIBLE, PARTS, Occlusion, Removal, _promising, find_evidence
from modeling_clinragen.scored_copies_clinragen import ScoredCopies
from recipes.training import fitting
from tests.conftest import make_tiny_config, make_tiny_model
from tests.modeling_clinragen.test_evidence_clinragen import some_linear_weights
from tests.modeling_clinragen.test_record_terms_clinragen import KNOWLEDGE, LABELS


NOTE = "Fever, productive cough; denies chest pain. History of hypertension, heart failure.\nRigors, CHF: pulse high."


@pytest.fixture
def processor(tiny_tokenizer, tiny_config):
    extractor = ClinRaGenFeatureExtractor(tiny_config.channels, context_length=tiny_config.context_length)
    options = {"max_note_tokens": 200, "knowledge": KNOWLEDGE, "term_evidence": True}
    return ClinRaGenProcessor(extractor, tiny_tokenizer, labels=LABELS, **options)


def made_model(tokenizer, processor, mixture=0.5, **changes):
    """A random model whose encoder has something to say, and a linear classifier as if it were fitted."""
    model = make_tiny_model(make_tiny_config(tokenizer, num_evidence_terms=len(KNOWLEDGE), **changes))
    torch.manual_seed(1)
    for weight in (model.diagnosis_head.classifier.weight, model.diagnosis_head.attention.weight):
        torch.nn.init.normal_(weight, std=2.0)
    if model.diagnosis_head.linear is not None:
        fitting.learn_terms(model, processor)
        some_linear_weights(model)
        torch.nn.init.normal_(model.diagnosis_head.linear.weight, std=1.0)
        model.diagnosis_head.linear.std.data.fill_(1.0)
        torch.nn.init.normal_(model.diagnosis_head.linear.shared_evidence_weight, mean=1.0)
        model.config.decisions.mixture = mixture
    return model


def occlusion_of(model, processor, records, note=NOTE):
    _, values, times = records[0]
    return Occlusion(model, processor, note, values, times)


def scored_copies(occlusion, removals, reads_notes=True):
    removed = [occlusion.copies.removed_tokens(removal.note) for removal in removals]
    return ScoredCopies(occlusion.model, occlusion._inputs([Removal(), *removals], reads_notes), removed)


def by_transformers(occlusion, removals):
    """Logits of copies, each encoded by itself, by transformers' own encoder, without anything that is shared."""
    logits = []
    for removal in removals:
        inputs = occlusion._inputs([removal])
        with torch.no_grad():
            logits.append(occlusion.model.encode(**inputs).diagnosis_logits)
    return torch.cat(logits)


@pytest.mark.parametrize("changes", [{}, {"use_linear_classifier": False}, {"max_series_tokens_per_channel": 2}])
def test_measured_logits_are_those_of_each_copy_by_itself(tiny_tokenizer, processor, records, changes):
    model = made_model(tiny_tokenizer, processor, **changes)
    occlusion = occlusion_of(model, processor, records)
    removals = occlusion._removals()
    assert all(occlusion.units[part] for part in PARTS)
    found = scored_copies(occlusion, removals).logits(range(len(removals) + 1))
    expected = by_transformers(occlusion, [Removal(), *removals])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (expected[1:] - expected[0]).abs().amax(dim=1).gt(1e-3).sum() > len(removals) / 2


def test_how_many_copies_are_encoded_at_once_does_not_matter(tiny_tokenizer, processor, records, monkeypatch):
    occlusion = occlusion_of(made_model(tiny_tokenizer, processor), processor, records)
    removals = occlusion._removals()
    scored, rows = scored_copies(occlusion, removals), range(len(removals) + 1)
    together = scored.logits(rows)
    monkeypatch.setattr(scored_copies_clinragen, "MOST_TOKENS", 1)
    torch.testing.assert_close(scored.logits(rows), together, atol=1e-5, rtol=1e-5)


def test_terms_that_are_read_replace_assumed_ones(tiny_tokenizer, processor, records):
    """Without its first word a denial is none: a term comes to count that no one assumed."""
    occlusion = occlusion_of(made_model(tiny_tokenizer, processor), processor, records, "Denies rigors and CHF.")
    removal = Removal(note=[(0, 6)])
    scored = scored_copies(occlusion, [removal], reads_notes=False)
    terms = occlusion._inputs([removal])["term_evidence"]
    expected = by_transformers(occlusion, [removal])
    torch.testing.assert_close(scored.logits([1], terms), expected, atol=1e-4, rtol=1e-4)
    assert (scored.logits([1]) - expected).abs().max() > 0.1


def test_estimates_of_what_is_linear_are_exact(tiny_tokenizer, processor, records):
    model = made_model(tiny_tokenizer, processor, mixture=1.0)
    occlusion = occlusion_of(model, processor, records)
    removals, labels = occlusion._removals(), [3, 0, 20]
    estimates = scored_copies(occlusion, removals).estimated_drops(labels)
    logits = by_transformers(occlusion, [Removal(), *removals])[:, labels]
    torch.testing.assert_close(estimates, logits[0] - logits[1:], atol=1e-4, rtol=1e-4)


def test_estimates_of_the_encoder_are_its_slope(tiny_tokenizer, processor, records):
    """Half of the weight of a clause's tokens, and a thousandth: the second moves a score by the estimate's share."""
    model = made_model(tiny_tokenizer, processor, mixture=0.0)
    model.config.decisions.temperature = 1.0
    occlusion = occlusion_of(model, processor, records)
    removals = [Removal(note=unit) for unit in occlusion.units["note"]]
    scored, step = scored_copies(occlusion, removals), 1e-3
    estimates = scored.estimated_drops(range(25))
    tokens, (places,) = scored._distinct_tokens([0])
    states = tokens[places].detach().double()
    double = copy.deepcopy(model).double()
    encoding = type(scored.encoding)(double.backbone)
    for removal, estimate in zip(removals, estimates, strict=True):
        scores = []
        for share in (1.0, 1.0 - step):
            log_weights = torch.zeros(len(states), dtype=torch.double)
            log_weights[occlusion.copies.removed_tokens(removal.note)] = np.log(share)
            read = encoding.read_row(states, log_weights)
            scores.append(double.diagnosis_head.encoder_scores(read, log_weights))
        slope = ((scores[0] - scores[1]) / step).detach()
        torch.testing.assert_close(estimate.double(), slope, atol=2e-3, rtol=2e-2)


def test_estimates_order_units_much_as_measurements_do(tiny_tokenizer, processor, records):
    model = made_model(tiny_tokenizer, processor, mixture=0.0)
    occlusion = occlusion_of(model, processor, records)
    _, effects = occlusion.effects()
    measured = torch.cat([effects[part][:, 0] for part in ("note", "series")])
    estimates = scored_copies(occlusion, occlusion._removals()).estimated_drops(range(25))[: len(measured)]
    related = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(measured.T, estimates.T, strict=True)]
    assert np.median(related) > 0.7


def test_only_measured_effects_are_shown_and_they_are_exact(tiny_tokenizer, processor, records):
    model = made_model(tiny_tokenizer, processor)
    occlusion, labels = occlusion_of(model, processor, records), [3, 7]
    _, effects = occlusion.effects()
    _, found = occlusion.largest_effects(labels, 2)
    assert not all((drops > -torch.inf).all() for drops in found.values())
    for part, drops in found.items():
        measured = drops > -torch.inf
        assert measured.any(dim=0).all()
        torch.testing.assert_close(drops[measured], effects[part][:, 0, labels][measured], atol=1e-4, rtol=1e-4)
    for entry, label in zip(find_evidence(occlusion, labels, 2), labels, strict=True):
        exact = effects["note"][:, 0, label]
        starts = [unit[0][0] for unit in occlusion.units["note"]]
        for unit in entry["note"]:
            assert unit["effect"] == pytest.approx(float(exact[starts.index(unit["start"])]), abs=1e-3)


def test_all_is_measured_of_a_model_without_estimates(tiny_tokenizer, processor, records, monkeypatch):
    model = made_model(tiny_tokenizer, processor)
    occlusion = occlusion_of(model, processor, records)
    whole, effects = occlusion.effects()
    model.backbone.encoder.block[0].register_forward_hook(lambda *_: None)  # no plain T5 any more
    found_whole, found = occlusion.largest_effects([3, 7], 2)
    torch.testing.assert_close(found_whole, whole[0, [3, 7]])
    for part in PARTS:
        torch.testing.assert_close(found[part], effects[part][:, 0, [3, 7]], atol=1e-4, rtol=1e-4)


def test_units_are_measured_by_the_order_of_their_estimates():
    estimates = torch.tensor([[5.0, 0.0], [4.0, 0.0], [3.0, 0.0], [2.0, 0.5], [-1.0, 9.0]])
    unknown = torch.full_like(estimates, -torch.inf)
    assert _promising(estimates, unknown, 1).tolist() == [True, True, False, True, True]
    drops = unknown.clone()
    drops[[0, 1, 3, 4]] = torch.tensor([[2.5, 0.0], [2.0, 0.0], [1.0, 0.1], [0.0, 4.0]])
    assert _promising(estimates, drops, 1).tolist() == [False, False, True, False, False]
    drops[0, 0] = 3.5  # more than what is estimated of the rest
    assert not _promising(estimates, drops, 1).any()
    assert _promising(estimates[:0], unknown[:0], 1).tolist() == []
    few = torch.tensor([[-1.0, NEGLIGIBLE / 2]])
    assert _promising(few, torch.full_like(few, -torch.inf), 5).tolist() == [True]


def test_a_record_of_one_part_has_estimates(tiny_tokenizer, processor, records):
    model = made_model(tiny_tokenizer, processor)
    _, values, times = records[0]
    for occlusion in (
        Occlusion(model, processor, "Rigors.", None, None),
        Occlusion(model, processor, "", values, times),
    ):
        _, effects = occlusion.effects()
        _, found = occlusion.largest_effects([3], 100)
        for part in PARTS:
            torch.testing.assert_close(found[part][:, 0], effects[part][:, 0, 3], atol=1e-4, rtol=1e-4)
