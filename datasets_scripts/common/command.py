# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The common part of all commands: how a user's mistake ends one, and how a folder is finished."""

import argparse
import errno
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


OWN_PACKAGES = ("modeling_clinragen", "datasets_scripts", "recipes")
SENDS_NOTHING = {"HF_UPDATE_DOWNLOAD_COUNTS": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}  # read when they are imported
OWNER_ALONE = 0o077  # what is taken from the modes of files: what commands write holds, or was learned from, notes

for _name, _value in SENDS_NOTHING.items():
    os.environ.setdefault(_name, _value)


def run_command(main: Callable[[list[str] | None], object]) -> None:
    """
    Run `main`; a `ClinRaGenInputError`, or a package that is not installed, becomes one line on standard error and
    exit code 2, without a traceback. What it writes, and what its libraries write, its owner alone can read.
    """
    os.umask(OWNER_ALONE)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        main(None)
    except ClinRaGenInputError as error:
        sys.exit(_fail(str(error)))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OWN_PACKAGES:
            raise
        sys.exit(_fail(f"the package {error.name} is not installed; pip install 'clinragen[all]'"))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; start the same command again to go on", code=130))


class CommandParser(argparse.ArgumentParser):
    """`ArgumentParser` whose errors are one line instead of a usage text."""

    def error(self, message: str):
        raise ClinRaGenInputError(message)


def _fail(message: str, code: int = 2) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def check_positive(arguments: argparse.Namespace, *names: str) -> None:
    """Raise a `ClinRaGenInputError` where an option is below 1; one that is `None` passes."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ClinRaGenInputError(f"--{name.replace('_', '-')} is {value}; give at least 1")


def check_not_negative(arguments: argparse.Namespace, *names: str) -> None:
    """Raise a `ClinRaGenInputError` where an option is negative, infinite or no number; one that is `None` passes."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and not 0 <= value < math.inf:
            raise ClinRaGenInputError(f"--{name.replace('_', '-')} is {value:g}; give 0 or more")


class ResumableError(ClinRaGenInputError):
    """Raised where what is written so far stays, for the same command to resume from."""


class BusyError(ResumableError):
    """Raised where another process works on the same output; what it has written must stay."""


def check_free(output: Path) -> None:
    """Raise a `ClinRaGenInputError` if something is at `output` already; commands that run long ask at once."""
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise ClinRaGenInputError(f"{output} exists already; name another folder to write, or remove it first")


@contextmanager
def finished_folder(output: Path, resume: dict | None = None) -> Iterator[Path]:
    """
    Give a folder aside to write into, and rename it to `output` when the block ends without an error.

    A folder at `output` is therefore always a whole one. What stands aside after an error is removed.

    Args:
        resume (`dict`, *optional*): what the result depends on, as JSON. After a kill or an interruption, a start with
            the same finds again in the folder aside what was written, and resumes; its folder `work` is for what is
            not part of the result.

    Raises:
        ClinRaGenInputError: if `output` exists already, or the disk is full.
    """
    output = Path(output)
    check_free(output)
    aside = output.with_name(output.name + ".unfinished")
    start = aside / "work" / "start.json"
    wanted = None if resume is None else json.dumps(resume, sort_keys=True, default=str)
    if wanted is None or not start.is_file() or start.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True, exist_ok=True)
        if wanted is not None:
            start.parent.mkdir(exist_ok=True)
            start.write_text(wanted, encoding="utf-8")
        yield aside
        shutil.rmtree(aside / "work", ignore_errors=True)
        if output.exists():
            output.rmdir()  # empty, or `check_free` had refused it
        aside.rename(output)
    except BaseException as error:
        if resume is None or not isinstance(error, KeyboardInterrupt | ResumableError):
            shutil.rmtree(aside, ignore_errors=True)
        if os.strerror(errno.ENOSPC) in str(error):  # DuckDB and Arrow have errors of their own for it
            raise ClinRaGenInputError(f"the disk of {output} is full; free some space or write elsewhere") from None
        raise
