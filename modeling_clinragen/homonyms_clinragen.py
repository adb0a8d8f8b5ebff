# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for a disease that mean something else in a phrase: "stroke volume", "diabetes insipidus"."""

from __future__ import annotations

from functools import lru_cache

from .phrases_clinragen import compiled_words


_BEFORE = compiled_words(r"""
    (?:pulmonary|portal|ocular|intraocular|intra-?cranial|intra-?abdominal|abdominal|venous)
    (?: arterial)? hypertension|portal htn|pulm(?:onary)?\.? htn|heat stroke|code stroke
    |white coat hypertension|gestational diabetes|pre-?diabetes|pre-?diabetic|sinus arrhythmia
    |(?:gastric|jejun\w+|intestinal|biliary|femor\w+|fem-?(?:pop|fem|tib)|axillo\w+|aorto\w+|cardiopulmonary) bypass
    |(?:culture|electric|electrical|insulin|thermal|icd) shocks?
    """)
_AFTER = compiled_words(r"""
    diabetes insipidus|(?:dysrhythmia|rhythm|arrhythmia) regular|(?:stroke|shock) (?:prevention|prophylaxis)
    |strokes? (?:volume|work|index|code|unit|alert|team|scale|protocol|center|clinic|service)
    |shock(?:ing)?[ -]?(?:waves?|liver|index|able)
    |(?:sepsis|septic|stemi|cva) (?:alert|protocol|bundle|screen(?:ing)?|work-?up|code|rule[- ]out)
    |pneumonia (?:vaccine|vaccination|prophylaxis|shot)|pneumonia severity index|cva tender(?:ness)?
    """)


@lru_cache(maxsize=64)  # a note is looked up for each of its terms
def _places(lower: str) -> list[tuple[int, int]]:
    return [match.span() for pattern in (_BEFORE, _AFTER) for match in pattern.finditer(lower)]


def names_something_else(lower: str, start: int, end: int) -> bool:
    """Return whether the span of a lower-case text is part of a longer name for something else."""
    return any(first <= start and end <= last and last - first > end - start for first, last in _places(lower))
