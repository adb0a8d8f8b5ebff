# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import copy

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, EncoderDecoderModel, set_seed
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.t5.modeling_t5 import T5Attention, T5Config, T5DenseGatedActDense, T5LayerNorm

from recipes.training import allocator, trainer
from recipes.training import cpu as cpu_training
from recipes.training.arguments import StageArguments
from recipes.training.cpu import SeededDropout, blockwise_attention_forward, speed_up_on_cpu
from recipes.training.trainer import ClinRaGenTrainer


BACKBONES = {
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0,
    },
    "mt5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    "bart": {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
    },
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    },
    "qwen2": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
    },
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
}


def make_backbone(model_type, dropout=0.0):
    set_seed(0)
    config = CONFIG_MAPPING[model_type](vocab_size=50, **BACKBONES[model_type])
    if model_type == "bert":
        changed = {**config.to_dict(), "is_decoder": True, "add_cross_attention": True}
        model = EncoderDecoderModel(
            encoder=AutoModel.from_config(config),
            decoder=AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**changed)),
        )
        model.config.decoder_start_token_id, model.config.pad_token_id = 1, 0
    elif model_type in ("t5", "mt5", "bart"):
        model = AutoModelForSeq2SeqLM.from_config(config)
    else:
        model = AutoModelForCausalLM.from_config(config)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
        for name in ("dropout", "dropout_prob", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, dropout)
    return model.train()


def inputs_of(model):
    torch.manual_seed(0)
    ids = torch.randint(3, 50, (3, 11))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    mask[2, 4:] = 0
    if not model.config.is_encoder_decoder:
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}
    labels = torch.randint(3, 50, (3, 6))
    labels[1, 4:] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.fixture(autouse=True, params=[0, 2**25], ids=["made again", "kept"])
def small_blocks(monkeypatch, request):
    monkeypatch.setattr(cpu_training, "BLOCK_SIZE", 60)
    for name in ("KEPT_SCORES", "KEPT_PRODUCTS"):
        monkeypatch.setattr(cpu_training, name, request.param)
    monkeypatch.setattr(cpu_training, "GATED_SIZE", 300)


@pytest.mark.parametrize("model_type", BACKBONES)
def test_every_family_of_backbones_learns_the_same(model_type):
    model = make_backbone(model_type)
    for name, weight in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            nn.init.uniform_(weight, -2, 2)
    quick = copy.deepcopy(model)
    speed_up_on_cpu(quick)
    losses = [each(**inputs_of(each)).loss for each in (model, quick)]
    torch.testing.assert_close(losses[1], losses[0])
    for loss in losses:
        loss.backward()
    for (name, weight), twin in zip(model.named_parameters(), quick.parameters(), strict=True):
        if weight.grad is not None:
            torch.testing.assert_close(twin.grad, weight.grad, atol=1e-6, rtol=1e-3, msg=name)


def test_what_is_made_again_is_equal_to_the_bit(monkeypatch):
    model = make_backbone("t5", dropout=0.1)
    speed_up_on_cpu(model)
    found = []
    for limit in (0, 2**25):
        for name in ("KEPT_SCORES", "KEPT_PRODUCTS"):
            monkeypatch.setattr(cpu_training, name, limit)
        model.zero_grad()
        torch.manual_seed(1)
        loss = model(**inputs_of(model)).loss
        loss.backward()
        found.append([loss, *(weight.grad for weight in model.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def attention_inputs(dtype=torch.float32, keys=9):
    torch.manual_seed(0)
    query = torch.randn(2, 3, 7, 4, dtype=dtype)
    key, value = torch.randn(2, 2, 3, keys, 4, dtype=dtype).unbind(0)
    bias = torch.randn(1, 3, 7, keys, dtype=dtype)
    mask = torch.ones(2, 1, 7, keys, dtype=torch.bool)
    mask[0, ..., 5:] = False
    return query, key, value, bias, mask


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("mask", ["none", "padding", "causal", "scattered"])
def test_attention_is_that_of_the_formula(mask, has_bias):
    query, key, value, bias, padding = attention_inputs(keys=7)
    bias = bias if has_bias else None
    causal = torch.ones(7, 7, dtype=torch.bool).tril()
    seen = {"none": None, "padding": padding, "causal": causal & padding, "scattered": torch.rand(2, 1, 7, 7) > 0.3}
    seen = seen[mask]
    if mask == "scattered":
        seen = seen | torch.eye(7, dtype=torch.bool)  # each sees something
    tensors = [part.requires_grad_() for part in (query, key, value, bias) if part is not None]
    scores = query @ key.transpose(2, 3) * 0.3 + (0 if bias is None else bias)
    scores = scores if seen is None else scores.masked_fill(~seen, -torch.inf)
    expected = (scores.softmax(dim=-1) @ value).transpose(1, 2)
    module = nn.Module()
    module.is_causal = False
    output, _ = blockwise_attention_forward(module, query, key, value, seen, scaling=0.3, position_bias=bias)
    assert type(output.grad_fn.next_functions[0][0]).__name__ == "_BlockwiseAttentionBackward"
    torch.testing.assert_close(output, expected)
    weights = torch.randn_like(expected)
    expected = torch.autograd.grad((expected * weights).sum(), tensors)
    found = torch.autograd.grad((output * weights).sum(), tensors)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_backward_pass_drops_what_the_forward_pass_dropped():
    query, key, value, bias, mask = attention_inputs(torch.float64)

    def attend(*tensors):
        torch.manual_seed(1)
        *qkv, bias = tensors
        return blockwise_attention_forward(nn.Module(), *qkv, mask, dropout=0.5, scaling=0.3, position_bias=bias)[0]

    tensors = [part.requires_grad_() for part in (query, key, value, bias)]
    assert torch.autograd.gradcheck(attend, tensors)
    without = blockwise_attention_forward(nn.Module(), *tensors[:3], mask, scaling=0.3, position_bias=tensors[3])[0]
    assert (attend(*tensors) - without).abs().max() > 0.1


def test_attention_dropout_keeps_the_mean():
    query, key, value, _, _ = attention_inputs()
    query.requires_grad_()
    module = nn.Module()
    module.is_causal = False
    expected, _ = blockwise_attention_forward(module, query, key, value, None)
    draws = [blockwise_attention_forward(module, query, key, value, None, dropout=0.3)[0] for _ in range(4000)]
    torch.testing.assert_close(torch.stack(draws).mean(dim=0), expected, atol=0.08, rtol=0)


@pytest.mark.parametrize("probability", [26 / 256, 0.5, 1.0])  # in steps of 1 / 256
def test_dropout_drops_its_share_scales_the_rest_and_the_gradient_alike(probability):
    values = torch.randn(500, 401, requires_grad=True)
    dropped = SeededDropout(probability).train()(values)
    gone, spread = dropped == 0, (probability * (1 - probability)) ** 0.5
    share = gone.float().mean().item()
    assert share == pytest.approx(
        probability, abs=4 * (probability * (1 - probability) / values.numel()) ** 0.5 + 1e-5
    )
    torch.testing.assert_close(dropped[~gone], values[~gone] / (1 - probability), atol=0, rtol=1e-4)
    rows, columns = gone.float().mean(dim=1), gone.float().mean(dim=0)
    assert rows.std() == pytest.approx(spread / 401**0.5, rel=0.2, abs=1e-6)  # each by itself, in all places alike
    assert columns.std() == pytest.approx(spread / 500**0.5, rel=0.2, abs=1e-6)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    assert torch.equal(gradient == 0, gone)
    again = SeededDropout(probability).train()(values)
    assert probability == 1 or not torch.equal(again == 0, gone)
    assert torch.equal(SeededDropout(probability).eval()(values), values)


def test_dropout_comes_from_the_seed_of_all_random_numbers():
    model = make_backbone("t5", dropout=0.5)
    speed_up_on_cpu(model)
    batch, losses = inputs_of(model), []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        losses.append(model(**batch).loss.item())
    assert losses[0] == losses[1] != losses[2]


def test_what_the_backward_pass_needs_grows_with_the_length_not_its_square(monkeypatch):
    monkeypatch.setattr(cpu_training, "KEPT_SCORES", 0)

    def kept(model, length, records):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.encoder(input_ids=torch.randint(3, 50, (records, length)))
        return sum(sizes.values())

    def kept_for_a_record(model, length):  # not counted: the bias, which is square, but one for the batch
        return kept(model, length, 3) - kept(model, length, 2)

    model = make_backbone("t5", dropout=0.1)
    assert kept_for_a_record(model, 400) / kept_for_a_record(model, 200) > 3
    speed_up_on_cpu(model)
    assert kept_for_a_record(model, 400) / kept_for_a_record(model, 200) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(("queries", "keys", "kept"), [(6, 6, True), (2, 6, True), (2, 7, False), (7, 2, True)])
def test_weights_over_the_note_are_kept_where_those_of_the_note_are(monkeypatch, queries, keys, kept):
    monkeypatch.setattr(cpu_training, "KEPT_SCORES", 2 * 3 * 6 * 6)
    assert cpu_training.keeps_weights(torch.empty(2, 3, queries, 4), torch.empty(2, 3, keys, 4)) == kept


def lean(module):
    """A copy as `speed_up_on_cpu` makes it."""
    holder = nn.Module()
    holder.part = copy.deepcopy(module)
    holder.set_attn_implementation = lambda name: None
    speed_up_on_cpu(holder)
    return holder.part


def gradients_of(module, states):
    states = states.clone().requires_grad_()
    output = module(states)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    (output * weights).sum().backward()
    return [output, states.grad, *(weight.grad for weight in module.parameters())]


def test_a_norm_gives_the_same_and_keeps_what_it_gives():
    norm = T5LayerNorm(6)
    nn.init.uniform_(norm.weight, -1, 1)
    states = torch.randn(2, 5, 6)
    twin = lean(norm)
    torch.testing.assert_close(gradients_of(twin, states), gradients_of(norm, states))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        output = twin(states.requires_grad_())
    assert sorted(tensor.numel() for tensor in kept) == [6, 10, 60]
    assert output.data_ptr() in {tensor.data_ptr() for tensor in kept}


@pytest.mark.parametrize("scale", [0.0, 1e-35, 1e-20])
def test_what_a_norm_read_is_not_sought_where_it_gives_nothing(scale):
    norm = T5LayerNorm(6)
    nn.init.uniform_(norm.weight, 0.5, 1)
    norm.weight.data[2] = scale
    states = torch.randn(3, 6)
    torch.testing.assert_close(gradients_of(lean(norm), states), gradients_of(norm, states))


@pytest.mark.parametrize("act", ["gelu_new", "relu"])
@pytest.mark.parametrize("frozen", [[], ["wi_0", "wo"]])
def test_a_gated_layer_gives_the_same(act, frozen):
    config = T5Config(d_model=8, d_ff=20, feed_forward_proj=f"gated-{act}", dropout_rate=0.0)
    layer = T5DenseGatedActDense(config).double()
    for name in frozen:
        getattr(layer, name).weight.requires_grad_(False)
    states = torch.randn(3, 17, 8, dtype=torch.float64)  # in blocks of 15 rows
    twin = lean(layer)
    assert type(twin(states).grad_fn.next_functions[0][0]).__name__ == "_GatedLayerBackward"
    torch.testing.assert_close(gradients_of(twin, states), gradients_of(layer, states))


def test_a_gated_layer_drops_the_same_in_both_passes():
    layer = lean(T5DenseGatedActDense(T5Config(d_model=4, d_ff=6, dropout_rate=0.5, feed_forward_proj="gated-gelu")))
    layer, states = layer.double().train(), torch.randn(60, 4, dtype=torch.float64, requires_grad=True)

    def forward(states, *weights):
        torch.manual_seed(3)
        names = ("wi_0.weight", "wi_1.weight", "wo.weight")
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), states)

    assert torch.autograd.gradcheck(forward, [states, *layer.parameters()])
    dropped = [layer(states) for _ in range(2000)]
    torch.testing.assert_close(torch.stack(dropped).mean(dim=0), layer.eval()(states), atol=0.05, rtol=0)


def test_a_gated_layer_keeps_no_product_of_a_long_batch(monkeypatch):
    layer = lean(T5DenseGatedActDense(T5Config(d_model=8, d_ff=20, feed_forward_proj="gated-gelu")))

    def kept(rows):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()), lambda _: None):
            layer(torch.randn(rows, 8))
        return sorted(sizes)

    monkeypatch.setattr(cpu_training, "KEPT_PRODUCTS", 2 * 17 * 20)
    weights = [8 * 20] * 3
    assert kept(17) == sorted([17 * 8, *weights, 17 * 20, 17 * 20])
    assert kept(18) == sorted([18 * 8, *weights])


def test_a_gated_layer_calls_layers_that_do_more_than_multiply():
    layer = lean(T5DenseGatedActDense(T5Config(d_model=8, d_ff=20, feed_forward_proj="gated-gelu")))
    calls, states = [], torch.randn(3, 8)
    layer.wi_1.register_forward_pre_hook(lambda *_: calls.append("wi_1"))
    layer(states)
    layer.wi_1 = nn.Sequential(layer.wi_0)
    layer(states)
    assert calls == ["wi_1"]
    assert all("GatedLayer" not in type(layer(states).grad_fn).__name__ for _ in range(2))


@pytest.mark.parametrize("is_decoder", [True, False])
@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (150, 150), (3, 7), (7, 3)])
def test_a_bias_by_distance_is_that_of_the_pairs(is_decoder, queries, keys):
    config = T5Config(d_model=8, num_heads=2, d_kv=4, is_decoder=is_decoder)
    config._attn_implementation = "blockwise"
    attention = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    line = lean(attention).compute_bias(queries, keys)
    assert line.shape == (1, 2, queries + keys - 1)
    pairs = cpu_training._of_pairs(line, torch.empty(1, 2, keys, 4))
    torch.testing.assert_close(pairs, attention.compute_bias(queries, keys), atol=0, rtol=0)


def test_under_mixed_precision_pytorch_computes_with_the_same_bias():
    model = make_backbone("t5")
    quick = copy.deepcopy(model)
    speed_up_on_cpu(quick)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [each(**inputs_of(each)).loss for each in (model, quick)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(losses[1], losses[0], atol=0.02, rtol=0.01)


def test_a_t5_keeps_half_of_what_pytorch_keeps_for_the_backward_pass(monkeypatch):
    monkeypatch.setattr(cpu_training, "KEPT_SCORES", 0)

    def kept(model):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.encoder(input_ids=torch.randint(3, 50, (3, 100)))
        return sum(sizes.values()) - sum(weight.nbytes for weight in model.parameters())

    model = make_backbone("t5", dropout=0.1)
    quick = copy.deepcopy(model)
    speed_up_on_cpu(quick)
    assert kept(quick) < kept(model) / 2


def test_without_gradients_pytorch_does_it_as_before():
    model = make_backbone("t5").eval()
    quick = copy.deepcopy(model)
    speed_up_on_cpu(quick)
    with torch.no_grad():
        batch = inputs_of(model)
        torch.testing.assert_close(quick(**batch).logits, model(**batch).logits, atol=1e-6, rtol=1e-5)
        assert torch.equal(
            quick.generate(batch["input_ids"], max_new_tokens=5), model.generate(batch["input_ids"], max_new_tokens=5)
        )
    assert "blockwise" not in quick.config.to_json_string()


def test_the_trainer_trains_on_a_cpu_with_these_parts(tiny_model, tiny_processor, tmp_path, monkeypatch):
    trims = []
    for module in (trainer, allocator):
        monkeypatch.setattr(module, "trim_heap", lambda name=module.__name__: trims.append(name))
    record = {"past_values": torch.zeros(24, 11), "past_observed_mask": torch.ones(24, 11)}
    record |= {"input_ids": torch.arange(3, 9), "labels": torch.arange(3, 7), "diagnosis_labels": torch.zeros(25)}
    args = StageArguments(output_dir=str(tmp_path), eval_strategy="no", load_best_model_at_end=False, max_steps=2)
    args.save_strategy = "no"
    before = tiny_model.backbone.encoder.block[0].layer[0].SelfAttention.q.weight.clone()
    ClinRaGenTrainer(tiny_model, args, train_dataset=[record] * 8, processing_class=tiny_processor).train()
    dropouts = [module for module in tiny_model.backbone.modules() if isinstance(module, nn.Dropout)]
    assert {type(module) for module in dropouts} == {SeededDropout}
    assert tiny_model.backbone.config._attn_implementation == "blockwise"
    assert not torch.equal(tiny_model.backbone.encoder.block[0].layer[0].SelfAttention.q.weight, before)
    around, within = trainer.__name__, allocator.__name__
    assert trims == [around, around, within] * 2  # before and after each forward pass, and in each backward pass
    assert not tiny_model.backbone.get_encoder()._forward_hooks
