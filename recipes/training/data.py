# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""From a dataset folder to the model's batches."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Array2D, Dataset, Features, IterableDataset, List, Value

from datasets_scripts.dataset.folder import label_names, load_split, read_metadata
from modeling_clinragen import ClinRaGenInputError, ClinRaGenProcessor
from recipes.evaluation.figures.metrics import multi_hot


logger = logging.getLogger(__name__)

BATCH = 256


def load_records(
    folder: str,
    split: str,
    needs_rationales: bool = False,
    limit: int | None = None,
    streaming: bool = False,
    needs_labels: bool = True,
) -> Dataset | IterableDataset:
    """
    One split of a dataset folder, as it is stored; with `streaming` read from its files each time.

    Raises:
        ClinRaGenInputError: if it is missing, empty, or has no rationales or labels where they are needed.
    """
    records = load_split(folder, split, streaming, needs_labels)
    if limit is not None:
        records = records.take(min(limit, len(records)) if isinstance(records, Dataset) else limit)
    if next(iter(records), None) is None:
        raise ClinRaGenInputError(f"{folder}: split {split!r} has no records; build the dataset with more patients")
    if needs_rationales and not any(records["teacher"]):
        raise ClinRaGenInputError(
            f"{folder}: split {split!r} has no rationales; run datasets_scripts/generate_rationales.py on it first"
        )
    return records


def check_same_names(processor: ClinRaGenProcessor, model: str, folder: str) -> None:
    """
    Check that columns of series, and class ids of a labelled dataset, mean the same to a model and in a dataset.

    Args:
        model, folder (`str`): the names of both, for the message.

    Raises:
        ClinRaGenInputError: if labels or channels have other names, units, or another order.
    """
    metadata = read_metadata(folder)
    channels, theirs = (
        [f"{channel['name']} in {channel['unit']}" for channel in each]
        for each in (processor.feature_extractor.channels, metadata["channels"])
    )
    labels = label_names(metadata) if metadata.get("labelled", True) else processor.labels
    for name, ours, given in (("labels", processor.labels, labels), ("channels", channels, theirs)):
        if ours != given:
            raise ClinRaGenInputError(
                f"{model} and {folder} differ in their {name}, or in the order of these{_difference(ours, given)}; "
                f"build the dataset with --{name} of the model, or train stage 1 again on it"
            )


def _difference(ours: list[str], given: list[str]) -> str:
    """Name what the model alone has, or else what the dataset alone has."""
    alone = {
        "model": [name for name in ours if name not in given],
        "data": [name for name in given if name not in ours],
    }
    return next((f" (only the {side} has {', '.join(names)})" for side, names in alone.items() if names), "")


def channels_with_statistics(folder: str, records: Dataset | IterableDataset) -> list[dict]:
    """The dataset's channels, each with `mean` and `std` of its plausible measurements in `records`."""
    channels = read_metadata(folder)["channels"]
    total, squares, count = (np.zeros(len(channels)) for _ in range(3))
    minimum = np.array([channel["minimum"] for channel in channels])
    maximum = np.array([channel["maximum"] for channel in channels])
    for rows in records.select_columns("lab_values").iter(batch_size=256):
        values = [np.asarray(row, dtype=np.float64) for row in rows["lab_values"] if len(row)]
        if values:
            values = np.concatenate(values)
            with np.errstate(invalid="ignore"):
                plausible = (values >= minimum) & (values <= maximum)
            values = np.where(plausible, values, 0.0)
            total, squares = total + values.sum(axis=0), squares + (values**2).sum(axis=0)
            count = count + plausible.sum(axis=0)
    completed = []
    for channel, n, s, q in zip(channels, count, total, squares, strict=True):
        channel = dict(channel)
        if n >= 2 and (q - s**2 / n) / n > 0:  # else the configuration's estimate from the reference range
            channel["mean"], channel["std"] = float(s / n), float(np.sqrt((q - s**2 / n) / n))
        completed.append(channel)
    return completed


def readable_records(records: Dataset, processor: ClinRaGenProcessor) -> Dataset:
    """
    The records that hold anything of what the processor reads.

    Raises:
        ClinRaGenInputError: if none does.
    """
    readable, first = [], 0
    for table in records.with_format("arrow").iter(BATCH):
        readable += [first + i for i, is_read in enumerate(readable_rows(table, processor, first)) if is_read]
        first += len(table)
    if len(readable) < len(records):
        missing = len(records) - len(readable)
        logger.warning("%d of %d records have no %s and are left out", missing, len(records), what_is_read(processor))
    if not readable:
        raise nothing_to_read(processor)
    return records.select(readable)


def what_is_read(processor: ClinRaGenProcessor) -> str:
    """Return what a record needs for the processor to read it, in words: "note", "series" or "note or series"."""
    return " or ".join({"note": "note", "lab": "series"}[name] for name in processor.modalities)


def nothing_to_read(processor: ClinRaGenProcessor) -> ClinRaGenInputError:
    """Return the error for a split of which no record can be read."""
    other = {"note": "lab", "lab": "note"}
    alone = [f", or train on the other input alone: --inputs {other[name]}" for name in processor.modalities]
    remedy = f"give a dataset in which some have one{alone[0] if len(alone) == 1 else ''}"
    return ClinRaGenInputError(f"no record has a {what_is_read(processor)}; {remedy}")


def readable_rows(table: pa.Table, processor: ClinRaGenProcessor, first: int = 0) -> list[bool]:
    """Find the rows that hold anything of what the processor reads; errors count them from `first`."""
    columns = columns_of(table.select(["note", "lab_values", "lab_times"]))
    return [
        processor.can_read(*record, where=f"row {i}")
        for i, record in enumerate(zip(*columns.values(), strict=True), start=first)
    ]


def columns_of(table: pa.Table) -> dict[str, list]:
    """
    The columns of records, as the processor takes them: `lab_times` (T,) and `lab_values` (T, C) as float32 arrays,
    all else as Python values.
    """
    columns = {name: table[name] for name in table.column_names}
    return {
        name: _arrays(column) if name in ("lab_times", "lab_values") else column.to_pylist()
        for name, column in columns.items()
    }


def _arrays(column: pa.ChunkedArray) -> list:
    """Lists of numbers, or of lists of one length, as arrays; those of several lengths as they are."""
    column = column.combine_chunks()
    ends = np.cumsum(pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False))
    cells = column.flatten()
    if pa.types.is_list(cells.type):
        lengths = pc.list_value_length(cells).unique().to_pylist()
        if len(lengths) > 1:
            return column.to_pylist()
        cells = cells.flatten().to_numpy(zero_copy_only=False).reshape(-1, *lengths)
    else:
        cells = cells.to_numpy(zero_copy_only=False)
    return np.split(cells, ends[:-1])


def taught_records(records: Dataset) -> Dataset:
    """
    The records for which the teacher gave a rationale.

    Raises:
        ClinRaGenInputError: if there is none.
    """
    taught = [i for i, teacher in enumerate(records["teacher"]) if teacher]
    if not taught:
        raise no_rationale()
    return records.select(taught)


def no_rationale() -> ClinRaGenInputError:
    """Return the error for a split of which no record that can be read has a rationale."""
    return ClinRaGenInputError(
        "no record that can be read has a rationale to learn from; the card of the dataset says why the teacher's "
        "were rejected"
    )


def encode_records(
    records: Dataset,
    processor: ClinRaGenProcessor,
    rationales: list[str],
    max_target_tokens: int,
    rationale_first: bool = False,
    file: Path | None = None,
) -> Dataset:
    """
    Model inputs, target tokens and diagnosis labels of each record that the processor can read.

    Args:
        records (`Dataset`): as `load_records` gives it.
        processor (`ClinRaGenProcessor`): its `modalities` say what is read.
        rationales (`list[str]`): which rationales the target holds, of `"note"` and `"lab"`.
        max_target_tokens (`int`): longer targets are cut at their end.
        rationale_first (`bool`): the target's order; records without a rationale are then left out.
        file (`Path`, *optional*): where the encoded records are kept, and read from where they stand there already;
            those with other columns, of an earlier version, are encoded anew. Default: in memory.

    Returns:
        `Dataset` with `input_ids`, `labels` (lists), `diagnosis_labels` (num_labels,), `length`, `subject_id`, and
        with series `past_values` and `past_observed_mask` (context_length, num_input_channels), and where the model
        reads which terms a record shows `term_evidence` (2, num_terms).
    """
    features = _features(processor)
    if file is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_with_other_columns(file, features)
    records = readable_records(records, processor)
    if rationale_first:
        records = taught_records(records)
    encoded = records.with_format("arrow").map(
        encode_rows,
        batched=True,
        batch_size=BATCH,
        remove_columns=records.column_names,
        features=features,
        fn_kwargs={
            "processor": processor,
            "rationales": rationales,
            "max_target_tokens": max_target_tokens,
            "rationale_first": rationale_first,
        },
        desc="Encoding records",
        cache_file_name=file and str(file),
    )
    return encoded.with_format(None)


def _remove_with_other_columns(file: Path, features: Features) -> None:
    """Remove encoded records with other columns, which an earlier version wrote."""
    if file.exists() and Dataset.from_file(str(file)).features != features:
        file.unlink()


def _features(processor: ClinRaGenProcessor) -> Features:
    features = {
        "input_ids": List(Value("int32")),
        "labels": List(Value("int32")),
        "diagnosis_labels": List(Value("float32"), length=len(processor.labels)),
        "length": Value("int32"),
        "subject_id": Value("string"),
    }
    if "lab" in processor.modalities:
        shape = (processor.feature_extractor.context_length, len(processor.feature_extractor.channels))
        features["past_values"] = Array2D(shape, "float32")
        features["past_observed_mask"] = Array2D(shape, "bool")
    if processor.reads_terms:
        features["term_evidence"] = Array2D((2, len(processor.knowledge)), "bool")
    return Features(features)


def encode_rows(
    table: pa.Table,
    processor: ClinRaGenProcessor,
    rationales: list[str],
    max_target_tokens: int,
    rationale_first: bool,
) -> dict:
    """The columns of `encode_records`, of records that the processor can read."""
    rows = columns_of(table)
    encoded = processor(notes=rows["note"], lab_values=rows["lab_values"], lab_times=rows["lab_times"])
    size = len(rows["note"])
    targets = target_texts(rows, processor, rationales, rationale_first)
    tokens = processor.encode_targets(targets, max_target_tokens)
    labels = [ids if teacher else ids[:-1] for ids, teacher in zip(tokens["input_ids"], rows["teacher"], strict=True)]
    encoded = {name: encoded[name] for name in processor.model_input_names if name != "attention_mask"}
    return {
        **encoded,
        "labels": labels,
        "diagnosis_labels": multi_hot(rows["diagnoses"], len(processor.labels)),
        "length": [len(encoded["input_ids"][i]) + len(labels[i]) for i in range(size)],
        "subject_id": rows["subject_id"],
    }


def target_texts(
    rows: dict, processor: ClinRaGenProcessor, rationales: list[str], rationale_first: bool = False
) -> list[str]:
    """Return the targets of a batch of records; without a rationale of the teacher's, diagnoses alone."""
    notes = rows["note_rationale"] if "note" in rationales else [""] * len(rows["teacher"])
    labs = _lab_targets(rows, processor) if "lab" in rationales else [""] * len(rows["teacher"])
    targets = [
        processor.target_text(*row, rationale_first) for row in zip(rows["diagnoses"], notes, labs, strict=True)
    ]
    # Where the teacher gave no rationale, the target ends with the diagnoses, and without a sign of its end.
    return [
        text if teacher else text.partition("### Lab Test:")[0].rstrip()
        for text, teacher in zip(targets, rows["teacher"], strict=True)
    ]


def _lab_targets(rows: dict, processor: ClinRaGenProcessor) -> list[str]:
    """Return the rationales about the series as the decoder learns them."""
    if not processor.numeric_slots:
        return rows["lab_rationale"]
    slots = processor.slots
    series = zip(rows["lab_times"], rows["lab_values"], strict=True)
    return [slots.mark(text, *record) for text, record in zip(rows["lab_rationale"], series, strict=True)]


class ClinRaGenCollator:
    """
    Pads encoded records to the longest of their batch.

    Args:
        processor (`ClinRaGenProcessor`): for the padding token.
        ignore_padding (`bool`): padded target tokens are -100; `False` counts them, as the paper's release.
    """

    def __init__(self, processor: ClinRaGenProcessor, ignore_padding: bool = True):
        self.pad_token_id = processor.tokenizer.pad_token_id
        self.label_pad = -100 if ignore_padding else self.pad_token_id

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        input_ids = [torch.as_tensor(row["input_ids"], dtype=torch.long) for row in rows]
        labels = [torch.as_tensor(row["labels"], dtype=torch.long) for row in rows]
        batch = {
            "input_ids": pad(input_ids, self.pad_token_id),
            "attention_mask": pad([torch.ones_like(ids) for ids in input_ids], 0),
            "labels": pad(labels, self.label_pad),
            "diagnosis_labels": torch.stack([torch.as_tensor(row["diagnosis_labels"]) for row in rows]),
        }
        for name in ("past_values", "past_observed_mask", "term_evidence"):
            if name in rows[0]:
                batch[name] = torch.stack([torch.as_tensor(row[name]) for row in rows])
        return batch


def pad(rows: list[torch.Tensor], value: float) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
