# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Find the headings of a discharge summary: alone on a line, before a colon or a dash, or inside a line.

A heading of later sections is found more readily than one of admission sections: a text that ends too early loses
words, one that ends too late tells what a model is to find.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple


COURSE = "Brief hospital course"
LATER = ""
MAX_HEADING_WORDS = 8
WINDOW = 90  # characters before a colon that are looked at

# How sure a heading is that its text tells of the time before admission.
SURE = "sure"
TWICE = "told twice"  # a summary may have the same section for admission and for discharge
FIRST = "first"  # so weakly marked that it counts only before any later section
OF_EXAM = "of an exam"  # a later part of an exam or of labs, nothing elsewhere
# What a later heading says of the sections after it.
AFTER = "after"  # they are of the time after admission
LISTS = "lists"  # so, unless the history is still to come
ASIDE = "aside"  # nothing


class Heading(NamedTuple):
    """A heading at `text[start:end]`; `section` is an admission section, `COURSE` or `LATER`, `role` is as above."""

    start: int
    end: int
    section: str
    role: str
    weak: bool = False  # it ends an admission section, but not the hospital course

    @property
    def is_later(self) -> bool:
        return self.section in (LATER, COURSE)


class Place(NamedTuple):
    """A place for a heading: `text[start:stop]`; `at_line`: only marks and numbers are before it on its line."""

    text: str
    start: int
    stop: int
    at_line: bool


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


_WORD = re.compile(r"[A-Za-z][A-Za-z']*")
_LOWER_WORD = re.compile(r"[a-z][a-z']*")
_SIGNED = re.compile(
    r"\s*\((?:[^()\n]*\b)?(?:Drs?|Prof|Mr|Mrs|Ms|MD|M\.D|DO|NP|PA|RN)\b[^()\n]*\)"
    r"|\s(?:by|per) (?:Drs?|Prof|Mr|Mrs|Ms)\b[^:\n]*"
)
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
# What parts a heading from the words before it.
_BREAK = re.compile(
    r"[\n\t|~;<>\u2022\u00b7\u25aa\u25cf]|:(?!\d)|[.!?)\]}](?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bMrs\.)[\"']?\s+"
    r"|[.:,;)](?=[A-Z])|\s{2,}"
    r"|\s[-\u2013\u2014*=#]+\s|[-=_*#]{3,}|(?<!\[)\*\*(?!\])"
)
_DASHES = re.compile(r"[-\u2013\u2014=>]+[ \t]*")
_COMMA = re.compile(r"(?<=[A-Z]),(?=[A-Z0-9])")  # of transcriptions, whose line ends became commas
_STOP = re.compile(r"\.(?=[\s,]|$)")
_LINE_MARKS = re.compile(r"[\W\d_]*(?:[A-Za-z][.)\]]\s*|[ivxIVX]{1,4}[.)]\s*)?[\W_]*")
_CELL = re.compile(r"(?:[^\n\t| ]| {1,2}(?! ))+")
_FOLLOWING = re.compile(r"[ \t]*[\])*_]*[ \t]*(\S?)")
_CAPITAL = re.compile(r"(?<![A-Za-z])[A-Z][A-Za-z]*")
_SIGNS = re.compile(
    r"(?:^|\n|[.!?][ \t])[ \t]{0,8}(?P<sign>A:(?=[ \t\n])|P:(?=[ \t\n])(?![ \t]{0,4}\d)"
    r"|(?:[Oo]n|[Aa]t|[Bb]y|[Uu]pon) (?:the )?(?:day|time|date) of (?:his |her )?discharge\b"
    r"|(?:[Tt]he )?[Hh]ospital course (?:was|is|has|included|consisted|began)\b"
    r"|(?<=\n)(?:hospital course|discharge (?:diagnos[ei]s|medications|exam|condition)|assessment and plan) "
    r"|(?:(?:Hospital|M?ICU|SICU|CCU|Floor|Ward|Postoperative|Post-op|Clinical) course|Assessment and plan"
    r"|(?:Discharge|D/C) (?:diagnos[ei]s|dx|medications|meds|(?:physical )?exam|labs|vitals|condition|disposition"
    r"|instructions|plan)|(?:Final|Principal) diagnos[ei]s) (?!from |at |of ))"
)
_IN_EXAM = re.compile(
    r"(?:^|\n|[.!?;][ \t])[ \t]{0,8}"
    r"(?P<sign>(?:[Oo]n|[Aa]t|[Uu]pon|[Pp]rior to|[Bb]efore) (?:the )?(?:discharge|d/c|dc)\b)"
)
_OF_DISCHARGE = re.compile(
    r"\W{0,6}(?:(?:up)?on|at|prior to|before|of|day of|time of) (?:the |his |her )?(?:time |day |date |moment )?"
    r"(?:of |to )?(?:the |his |her )?(?:discharge|d/c|dc|transfer)\b",
    re.IGNORECASE,
)


def find_headings(text: str) -> list[Heading]:
    """Return the headings of a text whose line ends are newlines, in order and apart from each other."""
    found = [*_before_separators(text), *_alone(text), *_signs(text)]
    covered = sorted((heading.start, heading.end) for heading in found)
    found += (heading for heading in _in_capitals(text) if not _is_covered(heading, covered))
    return _apart(_turned(text, heading) for heading in found)


def _is_covered(heading: Heading, covered: list[tuple[int, int]]) -> bool:
    i = bisect_right(covered, (heading.start, heading.start)) - 1
    return any(start < heading.end and heading.start < end for start, end in covered[max(i, 0) : i + 2])


def _turned(text: str, heading: Heading) -> Heading:
    """Return an exam "At discharge, …" as the later section that it is."""
    if heading.is_later or not _OF_DISCHARGE.match(text, heading.end):
        return heading
    return heading._replace(section=LATER, role=AFTER)


def _apart(headings: Iterable[Heading]) -> list[Heading]:
    """Order headings; of two that overlap the first stays, as a later section if one of them is."""
    apart: list[Heading] = []
    for heading in sorted(headings, key=lambda h: (h.start, not h.is_later, h.weak, -h.end)):
        if not apart or heading.start >= apart[-1].end:
            apart.append(heading)
        elif heading.is_later and not apart[-1].is_later:
            apart[-1] = apart[-1]._replace(section=heading.section, role=heading.role)
    return apart


# -- before a colon, a dash or a full stop ---------------------------------------------------------------------------


def _before_separators(text: str) -> Iterator[Heading]:
    vocabulary, lowered = tables()["vocabulary"], _lowered(text)
    for kind, stop, end in _separators(text, lowered):
        low = max(0, stop - WINDOW)
        names = _LOWER_WORD.findall(lowered, low, stop)
        known = not vocabulary.isdisjoint(names[-MAX_HEADING_WORDS:])
        if not known and (kind != "colon" or not _may_be_unknown(text, low, stop)):
            continue
        start, at_line = _start_of(text, low, stop)
        begin = _start_of_phrase(text, start, stop, at_line) if kind != "stop" else start
        start, at_line = begin, at_line and begin == start
        head = text[start:stop] if start > low or low == 0 else ""
        meaning = meaning_of(head)
        if meaning is None and kind != "colon":
            continue
        style = style_of(head)
        if meaning and FITS[kind](Place(text, start, stop, at_line), meaning, style):
            if meaning.num_known < meaning.num_words:  # "Past medical history of asthma and:"
                end = list(_WORD.finditer(text, start, stop))[meaning.num_known - 1].end()
            weak = not at_line and style not in ("caps", "title")
            yield Heading(_with_marks(text, start) if at_line else start, end, meaning.section, meaning.role, weak)
        elif meaning is None and kind == "colon" and _is_unknown_heading(text, start, head, style, at_line):
            yield Heading(start, end, LATER, ASIDE, weak=True)
        elif known and kind == "colon":
            yield from _at_the_end(text, low, stop, names)


def _start_of_phrase(text: str, start: int, stop: int, at_line: bool = True) -> int:
    """Return where the known heading before `stop` begins; the words before it, as in "COPD Plan", are text."""
    whole = meaning_of(text[start:stop])
    if (whole and whole.exact) or not (whole or text.count(" ", start, stop) >= MAX_HEADING_WORDS):
        return start
    words, known = list(_WORD.finditer(text, start, stop)), tables()
    names, first = [word[0].lower() for word in words], len(words)
    for i in range(max(0, len(words) - 7), len(words) - 1):
        head = text[words[i].start() : stop]
        section = known["sections"].get(plain(head))
        spelled = style_of(head) in ("caps", "title") or (section in (LATER, COURSE) and names[-1] in CORE)
        if section is not None and spelled:
            first = i
            break
    if first == len(words):  # "Labs on Discharge"
        while first and names[first - 1] in known["heading_words"]:
            first -= 1
        while first < len(words) - 1 and names[first] in known["small_words"]:
            first += 1
        head = text[words[first].start() : stop] if first < len(words) - (1 if at_line else 0) else ""
        meaning, styles = meaning_of(head), ("caps", "title") if at_line else ("caps", "title", "sentence")
        if not meaning or not (meaning.strong or (meaning.is_later and not at_line)) or style_of(head) not in styles:
            return start
    while first and names[first - 1] in known["modifiers"] and text[words[first - 1].end()] in " /-":
        first -= 1
    return words[first].start() if first and not known["modifiers"].issuperset(names[:first]) else start


def _may_be_unknown(text: str, low: int, stop: int) -> bool:
    return text[stop - 1 : stop].isupper() or "\n\n" in text[low:stop] or "#" in text[low:stop]


def _lowered(text: str) -> str:
    """Return a text in lower case, letter by letter."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _separators(text: str, lowered: str) -> Iterator[tuple[str, int, int]]:
    """Find colons but those of "5:30", dashes but those of "X-ray", commas for line ends, full stops: kind, span."""
    stop = text.find(":")
    while stop >= 0:
        if not (text[stop - 1 : stop].isdigit() and text[stop + 1 : stop + 2].isdigit()):
            yield "colon", stop, stop + 1
        stop = text.find(":", stop + 1)
    for match in _DASHES.finditer(text):
        before, dashes = text[match.start() - 1 : match.start()], match[0]
        if before.isspace() or dashes[-1] in " \t" or dashes[0] in "\u2013\u2014" or dashes[1:2] in ("-", "="):
            begin = match.start() - (before in (" ", "\t"))
            if text[begin - 1 : begin].strip():
                yield "dash", begin, match.end()
    for match in _COMMA.finditer(text):
        yield "dash", match.start(), match.end()
    endings = tables()["endings"]
    for match in _STOP.finditer(text):
        last = lowered[max(0, match.start() - 20) : match.start()].split()[-1:]
        if last and last[0] in endings:
            yield "stop", match.start(), match.end()


def _start_of(text: str, low: int, stop: int) -> tuple[int, bool]:
    """Return where a heading before `stop` begins, and whether only marks and numbers stand before it on its line."""
    start, last = low, stop - 1
    while last > low and not text[last].isalpha():
        last -= 1
    for match in _BREAK.finditer(text, low, last + 1):
        start = match.end()
    start = max(start, text.rfind("\n", low, stop) + 1)
    begin = max(text.rfind(mark, low, start) for mark in "\n\t|") + 1
    at_line = (begin > low or low == 0) and _LINE_MARKS.fullmatch(text, begin, start) is not None
    while start < stop and not text[start].isalpha():
        start += 1
    return start, at_line


def _with_marks(text: str, start: int) -> int:
    """Return where the marks before a heading begin: `**`, `3.`, `#`."""
    begin = max(text.rfind(mark, max(0, start - WINDOW), start) for mark in "\n\t|") + 1
    return max(begin, start - WINDOW)


def _fits_colon(place: Place, meaning: Meaning, style: str) -> bool:
    words = plain(place.text[place.start : place.stop]).split()
    if (meaning.exact or style in ("caps", "title")) and " ".join(words) not in tables()["alone"]:
        return meaning.num_words <= MAX_HEADING_WORDS
    alone = place.at_line and place.text[place.stop + 1 : place.stop + 3].lstrip(" \t*_")[:1] in ("", "\n")
    if meaning.listed or meaning.exact:
        return alone
    if meaning.is_later and not _is_heading_of_sentence(meaning, words):
        return False
    if meaning.is_later and not meaning.strong and not tables()["telling_words"].isdisjoint(words):
        return False  # "Labs notable for:", in the emergency room
    if place.at_line and style == "sentence":
        return meaning.num_words <= MAX_HEADING_WORDS
    if not meaning.strong:
        return meaning.is_later and meaning.num_words <= (3 if style == "sentence" else 2 if place.at_line else 0)
    return meaning.num_words <= (6 if alone or style == "sentence" else 4 if place.at_line else 3)


def _fits_dash(place: Place, meaning: Meaning, style: str) -> bool:
    spelled = style in ("caps", "title")
    short = meaning.num_words <= (6 if meaning.strong or spelled else 3)
    fuzzy = meaning.is_later and (meaning.strong or place.at_line) and short and not meaning.listed
    told = style == "sentence" and meaning.is_later and meaning.num_words > 1 and meaning.strong
    if plain(place.text[place.start : place.stop]) in tables()["alone"]:
        return False
    return (spelled or place.at_line or told) and (meaning.exact or fuzzy)


def _fits_stop(place: Place, meaning: Meaning, style: str) -> bool:
    several, told = meaning.num_words > 1, not _is_shouting(place.text, place.start)
    if several and meaning.exact:
        return style in ("caps", "title") or place.at_line
    return style == "caps" and meaning.strong and not meaning.listed and told and (several or meaning.exact)


FITS = {"colon": _fits_colon, "dash": _fits_dash, "stop": _fits_stop}


def _is_unknown_heading(text: str, start: int, head: str, style: str, at_line: bool) -> bool:
    """Tell whether "GROSS DESCRIPTION:", "# Sepsis:" or, after an empty line, "Clinical Trajectory:" is a heading."""
    if at_line and text[max(0, start - 2) : start].strip() == "#":
        return tables()["exam_words"].isdisjoint(plain(head).split())
    if " " not in head or not _is_unknown(head):
        return False
    if style == "caps":
        return not _is_shouting(text, start)
    return style == "title" and at_line and text[max(0, start - 20) : start].rstrip(" \t*#").endswith("\n\n")


def _is_heading_of_sentence(meaning: Meaning, words: list[str]) -> bool:
    """Tell whether "His discharge medications were:" begins a section: "A course of steroids was given:" does not."""
    return (
        words[0] not in tables()["sentence_words"]
        or meaning.section == COURSE
        or not {"discharge", "diagnosis", "diagnoses", "assessment"}.isdisjoint(words)
    )


def _at_the_end(text: str, low: int, stop: int, names: list[str]) -> Iterator[Heading]:
    """Find a heading that ends the words before a colon without anything that parts it from them."""
    known, names = tables(), names[-7:]
    if names[-1] not in known["last_words"] and known["strong"].isdisjoint(names):
        return
    words = list(_WORD.finditer(text, low, stop))[-7:]
    if text[words[-1].end() : stop].strip(" \t*_'\"])"):
        return
    for i, word in enumerate(words):
        head = text[word.start() : stop]
        if "\n\n" in head or re.search(r"[.;:!?]\s", head):
            continue
        meaning, style = meaning_of(head), style_of(head)
        if meaning is None:
            continue
        later, spelled = meaning.is_later, style in ("caps", "title")
        enough = meaning.num_words >= 2 or (spelled and meaning.strong)
        if not enough or not (spelled or (later and meaning.exact)):
            continue
        if not later and known["strong"] & set(names[max(0, i - 4) : i]):
            meaning = meaning._replace(section=LATER, role=AFTER)
        yield Heading(word.start(), stop + 1, meaning.section, meaning.role)
        return


def _signs(text: str) -> Iterator[Heading]:
    """Find "A:" and "P:" of a note by problems, and sentences that begin to tell of the hospital course."""
    for match in _SIGNS.finditer(text):
        yield Heading(match.start("sign"), match.end("sign"), LATER, AFTER, weak=True)
    for match in _IN_EXAM.finditer(text):
        yield Heading(match.start("sign"), match.end("sign"), LATER, OF_EXAM, weak=True)


# -- alone on a line or in a cell ------------------------------------------------------------------------------------


def _alone(text: str) -> Iterator[Heading]:
    for cell in _short_cells(text):
        head = _SIGNED.sub("", cell[0]).rstrip(" \t*_=~#-:.\"')]")
        head = head[_LINE_MARKS.match(head).end() :]
        heading = _lone_heading(text, cell, head) if head[:1].isalpha() and ":" not in head else None
        if heading is not None:
            yield heading


def _short_cells(text: str) -> Iterator[re.Match]:
    """Find the lines, and the columns of lines, that have no more words than a heading."""
    start = 0
    for line in text.split("\n"):
        end = start + len(line)
        if line.strip().count(" ") <= MAX_HEADING_WORDS + 2 or "\t" in line or "|" in line or "   " in line:
            for cell in _CELL.finditer(text, start, end):
                if len(cell[0]) <= 2 * WINDOW and cell[0].strip().count(" ") <= MAX_HEADING_WORDS + 2:
                    yield cell
        start = end + 1


def _lone_heading(text: str, cell: re.Match, head: str) -> Heading | None:
    """Return the heading that a cell is, `None` where it is none."""
    meaning, ended = meaning_of(head), cell[0].rstrip()[-1]
    if ended != ":" and (meaning is None or _is_table_head(head, 0)):
        return None
    style, dot = style_of(head), ended == "." and not cell[0].rstrip().endswith("..")
    if meaning is None:
        unknown = style in ("caps", "title") and _is_unknown(head) and _is_apart(text, cell)
        return Heading(cell.start(), cell.end(), LATER, ASIDE, weak=True) if unknown else None
    if plain(head) in tables()["alone"]:
        fits = style != "lower" and _is_apart(text, cell)
    elif meaning.exact:
        fits = style != "lower" or (meaning.num_words > 1 and (meaning.is_later or _is_apart(text, cell)))
    else:
        fits = (
            ended not in ";,"
            and (
                not meaning.listed
                or (style == "caps" and _is_apart(text, cell) and not _is_shouting(text, cell.start()))
            )
            and _is_short(meaning, style, head, lambda: _is_apart(text, cell))
        )
        fits = fits and not (dot and (meaning.num_words > 2 or not meaning.strong or not _is_apart(text, cell)))
    fits = fits and meaning.num_words <= MAX_HEADING_WORDS
    return Heading(cell.start(), cell.end(), meaning.section, meaning.role) if fits else None


def _is_short(meaning: Meaning, style: str, head: str, is_apart: Callable[[], bool]) -> bool:
    """Tell whether a line is so short, for its spelling, that it is rather a heading than a part of a sentence."""
    known, words = tables(), plain(head).split()
    if words[0] in known["complaint_words"]:
        return False
    if style in ("caps", "title"):
        return meaning.num_words <= (6 if style == "title" else MAX_HEADING_WORDS)
    if not meaning.is_later or words[0] in known["sentence_words"] or words[-1] in known["stop_words"]:
        return False
    if style == "sentence" and words[0] in EXAM | LABS | MEDS and {"discharge", "transfer"} & set(words):
        return True
    if style == "lower" or not meaning.strong:
        return meaning.num_words <= 3 and (meaning.strong or style == "sentence") and is_apart()
    told = (
        meaning.section == COURSE
        or words[-1] in known["later_words"]
        or words[:2] in (["course", "on"], ["course", "in"])
    )
    return meaning.num_words <= 3 or (meaning.num_words <= 5 and told and is_apart())


def _is_apart(text: str, cell: re.Match) -> bool:
    """Tell whether a cell is marked as a heading, or the line before it is empty or ends a sentence."""
    if cell[0].lstrip()[:1] in tuple("#*_="):
        return True
    before = text[max(0, cell.start() - 200) : cell.start()].rstrip(" \t")
    return not before or before.endswith("\n\n") or before.rstrip()[-1:] in ("", *".:;!?-=~_*")


def _is_unknown(head: str) -> bool:
    """Tell whether nothing in a heading says that it belongs to the exam or the history."""
    words = plain(head).split()
    return 0 < len(words) <= 6 and max(map(len, words)) >= 5 and not tables()["exam_words"] & set(words)


# -- in capitals or Title Case, before its text ----------------------------------------------------------------------


def _in_capitals(text: str) -> Iterator[Heading]:
    known = tables()
    bold, first = known["bold"] | known["bold_capitals"], known["first_words"]
    for match in _CAPITAL.finditer(text):
        word = match[0].lower()
        if word not in bold and word not in first:
            continue
        if word in known["bold_capitals" if match[0].isupper() else "bold"]:
            yield from _later_run(text, match)
        if word in first:
            yield from _known_phrase(text, match)


def _later_run(text: str, match: re.Match) -> Iterator[Heading]:
    """Find "Hospital Course Treated with …", "PLAN Home": capital words up to one that tells of later sections."""
    start, count = _first_of_run(text, match)
    if (begin := _start_of_phrase(text, start, match.end())) > start:
        start, count = begin, len(_WORD.findall(text, begin, match.end()))
    run, caps = text[start : match.end()], match[0].isupper()
    meaning, (end, section) = meaning_of(run), _longest_phrase(text, start)
    if meaning is None or not meaning.is_later or (end >= match.end() and section not in (None, LATER, COURSE)):
        return
    if (caps and _is_shouting(text, start)) or plain(run).split()[0] in tables()["complaint_words"]:
        return
    if _is_table_head(text, start):
        return
    following = _FOLLOWING.match(text, match.end())[1]
    goes_on = following == "" or following.isupper() or following.isdigit() or following in "-*#•"
    parted, at_line = _is_parted(text, start)
    if caps and count == 1:
        fits = parted
    elif count == 1 and not _CAPITAL.match(text, match.end() + 1):
        fits = at_line and (goes_on or match[0].lower() in ("dispo", "dx"))
    else:
        fits = caps or parted or (goes_on and match[0].lower() in CORE)
    if fits:
        yield Heading(start, match.end(), meaning.section, meaning.role, weak=not caps or count == 1)


def _is_table_head(text: str, start: int) -> bool:
    """Tell whether a line is "Diagnosis Date Noted", the head of a table inside a section."""
    words = plain(text[start : start + WINDOW].partition("\n")[0]).split()
    return len(words) > 1 and tables()["table_words"].issuperset(words)


def _first_of_run(text: str, match: re.Match) -> tuple[int, int]:
    """Return where the capital words before and with `match` begin, and their number."""
    start, count = match.start(), 1
    before = list(_WORD.finditer(text, max(0, start - 60), start))
    for word in reversed(before[-5:]):
        gap = text[word.end() : start]
        capital = word[0].isupper() if match[0].isupper() else word[0][0].isupper()
        abbreviated = match[0].isupper() or not word[0].isupper() or len(word[0]) <= 5
        if not (re.fullmatch(r" ?[/&,\-(]? ?", gap) and abbreviated) or not (
            capital or word[0].lower() in tables()["small_words"]
        ):
            break
        start, count = (word.start(), count + 1) if capital else (start, count)
        if not capital:
            break
    return start, count


def _known_phrase(text: str, match: re.Match) -> Iterator[Heading]:
    """Find "HISTORY OF PRESENT ILLNESS Three days of …", "ALLERGIES Penicillin": a known phrase before its text."""
    end, section = _longest_phrase(text, match.start())
    if section is None:
        return
    head, shouting = text[match.start() : end], _is_shouting(text, match.start())
    (parted, at_line), meaning = _is_parted(text, match.start()), meaning_of(head)
    quiet, several = style_of(head) == "caps" and not shouting, len(plain(head).split()) > 1
    if meaning.is_later:
        if several and (quiet or (parted and not shouting) or not CORE.isdisjoint(plain(head).split())):
            yield Heading(match.start(), end, section, meaning.role)
    elif (quiet and (parted or several)) or (several and (at_line if shouting else parted)):
        sure = parted and quiet and several and meaning.role == SURE
        yield Heading(match.start(), end, section, SURE if sure else FIRST, weak=not sure)


def _longest_phrase(text: str, start: int) -> tuple[int, str | None]:
    """Return the end and the section of the longest known heading that begins here in capitals or Title Case."""
    words = list(_WORD.finditer(text, start, start + 60))[:6]
    names, sections = [word[0].lower() for word in words], tables()["sections"]
    for count in range(len(words), 0, -1):
        head = text[start : words[count - 1].end()]
        section = sections.get(plain(head) if names[0] in ("d", "dc", "f") else " ".join(names[:count]))
        if section is not None and style_of(head) in ("caps", "title") and not re.search(r"[.:;\n]", head):
            return words[count - 1].end(), section
    return start, None


def _is_parted(text: str, start: int) -> tuple[bool, bool]:
    """Tell whether something parts a word from those before it, and whether only marks stand before it on its line."""
    low = max(0, start - WINDOW)
    begin, at_line = _start_of(text, low, start + 1)
    return begin == start, at_line and begin == start


def _is_shouting(text: str, start: int) -> bool:
    """Tell whether the text around is in capitals throughout."""
    around = text[max(0, start - 60) : start + 60]
    return sum(map(str.islower, around)) < 10


# -- words -----------------------------------------------------------------------------------------------------------


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


CORE = {"course", "discharge", "diagnosis", "diagnoses", "assessment"}  # said in capitals, they begin a section
LABS = {"lab", "labs", "laboratory", "laboratories"}
EXAM = {"physical", "exam", "examination", "pe"}
MEDS = {"home", "outpatient", "preadmission", "meds", "medications"}
AT_ADMISSION = {"admission", "admitting", "admit", "initial", "arrival", "presentation"}


def _is_of_a_later_day(words: list[str]) -> bool:
    """Tell whether a heading is "Final exam", "Exam on POD 3" or "Home meds to resume"."""
    known, found = tables(), set(words)
    exam = EXAM | {"vitals", "vital"}
    of_exam = (
        bool(found & exam and found & known["later_days"])
        and found <= exam | known["later_days"] | known["small_words"] | known["day_words"]
    )
    of_meds = words[0] in MEDS and bool(found & {"meds", "medications"} and found & known["changes"])
    return len(words) <= 5 and (of_exam or of_meds)


def _is_of_admission(words: set[str]) -> bool:
    """Tell whether a heading says "exam" or "labs", "admission", and nothing else that matters."""
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
    words = _WORD.findall(head)
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
