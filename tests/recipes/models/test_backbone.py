# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note
from recipes.models.backbone import load_backbone, train_tokenizer
from recipes.models.folder import load_model_folder
from tests.recipes.models.test_adapters import SHAPES, save_backbone


TEXT = "### Disease Diagnosed: Essential hypertension, Shock. ### Rationale: blood pressure of 180.5 (high), in shock."
PHRASES = [" Essential hypertension", " Shock", "### Disease Diagnosed:", " ### Rationale:"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([TEXT] * 3, PHRASES, vocab_size=200).save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_text_survives_encoding_and_decoding(tokenizer):
    assert tokenizer.decode(tokenizer(TEXT)["input_ids"], skip_special_tokens=True) == TEXT


def test_each_phrase_is_one_token(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(TEXT)["input_ids"])
    assert all(tokens.count(phrase) == 1 for phrase in PHRASES)


@given(st.lists(st.sampled_from([*"aegilnoprst", " ", "Shock", " Shock", ",", ".", "180", "in"]), max_size=30))
def test_any_text_of_known_letters_survives(tokenizer, parts):
    text = " ".join("".join(parts).split())
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def change(folder, kind):
    """Write the weights of a checkpoint in another type."""
    state = load_file(folder / "model.safetensors")
    save_file({name: value.to(kind) for name, value in state.items()}, folder / "model.safetensors", {"format": "pt"})
    config = (folder / "config.json").read_text()
    name = str(kind).removeprefix("torch.")
    (folder / "config.json").write_text(re.sub(r'"dtype": "float32"', f'"dtype": "{name}"', config))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", SHAPES)
def test_a_checkpoint_in_half_precision_trains_in_single_precision(
    family, kind, data_folder, stage_arguments, tmp_path
):
    base = save_backbone(family, tmp_path / "base", data_folder)
    change(base, kind)
    assert load_file(base / "model.safetensors").popitem()[1].dtype == kind
    backbone, _ = load_backbone(str(base))
    assert {weight.dtype for weight in backbone.parameters()} == {torch.float32}
    stage1_note.main(stage_arguments(tmp_path / "stage1", "--model_name_or_path", base))
    model, _ = load_model_folder(tmp_path / "stage1")
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.config.text_config.dtype in (None, torch.float32)


DAMAGES = {
    "weights cut short": lambda folder: (folder / "model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()[:999]
    ),
    "a weight that is missing": lambda folder: rewrite(folder, lambda state: state.pop(of_a_layer(state))),
    "NaN": lambda folder: rewrite(folder, lambda state: state[of_a_layer(state)].view(-1)[0].fill_(torch.nan)),
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "a configuration that is none": lambda folder: (folder / "config.json").write_text("{"),
    "a list for a configuration": lambda folder: (folder / "config.json").write_text("[]"),
    "no tokenizer": lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
    "a tokenizer with more tokens than the model": lambda folder: (folder / "tokenizer.json").write_text(
        re.sub(r'"vocab": {', '"vocab": {"xyzzy": 9999, ', (folder / "tokenizer.json").read_text(), count=1)
    ),
    "a tokenizer that is none": lambda folder: (folder / "tokenizer.json").write_text("{}"),
}


def of_a_layer(state):
    return next(name for name in sorted(state) if "layer" in name or "block" in name)


def rewrite(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("family", SHAPES)
def test_a_damaged_checkpoint_is_refused_in_a_line(family, name, data_folder, stage_arguments, tmp_path):
    base = save_backbone(family, tmp_path / "base", data_folder)
    DAMAGES[name](base)
    with pytest.raises(ClinRaGenInputError) as caught:
        stage1_note.main(stage_arguments(tmp_path / "stage1", "--model_name_or_path", base))
    assert "\n" not in str(caught.value)
    assert str(base) in str(caught.value)
    assert not (tmp_path / "stage1").exists()
