# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Worker processes that leave Ctrl-C to the command, and end when it does, however it ends."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, forkserver, get_all_start_methods, get_context
from typing import Any, TypeVar


Item = TypeVar("Item")
Result = TypeVar("Result")
_ahead: set[str] = set()  # modules that the server of new processes has imported


def import_ahead(module: str) -> None:
    """
    Begin to import, on another core, a module that `worker_pool` calls a function of: its workers are then copies of
    the process that has imported it. Nothing happens where there is one core, or where the system copies no processes.
    """
    if multiprocessing.cpu_count() < 2 or "forkserver" not in get_all_start_methods():
        return
    _ahead.add(module)
    forkserver.set_forkserver_preload(sorted(_ahead))
    with _sigint_blocked():
        forkserver.ensure_running()


def several_wanted(processes: int | None) -> bool:
    """Return whether more than one process may work, of as many as a user gave, or as OpenMP may use threads."""
    return str(processes or os.environ.get("OMP_NUM_THREADS")) != "1"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without looking for garbage, and keep out of later looks, and of the last one, what is imported."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def worker_pool(processes: int, prepare: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """
    Give a pool of new processes, each of which calls `prepare(*arguments)` first.

    An error waits for what is under way, and begins nothing more; Ctrl-C ends the workers at once.
    """
    others = set(multiprocessing.active_children())
    context = get_context("forkserver" if prepare.__module__ in _ahead else "spawn")
    pool = _Pool(processes, context, initializer=_begin, initargs=(prepare, arguments))
    try:
        yield pool
        pool.shutdown()
    except Exception:
        pool.shutdown(cancel_futures=True)
        raise
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        raise


def shared_map(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    here: Callable[[Item], Result],
    items: Iterable[Item],
    others: int,
) -> Iterator[Result]:
    """
    `map(function, items)`, in order, by a pool and by this process, which calls `here`. Each of the pool's processes
    has an item to work on and one that waits, and few results wait for one before them.
    """
    items, begun = iter(items), deque()
    while own := list(itertools.islice(items, 1)):
        result: Future = Future()
        begun.append(result)
        while sum(not future.done() for future in begun) <= 2 * others and (more := list(itertools.islice(items, 1))):
            begun.append(pool.submit(function, *more))
        result.set_result(here(*own))
        while begun and (begun[0].done() or len(begun) > 4 * others):
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


class _Pool(ProcessPoolExecutor):
    def submit(self, *call: Any, **options: Any) -> Future:
        """As ever; a worker that is started here inherits that it does not hear Ctrl-C."""
        with _sigint_blocked():
            return super().submit(*call, **options)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(prepare: Callable[..., None], arguments: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*arguments)


def _end_with_parent() -> None:
    """A worker whose parent was killed would keep writing where the next start writes."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
