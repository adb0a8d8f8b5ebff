# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A T5's encoder, one row after the other, computes what transformers' own computes of a batch."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BartConfig, BartForConditionalGeneration

from modeling_clinragen.packing_clinragen import pack_sequences
from modeling_clinragen.t5_encoding_clinragen import T5Encoding
from tests.conftest import make_tiny_config, make_tiny_model


BART = {"vocab_size": 50, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 1}
BART |= {"decoder_attention_heads": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}


@pytest.mark.parametrize("feed_forward", ["relu", "gated-gelu"])
def test_rows_are_encoded_as_in_a_padded_batch(tiny_tokenizer, feed_forward):
    text = {"model_type": "t5", "vocab_size": len(tiny_tokenizer), "d_model": 16, "d_ff": 32, "d_kv": 8}
    text |= {"num_heads": 3, "num_layers": 3, "feed_forward_proj": feed_forward, "relative_attention_num_buckets": 8}
    backbone = make_tiny_model(make_tiny_config(tiny_tokenizer, text)).backbone
    torch.manual_seed(0)
    for name, weight in backbone.named_parameters():
        if "layer_norm" in name or "relative" in name:
            torch.nn.init.normal_(weight, mean=1.0, std=0.5)
    states, mask = torch.randn(5, 150, 16), torch.zeros(5, 150, dtype=torch.long)
    for row, length in zip(mask, (150, 1, 30, 149, 30), strict=True):
        row[torch.randperm(150)[:length]] = 1
    states, mask = pack_sequences(states, mask)
    with torch.no_grad():
        expected = backbone.encoder(inputs_embeds=states, attention_mask=mask)[0]
        found = T5Encoding(backbone).read(states, mask)
    real = mask.bool()
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=1e-4)
    assert not found[~real].any()


def test_a_token_without_weight_is_as_one_that_is_masked(tiny_model):
    torch.manual_seed(0)
    states, mask = torch.randn(1, 20, 16), torch.ones(1, 20, dtype=torch.long)
    mask[0, [3, 11]] = 0  # its place stays, unlike that of a token that is removed
    log_weights = torch.zeros(20).masked_fill(mask[0] == 0, -1e9)
    with torch.no_grad():
        expected = tiny_model.backbone.encoder(inputs_embeds=states, attention_mask=mask)[0][0]
        found = T5Encoding(tiny_model.backbone).read_row(states[0], log_weights)
    torch.testing.assert_close(found[mask[0] == 1], expected[mask[0] == 1], atol=1e-5, rtol=1e-4)


def test_another_than_a_plain_t5_encodes_by_itself(tiny_model):
    assert T5Encoding.fits(tiny_model.backbone)
    assert not T5Encoding.fits(tiny_model.train().backbone)
    assert not T5Encoding.fits(tiny_model.eval().bfloat16().backbone)
    hook = tiny_model.float().backbone.encoder.block[0].register_forward_hook(lambda *_: None)
    assert not T5Encoding.fits(tiny_model.backbone)
    hook.remove()
    assert not T5Encoding.fits(BartForConditionalGeneration(BartConfig(**BART)).eval())
    lora = get_peft_model(tiny_model.backbone, LoraConfig(target_modules=["q"]))
    assert not T5Encoding.fits(lora.base_model.model.eval())
