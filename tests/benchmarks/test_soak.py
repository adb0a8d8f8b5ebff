# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import csv
import json

import numpy as np
import pytest
from datasets import Dataset

from benchmarks import soak
from recipes.models.folder import load_model_folder, save_model_folder


@pytest.fixture
def folder(tiny_folder, tmp_path):
    model, processor = load_model_folder(tiny_folder)
    model.generation_config.max_new_tokens = 8
    save_model_folder(model, processor, tmp_path / "short")
    return tmp_path / "short"


def run(folder, data_folder, output, *options):
    arguments = ["--model", str(folder), "--dataset", str(data_folder / "dataset"), "--minutes", "0.02"]
    return soak.main([*arguments, "--output", str(output), *options])


def test_the_soak_alternates_training_and_generation_and_records_the_memory(folder, data_folder, tmp_path):
    metrics = run(folder, data_folder, tmp_path / "soak", "--tolerance", "10000")
    assert {path.name for path in (tmp_path / "soak").iterdir()} == {"metrics.json", "samples.csv", "soak.png"}
    assert json.loads((tmp_path / "soak" / "metrics.json").read_text(encoding="utf-8")) == metrics
    with open(tmp_path / "soak" / "samples.csv", encoding="utf-8") as file:
        samples = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [sample["steps"] for sample in samples] == [soak.STEPS * (i + 1) for i in range(metrics["rounds"])]
    assert samples[0]["answers"] > 0
    assert samples[-1]["seconds"] >= 1.2
    assert all(sample["anonymous_mb"] > 100 for sample in samples)


def test_when_memory_grows_the_figures_are_kept_and_the_command_fails(folder, data_folder, tmp_path):
    with pytest.raises(SystemExit, match="memory grew by"):
        run(folder, data_folder, tmp_path / "soak", "--tolerance", "-10000")
    assert json.loads((tmp_path / "soak" / "metrics.json").read_text(encoding="utf-8"))["flat"] is False


def samples_of(memory):
    return [
        {"seconds": 10.0 * i, "steps": 8 * i, "answers": 16 * i, "anonymous_mb": memory(10 * i / 3600)}
        for i in range(1, 181)
    ]


def test_a_leak_shows_in_the_slope_and_in_the_thirds():
    found = soak.figures(samples_of(lambda hours: 500 + 60 * hours))
    assert found["mb_per_hour"] == 60
    assert abs(found["grown_mb"] - 16) < 0.2  # 60 MB an hour over two thirds of the 24 minutes after the warm-up
    assert (found["rounds"], found["answers"]) == (180, 2880)


def test_growth_during_warm_up_is_not_a_leak():
    found = soak.figures(samples_of(lambda hours: 500 + 300 * min(hours, 0.09)))
    assert found["mb_per_hour"] == found["grown_mb"] == 0
    assert found["mean_mb_of_thirds"] == [527, 527, 527]


def test_notes_grow_to_many_lengths_and_stay_those_of_their_records(data_folder):
    records = soak.load_records(str(data_folder / "dataset"), "train")
    longer = soak.with_many_lengths(records, seed=0)
    assert all(after.startswith(before) for before, after in zip(records["note"], longer["note"], strict=True))
    assert longer["diagnoses"] == records["diagnoses"]
    lengths = sorted(len(note.split()) for note in longer["note"])
    assert lengths[-1] > 3 * lengths[0]


def test_batches_have_similar_lengths_and_random_order():
    lengths = np.random.default_rng(1).permutation(5 * soak.BATCH_SIZE)
    ordered = soak.in_batches(Dataset.from_dict({"note": ["x" * length for length in lengths]}), seed=0)
    batches = np.array([len(note) for note in ordered["note"]]).reshape(5, soak.BATCH_SIZE)
    assert np.array_equal(np.sort(batches, axis=None), np.sort(lengths))
    assert all(np.ptp(batch) == soak.BATCH_SIZE - 1 for batch in batches)
    assert list(batches[:, 0]) != sorted(batches[:, 0])
