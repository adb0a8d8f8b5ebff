# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Rationales of a teacher, and the report of a run."""

from collections import Counter
from dataclasses import dataclass, field


ACCEPTED, MENDED, DROPPED, KEPT = "accepted at once", "accepted after a second try", "left out", "kept with faults"


@dataclass(frozen=True)
class Rationale:
    """
    Args:
        note, lab (`str`): the two parts; both empty if there is no rationale.
        outcome (`str`): one of the four constants above.
        reasons (`tuple[str, ...]`): why the last attempt was rejected, in words that can be counted.
        claims (`Counter`): `"KIND VERDICT"` of the claims in the rationale.
        without (`Counter`): as in [`Judgement`].
    """

    note: str
    lab: str
    outcome: str = ACCEPTED
    reasons: tuple[str, ...] = ()
    claims: Counter = field(default_factory=Counter)
    without: Counter = field(default_factory=Counter)


def without_evidence(counts: Counter) -> dict[str, float]:
    """
    Return the share of note and of lab rationales without evidence, among the records with a diagnosis.

    Args:
        counts (`Counter`): `records` with a diagnosis that got a rationale, and of these the parts, `note` and `lab`,
            that argue for none of the diagnoses.
    """
    return {part: round(counts[part] / counts["records"], 4) for part in ("note", "lab") if counts["records"]}


def report_of(outcomes: Counter, reasons: Counter, claims: Counter, without: Counter) -> dict:
    """Return the figures of a run, for the metadata and the card."""
    return {
        "without_evidence": without_evidence(without),
        "outcomes": {name: outcomes[name] for name in (ACCEPTED, MENDED, KEPT, DROPPED) if outcomes[name]},
        "reasons": dict(sorted(reasons.items())),
        "claims": dict(sorted(claims.items())),
    }
