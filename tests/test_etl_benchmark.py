# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

from benchmarks import etl


def test_the_benchmark_measures_real_builds_of_copied_tables(real_data, tmp_path, capsys):
    output = tmp_path / "etl"
    etl.main(["--root", str(real_data / "mimic-iii-demo"), "--factors", "1", "2", "--output", str(output)])
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    one, two = metrics["runs"]
    for name in ("chart_rows", "lab_rows", "stays"):
        assert two[name] == 2 * one[name] > 0
    assert 0.05 < one["peak_memory_gb"] < 4 * 1.25
    databases = metrics["extrapolated"]["databases"]
    assert databases["MIMIC-IV 3.1"]["minutes"] > databases["MIMIC-III 1.4"]["minutes"]
    assert "| 2 | 1,086,526 |" in capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {"metrics.json", "etl.png"}
