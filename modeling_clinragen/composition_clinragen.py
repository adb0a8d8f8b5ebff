# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Rationales composed from a record: content selection picks the findings of its note and series that the knowledge links
with a diagnosis; surface realization words them in sentences. Every finding and number is the record's.

The template teacher composes whole rationales for the recorded diagnoses; grounded generation takes single sentences.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from .clinical_clinragen import PHENOTYPES, clear_limits, usual_limits
from .language_clinragen import Rewritten
from .links_clinragen import KnowledgeLinks, NoteFinding
from .past_clinragen import ACUTE, is_only_history, places_of
from .realization_clinragen import SurfaceRealizer, is_risk, place_of, sentence_name
from .remembered_clinragen import Remembered
from .series_findings_clinragen import SeriesFinding
from .statements_clinragen import MIN_VALUES_OF_TREND, trend_of
from .templates_clinragen import TemplateRealizer
from .words_clinragen import content_words


MAX_FINDINGS = {"note": 3, "lab": 2}  # stated for one diagnosis; fewer if there are many diagnoses
MAX_SHARING = 2  # diseases that share one sentence, unless more have no other explanation
MAIN = 2  # main findings of the series for a disease: those that the knowledge lists first
MAX_SENTENCES = 8  # in one part, unless more diagnoses have no other explanation
MIN_VALUES = 2  # beyond the clear limit, so that one wrong value is no evidence ...
MIN_SHARE = 0.25  # ... or this share of a channel's values: a gas or a laboratory test is drawn a few times
# standard deviations beyond the clear limit that are needed: by a single value, a fast rhythm, a rare level
NEAR, FAST, FAR = 0.2, 0.4, 1.0
RARE = 0.04  # a smaller share of a channel's values must reach FAR
OFTEN, SOME = 0.2, 0.1  # shares of high pressures needed: with fewer low ones; with hardly any low ones, reaching FAR
MIN_CHANGE = 0.02  # of the first value; a smaller change is not worth stating
_MAX_SERIES = 2**7  # series with cached patterns: an answer asks for them several times
_MAX_TESTS = 2**12  # cached tests of whether the values of a channel show a level or a trend
FEW = 2  # values of a bedside channel; among more, a single abnormal one is an artefact
PRESSURES = ("Systolic blood pressure", "Mean blood pressure", "Diastolic blood pressure")
BEDSIDE = frozenset({"Heart Rate", "Oxygen saturation", "Respiratory rate", "Temperature", *PRESSURES})
RHYTHM = frozenset(phenotype["name"] for phenotype in PHENOTYPES if phenotype["ccs"] == 106)
_REASON_FOR_ADMISSION = re.compile(
    r"^[ \t]*(?:reason for (?:admission|visit)|(?:chief|presenting|main) complaint|cc|admi(?:ssion|tting) diagnosis)"
    r"[ \t]*:[^\n]*",
    re.IGNORECASE | re.MULTILINE,
)
# between the class of a drug and its name: "bronchodilator beta-agonist albuterol"
_OF_A_KIND = re.compile(r"(?:(?!\b(?:and|or|with|plus|then)\b)[\w /()<>=.-]){1,60}")


_COOLED = re.compile(
    r"\b(?:cool(?:ed|ing) (?:to|protocol|blanket|catheter|for|per|started|initiated|measures|down|\()|actively cooled"
    r"|therapeutic(?:ally)? (?:cool|hypotherm)\w*|induced hypothermia|hypothermia protocol|arctic sun|ttm\b"
    r"|targeted temperature|target temperature management)",
    re.IGNORECASE,
)


@dataclass
class Evidence:
    """The findings of a record for one disease, best first."""

    note: list[NoteFinding] = field(default_factory=list)
    series: list[SeriesFinding] = field(default_factory=list)


@dataclass(frozen=True)
class Sentence:
    """A composed sentence, and the diagnoses that it explains or states to be unexplained."""

    text: str
    diseases: tuple[str, ...] = ()


class Composer:
    """
    Compose sentences from a record.

    Args:
        links (`KnowledgeLinks`): which findings are evidence for which diseases.
        channels (list of `dict`): of the series.
        labels (list of `str`): the diagnoses.
    """

    def __init__(self, links: KnowledgeLinks, channels: list[dict], labels: list[str]):
        self.links, self.channels, self.labels = links, channels, labels
        self.position = {channel["name"]: i for i, channel in enumerate(channels)}
        self.patterns = {
            label: [pattern for pattern in links.patterns_of(label) if pattern[0] in self.position] for label in labels
        }
        names = {label: links.names_of(label) for label in labels}
        self.own_terms = {label: {name.lower() for name in known} for label, known in names.items()}
        self.same_names = {label: _same_names(links, label) for label in labels}
        language = links.language
        self.realizer = (
            SurfaceRealizer(names, self.own_terms, _forms(links))
            if language.is_english
            else TemplateRealizer(language, self.own_terms)
        )
        self._series_patterns: dict[tuple[bytes, bytes], _Patterns] = Remembered(self._patterns_of, _MAX_SERIES)
        self.is_shown: dict[tuple[int, str, bytes], bool] = Remembered(self._shows, _MAX_TESTS)

    def evidence(self, note: str, lab_times, lab_values, diseases: list[str]) -> dict[str, Evidence]:
        """
        Find the findings of the record for each disease, best first. In the note: its own names, then signs, the
        reason for admission, drugs, and other risks; in the series: the order in which the knowledge lists them.

        A level is evidence if at least two of a channel's values, or a quarter of them, lie beyond the clear limit;
        for a high pressure, a fifth of them, or a tenth if they reach far, and more than lie beyond the low limit. A
        single one of three or more values of a bedside channel is an artefact. A low diastolic pressure beside others
        that are not low is no evidence, nor are errors of measurement (see [`SeriesFinding`]), exchanged columns of
        pressures, or a low temperature of a patient who is cooled. A trend is evidence if the medians of the first and
        the last third differ (see `trend_of`), and the last value differs from the first by at least 2%. A disease
        that the note itself denies has none.
        """
        rewritten = self.links.language.read(note)
        noted = self.links.find_in_note(rewritten.text, diseases) if note.strip() else []
        written = {id(finding): _as_written(finding, rewritten) for finding in noted}
        series = self.clear_patterns(lab_times, lab_values, diseases)
        if _COOLED.search(rewritten.text):
            series = {disease: _without(found, ("Temperature", "low")) for disease, found in series.items()}
        denied = self.links.denied_in(rewritten.text)
        return {
            disease: Evidence()
            if disease in denied
            else Evidence(
                [written[id(f)] for f in self._note_evidence(disease, noted, rewritten.text)],
                _without_redundant_pressures(list(series[disease].values())),
            )
            for disease in diseases
        }

    def series_evidence(self, lab_times, lab_values, diseases: list[str]) -> dict[str, list[SeriesFinding]]:
        """
        Find the findings of the series for each disease that the model reads. [`Composer.evidence`] leaves out those
        that are too weak to be stated.
        """
        shown = self._series_findings(lab_times, lab_values)
        return {
            disease: _without_redundant_pressures(list(self._shown_patterns(shown, disease).values()))
            for disease in diseases
        }

    def clear_patterns(
        self, lab_times, lab_values, diseases: list[str]
    ) -> dict[str, dict[tuple[str, str], SeriesFinding]]:
        """Map each disease to those of its patterns, as (channel, direction), that the series clearly show."""
        shown = self._series_findings(lab_times, lab_values)
        return {
            disease: {
                pattern: finding
                for pattern, finding in self._shown_patterns(shown, disease).items()
                if _is_credible(finding) and not (shown.is_wide_pulse(pattern) or shown.is_exchanged(pattern))
            }
            for disease in diseases
        }

    def _shown_patterns(self, shown: _Patterns, disease: str) -> dict[tuple[str, str], SeriesFinding]:
        found = {pattern: shown[pattern] for pattern in self.patterns.get(disease, ())}
        return {
            pattern: finding
            for pattern, finding in found.items()
            if finding is not None and (disease not in RHYTHM or _is_far(finding))
        }

    def shown_by(self, place: int, values: np.ndarray) -> tuple[bool, ...]:
        """
        Return all that `series_evidence` reads from the measured values of the channel at `place`, in their order:
        series whose channels agree in it hold the same patterns for the same labels.
        """
        name, read = self.channels[place]["name"], values.tobytes()
        directions = dict.fromkeys(way for known in self.patterns.values() for of, way in known if of == name)
        is_far = bool(len(values)) and bool(values.max() >= _far_limit(self.channels[place]))
        return is_far, *(self.is_shown[place, way, read] for way in directions)

    def _note_evidence(self, disease: str, findings: list[NoteFinding], note: str) -> list[NoteFinding]:
        return self._ranked_note(disease, self._of_this_stay(disease, findings, note), note)

    def _of_this_stay(self, disease: str, findings: list[NoteFinding], note: str) -> list[NoteFinding]:
        """
        Select the findings linked with a disease, without those for another reason; for an acute disease, without
        events of the past.
        """
        linked = [finding for finding in findings if disease in finding.diseases]
        linked = [finding for finding in linked if not self._is_explained(disease, finding.text, note)]
        if disease not in ACUTE:
            return linked
        return [finding for finding in linked if not is_only_history(note, finding.text)]

    def _is_explained(self, disease: str, text: str, note: str) -> bool:
        return self.links.is_explained_otherwise(disease, text, note, places_of(note, text))

    def _ranked_note(self, disease: str, findings: list[NoteFinding], note: str) -> list[NoteFinding]:
        """Rank findings, the disease's own names first, and leave out those that repeat another."""
        own, reason = {id(finding): self._is_own(disease, finding) for finding in findings}, reason_for_admission(note)
        ranked = sorted(findings, key=lambda f: (not own[id(f)], _rank(f, reason), len(f.diseases), f.start))
        kept: list[NoteFinding] = []
        for finding in ranked:
            rivals = [f for f in ranked if f is not finding and own[id(f)] >= own[id(finding)]]
            if any(_says_more(f, finding, note) for f in rivals) or self._is_named_again(finding, kept):
                continue
            kept.append(finding)
        return kept

    def _is_named_again(self, finding: NoteFinding, kept: list[NoteFinding]) -> bool:
        """Return whether a finding is a synonym of one in `kept`: a name of this disease, or of another one."""
        named = finding.text.lower()
        return any(named in same and any(f.text.lower() in same for f in kept) for same in self.same_names.values())

    def _is_own(self, disease: str, finding: NoteFinding) -> bool:
        """Return whether a finding of the note is a name of the disease itself."""
        own = self.own_terms[disease]
        return isinstance(finding, NoteFinding) and (
            self.links.language.english(finding.term).lower() in own or finding.text.lower() in own
        )

    def _series_findings(self, lab_times, lab_values) -> _Patterns:
        values = np.asarray(lab_values, dtype=float).reshape(-1, len(self.channels))
        hours = np.asarray(lab_times, dtype=float).reshape(-1)
        return self._series_patterns[hours.tobytes(), values.tobytes()]

    def _patterns_of(self, key: tuple[bytes, bytes]) -> _Patterns:
        hours, values = map(np.frombuffer, key)
        return _Patterns(self, hours, values.reshape(-1, len(self.channels)))

    def _shows(self, key: tuple[int, str, bytes]) -> bool:
        place, direction, values = key
        return _shows(self.channels[place], direction, np.frombuffer(values))

    def note_sentence(self, disease: str, findings: list[NoteFinding], choose: random.Random) -> str:
        """Write one sentence that argues for the disease from findings of the note."""
        return self.realizer.note([disease], findings[: MAX_FINDINGS["note"]], choose)

    def series_sentence(self, disease: str, findings: list[SeriesFinding], choose: random.Random) -> str:
        """Write one sentence that argues for the disease from findings of the series."""
        return self.realizer.series([disease], findings[: MAX_FINDINGS["lab"]], choose)

    def unexplained(
        self, diseases: list[str], choose: random.Random, place: str | None = "this record", note: str = ""
    ) -> list[Sentence]:
        """
        Write the sentence which states that nothing in `place` (see [`place_of`]) points to the diseases; with `None`,
        when no place was searched, and for those that the note denies, that the text does not explain them.
        """
        denied = self.links.denied_in(note)
        groups = {place: [d for d in diseases if d not in denied]}
        groups[None] = groups.get(None, []) + [d for d in diseases if d in denied]
        return [
            Sentence(self.realizer.unexplained(group, choose, where), tuple(group))
            for where, group in groups.items()
            if group
        ]

    def rationale(
        self,
        note: str,
        lab_times,
        lab_values,
        diseases: list[str],
        choose: random.Random,
        modalities=("note", "lab"),
        evidence: dict[str, Evidence] | None = None,
    ) -> tuple[list[Sentence], list[Sentence]]:
        """
        Compose a whole rationale: one list of sentences for the note, one for the series.

        Every disease is argued for, or stated to be unexplained at the end of the last part that is read. A finding is
        stated once: if it supports several diseases and is the only finding of one, they share its sentence.

        Args:
            modalities: parts that are read, `"note"` and `"lab"`; the list of another part is empty.
            evidence (*optional*): as [`Composer.evidence`] returns it for the parts that are read.
        """
        values = np.asarray(lab_values, dtype=float)
        read = {"note": bool(note.strip()), "lab": bool((~np.isnan(values)).any())}
        found = evidence
        if found is None:
            read_values = values if "lab" in modalities else np.full_like(values, np.nan)
            found = self.evidence(note if "note" in modalities else "", lab_times, read_values, diseases)
        explained_by_note = {disease for disease in diseases if found[disease].note}
        rewritten = self.links.language.read(note)
        reason = rewritten.back(*reason_for_admission(rewritten.text))
        parts = {
            "note": self._part("note", {d: found[d].note for d in diseases}, set(), choose, reason),
            "lab": self._part("lab", {d: found[d].series for d in diseases}, explained_by_note, choose),
        }
        for part in ("note", "lab"):
            if part in modalities and not parts[part]:
                parts[part] = [Sentence(self.realizer.nothing(part, choose, read[part]))]
        left = [disease for disease in diseases if not (found[disease].note or found[disease].series)]
        if left:
            about = rewritten.text if "note" in modalities else ""
            parts["lab" if "lab" in modalities else "note"] += self.unexplained(
                left, choose, place_of(modalities), about
            )
        return tuple(parts[part] if part in modalities else [] for part in ("note", "lab"))

    def _part(
        self,
        part: str,
        found: dict[str, list],
        explained: set[str],
        choose: random.Random,
        reason: tuple[int, int] = (0, 0),
    ) -> list[Sentence]:
        """Word the findings of one part; if there are too many sentences, drop diseases that another part explains."""
        realize = self.realizer.note if part == "note" else self.realizer.series
        shared = self._share_out(found, MAX_FINDINGS[part], explained, reason)
        if part == "note":
            shared = self._names_apart(shared)
        need = [diseases for diseases in shared if not set(diseases) <= explained]
        spare = [diseases for diseases in shared if set(diseases) <= explained]
        kept = {*need, *spare[: max(0, MAX_SENTENCES - len(need))]}
        sentences, argued, named = [], set(explained), set()
        for diseases, findings in ((d, f) for d, f in shared.items() if d in kept):
            also, again = set(diseases) <= argued, not named.isdisjoint(map(id, findings))
            argued |= set(diseases)
            named |= set(map(id, findings))
            sentences.append(Sentence(realize(list(diseases), findings, choose, also, again), diseases))
        return sentences

    def _names_apart(self, shared: dict[tuple[str, ...], list]) -> dict[tuple[str, ...], list]:
        """Give each disease that the note names a sentence of its own, apart from diseases that its name supports."""
        apart: dict[tuple[str, ...], list] = {}
        for diseases, findings in shared.items():
            named = {d: [f for f in findings if self.realizer.is_name(f, d)] for d in diseases if len(diseases) > 1}
            for disease in (disease for disease, names in named.items() if names):
                apart.setdefault((disease,), []).extend(named[disease])
                diseases = tuple(other for other in diseases if other != disease)
            if diseases:
                apart.setdefault(diseases, []).extend(findings)
        return apart

    def _share_out(
        self, found: dict[str, list], max_findings: int, explained: set[str], reason: tuple[int, int]
    ) -> dict[tuple[str, ...], list]:
        """
        Assign findings to diseases. Return the findings of each sentence by the diseases that it argues for.

        A disease gets its own names, then its best findings that no other disease has taken. Diseases that are not
        explained elsewhere, and those with the highest-ranked finding, come first. A disease that has no free finding
        shares its best one; so does a disease with none yet if its best finding is a main one in the reason for
        admission. At most `MAX_SHARING` diseases share a finding, unless nothing else explains them.
        """
        with_findings = [disease for disease, findings in found.items() if findings]
        limit = max(1, max_findings - len(with_findings) // 4)
        owners: dict[int, list[str]] = {}
        by_id = {id(finding): finding for findings in found.values() for finding in findings}
        for disease in with_findings:
            for finding in [finding for finding in found[disease] if self._is_own(disease, finding)][:limit]:
                owners.setdefault(id(finding), []).append(disease)
        in_turn = sorted(
            with_findings, key=lambda d: (d in explained, self._knowledge_rank(d, found[d][0]), len(found[d]))
        )
        for quota in (1, limit):  # each disease gets its best finding before one gets a second
            for disease in in_turn:
                num_taken = sum(disease in owner for owner in owners.values())
                best, free = found[disease][0], [f for f in found[disease] if id(f) not in owners]
                is_main = self._knowledge_rank(disease, best) < MAIN and _lies_in(best, reason)
                joins = not num_taken and (not free or (is_main and len(owners.get(id(best), ())) < MAX_SHARING))
                for finding in [best] if joins else free[: max(0, quota - num_taken)]:
                    sharing = owners.setdefault(id(finding), [])
                    if len(sharing) < MAX_SHARING or disease not in explained:
                        sharing.append(disease)
        order = {disease: i for i, disease in enumerate(found)}
        shared = defaultdict(list)
        for identity, diseases in owners.items():
            shared[tuple(sorted(diseases, key=order.get))].append(by_id[identity])
        return dict(sorted(shared.items(), key=lambda item: order[item[0][0]]))

    def _knowledge_rank(self, disease: str, finding: NoteFinding | SeriesFinding) -> int:
        """Return the position of a series finding in the knowledge of a disease; 0 for a finding of the note."""
        if isinstance(finding, NoteFinding):
            return 0
        return self.patterns[disease].index((finding.channel["name"], finding.direction))


def _as_written(finding: NoteFinding, rewritten: Rewritten) -> NoteFinding:
    """Return a finding of a rewritten note in the words of the note itself."""
    if not rewritten.pieces:
        return finding
    start, end = rewritten.back(finding.start, finding.end)
    return replace(finding, text=rewritten.original[start:end], start=start, end=end)


def reason_for_admission(note: str) -> tuple[int, int]:
    """Return the span of the line that states the reason for admission; `(0, 0)` without one."""
    match = _REASON_FOR_ADMISSION.search(note)
    return match.span() if match else (0, 0)


def _lies_in(finding: NoteFinding | SeriesFinding, span: tuple[int, int]) -> bool:
    """Return whether a finding of the note begins in a span; always true for a finding of the series."""
    return isinstance(finding, SeriesFinding) or span[0] <= finding.start < span[1]


def _rank(finding: NoteFinding, reason: tuple[int, int]) -> int:
    """Rank signs, then drugs, then risks; findings in the reason for admission come first within their group."""
    if is_risk(finding):
        return 2 if _lies_in(finding, reason) else 4
    return 0 if _lies_in(finding, reason) else 3 if finding.type == "drug" else 1


def _without_redundant_pressures(findings: list[SeriesFinding]) -> list[SeriesFinding]:
    """Leave out low pressures beside a low systolic pressure, and a high mean pressure beside another high one."""
    shown = {(finding.channel["name"], finding.direction) for finding in findings}
    beside = {"low": PRESSURES[:1], "high": (PRESSURES[0], PRESSURES[2])}
    return [
        finding
        for finding in findings
        if finding.channel["name"] not in (PRESSURES[1:] if finding.direction == "low" else PRESSURES[1:2])
        or not any((name, finding.direction) in shown for name in beside.get(finding.direction, ()))
    ]


class _Patterns(dict):
    """Map each pattern `(channel, direction)` of the series to its finding; to `None` if they do not show it."""

    def __init__(self, composer: Composer, hours: np.ndarray, values: np.ndarray):
        self.composer, self.hours, self.values = composer, hours, values

    def __missing__(self, pattern: tuple[str, str]) -> SeriesFinding | None:
        name, direction = pattern
        place = self.composer.position[name]
        observed = ~np.isnan(self.values[:, place])
        hours, values = self.hours[observed], self.values[observed, place]
        channel, found = self.composer.channels[place], None
        if self.composer.is_shown[place, direction, values.tobytes()]:
            linked = self.composer.links.diseases_of_series(name, direction)
            found = SeriesFinding(channel, direction, frozenset(linked), hours, values)
        self[pattern] = found
        return found

    def is_wide_pulse(self, pattern: tuple[str, str]) -> bool:
        """Return whether `pattern` is a low diastolic pressure, and the other pressures measured are not low."""
        if pattern != (PRESSURES[2], "low"):
            return False
        places = {name: self.composer.position[name] for name in PRESSURES[:2] if name in self.composer.position}
        others = [self[name, "low"] for name, at in places.items() if not np.isnan(self.values[:, at]).all()]
        return bool(others) and not any(finding is not None and _is_credible(finding) for finding in others)

    def is_exchanged(self, pattern: tuple[str, str]) -> bool:
        """Return whether `pattern` is one of pressures of which the diastolic mostly exceed the systolic."""
        if pattern[0] not in PRESSURES or not self.composer.position.keys() >= {PRESSURES[0], PRESSURES[2]}:
            return False
        systolic, diastolic = (self.values[:, self.composer.position[name]] for name in (PRESSURES[0], PRESSURES[2]))
        both = ~np.isnan(systolic + diastolic)
        return bool(both.any()) and bool(np.mean(diastolic[both] > systolic[both]) > 0.5)


def _without(found: dict[tuple[str, str], SeriesFinding], pattern: tuple[str, str]) -> dict:
    return {known: finding for known, finding in found.items() if known != pattern}


def _is_credible(finding: SeriesFinding) -> bool:
    """Return whether a level lies well beyond the limits, and is no error and no single value of many of a monitor."""
    if finding.is_error:
        return False
    if finding.direction in ("rising", "falling"):
        return True
    beyond, number = int((finding.distances > 0).sum()), len(finding.values)
    if beyond != 1 or number <= FEW or finding.channel["name"] not in BEDSIDE:
        return beyond > 0
    return _mostly_beyond(finding.channel, finding.direction, finding.values)


def _is_far(finding: SeriesFinding) -> bool:
    """Return whether a high level lies well beyond the clear limit; a low level always counts."""
    return finding.direction == "low" or bool(finding.values.max() >= _far_limit(finding.channel))


def _far_limit(channel: dict) -> float:
    return clear_limits(channel)[1] + FAST * channel.get("std", 0.0)


def _shows(channel: dict, direction: str, values: np.ndarray) -> bool:
    """Return whether a channel's values show a level, or a trend, credibly."""
    if direction in ("rising", "falling"):
        if len(values) < MIN_VALUES_OF_TREND or trend_of(values) != direction:
            return False
        change = (values[-1] - values[0]) * (1 if direction == "rising" else -1)
        return bool(change >= MIN_CHANGE * abs(values[0]))
    low, high = clear_limits(channel)
    distances = values - high if direction == "high" else low - values
    beyond = int((distances > 0).sum())
    if beyond == 0:
        return False
    share, reach = beyond / len(values), distances.max() / channel["std"] if channel.get("std") else np.inf
    if direction == "high" and channel["name"] in PRESSURES:
        lower = int((values < low).sum())
        is_often, is_severe = share >= OFTEN and lower < beyond, share >= SOME and lower < SOME * beyond
        return beyond >= MIN_VALUES and (is_often or (is_severe and bool(reach >= FAR)))
    if beyond < MIN_VALUES:
        return (share >= MIN_SHARE or _mostly_beyond(channel, direction, values)) and bool(reach >= NEAR)
    return share >= RARE or bool(reach >= FAR)


def _mostly_beyond(channel: dict, direction: str, values: np.ndarray) -> bool:
    """Return whether most values lie beyond the usual limit: then one beyond the clear limit is no error."""
    low, high = usual_limits(channel)
    return bool(np.mean(values > high if direction == "high" else values < low) > 0.5)


def _forms(links: KnowledgeLinks) -> list[str]:
    """Return the terms of the knowledge and their synonyms, without the labels."""
    terms = {id(term): term for terms in links.entries.values() for term in terms if term["term"] not in links.labels}
    return [form for term in terms.values() for form in links.forms_of(term)]


def _same_names(links: KnowledgeLinks, disease: str) -> set[str]:
    """Return the synonyms of the name that a sentence gives a disease, in lower case."""
    name = links.language.english(sentence_name(disease, links.names_of(disease))).lower()
    terms = (term for terms in links.entries.values() for term in terms)
    named = (term for term in terms if term["type"] == "name" and disease in term["diseases"])
    forms = [{form.lower() for form in links.forms_of(term)} for term in named]
    return {name}.union(*(those for those in forms if name in those))


def _says_more(other: NoteFinding, finding: NoteFinding, note: str) -> bool:
    """
    Return whether another finding includes this one and says more: "unstable angina" than "angina", or in
    "vasopressors norepinephrine" the second word than the first.
    """
    if finding.end <= other.start and not note[finding.end : other.start].strip():
        return True
    if {finding.type, other.type} <= {"drug", "procedure"} and finding.text != other.text:
        ends = [end for _, end in places_of(note, finding.text)] if other.text in note else []
        starts = [start for start, _ in places_of(note, other.text)] if ends else []
        if any(_OF_A_KIND.fullmatch(note, end, start) for end in ends for start in starts if end < start):
            return True
    words, others = _stems(finding.text), _stems(other.text)
    return len(words) < len(others) and all(any(_is_same_word(a, b) for b in others) for a in words)


@lru_cache(maxsize=2**14)
def _stems(text: str) -> tuple[str, ...]:
    return tuple(word for word, *_ in content_words(text.lower(), 0, len(text)))


def _is_same_word(word: str, other: str) -> bool:
    return word == other or (len(word) > 4 and len(other) > 4 and (word.startswith(other) or other.startswith(word)))


__all__ = ["Composer", "Evidence", "Sentence", "SeriesFinding"]
