# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A large language model as the teacher: the record is the prompt, the gate checks the answer, and rejected answers are
requested again with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from datasets_scripts.llm.chat import Request
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.teacher.gate import Gate, Judgement, Sentence
from datasets_scripts.teacher.grounded import GroundedForm
from datasets_scripts.teacher.prompt import SCHEMA, Prompt
from datasets_scripts.teacher.rationale import ACCEPTED, DROPPED, KEPT, MENDED, Rationale


LONGEST_SENTENCE = 600  # characters; a model that repeats itself without end writes longer ones
LONGEST_FEEDBACK = 4000  # characters about the faults, in the next chat


class LanguageModelTeacher:
    """
    Args:
        model (`EndpointModel` or `LocalModel`): answers chats.
        prompt (`Prompt`), gate (`Gate`): the question, and the check of answers.
        tries (`int`): number of attempts per record; from the second on with the faults of the previous one.
        keep_rejected (`bool`): return the last attempt in spite of its faults, instead of nothing.
        form (`GroundedForm`, *optional*): the schema of an answer about a record; default: any sentences.
    """

    def __init__(
        self,
        model,
        prompt: Prompt,
        gate: Gate,
        tries: int = 3,
        keep_rejected: bool = False,
        form: GroundedForm | None = None,
    ):
        self.model, self.prompt, self.gate, self.tries, self.keep_rejected = model, prompt, gate, tries, keep_rejected
        self.form = form

    def __call__(self, rows: Iterable[dict]) -> Iterator[Rationale]:
        """Yield a rationale for each row, in order; many rows are processed at once."""
        return map_in_order(self.explain, rows, self.model)

    async def explain(self, row: dict) -> Rationale:
        chat, note, lab, judgement = self.prompt(row), [], [], Judgement()
        narrow = self.form(row) if self.form else None
        for attempt in range(self.tries):
            answer = await self.model.answer(Request(chat, SCHEMA, narrow=narrow))
            if answer.value is None:
                reasons, feedback = [answer.reason], f"Your answer could not be used: {answer.reason}."
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
                feedback = "\n".join(f"- {fault}" for _, fault in judgement.faults)[:LONGEST_FEEDBACK]
                written = json.dumps(answer.value, ensure_ascii=False)
            chat = [
                *self.prompt(row),
                {"role": "assistant", "content": written},
                {
                    "role": "user",
                    "content": f"{feedback}\nWrite the whole JSON object again with this mended.",
                },
            ]
        if self.keep_rejected and (note or lab):
            return Rationale(*_texts(note, lab), KEPT, tuple(reasons), judgement.claims, judgement.without)
        return Rationale("", "", DROPPED, tuple(reasons))

    def _judged(self, row: dict, note: list[Sentence], lab: list[Sentence]) -> Judgement:
        """Judge a rationale; overlong sentences, which would take the gate minutes, are rejected at once."""
        pieces = [piece for sentence in (*note, *lab) for piece in re.split(r"[.!?]\s", sentence.text)]
        if any(len(piece) > LONGEST_SENTENCE for piece in pieces):
            return Judgement([("overlong sentence", f"A sentence is longer than {LONGEST_SENTENCE} characters.")])
        return self.gate(row, note, lab)


def _sentences(part: list[dict]) -> list[Sentence]:
    return [Sentence(" ".join(item["sentence"].split()), tuple(item["evidence"])) for item in part]


def _texts(note: list[Sentence], lab: list[Sentence]) -> tuple[str, str]:
    return " ".join(s.text for s in note), " ".join(s.text for s in lab)
