# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Answer a file of records with a model folder, or one of the Hub.

    python recipes/predict.py --model runs/quickstart/stage3 --input records.jsonl --output out.jsonl

writes one line for each record, in order: its `id` and what the pipeline returns, or its `id` and an `error` that
names the line of the input. Killed and started again, it goes on where it was, and ends in the same bytes.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import itertools
import json
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from tqdm import tqdm

from datasets_scripts.command import BusyError, run_command
from datasets_scripts.ray_cluster import HELP as RAY_HELP
from datasets_scripts.ray_cluster import ordered_map
from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from modeling_clinragen.handler import EndpointHandler, RequestError
from recipes.model_folder import load_model_folder
from recipes.onnx_runtime_model import refuse_onnx
from recipes.record_files import Entry, read_records
from recipes.shipped_model import ShippedModel


logger = logging.getLogger(__name__)

BATCHES_PER_CHUNK = 8  # records of a chunk are sorted by the length of their note, so that batches hold like ones


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answer a file of records.")
    parser.add_argument("--model", required=True, help="model folder or Hub id")
    parser.add_argument("--revision", help="of a Hub id: branch, tag or commit")
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        help="*.jsonl: one object a line with id, note, and labs or lab_times and lab_values; *.csv: columns id, "
        "note, and hour with one column a channel, or hour, channel and value",
    )
    parser.add_argument("--output", type=Path, required=True, help="file to write, *.jsonl")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--evidence", action="store_true", help="add what speaks for each diagnosis")
    parser.add_argument(
        "--verify", action="store_true", help="write rationales anew that hold a contradicted claim; slower"
    )
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--ray", metavar="ADDRESS", help=RAY_HELP)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> dict:
    arguments = parse_arguments(argv)
    if arguments.batch_size < 1:
        raise ClinRaGenInputError(f"--batch-size is {arguments.batch_size}; give at least 1")
    if arguments.output.exists():
        raise ClinRaGenInputError(f"{arguments.output} exists already; name another file to write, or remove it first")
    if arguments.evidence:
        refuse_onnx(arguments.model, "--evidence")
    handler = load_handler(arguments.model, arguments.revision, arguments.device)
    channels = handler.pipe.processor.feature_extractor.channels
    total = sum(1 for _ in read_records(arguments.input, channels))
    options = {name: True for name in ("evidence", "verify") if getattr(arguments, name)}
    size = arguments.batch_size * BATCHES_PER_CHUNK
    start = {
        "model": fingerprint(handler.pipe),
        "input": file_hash(arguments.input),
        "options": {**options, "batch_size": arguments.batch_size},
    }
    refused: list[str] = []
    with (
        resumed_file(arguments.output, start) as file,
        tqdm(total=total, desc="Answering", unit="record") as bar,
    ):
        done = keep_whole_chunks(file, size, refused)
        bar.update(done)
        entries = itertools.islice(read_records(arguments.input, channels), done, None)
        with closing(answer_chunks(arguments, handler, chunks(entries, size), options)) as answered:
            for answers in answered:
                refused += filter(None, map(place_of_error, answers))
                file.writelines(map(as_line, answers))
                file.flush()
                bar.update(len(answers))
    shown = f" ({', '.join(refused[:10])}{', ...' if len(refused) > 10 else ''})" if refused else ""
    logger.info("%s: %d answered, %d refused%s", arguments.output, total - len(refused), len(refused), shown)
    return {"answered": total - len(refused), "refused": len(refused)}


def load_handler(model: str, revision: str | None, device: str | None) -> EndpointHandler:
    """The handler of a model folder or Hub id, with this installation's code: none of the folder's is run."""
    loaded, processor = load_model_folder(model, revision=revision)
    try:
        pipe = ClinRaGenPipeline(loaded, processor=processor, tokenizer=processor.tokenizer, device=device)
    except (RuntimeError, AssertionError):  # what torch raises for a device that is not there
        raise ClinRaGenInputError(f"--device: {device} is not there; leave it out or give cpu") from None
    return EndpointHandler(pipe=pipe)


def chunks(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def answer_chunks(
    arguments: argparse.Namespace, handler: EndpointHandler, parts: Iterable[list[Entry]], options: dict
) -> Iterator[list[dict]]:
    """The answers of each chunk, in order, given here or by the machines of a cluster."""
    if arguments.ray is None:
        for chunk in parts:
            yield answer_chunk(handler, chunk, arguments.batch_size, options)
        return
    device = handler.pipe.device.type
    model = ShippedModel(arguments.model, arguments.revision, device, arguments.batch_size, options)
    with closing(ordered_map(model, parts, arguments.ray, model.threads, int(device == "cuda"))) as answered:
        yield from answered


def answer_chunk(handler: EndpointHandler, chunk: list[Entry], batch_size: int, options: dict) -> list[dict]:
    """One answer for each entry, in order, with its `id`; depends on the chunk, and on nothing before it."""
    answers: list[dict | None] = [None] * len(chunk)
    readable = []
    for i, entry in enumerate(chunk):
        try:
            if entry.error is not None:
                raise RequestError(422, entry.error)
            readable.append((i, handler.read_record(entry.record, f"line {entry.line}: record")))
        except RequestError as error:
            answers[i] = {"id": entry.id, "error": str(error)}
    readable.sort(key=lambda item: len(item[1]["note"]))
    for batch in chunks(readable, batch_size):
        for (i, _), answer in zip(batch, handler.try_answer([record for _, record in batch], options), strict=True):
            if isinstance(answer, Exception):
                answer = {"error": f"line {chunk[i].line}: the model failed ({type(answer).__name__})"}
            answers[i] = {"id": chunk[i].id, **answer}
    return answers


def as_line(answer: dict) -> bytes:
    return (json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n").encode()


def fingerprint(pipe: ClinRaGenPipeline) -> str:
    """A hash of all that an answer depends on: weights, configuration, processor and tokenizer."""
    digest = hashlib.sha256()
    for name, tensor in sorted(pipe.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    for part in (pipe.model.config, pipe.model.generation_config, pipe.processor):
        settings = {key: value for key, value in part.to_dict().items() if key != "_name_or_path"}
        digest.update(json.dumps(settings, sort_keys=True).encode())
    digest.update(pipe.tokenizer.backend_tokenizer.to_str().encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def resumed_file(output: Path, start: dict) -> Iterator[BinaryIO]:
    """
    Give a file aside, with what an earlier start wrote into it, and rename it to `output` when the block ends.

    Args:
        start (`dict`): what the answers depend on, as JSON; of which nothing may differ from the earlier start.

    Raises:
        ClinRaGenInputError: if something differs, another process is at work, or the output cannot be written.
    """
    aside = output.with_name(output.name + ".unfinished")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        with open(aside / "answers.jsonl", "a+b") as file:
            _claim(file, output)
            _check_start(aside / "start.json", start, begun=file.tell() > 0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(aside / "answers.jsonl", output)
        shutil.rmtree(aside)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ClinRaGenInputError(
                f"the disk of {output} is full; free some space and start the same command again to go on"
            ) from None
        raise ClinRaGenInputError(f"{output} cannot be written: {error.strerror}; name another file") from error


def _claim(file: BinaryIO, output: Path) -> None:
    import fcntl  # which Windows has not; the server needs none of it

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(f"another process is at work on {output}; wait for it, or name another file") from None


def _check_start(path: Path, start: dict, begun: bool) -> None:
    if not begun:
        path.write_text(json.dumps(start), encoding="utf-8")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in start if before.get(name) != start[name]]
    if changed:
        raise ClinRaGenInputError(
            f"{path.parent} was begun with another {' and '.join(changed)}; start with the same to go on, or remove "
            "that folder to begin anew"
        )


def keep_whole_chunks(file: BinaryIO, size: int, refused: list[str]) -> int:
    """
    Drop what follows the last whole chunk of answers, so that the chunks to come hold the records that they would have
    held; the number of answers that are kept. Adds the places of refused records to `refused`.
    """
    kept = position = 0
    file.seek(0)
    for chunk in chunks(file, size):
        if len(chunk) < size or not chunk[-1].endswith(b"\n"):
            break
        kept, position = kept + size, position + sum(map(len, chunk))
        refused += filter(None, map(place_of_error, map(json.loads, chunk)))
    file.truncate(position)
    file.seek(position)
    return kept


def place_of_error(answer: dict) -> str | None:
    """The line of the input that was refused."""
    return re.match(r"line \d+", answer["error"]).group() if "error" in answer else None


if __name__ == "__main__":
    run_command(main)
