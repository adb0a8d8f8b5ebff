# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import subprocess
import sys

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
)

from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen import ClinRaGenInputError
from recipes import export_model, push_model, stage1_note, stage2_lab, stage3_multimodal
from recipes.models.adapter_folder import load_adapter
from recipes.models.backbone import load_backbone, train_tokenizer
from recipes.models.folder import check_model_folder, load_model_folder
from recipes.models.lora import base_weights, insert_adapters, lora_config, merge_adapters
from recipes.training.data import load_records
from recipes.training.stages import _tokenizer_texts


LORA = {"r": 4, "lora_alpha": 64}
SHAPES = {
    "t5": {"d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 1},
    "bart": {"d_model": 16, "max_position_embeddings": 1024}
    | {f"{part}_{name}": value for part in ("encoder", "decoder")
       for name, value in {"layers": 1, "attention_heads": 2, "ffn_dim": 16}.items()},
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
             "max_position_embeddings": 1024},
    "llama": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
}  # fmt: skip
AUTO_CLASSES = {"bert": AutoModel, "llama": AutoModelForCausalLM}


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
    config = AutoConfig.for_model(kind, **{"vocab_size": len(tokenizer), **SHAPES[kind], **shape, **ids})
    torch.manual_seed(1)
    model = AUTO_CLASSES.get(kind, AutoModelForSeq2SeqLM).from_config(config)
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
    """Notes and series, although stage 1 was trained on notes only: the adapter also holds the series encoder."""
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
    assert loaded.config.decisions.thresholds == merged.config.decisions.thresholds
    assert loaded.config.decisions.doubt == merged.config.decisions.doubt
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


@pytest.mark.slow
def test_peft_reads_the_adapter_in_a_fresh_process(adapted, records, tmp_path):
    base, output = adapted
    merged, processor = load_model_folder(output)
    batch = batch_of(processor, records)
    torch.save({"batch": dict(batch), "answers": answers(merged, batch)}, tmp_path / "expected.bin")
    script = """
import sys, torch
from peft import PeftModel
from modeling_clinragen import ClinRaGenConfig
from recipes.models.folder import model_class
from recipes.models.backbone import load_backbone, train_tokenizer
from tests.recipes.models.test_adapters import answers, same

base, adapter, expected = sys.argv[1:]
expected = torch.load(expected)
config = ClinRaGenConfig.from_pretrained(adapter)
decoder = getattr(config.text_config, "decoder", None)
model = model_class(config)(config)
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


@pytest.mark.slow
def test_the_merged_folder_loads_as_every_model_folder_does(adapted, records):
    _, output = adapted
    check_model_folder(output)
    script = """
import sys
from transformers import AutoModel, pipeline
model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
assert not [name for name, _ in model.named_parameters() if "lora_" in name or "base_layer" in name]
pipe = pipeline("clinical-rationale-generation", model=sys.argv[1], trust_remote_code=True)
answer = pipe({"note": "fever"}, max_new_tokens=4)
assert answer["diagnoses"] is not None
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(output)], capture_output=True, text=True, cwd=output.parent
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_command_merges_to_the_same_weights(adapted, tmp_path):
    base, output = adapted
    arguments = ["--format", "merged", "--model", str(base), "--adapter", str(output / "adapter")]
    export_model.main([*arguments, "--output", str(tmp_path / "merged")])
    merged, other = (load_file(folder / "model.safetensors") for folder in (output, tmp_path / "merged"))
    assert merged.keys() == other.keys()
    assert all(torch.equal(merged[name], other[name]) for name in merged)
    first, second = (json.loads((folder / "config.json").read_text()) for folder in (output, tmp_path / "merged"))
    assert first == second
    assert json.loads((tmp_path / "merged" / "training.json").read_text())["stages"][-1]["lora"]["r"] == 4


@pytest.fixture(scope="module")
def t5_base(data_folder, tmp_path_factory):
    return save_backbone("t5", tmp_path_factory.mktemp("t5") / "base", data_folder)


@pytest.mark.slow
def test_a_killed_stage_resumes_with_the_same_result(t5_base, stage_arguments, tmp_path):
    options = ("--model_name_or_path", t5_base)
    stage1_note.main(stage_arguments(tmp_path / "whole", *options, lora=LORA, max_steps=3, save_total_limit=5))
    stage1_note.main(stage_arguments(tmp_path / "killed", *options, lora=LORA, max_steps=3, save_total_limit=5))
    shutil.rmtree(tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed.training" / "checkpoint-3")
    checkpoint = load_file(tmp_path / "killed.training" / "checkpoint-2" / "model.safetensors")
    assert "backbone.shared.weight" not in checkpoint
    assert any("lora_B" in name for name in checkpoint)
    stage1_note.main(stage_arguments(tmp_path / "killed", *options, lora=LORA, max_steps=3, save_total_limit=5))
    log = json.loads((tmp_path / "killed" / "training.json").read_text())["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3]
    last = [folder / "checkpoint-3" / "model.safetensors" for folder in tmp_path.glob("*.training")]
    first, second = (load_file(path) for path in last)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


@pytest.mark.slow
def test_the_stages_build_on_each_other_with_and_without_adapters(t5_base, stage_arguments, records, tmp_path):
    """Stage 1 with LoRA, stage 2 without, stage 3 with, upon the model folder of stage 2."""
    stage1_note.main(stage_arguments(tmp_path / "one", "--model_name_or_path", t5_base, lora=LORA))
    stage2_lab.main(stage_arguments(tmp_path / "two", "--model_name_or_path", tmp_path / "one"))
    stage3_multimodal.main(stage_arguments(tmp_path / "three", "--model_name_or_path", tmp_path / "two", lora=LORA))
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "three"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in moved} == {"backbone", "knowledge_attention", "diagnosis_head"}
    assert {name.split(".")[-2] for name in moved if name.startswith("backbone.")} == {"q", "v"}
    names = load_file(tmp_path / "three" / "adapter" / "adapter_model.safetensors")
    assert not [name for name in names if ".time_series_encoder." in name]  # it was in the base
    merged, processor = load_model_folder(tmp_path / "three")
    plain = AutoModelForSeq2SeqLM.from_pretrained(t5_base)
    assert torch.equal(merged.backbone.lm_head.weight, plain.lm_head.weight)  # an untied head stays untied
    assert not torch.equal(merged.backbone.lm_head.weight, merged.backbone.shared.weight)
    batch = batch_of(processor, records)
    same(
        answers(load_adapter(str(tmp_path / "two"), tmp_path / "three" / "adapter")[0], batch), answers(merged, batch)
    )


@pytest.mark.parametrize(
    ("options", "lora", "message"),
    [
        ([], {"rank": 4}, "lora has no field 'rank'; choose of r, lora_alpha"),
        ([], {"r": 0}, "lora: .*r.* should be a positive integer"),
        ([], {"target_modules": ["nothing"]}, "the backbone has no module nothing"),
        ([], {"target_modules": "all-linear"}, "target_modules is a list of names"),
        (["--trained_modules", "diagnosis_head"], LORA, "the backbone, which is not in trained_modules"),
    ],
)
def test_impossible_adapters_are_one_line(t5_base, stage_arguments, tmp_path, options, lora, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        stage1_note.main(stage_arguments(tmp_path / "out", "--model_name_or_path", t5_base, *options, lora=lora))


def test_random_weights_are_not_a_base(stage_arguments, tmp_path):
    with pytest.raises(ClinRaGenInputError, match="lora adapts pretrained weights"):
        stage1_note.main(stage_arguments(tmp_path / "out", lora=LORA))


def test_an_adapter_is_refused_on_another_base(adapted, t5_base, stage1_folder, data_folder, tmp_path):
    base, output = adapted
    with pytest.raises(ClinRaGenInputError, match=r"does not fit|cannot be put on"):
        load_adapter(str(stage1_folder), output / "adapter")
    with pytest.raises(ClinRaGenInputError, match=r"is not an adapter .*adapter_config.json"):
        load_adapter(str(base), base)


def test_the_adapter_alone_is_pushed_with_its_card(adapted, hub, tmp_path):
    _, output = adapted
    (output / "adapter" / "predictions.jsonl").write_text("{}")
    push_model.main(["--model", str(output), "--repo-id", "user/adapter", "--adapter-only"])
    (output / "adapter" / "predictions.jsonl").unlink()
    from huggingface_hub import snapshot_download

    pulled = snapshot_download("user/adapter", local_dir=tmp_path / "pulled")
    names = {path.name for path in (tmp_path / "pulled").iterdir()} - {".cache", ".gitattributes"}
    assert names == {path.name for path in (output / "adapter").iterdir()}
    mine, theirs = (load_file(f"{folder}/adapter_model.safetensors") for folder in (output / "adapter", pulled))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    card = (tmp_path / "pulled" / "README.md").read_text()
    assert "library_name: peft" in card
    assert "recipes/export_model.py --format merged --model base" in card
    assert "Not a medical device" in card


class Wrapped(torch.nn.Module):
    """A decoder-only language model as the backbone."""

    base_model_prefix = ""

    def __init__(self, backbone):
        super().__init__()
        self.config, self.backbone = backbone.config, backbone
        self.knowledge_attention = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(2, 2)})

    def forward(self, input_ids):
        return self.backbone(input_ids=input_ids).logits


DECODERS = {
    "opt": {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 16},
    "qwen2": {"hidden_size": 16, "intermediate_size": 16, "num_key_value_heads": 2},
    "llama": {"hidden_size": 16, "intermediate_size": 16},
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 2},
    "gpt_neox": {"hidden_size": 16, "intermediate_size": 16},
}


@pytest.mark.parametrize("kind", DECODERS)
def test_the_attention_of_decoder_only_families_is_found_and_merged(kind):
    shape = {"num_hidden_layers": 2, "num_attention_heads": 2, **DECODERS[kind]} if kind != "gpt2" else DECODERS[kind]
    config = AutoConfig.for_model(kind, vocab_size=50, bos_token_id=1, eos_token_id=1, pad_token_id=0, **shape)
    torch.manual_seed(0)
    model = Wrapped(AutoModelForCausalLM.from_config(config)).eval()
    tokens = torch.arange(2, 12).unsqueeze(0)
    plain = model(tokens)
    insert_adapters(model, lora_config(model, LORA, "backbone"), ["knowledge_attention"])
    changed = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    assert len(changed) in (2, 4)  # one joint projection a layer, or query and value
    assert all(name.startswith("backbone.") for name in changed)
    torch.testing.assert_close(model(tokens), plain)  # they start from nothing
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    adapted = model(tokens)
    assert not torch.allclose(adapted, plain, atol=1e-3)
    torch.testing.assert_close(merge_adapters(model)(tokens), adapted, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_an_adapter_of_flan_t5_small_is_a_small_part_of_it(stage_arguments, data_folder, records, tmp_path):
    """The shape of FLAN-T5-small, of random weights: train, save, load, merge, same outputs."""
    shape = {"d_model": 512, "d_ff": 1024, "d_kv": 64, "num_heads": 6, "num_layers": 8, "vocab_size": 32128}
    base = save_backbone("t5", tmp_path / "base", data_folder, **shape, feed_forward_proj="gated-gelu")
    lora = {"r": 16, "lora_alpha": 32}
    options = ("--model_name_or_path", base, "--per_device_train_batch_size", "2", "--use_linear_classifier", "false")
    stage1_note.main(stage_arguments(tmp_path / "stage1", *options, lora=lora))
    merged, processor = load_model_folder(tmp_path / "stage1")
    state = load_file(tmp_path / "stage1" / "adapter" / "adapter_model.safetensors")
    low_rank = {name: weight for name, weight in state.items() if "lora_" in name}
    assert sum(weight.numel() for weight in low_rank.values()) == (8 + 8 + 8) * 2 * 16 * (512 + 6 * 64)
    batch = batch_of(processor, records)
    loaded, _ = load_adapter(str(base), tmp_path / "stage1" / "adapter")
    same(answers(loaded, batch), answers(merged, batch))
    assert torch.equal(loaded.generate(**batch, max_new_tokens=6), merged.generate(**batch, max_new_tokens=6))
    assert not torch.equal(merged.backbone.lm_head.weight, merged.backbone.shared.weight)
