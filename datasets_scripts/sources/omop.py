# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A database in the OMOP Common Data Model, described for the reader: `omop.yaml` with the concepts of the channels
(`omop_concepts.csv`), those of units (`omop_units.csv`), and what a user's YAML file adds to them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.sources.dialects import Dialect
from datasets_scripts.sources.items import Units, parse_items
from datasets_scripts.sources.meds import DESCRIPTION
from datasets_scripts.sources.raw_tables import (
    READ_ERRORS,
    explain,
    find_table,
    find_tables,
    is_tab_separated,
    locate,
    quoted,
    select_columns,
    select_table,
)
from datasets_scripts.sources.reader import load_source
from datasets_scripts.sources.unlabelled import needed_tables
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.conversions_clinragen import SPELLED
from modeling_clinragen.shapes_clinragen import fault_of


HERE = Path(__file__).parent
MAPPING = {
    **{f"{name}?": (str, int, float, bool) for name in DESCRIPTION},
    "icu?": {"concepts?": [int], "names?": str},
    "channels?": dict,
}
# The form of a code of ICD-9-CM or ICD-10, with or without its dot.
ICD = r"\d{3}(\.?\d{1,2})?|V\d\d(\.?\d{1,2})?|E\d{3}(\.?\d)?|[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?"
VERSIONS = {"ICD9CM": 9, "ICD10CM": 10, "ICD10": 10, "ICD10GM": 10, "ICD10CN": 10}  # vocabulary -> version of ICD
VOCABULARY = {  # table -> columns that are read
    "concept": ("concept_id", "vocabulary_id", "concept_class_id", "concept_code"),
    "concept_relationship": ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"),
}
ICD_CONCEPTS = """
CREATE TABLE icd AS
SELECT CAST(concept_id AS BIGINT) AS concept_id, concept_code AS code, concept_class_id AS class, version
FROM ({concept}) JOIN icd_vocabularies USING (vocabulary_id)
"""
# Of the codes that mean nothing but a standard concept one stands for it: one of ICD-10 before one of ICD-9, and one
# that is billed before the beginning of several.
MAPS = """
CREATE TABLE maps AS
WITH pairs AS (
  SELECT CAST(r.concept_id_2 AS BIGINT) AS standard, i.*, count(*) OVER (PARTITION BY i.concept_id) AS standards
  FROM ({concept_relationship}) r JOIN icd i ON CAST(r.concept_id_1 AS BIGINT) = i.concept_id
  WHERE r.relationship_id = 'Maps to' AND coalesce(trim(r.invalid_reason), '') = '')
SELECT standard, code, version FROM pairs WHERE standards = 1
QUALIFY row_number() OVER (
  PARTITION BY standard ORDER BY version DESC, class NOT LIKE '% billing code', length(code), code
) = 1
"""


def tables_to_copy(labelled: bool = True) -> dict[str, dict]:
    """Return what is read of a database that is no folder, as `copied_tables` takes it; of diagnoses if `labelled`."""
    source = load_source("omop")
    if not labelled:
        return {spec["file"]: spec for spec in needed_tables(source).values()}
    tables = {spec["file"]: spec for spec in source["tables"].values()}
    vocabularies = ", ".join(map(quoted, VERSIONS))
    rows = {"concept": f"vocabulary_id IN ({vocabularies})", "concept_relationship": "relationship_id = 'Maps to'"}
    for name, columns in VOCABULARY.items():
        tables[name] = {"columns": columns, "optional": True, "rows": rows[name]}
    return tables


def omop_source(mapping: str | None, root: Path, channels: list[dict], labelled: bool = True) -> dict:
    """
    Describe an OMOP database for the reader, as `mimic-iv.yaml` is for its tables.

    Args:
        mapping (`str`, *optional*): a YAML file with `icu` (`concepts`, `names`: a regular expression), `channels`
            (channel -> concept ids or source values, after those of the project), and a description of the database.
        root (`Path`): the folder of the tables, or a DuckDB file.
        channels (list of `dict`): as in `clinical_clinragen`.
        labelled (`bool`, *optional*, defaults to `True`): `False` for a database that need not hold diagnoses.

    Raises:
        ClinRaGenInputError: naming the file, table or field that is missing or wrong.
    """
    source, own = load_source("omop"), _read_mapping(mapping)
    source |= {name: own[name] for name in DESCRIPTION if name in own}
    if not labelled:
        source["tables"] = needed_tables(source)
    units, files = Units(channels), find_tables(source, root)
    mapped = parse_items(own["channels"], channels, f"{mapping}: channels") if "channels" in own else []
    mapped = [item for item in mapped if item["channel"] in units.channels]
    source["codes"] = [(item["channel"], item["itemid"]) for item in mapped]
    source["items"] = [*_items(units), *_mapped_items(units, mapped, f"{mapping}: channels")]
    source["units"], source["has_notes"] = units.ranges, files["note"] is not None
    icu_rows = _icu_rows(source, own.get("icu", {}))
    _check_icu(source, files, icu_rows)
    source["prepare"] = [*_lookups(units), *(text.replace("{icu_rows}", icu_rows) for text in source["prepare"])]
    if labelled:
        filled_in = [text.replace("{icd}", ICD) for text in source["prepare_diagnoses"]]
        source["prepare_diagnoses"] = [*_vocabulary(root), *filled_in]
    source["losses"] += [f"SELECT {quoted(line)}" for line in _absent(files)]
    return source


def _absent(files: dict[str, Path | None]) -> Iterator[str]:
    """Yield one line for each table that is absent and missed."""
    absent = [name for name in ("observation", "procedure_occurrence") if name in files and files[name] is None]
    if absent:
        yield (
            f"{' and '.join(absent)}: absent; diagnosis codes whose standard concept is no condition (many V, Z and E "
            "codes) stand there, and are not read"
        )
    if files["measurement"] is None:
        yield "measurement: absent; there are no series"


def _read_mapping(path: str | None) -> dict:
    if path is None:
        return {}
    if not Path(path).is_file():
        raise ClinRaGenInputError(f"--mapping {path} is no file; describe further ICUs and codes in a YAML file")
    mapping = read_yaml(Path(path))
    unknown = set(mapping) - {name.rstrip("?") for name in MAPPING}
    if unknown:
        raise ClinRaGenInputError(f"{path}: unknown section {sorted(unknown)[0]!r}; there are icu and channels")
    fault = fault_of(mapping, MAPPING)
    if fault is not None:
        raise ClinRaGenInputError(f"{path}: {fault}")
    names = mapping.get("icu", {}).get("names", "")
    try:
        duckdb.execute("SELECT regexp_matches('', ?)", [names]).fetchall()
    except duckdb.Error as error:
        raise ClinRaGenInputError(f"{path}: icu: names: no regular expression: {str(error).splitlines()[0]}") from None
    return mapping


def _mapped_items(units: Units, mapped: list[dict], where: str) -> Iterator[dict]:
    """Yield the items of a user's codes; a value without a unit has the one that is given beside its code."""
    for item in mapped:
        channel = item["channel"]
        default = units.conversion(channel, item["unit"], f"{where}: {channel}")
        readable = units.readable(channel, units.channels[channel]["unit"])
        yield from _with_units(item["itemid"], channel, readable | {"": default})


def _items(units: Units) -> Iterator[dict]:
    for row in _rows("omop_concepts.csv"):
        if row["channel"] in units.channels:
            yield from _with_units(row["itemid"], row["channel"], units.readable(row["channel"], row["unit"]))


def _with_units(code: str, channel: str, readable: dict[str, str]) -> Iterator[dict]:
    """Yield an item for each unit in which a code's values may be given."""
    for unit, conversion in readable.items():
        item = {"table": "measurement", "itemid": f"{code} {unit}", "channel": channel}
        yield item | {"unit": conversion, "code": code}


def _rows(name: str) -> list[dict]:
    with open(HERE / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _icu_rows(source: dict, own: dict) -> str:
    """Write the SQL for the rows of visit_detail that are of an ICU."""
    concepts = [*source["icu"]["concepts"], *own.get("concepts", [])]
    names = "|".join(filter(None, (source["icu"]["names"], own.get("names"))))
    listed = ", ".join(quoted(concept) for concept in concepts)
    return source["icu_rows"].replace("{icu_concepts}", listed).replace("{icu_names}", quoted(names))


def _check_icu(source: dict, files: dict[str, Path | None], icu_rows: str) -> None:
    with duckdb.connect() as connection:
        try:
            for table in ("visit_detail", "care_site"):
                selected = select_table(files[table], source["tables"][table])
                connection.execute(f"CREATE VIEW {table} AS {selected}")
            found = connection.execute(f"SELECT 1 FROM ({icu_rows}) LIMIT 1").fetchone()
        except READ_ERRORS as error:
            raise explain(error, source, files) from None
    if not found:
        raise ClinRaGenInputError(
            "visit_detail: no row is of an ICU by its visit_detail_concept_id, care_site_name or "
            "visit_detail_source_value; name yours in --mapping (icu: concepts, names)"
        )


def _lookups(units: Units) -> Iterator[str]:
    """Write the statements that make the tables of units and of the vocabularies that are ICD."""
    concepts = [(row["unit_concept_id"], row["unit"]) for row in _rows("omop_units.csv")]
    yield _table("unit_concepts (concept_id, unit)", concepts)
    yield _table("unit_words (word, unit)", SPELLED.items())
    yield _table("icd_vocabularies (vocabulary_id, version)", VERSIONS.items())


def _table(name: str, rows: Iterable[tuple[str, str | int]]) -> str:
    values = ", ".join(f"({', '.join(quoted(c) if isinstance(c, str) else str(c) for c in row)})" for row in rows)
    return f"CREATE TABLE {name.partition(' ')[0]} AS FROM (VALUES {values}) {name}"


def _vocabulary(root: Path) -> Iterator[str]:
    """Write the statements that make the tables `icd` and `maps`, empty where the vocabulary's files are absent."""
    selected = {name: _select_vocabulary(root, name, columns) for name, columns in VOCABULARY.items()}
    for statement in (ICD_CONCEPTS, MAPS):
        yield statement.format_map(selected)


def _select_vocabulary(root: Path, name: str, columns: tuple[str, ...]) -> str:
    """Write the SQL for a table of the vocabulary; as it is downloaded it is separated by tabs, without quotes."""
    spec = {"file": name, "columns": columns, "optional": True, "hint": "fetch the vocabulary again"}
    path = locate(root.resolve(), spec)
    if path is not None and is_tab_separated(path):
        spec |= {"dialect": Dialect("\t", "none"), "decimals": ()}
    return select_columns(find_table(root.resolve(), name, spec), [*columns], spec)
