# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Faithfulness of rationales to the patient's own record: claims that hold, the share of the evidence they give, and
the agreement of list and rationale. Counts of each record; `compute.py` takes shares and intervals of them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from modeling_clinragen.claims_clinragen import ClaimChecker
from modeling_clinragen.links_clinragen import KnowledgeLinks
from modeling_clinragen.note_claims_clinragen import DiagnosisFinder, NoteIndex, check_note_claims


VERDICTS = ("supported", "contradicted", "unverifiable")  # of claims about the series
NOTE_VERDICTS = ("supported", "contradicted", "absent", "unverifiable")  # of findings


def claim_metrics(claims: Sequence[Sequence[dict]]) -> dict:
    """
    Count the verdicts of the checkable claims of each record's rationale.

    Args:
        claims (lists of claims as `dict`): one list per record, as `check_claims` gives them.

    Returns:
        `claims` (number about a channel), `supported`, `contradicted` and `unverifiable` (their shares; `None` without
        claims), `records_with_contradiction` (share of records), `wrong_counts` (contradicted claims of the kind
        `count`), and `per_kind` (counts of each verdict).
    """
    about = [[claim for claim in record if claim["channel"]] for record in claims]
    verdicts = Counter(claim["verdict"] for record in about for claim in record)
    kinds = defaultdict(Counter)
    for record in about:
        for claim in record:
            kinds[claim["kind"]][claim["verdict"]] += 1
    total = sum(verdicts.values())
    share = {name: verdicts[name] / total if total else None for name in VERDICTS}
    contradicted = sum(any(claim["verdict"] == "contradicted" for claim in record) for record in about)
    return {
        "claims": total,
        **share,
        "records_with_contradiction": contradicted / len(about) if about else None,
        "wrong_counts": kinds.get("count", Counter())["contradicted"],
        "per_kind": {kind: dict(counts) for kind, counts in sorted(kinds.items())},
    }


def series_claim_counts(claims: Sequence[Sequence[dict]]) -> dict[str, np.ndarray]:
    """Count for each record its claims about a channel by verdict."""
    about = [Counter(claim["verdict"] for claim in record if claim["channel"]) for record in claims]
    return {name: np.array([counts[name] for counts in about]) for name in VERDICTS}


def note_claim_counts(
    notes: Iterable[str], rationales: Sequence[str], references: Sequence[str], links: KnowledgeLinks | None = None
) -> dict[str, np.ndarray]:
    """
    Count the findings that each record's rationale names, and those of its reference that it names too.

    Args:
        links (`KnowledgeLinks`, *optional*): synonyms of findings, as the pipeline uses them for its claims.

    Returns:
        Counts of each record: findings of the rationale that are `supported` by the note, `contradicted` by it,
        `absent` from it, or `unverifiable`; `reference_findings`, the distinct findings of the reference that the note
        supports; and of these `covered`, those that the rationale names too, with the note's support. In "X suggests
        Y", X is the finding; a conclusion alone covers nothing.
    """
    rows = []
    for note, rationale, reference in zip(notes, rationales, references, strict=True):
        index = NoteIndex(note)
        claims = check_note_claims(rationale, index, links)
        named = NoteIndex("\n".join(claim.text for claim in claims if claim.verdict == "supported"))
        wanted = {c.text.lower() for c in check_note_claims(reference, index, links) if c.verdict == "supported"}
        verdicts = Counter(claim.verdict for claim in claims)
        rows.append(
            [verdicts[name] for name in NOTE_VERDICTS] + [len(wanted), sum(_is_named(w, named) for w in wanted)]
        )
    names = (*NOTE_VERDICTS, "reference_findings", "covered")
    return dict(zip(names, np.array(rows, dtype=int).reshape(-1, len(names)).T, strict=True))


def _is_named(finding: str, named: NoteIndex) -> bool:
    return any(claim.verdict == "supported" for claim in check_note_claims(finding, named))


def series_recall_counts(
    records: Iterable[dict], claims: Sequence[Sequence[dict]], references: Sequence[str], channels: list[dict]
) -> dict[str, np.ndarray]:
    """
    Count the claims of each record's reference about the series, and those that the rationale makes too.

    Args:
        records (iterable of `dict`): `lab_times` and `lab_values` of each record.
        claims (lists of claims as `dict`): of each rationale, as `check_claims` gives them.
        references (list of `str`): lab rationales.
        channels (list of `dict`): as `ClaimChecker` takes them.

    Returns:
        Counts of each record: `reference_claims`, the distinct pairs of channel and kind that the reference claims and
        the record supports; and of these `covered`, those for which the rationale makes a supported claim too. The
        kinds are those of `Claim`: a "level" for a "level", whatever its direction, as long as both are true.
    """
    check, rows = ClaimChecker(channels), []
    for record, own, reference in zip(records, claims, references, strict=True):
        theirs = check(reference, record["lab_times"], record["lab_values"])
        wanted = {(c.channel, c.kind) for c in theirs if c.channel and c.verdict == "supported"}
        made = {(c["channel"], c["kind"]) for c in own if c["channel"] and c["verdict"] == "supported"}
        rows.append([len(wanted), len(wanted & made)])
    names = ("reference_claims", "covered")
    return dict(zip(names, np.array(rows, dtype=int).reshape(-1, len(names)).T, strict=True))


def agreement_counts(
    written: Sequence[Sequence[str]], rationales: Sequence[str], phrases: dict[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """
    Compare lists of diagnoses with their rationales.

    Args:
        written (lists of `str`): the diagnoses of each record's list.
        phrases (`dict`): diagnosis -> its name and synonyms.

    Returns:
        Counts of each record: diagnoses `written`, and of these `argued_for` and `denied` in the rationale; `argued`
        ones (a name that several share counts once), and of these `not_written`.
    """
    find, rows = DiagnosisFinder(phrases), []
    for names, rationale in zip(written, rationales, strict=True):
        mentions, listed = find(rationale), set(names)
        argued = {mention.labels for mention in mentions if mention.says == "argues"}
        denied = {mention.labels for mention in mentions if mention.says == "denies" and len(mention.labels) == 1}
        rows.append(
            {
                "written": len(listed),
                "argued_for": len(listed & frozenset().union(*argued)),
                "denied": len(listed & frozenset().union(*denied)),
                "argued": len(argued),
                "not_written": sum(not labels & listed for labels in argued),
            }
        )
    names = ("written", "argued_for", "denied", "argued", "not_written")
    return {name: np.array([row[name] for row in rows]) for name in names}
