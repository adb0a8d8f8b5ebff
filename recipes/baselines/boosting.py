# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Gradient boosting of histogram trees (Ke et al., LightGBM, 2017; scikit-learn's) on statistics of each channel,
taken from the same hours and plausible values that a ClinRaGen model reads.
"""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from tqdm import tqdm

from modeling_clinragen import ClinRaGenFeatureExtractor
from recipes.baselines.common import Classifier, Fitted, Task, by_threshold
from recipes.baselines.settings import NoSettings


READS = ("lab",)


def fit(task: Task, settings: NoSettings) -> Fitted:
    return by_threshold(fit_classifier(task), task)


def fit_classifier(task: Task) -> Classifier:
    from sklearn.ensemble import HistGradientBoostingClassifier

    features, gold = features_of(task.train, task.extractor), task.gold(task.train)
    used = ~np.isnan(features).all(axis=0)  # scikit-learn cannot bin a column of NaN
    models = []
    for column in tqdm(gold.T, desc="Boosting", unit="label"):
        if column.min() == column.max():  # a small dataset may have one class only
            models.append(float(column[0]))
        else:
            model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=task.seed)
            models.append(model.fit(features[:, used], column))

    def probabilities(records: Dataset) -> np.ndarray:
        features = features_of(records, task.extractor)[:, used]
        columns = [
            np.full(len(features), model) if isinstance(model, float) else model.predict_proba(features)[:, 1]
            for model in models
        ]
        return np.stack(columns, axis=1)

    trees = [tree for model in models if not isinstance(model, float) for step in model._predictors for tree in step]
    return Classifier(probabilities, num_parameters=sum(tree.nodes.size for tree in trees))


def features_of(records: Dataset, extractor: ClinRaGenFeatureExtractor) -> np.ndarray:
    """Return `statistics` of every record, an array of shape `(num_records, 6 * num_channels)`."""
    rows = []
    for batch in records.select_columns(["lab_values", "lab_times"]).iter(batch_size=256):
        series = extractor(batch["lab_values"], batch["lab_times"])
        rows.append(statistics(series["past_values"], series["past_observed_mask"]))
    return np.concatenate(rows)


def statistics(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """
    Return mean, minimum, maximum, last, last minus first, and number of hours of each channel; NaN if not measured.

    Args:
        values, observed (arrays of shape `(num_records, context_length, num_channels)`).
    """
    hours = observed.sum(axis=1)
    records, channels = np.ogrid[: len(values), : values.shape[2]]
    first = values[records, observed.argmax(axis=1), channels]
    last = values[records, observed.shape[1] - 1 - observed[:, ::-1].argmax(axis=1), channels]
    mean = np.where(observed, values, 0).sum(axis=1) / np.maximum(hours, 1)
    low = np.where(observed, values, np.inf).min(axis=1)
    high = np.where(observed, values, -np.inf).max(axis=1)
    measured = [np.where(hours > 0, x, np.nan) for x in (mean, low, high, last, last - first)]
    return np.concatenate([*measured, hours], axis=1)
