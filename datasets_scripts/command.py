# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What every command of the project shares: how a user's mistake ends it, and how a folder is finished."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


def run_command(main: Callable[[list[str] | None], object]) -> None:
    """Run `main`; a `ClinRaGenInputError` becomes one line on standard error and exit code 2, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        main(None)
    except ClinRaGenInputError as error:
        sys.exit(_fail(str(error)))
    except KeyboardInterrupt:
        sys.exit(_fail("interrupted; start the same command again to go on", code=130))


def _fail(message: str, code: int = 2) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def check_free(output: Path) -> None:
    """A `ClinRaGenInputError` if there is something at `output` already; commands that run long ask at once."""
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise ClinRaGenInputError(f"{output} exists already; name another folder to write, or remove it first")


@contextmanager
def finished_folder(output: Path) -> Iterator[Path]:
    """
    Give a folder aside to write into, and rename it to `output` when the block ends without an error.

    A folder at `output` is therefore always a whole one. What stands aside after an error or a kill is removed.

    Raises:
        ClinRaGenInputError: if `output` exists already.
    """
    output = Path(output)
    check_free(output)
    aside = output.with_name(output.name + ".unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if output.exists():
        shutil.rmtree(output)
    aside.rename(output)
