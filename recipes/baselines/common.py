# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Input and output of every baseline, and how probabilities become diagnoses. A baseline is a module with `READS`
(modalities) and `fit(task, settings)`, which returns a `Fitted`; its settings are in `settings.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset

from modeling_clinragen import ClinRaGenFeatureExtractor
from recipes.evaluation.figures.metrics import multi_hot
from recipes.evaluation.prediction import NOTHING
from recipes.training.fitting import best_threshold


@dataclass(frozen=True)
class Task:
    """
    The data and settings that a baseline is fitted on; they do not include the split that is reported.

    Args:
        train, validation (`Dataset`): records that hold something of what the baseline reads.
        labels (list of `str`): in class-id order.
        extractor (`ClinRaGenFeatureExtractor`): returns the series as ClinRaGen models read them.
        seed (`int`): of all random draws.
        work (`Path`): folder for checkpoints; it survives a kill.
        language (`dict`, *optional*): of notes and rationales, as `ClinRaGenProcessor` takes it.
    """

    train: Dataset
    validation: Dataset
    labels: list[str]
    extractor: ClinRaGenFeatureExtractor
    seed: int
    work: Path
    language: dict | None = None

    def gold(self, records: Dataset) -> np.ndarray:
        """Return the recorded diagnoses, float32 of shape `(num_records, num_labels)`."""
        return multi_hot(records["diagnoses"], len(self.labels))


@dataclass
class Classifier:
    """
    Args:
        probabilities (callable): records -> array of shape `(num_records, num_labels)`.
        num_parameters (`int`): number of fitted parameters.
    """

    probabilities: Callable[[Dataset], np.ndarray]
    num_parameters: int


@dataclass
class Fitted:
    """
    Args:
        answer (callable): records -> for each of them the keys of `NOTHING`.
        num_parameters (`int`): of the whole model.
        details (`dict`): further fields about the training, for `run` of `metrics.json`.
    """

    answer: Callable[[Dataset], list[dict]]
    num_parameters: int
    details: dict = field(default_factory=dict)


def by_threshold(classifier: Classifier, task: Task) -> Fitted:
    """Return a baseline that predicts the labels with a probability above the best threshold of validation."""
    threshold, _ = best_threshold(task.gold(task.validation), classifier.probabilities(task.validation))

    def answer(records: Dataset) -> list[dict]:
        return [_answer(row, threshold, task.labels) for row in classifier.probabilities(records)]

    return Fitted(answer, classifier.num_parameters, {"threshold": threshold})


def _answer(probabilities: np.ndarray, threshold: float, labels: list[str]) -> dict:
    rounded = {label: round(float(p), 4) for label, p in zip(labels, probabilities, strict=True)}
    diagnoses = [labels[i] for i in np.flatnonzero(probabilities >= threshold)]
    return {
        **NOTHING,
        "diagnoses": [{"label": label, "probability": rounded[label]} for label in diagnoses],
        "probabilities": rounded,
    }
