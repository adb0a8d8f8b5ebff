# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The sources of the channels' reference ranges (`ranges.json`, the table of docs/data.md)."""

import json
from pathlib import Path

from modeling_clinragen.clinical_clinragen import range_text


PUBLISHED = json.loads(Path(__file__).with_name("ranges.json").read_text(encoding="utf-8"))
LIMITS = ("low", "high", "clearly_low", "clearly_high")


def range_rows(channels: list[dict]) -> list[tuple[str, str, str, str]]:
    """Return name, usual range, limits on which guidelines agree, and the source of both, for each channel."""
    return [
        (channel["name"], range_text(channel) or "none", _clear(channel), _source(channel)) for channel in channels
    ]


def _clear(channel: dict) -> str:
    sides = (("below", "clearly_low", "low"), ("above", "clearly_high", "high"))
    given = [(side, channel.get(clear), channel.get(usual)) for side, clear, usual in sides]
    return " or ".join(f"{side} {clear:g}" for side, clear, usual in given if clear not in (None, usual)) or "–"


def _source(channel: dict) -> str:
    if not range_text(channel):
        return "–"
    published = PUBLISHED.get(channel["name"])
    same = published and all(channel.get(name) == published[name] for name in LIMITS)
    return published["source"] if same else "limits of this model"
