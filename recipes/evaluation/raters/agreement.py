# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of raters: Krippendorff's alpha, the intraclass correlation and weighted kappa."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from recipes.evaluation.figures.intervals import defined, divide, intervals, share_figures


def krippendorff_alpha(ratings: np.ndarray) -> float | None:
    """
    Return Krippendorff's ordinal alpha: 1 = full agreement, 0 = no more than chance. Raters may leave items out.

    Args:
        ratings (array of shape `(num_raters, num_items)`): NaN = not rated. Items with one rating do not count.

    Returns:
        `float` or `None`: `None` where it is undefined: no item has two ratings, or all ratings are equal.

    Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    once = np.ones((1, np.shape(ratings)[1]))
    return defined(alpha_figure(ratings)(once)["alpha"][0])


def alpha_figure(ratings: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return [`krippendorff_alpha`] as a function of item weights, for `intervals`; NaN where it is undefined."""
    ratings = np.asarray(ratings, dtype=float)
    rated = ~np.isnan(ratings)
    values, codes = np.unique(ratings[rated], return_inverse=True)
    counts = np.zeros((ratings.shape[1], len(values)))  # number of ratings of each item with each value
    np.add.at(counts, (np.nonzero(rated)[1], codes), 1)
    counts[counts.sum(axis=1) < 2] = 0
    per_item = counts.sum(axis=1, keepdims=True)
    others = np.maximum(per_item - 1, 1)

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = np.asarray(weights, dtype=float)
        totals = weights @ counts  # (num_resamples, num_values)
        number = totals.sum(axis=1, keepdims=True)
        places = totals.cumsum(axis=1) - totals / 2  # mid-ranks: the ordinal distance is a squared difference of these
        places = places - divide((totals * places).sum(axis=1, keepdims=True), number)
        spread = per_item * (counts @ places.T**2) - (counts @ places.T) ** 2  # (num_items, num_resamples)
        within = (weights.T * spread / others).sum(axis=0)[:, None]
        expected = number * (totals * places**2).sum(axis=1, keepdims=True)
        return {"alpha": 1 - divide((number - 1) * within, expected, empty=np.nan)[:, 0]}

    return figures


def icc(ratings: np.ndarray) -> dict[str, float | None]:
    """
    Return the intraclass correlations ICC(2,1), of one rater, and ICC(2,k), of the mean of all: two-way random
    effects, absolute agreement.

    Args:
        ratings (array of shape `(num_items, num_raters)`): NaN = not rated. Only items rated by all raters count.

    Returns:
        `dict`: `icc_2_1` and `icc_2_k`; `None` where undefined: fewer than two items or raters, all ratings equal, or
        (`icc_2_k`) the raters disagree more than the items vary.

    Source: P. E. Shrout and J. L. Fleiss, "Intraclass Correlations: Uses in Assessing Rater Reliability",
    Psychological Bulletin 86(2), 1979.
    """
    ratings = np.asarray(ratings, dtype=float)
    ratings = ratings[~np.isnan(ratings).any(axis=1)]
    n, k = ratings.shape
    if n < 2 or k < 2 or np.ptp(ratings) == 0:
        return {"icc_2_1": None, "icc_2_k": None}
    items, raters, mean = ratings.mean(axis=1, keepdims=True), ratings.mean(axis=0, keepdims=True), ratings.mean()
    between_items = k * ((items - mean) ** 2).sum() / (n - 1)
    between_raters = n * ((raters - mean) ** 2).sum() / (k - 1)
    error = ((ratings - items - raters + mean) ** 2).sum() / ((n - 1) * (k - 1))
    signal, rater_part = between_items - error, (between_raters - error) / n
    of_mean = between_items + rater_part
    return {
        "icc_2_1": float(signal / (between_items + (k - 1) * error + k * rater_part)),
        "icc_2_k": float(signal / of_mean) if of_mean > 1e-9 * ratings.var() else None,
    }


def weighted_kappa(a: np.ndarray, b: np.ndarray, num_levels: int) -> float | None:
    """
    Return Cohen's kappa of two raters with quadratic weights.

    Args:
        a, b (int arrays of shape `(num_items,)`): scores `1..num_levels` of the same items.

    Returns:
        `float` or `None`: `None` where it is undefined: no items, or both raters gave the same score to all.
    """
    if len({*a, *b}) < 2:
        return None
    return float(cohen_kappa_score(a, b, labels=range(1, num_levels + 1), weights="quadratic"))


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Spearman's rank correlation; `None` where either does not vary."""
    if len(a) == 0 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def rating_figures(
    ratings: Sequence[dict],
    judged: Sequence[dict],
    patients: dict[str, str],
    systems: Sequence[str],
    axes: Sequence[str],
    num_levels: int,
) -> dict[str, dict]:
    """
    Return the raters' scores, and their agreement with each other and with a judge, for each axis.

    Args:
        ratings, judged (lists of `dict`):
            Rows with `stay_id`, `system`, `rater`, `axis` and `score`, of the human raters and of a judge; `judged`
            may be empty, and may hold further stays, systems and axes, which do not count.
        patients (`dict`): stay_id -> subject_id of the stays in the sheets.
        num_levels (`int`): scores are `1..num_levels`.

    Returns:
        `dict`: axis -> `systems` (per system the mean of the items' mean scores over raters, with a 95% interval
        by resampling patients), `alpha` (ordinal) with its `alpha_interval`, `icc_2_1` and `icc_2_k` over the
        `items_all_rated`, `kappa` (quadratic weights) of each pair of raters, and with a judge `judge`: agreement of
        the mean human score with the mean score of the judge's runs. `None` = undefined.
    """
    items = [(stay, system) for stay in patients for system in systems]
    subjects = [patients[stay] for stay, _ in items]
    names = sorted({row["rater"] for row in ratings})
    scores, by_judge = _score_array(ratings, items, axes), _score_array(judged, items, axes)
    found = {}
    for axis, rated, by_machine in zip(axes, scores, by_judge, strict=True):
        means = _item_means(rated)
        of_system = {name: np.array([system == name for _, system in items]) for name in systems}
        found[axis] = {
            "systems": {name: _mean_score(np.where(own, means, np.nan), subjects) for name, own in of_system.items()},
            "alpha": krippendorff_alpha(rated),
            "alpha_interval": intervals(alpha_figure(rated), subjects)["alpha"],
            "items_all_rated": int((~np.isnan(rated)).all(axis=0).sum()),
            **icc(rated.T),
            "kappa": [
                {"raters": [names[i], names[j]], "kappa": _kappa(rated[i], rated[j], num_levels)}
                for i, j in combinations(range(len(names)), 2)
            ],
        }
        if judged:
            found[axis]["judge"] = _with_judge(means, _item_means(by_machine), num_levels)
    return found


def _score_array(rows: Sequence[dict], items: list[tuple[str, str]], axes: Sequence[str]) -> np.ndarray:
    """Return scores of shape `(num_axes, num_raters, num_items)`, raters sorted by name; NaN = not rated."""
    raters = {name: i for i, name in enumerate(sorted({row["rater"] for row in rows}))}
    place, axis_of = {item: i for i, item in enumerate(items)}, {axis: i for i, axis in enumerate(axes)}
    scores = np.full((len(axes), len(raters), len(items)), np.nan)
    for row in rows:
        item = row["stay_id"], row["system"]
        if item in place and row["axis"] in axis_of:
            scores[axis_of[row["axis"]], raters[row["rater"]], place[item]] = row["score"]
    return scores


def _item_means(scores: np.ndarray) -> np.ndarray:
    """Return the mean over raters, `(num_raters, num_items)` to `(num_items,)`; NaN for unrated items."""
    return divide(np.nansum(scores, axis=0), (~np.isnan(scores)).sum(axis=0), empty=np.nan)


def _mean_score(means: np.ndarray, subjects: list[str]) -> dict:
    rated = ~np.isnan(means)
    mean = share_figures({"mean": np.nan_to_num(means)}, rated)
    return {
        "items": int(rated.sum()),
        "mean": float(means[rated].mean()) if rated.any() else None,
        "interval": intervals(mean, subjects)["mean"],
    }


def _kappa(a: np.ndarray, b: np.ndarray, num_levels: int) -> float | None:
    both = ~np.isnan(a) & ~np.isnan(b)
    return weighted_kappa(a[both], b[both], num_levels)


def _with_judge(human: np.ndarray, judge: np.ndarray, num_levels: int) -> dict:
    """Return the agreement of two mean scores per item; for kappa they are rounded, halves up."""
    both = ~np.isnan(human) & ~np.isnan(judge)
    return {
        "items": int(both.sum()),
        "alpha": krippendorff_alpha(np.stack([human, judge])),
        "kappa": _kappa(np.floor(human + 0.5), np.floor(judge + 0.5), num_levels),
        "spearman": spearman(human[both], judge[both]),
    }
