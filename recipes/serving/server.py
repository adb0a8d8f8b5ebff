# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of `serve.py`: requests wait in a queue, and are answered in batches."""

from __future__ import annotations

import argparse
import asyncio
import hmac
import ipaddress
import json
import logging
import signal
import socket
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.handler import EndpointHandler, RequestError
from recipes.serving.answers import load_handler
from recipes.serving.connections import BoundedConnection, max_connections
from recipes.serving.metrics import Metrics
from recipes.serving.openapi import add_page, predict_description
from recipes.serving.processes import answer_records, default_processes, get_ready, handlers


logger = logging.getLogger(__name__)

MAX_BODY = 8 * 2**20  # bytes of a request
MAX_DROPPED = 8 * MAX_BODY  # of a larger one this much is received and dropped, so that its sender reads the answer
MAX_BODIES = 16 * MAX_BODY  # bytes of all requests that are still arriving
SECONDS_FOR_BODY = 60
MOST_PROCESSES = 4  # by default, because each holds the model
MAX_WAITING = 128  # records in the queue
SHORTEST_TOKEN = 16  # characters
BEARER = HTTPBearer(auto_error=False)  # its own error for a missing token would have another status


@dataclass(eq=False)
class Waiting:
    """Records of one request, and the future for their answers."""

    records: list[dict]
    parameters: dict
    answers: asyncio.Future


class Batcher:
    """
    A queue before the model: the records that arrive while the model is busy are answered together afterwards.

    Args:
        handler (`EndpointHandler`): answers in one thread, a batch at a time.
        batch_size (`int`): the most records of a joint batch.
        max_waiting (`int`): the most records that may wait.
        pool (`ProcessPoolExecutor`, *optional*): processes of `handlers` that answer instead.
    """

    def __init__(
        self,
        handler: EndpointHandler,
        batch_size: int = 16,
        max_waiting: int = MAX_WAITING,
        pool: ProcessPoolExecutor | None = None,
    ):
        self.metrics = Metrics(handler.pipe.version, self.number_waiting)
        # With several threads, each would start its own torch threads.
        self._executor = ThreadPoolExecutor(1) if pool is None else pool
        self._answer = handler.try_answer if pool is None else answer_records
        self.batch_size = batch_size
        self.max_waiting = max_waiting
        self.is_broken = False  # a process was killed
        self._waiting: list[Waiting] = []
        self._arrived = asyncio.Event()

    async def answer(self, records: list[dict], parameters: dict) -> list[dict | Exception]:
        """
        Raises:
            RequestError: with status 503 if the queue is full.
        """
        if self.number_waiting() + len(records) > self.max_waiting:
            raise RequestError(503, "too many records are waiting; try again in some seconds")
        item = Waiting(records, parameters, asyncio.get_running_loop().create_future())
        self._waiting.append(item)
        self._arrived.set()
        return await item.answers

    def number_waiting(self) -> int:
        return sum(len(item.records) for item in self._waiting)

    async def run(self) -> None:
        """Answer batches, one after the other; one such task for each process."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if not self._waiting:  # another task took it
                continue
            batch = self._next_batch()
            records = [record for item in batch for record in item.records]
            self.metrics.batch(len(records))
            try:
                answers = await loop.run_in_executor(self._executor, self._answer, records, batch[0].parameters)
            except BrokenProcessPool as error:
                self.is_broken = True
                signal.raise_signal(signal.SIGTERM)  # answer what is possible, and stop
                answers = [error] * len(records)
            for item in batch:
                if not item.answers.done():  # the client may be gone
                    item.answers.set_result(answers[: len(item.records)])
                answers = answers[len(item.records) :]

    def _next_batch(self) -> list[Waiting]:
        """Return the first of the queue, and those with the same parameters that fit into its batch."""
        first = self._waiting[0]
        batch, size = [first], len(first.records)
        for item in self._waiting[1:]:
            if item.parameters == first.parameters and size + len(item.records) <= self.batch_size:
                batch.append(item)
                size += len(item.records)
        self._waiting = [item for item in self._waiting if item not in batch]
        if not self._waiting:
            self._arrived.clear()
        return batch


class Arriving:
    """The requests that are still arriving; if they hold too much memory, the oldest is disconnected."""

    def __init__(self):
        self._sizes: dict[asyncio.Timeout, int] = {}

    def hold(self, deadline: asyncio.Timeout, size: int) -> None:
        """Record that the request of this deadline holds `size` bytes so far."""
        self._sizes[deadline] = size
        if sum(self._sizes.values()) > MAX_BODIES:
            oldest = next(iter(self._sizes))
            del self._sizes[oldest]
            oldest.reschedule(0)

    def end(self, deadline: asyncio.Timeout) -> None:
        self._sizes.pop(deadline, None)


def make_app(
    handler: EndpointHandler,
    batch_size: int = 16,
    token: str | None = None,
    pool: ProcessPoolExecutor | None = None,
    processes: int = 1,
) -> FastAPI:
    """
    Return the server's application: `POST /` and `/predict`, `GET /metrics`, `/health`, `/docs` and `/openapi.json`.

    Args:
        token (`str`, *optional*): must be sent as `Authorization: Bearer TOKEN` to get an answer or metrics.
        pool (`ProcessPoolExecutor`, *optional*), processes (`int`): those of `handlers` that answer, and their number.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.batcher, app.state.arriving = Batcher(handler, batch_size, pool=pool), Arriving()
        tasks = [asyncio.create_task(app.state.batcher.run()) for _ in range(processes)]
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(title="ClinRaGen", lifespan=lifespan, docs_url=None, redoc_url=None)
    guarded = [Depends(token_check(token))] if token else []

    @app.post("/", dependencies=guarded, openapi_extra=predict_description(), response_model=None)
    @app.post("/predict", dependencies=guarded, include_in_schema=False, response_model=None)
    async def predict(request: Request) -> JSONResponse:
        """Answer a record, or several."""
        begun = perf_counter()
        response = await answer(request)
        app.state.batcher.metrics.request(response.status_code, perf_counter() - begun)
        return response

    async def answer(request: Request) -> JSONResponse:
        try:
            data = read_json(await read_body(request))
            records, parameters = handler.read_request(data)
            answers = await request.app.state.batcher.answer(records, parameters)
        except RequestError as error:
            return refusal(error.status, str(error))
        except ClientDisconnect:
            return refusal(400, "the connection was closed before the request was whole")
        except Exception as error:  # its message may hold part of a record
            logger.error("%s while a request was read", type(error).__name__)
            answers = [error]
        if any(isinstance(answer, Exception) for answer in answers):
            return refusal(500, "the model failed on this request; the server's log names the place")
        return JSONResponse(answers if isinstance(data["inputs"], list) else answers[0])

    @app.get("/metrics", dependencies=guarded)
    async def metrics() -> Response:
        """Return counts for Prometheus."""
        return Response(app.state.batcher.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/health")
    async def health() -> dict:
        """Report that the server is up, and which model answers."""
        return {"status": "ok", "model_version": handler.pipe.version}

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)

    add_page(app)
    return app


def token_check(token: str):
    """Return a dependency that refuses, and counts, requests without the token."""

    async def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            request.app.state.batcher.metrics.request(401, None)
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "send the server's token: Authorization: Bearer TOKEN", headers=headers)

    return check


def refusal(status: int, reason: str) -> JSONResponse:
    headers = {"Retry-After": "5"} if status == 503 else None
    reason = reason.encode("utf-8", "replace").decode()  # the name of a field may hold a surrogate
    return JSONResponse({"error": reason}, status, headers=headers)


async def read_body(request: Request) -> bytes:
    """
    Return the body of a request; one that is too large is never held in memory.

    Raises:
        RequestError: if its content type is not JSON, or it is too large or too slow.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise RequestError(415, "the content type must be application/json")
    body, size, arriving = bytearray(), 0, request.app.state.arriving
    deadline = asyncio.timeout(SECONDS_FOR_BODY)
    try:
        async with deadline:
            async for part in request.stream():
                size += len(part)
                if size > MAX_DROPPED:
                    break
                if size > MAX_BODY:
                    body.clear()
                else:
                    body += part
                arriving.hold(deadline, len(body))
    except TimeoutError:
        reason = f"the request did not arrive within {SECONDS_FOR_BODY} seconds, or other requests needed its memory"
        raise RequestError(408, f"{reason}; send it again, at once") from None
    finally:
        arriving.end(deadline)
    if size > MAX_BODY:
        raise RequestError(413, f"the request is larger than {MAX_BODY} bytes; send fewer or smaller records")
    return bytes(body)


def read_json(body: bytes) -> object:
    """
    Raises:
        RequestError: if it is not strict JSON in UTF-8.
    """

    def refuse(name: str):
        raise RequestError(400, f"{name} is not JSON; leave the entry out, or write null in lab_values")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=refuse)
    except UnicodeDecodeError:
        raise RequestError(400, "the request is not in UTF-8") from None
    except json.JSONDecodeError as error:
        raise RequestError(400, f"invalid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RequestError:
        raise
    except (ValueError, RecursionError):
        raise RequestError(
            400, "the JSON is not a record: a number of thousands of digits, or too many brackets"
        ) from None


def server_config(handler: EndpointHandler, batch_size: int = 16, token: str | None = None, **pool) -> uvicorn.Config:
    """Return the settings of the server; the arguments are those of `make_app`."""
    return uvicorn.Config(
        make_app(handler, batch_size, token, **pool),
        http=BoundedConnection,
        ws="none",
        access_log=False,
        limit_concurrency=max_connections() + 1,  # of busy connections: silent ones make room
        timeout_graceful_shutdown=30,
        log_level="warning",
    )


def serve(arguments: argparse.Namespace) -> None:
    """Answer requests, by the arguments of `serve.py`, until the process ends."""
    token = read_token(arguments.token_file)
    listener = listen(arguments.host, arguments.port)
    model = arguments.model, arguments.revision, arguments.device
    handler = load_handler(*model)
    warn_if_open(listener, token)
    processes = arguments.processes or min(default_processes(handler), MOST_PROCESSES)
    with handlers(model, processes, processes) if processes > 1 else nullcontext() as pool:
        if pool is not None:
            wait([pool.submit(get_ready) for _ in range(processes)])
        config = server_config(handler, arguments.batch_size, token, pool=pool, processes=processes)
        logger.info("answers at http://%s (stop with Ctrl-C)", address_of(listener))
        # the server stops on it, and raises it again after the last answer; Ctrl-C likewise
        signal.signal(signal.SIGTERM, lambda *_: None)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        if config.app.state.batcher.is_broken:
            raise ClinRaGenInputError(
                "--processes: one of them was killed, perhaps for lack of memory; start the server again with fewer"
            )
    logger.info("stopped")


def address_of(listener: socket.socket) -> str:
    """Return host and port in the form of a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_token(path: Path | None) -> str | None:
    """Read the token that requests must send; `None` where no file is named."""
    if path is None:
        return None
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        raise ClinRaGenInputError(f"--token-file: {path} cannot be read as ASCII text; name another") from None
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ClinRaGenInputError(f"--token-file: {path} needs one token of {SHORTEST_TOKEN} characters or more")
    return token


def listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ClinRaGenInputError(f"--host {host} --port {port}: {error.strerror}; name another") from None
    except (TypeError, UnicodeError):
        raise ClinRaGenInputError(
            f"--host {host[:60]} is not the name of a machine; give one, such as 127.0.0.1"
        ) from None


def warn_if_open(listener: socket.socket, token: str | None) -> None:
    host = listener.getsockname()[0]
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        anybody = "" if token else ", and anybody may send requests (no --token-file)"
        logger.warning(
            "%s can be reached over the network: records and answers are readable there (no TLS)%s; prefer --host "
            "127.0.0.1 behind a proxy with TLS",
            host,
            anybody,
        )
