# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Malformed sentences of a decoder, regardless of the record: repeated words, and conclusions without a diagnosis."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from .note_claims_clinragen import Mention
from .nouns_clinragen import is_plural
from .phrases_clinragen import compiled_words


_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”")  # the note's own words
_WORD_TWICE = re.compile(r"(?<![\w.])(?!(?:had|that) )(\w+(?:\.\d+)?) \1(?!\w|\.\d)")
_PHRASE_TWICE = re.compile(r"(?<![\w.])(\S+(?: \S+){1,9}),?(?: and| or| but)? \1(?!\w|\.\d)")
_UNIT_ALONE = re.compile(r"[a-z)] (?:/min|/hpf|mmhg|cmh2o|°c|kg|%|[a-zµ]+/d?l)(?!\w)")  # "bradycardia /min"
_CONCLUDES = compiled_words(r"""
    (?:consistent|compatible|in keeping|in line) with|suggest(?:s|ing)?|suggestive of|point(?:s|ing)? (?:to|towards?)
    |argu(?:es?|ing) for|favou?r(?:s|ing)?|support(?:s|ing)?|supportive of|indicat(?:es?|ing)|indicative of
    |(?:typical|characteristic) of|fits?(?! with)
    """)
_NO_FINDING = re.compile(r"(?:,| and| or) the (?:note|record|chart|series)(?=\s*(?:[.,;]|$))")  # "cough and the note"
_NAME_PART = re.compile(r"\b(?:other(?: [a-z]+){0,2}|unspecified|congestive|obstructive) $")  # of another diagnosis
_TWO_VERBS = re.compile(
    r"(?:the )?(?:note|record|chart|history) (?:describes|mentions|records|documents|reports|notes|states|lists)\b"
    r"[^,;:]*?(?<!\bwhich )(?<!\bthat )(?<!\bthis )(?<!\band )(?<!\bas )(?<!\bit )"
    r"\b(?:suggests|points to|supports|argues for|indicates|fits|favors)\b"
)

_MEASURED = re.compile(r"\d(?:\.\d+)? ?(?:/min|mmhg|cmh2o|°c|kg|%|[a-zµ]+/d?l)(?!\w)")
_VERBS = r"(?:is|are|was|were|has|have|had|rose|fell|went|came|began|sank|ran|(?!inspired)[a-z]+ed)"
_VERB_LACKS = re.compile(  # "heart rate up to 128 /min and was 99", at the start or after a comma
    rf"(?:^|, (?:and |while |but )?)(?:(?!{_VERBS}\b)[a-z]+ )+?(?:up to|down to|as low as|as high as|of) [\d.]+"
    r"(?:(?!\b(?:suggest|point|argu|favou?r|support|indicat|fit)s?)[^,;:])*?(?:, and | and (?:[a-z]+ ){0,3}?)"
    r"(?:is|was|has|had|rose|fell|went|peaked|climbed|dropped|ended|reached|stayed|remained)\b"
)
_IS_AND_VERB = re.compile(r"\bis (?:also )?(?:suggests|points to|argues for|favou?rs|supports|indicates|fits)\b")
_PLURAL_AFTER_VERB = re.compile(  # "heart rate was 128 /min, and a fever are in keeping with"
    rf"\b{_VERBS}\b.*(?<!which )(?<!these )(?<!both )(?<!they )\bare (?:in keeping|consistent|compatible) with"
)
_NO_MAIN_VERB = re.compile(  # "in the note, cough and fever, which are in keeping with pneumonia"
    r"in the note, (?:(?!\b(?:is|are|was|were|has|have|had|suggest|point|support|indicate|fit)s?\b)[^.;])*?"
    r", which (?:is|are) (?:in keeping|consistent|compatible) with [^,;]*$"
)
_SAID_TWICE = re.compile(r"\b(\d+(?:\.\d+)?)( [^\s,;]+)? at the (start|end)\b.*\b\1(?: [^\s,;]+)? at the \3\b")
_DISORDERS_OF = re.compile(r"\b(?:complications|disorders) of\b")  # of what is in the name of the diagnosis

_REACH_TO = re.compile(
    r"\b(?:up|down) to [\d.]+(?: [^\s,;]+)? at the start to\b"
)  # "up to 30 /min at the start to 30"
_LOW_SIGNS = "bradycardia|hypotension|hypothermia|hypox[ae]mia|hypoglyc[ae]mia|hypokal[ae]mia|hyponatr[ae]mia"
_HIGH_SIGNS = "tachycardia|fever|tachypn[oe]+a|hyperglyc[ae]mia|hyperkal[ae]mia|hypernatr[ae]mia|leukocytosis"
_WRONG_WAY = re.compile(  # "bradycardia with heart rate up to 73 /min"
    rf"\b(?:{_LOW_SIGNS})\b(?:(?! and )[^,;.])*\bup to \d"
    rf"|\b(?:{_HIGH_SIGNS})\b(?:(?! and )[^,;.])*\b(?:down to|as low as) \d"
)
_PASSIVE_AFTER = re.compile(r" (?:is|are|was|were) (?:also )?(?:suggested|supported|indicated|backed) by\b")
_CLAUSE_BEFORE = re.compile(
    r"(?:^|[,;:(] |\b(?:and|or|while|but|whereas|so|that|the|an?|acute|chronic|possible|likely|also) )$"
)

_MALFORMED = (
    *(_WORD_TWICE, _PHRASE_TWICE, _UNIT_ALONE, _VERB_LACKS, _IS_AND_VERB, _NO_FINDING, _SAID_TWICE),
    *(_REACH_TO, _WRONG_WAY),
)
_ARE_OF_ONE = re.compile(  # "the note describes wheezing, which are in keeping with pneumonia"
    r"the (?:note|record|chart) [a-z]+ (?P<finding>(?:(?! and )[^,;.&])+(?<!s)(?<!data)), which are\b"
)
_FROM_START = (_TWO_VERBS, _NO_MAIN_VERB)


def is_well_formed(sentence: str, part: str, mentions: Sequence[Mention]) -> bool:
    """
    Return whether an English sentence of a rationale is well formed: its conclusions are diagnoses, and it repeats no
    words in a row.

    Malformed are "a low of 90 90%", "which is consistent with a minimum of 71 mmHg", "which fits a low of 63 mmHg and
    sepsis", "a pressure up to 207 mmHg and was 187", "cough and the note", "other lower respiratory failure", and
    "the note describes fever suggests sepsis", and "fits shock and this fits shock".

    Args:
        sentence (`str`): as the decoder wrote it.
        part (`str`): `note` or `lab`: series must conclude a diagnosis, a note may also conclude a finding.
        mentions (list of [`Mention`]): the diagnoses that the sentence names.
    """
    lower = _QUOTED.sub(lambda match: '"' + "x" * (len(match[0]) - 2) + '"', sentence.lower())
    if any(pattern.search(lower) for pattern in _MALFORMED) or any(pattern.match(lower) for pattern in _FROM_START):
        return False
    if (one := _ARE_OF_ONE.match(lower)) and not is_plural(one["finding"]):
        return False
    if lower.count("(") != lower.count(")") or (part == "lab" and _PLURAL_AFTER_VERB.search(lower)):
        return False
    if any(_NAME_PART.search(lower, 0, m.start) or lower.startswith(" and this ", m.end) for m in mentions):
        return False
    if any(_PASSIVE_AFTER.match(lower, m.end) and not _CLAUSE_BEFORE.search(lower, 0, m.start) for m in mentions):
        return False  # "oxygen saturation was lower respiratory failure is supported by"
    starts = {mention.start for mention in mentions}
    if any(name.start() not in starts for name in _DISORDERS_OF.finditer(lower)):
        return False
    found = list(_CONCLUDES.finditer(lower))
    words = Counter(match[0] for match in found)
    ends = [match.start() for match in found[1:]] + [len(lower)]
    return all(
        _concludes_diagnosis(lower[match.end() : end], [m.start - match.end() for m in mentions])
        for match, end in zip(found, ends, strict=False)
        if part == "lab" or words[match[0]] > 1
    )


def _concludes_diagnosis(conclusion: str, starts: list[int]) -> bool:
    """Return whether a conclusion names a diagnosis, at one of the starts, and no measurement before it."""
    within = [start for start in starts if 0 <= start < len(conclusion)]
    return bool(within) and not _MEASURED.search(conclusion[: min(within)])


__all__ = ["is_well_formed"]
