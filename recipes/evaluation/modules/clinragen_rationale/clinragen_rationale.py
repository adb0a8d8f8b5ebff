# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Closeness of rationales to references as a module of `evaluate`."""

import datasets
import evaluate

from recipes.evaluation.figures.bertscore import BertScorer
from recipes.evaluation.figures.rationale import rationale_metrics


DESCRIPTION = """
BLEU by sacrebleu and as the `evaluate` module "bleu" computes it, ROUGE, METEOR, length, repetition and, with a model,
BERTScore, all offline. The same as `metrics.json` of `recipes/evaluate_model.py` holds under `rationale`.
"""
INPUTS = """
Args:
    predictions, references (lists of `str`): one rationale a record.
    bertscore_model (`str`, *optional*): folder or name of an encoder, such as all-MiniLM-L6-v2.

Returns:
    `bleu` (0 to 100), `paper_bleu`, `rouge1`, `rouge2`, `rougeL`, `meteor` (0 to 1), `words`, `reference_words`,
    `repetition`, and with a model `bertscore_precision`, `bertscore_recall`, `bertscore_f1`, each also `_rescaled`.

Examples:
    >>> import evaluate
    >>> metric = evaluate.load("recipes/evaluation/modules/clinragen_rationale")
    >>> metric.compute(predictions=["fever and cough"], references=["fever and cough"])["rougeL"]
    1.0
"""


class ClinRaGenRationale(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: list[str], references: list[str], bertscore_model: str | None = None):
        scorer = BertScorer.from_pretrained(bertscore_model) if bertscore_model else None
        return rationale_metrics(references, predictions, scorer)
