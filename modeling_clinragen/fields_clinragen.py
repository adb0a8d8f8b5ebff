# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Names that a user writes: the fields of a record, and the nearest known name for a misspelling."""

from collections.abc import Iterable
from functools import lru_cache

from .clinical_clinragen import ClinRaGenInputError


RECORD_FIELDS = ("note", "labs", "lab_times", "lab_values", "units")


@lru_cache(maxsize=2**12)
def plain_name(name: str) -> str:
    """Strip a name of case, spaces and punctuation."""
    return "".join(character for character in name.lower() if character.isalnum())


def nearest(name: str, known: Iterable[str]) -> str | None:
    """
    Return the known name that `name` misspells, with at most one letter in four added, left out, replaced or swapped
    with the next; `None` if there is none.
    """
    plain = plain_name(name[:100])
    found = [(edits(plain, plain_name(one)), one) for one in known]
    found = [(number, one) for number, one in found if number <= max(1, len(plain_name(one)) // 4)]
    return min(found, default=(0, None), key=lambda pair: pair[0])[1]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" with the nearest known name; empty if there is none."""
    found = nearest(name, known)
    return "" if found is None else f" (did you mean {found!r}?)"


def edits(a: str, b: str) -> int:
    """Return the edit distance of two words: letters added, left out, replaced or swapped with the next."""
    before, last = [], list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            fewest = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and other == a[i - 2]:
                fewest = min(fewest, before[j - 2] + 1)
            row.append(fewest)
        before, last = last, row
    return last[-1]


def check_fields(record: dict) -> None:
    """
    Refuse a record with a misspelt field, without any known field, or with truth values for numbers; other fields are
    ignored.

    Raises:
        ClinRaGenInputError: naming the field, and the nearest known one.
    """
    for name in ("lab_values", "lab_times"):
        if _holds_truth(record.get(name)):
            raise ClinRaGenInputError(f"`{name}` holds true or false; give numbers, null where nothing was measured")
    others = {str(name): value for name, value in record.items() if name not in RECORD_FIELDS}
    for name, value in others.items():
        meant = nearest(name, RECORD_FIELDS)
        is_ward = name == "unit" and not isinstance(value, dict)  # the ward of a stay, not units
        if meant is not None and not is_ward:
            raise ClinRaGenInputError(f"there is no field {name[:60]!r}; did you mean {meant!r}? Rename or remove it")
    if others and len(others) == len(record):
        shown = ", ".join(repr(name[:60]) for name in [*others][:5])
        raise ClinRaGenInputError(f"it has no known field ({shown}); give any of {', '.join(RECORD_FIELDS)}")


def _holds_truth(series) -> bool:
    if not isinstance(series, list | tuple):
        return False
    return any(isinstance(cell, bool) for row in series for cell in (row if isinstance(row, list | tuple) else [row]))
