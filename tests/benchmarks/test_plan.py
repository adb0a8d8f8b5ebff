# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import yaml

from benchmarks import plan
from tests.recipes.conftest import STAGE


@pytest.mark.slow
def test_the_steps_of_a_run_match_the_plan(data_folder, tmp_path, capsys):
    config, output = tmp_path / "stage1.yaml", tmp_path / "plan.json"
    more = {"knowledge": str(data_folder / "knowledge.json"), "train_sampling_strategy": "group_by_length"}
    config.write_text(yaml.safe_dump({**STAGE, **more}))
    options = ["--config", config, "--dataset", data_folder / "dataset", "--output_dir", tmp_path / "out"]
    result = plan.main(["--stage", "1", "--steps", "2", "--output", str(output), *map(str, options)])
    assert result["planned"]["operations"] == result["measured"]["operations"]
    assert len(result["measured"]["memory"]) == len(result["planned"]["memory"]) == 2
    assert json.loads(output.read_text())["measured"] == result["measured"]
    assert "operations: planned / measured = 1.000" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
