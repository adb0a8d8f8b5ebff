# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A T5 reads each record by itself, as transformers reads it in a batch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from modeling_clinragen.t5_encoding_clinragen import T5Encoding, is_plain_t5


@pytest.fixture(scope="module", params=[False, True], ids=["relu", "gated"])
def backbone(request):
    torch.manual_seed(0)
    config = {"feed_forward_proj": "gated-gelu"} if request.param else {}
    sizes = {"vocab_size": 50, "d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 4, "num_layers": 2}
    made = T5ForConditionalGeneration(T5Config(**sizes, **config)).eval()
    for weight in made.parameters():
        weight.requires_grad_(False).add_(0.01)
    return made


def mask_of(lengths):
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=5))
def test_it_encodes_as_transformers_does(backbone, lengths):
    inputs = torch.randn(len(lengths), max(lengths), 16)
    mask = mask_of(lengths)
    expected = backbone.encoder(inputs_embeds=inputs, attention_mask=mask).last_hidden_state * mask.unsqueeze(-1)
    found = T5Encoding(backbone).read(inputs, mask_of(lengths))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_what_is_read_of_a_record_depends_on_no_other(backbone):
    lengths = [7, 130, 1, 64, 65]
    inputs = torch.randn(len(lengths), max(lengths), 16)
    together = T5Encoding(backbone).read(inputs, mask_of(lengths))
    for row, length in enumerate(lengths):
        inputs[row, length:] = torch.nan
        alone = T5Encoding(backbone).read_row(inputs[row, :length])
        torch.testing.assert_close(alone, together[row, :length], atol=1e-5, rtol=1e-5)
        assert not together[row, length:].any()
    torch.testing.assert_close(T5Encoding(backbone).read(inputs, mask_of(lengths)), together, atol=0, rtol=0)


def test_a_token_without_weight_is_as_one_that_is_masked(backbone):
    states, mask = torch.randn(1, 20, 16), torch.ones(1, 20, dtype=torch.long)
    mask[0, [3, 11]] = 0  # its place stays, unlike that of a token that is removed
    log_weights = torch.zeros(20).masked_fill(mask[0] == 0, -1e9)
    expected = backbone.encoder(inputs_embeds=states, attention_mask=mask)[0][0]
    found = T5Encoding(backbone).read_row(states[0], log_weights)
    torch.testing.assert_close(found[mask[0] == 1], expected[mask[0] == 1], atol=1e-4, rtol=1e-4)


def test_only_a_t5_on_a_cpu_is_encoded(backbone):
    assert T5Encoding.fits(backbone)
    sizes = {"vocab_size": 50, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8}
    assert not T5Encoding.fits(BartForConditionalGeneration(BartConfig(**sizes, decoder_ffn_dim=8)).eval())
    assert not T5Encoding.fits(T5ForConditionalGeneration(backbone.config).eval().to("meta"))


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_another_than_a_plain_t5_is_told(tiny_model, stack):
    assert is_plain_t5(tiny_model.backbone, stack)
    assert not is_plain_t5(tiny_model.train().backbone, stack)
    assert not is_plain_t5(tiny_model.eval().bfloat16().backbone, stack)
    hook = getattr(tiny_model.float().backbone, stack).block[0].register_forward_hook(lambda *_: None)
    assert not is_plain_t5(tiny_model.backbone, stack)
    hook.remove()
    assert is_plain_t5(tiny_model.backbone, stack)
    lora = get_peft_model(tiny_model.backbone, LoraConfig(target_modules=["q"]))
    assert not is_plain_t5(lora.base_model.model.eval(), stack)
