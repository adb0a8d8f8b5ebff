# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Calibration of probabilities: of the diagnoses with a probability of 30%, 30% should be present."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recipes.evaluation.figures.intervals import divide, intervals, once


NUM_BINS = 10


def calibration(
    gold: np.ndarray, probabilities: np.ndarray, subject_ids: Sequence[str], num_bins: int = NUM_BINS
) -> tuple[dict, dict]:
    """
    Return the calibration of the probabilities of all diagnoses together: a cell is one record and one diagnosis.

    Args:
        gold (array of 0 and 1 of shape `(num_records, num_labels)`).
        probabilities (array of the same shape): in [0, 1].
        subject_ids (list of `str`): the patient of each record.
        num_bins (`int`): bins of about equally many cells; equal probabilities share a bin, so there may be fewer.

    Returns:
        The figures and their 95% intervals: `brier_score`, the mean squared distance of probability and outcome;
        `expected_calibration_error`, the mean distance of the probability and the share of outcomes over the bins,
        weighted by their cells; and `bins`, each with the number of `cells`, the `lowest`, `highest` and mean
        probability (`predicted`) and the share that has the diagnosis (`observed`), with the interval of the latter.
    """
    gold, probabilities = np.asarray(gold, dtype=float), np.asarray(probabilities, dtype=float)
    bin_of = equal_mass_bins(probabilities, num_bins)
    figures = CalibrationFigures(gold, probabilities, bin_of)
    whole, bounds = once(figures, len(gold)), intervals(figures, subject_ids)
    scores = ("expected_calibration_error", "brier_score")
    bins = [
        {
            "cells": int((bin_of == i).sum()),
            "lowest": float(probabilities[bin_of == i].min()),
            "highest": float(probabilities[bin_of == i].max()),
            "predicted": float(probabilities[bin_of == i].mean()),
            "observed": whole[f"observed_{i}"],
        }
        for i in range(bin_of.max() + 1)
    ]
    return (
        {**{name: whole[name] for name in scores}, "bins": bins},
        {**{name: bounds[name] for name in scores}, "bins": [bounds[f"observed_{i}"] for i in range(len(bins))]},
    )


def equal_mass_bins(probabilities: np.ndarray, num_bins: int) -> np.ndarray:
    """Return the bin of each cell, cut at the quantiles as by scikit-learn's `"quantile"`, without empty bins."""
    edges = np.quantile(probabilities, np.linspace(0, 1, num_bins + 1))
    _, bin_of = np.unique(np.searchsorted(edges[1:-1], probabilities), return_inverse=True)
    return bin_of.reshape(probabilities.shape)


class CalibrationFigures:
    """
    The figures under weights of the records, for `intervals`.

    Args:
        gold, probabilities (arrays of shape `(num_records, num_labels)`).
        bin_of (int array of the same shape): the bin of each cell.
    """

    def __init__(self, gold: np.ndarray, probabilities: np.ndarray, bin_of: np.ndarray):
        inside = [bin_of == i for i in range(bin_of.max() + 1)]
        self.cells, self.outcomes, self.expected = (  # (num_records, num_bins) each
            np.stack([np.where(cells, values, 0.0).sum(axis=1) for cells in inside], axis=1)
            for values in (np.ones_like(gold), gold, probabilities)
        )
        self.squares = ((probabilities - gold) ** 2).mean(axis=1)

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        cells, outcomes, expected = (weights @ sums for sums in (self.cells, self.outcomes, self.expected))
        observed = divide(outcomes, cells, empty=np.nan)  # (num_resamples, num_bins)
        return {
            "brier_score": weights @ self.squares / weights.sum(axis=1),
            "expected_calibration_error": np.abs(outcomes - expected).sum(axis=1) / cells.sum(axis=1),
            **{f"observed_{i}": column for i, column in enumerate(observed.T)},
        }
