# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The codes of each channel, and their units: of a database's item table, and as users write them in a mapping."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.conversions_clinragen import (
    SAME,
    SPELLED,
    UNITS,
    Scale,
    known_scale,
    plain_unit,
    scale,
    unit_name,
    units_of,
)


HERE = Path(__file__).parent


def parse_items(codes: object, channels: list[dict], where: str) -> list[dict]:
    """
    Read items as the reader takes them, the first code of a channel preferred.

    Args:
        codes: what a user wrote: channel -> code, or a list of codes, each alone or as `{code, unit}`.
        channels (list of `dict`): of the dataset; the names of the extended set are allowed, too.

    Raises:
        ClinRaGenInputError: beginning with `where`, for what is no code and for a channel that does not exist.
    """
    if not isinstance(codes, dict) or not codes:
        raise ClinRaGenInputError(f"{where} must be a table: the channel's name and its codes")
    known = _known_channels(channels)
    items = []
    for channel, entries in codes.items():
        _check_channel(channel, known, where)
        for entry in entries if isinstance(entries, list) else [entries]:
            code, unit = (entry.get("code"), entry.get("unit", "")) if isinstance(entry, dict) else (entry, "")
            if code is None or (isinstance(entry, dict) and set(entry) - {"code", "unit"}):
                raise ClinRaGenInputError(f"{where}: {channel}: give a code, or code and unit")
            items.append({"table": "events", "itemid": str(code), "channel": channel, "unit": str(unit)})
    return items


def read_item_table(name: str, units: Units) -> list[dict]:
    """
    Read the item table of a database, the first item of a channel preferred; the unit of each becomes the name of a
    conversion.

    Args:
        name (`str`): of a CSV file beside this module, with the columns `table`, `itemid`, `channel`, `unit` and, if
            wanted, `specimen`.
        units (`Units`): of the channels of the dataset, which are those that are read.

    Raises:
        ClinRaGenInputError: naming file and row of a channel that does not exist, or of an unknown unit.
    """
    known, items = _known_channels(units.channels.values()), []
    with open(HERE / name, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            where = f"{name}, row {number}"
            _check_channel(row["channel"], known, where)
            if row["channel"] in units.channels:
                items += units.convert([row], where)
    return items


def _known_channels(channels: Iterable[dict]) -> set[str]:
    return {channel["name"] for channel in (*channels, *load_channels("extended"))}


_ALIKE = 0.8  # ratio of two names that may be one: a lower one offers another measurement


def _check_channel(channel: object, known: set[str], where: str) -> None:
    if channel not in known:
        alike = difflib.get_close_matches(str(channel), known, n=1, cutoff=_ALIKE)
        remedy = f"did you mean {alike[0]}?" if alike else "give its file as --channels, or correct the name"
        raise ClinRaGenInputError(f"{where}: there is no channel {channel!r}; {remedy}")


@cache
def load_readings() -> dict[str, list[dict]]:
    """Return the readings of `units.yaml`."""
    return yaml.safe_load((HERE / "units.yaml").read_text(encoding="utf-8"))["readings"]


class Units:
    """
    Convert into the units of the channels; those that were asked for are in `ranges`, as the reader takes them.

    Args:
        channels (list of `dict`): `name` and `unit`.
    """

    def __init__(self, channels: list[dict]):
        self.channels = {channel["name"]: channel for channel in channels}
        self.readings = load_readings()
        self.ranges: dict[str, list[dict]] = {}

    def convert(self, items: list[dict], where: str) -> list[dict]:
        """Return the items with the name of a conversion as their unit; see `conversion`."""
        return [
            {**item, "unit": self.conversion(item["channel"], item["unit"], f"{where}: {item['channel']}")}
            for item in items
        ]

    def conversion(self, channel: str, unit: str, where: str) -> str:
        """
        Return the name of a conversion of that unit into the channel's; empty where none is needed.

        Raises:
            ClinRaGenInputError: beginning with `where`, for an unknown unit.
        """
        if channel not in self.channels:  # not among the channels of this dataset
            return ""
        given = unit_name(unit)
        if given in self.readings and given not in UNITS:
            return given
        known = known_scale(self.channels[channel], unit, f"{where}: ")
        if known == SAME:
            return ""
        name = f"{given} of {channel}"
        self.ranges[name] = [{"from": -1e300, "to": 1e300, "factor": known.factor, "offset": known.offset}]
        return name

    def readable(self, channel: str, reading: str) -> dict[str, str]:
        """
        Return the units in which a channel may be given, as a table may spell them -> the name of the conversion.

        Args:
            reading (`str`): of `units.yaml`, which reads the units in its name, or the channel's own unit.
        """
        own = {unit_name(unit) for unit in re.sub(r" of .*", "", reading).split(" or ")}
        found = dict.fromkeys(("", *sorted(own)), reading if reading in self.readings else "")
        for unit in self.alternatives(channel):
            found.setdefault(unit, self.conversion(channel, unit, channel))
        return found

    def words(self, channel: str, unit: str) -> str:
        """Return the spellings of an item's unit, or of those that its reading allows, between spaces."""
        units = re.sub(r" of .*", "", unit or self.channels[channel]["unit"]).split(" or ")
        own = [{"name": channel, "unit": unit_name(unit)} for unit in units]
        alike = {unit for unit in UNITS for each in own if scale(each, unit) == SAME}
        return _between_spaces(
            {plain_unit(each["unit"]) for each in own} | {w for w, unit in SPELLED.items() if unit in alike}
        )

    @property
    def all_words(self) -> str:
        """Return the spellings of all units, between spaces."""
        return _between_spaces(SPELLED)

    def alternatives(self, channel: str) -> dict[str, Scale]:
        """Return the units whose numbers would be others in the channel's, and what converts them."""
        found = {unit: known_scale(self.channels[channel], unit) for unit in units_of(self.channels[channel])}
        return {unit: known for unit, known in found.items() if known != SAME}


def _between_spaces(words: Iterable[str]) -> str:
    return f" {' '.join(sorted(words))} "
