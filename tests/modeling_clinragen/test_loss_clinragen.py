# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The loss without the scores of all tokens equals the loss with them, in value and in every gradient."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import BartConfig, T5Config, T5ForConditionalGeneration

from modeling_clinragen import loss_clinragen
from modeling_clinragen.loss_clinragen import token_loss, token_loss_of_states
from tests.conftest import make_tiny_config, make_tiny_model
from tests.modeling_clinragen.test_modeling_clinragen import TINY_BART, tiny_bert_to_bert


TOLERANCE = {"rtol": 0, "atol": 1e-6}


@pytest.mark.parametrize("bias", ["none", "head", "added", "both"])
@pytest.mark.parametrize("total", [None, 7])
def test_in_chunks_the_loss_and_its_gradients_are_those_of_torch(monkeypatch, bias, total):
    monkeypatch.setattr(loss_clinragen, "TOKENS_PER_CHUNK", 3)
    torch.manual_seed(0)
    states = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    head = nn.Linear(4, 11, bias=bias in ("head", "both")).double()
    added = torch.randn(11, dtype=torch.float64) if bias in ("added", "both") else None
    labels = torch.randint(11, (2, 5))
    labels[1, 2:] = -100
    leaves = [states, *head.parameters()]

    scores = head(states) + (0 if added is None else added)
    summed = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="sum")
    expected = summed / ((labels != -100).sum() if total is None else total)
    ours = token_loss_of_states(states, head, added, labels, total)
    torch.testing.assert_close(ours.double(), expected, **TOLERANCE)
    torch.testing.assert_close(token_loss(scores, labels, total).double(), expected, **TOLERANCE)
    for one, other in zip(
        torch.autograd.grad(3 * ours, leaves), torch.autograd.grad(3 * expected, leaves), strict=True
    ):
        torch.testing.assert_close(one, other, **TOLERANCE)


def test_a_frozen_head_gets_no_gradient_and_passes_one_on():
    torch.manual_seed(0)
    head = nn.Linear(4, 11, bias=False).requires_grad_(False)
    states, labels = torch.randn(1, 3, 4, requires_grad=True), torch.tensor([[1, 2, -100]])
    token_loss_of_states(states, head, None, labels, None).backward()
    assert head.weight.grad is None
    assert (states.grad[0, :2] != 0).all()
    assert (states.grad[0, 2] == 0).all()


@pytest.fixture(params=["t5-tied", "t5-untied", "bart", "bert-to-bert"])
def model(request, tiny_tokenizer, tiny_config):
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 0, "decoder_start_token_id": 1}
    if request.param == "bart":
        model = make_tiny_model(
            make_tiny_config(tiny_tokenizer, BartConfig(**TINY_BART, **special, vocab_size=len(tiny_tokenizer)))
        )
        model.backbone.final_logits_bias.normal_()
        return model
    if request.param == "bert-to-bert":
        return make_tiny_model(make_tiny_config(tiny_tokenizer, tiny_bert_to_bert(len(tiny_tokenizer))))
    model = make_tiny_model(tiny_config)
    if request.param == "t5-untied":  # as FLAN-T5: a head of its own
        settings = {**tiny_config.text_config.to_dict(), "tie_word_embeddings": False}
        t5 = T5ForConditionalGeneration(T5Config(**settings))
        t5.lm_head.weight = nn.Parameter(torch.randn_like(t5.lm_head.weight))
        model.use_pretrained_backbone(t5)
    return model.eval()


def test_loss_and_gradients_are_the_same_without_logits(model, tiny_processor, records):
    notes, values, times = zip(*records, strict=True)
    batch = tiny_processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")
    torch.manual_seed(0)
    labels = torch.randint(3, 50, (4, 6))
    labels[2, 3:] = -100
    batch = {**batch, "labels": labels, "diagnosis_labels": torch.ones(4, 25)}
    gradients, losses = {}, {}
    for skip in (True, False):
        model.zero_grad()
        output = model(**batch, skip_logits=skip, num_items_in_batch=5.0, num_records_in_batch=9)
        assert (output.logits is None) == skip
        output.loss.backward()
        losses[skip] = output.loss.detach()
        gradients[skip] = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-6, atol=0)
    assert gradients[True].keys() == gradients[False].keys()
    for name, gradient in gradients[True].items():
        torch.testing.assert_close(gradient, gradients[False][name], rtol=1e-4, atol=1e-6)


def test_logits_are_left_out_in_training_only(tiny_model, tiny_processor):
    batch = tiny_processor(notes=["fever"], return_tensors="pt")
    labels = torch.tensor([[4, 5, 1]])
    assert tiny_model(**batch, labels=labels).logits.shape[:2] == (1, 3)
    tiny_model.train()
    assert tiny_model(**batch, labels=labels).logits is None
    assert tiny_model(**batch, decoder_input_ids=labels).logits is not None


def test_parts_of_a_global_batch_add_up_to_it(tiny_model, tiny_processor, records):
    notes, values, times = zip(*records, strict=True)
    labels = torch.tensor([[4, 5, 6, 1], [7, 1, -100, -100], [8, 9, 1, -100], [3, 3, 3, 1]])
    diagnoses = torch.rand(4, 25).round()

    def loss(rows, **totals):
        batch = tiny_processor(
            notes=list(notes[rows]), lab_values=list(values[rows]), lab_times=list(times[rows]), return_tensors="pt"
        )
        return tiny_model(**batch, labels=labels[rows], diagnosis_labels=diagnoses[rows], **totals).loss.detach()

    totals = {"num_items_in_batch": (labels != -100).sum(), "num_records_in_batch": 4}
    parts = loss(slice(0, 1), **totals) + loss(slice(1, 4), **totals)
    torch.testing.assert_close(parts, loss(slice(0, 4)), rtol=1e-5, atol=1e-5)
