# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims of a text about a note and about diagnoses, aware of negation and of relatives: findings are looked up in the
note, and a mentioned diagnosis is argued for, denied, or neither.

Source: the idea of triggers, their scopes and what ends them is that of NegEx (Chapman W. W. et al., "A Simple
Algorithm for Identifying Negated Findings and Diseases in Discharge Summaries", J Biomed Inform 34, 301-310, 2001);
the lists are this project's own.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from .claims_clinragen import Claim
from .phrases_clinragen import PhraseFinder, any_of, compiled, compiled_words, lowered


_CONSIDERED = re.compile(r"considered,? (?:but|and|yet|then|however)\b")  # what follows is still said of it

# Before a finding: it is absent. The first group is looked for first, since "not ruled out" denies nothing.
_PSEUDO = compiled_words(r"""
    (?:not|never|cannot be|can ?not be|could not be|can't be|hasn't been|not been
    |not yet) (?:fully |entirely |yet |be )?(?:ruled out|excluded)
    |(?:cannot|can't|could not|does not|do not|did not) (?:fully )?(?:rule out|exclude)|not only|not without
    |no doubt|without (?:a )?doubt|not certain(?:ly)?
    |no (?:further |significant |interval )?(?:change|increase|improvement|worsening)
    |without (?:difficulty|improvement|relief|change)|no (?:relief|better)|not (?:improve[ds]?|resolve[ds]?)
    """)
_BEFORE = compiled_words(r"""
    no|not|non|none|never|nor|neither|denie[sd]|deny(?:ing)?|denial of|without|w/o|absence of
    |lack(?:s|ed|ing)?(?: of)?|negative for|free (?:of|from)|rule[sd]? out|excluded?[sd]?|declines
    |unremarkable for|fail(?:s|ed) to (?:show|reveal|demonstrate)|doesn't|didn't|isn't|wasn't|hasn't
    |argues? against|speaks? against|(?:evidence|points?|counts?) against
    |unlikely to (?:be|have|reflect|represent)|less likely|rather than|instead of
    """)
_JUST_BEFORE = re.compile(r"\babsent (?!(?:on|in|at|from|over|bilaterally)\b)(?:(?!and\b|or\b)\w+ ){0,3}$")
# After a finding: it is absent. "X and Y are absent" speaks of both, "X and Y absent" of the last.
_ABSENT = r"""
    absent|denied|negative|(?<!not )excluded|(?<!not )ruled out|unlikely|improbable|less likely|never
    |not (?:present|seen|found|reported|noted|evident|detected|likely|supported|suggested|indicated)
"""
_AFTER = re.compile(
    r"^[\w\s/\-()]{0,40}?"
    + any_of(
        r"""
        x{10,} (?:was |is |then |later |ultimately )*(?:excluded|ruled out|unlikely|dismissed|rejected|not)
        |(?:is|was|has been|been|being) (?:not|absent|denied|negative|excluded|ruled out|unlikely|never|neither)
        |isn't|wasn't|
        """
        + _ABSENT
    )
)
_AFTER_ALL = re.compile(
    r"^[\w\s/\-(),]{0,60}?"
    + any_of(r"""
    (?:are|were|have been) (?:both |all )?(?:not|absent|denied|negative|excluded|ruled out|unlikely|never|neither)
    |aren't|weren't
    """)
)
_ANY_ABSENT = re.compile(any_of(_ABSENT))
_ENDS = re.compile(
    r"[;:.!?\n]|"
    + any_of(
        r"""
        but|however|although|though|yet|except(?: for)?|nevertheless|still|whereas|while|report(?:s|ed|ing)?
        |complain(?:s|ed|ing)?|endors(?:es|ed|ing)|admits?|admitted (?:to|with|for)|positive for|presents?|presented
        |presenting|(?:and|,|who|she|he|patient|pt) (?:has|had|is|was|does have|now|notes?|developed|describes?)
        |developed|(?:supported|suggested|indicated|confirmed|explained|implied) by|experienc(?:es|ed)
        |(?:,|and) with(?! no)|secondary to|apart from|other than|aside from|rather|point(?:s|ed|ing)? to
        |suggest(?:s|ed|ing|ive)?(?: of)?|favou?rs?|is (?:more )?likely
        """,
    )
    + r"|, (?=(?:is|was|has|had|now|reports?)\b)"
)
_NEXT_FINDING = re.compile(r",| and | or ")
_RELATIVE = compiled_words(r"""
    father|mother|brother|sister|son|daughter|parents?|siblings?|uncle|aunt|cousin|grand\w+
    |family history(?: of| is)?|familial|relatives?|fh[x]?|maternal|paternal|wife|husband|spouse|roommate
    """)
_OWN = compiled_words("patient|pt|he|she|himself|herself|personal")
_RISK = compiled_words(r"""
    risk (?:of|for|factors? (?:for|of))|at risk|predispos\w+ to|prophyla\w+(?: against| for)?
    |screen(?:ing|ed)?(?: for)?|monitor(?:ing|ed)? for|watch(?:ed|ing)? for
    |to (?:rule out|exclude|prevent|avoid)|prevent(?:s|ing|ion)?(?: of)?|vaccin\w+ (?:against|for)|if|should
    |work-?up (?:of|for)|evaluat(?:e|ed|ion) for|tested for|whether|could (?:lead to|cause)
    |may (?:lead to|cause)|concern for future|progress(?:ion)? to|leads? to
    """)
_OTHER_SENSE = re.compile(r"\b(?:received|delivered|gave|given|electric|icd|defibrillator)(?: an?| one| \w+)? $")
_RISK_AFTER = re.compile(
    r"^[\w\s\-]{0,12}?"
    + any_of(r"""
    risk|prophylaxis|screen(?:ing)?|vaccin\w+|protocol|risk factors?
    """)
)
INFERENCE = compiled_words(r"""
    (?:which |this |these |that |and |it )?
    (?:all |strongly |together |also |may |would |could |does not |do not )*
    (?:point(?:s|ed|ing)? (?:to|toward|towards|at)|suggest(?:s|ed|ing|ive(?: of)?)?|support(?:s|ed|ing|ive of)?
    |indicat(?:es?|ed|ing|ive of)|fit(?:s|ted|ting)?|consistent with|compatible with|in keeping with
    |argue[sd]? (?:for|against)|arguing (?:for|against)|favou?r(?:s|ed|ing)?
    |rais(?:es?|ed|ing) (?:the |a )?(?:concern|suspicion|possibility|question)(?: of| for)?|confirm(?:s|ed|ing)?
    |explain(?:s|ed|ing)?|impl(?:y|ies|ied)|signif(?:y|ies)|speaks? (?:for|against)|mak(?:es?|ing)
    |reflect(?:s|ed|ing)?|is typical of|are typical of|typical of|characteristic of)
    """)
_PASSIVE = compiled_words(r"""
    (?:is|are|was|were|being|been) (?:further |also |strongly |well )?(?:suggested|supported|indicated|explained
    |confirmed|implied|favou?red|backed|evidenced) by
    """)
_GIVEN = compiled_words(r"""
    given|because of|due to|based on|in view of|owing to|as shown by|as evidenced by
    """)

# Words that carry no finding of their own: grammar, and talk about notes.
_GRAMMAR = """
    a about after all also am an and any are as at be been before being both but by can cannot could current
    currently did do does during each for from further had has have having he her here hers him his how i if in
    into is it its just like many may might more most much my no nor not now of on one only or other our out
    over own per s same she should since so some such t than that the their them then there these they this
    those through to too under until up us very via was we were what when where which while who why will with
    within without would you your patient pt note notes noted document documents documented record recorded
    records chart report reports reported reporting describe describes described mention mentions mentioned
    state states stated tell tells say says according complain complains complained complaint present presents
    presented presenting presence evidence finding findings sign signs symptom symptoms clinical clinically
    history known medical past recent recently admission admitted endorse endorses endorsed deny denies denied
    denial absent absence negative lack lacks rule ruled rules exclude excluded excludes confirm confirms
    confirmed part use still appreciated heard described currently noticed observed list lists listed show shows
    showed shown see seen found find reveal reveals revealed include includes including together along overall
    positive picture prior previous previously ago days day week weeks diagnosis diagnoses
"""
GRAMMAR_WORDS = frozenset(_GRAMMAR.split())
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
# What stands between the findings of an enumeration, and where they were seen.
_CUTS = compiled(r"""
    ,|\b(?:and|or|but|nor|with|without|as well as|plus|while|who|in the setting of|after|of)\b
    |(?:\b(?:on|by|at|in|per) )?\b(?:the |a |an |her |his )?
    (?:chest |physical |abdominal |initial |head |lung |cardiac )?
    (?:exam(?:ination)?s?|films?|x-?rays?|radiographs?|cxr|ct|mri|scan|imaging|ultrasound|ekg|ecg|echo
    |echocardiogram|auscultation|palpation|telemetry)\b
    """)
# How much, how long and where: a finding is the same finding without them.
_MODIFIERS_WORDS = """
    acute chronic severe mild moderate marked significant new recent progressive worsening worsened persistent
    intermittent occasional diffuse bilateral left right upper lower some several daily overnight morning
    constant sudden gradual slight slightly mildly severely markedly ongoing active old known home long
    longstanding large small
"""
_MODIFIERS = frozenset(_MODIFIERS_WORDS.split())


@dataclass(frozen=True)
class Mention:
    """
    One place where a text names a diagnosis.

    Args:
        labels (`frozenset[str]`): the diagnoses that go by that name.
        start, end (`int`): its characters.
        says (`str`): `argues` (the patient has it, or probably), `denies`, or `neither` (relatives, risks, plans).
        inferred (`bool`): `True` where the sentence concludes it, instead of arguing from it.
    """

    labels: frozenset[str]
    start: int
    end: int
    says: str
    inferred: bool


@lru_cache(maxsize=2**12)  # the same sentence is asked about for each of its findings
def _may_negate(sentence: str) -> bool:
    return any(pattern.search(sentence) for pattern in (_BEFORE, _ANY_ABSENT))


@lru_cache(maxsize=2**12)
def _may_be_about_relatives(sentence: str) -> bool:
    return bool(_RELATIVE.search(sentence))


def is_negated(sentence: str, start: int, end: int) -> bool:
    """Tell if a lower-case sentence states that what stands at `start` to `end` is absent."""
    if not _may_negate(sentence):
        return False
    before, after = sentence[:start], sentence[end:]
    masked = _PSEUDO.sub(lambda match: ";" * len(match[0]), before)
    trigger = _last(_BEFORE, masked)
    if (trigger is not None and not _ENDS.search(masked, trigger.end())) or _JUST_BEFORE.search(masked):
        return True
    after = _CONSIDERED.sub(lambda match: "x" * len(match[0]), after)
    stop = _ENDS.search(after)
    rest = after[: stop.start() if stop else len(after)]
    near = _NEXT_FINDING.split(rest, maxsplit=1)[0]
    return not _PSEUDO.search(rest) and bool(_AFTER.search(near) or _AFTER_ALL.search(rest))


def _last(pattern: re.Pattern, text: str) -> re.Match | None:
    """Return the last match of a pattern."""
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def is_about_relatives(sentence: str, start: int) -> bool:
    """Tell if what stands at `start` of a lower-case sentence is stated of the patient's family."""
    if not _may_be_about_relatives(sentence):
        return False
    before = re.split(r"[;.\n]|,? but ", sentence[:start])[-1]
    relative = _last(_RELATIVE, before)
    return relative is not None and not _OWN.search(before, relative.end())


def sentences_of(text: str) -> list[tuple[int, int]]:
    """Return start and end of the sentences of a text, and of the lines and items of a note."""
    return [(m.start(), m.end()) for m in re.finditer(r"(?:[^.;\n!?]|\.(?=\d))+", text)]


def sentence_around(text: str, place: int) -> tuple[int, int]:
    """Return start and end of the sentence of a note in which a place lies."""
    start = max(text.rfind(mark, 0, place) for mark in ".;\n!?") + 1
    stop = _SENTENCE_END.search(text, place)
    return start, stop.start() if stop else len(text)


_SENTENCE_END = re.compile(r"[;\n!?]|\.(?!\d)")


class NoteIndex:
    """
    The words of a note, by sentence, to look findings up in; made once a note.

    Args:
        note (`str`): the patient's note.
    """

    def __init__(self, note: str):
        self.text = lowered(note)
        self.sentences = sentences_of(self.text)
        self.words = []  # (stem, start, end, sentence) of the words that carry findings
        for number, (start, end) in enumerate(self.sentences):
            self.words += [(*word, number) for word in content_words(self.text, start, end)]
        self.positions = defaultdict(list)
        for position, (stem, *_) in enumerate(self.words):
            self.positions[stem].append(position)

    def find(self, stems: list[str]) -> list[list[tuple[int, int, int]]]:
        """
        Find a finding in the note: its words one after the other, else all of them in one sentence, else most.

        Returns:
            For each place the words found there, as start, end and sentence.
        """
        size = len(stems)
        runs = [self.words[p : p + size] for p in self.positions.get(stems[0], ())]
        runs = [run for run in runs if [word[0] for word in run] == stems and run[0][3] == run[-1][3]]
        if runs:
            return [[word[1:] for word in run] for run in runs]
        by_sentence = defaultdict(dict)
        for stem in stems:
            for position in self.positions.get(stem, ()):
                word = self.words[position]
                by_sentence[word[3]].setdefault(stem, word[1:])
        wanted = [stem for stem in stems if stem not in MODIFIER_STEMS] or stems
        needed = len(wanted) if len(wanted) <= 2 else len(wanted) // 2 + 1
        found = {n: [w for stem, w in words.items() if stem in wanted] for n, words in by_sentence.items()}
        most = max((len(words) for words in found.values()), default=0)
        return [words for words in found.values() if len(words) == most] if most >= needed else []

    def polarity(self, words: list[tuple[int, int, int]]) -> str:
        """Return what the note states at one place: `affirmed`, `negated` or `relatives`."""
        first, last = self.sentences[words[0][2]]
        sentence = self.text[first:last]
        if is_about_relatives(sentence, max(start for start, _, _ in words) - first):
            return "relatives"
        return "negated" if any(is_negated(sentence, s - first, e - first) for s, e, _ in words) else "affirmed"


def check_note_claims(text: str, note: str | NoteIndex) -> list[Claim]:
    """
    Check what a text says of a note: each finding that it argues from.

    A finding is `supported` where the note says so too (both affirm it, or both deny it), `contradicted` where the
    note says only the opposite, `unverifiable` where the note does not speak of it in these words.

    Args:
        text (`str`): a rationale; of "X suggests Y" the finding X is checked, Y is a conclusion.
        note (`str` or `NoteIndex`): what the patient's note says.
    """
    index = note if isinstance(note, NoteIndex) else NoteIndex(note)
    lower, claims = lowered(text), []
    for first, last in sentences_of(lower):
        for start, end in _premises(lower, first, last):
            for chunk_start, chunk_end in _chunks(lower, start, end):
                claim = _check_chunk(text, lower, first, last, chunk_start, chunk_end, index)
                if claim:
                    claims.append(claim)
    return claims


def _premises(text: str, first: int, last: int) -> list[tuple[int, int]]:
    """Return the spans of a sentence that it argues from, without the conclusion."""
    sentence = text[first:last]
    passive = _PASSIVE.search(sentence)
    if passive:
        return [(first + passive.end(), last)]
    given = _GIVEN.search(sentence)
    if given:
        comma = sentence.find(",", given.end()) if given.start() < 5 else -1
        return [(first + given.end(), first + comma if comma > 0 else last)]
    inference = INFERENCE.search(sentence)
    if inference and content_words(text, first, first + inference.start()):
        return [(first, first + inference.start())]
    return [(first, last)]


def _chunks(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Split an enumeration into its findings."""
    cuts = list(_CUTS.finditer(text[start:end]))
    edges = [start, *(start + m.end() for m in cuts)], [*(start + m.start() for m in cuts), end]
    return [(a, b) for a, b in zip(*edges, strict=True) if b > a]


def _check_chunk(text, lower, first, last, start, end, index: NoteIndex) -> Claim | None:
    words = content_words(lower, start, end)
    if all(word[0] in _GENERAL for word in words):
        return None
    begin, finish, sentence = words[0][1], words[-1][2], lower[first:last]
    places = index.find([word[0] for word in words])
    said = {index.polarity(place) for place in places}
    if is_about_relatives(sentence, words[-1][1] - first):
        wanted = "relatives"
    else:
        wanted = "negated" if any(is_negated(sentence, s - first, e - first) for _, s, e in words) else "affirmed"
    if wanted in said:
        verdict = "supported"
    else:
        verdict = "contradicted" if said - {"relatives"} else "unverifiable"
    quote = "the note does not speak of it"
    spans = [(min(s for s, _, _ in place), max(e for _, e, _ in place)) for place in places]
    if spans:
        quote = f"{' and '.join(sorted(said))} in the note: {index.text[slice(*spans[0])]}"
    return Claim(text[begin:finish], begin, finish, None, "note", verdict, quote, spans=spans)


class DiagnosisFinder:
    """
    Find where a text names diagnoses, and whether it argues for them.

    Args:
        phrases (`dict`): diagnosis -> its name and synonyms.
    """

    def __init__(self, phrases: dict[str, Iterable[str]]):
        labels_of = defaultdict(set)
        for label, names in phrases.items():
            for name in names:
                labels_of[" ".join(name.lower().split())].add(label)
        self.labels_of = {name: frozenset(labels) for name, labels in labels_of.items()}
        self.find = PhraseFinder(self.labels_of)

    def __call__(self, text: str) -> list[Mention]:
        lower, mentions, sentences = lowered(text), [], _around(text)
        for start, end in self.find(lower):
            first, last = next((a, b) for a, b in sentences if a <= start < b)
            inferred = not any(a <= start < b for a, b in _premises(lower, first, last))
            says = says_of(lower[first:last], start - first, end - first)
            mentions.append(Mention(self.labels_of[lower[start:end]], start, end, says, inferred))
        return mentions


def _around(text: str) -> list[tuple[int, int]]:
    """Return the sentences; a name with a semicolon in it is part of one."""
    return [(m.start(), m.end()) for m in re.finditer(r"(?:[^.\n!?]|\.(?=\d))+", text)]


def says_of(sentence: str, start: int, end: int) -> str:
    clause = re.split(r";|, (?:but|and|however) ", sentence[:start])[-1]
    if is_about_relatives(sentence, start):
        return "neither"
    if is_negated(sentence, start, end):
        return "denies"
    if _RISK.search(clause) or _RISK_AFTER.search(sentence[end:]) or _OTHER_SENSE.search(clause):
        return "neither"
    return "argues"


def words_of(text: str) -> list[tuple[str, int, int]]:
    """Return stem, start and end of all words of a lower-case text."""
    return [(stem(m[0]), m.start(), m.end()) for m in _WORD.finditer(text)]


def content_words(text: str, start: int, end: int) -> list[tuple[str, int, int]]:
    """Return stem, start and end of the words that carry findings."""
    return [(stem(m[0]), m.start(), m.end()) for m in _WORD.finditer(text, start, end) if m[0] not in GRAMMAR_WORDS]


@lru_cache(maxsize=2**16)
def stem(word: str) -> str:
    """Cut the ending of plural, tense or participle; enough to match "crackles" with "crackle"."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4 and not word.endswith(("ss", "us", "is")):
            word = word[: -len(ending)]
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


_GENERAL_WORDS = """
    disease diseases condition conditions disorder disorders nothing alone gives clear listed particular
"""
_GENERAL = frozenset(map(stem, _GENERAL_WORDS.split()))
MODIFIER_STEMS = frozenset(map(stem, _MODIFIERS))
