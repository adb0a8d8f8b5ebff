# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The language of notes: English, which sections, checkers, knowledge and the template teacher read, or that of a file;
and the check that the notes look like it.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.sources.language_sections import SectionHeadings
from modeling_clinragen.channel_words_clinragen import vocabulary
from modeling_clinragen.clinical_clinragen import CHANNELS, ClinRaGenInputError
from modeling_clinragen.fields_clinragen import did_you_mean
from modeling_clinragen.language_clinragen import Language, fault_of_language
from modeling_clinragen.shapes_clinragen import LANGUAGE


WORD = re.compile(r"[^\W\d_]+")
# Frequent in English notes, even telegraphic ones, and not words of German, French, Spanish, Italian or Dutch.
ENGLISH = frozenset(("the", "and", "with", "for", "from", "has", "are", "not", "by", "this", "that", "which"))
READ = 2000  # characters of each note
FEWEST = 1000  # words needed to estimate a share
LEAST = 0.01  # of the words; 0.036 in the notes of eICU, which are lists of findings, 0.07 in simulated sentences
LEAST_OF_FILE = 0.1  # of the words are rewritten; a quarter in German notes
HEADINGS = {"summaries?": [str], "sections?": {str: [str]}, "ends?": [str], "after?": [str], "parts?": [str]}


def load_language(path: Path) -> dict:
    """
    Read and check a language file.

    Returns:
        `name`, `words`, and if given `decimal` and `sentences`, as [`Language`] takes them; `summaries`, `sections`,
        `ends`, `after` and `parts`, as [`SectionHeadings`] does.

    Raises:
        ClinRaGenInputError: naming the file, the field and what is wrong.
    """
    if not path.is_file():
        raise ClinRaGenInputError(
            f"--language {path}: no such file; copy datasets_scripts/sources/language_german.yaml"
        )
    shape = {**LANGUAGE, **HEADINGS}
    description = read_yaml(path, shape, only_text=True)
    known = [name.rstrip("?") for name in shape]
    for name in description:
        if name not in known:
            raise ClinRaGenInputError(
                f"{path}: no field {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}"
            )
    fault = fault_of_language(description) or _fault_of_words(description) or _fault_of_headings(description)
    if fault:
        raise ClinRaGenInputError(f"{path}: {fault}")
    return description


def _fault_of_words(description: dict) -> str | None:
    """Return the fault of a word with two meanings, if any."""
    meanings: dict[str, str] = {}
    for english, forms in description["words"].items():
        for form in forms:
            first = meanings.setdefault(form.lower(), english)
            if first != english:
                return f"words: {form!r} stands under {first!r} and under {english!r}; write it once"
    return None


def _fault_of_headings(description: dict) -> str | None:
    """Return the fault of headings, if any, such as sections without an end, which could include the diagnoses."""
    if description.get("sections") and not description.get("after"):
        return "after: give the headings of what is written at discharge, such as those of diagnoses and of the course"
    lists = {name: description.get(name) or [] for name in ("ends", "after", "parts")}
    lists |= {f"sections: {name}": headings for name, headings in (description.get("sections") or {}).items()}
    places: dict[str, str] = {}
    for place, headings in lists.items():
        for heading in headings:
            if not heading[:1].isalnum():
                return f"{place}: {heading!r} is not a heading"
            if places.setdefault(heading.lower(), place) != place:
                return f"{place}: {heading!r} stands under {places[heading.lower()]}, too; write it once"
    return None


def headings_of(description: dict | None) -> SectionHeadings | None:
    """
    Return the headings of a language file; `None` for English, which has built-in ones. A word for a measurement, as
    in "Kreatinin: 1,2", is a label within a section.
    """
    if description is None:
        return None
    lists = {name: tuple(description.get(name) or ()) for name in ("summaries", "ends", "after")}
    measured = vocabulary(CHANNELS)
    words = [form for english, forms in description["words"].items() if english in measured for form in forms]
    sections = tuple((name, tuple(headings)) for name, headings in (description.get("sections") or {}).items())
    return SectionHeadings(**lists, sections=sections, parts=(*description.get("parts", ()), *words))


def count_words(note: str, language: Language | None = None) -> Counter:
    """Count the words at the beginning of a note: all, those in `ENGLISH`, and those that a language rewrites."""
    words = WORD.findall(note[:READ].lower())
    counts = Counter({"words": len(words), "English words": sum(word in ENGLISH for word in words)})
    if language is not None:
        found = (note[start:end] for start, end, _, is_word in language.replacements(note[:READ]) if is_word)
        counts["words of the language"] = sum(len(WORD.findall(form)) for form in found)
    return counts


def language_warning(counts: Counter, name: str | None = None) -> str | None:
    """
    Return a warning if notes do not look like their language, by the sum of `count_words`.

    Args:
        name (`str`, *optional*): of the language file; default: English.
    """
    if counts["words"] < FEWEST:
        return None
    if name is not None:
        share = counts["words of the language"] / counts["words"]
        if share >= LEAST_OF_FILE:
            return None
        return (
            f"the notes do not look {name} ({share:.1%} of their words stand in the --language file): findings, "
            "denials and claims are read by its words; add those that the notes use"
        )
    share = counts["English words"] / counts["words"]
    if share >= LEAST:
        return None
    return (
        f"the notes do not look English ({share:.1%} of their words are frequent English ones): sections, negation, "
        "claims, knowledge and the template teacher read English alone, unless --language gives the words of another; "
        "see docs/own_data.md"
    )
