# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Worker processes that leave Ctrl-C to the command, and end when it does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, get_context
from typing import Any


@contextmanager
def worker_pool(processes: int, prepare: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """
    Give a pool of new processes, each of which calls `prepare(*arguments)` first.

    An error waits for what is under way, and begins nothing more; Ctrl-C ends the workers at once.
    """
    others = set(multiprocessing.active_children())
    pool = _Pool(processes, get_context("spawn"), initializer=_begin, initargs=(prepare, arguments))
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


class _Pool(ProcessPoolExecutor):
    def submit(self, *call: Any, **options: Any) -> Future:
        """As ever; a worker that is started here inherits that it does not hear Ctrl-C."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(*call, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(prepare: Callable[..., None], arguments: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare(*arguments)


def _end_with_parent() -> None:
    """A worker whose parent was killed would keep writing where the next start writes."""
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
