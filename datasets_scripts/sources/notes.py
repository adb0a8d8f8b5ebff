# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Views of a patient's documents: the text that a model may read.

A discharge summary is written when everything is known: its hospital course and its lists of diagnoses name the
labels. The `admission` view keeps only sections about the time before and at admission.
"""

import re

from datasets_scripts.sources.sections import COURSE, LATER, split_sections, tables
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


# Notes other than discharge summaries are about the admission when they were stored up to this many hours after it.
ADMISSION_HOURS = 24


def parse_note_view(text: str) -> str | float:
    """
    Read `"admission"`, `"paper"`, or the hours of `"as-of=HOURS"`.

    Raises:
        ClinRaGenInputError: if it is none of these.
    """
    if text in ("admission", "paper"):
        return text
    try:
        hours = float(text.removeprefix("as-of=")) if text.startswith("as-of=") else -1.0
    except ValueError:
        hours = -1.0
    if not 0 <= hours < float("inf"):
        raise ClinRaGenInputError(f"--note-view is {text!r}; give admission, paper or as-of=HOURS, as in as-of=24")
    return hours


def note_text(documents: list[dict], view: str | float) -> str:
    """
    Return the text that a model may read.

    Args:
        documents (list of `dict`): `kind`, `text`, `rank` (their order), `hour` (from when it is known, hours since
            ICU admission, `None` where the source does not tell) and `origin`: `"note"`, or `"document"` for what only
            the view `as-of` reads. Items of one kind and rank are joined.
        view: `"admission"`: of a discharge summary the sections about the time up to admission; of other notes what
            was stored within a day of ICU admission. `"paper"`: of a discharge summary the brief hospital course,
            which names the diagnoses. A number: all documents stored that many hours after ICU admission or earlier.

    Returns:
        `str`: `Kind: text` parts, one a line; empty when nothing of the kind was written.
    """
    parts: dict[tuple, dict[str, None]] = {}  # (rank, kind) -> its items, each once
    for document in sorted(documents, key=_order):
        for heading, body in _read(document, view):
            text = " ".join((body or "").split())
            if text:
                parts.setdefault((document["rank"], heading), {})[text] = None
    return "\n".join(f"{heading}: {'; '.join(items)}" for (_, heading), items in parts.items())


def _order(document: dict) -> tuple:
    hour = document["hour"]
    return document["rank"], document["kind"], float("inf") if hour is None else hour, document["text"] or ""


def _read(document: dict, view: str | float) -> list[tuple[str, str]]:
    """Return what a view reads of one document: headings and text."""
    hour, summary = document["hour"], document["kind"] == "Discharge summary"
    if not isinstance(view, str):
        return [(document["kind"], document["text"])] if hour is not None and hour <= view else []
    if document["origin"] != "note":
        return []
    if not summary:
        late = view == "admission" and hour is not None and hour > ADMISSION_HOURS
        return [] if late else [(document["kind"], document["text"])]
    sections = [(section, body) for section, _, body in split_sections(document["text"] or "") if section != LATER]
    return [(section, body) for section, body in sections if (section == COURSE) == (view == "paper")]


def strip_as_the_release(text: str) -> str:
    """Remove digits and stop words, as the original release feeds its model."""
    words, stops = re.sub(r"\d+", " ", text).split(), tables()["stop_words"]
    return " ".join(word for word in words if word.lower().strip(".,;:") not in stops)
