# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Treatments and tests that a note only plans, or makes depend on a condition: "will need dialysis", "EGD planned"."""

from __future__ import annotations

import re

from .phrases_clinragen import compiled


_PLANNED_BEFORE = compiled(r"""
    \b(?:(?:will|may|might) (?:likely |probably |also |eventually |then )*
    (?:need|require|start|begin|initiate|get|undergo|proceed (?:with|to)
    |be (?:started|given|placed|intubated|transfused|taken|scheduled)(?: on| for)?)
    |plan(?:s|ned|ning)? (?:is )?(?:for|to(?! \w+ (?:off|down)\b))|low threshold (?:to|for)|scheduled for|awaiting
    |(?:discuss(?:ed|ing)?|offered|recommended|considering|candidate for|declin(?:es|ed)|refus(?:es|ed))
    |type and (?:cross|screen)(?:match)?(?:ed)?)\b[^,;:]{0,40}$
    """)
_PLANNED_AFTER = re.compile(
    r"[^.;:\n]{0,30}?,? (?:but |which |and )?(?:the )?(?:family|patient|pt|he|she|daughter|son|wife|husband|hcp)"
    r" (?:has |have |was |were |is |are )?(?:declin\w+|refus\w+|(?:does|did) not (?:want|wish|agree))"
    r"|[\w\s/\-]{0,12}?\b(?:planned|discussed|scheduled|postponed|offered|tomorrow"
    r"|if (?:no |not |needed|necessary|indicated|unable|worse\w*|persist\w*|fail\w*"
    r"|(?:[\w/]+ ){1,3}?(?:[<>≤≥]|below|above|under|over|rises?|falls?|drops?|worsens?|fails?|improves?|persists?"
    r"|continues?|remains?|needed)))"
)


def is_planned(sentence: str, start: int, end: int) -> bool:
    """Return whether the span of a lower-case sentence is only planned, or depends on a condition."""
    return bool(_PLANNED_BEFORE.search(sentence[max(start - 80, 0) : start]) or _PLANNED_AFTER.match(sentence, end))


__all__ = ["is_planned"]
