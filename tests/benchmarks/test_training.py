# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np

from benchmarks import training
from benchmarks.training import SIDES, batches, made_up, measure_speed


def contents(side_batches):
    """The notes and targets that are in the batches, padding taken off, in any order."""
    found = []
    for batch in side_batches:
        for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
            found.append((tuple(ids[mask > 0].tolist()), tuple(labels[labels > 0].tolist())))
    return sorted(found)


def test_all_sides_learn_from_the_same_tokens():
    records = made_up(10, seed=1)
    expected = sorted((tuple(row["input_ids"].tolist()), tuple(row["labels"].tolist())) for row in records)
    for side in SIDES:
        sizes = [len(batch["labels"]) for batch in batches(records, 4, side)]
        assert sizes == [4, 4, 2]
        assert contents(batches(records, 4, side)) == expected


def test_the_published_side_pads_and_counts_padding_and_ours_does_not():
    records = made_up(8, seed=1)
    published, ours = batches(records, 4, "published"), batches(records, 4, "ours")
    assert {tuple(batch["input_ids"].shape) for batch in published} == {(4, 1600)}
    assert all((batch["labels"] >= 0).all() and batch["labels"].shape == (4, 256) for batch in published)
    for batch in ours:
        assert batch["attention_mask"][:, -1].any()
        assert (batch["labels"][:, -1] != -100).any()
    assert all(batch["past_observed_mask"].all() for batch in batches(records, 4, "published", "paper"))
    assert not any(batch["past_observed_mask"].all() for batch in batches(records, 4, "ours", "paper"))


def test_lengths_match_the_documented_ones():
    records = made_up(2000, seed=0)
    lengths = np.array([len(row["input_ids"]) for row in records])
    assert 560 < np.median(lengths) < 640
    assert lengths.max() == 1600
    assert 140 < np.median([len(row["labels"]) for row in records]) < 160


def test_every_side_takes_its_steps(monkeypatch):
    small = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
    monkeypatch.setattr(training, "FLAN_T5_SMALL", {**training.FLAN_T5_SMALL, **small})
    monkeypatch.setattr(training, "MAX_NOTE", 40)
    monkeypatch.setattr(training, "MAX_TARGET", 20)
    speed = measure_speed(made_up(5, seed=0), batch_size=2, published_steps=1)
    assert set(speed) == set(SIDES)
    assert all(figure > 0 for run in speed.values() for figure in run.values())
