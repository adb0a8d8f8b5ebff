# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Fit a model's decisions anew on local records, its weights untouched, and report how its inputs have drifted."""

from __future__ import annotations

import argparse
import copy
import logging
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.special import expit
from sklearn.model_selection import GroupKFold

from datasets_scripts.common.outputs import check_free, finished_folder
from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen import ClinRaGenInputError
from recipes.evaluation.figures.calibration import calibration
from recipes.evaluation.figures.drift import drift
from recipes.evaluation.figures.metrics import diagnosis_metrics
from recipes.models.card import write_card
from recipes.models.folder import fetched, load_model_folder, save_model_folder
from recipes.models.history import OF_A_DATASET, read_history, required_history
from recipes.training.data import ClinRaGenCollator, check_same_names, encode_records, load_records
from recipes.training.fitting import fit_temperature, fit_thresholds
from recipes.training.guarantees import batches, fit_doubt
from recipes.training.inputs import input_statistics


logger = logging.getLogger(__name__)

FEWEST_PATIENTS = 50
ENOUGH = 5  # patients with a diagnosis at which old and new threshold have equal weight
FIGURES = ("micro_f1", "macro_f1", "expected_calibration_error")


def recalibrate(arguments: argparse.Namespace) -> dict:
    """
    Report the drift of a split's records; if they have labels, measure the effect of a new temperature and thresholds,
    and write the model folder with them to `--output`, if given.

    Returns:
        `drift`, and `before` and `after`: `FIGURES`, for each patient with settings fitted on other patients.

    Raises:
        ClinRaGenInputError: if there are too few labelled patients.
    """
    if arguments.output is not None:
        check_free(arguments.output, arguments.model, arguments.dataset)
    folder = fetched(arguments.model)
    model, processor = load_model_folder(folder)
    if model.diagnosis_head is None:
        raise ClinRaGenInputError(f"--model: {arguments.model} has no diagnosis head")
    check_same_names(processor, arguments.model, arguments.dataset)
    history = read_history(folder) if arguments.output is None else required_history(folder)
    metadata = read_metadata(arguments.dataset)
    records = load_records(arguments.dataset, arguments.split, needs_labels=not arguments.drift_only)
    now = input_statistics(records, processor, metadata.get("labelled", True))
    found = {"drift": report_drift(history, now)}
    if arguments.drift_only:
        return found
    if has_learned_from(history, metadata, arguments.split):
        logger.warning(
            "%s: the model learned from split %r; what is fitted on it is too sure. Give records that it has not seen",
            arguments.dataset,
            arguments.split,
        )
    patients = np.array(records["subject_id"])
    if len(set(patients)) < FEWEST_PATIENTS:
        raise ClinRaGenInputError(
            f"{arguments.dataset}: split {arguments.split!r} holds {len(set(patients))} patients, too few to fit "
            f"temperature and thresholds; give at least {FEWEST_PATIENTS}"
        )
    collator = ClinRaGenCollator(processor)
    encoded = encode_records(records, processor, [], 8)
    logits, gold = scores(model, processor, encoded, collator)
    found |= compare(model.config.decisions, logits, gold, np.array(encoded["subject_id"]), processor.labels)
    log_figures(found)
    if arguments.output is not None:
        fit(model.config.decisions, logits, gold)
        fit_doubt(model, processor, encoded, collator, probabilities_of(model.config.decisions, logits))
        history = with_recalibration(history, metadata, arguments.split, len(encoded), found)
        with finished_folder(Path(arguments.output)) as aside:
            save_model_folder(model, processor, aside)
            write_card(aside, history, model, processor)
        logger.info("%s: the same weights, with decisions fitted on %d records", arguments.output, len(encoded))
    return found


def has_learned_from(history: dict, metadata: dict, split: str) -> bool:
    """Return whether any stage of a model was trained on this split of a dataset."""
    hashes = {stage["dataset"].get("content_hash") for stage in history.get("stages", ())}
    return split == history.get("data", {}).get("train_split") and metadata["content_hash"] in hashes


def compare(decisions, logits: torch.Tensor, gold: torch.Tensor, patients: np.ndarray, labels: list[str]) -> dict:
    """Return figures of the present decisions, and of new ones, fitted on each half of the patients for the other."""
    halves = list(GroupKFold(2, shuffle=True, random_state=0).split(gold, groups=patients))
    probabilities, made = probabilities_of(decisions, logits), np.zeros(gold.shape, dtype=bool)
    before = figures(probabilities, probabilities >= np.array(decisions.thresholds), gold, patients, labels)
    probabilities = np.zeros(gold.shape)
    for one, other in halves:
        local = copy.deepcopy(decisions)
        fit(local, logits[one], gold[one])
        probabilities[other] = probabilities_of(local, logits[other])
        made[other] = probabilities[other] >= np.array(local.thresholds)
    return {"before": before, "after": figures(probabilities, made, gold, patients, labels)}


@torch.no_grad()
def scores(model, processor, records: Dataset, collator: ClinRaGenCollator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits before the temperature, and the diagnoses, 0 and 1: both `(num_records, num_labels)`."""
    encoded = [model.encode(**inputs) for inputs in batches(model, processor, records, collator)]
    logits = torch.cat([outputs.diagnosis_logits.float().cpu() for outputs in encoded])
    gold = np.stack(records.with_format("numpy", columns=["diagnosis_labels"])["diagnosis_labels"])
    return logits * model.config.decisions.temperature, torch.from_numpy(gold).float()


def fit(decisions, logits: torch.Tensor, gold: torch.Tensor) -> None:
    """
    Set temperature and thresholds by records that the model was not trained on.

    A new threshold is averaged with the old one, on the scale of the new temperature, which has the weight of `ENOUGH`
    patients with the diagnosis: few local patients say little about it.
    """
    old = torch.tensor(decisions.thresholds, dtype=torch.float64).logit().numpy() * decisions.temperature
    _, decisions.temperature = fit_temperature(logits, gold)
    own = fit_thresholds(probabilities_of(decisions, logits), gold.numpy())
    share = gold.sum(dim=0).numpy() / (gold.sum(dim=0).numpy() + ENOUGH)
    kept = np.log(expit(old / decisions.temperature))
    decisions.thresholds = np.exp(share * np.log(own) + (1 - share) * kept).tolist()


def probabilities_of(decisions, logits: torch.Tensor) -> np.ndarray:
    return (logits / decisions.temperature).sigmoid().numpy()


def figures(probabilities: np.ndarray, made: np.ndarray, gold: torch.Tensor, patients, labels) -> dict[str, float]:
    """Return `FIGURES`."""
    sets = [[np.flatnonzero(row).tolist() for row in cells] for cells in (gold.numpy() > 0, made)]
    found = diagnosis_metrics(*sets, labels) | calibration(gold.numpy(), probabilities, patients)[0]
    return {name: round(float(found[name]), 4) for name in FIGURES}


def report_drift(history: dict, now: dict) -> list[dict]:
    """Log the inputs that differ much from training; return all comparisons."""
    before = history.get("inputs")
    if before is None:
        logger.warning("the model folder does not say what it was trained on: drift cannot be measured")
        return []
    if "prevalence" not in now:
        logger.info("the records have no labels: how common diagnoses are is not compared")
    elif "prevalence" not in before:
        logger.warning(
            "the model folder does not say how common diagnoses were in training, so they are not compared; a "
            "stage that is trained again records it"
        )
    rows = drift(before, now)
    large = [row for row in rows if row["large"]]
    logger.info("drift: %d of %d figures differ much from the training records", len(large), len(rows))
    for row in large:
        unit = "training standard deviations" if row["kind"] == "mean" else "of the records"
        logger.info(
            "  %s, %s: %.3g in training, %.3g here (%+.2g %s)",
            *(row[name] for name in ("what", "kind", "before", "now", "by")),
            unit,
        )
    return rows


def log_figures(found: dict) -> None:
    for name in FIGURES:
        before, after = found["before"][name], found["after"][name]
        logger.info("%s: %.4f as it is, %.4f recalibrated (%+.4f)", name, before, after, after - before)


def with_recalibration(history: dict, metadata: dict, split: str, number: int, found: dict) -> dict:
    """Return a model folder's history with the recalibration added."""
    source = {**metadata["source_description"], "content_hash": metadata["content_hash"]}
    done = {
        "dataset": {name: source.get(name) for name in OF_A_DATASET},
        "split": split,
        "records": number,
        **{name: found[name] for name in ("before", "after")},
    }
    whole = {
        **history["source"],
        "credentialed": bool(history["source"].get("credentialed") or source["credentialed"]),
    }
    return {**history, "source": whole, "recalibrated": done}
