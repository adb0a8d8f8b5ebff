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
import itertools
import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from datasets_scripts.common.cluster import HELP as RAY_HELP
from datasets_scripts.common.cluster import ordered_map
from datasets_scripts.common.command import run_command
from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.handler import EndpointHandler
from recipes.models.onnx import refuse_onnx
from recipes.serving.answers import BATCHES_PER_CHUNK, answer_chunk, chunks, fingerprint, load_handler
from recipes.serving.cluster import ShippedModel
from recipes.serving.record_files import Entry, read_records
from recipes.serving.resumed_file import as_line, file_hash, keep_whole_chunks, place_of_error, resumed_file


logger = logging.getLogger(__name__)


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


if __name__ == "__main__":
    run_command(main)
