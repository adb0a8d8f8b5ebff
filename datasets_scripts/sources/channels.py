# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Channel sets: the paper's 11, the extended one with common laboratory tests, or a user's YAML."""

from __future__ import annotations

from pathlib import Path

import yaml

from modeling_clinragen.clinical_clinragen import CHANNELS, ClinRaGenInputError


EXTENDED = Path(__file__).with_name("channels_extended.yaml")
NUMBERS = ("low", "high", "minimum", "maximum")


def load_channels(name_or_path: str) -> list[dict]:
    """
    Load `"paper"`, `"extended"`, or a YAML file with a list `channels` of `{name, unit, low, high, minimum, maximum}`
    and, if wanted, `decimals`, `fill` and `words`; a name alone takes that channel from the extended set.

    Raises:
        ClinRaGenInputError: naming the file, the channel and the field that is wrong.
    """
    extended = CHANNELS + [_complete(channel) for channel in _read(EXTENDED)]
    if name_or_path in ("paper", "extended"):
        return CHANNELS if name_or_path == "paper" else extended
    path = Path(name_or_path)
    if not path.is_file():
        raise ClinRaGenInputError(f"--channels {name_or_path} is neither paper, extended nor a YAML file")
    known = {channel["name"]: channel for channel in extended}
    channels = []
    for i, channel in enumerate(_read(path)):
        where = f"{path}, channel {i + 1}"
        if isinstance(channel, str):
            if channel not in known:
                raise ClinRaGenInputError(
                    f"{where}: no channel {channel!r} in the extended set; give its unit and limits"
                )
            channels.append(known[channel])
        else:
            _check(channel, where)
            channels.append(_complete(channel))
    names = [channel["name"] for channel in channels]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ClinRaGenInputError(f"{path}: channel {twice!r} is there twice")
    return channels


def _read(path: Path) -> list:
    try:
        channels = yaml.safe_load(path.read_text(encoding="utf-8"))["channels"]
    except (yaml.YAMLError, KeyError, TypeError):
        channels = None
    if not isinstance(channels, list) or not channels:
        raise ClinRaGenInputError(f"{path}: no YAML file with a list `channels`")
    return channels


def _check(channel: object, where: str) -> None:
    if not isinstance(channel, dict) or not isinstance(channel.get("name"), str) or "unit" not in channel:
        raise ClinRaGenInputError(f"{where}: name or unit is missing")
    if "," in channel["name"]:
        raise ClinRaGenInputError(f"{where}: a name may hold no comma")
    wrong = [name for name in NUMBERS if not isinstance(channel.get(name), int | float)]
    if wrong:
        raise ClinRaGenInputError(f"{where}: {wrong[0]} must be a number")
    if not channel["minimum"] <= channel["maximum"] or not channel["low"] <= channel["high"]:
        raise ClinRaGenInputError(f"{where}: minimum must not lie above maximum, nor low above high")


def _complete(channel: dict) -> dict:
    numbers = {name: float(channel[name]) for name in NUMBERS}
    fill = (numbers["low"] + numbers["high"]) / 2
    return {"decimals": 0, "fill": fill, **channel, **numbers, "unit": str(channel["unit"])}
