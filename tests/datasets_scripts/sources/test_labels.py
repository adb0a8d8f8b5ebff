# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Label sets and channels of one's own, and the audit of codes."""

import csv
import math

import pytest
import yaml
from datasets import load_dataset

from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.labels import describe_unknown, load_labels, map_codes
from modeling_clinragen import CHANNELS, PAPER_CHANNELS, PHENOTYPES, ClinRaGenInputError
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.clinical_clinragen import clear_limits, usual_limits
from tests.datasets_scripts.sources.raw_tables import base_tables, build, lab, rows


OWN = """
labels:
  - {name: Heart failure, codes: {icd9: ["428"], icd10: [I50]}, synonyms: [chf]}
  - {name: Kidney disease, codes: {icd9: ["584", "585.9"]}}
  - {name: Sepsis, ccs: [2]}
"""


@pytest.fixture
def own_labels(tmp_path):
    (tmp_path / "labels.yaml").write_text(OWN, encoding="utf-8")
    return str(tmp_path / "labels.yaml")


def test_the_phenotypes_are_the_default_set_and_all_have_synonyms():
    labels = load_labels("phenotypes")
    assert [label["name"] for label in labels] == [phenotype["name"] for phenotype in PHENOTYPES]
    assert all(label["synonyms"] for label in labels)


@pytest.mark.parametrize(
    ("code", "version", "names", "route"),
    [
        ("428.0", 9, ["Heart failure"], "ICD-9, prefix 428"),
        ("I50.9", 10, ["Heart failure"], "prefix I50"),
        ("N17.9", 10, ["Kidney disease"], "ICD-10 > ICD-9 5849, prefix 584"),  # no ICD-10 codes are given for it
        ("585.3", 9, [], "ICD-9"),
        ("038.9", 9, ["Sepsis"], "ICD-9"),
        ("A41.9", 10, ["Sepsis"], "ICD-10 > ICD-9 0389"),
        ("R65.21", 10, ["Sepsis"], "ICD-10 > ICD-9 78552 + 99592"),
        ("999.99X", 9, [], "unknown ICD-9 code"),
        ("QQQ", 10, [], "unknown ICD-10 code"),
        ("I50.0", 10, ["Heart failure"], "ICD-10 family I50 > ICD-9"),
        (None, None, [], "no code"),
        ("428", 9, ["Heart failure"], "ICD-9 family 428, prefix 428"),
        ("584", 9, ["Kidney disease"], "ICD-9 family 584, prefix 584"),
        ("38.9", 9, ["Sepsis"], "ICD-9 > 0389, restored from 38.9"),
        ("38.4", 9, ["Sepsis"], "ICD-9 family 0384 > 0384, restored from 38.4"),
        ("428.00", 9, ["Heart failure"], "ICD-9 > 4280, restored from 428.00, prefix 428"),
        ("N17", 10, ["Kidney disease"], "ICD-10 family N17 > ICD-9 5845, prefix 584"),
    ],
)
def test_codes_find_their_labels_by_prefix_equivalence_and_category(own_labels, code, version, names, route):
    labels = load_labels(own_labels)
    mapped = map_codes([(code, version)], labels)[code, version]
    assert [labels[i]["name"] for i in mapped.labels] == names
    assert route in mapped.route
    assert mapped.mapped == (not route.startswith(("unknown", "no code")))


@pytest.mark.parametrize("prefix", ['"038.9"', '"38.9"', '"0389"'])
@pytest.mark.parametrize("code", ["038.9", "38.9", "0389"])
def test_prefix_and_code_meet_however_each_is_written(tmp_path, prefix, code):
    path = tmp_path / "labels.yaml"
    path.write_text(f"labels: [{{name: A, codes: {{icd9: [{prefix}]}}}}]", encoding="utf-8")
    labels = load_labels(str(path))
    found = map_codes([(code, 9), ("389.9", 9), ("3899", 9)], labels)
    assert [found[key].labels for key in ((code, 9), ("389.9", 9), ("3899", 9))] == [[0], [], []]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("labels: []", "must be a list"),
        ("[1", "labels.yaml, line 1: not a YAML file"),
        ("labels: [{codes: {icd9: ['1']}}]", "label 1: a name is missing"),
        ("labels: [{name: A}]", "neither codes nor ccs"),
        ("labels: [{name: 'A, B', ccs: [2]}]", "no comma"),
        ("labels: [{name: A, ccs: 2}]", "must be lists"),
        ("labels: [{name: A, icd: [2]}]", "unknown field 'icd'"),
        ("labels: [{name: A, codes: {icd11: ['1']}}]", "unknown field 'icd11' in codes; use icd9 and icd10"),
        ("labels: [{name: A, codes: {icd9: '428'}}]", "codes must hold lists"),
        ("labels: [{name: A, ccs: [2]}, {name: A, ccs: [3]}]", "'A' is there twice"),
        (
            "labels: [{name: A, codes: {icd9: [038.9]}}]",
            "code 38.9 is a number without its zeros; write it in",
        ),
        ("labels: [{name: A, codes: {icd9: ['428', 010]}}]", "code 8 is a number"),
    ],
)
def test_mistakes_in_a_label_set_are_named(tmp_path, text, words):
    (tmp_path / "labels.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ClinRaGenInputError, match=words):
        load_labels(str(tmp_path / "labels.yaml"))


def test_prefixes_and_categories_of_no_known_code_are_named(tmp_path):
    text = """
labels:
  - {name: Kidney injury, codes: {icd9: ["584"], icd10: [NI7, N17]}}
  - {name: Stroke, codes: {icd9: ["43"], icd10: [I63.9, I64]}}
  - {name: Sepsis, ccs: [2, 300]}
"""
    (tmp_path / "labels.yaml").write_text(text, encoding="utf-8")
    told = [
        "label 'Kidney injury': no known ICD-10 code begins with NI7",
        "label 'Sepsis': no ICD-9 code is of CCS category 300",
    ]
    assert list(describe_unknown(load_labels(str(tmp_path / "labels.yaml")))) == told
    assert list(describe_unknown(load_labels("phenotypes"))) == []
    folder = build(tmp_path, base_tables(), "--labels", str(tmp_path / "labels.yaml"))
    assert read_metadata(folder)["warnings"][:2] == told


def test_the_audit_lists_every_code_with_its_route_and_counts_add_up(tmp_path):
    tables = base_tables()
    tables["DIAGNOSES_ICD"] += [[101, "5849"], [102, "5849"], [102, "99999X"], [103, "V5861"], [103, ""]]
    folder = build(tmp_path, tables)
    with open(folder / "label_audit.csv", encoding="utf-8", newline="") as file:
        audit = list(csv.DictReader(file))
    by_code = {row["code"]: row for row in audit}
    assert by_code["4280"]["label"] == "Congestive heart failure; nonhypertensive"
    assert (by_code["4280"]["stays"], by_code["5849"]["stays"]) == ("12", "2")
    assert (by_code["99999X"]["mapped"], by_code["99999X"]["route"]) == ("false", "unknown ICD-9 code")
    assert (by_code["V5861"]["mapped"], by_code["V5861"]["label"]) == ("true", "")
    counts = read_metadata(folder)["codes"]
    assert sum(int(row["rows"]) for row in audit) == counts["total"] == 17
    assert (counts["unmapped"], counts["unknown"], counts["by_family"]) == (2, 1, 0)
    assert counts["unknown_codes"] == ["99999X"]
    assert counts["unmapped_share"] == round(2 / 17, 4)


def test_what_was_restored_read_by_family_or_left_unknown_is_counted(tmp_path):
    tables = base_tables()
    codes = ["38.9", "486.0", "38.4", "584", "414", "I50.9", "389", "5849"]
    tables["DIAGNOSES_ICD"] = [[101 + i, code] for i, code in enumerate(codes)] + [
        [i, "4280"] for i in range(109, 113)
    ]
    metadata = read_metadata(build(tmp_path, tables))
    assert "3 of 12 diagnosis codes were changed by a spreadsheet and are restored" in metadata["warnings"]
    counts = metadata["codes"]
    assert (counts["total"], counts["restored"], counts["by_family"]) == (12, 3, 3)
    assert (counts["unknown"], counts["unmapped"]) == (5, 2)  # the families, too, are in no table
    assert counts["unknown_codes"] == ["38.4", "389", "414", "584", "I50.9"]


def test_own_labels_and_more_channels_reach_the_dataset(tmp_path, own_labels):
    tables = base_tables()
    tables["LABEVENTS"] += [lab(1, 50912, 2, 3.1), lab(1, 50971, 2, 6.1), lab(1, 50808, 3, 1.2), lab(1, 50808, 4, 4.8)]
    folder = build(tmp_path, tables, "--labels", own_labels, "--channels", "extended")
    metadata = read_metadata(folder)
    names = [channel["name"] for channel in metadata["channels"]]
    assert names[:11] == [channel["name"] for channel in CHANNELS]
    assert len(names) >= 11 + 30
    assert [label["name"] for label in metadata["labels"]] == ["Heart failure", "Kidney disease", "Sepsis"]
    row = rows(folder)["201"]
    values = dict(zip(row["lab_times"], row["lab_values"], strict=True))
    assert values[2.0][names.index("Creatinine")] == pytest.approx(3.1)
    assert values[4.0][names.index("Ionized calcium")] == pytest.approx(4.8 * 0.2495)
    assert "Potassium is higher than normal 1 time" in row["lab_caption"]
    feature = load_dataset(str(folder))["train"].features["diagnoses"].feature
    assert feature.names == ["Heart failure", "Kidney disease", "Sepsis"]
    claims = check_claims(
        "Hyperkalemia is present, creatinine is high up to 3.1, wbc is not measured.",
        metadata["channels"],
        row["lab_times"],
        row["lab_values"],
    )
    assert [(c.channel, c.verdict) for c in claims] == [
        ("Potassium", "supported"),
        ("Creatinine", "supported"),
        ("White blood cells", "supported"),
    ]


def test_channels_of_ones_own(tmp_path):
    path = tmp_path / "channels.yaml"
    lactate = {"name": "Lactate", "unit": "mg/dL", "low": 5, "high": 18, "minimum": 0, "maximum": 400}
    path.write_text(yaml.safe_dump({"channels": ["Heart Rate", "Sodium", lactate]}), encoding="utf-8")
    channels = load_channels(str(path))
    assert [channel["name"] for channel in channels] == ["Heart Rate", "Sodium", "Lactate"]
    assert channels[2]["unit"] == "mg/dL"
    for wrong, words in (
        ({"channels": ["Heart rate"]}, "channel 1: no channel 'Heart rate'"),
        ({"channels": [{**lactate, "low": "x"}]}, "channel 1: low must be a number, or null"),
        ({"channels": [{k: v for k, v in lactate.items() if k != "high"}]}, "high is missing; null means"),
        ({"channels": [{**lactate, "high": float("nan")}]}, "high must be a number"),
        ({"channels": [{**lactate, "low": True}]}, "low must be a number"),
        ({"channels": [{**lactate, "minimum": None}]}, "minimum must be a number"),
        ({"channels": [{**lactate, "minimum": 500}]}, "minimum must not lie above"),
        ({"channels": [{**lactate, "low": 20}]}, "must not fall, in that order"),
        ({"channels": [{**lactate, "clearly_low": 6}]}, "must not fall, in that order"),
        ({"channels": [{**lactate, "clearly_high": 17}]}, "must not fall, in that order"),
        ({"channels": [{**lactate, "low": None, "clearly_low": 4}]}, "clearly_low needs low"),
        ({"channels": [{**lactate, "clearly_hi": 17}]}, "unknown field clearly_hi; there are"),
        ({"channels": [{**lactate, "low": 18}]}, "low and high are equal; give mean and a positive std"),
        ({"channels": [{**lactate, "words": "lactate"}]}, "words must be a list"),
        ({"channels": [{**lactate, "normal": 3}]}, "normal must be a word"),
        ({"channels": [{**lactate, "decimals": 1.5}]}, "decimals must be a number of digits"),
        ({"channels": ["Sodium", "Sodium"]}, "twice"),
        ({}, "no YAML file with a list"),
    ):
        path.write_text(yaml.safe_dump(wrong), encoding="utf-8")
        with pytest.raises(ClinRaGenInputError, match=words) as told:
            load_channels(str(path))
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)


def test_a_channel_of_ones_own_may_have_no_limit_on_a_side_or_a_second_one(tmp_path):
    path = tmp_path / "channels.yaml"
    path.write_text(
        "channels:\n"
        "  - {name: Urine output, unit: mL/h, low: 40, clearly_low: 30, high: null, minimum: 0, maximum: 2000}\n"
        "  - {name: Height, unit: cm, low: null, high: null, minimum: 100, maximum: 230, mean: 170, std: 10}\n",
        encoding="utf-8",
    )
    urine, height = load_channels(str(path))
    assert usual_limits(urine) == pytest.approx((40, math.inf))
    assert clear_limits(urine)[0] == pytest.approx(30)
    assert (urine["mean"], urine["std"]) == (1015, 492.5)
    assert usual_limits(height) == (-math.inf, math.inf)
    assert (height["mean"], height["std"]) == (170, 10)


def test_the_releases_ranges_have_one_limit_a_side():
    clinical, paper = load_channels("extended"), load_channels("extended", "paper")
    assert [c["name"] for c in clinical] == [c["name"] for c in paper]
    assert [(c["mean"], c["std"]) for c in clinical] == [(c["mean"], c["std"]) for c in paper]
    assert all(clear_limits(channel) == usual_limits(channel) for channel in paper)
    assert sum(clear_limits(channel) != usual_limits(channel) for channel in clinical) > 30
    assert load_channels("paper", "paper") == PAPER_CHANNELS
    assert load_channels("paper") == CHANNELS


def test_every_extended_channel_has_items_in_both_databases_and_sound_limits():
    extended = load_channels("extended")
    assert len({channel["name"] for channel in extended}) == len(extended) >= 11 + 30
    for channel in extended:
        (low, high), (clearly_low, clearly_high) = usual_limits(channel), clear_limits(channel)
        assert clearly_low <= low < high <= clearly_high
        assert all(channel["minimum"] <= limit <= channel["maximum"] for limit in (low, high) if math.isfinite(limit))
