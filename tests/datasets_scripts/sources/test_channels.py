# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of reference ranges in docs/data.md are those of the code."""

import re
from pathlib import Path

import pytest

from datasets_scripts.sources.channels import load_channels


DATA = Path(__file__).resolve().parents[3] / "docs" / "data.md"


def rows_under(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading."""
    section = DATA.read_text(encoding="utf-8").split(f"\n{heading}\n")[1]
    table = re.search(r"^\|.*\n\| ---.*\n((?:\|.*\n)+)", section, re.M)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def limits_of(words: str, low: str, high: str) -> tuple[float | None, float | None]:
    """Read "60 to 100", or limits behind the words for their side; `None` where there is none."""
    if both := re.fullmatch(r"(\S+) to (\S+)", words):
        return float(both[1]), float(both[2])
    found = [re.search(rf"\b{word} (\S+?)(?:,|$)", words) for word in (low, high)]
    assert any(found) or words == "-"
    return tuple(None if match is None else float(match[1]) for match in found)


def test_every_channel_stands_in_the_table_with_its_limits_and_a_source():
    channels, rows = load_channels("extended"), rows_under("## Reference ranges")
    assert [row[:2] for row in rows] == [[channel["name"], channel["unit"]] for channel in channels]
    for channel, (_, _, usual, clear, source) in zip(channels, rows, strict=True):
        assert limits_of(usual, "from", "to") == (channel["low"], channel["high"]), channel["name"]
        clearly = channel.get("clearly_low"), channel.get("clearly_high")
        assert limits_of(clear, "below", "above") == clearly, channel["name"]
        assert re.search(r"[A-Za-z]{2}", source), channel["name"]


def test_the_releases_limits_stand_in_the_table():
    paper = {channel["name"]: (channel["low"], channel["high"]) for channel in load_channels("paper", "paper")}
    assert {name: limits_of(words, "from", "to") for name, words in rows_under("### The release's limits")} == paper


@pytest.mark.parametrize(
    ("limits", "decimals"),
    [
        ("low: 40, high: 60", 0),
        ("low: null, high: 0.5", 1),
        ("low: 7.35, high: 7.4", 2),
        ("low: 1, high: 2, clearly_high: 2.25", 2),
        ("low: 0, high: 0.00001", 5),
        ("low: null, high: null, mean: 1.5, std: 0.5", 0),
        ("low: null, high: 0.5, decimals: 3", 3),
    ],
)
def test_values_are_written_with_the_decimals_of_the_limits(limits, decimals, tmp_path):
    path = tmp_path / "channels.yaml"
    path.write_text(f"channels:\n  - {{name: D-dimer, unit: mg/L, {limits}, minimum: 0, maximum: 100}}\n")
    assert load_channels(str(path))[0]["decimals"] == decimals


@pytest.mark.parametrize(
    "source", ["SAPS II", "Harrison", "NEWS2", "SIRS", "ADA", "BTS", "IDSA", "SOFA", "Merck", "Mayo"]
)
def test_a_source_is_named_in_full_below_the_table(source):
    table, below = DATA.read_text(encoding="utf-8").split("The limit itself does not count as beyond")
    assert source in table
    assert re.search(rf"\b{source}\b", below)
