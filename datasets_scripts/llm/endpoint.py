# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model behind an OpenAI-compatible endpoint: many requests under way, patient with faults, careful with money."""

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
FAULTS_IN_A_ROW = 5  # requests, or connections, of an endpoint that has answered nothing yet
FAULTS_IN_A_ROW_LATER = 25  # requests of one that has: records may be at fault, too
LONGEST_WAIT = 60.0
LARGEST_ANSWER = 4 * 2**20
CHARACTERS_PER_TOKEN = 3  # to reserve of the budget before an endpoint has counted; few, to be on the safe side
TOKENS_PER_MESSAGE = 8
MOST_TOKENS = 10**9  # that an endpoint can have counted for one request
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
REFUSALS = (401, 402, 403, 404, 407)  # where no other request would fare better
RESUME = "What was answered is kept; start the same command again to resume"


class BudgetError(ClinRaGenInputError):
    """The next request would exceed the budget."""


@dataclass(frozen=True)
class Budget:
    """
    Limit what is spent over all runs with one log of requests; `None` where there is no limit.

    Before a request is sent, room is reserved for the longest answer and for one token for each three bytes of its
    chat; then what the endpoint counts takes its place.

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
    """Hold the settings that go with every chat."""

    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0
    response_format: str = "json_schema"


def estimated_tokens(messages: list[dict]) -> int:
    """Estimate from above the tokens of a chat."""
    return sum(len(m["content"].encode()) // CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE for m in messages)


class EndpointModel:
    """
    Answers chats by `POST {base_url}/chat/completions`; what `log` holds is not asked again.

    Args:
        model (`str`): the name that the endpoint knows.
        base_url (`str`): such as `http://127.0.0.1:8000/v1`.
        log (`RequestLog`): answers, and what was spent.
        confined (`bool`): whether requests must stay on this machine.
        concurrency (`int`): requests under way at once.
        attempts (`int`): how often one request is sent while faults last that pass (429, 5xx, time-outs, broken
            connections, answers that are no JSON).
        seconds (`float`): limit of one attempt.

    Raises:
        ClinRaGenInputError: if the endpoint may not, or cannot, be used, or the key is none.
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
        self.spent, self.reserved = log.usage(), {}  # kept here, so that no request adds up the log again
        self.ended: ClinRaGenInputError | None = None
        self.faults_in_a_row = self.unreached = 0
        self.most_faults = FAULTS_IN_A_ROW_LATER if "answered" in log.statuses() else FAULTS_IN_A_ROW
        self.cause = ""  # of the last fault, in words that hold nothing of a record
        self.told: set[str] = set()  # faults of which the user was told

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
            BudgetError: before what would exceed the budget is sent.
            ClinRaGenInputError: if the endpoint refuses the key, the model or every request, or gives no answer to
                several in a row.
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
        """The text of an answer, or the fault that lasted."""
        fault = ""
        for attempt in range(self.attempts):
            number = await self._reserve_when_free(body, key)
            try:
                status, content, wait = await self._attempt(body, key, number)
            except TimeoutError:
                status, content, wait, self.cause = "timeout", None, None, f"within {self.seconds:g} s"
            except (aiohttp.ClientError, OSError) as error:
                status, content, wait, self.cause = _connection_fault(error), None, None, _told(error)
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
                self._tell_once(fault)
                await asyncio.sleep(wait if wait is not None else self._pause(attempt))
        self._give_up(fault)
        return None, fault

    async def _attempt(self, body: dict, key: str, number: int) -> tuple[str, str | None, float | None]:
        """Status, text if there is one, and the wait that the endpoint asks for before another attempt."""
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
        """Note a request as sent, if the budget has room for all that it may take."""
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

    def _tell_once(self, fault: str) -> None:
        """Tell the user of the first fault of a kind: the run may wait for long."""
        if fault not in self.told:
            self.told.add(fault)
            told = self._described(fault)
            logger.warning("%s: %s; it is sent again, up to %d times in all", self.url, told, self.attempts)

    def _give_up(self, fault: str) -> None:
        """End the run where no other request would fare better than one that stays without an answer."""
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
    """Return the key as it goes into a header; a `ClinRaGenInputError`, which does not hold it, where it cannot."""
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
    """Return the text of a reply, empty where the model wrote none; one of the errors of `_attempt` if it is none."""
    content = reply["choices"][0]["message"]["content"]
    if content is not None and not isinstance(content, str):
        raise TypeError
    (content or "").encode()  # half of a character cannot be kept
    return content or ""


def _counted(tokens: object, estimate: int) -> int:
    """Return what the endpoint counted, or the estimate where that cannot be."""
    return tokens if type(tokens) is int and 0 <= tokens <= MOST_TOKENS else estimate


def _named(status: int, raw: bytes) -> str:
    """Return the name of a status and the code that an error reply gives; its words might be those of a record."""
    name = HTTPStatus(status).phrase if status in set(HTTPStatus) and status != 200 else ""
    try:
        error = json.loads(raw).get("error")
        codes = [error.get(field) for field in ("code", "type")] if isinstance(error, dict) else []
    except (ValueError, AttributeError, RecursionError):
        codes = []
    code = next((c for c in codes if isinstance(c, str) and "_" in c and CODE.fullmatch(c)), "")
    return ", ".join(filter(None, (name, code)))


def _retry_after(header: str | None) -> float | None:
    """Return the seconds to wait of a `Retry-After`, which are given as such or as a date; `None` if it is neither."""
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


def _told(error: Exception) -> str:
    """Return the cause of a fault of a connection, without what was sent or received."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "TLS: its certificate is not trusted, or it speaks no TLS"
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else ""
