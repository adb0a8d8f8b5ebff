# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from benchmarks import grounding


@pytest.mark.slow
def test_the_benchmark_times_each_side_on_the_same_records(tiny_folder, data_folder, tmp_path, capsys):
    output, dataset = tmp_path / "runs.json", str(data_folder / "dataset")
    arguments = ["--model", str(tiny_folder), "--dataset", dataset, "--records", "3", "--rounds", "1"]
    runs = grounding.main([*arguments, "--batch-sizes", "1", "2", "--output", str(output)])
    assert json.loads(output.read_text(encoding="utf-8")) == runs
    assert [run["batch_size"] for run in runs] == [1, 2]
    for run in runs:
        assert run["plain"]["ratio"] == 1
        assert all(run[side]["cpu_seconds_per_record"] > 0 and run[side]["peak_mb"] > 50 for side in grounding.SIDES)
    assert capsys.readouterr().out.count("| grounded |") == 2


def test_plain_generation_and_the_ungrounded_pipeline_write_the_same(tiny_folder, data_folder):
    answer = grounding.writers(str(tiny_folder), batch_size=2)
    records = grounding.read_records(str(data_folder / "dataset"), 3)
    texts = {side: [found["note_rationale"] for found in answer[side](records)] for side in ("plain", "ungrounded")}
    assert texts["plain"] == texts["ungrounded"]
    assert len(answer["grounded"](records)) == 3
