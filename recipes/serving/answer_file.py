# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Answer a file of records, here or on a cluster, and resume where an earlier start stopped."""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Iterable, Iterator
from contextlib import closing

from tqdm import tqdm

from datasets_scripts.common.cluster import ordered_map
from modeling_clinragen.handler import EndpointHandler
from recipes.models.onnx import refuse_onnx
from recipes.serving.answers import BATCHES_PER_CHUNK, answer_chunk, chunks, load_handler
from recipes.serving.cluster import ShippedModel
from recipes.serving.record_files import Entry, read_records
from recipes.serving.resumed_file import as_line, file_hash, keep_whole_chunks, place_of_error, resumed_file


logger = logging.getLogger(__name__)


def answer_file(arguments: argparse.Namespace) -> dict[str, int]:
    """Write the answers of `predict.py`, whose arguments these are, and return how many records have one."""
    if arguments.evidence:
        refuse_onnx(arguments.model, "--evidence")
    handler = load_handler(arguments.model, arguments.revision, arguments.device)
    channels = handler.pipe.processor.feature_extractor.channels
    total = sum(1 for _ in read_records(arguments.input, channels))
    options = {"evidence": True} if arguments.evidence else {}
    size = arguments.batch_size * BATCHES_PER_CHUNK
    start = {
        "model": handler.pipe.version,
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
