# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from benchmarks import busy_cores


@pytest.mark.slow
def test_every_setting_takes_steps_on_idle_and_on_busy_cores(tmp_path, capsys):
    output = tmp_path / "busy.json"
    options = ["--settings", "default,1000", "--rounds", "1", "--seconds", "0.1", "--busy", "1"]
    found = busy_cores.main([*options, "--output", str(output)])
    assert list(found) == ["default", "1000"]
    assert all(len(runs[load]) == 1 and runs[load][0] > 0 for runs in found.values() for load in ("idle", "busy"))
    assert json.loads(output.read_text()) == found
    assert "| default |" in capsys.readouterr().out
