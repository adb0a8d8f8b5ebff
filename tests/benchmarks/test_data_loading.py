# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import datasets
import numpy as np
import pytest

from benchmarks import data_loading
from benchmarks.training import made_up
from datasets_scripts.dataset.folder import load_split


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A made-up dataset folder of 30 records, without a copy in the cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    data_loading.write_folder(tmp_path / "dataset", 30)
    return str(tmp_path / "dataset")


def test_the_folder_has_the_lengths_of_the_training_benchmark(folder):
    for stored, row in zip(load_split(folder, "train"), made_up(30, seed=0), strict=True):
        assert len(stored["note"].split()) == len(row["input_ids"])
        seen = row["past_observed_mask"].numpy()
        assert len(stored["lab_times"]) == seen.any(axis=1).sum()
        assert (~np.isnan(np.array(stored["lab_values"]))).sum() == seen.sum()


def test_every_loader_gives_all_records_in_batches_of_the_models_shapes(folder):
    processor = data_loading.make_processor(folder)
    encoded, _ = data_loading.encode_twice(folder, processor)
    for loader in data_loading.make_loaders(folder, encoded, processor, batch_size=4).values():
        batches = list(loader)
        assert [len(batch["labels"]) for batch in batches] == [4] * 7 + [2]
        assert all(batch["past_values"].shape[1:] == (1000, 11) for batch in batches)
        tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
        assert tokens == sum(map(len, encoded["input_ids"]))
        run = data_loading.timed(batches)
        assert run["records"] == 30
        assert run["cells"] - run["padding"] == tokens


@pytest.mark.slow
def test_the_benchmark_sets_loaders_beside_training(tmp_path, capsys):
    output = tmp_path / "loading.json"
    data_loading.main(["--records", "12", "--rounds", "1", "--steps", "1", "--output", str(output)])
    result = json.loads(output.read_text())
    assert list(result["speed"]) == ["training", *data_loading.LOADERS]
    assert result["speed"]["training"]["times"] == 1
    assert "| streamed, 2 workers |" in capsys.readouterr().out
