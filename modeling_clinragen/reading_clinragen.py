# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Polarity of each position in a text: by its sentence, by a form, or by the word itself."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import lru_cache

from .asides_clinragen import asides, is_aside
from .forms_clinragen import family_histories, statements_of_forms
from .homonyms_clinragen import names_something_else
from .layout_clinragen import unwrapped
from .negation_clinragen import (
    NOT_KNOWN,
    OWN,
    is_about_relatives,
    is_negated,
    is_suspected,
    is_uncertain,
    sentences_of,
)
from .phrases_clinragen import compiled, compiled_words, lowered
from .stopped_clinragen import is_stopped
from .withdrawn_clinragen import is_correction, is_withdrawn
from .words_clinragen import denies_itself


_NON = re.compile(r"\bnon[- ]$")
_NAMED_NON = re.compile(r"st[ -]|insulin\b|small[ -]cell|hodgkin")  # "non-ST elevation" is a name, no denial
_QUERY = re.compile(r"(?:^|[\s(,/-])\?$")  # "? pneumonia", not the end of a question
_REMARK = re.compile(
    r"\((?:i\.?e\b|e\.?g\b|includ|exclud|except|with or without|without or with|for |if |see |do not|such as)[^()]*$"
)
_VERSUS = re.compile(r"\bvs\. ?$")
# the indication of a study, or a list of differential diagnoses: to the next heading
_INDICATION = compiled(r"""
    (?m)^[ \t]*(?:clinical (?:history|information|details|data)|(?:clinical )?indications?(?: for (?:study|exam\w*
    |procedure|test))?|clinical question|question
    |reason for (?:the |this )?(?:exam\w*|study|test|scan|procedure|consult\w*|request|referral)|d+dx
    |differential(?: diagnos[ei]s)?)
    [ \t]*:(?P<body>(?:(?!\n[ \t]*\n|\n[a-z][a-z /&()-]{1,40}:|findings?:|impression:|answer:)[^\0]){0,300})
    """)
_STATED = compiled(r"\b(?:with|w/|s/p|status post|known|history of|hx of|h/o|has|confirmed) (?:[\w-]+,? ){0,4}$")
_COMPLAINT = compiled_words(r"""
    \w*pain|fevers?|cough\w*|dyspnea|sob|shortness of breath|hypox\w+|hypotens\w+|altered|confus\w+|nausea|vomiting
    |weakness
    |headache|syncope|falls?|trauma|\w*bleeding|melena|hematemesis|\w*edema|swelling|intubat\w+|\w*tube|leukocytosis
    |wheez\w+
    |dizz\w+|speech|droop|aphasia|unresponsive|distress|desat\w*|respiratory failure|ventilat\w+|hypoxemia|tachy\w+
    |oliguria
    """)
_OPEN, _ETC = re.compile(r"\([^()]*$"), re.compile(r"[^()\n]*\betc\b")  # "(leak, bleeding, dehiscence, etc.)"

_MAX_BEFORE, _MAX_AFTER = 2000, 500  # characters of a sentence that are read around a position
# a dot that ends no sentence: "Pt. denies any hx. of CHF"
_ABBREVIATION = re.compile(r"\bincl\.|\bhx\.(?= of)|\bpt\.(?= (?:has|had|is|was|with|den|repo|state))")
_SIGN_WORDS = {"∅": "ø", "⌀": "ø", "+ve": "pos", " -ve": " neg", "(-ve": "(neg", "−ve": "neg"}  # of equal length


@lru_cache(maxsize=64)  # a sentence is read for its findings, diagnoses and arguments
def _read(text: str) -> dict:
    """Return the attributes of a `Reading`, shared by all with the same text: only `prose` may be replaced."""
    text = lowered(unwrapped(text))
    for sign, word in _SIGN_WORDS.items():
        text = text.replace(sign, word)
    text = _ABBREVIATION.sub(lambda match: match[0][:-1] + " ", text)
    sentences, forms = sentences_of(text), statements_of_forms(text)
    form_at, prose = [-1] * len(text), list(text)
    for number, form in enumerate(forms):
        form_at[form.start : form.end] = [number] * (form.end - form.start)
        prose[slice(*form.mark)] = ";" * (form.mark[1] - form.mark[0])
    return {
        "text": text,
        "sentences": sentences,
        "starts": [start for start, _ in sentences],
        "families": family_histories(text),
        "asides": asides(text),
        "indications": [match.span("body") for match in _INDICATION.finditer(text)],
        "forms": forms,
        "form_at": form_at,
        "prose": "".join(prose),  # without the marks of forms: in "Fever: none, cough" the cough is not denied
    }


class Reading:
    """
    The polarity of each position in a text.

    Args:
        text (`str`): a note or a rationale; positions are those of the original text.
    """

    def __init__(self, text: str):
        vars(self).update(_read(text))

    def hide(self, names: list[tuple[int, int]]) -> None:
        """Mask names, so that their words negate nothing: "diabetes mellitus without complication" is no denial."""
        prose = list(self.prose)
        for start, end in names:
            prose[start:end] = "x" * (end - start)
        self.prose = "".join(prose)

    def sentence_at(self, place: int) -> tuple[int, int]:
        """Return the span of the sentence at a position; the whole text if it has no sentence."""
        if not self.sentences:
            return 0, len(self.text)
        return self.sentences[max(bisect_right(self.starts, place) - 1, 0)]

    def _scope_at(self, place: int) -> tuple[int, int]:
        """Return the span that decides the polarity of a position: its sentence, or part of a long one."""
        first, last = self.sentence_at(place)
        return max(first, place - _MAX_BEFORE), min(last, place + _MAX_AFTER)

    def is_about_relatives(self, start: int) -> bool:
        """Return whether the text at `start` is about the patient's family."""
        first, last = self._scope_at(start)
        if is_about_relatives(self.text[first:last], start - first):
            return True
        return any(a <= start < b and not OWN.search(self.text, a, start) for a, b in self.families)

    def is_negated(self, start: int, end: int) -> bool:
        """Return whether the text negates the span, withdraws it, or says that the drug is stopped."""
        if is_withdrawn(self.text, start, end) or is_stopped(self.text, start, end):
            return True
        form = self.forms[self.form_at[start]] if self.form_at[start] >= 0 else None
        first, last = self._scope_at(start)
        if form is not None and not form.negated:
            first, last = max(first, form.start), min(last, form.end)
        negated = form is not None and form.negated
        negated = negated or is_negated(self.prose[first:last], start - first, end - first)
        itself = denies_itself(self.text[start:end]) or (self.is_after_non(start) and not self.is_named_non(start))
        return negated != itself

    def is_after_non(self, start: int) -> bool:
        """Return whether "non" is directly before a position."""
        return bool(_NON.search(self.text, max(start - 4, 0), start))

    def is_named_non(self, start: int) -> bool:
        """Return whether a position is within a name that begins with "non", such as "non-ST elevation"."""
        return self.is_after_non(start) and bool(_NAMED_NON.match(self.text, start))

    def says(self, start: int, end: int) -> str:
        """
        Return how the text states a diagnosis or finding: `argues`, `denies`, or `neither` (risks, relatives, words
        used in another sense).
        """
        if names_something_else(self.text, start, end) or self.is_about_relatives(start):
            return "neither"
        if self.is_negated(start, end):
            return "denies"
        return "neither" if self.is_uncertain(start, end) else "argues"

    def is_uncertain(self, start: int, end: int) -> bool:
        """Return whether the span is a risk, a plan, an aside, an example, or used in another sense."""
        if any(a <= start < b for a, b in self.asides) or names_something_else(self.text, start, end):
            return True
        first, last = self._scope_at(start)
        if is_aside(self.text[first:last], start - first, end - first):
            return True
        line = self.text[max(self.text.rfind("\n", 0, start) + 1, start - _MAX_BEFORE) : start]
        if is_uncertain(self.text[first:last], start - first, end - first) or _REMARK.search(line):
            return True
        if NOT_KNOWN.match(self.text, end):
            return True
        return bool(_OPEN.search(line) and _ETC.match(self.text, end, end + _MAX_AFTER))

    def is_correction(self, start: int) -> bool:
        """Return whether what stands at `start` corrects an earlier statement."""
        return is_correction(self.text, start)

    def is_suspected(self, start: int, end: int) -> bool:
        """Return whether the span is only suspected: in its sentence, or as the indication of a study."""
        if _VERSUS.search(self.text, max(start - 5, 0), start):
            return True
        asked = any(a <= start < b for a, b in self.indications)
        if asked and not _STATED.search(self.text, max(start - 60, 0), start):
            return not _COMPLAINT.search(self.text, start, end)
        first, last = self._scope_at(start)
        first -= bool(_QUERY.search(self.text, max(first - 2, 0), first))
        last += self.text.startswith("?", last)
        return is_suspected(self.text[first:last], start - first, end - first)
