# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Write a cohort as the shards of a dataset folder, a block of stays at a time, by several processes if there are many;
finished blocks survive a kill.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from datasets_scripts.common.cluster import ordered_map
from datasets_scripts.common.outputs import ResumableError
from datasets_scripts.common.workers import several_wanted, shared_map, worker_pool
from datasets_scripts.dataset.folder import schema_for, shard_path, write_shard
from datasets_scripts.dataset.language import count_words, headings_of, language_warning
from datasets_scripts.dataset.leakage import LeakMeter
from datasets_scripts.dataset.splits import SPLITS, split_of
from datasets_scripts.sources.blocks import Block, read_block
from datasets_scripts.sources.cohort import Cohort
from datasets_scripts.sources.notes import note_text, notes_left_out, strip_as_the_release, unknown_headings
from modeling_clinragen.claims_clinragen import UNMEASURED, describe_anomalies
from modeling_clinragen.language_clinragen import Language


STAYS_PER_BLOCK = 500
BLOCKS_FOR_SEVERAL = 4  # of fewer blocks another process would be ready too late
MOST_PROCESSES = 4  # by default: each takes memory


@dataclass(frozen=True)
class RecordOptions:
    """
    Settings for the records of stays.

    Args:
        source (`str`): the column `source`.
        note_view (`str` or `float`): as `parse_note_view` returns it; note_text (`str`): `"fixed"`, or `"paper"` for a
            text without digits and stop words.
        caption (`str`): `"fixed"`, or `"paper"`, which calls an unmeasured channel normal.
        shares (`dict[str, float]`): of the patients, by split; seed (`int`): of the split.
        labelled (`bool`): whether the diagnoses are known, so that leaks can be counted.
        language (`dict`, *optional*): of the notes, as `load_language` returns it; default: English.
    """

    source: str
    note_view: str | float
    note_text: str
    caption: str
    shares: dict[str, float]
    seed: int
    labelled: bool = True
    language: dict | None = None


def write_records(
    cohort: Cohort,
    folder: Path,
    labels: list[dict],
    options: RecordOptions,
    ray_address: str | None = None,
    processes: int | None = None,
) -> dict:
    """
    Write the shards of all splits.

    Args:
        ray_address (`str`, *optional*): of a Ray cluster that makes the tables; default: this machine does.
        processes (`int`, *optional*): of this machine that make and write the tables, with this one; default: one for
            each core, at most 4, if there are four blocks of stays or more.

    Returns:
        `counts` per split, `stays_with_label` per class id, `leakage` per note view, `language_warning`, if any, and
        with a language `language_words`, the share of its words in the notes, and `unknown_headings`.

    Raises:
        ResumableError: if a process was killed, as by the system for want of memory.
    """
    execute, maker = cohort.connection.execute, RecordMaker(cohort.channels, labels, options)
    execute("CREATE TABLE IF NOT EXISTS blocks (number INTEGER, counts VARCHAR)")
    counted = {number: json.loads(counts) for number, counts in execute("FROM blocks").fetchall()}
    done = {number for number, counts in counted.items() if _has_shards(folder, number, Counter(counts))}
    execute("DELETE FROM blocks WHERE NOT list_contains(?, number)", [list(done)])
    spans = {
        number: (start, min(start + STAYS_PER_BLOCK, cohort.num_stays))
        for number, start in enumerate(range(0, cohort.num_stays, STAYS_PER_BLOCK))
    }
    to_do = [number for number in spans if number not in done]
    blocks = (read_block(cohort, *spans[number]) for number in to_do)
    processes = processes or _processes_for(len(to_do))
    with (
        tqdm(total=cohort.num_stays, desc="Writing records", unit="stay") as bar,
        closing(_written(ShardWriter(maker, folder), to_do, blocks, processes, ray_address)) as written,
    ):
        bar.update(sum(spans[number][1] - spans[number][0] for number in done))
        for number, counts in zip(to_do, written, strict=True):
            execute("INSERT INTO blocks VALUES (?, ?)", [number, json.dumps(counts)])
            bar.update(spans[number][1] - spans[number][0])
    total: Counter = Counter()
    for (counts,) in execute("SELECT counts FROM blocks").fetchall():
        total.update(json.loads(counts))
    return _report(cohort, total, labels, options, maker.meter)


def _has_shards(folder: Path, number: int, counts: Counter) -> bool:
    return all(shard_path(folder, split, number).is_file() for split in SPLITS if counts[f"{split} stays"])


def views_of(options: RecordOptions) -> dict[str, str | float]:
    """Return the note views with a count of leaks: both of the discharge summary, and the requested one."""
    views: dict[str, str | float] = {"admission": "admission", "paper": "paper"}
    if not isinstance(options.note_view, str):
        views[f"as-of={options.note_view:g}"] = options.note_view
    return views


class RecordMaker:
    """
    Turns a block of stays into one table per split, and the counts of the block by name.

    Args:
        channels, labels (list of `dict`): of the dataset.
        options (`RecordOptions`): settings for the records.
    """

    def __init__(self, channels: list[dict], labels: list[dict], options: RecordOptions):
        self.channels, self.labels, self.options = channels, [label["name"] for label in labels], options
        self.meter = LeakMeter(labels)
        self.headings = headings_of(options.language)
        self.language = None if options.language is None else Language(options.language)
        self.clean: Callable[[str], str] = strip_as_the_release if options.note_text == "paper" else str

    def __call__(self, block: Block) -> tuple[dict[str, pa.Table], Counter]:
        notes, left_out, counts = self._notes(block)
        table = records_table(block, notes, self.channels, self.labels, self.options)
        splits = np.array([split_of(s["subject_id"], self.options.shares, self.options.seed) for s in block.stays])
        num_times = np.diff(block.offsets)
        for split, stay, note, lost, measured in zip(splits, block.stays, notes, left_out, num_times, strict=True):
            counts[f"{split} stays"] += 1
            counts[f"{split} with_note"] += bool(note)
            counts[f"{split} notes_left_out"] += lost
            counts[f"{split} with_series"] += bool(measured)
            counts.update(f"{split} label {i}" for i in stay["diagnoses"])
        return {split: table.filter(pa.array(splits == split)) for split in SPLITS}, counts

    def _notes(self, block: Block) -> tuple[list[str], list[int], Counter]:
        """Return the notes, the number of summaries left out of each for lack of headings, and each view's leaks."""
        notes, left_out, counts = [], [], Counter()
        for stay in block.stays:
            for name, view in views_of(self.options).items():
                text = note_text(stay["documents"], view, self.headings)
                leaks = self.meter.count(text, stay["diagnoses"]) if self.options.labelled else {}
                counts.update({f"leak {name} {key}": count for key, count in leaks.items()})
                if view == self.options.note_view:
                    notes.append(self.clean(text))
                    counts.update(count_words(notes[-1], self.language))
                    left_out.append(notes_left_out(stay["documents"], view, self.headings))
            if self.headings is not None:
                counts["unknown headings"] += unknown_headings(stay["documents"], self.headings)
        return notes, left_out, counts


class ShardWriter:
    """Write the shards of a block of stays, given with its number; return the block's counts."""

    def __init__(self, maker: RecordMaker, folder: Path):
        self.maker, self.folder = maker, folder

    def __call__(self, numbered: tuple[int, Block]) -> Counter:
        number, block = numbered
        return self.write(number, *self.maker(block))

    def write(self, number: int, tables: dict[str, pa.Table], counts: Counter) -> Counter:
        for split, table in tables.items():
            write_shard(self.folder, split, number, table)
        return counts


def _processes_for(num_blocks: int) -> int:
    few = num_blocks < BLOCKS_FOR_SEVERAL or not several_wanted(None)
    return 1 if few else min(os.cpu_count() or 1, MOST_PROCESSES)


def _written(
    writer: ShardWriter, numbers: list[int], blocks: Iterator[Block], processes: int, ray_address: str | None
) -> Iterator[Counter]:
    """Write the blocks, in order; yield the counts of each."""
    if ray_address:
        with closing(ordered_map(writer.maker, blocks, ray_address)) as made:
            for number, (tables, counts) in zip(numbers, made, strict=True):
                yield writer.write(number, tables, counts)
    elif processes == 1:
        yield from map(writer, zip(numbers, blocks, strict=True))
    else:
        try:
            with worker_pool(processes - 1, _take, writer) as pool:
                yield from shared_map(pool, _write, writer, zip(numbers, blocks, strict=True), processes - 1)
        except BrokenProcessPool:
            raise ResumableError(
                "--processes: one of them was killed, perhaps for lack of memory; start the same command again with "
                "fewer to resume"
            ) from None


_writer: ShardWriter | None = None  # of a worker process


def _take(writer: ShardWriter) -> None:
    global _writer
    _writer = writer


def _write(numbered: tuple[int, Block]) -> Counter:
    return _writer(numbered)


def records_table(
    block: Block, notes: list[str], channels: list[dict], labels: list[str], options: RecordOptions
) -> pa.Table:
    """Make the rows of the dataset for a block of stays."""
    spans = list(zip(block.offsets[:-1], block.offsets[1:], strict=True))
    columns = {name: [stay[name] for stay in block.stays] for name in block.stays[0] if name != "documents"}
    columns |= {name: [""] * len(spans) for name in ("note_rationale", "lab_rationale", "teacher")}
    columns |= {
        "source": [options.source] * len(spans),
        "note": notes,
        "lab_times": _lists(block.offsets, pa.array(block.times)),
        "lab_values": _lists(block.offsets, _rows(block.values)),
        "lab_available_times": _lists(block.offsets, _rows(block.available)),
        "lab_caption": [
            _caption(block.values[a:b], unread, channels, options.caption)
            for (a, b), unread in zip(spans, block.unread, strict=True)
        ],
    }
    return pa.Table.from_pydict(columns, schema=schema_for(labels))


def _caption(values: np.ndarray, unread: np.ndarray, channels: list[dict], version: str) -> str:
    if version == "paper":
        return describe_anomalies(values, channels, "normal all the time")
    return describe_anomalies(values, channels, UNMEASURED, unread)


def _lists(offsets: np.ndarray, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _rows(matrix: np.ndarray) -> pa.Array:
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * matrix.shape[1]
    return _lists(offsets, pa.array(matrix.reshape(-1)))


def _report(cohort: Cohort, total: Counter, labels: list[dict], options: RecordOptions, meter: LeakMeter) -> dict:
    patients = Counter(
        split_of(subject_id, options.shares, options.seed)
        for (subject_id,) in cohort.connection.execute("SELECT DISTINCT subject_id FROM stays").fetchall()
    )
    counts = {
        split: {
            "stays": total[f"{split} stays"],
            "patients": patients[split],
            "with_note": total[f"{split} with_note"],
            "notes_left_out": total[f"{split} notes_left_out"],
            "with_series": total[f"{split} with_series"],
        }
        for split in SPLITS
    }
    leakage = {}
    for name in views_of(options) if options.labelled else ():
        prefix = f"leak {name} "
        leakage[name] = meter.report(Counter({k[len(prefix) :]: n for k, n in total.items() if k.startswith(prefix)}))
    return {
        "counts": counts,
        "stays_with_label": [{split: total[f"{split} label {i}"] for split in SPLITS} for i in range(len(labels))],
        "leakage": leakage,
        "language_warning": language_warning(total, options.language and options.language["name"]),
        "language_words": total["words of the language"] / max(total["words"], 1),
        "unknown_headings": total["unknown headings"],
    }
