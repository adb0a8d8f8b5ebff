# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Label sets: the paper's 25 phenotypes, or a user's YAML of names and codes; and the route from codes to labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.sources.phenotypes import find_code, known_categories, plain_code, plain_icd9, titles_of
from modeling_clinragen.clinical_clinragen import NO_DISEASE, PHENOTYPES, ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


SYNONYMS = Path(__file__).with_name("synonyms.yaml")


def load_labels(name_or_path: str) -> list[dict]:
    """
    Load a label set: `"phenotypes"`, the paper's, or that of a YAML file.

    Returns:
        list of `{"name", "ccs" (list of int), "codes" ({"icd9": [...], "icd10": [...]}), "synonyms"}`; the position
        is the class id.

    Raises:
        ClinRaGenInputError: naming the file, the label and the field that is wrong.
    """
    if name_or_path == "phenotypes":
        synonyms = yaml.safe_load(SYNONYMS.read_text(encoding="utf-8"))
        return [
            _complete({**label, "ccs": [label["ccs"]], "synonyms": synonyms[label["name"]]}) for label in PHENOTYPES
        ]
    path = Path(name_or_path)
    if not path.is_file():
        raise ClinRaGenInputError(f"--labels {name_or_path}: there is no such file; give phenotypes or a YAML file")
    labels = read_yaml(path).get("labels")
    if not isinstance(labels, list) or not labels:
        raise ClinRaGenInputError(f"{path}: no YAML file with a list `labels`; it must be a list of names with codes")
    for i, label in enumerate(labels):
        _check(label, f"{path}, label {i + 1}")
    names = [label["name"] for label in labels]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ClinRaGenInputError(f"{path}: the name {twice!r} is there twice")
    return [_complete(label) for label in labels]


def _complete(label: dict) -> dict:
    codes = {
        version: [plain(str(code)) for code in label.get("codes", {}).get(version, ())]
        for version, plain in VERSIONS.items()
    }
    return {"name": label["name"], "ccs": label.get("ccs", []), "codes": codes, "synonyms": label.get("synonyms", [])}


LABEL = {"name": str, "codes?": {str: [(str, int, float)]}, "ccs?": [int], "synonyms?": [str]}
VERSIONS = {"icd9": plain_icd9, "icd10": plain_code}  # and how a code of it is written without its dot


def _check(label: object, where: str) -> None:
    if not isinstance(label, dict) or not isinstance(label.get("name"), str) or not label["name"].strip():
        raise ClinRaGenInputError(f"{where}: a name is missing")
    unknown = set(label) - {"name", "codes", "ccs", "synonyms"}
    if unknown:
        raise ClinRaGenInputError(f"{where}: unknown field {sorted(unknown)[0]!r}; use name, codes, ccs and synonyms")
    if "," in label["name"] or label["name"] == NO_DISEASE:
        raise ClinRaGenInputError(f"{where}: a name may hold no comma and not be {NO_DISEASE!r}; use a semicolon")
    codes = label.get("codes", {})
    if isinstance(codes, dict) and set(codes) - VERSIONS.keys():
        odd = next(name for name in codes if name not in VERSIONS)
        raise ClinRaGenInputError(f"{where}: unknown field {odd!r} in codes; use icd9 and icd10")
    if not isinstance(codes, dict) or not all(isinstance(c, list) for c in codes.values()):
        raise ClinRaGenInputError(f"{where}: codes must hold lists icd9 and icd10")
    short = next((c for some in codes.values() for c in some if isinstance(c, int | float) and c < 100), None)
    if short is not None:
        raise ClinRaGenInputError(f"{where}: code {short} is a number without its zeros; write it in quotes")
    if not all(isinstance(label.get(name, []), list) for name in ("ccs", "synonyms")):
        raise ClinRaGenInputError(f"{where}: ccs and synonyms must be lists")
    fault = fault_of(label, LABEL)
    if fault is not None:
        raise ClinRaGenInputError(f"{where}: {fault}")
    if not any(codes.values()) and not label.get("ccs"):
        raise ClinRaGenInputError(f"{where}: neither codes nor ccs categories")


def describe_unknown(labels: list[dict]) -> Iterator[str]:
    """Yield one line for each prefix with which no known code begins, and each CCS category without a code."""
    categories = known_categories()
    for label in labels:
        for version, prefixes in label["codes"].items():
            for prefix in prefixes:
                if not titles_of((), {version: [prefix]}) and not find_code(prefix, int(version[3:])).categories:
                    yield f"label {label['name']!r}: no known ICD-{version[3:]} code begins with {prefix}"
        for ccs in label["ccs"]:
            if ccs not in categories:
                yield f"label {label['name']!r}: no ICD-9 code is of CCS category {ccs}"


@dataclass(frozen=True)
class MappedCode:
    """
    Args:
        labels (list of `int`): class ids; empty for a code of another disease.
        route (`str`): how they were found, or why none was.
        mapped (`bool`): whether the code is known, or has an equivalent that is.
    """

    labels: list[int]
    route: str
    mapped: bool


def map_codes(
    codes: Iterable[tuple[str | None, int | None]], labels: list[dict]
) -> dict[tuple[str | None, int | None], MappedCode]:
    """Return the labels of each code, given as pairs of code and ICD version."""
    return {(code, version): _map_code(code, version, labels) for code, version in codes}


def _map_code(code: str | None, version: int | None, labels: list[dict]) -> MappedCode:
    known = find_code(code, version)
    route = known.route
    prefixed = {"icd10": [plain_code(code)]} if version == 10 else {}
    # An ICD-10 code is also looked up by what it is in ICD-9.
    prefixed["icd9"] = known.icd9 or (() if version == 10 else [plain_code(code)])
    found = []
    for i, label in enumerate(labels):
        prefix = _prefix_of(prefixed, label["codes"])
        if prefix:
            route += f", prefix {prefix}"
        if prefix or set(known.categories) & set(label["ccs"]):
            found.append(i)
    return MappedCode(found, route, bool(known.categories))


def _prefix_of(codes: dict[str, Iterable[str]], prefixes: dict[str, list[str]]) -> str | None:
    for version in ("icd10", "icd9") if prefixes["icd10"] else ("icd9",):
        if version in codes:
            hit = next((p for p in prefixes[version] for c in codes[version] if c and c.startswith(p)), None)
            if hit or version == "icd10":  # where ICD-10 prefixes are given, they alone decide for an ICD-10 code
                return hit
    return None
