# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Terms of a dataset's use: whether its records may leave the machine, and what is learned from them."""

from pathlib import Path

import pyarrow.parquet as pq

from datasets_scripts.dataset.folder import shards
from datasets_scripts.dataset.splits import SPLITS


SIMULATED = "synthetic"  # the one source whose records are nobody's


def is_open(folder: str | Path, metadata: dict) -> bool:
    """
    Return whether a dataset folder holds simulated patients only, by its description and every record's own source.

    Args:
        metadata (`dict`): what `clinragen_dataset.json` of the folder holds.
    """
    if metadata["source"] != SIMULATED or metadata["source_description"]["credentialed"] is not False:
        return False
    files = [path for split in SPLITS for path in shards(Path(folder), split)]
    return all(pq.read_table(path, columns=["source"])["source"].unique().to_pylist() == [SIMULATED] for path in files)


def with_terms(folder: str | Path, metadata: dict) -> dict:
    """Return the metadata, which say `credentialed` of all that [`is_open`] does not find open."""
    return {
        **metadata,
        "source_description": {**metadata["source_description"], "credentialed": not is_open(folder, metadata)},
    }
