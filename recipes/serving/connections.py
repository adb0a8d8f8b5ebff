# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Connections to the server: those with a silent client are closed in time, and make room for others."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from uvicorn.protocols.http.h11_impl import H11Protocol


SECONDS_FOR_HEADERS = 10  # from the opening of a connection, or from the last answer
SECONDS_FOR_CLIENT = 75  # to send the rest of a request (the application waits less), and to receive the answer
MAX_CONNECTIONS = 512


def max_connections() -> int:
    """Return the most connections of the server: half of the files that this process may open, at most 512."""
    with suppress(ImportError):  # where there is no such limit
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files != resource.RLIM_INFINITY:
            return min(MAX_CONNECTIONS, files // 2)
    return MAX_CONNECTIONS


class BoundedConnection(H11Protocol):
    """
    A connection that is closed when its client has been silent for too long.

    uvicorn closes connections that are idle after an answer, but waits without limit for headers, and for the client
    to receive an answer; its `limit_concurrency` counts such connections too. Here the connection that has waited
    longest for its client makes room for a new one, so that silent clients do not block others.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._turn, self._since = None, 0.0
        self._watch()
        while len(self.connections) >= self.limit_concurrency:
            others = [one for one in self.connections if one is not self]
            slowest = max(others, key=BoundedConnection.seconds_waited)
            if not slowest.seconds_waited():
                break  # all are busy; uvicorn refuses the new request
            slowest.disconnect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def seconds_waited(self) -> float:
        """Return the seconds since the client stopped sending its request or receiving its answer; else 0."""
        turn = (self.cycle, self._is_idle(), self.cycle is not None and self.cycle.more_body)
        if turn != self._turn:
            self._turn, self._since = turn, self.loop.time()
        is_clients = turn[1] or turn[2] or self._unsent()
        return self.loop.time() - self._since if is_clients else 0.0

    def disconnect(self) -> None:
        self.connections.discard(self)
        self.transport.abort()  # `close` would wait until the client has received everything

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def _watch(self) -> None:
        self._timer = self.loop.call_later(1, self._watch)
        in_headers = self._is_idle() and not self._unsent()
        if self.seconds_waited() > (SECONDS_FOR_HEADERS if in_headers else SECONDS_FOR_CLIENT):
            self.disconnect()
