# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.patchtst.modeling_patchtst import PatchTSTEncoderLayer

from modeling_clinragen import ClinRaGenConfig
from modeling_clinragen.time_series_clinragen import ClinRaGenTimeSeriesEncoder, pool_patches
from tests.conftest import make_tiny_config, make_tiny_model


TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    series = {"d_model": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "context_length": 48}
    return ClinRaGenTimeSeriesEncoder(ClinRaGenConfig(time_series_config=series)).eval()


@torch.no_grad()
def test_whole_series_are_encoded_as_by_patchtst(encoder):
    values = torch.randn(3, 48, 11)
    found = encoder(values, torch.ones_like(values))
    assert found.patch_mask.tolist() == [[[True] * 6] * 11] * 3
    patches = values.unflatten(1, (6, 8)).permute(0, 3, 1, 2)  # (batch, channel, patch, hour)
    states = encoder.embedder(patches) + encoder.observed_embedding(torch.ones(8))
    states = states + encoder.channel_embedding.weight[:, None] + encoder.positional_encoder.position_enc
    for layer in encoder.layers:
        (states,) = PatchTSTEncoderLayer.forward(layer, states)
    torch.testing.assert_close(found.last_hidden_state, encoder.norm(states), **TOLERANCE)


@torch.no_grad()
def test_gaps_are_as_if_the_patches_did_not_exist(encoder):
    """The encoding of measured patches does not change when their neighbours are missing or have any content."""
    values, observed = torch.randn(2, 48, 11), torch.zeros(2, 48, 11)
    observed[0, :16, 3] = observed[0, 33, 3] = observed[1, 5, 0] = 1
    found = encoder(values, observed)
    assert found.patch_mask.nonzero().tolist() == [[0, 3, 0], [0, 3, 1], [0, 3, 4], [1, 0, 0]]
    assert not found.last_hidden_state[~found.patch_mask].any()
    alone = encoder(torch.where(observed[:1] > 0, values[:1], torch.nan), observed[:1]).last_hidden_state
    torch.testing.assert_close(found.last_hidden_state[0], alone[0], **TOLERANCE)
    states = encoder.embedder(torch.where(observed > 0, values, 0)[0].unflatten(0, (6, 8)).permute(2, 0, 1)[None])
    states = states + encoder.observed_embedding(observed[0].unflatten(0, (6, 8)).permute(2, 0, 1))
    states = states + encoder.channel_embedding.weight[:, None] + encoder.positional_encoder.position_enc
    states = states[:, 3:4, [0, 1, 4]]
    for layer in encoder.layers:
        (states,) = PatchTSTEncoderLayer.forward(layer, states)
    torch.testing.assert_close(found.last_hidden_state[0, 3, [0, 1, 4]], encoder.norm(states)[0, 0], **TOLERANCE)


@given(
    st.lists(st.lists(st.booleans(), min_size=14, max_size=14), min_size=1, max_size=4),
    st.integers(1, 9),
)
def test_pooled_states_are_means_over_as_many_neighbours_as_needed(rows, longest):
    patch_mask = torch.tensor(rows).view(len(rows), 2, 7)
    states = torch.randn(len(rows), 2, 7, 3)
    pooled, mask = pool_patches(states, patch_mask, longest)
    assert mask.shape == (len(rows), 2, min(longest, 7))
    for i in range(len(rows)):
        last = max((p + 1 for c in range(2) for p in range(7) if patch_mask[i, c, p]), default=1)
        size = -(-last // longest)
        for c in range(2):
            for k in range(mask.shape[2]):
                members = [states[i, c, p] for p in range(k * size, min(k * size + size, 7)) if patch_mask[i, c, p]]
                assert mask[i, c, k] == bool(members)
                if members:
                    torch.testing.assert_close(pooled[i, c, k], torch.stack(members).mean(dim=0))


@torch.no_grad()
def test_tokens_are_pooled_for_a_long_stay_and_unchanged_for_a_short_one(tiny_tokenizer):
    whole, few = (
        make_tiny_model(make_tiny_config(tiny_tokenizer, context_length=240, max_series_tokens_per_channel=longest))
        for longest in (None, 4)
    )
    note, values, observed = torch.randint(3, 50, (2, 5)), torch.randn(2, 240, 11), torch.zeros(2, 240, 11)
    observed[0, :200, :3] = 1
    observed[1, :32, :3] = 1
    inputs = {"input_ids": note, "past_values": values, "past_observed_mask": observed}
    assert whole.encode(**inputs).attention_mask.sum(dim=1).tolist() == [5 + 3 * 25 + 25, 5 + 3 * 4 + 25]
    read = few.encode(**inputs)
    assert read.attention_mask.sum(dim=1).tolist() == [5 + 3 * 4 + 25, 5 + 3 * 4 + 25]
    assert (read.knowledge_attentions[0].sum(dim=-1) > 0).sum() == 3 * 25  # every patch has attention weights
    alone = {name: part[1:] for name, part in inputs.items()}
    torch.testing.assert_close(
        few.encode(**alone).diagnosis_logits, whole.encode(**alone).diagnosis_logits, **TOLERANCE
    )
    torch.testing.assert_close(read.diagnosis_logits[1:], few.encode(**alone).diagnosis_logits, **TOLERANCE)
