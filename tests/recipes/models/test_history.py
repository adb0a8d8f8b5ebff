# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model's history names all datasets that any of its stages was trained on."""

import json
from argparse import Namespace
from types import SimpleNamespace

import pytest

from modeling_clinragen import ClinRaGenInputError
from recipes.models.card import model_card
from recipes.models.folder import save_model_folder
from recipes.models.history import (
    datasets_of,
    history_before,
    is_base_of,
    is_credentialed,
    merged_history,
    read_history,
    stage_history,
)
from recipes.models.push import push_model
from recipes.training.arguments import StageArguments
from recipes.training.clock import StageClock


def dataset(title, credentialed):
    source = {"title": title, "version": "1", "licence": f"licence of {title}", "url": "https://a.example", "cite": ""}
    return {"source_description": {**source, "credentialed": credentialed}, "content_hash": f"hash of {title}"}


WARD, SIMULATION = dataset("Ward", True), dataset("Simulation", False)


def history_on(records, began_from, folder):
    """History of a stage that began from a folder and was trained on `records`."""
    trainer = SimpleNamespace(
        args=StageArguments(output_dir=str(folder), trained_modules=["backbone"]),
        model=None,
        state=SimpleNamespace(best_metric=0.5, log_history=[]),
    )
    data = SimpleNamespace(
        dataset="set", knowledge=None, inputs=[], rationales=[], train_split="train", eval_split="validation"
    )
    return stage_history(trainer, data, records, began_from, StageClock(folder))


@pytest.fixture
def model_folder(tiny_model, tiny_processor, tmp_path):
    """Make a model folder after stages on these datasets, one after another."""

    def make(*records):
        before = None
        for number, one in enumerate(records):
            folder = tmp_path / f"model{number}"
            history = history_on(one, before, tmp_path)
            save_model_folder(tiny_model, tiny_processor, folder)
            (folder / "training.json").write_text(json.dumps(history))
            before = str(folder)
        return folder

    return make


@pytest.mark.parametrize("records", [(WARD, SIMULATION, SIMULATION), (SIMULATION, WARD, SIMULATION)])
def test_the_history_names_the_datasets_of_all_stages(model_folder, records):
    history = read_history(model_folder(*records))
    assert [stage["dataset"]["title"] for stage in history["stages"]] == [
        one["source_description"]["title"] for one in records
    ]
    assert {one["title"] for one in datasets_of(history)} == {"Ward", "Simulation"}
    assert is_credentialed(history)
    assert history["source"]["credentialed"] is True


def test_a_chain_of_simulated_records_is_open(model_folder):
    history = read_history(model_folder(SIMULATION, SIMULATION))
    assert not is_credentialed(history)
    assert [one["title"] for one in datasets_of(history)] == ["Simulation"]


def test_the_card_lists_every_dataset(model_folder, tiny_model, tiny_processor):
    card = model_card(read_history(model_folder(WARD, SIMULATION)), tiny_model, tiny_processor)
    assert "| Ward 1 (credentialed) | licence of Ward | hash of Ward |" in card
    assert "| Simulation 1 | licence of Simulation | hash of Simulation |" in card
    assert "Over all stages" not in model_card(read_history(model_folder(WARD)), tiny_model, tiny_processor)


def test_an_earlier_credentialed_stage_prevents_publishing_an_open_last_one(model_folder):
    folder = model_folder(WARD, SIMULATION)
    history = read_history(folder)
    history["source"]["credentialed"] = False
    (folder / "training.json").write_text(json.dumps(history))
    options = {"adapter_only": False, "report": None, "repo_id": "user/x", "dataset_id": None, "message": None}
    arguments = Namespace(model=folder, public=True, publish_permission=None, dry_run=True, **options)
    with pytest.raises(ClinRaGenInputError, match=r"comes from credentialed data \(Ward 1; Simulation 1\)"):
        push_model(arguments)


def test_a_model_without_a_history_counts_as_credentialed_for_its_successors(model_folder, tmp_path):
    folder = model_folder(SIMULATION)
    (folder / "training.json").unlink()
    assert is_credentialed(history_before(str(folder)))
    later = history_on(SIMULATION, str(folder), tmp_path)
    assert is_credentialed(later)
    assert later["base_model"] is None


def test_a_model_of_another_kind_has_no_history(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    assert history_before(str(tmp_path)) == history_before(None) == history_before("google/no-such-model") == {}


def test_an_adapter_merged_into_another_base_keeps_the_history_of_that_base(model_folder, tmp_path):
    adapter = history_on(SIMULATION, None, tmp_path)
    merged = merged_history(str(model_folder(WARD)), adapter)
    assert is_credentialed(merged)
    assert [one["title"] for one in datasets_of(merged)] == ["Ward", "Simulation"]
    assert merged_history("google/no-such-model", adapter) == adapter
    upon_itself = history_on(SIMULATION, str(tmp_path / "model0"), tmp_path)
    assert merged_history(str(tmp_path / "model0"), upon_itself) == upon_itself


def test_the_base_of_an_adapter_has_the_training_before_it(model_folder, tmp_path):
    base = model_folder(WARD, SIMULATION)
    adapter = history_on(SIMULATION, str(base), tmp_path)
    assert is_base_of(str(base), adapter)
    assert not is_base_of(str(tmp_path / "model0"), adapter)
    assert is_base_of("google/no-such-model", history_on(SIMULATION, None, tmp_path))
    assert not is_base_of("google/no-such-model", adapter)
