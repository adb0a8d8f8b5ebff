# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Own labels and channels, from the raw tables through two stages to a saved model's answer."""

import json

from datasets_scripts import build_dataset, generate_rationales
from datasets_scripts.dataset.folder import iterate_rows, read_metadata
from modeling_clinragen import ClinRaGenPipeline
from recipes import stage1_note, stage2_lab
from recipes.models.folder import load_model_folder


LABELS = """
labels:
  - {name: Heart failure, codes: {icd9: ["428"], icd10: [I50]}}
  - {name: Any diabetes, ccs: [49, 50]}
  - {name: Shock, ccs: [249]}
"""
NAMES = ["Heart failure", "Any diabetes", "Shock"]


def test_own_labels_and_channels_reach_config_processor_and_pipeline(data_folder, stage_arguments, tmp_path, caplog):
    (tmp_path / "labels.yaml").write_text(LABELS, encoding="utf-8")
    build_dataset.main(
        ["--source", "synthetic", "--limit", "60", "--output", str(tmp_path / "records")]
        + ["--labels", str(tmp_path / "labels.yaml"), "--channels", "extended"]
    )
    generate_rationales.main(
        ["--dataset", str(tmp_path / "records"), "--knowledge", str(data_folder / "knowledge.json")]
        + ["--teacher", "template", "--output", str(tmp_path / "dataset")]
    )
    assert "the knowledge has no term for Heart failure, Any diabetes" in caplog.text
    channels = read_metadata(tmp_path / "dataset")["channels"]
    stage1_note.main(stage_arguments(tmp_path / "stage1", dataset=tmp_path / "dataset"))
    stage2_lab.main(
        stage_arguments(tmp_path / "stage2", "--model_name_or_path", tmp_path / "stage1", dataset=tmp_path / "dataset")
    )
    model, processor = load_model_folder(tmp_path / "stage2")
    assert model.config.labels == processor.labels == NAMES
    assert model.config.num_input_channels == len(channels) == 56
    assert [c["name"] for c in processor.feature_extractor.channels] == [c["name"] for c in channels]
    config = json.loads((tmp_path / "stage2" / "config.json").read_text(encoding="utf-8"))
    assert config["labels"] == NAMES
    row = next(row for row in iterate_rows(tmp_path / "dataset", "train") if row["lab_times"])
    pipe = ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer)
    answer = pipe({"lab_times": row["lab_times"], "lab_values": row["lab_values"]}, max_new_tokens=8)
    assert list(answer["probabilities"]) == NAMES
