# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The page claims that input stays on this machine only if nobody else can reach it."""

import json
import os
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest

from tests.space.conftest import SPACE
from tests.space.test_page import run


pytestmark = pytest.mark.usefixtures("space_modules")
STAYS = "stays on this machine"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1", "[::1]"])
def test_on_an_address_of_this_machine_what_is_entered_stays_here(monkeypatch, host):
    import place

    monkeypatch.setenv("GRADIO_SERVER_NAME", host)
    assert STAYS in place.where_it_goes()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "192.0.2.7", "ward.example", ""])
def test_on_another_address_the_page_says_that_it_goes_over_the_network(monkeypatch, host):
    import place

    monkeypatch.setenv("GRADIO_SERVER_NAME", host)
    assert STAYS not in place.where_it_goes()
    assert "Enter nothing of real patients" in place.where_it_goes()


def test_without_an_address_it_stays_and_in_a_space_it_does_not(monkeypatch):
    import place

    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert STAYS in place.where_it_goes()
    monkeypatch.setenv("SPACE_ID", "user/space")
    assert STAYS not in place.where_it_goes()


@pytest.mark.parametrize("name", ["./nothing", "/nothing", "~/nothing", "a/b/c", "space/nothing", "nothing", "a/b/"])
def test_a_missing_folder_is_not_a_name_on_the_hub(monkeypatch, name):
    import place

    monkeypatch.chdir(SPACE.parent)
    assert place.is_missing(name)
    assert not place.is_missing("space")
    assert not place.is_missing("user/name")


@pytest.mark.slow
def test_a_missing_folder_is_reported_before_anything_is_loaded(tmp_path):
    began = time.perf_counter()
    ended = run("--model", str(tmp_path / "nothing"), HF_HUB_OFFLINE="")
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "there is no such folder" in ended.stderr
    assert time.perf_counter() - began < 5


@pytest.mark.slow
def test_an_app_that_others_can_reach_warns_and_says_so_on_its_page(tiny_folder, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    printed = tmp_path / "printed.txt"
    command = [sys.executable, str(SPACE / "app.py"), "--model", str(tiny_folder), "--port", str(port)]
    with printed.open("w") as file:
        served = subprocess.Popen(
            command, env={**os.environ, "GRADIO_SERVER_NAME": "0.0.0.0"}, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        while "ClinRaGen at" not in printed.read_text():
            assert served.poll() is None, printed.read_text()
            time.sleep(0.1)
        assert "warning: This page can be reached over the network" in printed.read_text()
        with urlopen(f"http://127.0.0.1:{port}/config") as answer:
            page = json.dumps(json.load(answer))
        assert "can be reached over the network" in page
        assert STAYS not in page
    finally:
        served.terminate()
        served.wait(timeout=30)
