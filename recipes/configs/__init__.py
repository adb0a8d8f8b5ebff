# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The configurations that come with the project."""

from pathlib import Path


FOLDER = Path(__file__).parent


def find_config(path: str | Path) -> Path:
    """
    Return `path`, or where there is no such file the project's own of that name.

    `quickstart/stage1.yaml` and `recipes/configs/quickstart/stage1.yaml` are both found from any folder.
    """
    path = Path(path)
    own = FOLDER / (path.relative_to("recipes/configs") if path.is_relative_to("recipes/configs") else path)
    return own if not path.exists() and own.is_file() else path
