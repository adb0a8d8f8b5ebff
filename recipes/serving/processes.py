# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Chunks of records answered by several processes of this machine, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial

import torch

from datasets_scripts.common.outputs import ResumableError
from datasets_scripts.common.workers import shared_map, worker_pool
from modeling_clinragen.handler import EndpointHandler
from recipes.serving.answers import answer_chunk, load_handler
from recipes.serving.record_files import Entry


MOST_PARAMETERS = 100_000_000  # of a model that by default several processes load


def default_processes(handler: EndpointHandler) -> int:
    """
    Return the number of torch's threads for a small model, because threads wait for each other at each of its many
    short steps; 1 for a large model, or on a GPU.
    """
    model = handler.pipe.model
    is_small = model.device.type == "cpu" and model.num_parameters() <= MOST_PARAMETERS
    return torch.get_num_threads() if is_small else 1


def answer_by_processes(
    handler: EndpointHandler,
    model: tuple[str, str | None, str | None],
    parts: Iterable[list[Entry]],
    processes: int,
    batch_size: int,
    options: dict,
) -> Iterator[list[dict]]:
    """
    Yield the answers of each chunk of records, in order. This process answers too.

    Args:
        handler (`EndpointHandler`): of this process; the others load theirs.
        model (`tuple`): name, revision and device, as `load_handler` takes them.
        processes (`int`): their number, including this one; they share torch's threads.

    Raises:
        ResumableError: if a process was killed, for example by the system for lack of memory.
    """
    here = partial(answer_chunk, handler, batch_size=batch_size, options=options)
    there = partial(_answer_chunk, batch_size=batch_size, options=options)
    try:
        with handlers(model, processes - 1, processes) as pool:
            yield from shared_map(pool, there, here, parts, processes - 1)
    except BrokenProcessPool:
        raise ResumableError(
            "--processes: one of them was killed, perhaps for lack of memory; start the same command again with fewer "
            "to resume"
        ) from None


@contextmanager
def handlers(model: tuple[str, str | None, str | None], number: int, sharing: int) -> Iterator[ProcessPoolExecutor]:
    """
    Yield a pool of processes that have loaded a model.

    Args:
        model (`tuple`): name, revision and device, as `load_handler` takes them.
        number (`int`): of processes.
        sharing (`int`): processes that share torch's threads: those, and this one if it answers too.
    """
    before = torch.get_num_threads()
    threads = max(1, before // sharing)
    torch.set_num_threads(threads)
    try:
        with worker_pool(number, _load, *model, threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def _load(model: str, revision: str | None, device: str | None, threads: int) -> None:
    global _handler
    torch.set_num_threads(threads)
    _handler = load_handler(model, revision, device)


def _answer_chunk(chunk: list[Entry], batch_size: int, options: dict) -> list[dict]:
    return answer_chunk(_handler, chunk, batch_size, options)


def get_ready() -> None:
    """Prepare a process of `handlers` for its first answer."""
    _ = _handler.pipe.version, _handler.pipe.grounding


def answer_records(records: list[dict], parameters: dict) -> list[dict | Exception]:
    """Answer checked records in a process of `handlers`, as `EndpointHandler.try_answer`."""
    return _handler.try_answer(records, parameters)
