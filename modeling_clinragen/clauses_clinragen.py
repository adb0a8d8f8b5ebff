# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Clauses of a text about one channel each, and their statements.

A sentence is cut before each mention of a channel. A clause also gets what it shares with its neighbours: a
negation, a time, a predicate, or numbers that are listed apart from their channels.
"""

import itertools
import re
from collections.abc import Iterator

from .channel_words_clinragen import SHORT_NAMES, WordMeaning, vocabulary
from .phrases_clinragen import PhraseFinder, compiled, compiled_words, lowered
from .statements_clinragen import is_negated
from .wordings_clinragen import (
    CONDITION,
    CONDITION_AFTER,
    FEARED,
    FIRST_VALUE,
    GIVEN,
    GOAL,
    GOAL_AFTER,
    HYPOTHETICAL,
    IMPROVED,
    KIN,
    LAST_VALUE,
    LEADING_TIME,
    NOT_NOW,
    PERSISTED,
    RESOLVED,
    SPOKEN_HOURS,
    SUPPOSED,
    WORSENED,
)


MAX_CLAUSE = 600  # characters read around the mention; longer clauses do not occur, and would be slow to read
MAX_LEAD = 60  # characters read for a time at the start of a sentence

_SENTENCE = re.compile(r"(?:\b(?:i\.e|e\.g|vs|approx|temp|resp|max|min)\.(?=,?\s*[a-z\d])|[^.;\n]|\.(?=\d))+")
_JOINT = re.compile(r",|\b(?:and|but|while|whereas|with)\b|(?=\bwithout\b)")
# A conclusion is no statement about the channel; the name of a disease may contain a word such as "lower".
_INFERENCE = compiled_words(r"""
    (?<!in )(?<!on )(?<!at )which|this|suggest\w*|support\w*|indicat\w*|point(?:s|ed|ing)? (?:to|toward)
    |fit(?:s|ting)?|reflect\w*|may reflect|consistent with|compatible with|in keeping with|due to|because
    |argu\w+|favou?r\w*|rais(?:es|ing) (?:concern|suspicion)|impl(?:y|ies|ying)|likely from
    """)
_HYPERTENSION = re.compile(r"hypertension", re.IGNORECASE)
_NOT_BEFORE_SHORT = re.compile(r"['’]$|\d\s*$")  # "don't", "81 mg"
_OWN_TIME = re.compile(r"\d|\b(?:later|then|now|subsequent|after|before|until|never|throughout|remain|stay|developed)")
_OTHER_TIME = compiled_words(r"""
    later|then|now|subsequent\w*|after\w*|before|until|never|throughout|remain\w*|stay\w*|developed|had been|earlier
    |prior|since|always|became
    """)
_BARE_NUMBER = re.compile(r"\W*[a-z][a-z0-9 ]{0,24}?[\s:=]*(?:of |was |is |were |at )*[\d./]+\s?(?:%|[a-z°/]+)?\W*")
_DIGIT = re.compile(r"\d")
_GIVEN_SUBSTANCES = {
    *("Total calcium", "Potassium", "Magnesium", "Albumin", "Bicarbonate", "Glucose", "Sodium", "Phosphate"),
    *("Platelets", "Fraction inspired oxygen"),
}
_GOING_TO = re.compile(r"^(.*?\d.*),\s*([^,;\d]*\b(?:to|now|at|later|then)\s)$")  # "HR 118 and SBP 90, improving to"
_SLASHED = re.compile(r"(?<![\d./])(\d+(?:\.\d+)?)\s?/\s?(\d+(?:\.\d+)?)(?![\d/])")
_SHARE = re.compile(r"(?<![\d.])\d\d(?:\s?[-–]\s?\d\d)?\s?%\s$")  # before "oxygen"
_OF_OXYGEN = re.compile(r"\b(?:on|with|requir\w+|need\w*|at|still|from \d\d\s?% to) \d\d(?:\s?[-–]\s?\d\d)?\s?%\s$")
_CALLED = compiled(r"""
    \b(?:(?:an?|the|any|very|too|markedly|mildly|slightly) )*(?:high|raised|elevated|increased|low|reduced|decreased
    |normal|abnormal|rising|falling|stable) $
    """)
_LISTED = re.compile(r"\d+(?:\.\d+)?%?(?:(?:\s*,\s*|\s*,?\s+and\s+)\d+(?:\.\d+)?%?)+")  # "88 and 126"
_EXCEPT = re.compile(r"\b(?:apart from|except(?: for)?|other than|besides|aside from)\s+(?:the |an? |his |her )?$")
_LEAD_JOINT = re.compile(r"[,:]\s|\b(?:and|but|with|while|whereas)\s")
_ENDING_TIME = re.compile(r"\b(?:on|at|upon) (?:admission|arrival|presentation|discharge)$")
_LEAD_TIME = re.compile(rf"{LEADING_TIME.pattern}|\bhours?\b|\d\s?h\b|\b(?:first|last|initial|day)\b")
_COURSE = re.compile("|".join(pattern.pattern for pattern in (RESOLVED, PERSISTED, IMPROVED, WORSENED)))
_NOTHING = re.compile(  # before "suggests"; "diabetes without complication" is a name
    r"\b(?:no|nothing|not|neither|without(?! (?:mention of )?complications?\b))\b[^,;]*$|n't\b[^,;]*$"
)
_PREDICATE = re.compile(
    r"\s*(?:both |all )*(?:is|are|was|were|has|have|had|did|do|does|persist\w*|could|can)\b[^\d]*$"
)
_EMPTY = re.compile(r"\b(?:and|but|while|whereas|with|the|both|an?|patient's|or)\b")


def _clause_start(text: str, after: int, before: int) -> int:
    """
    Return where the clause of a mention at `before` starts: after the last comma or joining word since `after`, else
    before its attribute, as in "the high potassium".
    """
    lead = lowered(text[max(after, before - MAX_LEAD) : before])
    if _EXCEPT.search(lead):
        return before
    joints = list(_JOINT.finditer(text, after, before))
    if joints:
        return joints[-1].end()
    called = _CALLED.search(lead) or _OF_OXYGEN.search(lead)
    return before - len(called[0]) if called else before


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    """Strip punctuation and joining words from the ends of a clause."""
    while match := _LEADING.match(text, start, end):
        start = match.end()
    while match := _TRAILING.search(text, start, end):
        end = match.start()
    return start, end


_LEADING = re.compile(r"[\s,.;]+|(?:and|but|while|whereas|with)\b\s*")
_TRAILING = re.compile(r"(?:[\s,.;]|\b(?:and|but|while|whereas|with))\Z")


class ClauseReader:
    """
    Cut texts into clauses about one channel each.

    Args:
        channels (list of `dict`): `name`, `unit` and, optionally, `words`.
    """

    def __init__(self, channels: list[dict]):
        self.channels = channels
        self.by_word = vocabulary(channels)
        self._phrases = PhraseFinder(self.by_word)
        self.position = {channel["name"]: i for i, channel in enumerate(channels)}

    def find(self, lower: str) -> Iterator[tuple[int, int]]:
        """Yield the span of each word for a channel in a text in lower case; "t" and "k" only before a value."""
        for start, end in self._phrases(lower):
            short = SHORT_NAMES.get(lower[start:end])
            share = (
                short and short[0] == "Fraction inspired oxygen" and _SHARE.search(lower[max(0, start - 12) : start])
            )
            if short is None or (
                (share or re.match(short[1], lower[end : end + 40]))
                and not _NOT_BEFORE_SHORT.search(lower[max(0, start - 3) : start])
            ):
                yield start, end

    def names_a_channel(self, text: str) -> bool:
        """Return whether the text names a channel; a finding such as "fever" does not name one."""
        lower = lowered(text)
        meanings = (self.by_word[lower[start:end]] for start, end in self.find(lower))
        return any(word.parts and not word.finding for word in meanings)

    def split(self, text: str) -> list[tuple[int, int, tuple[int, int] | None]]:
        """
        Split a text into clauses about one channel each: start, end, and the span of the channel's mention, or `None`.
        A clause without a mention belongs to the preceding one with a mention in the same sentence.
        """
        return [(start, end, mention) for start, end, mention, _ in self._clauses(text)]

    def _clauses(self, text: str) -> list[tuple[int, int, tuple[int, int] | None, int]]:
        """Return the clauses of a text, as `split` does, each with the number of its sentence."""
        clauses, named = [], list(self.find(lowered(text)))
        for number, sentence in enumerate(_SENTENCE.finditer(text)):
            first, last = sentence.span()
            mentions = self._mentions(text, [m for m in named if first <= m[0] < last], lowered(sentence[0]))
            if not mentions:
                clauses.append((*_strip(text, first, last), None, number))
                continue
            lead, first = first, self._lead_end(text, first, mentions[0])
            clauses.append((*_strip(text, lead, first), None, number))
            starts = [first] + [_clause_start(text, a[1], b[0]) for a, b in itertools.pairwise(mentions)]
            starts = [self._after_numbers(text, *pair) for pair in zip(starts, mentions, strict=True)]
            for mention, start, end in zip(mentions, starts, [*starts[1:], last], strict=True):
                own = mention if self._meaning(text, *mention).parts else None
                clauses.append((*_strip(text, start, end), own, number))
        return [clause for clause in clauses if clause[0] < clause[1]]

    def _after_numbers(self, text: str, start: int, mention: tuple[int, int]) -> int:
        """Return where a clause begins: at "on oxygen" itself, as the number in "97% on oxygen" is another's."""
        meaning = self._meaning(text, *mention)
        oxygen = meaning.finding and any(self._unit(name) == "fraction" for name in meaning.channels)
        before = lowered(text[start : mention[0]])
        on = before.endswith("on ") or lowered(text[slice(*mention)]).startswith("on ")
        return mention[0] if oxygen and on and re.search(r"\d", before) else start

    def _unit(self, name: str) -> str:
        return self.channels[self.position[name]].get("unit", "")

    def _lead_end(self, text: str, start: int, mention: tuple[int, int]) -> int:
        """Return where the clause of a sentence's first channel begins: after a negated or measured part before it."""
        lead = lowered(text[start : mention[0]])
        if _EXCEPT.search(lead):
            return mention[0]
        ends = [match.end() for match in _LEAD_JOINT.finditer(lead)]
        if not ends or _LEAD_TIME.search(lead[: ends[-1]]):
            return start
        rest = re.search(r"\d", text[mention[0] : mention[1] + MAX_LEAD])
        colon = ":" in lead[ends[-1] - 2 : ends[-1]]
        denied = is_negated(lead[: ends[-1]]) and (colon or rest or not self._meaning(text, *mention).finding)
        return start + ends[-1] if denied or re.search(r"\d", lead[: ends[-1]]) else start

    def _mentions(self, text: str, named: list[tuple[int, int]], sentence: str) -> list[tuple[int, int]]:
        """Select the mentions of channels that open a claim: no second mention of the same channel in a row."""
        mentions: list[tuple[int, int]] = []
        since = 0  # end of the last mention
        infers = bool(_INFERENCE.search(sentence))
        for start, end in named:
            meaning = self._meaning(text, start, end)
            if infers and meaning.finding and _HYPERTENSION.match(text[start:end]):
                continue
            last = self._meaning(text, *mentions[-1]) if mentions else None
            same = last is not None and bool(last.channels & meaning.channels or last.parts == meaning.parts)
            if same and last.together and not meaning.finding:
                same = False  # the number in "respiratory acidosis (pH 7.24)" is of pH alone
            if not same or _JOINT.search(text, since, start):
                mentions.append((start, end))
            since = end
        return mentions

    def _meaning(self, text: str, start: int, end: int) -> WordMeaning:
        """Return the meaning of a word: its channels and levels."""
        return self.by_word[lowered(text[start:end])]

    def _is_not_stated(self, text: str, start: int, mention: tuple[int, int]) -> bool:
        """Return whether a mention is a goal, a condition, a fear or past: "goal MAP >65", "risk of fever"."""
        before = lowered(text[max(start, mention[0] - MAX_LEAD) : mention[0]])
        after = lowered(text[mention[1] : mention[1] + MAX_LEAD])
        condition = CONDITION.search(before) and CONDITION_AFTER.match(after)
        supposed = FEARED.search(before) or SUPPOSED.search(before) or SUPPOSED.search(after.partition(",")[0])
        past = self._meaning(text, *mention).finding and NOT_NOW.search(before)
        supposed = supposed or HYPOTHETICAL.search(before) or KIN.search(before)
        given = GIVEN.search(before) and not re.match(
            r"[\s:=]*(?:of |was |is |were |had |\w+ed |remain|stay)*[\d<>]", after
        )
        supposed = supposed or (given and self._meaning(text, *mention).channels & _GIVEN_SUBSTANCES)
        return bool(GOAL.search(before) or GOAL_AFTER.match(after) or condition or supposed or past)

    def _stated(self, text: str, clauses) -> list[str]:
        """
        Return the statement of each clause, in lower case: without conclusions, and with what it shares with its
        neighbours ("neither fever nor tachycardia", "heart rate and respiratory rate were high").
        """
        stated = []
        for start, end, mention, _ in clauses:
            named = start if mention is None else mention[0]
            first = max(start, named - MAX_CLAUSE // 2)
            clause = lowered(text[first : min(end, first + MAX_CLAUSE)]).replace("’", "'")
            stated.append(_without_inference(clause, named - first))
        for i in range(1, len(clauses)):
            if self._shares_negation(text, clauses, stated, i):
                stated[i] = f"no {stated[i]}"
        self._share_time(text, clauses, stated)
        self._share_hours(text, clauses, stated)
        self._share_numbers(clauses, stated)
        self._share_slashes(text, clauses, stated)
        shared = ""
        for i in reversed(range(len(clauses))):
            shared = self._shared_predicate(text, clauses, i, shared) if clauses[i][2] is not None else ""
            if shared:
                stated[i] += shared
            elif clauses[i][2] is not None and self._states_nothing(bare := stated[i].removeprefix("no ")):
                beside = self._predicate_beside(text, clauses, stated, i)
                stated[i] = (bare if beside and is_negated(beside) else stated[i]) + beside
        return stated

    def _share_time(self, text: str, clauses, stated: list[str]) -> None:
        """Share a time at the start of a sentence, "at discharge", with the further findings that it lists."""
        head, current = "", -1
        for i, (start, end, mention, sentence) in enumerate(clauses):
            if sentence != current:
                lead = LEADING_TIME.match(lowered(text[start : min(end, start + MAX_LEAD)]))
                head, current = (lead[0] if lead else ""), sentence
                continue
            own = (
                mention is None
                or not self._meaning(text, *mention).finding
                or any(pattern.search(stated[i]) for pattern in (_OWN_TIME, FIRST_VALUE, LAST_VALUE))
            )
            joined = re.fullmatch(r"[\s,]*(?:and|or|nor|with)?[\s,]*", lowered(text[clauses[i - 1][1] : start]))
            if own or not joined:
                head = ""
            if head:
                stated[i] = f"{head} {stated[i]}"

        self._share_last_time(text, clauses, stated)

    def _share_hours(self, text: str, clauses, stated: list[str]) -> None:
        """Share the hours at the start of a sentence, "until hour 5", with the further channels that it lists."""
        head, current, place = "", -1, None
        for i, (start, end, mention, sentence) in enumerate(clauses):
            if sentence != current:
                lead = lowered(text[start : min(end, mention[0] if mention else end, start + 2 * MAX_LEAD)])
                hours = [m for pattern in SPOKEN_HOURS for m in pattern.finditer(lead)] if _DIGIT.search(lead) else []
                head, current = (hours[0][0].strip() if len(hours) == 1 else ""), sentence
                place = LEADING_TIME.match(lead) if not head else None
                head = place[0].strip() if place else head
            elif not head:
                continue
            elif (place and not _BARE_NUMBER.fullmatch(stated[i])) or (
                mention is None
                or any(p.search(stated[i]) for p in (_OTHER_TIME, FIRST_VALUE, LAST_VALUE, *SPOKEN_HOURS))
            ):
                head = ""
            else:
                stated[i] = f"{head} {stated[i]}"

    def _share_last_time(self, text: str, clauses, stated: list[str]) -> None:
        """Share the time at the end of a list of findings, "on arrival", with those before the last."""
        tail = ""
        for i in reversed(range(1, len(clauses))):
            (_, end, before, sentence), (start, _, mention, own) = clauses[i - 1 : i + 1]
            ending = _ENDING_TIME.search(stated[i]) if mention and not re.search(r"\d", stated[i]) else None
            tail = ending[0] if ending else tail
            joined = re.fullmatch(r"[\s,]*(?:(?:and|or|nor)\s+)?", lowered(text[end:start]))
            listed = before and sentence == own and joined and not text[before[1] : end].strip(" ,")
            if not (tail and listed and self._meaning(text, *before).finding):
                tail = ""
            if tail and not LEADING_TIME.match(stated[i - 1]):
                stated[i - 1] += f" {tail}"

    def _share_numbers(self, clauses, stated: list[str]) -> None:
        """Give each channel its number if they are listed apart: "heart rate and SBP were 88 and 126"."""
        for i, (_, _, mention, sentence) in enumerate(clauses):
            listed = list(_LISTED.finditer(stated[i])) if mention else []
            numbers = re.findall(r"\d+(?:\.\d+)?%?", listed[0][0]) if len(listed) == 1 else []
            first = i + 1 - len(numbers)
            before = range(max(first, 0), i)
            if not numbers or first < 0 or any(clauses[j][2] is None or clauses[j][3] != sentence for j in before):
                continue
            respectively = "respectively" in stated[i] and not any(re.search(r"\d", stated[j]) for j in before)
            start, end = listed[0].span()
            going = _GOING_TO.search(stated[i][:start])
            if respectively or all(self._states_nothing(stated[j]) for j in before):
                stated[i] = stated[i][:start] + numbers[-1] + stated[i][end:]
                for j, number in zip(before, numbers, strict=False):
                    stated[j] = f"{stated[j]} {number}"
            elif going and all(re.search(r"\d", words) for words in (*(stated[j] for j in before), going[1])):
                stated[i] = stated[i][:start] + numbers[-1] + stated[i][end:]
                for j, number in zip(before, numbers, strict=False):
                    stated[j] = f"{stated[j]}, {going[2]}{number}"
            elif "respectively" in stated[i]:  # the numbers cannot be assigned
                stated[i] = stated[i][:start] + " " * (end - start) + stated[i][end:]

    def _share_slashes(self, text: str, clauses, stated: list[str]) -> None:
        """Give two channels their numbers if both are written with a slash: "AST/ALT 1890/1240"."""
        for i in range(1, len(clauses)):
            (_, _, before, _), (_, _, mention, _) = clauses[i - 1 : i + 1]
            if before and mention and re.fullmatch(r"\s*/\s*", text[before[1] : mention[0]]):
                pairs = _SLASHED.search(stated[i])
                if pairs:
                    stated[i - 1] += " " + _SLASHED.sub(r"\1", lowered(stated[i][mention[1] - mention[0] :]))
                    stated[i] = _SLASHED.sub(r"\2", stated[i])

    def _shares_negation(self, text: str, clauses, stated: list[str], i: int) -> bool:
        """Return whether a clause shares the previous negation: across "or", "nor", and commas before these."""
        (_, _, before, sentence), (_, end, mention, own) = clauses[i - 1], clauses[i]
        if before is None or mention is None or sentence != own or not is_negated(stated[i - 1]):
            return False
        if is_negated(stated[i]) and " nor " not in f" {stated[i]} ":
            return False
        between = lowered(text[before[1] : mention[0]])
        if re.fullmatch(rf"\s*,?\s*(?:or|nor)\s+(?:any |of |the |an? )*(?:{_CALLED.pattern[2:]})?", between):
            return True
        if re.fullmatch(r"\s*,\s*(?:any |an? )*", between):
            rest = lowered(text[mention[0] :].split(".")[0])
            return bool(re.search(r"\b(?:or|nor)\b", rest)) and not re.search(r"\d|\b(?:but|however)\b", rest)
        joined = re.fullmatch(r"\s+and\s+", between) and self._meaning(text, *mention).finding
        noun = joined and not re.search(r"(?:ic|ive|ed|al)$", lowered(text[slice(*mention)]))
        return bool(noun) and not text[mention[1] : end].strip()

    def _shared_predicate(self, text: str, clauses, i: int, shared: str) -> str:
        """Return a predicate of the next finding and of this one: "fever and hypotension both resolved"."""
        if i + 1 == len(clauses) or clauses[i + 1][2] is None or clauses[i + 1][3] != clauses[i][3]:
            return ""
        mention, following = clauses[i][2], clauses[i + 1][2]
        both = self._meaning(text, *mention).finding and self._meaning(text, *following).finding
        joined = re.fullmatch(r"\s*(?:,|and|,\s*and)\s+(?:the )?", lowered(text[mention[1] : following[0]]))
        if not both or not joined:
            return ""
        after = _after_mention(text, clauses[i + 1])
        return after if _COURSE.search(after) or _PREDICATE.match(after) else "" if after.strip() else shared

    def _states_nothing(self, words: str) -> bool:
        """Return whether a clause is only the name of a channel."""
        rest = words
        for start, end in self.find(words):
            if self.by_word[words[start:end]].finding:
                return False
            rest = rest[:start] + " " * (end - start) + rest[end:]
        return not re.search(r"[a-z0-9]", _EMPTY.sub(" ", rest))

    def _predicate_beside(self, text: str, clauses, stated: list[str], i: int) -> str:
        """Return the predicate of the next clause, else the previous one, for a channel that is only named."""
        if i + 1 < len(clauses) and clauses[i + 1][3] == clauses[i][3] and clauses[i + 1][2]:
            mention, words = clauses[i + 1][2], stated[i + 1]
            if re.fullmatch(r"\s*(?:,|and|,\s*and|or)\s+(?:the )?", lowered(text[clauses[i][2][1] : mention[0]])):
                return self._predicate(words)
        while i and clauses[i - 1][3] == clauses[i][3] and clauses[i - 1][2]:
            mention = clauses[i - 1][2]
            if not re.fullmatch(r"\s*(?:,|and|,\s*and|or)\s+(?:the )?", lowered(text[mention[1] : clauses[i][2][0]])):
                break
            predicate = self._predicate(lowered(text[clauses[i - 1][0] : mention[0]]))
            if predicate:
                return predicate
            i -= 1
        return ""

    def _predicate(self, words: str) -> str:
        """Return a clause without the names of channels; empty if it only names one."""
        if self._states_nothing(words):
            return ""
        for start, end in list(self.find(words)):
            words = words[:start] + " " * (end - start) + words[end:]
        return " " + " ".join(words.split())


def _after_mention(text: str, clause) -> str:
    """Return the part of a clause after its mention, in lower case."""
    return lowered(text[clause[2][1] : min(clause[1], clause[2][1] + MAX_LEAD)])


def _without_inference(clause: str, mention: int) -> str:
    """Return the part of a clause about the channel, without the conclusion."""
    start, end, denied = 0, len(clause), False
    for match in _INFERENCE.finditer(clause):
        if match.end() <= mention:
            denied = denied or bool(_NOTHING.search(clause[start : match.start()]))
            denied = denied and ":" not in clause[match.end() : mention]
            start = match.end()
        else:
            end = match.start()
            break
    return f"no {clause[start:end]}" if denied else clause[start:end]
