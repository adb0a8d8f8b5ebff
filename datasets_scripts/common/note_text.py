# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Find, and remove, the files that hold text of notes: in folders that commands wrote, and in the cache of `datasets`.

No command of this project writes to that cache; `load_dataset` does, in programs of users and in earlier versions, and
its copies remain when the dataset is removed.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from datasets_scripts.common.command import CommandParser
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


SUFFIXES = {".parquet", ".arrow", ".jsonl", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".html", ".md", ".csv", ".gz"}
WITHOUT_NOTES = {"README.md", "knowledge.md", "table.md", "agreement.md", "table.csv", "label_audit.csv"}
OURS = {"stay_id", "note", "lab_times", "lab_values"}  # columns that identify a dataset of this project


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = CommandParser(
        prog="clinragen --note-text",
        description="List the files that may hold text of notes, in folders and in the cache of the library datasets.",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="default: the cache alone")
    parser.add_argument("--remove", action="store_true", help="remove the files that are listed")
    return parser.parse_args(argv)


def main(argv: list[str]) -> None:
    """List the files in the folders of `argv`, and with `--remove` remove them."""
    arguments = parse_arguments(argv)
    for folder in arguments.folders:
        if not folder.is_dir():
            raise ClinRaGenInputError(f"there is no folder {folder}; name one that a command wrote")
    found = [path for folder in arguments.folders for path in files_with_notes(folder)]
    found += [path for path in cached_copies() if path not in found]
    size, readable = 0, 0
    for path in found:
        status = path.stat()
        size, readable = size + status.st_size, readable + bool(is_readable(path))
        print(f"{stat.filemode(status.st_mode)} {status.st_size:>15,}  {path}")
        if arguments.remove:
            path.unlink()
    done = "removed" if arguments.remove else f"{readable} of them can be read by others"
    print(f"{len(found)} files, {size:,} bytes; {done}")


def is_readable(path: Path) -> bool:
    """Return whether users other than the owner can read a file, by its mode and those of its parent folders."""
    mode, folders = path.stat().st_mode, path.absolute().parents
    return any(
        mode & read and all(folder.stat().st_mode & enter for folder in folders)
        for read, enter in ((stat.S_IRGRP, stat.S_IXGRP), (stat.S_IROTH, stat.S_IXOTH))
    )


def files_with_notes(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that may hold text of notes; all files of an unfinished output."""
    for path in sorted(folder.rglob("*")):
        unfinished = any(part.endswith(".unfinished") for part in path.parts)
        named = path.suffix in SUFFIXES and path.name not in WITHOUT_NOTES
        if (named or unfinished) and path.is_file() and not path.is_symlink():
            yield path


def cached_copies() -> Iterator[Path]:
    """Yield the copies of this project's datasets in the cache of `datasets`, and files derived from them there."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    cache = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets"))
    for info in sorted(cache.rglob("dataset_info.json")):
        try:
            columns = json.loads(info.read_text(encoding="utf-8")).get("features") or {}
        except (OSError, ValueError, AttributeError):
            continue
        if columns.keys() >= OURS:
            yield from sorted(info.parent.glob("*.arrow"))
