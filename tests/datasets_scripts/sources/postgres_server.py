# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of its own for tests, on a free port and with a password."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest


OWNER, WORD = "owner", "a secret/@:word"


def binaries() -> Path:
    """Return the folder of the server's programs; the test is skipped where they are not installed."""
    found = [Path(path) for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs the programs of a PostgreSQL server: initdb and pg_ctl (apt install postgresql)")
    return found[-1].resolve().parent


def as_nobody() -> dict:
    """Return how to start a program of the server, which refuses to run as root."""
    return {"user": "nobody"} if os.geteuid() == 0 else {}


@contextmanager
def server():
    """Start a server with an empty database `postgres`, and yield its URL; it is stopped and removed at the end."""
    programs, folder = binaries(), Path(tempfile.mkdtemp())
    try:
        (folder / "word").write_text(WORD + "\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        if as_nobody():
            shutil.chown(folder, "nobody")
            shutil.chown(folder / "word", "nobody")
        how = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, **as_nobody()}
        access = ["-U", OWNER, "-A", "scram-sha-256", f"--pwfile={folder / 'word'}"]
        subprocess.run([programs / "initdb", "-D", folder / "data", "-E", "UTF8", "--no-locale", "-N", *access], **how)
        settings = f"-k '' -p {port} -c listen_addresses=127.0.0.1 -c fsync=off"
        control = [programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]
        subprocess.run([*control, "-o", settings, "start"], **how)
        try:
            yield f"postgresql://{OWNER}@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **how)
    finally:
        shutil.rmtree(folder)
