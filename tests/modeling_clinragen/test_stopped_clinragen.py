# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A drug that a note says is stopped, on hold or only at hand is no present treatment."""

import pytest

from modeling_clinragen.note_claims_clinragen import check_note_claims


@pytest.mark.parametrize(
    "note",
    [
        "Pressors off since midnight.",
        "levophed off at 0200",
        "Levophed gtt weaned off this am",
        "norepinephrine/vasopressin both off",
        "norepinephrine and vasopressin off",
        "Levophed: off",
        "Norepinephrine|off",
        "norepinephrine 0 mcg/min",
        "weaned off of levophed and vasopressin",
        "came off dopamine",
        "D/C'd levophed",
        "levophed d/c'd",
        "Vasopressin was discontinued overnight",
        "vasopressin stopped",
        "dobutamine on hold",
        "held metoprolol, atenolol and lisinopril",
        "Home meds: metoprolol (held)",
        "stopped taking metformin",
        "dopamine at bedside, not started",
        "norepinephrine available",
        "vasopressin on standby",
        "pressors ordered but not started",
    ],
)
def test_a_drug_that_is_not_given_is_no_finding(find, note):
    assert find(note) == []


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("levophed weaned to 0.05", "levophed"),
        ("weaning levophed", "levophed"),
        ("unable to wean off levophed", "levophed"),
        ("plan to wean off levophed", "levophed"),
        ("levophed stopped then restarted at 0300", "levophed"),
        ("levophed off briefly, resumed", "levophed"),
        ("levophed held at 5 mcg", "levophed"),
        ("off sedation, levophed at 5", "levophed"),
        ("norepinephrine, off sedation", "norepinephrine"),
        ("vasopressin off, norepinephrine continues", "norepinephrine"),
        ("heparin stopped, norepinephrine started", "norepinephrine"),
        ("On levophed, hold lasix", "levophed"),
        ("melena stopped", "melena"),
    ],
)
def test_a_drug_that_is_given_is_a_finding(find, note, finding):
    assert finding in find(note)


def test_a_claim_of_a_stopped_drug_is_contradicted():
    text, note = "The patient is on pressors, which suggests shock.", "Pressors off since midnight."
    assert [claim.verdict for claim in check_note_claims(text, note)] == ["contradicted"]
