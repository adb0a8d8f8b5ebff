# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A large language model as the teacher: the record as a prompt, its answer through the gate, and again with the reason
where the gate says no.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template

import numpy as np
import yaml

from datasets_scripts.llm.chat import Request
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.teacher.gate import Gate, Judgement, Sentence
from datasets_scripts.teacher.rationale import ACCEPTED, DROPPED, KEPT, MENDED, Rationale
from modeling_clinragen.clinical_clinragen import range_text, short_name, usual_limits
from modeling_clinragen.statements_clinragen import trend_of


PROMPT = "rationale-2"
TERMS = 12  # of the knowledge, for one diagnosis
LONGEST_SENTENCE = 600  # characters; a model that repeats itself without end writes longer ones
LONGEST_TOLD = 4000  # characters of what was wrong, in the next chat
SENTENCES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"sentence": {"type": "string"}, "evidence": {"type": "array", "items": {"type": "string"}}},
        "required": ["sentence", "evidence"],
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
    Fill a versioned prompt, `prompts/NAME.yaml`, with a record.

    Args:
        knowledge (`dict`): as `load_knowledge` gives it.
        channels (list of `dict`), labels (list of `str`): of the dataset.
        max_note_characters (`int`): longer notes are cut at their end.
    """

    def __init__(
        self, knowledge: dict, channels: list[dict], labels: list[str], name: str = PROMPT, max_note_characters=8000
    ):
        path = Path(__file__).parent / "prompts" / f"{name}.yaml"
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.version, self.user = raw["version"], Template(raw["user"])
        self.channels, self.labels, self.max_note_characters = channels, labels, max_note_characters
        self.opening = [{"role": "system", "content": raw["system"]}]
        for example in raw["examples"]:
            answer = json.dumps(example.pop("answer"), ensure_ascii=False)
            self.opening.append({"role": "user", "content": self.user.substitute(example)})
            self.opening.append({"role": "assistant", "content": answer})
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


def summarize_series(channels: list[dict], lab_times, lab_values) -> str:
    """
    One line a channel: what is normal, and beyond which limits a value is clearly low or high, where conventions
    differ; how many values, the first, last, lowest and highest, how many outside of normal, the trend.

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
    usual = range_text({**channel, "unit": channel["name"]})  # the unit stands before it
    parts = [channel["unit"], f"{channel.get('normal') or 'normal'} {usual}" if usual else ""]
    for name, words in (("clearly_low", "clearly low below"), ("clearly_high", "clearly high above")):
        parts.append("" if channel.get(name) is None else f"{words} {channel[name]:g}")
    return ", ".join(part for part in parts if part)


class LanguageModelTeacher:
    """
    Args:
        model (`EndpointModel` or `LocalModel`): answers chats.
        prompt (`Prompt`), gate (`Gate`): what is asked, and what is accepted.
        tries (`int`): how often a record is asked for; from the second on with what was wrong.
        keep_rejected (`bool`): give the last try in spite of its faults, instead of nothing.
    """

    def __init__(self, model, prompt: Prompt, gate: Gate, tries: int = 3, keep_rejected: bool = False):
        self.model, self.prompt, self.gate, self.tries, self.keep_rejected = model, prompt, gate, tries, keep_rejected

    def __call__(self, rows: Iterable[dict]) -> Iterator[Rationale]:
        """Yield a rationale for each row, in order; many rows are under way at once."""
        return map_in_order(self.explain, rows, self.model)

    async def explain(self, row: dict) -> Rationale:
        chat, note, lab, judgement = self.prompt(row), [], [], Judgement()
        for attempt in range(self.tries):
            answer = await self.model.answer(Request(chat, SCHEMA))
            if answer.value is None:
                reasons, told = [answer.reason], f"Your answer could not be used: {answer.reason}."
                written = "-"
                if not answer.again:
                    break
            else:
                note, lab = (_sentences(answer.value[part]) for part in ("note_rationale", "lab_rationale"))
                judgement = self._judged(row, note, lab)
                if not judgement.faults:
                    return Rationale(
                        *_texts(note, lab), MENDED if attempt else ACCEPTED, (), judgement.claims, judgement.without
                    )
                reasons = judgement.kinds
                told = "\n".join(f"- {fault}" for _, fault in judgement.faults)[:LONGEST_TOLD]
                written = json.dumps(answer.value, ensure_ascii=False)
            chat = [
                *self.prompt(row),
                {"role": "assistant", "content": written},
                {
                    "role": "user",
                    "content": f"{told}\nWrite the whole JSON object again with this mended.",
                },
            ]
        if self.keep_rejected and (note or lab):
            return Rationale(*_texts(note, lab), KEPT, tuple(reasons), judgement.claims, judgement.without)
        return Rationale("", "", DROPPED, tuple(reasons))

    def _judged(self, row: dict, note: list[Sentence], lab: list[Sentence]) -> Judgement:
        """Judge a rationale; the gate does not read sentences without an end, which would keep it for minutes."""
        pieces = [piece for sentence in (*note, *lab) for piece in re.split(r"[.!?]\s", sentence.text)]
        if any(len(piece) > LONGEST_SENTENCE for piece in pieces):
            told = f"A sentence is longer than {LONGEST_SENTENCE} characters."
            return Judgement([("overlong sentence", told)])
        return self.gate(row, note, lab)


def _sentences(part: list[dict]) -> list[Sentence]:
    return [Sentence(" ".join(item["sentence"].split()), tuple(item["evidence"])) for item in part]


def _texts(note: list[Sentence], lab: list[Sentence]) -> tuple[str, str]:
    return " ".join(s.text for s in note), " ".join(s.text for s in lab)
