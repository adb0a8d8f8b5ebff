# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated steps beside real ones: operations, memory, and sums by hand."""

import copy
import resource
from contextlib import nullcontext
from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5ForConditionalGeneration, set_seed

from modeling_clinragen import ClinRaGenForCausalLM, ClinRaGenForConditionalGeneration
from recipes.models.lora import insert_adapters, lora_config
from recipes.training.cpu import speed_up_on_cpu
from recipes.training.simulation import MORE_FLOPS, Simulation
from tests.conftest import make_tiny_config


BACKBONES = {
    "t5": {"model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4},
    "qwen2": {
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}


def make_model(tokenizer, kind, dropout=0.0):
    text_config = {**BACKBONES[kind], "vocab_size": 500, "eos_token_id": 1, "pad_token_id": 0}
    text_config |= {"dropout_rate": dropout} if kind == "t5" else {"attention_dropout": dropout, "bos_token_id": 1}
    config = make_tiny_config(tokenizer, text_config=text_config)
    set_seed(0)
    model = ClinRaGenForConditionalGeneration if kind == "t5" else ClinRaGenForCausalLM
    return model(config).train()


def make_batch(model, rows=4, read=90, written=40):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 200, (rows, read), generator=generator)
    labels = torch.randint(3, 200, (rows, written), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, read // 2 :] = 0
    labels[0, written // 3 :] = -100
    hours, channels = model.config.context_length, model.config.num_input_channels
    observed = torch.rand(rows, hours, channels, generator=generator) > 0.6
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": labels,
        "past_values": torch.randn(rows, hours, channels, generator=generator),
        "past_observed_mask": observed,
        "diagnosis_labels": torch.zeros(rows, len(model.config.labels)),
    }


def simulated(model, batch, mode=None):
    """Operations of forward and of both passes, and bytes beyond the weights when forward is done and at the peak."""
    simulation = Simulation()
    simulation.without_values(model)
    with simulation, mode or simulation.cpu_kernels():
        before = simulation.live
        loss = model(**batch).loss
        forward, kept = simulation.flops, simulation.live - before
        loss.backward()
    return forward, simulation.flops, kept, simulation.peak - before


def real_flops(model, batch):
    with FlopCounterMode(display=False, custom_mapping=MORE_FLOPS) as counter:
        loss = model(**batch).loss
        forward = counter.get_total_flops()
        loss.backward()
    return forward, counter.get_total_flops()


def real_peak(model, batch):
    """Peak bytes of torch's allocator, beyond those before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        model(**batch).loss.backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(changes))


def with_lora(model):
    config = lora_config(model, {"r": 4, "target_modules": ["q", "v", "q_proj", "v_proj"]}, "backbone")
    insert_adapters(model, config, ["diagnosis_head"])


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("form", ["whole", "frozen", "lora", "checkpointed", "bf16"])
def test_operations_equal_those_counted_in_a_real_step(tiny_tokenizer, kind, form):
    model = make_model(tiny_tokenizer, kind, dropout=0.1)
    speed_up_on_cpu(model.backbone)
    if form == "frozen":
        model.backbone.requires_grad_(False)
    if form == "lora":
        with_lora(model)
    if form == "checkpointed":
        model.activation_checkpointing_enable()
    batch, twin = make_batch(model), copy.deepcopy(model)
    with torch.autocast("cpu", dtype=torch.bfloat16) if form == "bf16" else nullcontext():
        expected = real_flops(model, batch)
        forward, both, _, _ = simulated(twin, batch)
    assert (forward, both) == expected


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("form", ["whole", "frozen", "checkpointed"])
def test_memory_equals_that_of_the_allocator_in_a_real_step(tiny_tokenizer, kind, form):
    model = make_model(tiny_tokenizer, kind)
    speed_up_on_cpu(model.backbone)
    if form == "frozen":
        model.backbone.requires_grad_(False)
    if form == "checkpointed":
        model.activation_checkpointing_enable()
    batch = make_batch(model, rows=6, read=200, written=80)
    twin = copy.deepcopy(model)
    model(**batch)  # created once
    assert simulated(twin, batch)[3] == pytest.approx(real_peak(model, batch), rel=0.1)


@given(
    rows=st.integers(1, 20),
    width=st.integers(1, 30),
    inner=st.integers(1, 30),
    is_frozen=st.tuples(*[st.booleans()] * 2),
)
@settings(max_examples=30)
def test_frozen_weights_need_no_gradient_and_what_leads_to_trained_ones_does(rows, width, inner, is_frozen):
    layers = nn.Sequential(nn.Linear(width, inner, bias=False), nn.Linear(inner, 5, bias=False))
    for layer, frozen in zip(layers, is_frozen, strict=True):
        layer.requires_grad_(not frozen)
    simulation, first, second = Simulation(), 2 * rows * width * inner, 2 * rows * inner * 5
    simulation.without_values(layers)
    with simulation:
        loss = layers(torch.zeros(rows, width)).sum()
        assert simulation.flops == first + second
        if not all(is_frozen):
            loss.backward()
    by_first = first + second  # of its weight, and of the second layer's input
    assert simulation.flops == first + second + (not is_frozen[0]) * by_first + (not is_frozen[1]) * second


@pytest.mark.parametrize(("place", "of_dropout"), [("cpu", 4), ("gpu", 1)])
def test_what_is_kept_is_the_sum_by_hand(place, of_dropout):
    rows, width = 64, 256
    layers = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.Dropout(0.5))
    simulation = Simulation()
    simulation.without_values(layers)
    weights = 4 * 2 * (width * width + width)
    assert simulation.live == weights
    with simulation, getattr(simulation, f"{place}_kernels")():
        out = layers(torch.zeros(rows, width))
        # in float32 what comes in, after the first layer, after GELU, and what comes out; and what dropout drops
        assert simulation.live - weights == rows * width * (4 * 4 + of_dropout)
        del out
    assert simulation.live == weights


def test_a_large_model_takes_no_memory():
    config = T5Config(
        d_model=1024, d_kv=64, d_ff=2816, num_heads=16, num_layers=12, vocab_size=32128, feed_forward_proj="gated-gelu"
    )
    before, simulation = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Simulation()
    with simulation:
        model = T5ForConditionalGeneration(config)
    layer, gated = 4 * 1024 * 1024, 3 * 1024 * 2816
    numbers = 32128 * 1024 + 12 * (3 * layer + 2 * gated) + 12 * 5 * 1024 + 2 * 1024 + 2 * 32 * 16
    assert sum(weight.numel() for weight in model.parameters()) == numbers
    assert _held([*model.parameters()]) == simulation.live == 4 * numbers
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def _held(tensors):
    return sum({id(tensor.untyped_storage()): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def test_shared_weights_stay_shared_and_are_counted_once(tiny_tokenizer):
    model = make_model(tiny_tokenizer, "t5")
    real, simulation = _held([*model.parameters(), *model.buffers()]), Simulation()
    simulation.without_values(model)
    assert model.backbone.lm_head.weight is model.backbone.shared.weight
    assert simulation.live == real


@pytest.mark.parametrize("place", ["gpu", "cpu"])
def test_a_gpu_keeps_no_weights_of_attention(place):
    simulation, shape = Simulation(), (2, 4, 128, 16)
    tensors = [simulation.empty(*shape, dtype=torch.float32).requires_grad_() for _ in range(3)]
    bias = simulation.empty(1, 4, 128, 128, dtype=torch.float32).requires_grad_()
    scores = 2 * 4 * 128 * 128
    with simulation, getattr(simulation, f"{place}_kernels")():
        before = simulation.live
        out = F.scaled_dot_product_attention(*tensors, attn_mask=bias)
        assert (simulation.live - before < 4 * scores) == (place == "gpu")
        assert simulation.flops == 2 * 2 * scores * 16
        out.sum().backward()
    assert bias.grad.shape == bias.shape


def test_a_length_that_depends_on_weights_is_an_error():
    simulation = Simulation()
    with simulation, pytest.raises(ValueError, match="a length depends on weights"):
        int(simulation.empty(3, dtype=torch.int64).max())
