# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Surface realization of composed rationales in another language, by the sentence templates of its file."""

from __future__ import annotations

from collections.abc import Iterable

from .channel_words_clinragen import CHANNEL_WORDS
from .clinical_clinragen import short_name
from .language_clinragen import Language
from .links_clinragen import NoteFinding
from .realization_clinragen import number_of
from .series_findings_clinragen import SeriesFinding


class TemplateRealizer:
    """
    Word sentences by the templates of a language; arguments and methods are those of [`SurfaceRealizer`].

    Args:
        language (`Language`): with `sentences`.
        own (`dict`): diagnosis -> its names in the form in which texts are looked up, in lower case.
    """

    def __init__(self, language: Language, own: dict[str, set[str]]):
        self.language, self.own = language, own

    def note(self, diseases: list[str], findings: list[NoteFinding], *_) -> str:
        """Word a sentence for each finding; a name of the disease itself is stated without an argument."""
        sentences = self.language.sentences
        return " ".join(
            sentences["named" if any(self.is_name(finding, d) for d in diseases) else "note"].format(
                finding=self._text(finding), diagnosis=self._listed(map(short_name, diseases))
            )
            for finding in findings
        )

    def _text(self, finding: NoteFinding) -> str:
        """Return a finding as the note writes it, after the language's word for "suspected" if it is only that."""
        word = self.language.word_for(["suspected", "possible"]) if finding.suspected else None
        return f"{word} {finding.text}" if word else finding.text

    def is_name(self, finding: NoteFinding, disease: str) -> bool:
        """Return whether a finding of the note is a name of the disease itself."""
        return self.language.english(finding.text).lower() in self.own[disease]

    def series(self, diseases: list[str], findings: list[SeriesFinding], *_) -> str:
        """Word a sentence for each finding, with its extreme value, or its first and last value."""
        diagnosis = self._listed(map(short_name, diseases))
        return " ".join(self._of_series(finding, diagnosis) for finding in findings)

    def _of_series(self, finding: SeriesFinding, diagnosis: str) -> str:
        channel = finding.channel
        names = (channel["name"].lower(), *channel.get("words", ()), *CHANNEL_WORDS.get(channel["name"], ()))
        first, value, last = (self._number(finding, place) for place in (0, finding.extreme, -1))
        return self.language.sentences[finding.direction].format(
            channel=self.language.word_for(names) or channel["name"],
            diagnosis=diagnosis,
            first=first,
            value=value,
            last=last,
        )

    def _number(self, finding: SeriesFinding, place: int) -> str:
        return number_of(finding, place).replace(".", self.language.description.get("decimal", "."), 1)

    def unexplained(self, diseases: list[str], *_) -> str:
        """State that nothing in the record points to the diseases."""
        return self.language.sentences["unexplained"].format(diagnoses=self._listed(map(short_name, diseases)))

    def unlisted(self, findings: list[NoteFinding] | list[SeriesFinding], *_) -> str:
        """Word the findings of the note if no diagnosis is listed; for the series, state that there is no evidence."""
        named = [self._text(finding) for finding in findings if isinstance(finding, NoteFinding)]
        return self.language.sentences["named"].format(finding=self._listed(named)) if named else self.nothing()

    def nothing(self, *_) -> str:
        """State that a part has no evidence."""
        return self.language.sentences["nothing"]

    def _listed(self, items: Iterable[str]) -> str:
        *before, last = items
        return f" {self.language.word_for(['and']) or '+'} ".join(filter(None, (", ".join(before), last)))


__all__ = ["TemplateRealizer"]
