# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Documents that knowledge is extracted from: files and Hugging Face datasets."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

TEXT_SUFFIXES = (".txt", ".md")
ROW_SUFFIXES = (".jsonl", ".parquet")
OPTIONAL_FIELDS = ("id", "title", "url", "date")


@dataclass(frozen=True)
class Document:
    """
    Args:
        id (`str`): unique in its corpus.
        url, date (`str`, *optional*): its address and date, as its source writes them.
        diseases (tuple of `str`): labels that it is marked as relevant for; only used to measure retrieval.
    """

    id: str
    text: str
    title: str = ""
    url: str | None = None
    date: str | None = None
    diseases: tuple[str, ...] = ()


_SENTENCE_END = re.compile(
    r"(?<![ .(]\w\.)(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])|\n+"
)


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence of a text; a line break ends a sentence."""
    start = 0
    for end, after in [(m.start(), m.end()) for m in _SENTENCE_END.finditer(text)] + [(len(text), len(text))]:
        sentence = text[start:end]
        if sentence.strip():
            begin = start + len(sentence) - len(sentence.lstrip())
            yield begin, begin + len(sentence.strip())
        start = after


def check_corpus_path(path: Path) -> list[Path]:
    """
    Find the files of a corpus.

    Raises:
        ClinRaGenInputError: if there is none.
    """
    if not path.exists():
        raise ClinRaGenInputError(
            f"--corpus {path}: no such file or folder; give one, or builtin, pubmed, wikipedia or hf:REPO"
        )
    known = TEXT_SUFFIXES + ROW_SUFFIXES
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in known and p.is_file())
    if not files or files[0].suffix not in known:
        raise ClinRaGenInputError(f"--corpus {path}: no documents; files must end in {', '.join(known)}")
    return files


def read_files(path: Path) -> Iterator[Document]:
    """
    Read the documents of a text, JSONL or Parquet file, or of all such files of a folder.

    Raises:
        ClinRaGenInputError: naming the file, the row and the field that is wrong.
    """
    root = path if path.is_dir() else path.parent
    for file in check_corpus_path(path):
        name = file.relative_to(root).as_posix()
        if file.suffix in TEXT_SUFFIXES:
            yield _from_row({"text": _read_text(file), "title": file.stem}, "text", name, str(file))
        else:
            rows = _jsonl_rows(file) if file.suffix == ".jsonl" else _parquet_rows(file)
            for number, row in enumerate(rows, start=1):
                yield _from_row(row, "text", f"{name}:{number}", f"{file}, row {number}")


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ClinRaGenInputError(f"{file} is not UTF-8 (byte {error.start}); convert it") from None


def _jsonl_rows(file: Path) -> Iterator[object]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ClinRaGenInputError(
                    f"{file}, row {number}: not JSON ({error}); write one object a line"
                ) from None


def _parquet_rows(file: Path) -> Iterator[dict]:
    import pyarrow
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=1000):
            yield from batch.to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise ClinRaGenInputError(f"{file} is not a Parquet file: {error}") from None


def _from_row(row: object, text_column: str, default_id: str, where: str) -> Document:
    if not isinstance(row, dict) or not isinstance(row.get(text_column), str):
        raise ClinRaGenInputError(f"{where}: field {text_column!r} must be a text")
    diseases = [] if row.get("diseases") is None else row["diseases"]
    if not isinstance(diseases, list) or not all(isinstance(name, str) for name in diseases):
        raise ClinRaGenInputError(f"{where}: field 'diseases' must be a list of label names")
    fields = {name: None if row.get(name) is None else str(row[name]) for name in OPTIONAL_FIELDS}
    return Document(
        id=fields["id"] or default_id,
        text=row[text_column],
        title=fields["title"] or "",
        url=fields["url"],
        date=fields["date"],
        diseases=tuple(diseases),
    )


def read_hub(
    repo: str, split: str = "train", text_column: str = "text", limit: int | None = None
) -> Iterator[Document]:
    """
    Read the documents of a dataset on the Hugging Face Hub, or in a local folder, read as a stream.

    Raises:
        ClinRaGenInputError: if there is no such dataset, split or column.
    """
    from datasets import load_dataset
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError

    try:
        rows = load_dataset(repo, split=split, streaming=True)
        for number, row in enumerate(rows if limit is None else rows.take(limit), start=1):
            if text_column not in row:
                columns = ", ".join(row)
                raise ClinRaGenInputError(
                    f"hf:{repo} has no column {text_column!r}; set --text-column to one of {columns}"
                )
            yield _from_row(row, text_column, f"{repo}:{split}:{number}", f"hf:{repo}, row {number}")
    except ClinRaGenInputError:
        raise
    except (DatasetNotFoundError, DataFilesNotFoundError, OSError, ValueError) as error:
        raise ClinRaGenInputError(f"hf:{repo}, split {split!r} cannot be read: {error}") from None


def collect(documents: Iterable[Document], limit: int | None = None) -> list[Document]:
    """
    Collect all documents with a text, with distinct ids.

    Raises:
        ClinRaGenInputError: if there is none, or two have the same id.
    """
    collected: dict[str, Document] = {}
    blank = 0
    for document in documents:
        if len(collected) == limit:
            break
        if not document.text.strip():
            blank += 1
            continue
        if document.id in collected:
            raise ClinRaGenInputError(f"two documents of the corpus have the id {document.id!r}; give each its own")
        collected[document.id] = document
    if blank:
        logger.warning("%d documents without text are left out", blank)
    if not collected:
        raise ClinRaGenInputError("the corpus has no document with a text")
    return list(collected.values())
