# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    BertConfig,
)

from datasets_scripts.dataset_folder import read_metadata
from recipes import merge_adapter, stage1_note
from recipes.adapters import base_weights, load_adapter, merge_adapters
from recipes.backbone import load_backbone, train_tokenizer
from recipes.data import load_records
from recipes.model_folder import check_model_folder, load_model_folder
from recipes.training import _tokenizer_texts


LORA = {"r": 4, "lora_alpha": 64}
SHAPES = {
    "t5": {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 1},
    "bart": {"d_model": 16, "max_position_embeddings": 1024}
    | {f"{part}_{name}": value for part in ("encoder", "decoder")
       for name, value in {"layers": 1, "attention_heads": 2, "ffn_dim": 16}.items()},
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
             "max_position_embeddings": 1024},
}  # fmt: skip


def save_tokenizer(folder, data_folder, **special):
    records = load_records(str(data_folder / "dataset"), "train")
    labels = [label["name"] for label in read_metadata(data_folder / "dataset")["labels"]]
    tokenizer = train_tokenizer(_tokenizer_texts(records, labels, []), [], vocab_size=600)
    tokenizer.add_special_tokens(special)
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_backbone(kind, folder, data_folder, **shape):
    """A checkpoint of a language model of random weights, as it would come from the Hub; T5's head is its own."""
    special = {"cls_token": "<s>", "sep_token": "</s>"} if kind == "bert" else {}
    tokenizer = save_tokenizer(folder, data_folder, **special)
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1, "decoder_start_token_id": 0}
    config = AutoConfig.for_model(kind, **{**SHAPES[kind], **shape}, vocab_size=len(tokenizer), **ids)
    torch.manual_seed(1)
    model = (AutoModel if isinstance(config, BertConfig) else AutoModelForSeq2SeqLM).from_config(config)
    if kind == "t5":
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
        model.config.tie_word_embeddings = False
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=SHAPES)
def adapted(request, stage_arguments, data_folder, tmp_path_factory):
    """A stage 1 with LoRA from a pretrained checkpoint: (checkpoint, output folder)."""
    folder = tmp_path_factory.mktemp(request.param)
    base = save_backbone(request.param, folder / "base", data_folder)
    before = hashes(base)
    stage1_note.main(stage_arguments(folder / "stage1", "--model_name_or_path", base, lora=LORA))
    assert hashes(base) == before
    return base, folder / "stage1"


def hashes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def batch_of(processor, records):
    """Notes and series, though stage 1 learned from notes alone: the adapter holds the series' encoder too."""
    processor.modalities = ["note", "lab"]
    notes, values, times = zip(*records, strict=True)
    return processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")


@torch.no_grad()
def answers(model, batch):
    """The scores of labels, and those of the first words."""
    starts = torch.full((len(batch["input_ids"]), 3), model.config.decoder_start_token_id)
    out = model.eval()(**batch, decoder_input_ids=starts)
    return out.diagnosis_logits, out.logits


def same(first, second):
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_the_base_and_its_adapter_say_what_the_merged_folder_says(adapted, records):
    base, output = adapted
    merged, processor = load_model_folder(output)
    batch = batch_of(processor, records)
    loaded, own = load_adapter(str(base), output / "adapter")
    assert base_weights(loaded)
    same(answers(loaded, batch), answers(merged, batch))
    assert own.labels == processor.labels
    assert loaded.config.diagnosis_thresholds == merged.config.diagnosis_thresholds
    assert loaded.config.doubt == merged.config.doubt
    again = merge_adapters(loaded).state_dict()
    state = merged.state_dict()
    assert again.keys() == state.keys()
    assert all(torch.allclose(again[name], state[name], atol=1e-6) for name in state)


def test_only_the_attention_of_the_backbone_has_changed(adapted):
    base, output = adapted
    merged = load_model_folder(output)[0].backbone.state_dict()
    text_config = load_model_folder(output)[0].config.text_config
    plain = load_backbone(str(base), getattr(text_config, "decoder", None) and text_config.decoder.to_dict())[0]
    moved = {name for name, weight in plain.state_dict().items() if not torch.equal(weight, merged[name])}
    assert moved
    if plain.config.model_type == "encoder-decoder":  # the decoder is new
        moved = {name for name in moved if not name.startswith("decoder.")}
    assert moved
    assert {name.split(".")[-2] for name in moved} in ({"q", "v"}, {"q_proj", "v_proj"}, {"query", "value"})


def test_peft_reads_the_adapter_in_a_fresh_process(adapted, records, tmp_path):
    base, output = adapted
    merged, processor = load_model_folder(output)
    batch = batch_of(processor, records)
    torch.save({"batch": dict(batch), "answers": answers(merged, batch)}, tmp_path / "expected.bin")
    script = """
import sys, torch
from peft import PeftModel
from modeling_clinragen import ClinRaGenConfig, ClinRaGenForConditionalGeneration
from recipes.backbone import load_backbone, train_tokenizer
from tests.recipes.test_adapters import answers, same

base, adapter, expected = sys.argv[1:]
expected = torch.load(expected)
config = ClinRaGenConfig.from_pretrained(adapter)
decoder = getattr(config.text_config, "decoder", None)
model = ClinRaGenForConditionalGeneration(config)
model.use_pretrained_backbone(load_backbone(base, decoder and decoder.to_dict())[0])
model = PeftModel.from_pretrained(model, adapter)
same(answers(model, expected["batch"]), expected["answers"])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(base), str(output / "adapter"), str(tmp_path / "expected.bin")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_adapter_names_its_base_without_a_path_and_brings_no_code(adapted):
    base, output = adapted
    files = {path.name: path for path in (output / "adapter").iterdir()}
    settings = json.loads(files["adapter_config.json"].read_text())
    assert settings["base_model_name_or_path"] == "base"
    assert not [name for name in files if name.endswith((".py", ".bin"))]
    for name in ("adapter_config.json", "config.json", "training.json", "README.md"):
        assert str(base.parent) not in files[name].read_text()
    parts = {
        name.removeprefix("base_model.model.").split(".")[0] for name in load_file(files["adapter_model.safetensors"])
    }
    assert parts == {"backbone", "time_series_encoder", "knowledge_attention", "diagnosis_head"}


def test_the_merged_folder_loads_as_every_model_folder_does(adapted, records):
    _, output = adapted
    check_model_folder(output)
    script = """
import sys
from transformers import AutoModelForSeq2SeqLM, pipeline
model = AutoModelForSeq2SeqLM.from_pretrained(sys.argv[1], trust_remote_code=True)
assert not [name for name, _ in model.named_parameters() if "lora_" in name or "base_layer" in name]
pipe = pipeline("clinical-rationale-generation", model=sys.argv[1], trust_remote_code=True)
answer = pipe({"note": "fever"}, max_new_tokens=4)
assert answer["diagnoses"] is not None
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(output)], capture_output=True, text=True, cwd=output.parent
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_head_of_its_own_stays_its_own(adapted):
    base, output = adapted
    backbone = load_model_folder(output)[0].backbone
    if backbone.config.model_type != "t5":
        pytest.skip("T5's trap")
    head, embedding = backbone.lm_head.weight, backbone.shared.weight
    assert not torch.equal(head, embedding)
    assert torch.equal(head, AutoModelForSeq2SeqLM.from_pretrained(base).lm_head.weight)


def test_the_command_merges_to_the_same_weights(adapted, tmp_path):
    base, output = adapted
    merge_adapter.main(
        ["--base", str(base), "--adapter", str(output / "adapter"), "--output", str(tmp_path / "merged")]
    )
    merged, other = (load_file(folder / "model.safetensors") for folder in (output, tmp_path / "merged"))
    assert merged.keys() == other.keys()
    assert all(torch.equal(merged[name], other[name]) for name in merged)
    first, second = (json.loads((folder / "config.json").read_text()) for folder in (output, tmp_path / "merged"))
    assert first == second
    assert json.loads((tmp_path / "merged" / "training.json").read_text())["stages"][-1]["lora"]["r"] == 4
