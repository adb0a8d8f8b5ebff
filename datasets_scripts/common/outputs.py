# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Outputs of commands: checked before the work, held by one process, and whole when they are there.

While a command works on `OUT`, two neighbours stand beside it: `OUT.unfinished`, a folder with what is written so far,
and the hidden file `.OUT.clinragen-lock`, which names the process. The kernel lets go of a lock when its process ends,
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

WORK = "work"  # of a folder aside: what is no part of the result
STARTS = (f"{WORK}/start.json", "start.json")  # what a folder aside is known by
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_WORDS = (  # SQLite, DuckDB and torch have errors of their own for it
    *(os.strerror(number) for number in FULL),
    "disk is full",
    "max_temp_directory_size",
    "PytorchStreamWriter failed",
    "file write failed",
)
_held: set[Path] = set()


class ResumableError(ClinRaGenInputError):
    """Raised where what is written so far stays, for the same command to resume from."""


class BusyError(ResumableError):
    """Raised where another process works on the same output; what it has written must stay."""


def check_free(output: str | Path, *reads: str | Path | None) -> None:
    """
    Raise a `ClinRaGenInputError` where `output` cannot be written; commands ask before their work.

    Args:
        output (`str` or `Path`): folder or file that does not exist yet, or an empty folder.
        reads (`str`, `Path` or `None`): what the command reads. The output must not lie inside.
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
        raise ClinRaGenInputError(f"{output} is a symbolic link to {target}; name the place itself, or another")
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
    """Raise a `ClinRaGenInputError` where `output` is one of the folders or files `reads`, or lies inside of one."""
    place = Path(os.path.realpath(output))
    for path in reads:
        if path is None or not os.path.exists(path):
            continue
        other = Path(os.path.realpath(path))
        if other == place:
            raise ClinRaGenInputError(f"{output} is to be read and to be written; name another one to write")
        if other in place.parents:
            raise ClinRaGenInputError(f"{output} lies inside of {path}, which is read; name one to write outside")


def check_separate(first: str | Path, second: str | Path) -> None:
    """Raise a `ClinRaGenInputError` where one of two outputs is the other, or lies inside of it."""
    for one, other in ((first, second), (second, first)):
        place = Path(os.path.realpath(one))
        for taken in (Path(other), aside_of(Path(other))):
            if Path(os.path.realpath(taken)) in (place, *place.parents):
                raise ClinRaGenInputError(f"{one} is, or lies inside of, {taken}, which is written too; name another")


def check_own(aside: Path, marks: tuple[str, ...] = STARTS) -> None:
    """Raise a `ClinRaGenInputError` where `aside` is there, with none of the `marks` of what a command began."""
    if not os.path.lexists(aside) or (not aside.is_symlink() and any((aside / mark).is_file() for mark in marks)):
        return
    if aside.is_symlink() or not aside.is_dir() or any(not path.is_dir() for path in aside.rglob("*")):
        raise ClinRaGenInputError(
            f"{aside} is in the way, and nothing that this program began; move it away, or name another output"
        )


def aside_of(output: Path) -> Path:
    """Return where an output is written until it is whole."""
    place = Path(os.path.abspath(output))
    return place.with_name(place.name + ".unfinished") if place.name else place / ".unfinished"


@contextmanager
def held(output: str | Path) -> Iterator[None]:
    """
    Hold an output for this process until the block ends; within it, the same process may hold it again.

    A file system that knows no locks is told in a warning, and the block runs.

    Raises:
        BusyError: if another process holds it.
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
        lock.unlink(missing_ok=True)  # before the lock ends, so that nobody takes a file that goes
        file.close()


def _claim(lock: Path, output: Path) -> IO[bytes]:
    """Return the open lock file, locked, with who holds it written into it."""
    import fcntl  # which Windows has not; the server needs none of it

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
                logger.warning("%s: this disk knows no locks; let no other process write there", output)
            if lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                break
            file.close()  # whoever held it has ended and removed it
        file.truncate(0)
        holder = {"command": Path(sys.argv[0]).name, "process": os.getpid(), "host": socket.gethostname()}
        file.write(json.dumps({**holder, "since": datetime.now().isoformat(" ", "seconds")}).encode())
        return file
    except OSError as error:
        raise _unwritable(output, error) from None


def _holder(file: IO[bytes], output: Path) -> str:
    """Say who holds an output."""
    file.seek(0)
    try:
        told = "{command}, process {process} on {host}, since {since}".format(**json.loads(file.read()))
    except (ValueError, KeyError, TypeError):  # it has only just begun
        told = "begun just now"
    return f"another process is at work on {output} ({told}); wait for it or end it, or name another output"


def _unwritable(output: Path, error: OSError) -> ClinRaGenInputError:
    if is_full_disk(error):
        return full_disk(output, kept=False)
    return ClinRaGenInputError(f"{output} cannot be written: {error.strerror}; name another place")


@contextmanager
def finished_folder(output: str | Path, resume: dict | None = None) -> Iterator[Path]:
    """
    Hold `output`, give a folder aside to write into, and rename it to `output` when the block ends without an error.

    A folder at `output` is therefore always a whole one. What stands aside after an error is removed, unless it can
    be resumed and the error is no mistake in the arguments or files.

    Args:
        resume (`dict`, *optional*): what the result depends on, as JSON. After a kill, an interruption or a full disk,
            a start with the same finds again in the folder aside what was written, and resumes; its folder `work` is
            for what is not part of the result.

    Raises:
        BusyError: if another process is at work on `output`.
        ClinRaGenInputError: if `output` exists already or cannot be written, or the disk is full.
    """
    output = Path(output)
    check_free(output)
    with held(output):
        check_free(output)  # again, since another process may have finished it in between
        aside, resumed = aside_of(output), False
        try:
            resumed = _begin(aside, resume)
            yield aside
            shutil.rmtree(aside / WORK)
            if output.exists():
                output.rmdir()  # empty, or `check_free` had refused it
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
    """Make the folder aside, with what its result depends on; tell whether an earlier start with the same began it."""
    start, wanted = aside / STARTS[0], json.dumps(resume, sort_keys=True, default=str)
    if resume is not None and start.is_file() and start.read_text(encoding="utf-8") == wanted:
        return True
    if resume is not None and start.is_file():
        logger.info("%s was begun with other settings or files: starting over", aside)
    if aside.exists():
        shutil.rmtree(aside)
    aside.mkdir(mode=0o700, parents=True)  # the output's own: what is in it, its owner alone can read
    start.parent.mkdir()
    start.write_text(wanted, encoding="utf-8")
    return False


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; one that is there is replaced."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what it was raised for, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_interruption(error: BaseException) -> bool:
    """
    Return whether Ctrl-C led to an error; DuckDB has one of its own for it, describes one within a file system of ours
    in words, and others are raised on the way.
    """
    words = r"Query interrupted|Traceback .*\nKeyboardInterrupt\W*"
    return any(isinstance(e, KeyboardInterrupt) or re.fullmatch(words, str(e), re.DOTALL) for e in causes(error))


def is_full_disk(error: BaseException) -> bool:
    """Return whether a full disk, a quota or a limit of file sizes led to an error."""
    return any(
        (isinstance(e, OSError) and e.errno in FULL) or any(words in str(e) for words in FULL_WORDS)
        for e in causes(error)
    )


def full_disk(output: str | Path, kept: bool) -> ClinRaGenInputError:
    """Return the error that tells of a full disk, and whether what is written so far is kept."""
    remedy = "free some space, or raise its quota, and start the same command again to resume it"
    return ResumableError(f"the disk of {output} is full; {remedy if kept else 'free some space or write elsewhere'}")
