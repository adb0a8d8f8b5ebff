# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
95% confidence intervals by resampling patients, and a paired test of two runs on the same patients.

Stays of one patient are drawn together. A resample is a row of weights, how often each record was drawn, and every
figure here is computed from weighted sums, for all resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np


RESAMPLES = 1000
CHUNK = 100  # resamples in memory at once


def resample_patients(subject_ids: Sequence[str], resamples: int = RESAMPLES, seed: int = 0) -> Iterator[np.ndarray]:
    """
    Yield weights of the records in resamples of the patients, with replacement.

    Yields:
        float32 of shape `(at most CHUNK, num_records)`, `resamples` rows in all.
    """
    _, patient_of = np.unique(np.asarray(subject_ids), return_inverse=True)
    patients = int(patient_of.max()) + 1 if len(patient_of) else 0
    generator = np.random.default_rng(seed)
    for start in range(0, resamples if patients else 0, CHUNK):
        number = min(CHUNK, resamples - start)
        counts = generator.multinomial(patients, np.full(patients, 1 / patients), size=number)
        yield counts[:, patient_of].astype(np.float32)


def intervals(
    figures: Callable[[np.ndarray], dict[str, np.ndarray]],
    subject_ids: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, list[float] | None]:
    """
    Return the 95% interval of each figure, `[low, high]`; `None` where it is undefined in every resample.

    Args:
        figures (callable): weights of shape `(num_resamples, num_records)` -> figures of shape `(num_resamples,)`,
            NaN where one is undefined.
        subject_ids (list of `str`): the patient of each record.
    """
    chunks = [figures(weights) for weights in resample_patients(subject_ids, resamples, seed)]
    found = {}
    for name in chunks[0] if chunks else ():
        values = np.concatenate([chunk[name] for chunk in chunks])
        values = values[~np.isnan(values)]
        found[name] = [float(x) for x in np.percentile(values, [2.5, 97.5])] if len(values) else None
    return found


def set_figures(true: np.ndarray, predicted: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """
    Return a function of the weights: precision, recall and F1 of predicted sets, micro, macro and weighted by support,
    and the share of exact sets.

    Args:
        true, predicted (bool arrays of shape `(num_records, num_labels)`).
    """
    hits, exact = (true & predicted).astype(np.float32), (true == predicted).all(axis=1).astype(np.float32)
    true, predicted = true.astype(np.float32), predicted.astype(np.float32)

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = [weights @ cells for cells in (hits, predicted, true)]  # (num_resamples, num_labels) each
        found = {}
        per_label = dict(zip(SCORES, scores(*sums), strict=True))
        micro = dict(zip(SCORES, scores(*(s.sum(axis=1) for s in sums)), strict=True))
        for name in SCORES:
            found[f"micro_{name}"] = micro[name]
            found[f"macro_{name}"] = per_label[name].mean(axis=1)
            found[f"weighted_{name}"] = divide((per_label[name] * sums[2]).sum(axis=1), sums[2].sum(axis=1))
        return {**found, "exact_match": weights @ exact / weights.sum(axis=1)}

    return figures


def label_figures(true: np.ndarray, predicted: np.ndarray) -> Callable[[np.ndarray], dict[tuple, np.ndarray]]:
    """
    Return a function of the weights: precision, recall and F1 of each label, by `(class id, name of the score)`.

    Args:
        true, predicted (bool arrays of shape `(num_records, num_labels)`).
    """
    cells = [array.astype(np.float32) for array in (true & predicted, predicted, true)]

    def figures(weights: np.ndarray) -> dict[tuple, np.ndarray]:
        found = scores(*(weights @ array for array in cells))  # (num_resamples, num_labels) each
        return {
            (i, name): score[:, i] for name, score in zip(SCORES, found, strict=True) for i in range(true.shape[1])
        }

    return figures


SCORES = ("precision", "recall", "f1")


def scores(hits, named, actual) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 from counts; 0 where a quotient has no cases."""
    hits, named, actual = (np.asarray(x, dtype=float) for x in (hits, named, actual))
    return divide(hits, named), divide(hits, actual), divide(2 * hits, named + actual)


def divide(a: np.ndarray, b: np.ndarray, empty: float = 0.0) -> np.ndarray:
    """Return the quotient, `empty` where `b` is 0."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return np.divide(a, b, out=np.full(np.broadcast_shapes(a.shape, b.shape), empty), where=b > 0)


def defined(value: float) -> float | None:
    """Return the value, `None` for NaN."""
    return None if np.isnan(value) else float(value)


def once(figures: Callable[[np.ndarray], dict[str, np.ndarray]], num_records: int) -> dict[str, float | None]:
    """Return the figures with each record counted once; `None` where one is undefined."""
    return {name: defined(value[0]) for name, value in figures(np.ones((1, num_records))).items()}


def ranking_figures(gold: np.ndarray, probabilities: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """
    Return a function of the weights: AUROC and AUPRC (average precision), micro over all cells and macro over the
    labels for which a resample has both positive and negative records.

    Args:
        gold (array of 0 and 1 of shape `(num_records, num_labels)`), probabilities (array of the same shape).
    """
    num_labels = gold.shape[1]
    macro = macro_ranking_figures(gold, probabilities)
    cells = Thresholds(gold.ravel(), probabilities.ravel())

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        rows = [cells.ranked(np.repeat(row[None], num_labels, axis=1)) for row in weights]  # one resample in memory
        micro = [np.concatenate([row[k] for row in rows]) for k in range(2)]
        return {"micro_auroc": micro[0], "micro_auprc": micro[1], **macro(weights)}

    return figures


def macro_ranking_figures(
    gold: np.ndarray, probabilities: np.ndarray
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Return the macro figures of [`ranking_figures`]; the arguments are the same."""
    labels = [Thresholds(gold[:, i], probabilities[:, i]) for i in range(gold.shape[1])]

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        per_label = [label.ranked(weights) for label in labels]
        auroc, auprc = (_mean_of_defined(np.stack([label[k] for label in per_label])) for k in range(2))
        return {"macro_auroc": auroc, "macro_auprc": auprc}

    return figures


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0), empty=np.nan)


class Thresholds:
    """
    One ranking of records, sorted once for all resamples; equal scores are one threshold.

    Args:
        gold (array of 0 and 1 of shape `(num_records,)`), scored (array of the same shape).
    """

    def __init__(self, gold: np.ndarray, scored: np.ndarray):
        self.order = np.argsort(-scored, kind="stable")
        ranked = scored[self.order]
        self.ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))  # the last record of each threshold
        self.positive = gold[self.order].astype(bool)

    def ranked(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return AUROC and average precision under each row of weights; NaN unless both classes occur."""
        in_order = weights[:, self.order].astype(np.float64)
        hits = np.cumsum(np.where(self.positive, in_order, 0.0), axis=1)[:, self.ends]  # (resamples, thresholds)
        misses = np.cumsum(np.where(self.positive, 0.0, in_order), axis=1)[:, self.ends]
        step = np.diff(hits, axis=1, prepend=0.0)
        area = (np.diff(misses, axis=1, prepend=0.0) * (hits - step / 2)).sum(axis=1)
        average = (step * divide(hits, hits + misses)).sum(axis=1)
        undefined = np.where((hits[:, -1] > 0) & (misses[:, -1] > 0), 0.0, np.nan)
        return divide(area, hits[:, -1] * misses[:, -1]) + undefined, divide(average, hits[:, -1]) + undefined


def share_figures(counts: dict[str, np.ndarray], total: np.ndarray) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """
    Return a function of the weights: shares of a total that is itself a count over records, such as of claims.

    Args:
        counts (`dict`): name -> count of each record; total (array of shape `(num_records,)`).
    """

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = weights @ np.asarray(total, dtype=np.float32)
        return {
            name: divide(weights @ np.asarray(count, dtype=np.float32), sums, empty=np.nan)
            for name, count in counts.items()
        }

    return figures


def compare_sets(
    true: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    subject_ids: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict]:
    """
    Compare two runs on the same records: for each figure of `set_figures` return the difference (second minus first),
    its 95% interval by resampling patients, and the p-value of a paired test.

    The test swaps the two runs' answers for each patient at random (approximate randomization; Noreen, 1989): the
    p-value is the share of swaps with a difference at least as large as the observed one, which is counted too.

    Args:
        true, first, second (bool arrays of shape `(num_records, num_labels)`): `second` is the run that is compared
            with `first`.
    """
    one, two = set_figures(true, first), set_figures(true, second)
    all_once = np.ones((1, len(true)), dtype=np.float32)
    before, after = one(all_once), two(all_once)
    observed = {name: float(after[name][0] - before[name][0]) for name in before}

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        a, b = one(weights), two(weights)
        return {name: b[name] - a[name] for name in a}

    found = intervals(difference, subject_ids, resamples, seed)
    swapped = _swaps(true, first, second, subject_ids, resamples, seed)
    return {
        name: {
            "first": float(before[name][0]),
            "second": float(after[name][0]),
            "difference": observed[name],
            "interval": found[name],
            "p_value": float((1 + (np.abs(swapped[name]) >= abs(observed[name]) - 1e-9).sum()) / (1 + resamples)),
        }
        for name in observed
    }


def _swaps(true, first, second, subject_ids, resamples, seed) -> dict[str, np.ndarray]:
    """Return the differences with each patient's answers swapped at random: `set_figures` of records stacked twice."""
    _, patient_of = np.unique(np.asarray(subject_ids), return_inverse=True)
    generator = np.random.default_rng(seed)
    both = set_figures(np.concatenate([true, true]), np.concatenate([first, second]))
    chunks = []
    for start in range(0, resamples, CHUNK):
        coins = generator.integers(0, 2, (min(CHUNK, resamples - start), patient_of.max() + 1))[:, patient_of]
        kept = (1 - coins).astype(np.float32)
        a, b = both(np.concatenate([kept, 1 - kept], axis=1)), both(np.concatenate([1 - kept, kept], axis=1))
        chunks.append({name: b[name] - a[name] for name in a})
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
