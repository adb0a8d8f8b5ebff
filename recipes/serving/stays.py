# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The stays of a dataset folder as records to be answered, labelled or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datasets_scripts.dataset.folder import STAY_IDS, check_content, iterate_rows, shards_of
from modeling_clinragen import ClinRaGenInputError
from recipes.serving.record_files import Entry


FIELDS = ("note", "lab_times", "lab_values")


def read_stays(folder: Path, split: str) -> Iterator[Entry]:
    """Yield the stays of a split, one row group in memory at a time; rows count from 0, as in the split."""
    for number, row in enumerate(iterate_rows(folder, split)):
        record = {name: row[name] for name in FIELDS}
        yield Entry(number, row["stay_id"], record, unit="row", ids={name: row[name] for name in STAY_IDS})


def check_stays(folder: Path, split: str, channels: list[dict], model: str) -> dict:
    """
    Return the metadata of a dataset folder that a model can answer.

    Args:
        channels (`list[dict]`): those of the model's feature extractor.
        model (`str`): its name, for messages.

    Raises:
        ClinRaGenInputError: if the folder is damaged, has no such split, or other channels.
    """
    metadata = check_content(folder)
    shards_of(folder, split)
    wanted, found = (
        [(channel["name"], channel["unit"]) for channel in each] for each in (channels, metadata["channels"])
    )
    if wanted != found:
        raise ClinRaGenInputError(
            f"{folder} has other channels, units or another order of them than {model}; build it with --channels of "
            f"{', '.join(name for name, _ in wanted)}"
        )
    return metadata
