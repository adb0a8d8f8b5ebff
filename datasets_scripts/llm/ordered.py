# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Asynchronous work over a stream of items, with results in the order of the items and bounded memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Protocol, TypeVar


Item, Result = TypeVar("Item"), TypeVar("Result")
WINDOW = 8  # items begun for each one that may be under way


class Resource(Protocol):
    """Describe what the work needs open: an asynchronous context manager, and how much of it may run at once."""

    concurrency: int

    async def __aenter__(self): ...

    async def __aexit__(self, *_): ...


def map_in_order(
    work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], resource: Resource
) -> Iterator[Result]:
    """
    `work(item)` for each item, while `resource` is open; `WINDOW` times its `concurrency` are begun at once.

    An item that takes long holds back the results of later ones, not their work, until so many are begun.
    """

    window = WINDOW * resource.concurrency

    async def results() -> AsyncIterator[Result]:
        begun: deque[asyncio.Task] = deque()
        async with resource:
            try:
                for item in items:
                    begun.append(asyncio.ensure_future(work(item)))
                    if len(begun) >= window:
                        yield await begun.popleft()
                while begun:
                    yield await begun.popleft()
            except Exception:  # what is under way is paid for, and ends
                await asyncio.gather(*begun, return_exceptions=True)
                raise
            finally:
                for task in begun:
                    task.cancel()
                await asyncio.gather(*begun, return_exceptions=True)

    with asyncio.Runner() as runner:
        stream = results()
        try:
            while True:
                try:
                    result = runner.run(anext(stream))
                except StopAsyncIteration:
                    return
                yield result
        finally:
            runner.run(stream.aclose())
