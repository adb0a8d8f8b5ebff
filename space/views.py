# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The answer as HTML: the content of `templates/answer.html` is selected, ordered and linked to the record here.

A cited finding, or a piece of evidence, names in `data-links` the ids of the points of the series and pieces of the
note that it refers to; `link.js` marks these when it is hovered, focused or tapped.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from charts import measured_words, point_id
from markup import counted, macros, plain, upper_first
from markupsafe import Markup
from ranges import borderline


draw, draw_note = macros("answer.html"), macros("page.html").note
VERDICTS = {
    "note": {
        "supported": "✓ noted",
        "contradicted": "✗ noted otherwise",
        "absent": "✗ not noted",
        "unverifiable": "? cannot be checked",
    },
    "series": {
        "supported": "✓ measured",
        "contradicted": "✗ measured otherwise",
        "absent": "✗ not measured",
        "unverifiable": "? cannot be checked",
    },
}
COUNTED = {  # words of a verdict in a count of findings
    "supported": "borne out by the record",
    "contradicted": "contradicted by it",
    "absent": "not in the note",
    "unverifiable": "that cannot be checked",
}
ARGUMENTS = {  # statement of the model's knowledge base about a finding and the diagnoses argued for
    "linked": "known to go with {}",
    "unlinked": "not known to go with {}",
    "unknown": "not in the knowledge base, so whether it goes with {} is unknown",
}
ORIGINS = {"repaired": "corrected", "composed": "by rule"}  # no word for the model's own sentences
RARE_WORDS = "the words of the note are unusual"  # a reason of the pipeline
UNREAD = re.compile(r"(.+): (\d+ values?) outside of (.+)")  # what the pipeline says of the values of a channel
HOURS = "hours 0 to "  # a reason there
BORDERLINE = "? borderline, guidelines differ"
NEXT_MOST_PROBABLE = 4
MOST_EVIDENCE = 5  # of a diagnosis
SMALL_EFFECT = 0.25  # drop of log-odds; evidence with a smaller effect is not shown
SMALL_CHANGE = 0.005  # of a probability
# "…, which is consistent with sepsis" behind a finding, and "Sepsis is supported by" before it
_LEADS = (
    r"(?:points?|suggest|support|indicat|favor|fits?|reflect|back|consistent|compatible|in keeping|in line|makes?)"
)
CONCLUSION = re.compile(
    rf",?(?:\s+(?:which|and this|this))?(?:\s+(?:is|are|was|were|also|may))*\s+{_LEADS}[^\d.;]*$", re.I
)
PREMISE = re.compile(rf"^[^\d.;]*\b(?:is|are)\s+(?:also\s+)?{_LEADS}\w*\s+by\s+", re.I)


class Links:
    """
    Ids of the parts of the record that claims and evidence refer to.

    Args:
        channels (`list[dict]`), hours (array `(T,)`), values (array `(T, num_channels)`): the series.
        spans (list of `(start, end)`): all spans of the note that are referred to.
    """

    def __init__(self, channels: list[dict], hours: np.ndarray, values: np.ndarray, spans: Iterable[Sequence[int]]):
        self.position = {channel["name"]: i for i, channel in enumerate(channels)}
        self.channels, self.hours, self.values = channels, hours, values
        self.measured = ~np.isnan(values)
        self.spans = sorted({(int(start), int(end)) for start, end in spans})

    def points(self, channel: str, hours: Sequence[float]) -> list[str]:
        """Return the points of a channel at given hours."""
        return self._points(channel, np.isclose(self.hours[:, None], np.asarray(hours), atol=1e-6).any(axis=1))

    def summary(self, channel: str) -> str:
        """Summarize the measurements of a channel, with its reference range."""
        column = self.position[channel]
        return measured_words(self.channels[column], self.values[:, column], self.hours)

    def is_borderline(self, channel: str, direction: str | None) -> bool:
        """Return whether a channel's values are beyond the reference range, but not beyond the clear limit."""
        column = self.position[channel]
        return borderline(self.channels[column], self.values[self.measured[:, column], column], direction)

    def stretch(self, channel: str, start: float, end: float) -> list[str]:
        """Return the points of a channel from one hour to another, hours of two decimals."""
        return self._points(channel, (self.hours >= start - 0.006) & (self.hours <= end + 0.006))

    def _points(self, channel: str, when: np.ndarray) -> list[str]:
        column = self.position[channel]
        return [point_id(column, row) for row in np.flatnonzero(when & self.measured[:, column])]

    def pieces(self, spans: Iterable[Sequence[int]]) -> list[str]:
        """Return the pieces of the note within given spans."""
        return [
            f"note-{start}"
            for start, end in self._cuts()
            if any(first <= start and end <= last for first, last in spans)
        ]

    def _cuts(self) -> list[tuple[int, int]]:
        """Split the spans where one begins or ends within another."""
        edges = sorted({edge for span in self.spans for edge in span})
        return [
            (a, b) for a, b in itertools.pairwise(edges) if any(start <= a and b <= end for start, end in self.spans)
        ]

    def note(self, note: str) -> Markup:
        """Draw the note with its pieces as elements of their own."""
        pieces, at = [], 0
        for start, end in self._cuts():
            pieces.append((note[at:start], note[start:end], f"note-{start}"))
            at = end
        return draw_note(pieces, note[at:])


def status_view(answer: dict, left_out: str, seconds: float) -> Markup:
    """Summarize the answer, also for screen readers; `left_out` names the inputs that were left out."""
    verdicts = Counter(claim["verdict"] for claim in (*answer["note_claims"], *checkable(answer["claims"])))
    counts = [f"{verdicts[verdict]} {words}" for verdict, words in COUNTED.items() if verdicts[verdict]]
    if set(verdicts) == {"supported"}:
        counts = ["all borne out by the record"] if verdicts.total() > 1 else ["borne out by the record"]
    diagnoses = f"{counted(len(answer['diagnoses']), 'diagnosis', 'diagnoses')} listed"
    findings = f"{counted(verdicts.total(), 'finding')} cited, {', '.join(counts)}" if counts else "no finding cited"
    return draw.status(left_out, answer["doubt"]["abstain"], f"{diagnoses}; {findings}", seconds)


def checkable(claims: list[dict]) -> list[dict]:
    """Select the claims about the series that name a channel; others state nothing."""
    return [claim for claim in claims if claim["channel"]]


def diagnoses_view(
    diagnoses: list[dict], probabilities: dict[str, float], thresholds: dict[str, float], abstain: bool = False
) -> Markup:
    """
    Draw all listed diagnoses, the next most probable ones, and the rest folded; the highest first.
    `abstain` marks them as unreliable.
    """
    made = [entry["label"] for entry in diagnoses]
    if not probabilities:
        return draw.names(made)
    ranked = sorted(probabilities, key=probabilities.get, reverse=True)
    bars = [(label, probabilities[label], thresholds[label]) for label in ranked]
    others = [bar for bar in bars if bar[0] not in made]
    near, rest = others[:NEXT_MOST_PROBABLE], others[NEXT_MOST_PROBABLE:]
    limits = min(thresholds.values()), max(thresholds.values())
    return draw.diagnoses([bar for bar in bars if bar[0] in made], near, rest, limits, abstain)


def doubt_view(doubt: dict) -> Markup:
    """Draw whether and why the model abstains, and what would help."""
    helpful = [entry for entry in doubt["would_help"] if entry["change"] >= SMALL_CHANGE]
    named = [("the note" if entry["missing"] == "note" else entry["missing"], entry["diagnosis"]) for entry in helpful]
    names = ", ".join(f"{missing} (for {plain(diagnosis)})" for missing, diagnosis in named)
    reasons = upper_first("; ".join(map(plain_reason, doubt["reasons"])))
    unread = _unread(doubt.get("not_read", []))  # missing in older model folders
    unlisted = [(entry["label"], entry["probability"]) for entry in doubt.get("not_listed", [])]
    return draw.doubt(doubt["abstain"], reasons, names, bool(doubt["would_help"]), unread, unlisted)


def _unread(lines: list[str]) -> list[str]:
    """Return sentences about the measurements that the model did not read, one for each reason."""
    channels: dict[str, list[str]] = {}
    for line in lines:
        found = UNREAD.fullmatch(line)
        reason, what = (found[3], f"{found[1]} ({found[2]})") if found else ("", line)
        channels.setdefault(reason, []).append(what)
    return [_unread_for(reason, ", ".join(what)) for reason, what in channels.items()]


def _unread_for(reason: str, what: str) -> str:
    hours = reason.removeprefix(HOURS)
    if hours != reason:
        before_or_after = f"Measured before ICU admission or after the {hours} hours that it reads"
        return f"{before_or_after}: {what}; the text may still quote these."
    return f"{upper_first(f'outside of {reason}: {what}')}." if reason else f"{what}."


def plain_reason(reason: str) -> str:
    """Return a reason to abstain, without the figure for the rarity of words, which readers cannot interpret."""
    words, figures = reason.partition(" (")[::2]
    return f"{words}, rarer than those of nearly all patients" if words == RARE_WORDS and figures else reason


def streamed_view(note_rationale: str, lab_rationale: str) -> Markup:
    """Draw the rationale while it is written."""
    return draw.streamed(note_rationale, lab_rationale)


def rationale_view(answer: dict, links: Links, printed: bool = False) -> Markup:
    """
    Draw both parts of the rationale with their findings and the origin of their sentences marked, and the findings as
    a list; `printed` leaves out interactive elements.
    """
    sentences = answer.get("sentences", [])  # missing in older model folders
    parts = {
        "note": (answer["note_rationale"], answer["note_claims"]),
        "series": (answer["lab_rationale"], checkable(answer["claims"])),
    }
    origins = Counter(sentence["origin"] for sentence in sentences)
    drawn = [_marked(name, *part, sentences, links, printed) for name, part in parts.items()]
    findings = [_finding(name, claim, links) for name, (_, claims) in parts.items() for claim in claims]
    return draw.rationale(*drawn, origins, findings, printed)


def _marked(
    name: str, text: str, claims: list[dict], sentences: list[dict], links: Links, printed: bool
) -> tuple[list[tuple[str, Markup]], str, bool]:
    """Return claims and origins, each with the words before it; the words after the last; and if there are claims."""
    part = {"note": "note", "series": "lab"}[name]
    marks = []
    for i, claim in enumerate(claims):
        start, end = finding_span(claim)
        drawn = draw.claim(f"{name}-claim-{i}", text[start:end], _finding(name, claim, links), printed)
        marks.append((start, end, drawn))
    marks += origin_marks(text, [sentence for sentence in sentences if sentence["part"] == part])
    drawn, at = [], 0
    for start, end, mark in sorted(marks, key=lambda mark: mark[:2]):
        if start >= at:
            drawn.append((text[at:start], mark))
            at = end
    return drawn, text[at:], bool(claims)


def finding_span(claim: dict) -> tuple[int, int]:
    """Return start and end of a claim without its diagnoses, which the record does not support."""
    text, start, end = claim["text"], claim["start"], claim["end"]
    if not claim["channel"] or not claim.get("diagnoses") or len(text) != end - start:
        return start, end
    before, after = PREMISE.search(text), CONCLUSION.search(text)
    if before:
        start += before.end()
    if after and claim["start"] + after.start() > start:
        end = claim["start"] + after.start()
    return start, end


def origin_marks(text: str, sentences: list[dict]) -> list[tuple[int, int, Markup]]:
    """Return a zero-width mark at the end of each sentence that is not the model's own."""
    marks, at = [], 0
    for sentence in sentences:
        start = text.find(sentence["text"], at)
        if start < 0:
            continue
        at = start + len(sentence["text"])
        if sentence["origin"] in ORIGINS:
            marks.append((at, at, draw.origin(ORIGINS[sentence["origin"]])))
    return marks


def _finding(name: str, claim: dict, links: Links) -> dict:
    """Return the content for a claim: its words, the verdict, the record's statement, and its links."""
    channel, argument = claim["channel"], claim.get("argument")  # missing in older model folders
    verdict = VERDICTS[name][claim["verdict"]]
    if claim["verdict"] == "unverifiable" and channel and links.is_borderline(channel, claim.get("direction")):
        verdict = BORDERLINE
    ids, about = links.pieces(claim["spans"]), upper_first(claim["quote"])
    if channel:
        ids += links.points(channel, claim["hours"])
        about = f"{channel}: {links.summary(channel)}"
    start, end = (at - claim["start"] for at in finding_span(claim))
    names = " and ".join(plain(name) for name in claim["diagnoses"]) if argument else ""
    return {
        "text": claim["text"][start:end],
        "kind": claim["verdict"],
        "verdict": verdict,
        "about": about,
        "argument": upper_first(ARGUMENTS[argument].format(names)) if argument else "",
        "warning": f"no known link with {names}" if argument in ("unlinked", "unknown") else "",
        "links": ids,
    }


def evidence_view(
    evidence: list[dict], probabilities: dict[str, float], links: Links, printed: bool = False
) -> Markup:
    """
    Draw, for each diagnosis, the parts of the record without which it would be less probable; `printed` leaves out
    interactive elements.
    """
    ranked = sorted(evidence, key=lambda entry: -probabilities[entry["label"]])
    drawn = [(entry["label"], probabilities[entry["label"]]) for entry in ranked]
    found = [_strongest(entry, probability, links) for entry, (_, probability) in zip(ranked, drawn, strict=True)]
    return draw.evidence([(*made, items) for made, items in zip(drawn, found, strict=True)], printed)


def _strongest(entry: dict, probability: float, links: Links) -> list[tuple[str, list[str], float, str]]:
    """
    Return the strongest evidence of note and series for a diagnosis: words, linked ids, probability without it,
    and the divisor of the odds.
    """
    items = [item for kind in ("note", "series") for item in entry[kind]]
    items = sorted((item for item in items if item["effect"] >= SMALL_EFFECT), key=lambda item: -item["effect"])
    return [
        (*_named(item, links), max(probability - item["probability_drop"], 0.0), divisor(item["effect"]))
        for item in items[:MOST_EVIDENCE]
    ]


def _named(item: dict, links: Links) -> tuple[str, list[str]]:
    if "channel" in item:
        start, end = item["from_hour"], item["to_hour"]
        when = f"hour {start:.1f}" if start == end else f"hours {start:.1f} to {end:.1f}"
        return f"{item['channel']}, {when}", links.stretch(item["channel"], start, end)
    return f"“{item['text']}”", links.pieces([(item["start"], item["end"])])


def divisor(effect: float) -> str:
    """Return the divisor of the odds for a drop of log-odds, to two digits."""
    return f"{float(f'{math.exp(effect):.2g}'):,.6g}" if effect < 11 else "over 50,000"


def modalities_view(variants: dict[str, dict[str, float] | None], thresholds: dict[str, float]) -> Markup:
    """
    Draw the probabilities with both inputs and without each, for diagnoses that reach their threshold with any.

    Args:
        variants (`dict`): name -> probability of each label, or `None` if no input was left.
    """
    known = [found for found in variants.values() if found]
    labels = [label for label in thresholds if any(found[label] >= thresholds[label] for found in known)]
    labels.sort(key=lambda label: -max(found[label] for found in known))
    return draw.modalities(variants, thresholds, labels)


def knowledge_view(knowledge: list[dict], probabilities: dict[str, float], thresholds: dict[str, float]) -> Markup:
    """
    Draw the record's findings in the model's knowledge base, each under its most probable diagnosis.
    Older model folders return the terms with most attention, nearly the same for all patients: they are not
    drawn.
    """
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for entry in knowledge:
        if "label" in entry:
            where = {"note": "note", "lab": "measurements"}[entry["part"]]
            groups.setdefault(entry["label"], []).append((entry.get("text", ""), where, entry["term"]))
    return draw.knowledge([(label, probabilities.get(label), thresholds.get(label), f) for label, f in groups.items()])
