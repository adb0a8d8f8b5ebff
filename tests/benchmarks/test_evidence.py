# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
from collections import defaultdict

import pytest
import torch

from benchmarks import evidence


@pytest.mark.slow
def test_named_evidence_is_compared_with_full_occlusion(tiny_folder, data_folder, tmp_path):
    output = tmp_path / "figures.json"
    arguments = ["--model", str(tiny_folder), "--dataset", str(data_folder / "dataset"), "--records", "6"]
    found = evidence.main([*arguments, "--output", str(output)])
    assert json.loads(output.read_text()) == found
    assert found["records"] > 0
    for part in ("note", "series"):
        assert 0 < found[part]["measured"] <= found[part]["units"]
        assert 0.5 < found[part]["named"] <= 1
        assert found[part]["effect"] <= 1.0001


def test_named_and_missed_units_are_counted():
    counts, unknown = defaultdict(float), -torch.inf
    effects = torch.tensor([[0.6, 0.0], [0.5, 0.0], [0.4, 0.0], [0.3, 0.0], [0.2, 0.0], [0.1, 0.7]])
    largest = torch.tensor([[0.6, 0.0], [0.5, 0.0], [0.4, 0.0], [0.3, 0.0], [unknown] * 2, [0.1, 0.7]])
    evidence.compare(counts, largest, effects)
    assert evidence.shares(counts, 1) == {
        "units": 6.0,
        "measured": 5.0,
        "named": round(5 / 6, 4),  # from five and one, the fifth differs
        "same lists": 0.5,
        "effect": round((1.9 + 0.7) / (2.0 + 0.7), 4),
    }
