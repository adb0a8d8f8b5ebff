# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The offline teacher: rationales put together from what a record holds.

A diagnosis is explained by the knowledge terms found in the note, not negated, and by measured findings of channels
that the knowledge connects with it. Nothing is written from the label alone: a diagnosis without such evidence is not
argued for. Everything said of a channel is true of the record by construction, one fact a clause.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml

from datasets_scripts.common.cluster import ordered_map
from datasets_scripts.teacher.gate import Gate, Sentence
from datasets_scripts.teacher.rationale import DROPPED, KEPT, Rationale
from modeling_clinragen.claims_clinragen import times
from modeling_clinragen.clinical_clinragen import short_name
from modeling_clinragen.note_claims_clinragen import is_about_relatives, is_negated, sentence_around
from modeling_clinragen.phrases_clinragen import PhraseFinder
from modeling_clinragen.statements_clinragen import trend_of


ROWS_PER_TASK = 500  # of one process at a time

MAX_SPANS = 2  # note spans cited for one diagnosis
MAX_CHANNELS = 2  # channels cited for one diagnosis
MAX_DIAGNOSES = 5  # explained in one rationale

WORDING = yaml.safe_load(Path(__file__).with_name("wording.yaml").read_text(encoding="utf-8"))


class TemplateTeacher:
    """
    Args:
        knowledge (`dict`): as `load_knowledge` gives it.
        channels (list of `dict`): of the dataset: `name`, `unit`, `low`, `high`, `decimals`.
        labels (list of `dict`): of the dataset, in class-id order: `name`, and `synonyms` for the gate.
        seed (`int`): of the wording; with the stay's id it decides every choice.
        keep_rejected (`bool`): give what the gate rejects, too.
    """

    def __init__(
        self, knowledge: dict, channels: list[dict], labels: list[dict], seed: int = 0, keep_rejected: bool = False
    ):
        self.channels, self.labels, self.seed = channels, [label["name"] for label in labels], seed
        self.gate, self.keep_rejected = Gate(channels, labels), keep_rejected
        self.diseases_of = defaultdict(set)  # what may be found in a note, lower case -> diseases
        self.patterns_of = defaultdict(list)  # disease -> [(channel index, direction)]
        position = {channel["name"]: i for i, channel in enumerate(channels)}
        for term in knowledge["terms"]:
            for form in (term["term"], *term.get("synonyms", ())):
                self.diseases_of[form.lower()].update(term["diseases"])
            pattern = term.get("pattern")
            if pattern and pattern["channel"] in position:
                for disease in term["diseases"]:
                    self.patterns_of[disease].append((position[pattern["channel"]], pattern["direction"]))
        self.find = PhraseFinder(self.diseases_of)

    def __call__(self, rows: Iterable[dict]) -> list[Rationale]:
        """Return a rationale for each row, through the gate like any other teacher's."""
        return [self._judged(row, *self.explain(row)) for row in rows]

    def _judged(self, row: dict, note: str, lab: str) -> Rationale:
        judgement = self.gate(row, [Sentence(note)], [Sentence(lab)])
        if not judgement.faults:
            return Rationale(note, lab, claims=judgement.claims)
        if self.keep_rejected:
            return Rationale(note, lab, KEPT, tuple(judgement.kinds), judgement.claims)
        return Rationale("", "", DROPPED, tuple(judgement.kinds))

    def explain(self, row: dict) -> tuple[str, str]:
        """Return the note rationale and the lab rationale of one dataset row."""
        choose = random.Random(f"{self.seed}:{row['stay_id']}")
        diseases = [self.labels[i] for i in row["diagnoses"]]
        values = np.asarray(row["lab_values"], dtype=float).reshape(-1, len(self.channels))
        return self._note_rationale(row["note"], diseases, choose), self._lab_rationale(values, diseases, choose)

    def _note_rationale(self, note: str, diseases: list[str], choose: random.Random) -> str:
        if not note.strip():
            return WORDING["no_note"]
        spans = self.find_spans(note)
        sentences = []
        for disease in diseases:
            found = [text for text, named in spans if disease in named][:MAX_SPANS]
            if found:
                singular, plural = choose.choice(WORDING["verbs"])
                sentence = choose.choice(WORDING["note_sentences"]).format(
                    evidence=" and ".join(found),
                    verb=singular if len(found) == 1 else plural,
                    passive=choose.choice(WORDING["passives"]),
                    disease=short_name(disease),
                )
                sentences.append(sentence[0].upper() + sentence[1:])
        return " ".join(sentences[:MAX_DIAGNOSES]) or choose.choice(WORDING["no_note_evidence"])

    def find_spans(self, note: str) -> list[tuple[str, set[str]]]:
        """Find the knowledge terms of the note that are not negated, each once, in order: (as written, diseases)."""
        found, lower = {}, note.lower()
        for start, end in self.find(lower):
            form = lower[start:end]
            if form not in found:
                first, last = sentence_around(lower, start)
                sentence = lower[first:last]
                if not is_negated(sentence, start - first, end - first) and not is_about_relatives(
                    sentence, start - first
                ):
                    found[form] = note[start:end], self.diseases_of[form]
        return list(found.values())

    def _lab_rationale(self, values: np.ndarray, diseases: list[str], choose: random.Random) -> str:
        if not (~np.isnan(values)).any():
            return WORDING["nothing_measured"]
        sentences = []
        for disease in diseases:
            findings = []
            for channel, direction in self.patterns_of[disease]:
                finding = self._finding(values[:, channel], self.channels[channel], direction, choose)
                if finding and finding not in findings:
                    findings.append(finding)
            if findings:
                verb = choose.choice(WORDING["verbs"])[0]
                sentences.append(
                    choose.choice(WORDING["lab_sentences"]).format(
                        evidence=" and ".join(findings[:MAX_CHANNELS]), verb=verb, disease=short_name(disease)
                    )
                )
        return " ".join(sentences[:MAX_DIAGNOSES]) or choose.choice(WORDING["no_lab_evidence"])

    @staticmethod
    def _finding(column: np.ndarray, channel: dict, direction: str, choose: random.Random) -> str | None:
        """Return a true clause about a channel in that direction; `None` where its values do not show it."""
        measured = column[~np.isnan(column)]
        name = channel["name"]
        if direction in ("rising", "falling"):
            shown = len(measured) >= 6 and trend_of(measured) == direction
            return f"{name} is {direction}" if shown else None
        outside = measured > channel["high"] if direction == "high" else measured < channel["low"]
        if not outside.any():
            return None
        word = {"high": "higher", "low": "lower"}[direction]
        level = f"{name} is {word} than normal"
        counted = f"{level} {times(int(outside.sum()))}"
        extreme = measured.max() if direction == "high" else measured.min()
        reach = {"high": "up to", "low": "down to"}[direction]
        written = f"{extreme:.{channel['decimals']}f}"
        unit = channel["unit"] if channel["unit"] not in ("fraction", "pH") else ""
        extreme_of = f"{name} is {reach} {written} {unit}".rstrip()
        return choose.choice((level, level, level, counted, extreme_of))


def write_on_cluster(teacher: TemplateTeacher, rows: Iterable[dict], address: str) -> Iterator[Rationale]:
    """Yield a rationale for each row, in order, by the machines of a Ray cluster."""
    with closing(ordered_map(teacher, _blocks(rows), address)) as written:
        for block in written:
            yield from block


def _blocks(rows: Iterable[dict]) -> Iterator[list[dict]]:
    rows = iter(rows)
    return iter(lambda: list(itertools.islice(rows, ROWS_PER_TASK)), [])


def write_in_processes(teacher: TemplateTeacher, rows: Iterable[dict], processes: int) -> Iterator[Rationale]:
    """Yield a rationale for each row, in order, by several processes."""
    blocks = _blocks(rows)
    first = next(blocks, [])
    if processes < 2 or len(first) < ROWS_PER_TASK:
        for block in itertools.chain([first], blocks):
            yield from teacher(block)
        return
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_take, initargs=(teacher,)
    ) as pool:
        begun = deque(
            pool.submit(_write, block) for block in itertools.chain([first], itertools.islice(blocks, processes))
        )
        while begun:
            yield from begun.popleft().result()
            begun.extend(pool.submit(_write, block) for block in itertools.islice(blocks, 1))


_teacher: TemplateTeacher | None = None  # of a worker process


def _take(teacher: TemplateTeacher) -> None:
    global _teacher
    _teacher = teacher


def _write(rows: list[dict]) -> list[Rationale]:
    return _teacher(rows)
