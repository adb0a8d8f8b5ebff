# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Read what a heading says: its section, whether it is of a later time, and how it is spelled."""

import re
from collections import Counter
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple


COURSE = "Brief hospital course"
LATER = ""
MAX_HEADING_WORDS = 8
# How sure a heading is that its text tells of the time before admission.
SURE = "sure"
TWICE = "told twice"  # a summary may have the same section for admission and for discharge
FIRST = "first"  # so weakly marked that it counts only before any later section
OF_EXAM = "of an exam"  # a later part of an exam or of labs, nothing elsewhere
# What a later heading says of the sections after it.
AFTER = "after"  # they are of the time after admission
LISTS = "lists"  # so, unless the history is still to come
ASIDE = "aside"  # nothing
CORE = {"course", "discharge", "diagnosis", "diagnoses", "assessment"}  # said in capitals, they begin a section
LABS = {"lab", "labs", "laboratory", "laboratories"}
EXAM = {"physical", "exam", "examination", "pe"}
MEDS = {"home", "outpatient", "preadmission", "meds", "medications"}
AT_ADMISSION = {"admission", "admitting", "admit", "initial", "arrival", "presentation"}
WORD = re.compile(r"[A-Za-z][A-Za-z']*")
_BRACKETS = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|_+")
_SHORT = {
    re.compile(r"\bd\s?/\s?c(?:'?ed|'?d|ing)?\b"): "discharge",
    re.compile(r"\bdc\b"): "discharge",
    re.compile(r"\bpredischarge\b"): "pre discharge",
    re.compile(r"\bf\s?/\s?u\b"): "followup",
    re.compile(r"\b(\w+)\(s\)"): r"\1",
    re.compile(r"\[\*\*.*?\*\*\]"): " ",
    # No headings, but complaints.
    re.compile(
        r"\b(vaginal|nasal|ear|eye|aural|purulent|wound|urethral|penile|nipple|bloody|clear|yellow|green|white|foul)"
        r" discharge"
    ): "secretion",
    re.compile(r"\btransfer(red)? (for|from)\b"): "from",
}
_HAS_SHORT = re.compile(r"/|\bdc\b|\(s\)|\[|discharge|transfer")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")


class Meaning(NamedTuple):
    """The meaning of a heading; `exact`: the table has it to the letter; `strong`: a word tells of a later time."""

    section: str
    role: str
    exact: bool
    strong: bool
    listed: bool  # its later words stand in lists of past diseases, too: "Back surgery"
    num_words: int
    num_known: int  # words, from the first, that are the heading; those after them are its text

    @property
    def is_later(self) -> bool:
        return self.section in (LATER, COURSE)


@lru_cache(maxsize=65536)
def meaning_of(head: str) -> Meaning | None:
    """Return what a heading says, `None` where it is none that is known."""
    known, words = tables(), plain(head).split()
    if len(words) > 2 * MAX_HEADING_WORDS or known["vocabulary"].isdisjoint(words):
        return None
    bare = plain(_BRACKETS.sub(" ", head)).split()
    for candidate in (words, bare):
        name = " ".join(candidate)
        if name in known["sections"] and not (known["strong"] & (set(words) - set(candidate))):
            return _meaning(known["sections"][name], name, candidate, exact=True)
    if _is_of_admission(set(words)):
        section = "Admission labs" if set(words) & LABS else "Physical exam"
        return Meaning(section, _role("admission exam", words), False, False, False, len(words), len(words))
    if not known["elsewhere"].isdisjoint(words) and (known["elsewhere"] | known["told_elsewhere"]).issuperset(words):
        return None  # "ED labs", "OSH course": of the history
    if _is_of_a_later_day(words):
        return Meaning(LATER, AFTER, False, True, False, len(words), len(words))
    for count in range(min(len(bare), 6), 1, -1):
        for part in (bare[:count], bare[-count:]):
            section = known["sections"].get(" ".join(part), LATER)
            rest = set(words) - set(part)
            if section not in (LATER, COURSE) and not (known["exam_words"] | known["later_words"]) & rest:
                meaning = _meaning(section, " ".join(part), words)
                return meaning._replace(num_known=count) if part == words[:count] else meaning
    if any(f" {course} " in f" {' '.join(words)} " for course in known["course"]):
        return _meaning(COURSE, "", words)
    return _meaning(LATER, "", words) if known["later_words"] & set(words) else None


def _meaning(section: str, name: str, words: list[str], exact: bool = False) -> Meaning:
    known, later = tables(), section in (LATER, COURSE)
    strong = later and not known["strong"].isdisjoint(words)
    listed = later and not exact and known["listed_words"].issuperset(known["later_words"].intersection(words))
    return Meaning(section, _role(name, words), exact, strong, listed, len(words), len(words))


def _role(name: str, words: list[str]) -> str:
    known, found = tables(), set(words)
    if known["sections"].get(name, LATER) not in (LATER, COURSE):
        return TWICE if name in known["told_twice"] or found & known["unit_words"] else SURE
    strong = found & known["strong"]
    if found & {"addendum", "addenda"}:
        return AFTER
    if not strong - {"discharge", "discharged", "summary"} and found & known["administration"]:
        return ASIDE
    if found & {*known["lists"], "problem"} and not found & {"assessment", "impression", "plan", "course"}:
        return LISTS
    return AFTER if strong or found & {"a", "ap", "rec", "recs"} else ASIDE


def _is_of_a_later_day(words: list[str]) -> bool:
    """Return whether a heading is "Final exam", "Exam on POD 3" or "Home meds to resume"."""
    known, found = tables(), set(words)
    exam = EXAM | {"vitals", "vital"}
    of_exam = (
        bool(found & exam and found & known["later_days"])
        and found <= exam | known["later_days"] | known["small_words"] | known["day_words"]
    )
    of_meds = words[0] in MEDS and bool(found & {"meds", "medications"} and found & known["changes"])
    return len(words) <= 5 and (of_exam or of_meds)


def _is_of_admission(words: set[str]) -> bool:
    """Return whether a heading says "exam" or "labs", "admission", and nothing else that matters."""
    return (
        bool(words & AT_ADMISSION and words & (LABS | EXAM))
        and words <= LABS | EXAM | AT_ADMISSION | tables()["beside"]
    )


def _spelled(word: str) -> str:
    """Return "discharge" for its misspellings, up to two letters lost, doubled or moved."""
    if word[0] != "d" or not 7 <= len(word) <= 11 or word.startswith("discharge"):
        return word
    letters, right = Counter(word), Counter("discharge")
    return "discharge" if ((letters - right) + (right - letters)).total() <= 2 else word


@lru_cache(maxsize=65536)
def plain(head: str) -> str:
    """Return the words of a heading in lower case, abbreviations written out; "HospitalCourse" is two words."""
    head = _CAMEL.sub(" ", head).lower()
    if _HAS_SHORT.search(head):
        for pattern, word in _SHORT.items():
            head = pattern.sub(word, head)
    words = [_spelled(word) for word in re.findall(r"[a-z]+", head)]
    return tables()["squeezed"].get(words[0], words[0]) if len(words) == 1 else " ".join(words)


def style_of(head: str) -> str:
    """Return `"caps"`, `"title"`, `"sentence"` or `"lower"`: how a heading is spelled."""
    words = WORD.findall(head)
    if not words or not words[0][0].isupper():
        return "lower"
    if "".join(words).isupper():
        return "caps"
    small = tables()["small_words"]
    return "title" if all(word[0].isupper() or word in small for word in words) else "sentence"


@cache
def tables() -> dict:
    """Return `note_sections.yaml`: headings with their section, and the words that tell of one."""
    import yaml  # a command reads its note view before anything is imported

    raw = yaml.safe_load(Path(__file__).with_name("note_sections.yaml").read_text(encoding="utf-8"))
    admission = {heading: name for name, headings in raw["admission"].items() for heading in headings}
    sections = admission | dict.fromkeys(raw["later"] + raw["alone"], LATER) | dict.fromkeys(raw["course"], COURSE)
    words = {name: set(text.split()) for name, text in raw["later_words"].items()}
    sets = {name: set(text.split()) for name, text in raw.items() if isinstance(text, str)}
    strong = words["after"] | words["lists"]
    last_words = {heading.split()[-1] for heading in sections}
    squeezed = {heading.replace(" ", ""): heading for heading in sections if len(heading) > 3}
    return sets | {
        "sections": sections,
        "course": raw["course"],
        "told_twice": set(raw["told_twice"]),
        "alone": set(raw["alone"]),
        "parts_of_history": set(raw["parts_of_history"]),
        "lists": words["lists"],
        "strong": strong,
        "squeezed": squeezed,
        "bold": sets["bold_words"],
        "bold_capitals": (strong | words["findings"]) - sets["plain_capitals"] - sets["listed_words"],
        "later_words": strong | words["findings"],
        "first_words": {heading.split()[0] for heading in sections} | {"d", "dc", "f"},
        "last_words": last_words,
        "heading_words": {word for heading in sections for word in heading.split()}
        | strong
        | sets["modifiers"]
        | words["findings"]
        | sets["small_words"],
        "modifiers": sets["modifiers"] | sets["small_words"] | sets["sentence_words"],
        "endings": last_words | strong,
        "vocabulary": last_words | strong | words["findings"] | LABS | EXAM | squeezed.keys() | {"c", "u"},  # d/c, f/u
    }
