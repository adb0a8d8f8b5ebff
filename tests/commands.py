# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A command of the project as a user starts it, without the seconds that a new process needs to import."""

import io
import logging
import os
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock


def run_script(script, *arguments) -> subprocess.CompletedProcess:
    """Return exit code and output of `python SCRIPT ARGUMENTS`; an exception that would be a traceback is raised."""
    argv, out, err, code = [str(script), *map(str, arguments)], io.StringIO(), io.StringIO(), 0
    level, umask = logging.root.level, os.umask(0o022)
    as_new = mock.patch.object(sys, "argv", argv), mock.patch.object(logging.root, "handlers", [])
    with as_new[0], as_new[1], redirect_stdout(out), redirect_stderr(err):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code = ended.code or 0
        finally:
            logging.root.setLevel(level)
            os.umask(umask)
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())
