# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A page of rationales in Markdown, each beside the facts of its record, so that a reader can judge them.

Facts are computed here from the measured values; verdicts are those that the model's answer holds.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from modeling_clinragen.clinical_clinragen import usual_limits
from recipes.evaluation.figures.reading import sentence_spans
from recipes.evaluation.report.reader import decoder_warnings, reader_rows
from recipes.evaluation.report.text import ARGUMENTS, limits, markdown_table


WIDTH = 116
NOTE_LINES = 12
PARTS = {"note": ("note_rationale", "note_claims"), "lab": ("lab_rationale", "claims")}
FACTS = ("channel", "usual", "first (hour)", "lowest", "highest", "last", "values", "below", "above")

_SPECIAL = re.compile(r"([\\`*_\[\]<>|])")
_BLOCK = re.compile(r"^(\s*(?:\d+(?=[.)](?:\s|$))|(?=[-+#])))")  # up to the mark, which is escaped


def chosen_records(stay_ids: Sequence[str], number: int, seed: int) -> list[int]:
    """
    Choose records independently of their content: every k-th in the order of a hash of the seed and the id.

    Args:
        stay_ids (list of `str`): of all records.
        number (`int`): how many; k is the number of records divided by it, rounded down, and at least 1.
    """
    order = sorted(range(len(stay_ids)), key=lambda i: hashlib.sha256(f"{seed} {stay_ids[i]}".encode()).digest())
    return order[:: max(1, len(order) // number)][:number]


def rationale_page(
    metrics: dict,
    predictions: Sequence[dict],
    rows: Sequence[dict],
    metadata: dict,
    seed: int,
    permission: str | None,
    beside: tuple[dict, Sequence[dict]] | None = None,
) -> str:
    """
    Return the page.

    Args:
        metrics (`dict`): of the report.
        predictions, rows (lists of `dict`): of the chosen records, in the order in which they are shown.
        metadata (`dict`): of the dataset.
        seed (`int`): of the choice.
        permission (`str`, *optional*): why records of credentialed data may be shown.
        beside (*optional*): metrics of another model's report, and its predictions for the same records.
    """
    source, channels = metadata["source_description"], metadata["channels"]
    sections = [_head(metrics, len(rows), source, seed, permission)]
    if beside is not None:
        names = (plain(report["run"]["model"]) for report in (metrics, beside[0]))
        sections.append(
            wrapped("First stands what {} wrote, and at the end of each record what {} wrote.".format(*names))
        )
    sections.append(_figures(metrics))
    for number, (prediction, row) in enumerate(zip(predictions, rows, strict=True), start=1):
        sections += [f"## Record {number}", *_record(prediction, row, channels)]
        if beside is not None:
            sections += _answer(beside[1][number - 1], f" ({plain(beside[0]['run']['model'])})")
    return "\n\n".join(filter(None, sections)) + "\n"


def _head(metrics: dict, number: int, source: dict, seed: int, permission: str | None) -> str:
    run, records = metrics["run"], metrics["records"]
    step = max(1, records // number)
    paragraphs = [
        f"# {number} rationales of {plain(source['title'])}",
        "Research software. Not a medical device; not for the diagnosis or treatment of patients.",
        *(f"**Warning.** {warning}" for warning in decoder_warnings(metrics)),
        f"A model wrote them for records of the split `{run['split']}`, chosen whatever they hold: all {records} "
        f"records in the order of SHA-256 of `{seed} STAY_ID`, every {_ordinal(step)} of them from the first on. "
        "`recipes/show_rationales.py` wrote this page.",
        f"Data: {plain(source['title'])} {source['version']}, {source['url']}. "
        f"Cite: {plain(source['cite'].rstrip('.'))}."
        + (f" Shown because: {plain(permission)}." if permission else ""),
        "Limits, first, lowest, highest and last value (and its hour since ICU admission), and how many values lie "
        "beyond the usual limits are computed from the record, not by the model. Each sentence of a rationale is "
        "followed by where it comes from (written by the model, repaired or composed from the record) and by what a "
        "check against the record finds of each of its claims, and what the knowledge says of the argument.",
    ]
    return "\n\n".join(wrapped(paragraph) for paragraph in paragraphs)


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _figures(metrics: dict) -> str:
    """Return the table of what a reader meets, over all records of the split."""
    rows = [
        (row.name, f"{row.value:.3f}", "{:.3f} to {:.3f}".format(*row.interval) if row.interval else "", row.whole)
        for row in reader_rows(metrics)
    ]
    if not rows:
        return ""
    table = markdown_table(("all records of the split", "", "95% interval", "of"), rows)
    return f"{table}\n\n[What these figures mean](evaluation.md#what-a-reader-meets)"


def _record(prediction: dict, row: dict, channels: list[dict]) -> Iterator[str]:
    yield f"**Note.**\n\n{note_head(row['note'])}" if row["note"].strip() else "**Note.** None."
    yield f"**Series.**\n\n{facts_table(row, channels)}"
    yield wrapped(f"**Recorded diagnoses.** {plain('; '.join(prediction['gold'])) or 'None of the list'}.")
    yield from _answer(prediction)


def _answer(prediction: dict, model: str = "") -> Iterator[str]:
    """Yield a model's list of diagnoses and its rationale."""
    listed = [
        d["label"] + ("" if d.get("probability") is None else f" ({d['probability']:.2f})")
        for d in prediction["diagnoses"]
    ]
    yield wrapped(f"**Listed by the model{model}.** {plain(', '.join(listed)) or 'None'}.")
    sentences = list(read_sentences(prediction))
    yield f"**Rationale{model}.**\n\n" + (
        "\n".join(_sentence(*sentence) for sentence in sentences) or "Nothing was written."
    )


def note_head(note: str) -> str:
    """Return the first lines of a note as a block of text, and the number of words after them."""
    lines = [part for line in note.strip().splitlines() for part in textwrap.wrap(line, WIDTH) or [""]]
    shown, left = lines[:NOTE_LINES], len(" ".join(lines[NOTE_LINES:]).split())
    text = "\n".join(shown).replace("```", "'''")
    return f"```text\n{text}\n```" + (f"\n\n… and {left} more words." if left else "")


def facts_table(row: dict, channels: list[dict]) -> str:
    """Return the facts of each measured channel, computed from the values alone."""
    values = np.asarray(row["lab_values"], dtype=float).reshape(-1, len(channels))
    hours = np.asarray(row["lab_times"], dtype=float).reshape(-1)
    facts, missing = [], []
    for channel, column in zip(channels, values.T, strict=True):
        measured = ~np.isnan(column)
        if measured.any():
            facts.append(_facts(channel, hours[measured], column[measured]))
        else:
            missing.append(channel["name"])
    table = markdown_table(FACTS, facts) if facts else "Nothing was measured."
    return table + (f"\n\n{wrapped('Not measured: ' + plain(', '.join(missing)) + '.')}" if facts and missing else "")


def _facts(channel: dict, hours: np.ndarray, values: np.ndarray) -> list[str]:
    digits = channel.get("decimals", 1)
    low, high = usual_limits(channel)

    def at(place: int) -> str:
        return f"{values[place]:.{digits}f} ({hours[place]:.1f})"

    return [
        plain(channel["name"] + ("" if channel["unit"] in ("fraction", channel["name"]) else f", {channel['unit']}")),
        limits(channel),
        *(at(int(place)) for place in (0, values.argmin(), values.argmax(), len(values) - 1)),
        str(len(values)),
        *("–" if np.isinf(limit) else str(count) for limit, count in _beyond(values, low, high)),
    ]


def _beyond(values: np.ndarray, low: float, high: float) -> tuple[tuple[float, int], ...]:
    return (low, int((values < low).sum())), (high, int((values > high).sum()))


def read_sentences(prediction: dict) -> Iterator[tuple[str, str, str, list[dict]]]:
    """Yield the part, origin, text and claims of each sentence; the origin is empty if the answer has none."""
    sentences = prediction.get("sentences") or [
        {"text": prediction[name][start:end], "part": part, "origin": ""}
        for part, (name, _) in PARTS.items()
        for start, end in sentence_spans(prediction[name])
    ]
    after = dict.fromkeys(PARTS, 0)
    for sentence in sentences:
        name, claims = PARTS[sentence["part"]]
        start = prediction[name].find(sentence["text"], after[sentence["part"]])
        end = start + len(sentence["text"])
        after[sentence["part"]] = end if start >= 0 else after[sentence["part"]]
        within = [c for c in prediction[claims] if start >= 0 and start <= c["start"] < end]
        about = [c for c in within if c["channel"] or sentence["part"] == "note"]
        yield sentence["part"], sentence["origin"], sentence["text"], about


def _sentence(part: str, origin: str, text: str, claims: list[dict]) -> str:
    where = ", ".join(filter(None, ({"note": "note", "lab": "series"}[part], origin)))
    lines = [wrapped(f"{plain(text)} *({where})*", first="- ", then="  ")]
    for claim in claims:
        said = f"“{plain(claim['text'])}” – {verdict(claim)}: {plain(claim['quote'])}"
        lines.append(wrapped(said, first="  - ", then="    "))
    return "\n".join(lines)


def verdict(claim: dict) -> str:
    """Return the verdict of a claim, and that of the argument for which it is used, if any."""
    if not claim.get("argument"):
        return f"**{claim['verdict']}**"
    return f"**{claim['verdict']}**, {ARGUMENTS[claim['argument']]} {plain(', '.join(claim['diagnoses']))}"


def plain(text: str) -> str:
    """Return text on one line, with Markdown's special characters escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def wrapped(text: str, first: str = "", then: str = "") -> str:
    """Return text in lines of at most `WIDTH` characters, none of which begins a Markdown block."""
    options = {"break_long_words": False, "break_on_hyphens": False}
    lines = textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=then, **options)
    return "\n".join([*lines[:1], *(_BLOCK.sub(r"\1\\", line) for line in lines[1:])])
