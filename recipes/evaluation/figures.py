# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""All figures of one evaluation, from its predictions: overall, with intervals, and by subgroup."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from modeling_clinragen.clinical_clinragen import short_name
from recipes.data import multi_hot
from recipes.evaluation.calibration import calibration
from recipes.evaluation.intervals import (
    SCORES,
    intervals,
    label_figures,
    ranking_figures,
    set_figures,
    share_figures,
)
from recipes.evaluation.matching import match_by_embedding
from recipes.evaluation.metrics import (
    agreement_counts,
    cells_of,
    claim_metrics,
    diagnosis_metrics,
    note_claim_counts,
    probability_metrics,
    rationale_metrics,
    series_claim_counts,
)


SMALLEST_GROUP = 10
AGES, SHARES = (45, 65, 80), (25, 75)


def compute_metrics(
    predictions: list[dict], labels: list[str], records: Dataset | None = None, synonyms: dict | None = None
) -> dict:
    """
    All figures of one evaluation, with 95% intervals over patients under `intervals`.

    Args:
        predictions (list of `dict`): as `predict` gives them.
        labels (list of `str`): in class-id order.
        records (`Dataset`, *optional*): what was predicted, for the faithfulness to notes and for subgroups.
        synonyms (`dict`, *optional*): label -> further names, for the agreement of list and rationale.
    """
    position = {label: i for i, label in enumerate(labels)}
    gold = [[position[name] for name in prediction["gold"]] for prediction in predictions]
    predicted = [[position[d["label"]] for d in prediction["diagnoses"]] for prediction in predictions]
    patients = [prediction["subject_id"] for prediction in predictions]
    true, guess = cells_of(gold, len(labels)), cells_of(predicted, len(labels))
    metrics = {
        "records": len(predictions),
        "patients": len(set(patients)),
        "unreadable": sum(not prediction["readable"] for prediction in predictions),
        "diagnosis": diagnosis_metrics(gold, predicted, labels),
    }
    sure = {
        "diagnosis": intervals(set_figures(true, guess), patients),
        "per_label": label_intervals(true, guess, labels, patients),
    }
    scored = [i for i, prediction in enumerate(predictions) if prediction["probabilities"]]
    if scored:
        probabilities = np.array([[predictions[i]["probabilities"][label] for label in labels] for i in scored])
        hot = multi_hot([gold[i] for i in scored], len(labels)).astype(int)
        metrics["probability"] = probability_metrics(hot, probabilities)
        owners = [patients[i] for i in scored]
        sure["probability"] = intervals(ranking_figures(hot, probabilities), owners)
        metrics["calibration"], sure["calibration"] = calibration(hot, probabilities, owners)
    told = [p for p in predictions if p["reference_note_rationale"] or p["reference_lab_rationale"]]
    if told:
        metrics["rationale"] = {
            part: rationale_metrics([p[f"reference_{part}"] for p in told], [p[part] for p in told])
            for part in ("note_rationale", "lab_rationale")
        }
    metrics["claims"] = claim_metrics([prediction["claims"] for prediction in predictions])
    counts = series_claim_counts([prediction["claims"] for prediction in predictions])
    sure["claims"] = intervals(share_figures(counts, sum(counts.values())), patients)
    metrics["agreement"], sure["agreement"] = agreement(predictions, labels, synonyms or {}, patients)
    if records is not None:
        counts = note_claim_counts(records["note"], [prediction["note_rationale"] for prediction in predictions])
        metrics["note_claims"], sure["note_claims"] = _shares(counts, sum(counts.values()), patients)
        metrics["subgroups"] = subgroups(records, true, guess, patients)
    return {**metrics, "intervals": sure}


def label_intervals(true: np.ndarray, guess: np.ndarray, labels: list[str], patients: list[str]) -> dict[str, dict]:
    """Label -> the 95% intervals of its precision, recall and F1."""
    sure = intervals(label_figures(true, guess), patients)
    return {label: {name: sure.get((i, name)) for name in SCORES} for i, label in enumerate(labels)}


def figures_by_embedding(predictions: list[dict], labels: list[str]) -> dict:
    """The figures of the diagnoses with the paper's matching of written names."""
    from datasets_scripts.knowledge.retrieval import load_encoder

    position = {label: i for i, label in enumerate(labels)}
    gold = [[position[name] for name in prediction["gold"]] for prediction in predictions]
    texts = [prediction["generated_text"] for prediction in predictions]
    return diagnosis_metrics(gold, match_by_embedding(texts, labels, load_encoder()), labels)


def agreement(predictions: list[dict], labels: list[str], synonyms: dict, patients: list[str]) -> tuple[dict, dict]:
    """Shares of written diagnoses that the rationale argues for or denies, and of argued ones that are not written."""
    phrases = {label: (label, short_name(label), *synonyms.get(label, ())) for label in labels}
    written = [[d["label"] for d in prediction["diagnoses"]] for prediction in predictions]
    rationales = [f"{prediction['note_rationale']}\n{prediction['lab_rationale']}" for prediction in predictions]
    counts = agreement_counts(written, rationales, phrases)
    of_written = {"written_argued_for": counts["argued_for"], "written_denied": counts["denied"]}
    first, first_sure = _shares(of_written, counts["written"], patients)
    second, second_sure = _shares({"argued_not_written": counts["not_written"]}, counts["argued"], patients)
    totals = {"written": first.pop("total"), "argued": second.pop("total")}
    return {**totals, **first, **second}, {**first_sure, **second_sure}


def _shares(counts: dict[str, np.ndarray], total: np.ndarray, patients: list[str]) -> tuple[dict, dict]:
    """Each count as a share of the total, `None` where that is 0, and the intervals."""
    whole = int(np.sum(total))
    shares = {name: int(count.sum()) / whole if whole else None for name, count in counts.items()}
    return {"total": whole, **shares}, intervals(share_figures(counts, total), patients)


def subgroups(records: Dataset, true: np.ndarray, guess: np.ndarray, patients: list[str]) -> dict[str, dict]:
    """Records, micro- and macro-F1 with intervals of each group of `SMALLEST_GROUP` records or more."""
    found: dict[str, dict] = {}
    for attribute, values in groups_of(records).items():
        found[attribute] = {}
        for value in sorted(set(values)):
            rows = np.flatnonzero(values == value)
            if len(rows) < SMALLEST_GROUP:
                continue
            figures, own = set_figures(true[rows], guess[rows]), [patients[i] for i in rows]
            once, sure = figures(np.ones((1, len(rows)), dtype=np.float32)), intervals(figures, own)
            found[attribute][value] = {
                "records": len(rows),
                **{name: float(once[name][0]) for name in ("micro_f1", "macro_f1")},
                "intervals": {name: sure[name] for name in ("micro_f1", "macro_f1")},
            }
    return found


def groups_of(records: Dataset) -> dict[str, np.ndarray]:
    """Sex, age band, ethnicity, and how much of the series was measured, of each record."""
    measured = [
        float((~np.isnan(np.asarray(values, dtype=float))).any(axis=0).mean()) if len(values) else 0.0
        for values in records["lab_values"]
    ]
    ages = [None if age is None or np.isnan(age) else age for age in records["age"]]
    return {
        "sex": np.array([sex or "unknown" for sex in records["sex"]]),
        "age": np.array(["unknown" if age is None else _band(age, AGES, "years") for age in ages]),
        "ethnicity": np.array([ethnicity or "unknown" for ethnicity in records["ethnicity"]]),
        "channels measured": np.array([_band(100 * share, SHARES, "%") for share in measured]),
    }


def _band(value: float, edges: tuple[int, ...], unit: str) -> str:
    """`"under 45 years"`, `"45 to 65 years"` and the like; a value at an edge belongs above it."""
    above = [edge for edge in edges if value >= edge]
    below = [edge for edge in edges if value < edge]
    if not above:
        return f"under {below[0]} {unit}"
    return f"{above[-1]} to {below[0]} {unit}" if below else f"{above[-1]} {unit} or more"
