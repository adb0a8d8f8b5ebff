# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from benchmarks import growth


@pytest.mark.slow
def test_time_and_memory_are_measured_of_commands_that_answer_all_records(tiny_folder, data_folder, tmp_path):
    arguments = ["--model", str(tiny_folder), "--dataset", str(data_folder / "dataset"), "--records", "3"]
    output = tmp_path / "growth"
    found = growth.main([*arguments, "--minutes", "0.05", "--clients", "2", "--output", str(output)])
    assert json.loads((output / "growth.json").read_text()) == json.loads(json.dumps(found))
    assert [run["records"] for run in found["predict"]] == [3]
    assert all(run["peak_mb"] > 100 and run["seconds"] > 0 for run in found["predict"])
    assert found["serve"]["requests"] > 0
    assert max(mb for _, mb in found["serve"]["memory"]) > 100
    assert (output / "growth.png").stat().st_size > 1000
