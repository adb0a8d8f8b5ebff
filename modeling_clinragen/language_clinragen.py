# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Notes and rationales in another language: its closed-class words, channel words and levels are rewritten as the English
phrases that the readers know, and their findings are mapped back to spans of the original text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from .layout_clinragen import joints, plain_blanks
from .shapes_clinragen import LANGUAGE, fault_of


if TYPE_CHECKING:  # the claims module imports numpy, which note views do not need
    from .claims_clinragen import Claim


# sentence template -> its fields
SENTENCES = {
    "note": ("finding", "diagnosis"),
    "named": ("finding",),
    **dict.fromkeys(("high", "low"), ("channel", "value", "diagnosis")),
    **dict.fromkeys(("rising", "falling"), ("channel", "first", "last", "diagnosis")),
    "unexplained": ("diagnoses",),
    "nothing": (),
}
_MARK = "\u0300-\u036f"  # combining marks: "a" and a mark are another spelling of "ä"
_LETTER = rf"[\w{_MARK}]"
_MARKED = re.compile(rf"[A-Za-z][{_MARK}]+|[^\x00-\x7f]")
_STOP = r"\.\s*"  # "z.B." and "z. B."


@dataclass(frozen=True)
class Rewritten:
    """
    A text rewritten for the English readers.

    Args:
        text (`str`): the rewritten text.
        original (`str`): the text as written.
        pieces (`tuple`): for each rewritten piece, in order, its start and end in `text` and in `original`.
    """

    text: str
    original: str
    pieces: tuple[tuple[int, int, int, int], ...] = ()

    def back(self, start: int, end: int) -> tuple[int, int]:
        """Map a span of `text` to the original; a rewritten piece is always mapped as a whole."""
        return self._place(start, at_end=False), self._place(end, at_end=True)

    def _place(self, place: int, at_end: bool) -> int:
        find = bisect_left if at_end else bisect_right
        number = find(self.pieces, place, key=lambda piece: piece[0]) - 1
        if number < 0:
            return place
        _, last, start, end = self.pieces[number]
        if place < last or (at_end and place == last):
            return end if at_end else start
        return place - last + end

    def words(self, start: int, end: int) -> str:
        """Return the original of a span of `text`."""
        return self.original[slice(*self.back(start, end))]

    def restored(self, claims: Iterable[Claim], note: Rewritten | None = None) -> list[Claim]:
        """
        Return claims of `text` with the words and spans of the original.

        Args:
            note (`Rewritten`, *optional*): the note that the claims' `spans` refer to.
        """
        if not (self.pieces or (note and note.pieces)):
            return list(claims)
        return [self._restored(claim, note) for claim in claims]

    def _restored(self, claim: Claim, note: Rewritten | None) -> Claim:
        start, end = self.back(claim.start, claim.end)
        spans, quote = claim.spans, claim.quote
        if note is not None and spans:
            quote = f"{quote.partition(': ')[0]}: {note.words(*spans[0])}"
            spans = [note.back(*span) for span in spans]
        return replace(claim, text=self.original[start:end], start=start, end=end, spans=spans, quote=quote)


class Language:
    """
    Rewrite texts of a language.

    Args:
        description (`dict`, *optional*): `name`; `words`, English phrase -> the words or phrases that mean it, where a
            final `*` stands for any ending; `decimal`, the decimal sign; and `sentences`, a template for each of
            `SENTENCES`. Default: English, which is not rewritten.
    """

    def __init__(self, description: dict | None = None):
        self.description = description or {}
        self.is_english = description is None
        self.sentences: dict[str, str] = self.description.get("sentences") or {}
        forms = [(form, english) for english, forms in self.description.get("words", {}).items() for form in forms]
        forms.sort(key=lambda pair: len(pair[0].rstrip("*")), reverse=True)  # the longest match wins
        by_letter: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for form, english in forms:
            by_letter[_plain_letter(form[0])].append((pattern_of(form), english))
        self.forms = {
            letter: (re.compile("|".join(f"({p})" for p, _ in found), re.IGNORECASE), [word for _, word in found])
            for letter, found in by_letter.items()
        }
        decimal = self.description.get("decimal", ".")
        self.places = re.compile(
            rf"(?P<word>(?<!{_LETTER})[^\W_])|(?P<decimal>(?<=\d){re.escape(decimal)}(?=\d))|(?P<mark>{_MARKED.pattern})"
        )

    @property
    def composes(self) -> bool:
        """Return whether rationales can be composed in this language."""
        return self.is_english or bool(self.sentences)

    def read(self, text: str) -> Rewritten:
        """
        Rewrite the known words of a text, and letters without their marks; the rest stays as it is. Of English, join
        the lines that only the page has broken, and doubled blanks.
        """
        return _rewritten(self, text)

    def english(self, text: str) -> str:
        """Return a text rewritten for the English readers."""
        return self.read(text).text

    def _match(self, place: re.Match) -> re.Match | None:
        """Return the match of a known word or phrase that begins at a place."""
        forms = self.forms.get(_plain_letter(place[0][0])) if place["word"] else None
        return forms and forms[0].match(place.string, place.start())

    def replacements(self, text: str) -> Iterator[tuple[int, int, str, bool]]:
        """Yield start and end of each piece to rewrite, its replacement, and whether it is one of `words`."""
        done = 0
        for place in self.places.finditer(text):
            start = place.start()
            if start < done:
                continue
            match = self._match(place)
            if match:
                done = match.end()
                new = self.forms[_plain_letter(place[0][0])][1][match.lastindex - 1]
                yield start, done, new + (" " if text[done : done + 1].isalnum() else ""), True
            elif place["decimal"]:
                yield start, place.end(), ".", False
            elif marked := _MARKED.match(text, start):
                done = marked.end()
                yield start, done, _without_mark(marked[0]), False

    def word_for(self, english: Iterable[str]) -> str | None:
        """Return the first word of the language, without `*`, for any of some English phrases."""
        words = self.description.get("words", {})
        plain = (form for phrase in english for form in words.get(phrase, ()) if not form.endswith("*"))
        return next(plain, None)


@lru_cache(maxsize=256)  # a note is rewritten for its findings, its terms and each sentence about it
def _rewritten(language: Language, text: str) -> Rewritten:
    parts, pieces, length, done = [], [], 0, 0
    original, text = text, plain_blanks(text)
    replacements = (
        ((*joint, " ", False) for joint in joints(text)) if language.is_english else language.replacements(text)
    )
    for begin, end, new, _ in replacements:
        if new == text[begin:end]:
            continue
        start = length + begin - done
        parts += [text[done:begin], new]
        length, done = start + len(new), end
        pieces.append((start, length, begin, end))
    return Rewritten("".join([*parts, text[done:]]), original, tuple(pieces))


def pattern_of(form: str) -> str:
    """Return the pattern of a word or phrase, with any spaces between words and both spellings of marked letters."""
    plain = unicodedata.normalize("NFC", form.rstrip("*").strip())
    pattern = "".join(map(_pattern_of_letter, plain)).replace(r"\.\s*\s+", _STOP).removesuffix(r"\s*")
    ending = rf"{_LETTER}*" if form.endswith("*") else ""
    after = rf"(?!{_LETTER})" if plain[-1].isalnum() else ""
    return rf"(?<!{_LETTER}){pattern}{ending}{after}"


def _pattern_of_letter(letter: str) -> str:
    if letter.isspace():
        return r"\s+"
    if letter == ".":
        return _STOP
    spellings = dict.fromkeys((letter, unicodedata.normalize("NFD", letter), *(("ss",) if letter == "ß" else ())))
    return re.escape(letter) if len(spellings) == 1 else f"(?:{'|'.join(spellings)})"


@lru_cache(maxsize=2**10)
def _plain_letter(letter: str) -> str:
    return unicodedata.normalize("NFD", letter)[0].lower()


@lru_cache(maxsize=2**12)
def _without_mark(letter: str) -> str:
    """Return a letter without marks, "ss" for "ß", nothing for a lone mark; other characters stay as they are."""
    if letter in "ßẞ":
        return "ss"
    if unicodedata.combining(letter[0]):
        return ""
    base = unicodedata.normalize("NFD", letter)[0]
    return base if base.isascii() and base.isalpha() else letter


def fault_of_language(description: object) -> str | None:
    """Return the first fault of a description; `None` if it has none."""
    fault = fault_of(description, LANGUAGE)
    if fault:
        return fault
    for english, forms in description["words"].items():
        blank = next((form for form in forms if not form[:1].isalnum()), None)
        if not english.isascii() or english != english.strip().lower() or not english:
            return f"words: {english!r} is no English phrase in lower case"
        if blank is not None or not forms:
            return (
                f"words: {english!r} stands for {blank!r}, which is no word"
                if forms
                else f"words: {english!r} is empty"
            )
    sentences = description.get("sentences") or {}
    missing = [name for name in SENTENCES if sentences and name not in sentences]
    if missing or not sentences.keys() <= SENTENCES.keys():
        return f"sentences: give {', '.join(SENTENCES)}, or none of them"
    for name, text in sentences.items():
        try:
            text.format(**dict.fromkeys(SENTENCES[name], ""))
        except (KeyError, IndexError, ValueError, AttributeError):
            return f"sentences: {name} may hold {', '.join(f'{{{field}}}' for field in SENTENCES[name]) or 'no field'}"
    return None


ENGLISH = Language()


def language_of(description: dict | None) -> Language:
    """Return the language of a processor or a dataset; English without a description."""
    return ENGLISH if description is None else _cached_language(json.dumps(description))


@lru_cache(maxsize=8)
def _cached_language(description: str) -> Language:
    return Language(json.loads(description))


__all__ = ["ENGLISH", "Language", "Rewritten", "fault_of_language", "language_of"]
