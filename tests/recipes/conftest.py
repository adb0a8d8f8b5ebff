# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest
import yaml

from datasets_scripts import build_dataset, build_knowledge, generate_rationales


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    """`records/` without and `dataset/` with rationales of 60 simulated patients, and `knowledge.json`."""
    folder = tmp_path_factory.mktemp("data")
    build_knowledge.main(["--corpus", "builtin", "--output", str(folder / "knowledge.json")])
    build_dataset.main(["--source", "synthetic", "--output", str(folder / "records"), "--limit", "60"])
    generate_rationales.main(
        ["--dataset", str(folder / "records"), "--knowledge", str(folder / "knowledge.json"), "--teacher", "template"]
        + ["--output", str(folder / "dataset")]
    )
    return folder


STAGE = {
    "text_config": {"model_type": "t5", "d_model": 32, "d_ff": 32, "d_kv": 16, "num_heads": 2, "num_layers": 1},
    "time_series_config": {"context_length": 48, "d_model": 16, "ffn_dim": 16, "num_attention_heads": 2},
    "vocab_size": 1500,
    "max_note_tokens": 60,
    "max_target_tokens": 60,
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "train_sampling_strategy": "random",
    "learning_rate": 0.01,
    "warmup_steps": 0,
    "lr_scheduler_type": "constant",
    "max_eval_samples": 4,
    "generation_max_length": 8,
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "logging_steps": 1,
    "disable_tqdm": True,
}


@pytest.fixture(scope="session")
def stage_arguments(data_folder):
    """Arguments of a two-step stage: `stage_arguments(output, --any_field value, ...)`."""

    def arguments(output, *options, dataset="dataset", **changes):
        config = output.with_name(output.name + ".yaml")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(yaml.safe_dump({**STAGE, "knowledge": str(data_folder / "knowledge.json"), **changes}))
        paths = ["--dataset", str(data_folder / dataset), "--output_dir", str(output)]
        return ["--config", str(config), *paths, *map(str, options)]

    return arguments


@pytest.fixture(scope="session")
def stage1_folder(stage_arguments, tmp_path_factory):
    from recipes import stage1_note

    output = tmp_path_factory.mktemp("runs") / "stage1"
    stage1_note.main(stage_arguments(output))
    return output
