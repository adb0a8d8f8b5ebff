# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Phrases in a text: look up many in one pass over its words, and compile patterns that span several lines."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator


_WORD = re.compile(r"\w+")


def unfolded(pattern: str) -> str:
    """Join a regular expression that spans several lines, without line breaks and indentation."""
    return "".join(line.strip() for line in pattern.splitlines())


def any_of(pattern: str) -> str:
    """Unfold alternatives, and group them as whole words."""
    return rf"\b(?:{unfolded(pattern)})\b"


def compiled(pattern: str) -> re.Pattern:
    return re.compile(unfolded(pattern))


def compiled_words(pattern: str) -> re.Pattern:
    return re.compile(any_of(pattern))


def lowered(text: str) -> str:
    """Convert a text to lower case, but keep its length: a letter with a longer lower case (İ) stays as it is."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(letter if len(letter.lower()) > 1 else letter.lower() for letter in text)


class PhraseFinder:
    """
    Find phrases as whole words: of overlapping phrases the leftmost, of those with the same start the longest.

    Args:
        phrases (iterable of `str`): in any case; each begins with a letter or a digit.
    """

    def __init__(self, phrases: Iterable[str]):
        self.by_first_word = defaultdict(list)
        for phrase in sorted({p.lower() for p in phrases}, key=len, reverse=True):
            first = _WORD.match(phrase)
            if first:
                self.by_first_word[first[0]].append(phrase)

    def __call__(self, lower: str) -> Iterator[tuple[int, int]]:
        """Yield the span of each phrase in a text in lower case, in order."""
        free = 0  # end of the last phrase
        for word in _WORD.finditer(lower):
            start = word.start()
            for phrase in self.by_first_word.get(word[0], ()) if start >= free else ():
                end = start + len(phrase)
                if lower.startswith(phrase, start) and not (phrase[-1].isalnum() and lower[end : end + 1].isalnum()):
                    yield start, end
                    free = end
                    break
