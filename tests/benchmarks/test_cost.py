# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from benchmarks import cost


@pytest.fixture
def small(monkeypatch):
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
    monkeypatch.setattr(cost, "FLAN_T5_SMALL", {**cost.FLAN_T5_SMALL, **shape})
    monkeypatch.setattr(cost, "USUAL", {**cost.USUAL, "note_tokens": 20, "batch_size": 2, "terms": 3})


def test_one_dimension_varies_and_a_step_accepts_it(small):
    assert cost.POINTS.keys() == cost.USUAL.keys()
    for name, value in (("note_tokens", 30), ("hours", 100), ("batch_size", 3), ("channels", 2), ("terms", 5)):
        size = {**cost.USUAL, name: value}
        model, batch = cost.make_model(**size), cost.make_batch(**size)
        assert batch["input_ids"].shape == (size["batch_size"], size["note_tokens"])
        assert batch["past_observed_mask"].sum() == size["batch_size"] * size["hours"] * size["channels"]
        assert len(model.config.knowledge_terms) == size["terms"]
        model(**batch).loss.backward()
        assert model.knowledge_attention.query.weight.grad.abs().sum() > 0
        cost.step(model, batch)
        assert all(weight.grad is None for weight in model.parameters())


def test_every_point_has_its_seconds(small):
    line = cost.measure("note_tokens", (10, 20), rounds=1)
    assert list(line) == [10, 20]
    assert all(seconds > 0 for seconds in line.values())


@pytest.mark.nightly
def test_the_command_writes_figures_and_a_picture(tmp_path, monkeypatch):
    points = {"note_tokens": (10,), "hours": (8,), "batch_size": (1,), "channels": (1,), "terms": (2,)}
    monkeypatch.setattr(cost, "POINTS", points)
    cost.main(["--rounds", "1", "--output", str(tmp_path / "cost")])
    result = json.loads((tmp_path / "cost" / "cost.json").read_text())
    assert result["seconds_per_record"]["processes"].keys() == {"1", "2"}
    assert (tmp_path / "cost" / "cost.png").stat().st_size > 5000
