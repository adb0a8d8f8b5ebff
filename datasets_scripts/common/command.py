# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The common part of all commands: how a user's mistake, an interruption or a full disk ends one."""

import argparse
import logging
import math
import os
import sys
from collections.abc import Callable

from datasets_scripts.common.outputs import causes, is_full_disk, is_interruption
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


OWN_PACKAGES = ("modeling_clinragen", "datasets_scripts", "recipes")
SENDS_NOTHING = {"HF_UPDATE_DOWNLOAD_COUNTS": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}  # read when they are imported
OWNER_ALONE = 0o077  # what is taken from the modes of files: what commands write holds, or was learned from, notes

for _name, _value in SENDS_NOTHING.items():
    os.environ.setdefault(_name, _value)


def run_command(main: Callable[[list[str] | None], object]) -> None:
    """
    Run `main`; a `ClinRaGenInputError`, a full disk, too little memory, or a package that is not installed, becomes
    one line on standard error and exit code 2, and Ctrl-C one with exit code 130, without a traceback. What it
    writes, and what its libraries write, its owner alone can read.
    """
    os.umask(OWNER_ALONE)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        main(None)
    except (Exception, KeyboardInterrupt) as error:
        if is_interruption(error):
            sys.exit(_fail("interrupted; start the same command again to go on", code=130))
        line = _line_of(error)
        if line is None:
            raise
        sys.exit(_fail(line))


def _line_of(error: Exception | KeyboardInterrupt) -> str | None:
    """Return what is told of an error in place of a traceback; of one that nobody foresaw nothing."""
    if isinstance(error, ClinRaGenInputError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] not in OWN_PACKAGES:
        return f"the package {error.name} is not installed; pip install 'clinragen[all]'"
    if is_full_disk(error):
        where = next((e.filename for e in causes(error) if isinstance(e, OSError) and e.filename), "where it writes")
        return f"the disk is full ({where}); free some space, or raise its quota, and start the same command again"
    if any(isinstance(e, MemoryError) for e in causes(error)):
        return "the memory of this machine is too small for it; end other programs, or take less at a time"
    return None


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
