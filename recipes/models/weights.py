# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Hash of a model's weights."""

import hashlib
from pathlib import Path


def weights_hash(folder: str | Path) -> str:
    """Return the SHA-256 of the weights of a model folder."""
    total = hashlib.sha256()
    for path in sorted(Path(folder).glob("model*.safetensors")):
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
