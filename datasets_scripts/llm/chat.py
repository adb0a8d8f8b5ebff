# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests to a large language model and its answers, whoever answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """
    Args:
        messages (list of `dict`): the chat: `role` and `content`.
        schema (`dict`): JSON schema of the object that is wanted.
        seed (`int`, *optional*): of the sampling, so that the same chat can be asked again; default: the model's.
        narrow (`dict`, *optional*): a schema within `schema`, for a model that can be kept to it.
    """

    messages: list[dict]
    schema: dict
    seed: int | None = None
    narrow: dict | None = None

    @property
    def allowed(self) -> dict:
        """Return the schema that a model is kept to, where it can be."""
        return self.narrow or self.schema


@dataclass(frozen=True)
class Answer:
    """
    Args:
        value (`dict`, *optional*): the object, complete by the request's schema; `None` where there is none.
        reason (`str`): why there is none: a word or two that can be counted, such as `"no JSON"`; else empty.
        again (`bool`): whether to be told the reason may help the model to answer.
    """

    value: dict | None
    reason: str = ""
    again: bool = False


Ask = Callable[[Iterable[Request]], Iterator[Answer]]  # one answer a request, in order
