# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Faithfulness of rationales to the patients' records, as a module of `evaluate`."""

import datasets
import evaluate

from modeling_clinragen import CHANNELS
from modeling_clinragen.claims_clinragen import ClaimChecker
from recipes.evaluation.figures.faithfulness import NOTE_VERDICTS, claim_metrics, note_claim_counts


DESCRIPTION = """
Claims of rationales about the series, checked against the measured values, and findings that they name, looked up in
the note. The same as `metrics.json` of `recipes/evaluate_model.py` holds under `claims` and `note_claims`.
"""
INPUTS = """
Args:
    predictions (list of `dict`): `note_rationale` and `lab_rationale` of each record.
    references (list of `dict`): `note`, `lab_times` and `lab_values` (NaN where not measured) of each record.
    channels (`list[dict]`, *optional*): of the series; default: the paper's 11.

Returns:
    `claims`: their number, the shares `supported`, `contradicted` and `unverifiable`, `records_with_contradiction`,
    `wrong_counts` and `per_kind`; `note_claims`: their number (`total`), the same three shares, and `absent`, the
    share of the findings that are not in the note. Shares of an empty total are `None`.

Examples:
    >>> import evaluate
    >>> metric = evaluate.load("recipes/evaluation/modules/clinragen_faithfulness")
    >>> record = {"note": "Fever.", "lab_times": [], "lab_values": []}
    >>> written = {"note_rationale": "Fever fits sepsis.", "lab_rationale": "Heart Rate is high."}
    >>> found = metric.compute(predictions=[written], references=[record])
    >>> found["note_claims"]["supported"], found["claims"]["contradicted"]
    (1.0, 1.0)
"""


class ClinRaGenFaithfulness(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        text, numbers = datasets.Value("string"), datasets.List(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {
                    "predictions": {"note_rationale": text, "lab_rationale": text},
                    "references": {"note": text, "lab_times": numbers, "lab_values": datasets.List(numbers)},
                }
            ),
        )

    def _compute(self, predictions: list[dict], references: list[dict], channels: list[dict] | None = None):
        check = ClaimChecker(channels or CHANNELS)
        claims = [
            [vars(claim) for claim in check(written["lab_rationale"], record["lab_times"], record["lab_values"])]
            for written, record in zip(predictions, references, strict=True)
        ]
        notes, rationales = [r["note"] for r in references], [p["note_rationale"] for p in predictions]
        counts = note_claim_counts(notes, rationales, [""] * len(notes))
        total = int(sum(counts[name].sum() for name in NOTE_VERDICTS))
        shares = {name: int(counts[name].sum()) / total if total else None for name in NOTE_VERDICTS}
        return {"claims": claim_metrics(claims), "note_claims": {"total": total, **shares}}
