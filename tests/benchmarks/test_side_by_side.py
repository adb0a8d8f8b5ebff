# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from benchmarks import side_by_side


@pytest.mark.slow
def test_a_checkout_compared_with_itself_gives_equal_answers(tiny_folder, data_folder, tmp_path, capsys):
    arguments = ["--model", str(tiny_folder), "--dataset", str(data_folder / "dataset"), "--pairs", "1"]
    sizes = ["--records", "6", "--evidence-records", "2", "--requests", "6", "--clients", "2"]
    output = tmp_path / "figures.json"
    found = side_by_side.main([*arguments, *sizes, "--before", str(side_by_side.HERE), "--output", str(output)])
    assert json.loads(output.read_text()) == found
    for work in ("predict", "evidence"):
        before, now = (found[work][side][0] for side in ("before", "now"))
        assert before["hash"] == now["hash"]
        assert min(before["peak_mb"], now["peak_mb"]) > 100
    assert all(run["requests_per_second"] > 0 for side in found["serve"].values() for run in side)
    assert "| predict | answers | - | the same | - |" in capsys.readouterr().out
