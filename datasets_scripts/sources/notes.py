# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Views of a patient's documents: the text that a model may read.

A discharge summary is written when everything is known: its hospital course and its lists of diagnoses name the
labels. The `admission` view keeps only sections about the time before and at admission.
"""

import itertools
import re

from datasets_scripts.sources.heading_words import COURSE, LATER, tables
from datasets_scripts.sources.language_sections import SectionHeadings
from datasets_scripts.sources.sections import split_sections
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


# Notes other than discharge summaries are about the admission when they were stored up to this many hours after it.
ADMISSION_HOURS = 24
# Kinds of documents that are written when the patient leaves.
_SUMMARY = re.compile(
    r"discharge|\bd/?c[ _-]?(?:summary|note|letter)|^ds$"
    r"|(?:death|hospital|transfer|final|inpatient|stay)[ _-]?(?:summary|letter)",
    re.IGNORECASE,
)


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


def hours_of(view: str | float) -> float | None:
    """Return up to which hour after ICU admission a view reads documents of known times; `None`: of no such hour."""
    if isinstance(view, str):
        return ADMISSION_HOURS if view == "admission" else None
    return view


def parse_sections(text: str, view: str | float) -> tuple[str, ...] | None:
    """
    Read the names of `--sections`, separated by commas, or `none`; `None` stands for `all` that there are.

    Raises:
        ClinRaGenInputError: if the view reads none.
    """
    if text == "all":
        return () if hours_of(view) is None else None
    names = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    if names and hours_of(view) is None:
        raise ClinRaGenInputError(f"--sections {text}: the note view paper reads none; give admission or as-of=HOURS")
    return names


def note_text(documents: list[dict], view: str | float, headings: SectionHeadings | None = None) -> str:
    """
    Return the text that a model may read.

    Args:
        documents (list of `dict`): `kind`, `text`, `rank` (their order), `hour` (from when it is known, hours since
            ICU admission, `None` where the source does not tell) and `origin`: `"note"`, `"document"` for what only
            the view `as-of` reads, or `"section"` for what `--sections` adds. Items of one kind and rank are joined.
        view: `"admission"`: of a discharge summary the sections about the time up to admission, nothing where it has
            no heading of them; of other notes what was stored within a day of ICU admission. `"paper"`: of a discharge
            summary the brief hospital course, which names the diagnoses. A number: all documents stored that many
            hours after ICU admission or earlier.
        headings (`SectionHeadings`, *optional*): of another language, for the view `"admission"`.

    Returns:
        `str`: `Kind: text` parts, one a line; empty when nothing of the kind was written.
    """
    parts: dict[tuple, dict[str, None]] = {}  # (rank, kind) -> its items, each once
    for document in sorted(documents, key=_order):
        for heading, body in _read(document, view, headings):
            text = " ".join((body or "").split())
            if text:
                parts.setdefault((document["rank"], heading), {})[text] = None
    return "\n".join(f"{heading}: {'; '.join(items)}" for (_, heading), items in parts.items())


def _order(document: dict) -> tuple:
    hour = document["hour"]
    return document["rank"], document["kind"], float("inf") if hour is None else hour, document["text"] or ""


def notes_left_out(documents: list[dict], view: str | float, headings: SectionHeadings | None = None) -> int:
    """Count the discharge summaries of which a view reads nothing, because they have no heading of its sections."""
    if not isinstance(view, str):
        return 0
    written = [d for d in documents if d["origin"] == "note" and (d["text"] or "").strip()]
    summaries = [document for document in written if _is_summary(document, view, headings)]
    return sum(not any(body.strip() for _, body in _read(document, view, headings)) for document in summaries)


def unknown_headings(documents: list[dict], headings: SectionHeadings) -> int:
    """Count the headings of discharge summaries that are in no list, and end a section about the admission."""
    texts = [d["text"] or "" for d in documents if d["origin"] == "note" and _is_summary(d, "admission", headings)]
    return sum(
        not section.known and before.name != LATER
        for text in texts
        for before, section in itertools.pairwise(headings.split(text))
    )


def _read(document: dict, view: str | float, headings: SectionHeadings | None) -> list[tuple[str, str]]:
    """Return what a view reads of one document: headings and text."""
    hour = document["hour"]
    if not isinstance(view, str):
        return [(document["kind"], document["text"])] if hour is not None and hour <= view else []
    if document["origin"] == "section":
        read = view == "admission" and hour is not None and hour <= ADMISSION_HOURS
        return [(document["kind"], document["text"])] if read else []
    if document["origin"] != "note":
        return []
    if not _is_summary(document, view, headings):
        late = view == "admission" and hour is not None and hour > ADMISSION_HOURS
        return [] if late else [(document["kind"], document["text"])]
    if headings is not None and view == "admission":
        read = [section for section in headings.split(document["text"] or "") if section.name != LATER]
        return [(section.name, _without_rules(section.body)) for section in read]
    return [
        (section, _without_rules(body))
        for section, _, body in split_sections(document["text"] or "")
        if section != LATER and (section == COURSE) == (view == "paper")
    ]


def _is_summary(document: dict, view: str, headings: SectionHeadings | None) -> bool:
    """Return whether a document is a discharge summary, by its kind or, if of no known time, by its headings."""
    if _SUMMARY.search(document["kind"] or ""):
        return True
    if headings is not None:
        return headings.is_summary(document["kind"], document["text"], document["hour"] is not None)
    if view != "admission" or document["hour"] is not None:
        return False
    headings = [(section, heading.lower()) for section, heading, _ in split_sections(document["text"] or "")]
    return any(section == COURSE or (section == LATER and "discharge" in heading) for section, heading in headings)


def _without_rules(body: str) -> str:
    """Remove lines of dashes and the like, and what a transcription leaves of a line end after a heading."""
    return re.sub(r"(?m)^[ \t]*[-=~_*#+]{4,}[ \t]*$", "", body).lstrip(" ,\t\n")


def strip_as_the_release(text: str) -> str:
    """Remove digits and stop words, as the original release feeds its model."""
    words, stops = re.sub(r"\d+", " ", text).split(), tables()["stop_words"]
    return " ".join(word for word in words if word.lower().strip(".,;:") not in stops)
