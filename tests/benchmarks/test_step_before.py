# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from benchmarks import step_before


@pytest.mark.slow
def test_both_sides_take_the_same_steps(tmp_path, capsys):
    output = tmp_path / "step.json"
    options = ["--before", str(step_before.HERE), "--records", "5", "--batches", "1", "--rounds", "1"]
    (row,) = step_before.main([*options, "--output", str(output)])
    assert row["size"][0] == 1  # of five records the longest is a batch of its own
    for side in step_before.SIDES:
        assert len(row[side]) == 2
        assert all(run["seconds"] > 0 and run["peak_mb"] > 308 for run in row[side])  # the weights' alone
    assert json.loads(output.read_text()) == [row]
    assert capsys.readouterr().out.count("|") > 18
