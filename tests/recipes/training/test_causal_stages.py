# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A decoder-only student passes through all stages like any other."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen import ClinRaGenForCausalLM, ClinRaGenInputError
from recipes import evaluate_model, predict, stage1_note, stage2_lab, stage3_multimodal, stage4_rewards
from recipes.models.backbone import load_backbone
from recipes.models.folder import load_model_folder
from tests.conftest import NIGHTLY
from tests.recipes.models.test_adapters import save_tokenizer
from tests.recipes.training.test_distributed import run
from tests.recipes.training.test_global_batch import assert_same_training
from tests.recipes.training.test_stages import moved_parts, weights


TEXT_CONFIG = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


@pytest.fixture(scope="module")
def stages(stage_arguments, tmp_path_factory):
    """Folders of the three stages."""
    folder = tmp_path_factory.mktemp("causal")
    stage1_note.main(stage_arguments(folder / "stage1", text_config=TEXT_CONFIG))
    stage2_lab.main(stage_arguments(folder / "stage2", "--model_name_or_path", folder / "stage1"))
    stage3_multimodal.main(
        stage_arguments(folder / "stage3", "--model_name_or_path", folder / "stage2", gradient_checkpointing=True)
    )
    return [folder / name for name in ("stage1", "stage2", "stage3")]


@pytest.mark.slow
def test_the_chain_of_stages_moves_what_each_names_and_nothing_else(stages):
    first, second, third = map(weights, stages)
    assert moved_parts(first, second) == {"time_series_encoder", "knowledge_attention", "diagnosis_head"}
    assert moved_parts(second, third) == {"backbone", "knowledge_attention", "diagnosis_head"}
    for folder in stages:
        model, processor = load_model_folder(folder)
        assert type(model) is ClinRaGenForCausalLM
        assert model.config.pad_token_id == processor.tokenizer.pad_token_id
        assert model.config.decoder_start_token_id == processor.tokenizer.eos_token_id
        assert "A decoder-only language model" in (folder / "README.md").read_text()


def test_it_is_evaluated_and_answers_files(stages, data_folder, tmp_path):
    report = ["--model", str(stages[2]), "--dataset", str(data_folder / "dataset"), "--output", str(tmp_path / "out")]
    metrics = evaluate_model.main([*report, "--split", "test", "--limit", "4", "--counterfactual", "--deletion"])
    assert metrics["records"] == 4
    rows = [{"id": "a", "note": "fever"}, {"id": "b", "labs": {"Heart Rate": [[1, 90]]}}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    assert predict.main(["--model", str(stages[2]), *files]) == {"answered": 2, "refused": 0}


def test_options_that_need_a_separate_decoder_are_refused(stages, data_folder, stage_arguments, tmp_path):
    stage4 = stage_arguments(tmp_path / "stage4", "--model_name_or_path", stages[2])
    with pytest.raises(ClinRaGenInputError, match="decoder-only model; stage 4"):
        stage4_rewards.main(stage4)


@pytest.mark.parametrize("family", ["opt", "qwen2", "llama"])
def test_a_decoder_only_checkpoint_is_a_backbone_as_it_is(family, data_folder, tmp_path):
    tokenizer = save_tokenizer(tmp_path, data_folder)
    sizes = {**TEXT_CONFIG, "ffn_dim": 32, "word_embed_proj_dim": 32, "vocab_size": len(tokenizer)}
    config = AutoConfig.for_model(**{**sizes, "model_type": family, "eos_token_id": 1, "pad_token_id": 0})
    AutoModelForCausalLM.from_config(config).bfloat16().save_pretrained(tmp_path)
    backbone, loaded = load_backbone(str(tmp_path), {})
    assert not backbone.config.is_encoder_decoder
    assert {weight.dtype for weight in backbone.parameters()} == {torch.float32}  # as the parts beside it
    assert loaded.pad_token_id == 0


def test_a_checkpoint_without_a_padding_token_pads_with_its_end_token(data_folder, stage_arguments, tmp_path):
    tokenizer = save_tokenizer(tmp_path / "base", data_folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "base")
    config = AutoConfig.for_model(
        "gpt2", n_embd=16, n_layer=1, n_head=2, vocab_size=len(tokenizer), eos_token_id=1, bos_token_id=1
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    stage1_note.main(stage_arguments(tmp_path / "stage1", "--model_name_or_path", tmp_path / "base", max_steps=1))
    model, processor = load_model_folder(tmp_path / "stage1")
    assert model.config.pad_token_id == processor.tokenizer.pad_token_id == processor.tokenizer.eos_token_id == 1
    assert len(read_metadata(data_folder / "dataset")["labels"]) == len(model.config.labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "checkpointing"), [pytest.param("ddp", False, marks=NIGHTLY), ("ddp", True), ("fsdp2", True)]
)
def test_two_processes_learn_as_one_does(launcher, checkpointing, stage_arguments, tmp_path):
    settings = {"text_config": TEXT_CONFIG, "optim": "sgd", "gradient_checkpointing": checkpointing}
    stage1_note.main(stage_arguments(tmp_path / "one", per_device_train_batch_size=4, **settings))
    run(launcher, "stage1", stage_arguments(tmp_path / "two", per_device_train_batch_size=2, **settings))
    assert_same_training(tmp_path / "one", tmp_path / "two")
