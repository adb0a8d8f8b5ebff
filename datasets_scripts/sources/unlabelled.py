# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""New patients: a source without its diagnoses, whose stays need not have ended."""

from __future__ import annotations

import re
from collections.abc import Iterator

from datasets_scripts.sources.measurements import charted_events


NO_DIAGNOSES = "SELECT NULL::VARCHAR AS stay_id, NULL::VARCHAR AS code, NULL::INTEGER AS version WHERE false"
OF_DIAGNOSES = ("diagnoses", "diagnosed", "prepare_diagnoses", "losses_of_diagnoses")  # queries of a source
# A stay without an end lasts until its last measurement that is read, or ends as it begins. What names its patient
# alone belongs to the last of the patient's stays that had begun.
UNTIL_LAST_MEASUREMENT = """
WITH stays AS ({stays}), own AS (
  SELECT stay_id, subject_id, intime, lead(intime) OVER (PARTITION BY subject_id ORDER BY intime, stay_id) AS next
  FROM stays
), unended AS (FROM own SEMI JOIN (SELECT stay_id FROM stays WHERE outtime IS NULL) USING (stay_id)
), charted AS (
  SELECT e.stay_id, e.subject_id, e.time FROM ({events}) e
  SEMI JOIN items i ON e."table" = i."table" AND e.itemid = i.itemid
  WHERE (SELECT count(*) FROM unended) > 0
), seen AS (
  SELECT u.stay_id, e.time FROM unended u JOIN charted e ON e.stay_id = u.stay_id WHERE e.time >= u.intime
  UNION ALL
  SELECT u.stay_id, e.time FROM unended u JOIN charted e ON e.subject_id = u.subject_id
  WHERE e.stay_id IS NULL AND e.time >= u.intime AND (u.next IS NULL OR e.time < u.next)
), lasts AS (SELECT stay_id, max(time) AS last FROM seen GROUP BY stay_id)
SELECT s.* REPLACE (coalesce(s.outtime, l.last, s.intime) AS outtime), s.outtime IS NULL AS unended
FROM stays s LEFT JOIN lasts l USING (stay_id)
"""


def without_labels(source: dict) -> dict:
    """
    Return a source, as `load_source` gives it, that has no diagnoses, needs none of their tables, and whose stays
    without an end last until their last measurement.
    """
    return {
        **{name: part for name, part in source.items() if name not in OF_DIAGNOSES},
        "unlabelled": True,
        "tables": needed_tables(source),
        "stays": UNTIL_LAST_MEASUREMENT.format(stays=source["stays"], events=charted_events(source)),
        "diagnoses": NO_DIAGNOSES,
        **({"sections": _other_sections(source)} if "sections" in source else {}),
    }


def needed_tables(source: dict) -> dict[str, dict]:
    """Return the tables of a source but for those that its diagnoses alone are read from."""
    named = _tables_of(text for name in OF_DIAGNOSES for text in _texts(source.get(name, "")))
    others = {name: part for name, part in source.items() if name not in (*OF_DIAGNOSES, "tables", "sections")}
    unneeded = named - _tables_of(_texts(others)) - _tables_of(_texts(_other_sections(source)))
    return {table: spec for table, spec in source["tables"].items() if table not in unneeded}


def _other_sections(source: dict) -> list[dict]:
    return [section for section in source.get("sections", ()) if section["kind"] != "diagnoses"]


def _texts(part: object) -> Iterator[str]:
    """Yield the texts of a description, of whatever depth."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list | tuple):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _texts(inner)


def _tables_of(queries: Iterator[str]) -> set[str]:
    """Return the names that queries read from."""
    return {name for query in queries for name in re.findall(r"(?i)\b(?:from|join|unpivot)\s+(\w+)", query)}
