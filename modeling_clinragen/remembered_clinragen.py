# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A small cache for values that an answer needs several times."""

from collections.abc import Callable, Hashable
from typing import Any


class Remembered(dict):
    """
    Values by key, each made on first use; a full cache is emptied.

    Args:
        make (callable): returns the value of a key.
        most (`int`): maximum number of values.
    """

    def __init__(self, make: Callable[[Any], Any], most: int):
        self.make, self.most = make, most

    def __missing__(self, key: Hashable) -> Any:
        if len(self) >= self.most:
            self.clear()
        self[key] = value = self.make(key)
        return value


__all__ = ["Remembered"]
