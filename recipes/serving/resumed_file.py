# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A file of answers that is resumed after a kill, with the same bytes in the end."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from datasets_scripts.common.outputs import aside_of, check_free, full_disk, held, is_full_disk
from modeling_clinragen import ClinRaGenInputError
from recipes.serving.answers import chunks


def as_line(answer: dict) -> bytes:
    return (json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n").encode()


def file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def resumed_file(output: Path, start: dict) -> Iterator[BinaryIO]:
    """
    Yield a temporary file, with the content of an earlier start, and rename it to `output` when the block ends.

    Args:
        start (`dict`): everything the answers depend on, as JSON; it must equal that of the earlier start.

    Raises:
        BusyError: if another process is working on `output`.
        ClinRaGenInputError: if `start` differs, or the output exists already or cannot be written.
    """
    check_free(output)
    with held(output):
        check_free(output)  # again: another process may have finished it meanwhile
        aside = aside_of(output)
        try:
            aside.mkdir(parents=True, exist_ok=True)
            with open(aside / "answers.jsonl", "a+b") as file:
                _check_start(aside / "start.json", start, begun=file.tell() > 0)
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside / "answers.jsonl", output)
            shutil.rmtree(aside)
        except OSError as error:
            if is_full_disk(error):
                raise full_disk(output, kept=True) from error
            raise ClinRaGenInputError(f"{output} cannot be written: {error.strerror}; name another file") from error


def _check_start(path: Path, start: dict, begun: bool) -> None:
    if not begun:
        path.write_text(json.dumps(start), encoding="utf-8")
        return
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        raise ClinRaGenInputError(
            f"{path.parent} holds answers, but no readable {path.name} that describes them; remove that folder to "
            "start over"
        ) from None
    changed = [name for name in start if before.get(name) != start[name]]
    if changed:
        raise ClinRaGenInputError(
            f"{path.parent} was begun with another {' and '.join(changed)}; start with the same to resume it, or "
            "remove that folder to start over"
        )


def keep_whole_chunks(file: BinaryIO, size: int, refused: list[str]) -> int:
    """
    Drop everything after the last complete chunk of answers, so that later chunks hold the same records as without the
    interruption. Return the number of answers kept, and add the places of refused records to `refused`.
    """
    kept = position = 0
    file.seek(0)
    for chunk in chunks(file, size):
        if len(chunk) < size or not chunk[-1].endswith(b"\n"):
            break
        try:
            places = [place_of_error(json.loads(line)) for line in chunk]
        except (AttributeError, TypeError, ValueError):  # damaged: this and all later records are answered again
            break
        kept, position = kept + size, position + sum(map(len, chunk))
        refused += filter(None, places)
    file.truncate(position)
    file.seek(position)
    return kept


def place_of_error(answer: dict) -> str | None:
    """Return the line or row of a refused input."""
    return re.match(r"(?:line|row) \d+", answer["error"]).group() if "error" in answer else None
