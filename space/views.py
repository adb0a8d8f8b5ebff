# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
What the page shows of a record and of an answer, as HTML.

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
from markup import counted, joined, percent, tag
from markupsafe import Markup


VERDICTS = {"supported": "✓ supported", "contradicted": "✗ contradicted", "unverifiable": "? not checkable"}
HINT = "Point at, tap or Tab to an underlined claim to see what the record says of it."
NEXT_MOST_PROBABLE = 4
MOST_EVIDENCE = 5  # of a diagnosis
SMALL_EFFECT = 0.25  # a drop of log-odds; evidence that makes less of a difference is not shown
SMALL_CHANGE = 0.005  # of a probability


def hint(words: str) -> Markup:
    return tag("p", words, class_="hint")


def error(sentence: str) -> Markup:
    return tag("p", sentence, class_="error", role="alert")


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
        """Points of a channel at given hours."""
        return self._points(channel, np.isclose(self.hours[:, None], np.asarray(hours), atol=1e-6).any(axis=1))

    def stretch(self, channel: str, start: float, end: float) -> list[str]:
        """Points of a channel from one hour to another, hours of two decimals."""
        return self._points(channel, (self.hours >= start - 0.006) & (self.hours <= end + 0.006))

    def _points(self, channel: str, when: np.ndarray) -> list[str]:
        column = self.position[channel]
        return [point_id(column, row) for row in np.flatnonzero(when & self.measured[:, column])]

    def pieces(self, spans: Iterable[Sequence[int]]) -> list[str]:
        """Pieces of the note within given spans."""
        return [
            f"note-{start}"
            for start, end in self._cuts()
            if any(first <= start and end <= last for first, last in spans)
        ]

    def _cuts(self) -> list[tuple[int, int]]:
        """The spans cut where one begins or ends inside of another."""
        edges = sorted({edge for span in self.spans for edge in span})
        return [
            (a, b) for a, b in itertools.pairwise(edges) if any(start <= a and b <= end for start, end in self.spans)
        ]

    def note(self, note: str) -> Markup:
        """The note with its pieces as elements of their own."""
        parts, at = [], 0
        for start, end in self._cuts():
            parts += [note[at:start], tag("span", note[start:end], id=f"note-{start}", class_="piece")]
            at = end
        return note_view(joined([*parts, note[at:]]))


def note_view(note: str | Markup) -> Markup:
    if not note.strip():
        return tag("div", hint("No note."), class_="note")
    return tag("div", note, class_="note", tabindex=0, role="region", aria_label="The note")


def left_out(what: str, view: Markup | str = "") -> Markup:
    """Says what the model was not given, and shows it in grey."""
    return tag("div", tag("p", f"The {what} was left out.", class_="flag"), view, class_="left-out")


def of_record(number: int, view: Markup) -> Markup:
    """A view of what was made of one record; see `only`."""
    return tag("div", view, data_record=number)


def only(number: int, prompt: str) -> Markup:
    """Has the page show of all that was made of records what was made of this one, and a prompt while nothing was."""
    own = f'[data-record="{number}"]'
    hidden = [
        f"[data-record]:not({own})",
        f".answer:not(:has(#status {own})) .plain",
        f".answer:has(#status {own}) .empty",
        f".record:has(#note-read {own}) #note-given",
    ]
    unread = f".record:has(#series-unread {own}) #series-given"
    rules = f"{', '.join(hidden)} {{ display: none !important; }} {unread} {{ opacity: .45; filter: grayscale(1); }}"
    return joined([tag("style", Markup(rules)), tag("p", prompt, class_="empty")])


def status_view(answer: dict, left_out: str, seconds: float) -> Markup:
    """What was written, in a few words that are also read aloud; `left_out` names what the model was not given."""
    verdicts = Counter(claim["verdict"] for claim in (*answer["note_claims"], *checkable(answer["claims"])))
    counts = [
        f"{verdicts[verdict]} {word.split(' ', 1)[1]}" for verdict, word in VERDICTS.items() if verdicts[verdict]
    ]
    diagnoses = counted(len(answer["diagnoses"]), "diagnosis", "diagnoses")
    claims = f"{counted(verdicts.total(), 'claim')} about the record: {', '.join(counts)}" if counts else "no claims"
    written = [tag("strong", f"Written without the {left_out}. ")] if left_out else []
    return tag("p", *written, f"{diagnoses}; {claims}. Written in {seconds:.1f} s.", class_="done")


def checkable(claims: list[dict]) -> list[dict]:
    """Claims about the series that speak of a channel; others state nothing."""
    return [claim for claim in claims if claim["channel"]]


def diagnoses_view(diagnoses: list[dict], probabilities: dict[str, float], thresholds: dict[str, float]) -> Markup:
    """All diagnoses that are made, the next most probable ones, and the rest to unfold; the highest first."""
    made = [entry["label"] for entry in diagnoses]
    if not probabilities:
        items = [tag("li", tag("span", label, class_="name")) for label in made]
        return tag("ul", *items, class_="bars") if items else hint("No diagnosis is made.")
    ranked = sorted(probabilities, key=probabilities.get, reverse=True)
    listed = [label for label in ranked if label in made]
    others = [label for label in ranked if label not in made]

    def bars(labels: list[str], kind: str) -> Markup:
        return tag(
            "ul", *(_bar(label, probabilities[label], thresholds[label], kind) for label in labels), class_="bars"
        )

    near, rest = others[:NEXT_MOST_PROBABLE], others[NEXT_MOST_PROBABLE:]
    return joined(
        [
            tag("p", BARS, class_="caption"),
            bars(listed, "made") if listed else tag("p", "No diagnosis reaches its threshold.", class_="none"),
            tag("p", "Next most probable, below their thresholds", class_="caption") if near else "",
            bars(near, "other") if near else "",
            tag("details", tag("summary", f"{counted(len(rest), 'other')}"), bars(rest, "other")) if rest else "",
        ]
    )


BARS = "Bar: the probability. Upright line: the threshold from which on the diagnosis is made."


def _bar(label: str, probability: float, threshold: float, kind: str) -> Markup:
    track = tag(
        "span",
        tag("span", class_="fill", style=f"width:{100 * probability:.2f}%"),
        tag("span", class_="threshold", style=f"left:{100 * threshold:.2f}%"),
        class_="track",
        aria_hidden="true",
    )
    value = tag(
        "span", tag("b", percent(probability)), tag("small", f" threshold {percent(threshold)}"), class_="value"
    )
    return tag("li", tag("span", label, class_="name"), value, track, class_=kind)


def doubt_view(doubt: dict) -> Markup:
    """Whether the model abstains and why, and what would help."""
    helpful = [entry for entry in doubt["would_help"] if entry["change"] >= SMALL_CHANGE]
    if doubt["abstain"]:
        words = [tag("strong", "The model abstains: "), f"the record holds too little. {_sentence(doubt['reasons'])}"]
    else:
        words = ["The record holds as much as those the model was tested on: no reason to abstain."]
    if helpful:
        names = ", ".join(f"{entry['missing']} (for {entry['diagnosis']})" for entry in helpful)
        words.append(f" What is missing and may change the answer most: {names}.")
    elif doubt["would_help"]:
        words.append(" No single missing measurement would change the answer much.")
    return tag("div", tag("p", *words), class_="doubt abstain" if doubt["abstain"] else "doubt")


def _sentence(reasons: list[str]) -> str:
    text = "; ".join(reasons)
    return text[:1].upper() + text[1:] + "."


def streamed_view(note_rationale: str, lab_rationale: str) -> Markup:
    """The rationale while it is written."""
    parts = [("From the note", note_rationale), ("From the series", lab_rationale)]
    shown = [tag("div", tag("h4", title), tag("p", text), class_="part") for title, text in parts if text]
    return tag("div", *shown, class_="writing", aria_busy="true")


def rationale_view(answer: dict, links: Links) -> Markup:
    """Both parts of the rationale with their claims marked."""
    return joined(
        [
            _part("From the note", "note", answer["note_rationale"], answer["note_claims"], links),
            _part("From the series", "series", answer["lab_rationale"], checkable(answer["claims"]), links),
        ]
    )


def _part(title: str, name: str, text: str, claims: list[dict], links: Links) -> Markup:
    if not text:
        return tag("div", tag("h4", title), hint("Nothing was written."), class_="part")
    parts, at = [], 0
    for i, claim in enumerate(claims):
        if claim["start"] >= at:
            parts += [text[at : claim["start"]], _claim(f"{name}-claim-{i}", claim, links)]
            at = claim["end"]
    words = tag("p", *parts, text[at:])
    card = tag("div", hint(HINT), class_="card") if claims else ""
    return tag("div", tag("h4", title), words, card, class_="part")


def _claim(name: str, claim: dict, links: Links) -> Markup:
    ids = links.pieces(claim["spans"])
    if claim["channel"]:
        ids += links.points(claim["channel"], claim["hours"])
    quote = claim["quote"]
    about = f"{claim['channel']}: {quote}" if claim["channel"] else quote[:1].upper() + quote[1:]
    verdict = VERDICTS[claim["verdict"]]
    spoken = tag("span", f"{verdict}. {about}.", id=name, class_="told", hidden="")
    words = joined([tag("span", claim["text"], class_="words"), tag("span", f" {verdict}", class_="verdict"), spoken])
    return tag(
        "span",
        words,
        class_=f"claim {claim['verdict']}",
        role="button",
        tabindex=0,
        aria_pressed="false",
        aria_describedby=name,
        data_links=" ".join(ids),
    )


def evidence_view(evidence: list[dict], links: Links) -> Markup:
    """For each diagnosis, without what it would be less probable."""
    if not evidence:
        return hint("No diagnosis is made, so there is none to find evidence for.")
    return joined([tag("p", EVIDENCE, class_="caption"), *(_evidence_of(entry, links) for entry in evidence)])


EVIDENCE = "Left out one at a time: by what the odds of the diagnosis are divided without it."


def _evidence_of(entry: dict, links: Links) -> Markup:
    def named(item: dict) -> tuple[str, list[str]]:
        if "term" in item:
            return f"Knowledge term: {item['term']}", []
        if "channel" in item:
            start, end = item["from_hour"], item["to_hour"]
            when = f"hour {start:.1f}" if start == end else f"hours {start:.1f} to {end:.1f}"
            return f"{item['channel']}, {when}", links.stretch(item["channel"], start, end)
        return f"“{item['text']}”", links.pieces([(item["start"], item["end"])])

    items = [
        item for kind in ("note", "series", "knowledge") for item in entry[kind] if item["effect"] >= SMALL_EFFECT
    ]
    rows = []
    for item in sorted(items, key=lambda item: -item["effect"])[:MOST_EVIDENCE]:
        words, ids = named(item)
        linked = {"role": "button", "tabindex": 0, "aria_pressed": "false", "data_links": " ".join(ids)} if ids else {}
        factor = tag("b", "÷\u202f", divisor(item["effect"]))
        rows.append(tag("li", tag("span", words, class_="words", **linked), factor))
    body = tag("ul", *rows) if rows else hint("No single part of the record decides it.")
    return tag("div", tag("h4", entry["label"]), body, class_="evidence")


def divisor(effect: float) -> str:
    """By what a drop of the log-odds divides the odds, to two digits."""
    return f"{float(f'{math.exp(effect):.2g}'):,.6g}" if effect < 11 else "over 50,000"


def modalities_view(variants: dict[str, dict[str, float] | None], thresholds: dict[str, float]) -> Markup:
    """
    Probabilities with both inputs and without each of them, of the diagnoses that are made with any.

    Args:
        variants (`dict`): name -> probability of each label, or `None` where nothing was left to read.
    """
    known = [found for found in variants.values() if found]
    labels = [label for label in thresholds if any(found[label] >= thresholds[label] for found in known)]
    if not labels:
        return hint("No diagnosis reaches its threshold, with or without either.")
    labels.sort(key=lambda label: -max(found[label] for found in known))

    def cell(label: str, found: dict | None) -> Markup:
        if found is None:
            return tag("td", "–")
        made = found[label] >= thresholds[label]
        return tag(
            "td", percent(found[label]), "" if made else tag("small", "not made"), class_=None if made else "below"
        )

    head = tag("tr", *(tag("th", name, scope="col") for name in ("diagnosis", *variants)))
    rows = [
        tag("tr", tag("th", label, scope="row"), *(cell(label, found) for found in variants.values()))
        for label in labels
    ]
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="modalities")
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Without note or series")


def knowledge_view(over_time: dict | None) -> Markup:
    """The knowledge terms that the series attended to, over time: the darker the more."""
    if not over_time:
        return hint("No knowledge was looked up: the model read no series, or has no terms of knowledge.")
    width, weights = over_time["patch_hours"], over_time["weights"]
    highest = max(weight for row in weights for weight in row if weight is not None) or 1

    def cell(weight: float | None) -> Markup:
        if weight is None:
            return tag("td", tag("span", "not measured", class_="unseen"), class_="gap")
        share = weight / highest
        return tag(
            "td",
            f"{100 * weight:.1f}",
            style=f"background:{shade(share)};color:{'#fff' if share > 0.55 else '#1b2733'}",
        )

    hours = [f"{i * width:g}–{(i + 1) * width:g}" for i in range(len(weights[0]))]
    head = tag("tr", tag("th", "hours", scope="col"), *(tag("th", when, scope="col") for when in hours))
    rows = [
        tag("tr", tag("th", term, scope="row"), *map(cell, row))
        for term, row in zip(over_time["terms"], weights, strict=True)
    ]
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="heat")
    scroll = tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Knowledge terms over time")
    return joined([tag("p", KNOWLEDGE, class_="caption"), scroll])


KNOWLEDGE = (
    "Share of attention in percent, mean over the channels that were measured then. It tells what the series looked "
    "up, not why a diagnosis was made."
)
LIGHTEST, DARKEST = (231, 240, 247), (8, 48, 107)


def shade(share: float) -> str:
    """Light to dark blue: the darker the more, with or without colour vision."""
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(LIGHTEST, DARKEST, strict=True))
