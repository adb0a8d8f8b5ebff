# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The mean of the probabilities of TF-IDF on notes and boosting on series (late fusion by the sum rule; Kittler et al.,
1998): both modalities without a language model.
"""

from __future__ import annotations

from recipes.baselines import boosting, tfidf
from recipes.baselines.common import Classifier, Fitted, Task, by_threshold
from recipes.baselines.settings import NoSettings


READS = ("note", "lab")


def fit(task: Task, settings: NoSettings) -> Fitted:
    notes, series = tfidf.fit_classifier(task), boosting.fit_classifier(task)
    both = Classifier(
        lambda records: (notes.probabilities(records) + series.probabilities(records)) / 2,
        notes.num_parameters + series.num_parameters,
    )
    return by_threshold(both, task)
