# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The configurations that come with the project."""

from pathlib import Path

from datasets_scripts.common.settings import read_yaml
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


FOLDER = Path(__file__).parent
EXTENDS = "extends"


def find_config(path: str | Path) -> Path:
    """
    Return `path` if it exists, else the project's own file of that name.

    `quickstart/stage1.yaml` and `recipes/configs/quickstart/stage1.yaml` are both found from any folder.
    """
    path = Path(path)
    own = FOLDER / (path.relative_to("recipes/configs") if path.is_relative_to("recipes/configs") else path)
    return own if not path.exists() and own.is_file() else path


def read_config(path: str | Path, seen: tuple[Path, ...] = ()) -> dict:
    """
    Return the fields of a configuration, together with those that it inherits from the one that it `extends`.

    Args:
        seen (tuple of `Path`): the files that lead to this one.

    Raises:
        ClinRaGenInputError: naming the file that cannot be read, holds no fields, or extends itself.
    """
    file = find_config(path)
    given = read_yaml(file, object)
    if not isinstance(given, dict):
        raise ClinRaGenInputError(f"{path} holds no fields; write one a line, as in learning_rate: 0.001")
    if EXTENDS not in given:
        return given
    before = given.pop(EXTENDS)
    seen = (*seen, file.absolute())
    if not isinstance(before, str):
        raise ClinRaGenInputError(f"{path}: {EXTENDS} is {before!r}; give one configuration, as --config takes it")
    if find_config(before).absolute() in seen:
        raise ClinRaGenInputError(f"{path}: {EXTENDS} is {before}, which extends this file; leave one of them out")
    return {**read_config(before, seen), **given}
