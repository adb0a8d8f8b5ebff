# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Worked patients of a report: their choice, and the content for each."""

from __future__ import annotations

import numpy as np
import torch

from modeling_clinragen import ClinRaGenPipeline
from modeling_clinragen.pipeline_clinragen import attention_over_time
from recipes.evaluation.report.charts import DARKEST, LIGHTEST, heat_cells, hour_axis, series_panel
from recipes.evaluation.report.html import render
from recipes.evaluation.report.ranges import range_rows


NUM_PATIENTS = 10
SEED = 0


def choose_records(predictions: list[dict], number: int = NUM_PATIENTS, seed: int = SEED) -> list[int]:
    """Return positions of records at equal distances from the lowest to the highest F1, ties drawn by the seed."""
    readable = [i for i, prediction in enumerate(predictions) if prediction["readable"]]
    drawn = np.random.default_rng(seed).permutation(readable)
    ranked = sorted(map(int, drawn), key=lambda i: record_f1(predictions[i]))
    places = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def record_f1(prediction: dict) -> float:
    """Return the F1 of one record's list of diagnoses; 1 if both lists are empty."""
    gold, written = set(prediction["gold"]), {d["label"] for d in prediction["diagnoses"]}
    return 2 * len(gold & written) / (len(gold) + len(written)) if gold or written else 1.0


def worked_patients(predictions: list[dict], records, pipe: ClinRaGenPipeline) -> str:
    """
    Write the rule by which records are chosen, and one article for each.

    Args:
        predictions (list of `dict`), records (`Dataset`): in the same order.
        pipe (`ClinRaGenPipeline`): that made the predictions.
    """
    patients = [worked_patient(predictions[i], records[i], pipe) for i in choose_records(predictions)]
    num_readable = sum(prediction["readable"] for prediction in predictions)
    ranges = range_rows(pipe.processor.feature_extractor.channels)
    return render("worked_patients", patients=patients, num_readable=num_readable, seed=SEED, ranges=ranges)


def worked_patient(prediction: dict, record: dict, pipe: ClinRaGenPipeline) -> dict:
    """Return the content for one record: series, diagnoses, and attention to knowledge terms."""
    return {
        "prediction": prediction,
        "record": record,
        "f1": record_f1(prediction),
        "diagnoses": _diagnoses(prediction, thresholds_of(pipe)),
        "attention": _attention(prediction, record, pipe),
        **_series(record, pipe.processor.feature_extractor.channels),
    }


def _series(record: dict, channels: list[dict]) -> dict[str, list]:
    """Return the `panels` of measured channels and the names of the `missing` ones."""
    hours = np.asarray(record["lab_times"], dtype=float).reshape(-1)
    values = np.asarray(record["lab_values"], dtype=float).reshape(-1, len(channels))
    x = hour_axis(max(float(hours.max(initial=0.0)), 1.0))
    panels, missing = [], []
    for channel, column in zip(channels, values.T, strict=True):
        measured = ~np.isnan(column)
        if measured.any():
            panels.append(series_panel(channel, hours[measured], column[measured], x))
        else:
            missing.append(channel["name"])
    return {"panels": panels, "missing": missing}


def thresholds_of(pipe: ClinRaGenPipeline) -> dict[str, float]:
    """Return the threshold of each diagnosis; empty without a diagnosis head."""
    decisions = pipe.model.config.decisions
    return dict(zip(pipe.processor.labels, decisions.thresholds, strict=True)) if pipe.model.diagnosis_head else {}


def _diagnoses(prediction: dict, thresholds: dict[str, float]) -> list[tuple]:
    """Return name, is recorded, is written, probability and threshold of each recorded or written diagnosis."""
    gold, written = prediction["gold"], [d["label"] for d in prediction["diagnoses"]]
    probabilities = prediction["probabilities"]
    names = dict.fromkeys([*gold, *written])
    return [(name, name in gold, name in written, probabilities.get(name), thresholds.get(name)) for name in names]


def _attention(prediction: dict, record: dict, pipe: ClinRaGenPipeline) -> dict | None:
    """Return the heat map of the attention to the terms that are shown, where there is one."""
    weights = weights_over_time(record, pipe)
    config = pipe.model.config
    position = {term: i for i, term in enumerate(config.knowledge_terms)}
    terms = [entry["term"] for entry in prediction["knowledge"] if entry["term"] in position]
    if weights is None or not terms:
        return None
    width = config.time_series_config.patch_length
    columns = weights[:, [position[term] for term in terms]]  # (num_patches, shown terms)
    highest = float(np.nanmax(columns))
    axis = hour_axis(len(weights) * width)
    return {
        "axis": axis,
        "colours": (LIGHTEST, DARKEST),
        "highest": highest,
        "num_terms": len(position),
        "width": width,
        "rows": [
            (term, float(np.nanmean(column)), heat_cells(column, highest, width, axis))
            for term, column in zip(terms, columns.T, strict=True)
        ],
    }


@torch.no_grad()
def weights_over_time(record: dict, pipe: ClinRaGenPipeline) -> np.ndarray | None:
    processor = pipe.processor
    series = {"lab_values": [record["lab_values"]], "lab_times": [record["lab_times"]]}
    inputs = processor(notes=[record["note"]], **series, return_tensors="pt").to(pipe.device)
    attention = pipe.model.encode(**inputs).knowledge_attentions
    if attention is None:
        return None
    return attention_over_time(attention[0], pipe.model.config, processor.feature_extractor.grid)
