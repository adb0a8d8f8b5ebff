# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Words that qualify a finding, without which a note has another finding: of degree, course, site and abnormality.

"Skin turgor good" has no poor skin turgor, and "small pleural effusion" no large one.
"""

from __future__ import annotations

import itertools
import re

from .phrases_clinragen import compiled_words
from .words_clinragen import GRAMMAR_WORDS, MODIFIER_STEMS, content_words, stem, words_of


# Each line: words that qualify a finding of a text, and words by which a note may state the same.
_SAME_MEANING = """
    small tiny little: minimal trace atrophic atrophied atrophy shrunken minor
    large big huge massive extensive: enlarged enlargement sizable sizeable gross giant moderate-to-large
    enlarged: large big enlargement dilated megaly prominent
    dilated: dilation dilatation ectatic enlarged enlargement
    distended: full engorged prominent tense elevated raised bulging
    poor: poorly decreased diminished reduced impaired inadequate weak low bad tenting worse loss
    dry: tacky parched dehydrated
    prolonged: long prolongation lengthened increased delayed extended
    delayed: sluggish slow slowed prolonged poor
    sluggish: delayed slow slowed
    weak: weakly faint thready diminished decreased poor feeble reduced weakened doppler dopplerable
    irregular: irregularly irregularity
    cool cold: clammy chilly
    warm: hot
    new: newly fresh recent recently acute acutely
    recent recently: new newly yesterday today postop postoperative pod ago status sp fresh days weeks just after
    old: remote prior previous previously past chronic known former healed
    severe severely: massive profound extreme extremely intense critical excruciating marked markedly worst tight
    marked markedly: severe severely significant significantly massive profound
    significant: marked markedly severe severely considerable substantial large massive profound
    mild mildly slight slightly minor: minimal trace low
    moderate: moderately
    acute acutely sudden suddenly: abrupt abruptly new recent today yesterday days hours onset
    chronic: chronically longstanding long history years months home known baseline
    longstanding: long chronic chronically years
    gradual: gradually slow slowly progressive insidious
    progressive worsening worsened: worse worsen progressively progress deteriorating increasing increasingly \
increased declining growing rising escalating gradual
    persistent constant continuous continual: persist persistently ongoing continue continuing unremitting \
refractory still remain steady unrelenting chronic prolonged
    ongoing active: persistent persist constant continue continuing continuous still actively current currently \
remain brisk chronic
    intermittent occasional: intermittently occasionally episodic episode sporadic paroxysmal periodic recurrent wax \
sometimes off comes
    recurrent repeated: recurring recur again multiple frequent many several repeatedly
    frequent: frequently many multiple often numerous
    multiple numerous many: several diffuse frequent repeated bilateral
    permanent: chronic
    paroxysmal: intermittent episodic
    diffuse: diffusely generalized generalised widespread throughout global
    bilateral: bilaterally both bibasilar bibasal biapical bases lungs legs sides all diffuse diffusely
    left: lt lue l
    right: rt rue r
    anterior: anteroseptal anterolateral anteriorly anteroapical
    inferior: inferolateral inferoposterior inferiorly inferoseptal
    lateral: anterolateral inferolateral laterally posterolateral
    posterior: inferoposterior posteriorly posterolateral
    septal: anteroseptal inferoseptal
    first: 1st
    second: 2nd mobitz wenckebach
    third complete: 3rd chb
    rest: resting
    exertion exertional: walking walk stairs ambulation ambulating activity exercise climbing effort moving
    home: chronic outpatient
    raised elevated high increased: rising rise up
    low lowered reduced decreased diminished: fall falling drop down depressed poor
"""
_SIZE_WORDS = "small tiny little large big huge massive extensive enlarged dilated distended"
_RECENT_WORDS = "new recent recently acute acutely sudden suddenly"
_LATELY = compiled_words(r"ago|just|post-?op\w*|pod|s/p|status post|yesterday|today|tonight|last (?:night|week)")
_ENDS_PART = re.compile(r"[,;:]|\.(?!\d)|\b(?:and|or|but|nor|with|without|while|then)\b|\n\s*\n")
_MAX_ITEM = 3  # words of an item of a list


def _alike() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for line in _SAME_MEANING.strip().splitlines():
        heads, _, others = line.partition(":")
        words = frozenset(map(stem, (heads + others).split()))
        found |= dict.fromkeys(map(stem, heads.split()), words)
    return found


_ALIKE = _alike()
QUALIFIERS = frozenset(_ALIKE)
_ALL = frozenset().union(*_ALIKE.values()) | MODIFIER_STEMS
_SIZES = frozenset(map(stem, _SIZE_WORDS.split()))
_RECENT = frozenset(map(stem, _RECENT_WORDS.split()))


def qualifiers_of(finding: str) -> set[str]:
    """Return the stems of the qualifying words of a finding in lower case; none if it has no other words."""
    qualifiers = _stems(finding) & QUALIFIERS
    others = {word for word, *_ in content_words(finding, 0, len(finding))} - qualifiers
    return set(qualifiers) if others else set()


def is_qualified(text: str, sentence: tuple[int, int], place: list[tuple[int, int]], qualifiers: set[str]) -> bool:
    """
    Return whether a note gives a finding the qualifying words of a claim, or words of the same meaning.

    They are in the part of the sentence that has the finding, alone in a part beside it, or at the head of its list:
    "membranes pale and dry", "persistent nausea and vomiting", but not "membranes moist, skin dry".

    Args:
        text (`str`): the note in lower case; `sentence` is the span of the sentence of the finding.
        place (list of `(int, int)`): the spans of the words of the finding.
        qualifiers (set of `str`): as [`qualifiers_of`] returns them.
    """
    wanted = frozenset().union(*(_ALIKE[word] for word in qualifiers))
    core = [(start, end) for start, end in place if wanted.isdisjoint(_stems(text[start:end]))] or place
    parts = _parts(text, *sentence)
    first, last = (next(i for i, part in enumerate(parts) if at <= part[1]) for at in (min(core)[0], max(core)[0]))
    stated = set(_stems(text[parts[first][0] : parts[last][1]]))
    plain = _ALL | GRAMMAR_WORDS | {word for span in core for word in _stems(text[slice(*span)])}
    for beside in (*parts[:first][-1:], *parts[last + 1 :][:1]):
        words = _stems(text[slice(*beside)])
        stated |= words if words <= plain else set()
    if _is_item(text[parts[first][0] : parts[last][1]], text, core) and not qualifiers & _SIZES:
        stated |= _head(text, parts[:first])
    dated = _LATELY.search(text, *sentence)
    return all(not _ALIKE[word].isdisjoint(stated) or (dated and word in _RECENT) for word in qualifiers)


def _parts(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return the spans between the commas and conjunctions of a sentence, without empty ones."""
    cuts = list(_ENDS_PART.finditer(text, start, end))
    edges = zip([start, *(cut.end() for cut in cuts)], [*(cut.start() for cut in cuts), end], strict=True)
    return [(a, b) for a, b in edges if text[a:b].strip()] or [(start, end)]


def _is_item(part: str, text: str, core: list[tuple[int, int]]) -> bool:
    """Return whether a part of a sentence has no content beside a finding."""
    return {word for word, *_ in content_words(part, 0, len(part))} <= {
        word for start, end in core for word in _stems(text[start:end])
    }


def _head(text: str, parts: list[tuple[int, int]]) -> set[str]:
    """Return the qualifying words at the head of the list that the parts before a finding are."""
    found: set[str] = set()
    for start, end in reversed(parts):
        words = [word for word, *_ in content_words(text, start, end)]
        found = set(itertools.takewhile(_ALL.__contains__, words))
        if found or len(words) > _MAX_ITEM:
            break
    return found


def _stems(text: str) -> frozenset[str]:
    """Return the stems of all words of a text in lower case, those of its abbreviations written out."""
    return frozenset(word for word, *_ in (*words_of(text), *content_words(text, 0, len(text))))


__all__ = ["QUALIFIERS", "is_qualified", "qualifiers_of"]
