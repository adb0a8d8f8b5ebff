# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The offline teacher: rationales composed from the content of a record.

A diagnosis is explained by the non-negated knowledge terms in the note, and by measured findings of channels that
the knowledge links with it. Nothing is written from the label alone: a diagnosis without such evidence is called
unexplained. `modeling_clinragen` holds the composer, which grounded generation uses too.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np

from datasets_scripts.common.cluster import ordered_map
from datasets_scripts.common.workers import worker_pool
from datasets_scripts.teacher.gate import Gate, Sentence
from datasets_scripts.teacher.rationale import DROPPED, KEPT, Rationale
from modeling_clinragen.composition_clinragen import Composer, Evidence
from modeling_clinragen.language_clinragen import ENGLISH, Language
from modeling_clinragen.links_clinragen import KnowledgeLinks


ROWS_PER_TASK = 500  # per task of a process


class TemplateTeacher:
    """
    Args:
        knowledge (`dict`): as `load_knowledge` gives it.
        channels (list of `dict`): of the dataset: `name`, `unit`, `low`, `high`, `decimals`.
        labels (list of `dict`): of the dataset, in class-id order: `name`, and `synonyms` for the gate.
        seed (`int`): of the wording; together with the stay's id it determines every choice.
        keep_rejected (`bool`): also return rationales that the gate rejects.
        language (`Language`, *optional*): of the notes, and of the sentences written.
    """

    def __init__(
        self,
        knowledge: dict,
        channels: list[dict],
        labels: list[dict],
        seed: int = 0,
        keep_rejected: bool = False,
        language: Language = ENGLISH,
    ):
        self.labels, self.seed, self.keep_rejected = [label["name"] for label in labels], seed, keep_rejected
        links = KnowledgeLinks(knowledge["terms"], self.labels, channels, language)
        self.gate, self.composer = Gate(channels, labels, links), Composer(links, channels, self.labels)

    def __call__(self, rows: Iterable[dict]) -> list[Rationale]:
        """Return a rationale for each row, checked by the gate like those of other teachers."""
        return [self._judged(row) for row in rows]

    def _judged(self, row: dict) -> Rationale:
        row = row | {name: np.asarray(row[name], dtype=float) for name in ("lab_times", "lab_values")}
        evidence = self._evidence(row)
        note, lab = self._sentences(row, evidence)
        texts = _text(note), _text(lab)
        judgement = self.gate(row, *([Sentence(text)] for text in texts), evidence)
        details = {"reasons": tuple(judgement.kinds), "claims": judgement.claims, "without": judgement.without}
        if not judgement.faults:
            return Rationale(*texts, **details)
        if self.keep_rejected:
            return Rationale(*texts, KEPT, **details)
        return Rationale("", "", DROPPED, tuple(judgement.kinds))

    def explain(self, row: dict) -> tuple[str, str]:
        """Return the note rationale and the lab rationale of one dataset row."""
        note, lab = self._sentences(row, self._evidence(row))
        return _text(note), _text(lab)

    def _evidence(self, row: dict) -> dict[str, Evidence]:
        diseases = [self.labels[i] for i in row["diagnoses"]]
        return self.composer.evidence(row["note"], row["lab_times"], row["lab_values"], diseases)

    def _sentences(self, row: dict, evidence: dict[str, Evidence]) -> tuple[list, list]:
        choose = random.Random(f"{self.seed}:{row['stay_id']}")
        diseases = [self.labels[i] for i in row["diagnoses"]]
        return self.composer.rationale(
            row["note"], row["lab_times"], row["lab_values"], diseases, choose, evidence=evidence
        )


def _text(sentences: list) -> str:
    return " ".join(sentence.text for sentence in sentences)


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
    with worker_pool(processes, _set_teacher, teacher) as pool:
        begun = deque(
            pool.submit(_write, block) for block in itertools.chain([first], itertools.islice(blocks, processes))
        )
        while begun:
            yield from begun.popleft().result()
            begun.extend(pool.submit(_write, block) for block in itertools.islice(blocks, 1))


_teacher: TemplateTeacher | None = None  # of a worker process


def _set_teacher(teacher: TemplateTeacher) -> None:
    global _teacher
    _teacher = teacher


def _write(rows: list[dict]) -> list[Rationale]:
    return _teacher(rows)
