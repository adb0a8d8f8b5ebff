# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests to a large language model and its answers, for all kinds of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """
    Args:
        messages (list of `dict`): the chat: `role` and `content`.
        schema (`dict`): JSON schema of the object that is wanted.
        seed (`int`, *optional*): of the sampling, so that the same chat can be repeated; default: the model's.
        narrow (`dict`, *optional*): a stricter schema, for models with constrained decoding.
    """

    messages: list[dict]
    schema: dict
    seed: int | None = None
    narrow: dict | None = None

    @property
    def allowed(self) -> dict:
        """Return the schema for constrained decoding."""
        return self.narrow or self.schema


@dataclass(frozen=True)
class Answer:
    """
    Args:
        value (`dict`, *optional*): the object, valid by the request's schema; `None` if there is none.
        reason (`str`): why there is none: a word or two that can be counted, such as `"no JSON"`; else empty.
        again (`bool`): whether another attempt, with the reason, may succeed.
    """

    value: dict | None
    reason: str = ""
    again: bool = False


Ask = Callable[[Iterable[Request]], Iterator[Answer]]  # one answer per request, in order
