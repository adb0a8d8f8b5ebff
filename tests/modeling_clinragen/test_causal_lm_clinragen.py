# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenForCausalLM, ClinRaGenPipeline, ClinRaGenProcessor
from modeling_clinragen.handler import EndpointHandler
from modeling_clinragen.modeling_clinragen import pack_sequences
from recipes.models.folder import check_model_folder, load_model_folder, save_model_folder
from tests.conftest import WORDS, make_tiny_config
from tests.modeling_clinragen.test_generation_clinragen import TEXTS
from tests.modeling_clinragen.test_modeling_clinragen import row
from tests.recipes.models.test_folder import run_elsewhere


TOLERANCE = {"rtol": 0, "atol": 1e-5}
ROTARY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 1}  # fmt: skip
FAMILIES = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256, "resid_pdrop": 0, "embd_pdrop": 0,
             "attn_pdrop": 0},
    "llama": ROTARY,
    "mistral": {**ROTARY, "sliding_window": 8},
    "opt": {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "dropout": 0.0,
            "word_embed_proj_dim": 16, "max_position_embeddings": 256},
    "qwen2": {**ROTARY, "tie_word_embeddings": True},
    "qwen3": {**ROTARY, "head_dim": 8},
}  # fmt: skip


def make_causal_model(tokenizer, family, **changes):
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    text_config = {"model_type": family, "vocab_size": len(tokenizer), **special, **FAMILIES[family]}
    torch.manual_seed(0)
    model = ClinRaGenForCausalLM(make_tiny_config(tokenizer, text_config, **changes)).eval()
    with torch.no_grad():  # random weights make all words about equally likely
        for weight in model.backbone.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


@pytest.fixture(params=FAMILIES)
def model(request, tiny_tokenizer):
    return make_causal_model(tiny_tokenizer, request.param)


@pytest.fixture
def llama(tiny_tokenizer):
    return make_causal_model(tiny_tokenizer, "llama")


@pytest.fixture
def batch(tiny_processor, records):
    notes, values, times = zip(*records, strict=True)
    return tiny_processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")


@pytest.fixture
def target():
    """Labels of four records, of unequal length; the third has none."""
    labels = torch.randint(3, 100, (4, 6), generator=torch.Generator().manual_seed(0))
    for i, length in enumerate((6, 3, 0, 5)):
        labels[i, length:] = -100
    return labels


@torch.no_grad()
def whole_sequence(model, batch, i):
    """Embeddings of a record's note, its measured patches and its decisions, one after the other, by hand."""
    alone = row(batch, i)
    embed = model.get_input_embeddings()
    series = model.time_series_encoder(alone["past_values"], alone["past_observed_mask"])
    tokens, _, _ = model.knowledge_attention(series.last_hidden_state, series.patch_mask, embed)
    read = torch.cat([embed(alone["input_ids"])[0], tokens[0, series.patch_mask.flatten()]])
    states = model.backbone.base_model(inputs_embeds=read[None]).last_hidden_state
    logits = model.diagnosis_head(states, torch.ones(states.shape[:2]))
    linear = model.diagnosis_head.linear(**alone)
    share = model.config.decisions.mixture
    mixed = ((1 - share) * logits + share * linear) / model.config.decisions.temperature
    return torch.cat([read, model.diagnosis_head.decision_tokens(mixed)[0]]), logits


def test_the_loss_is_that_of_the_backbone_over_one_sequence(model, batch, target):
    model.config.decisions.mixture, model.config.decisions.temperature = 0.25, 1.5
    torch.nn.init.normal_(model.diagnosis_head.linear.bias)
    diagnoses = torch.rand(4, 25, generator=torch.Generator().manual_seed(0)).round()
    tokens, records = [], []
    for i in range(4):
        length = int((target[i] != -100).sum())
        before, logits = whole_sequence(model, batch, i)
        begun = torch.cat([torch.tensor([1]), target[i, : max(length - 1, 0)]])  # </s> begins a target
        sequence = torch.cat([before, model.get_input_embeddings()(begun)])
        with torch.no_grad():
            predicted = model.backbone(inputs_embeds=sequence[None]).logits[0, len(before) :][:length]
        tokens.append(F.cross_entropy(predicted, target[i, :length], reduction="none"))
        records.append(F.binary_cross_entropy_with_logits(logits[0], diagnoses[i]))
    expected = torch.cat(tokens).sum() / 7 + sum(records) / 9
    given = {"num_items_in_batch": 7, "num_records_in_batch": 9}
    for skip_logits in (False, True):
        output = model(**batch, labels=target, diagnosis_labels=diagnoses, skip_logits=skip_logits, **given)
        torch.testing.assert_close(output.loss, expected, **TOLERANCE)
        assert (output.logits is None) == skip_logits


def test_batch_composition_and_padding_do_not_change_a_record(model, batch, target):
    with torch.no_grad():
        together = model(**batch, decoder_input_ids=target.clamp(min=3))
        for i in range(4):
            alone = model(**row(batch, i), decoder_input_ids=target[i : i + 1].clamp(min=3))
            for name in ("logits", "diagnosis_logits", "knowledge_attentions"):
                torch.testing.assert_close(alone[name][0], together[name][i], **TOLERANCE)


def test_greedy_generation_is_the_best_next_token_step_by_step(model, batch):
    written = model.generate(**batch, max_new_tokens=8, do_sample=False)
    assert torch.equal(written, model.generate(**batch, max_new_tokens=8, do_sample=False, use_cache=False))
    for i in range(4):
        tokens, embed = [1], model.get_input_embeddings()
        before, _ = whole_sequence(model, batch, i)
        while len(tokens) < 9 and (len(tokens) == 1 or tokens[-1] != 1):
            sequence = torch.cat([before, embed(torch.tensor(tokens))])
            with torch.no_grad():
                tokens.append(int(model.backbone(inputs_embeds=sequence[None]).logits[0, -1].argmax()))
        assert written[i, : len(tokens)].tolist() == tokens


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_beams": 3},
        {"num_beams": 2, "num_return_sequences": 2},
        {"do_sample": True, "top_k": 5, "num_return_sequences": 3},
    ],
)
def test_beams_and_samples_are_the_same_without_a_cache(model, batch, arguments):
    found = []
    for use_cache in (True, False):
        torch.manual_seed(0)
        found.append(model.generate(**batch, max_new_tokens=7, use_cache=use_cache, **arguments))
    assert torch.equal(*found)
    assert found[0].shape[0] == 4 * arguments.get("num_return_sequences", 1)
    assert (found[0][:, 0] == model.config.decoder_start_token_id).all()


def test_a_record_is_read_once_and_each_word_once(llama, batch):
    lengths = []
    llama.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    longest = int(llama.encode(**batch).attention_mask.sum(dim=1).max())
    lengths.clear()
    llama.generate(**batch, max_new_tokens=4, min_new_tokens=4, num_beams=2)
    assert lengths == [longest - 25, 26, 1, 1, 1]


def test_one_encoding_serves_many_generations(llama, batch):
    encoded = llama.encode(**batch)
    first = llama.generate(encoder_outputs=encoded, max_new_tokens=6, do_sample=False)
    llama.generate(encoder_outputs=encoded, max_new_tokens=6, num_beams=2)
    assert torch.equal(llama.generate(encoder_outputs=encoded, max_new_tokens=6, do_sample=False), first)
    some = llama.generate(encoder_outputs=encoded.select_rows([2, 0]), max_new_tokens=6, do_sample=False)
    assert torch.equal(some, first[[2, 0]])


def test_a_cache_of_fixed_size_is_refused(llama, batch):
    with pytest.raises(ValueError, match="leave out cache_implementation"):
        llama.generate(**batch, max_new_tokens=4, cache_implementation="static")


def test_a_begun_text_is_continued(llama, batch):
    written = llama.generate(**batch, max_new_tokens=6, do_sample=False)
    going_on = llama.generate(**batch, decoder_input_ids=written[:, :3], max_new_tokens=4, do_sample=False)
    assert torch.equal(going_on, written)


def test_gradients_reach_every_part_and_checkpointing_keeps_them(model, batch, target):
    model.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()  # by version
        model.zero_grad()
        model(**batch, labels=target, diagnosis_labels=torch.ones(4, 25)).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert all(gradient is not None for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], **TOLERANCE)


def test_eager_equals_sdpa(llama, batch, target):
    eager = ClinRaGenForCausalLM._from_config(llama.config, attn_implementation="eager").eval()
    assert eager.backbone.config._attn_implementation == "eager"
    eager.load_state_dict(llama.state_dict())
    with torch.no_grad():
        one, other = (m(**batch, decoder_input_ids=target.clamp(min=3)).logits for m in (eager, llama))
    torch.testing.assert_close(one, other, **TOLERANCE)


def test_bfloat16_is_close_to_float32(llama, batch, target):
    ids = target.clamp(min=3)
    with torch.no_grad():
        full, half = llama(**batch, decoder_input_ids=ids), llama.bfloat16()(**batch, decoder_input_ids=ids)
    for name in ("logits", "diagnosis_logits"):
        assert (half[name].float() - full[name]).abs().max() < 0.1 * full[name].abs().max() + 0.05


def test_pack_sequences_moves_padding_to_the_start():
    embeds = torch.arange(10.0).view(2, 5, 1)
    packed, mask = pack_sequences(embeds, torch.tensor([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0]]), padding_side="left")
    assert packed[0, :, 0].tolist() == [0, 2, 4]
    assert packed[1, -1, 0] == 6
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_without_a_diagnosis_head_there_are_no_decisions_to_read(tiny_tokenizer, batch, target):
    model = make_causal_model(tiny_tokenizer, "llama", diagnosis_loss_weight=0.0)
    encoded = model.encode(**batch)
    patches = batch["past_observed_mask"].unflatten(1, (3, 8)).any(dim=2).flatten(1).sum(dim=1)
    assert (encoded.attention_mask.sum(dim=1) == batch["attention_mask"].sum(dim=1) + patches).all()
    assert torch.isfinite(model(**batch, labels=target).loss)
    assert model.generate(**batch, max_new_tokens=3).shape == (4, 4)


def test_new_embeddings_start_at_the_scale_of_pretrained_ones(tiny_tokenizer, llama):
    backbone = AutoModelForCausalLM.from_config(llama.config.text_config)
    torch.nn.init.normal_(backbone.get_input_embeddings().weight, std=0.3)
    llama.use_pretrained_backbone(backbone)
    assert llama.backbone is backbone
    head = llama.diagnosis_head
    for weight in (head.label_embedding.weight, head.decision_embedding.weight):
        assert weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert llama.knowledge_attention.norm.weight.mean().item() == pytest.approx(0.3, rel=0.05)


def test_an_input_too_long_for_the_backbone_is_refused(tiny_tokenizer, batch):
    with pytest.raises(ValueError, match="reads at most 256"):
        make_causal_model(tiny_tokenizer, "opt")(**batch, labels=torch.full((4, 200), 5))


def test_the_listed_diagnoses_are_the_heads_decisions(llama, tiny_processor, batch):
    llama.config.decisions.token_ids = tiny_processor.diagnosis_token_ids()
    torch.nn.init.normal_(llama.diagnosis_head.linear.bias, mean=-1.0)
    llama.config.decisions.mixture = 0.5
    decisions = llama.diagnosis_decisions(**batch)
    assert decisions.any()
    for arguments in ({}, {"num_beams": 2}, {"do_sample": True}):
        ids = llama.generate(**batch, max_new_tokens=120, **arguments)
        for text, made in zip(tiny_processor.batch_decode(ids, skip_special_tokens=True), decisions, strict=True):
            assert tiny_processor.parse(text)["diagnoses"] == [llama.config.labels[i] for i in made.nonzero()]


@pytest.fixture(scope="module")
def byte_processor():
    """A tokenizer of LLaMA's kind: bytes, `<s>` before every text, nothing after it, and no token for padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    return ClinRaGenProcessor(ClinRaGenFeatureExtractor(context_length=24), fast)


def test_targets_of_such_a_tokenizer_have_an_end_token_and_no_start_token(byte_processor):
    texts = [byte_processor.target_text([3], "low pulse", "high pulse"), "### Disease"]
    ids = byte_processor.encode_targets(texts)["input_ids"]
    assert [row[-1] for row in ids] == [1, 1]
    assert [row[0] for row in byte_processor(notes=["fever"])["input_ids"]] == [0]
    assert [byte_processor.tokenizer.decode(row[:-1]) for row in ids] == texts
    assert [len(row) for row in byte_processor.encode_targets(texts, max_length=6)["input_ids"]] == [6, len(ids[1])]
    assert byte_processor.encode_targets(texts, max_length=6)["input_ids"][0] == [*ids[0][:5], 1]


@pytest.mark.parametrize("rationale_first", [False, True])
def test_every_list_can_be_written_with_such_a_tokenizer(byte_processor, rationale_first):
    parts = byte_processor.diagnosis_token_ids(rationale_first)
    assert byte_processor.tokenizer.decode(parts["opening"]) == "### Disease Diagnosed:"
    assert (parts["end"][-1] == 1) == rationale_first  # a list that ends the text ends it


@pytest.fixture
def causal_folder(llama, tiny_processor, tmp_path):
    llama.config.decisions.token_ids = tiny_processor.diagnosis_token_ids()
    save_model_folder(llama, tiny_processor, tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_folder_loads_as_the_same_model(llama, causal_folder, batch, target):
    check_model_folder(causal_folder)
    loaded, _ = load_model_folder(causal_folder)
    assert type(loaded) is ClinRaGenForCausalLM
    with torch.no_grad():
        one, other = (m(**batch, decoder_input_ids=target.clamp(min=3)).logits for m in (llama, loaded))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_an_endpoint_answers_with_it(causal_folder):
    handler = EndpointHandler(str(causal_folder))
    assert type(handler.pipe.model).__name__ == "ClinRaGenForCausalLM"
    answer = handler({"inputs": {"note": "fever"}, "parameters": {"max_new_tokens": 5, "grounded": False}})
    assert answer["generated_text"].startswith("### Disease")


@pytest.mark.slow
def test_auto_classes_and_pipeline_load_a_saved_folder(causal_folder, tmp_path, records):
    note, values, times = records[0]
    record = {"note": note, "lab_times": times.tolist(), "lab_values": values.tolist()}
    (tmp_path / "record.json").write_text(json.dumps(record))
    code = """
        import json, sys
        from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor, pipeline
        folder, trust = sys.argv[1], {"trust_remote_code": True}
        models = [auto.from_pretrained(folder, **trust) for auto in (AutoModel, AutoModelForCausalLM)]
        assert [type(m).__name__ for m in models] == ["ClinRaGenForCausalLM"] * 2
        processor = AutoProcessor.from_pretrained(folder, **trust)
        record = json.load(open("record.json"))
        batch = processor(
            notes=[record["note"]], lab_values=[record["lab_values"]], lab_times=[record["lab_times"]],
            return_tensors="pt",
        )
        ids = models[1].generate(**batch, max_new_tokens=40, do_sample=False)
        for task in ("clinical-rationale-generation", None):
            answer = pipeline(task, model=folder, **trust)(record, max_new_tokens=40, do_sample=False)
        models[0].save_pretrained("again")
        config = json.load(open("again/config.json"))
        print(json.dumps({"ids": ids.tolist(), "answer": answer, "config": config}))
    """
    done = run_elsewhere(code, causal_folder, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    model, processor = load_model_folder(causal_folder)
    batch = processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt")
    assert model.generate(**batch, max_new_tokens=40, do_sample=False).tolist() == result["ids"]
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer)
    assert json.loads(json.dumps(pipe(record, max_new_tokens=40, do_sample=False))) == result["answer"]
    assert set(result["config"]["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForCausalLM"}
    assert result["config"]["custom_pipelines"]["clinical-rationale-generation"]["pt"] == ["AutoModelForCausalLM"]
    names = {path.name for path in causal_folder.iterdir()}
    assert {"causal_lm_clinragen.py", "modeling_clinragen.py", "model.safetensors"} <= names


def test_the_pipeline_grounds_streams_and_finds_evidence(llama, tiny_processor):
    pipe = ClinRaGenPipeline(llama, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)
    record = {"note": f"{WORDS[60:160]}", "labs": {"Heart Rate": [[1, 90], [2, 180]]}}
    answer = pipe(record, max_new_tokens=12, evidence=True, do_sample=False)
    assert {sentence["origin"] for sentence in answer["sentences"]} == {"composed"}
    last = list(pipe.stream(record, max_new_tokens=12, do_sample=False))[-1]
    assert last["generated_text"] == answer["generated_text"]
    many = pipe([record, {"note": "fever"}], batch_size=2, max_new_tokens=12, do_sample=False)
    assert many[0]["generated_text"] == answer["generated_text"]
