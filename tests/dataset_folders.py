# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Dataset folders that a test writes by hand."""

import json

import pyarrow.parquet as pq

from datasets_scripts.dataset.folder import METADATA_FILE, SPLITS, content_hash, shards


def describe(folder, like):
    """Write the metadata of another dataset folder, `like`, with the counts and the hash of this one's files."""
    metadata = json.loads((like / METADATA_FILE).read_text(encoding="utf-8"))
    for split in SPLITS:
        metadata["counts"][split]["stays"] = sum(pq.read_metadata(path).num_rows for path in shards(folder, split))
    metadata["content_hash"] = content_hash(folder)
    (folder / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
