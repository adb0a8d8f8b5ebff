# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest

from benchmarks import gate


NAMES = ["Septicemia (except in labor)", "Pneumonia", "Acute renal failure"]
NOTE = "The patient has a cough."
LAB = "Heart rate rising up to 120, higher than usual."


def corrupted(share, diagnoses=(0,), number=200):
    texts = [(f"{NOTE} {i}", f"{LAB} {i}") for i in range(number)]
    rows = [{"diagnoses": list(diagnoses)}] * number
    return texts, list(gate.corrupt_some(texts, rows, NAMES, share, seed=0))


def test_a_share_of_zero_changes_nothing():
    texts, written = corrupted(0.0)
    assert written == [("", *pair) for pair in texts]


def test_corrupted_rationales_differ_and_the_others_do_not():
    texts, written = corrupted(0.3)
    for before, (kind, *after) in zip(texts, written, strict=True):
        assert (tuple(after) != before) == bool(kind)
    assert 0.2 < sum(bool(kind) for kind, _, _ in written) / len(written) < 0.4


def test_facts_are_reversed():
    _, written = corrupted(1.0)
    lab = next(lab for kind, _, lab in written if kind == "facts turned round")
    assert lab.startswith("Heart rate falling down to 158, lower than usual.")


@pytest.mark.parametrize("diagnoses", [(), (1,)])
def test_only_present_diagnoses_are_denied(diagnoses):
    _, written = corrupted(1.0, diagnoses)
    denied = [lab for kind, _, lab in written if kind == "denies a diagnosis"]
    assert bool(denied) == bool(diagnoses)
    assert all("no evidence of pneumonia" in lab.lower() for lab in denied)


def test_only_absent_diagnoses_are_argued_for():
    _, written = corrupted(1.0, (1, 2))
    argued = [lab for kind, _, lab in written if kind == "argues for an absent diagnosis"]
    assert argued
    assert all("suggests septicemia" in lab.lower() for lab in argued)
