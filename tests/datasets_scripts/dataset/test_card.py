# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The dataset card, with all required content and existing figures; and the leak meter behind it."""

import itertools
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from datasets_scripts import build_dataset
from datasets_scripts.dataset.card import dataset_card
from datasets_scripts.dataset.folder import SPLITS, iterate_rows, read_metadata
from datasets_scripts.dataset.leakage import LeakMeter
from datasets_scripts.sources.labels import load_labels
from tests.datasets_scripts.sources import small_hospital


SECTIONS = [
    "Source and terms of use",
    "Warnings",
    "Settings",
    "Cohort",
    "Diagnoses",
    "Series",
    "What the notes give away",
]
FIGURES = ["attrition", "leakage", "missingness", "prevalence"]


def table_after(card, first_cell):
    """The rows of the table with a header that begins with a cell."""
    lines = card.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card") / "dataset"
    build_dataset.main(["--source", "synthetic", "--limit", "150", "--output", str(folder)])
    return folder


@pytest.mark.parametrize("source", ["synthetic", "mimic-iii", "mimic-iv", "eicu"])
def test_the_card_of_each_source_is_complete(request, tmp_path, source):
    if source == "synthetic":
        folder = request.getfixturevalue("synthetic")
    else:
        extract = {"mimic-iii": "mimic-iii-demo", "mimic-iv": "mimic-iv-layout", "eicu": "eicu-crd-demo"}[source]
        folder = tmp_path / "dataset"
        root = request.getfixturevalue("real_data") / extract
        build_dataset.main(["--source", source, "--root", str(root), "--output", str(folder)])
    card, metadata = (folder / "README.md").read_text(encoding="utf-8"), read_metadata(folder)
    assert re.findall(r"^## (.+)$", card, re.MULTILINE) == SECTIONS
    assert sorted(re.findall(r"\]\(figures/(\w+)\.png\)", card)) == FIGURES
    for name in FIGURES:
        assert Image.open(folder / "figures" / f"{name}.png").size[0] > 400
    rows = [row for split in SPLITS for row in iterate_rows(folder, split)]
    attrition = table_after(card, "step")
    assert int(attrition[-1][1]) == len(rows)
    assert int(attrition[-1][2]) == len({row["subject_id"] for row in rows})
    assert all(int(before[1]) - int(row[3]) == int(row[1]) for before, row in itertools.pairwise(attrition))
    units = Counter(row["care_unit"] or "not known" for row in rows)
    assert {name: int(stays) for name, stays in table_after(card, "type of ICU")} == units
    assert len(units) > 3
    for name, stays, share, *by_split in table_after(card, "diagnosis"):
        label = next(i for i, label in enumerate(metadata["labels"]) if label["name"] == name)
        assert list(map(int, by_split)) == [
            sum(label in row["diagnoses"] for row in iterate_rows(folder, split)) for split in SPLITS
        ]
        assert int(stays) == sum(label in row["diagnoses"] for row in rows)
        assert float(share) == pytest.approx(100 * int(stays) / len(rows), abs=0.06)
    for i, cells in enumerate(table_after(card, "channel")):
        measured = [sum(values[i] == values[i] for values in row["lab_values"]) for row in rows]
        assert int(cells[-2]) == sum(measured)
        assert float(cells[-1]) == pytest.approx(100 * sum(n == 0 for n in measured) / len(rows), abs=0.06)
    assert [row[0] for row in table_after(card, "view")] == ["admission", "paper"]


def test_the_card_states_the_normal_ranges(synthetic, tmp_path):
    card = (synthetic / "README.md").read_text(encoding="utf-8")
    assert "| reference_ranges | clinical |" in card
    rows = {row[0]: row[1:] for row in table_after(card, "normal")}
    assert rows["Systolic blood pressure"] == ["100 to 129 mmHg", "below 90, above 139"]
    assert rows["Oxygen saturation"] == ["at least 94 %", "below 90"]
    assert rows["Weight"] == ["none", "-"]
    folder = tmp_path / "dataset"
    build_dataset.main(
        ["--source", "synthetic", "--limit", "30", "--output", str(folder), "--reference-ranges", "paper"]
    )
    rows = {row[0]: row[1:] for row in table_after((folder / "README.md").read_text(encoding="utf-8"), "normal")}
    assert rows["Systolic blood pressure"] == ["61.5 to 177.5 mmHg", "-"]
    channels = {channel["name"]: channel for channel in read_metadata(folder)["channels"]}
    assert (channels["Heart Rate"]["low"], channels["Heart Rate"]["high"]) == (40, 128)
    assert "normal all the time" in next(iterate_rows(folder, "train"))["lab_caption"]


def test_the_card_counts_claims_and_arguments_apart(synthetic, tmp_path):
    claims = {"argument linked": 55, "argument unknown": 2, "value supported": 6, "note absent": 3}
    rationales = {"teacher": "template", "outcomes": {"accepted at once": 9}, "reasons": {}, "claims": claims}
    card = dataset_card({**read_metadata(synthetic), "rationales": rationales}, tmp_path)
    assert table_after(card, "claim about") == [["note", "0", "0", "3", "0"], ["value", "6", "0", "0", "0"]]
    assert table_after(card, "finding") == [["linked", "55"], ["unlinked", "0"], ["unknown", "2"]]


@pytest.mark.parametrize(
    ("version", "named"), [({}, "Our ward, local"), ({"version": "2026"}, "Our ward 2026, local")]
)
def test_the_card_of_a_hospitals_own_tables_says_whose_records_they_are(version, named, tmp_path):
    tables, mapping = small_hospital.hospital()
    small_hospital.build(tmp_path, tables, {**mapping, "title": "Our ward", **version})
    card = (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")
    assert (
        f"\n{named} files. Licence: the hospital's own. These are a hospital's **own records**: they may not" in card
    )
    assert "demo" not in card


def test_the_leak_meter_distinguishes_the_views(synthetic):
    leaks = read_metadata(synthetic)["leakage"]
    assert leaks["paper"]["gold_named"] > 0.9  # the hospital course of simulated patients names their diseases
    assert leaks["admission"]["gold_named"] < 0.1
    assert leaks["paper"]["other_named"] < 0.1


@given(st.sets(st.integers(0, 24)), st.sampled_from(["{}", "({}),", "IMPRESSION:{}.", "x\n{}\ny"]))
def test_a_named_label_is_found_in_any_case_and_punctuation(chosen, around):
    labels = load_labels("phenotypes")
    note = " ".join(around.format(labels[i]["name"].upper()) for i in sorted(chosen))
    assert LeakMeter(labels).named(note) >= chosen


def test_synonyms_negations_and_other_labels_are_counted_alike():
    labels = load_labels("phenotypes")
    position = {label["name"]: i for i, label in enumerate(labels)}
    meter = LeakMeter(labels)
    failure, shock = position["Congestive heart failure; nonhypertensive"], position["Shock"]
    counts = meter.count("Known CHF, no shock.", [failure])
    assert (counts["gold"], counts["gold_named"], counts["other"], counts["other_named"]) == (1, 1, 24, 1)
    assert (counts[f"{failure} gold_named"], counts[f"{shock} gold_named"]) == (1, 0)
    assert meter.count("", [failure]) == {}
    assert meter.named("chfx, shocking, fishock") == set()
