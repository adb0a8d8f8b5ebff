# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model behind an OpenAI-compatible endpoint: concurrent requests, retries after faults, and a budget."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp

from datasets_scripts.common.outputs import ResumableError
from datasets_scripts.llm.answers import parse_answer
from datasets_scripts.llm.chat import Answer, Request
from datasets_scripts.llm.guard import check_endpoint, open_session
from datasets_scripts.llm.request_log import NOT_SENT, RequestLog
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


logger = logging.getLogger(__name__)

RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}
FAULTS_IN_A_ROW = 5  # requests, or connections, to an endpoint without any answer so far
FAULTS_IN_A_ROW_LATER = 25  # requests after the first answer: the records may be the cause
LONGEST_WAIT = 60.0
LARGEST_ANSWER = 4 * 2**20
CHARACTERS_PER_TOKEN = 3  # to reserve budget before the endpoint has counted; low, for a safe estimate
TOKENS_PER_MESSAGE = 8
MOST_TOKENS = 10**9  # plausible count of an endpoint for one request
CODE = re.compile(r"[a-z][a-z_]{2,39}", re.IGNORECASE)  # such as "model_not_found"; never words of a record
REMEDIES = {
    401: "the key is wrong or missing; set OPENAI_API_KEY",
    402: "the account has no money left",
    403: "the key is wrong or missing, or may not use this model; set OPENAI_API_KEY",
    404: "wrong --base-url, or no model {model!r} there",
    407: "a proxy stands before it",
    429: "it limits the rate or the account; wait, or lower --concurrency",
    "timeout": "it is slow, or takes none; raise --timeout, or lower --concurrency",
    NOT_SENT: "is a server running there? See --base-url",
    "broken connection": "it closes connections before they are answered",
    "malformed reply": "it answers nothing that a chat completion is; see --base-url",
}
REFUSALS = (401, 402, 403, 404, 407)  # after which no other request can succeed
RESUME = "What was answered is kept; start the same command again to resume"


class BudgetError(ClinRaGenInputError):
    """Raised if the next request would exceed the budget."""


@dataclass(frozen=True)
class Budget:
    """
    Limits on spending over all runs with one log of requests; `None` means no limit.

    Before a request is sent, budget is reserved for the longest answer and for one token per three bytes of its chat;
    then the endpoint's count replaces the reservation.

    Args:
        requests (`int`), tokens (`int`): sent, retries included; read and written.
        money (`float`): in the currency of `prices`.
        prices (`tuple[float, float]`): of a million tokens read, and written.
    """

    requests: int | None = None
    tokens: int | None = None
    money: float | None = None
    prices: tuple[float, float] = (0.0, 0.0)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prices[0] + completion_tokens * self.prices[1]) / 1e6


@dataclass(frozen=True)
class Sampling:
    """Settings of every chat."""

    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0
    response_format: str = "json_schema"


def estimated_tokens(messages: list[dict]) -> int:
    """Return an upper estimate of the tokens of a chat."""
    return sum(len(m["content"].encode()) // CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE for m in messages)


class EndpointModel:
    """
    Answers chats by `POST {base_url}/chat/completions`; answers in `log` are not requested again.

    Args:
        model (`str`): the name that the endpoint knows.
        base_url (`str`): such as `http://127.0.0.1:8000/v1`.
        log (`RequestLog`): answers and spending.
        confined (`bool`): whether requests must stay on this machine.
        concurrency (`int`): number of concurrent requests.
        attempts (`int`): number of attempts at one request after transient faults (429, 5xx, time-outs, broken
            connections, answers that are not JSON).
        seconds (`float`): limit of one attempt.

    Raises:
        ClinRaGenInputError: if the endpoint may not, or cannot, be used, or the key is invalid.
    """

    def __init__(
        self,
        model: str,
        base_url: str,
        log: RequestLog,
        *,
        confined: bool,
        api_key: str | None = None,
        concurrency: int = 16,
        attempts: int = 6,
        seconds: float = 120.0,
        first_wait: float = 1.0,
        sampling: Sampling | None = None,
        budget: Budget | None = None,
    ):
        check_endpoint(base_url, confined)
        self.model, self.url, self.log = model, f"{base_url.rstrip('/')}/chat/completions", log
        self.confined, self.api_key, self.concurrency = confined, _checked_key(api_key), concurrency
        self.attempts, self.seconds, self.first_wait = attempts, seconds, first_wait
        self.sampling, self.budget = sampling or Sampling(), budget or Budget()
        self.spent, self.reserved = log.usage(), {}  # kept here, so that requests need not sum the log
        self.ended: ClinRaGenInputError | None = None
        self.faults_in_a_row = self.unreached = 0
        self.most_faults = FAULTS_IN_A_ROW_LATER if "answered" in log.statuses() else FAULTS_IN_A_ROW
        self.cause = ""  # of the last fault, without content of records
        self.reported: set[str] = set()  # faults that the user knows of

    async def __aenter__(self) -> EndpointModel:
        self.session = open_session(self.confined, self.seconds, self.concurrency)
        self.free = asyncio.Semaphore(self.concurrency)
        self.settled = asyncio.Event()  # set when the outcome of a request is known
        return self

    async def __aexit__(self, *_) -> None:
        await self.session.close()

    async def answer(self, request: Request) -> Answer:
        """
        Raises:
            BudgetError: before sending a request that would exceed the budget.
            ClinRaGenInputError: if the endpoint refuses the key, the model or every request, or does not answer
                several requests in a row.
            LeavesMachineError: if a connection would leave the machine.
        """
        body = self._body(request)
        key = self.log.key(body)
        content = self.log.answer(key)
        if content is None:
            async with self.free:
                try:
                    content, fault = await self._send(body, key)
                except ClinRaGenInputError as error:
                    self.ended = error
                    raise
            if content is None:
                return Answer(None, fault)
        return parse_answer(content, request.schema)

    def _body(self, request: Request) -> dict:
        body = {
            "model": self.model,
            "messages": request.messages,
            "temperature": self.sampling.temperature,
            "max_tokens": self.sampling.max_tokens,
            "seed": self.sampling.seed if request.seed is None else request.seed,
        }
        if self.sampling.response_format == "json_schema":
            schema = {"name": "answer", "schema": request.allowed, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.sampling.response_format == "generation_config":  # `transformers serve`, see json_only.py
            settings = {"json_schema": request.allowed, "do_sample": self.sampling.temperature > 0}
            body["generation_config"] = json.dumps(settings)
        elif self.sampling.response_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    async def _send(self, body: dict, key: str) -> tuple[str | None, str]:
        """Return the text of an answer, or the fault of the last attempt."""
        fault = ""
        for attempt in range(self.attempts):
            number = await self._reserve_when_free(body, key)
            try:
                status, content, wait = await self._attempt(body, key, number)
            except TimeoutError:
                status, content, wait, self.cause = "timeout", None, None, f"within {self.seconds:g} s"
            except (aiohttp.ClientError, OSError) as error:
                status, content, wait, self.cause = _connection_fault(error), None, None, _cause(error)
            finally:
                self.reserved.pop(number, None)
                self.settled.set()
            if content is not None:
                self.faults_in_a_row, self.most_faults = 0, FAULTS_IN_A_ROW_LATER
                return content, ""
            self._note_failure(number, fault := status)
            if self.ended is not None:
                raise self.ended
            self._check_reached(fault)
            if fault.startswith("HTTP 4") and int(fault[5:]) not in RETRIED:
                break
            if attempt + 1 < self.attempts:
                self._report_once(fault)
                await asyncio.sleep(wait if wait is not None else self._pause(attempt))
        self._check_faults(fault)
        return None, fault

    async def _attempt(self, body: dict, key: str, number: int) -> tuple[str, str | None, float | None]:
        """Return status, text, if any, and the wait before another attempt that the endpoint asks for."""
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        async with self.session.post(self.url, json=body, headers=headers, allow_redirects=False) as response:
            self.unreached = -(10**9)
            if 300 <= response.status < 400:
                raise ClinRaGenInputError(
                    f"{self.url} redirects; redirects are not followed, so that records go only where they are sent: "
                    "give --base-url its final address"
                )
            raw = await _read(response)
            if response.status != 200:
                self.cause = _named(response.status, raw)
                return f"HTTP {response.status}", None, _retry_after(response.headers.get("Retry-After"))
        try:
            reply = json.loads(raw)
            content, usage = _text_of(reply), reply.get("usage") or {}
            tokens = tuple(
                _counted(usage.get(name), estimate)
                for name, estimate in zip(("prompt_tokens", "completion_tokens"), self.reserved[number], strict=True)
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            self.cause = _named(200, raw)
            return "malformed reply", None, None
        self.log.answered(number, key, content, *tokens)
        self.spent.prompt_tokens += tokens[0]
        self.spent.completion_tokens += tokens[1]
        return "answered", content, None

    async def _reserve_when_free(self, body: dict, key: str) -> int:
        """Return the number of the request; what is under way may turn out cheaper than what is reserved for it."""
        while True:
            if self.ended is not None:  # what is under way ends, nothing new is sent
                raise self.ended
            try:
                return self._reserve(body, key)
            except BudgetError:
                if not self.reserved:
                    raise
            self.settled.clear()
            await self.settled.wait()

    def _note_failure(self, number: int, fault: str) -> None:
        self.log.failed(number, fault)
        self.spent.requests -= fault == NOT_SENT

    def _reserve(self, body: dict, key: str) -> int:
        """Record a request as sent, if the budget covers its highest cost."""
        wanted = estimated_tokens(body["messages"]), body["max_tokens"]
        spent = self.spent.prompt_tokens, self.spent.completion_tokens
        prompt, completion = map(sum, zip(spent, wanted, *self.reserved.values(), strict=True))
        limits = {
            "--max-requests": (self.spent.requests + 1, self.budget.requests),
            "--max-tokens-total": (prompt + completion, self.budget.tokens),
            "--max-cost": (self.budget.cost(prompt, completion), self.budget.money),
        }
        for option, (needed, limit) in limits.items():
            if limit is not None and needed > limit:
                raise BudgetError(
                    f"{option} {limit:g} is spent; all answers are kept in {self.log.path}: raise it and start the "
                    "same command again to resume"
                )
        number = self.log.sent(key)
        self.spent.requests += 1
        self.reserved[number] = wanted
        return number

    def _check_reached(self, fault: str) -> None:
        """End the run if the first connections to the endpoint fail."""
        self.unreached += fault == NOT_SENT
        if self.unreached >= FAULTS_IN_A_ROW:
            raise self._stopped(fault)

    def _report_once(self, fault: str) -> None:
        """Report the first fault of a kind: the run may wait for long."""
        if fault not in self.reported:
            self.reported.add(fault)
            described = self._described(fault)
            logger.warning("%s: %s; it is sent again, up to %d times in all", self.url, described, self.attempts)

    def _check_faults(self, fault: str) -> None:
        """End the run if no other request would succeed after this unanswered one."""
        self.faults_in_a_row += 1
        refused = fault.startswith("HTTP") and int(fault[5:]) in REFUSALS
        if refused or fault == NOT_SENT or self.faults_in_a_row >= self.most_faults:
            raise self._stopped(fault)

    def _stopped(self, fault: str) -> ClinRaGenInputError:
        asked = f"{self.faults_in_a_row} requests in a row" if self.faults_in_a_row > 1 else "what it is asked"
        return ResumableError(f"{self.url} does not answer {asked}: {self._described(fault)}. {RESUME}")

    def _described(self, fault: str) -> str:
        """Return a fault with its cause and its remedy."""
        status = int(fault[5:]) if fault.startswith("HTTP") else fault
        remedy = f"is {self.model!r} the model's name there, and does it know --response-format?"
        remedy = REMEDIES.get(status, "is it overloaded?" if str(status).startswith("5") else remedy)
        cause = f" ({self.cause})" if self.cause else ""
        return f"{fault}{cause}; {remedy.format(model=self.model)}"

    def _pause(self, attempt: int) -> float:
        return min(LONGEST_WAIT, self.first_wait * 2**attempt) * random.uniform(0.5, 1.0)


def _checked_key(key: str | None) -> str | None:
    """Return the key for the header; an invalid one raises a `ClinRaGenInputError`, which does not contain it."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ClinRaGenInputError("OPENAI_API_KEY holds characters that no key has; set it again")
    return key or None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_chunked(2**16):
        parts.append(part)
        size += len(part)
        if size > LARGEST_ANSWER:
            raise aiohttp.ClientPayloadError("longer than any answer")
    return b"".join(parts)


def _text_of(reply: dict) -> str:
    """Return the text of a reply, empty if the model wrote none; raises errors that `_attempt` handles."""
    content = reply["choices"][0]["message"]["content"]
    if content is not None and not isinstance(content, str):
        raise TypeError
    (content or "").encode()  # a lone surrogate cannot be saved
    return content or ""


def _counted(tokens: object, estimate: int) -> int:
    """Return the endpoint's count, or the estimate if the count is implausible."""
    return tokens if type(tokens) is int and 0 <= tokens <= MOST_TOKENS else estimate


def _named(status: int, raw: bytes) -> str:
    """Return the name of a status and the code of an error reply; its message may quote a record."""
    name = HTTPStatus(status).phrase if status in set(HTTPStatus) and status != 200 else ""
    try:
        error = json.loads(raw).get("error")
        codes = [error.get(field) for field in ("code", "type")] if isinstance(error, dict) else []
    except (ValueError, AttributeError, RecursionError):
        codes = []
    code = next((c for c in codes if isinstance(c, str) and "_" in c and CODE.fullmatch(c)), "")
    return ", ".join(filter(None, (name, code)))


def _retry_after(header: str | None) -> float | None:
    """Return the seconds of a `Retry-After`, given as a number or as a date; `None` if it is neither."""
    try:
        seconds = float(header or "")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header or "").timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(LONGEST_WAIT, max(0.0, seconds))


def _connection_fault(error: Exception) -> str:
    return NOT_SENT if isinstance(error, aiohttp.ClientConnectorError) else "broken connection"


def _cause(error: Exception) -> str:
    """Return the cause of a connection fault, without sent or received content."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "TLS: its certificate is not trusted, or it speaks no TLS"
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else ""
