# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks import handler


@pytest.mark.slow
def test_the_benchmark_measures_the_command_and_the_server(tiny_folder, data_folder, tmp_path):
    arguments = ["--model", str(tiny_folder), "--dataset", str(data_folder / "dataset"), "--records", "6"]
    options = ["--clients", "2", "--batch-sizes", "4", "--output", str(tmp_path / "out")]
    metrics = handler.main([*arguments, *options])
    assert [run["records"] for run in metrics["predict"]] == [6]
    assert [run["clients"] for run in metrics["serve"]] == [2]
    assert all(run["requests_per_second"] > 0 for run in metrics["serve"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.json"]
