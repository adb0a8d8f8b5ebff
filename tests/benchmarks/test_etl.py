# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from benchmarks import etl


@pytest.mark.slow
def test_the_benchmark_measures_real_builds_of_copied_tables(real_data, tmp_path, capsys):
    output, ballast = tmp_path / "etl", np.ones(150_000_000)  # 1.2 GB of ours, no part of the build's peak
    etl.main(["--root", str(real_data / "mimic-iii-demo"), "--factors", "1", "2", "--output", str(output)])
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    one, two = metrics["runs"]
    for name in ("chart_rows", "lab_rows", "stays"):
        assert two[name] == 2 * one[name] > 0
    assert 0.05 < one["peak_memory_gb"] < ballast.nbytes / 2**30
    assert set(metrics["extrapolated"]["databases"]) == {"MIMIC-III 1.4", "MIMIC-IV 3.1"}
    assert "| 2 | 1,086,526 |" in capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {"metrics.json", "etl.png"}


def test_the_extrapolation_follows_the_line_and_the_memory_limit():
    def run(rows, seconds, memory):
        return {
            "chart_rows": rows, "lab_rows": 0, "seconds": seconds, "peak_memory_gb": memory, "memory_limit": "4GB",
        }  # fmt: skip

    found = etl.extrapolate([run(1_000_000, 3, 0.3), run(10_000_000, 13.2, 0.4), run(21_000_000, 23, 0.5)])
    assert found["off_the_line_percent"] == 10.0  # 13.2 instead of 12 seconds
    rows = 330_712_483 + 27_854_055
    assert abs(found["databases"]["MIMIC-III 1.4"]["minutes"] - (2 + rows / 1e6) / 60) < 0.06
    assert found["databases"]["MIMIC-III 1.4"]["memory_gb"] == round(0.29 + rows / 1e8, 1)
    assert found["databases"]["MIMIC-IV 3.1"]["memory_gb"] == 4.3  # the line says 6.2
