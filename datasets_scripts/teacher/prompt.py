# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The prompt that asks a language model for a rationale: a file of texts, checked and filled with a record."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from string import Template

import numpy as np

from datasets_scripts.common.settings import read_yaml
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError, range_text, short_name, usual_limits
from modeling_clinragen.shapes_clinragen import fault_of
from modeling_clinragen.statements_clinragen import trend_of


PROMPT = Path(__file__).parent / "prompts" / "rationale-3.yaml"
SAID = {"evidence": [str], "sentence": str}
ANSWER = {"note_rationale": [SAID], "lab_rationale": [SAID]}
SHAPE = {"version": str, "system": str, "user": str, "examples": [{"answer": ANSWER}]}
PLACEHOLDERS = ("diagnoses", "note", "series", "caption", "knowledge")  # of `user`; fields of an example
LONGEST_FIELD = 20_000  # characters
LONGEST_VERSION = 60
TERMS = 12  # of the knowledge, for one diagnosis
SENTENCES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"evidence": {"type": "array", "items": {"type": "string"}}, "sentence": {"type": "string"}},
        "required": ["evidence", "sentence"],
        "additionalProperties": False,
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"note_rationale": SENTENCES, "lab_rationale": SENTENCES},
    "required": ["note_rationale", "lab_rationale"],
    "additionalProperties": False,
}


class Prompt:
    """
    Fills the texts of a prompt file with a record.

    Args:
        knowledge (`dict`): as `load_knowledge` returns it.
        channels (list of `dict`), labels (list of `str`): of the dataset.
        path (`Path`): YAML with `version`, `system`, `user` and `examples`, like those in `prompts/`.
        max_note_characters (`int`): longer notes are cut at their end.

    Raises:
        ClinRaGenInputError: for a missing or invalid file, and a missing, unknown or too long field or placeholder.
    """

    def __init__(
        self,
        knowledge: dict,
        channels: list[dict],
        labels: list[str],
        path: Path = PROMPT,
        max_note_characters: int = 8000,
    ):
        raw = _read(path)
        self.version, self.user = raw["version"], Template(raw["user"])
        self.sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        self.channels, self.labels, self.max_note_characters = channels, labels, max_note_characters
        self.opening = [{"role": "system", "content": raw["system"]}]
        for example in raw["examples"]:
            answer = {part: [_evidence_first(said) for said in example["answer"][part]] for part in ANSWER}
            self.opening.append({"role": "user", "content": self.user.substitute(example)})
            self.opening.append({"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)})
        self.terms_of = defaultdict(list)
        for term in knowledge["terms"]:
            for disease in term["diseases"]:
                self.terms_of[disease].append(term["term"])

    def __call__(self, row: dict) -> list[dict]:
        """Return the chat for one row of the dataset."""
        names = [self.labels[i] for i in row["diagnoses"]]
        known = [f"{short_name(n)}: {', '.join(self.terms_of[n][:TERMS])}" for n in names if self.terms_of[n]]
        filled = self.user.substitute(
            diagnoses="; ".join(names) or "none of the list",
            note=row["note"][: self.max_note_characters] or "There is no note.",
            series=summarize_series(self.channels, row["lab_times"], row["lab_values"]),
            caption=row["lab_caption"],
            knowledge="\n".join(known) or "none",
        )
        return [*self.opening, {"role": "user", "content": filled}]


def _evidence_first(said: dict) -> dict:
    """Return a sentence of an example with its evidence first, as models are asked to write it."""
    return {name: said[name] for name in SAID}


def _read(path: Path) -> dict:
    """Read a prompt file; an error is one line with the file and the field."""
    raw = read_yaml(Path(path), SHAPE)
    _refuse_unknown(path, "", raw, SHAPE)
    places = _placeholders_of(path, raw["user"])
    fields = {"version": raw["version"], "system": raw["system"], "user": raw["user"]}
    for i, example in enumerate(raw["examples"]):
        _refuse_unknown(path, f"examples[{i}].", example, (*PLACEHOLDERS, "answer"))
        fault = fault_of(example, dict.fromkeys(places, str), f"examples[{i}]")
        if fault is not None:
            raise ClinRaGenInputError(f"{path}: {fault}; user asks for it")
        fields |= {f"examples[{i}].{place}": example[place] for place in places}
    for name, text in fields.items():
        longest = LONGEST_VERSION if name == "version" else LONGEST_FIELD
        if not 0 < len(text) <= longest:
            raise ClinRaGenInputError(f"{path}: {name} has {len(text)} characters; give 1 to {longest}")
    return raw


def _refuse_unknown(path: Path, place: str, found: dict, known: Iterable[str]) -> None:
    unknown = min(set(found) - set(known), default=None)
    if unknown is not None:
        raise ClinRaGenInputError(
            f"{path}: {place}{unknown} is not a field of a prompt; the fields are {', '.join(known)}"
        )


def _placeholders_of(path: Path, user: str) -> set[str]:
    """Return the placeholders of `user`; those for note, diagnoses and series are required."""
    template = Template(user)
    if not template.is_valid():
        raise ClinRaGenInputError(f"{path}: user has a $ without a name; write $$ for the character")
    found = set(template.get_identifiers())
    if found - set(PLACEHOLDERS):
        raise ClinRaGenInputError(
            f"{path}: user has ${min(found - set(PLACEHOLDERS))}; there are ${', $'.join(PLACEHOLDERS)}"
        )
    for wanted in (("diagnoses",), ("note",), ("series", "caption")):
        if not found & set(wanted):
            raise ClinRaGenInputError(f"{path}: user has no ${' and no $'.join(wanted)}; put it where that belongs")
    return found


def summarize_series(channels: list[dict], lab_times, lab_values) -> str:
    """
    Return one line per channel: its normal range, its limits of clearly low and high values, where conventions
    differ; number of values, first, last, lowest and highest, number outside the normal range, the trend.

    Args:
        channels (list of `dict`): of the dataset.
        lab_times (array of shape `(T,)`): hours since ICU admission.
        lab_values (array of shape `(T, num_channels)`): NaN = not measured.
    """
    hours = np.asarray(lab_times, dtype=float)
    values = np.asarray(lab_values, dtype=float).reshape(-1, len(channels))
    return "\n".join(_summary(c, hours, column) for c, column in zip(channels, values.T, strict=True))


def _summary(channel: dict, hours: np.ndarray, column: np.ndarray) -> str:
    """Return one line on the measured values of a channel."""
    measured = ~np.isnan(column)
    if not measured.any():
        return f"{channel['name']}: not measured"
    hours, values, show = hours[measured], column[measured], f".{channel['decimals']}f"
    low, high = values.argmin(), values.argmax()
    trend = f"; {trend_of(values)}" if len(values) >= 6 else ""
    usual_low, usual_high = usual_limits(channel)
    sides = [(usual_high, f"{(values > usual_high).sum()} H"), (usual_low, f"{(values < usual_low).sum()} L")]
    counts = ", ".join(count for limit, count in sides if np.isfinite(limit))
    return (
        f"{channel['name']} ({_limits(channel)}): "
        f"{len(values)} values; first {values[0]:{show}}, last {values[-1]:{show}}; "
        f"lowest {values[low]:{show}} (hour {hours[low]:.1f}), "
        f"highest {values[high]:{show}} (hour {hours[high]:.1f}){counts and '; ' + counts}{trend}"
    )


def _limits(channel: dict) -> str:
    """Return the unit of a channel and its limits, as in "mmHg, normal 100 to 129, clearly low below 90"."""
    usual = range_text({**channel, "unit": channel["name"]})  # the unit is written before it
    parts = [channel["unit"], f"{channel.get('normal') or 'normal'} {usual}" if usual else ""]
    for name, words in (("clearly_low", "clearly low below"), ("clearly_high", "clearly high above")):
        parts.append("" if channel.get(name) is None else f"{words} {channel[name]:g}")
    return ", ".join(part for part in parts if part)
