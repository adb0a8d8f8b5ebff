# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The steps of the server's Dockerfile, in a clean virtual environment instead of Docker: wheels, installation
without a network, and a start as no root.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.recipes.test_serve import ask


ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = ROOT / "recipes" / "serving" / "Dockerfile"
USER = 10001
TOKEN = "correct-horse-battery-staple"


def instruction(name):
    """The arguments of the last instruction of that name, its lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text())
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)


def test_the_image_does_not_run_as_root_and_installs_without_a_network():
    assert instruction("USER") == ["clinragen"]
    (install, user) = instruction("RUN")
    assert "--no-index" in install
    assert f"--uid {USER}" in user
    assert json.loads(instruction("ENTRYPOINT")[0])[:2] == ["clinragen", "serve"]
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!wheels"]


@pytest.fixture
def open_folder():
    """A folder that every user may read, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def python_for_all(folder):
    """An interpreter that every user may run: this one, or a copy of it."""
    base = Path(sys.base_prefix).resolve()
    if not all(path.stat().st_mode & 0o001 for path in [base, *base.parents]):
        base = Path(shutil.copytree(base, folder / "python", symlinks=True, ignore=shutil.ignore_patterns("test")))
    return str(base / "bin" / "python3")


@pytest.mark.nightly
@pytest.mark.slow
def test_the_steps_of_the_image_lead_to_a_server_that_answers(open_folder, tiny_folder):
    wheels, clean, home = open_folder / "wheels", open_folder / "clean", open_folder / "home"
    comment = re.search(r"pip wheel (.*)", DOCKERFILE.read_text()).group(1)
    wheel = [str(wheels) if word == "wheels" else word for word in shlex.split(comment)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", *wheel], cwd=ROOT, check=True)
    python = Path(python_for_all(open_folder))
    subprocess.run([python, "-m", "venv", str(clean)], check=True)
    install = shlex.split(instruction("RUN")[0].split("&&")[0].replace("/wheels", str(wheels)))
    subprocess.run([str(clean / "bin" / install[0]), *install[1:], "--quiet"], check=True)
    model = shutil.copytree(tiny_folder, open_folder / "model")
    for path in [model, *model.rglob("*")]:
        path.chmod(0o755)
    (open_folder / "token").write_text(TOKEN)
    home.mkdir()
    home.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {"/model": str(model), "8000": str(port), "/run/secrets/token": str(open_folder / "token")}
    command = json.loads(instruction("ENTRYPOINT")[0]) + json.loads(instruction("CMD")[-1])
    command = [str(clean / "bin" / "clinragen"), *(given.get(word, word) for word in command[1:])]
    user = {"user": USER, "group": USER, "extra_groups": []} if os.getuid() == 0 else {}
    settings = dict(pair.split("=") for pair in instruction("ENV")[0].split())
    libraries = str(python.parents[1] / "lib")  # a copied interpreter would look for its libraries elsewhere
    environment = {**os.environ, **settings, "HOME": str(home), "HF_HOME": str(home), "LD_LIBRARY_PATH": libraries}
    server = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.PIPE, text=True, **user)
    try:
        lines = []
        for line in server.stderr:
            lines.append(line)
            if "answers at" in line:
                break
        else:
            raise AssertionError("".join(lines))
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        status, answer, _ = ask(
            port, {"inputs": {"note": "fever"}, "parameters": {"max_new_tokens": 8}}, headers=headers
        )
        assert status == 200, answer
        assert answer["model_version"]
        assert Path(f"/proc/{server.pid}").stat().st_uid == (USER if user else os.getuid())
    finally:
        time.sleep(0.1)
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
    assert code == 0, server.stderr.read()
