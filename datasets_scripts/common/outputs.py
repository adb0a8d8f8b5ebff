# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Outputs of commands: checked before the work, locked by one process, and complete once they exist.

While a command works on `OUT`, there are two files beside it: `OUT.unfinished`, a folder with the output so far, and
the hidden file `.OUT.clinragen-lock`, which names the process. The kernel releases the lock when the process ends,
however it ends.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

WORK = "work"  # subfolder of a folder aside, for files that are not part of the result
STARTS = (f"{WORK}/start.json", "start.json")  # files that identify a folder aside
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_WORDS = (  # SQLite, DuckDB and torch raise errors of their own for a full disk
    *(os.strerror(number) for number in FULL),
    "disk is full",
    "max_temp_directory_size",
    "PytorchStreamWriter failed",
    "file write failed",
)
_held: set[Path] = set()


class ResumableError(ClinRaGenInputError):
    """Raised if the output so far is kept, so that the same command can resume."""


class BusyError(ResumableError):
    """Raised if another process is working on the same output, which must be kept."""


def check_free(output: str | Path, *reads: str | Path | None) -> None:
    """
    Raise a `ClinRaGenInputError` if `output` cannot be written; commands call this before their work.

    Args:
        output (`str` or `Path`): folder or file that does not exist yet, or an empty folder.
        reads (`str`, `Path` or `None`): inputs of the command. The output must not be inside one.
    """
    output = Path(output)
    try:
        _check_place(output)
        for path in (output, aside_of(output)):
            check_apart(path, *reads)
    except OSError as error:
        raise _unwritable(output, error) from None


def _check_place(output: Path) -> None:
    if output.is_symlink():
        target = f"{os.readlink(output)}{'' if output.exists() else ', which does not exist'}"
        raise ClinRaGenInputError(f"{output} is a symbolic link to {target}; name its target, or another place")
    if output.exists() and any(output.iterdir() if output.is_dir() else [output]):
        raise ClinRaGenInputError(f"{output} exists already; name another one to write, or remove it first")
    if output.is_mount():
        raise ClinRaGenInputError(f"{output} is where a disk is mounted; name a folder inside of it")
    parent = next(path for path in Path(os.path.abspath(output)).parents if os.path.lexists(path))
    if not parent.exists():
        raise ClinRaGenInputError(f"{output} cannot be written: {parent} is a symbolic link to nothing; name another")
    if not parent.is_dir():
        raise ClinRaGenInputError(f"{output} cannot be written: {parent} is a file, no folder; name another place")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ClinRaGenInputError(f"{output} cannot be written: {parent} is read-only for you; name another place")
    check_own(aside_of(output))


def check_apart(output: str | Path, *reads: str | Path | None) -> None:
    """Raise a `ClinRaGenInputError` if `output` is one of the folders or files `reads`, or is inside one."""
    place = Path(os.path.realpath(output))
    for path in reads:
        if path is None or not os.path.exists(path):
            continue
        other = Path(os.path.realpath(path))
        if other == place:
            raise ClinRaGenInputError(f"{output} is both an input and the output; name another output")
        if other in place.parents:
            raise ClinRaGenInputError(f"{output} is inside {path}, which is an input; name an output outside it")


def check_separate(first: str | Path, second: str | Path) -> None:
    """Raise a `ClinRaGenInputError` if two outputs are the same, or one is inside the other."""
    for one, other in ((first, second), (second, first)):
        place = Path(os.path.realpath(one))
        for taken in (Path(other), aside_of(Path(other))):
            if Path(os.path.realpath(taken)) in (place, *place.parents):
                raise ClinRaGenInputError(f"{one} is, or is inside, {taken}, which is also an output; name another")


def check_own(aside: Path, marks: tuple[str, ...] = STARTS) -> None:
    """Raise a `ClinRaGenInputError` if `aside` exists without any of the `marks` of an earlier start."""
    if not os.path.lexists(aside) or (not aside.is_symlink() and any((aside / mark).is_file() for mark in marks)):
        return
    if aside.is_symlink() or not aside.is_dir() or any(not path.is_dir() for path in aside.rglob("*")):
        raise ClinRaGenInputError(
            f"{aside} is in the way, and was not created by this program; move it away, or name another output"
        )


def aside_of(output: Path) -> Path:
    """Return the folder where an output is written until it is complete."""
    place = Path(os.path.abspath(output))
    return place.with_name(place.name + ".unfinished") if place.name else place / ".unfinished"


@contextmanager
def held(output: str | Path) -> Iterator[None]:
    """
    Lock an output for this process until the block ends; within it, the same process may lock it again.

    On a file system without locks, a warning is logged, and the block runs.

    Raises:
        BusyError: if another process has locked it.
        ClinRaGenInputError: if nothing can be written there.
    """
    parent, name = os.path.split(os.path.abspath(output))
    lock = Path(os.path.realpath(parent)) / f".{name}.clinragen-lock"
    if lock in _held:
        yield
        return
    file = _claim(lock, Path(output))
    _held.add(lock)
    try:
        yield
    finally:
        _held.discard(lock)
        lock.unlink(missing_ok=True)  # before unlocking, so that no process locks a deleted file
        file.close()


def _claim(lock: Path, output: Path) -> IO[bytes]:
    """Return the open and locked lock file, which names this process."""
    import fcntl  # not on Windows, where the server runs without it

    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = open(lock, "a+b", buffering=0)  # noqa: SIM115
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(_holder(file, output)) from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                logger.warning("%s: this disk has no locks; let no other process write there", output)
            if lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                break
            file.close()  # the process that held it has ended and removed it
        file.truncate(0)
        holder = {"command": Path(sys.argv[0]).name, "process": os.getpid(), "host": socket.gethostname()}
        file.write(json.dumps({**holder, "since": datetime.now().isoformat(" ", "seconds")}).encode())
        return file
    except OSError as error:
        raise _unwritable(output, error) from None


def _holder(file: IO[bytes], output: Path) -> str:
    """Return the message that names the process working on an output."""
    file.seek(0)
    try:
        holder = "{command}, process {process} on {host}, since {since}".format(**json.loads(file.read()))
    except (ValueError, KeyError, TypeError):  # the process has only just started
        holder = "just started"
    return f"another process is working on {output} ({holder}); wait for it or end it, or name another output"


def _unwritable(output: Path, error: OSError) -> ClinRaGenInputError:
    if is_full_disk(error):
        return full_disk(output, kept=False)
    return ClinRaGenInputError(f"{output} cannot be written: {error.strerror}; name another place")


@contextmanager
def finished_folder(output: str | Path, resume: dict | None = None) -> Iterator[Path]:
    """
    Lock `output`, yield a folder aside to write into, and rename it to `output` if the block ends without an error.

    A folder at `output` is therefore always complete. After an error the folder aside is removed, unless it can
    be resumed and the error is not a mistake in the arguments or files.

    Args:
        resume (`dict`, *optional*): what the result depends on, as JSON. After a kill, an interruption or a full disk,
            a start with an equal value finds the earlier output in the folder aside, and resumes; its folder `work` is
            for files that are not part of the result.

    Raises:
        BusyError: if another process is working on `output`.
        ClinRaGenInputError: if `output` exists already or cannot be written, or the disk is full.
    """
    output = Path(output)
    check_free(output)
    with held(output):
        check_free(output)  # again: another process may have finished it meanwhile
        aside, resumed = aside_of(output), False
        try:
            resumed = _begin(aside, resume)
            yield aside
            shutil.rmtree(aside / WORK)
            if output.exists():
                output.rmdir()  # empty, as `check_free` has checked
            aside.rename(output)
        except BaseException as error:
            mistake = isinstance(error, ClinRaGenInputError) and not isinstance(error, ResumableError)
            kept = resume is not None and (resumed or not mistake or is_interruption(error) or is_full_disk(error))
            if not kept:
                shutil.rmtree(aside, ignore_errors=True)
            if is_full_disk(error) and not is_interruption(error):
                raise full_disk(output, kept) from error
            raise


def _begin(aside: Path, resume: dict | None) -> bool:
    """Create the folder aside, with `resume`; return whether an earlier start with an equal value created it."""
    start, wanted = aside / STARTS[0], json.dumps(resume, sort_keys=True, default=str)
    if resume is not None and start.is_file() and start.read_text(encoding="utf-8") == wanted:
        return True
    if resume is not None and start.is_file():
        logger.info("%s was begun with other settings or files: starting over", aside)
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(mode=0o700, parents=True)  # later the output itself; only its owner can read it
    start.parent.mkdir()
    start.write_text(wanted, encoding="utf-8")
    return False


def write_whole(path: Path, text: str) -> None:
    """Write a text file atomically; an existing one is replaced."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the chain of its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_interruption(error: BaseException) -> bool:
    """
    Return whether Ctrl-C led to an error. DuckDB raises an error of its own for it, reports one from a Python file
    system only in the message, and other libraries raise others.
    """
    words = r"Query interrupted|Traceback .*\nKeyboardInterrupt\W*"
    return any(isinstance(e, KeyboardInterrupt) or re.fullmatch(words, str(e), re.DOTALL) for e in causes(error))


def is_full_disk(error: BaseException) -> bool:
    """Return whether a full disk, a quota or a limit on file sizes led to an error."""
    return any(
        (isinstance(e, OSError) and e.errno in FULL) or any(words in str(e) for words in FULL_WORDS)
        for e in causes(error)
    )


def full_disk(output: str | Path, kept: bool) -> ClinRaGenInputError:
    """Return the error for a full disk, which says whether the output so far is kept."""
    remedy = "free some space, or raise its quota, and start the same command again to resume it"
    return ResumableError(f"the disk of {output} is full; {remedy if kept else 'free some space or write elsewhere'}")
