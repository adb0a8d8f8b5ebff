# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Doubt of a model, fitted on a calibration split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm import tqdm

from modeling_clinragen import ClinRaGenLanguageModel, ClinRaGenProcessor
from modeling_clinragen.abstention_clinragen import support_of
from modeling_clinragen.doubt_clinragen import MORE_IS_UNUSUAL, PRECISION_GRID, UNUSUAL, ClinRaGenDoubt
from recipes.training.data import ClinRaGenCollator


NUM_SCORES = 200  # probabilities of positives kept for each label; more are thinned evenly
UNUSUAL_SHARE = 0.02  # of the calibration records beyond the limit of each measure of support
INFLUENCE_RECORDS = 32, 256  # at least, at most: twelve passes each; fewer records for a large model
INFLUENCE_PARAMETERS = 2**33  # records times parameters; 135 million take 63 records
STEP = 1e-4  # precision of the kept probabilities


def fit_doubt(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: Dataset,
    collator: ClinRaGenCollator,
    probabilities: np.ndarray,
    precision: Callable[[], AbstractContextManager] = nullcontext,
) -> None:
    """
    Set `decisions.doubt` of the model's configuration.

    Args:
        records (`Dataset`): the calibration split, as `encode_records` gives it.
        probabilities (array of shape `(num_records, num_labels)`): of these records, from a model not trained on them.
        precision (callable): returns the context for the many passes that measure the influence of each channel, such
            as training's autocast; a mean of changes does not need float32.
    """
    model.eval()
    support = [support_of(model, inputs).cpu() for inputs in batches(model, processor, records, collator)]
    gold = np.stack(records.with_format("numpy", columns=["diagnosis_labels"])["diagnosis_labels"])
    few = records.select(range(min(influence_records(model.num_parameters()), len(records))))
    with precision():
        influence = channel_influence(model, processor, few, collator).double().numpy().round(4).tolist()
    model.config.decisions.doubt = asdict(
        ClinRaGenDoubt(
            **fit_guarantees(probabilities, gold),
            support_limits=fit_support_limits(torch.cat(support).numpy()),
            influence=influence,
        )
    )


def batches(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: Dataset,
    collator: ClinRaGenCollator,
    batch_size: int = 64,
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the model's inputs, on its device."""
    for batch in DataLoader(records, batch_size=batch_size, collate_fn=collator):
        yield {name: batch[name].to(model.device) for name in processor.model_input_names}


def fit_guarantees(probabilities: np.ndarray, gold: np.ndarray) -> dict[str, list]:
    """
    Return compact figures from which thresholds with a guarantee follow for any recall and precision.

    Args:
        probabilities, gold (arrays of shape `(num_records, num_labels)`): of the calibration split.

    Returns:
        `num_positives`, `positive_scores`, `selected` and `correct` of [`ClinRaGenDoubt`].
    """
    gold = np.asarray(gold, dtype=bool)
    above = probabilities[:, None, :] >= np.array(PRECISION_GRID)[:, None]  # (num_records, grid, num_labels)
    return {
        "num_positives": gold.sum(axis=0).tolist(),
        "positive_scores": [_thinned(np.sort(p[g])) for p, g in zip(probabilities.T, gold.T, strict=True)],
        "selected": above.sum(axis=0).T.tolist(),
        "correct": (above & gold[:, None, :]).sum(axis=0).T.tolist(),
    }


def _thinned(scores: np.ndarray) -> list[float]:
    """Return the scores of ranks ceil(i * number / kept), rounded down, so that a threshold errs downwards."""
    kept = min(len(scores), NUM_SCORES)
    ranks = [-(-i * len(scores) // kept) for i in range(1, kept + 1)]
    down = np.floor(scores[np.array(ranks, dtype=int) - 1].astype(np.float64) / STEP + 1e-6)
    return (down * STEP).round(4).tolist()


def fit_support_limits(support: np.ndarray) -> dict[str, float]:
    """
    Return the limit of each measure of `support_of`, `(num_records, num_measures)`, beyond which at most
    `UNUSUAL_SHARE` of the records are. A measure that is NaN, because the model does not read its input, has none.
    """
    limits = {}
    for name, values in zip(UNUSUAL, support.T.astype(np.float64), strict=True):
        if np.isnan(values).any():
            continue
        if name in MORE_IS_UNUSUAL:
            limit = np.ceil(np.quantile(values, 1 - UNUSUAL_SHARE, method="higher") / STEP)
        else:
            limit = np.floor(np.quantile(values, UNUSUAL_SHARE, method="lower") / STEP)
        limits[name] = round(float(limit * STEP), 4)
    return limits


def influence_records(num_parameters: int) -> int:
    """Return the number of records for measuring the influence of channels."""
    fewest, most = INFLUENCE_RECORDS
    return max(fewest, min(most, INFLUENCE_PARAMETERS // num_parameters))


@torch.no_grad()
def channel_influence(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: Dataset,
    collator: ClinRaGenCollator,
) -> torch.Tensor:
    """
    Return the mean absolute change of each diagnosis's log-odds if a channel, or the note, is removed from a record.

    Returns:
        `torch.Tensor` of shape `(num_labels, num_input_channels + 1)`, the note last; 0 for inputs of no record.
    """
    num_channels = model.config.num_input_channels
    total = torch.zeros(num_channels + 1, len(model.config.labels))
    number = torch.zeros(num_channels + 1)
    whole_split = batches(model, processor, records, collator)
    for inputs in tqdm(whole_split, desc="Influence of each channel", unit="batch"):
        whole = model.encode(**inputs).diagnosis_logits
        for part, (rows, less) in enumerate(without_each_part(inputs, processor, num_channels)):
            if rows.any():
                change = model.encode(**less).diagnosis_logits - whole[rows]
                total[part] += change.float().abs().sum(dim=0).cpu()
                number[part] += rows.sum().cpu()
    return (total / number.clamp(min=1).unsqueeze(1)).T


def without_each_part(
    inputs: dict[str, torch.Tensor], processor: ClinRaGenProcessor, num_channels: int
) -> Iterator[tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """Yield for each channel, then the note, the records that have it, `(batch_size,)`, and the inputs without it."""
    tokens, mask = inputs["input_ids"], inputs["attention_mask"]
    for channel in range(num_channels):
        if "past_observed_mask" not in inputs:
            yield torch.zeros(len(tokens), dtype=torch.bool), {}
            continue
        rows = inputs["past_observed_mask"][..., channel].bool().any(dim=1)
        less = {name: tensor[rows] for name, tensor in inputs.items()}
        less["past_observed_mask"] = less["past_observed_mask"].clone()
        less["past_observed_mask"][..., channel] = False
        yield rows, less
    blank = processor.encode([None], [None], [None])["input_ids"][0]
    rows = torch.tensor([row[kept.bool()].tolist() != blank for row, kept in zip(tokens, mask, strict=True)])
    less = {name: tensor[rows] for name, tensor in inputs.items()}
    less["input_ids"] = torch.tensor(blank, device=tokens.device).expand(int(rows.sum()), -1)
    less["attention_mask"] = torch.ones_like(less["input_ids"])
    if "term_evidence" in less:
        less["term_evidence"] = less["term_evidence"].clone()
        less["term_evidence"][:, 0] = False
    yield rows, less
