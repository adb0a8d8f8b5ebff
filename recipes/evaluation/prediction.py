# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers of a model to each record of a split, in order; and the original release's ways of generating them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from datasets import Dataset
from tqdm import tqdm

from datasets_scripts.dataset.folder import STAY_IDS
from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from recipes.serving.answers import chunks


INPUTS = ("note", "lab_times", "lab_values")
BATCHES_PER_CHUNK = 8
NOTHING = {
    "diagnoses": [],
    "note_rationale": "",
    "lab_rationale": "",
    "generated_text": "",
    "sentences": [],
    "claims": [],
    "note_claims": [],
    "knowledge": [],
    "probabilities": {},
    "doubt": None,
}


def predict(
    pipe: ClinRaGenPipeline,
    records: Dataset,
    batch_size: int,
    num_beams: int,
    change: Callable[[int, dict], dict] | None = None,
    desc: str = "Evaluating",
    grounded: bool = True,
    **options,
) -> Iterator[dict]:
    """
    Yield one prediction per record, in order, under a progress bar.

    Args:
        change (callable, *optional*): position of a record and its `note`, `lab_times` and `lab_values` -> the input
            that the model reads instead.
        desc (`str`): label of the progress bar.
        grounded (`bool`), options: as the pipeline takes them.

    Yields:
        `dict`: what the pipeline returns, ids, `gold` diagnoses, the teacher's rationales, and `readable`. A record
        without any input of the model is predicted to have no disease.
    """
    processor, columns = pipe.processor, records.select_columns(list(INPUTS))

    def input_of(i: int) -> dict:
        return columns[i] if change is None else change(i, columns[i])

    lengths = {}  # of the notes of the records that can be read, in order
    for i in range(len(records)):
        row = input_of(i)
        if processor.can_read(**row, where=f"row {i}"):
            lengths[i] = len(row["note"] or "")

    def answers() -> Iterator[dict]:
        """Yield answers in order; within a chunk, each batch holds notes of similar length."""
        for chunk in chunks(lengths, batch_size * BATCHES_PER_CHUNK):
            order = chunk if isinstance(pipe, UnmaskedPipeline) else sorted(chunk, key=lengths.get)
            rows = (input_of(i) for i in order)
            generation = {"batch_size": batch_size, "num_beams": num_beams, "do_sample": False, **options}
            outputs = pipe(rows, grounded=grounded, **generation)
            given = {}
            for i, answer in zip(order, outputs, strict=True):
                given[i] = answer
                bar.update()
            yield from (given[i] for i in chunk)

    with tqdm(total=len(records), desc=desc, unit="record") as bar:
        bar.update(len(records) - len(lengths))
        answer = answers()
        for i, row in enumerate(records):
            yield prediction_of(row, processor.labels, next(answer) if i in lengths else None)


def prediction_of(row: dict, labels: list[str], answer: dict | None) -> dict:
    """Return a line of `predictions.jsonl`; `answer` has the keys of `NOTHING`, or is `None` without input."""
    return {
        **{name: row[name] for name in STAY_IDS},
        "readable": answer is not None,
        "gold": [labels[i] for i in row["diagnoses"]],
        "reference_note_rationale": row["note_rationale"],
        "reference_lab_rationale": row["lab_rationale"],
        **(NOTHING if answer is None else answer),
    }


class UnmaskedPipeline(ClinRaGenPipeline):
    """
    The original release's generation, without the attention mask of training: the padding of a note is read as if it
    were part of the note, so that a record's answer depends on its batch.
    """

    def _forward(self, model_inputs, **generate_kwargs):
        attention_mask = torch.ones_like(model_inputs["attention_mask"])
        return super()._forward({**model_inputs, "attention_mask": attention_mask}, **generate_kwargs)


def whole_batches(records: Dataset, batch_size: int) -> Dataset:
    """
    Return the records without an incomplete last batch, which the original release leaves out.

    Raises:
        ClinRaGenInputError: if there is no full batch.
    """
    if len(records) < batch_size:
        raise ClinRaGenInputError(
            f"--drop-last-batch leaves nothing of {len(records)} records in batches of {batch_size}; "
            "lower --batch-size"
        )
    return records.select(range(len(records) // batch_size * batch_size))
