# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""No command uses the network, even if the Hub's libraries may: every socket is watched."""

import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).resolve().parents[1]
RECORD = {"note": "fever and cough", "labs": {"Temperature": [[1, 39.2], [3, 39.5]]}}
PIPELINE = """
from transformers import pipeline
pipe = pipeline("clinical-rationale-generation", model={model!r}, trust_remote_code=True)
print(pipe({record!r})["diagnoses"])
"""
APP = """
import sys
sys.path.insert(0, {space!r})
import answers
from page import Page
Page(answers.load({model!r}), {model!r})
"""


class Watched:
    """Run Python like a user with a network, and collect the addresses that it requests."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "sockets.jsonl"
        offline = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_UPDATE_DOWNLOAD_COUNTS")
        self.environment = {name: value for name, value in os.environ.items() if name not in offline}
        self.environment |= {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "watched"), str(ROOT)]),
            "WATCHED_SOCKETS": str(self.log),
            "HF_HOME": str(folder / "home"),
            "OMP_NUM_THREADS": "1",
        }

    def __call__(self, *arguments) -> None:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"

    def asked(self) -> list:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def elsewhere(self) -> list:
        return [(event, address) for event, address in self.asked() if not is_of_this_machine(address)]


def is_of_this_machine(address) -> bool:
    """Return whether an address is a socket in the file system, or of the loopback interface."""
    host = address[0] if isinstance(address, list) else address
    if isinstance(address, str) and address.startswith(("/", "b'")):
        return True
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_the_watch_sees_what_a_process_and_its_children_ask_for(watched):
    ask = "import socket\ntry: socket.create_connection(('192.0.2.1', 9), 0.01)\nexcept OSError: pass\n"
    watched("-c", f"{ask}import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}])")
    assert [address for event, address in watched.elsewhere() if event == "socket.connect"] == [["192.0.2.1", 9]] * 2
    watched("-c", "import socket; socket.getaddrinfo('localhost', 9)")
    assert len(watched.elsewhere()) == sum(address[0] != "localhost" for _, address in watched.elsewhere())


@pytest.mark.slow
def test_no_command_asks_the_network(watched, tmp_path):
    from tests.recipes.conftest import STAGE

    (tmp_path / "stage.json").write_text(json.dumps(STAGE))
    scripts, recipes = ROOT / "datasets_scripts", ROOT / "recipes"
    watched(scripts / "build_dataset.py", "--source", "synthetic", "--output", "records", "--limit", 60)
    watched(scripts / "build_knowledge.py", "--corpus", "builtin", "--output", "knowledge.json")
    teacher = ["--dataset", "records", "--knowledge", "knowledge.json", "--teacher", "template", "--output", "dataset"]
    watched(scripts / "generate_rationales.py", *teacher)
    stage = ["--config", "stage.json", "--dataset", "dataset"]
    watched(recipes / "stage1_note.py", *stage, "--knowledge", "knowledge.json", "--output_dir", "stage1")
    streamed = ["--streaming", "--trained_modules", "time_series_encoder"]
    watched(recipes / "stage2_lab.py", *stage, *streamed, "--model_name_or_path", "stage1", "--output_dir", "stage2")
    watched(recipes / "evaluate_model.py", "--model", "stage2", "--dataset", "dataset", "--output", "report")
    (tmp_path / "asked.jsonl").write_text(json.dumps({"id": "1", **RECORD}))
    watched(recipes / "predict.py", "--model", "stage2", "--input", "asked.jsonl", "--output", "answers.jsonl")
    watched(recipes / "push_model.py", "--model", "stage2", "--repo-id", "user/name", "--dry-run")
    watched("-c", PIPELINE.format(model="stage2", record=RECORD))
    watched("-c", APP.format(model="stage2", space=str(ROOT / "space")))
    assert watched.elsewhere() == []


@pytest.mark.nightly
def test_the_quickstart_asks_the_network_for_nothing(watched, monkeypatch):
    watched(ROOT / "recipes" / "quickstart.py", "--output", "run")
    assert watched.elsewhere() == []
