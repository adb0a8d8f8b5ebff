# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Channel sets: the paper's 11, the extended one with common laboratory tests, or a user's YAML."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from datasets_scripts.common.settings import read_yaml
from modeling_clinragen.clinical_clinragen import CHANNELS, PAPER_CHANNELS, ClinRaGenInputError, with_statistics
from modeling_clinragen.shapes_clinragen import fault_of


EXTENDED = Path(__file__).with_name("channels_extended.yaml")
RANGES = {"clinical": CHANNELS, "paper": PAPER_CHANNELS}  # of `--reference-ranges`
CLEAR = ("clearly_low", "clearly_high")
NEEDED = ("low", "high", "minimum", "maximum")
FIELDS = {"name", "unit", *NEEDED, *CLEAR, "fill", "mean", "std", "decimals", "normal", "words"}


def load_channels(name_or_path: str, reference_ranges: str = "clinical") -> list[dict]:
    """
    Load `"paper"`, `"extended"`, or a YAML file with a list `channels` of `{name, unit, low, high, minimum, maximum}`
    and, if wanted, the other `FIELDS`; a name alone takes that channel from the extended set. With `extends: paper` or
    `extended` the list is added to that set.

    Args:
        name_or_path (`str`): the set.
        reference_ranges (`str`): `"clinical"`, or `"paper"` for the release's limits of its 11 channels, and one
            limit a side for the others of the extended set. Those of a YAML file are its own.

    Raises:
        ClinRaGenInputError: naming the file, the channel and the field that is wrong.
    """
    papers, tests = RANGES[reference_ranges], [_complete(channel) for channel in _list(EXTENDED, read_yaml(EXTENDED))]
    if reference_ranges == "paper":
        tests = [{key: value for key, value in test.items() if key not in CLEAR} for test in tests]
    sets = {"paper": papers, "extended": papers + tests}
    if name_or_path in sets:
        return sets[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise ClinRaGenInputError(f"--channels {name_or_path} is neither paper, extended nor a YAML file")
    known = {channel["name"]: channel for channel in sets["extended"]}
    written = read_yaml(path)
    added_to = written.get("extends")
    if added_to is not None and (not isinstance(added_to, str) or added_to not in sets):
        raise ClinRaGenInputError(f"{path}: extends is {added_to!r}; give paper or extended")
    channels = [*sets.get(added_to, ())]
    for i, channel in enumerate(_list(path, written)):
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


def _list(path: Path, written: dict) -> list:
    channels = written.get("channels")
    if not isinstance(channels, list) or not channels:
        raise ClinRaGenInputError(f"{path}: no YAML file with a list `channels`")
    return channels


def _check(channel: object, where: str) -> None:
    if not isinstance(channel, dict) or not isinstance(channel.get("name"), str) or "unit" not in channel:
        raise ClinRaGenInputError(f"{where}: name or unit is missing")
    if "," in channel["name"] or not channel["name"].strip():
        raise ClinRaGenInputError(f"{where}: a name may not be empty, nor hold a comma")
    unknown = sorted(set(channel) - FIELDS)
    if unknown:
        raise ClinRaGenInputError(f"{where}: unknown field {unknown[0]}; there are {', '.join(sorted(FIELDS))}")
    _check_numbers(channel, where)
    _check_order(channel, where)
    words = channel.get("words", [])
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise ClinRaGenInputError(f"{where}: words must be a list of words")
    if not isinstance(channel.get("normal", "normal"), str):
        raise ClinRaGenInputError(f"{where}: normal must be a word")
    if fault_of(channel.get("decimals", 0), int) or not 0 <= channel.get("decimals", 0) <= 15:
        raise ClinRaGenInputError(f"{where}: decimals must be a number of digits")


def _check_numbers(channel: dict, where: str) -> None:
    for name in ("minimum", "maximum", "fill", "mean", "std"):
        if (name in channel or name in NEEDED) and not _is_number(channel.get(name)):
            raise ClinRaGenInputError(f"{where}: {name} must be a number")
    for name in ("low", "high", *CLEAR):
        if name in NEEDED and name not in channel:
            raise ClinRaGenInputError(f"{where}: {name} is missing; null means that no value is too {name}")
        if channel.get(name) is not None and not _is_number(channel[name]):
            raise ClinRaGenInputError(f"{where}: {name} must be a number, or null where there is no such limit")


def _is_number(value: object) -> bool:
    return fault_of(value, float) is None


def _check_order(channel: dict, where: str) -> None:
    """Check that the limits widen from usual to clear, and that there is a width to scale by."""
    if not channel["minimum"] <= channel["maximum"]:
        raise ClinRaGenInputError(f"{where}: minimum must not lie above maximum")
    for side, clear in (("low", "clearly_low"), ("high", "clearly_high")):
        if channel.get(clear) is not None and channel[side] is None:
            raise ClinRaGenInputError(f"{where}: {clear} needs {side}, the usual limit")
    limits = [channel.get(name) for name in ("clearly_low", "low", "high", "clearly_high")]
    given = [limit for limit in limits if limit is not None]
    if given != sorted(given):
        raise ClinRaGenInputError(f"{where}: clearly_low, low, high, clearly_high must not fall, in that order")
    if not with_statistics(channel)["std"] > 0:
        raise ClinRaGenInputError(f"{where}: low and high are equal; give mean and a positive std, to scale values by")


def _complete(channel: dict) -> dict:
    """Return the channel with every field that others read; limits as numbers with a point."""
    numbers = {name: float(channel[name]) for name in (*NEEDED, *CLEAR) if channel.get(name) is not None}
    channel = with_statistics({**channel, **numbers, "unit": str(channel["unit"])})
    return {"decimals": _decimals(channel), "fill": channel["mean"], **channel}


def _decimals(channel: dict) -> int:
    """Return the decimals of the limits, with which a value of the channel can be told from them."""
    limits = [channel[name] for name in ("low", "high", *CLEAR) if channel.get(name) is not None]
    return max((0, *(-Decimal(f"{limit:.15g}").normalize().as_tuple().exponent for limit in limits)))
