# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Findings that a note states in a form instead of a sentence: "Fever: none", "(-) chest pain", "Diabetes (+)",
"cough [x]", "Cough | No", a list under "Pertinent negatives:", and "Edema no edema" of a structured chart.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .phrases_clinragen import any_of, compiled, unfolded
from .words_clinragen import GRAMMAR_WORDS


@dataclass(frozen=True)
class Statement:
    """
    A form that states findings.

    Args:
        start, end (`int`): the span of the findings.
        negated (`bool`): whether they are stated to be absent.
        mark (`tuple[int, int]`): the span of the value, sign or label that states it.
    """

    start: int
    end: int
    negated: bool
    mark: tuple[int, int]


# ---- lines

_BULLET = re.compile(r"\s*(?:[-*•·–]\s|[•·]|\d+[.)]\s)")


def _pieces(text: str, pattern: re.Pattern) -> Iterator[tuple[int, int]]:
    """Yield the spans between the matches of a pattern."""
    start = 0
    for match in pattern.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


# ---- labels of lists

_LABEL_WORDS = unfolded(r"""
    (?:(?:the|pertinent|significant|relevant|ros|all|other|otherwise|patient|pt|he|she|they|is|was|are|were|has|have|had|reports?|endorses
    |symptoms?|signs
    |findings|complaints|features) )*
    """)
_LABEL_ENDS = unfolded(r"""
    (?: (?:(?:any|all|each) )?(?:of )?(?:the )?
    (?:following|symptoms?|findings?|signs?|(?:problems|issues|trouble) with|for|ros|these|below|any))*
    [ \t]*(?:[:–—]|(?:(?<=following)|(?<=these))(?=\n\s*[-*•·])
    |(?:(?<=negatives)|(?<=positives))(?:(?=\s*\n)| (?:includ(?:e|ed|ing)|are|were)\b))
    """)
_LABEL = compiled(
    r"(?m)(?:^|(?<=[.;,:|(]))[ \t]*(?:[-*•][ \t]*)?"
    + _LABEL_WORDS
    + unfolded(r"""
    (?:(?P<minus>[-−](?=\s?:)|\([-−]\)(?=\s?:)
    |negatives?|neg|denie[sd]|denying|denials?|absent|none(?: of(?=\s?:))?|nil|no evidence|(?:does|do|did) not have
    |not (?!(?:denied|absent|excluded|examined|assessed|tested|asked|done|performed|obtained
    |evaluated|checked|available|applicable|known)\b)
    \w+(?: \w+)?|lacking|missing|never had|never|ruled out|excluded
    |(?:diagnoses |conditions )?(?:ruled out|excluded)|excluded diagnoses|considered (?:and|but) (?:excluded
    |ruled out)|rule out
    |less likely|unlikely|without|(?:negative|neg) for
    |no(?: known)?(?: (?:history|hx|evidence|signs|symptoms|complaints)(?: of)?)?)
    |(?P<plus>\+(?=\s?:)|\(\+\)(?=\s?:)
    |positives?|pos|reports?|reported|endorse[sd]|admits(?: to)?|complain(?:s|ed)(?: of)?|present
    |(?:presents|presented) with|positive for|pos for|yes|notes|has|have|had))
    """)
    + _LABEL_ENDS
)
_LIST_ENDS = re.compile(r"\.(?!\d)|\n|;\s*(?=(?:she|he|patient|pt|but|has|had|is|was)\b)|\b(?:but|however|except)\b")
_ITEM_LINE = re.compile(r"\s*(?:[-*•·–+]\s*|\d+[.)]\s*)?[^\s:][^:\n]{0,60}$")
_LINE = re.compile(r"\n([^\n]*)")
_MAX_WORDS = 6  # of an item in a list without bullets


def _lists(text: str) -> Iterator[Statement]:
    labels = list(_LABEL.finditer(text))
    for label, after in itertools.pairwise([*labels, None]):
        end, following = label.end(), after.start() if after else len(text)
        stop = _LIST_ENDS.search(text, end)
        last = min(stop.start() if stop else len(text), following)
        if not text[end:last].strip(" .") and (stop is None or stop[0] == "\n" or last == following):
            last = _end_of_items(text, last, following)
        if text[end:last].strip():
            yield Statement(end, last, label["minus"] is not None, label.span())


def _end_of_items(text: str, start: int, limit: int) -> int:
    """Return the end of the lines below a label that are items of its list."""
    last, bullets = start, None
    for line in _LINE.finditer(text, start, limit):
        is_bullet = bool(_BULLET.match(line[1]))
        if not _ITEM_LINE.match(line[1]) or (bullets is not None and is_bullet != bullets):
            break
        if not is_bullet and len(line[1].split()) > _MAX_WORDS:
            break
        bullets, last = is_bullet, line.end()
    return last


_FAMILY = re.compile(
    r"(?m)^[ \t]*(?:family(?: (?:medical )?(?:history|hx))?|fam(?:ily)? hx|fhx?)[ \t]*[:\-][ \t]*([^\n]*)"
)
_NOTHING = re.compile(
    r"(?m)\s*(?:non-?contributory|unremarkable|unknown|none|nkd?a|no known[a-z ]*|pending)(?:[.;,]|[ \t]*$)"
)
_NEXT_HEADING = re.compile(
    r"(?<=[.;,] )(?:p[ms]hx?|shx?|ros|hpi|meds|medications|allergies|exam"
    r"|(?:past |social |medical |surgical )+(?:history|hx))[ \t]*[:\-]"
    r"|(?<=[.;] )(?!\w*(?:other|ather|sister|aunt|uncle|cousin|parent|sibling|son|daughter|child|ternal)s?\b)"
    r"[a-z][a-z /]{1,25}:"
)
_SOCIAL_AND_FAMILY = re.compile(r"(?m)^[ \t]*social (?:and|&|/) family (?:history|hx)[ \t]*:([^\n]*)")
_SOCIAL = re.compile(
    any_of(r"ethanol|alcohol|smok\w+|tobacco|drugs?|illicit|lives?|living|married|single|work\w*|occup\w+|retired")
)


def _of_the_family(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the items of a chart's social and family history that state no habit: "CAD CAD" is about the family."""
    for first, last in _pieces(text[start:end], _SEMICOLON):
        if not _SOCIAL.search(text, start + first, start + last):
            yield start + first, start + last


_SEMICOLON = re.compile(";")


def family_histories(text: str) -> list[tuple[int, int]]:
    """Return the spans of the text under headings of family history."""
    found = [item for line in _SOCIAL_AND_FAMILY.finditer(text) for item in _of_the_family(text, *line.span(1))]
    return found + list(below(_FAMILY, text))


def below(headings: re.Pattern, text: str) -> Iterator[tuple[int, int]]:
    """Yield the span under each heading: the rest of its line up to another heading, or the items below it."""
    for heading in headings.finditer(text):
        nothing = _NOTHING.match(text, heading.start(1))
        following = _NEXT_HEADING.search(text, heading.start(1), heading.end())
        if nothing:
            end = nothing.end()
        elif not heading[1].strip():
            end = _end_of_items(text, heading.end(), len(text))
        else:
            end = following.start() if following else heading.end()
        yield heading.start(1), end


# ---- signs and boxes

_MINUS_WORDS = r"(?:(?:patient|pt|he|she) )?denie[sd]|n|no|neg(?:ative)?|none|nil|absent|not present"
_PLUS_WORDS = r"y|yes|pos(?:itive)?|present|reported"
_SIGN = re.compile(
    rf"(?P<plus>[(\[{{]\s*(?:\+|x|✓|✔|{_PLUS_WORDS})\s*[)\]}}]|\[1\]|[☑☒✓✔✅⊕])"
    rf"|(?P<minus>[(\[{{]\s*(?:[-−–—_]+|{_MINUS_WORDS})\s*[)\]}}]|\[\s*\]|[\[(]0[\])]|\(\s+\)|[☐□✗✘❌⊖])"
)
_ANY_SIGN = re.compile(r"[(\[{+\-−–☑☒✓✔✅⊕☐□✗✘❌⊖]")
_PLUS_BEFORE = re.compile(r"(?:^|(?<=[\s,;:(/]))\+\s?(?=[a-z])")
_MINUS_BEFORE = re.compile(
    r"(?:^\s*|(?<=[\s,;:(/]))[-−–](?=[a-z])|(?<=[,;:] )[-−–] (?=[a-z])|(?<=\bros )[-−–] (?=for\b)"
)
_MINUS_OR_DASH = re.compile(r"(?:^\s*|(?<=[\s,;:(/]))[-−–]\s?(?=[a-z])")
_SURE_MINUS = re.compile(r"(?:[,;:(/]|\bros)\s*$")
_PLUS_AFTER = re.compile(r"(?<=[a-z])\s?\+(?=[\s,;./)]|$)")
_MINUS_AFTER = re.compile(r"(?<=[a-z])(?:\s?[-−](?=[,;./)]|$)|[-−](?=\s))")
_ALL_MINUS = re.compile(r"[a-z] ?[-−](?:[,;]\s?[a-z][a-z ]{0,24}[a-z] ?[-−])+\s*(?:[.;\n]|$)")  # "fever -, melena -"
_LEADING_MINUS = re.compile(r"^\s*[-−–]\s?(?=[a-z])")
_LETTER = re.compile(r"(?<=[a-z)] )(?:(?P<plus>y)|(?P<minus>n))(?=[\s,]|$)")
_PLUS_LINE = re.compile(r"(?m)^[^\S\n]*\+\s?[a-z]")
_SENTENCE_END = re.compile(r"\.(?!\d)|[;\n]")
_SYSTEMS = compiled(
    r"^\W*(?:"
    + any_of(r"""
    ros|review of systems|general|const(?:itutional)?|heent|card(?:iac|iovascular)?|cv|resp(?:iratory)?|pulm(?:onary)?
    |gi|gu|neuro(?:logic(?:al)?)?|msk|skin|psych|endo(?:crine)?|heme|patient|pt|reports|with|has|and|he|she
    """)
    + r"\W*)*$"
)
_JOINED = re.compile(r"[a-z]/[a-z ]+$")  # "fever/chills/melena (-)"
_SIGN_ENDS = re.compile(
    r"\b(?:but|however|although|except)\b|,\s*(?=(?:no|not|denie[sd]|without|hx|h/o|history|s/p|pmhx?|has|with)\b)"
)


def _signs(text: str) -> Iterator[Statement]:
    in_lines, in_signs = bool(_PLUS_LINE.search(text)), _has_signs_after(text)
    after_plus = False  # "+ for cough; - for melena"
    for start, end in _pieces(text, _SENTENCE_END):
        piece = text[start:end]
        opposed = after_plus and text[start - 1] == ";"
        after_plus = bool(_PLUS_BEFORE.search(piece)) or (opposed and bool(_LEADING_MINUS.match(piece)))
        if not _ANY_SIGN.search(piece):
            yield from _placed_letters(piece, start)
            continue
        bracketed = [(m.start(), m.end(), m["minus"] is not None) for m in _SIGN.finditer(piece)]
        if bracketed:
            yield from _placed(piece, start, bracketed, _stand_before(piece, bracketed))
            continue
        before = _attached(piece, _PLUS_BEFORE, _minus_before(piece, in_lines, opposed))
        if before:
            yield from _placed(piece, start, before, True)
            continue
        after = _attached(piece, _PLUS_AFTER, list(_MINUS_AFTER.finditer(piece)))
        if after and (in_signs or any(not negated for *_, negated in after)):
            yield from _placed(piece, start, after, False)
        else:
            yield from _placed_letters(piece, start)


def _placed_letters(piece: str, offset: int) -> Iterator[Statement]:
    """Yield the findings that are followed by "y" or "n", if a piece has more than one."""
    if " y" not in piece and " n" not in piece:
        return
    letters = [(m.start(), m.end(), m["minus"] is not None) for m in _LETTER.finditer(piece)]
    if len(letters) > 1:
        yield from _placed(piece, offset, letters, False)


def _attached(piece: str, plus: re.Pattern, minus: list[re.Match]) -> list[tuple[int, int, bool]]:
    signs = [(*m.span(), False) for m in plus.finditer(piece)]
    return sorted(signs + [(*m.span(), True) for m in minus])


def _has_signs_after(text: str) -> bool:
    """Return whether signs of a text stand after their findings."""
    return bool(_PLUS_AFTER.search(text) or _ALL_MINUS.search(text))


def _minus_before(piece: str, in_lines: bool, opposed: bool) -> list[re.Match]:
    """Find minus signs; a single sign at the start of a line is a bullet, and between two words a dash."""
    found = list(_MINUS_BEFORE.finditer(piece))
    if _PLUS_BEFORE.search(piece):
        return list(_MINUS_OR_DASH.finditer(piece))
    if opposed and not found:
        return list(_LEADING_MINUS.finditer(piece))
    if in_lines or any(_SURE_MINUS.search(piece[: m.start()]) for m in found):
        return found
    return []


def _stand_before(piece: str, signs: list[tuple[int, int, bool]]) -> bool:
    """Return whether signs stand before their findings, as in "(+) fever", or after them, as in "fever (+)"."""
    lead, tail = piece[: signs[0][0]], piece[signs[-1][1] :]
    first = piece[signs[0][1] :].strip(" )")
    if not first or first.startswith(","):
        return False
    if first.startswith(":") or _SYSTEMS.match(lead):
        return True
    if not tail.strip(" ,.)") or (len(signs) > 1 and all(piece[:s].rstrip().endswith(":") for s, *_ in signs)):
        return False
    return bool(_SYSTEMS.match(lead.rsplit(":", 1)[-1])) or (lead.rstrip().endswith(",") and tail[0] != ",")


def _placed(piece: str, offset: int, signs: list[tuple[int, int, bool]], before: bool) -> Iterator[Statement]:
    stops = [*(start for start, _, _ in signs[1:]), len(piece)]
    last = 0
    for (start, end, negated), stop in zip(signs, stops, strict=True):
        if before:
            turn = _SIGN_ENDS.search(piece, end, stop)
            first, final = end, turn.start() if turn else stop
        else:
            final = len(piece[:start].rstrip(" :=-"))
            marks = ",:" if len(signs) == 1 and _JOINED.search(piece, 0, final) else ",:/"
            first, last = max(last, *(piece.rfind(mark, 0, final) + 1 for mark in marks)), end
        if piece[first:final].strip():
            yield Statement(offset + first, offset + final, negated, (offset + start, offset + end))


# ---- values

_TAIL = unfolded(r"""
    (?: (?:reported|noted|currently|known|today|now|observed|seen|found|recently|documented|elicited|present
    |at present|at this time|heard|\w+ally|overtly|entirely|completely|palpa(?:ted|ble)|appreciated|audible
    |visible|identified|detected|endorsed|described|since \w+|on exam(?:ination)?|to date|at baseline|whatsoever|at all
    |so far))*
    (?: (?:at|in|on|by|since|during|over|per|as of|until|throughout)\b[^,;.|:\n]{0,40})?
    """)
_NO_VALUE = unfolded(r"""
    (?:(?:patient|pt|he|she|all|both) )?(?:none|nil|no|nope|neither|unlikely|improbable|doubtful|ruled out|excluded
    |negative|neg|absent|denie[sd](?: any)?|never|ø
    |not (?:present|reported|noted|seen|found|observed|endorsed|detected|elicited|heard|palpable|appreciated|known)
    |(?:do|did|does)(?: not|n't) (?:report|have|endorse|complain|describe|admit)
    |not (?:at (?:this|present|the)|currently|now|today|recently|any ?more|yet)(?: \w+){0,2}
    |(?:[a-z][a-z-]* ){1,2}neg(?:ative)?
    |no (?:complaints?|history|evidence|growth)|not (?:met|isolated)|false|0/(?:[2-5]|10)|0\+|(?:all |x ?)?(?:0x?|zero)
    |(?<=[:=] )[−–-]|(?<=[:=])[−–-]|(?<=[:=] )0|(?<=[:=])0|n)
    """)
_YES_VALUE = (
    r"(?:(?:all|both) )?(?:yes|y|present|positive|pos|true|reports?|reported|endorse[sd]|noted"
    r"|(?<=[:=] )\++|(?<=[:=])\++)"
)
_VALUE = re.compile(
    r"(?=[\s,?:=|.–—-])(?:[ \t]{0,9}(?:,[ ]?(?=(?:no|yes|n|y|none)\s*(?:;|\n|$))"
    + r"|\?:|\?{2,5}|[:=|?\t]|\.{2,40}|\s-{1,2}\s|[–—]|-(?=(?:none|no|denied|absent|negative)\b(?!-)))"
    + r"[ \t]{0,9}[\"'“]?|(?P<bare>[ \t]{1,9}))"
    + rf"(?:(?P<minus>{_NO_VALUE}){_TAIL}|(?P<plus>{_YES_VALUE}))(?!\w|'\w)[\"'”]?"
    + r"(?=\s*(?:[,;|)(\n]|/\s(?!n\b)|\.(?!\d)|$|\s\s|[a-z][a-z /]{1,30}[:?=])|(?<=0)\s[a-z][a-z ]{1,25} \d(?![\w/]))"
)
_BARE = frozenset(["n", "y", "no", "yes", "none", "nil", "neg", "pos", "0/2", "0/3", "0/4", "0/5", "0/10"])
_ZEROS = frozenset(["0", "0x", "0+", "zero", "x0", "x 0", "x zero", "all 0", "all zero"])
_COUNTED = re.compile(  # "day 0", "PEEP 0", "stage 0": no finding is counted
    any_of(r"""
    days?|pod|hd|hours?|hrs?|h|time|stage|type|class|gravida|para|g|dose|level|to|of|at|by|from|than|least|about|score
    |nihss|psi|curb|q?sofa|apache|mrs|chads\w*|rcri|ciwa|cpis|rass|gcs|peep|cvp|ef|lactate|troponin|fio2|uop|output|rate|drip|x|and|or|vs
    """)
    + "$"
)
_ITEM_EDGE = re.compile(r"[;\n|:]|(?<!\by) / |\.(?!\d)|[?!]")
_PLAIN_PART = re.compile(r"\s*(?:and |or )?[a-z][a-z\-]*(?: [a-z\-]+){0,2}\s*$")
_SAYS_MORE = re.compile(
    any_of(r"present|has|had|with|no|not|denie[sd]|is|was|yes|noted|mild|severe|persists?|reports?")
)
_NAMED_NEGATIVE = re.compile(r"([a-z][a-z-]*(?: [a-z-]+)?) neg")
_MAX_KEY_WORDS = 6


def _values(text: str) -> Iterator[Statement]:
    done = 0
    for value in _VALUE.finditer(text):
        word = value["minus"] or value["plus"]
        if value["bare"] and word not in _BARE and word not in _ZEROS:
            continue
        first = _start_of_key(text, done, value.start(), value["minus"])
        if word in _ZEROS:
            first = max(first, text.rfind("(", first, value.start()) + 1)
        key = text[first : value.start()]
        if value["bare"] and (len(key.rsplit(",")[-1].split()) > 3 or not _BARE.isdisjoint(key.split())):
            continue
        if word in _ZEROS and _COUNTED.search(key.rstrip()):
            continue
        if key.strip() and len(re.split(r"[\s,]+", key.strip())) <= _MAX_KEY_WORDS * (1 + key.count(",")):
            yield Statement(first, value.start(), value["minus"] is not None, value.span())
            named = _NAMED_NEGATIVE.match(word)  # "H. pylori: Helicobacter pylori negative"
            if named:
                start = value.start("minus")
                yield Statement(start, start + named.end(1), True, value.span())
            done = value.end()


def _start_of_key(text: str, done: int, end: int, negative: str | None) -> int:
    """Return the start of the finding that has a value: after the last comma, or the start of its list."""
    edges = list(_ITEM_EDGE.finditer(text, max(done, end - 200), end))
    start = max(done, edges[-1].end() if edges else max(done, end - 200))
    first = max(start, text.rfind(",", start, end) + 1)
    while negative not in (None, "no", "n") and first > start:
        earlier = max(start, text.rfind(",", start, first - 1) + 1)
        part = text[earlier : first - 1]
        if not _PLAIN_PART.match(part) or _SAYS_MORE.search(part):
            break
        first = earlier
    return first


# ---- "Stroke: [ ] yes [x] no"

_BOX = r"(?:[\[(]\s*[x✓✔]?\s*[\])]|[☐□☑☒✓✔✅])"
_CHOICE = re.compile(
    rf"(?P<box>{_BOX})\s?(?P<word>yes|no|present|absent)[ ,/]{{1,4}}{_BOX}\s?(?:yes|no|present|absent)\b"
)
_BLANK = r"_{1,9}x?_{0,9}"
_BLANKS = re.compile(  # "Syncope: Yes_X_ No__"
    rf"(?P<word>yes|no|present|absent)\s?(?P<box>{_BLANK})[ ,/]{{1,4}}(?:yes|no|present|absent)\s?{_BLANK}"
)
_TICKED = re.compile(r"[x✓✔☑☒✅]")


def _choices(text: str) -> Iterator[Statement]:
    done = 0
    for choice in itertools.chain(_CHOICE.finditer(text), _BLANKS.finditer(text)):
        done = done if done <= choice.start() else 0
        key_end = len(text[max(choice.start() - 80, 0) : choice.start()].rstrip(" :?")) + max(choice.start() - 80, 0)
        first = max(done, *(text.rfind(mark, 0, key_end) + 1 for mark in "\n;:|"))
        done = choice.end()
        first_is_no = choice["word"] in ("no", "absent")
        yield Statement(first, key_end, bool(_TICKED.search(choice["box"])) == first_is_no, choice.span())


# ---- "cough / sputum: + / -"

_KEY = r"[a-z][a-z -]{1,30}?"
_MARK = r"(?:[+−-]|yes|no|y|n|pos(?:itive)?|neg(?:ative)?|present|absent|none)"
_PARALLEL = re.compile(
    rf"(?:^|(?<=[\n;.] )|(?<=[\n;]))(?P<keys>{_KEY}(?:\s?/\s?{_KEY})+)\s?[:=]\s?"
    rf"(?P<marks>{_MARK}(?:\s?/\s?{_MARK})+)(?!\w)"
)
_SLASH = re.compile(r"/")


def _parallels(text: str) -> Iterator[Statement]:
    for row in _PARALLEL.finditer(text) if "/" in text else ():
        keys, marks = (list(_pieces(row[name], _SLASH)) for name in ("keys", "marks"))
        if len(keys) == len(marks):
            first = row.start("keys")
            for (start, end), (mark_start, mark_end) in zip(keys, marks, strict=True):
                mark = row["marks"][mark_start:mark_end].strip()
                yield Statement(first + start, first + end, mark[0] in "-−na", row.span("marks"))


# ---- a chart's field with its name repeated in the value

_FIELD = re.compile(
    r"(?:^|[;:\n])[ ]?(?P<key>(?P<root>\w{2,5})\w*(?: \w+){0,3}?) (?P<value>"
    r"(?:no|non|not|without|den(?:ies|ied)|never)[ -](?:\w+ )?(?P=root)\w*"
    r"|(?P=root)\w*(?: \w+){0,3}? (?:absent|negative|none))"
)
_FIELD_OF_ITSELF = re.compile(  # "Dialysis status: not on dialysis"
    r"(?:^|[;\n])[ \t]*(?P<key>(?P<root>\w{3,6})\w*(?: (?:status|use|history|type))?)\s?: ?"
    r"(?:(?:does|is|has|was) )?(?:no longer|no|non|not|never|off)[ -](?:\w+ )?(?P=root)\w*(?=\s*(?:[.,;)\n]|$))"
)


def _fields(text: str) -> Iterator[Statement]:
    for field in _FIELD.finditer(text):
        if field["key"].split()[0] in GRAMMAR_WORDS:  # "known gout, no known stones"
            continue
        yield Statement(*field.span("key"), True, (field.end("key"), field.end("key")))
    for field in _FIELD_OF_ITSELF.finditer(text):
        yield Statement(*field.span("key"), True, (field.end("key"), field.end("key")))


def statements_of_forms(text: str) -> list[Statement]:
    """Return the statements in forms of a lower-case text; for the same finding, the later statement counts."""
    return [*_lists(text), *_signs(text), *_values(text), *_choices(text), *_parallels(text), *_fields(text)]
