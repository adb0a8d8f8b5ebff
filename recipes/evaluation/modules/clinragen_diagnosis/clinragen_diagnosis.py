# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of diagnoses as a module of `evaluate`."""

import datasets
import evaluate

from modeling_clinragen import PHENOTYPES, ClinRaGenInputError
from recipes.evaluation.figures.metrics import diagnosis_metrics


DESCRIPTION = """
Precision, recall and F1 of sets of diagnoses, micro, macro and weighted by support, the share of whole sets, and the
figures of each label. The same as `metrics.json` of `recipes/evaluate_model.py` holds under `diagnosis`.
"""
INPUTS = """
Args:
    predictions, references (lists of lists of `str`): names of diagnoses, one list a record.
    labels (`list[str]`, *optional*): all labels; default: the paper's 25.

Returns:
    `micro_precision`, `micro_recall`, `micro_f1`, likewise `macro_` and `weighted_`, `exact_match`, `per_label`.

Examples:
    >>> import evaluate
    >>> metric = evaluate.load("recipes/evaluation/modules/clinragen_diagnosis")
    >>> metric.compute(predictions=[["Shock"]], references=[["Shock"]])["micro_f1"]
    1.0
"""


class ClinRaGenDiagnosis(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        names = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": names, "references": names}),
        )

    def _compute(self, predictions: list[list[str]], references: list[list[str]], labels: list[str] | None = None):
        labels = labels or [phenotype["name"] for phenotype in PHENOTYPES]
        position = {label: i for i, label in enumerate(labels)}
        unknown = {name for row in (*predictions, *references) for name in row} - set(labels)
        if unknown:
            raise ClinRaGenInputError(f"no label {sorted(unknown)[0]!r}; give all names as `labels`")
        gold, predicted = ([[position[name] for name in row] for row in rows] for rows in (references, predictions))
        return diagnosis_metrics(gold, predicted, labels)
