# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Abstention: the amount of support in a record, reasons to make no diagnosis, and the inputs that would help most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .doubt_clinragen import MORE_IS_UNUSUAL, UNUSUAL, ClinRaGenDoubt


if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .configuration_clinragen import ClinRaGenConfig
    from .processing_clinragen import ClinRaGenProcessor

NOTE_MEASURES = ("note_tokens", "token_rarity")


@torch.no_grad()
def support_of(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """
    Measure the support in each record: how much input the model can read.

    Args:
        model (`ClinRaGenLanguageModel`).
        inputs (`dict`): output of the processor.

    Returns:
        `torch.Tensor` of shape `(batch_size, len(UNUSUAL))`: tokens of the text; mean inverse document frequency of
        its words, as the linear classifier knows them; hourly cells of the series with a measurement, and channels
        with one. NaN if the model does not read that input.
    """
    tokens, mask = inputs["input_ids"], inputs["attention_mask"]
    unknown = torch.full((len(tokens),), torch.nan, device=tokens.device)
    measures = {"note_tokens": mask.sum(dim=1)}
    if model.diagnosis_head is not None and model.diagnosis_head.linear is not None:
        linear = model.diagnosis_head.linear
        words = linear.words(tokens, mask)
        rarity = linear.inverse_document_frequency.float()[words.clamp(min=0)].masked_fill(words < 0, 0.0)
        measures["token_rarity"] = rarity.sum(dim=1) / (words >= 0).sum(dim=1)
    if "past_observed_mask" in inputs:
        observed = inputs["past_observed_mask"].bool()
        measures["measurements"] = observed.sum(dim=(1, 2))
        measures["channels"] = observed.any(dim=1).sum(dim=1)
    return torch.stack([measures.get(name, unknown).float() for name in UNUSUAL], dim=1)


def missing_parts(processor: ClinRaGenProcessor, record: dict) -> tuple[np.ndarray, np.ndarray]:
    """
    Return two masks: the inputs that the model reads and the record lacks, bool `(num_input_channels + 1,)`, the note
    last; and the channels that were measured, but never within the plausible range, bool `(num_input_channels,)`.

    Args:
        record (`dict`): `note`, `lab_values`, `lab_times`, checked.
    """
    extractor = processor.feature_extractor
    values, times = record["lab_values"], record["lab_times"]
    within = (times >= 0) & (times < extractor.context_length)
    reached = extractor.reaches_model(values, times).any(axis=0)
    lacks_note = "note" in processor.modalities and not record["note"].strip()
    missing = np.append(~reached & ("lab" in processor.modalities), lacks_note)
    return missing, missing[:-1] & ~np.isnan(values[within]).all(axis=0)


def unread_measurements(processor: ClinRaGenProcessor, record: dict) -> list[str]:
    """
    Count, for each channel, the measurements that the model does not read, because of their hour or their value.

    Args:
        record (`dict`): as in `missing_parts`.
    """
    extractor, counted = processor.feature_extractor, []
    measured, times = ~np.isnan(record["lab_values"]), record["lab_times"]
    late = measured & ~((times >= 0) & (times < extractor.context_length))[:, None]
    odd = measured & ~late & ~extractor.plausible(record["lab_values"])
    hours = f"hours 0 to {extractor.context_length}"
    for marks, where in ((late, hours), (odd, "the plausible range")):
        for place in np.flatnonzero(marks.any(axis=0)):
            number = int(marks[:, place].sum())
            values = "1 value" if number == 1 else f"{number} values"
            counted.append(f"{extractor.channels[place]['name']}: {values} outside of {where}")
    return counted


def reasons_to_abstain(
    config: ClinRaGenConfig, processor: ClinRaGenProcessor, record: dict, support: torch.Tensor
) -> list[str]:
    """
    Return the reasons to make no diagnosis for a record; empty if the support is sufficient.

    Args:
        record (`dict`): as in `missing_parts`.
        support (`torch.Tensor` of shape `(len(UNUSUAL),)`): as `support_of` returns it for the record.
    """
    missing, implausible = missing_parts(processor, record)
    no_note, no_series = bool(missing[-1]), bool(missing[:-1].all())
    names = [channel["name"] for channel in processor.feature_extractor.channels]
    reasons = ["the note is empty"] if no_note else []
    if no_series:
        hours = processor.feature_extractor.context_length
        measured = not np.isnan(record["lab_values"]).all()
        reasons.append(f"nothing is measured in hours 0 to {hours}" if measured else "nothing is measured")
    if implausible.any():
        lost = ", ".join(name for name, lost in zip(names, implausible, strict=True) if lost)
        reasons.append(f"no value within the plausible range ({lost})")
    if config.decisions.doubt is None:
        return reasons
    doubt, values = ClinRaGenDoubt.of(config), dict(zip(UNUSUAL, support.tolist(), strict=True))
    for name in doubt.unusual(values):
        if not (no_note if name in NOTE_MEASURES else no_series):
            bound, limit = "at most" if name in MORE_IS_UNUSUAL else "at least", doubt.support_limits[name]
            reasons.append(f"{UNUSUAL[name]} ({values[name]:.4g}; nearly all patients {bound} {limit:.4g})")
    return reasons


def what_would_help(
    config: ClinRaGenConfig, processor: ClinRaGenProcessor, record: dict, probabilities: torch.Tensor, most: int = 3
) -> list[dict]:
    """
    Rank the missing channels, and the note, by how much they may change the probabilities.

    Args:
        record (`dict`): as in `missing_parts`.
        probabilities (`torch.Tensor` of shape `(num_labels,)`).

    Returns:
        `list[dict]`: `missing`, its name; `change`, the expected absolute change, summed over diagnoses; `diagnosis`,
        for which it is largest.
    """
    missing, _ = missing_parts(processor, record)
    changes = ClinRaGenDoubt.of(config).would_help(probabilities, torch.from_numpy(missing))
    names = [*(channel["name"] for channel in processor.feature_extractor.channels), "note"]
    totals, order = changes.sum(dim=0).sort(descending=True)
    return [
        {"missing": names[i], "change": round(total, 4), "diagnosis": processor.labels[int(changes[:, i].argmax())]}
        for total, i in zip(totals.tolist()[:most], order.tolist()[:most], strict=True)
        if total > 0
    ]


__all__ = ["missing_parts", "reasons_to_abstain", "support_of", "unread_measurements", "what_would_help"]
