# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Terms of use of a dataset: whether its records, and models trained on them, may leave the machine."""

from pathlib import Path

import pyarrow.parquet as pq

from datasets_scripts.dataset.folder import shards
from datasets_scripts.dataset.splits import SPLITS


SIMULATED = "synthetic"  # the only source without real patients


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
    """Return the metadata with `credentialed` set, unless [`is_open`] finds the data open."""
    return {
        **metadata,
        "source_description": {**metadata["source_description"], "credentialed": not is_open(folder, metadata)},
    }
