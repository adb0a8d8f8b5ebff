# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks import ray_cluster


@pytest.mark.slow
def test_the_benchmark_compares_bytes_of_three_runs(tiny_folder, data_folder, tmp_path, capsys):
    arguments = ["--model", str(tiny_folder), "--dataset", str(data_folder / "dataset"), "--records", "12"]
    runs = ray_cluster.main([*arguments, "--output", str(tmp_path / "out")])
    assert list(runs) == ["local", "two nodes", "one node killed"]
    assert {run["answered"] for run in runs.values()} == {12}
    assert runs["two nodes"]["equal"]
    assert runs["one node killed"]["equal"]
    assert "| one node killed | 12 |" in capsys.readouterr().out
