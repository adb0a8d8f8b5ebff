# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A large language model as the teacher: the record as a prompt, its answer through the gate, and again with the reason
where the gate says no.
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
LONGEST_TOLD = 4000  # characters of what was wrong, in the next chat


class LanguageModelTeacher:
    """
    Args:
        model (`EndpointModel` or `LocalModel`): answers chats.
        prompt (`Prompt`), gate (`Gate`): what is asked, and what is accepted.
        tries (`int`): how often a record is asked for; from the second on with what was wrong.
        keep_rejected (`bool`): give the last try in spite of its faults, instead of nothing.
        form (`GroundedForm`, *optional*): what an answer about a record may hold; default: any sentences.
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
        """Yield a rationale for each row, in order; many rows are under way at once."""
        return map_in_order(self.explain, rows, self.model)

    async def explain(self, row: dict) -> Rationale:
        chat, note, lab, judgement = self.prompt(row), [], [], Judgement()
        narrow = self.form(row) if self.form else None
        for attempt in range(self.tries):
            answer = await self.model.answer(Request(chat, SCHEMA, narrow=narrow))
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
