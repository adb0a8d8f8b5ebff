# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Remember what an answer needs several times, so that it is made once."""

from collections.abc import Callable, Hashable
from typing import Any


class Remembered(dict):
    """
    Values by key, each made when it is first asked for; when there are many, all are forgotten.

    Args:
        make (callable): gives the value of a key.
        most (`int`): values that are kept.
    """

    def __init__(self, make: Callable[[Any], Any], most: int):
        self.make, self.most = make, most

    def __missing__(self, key: Hashable) -> Any:
        if len(self) >= self.most:
            self.clear()
        self[key] = value = self.make(key)
        return value


__all__ = ["Remembered"]
