# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The model, used through its pipeline: loading, reading series, answering, and answering without an input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import Pipeline, pipeline


TASK = "clinical-rationale-generation"
EXAMPLES = Path(__file__).parent / "examples"

Series = tuple[np.ndarray, np.ndarray]  # values (T, num_channels) with NaN = not measured, and hours (T,)


def load(model: str, revision: str | None = None) -> Pipeline:
    """
    Return the pipeline of a model folder or Hub id, with the folder's own code, ready to answer.

    Raises:
        ValueError: if the folder's code is older than this app.
    """
    pipe = pipeline(TASK, model=model, revision=revision, trust_remote_code=True)
    if not hasattr(pipe.model.config, "decisions"):
        raise ValueError(f"the code of {model} is older than this app; save the model folder again")
    series, _ = read_csv(pipe, template_csv(pipe).encode())
    list(answer(pipe, "Warm up.", series))  # the first answer is slower than later ones
    return pipe


def channels_of(pipe: Pipeline) -> list[dict]:
    return pipe.processor.feature_extractor.channels


def examples(pipe: Pipeline) -> dict[str, tuple[str, Series]]:
    """Return name -> note and series of the example patients; channels that the model does not have are left out."""
    names = {channel["name"] for channel in channels_of(pipe)}
    found = {}
    for path in sorted(EXAMPLES.glob("*.json")):
        example = json.loads(path.read_text(encoding="utf-8"))
        labs = {name: pairs for name, pairs in example["labs"].items() if name in names}
        found[example["name"]] = (example["note"], pipe.processor.feature_extractor.series_from_events(labs))
    return found


def read_csv(pipe: Pipeline, table: bytes) -> tuple[Series, list[str]]:
    """Return the series of a CSV table, and a sentence for each value that the model does not read."""
    extractor = pipe.processor.feature_extractor
    series = extractor.series_from_csv(table)
    return series, extractor.left_out(*series)


def template_csv(pipe: Pipeline) -> str:
    """Return a table to fill in: a column for each channel, a typical value of it, and empty cells."""
    channels = channels_of(pipe)
    middle = [f"{_typical(c):.{c.get('decimals', 1)}f}" for c in channels]
    rows = [
        ["hour", *(c["name"] for c in channels)],
        ["0.5", *middle],
        ["4", *(middle[:2]), *[""] * len(channels[2:])],
    ]
    return "".join(",".join(row) + "\n" for row in rows)


def _typical(channel: dict) -> float:
    """Return the middle of a channel's reference range; its mean if a limit is missing."""
    low, high = channel.get("low"), channel.get("high")
    return channel["mean"] if low is None or high is None else (low + high) / 2


def can_ground(pipe: Pipeline) -> bool:
    """Return whether the code of the model folder can leave out statements without support in the record."""
    return hasattr(type(pipe), "grounding")


def answer(pipe: Pipeline, note: str, series: Series, grounded: bool = True) -> Iterator[dict]:
    """
    Yield diagnoses, then the text as it grows, then the whole answer; see `stream` of the pipeline.

    Args:
        grounded (`bool`, defaults to `True`): write only what the record supports, if the model can check it.
    """
    options = {"grounded": grounded} if can_ground(pipe) else {}
    return pipe.stream(_record(note, series), **options)


def written(pipe: Pipeline, text: str) -> tuple[str, str]:
    """Return the note and series parts of the rationale in an unfinished text."""
    parts = pipe.processor.parse(text)
    return tuple(parts[name].split("#")[0].strip() for name in ("note_rationale", "lab_rationale"))


def evidence(pipe: Pipeline, note: str, series: Series) -> list[dict]:
    """Return the evidence for each diagnosis."""
    return pipe(_record(note, series), evidence=True)["evidence"]


def _record(note: str, series: Series) -> dict:
    return {"note": note, "lab_values": series[0], "lab_times": series[1]}


@torch.no_grad()
def probabilities_without(pipe: Pipeline, note: str, series: Series) -> dict[str, dict[str, float] | None]:
    """Return each diagnosis's probability with both inputs and without each; `None` if no input is left."""
    processor, nothing = pipe.processor, no_series(pipe)
    variants = {
        "both": (note, *series),
        "note alone": (note, *nothing),
        "measurements alone": ("", *series),
    }
    readable = {name: record for name, record in variants.items() if processor.can_read(*record)}
    found: dict[str, dict[str, float] | None] = dict.fromkeys(variants)
    if readable:
        notes, values, hours = zip(*readable.values(), strict=True)
        inputs = processor(list(notes), list(values), list(hours), return_tensors="pt").to(pipe.device)
        for name, row in zip(readable, pipe.model.diagnosis_probabilities(**inputs).tolist(), strict=True):
            found[name] = {label: round(value, 4) for label, value in zip(processor.labels, row, strict=True)}
    return found


def no_series(pipe: Pipeline) -> Series:
    return np.empty((0, len(channels_of(pipe)))), np.empty(0)


def thresholds(pipe: Pipeline) -> dict[str, float]:
    """Return the threshold of each diagnosis."""
    return dict(zip(pipe.processor.labels, pipe.model.config.decisions.thresholds, strict=True))
