# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The quickstart as a new user runs it, and the README's Python on the model that it leaves."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with `runs/quickstart`, made by the command's own defaults."""
    home = tmp_path_factory.mktemp("home")
    subprocess.run([sys.executable, str(ROOT / "recipes/quickstart.py")], cwd=home, check=True)
    return home


@pytest.mark.nightly
def test_both_inputs_together_beat_each_alone(home):
    report = home / "runs/quickstart/report"
    folders = {"stage1": report / "stage1", "stage2": report / "stage2", "stage3": report}
    f1 = {
        stage: json.loads((folder / "metrics.json").read_text())["diagnosis"]["micro_f1"]
        for stage, folder in folders.items()
    }
    assert f1["stage3"] >= 0.85
    assert f1["stage3"] >= max(f1["stage1"], f1["stage2"]) + 0.10


@pytest.mark.nightly
def test_it_leaves_pictures_and_a_report(home):
    for name in ("patient.png", "training.png", "report/report.html", "stage3/model.safetensors"):
        assert (home / "runs/quickstart" / name).stat().st_size > 1000, name


@pytest.mark.nightly
def test_a_second_start_trains_nothing(home):
    weights = home / "runs/quickstart/stage3/model.safetensors"
    before = weights.stat().st_mtime_ns
    done = subprocess.run(
        [sys.executable, str(ROOT / "recipes/quickstart.py")], cwd=home, check=True, capture_output=True, text=True
    )
    assert "| stage3 |" in done.stdout
    assert weights.stat().st_mtime_ns == before


@pytest.mark.nightly
def test_python_of_the_readme_runs_on_its_model(home):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        environment = {**os.environ, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
        subprocess.run([sys.executable, "-c", block], cwd=home, env=environment, check=True)
