# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The answer as HTML: what `templates/answer.html` draws is chosen, ordered and linked to the record here.

A claim or a piece of evidence names in `data-links` the ids of what it speaks of, points of the series and pieces of
the note; `link.js` marks these when it is pointed at, focused or tapped.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from charts import point_id
from markup import counted, macros, upper_first
from markupsafe import Markup


draw, draw_note = macros("answer.html"), macros("page.html").note
VERDICTS = {
    "supported": "✓ supported",
    "contradicted": "✗ contradicted",
    "absent": "✗ not in the note",
    "unverifiable": "? not checkable",
}
ARGUMENTS = {
    "linked": "the knowledge links it with {}",
    "unlinked": "the knowledge does not link it with {}",
    "unknown": "the knowledge does not know it as a finding of {}",
}
ORIGINS = {"repaired": "put right", "composed": "composed"}  # what the model wrote itself bears no word
NEXT_MOST_PROBABLE = 4
MOST_EVIDENCE = 5  # of a diagnosis
SMALL_EFFECT = 0.25  # a drop of log-odds; evidence that makes less of a difference is not shown
SMALL_CHANGE = 0.005  # of a probability


class Links:
    """
    Ids of what claims and evidence speak of.

    Args:
        channels (`list[dict]`), hours (array `(T,)`), values (array `(T, num_channels)`): the series.
        spans (list of `(start, end)`): all the characters of the note that something speaks of.
    """

    def __init__(self, channels: list[dict], hours: np.ndarray, values: np.ndarray, spans: Iterable[Sequence[int]]):
        self.position = {channel["name"]: i for i, channel in enumerate(channels)}
        self.hours, self.measured = hours, ~np.isnan(values)
        self.spans = sorted({(int(start), int(end)) for start, end in spans})

    def points(self, channel: str, hours: Sequence[float]) -> list[str]:
        """Return the points of a channel at given hours."""
        return self._points(channel, np.isclose(self.hours[:, None], np.asarray(hours), atol=1e-6).any(axis=1))

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
        """Return the spans cut where one begins or ends inside of another."""
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
    """Sum up the answer in words that are also read aloud; `left_out` names the inputs that were left out."""
    verdicts = Counter(claim["verdict"] for claim in (*answer["note_claims"], *checkable(answer["claims"])))
    counts = [
        f"{verdicts[verdict]} {word.split(' ', 1)[1]}" for verdict, word in VERDICTS.items() if verdicts[verdict]
    ]
    diagnoses = counted(len(answer["diagnoses"]), "diagnosis", "diagnoses")
    claims = f"{counted(verdicts.total(), 'claim')} about the record: {', '.join(counts)}" if counts else "no claims"
    return draw.status(left_out, f"{diagnoses}; {claims}", seconds)


def checkable(claims: list[dict]) -> list[dict]:
    """Select the claims about the series that speak of a channel; others state nothing."""
    return [claim for claim in claims if claim["channel"]]


def diagnoses_view(diagnoses: list[dict], probabilities: dict[str, float], thresholds: dict[str, float]) -> Markup:
    """Draw all diagnoses that are made, the next most probable ones, and the rest to unfold; the highest first."""
    made = [entry["label"] for entry in diagnoses]
    if not probabilities:
        return draw.names(made)
    ranked = sorted(probabilities, key=probabilities.get, reverse=True)
    bars = [(label, probabilities[label], thresholds[label]) for label in ranked]
    others = [bar for bar in bars if bar[0] not in made]
    near, rest = others[:NEXT_MOST_PROBABLE], others[NEXT_MOST_PROBABLE:]
    return draw.diagnoses([bar for bar in bars if bar[0] in made], near, rest)


def doubt_view(doubt: dict) -> Markup:
    """Say if the model abstains and why, and what would help."""
    helpful = [entry for entry in doubt["would_help"] if entry["change"] >= SMALL_CHANGE]
    names = ", ".join(f"{entry['missing']} (for {entry['diagnosis']})" for entry in helpful)
    return draw.doubt(doubt["abstain"], upper_first("; ".join(doubt["reasons"])), names, bool(doubt["would_help"]))


def streamed_view(note_rationale: str, lab_rationale: str) -> Markup:
    """Draw the rationale while it is written."""
    return draw.streamed(note_rationale, lab_rationale)


def rationale_view(answer: dict, links: Links) -> Markup:
    """Draw both parts of the rationale with their claims and the origin of their sentences marked."""
    sentences = answer.get("sentences", [])  # the code of an older model folder tells none
    origins = Counter(sentence["origin"] for sentence in sentences)
    return draw.rationale(
        _marked("note", answer["note_rationale"], answer["note_claims"], sentences, links),
        _marked("series", answer["lab_rationale"], checkable(answer["claims"]), sentences, links),
        origins,
    )


def _marked(
    name: str, text: str, claims: list[dict], sentences: list[dict], links: Links
) -> tuple[list[tuple[str, Markup]], str, bool]:
    """Return claims and origins, each with the words before it; the words after the last one; if there are claims."""
    part = {"note": "note", "series": "lab"}[name]
    marks = [(c["start"], c["end"], _claim(f"{name}-claim-{i}", c, links)) for i, c in enumerate(claims)]
    marks += origin_marks(text, [sentence for sentence in sentences if sentence["part"] == part])
    drawn, at = [], 0
    for start, end, mark in sorted(marks, key=lambda mark: mark[:2]):
        if start >= at:
            drawn.append((text[at:start], mark))
            at = end
    return drawn, text[at:], bool(claims)


def origin_marks(text: str, sentences: list[dict]) -> list[tuple[int, int, Markup]]:
    """Return a mark, of no width, at the end of each sentence that is not the model's own."""
    marks, at = [], 0
    for sentence in sentences:
        start = text.find(sentence["text"], at)
        if start < 0:
            continue
        at = start + len(sentence["text"])
        if sentence["origin"] in ORIGINS:
            marks.append((at, at, draw.origin(ORIGINS[sentence["origin"]])))
    return marks


def _claim(name: str, claim: dict, links: Links) -> Markup:
    ids, about = links.pieces(claim["spans"]), upper_first(claim["quote"])
    if claim["channel"]:
        ids += links.points(claim["channel"], claim["hours"])
        about = f"{claim['channel']}: {claim['quote']}"
    return draw.claim(name, claim["text"], claim["verdict"], VERDICTS[claim["verdict"]], about, _argument(claim), ids)


def _argument(claim: dict) -> str:
    """Say if the knowledge links the finding with the diagnoses that its sentence argues for; empty without any."""
    if not claim.get("argument"):  # the code of an older model folder knows no arguments
        return ""
    return upper_first(ARGUMENTS[claim["argument"]].format(" and ".join(claim["diagnoses"])))


def evidence_view(evidence: list[dict], links: Links) -> Markup:
    """Draw, for each diagnosis, the parts of the record without which it would be less probable."""
    return draw.evidence([(entry["label"], _strongest(entry, links)) for entry in evidence])


def _strongest(entry: dict, links: Links) -> list[tuple[str, list[str], str]]:
    """Return the evidence that matters most for a diagnosis: its words, the ids it links to, and its divisor."""
    items = [item for kind in ("note", "series", "knowledge") for item in entry[kind]]
    items = sorted((item for item in items if item["effect"] >= SMALL_EFFECT), key=lambda item: -item["effect"])
    return [(*_named(item, links), divisor(item["effect"])) for item in items[:MOST_EVIDENCE]]


def _named(item: dict, links: Links) -> tuple[str, list[str]]:
    if "term" in item:
        return f"Knowledge term: {item['term']}", []
    if "channel" in item:
        start, end = item["from_hour"], item["to_hour"]
        when = f"hour {start:.1f}" if start == end else f"hours {start:.1f} to {end:.1f}"
        return f"{item['channel']}, {when}", links.stretch(item["channel"], start, end)
    return f"“{item['text']}”", links.pieces([(item["start"], item["end"])])


def divisor(effect: float) -> str:
    """Return by what a drop of the log-odds divides the odds, to two digits."""
    return f"{float(f'{math.exp(effect):.2g}'):,.6g}" if effect < 11 else "over 50,000"


def modalities_view(variants: dict[str, dict[str, float] | None], thresholds: dict[str, float]) -> Markup:
    """
    Draw the probabilities with both inputs and without each of them, of the diagnoses that are made with any.

    Args:
        variants (`dict`): name -> probability of each label, or `None` where nothing was left to read.
    """
    known = [found for found in variants.values() if found]
    labels = [label for label in thresholds if any(found[label] >= thresholds[label] for found in known)]
    labels.sort(key=lambda label: -max(found[label] for found in known))
    return draw.modalities(variants, thresholds, labels)


def knowledge_view(knowledge: list[dict], over_time: dict | None) -> Markup:
    """
    Draw the terms of the knowledge that a record shows, and how far the series attended to them over time: the darker
    the more. The code of an older model folder names the terms most attended to, nearly the same of all patients:
    they are not drawn.
    """
    own = [term for term in knowledge if "label" in term]
    if not own:
        return draw.no_knowledge()
    attended = dict(zip(over_time["terms"], over_time["weights"], strict=True)) if over_time else {}
    weights = [weight for row in attended.values() for weight in row if weight is not None]
    num_patches = max(map(len, attended.values()), default=0)
    hours = over_time["patch_hours"] if over_time else 0
    return draw.knowledge(own, attended, num_patches, hours, max(weights, default=0) or 1, shade)


LIGHTEST, DARKEST = (231, 240, 247), (8, 48, 107)


def shade(share: float) -> str:
    """Return a colour from light to dark blue: the darker the more, with or without colour vision."""
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(LIGHTEST, DARKEST, strict=True))
