# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
TF-IDF of a note's words and word pairs (Salton and Buckley, 1988) with one logistic regression per label:
how far notes lead without a language model.
"""

from __future__ import annotations

import warnings

from recipes.baselines.common import Classifier, Fitted, Task, by_threshold
from recipes.baselines.settings import NoSettings


READS = ("note",)


def fit(task: Task, settings: NoSettings) -> Fitted:
    return by_threshold(fit_classifier(task), task)


def fit_classifier(task: Task) -> Classifier:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    words = vectorizer.fit_transform(task.train["note"])
    model = OneVsRestClassifier(LogisticRegression(C=10, max_iter=1000, random_state=task.seed))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Label")  # a label with one class only gets a constant
        model.fit(words, task.gold(task.train))
    return Classifier(
        lambda records: model.predict_proba(vectorizer.transform(records["note"])),
        num_parameters=len(model.estimators_) * (words.shape[1] + 1),
    )
