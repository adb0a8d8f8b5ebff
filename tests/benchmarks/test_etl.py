# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from benchmarks import etl
from datasets_scripts.sources.notes import note_text


@pytest.mark.slow
def test_the_benchmark_measures_real_builds_of_copied_tables(real_data, tmp_path, capsys):
    others = ["--copies", "--before", str(etl.HERE), "--output", str(tmp_path / "etl")]
    output, ballast = tmp_path / "etl", np.ones(150_000_000)  # 1.2 GB of ours, not part of the build's peak
    etl.main(["--root", str(real_data / "mimic-iii-demo"), "--factors", "1", "2", "--summaries", "200", *others])
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    one, two, noted = metrics["runs"]
    assert noted["content_hash"] != two["content_hash"]
    assert noted["stays"] == two["stays"]
    assert {name for run in metrics["runs"] for name in run["sides"]} == {"now", "before", "scan", "copying", "copied"}
    assert 0 < one["copies_mb"] < one["tables_mb"]
    for name in ("chart_rows", "lab_rows", "stays"):
        assert two[name] == 2 * one[name] > 0
    assert 0.05 < one["peak_memory_gb"] < ballast.nbytes / 2**30
    assert set(metrics["extrapolated"]["databases"]) == {"MIMIC-III 1.4", "MIMIC-IV 3.1"}
    assert "| 2 | 1,086,526 |" in capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {"metrics.json", "etl.png"}


def test_a_summary_is_as_long_as_those_of_mimic_and_is_read_in_the_admission_view():
    for seed in range(20):
        text = etl.summary(seed)
        assert 9_900 < len(text) < 10_100
        view = note_text(
            [{"kind": "Discharge summary", "text": text, "rank": 0, "hour": 30.0, "origin": "note"}], "admission"
        )
        assert 0.3 * len(text) < len(view) < 0.7 * len(text)


def test_summaries_add_what_they_took_in_the_last_run():
    database = {"minutes": 4.0}
    beside = {"seconds": 18.0, "summaries": etl.FULL_SUMMARIES // 20}
    etl.add_summaries(database, {"seconds": 12.0}, beside)
    assert database == {"minutes": 6.0, "summaries": etl.FULL_SUMMARIES}


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
    assert found["databases"]["MIMIC-IV 3.1"]["memory_gb"] == 4.3  # 6.2 on the line
