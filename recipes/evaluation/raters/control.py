# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Controls of a judge: whether it gives lower scores to rationales of other patients, and whether it notices what the
checkers find.

A judge that does neither is not a measure of rationales, however well its repeats agree.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from datasets_scripts.llm.chat import Answer
from recipes.evaluation.figures.intervals import resample_patients
from recipes.evaluation.report.text import decimals


MUCH_THE_SAME = 0.8  # share of the most common score among all scores
LEAST_AGREEMENT = 0.4  # Krippendorff's alpha of the repeats


def with_other_rationales(cases: Sequence[dict], number: int, seed: int) -> list[tuple[int, dict]]:
    """
    Give cases the rationale of another patient, if possible one with other diagnoses.

    Args:
        cases (list of `dict`): predictions, as `evaluate_model.py` writes them.
        number (`int`): number of cases that get one, drawn by the seed.

    Returns:
        position of each such case, and the case with the other's rationale and the diagnoses that it was written for.
    """
    choose = random.Random(seed)
    found = []
    for place in sorted(choose.sample(range(len(cases)), min(number, len(cases)))):
        case = cases[place]
        others = [other for other in cases if other["subject_id"] != case["subject_id"]]
        unlike = [other for other in others if not set(other["gold"]) & set(case["gold"])]
        if others:
            other = choose.choice(unlike or others)
            parts = ("note_rationale", "lab_rationale", "diagnoses")
            found.append((place, {**case, **{part: other[part] for part in parts}}))
    return found


def control_figures(answers: list[list[Answer]], controls: list[Answer], places: list[int], cases: list[dict]) -> dict:
    """
    Compare the scores of rationales with those of other patients' rationales, and with the verdicts of the checkers.

    Args:
        answers (lists of `Answer`): for each repeat, one answer per case.
        controls (list of `Answer`): for the cases at `places`, with the rationale of another patient.

    Returns:
        `dict`: number of `records` with both scores; `mean` of their own scores and `control_mean`; `auroc`, how often
        a record's own rationale scores higher than another patient's (ties half), with its 95% `interval`;
        `checkers`: number of `records`, of those `contradicted` by the checkers, and the `auroc` of the scores of the
        others against these. `None` where undefined.
    """
    scores = np.array([_score([repeat[i] for repeat in answers]) for i in range(len(cases))])
    other = np.array([_score([answer]) for answer in controls])
    own = scores[places] if places else np.array([])
    both = ~(np.isnan(own) | np.isnan(other)) if places else np.zeros(0, dtype=bool)
    own, other, of = (
        own[both],
        other[both],
        [cases[i]["subject_id"] for i, kept in zip(places, both, strict=True) if kept],
    )
    wrong = np.array([_is_contradicted(case) for case in cases])
    rated = ~np.isnan(scores)
    return {
        "records": len(own),
        "mean": float(own.mean()) if len(own) else None,
        "control_mean": float(other.mean()) if len(own) else None,
        "auroc": _auroc(own, other),
        "interval": _interval(own, other, of),
        "checkers": {
            "records": int(rated.sum()),
            "contradicted": int((wrong & rated).sum()),
            "auroc": _auroc(scores[rated & ~wrong], scores[rated & wrong]),
        },
    }


def most_common_score(answers: list[list[Answer]]) -> dict:
    """Return the score that is given most often, over all axes and answers, and its share."""
    given = Counter(
        int(part["score"]) for row in answers for a in row if a.value is not None for part in a.value.values()
    )
    score, count = given.most_common(1)[0] if given else (None, 0)
    return {"score": score, "share": count / given.total() if given else None, "scores": dict(sorted(given.items()))}


def conclusions(figures: dict) -> list[str]:
    """Return in sentences how far a judge's ratings can be trusted; warnings begin with "Warning"."""
    sentences, common, control = [], figures["most_common_score"], figures["control"]
    alphas = [f["krippendorff_alpha"] for f in figures["axes"].values() if f["krippendorff_alpha"] is not None]
    if common["share"] is not None:
        text = f"The judge gives {common['score']} to {100 * common['share']:.0f}% of all axes."
        sentences.append(f"Warning: {text} Its means say little." if common["share"] >= MUCH_THE_SAME else text)
    if alphas and np.mean(alphas) < LEAST_AGREEMENT:
        sentences.append(
            f"Warning: asked twice, it agrees with itself little more than by chance: alpha {np.mean(alphas):.2f} "
            "on average."
        )
    if control["records"]:
        low, high = control["interval"]
        text = (
            f"It scores a record's own rationale {decimals(control['mean'])} and another patient's "
            f"{decimals(control['control_mean'])} on average: AUROC {decimals(control['auroc'])} "
            f"({decimals(low)} to {decimals(high)}, {control['records']} records; 0.5 is chance)."
        )
        blind = "it cannot distinguish a record's own rationale from another patient's; do not use its scores"
        sentences.append(f"Warning: {text} That is, {blind}." if low <= 0.5 else text)
    checkers = control["checkers"]
    if checkers["auroc"] is not None:
        sentences.append(
            f"Of {checkers['records']} rationales the checkers contradict {checkers['contradicted']}; it scores the "
            f"others higher with AUROC {decimals(checkers['auroc'])}."
        )
    return sentences


def _score(answers: Sequence[Answer]) -> float:
    """Return the mean over answers and axes, NaN where there is none."""
    scores = [part["score"] for answer in answers if answer.value is not None for part in answer.value.values()]
    return float(np.mean(scores)) if scores else np.nan


def _is_contradicted(case: dict) -> bool:
    """Return whether the checkers contradict a claim of a rationale."""
    claims = [*(case.get("claims") or ()), *(case.get("note_claims") or ())]
    return any(claim.get("verdict") in ("contradicted", "absent") for claim in claims)


def _auroc(higher: np.ndarray, lower: np.ndarray, weights: np.ndarray | None = None) -> float | None:
    """Return how often a score of the first exceeds one of the second, ties half; `None` if either is empty."""
    if not len(higher) or not len(lower):
        return None
    wins = (higher[:, None] > lower[None, :]) + 0.5 * (higher[:, None] == lower[None, :])
    weights = np.ones(wins.shape) if weights is None else weights[:, None] * weights[None, :]
    return float((wins * weights).sum() / weights.sum())


def _interval(own: np.ndarray, other: np.ndarray, patients: list[str]) -> list[float] | None:
    """Return the 95% interval of the AUROC by resampling patients, with both scores of a patient together."""
    if not len(own):
        return None
    found = [_auroc(own, other, weights) for chunk in resample_patients(patients) for weights in chunk]
    return [float(x) for x in np.percentile(found, [2.5, 97.5])]
