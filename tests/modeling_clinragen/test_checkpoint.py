# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A model folder of an earlier version still loads and gives the same outputs.

`python -m tests.modeling_clinragen.test_checkpoint` writes it again, for a change that deliberately breaks old files.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from recipes.models.folder import load_model_folder


FOLDER = Path(__file__).with_name("checkpoint_v0")
NOTE = "fever and productive cough, denies chest pain"
TIMES = np.array([0.5, 3.0, 11.0])
VALUES = np.array([[70, 0.4, 120, 80, 75, 96, 18, 120, 37, 80, 7.4]] * 3) * [[1.0], [1.02], [0.98]]


def outputs(folder: Path) -> dict:
    model, processor = load_model_folder(folder)
    batch = processor(notes=[NOTE], lab_values=[VALUES], lab_times=[TIMES], return_tensors="pt")
    return {
        "tokens": model.generate(**batch, max_new_tokens=8, do_sample=False)[0].tolist(),
        "probabilities": model.diagnosis_probabilities(**batch)[0].tolist(),
    }


def test_a_folder_of_an_earlier_version_still_loads_with_the_same_outputs():
    expected = json.loads((FOLDER / "outputs.json").read_text())
    now = outputs(FOLDER)
    assert now["tokens"] == expected["tokens"]
    torch.testing.assert_close(torch.tensor(now["probabilities"]), torch.tensor(expected["probabilities"]))


def test_flat_fitted_state_of_an_earlier_version_decides_the_same(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    flat = {"diagnosis_temperature": 0.5, "diagnosis_thresholds": [0.1 + 0.03 * i for i in range(25)]}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **flat}))
    probabilities = torch.tensor(json.loads((FOLDER / "outputs.json").read_text())["probabilities"])
    sharper = torch.tensor(outputs(folder)["probabilities"])
    torch.testing.assert_close(sharper, (torch.logit(probabilities) / 0.5).sigmoid())
    model, processor = load_model_folder(folder)
    batch = processor(notes=[NOTE], lab_values=[VALUES], lab_times=[TIMES], return_tensors="pt")
    decided = model.diagnosis_decisions(**batch)[0]
    assert torch.equal(decided, sharper >= torch.tensor(flat["diagnosis_thresholds"]))
    assert 0 < decided.sum() < 25


def write_folder() -> None:
    from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenProcessor
    from recipes.models.backbone import train_tokenizer
    from recipes.models.folder import save_model_folder
    from tests.conftest import WORDS, make_tiny_config, make_tiny_model

    tokenizer = train_tokenizer([WORDS], [" Shock"], vocab_size=300)
    config = make_tiny_config(tokenizer)
    extractor = ClinRaGenFeatureExtractor(config.channels, context_length=config.context_length)
    processor = ClinRaGenProcessor(extractor, tokenizer, labels=config.labels, max_note_tokens=40)
    save_model_folder(make_tiny_model(config), processor, FOLDER)
    for path in FOLDER.glob("*.py"):  # the project's own code is what must read it
        path.unlink()
    (FOLDER / "outputs.json").write_text(json.dumps(outputs(FOLDER)), encoding="utf-8")


if __name__ == "__main__":
    write_folder()
