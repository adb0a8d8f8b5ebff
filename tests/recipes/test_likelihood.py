# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What the decoder says of each label, against one label and one list at a time."""

from itertools import chain, combinations

import pytest
import torch

from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenProcessor
from modeling_clinragen.generation_clinragen import DiagnosisGrammar
from recipes.evaluation import likelihood
from recipes.evaluation.likelihood import listed_shares, name_log_probabilities, undecided
from tests.conftest import make_tiny_config, make_tiny_model


ALIKE = ["Shock", "Hypertension", "Hypertension with complications", "Heart failure"]


@pytest.fixture(scope="module")
def parts(tiny_tokenizer):
    """Model with four labels, of which one begins another; its processor and grammar."""
    config = make_tiny_config(tiny_tokenizer, labels=ALIKE)
    processor = ClinRaGenProcessor(ClinRaGenFeatureExtractor(context_length=24), tiny_tokenizer, labels=ALIKE)
    config.diagnosis_token_ids = processor.diagnosis_token_ids()
    model = make_tiny_model(config)
    with torch.no_grad():  # so that records differ in what is written
        for weight in model.backbone.decoder.parameters():
            weight.mul_(2)
    return model, processor, DiagnosisGrammar(**config.diagnosis_token_ids)


@pytest.fixture
def encoded(parts, records):
    model, processor, _ = parts
    notes, values, times = zip(*records, strict=True)
    with torch.no_grad():
        return model.encode(**processor(list(notes), list(values), list(times), return_tensors="pt"))


def next_log_probabilities(model, encoded, i, tokens):
    """Of every token after each of `tokens`, for record `i`: (1 + len(tokens), vocabulary)."""
    ids = torch.tensor([[model.config.decoder_start_token_id, *tokens]])
    one = type(encoded)(encoded.last_hidden_state[i : i + 1], attention_mask=encoded.attention_mask[i : i + 1])
    with torch.no_grad():
        return model(encoder_outputs=one, decoder_input_ids=ids).logits[0].log_softmax(dim=-1)


def test_a_name_is_as_likely_as_its_tokens_one_after_the_other(parts, encoded):
    model, processor, grammar = parts
    free, in_list = name_log_probabilities(model, encoded, grammar)
    opening, ids = list(grammar.opening), processor.diagnosis_token_ids()
    assert free.shape == in_list.shape == (4, 4)
    for i in range(4):
        for label, name in enumerate(ids["labels"]):
            scores = next_log_probabilities(model, encoded, i, [*opening, *name])[len(opening) :]
            expected = expected_in_list = 0.0
            for place, token in enumerate(name):
                going = [n for n in [*ids["labels"], ids["nothing"]] if n[:place] == name[:place]]
                allowed = {n[place] for n in going if len(n) > place}
                if name[:place] in ids["labels"]:
                    allowed |= {ids["separator"][0], ids["end"][0]}
                expected += scores[place, token]
                expected_in_list += scores[place, token] - scores[place, sorted(allowed)].logsumexp(dim=0)
            assert free[i, label] == pytest.approx(float(expected), abs=1e-4)
            assert in_list[i, label] == pytest.approx(float(expected_in_list), abs=1e-4)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_how_much_is_in_memory_at_once_changes_nothing(parts, encoded, rows, monkeypatch):
    model, _, grammar = parts
    whole = name_log_probabilities(model, encoded, grammar)
    monkeypatch.setattr(likelihood, "MAX_ROWS", rows)
    for one, other in zip(whole, name_log_probabilities(model, encoded, grammar), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_first_names_and_none_share_one_probability(tiny_model, tiny_processor, records):
    grammar = DiagnosisGrammar(**tiny_processor.diagnosis_token_ids())
    notes, values, times = zip(*records, strict=True)
    with torch.no_grad():
        encoded = tiny_model.encode(**tiny_processor(list(notes), list(values), list(times), return_tensors="pt"))
    _, in_list = name_log_probabilities(tiny_model, encoded, grammar)
    shares = in_list.exp().sum(dim=1)
    assert (shares < 1).all()  # the rest is for none
    assert (shares > 0.5).all()


def test_a_decoder_that_shall_not_know_the_decisions_sees_the_record_alone(parts, encoded):
    model, _, grammar = parts
    changed = type(encoded)(**encoded)
    changed.diagnosis_logits = encoded.diagnosis_logits + 4
    tokens = model.diagnosis_head.decision_tokens(changed.diagnosis_logits)
    changed.last_hidden_state = torch.cat([encoded.last_hidden_state[:, :-4], tokens], dim=1)
    one, other = (name_log_probabilities(model, undecided(model, seen), grammar)[0] for seen in (encoded, changed))
    torch.testing.assert_close(one, other)
    assert not torch.allclose(*(name_log_probabilities(model, seen, grammar)[0] for seen in (encoded, changed)))
    assert torch.equal(undecided(model, encoded).last_hidden_state[:, :-4], encoded.last_hidden_state[:, :-4])


def test_sampled_lists_hold_labels_as_often_as_all_lists_together_say(parts, encoded):
    model, processor, grammar = parts
    model.config.diagnosis_thresholds = [0.999] * 4  # no decision of the head may be forced upon the lists
    torch.manual_seed(0)
    number = 600
    shares = listed_shares(model, processor, encoded, grammar, number)
    for i in range(4):
        expected, total = torch.zeros(4), 0.0
        for labels in chain.from_iterable(combinations(range(4), n) for n in range(5)):
            tokens, states, logarithm = grammar.write(labels), grammar.start(), 0.0
            scores = next_log_probabilities(model, encoded, i, [*grammar.opening, *tokens])[len(grammar.opening) :]
            for place, token in enumerate(tokens):
                allowed = sorted(grammar.options(states))
                logarithm += float(scores[place, token] - scores[place, allowed].logsumexp(dim=0))
                states = grammar.step(states, token)
            total += torch.tensor(logarithm).exp()
            expected[list(labels)] += torch.tensor(logarithm).exp()
        assert float(total) == pytest.approx(1, abs=1e-3)
        assert expected.max() > 0.02
        assert (shares[i] - expected).abs().max() < 4 * (0.25 / number) ** 0.5
