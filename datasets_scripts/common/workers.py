# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Worker processes that leave Ctrl-C to the command, and end with it, however it ends."""

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
SECONDS_TO_END = 1  # without the workers; a result that one was writing is waited for in vain
_ahead: set[str] = set()  # modules that the fork server has imported


def import_ahead(module: str) -> None:
    """
    Start importing, on another core, a module with a function that `worker_pool` calls: its workers are then forks of
    the process that has imported it. Nothing happens with a single core, or if the system cannot fork.
    """
    if multiprocessing.cpu_count() < 2 or "forkserver" not in get_all_start_methods():
        return
    _ahead.add(module)
    forkserver.set_forkserver_preload(sorted(_ahead))
    with _sigint_blocked():
        forkserver.ensure_running()


def several_wanted(processes: int | None) -> bool:
    """Return whether several processes will be used, by the user's number or else by OpenMP's threads."""
    return str(processes or os.environ.get("OMP_NUM_THREADS")) != "1"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without garbage collection, and exclude the imported objects from all later collections."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def worker_pool(processes: int, prepare: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """
    Yield a pool of new processes, each of which calls `prepare(*arguments)` first.

    After an error, running tasks finish and no others start; Ctrl-C ends the workers at once.
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
        ending = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        ending.start()
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        ending.join(SECONDS_TO_END)
        raise


def shared_map(
    pool: ProcessPoolExecutor,
    function: Callable[[Item], Result],
    here: Callable[[Item], Result],
    items: Iterable[Item],
    others: int,
) -> Iterator[Result]:
    """
    Compute `map(function, items)`, in order, by a pool and by this process, which calls `here`. Each pool process
    has one item in work and one waiting, and few results wait for an earlier one.
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
        """Submit with SIGINT blocked, so that a worker started here inherits the block."""
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
    """End this worker with its parent; otherwise it would keep writing where the next start writes."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
