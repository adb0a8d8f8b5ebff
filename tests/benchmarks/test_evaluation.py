# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from benchmarks import evaluation


@pytest.mark.slow
def test_the_benchmark_measures_each_number_of_predictions_in_a_process_of_its_own(tmp_path, capsys):
    output = tmp_path / "evaluation"
    evaluation.main(["--predictions", "30", "90", "--stays", "40", "--output", str(output)])
    runs = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert [run["predictions"] for run in runs] == [30, 90]
    for run in runs:
        assert run["cpu_seconds"] > 0
        assert 100 < run["held_mb"] <= run["peak_mb"]
    assert "| 90 |" in capsys.readouterr().out
