# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The ways to use a model that the documents show, run as they stand there."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from datasets_scripts import build_dataset


ROOT = Path(__file__).resolve().parents[1]
README, GUIDE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/serve_and_update.md"))
SNIPPETS = re.findall(r"```python\n(.*?)```", GUIDE, re.S)


@pytest.fixture
def quickstart(tiny_folder, tmp_path):
    """An empty folder with a model and a dataset where `make quickstart` leaves them."""
    folder = tmp_path / "fresh" / "runs" / "quickstart"
    folder.mkdir(parents=True)
    tiny_folder.rename(folder / "stage3")
    build_dataset.main(["--source", "synthetic", "--output", str(folder / "dataset"), "--limit", "40"])
    return tmp_path / "fresh"


def test_the_documents_show_all_three_ways():
    assert len(SNIPPETS) == 2
    assert "pipeline(" in SNIPPETS[0]
    assert "AutoModel.from_pretrained" in SNIPPETS[1]
    assert "python space/app.py --model runs/quickstart/stage3\n" in README


def test_the_readme_shows_the_beginning_of_the_guide():
    (shown,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert SNIPPETS[0].removeprefix("from datasets import load_dataset\n").startswith(shown)


@pytest.mark.parametrize(
    ("snippet", "shown"),
    [(0, "sorted(answer), len(answer['probabilities'])"), (1, "sorted(written), tuple(probabilities.shape)")],
)
def test_a_snippet_runs_as_it_stands(quickstart, snippet, shown):
    # a random model need not write to its end
    code = f"{SNIPPETS[snippet]}\nprint('end:', {shown})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=quickstart,
        env={**os.environ, "HF_HOME": str(quickstart / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    end = done.stdout.split("end: ")[1]
    assert "note_rationale" in end
    assert "25" in end


@pytest.mark.slow
def test_the_app_starts_as_it_is_shown(quickstart):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (command,) = re.findall(r"^python (space/app.py .*)$", README, re.M)
    script, *arguments = command.split()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / script), *arguments, "--port", str(port)],
        cwd=quickstart,
        env={**os.environ, "HF_HOME": str(quickstart / "hf"), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "not a medical device" in page_at(f"http://127.0.0.1:{port}/", process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def page_at(url, process, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, process.stderr.read()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.3)
    raise AssertionError(f"nothing answered at {url}")
