# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from benchmarks import generation, training
from benchmarks.training import made_up


SMALL = {**training.FLAN_T5_SMALL, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_decoder_layers": 1}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(training, "FLAN_T5_SMALL", SMALL)


@pytest.mark.nightly
def test_both_sides_answer_all_records_of_the_dataset(tiny_folder, data_folder):
    figures = generation.measure_trained(str(tiny_folder), str(data_folder / "dataset"), number=3, batch_size=2)
    assert list(figures) == ["published", "ours"]
    for run in figures.values():
        assert run["records"] == 3
        assert run["cpu_seconds_per_record"] > 0
        assert 0 <= run["micro_f1"] <= 1


@pytest.mark.nightly
def test_the_benchmark_shows_both_tables(tiny_folder, data_folder, tmp_path, capsys):
    arguments = ["--model", str(tiny_folder), "--dataset", str(data_folder / "dataset"), "--records", "2"]
    output = tmp_path / "generation.json"
    result = generation.main([*arguments, "--made-up", "1", "--batch-size", "1", "--output", str(output)])
    assert json.loads(output.read_text(encoding="utf-8")) == result
    published, ours = result["made_up"].values()
    assert published["tokens"] == ours["tokens"] > 0
    assert published["peak_mb"] > ours["peak_mb"] > 0
    assert capsys.readouterr().out.count("| published |") == 2


@pytest.mark.parametrize("side", generation.SIDES)
def test_each_text_has_the_given_length(small, side):
    records = made_up(3, seed=1)
    lengths = {side: [len(record["labels"]) for record in records] for side in generation.SIDES}
    lengths["ours"] = [len(r["labels"]) for r in sorted(records, key=lambda record: len(record["input_ids"]))]
    assert generation.writer(side)(generation.batches(records, 2)) == lengths[side]


def test_the_published_side_computes_its_padding_and_reads_the_same(small):
    record = made_up(1, seed=0)[0]
    model = generation.make_model("published")
    assert model.backbone.encoder.config._attn_implementation == "eager"
    batch = generation.batches([record], 1)["published"][0]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "past_values", "past_observed_mask")}
    with torch.no_grad():
        cut = model.encode(**inputs)
        with generation.nothing_cut():
            whole = model.encode(**inputs)
        again = model.encode(**inputs)
    real, decisions = int(cut.attention_mask.sum()) - 25, 25
    assert cut.last_hidden_state.shape[1] == again.last_hidden_state.shape[1] == real + decisions
    assert whole.last_hidden_state.shape[1] >= generation.MAX_NOTE + decisions
    for part in (slice(real), slice(-decisions, None)):
        torch.testing.assert_close(
            whole.last_hidden_state[:, part], cut.last_hidden_state[:, part], atol=1e-4, rtol=1e-4
        )
    assert int(whole.attention_mask.sum()) == real + decisions


def test_all_ways_alternate_over_all_parts():
    order = []
    ways = {side: lambda part, side=side: order.append((side, part[0])) or part for side in generation.SIDES}
    answers, figures = generation.in_turn(ways, [[1, 2], [3, 4], [5]], number=5)
    assert answers == {side: [1, 2, 3, 4, 5] for side in generation.SIDES}
    first, second = generation.SIDES
    assert order == [(second, 1), (first, 1), (first, 3), (second, 3), (second, 5), (first, 5)]
    assert {run["records"] for run in figures.values()} == {5}
