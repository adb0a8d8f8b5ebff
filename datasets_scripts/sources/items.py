# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The codes of each channel, and their units, as users write them in a mapping."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


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
    known = {channel["name"] for channel in (*channels, *load_channels("extended"))}
    items = []
    for channel, entries in codes.items():
        if channel not in known:
            alike = next(iter(difflib.get_close_matches(str(channel), known, n=1)), "one of --channels")
            raise ClinRaGenInputError(f"{where}: there is no channel {channel!r}; did you mean {alike}?")
        for entry in entries if isinstance(entries, list) else [entries]:
            code, unit = (entry.get("code"), entry.get("unit", "")) if isinstance(entry, dict) else (entry, "")
            if code is None or (isinstance(entry, dict) and set(entry) - {"code", "unit"}):
                raise ClinRaGenInputError(f"{where}: {channel}: give a code, or code and unit")
            items.append({"table": "events", "itemid": str(code), "channel": channel, "unit": str(unit)})
    return items


@cache
def load_unit_tables() -> dict[str, dict]:
    """Return `units.yaml`: readings, spellings and conversions."""
    return yaml.safe_load((HERE / "units.yaml").read_text(encoding="utf-8"))


class Units:
    """
    Convert into the units of the channels; those that were asked for are in `ranges`, as the reader takes them.

    Args:
        channels (list of `dict`): `name` and `unit`.
    """

    def __init__(self, channels: list[dict]):
        self.unit_of = {channel["name"]: channel["unit"] for channel in channels}
        tables = load_unit_tables()
        self.readings, self.conversions = tables["readings"], tables["conversions"]
        self.spelled = {_plain(word): unit for unit, words in tables["spellings"].items() for word in (unit, *words)}
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
        if channel not in self.unit_of:  # not among the channels of this dataset
            return ""
        if unit in self.readings:
            return unit
        wanted = self.spelled.get(_plain(self.unit_of[channel]), self.unit_of[channel])
        given = self.spelled.get(_plain(unit), unit)
        if not unit or given == wanted:
            return ""
        for rule in self.conversions:
            if (rule["from"], rule["to"]) == (given, wanted) and channel in rule.get("channels", [channel]):
                name = f"{given} of {channel}"
                self.ranges[name] = [
                    {"from": -1e300, "to": 1e300, "factor": rule["factor"], "offset": rule.get("offset", 0)}
                ]
                return name
        raise ClinRaGenInputError(
            f"{where}: unit {unit!r} is unknown for {channel}, which is in {wanted}; correct it, or convert the values"
        )

    def readable(self, channel: str, reading: str) -> dict[str, str]:
        """
        Return the units in which a channel may be given, as a table may spell them -> the name of the conversion.

        Args:
            reading (`str`): of `units.yaml`, which reads the units in its name, or the channel's own unit.
        """
        own = {self.spelled.get(_plain(unit), unit) for unit in re.sub(r" of .*", "", reading).split(" or ")}
        found = dict.fromkeys(("", *sorted(own)), reading if reading in self.readings else "")
        for rule in self.alternatives(channel):
            found.setdefault(rule["from"], self.conversion(channel, rule["from"], channel))
        return found

    def words(self, channel: str, unit: str) -> str:
        """Return the spellings of an item's unit, or of those that its reading allows, between spaces."""
        units = re.sub(r" of .*", "", unit or self.unit_of[channel]).split(" or ")
        own = {self.spelled.get(_plain(unit), unit) for unit in units}
        return _between_spaces({_plain(unit) for unit in own} | {w for w, u in self.spelled.items() if u in own})

    @property
    def all_words(self) -> str:
        """Return the spellings of all units, between spaces."""
        return _between_spaces(self.spelled)

    def alternatives(self, channel: str) -> list[dict]:
        """Return the conversions of other units into the channel's: `from`, `factor` and, if any, `offset`."""
        wanted = self.spelled.get(_plain(self.unit_of[channel]), self.unit_of[channel])
        return [r for r in self.conversions if r["to"] == wanted and channel in r.get("channels", [channel])]


def _between_spaces(words: Iterable[str]) -> str:
    return f" {' '.join(sorted(words))} "


def _plain(unit: str) -> str:
    return unit.lower().replace(" ", "").replace(".", "")
