# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A large language model as the judge of rationales: scores on five axes, and which of two rationales is better.

The reliability of a judge shows in its answers to the same question: each rationale is rated again, with its parts in
reverse order, and each pair of rationales is shown in both positions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from string import Template

import numpy as np
import yaml
from tqdm import tqdm

from datasets_scripts.llm.chat import Answer, Request
from datasets_scripts.llm.ordered import map_in_order
from datasets_scripts.teacher.prompt import summarize_series
from recipes.evaluation.figures.intervals import intervals, share_figures
from recipes.evaluation.raters.agreement import krippendorff_alpha


PROMPT = "judge-1"
AXES = ("correctness", "readability", "soundness", "consistency", "persuasiveness")
SCORES = (1, 2, 3, 4, 5)
AGAIN = "Your answer could not be used: {}. Write the whole JSON object again."
ORDERS = ("given", "reversed")  # in which record, rationale and axes are shown


def sample_cases(predictions: list[dict], number: int, seed: int) -> list[dict]:
    """
    Draw `number` of the predictions with a rationale by the seed, and return them in their order.

    The draw of a stay depends on the seed and its id alone, so that one seed draws the same stays of every report.
    """
    cases = [p for p in predictions if has_rationale(p)]
    drawn = sorted(cases, key=lambda p: hashlib.sha256(f"{seed} {p['stay_id']}".encode()).digest())[:number]
    chosen = {prediction["stay_id"] for prediction in drawn}
    return [prediction for prediction in cases if prediction["stay_id"] in chosen]


def has_rationale(prediction: dict) -> bool:
    """Return whether a prediction has both parts of a rationale, at least one of them not empty."""
    parts = [prediction.get(part) for part in ("note_rationale", "lab_rationale")]
    return bool(prediction.get("readable")) and None not in parts and any(parts)


def rating_schema(axes: Sequence[str] = AXES) -> dict:
    rated = {"reason": {"type": "string"}, "score": {"type": "integer", "enum": list(SCORES)}}
    return _object_schema({axis: _object_schema(rated) for axis in axes})


def preference_schema() -> dict:
    return _object_schema({"reason": {"type": "string"}, "better": {"type": "string", "enum": ["A", "B", "tie"]}})


def _object_schema(properties: dict) -> dict:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


class JudgePrompt:
    """
    The versioned prompt, `prompts/NAME.yaml`, filled with a record and its rationale.

    Args:
        channels (list of `dict`): of the dataset.
        max_note_characters (`int`): longer notes are cut at their end.
    """

    def __init__(self, channels: list[dict], max_note_characters: int = 8000, name: str = PROMPT):
        path = Path(__file__).parent / "prompts" / f"{name}.yaml"
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.version, self.system, self.axes = raw["version"], raw["system"], raw["axes"]
        self.record, self.rationale = ([Template(piece) for piece in raw[part]] for part in ("record", "rationale"))
        self.rating_text, self.form = Template(raw["rating"]), Template(raw["form"])
        self.preference_text = Template(raw["preference"])
        self.channels, self.max_note_characters = channels, max_note_characters

    def rating(self, row: dict, prediction: dict, order: int, seed: int) -> Request:
        """
        Args:
            row (`dict`): of the dataset.
            prediction (`dict`): as `evaluate_model.py` writes it, of the same stay.
            order (`int`): index into `ORDERS`.
            seed (`int`): of the model's sampling.
        """
        axes = _ordered(self.axes, order)
        text = self.rating_text.substitute(
            record=self._record(row, prediction, order),
            written=_names(label["label"] for label in prediction["diagnoses"]),
            rationale=self._rationale(prediction, order),
            axes="\n".join(f"- {axis}: {self.axes[axis]}" for axis in axes),
            form=",\n".join(self.form.substitute(axis=axis) for axis in axes),
        )
        return self._request(text, rating_schema(axes), seed)

    def preference(self, row: dict, a: dict, b: dict, seed: int) -> Request:
        """Ask which of two predictions of one stay, in the positions A and B, has the better rationale."""
        text = self.preference_text.substitute(
            record=self._record(row, a, 0), rationale_a=self._rationale(a, 0), rationale_b=self._rationale(b, 0)
        )
        return self._request(text, preference_schema(), seed)

    def _request(self, text: str, schema: dict, seed: int) -> Request:
        messages = [{"role": "system", "content": self.system}, {"role": "user", "content": text}]
        return Request(messages, schema, seed)

    def _record(self, row: dict, prediction: dict, order: int) -> str:
        return _fill(
            _ordered(self.record, order),
            recorded=_names(prediction["gold"]),
            note=row["note"][: self.max_note_characters] or "There is no note.",
            series=summarize_series(self.channels, row["lab_times"], row["lab_values"]),
            caption=row["lab_caption"],
        )

    def _rationale(self, prediction: dict, order: int) -> str:
        parts = {part: prediction[part] or "(nothing was written)" for part in ("note_rationale", "lab_rationale")}
        return _fill(_ordered(self.rationale, order), **parts)


def _ordered(pieces, order: int) -> list:
    return list(reversed(pieces)) if order else list(pieces)


def _fill(pieces: list[Template], **values: str) -> str:
    return "\n\n".join(piece.substitute(values) for piece in pieces)


def _names(diagnoses) -> str:
    return "; ".join(diagnoses) or "none of the list"


class Judge:
    """
    Args:
        model (`EndpointModel` or `LocalModel`): answers chats.
        name (`str`): of the model, as the rows of its ratings hold it.
        prompt (`JudgePrompt`): fills in the questions.
    """

    def __init__(self, model, name: str, prompt: JudgePrompt):
        self.model, self.name, self.prompt = model, name, prompt

    def rate(self, cases: Sequence[dict], rows: Sequence[dict], repeats: int, seed: int) -> list[list[Answer]]:
        """
        Return for each repeat one answer per case: each repeat with another seed, every second one in reverse order.

        Args:
            cases (list of `dict`): predictions, as `evaluate_model.py` writes them.
            rows (list or `Dataset`): the row of the dataset of each.
        """
        requests = (
            self.prompt.rating(row, case, repeat % len(ORDERS), seed + repeat)
            for repeat in range(repeats)
            for case, row in zip(cases, rows, strict=True)
        )
        return self._ask(requests, repeats, len(cases), "Rating")

    def compare(
        self, cases: Sequence[dict], others: Sequence[dict], rows: Sequence[dict], seed: int
    ) -> list[list[Answer]]:
        """Return one answer per case for both positions: its own rationale as A and the other as B, then swapped."""
        requests = (
            self.prompt.preference(row, *((other, case) if swapped else (case, other)), seed)
            for swapped in (False, True)
            for case, other, row in zip(cases, others, rows, strict=True)
        )
        return self._ask(requests, 2, len(cases), "Comparing")

    def _ask(self, requests: Iterable[Request], rounds: int, size: int, desc: str) -> list[list[Answer]]:
        answers = map_in_order(self._answer, requests, self.model)
        answers = list(tqdm(answers, total=rounds * size, desc=desc, unit="request"))
        return [answers[i * size : (i + 1) * size] for i in range(rounds)]

    async def _answer(self, request: Request) -> Answer:
        """Ask; if the answer is unusable, ask once more with the reason."""
        found = await self.model.answer(request)
        if not found.again:
            return found
        retry = [{"role": "assistant", "content": "-"}, {"role": "user", "content": AGAIN.format(found.reason)}]
        return await self.model.answer(replace(request, messages=[*request.messages, *retry]))


def rating_rows(answers: list[list[Answer]], cases: list[dict], system: str, judge: str) -> list[dict]:
    """
    Return one row per score, as for human raters: `stay_id`, `system`, `rater`, `axis`, `score`.

    Args:
        answers (lists of `Answer`): for each repeat, one answer per case.
        judge (`str`): NAME; its repeats are the raters `judge:NAME#1`, `judge:NAME#2`, ...
    """
    return [
        {
            "stay_id": case["stay_id"],
            "system": system,
            "rater": f"judge:{judge}#{repeat}",
            "axis": axis,
            "score": int(answer.value[axis]["score"]),
        }
        for repeat, given in enumerate(answers, start=1)
        for case, answer in zip(cases, given, strict=True)
        if answer.value is not None
        for axis in AXES
    ]


def answer_rows(question: str, answers: list[list[Answer]], cases: list[dict]) -> list[dict]:
    """Return one row per answer: the `time` of the request, the answer, or why it is `missing`."""
    return [
        {
            "stay_id": case["stay_id"],
            "question": question,
            "time": time,
            "answer": answer.value,
            "missing": answer.reason,
        }
        for time, given in enumerate(answers, start=1)
        for case, answer in zip(cases, given, strict=True)
    ]


def rating_figures(answers: list[list[Answer]], patients: Sequence[str]) -> dict:
    """
    Return for each axis the mean with its interval over patients, and the agreement of the repeats.

    Args:
        answers (lists of `Answer`): for each repeat, one answer per record; odd repeats in reverse order.
        patients (list of `str`): the patient of each record.
    """
    given = [answer for repeat in answers for answer in repeat]
    return {
        "asked": len(given),
        "missing": reasons(given),
        "records_without_a_score": sum(not any(a.value for a in column) for column in zip(*answers, strict=True)),
        "axes": {axis: axis_figures(scores_of(answers, axis), patients) for axis in AXES},
    }


def reasons(answers: list[Answer]) -> dict[str, int]:
    """Count the missing answers by their reason."""
    return dict(Counter(answer.reason for answer in answers if answer.value is None).most_common())


def scores_of(answers: list[list[Answer]], axis: str) -> np.ndarray:
    """Return scores of shape `(num_repeats, num_records)`, NaN where an answer is missing."""
    return np.array([[np.nan if a.value is None else a.value[axis]["score"] for a in row] for row in answers], float)


def axis_figures(scores: np.ndarray, patients: Sequence[str]) -> dict:
    """
    Args:
        scores (array of shape `(num_repeats, num_records)`): NaN = missing; odd rows are of the reverse order.

    Returns:
        `dict`: `mean` and its `interval`; over all pairs of repeats of a record `exact_agreement`, a share, and
        `mean_absolute_difference`; `krippendorff_alpha`, ordinal; `mean_by_order`. `None` where undefined.
    """
    pairs = np.concatenate([abs(a - b) for a, b in combinations(scores, 2)] or [np.array([])])
    pairs = pairs[~np.isnan(pairs)]
    found = intervals(share_figures({"mean": np.nansum(scores, axis=0)}, (~np.isnan(scores)).sum(axis=0)), patients)
    return {
        "mean": _mean(scores),
        "interval": found.get("mean"),
        "exact_agreement": _mean(pairs == 0),
        "mean_absolute_difference": _mean(pairs),
        "krippendorff_alpha": krippendorff_alpha(scores),
        "mean_by_order": {name: _mean(scores[order::2]) for order, name in enumerate(ORDERS)},
    }


def _mean(values: np.ndarray) -> float | None:
    """Return the mean without NaN."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def preference_figures(answers: list[list[Answer]], patients: Sequence[str]) -> dict:
    """
    Return the judge's preferences over the records that were answered in both positions.

    Args:
        answers (two lists of `Answer`): with the first run as A, and with it as B; one answer per record.
        patients (list of `str`): the patient of each record.

    Returns:
        `dict`: shares of records that the first run wins (`win`) or loses (`loss`), which requires the same answer in
        both positions, and of all others (`tie`), with their `intervals`; `position_consistency`, the share that keeps
        its answer when the positions are swapped; `prefers_position_a`, the share of A among the answers with a
        preference (0.5 if positions do not matter). `None` where undefined.
    """
    given = [answer for position in answers for answer in position]
    both = [i for i, pair in enumerate(zip(*answers, strict=True)) if all(answer.value for answer in pair)]
    first = [answers[0][i].value["better"] for i in both]
    swapped = [answers[1][i].value["better"] for i in both]
    won = np.array([pair == ("A", "B") for pair in zip(first, swapped, strict=True)], bool)
    lost = np.array([pair == ("B", "A") for pair in zip(first, swapped, strict=True)], bool)
    shares = {"win": won, "tie": ~(won | lost), "loss": lost}
    both_tied = np.array([pair == ("tie", "tie") for pair in zip(first, swapped, strict=True)], bool)
    decided = np.array([answer == "A" for answer in (*first, *swapped) if answer != "tie"], bool)
    return {
        "asked": len(given),
        "missing": reasons(given),
        "records": len(both),
        **{name: _mean(share) for name, share in shares.items()},
        "intervals": intervals(share_figures(shares, np.ones(len(both))), [patients[i] for i in both]),
        "position_consistency": _mean(won | lost | both_tied),
        "prefers_position_a": _mean(decided),
    }
