# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import torch

from benchmarks import constrained_generation


def test_the_benchmark_times_both_ways_of_the_same_work(tmp_path, capsys):
    output = tmp_path / "runs.json"
    runs = constrained_generation.main(
        ["--shapes", "quickstart", "--batch-size", "3", "--new-tokens", "12", "--rounds", "2", "--output", str(output)]
    )
    assert json.loads(output.read_text(encoding="utf-8")) == runs
    assert [run["num_beams"] for run in runs] == [1, 4]
    for run in runs:
        assert min(run["free_seconds"], run["constrained_seconds"]) > 0
        assert run["lowest_ratio"] <= run["ratio"] <= run["highest_ratio"]
    assert "| quickstart | 4 |" in capsys.readouterr().out


def test_each_text_has_some_diagnoses_and_as_many_tokens_with_the_constraint_as_without():
    model, batch = constrained_generation.prepare("quickstart", 6)
    made = model.diagnosis_decisions(**batch).sum(dim=1)
    assert 1 <= made.float().mean() <= 6
    options = {"do_sample": False, "min_new_tokens": 40, "max_new_tokens": 40}
    constrained = model.generate(**batch, **options)
    model.config.decisions.token_ids = None
    free = model.generate(**batch, **options)
    assert constrained.shape == free.shape == (6, 41)
    assert not torch.equal(constrained, free)
