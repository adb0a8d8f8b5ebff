# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Answer a file of records or a dataset, here or on a cluster, and resume where an earlier start stopped."""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from tqdm import tqdm

from datasets_scripts.common.cluster import ordered_map
from modeling_clinragen.handler import EndpointHandler
from recipes.serving.answers import BATCHES_PER_CHUNK, answer_chunk, chunks, load_handler
from recipes.serving.cluster import ShippedModel
from recipes.serving.processes import answer_by_processes, default_processes
from recipes.serving.record_files import Entry, read_records
from recipes.serving.resumed_file import as_line, file_hash, keep_whole_chunks, place_of_error, resumed_file


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Records:
    """
    Records to answer.

    Args:
        number (`int`): how many records there are.
        fingerprint (`str`): a hash of their content.
        read (callable): yields them, from the first on.
    """

    number: int
    fingerprint: str
    read: Callable[[], Iterator[Entry]]


def records_of(arguments: argparse.Namespace, channels: list[dict]) -> Records:
    """Return the records of the file, or of the split of a dataset, for `predict.py` to answer."""
    if arguments.dataset is None:
        read = partial(read_records, arguments.input, channels)
        return Records(sum(1 for _ in read()), file_hash(arguments.input), read)
    from recipes.serving.stays import check_stays, read_stays  # brings pyarrow, which a file does without

    split = arguments.split or "test"
    metadata = check_stays(arguments.dataset, split, channels, arguments.model)
    number, content = metadata["counts"][split]["stays"], metadata["content_hash"]
    return Records(number, f"{content} {split}", partial(read_stays, arguments.dataset, split))


def answer_file(arguments: argparse.Namespace) -> dict[str, int]:
    """Write the answers of `predict.py` for its arguments, and return how many records have one."""
    handler = load_handler(arguments.model, arguments.revision, arguments.device)
    records = records_of(arguments, handler.pipe.processor.feature_extractor.channels)
    options = {"evidence": True} if arguments.evidence else {}
    size = arguments.batch_size * BATCHES_PER_CHUNK
    if arguments.evidence:  # evidence takes many passes, so small chunks keep all processes busy
        size = max(1, arguments.batch_size // 4)
    start = {
        "model": handler.pipe.version,
        "input": records.fingerprint,
        "options": {**options, "batch_size": arguments.batch_size},
    }
    refused: list[str] = []
    with (
        resumed_file(arguments.output, start) as file,
        tqdm(total=records.number, desc="Answering", unit="record") as bar,
    ):
        done = keep_whole_chunks(file, size, refused)
        bar.update(done)
        entries = itertools.islice(records.read(), done, None)
        with closing(answer_chunks(arguments, handler, chunks(entries, size), options)) as answered:
            for answers in answered:
                refused += filter(None, map(place_of_error, answers))
                file.writelines(map(as_line, answers))
                file.flush()
                bar.update(len(answers))
    shown = f" ({', '.join(refused[:10])}{', ...' if len(refused) > 10 else ''})" if refused else ""
    logger.info("%s: %d answered, %d refused%s", arguments.output, records.number - len(refused), len(refused), shown)
    return {"answered": records.number - len(refused), "refused": len(refused)}


def answer_here(
    arguments: argparse.Namespace, handler: EndpointHandler, parts: Iterable[list[Entry]], options: dict
) -> Iterator[list[dict]]:
    """Yield the answers of each chunk, in order; several chunks are answered by several processes."""
    processes = default_processes(handler) if arguments.processes is None else arguments.processes
    first = list(itertools.islice(parts, 2))
    parts = itertools.chain(first, parts)
    if processes < 2 or len(first) < 2:
        yield from (answer_chunk(handler, chunk, arguments.batch_size, options) for chunk in parts)
        return
    model = arguments.model, arguments.revision, arguments.device
    yield from answer_by_processes(handler, model, parts, processes, arguments.batch_size, options)


def answer_chunks(
    arguments: argparse.Namespace, handler: EndpointHandler, parts: Iterable[list[Entry]], options: dict
) -> Iterator[list[dict]]:
    """Yield the answers of each chunk, in order, computed here or by the machines of a cluster."""
    if arguments.ray is None:
        yield from answer_here(arguments, handler, parts, options)
        return
    device = handler.pipe.device.type
    model = ShippedModel(arguments.model, arguments.revision, device, arguments.batch_size, options)
    with closing(ordered_map(model, parts, arguments.ray, model.threads, int(device == "cuda"))) as answered:
        yield from answered
