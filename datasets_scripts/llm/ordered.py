# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Asynchronous work over a stream of items, with results in the order of the items and bounded memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Protocol, TypeVar


Item, Result = TypeVar("Item"), TypeVar("Result")
WINDOW = 8  # started items per concurrent one


class Resource(Protocol):
    """A resource that the work needs: an asynchronous context manager with a limit on concurrency."""

    concurrency: int

    async def __aenter__(self): ...

    async def __aexit__(self, *_): ...


def map_in_order(
    work: Callable[[Item], Awaitable[Result]], items: Iterable[Item], resource: Resource
) -> Iterator[Result]:
    """
    Yield `work(item)` for each item, while `resource` is open; at most `WINDOW` times its `concurrency` run ahead.

    A slow item delays the results of later ones, but not their work, until this limit is reached.
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
            except Exception:  # running items are paid for, so they may finish
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
