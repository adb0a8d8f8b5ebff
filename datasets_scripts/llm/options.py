# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The options of every command that asks a language model, and the model that they open.

The modules that open a model are imported only when needed: a command parses its options without them.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from datasets_scripts.common.checkpoints import resolve_checkpoint, with_gguf
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


if TYPE_CHECKING:
    from datasets_scripts.llm.endpoint import Budget, EndpointModel
    from datasets_scripts.llm.local import LocalModel
    from datasets_scripts.llm.request_log import RequestLog

LOCAL_SERVER = "http://127.0.0.1:8000/v1"  # where vLLM and `transformers serve` listen
SAMPLED_CHATS = 200  # for the mean length in a forecast
TOKENS_PER_SECOND = 40  # of each answer, assumed by a forecast


def add_model_options(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("a language model")
    model.add_argument(
        "--base-url",
        default=LOCAL_SERVER,
        help="openai: address of the endpoint; its key, if any, is OPENAI_API_KEY of the environment; "
        f"default: {LOCAL_SERVER}",
    )
    model.add_argument(
        "--concurrency", type=int, default=16, help="openai: number of concurrent requests; default: 16"
    )
    model.add_argument("--batch-size", type=int, default=8, help="transformers: chats per batch; default: 8")
    model.add_argument(
        "--gguf-file", metavar="NAME", help="transformers: GGUF file with the weights, in the model's folder"
    )
    model.add_argument(
        "--attempts",
        type=int,
        default=6,
        help="openai: attempts at a request that fails for a passing reason; default: 6",
    )
    model.add_argument("--timeout", type=float, default=120, help="openai: seconds for each attempt; default: 120")
    model.add_argument("--temperature", type=float, default=0.0, help="sampling temperature; default: 0")
    model.add_argument("--max-answer-tokens", type=int, default=1024, help="longest answer in tokens; default: 1024")
    model.add_argument(
        "--response-format",
        choices=("json_schema", "json_object", "generation_config", "none"),
        default="json_schema",
        help="openai: how the endpoint is asked for JSON; generation_config is for `transformers serve`, see "
        "docs/teacher.md; default: json_schema",
    )
    model.add_argument(
        "--requests", type=Path, metavar="FILE", help="log of requests and answers; default: beside --output"
    )
    budget = parser.add_argument_group("the budget of a language model, over all runs with one log of requests")
    budget.add_argument(
        "--max-requests", type=int, help="most requests, retries included; refused connections do not count"
    )
    budget.add_argument("--max-tokens-total", type=int, help="most tokens, read and written")
    budget.add_argument("--max-cost", type=float, help="most money, in the currency of --prices")
    budget.add_argument(
        "--prices",
        type=float,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("READ", "WRITTEN"),
        help="prices of a million tokens",
    )
    model.add_argument(
        "--i-am-permitted-to-send",
        dest="permission",
        metavar="REASON",
        help="permit records of patients to leave this machine; the reason is recorded in the output",
    )


def parse_model(text: str, option: str, others: tuple[str, ...], gguf_file: str | None = None) -> tuple[str, str]:
    """Parse `"openai:MODEL"` or `"transformers:MODEL"` into kind and name; a folder, and its file, must exist."""
    kind, _, name = text.partition(":")
    if kind not in ("openai", "transformers") or not name:
        raise ClinRaGenInputError(
            f"{option} is {text!r}; give {', '.join((*others, 'openai:MODEL', 'transformers:MODEL'))}"
        )
    if kind == "transformers":
        return kind, resolve_checkpoint(with_gguf(name, gguf_file, option))
    if gguf_file is not None:
        raise ClinRaGenInputError(f"--gguf-file is for {option} transformers:MODEL; a server reads its own files")
    return kind, name


def check_model_options(arguments: argparse.Namespace, kind: str, confined: bool) -> None:
    """
    Check the options before anything is opened.

    Args:
        confined (`bool`): whether requests must stay on this machine without a permission.
    """
    if not arguments.timeout > 0:
        raise ClinRaGenInputError(f"--timeout is {arguments.timeout:g}; give more than 0 seconds")
    if arguments.permission is not None and not arguments.permission.strip():
        raise ClinRaGenInputError("--i-am-permitted-to-send needs a reason, which is recorded")
    if arguments.max_cost is not None and not any(arguments.prices):
        raise ClinRaGenInputError("--max-cost needs --prices: of a million tokens read, and written")
    if kind == "openai":
        from datasets_scripts.llm.guard import check_endpoint

        check_endpoint(arguments.base_url, confined and arguments.permission is None)


def open_model(
    arguments: argparse.Namespace, kind: str, name: str, log: RequestLog, confined: bool
) -> EndpointModel | LocalModel:
    """Open the model of that kind and name; see `EndpointModel` and `LocalModel`."""
    from datasets_scripts.llm.endpoint import EndpointModel, Sampling

    sampling = Sampling(arguments.temperature, arguments.max_answer_tokens, arguments.seed, arguments.response_format)
    if kind == "transformers":
        from datasets_scripts.llm.local import LocalModel

        return LocalModel(name, log, batch_size=arguments.batch_size, sampling=sampling)
    return EndpointModel(
        name,
        arguments.base_url,
        log,
        confined=confined and arguments.permission is None,
        api_key=os.environ.get("OPENAI_API_KEY"),
        concurrency=arguments.concurrency,
        attempts=arguments.attempts,
        seconds=arguments.timeout,
        sampling=sampling,
        budget=_budget(arguments),
    )


def forecast(
    arguments: argparse.Namespace, requests: int, chats: Iterable[list[dict]], log: RequestLog | None = None
) -> str:
    """
    Estimate the cost of a number of requests from the mean length of the first chats; nothing is sent.

    Args:
        log (`RequestLog`, *optional*): of earlier runs; what they have spent counts towards the budget.
    """
    from datasets_scripts.llm.endpoint import estimated_tokens

    sampled = [estimated_tokens(chat) for chat in itertools.islice(chats, SAMPLED_CHATS)]
    read = round(requests * sum(sampled) / max(1, len(sampled)))
    written = requests * arguments.max_answer_tokens
    minutes = written / TOKENS_PER_SECOND / arguments.concurrency / 60
    time = f"{minutes:,.1f} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"
    cost = (
        f", at most {_budget(arguments).cost(read, written):,.2f} at the given prices" if any(arguments.prices) else ""
    )
    return (
        f"{requests:,} requests, {read:,} tokens to read and at most {written:,} to write{cost}; about {time} "
        f"if {arguments.concurrency} requests are answered at once with {TOKENS_PER_SECOND} tokens "
        "a second each. What the gate rejects is asked for again and adds to this. "
        f"{_beside_the_budget(arguments, requests, read, log)}Nothing was sent."
    )


def _beside_the_budget(arguments: argparse.Namespace, requests: int, read: int, log: RequestLog | None) -> str:
    """Tell what earlier runs have spent, and which limits do not suffice even if every answer were empty."""
    from datasets_scripts.llm.request_log import Usage

    usage = log.usage() if log else Usage()
    answered = log.statuses().get("answered", 0) if log else 0
    told = (
        f"{log.path} holds {answered:,} answers of earlier runs, which are not asked for again; they took "
        f"{usage.requests:,} requests and {usage.prompt_tokens + usage.completion_tokens:,} tokens. "
        if log
        else ""
    )
    left = max(0, requests - answered)
    prompt, budget = usage.prompt_tokens + read * left // max(1, requests), _budget(arguments)
    least = {
        "--max-requests": (usage.requests + left, budget.requests),
        "--max-tokens-total": (prompt + usage.completion_tokens, budget.tokens),
        "--max-cost": (budget.cost(prompt, usage.completion_tokens), budget.money),
    }
    short = [
        f"{option} {limit:g}" for option, (needed, limit) in least.items() if limit is not None and needed > limit
    ]
    return told + (f"This is more than {' and '.join(short)}: the run would stop there. " if short else "")


def _budget(arguments: argparse.Namespace) -> Budget:
    from datasets_scripts.llm.endpoint import Budget

    return Budget(arguments.max_requests, arguments.max_tokens_total, arguments.max_cost, tuple(arguments.prices))
