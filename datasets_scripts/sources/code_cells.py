# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Cells of a user's table that hold several diagnosis codes, with a sign between them."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from datasets_scripts.sources.raw_tables import identifier, quoted, select_columns
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


CODE = r"(?:[A-Z]\d[0-9A-Z](?:\.?[0-9A-Z]{1,4})?|(?:\d{3}|V\d{2}|E\d{3})(?:\.?\d{1,2})?)"  # of ICD-10, of ICD-9
MARKS = "[†*!#]?"  # of the WHO's edition; its plus also separates codes
SIGNS = r"[\s,;:|/+&]"
SEVERAL = rf"(?i)^{SIGNS}*{CODE}{MARKS}({SIGNS}+){CODE}{MARKS}(?:{SIGNS}+{CODE}{MARKS})*{SIGNS}*$"


def parse_separator(section: dict, where: str) -> str | None:
    """
    Return the sign between the codes of a cell; `None` where a cell holds one.

    Raises:
        ClinRaGenInputError: beginning with `where`, for a sign that codes hold.
    """
    separator = section.get("separator")
    if separator is not None and not re.fullmatch(r"[^\w.]+", str(separator)):
        raise ClinRaGenInputError(f"{where}: separator is {separator!r}; give the sign between two codes, such as '|'")
    return None if separator is None else str(separator)


def codes_in(cell: str, separator: str) -> str:
    """Write the SQL for the codes of a cell, one a row; none of a cell without one."""
    parts = f"list_transform(string_split({cell}, {quoted(separator)}), lambda part: trim(part, {quoted(BLANKS)}))"
    return f"unnest(list_filter({parts}, lambda part: part <> ''))"


BLANKS = " \t\r\n"


def check_code_cells(source: dict, files: dict[str, Path | None]) -> None:
    """
    Check the columns of codes of the tables that name one.

    Raises:
        ClinRaGenInputError: naming file, row and column of a cell that holds several codes with another sign between
            them than the separator that is given, or without one.
    """
    for table, spec in source["tables"].items():
        if "codes" in spec and files[table] is not None:
            _check(files[table], spec, *spec["codes"])


def _check(path: Path, spec: dict, column: str, separator: str | None) -> None:
    cells = select_columns(path, [column], spec)
    numbered = f"SELECT row_number() OVER () + 1 AS row, {identifier(column)} AS x FROM ({cells})"
    codes = f"SELECT row, {codes_in('x', separator) if separator else 'x'} AS x FROM ({numbered})"
    found = duckdb.execute(
        f"SELECT row, regexp_extract(x, {quoted(SEVERAL)}, 1) AS sign FROM ({codes}) "
        f"WHERE regexp_matches(x, {quoted(SEVERAL)}) ORDER BY row LIMIT 1"
    ).fetchone()
    if found:
        row, sign = found
        sign = sign.removeprefix("+") or sign  # the mark of the code before it
        raise ClinRaGenInputError(
            f"{path.name}, row {row}, column {column}: several diagnosis codes in one cell; "
            f"give separator: {sign.strip()[:1] or ' '!r}"
        )
