# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model on the Hub straight from its trainer."""

import json
import shutil

import pytest

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note, stage2_lab
from recipes.models.folder import load_model_folder
from recipes.models.history import read_history
from recipes.training.arguments import StageArguments
from recipes.training.trainer import ClinRaGenTrainer
from tests.recipes.models.test_folder import run_elsewhere


@pytest.fixture
def make_trainer(stage1_folder, tmp_path):
    """A trainer of the model of stage 1, of which the history says that its data are credentialed, or not."""
    model, processor = load_model_folder(stage1_folder)
    training = read_history(stage1_folder)

    def make(credentialed=False, **arguments):
        source = {**training["source"], "credentialed": credentialed}
        arguments |= {"eval_strategy": "no", "load_best_model_at_end": False}
        args = StageArguments(output_dir=str(tmp_path / "stage"), hub_model_id="user/model", **arguments)
        return ClinRaGenTrainer(
            model=model, args=args, processing_class=processor, history=lambda: {**training, "source": source}
        )

    return make


def test_what_a_trainer_pushes_is_a_whole_model_folder_that_loads_elsewhere(
    hub, make_trainer, stage1_folder, tmp_path
):
    address, commit = make_trainer().push_to_hub()
    assert address == f"{hub.url}/user/model"
    assert hub.commits("models", "user/model") == [commit]
    repo = hub.repos["models", "user/model"]
    assert (repo.private, repo.gated) == (True, False)
    assert repo.commits[commit].keys() == {".gitattributes", *(path.name for path in stage1_folder.iterdir())}
    code = """
        from transformers import AutoModel, AutoProcessor, pipeline
        model = AutoModel.from_pretrained("user/model", trust_remote_code=True)
        processor = AutoProcessor.from_pretrained("user/model", trust_remote_code=True)
        print(model.diagnosis_probabilities(**processor(notes=["fever"], return_tensors="pt")).tolist())
        pipeline("clinical-rationale-generation", model="user/model", trust_remote_code=True)
    """
    done = run_elsewhere(code, "", tmp_path, **hub.environment())
    assert done.returncode == 0, done.stderr[-3000:]
    model, processor = load_model_folder(stage1_folder)
    here = model.diagnosis_probabilities(**processor(notes=["fever"], return_tensors="pt"))
    assert json.loads(done.stdout) == here.tolist()


def test_a_trainer_gates_a_model_of_credentialed_data_and_keeps_it_private(hub, make_trainer):
    for public in ({"hub_private_repo": False}, {}):
        with pytest.raises(ClinRaGenInputError, match="would be public"):
            make_trainer(True, **public).push_to_hub(private=None if public else False)
    assert not hub.requests
    make_trainer(True).push_to_hub()
    repo = hub.repos["models", "user/model"]
    assert (repo.private, repo.gated) == (True, "manual")


def test_no_checkpoint_is_pushed_while_a_model_trains(hub, make_trainer, stage1_folder):
    trainer = make_trainer(push_to_hub=True)
    trainer._push_from_checkpoint(str(stage1_folder))
    trainer._finish_current_push()
    assert not hub.commits("models", "user/model")


@pytest.mark.parametrize("source", [{"credentialed": True}, None])
def test_models_derived_from_credentialed_data_stay_credentialed(stage1_folder, stage_arguments, tmp_path, source):
    before = tmp_path / "before"
    shutil.copytree(stage1_folder, before)
    training = read_history(before)
    training = {**training, "source": source} if source else {k: v for k, v in training.items() if k != "source"}
    (before / "training.json").write_text(json.dumps(training), encoding="utf-8")
    stage2_lab.main(stage_arguments(tmp_path / "stage2", "--model_name_or_path", before))
    assert read_history(tmp_path / "stage2")["source"]["credentialed"] is True


def test_a_stage_sends_nothing(hub, stage_arguments, tmp_path):
    with pytest.raises(ClinRaGenInputError, match=r"push its folder with recipes/push_model\.py"):
        stage1_note.main(stage_arguments(tmp_path / "stage1", "--push_to_hub", "true"))
    assert not hub.requests
