# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""How far raters agree: Krippendorff's alpha, the intraclass correlation and weighted kappa."""

from __future__ import annotations

from typing import Literal

import numpy as np


def krippendorff_alpha(
    ratings: np.ndarray, level: Literal["nominal", "ordinal", "interval"] = "ordinal"
) -> float | None:
    """
    Krippendorff's alpha: 1 = full agreement, 0 = no more than by chance. Raters may leave items out.

    Args:
        ratings (array of shape `(num_raters, num_items)`): NaN = not rated. Items with one rating do not count.
        level (`str`, defaults to `"ordinal"`):
            What a difference of two ratings means: `"nominal"` any difference counts alike, `"ordinal"` the ranks
            between them count, `"interval"` the square of the difference.

    Returns:
        `float` or `None`: `None` where it is undefined: no item with two ratings, or all ratings alike.

    Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011.
    """
    ratings = np.asarray(ratings, dtype=float)
    values, codes = np.unique(ratings[~np.isnan(ratings)], return_inverse=True)
    counts = np.zeros((ratings.shape[1], len(values)))  # how often an item got a value
    np.add.at(counts, (np.nonzero(~np.isnan(ratings))[1], codes), 1)
    counts = counts[counts.sum(axis=1) >= 2]
    totals = counts.sum(axis=0)
    if level == "nominal":
        distance = 1 - np.eye(len(values))
    elif level in ("ordinal", "interval"):
        # The ordinal distance, all ratings between two values with half of those at both, is one of middle ranks.
        places = values if level == "interval" else totals.cumsum() - totals / 2
        distance = (places[:, None] - places) ** 2
    else:
        raise ValueError(f"level must be nominal, ordinal or interval, not {level!r}")
    within = (counts @ distance * counts).sum(axis=1)  # of the pairs of an item; a pair of one rating adds 0
    observed = (within / (counts.sum(axis=1) - 1)).sum()
    expected = totals @ distance @ totals
    return float(1 - (totals.sum() - 1) * observed / expected) if expected > 0 else None


def icc(ratings: np.ndarray) -> dict[str, float | None]:
    """
    Intraclass correlations ICC(2,1), of one rater, and ICC(2,k), of the mean of all: two-way random effects, absolute
    agreement.

    Args:
        ratings (array of shape `(num_items, num_raters)`): NaN = not rated. Only items that all rated count.

    Returns:
        `dict`: `icc_2_1` and `icc_2_k`; `None` where undefined: fewer than two items or raters, all ratings alike, or
        (`icc_2_k`) the raters' disagreement beyond what varies between items.

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


def weighted_kappa(
    a: np.ndarray, b: np.ndarray, num_levels: int, weights: Literal["quadratic", "linear"] = "quadratic"
) -> float | None:
    """
    Cohen's weighted kappa of two raters.

    Args:
        a, b (int arrays of shape `(num_items,)`): scores `1..num_levels` of the same items.
        num_levels (`int`): number of levels of the scale.
        weights (`str`, defaults to `"quadratic"`):
            What a difference of scores costs: its square, or (`"linear"`) itself.

    Returns:
        `float` or `None`: `None` where it is undefined: no items, or both gave one and the same score to all.

    Source: J. Cohen, "Weighted kappa", Psychological Bulletin 70(4), 1968.
    """
    if weights not in ("quadratic", "linear"):
        raise ValueError(f"weights must be quadratic or linear, not {weights!r}")
    table = np.zeros((num_levels, num_levels))
    np.add.at(table, (np.asarray(a, dtype=int) - 1, np.asarray(b, dtype=int) - 1), 1)
    levels = np.arange(num_levels)
    cost = np.abs(levels[:, None] - levels) ** (2 if weights == "quadratic" else 1)
    expected = table.sum(axis=1) @ cost @ table.sum(axis=0)
    return float(1 - table.sum() * (cost * table).sum() / expected) if expected > 0 else None
