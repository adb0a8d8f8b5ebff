# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A card states only the content of the run's files."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.report.folder import read_metrics
from recipes.models import card as model_card
from recipes.models.folder import load_model_folder
from recipes.models.history import read_history, stage_history
from recipes.models.weights import weights_hash
from recipes.training.arguments import StageArguments
from recipes.training.clock import StageClock


SOURCE = {
    "title": "MIMIC-III",
    "version": "1.4",
    "licence": "a data-use agreement",
    "url": "https://physionet.org/content/mimiciii/1.4/",
    "credentialed": True,
    "cite": "Johnson et al.",
    "content_hash": "0" * 64,
}


@pytest.fixture
def training():
    settings = dict.fromkeys(model_card.SHOWN_SETTINGS, 3) | {"world_size": 2}
    device = {"kind": "cpu", "name": "CPU", "units": 2}
    stage = {
        "trained_modules": ["backbone"],
        "inputs": ["note"],
        "settings": settings,
        "device": device,
        "seconds": 90,
    }
    return {
        "source": SOURCE,
        "base_model": "google/flan-t5-small",
        "stages": [stage, {**stage, "trained_modules": ["knowledge_attention"], "seconds": 30}],
        "best_metric": 0.5,
        "metric": "micro_f1",
        "data": {"train_split": "train", "eval_split": "validation"},
        "log": [{"eval_micro_f1": 0.4, "eval_macro_f1": 0.9}, {"eval_micro_f1": 0.5, "eval_macro_f1": 0.3125}],
    }


@pytest.fixture
def report():
    return {
        "records": 143,
        "patients": 126,
        "diagnosis": {"micro_f1": 0.53125, "macro_f1": 0.43, "micro_precision": None},
        "claims": {"supported": None},
        "intervals": {"diagnosis": {"micro_f1": [0.4875, 0.5775]}},
        "run": {"split": "test", "dataset_title": "eICU 2.0"},
    }


def header_of(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.S)[1])


def test_the_model_index_holds_the_figures_of_the_report_and_the_text_their_intervals(
    training, report, tiny_model, tiny_processor
):
    card = model_card.model_card(training, tiny_model, tiny_processor, report, "ward/model", "ward/data")
    header = header_of(card)
    (result,) = header["model-index"][0]["results"]
    assert result["dataset"] == {"name": "eICU 2.0", "type": "ward/data", "split": "test"}
    assert {m["name"]: m["value"] for m in result["metrics"]} == {"Micro-F1": 0.5312, "Macro-F1": 0.43}
    assert "| Micro-F1 | 0.531 | 0.487 to 0.578 |" in card
    assert "143 records of 126 patients, whom the training" in card
    assert (header["base_model"], header["datasets"]) == ("google/flan-t5-small", ["ward/data"])
    assert header["license"] == "apache-2.0"
    assert f"{tiny_model.num_parameters():,}" in card
    assert all(label in card for label in tiny_model.config.labels)
    assert 'model="ward/model"' in card
    assert ModelCard(card).data.eval_results[0].metric_value == 0.5312


def test_only_the_papers_labels_are_said_to_be_grouped_by_ccs(training, tiny_model, tiny_processor, monkeypatch):
    told = []
    for labels in (["Shock"], ["Shock", "Hypothyroidism"]):
        monkeypatch.setattr(tiny_model.config, "labels", labels)
        card = model_card.model_card(training, tiny_model, tiny_processor)
        told.append(next(line for line in card.splitlines() if line.startswith("- Labels are billing codes")))
    assert "grouped by CCS" in told[0]
    assert "grouped as the dataset's `clinragen_dataset.json` says" in told[1]


def test_the_card_says_what_a_reader_meets_if_the_report_does(training, report, tiny_model, tiny_processor):
    assert "What a reader meets" not in model_card.model_card(training, tiny_model, tiny_processor, report)
    report |= {
        "listed_diagnoses": {"total": 1200, "explained": 0.625, "unexplained": 0.375, "neither": 0.0},
        "count_claims": {"total": 0, "wrong": None},
        "arguments": None,
    }
    report["intervals"] |= {"listed_diagnoses": {"explained": [0.6, 0.65]}, "arguments": None}
    card = model_card.model_card(training, tiny_model, tiny_processor, report)
    table = card[card.index("### What a reader meets") : card.index("## Training")]
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    assert rows[2] == "| listed diagnoses explained by evidence | 0.625 | 0.600 to 0.650 | 1,200 listed diagnoses |"
    assert rows[4] == "| listed diagnoses that are neither | 0.000 |  | 1,200 listed diagnoses |"
    assert len(rows) == 5


def test_without_a_report_the_figures_are_those_of_validation_and_no_result_is_claimed(
    training, tiny_model, tiny_processor
):
    card = model_card.model_card(training, tiny_model, tiny_processor)
    assert "model-index" not in header_of(card)
    assert "| macro_f1 | 0.312 |" in card
    assert "these are no test figures" in card


def test_a_report_on_validation_is_not_called_unseen(training, report, tiny_model, tiny_processor):
    report["run"]["split"] = "validation"
    assert "has not seen" not in model_card.model_card(training, tiny_model, tiny_processor, report)


def test_emissions_are_seconds_times_threads_times_processes_times_watts(training, tiny_model, tiny_processor):
    header = header_of(model_card.model_card(training, tiny_model, tiny_processor))
    grams = 120 * 2 * 2 * 10 / 3_600_000 * 475  # 120 seconds, two threads in two processes, 10 W each
    assert header["co2_eq_emissions"]["emissions"] == pytest.approx(grams, abs=1e-3)


def test_a_model_of_credentialed_data_is_gated_and_states_the_permission(training, tiny_model, tiny_processor):
    card = model_card.model_card(training, tiny_model, tiny_processor, gated=True, permission="board vote 12")
    header = header_of(card)
    assert "data-use agreement" in header["extra_gated_prompt"]
    assert header["license"] == "other"
    assert "recorded by the publisher: board vote 12" in card
    open_card = model_card.model_card(training, tiny_model, tiny_processor)
    assert "extra_gated_prompt" not in header_of(open_card)
    assert "## Access" not in open_card


def test_the_card_states_the_normal_range_of_each_channel(training, tiny_model, tiny_processor):
    card = model_card.model_card(training, tiny_model, tiny_processor)
    config = tiny_model.config.channels
    for channel, ends in zip(config, ((c["low"], c["high"]) for c in config), strict=True):
        (row,) = re.findall(rf"^\| {channel['name']} \| {channel['unit']} \| (.*) \|$", card, re.M)
        numbers = [float(number) for number in re.findall(r"[\d.]+", row)]
        assert numbers == [end for end in ends if end is not None]
    assert "| Weight | kg | – |" in card
    assert "| Fraction inspired oxygen | fraction | to 0.21 |" in card
    assert "| Oxygen saturation | % | from 94 |" in card
    (example,) = re.findall(r"\[\[1, ([\d.]+)\]\]", card)
    assert config[0]["low"] <= float(example) <= config[0]["high"]


def test_a_report_of_other_weights_is_refused(tiny_folder, report, tmp_path):
    report["run"]["weights_hash"] = weights_hash(tiny_folder)
    (tmp_path / "metrics.json").write_text(json.dumps(report))
    assert read_metrics(tmp_path, weights_hash(tiny_folder))["records"] == 143
    model, _ = load_model_folder(tiny_folder)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    model.save_pretrained(tiny_folder)
    with pytest.raises(ClinRaGenInputError, match="other weights"):
        read_metrics(tmp_path, weights_hash(tiny_folder))


def test_the_figures_of_a_report_are_added_to_the_card_beside_the_weights(tiny_folder, training, report, tmp_path):
    with pytest.raises(ClinRaGenInputError, match="does not name its data"):
        model_card.add_report_to_card(tiny_folder, tmp_path)
    (tiny_folder / "training.json").write_text(json.dumps(training))
    report["run"]["weights_hash"] = weights_hash(tiny_folder)
    (tmp_path / "metrics.json").write_text(json.dumps(report))
    model_card.add_report_to_card(tiny_folder, tmp_path)
    card = (tiny_folder / "README.md").read_text()
    assert header_of(card)["extra_gated_fields"]  # MIMIC is credentialed
    assert "| Macro-F1 | 0.430 |" in card


def test_the_clock_counts_what_was_spent_before_a_restart(tmp_path):
    first = StageClock(tmp_path)
    first.started -= 100
    first.on_save(None, SimpleNamespace(is_world_process_zero=True), None)
    second = StageClock(tmp_path)
    second.started -= 10
    assert 110 <= second.seconds < 111


def test_stages_add_up_and_no_local_path_is_shown(tmp_path):
    def trainer(rate):
        args = StageArguments(output_dir=str(tmp_path), trained_modules=["backbone"], learning_rate=rate)
        state = SimpleNamespace(best_metric=0.5, log_history=[])
        return SimpleNamespace(args=args, model=None, state=state)

    def data(folder):
        return SimpleNamespace(dataset=str(folder / "set"), knowledge=str(folder / "k.json"), inputs=[], rationales=[])

    dataset = {"source_description": {"title": "t", "credentialed": False}, "content_hash": "ab"}
    for number, began_from in enumerate(["google/flan-t5-small", str(tmp_path / "0"), str(tmp_path / "1")]):
        clock = StageClock(tmp_path)
        history = stage_history(trainer(number), data(tmp_path), dataset, began_from, clock)
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "training.json").write_text(json.dumps(history))
    history = read_history(tmp_path / "2")
    assert [stage["settings"]["learning_rate"] for stage in history["stages"]] == [0, 1, 2]
    assert history["base_model"] == "google/flan-t5-small"
    assert (history["data"]["dataset"], history["data"]["knowledge"]) == ("set", "k.json")
    assert str(tmp_path) not in json.dumps(history)
    assert (
        stage_history(trainer(0), data(tmp_path), dataset, str(tmp_path / "minilm"), clock)["base_model"] == "minilm"
    )
