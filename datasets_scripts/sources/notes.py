# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
What of a patient's documents a model may read.

A discharge summary is written when everything is known: its hospital course and its lists of diagnoses name the
labels. The `admission` view keeps only sections about the time before and at admission.
"""

import re

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


# Notes other than discharge summaries are about the admission when they were stored up to this many hours after it.
ADMISSION_HOURS = 24

# Headings as they occur in MIMIC's discharge summaries, without case, punctuation and spaces at the ends.
ADMISSION_SECTIONS = {
    "chief complaint": "Chief complaint",
    "reason for admission": "Chief complaint",
    "history of present illness": "History of present illness",
    "history of the present illness": "History of present illness",
    "present illness": "History of present illness",
    "hpi": "History of present illness",
    "past medical history": "Past medical history",
    "past medical and surgical history": "Past medical history",
    "past history": "Past medical history",
    "pmh": "Past medical history",
    "pmhx": "Past medical history",
    "past surgical history": "Past surgical history",
    "psh": "Past surgical history",
    "family history": "Family history",
    "social history": "Social history",
    "social and family history": "Social history",
    "allergies": "Allergies",
    "allergies to medications": "Allergies",
    "medications on admission": "Medications on admission",
    "admission medications": "Medications on admission",
    "preadmission medications": "Medications on admission",
    "home medications": "Medications on admission",
    "medications prior to admission": "Medications on admission",
    "review of systems": "Review of systems",
    "ros": "Review of systems",
    "physical exam": "Physical exam",
    "physical examination": "Physical exam",
    "physical exam on admission": "Physical exam",
    "physical examination on admission": "Physical exam",
    "admission physical exam": "Physical exam",
    "admission physical examination": "Physical exam",
    "examination": "Physical exam",
    "admission labs": "Admission labs",
    "labs on admission": "Admission labs",
    "admission laboratory data": "Admission labs",
    "laboratory data on admission": "Admission labs",
}
HOSPITAL_COURSE = {
    "brief hospital course",
    "hospital course",
    "brief hospital course by system",
    "hospital course by system",
}

# A heading: at the start of a line, a capital, a few words, a colon. Lines inside a section that look like one
# ("Heart: regular") end no section unless they are among the known headings.
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Za-z/&,\-() ]{1,60}?)[ \t]*:", re.MULTILINE)
_KNOWN_OTHERS = {
    "pertinent results",
    "discharge medications",
    "discharge diagnosis",
    "discharge diagnoses",
    "discharge condition",
    "discharge disposition",
    "discharge instructions",
    "discharge status",
    "discharge exam",
    "discharge labs",
    "discharge physical exam",
    "major surgical or invasive procedure",
    "major surgical or invasive procedures",
    "procedure",
    "procedures",
    "final diagnosis",
    "final diagnoses",
    "primary diagnosis",
    "secondary diagnosis",
    "secondary diagnoses",
    "diagnosis",
    "diagnoses",
    "admission diagnosis",
    "studies",
    "imaging",
    "laboratory data",
    "labs on discharge",
    "transitional issues",
    "followup instructions",
    "follow up",
    "medications on discharge",
    "medications on transfer",
    "active issues",
    "chronic issues",
    "icu course",
    "micu course",
    "assessment and plan",
    "assessment",
    "impression",
    "service",
    "attending",
    "disposition",
    "addendum",
}

# What the release removes from notes: digits, and these words that carry little meaning.
_STOP_WORDS = (
    "a about above after again against all am an and any are as at be because been before being below between "
    "both but by can did do does doing down during each few for from further had has have having he her here "
    "hers him his how i if in into is it its just me more most my no nor not now of off on once only or other "
    "our out over own same she should so some such than that the their them then there these they this those "
    "through to too under until up very was we were what when where which while who whom why will with you "
    "your "
)
STOP_WORDS = frozenset(_STOP_WORDS.split())


def split_sections(text: str) -> list[tuple[str, str]]:
    """
    Cut a document at its headings.

    Returns:
        `(heading, body)` pairs in order; the heading is lower-case without punctuation at its ends, `""` for what
        stands before the first one. Joined again, headings and bodies hold every word of the text.
    """
    cuts = [match for match in _HEADING.finditer(text) if _is_heading(match[1])]
    sections = [("", text[: cuts[0].start()] if cuts else text)]
    for i, match in enumerate(cuts):
        end = cuts[i + 1].start() if i + 1 < len(cuts) else len(text)
        sections.append((_plain(match[1]), text[match.end() : end]))
    return sections


def _plain(heading: str) -> str:
    return " ".join(heading.lower().replace("-", " ").split())


def _is_heading(heading: str) -> bool:
    plain = _plain(heading)
    known = plain in ADMISSION_SECTIONS or plain in HOSPITAL_COURSE or plain in _KNOWN_OTHERS
    return known or plain.startswith("discharge ") or plain.endswith((" diagnosis", " diagnoses", " course"))


def parse_note_view(text: str) -> str | float:
    """
    `"admission"`, `"paper"`, or the hours of `"as-of=HOURS"`.

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
    The text that a model may read.

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
    """What a view reads of one document: headings and text."""
    hour, summary = document["hour"], document["kind"] == "Discharge summary"
    if not isinstance(view, str):
        return [(document["kind"], document["text"])] if hour is not None and hour <= view else []
    if document["origin"] != "note":
        return []
    if not summary:
        late = view == "admission" and hour is not None and hour > ADMISSION_HOURS
        return [] if late else [(document["kind"], document["text"])]
    sections = split_sections(document["text"] or "")
    if view == "admission":
        return [(ADMISSION_SECTIONS[heading], body) for heading, body in sections if heading in ADMISSION_SECTIONS]
    return [("Brief hospital course", body) for heading, body in sections if heading in HOSPITAL_COURSE]


def strip_as_the_release(text: str) -> str:
    """Without digits and stop words, as the original release feeds its model."""
    words = re.sub(r"\d+", " ", text).split()
    return " ".join(word for word in words if word.lower().strip(".,;:") not in STOP_WORDS)
