# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The claim checkers on claims of known truth, in independent wordings.

The checkers were developed on `claim_wordings_dev.yaml`. `claim_wordings.yaml` is held out: it was written without
knowledge of the checkers, which were not changed for it. `labelled_claims` fills both with true and false facts of
real and simulated series.
"""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from datasets_scripts.sources.labels import load_labels
from modeling_clinragen import PAPER_CHANNELS
from modeling_clinragen.claims_clinragen import ClaimChecker
from modeling_clinragen.note_claims_clinragen import DiagnosisFinder, check_note_claims
from tests.modeling_clinragen.labelled_claims import labelled_claims


NAMES = [channel["name"] for channel in PAPER_CHANNELS]


def wordings(name):
    return yaml.safe_load((Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8"))


def made_records(number=200):
    """Series around the middle of what is normal, wide enough to leave it, with channels that are missing."""
    rng = np.random.default_rng(0)
    middle = np.array([(c["low"] + c["high"]) / 2 for c in PAPER_CHANNELS])
    spread = np.array([(c["high"] - c["low"]) / 3 for c in PAPER_CHANNELS])
    low, high = (np.array([c[name] for c in PAPER_CHANNELS]) for name in ("minimum", "maximum"))
    decimals = [c["decimals"] for c in PAPER_CHANNELS]
    records = []
    for _ in range(number):
        hours = np.sort(rng.uniform(0, 72, rng.integers(8, 30))).round(2)
        drift = rng.normal(0, 1, len(PAPER_CHANNELS)) * np.linspace(-1, 1, len(hours))[:, None]
        values = middle + spread * (rng.normal(0, 0.8, (len(hours), len(PAPER_CHANNELS))) + drift)
        values = np.clip(values, np.maximum(low, middle - 3 * spread), np.minimum(high, middle + 3 * spread))
        values = np.stack([column.round(d) for column, d in zip(values.T, decimals, strict=True)], axis=1)
        values[rng.random(values.shape) < 0.2] = np.nan
        values[:, rng.random(len(PAPER_CHANNELS)) < 0.15] = np.nan
        records.append((hours, values))
    return records


def real_records(folder):
    table = pd.read_csv(folder / "mimic-iii-demo-benchmark" / "timeseries.csv.gz")
    records = []
    for _, stay in table.groupby("icustay_id"):
        wide = stay.pivot_table(index="hours", columns="channel", values="value").reindex(columns=NAMES)
        records.append((wide.index.to_numpy(float), wide.to_numpy(float)))
    return records


def summed(verdicts):
    """Of a sentence with several claims: one that is contradicted decides, then one that is supported."""
    return next((v for v in ("contradicted", "supported") if v in verdicts), "unverifiable")


def verdicts_of_series(name, records):
    """Kind of claim -> Counter of (true verdict, verdict)."""
    check, found = ClaimChecker(PAPER_CHANNELS), defaultdict(Counter)
    for claim in labelled_claims(wordings(name), records, seed=0):
        said = [c.verdict for c in check(claim.text, claim.hours, claim.values) if c.channel]
        found[claim.kind][claim.verdict, summed(said)] += 1
    return found


def precision_and_recall(counts):
    """Of the verdict `contradicted`."""
    hits = counts["contradicted", "contradicted"]
    said = sum(n for (_, verdict), n in counts.items() if verdict == "contradicted")
    true = sum(n for (truth, _), n in counts.items() if truth == "contradicted")
    return hits / said, hits / true


@pytest.mark.parametrize("name", ["claim_wordings_dev", "claim_wordings"])
@pytest.mark.parametrize("records", ["made", "real"])
def test_false_claims_are_contradicted_and_true_ones_are_not(name, records, request):
    series = made_records() if records == "made" else real_records(request.getfixturevalue("real_data"))
    by_kind = verdicts_of_series(name, series)
    total = sum(by_kind.values(), Counter())
    assert total.total() >= 300
    for kind, counts in {**by_kind, "all": total}.items():
        print(f"{name}, {records} series, {kind}: {counts.total()} claims, precision and recall of contradicted",
              "{:.3f} {:.3f}".format(*precision_and_recall(counts)))  # fmt: skip
    precision, recall = precision_and_recall(total)
    assert precision >= 0.95
    assert recall >= 0.90
    assert min(precision_and_recall(counts)[0] for counts in by_kind.values()) >= 0.85
    assert total["supported", "supported"] / sum(n for (truth, _), n in total.items() if truth == "supported") >= 0.9


@pytest.mark.parametrize("name", ["claim_wordings_dev", "claim_wordings"])
def test_findings_of_notes(name):
    entries = [entry for entry in wordings(name) if entry["kind"] == "note"]
    counts = Counter(
        (e["verdict"], summed([c.verdict for c in check_note_claims(e["text"], e["note"])])) for e in entries
    )
    precision, recall = precision_and_recall(counts)
    assert counts.total() >= 50
    assert precision >= 0.95
    assert recall >= 0.90


@pytest.mark.parametrize("name", ["claim_wordings_dev", "claim_wordings"])
def test_mentions_of_diagnoses(name):
    phrases = {label["name"]: [label["name"], *label["synonyms"]] for label in load_labels("phenotypes")}
    entries = [entry for entry in wordings(name) if entry["kind"] == "diagnosis"]
    right = 0
    for entry in entries:
        said = {m.says for m in DiagnosisFinder(phrases)(entry["text"]) if entry["label"] in m.labels}
        right += next((s for s in ("denies", "argues") if s in said), "neither") == entry["says"]
    assert len(entries) >= 40
    assert right / len(entries) >= 0.95
