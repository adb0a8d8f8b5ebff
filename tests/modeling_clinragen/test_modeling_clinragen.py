# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, BartConfig, T5Config, T5ForConditionalGeneration

from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from modeling_clinragen import ClinRaGenConfig, ClinRaGenForConditionalGeneration
from modeling_clinragen.generation_clinragen import DiagnosisGrammar
from modeling_clinragen.modeling_clinragen import pack_sequences
from modeling_clinragen.outputs_clinragen import ClinRaGenEncoderOutput
from recipes.models.backbone import load_backbone
from tests.conftest import make_tiny_config, make_tiny_model


TOLERANCE = {"rtol": 0, "atol": 1e-5}
TINY_BART = {
    "model_type": "bart",
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
}


def tiny_bert_to_bert(vocab_size):
    from transformers import BertConfig, EncoderDecoderConfig

    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
    part = BertConfig(vocab_size=vocab_size, **sizes)
    config = EncoderDecoderConfig.from_encoder_decoder_configs(part, part)
    config.pad_token_id, config.eos_token_id, config.decoder_start_token_id = 0, 1, 0
    return config


@pytest.fixture(params=["t5-term", "t5-prototype", "t5-no-knowledge", "t5-paper-layout", "bart", "bert-to-bert"])
def model(request, tiny_tokenizer):
    backbone, _, variant = request.param.partition("-")
    if backbone == "bart":
        special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 0, "decoder_start_token_id": 1}
        config = make_tiny_config(tiny_tokenizer, BartConfig(**TINY_BART, **special, vocab_size=len(tiny_tokenizer)))
    elif backbone == "bert":
        config = make_tiny_config(tiny_tokenizer, tiny_bert_to_bert(len(tiny_tokenizer)))
    else:
        changes = {"prototype": {"knowledge_attention_type": "prototype"}, "paper-layout": {"patch_layout": "paper"}}
        config = make_tiny_config(tiny_tokenizer, **changes.get(variant, {}))
        if variant == "no-knowledge":
            config.knowledge_terms, config.knowledge_input_ids = [], []
    return make_tiny_model(config)


@pytest.fixture
def batch(tiny_processor, records):
    notes, values, times = zip(*records, strict=True)
    return tiny_processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")


def row(batch, i):
    """One record by itself, without the padding that its batch gave it."""
    length = int(batch["attention_mask"][i].sum())
    cut = {name: batch[name][i : i + 1, :length] for name in ("input_ids", "attention_mask")}
    return {**cut, **{name: batch[name][i : i + 1] for name in ("past_values", "past_observed_mask")}}


def outputs(model, batch, decoder_input_ids):
    with torch.no_grad():
        output = model(**batch, decoder_input_ids=decoder_input_ids)
    return output.logits, output.diagnosis_logits, output.knowledge_attentions


def test_a_record_is_read_the_same_with_gradients_and_without(tiny_model, batch):
    learned = tiny_model.eval().encode(**batch)
    with torch.no_grad():
        read = tiny_model.encode(**batch)
    real = learned.attention_mask.bool()
    torch.testing.assert_close(read.last_hidden_state[real], learned.last_hidden_state[real], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(read.diagnosis_logits, learned.diagnosis_logits, atol=1e-5, rtol=1e-4)


def test_batch_composition_and_padding_do_not_change_a_record(model, batch):
    decoder_input_ids = torch.arange(3, 11).repeat(4, 1)
    together = outputs(model, batch, decoder_input_ids)
    for i in range(4):
        alone = outputs(model, row(batch, i), decoder_input_ids[:1])
        for one, many in zip(alone, together, strict=True):
            if one is not None:
                torch.testing.assert_close(one[0], many[i], **TOLERANCE)


@pytest.mark.parametrize("content", [float("nan"), float("inf"), 1e9, -3.0])
def test_the_content_of_unobserved_cells_does_not_matter(model, batch, content):
    decoder_input_ids = torch.arange(3, 11).repeat(4, 1)
    before = outputs(model, batch, decoder_input_ids)
    batch["past_values"] = batch["past_values"].masked_fill(~batch["past_observed_mask"], content)
    for one, other in zip(before, outputs(model, batch, decoder_input_ids), strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, **TOLERANCE)


def test_observed_cells_and_their_mask_matter(tiny_model, batch):
    decoder_input_ids = torch.arange(3, 11).repeat(4, 1)
    before = outputs(tiny_model, batch, decoder_input_ids)[0]
    cell = tuple(batch["past_observed_mask"].nonzero()[0].tolist())
    batch["past_values"][cell] += 1.0
    assert (outputs(tiny_model, batch, decoder_input_ids)[0] - before)[0].abs().max() > 1e-4
    batch["past_values"][cell] = 0.0
    at_the_mean = outputs(tiny_model, batch, decoder_input_ids)[0]
    batch["past_observed_mask"][cell] = False
    assert (outputs(tiny_model, batch, decoder_input_ids)[0] - at_the_mean)[0].abs().max() > 1e-4


def test_a_record_without_series_equals_one_without_series_inputs(model, batch):
    decoder_input_ids = torch.arange(3, 11).repeat(1, 1)
    with_mask = row(batch, 1)
    assert not with_mask["past_observed_mask"].any()
    without = {name: with_mask[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(
        outputs(model, with_mask, decoder_input_ids)[0], outputs(model, without, decoder_input_ids)[0], **TOLERANCE
    )


def test_patches_without_a_measurement_are_no_tokens(tiny_model, batch):
    encoded = tiny_model.encode(**batch)
    patches = batch["past_observed_mask"].unflatten(1, (3, 8)).any(dim=2).flatten(1).sum(dim=1)
    tokens = batch["attention_mask"].sum(dim=1) + patches + 25  # 25 decisions
    assert (encoded.attention_mask.sum(dim=1) == tokens).all()


def test_pack_sequences_keeps_order_and_moves_padding_to_the_end():
    embeds = torch.arange(10.0).view(2, 5, 1)
    packed, mask = pack_sequences(embeds, torch.tensor([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0]]))
    assert packed[0, :, 0].tolist() == [0, 2, 4]
    assert packed[1, 0, 0] == 6
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_paper_layout_mixes_time_with_channels(tiny_tokenizer):
    grid = torch.arange(24.0 * 11).view(1, 24, 11)
    fixed, paper = (
        make_tiny_model(make_tiny_config(tiny_tokenizer, patch_layout=layout)).time_series_encoder._patches(grid)
        for layout in ("fixed", "paper")
    )
    assert fixed[0, 2, 0].tolist() == [2.0 + 11 * hour for hour in range(8)]
    assert paper[0, 0, 0].tolist() == list(range(8))  # eight channels of the first hour


def test_term_attention_is_a_distribution_over_terms(tiny_model, batch):
    attention = tiny_model.encode(**batch).knowledge_attentions
    patch_mask = batch["past_observed_mask"].unflatten(1, (3, 8)).any(dim=2).transpose(1, 2)  # (batch, channel, patch)
    assert attention.shape == (4, 11, 3, 4)
    torch.testing.assert_close(attention.sum(dim=-1), patch_mask.float())


def test_term_attention_against_a_loop(tiny_model):
    knowledge, embedding = tiny_model.knowledge_attention, tiny_model.get_input_embeddings()
    states = torch.randn(2, 2, 4, 16)
    patch_mask = torch.tensor([[[1, 0, 1, 0], [0, 1, 1, 1]], [[0, 0, 0, 0], [0, 0, 0, 0]]]).bool()
    hidden = states[patch_mask]  # five patches of the first record
    with torch.no_grad():
        tokens, token_mask, attention = knowledge(states, patch_mask, embedding)
        terms = torch.stack(
            [embedding(torch.tensor(ids)).mean(dim=0) for ids in tiny_model.config.knowledge_input_ids]
        )
        terms = nn.functional.layer_norm(terms, (16,))
        heads, weights = [], []
        for h in range(2):
            part = slice(8 * h, 8 * h + 8)
            query, key, value = knowledge.query(hidden), knowledge.key(terms), knowledge.value(terms)
            weights.append((query[:, part] @ key[:, part].T / 8**0.5).softmax(dim=-1))
            heads.append(weights[-1] @ value[:, part])
        expected = knowledge.norm(knowledge.series_projection(hidden) + knowledge.output(torch.cat(heads, dim=-1)))
    torch.testing.assert_close(attention[patch_mask], torch.stack(weights).mean(dim=0), **TOLERANCE)
    torch.testing.assert_close(tokens[token_mask], expected, **TOLERANCE)
    assert not attention[~patch_mask].any()
    assert token_mask.tolist() == patch_mask.flatten(1).tolist()


def test_terms_are_embedded_once_while_they_are_kept(tiny_model, batch):
    knowledge, asked = tiny_model.knowledge_attention, []
    with torch.no_grad():
        expected = tiny_model.encode(**batch).diagnosis_logits
    knowledge.key.register_forward_hook(lambda *_: asked.append(1))
    with torch.no_grad(), knowledge.kept_terms():
        for _ in range(3):
            assert torch.equal(tiny_model.encode(**batch).diagnosis_logits, expected)
    assert len(asked) == 1
    with knowledge.kept_terms():  # where there are gradients nothing is kept
        for number in (2, 3):
            tiny_model.encode(**batch).diagnosis_logits.sum().backward()
            assert len(asked) == number


def test_loss_ignores_masked_targets_and_adds_the_diagnosis_loss(tiny_model, batch):
    labels = torch.randint(3, 50, (4, 6))
    labels[:, 4:] = -100
    diagnoses = torch.zeros(4, 25)
    diagnoses[0, 3] = 1
    with torch.no_grad():
        output = tiny_model(**batch, labels=labels)
        both = tiny_model(**batch, labels=labels, diagnosis_labels=diagnoses)
    log_probabilities = output.logits[:, :4].log_softmax(dim=-1).gather(2, labels[:, :4, None])
    torch.testing.assert_close(output.loss, -log_probabilities.mean(), **TOLERANCE)
    probabilities = tiny_model.diagnosis_probabilities(**batch)
    likelihood = torch.where(diagnoses.bool(), probabilities, 1 - probabilities)
    torch.testing.assert_close(both.loss - output.loss, -likelihood.log().mean(), **TOLERANCE)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_cache": False},
        {"num_beams": 3},
        {"num_beams": 2, "num_return_sequences": 2},
        {"do_sample": True, "top_k": 5},
        {"cache_implementation": "static"},
    ],
)
def test_generate(tiny_model, batch, arguments):
    ids = tiny_model.generate(**batch, max_new_tokens=7, **arguments)
    assert ids.shape[0] == 4 * arguments.get("num_return_sequences", 1)
    assert (ids[:, 0] == tiny_model.config.decoder_start_token_id).all()


def test_generation_is_the_same_with_and_without_cache_alone_and_in_a_batch(model, batch):
    together = model.generate(**batch, max_new_tokens=8, do_sample=False)
    assert torch.equal(together, model.generate(**batch, max_new_tokens=8, do_sample=False, use_cache=False))
    for i in range(4):
        alone = model.generate(**row(batch, i), max_new_tokens=8, do_sample=False)[0]
        assert torch.equal(alone, together[i, : len(alone)])


def plain_greedy(model, inputs, decided, limit, end):
    """The decided tokens, then one after the other the most probable, each from the whole text before it."""
    tokens = [model.config.decoder_start_token_id, *decided]
    while len(tokens) <= limit and tokens[-1] != end:
        with torch.no_grad():
            logits = model(**inputs, decoder_input_ids=torch.tensor([tokens]), use_cache=False).logits
        tokens.append(int(logits[0, -1].argmax()))
    return tokens


def test_the_fast_path_writes_what_a_plain_loop_writes(model, batch, tiny_processor):
    """Cached, constrained and in batches by length, against one record at a time without cache or constraint."""
    model.config.decisions.token_ids = tiny_processor.diagnosis_token_ids()
    probabilities = model.diagnosis_probabilities(**batch)
    model.config.decisions.thresholds = [float(probabilities.quantile(0.9))] * len(model.config.labels)
    grammar = DiagnosisGrammar(**model.config.decisions.token_ids)
    decided = [
        [*grammar.opening, *grammar.write(made.nonzero().flatten().tolist())]
        for made in model.diagnosis_decisions(**batch)
    ]
    assert len(set(map(len, decided))) > 1
    rows, limit = [row(batch, i) for i in range(4)], max(map(len, decided)) + 10
    free = [plain_greedy(model, *parts, limit, end=None) for parts in zip(rows, decided, strict=True)]
    listed = {token for tokens in decided for token in tokens}
    end = next(token for token in reversed(free[0]) if token not in listed)  # so that some texts end before others
    plain = [plain_greedy(model, *parts, limit, end) for parts in zip(rows, decided, strict=True)]
    order = batch["attention_mask"].sum(dim=1).argsort()
    for pair in order.split(2):
        together = {name: values[pair] for name, values in batch.items()}
        # One token more, as BART puts the end of a text in place of the last.
        texts = model.generate(**together, max_new_tokens=limit + 1, do_sample=False, eos_token_id=end)
        for i, text in zip(pair.tolist(), texts.tolist(), strict=True):
            assert text[: len(plain[i])] == plain[i]
            assert plain[i][-1] != end or set(text[len(plain[i]) :]) <= {model.config.pad_token_id}


def test_generate_encodes_once(tiny_model, batch, monkeypatch):
    calls = []
    encode = tiny_model.encode
    monkeypatch.setattr(tiny_model, "encode", lambda **inputs: calls.append(1) or encode(**inputs))
    tiny_model.generate(**batch, max_new_tokens=5, num_beams=2)
    assert len(calls) == 1


def test_generate_from_encoder_outputs(tiny_model, batch):
    encoded = tiny_model.encode(**batch)
    assert isinstance(encoded, ClinRaGenEncoderOutput)
    assert torch.equal(
        tiny_model.generate(encoder_outputs=encoded, max_new_tokens=6), tiny_model.generate(**batch, max_new_tokens=6)
    )


def test_eager_equals_sdpa(tiny_config, batch):
    models = {}
    for implementation in ("eager", "sdpa"):
        torch.manual_seed(0)
        models[implementation] = ClinRaGenForConditionalGeneration._from_config(
            tiny_config, attn_implementation=implementation
        ).eval()
        assert models[implementation].backbone.config._attn_implementation == implementation
    models["eager"].load_state_dict(models["sdpa"].state_dict())
    decoder_input_ids = torch.arange(3, 11).repeat(4, 1)
    eager, sdpa = (outputs(m, batch, decoder_input_ids)[0] for m in models.values())
    torch.testing.assert_close(eager, sdpa, **TOLERANCE)


def test_bfloat16_is_close_to_float32(tiny_model, batch):
    decoder_input_ids = torch.arange(3, 11).repeat(4, 1)
    full = outputs(tiny_model, batch, decoder_input_ids)[:2]
    half = outputs(tiny_model.bfloat16(), batch, decoder_input_ids)[:2]
    assert [logits.dtype for logits in half] == [torch.bfloat16, torch.float32]  # what decides is not rounded
    for exact, rounded in zip(full, half, strict=True):
        assert (rounded.float() - exact).abs().max() < 0.1 * exact.abs().max() + 0.05


def test_gradients_reach_every_part_and_checkpointing_keeps_them(tiny_tokenizer, tiny_config, batch):
    text_config = {**tiny_config.text_config.to_dict(), "dropout_rate": 0.0}
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, text_config)).train()
    labels, diagnoses = torch.randint(3, 50, (4, 6)), torch.ones(4, 25)
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()  # by version
        model.zero_grad()
        model(**batch, labels=labels, diagnosis_labels=diagnoses).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert all(gradient is not None for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], **TOLERANCE)


def test_save_and_load_keep_all_weights(model, batch, tmp_path):
    model.save_pretrained(tmp_path)
    loaded, info = ClinRaGenForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    decoder_input_ids = torch.arange(3, 11).repeat(4, 1)
    for one, other in zip(
        outputs(model, batch, decoder_input_ids), outputs(loaded.eval(), batch, decoder_input_ids), strict=True
    ):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_pretrained_untied_head_survives(tiny_tokenizer, tiny_config, batch, tmp_path):
    t5 = T5ForConditionalGeneration(T5Config(**tiny_config.text_config.to_dict()))
    t5.lm_head.weight = nn.Parameter(torch.randn_like(t5.lm_head.weight))  # FLAN-T5's head is not its embedding
    head, embedding = t5.lm_head.weight.clone(), t5.shared.weight.clone()
    model = make_tiny_model(tiny_config)
    model.use_pretrained_backbone(t5)
    model.save_pretrained(tmp_path)
    for m in (model, ClinRaGenForConditionalGeneration.from_pretrained(tmp_path)):
        torch.testing.assert_close(m.backbone.lm_head.weight, head)
        torch.testing.assert_close(m.backbone.shared.weight, embedding)


def test_minilm_encoder_keeps_its_weights_and_obeys_the_masks(records, tmp_path):
    from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenProcessor

    backbone, tokenizer = load_backbone(MINILM, {"num_hidden_layers": 1})
    config = ClinRaGenConfig(
        text_config=backbone.config,
        time_series_config={"context_length": 24, "d_model": 16, "ffn_dim": 16, "num_attention_heads": 2},
        knowledge_terms=["fever"],
        knowledge_input_ids=[tokenizer("fever", add_special_tokens=False)["input_ids"]],
    )
    model = make_tiny_model(config)
    model.use_pretrained_backbone(backbone)
    model.eval()
    processor = ClinRaGenProcessor(ClinRaGenFeatureExtractor(config.channels, 24), tokenizer)
    notes, values, times = zip(*records, strict=True)
    batch = processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")

    from transformers import AutoModel

    minilm = AutoModel.from_pretrained(resolve_checkpoint(MINILM)).eval()
    tokens = AutoTokenizer.from_pretrained(resolve_checkpoint(MINILM))("fever and cough", return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode(tokens["input_ids"]).last_hidden_state[:, :-25],
            minilm(**tokens).last_hidden_state,
            **TOLERANCE,
        )
    decoder_input_ids = torch.arange(1000, 1008).repeat(4, 1)
    together = outputs(model, batch, decoder_input_ids)[0]
    for i in range(4):
        torch.testing.assert_close(
            outputs(model, row(batch, i), decoder_input_ids[:1])[0][0], together[i], **TOLERANCE
        )
    assert model.generate(**batch, max_new_tokens=4, num_beams=2).shape[0] == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"past_values": torch.zeros(4, 24, 3)}, r"`past_values` has shape \(4, 24, 3\).*\(4, 24, 11\)"),
        ({"past_observed_mask": None}, "go together"),
        ({"input_ids": None}, "either as `input_ids` or as `inputs_embeds`"),
    ],
)
def test_wrong_inputs_are_refused_with_their_shapes(tiny_model, batch, change, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(**{**batch, **change}, decoder_input_ids=torch.zeros(4, 1, dtype=torch.long))


def test_when_positions_run_out_then_the_message_says_what_to_lower(tiny_tokenizer):
    text_config = {**TINY_BART, "max_position_embeddings": 16, "vocab_size": len(tiny_tokenizer), "pad_token_id": 0}
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, text_config))
    with pytest.raises(ValueError, match=r"17 tokens.*at most 16.*max_note_tokens"):
        model.encode(torch.full((1, 17), 5))


def test_the_decoder_attends_to_the_decisions_but_does_not_change_them(tiny_model, batch):
    labels = torch.randint(3, 50, (4, 6))
    tiny_model(**batch, labels=labels).loss.backward()
    head = tiny_model.diagnosis_head
    assert head.classifier.weight.grad is None
    assert head.attention.weight.grad is None
    assert head.decision_embedding.weight.grad.abs().sum() > 0
    with torch.no_grad():
        before = tiny_model(**batch, labels=labels).logits
        head.classifier.bias += 3.0
        assert (tiny_model(**batch, labels=labels).logits - before).abs().max() > 1e-3


def test_without_diagnosis_head_there_are_no_probabilities(tiny_tokenizer, batch):
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, diagnosis_loss_weight=0.0))
    assert model.diagnosis_head is None
    with pytest.raises(ValueError, match="diagnosis_loss_weight=0"):
        model.diagnosis_probabilities(**batch)
