# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Training records that are read again in each epoch, and encoded per batch."""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import IterableDataset, concatenate_datasets
from tqdm import tqdm
from transformers.trainer_pt_utils import get_length_grouped_indices

from modeling_clinragen import ClinRaGenProcessor
from recipes.training.data import BATCH, ClinRaGenCollator, no_rationale, nothing_to_read, readable_rows


logger = logging.getLogger(__name__)


class RecordStream(torch.utils.data.IterableDataset):
    """
    Yields the records of a split, each once an epoch, as tables of one row.

    Every process and every worker reads the whole split; a worker yields only its own batches. The order depends on
    seed and epoch alone: files are shuffled, and records within buffers of `buffer_size` consecutive ones.

    Args:
        records (`IterableDataset`): as `load_records` streams it.
        processor (`ClinRaGenProcessor`): records without any of its inputs are left out.
        batch_size (`int`): records of a step, of all processes.
        buffer_size (`int`): records in memory; no fewer than a batch.
        seed (`int`): of the first epoch.
        length_columns (`list[str]`): batches hold records with texts of similar length in these columns; if empty,
            batches are random.
        taught_only (`bool`): leave out records without a rationale.

    Raises:
        ClinRaGenInputError: if no record is left, or a record is malformed.
    """

    def __init__(
        self,
        records: IterableDataset,
        processor: ClinRaGenProcessor,
        batch_size: int,
        buffer_size: int,
        seed: int,
        length_columns: list[str],
        taught_only: bool = False,
    ):
        def is_read(table: pa.Table, first: int = 0) -> list[bool]:
            readable = readable_rows(table, processor, first)
            taught = table["teacher"].to_pylist() if taught_only else readable
            return [bool(a and b) for a, b in zip(readable, taught, strict=True)]

        records = records.with_format("arrow")
        self.length = _count(records, is_read)
        if not self.length:
            raise no_rationale() if taught_only else nothing_to_read(processor)
        self.records = records.filter(is_read, batched=True, batch_size=BATCH)
        self.batch_size = batch_size
        self.buffer_size = max(buffer_size // batch_size, 1) * batch_size
        self.seed = seed
        self.length_columns = length_columns
        self.epoch = torch.tensor(0).share_memory_()  # persistent workers see a new epoch

    def __len__(self) -> int:
        return self.length

    def set_epoch(self, epoch: int):
        self.epoch.fill_(epoch)

    def __iter__(self) -> Iterator[pa.Table]:
        worker = torch.utils.data.get_worker_info()
        number, of = (worker.id, worker.num_workers) if worker else (0, 1)
        batches = 0
        for table, order in self._buffers():
            for start in range(0, len(order), self.batch_size):
                if batches % of == number:
                    batch = table.take(order[start : start + self.batch_size])
                    yield from (batch.slice(row, 1) for row in range(len(batch)))
                batches += 1

    def _buffers(self) -> Iterator[tuple[pa.Table, list[int]]]:
        """Yield the records, `buffer_size` at a time, and their order."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch.item())
        number = self.records.num_shards
        files = [self.records.shard(number, i) for i in torch.randperm(number, generator=generator).tolist()]
        for table in concatenate_datasets(files).with_format("arrow").iter(self.buffer_size):
            if self.length_columns:
                texts = [pc.utf8_length(table[name]).fill_null(0) for name in self.length_columns]
                lengths = np.sum([text.to_numpy() for text in texts], axis=0)
                order = get_length_grouped_indices(lengths.tolist(), self.batch_size, len(table), generator)
            else:
                order = torch.randperm(len(table), generator=generator).tolist()
            yield table.combine_chunks(), order  # taking rows from a single chunk is three times as fast


def _count(records: IterableDataset, is_read: Callable[..., list[bool]]) -> int:
    total = number = 0
    with tqdm(desc="Counting records", unit="record") as bar:
        for table in records.iter(BATCH):
            number += sum(is_read(table, total))
            total += len(table)
            bar.update(len(table))
    if number < total:
        logger.warning("%d of %d records are left out: nothing to read or to learn from", total - number, total)
    return number


class StreamCollator:
    """
    Encodes the records of a batch of a `RecordStream`, and pads them; encoded records are only padded.

    Args:
        collator (`ClinRaGenCollator`): pads.
        encode (callable): table of records -> columns, like [`encode_rows`].
    """

    def __init__(self, collator: ClinRaGenCollator, encode: Callable[[pa.Table], dict]):
        self.collator = collator
        self.encode = encode

    def __call__(self, rows: list[pa.Table] | list[dict]) -> dict[str, torch.Tensor]:
        if isinstance(rows[0], pa.Table):
            columns = self.encode(pa.concat_tables(rows))
            rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
        return self.collator(rows)
