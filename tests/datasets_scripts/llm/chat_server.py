# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible endpoint on loopback: it answers by a function or by a real server, and injects faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable

import aiohttp
from aiohttp import web


def body_key(body: dict) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class ChatServer:
    """
    A context manager; `url` is the base URL while it is open.

    Args:
        reply (callable, *optional*): body of a request -> text that the model writes.
        upstream (`str`, *optional*): base URL of a real server, which is asked instead.
        fault (callable, *optional*): number of a request -> name of a fault, or `None`; see `_faulty`.
        latency (`float`): seconds before an answer.
        host (`str`): address to listen on.
    """

    def __init__(
        self,
        reply: Callable[[dict], str] | None = None,
        upstream: str | None = None,
        fault: Callable[[int], str | None] = lambda number: None,
        latency: float = 0.0,
        host: str = "127.0.0.1",
    ):
        self.reply, self.upstream, self.fault, self.latency, self.host = reply, upstream, fault, latency, host
        self.bodies: list[dict] = []
        self.answered, self.faults = Counter(), Counter()  # body's key -> whole answers; fault -> how often
        self.most_at_once = self.at_once = self.being_answered = 0
        self.hold_after: int | None = None  # number of answers after which no more are given
        self.holding = threading.Event()
        self.location = ""  # where the fault "redirect" points

    def __enter__(self) -> ChatServer:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(10)
        return self

    def __exit__(self, *_) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self._answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, self.host, 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self.url = f"http://{self.host}:{self.port}/v1"
        self.session = aiohttp.ClientSession()

    async def _stop(self) -> None:
        await self.session.close()
        await self.runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        number = len(self.bodies)
        self.bodies.append(body)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.latency)
            fault = self.fault(number)
            if fault:
                self.faults[fault] += 1
                return await self._faulty(fault, request)
            while self.hold_after is not None and self.answered.total() >= self.hold_after:
                self.holding.set()
                await asyncio.sleep(0.02)
                if request.transport is None or request.transport.is_closing():
                    return web.Response()
            self.being_answered += 1
            try:
                completion = await self._completion(body)
                if (
                    request.transport is None or request.transport.is_closing()
                ):  # its client was killed, or has disconnected
                    return web.Response()
                self.answered[body_key(body)] += 1
                return web.json_response(completion)
            finally:
                self.being_answered -= 1
        finally:
            self.at_once -= 1

    async def _completion(self, body: dict) -> dict:
        if self.upstream:
            async with self.session.post(f"{self.upstream}/chat/completions", json=body) as response:
                return await response.json()
        text = self.reply(body)
        return {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": sum(4 + len(message["content"]) // 4 for message in body["messages"]),
                "completion_tokens": 10,
            },
        }

    async def _faulty(self, fault: str, request: web.Request) -> web.StreamResponse:
        if fault.startswith("HTTP"):
            headers = {"Retry-After": "0"} if fault == "HTTP 429" else {}
            return web.Response(status=int(fault[5:]), headers=headers, text="busy")
        if fault == "redirect":
            return web.Response(status=307, headers={"Location": self.location})
        if fault == "malformed":
            return web.Response(text='{"choices": [{"mess', content_type="application/json")
        if fault == "no choices":
            return web.json_response({"choices": []})
        if fault == "dropped":
            request.transport.close()
            return web.Response()
        response = web.StreamResponse(headers={"Content-Length": "5000", "Content-Type": "application/json"})
        await response.prepare(request)
        if fault == "truncated":
            await response.write(b'{"choices": [{"message": {"content": "')
            request.transport.close()
        elif fault == "slow":
            for _ in range(600):
                await response.write(b" ")
                await asyncio.sleep(0.1)
        return response


def some_of(faults: list[str], share: float, seed: int) -> Callable[[int], str | None]:
    """A fault for that share of the requests."""
    draw = random.Random(seed)
    return lambda number: draw.choice(faults) if draw.random() < share else None
