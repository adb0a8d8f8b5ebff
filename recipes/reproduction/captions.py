# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Copy a dataset folder, with the anomaly caption (the series as text) at the end of each note."""

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datasets_scripts.common.command import CommandParser
from datasets_scripts.common.outputs import check_free, finished_folder
from datasets_scripts.dataset.card import dataset_card
from datasets_scripts.dataset.folder import (
    LABEL_AUDIT,
    SPLITS,
    read_metadata,
    shards,
    write_metadata,
    write_shard,
)


def main(argv: list[str] | None = None) -> None:
    parser = CommandParser(description="A dataset folder whose notes end with the anomaly caption.")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    check_free(arguments.output, arguments.dataset)
    metadata = read_metadata(arguments.dataset)
    with finished_folder(arguments.output) as folder:
        for split in SPLITS:
            for shard in shards(arguments.dataset, split):
                table = pq.read_table(shard)
                texts = zip(table["note"].to_pylist(), table["lab_caption"].to_pylist(), strict=True)
                notes = pa.array([f"{note}\n\n{caption}".strip() for note, caption in texts], pa.string())
                table = table.set_column(table.schema.get_field_index("note"), "note", notes)
                write_shard(folder, split, int(shard.stem.split("-")[-1]), table)
        shutil.copy(arguments.dataset / LABEL_AUDIT, folder / LABEL_AUDIT)
        write_metadata(folder, {**metadata, "notes_end_with_caption": True}, dataset_card)
