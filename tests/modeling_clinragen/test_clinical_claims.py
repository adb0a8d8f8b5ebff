# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Claims in the words of clinical notes against verdicts by a calculation of their own (`clinical_claims.py`).

The wordings were written before the checker's patterns were read; those marked `held_back` were not looked at until
the patterns were finished.
"""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen.claims_clinragen import ClaimChecker
from tests.modeling_clinragen.clinical_claims import clinical_claims
from tests.modeling_clinragen.clinical_records import PRESSURES, make_records


NAMES = {
    *("Albumin", "Bicarbonate", "Total bilirubin", "Blood urea nitrogen", "Total calcium", "Carbon dioxide pressure"),
    *("Creatinine", "Hemoglobin", "International normalized ratio", "Lactate", "Magnesium", "Oxygen pressure"),
    *("Phosphate", "Platelets", "Potassium", "Sodium", "White blood cells"),
}


@pytest.fixture(scope="module")
def channels():
    extended = load_channels("extended")
    return [channel for i, channel in enumerate(extended) if i < 11 or channel["name"] in NAMES]


def wordings(held_back):
    text = Path(__file__).with_name("clinical_wordings.yaml").read_text(encoding="utf-8")
    return [wording for wording in yaml.safe_load(text) if bool(wording.get("held_back")) == held_back]


def summed(verdicts):
    """The verdict of a sentence with several claims: what is wrong decides, then what cannot be checked."""
    return next((v for v in ("contradicted", "unverifiable", "supported") if v in verdicts), "unverifiable")


def judged(channels, held_back, seed):
    """Each claim with the checker's verdict."""
    check = ClaimChecker(channels)
    claims = clinical_claims(wordings(held_back), make_records(channels, 300, seed), seed)
    return [
        (c, summed([found.verdict for found in check(c.text, c.hours, c.values) if found.channel])) for c in claims
    ]


def precision_and_recall(counts):
    """Of the verdict `contradicted`."""
    hits = counts["contradicted", "contradicted"]
    said = sum(n for (_, verdict), n in counts.items() if verdict == "contradicted")
    true = sum(n for (truth, _), n in counts.items() if truth == "contradicted")
    return hits / said, hits / true


@pytest.mark.parametrize(("held_back", "at_least"), [(False, 300), (True, 100)])
def test_claims_in_clinical_words(channels, held_back, at_least):
    by_kind = defaultdict(Counter)
    for claim, verdict in judged(channels, held_back, seed=0):
        by_kind[claim.kind][claim.verdict, verdict] += 1
    total = sum(by_kind.values(), Counter())
    for kind, counts in {**by_kind, "all": total}.items():
        print(
            f"| {kind} | {counts.total()} |", " | ".join(f"{share:.3f}" for share in precision_and_recall(counts)), "|"
        )
    assert total.total() >= at_least
    precision, recall = precision_and_recall(total)
    assert precision >= 0.97
    assert recall >= 0.97
    assert min(min(precision_and_recall(counts)) for counts in by_kind.values()) >= 0.9
    right = sum(n for (truth, verdict), n in total.items() if truth == verdict)
    assert right / total.total() >= 0.95


def sentences():
    text = Path(__file__).with_name("clinical_sentences.yaml").read_text(encoding="utf-8")
    for patient in yaml.safe_load(text):
        for sentence, verdicts in patient["sentences"]:
            yield pytest.param(patient, sentence, verdicts, id=sentence)


@pytest.mark.parametrize(("patient", "sentence", "verdicts"), sentences())
def test_sentences_of_notes(channels, patient, sentence, verdicts):
    names = [channel["name"] for channel in channels]
    values = np.full((len(patient["hours"]), len(names)), np.nan)
    for name, column in patient["series"].items():
        values[:, names.index(name)] = column
    found = ClaimChecker(channels)(sentence, patient["hours"], values)
    assert " ".join(claim.verdict[0] for claim in found if claim.channel) == verdicts


def voices():
    text = Path(__file__).with_name("claims_by_voice.yaml").read_text(encoding="utf-8")
    return [pytest.param(record, id=record["sentences"][0][0]) for record in yaml.safe_load(text)]


@pytest.mark.parametrize("record", voices())
def test_sentences_in_several_voices(record):
    channels = load_channels("extended")
    hours = sorted({hour for series in record["series"].values() for hour, _ in series})
    values = np.full((len(hours), len(channels)), np.nan)
    for i, channel in enumerate(channels):
        for hour, value in record["series"].get(channel["name"], []):
            values[hours.index(hour), i] = value
    check, wrong = ClaimChecker(channels), []
    for sentence, expected in record["sentences"]:
        found, claims = defaultdict(set), check(sentence, hours, values)
        quick = check(sentence, hours, values, only_support=True)
        supported = [claim.verdict == "supported" for claim in claims]
        assert all(whole or claim.verdict != "supported" for whole, claim in zip(supported, quick, strict=True))
        for claim in claims:
            if claim.channel:
                found["pressure" if "pressure" in expected and claim.channel in PRESSURES else claim.channel].add(
                    claim.verdict[0]
                )
        shown = {name: next(v for v in "csu" if v in verdicts) for name, verdicts in found.items()}
        for name in {*shown, *expected}:
            if shown.get(name, "u") != expected.get(name, "u"):
                wrong.append((sentence, name, shown.get(name)))
    assert wrong == []
