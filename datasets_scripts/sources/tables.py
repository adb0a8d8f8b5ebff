# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A hospital's own tables, described by one YAML file (`sources/tables_example.yaml` is one, with every field explained).

The file says which file and column is patient, stay, time, code, value and note; it is turned into a source like those
of the public databases, and read by the same reader.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from pathlib import Path

import duckdb

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.sources.code_cells import codes_in, parse_separator
from datasets_scripts.sources.dialects import PLAIN, Dialect, find_dialect, parse_settings
from datasets_scripts.sources.items import Units, parse_items
from datasets_scripts.sources.raw_tables import (
    READ_ERRORS,
    explain,
    files_of,
    find_table,
    identifier,
    locate,
    quoted,
    select_columns,
)
from datasets_scripts.sources.times import is_zone
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


HERE = Path(__file__).parent
logger = logging.getLogger(__name__)

DESCRIPTION = {
    "title": "a hospital's own records",
    "version": "",
    "licence": "the hospital's own",
    "url": "local files",
    "credentialed": True,
    "cite": "the hospital.",
}
# Section -> fields that name a column: needed, optional. Every section has a `file`, too.
FIELDS = {
    "stays": (("patient", "stay", "begin", "end"), ("admission", "age", "birth", "sex", "ethnicity", "care_unit")),
    "diagnoses": (("code",), ("stay", "admission", "version")),
    "measurements": (("time", "code", "value"), ("stay", "patient", "unit", "stored")),
    "notes": (("text",), ("stay", "admission", "kind", "stored")),
}
# Fields that are a value instead of a column.
CONSTANTS = {
    "stays": Dialect._fields,
    "diagnoses": ("icd", "separator", *Dialect._fields),
    "measurements": Dialect._fields,
    "notes": ("title", *Dialect._fields),
}
TIMES = ("begin", "end", "time", "stored")
IDS = ("patient", "stay", "admission")
ITEM_CODES = {"measurements": ("code",)}  # which are ids, too; the codes of diagnoses are none: 250.0 is not 250


def load_hospital(
    path: str | None, root: Path, channels: list[dict], labelled: bool = True, first_rows: int | None = None
) -> dict:
    """
    Describe a hospital's tables for the reader.

    Args:
        path (`str`, *optional*): the YAML file; without it, the only one in `root`.
        root (`Path`): the folder of the tables; units are looked up in them.
        channels (list of `dict`): as in `clinical_clinragen`.
        labelled (`bool`): `False` for tables that may have neither diagnoses nor ends of stays.
        first_rows (`int`, *optional*): read so many rows of each table.

    Raises:
        ClinRaGenInputError: naming file, section and field of what is missing, unknown or contradictory.
    """
    if path is None:
        found = sorted(root.glob("*.yaml"))
        if len(found) != 1:
            raise ClinRaGenInputError(
                f"--mapping is needed: the YAML file that describes the tables; {root} holds {len(found)} of them"
            )
        path = str(found[0])
    hospital = _read(Path(path), () if labelled else ("diagnoses", "end"))
    tables: dict[str, dict] = {}
    general = parse_settings(hospital, path)
    stays = _table(tables, "stays", hospital["stays"], path)
    age = _age(stays) if "age" in stays else "NULL"
    if "birth" in stays:
        age = f"coalesce({age}, years({_wall(stays, 'birth')}, {_wall(stays, 'begin')}))"
    sections = [
        {"kind": kind, "file": section["file"], "table": f"raw_{kind}_{i}"}
        | {"query": query(fields := _table(tables, f"{kind}_{i}", section, path), i, section, path)}
        | {"of_no_stay": f"SELECT count(*) FROM raw_{kind}_{i} r WHERE {_of_no_stay(fields)}"}
        for kind, query in QUERIES.items()
        for i, section in enumerate(hospital.get(kind, []))
    ]
    source = {
        **{name: hospital.get(name, default) for name, default in DESCRIPTION.items()},
        "tables": tables,
        "stays": f"SELECT {_text(stays, 'patient')} AS subject_id, "
        f"coalesce({_text(stays, 'admission')}, {_text(stays, 'stay')}) AS hadm_id, "
        f"{_text(stays, 'admission' if 'admission' in stays else 'stay')} AS admission, "
        f"{_text(stays, 'stay')} AS stay_id, "
        f"{_time(stays, 'begin')} AS intime, {_time(stays, 'end')} AS outtime, {age} AS age, "
        f"{_sex(stays, hospital.get('sex', {}))} AS sex, {_text(stays, 'sex')} AS sex_said, "
        f"{_text(stays, 'ethnicity')} AS ethnicity, "
        f"{_text(stays, 'care_unit')} AS care_unit FROM raw_stays r",
        "diagnoses": (diagnoses := _union(s["query"] for s in sections if s["kind"] == "diagnoses")),
        "diagnosed": f"SELECT stay_id FROM ({diagnoses}) WHERE code IS NOT NULL",
        "events": [section["query"] for section in sections if section["kind"] == "measurements"],
        "sections": sections,
        "demographics": [name for name in ("sex", "ethnicity") if name in stays],
    }
    if hospital.get("notes"):
        source["notes"] = _union(section["query"] for section in sections if section["kind"] == "notes")
    for (name, spec), section in zip(tables.items(), _all_sections(hospital), strict=True):
        settings = general | parse_settings(section, f"{path}: {name.split('_')[1]}")
        _check_zone(settings.get("time_zone"), path)
        spec["dialect"] = _find_dialect(root, spec, settings)
        if first_rows is not None:
            spec["first_rows"] = source["first_rows"] = first_rows
    units = Units(channels)
    items = parse_items(hospital["channels"], channels, f"{path}: channels")
    items = _in_units(items, hospital.get("units", {}), f"{path}: units")
    items = [{**item, "itemid": re.sub(r"^(-?\d+)\.0+$", r"\1", item["itemid"])} for item in items]
    source["codes"] = [(item["channel"], item["itemid"]) for item in items if item["channel"] in units.channels]
    source["items"] = _with_units(items, units, source, root, path)
    source["units"] = units.ranges
    return source


def _read(path: Path, may_lack: Collection[str]) -> dict:
    if not path.is_file():
        raise ClinRaGenInputError(f"--mapping {path} is no file; describe the tables in a YAML file")
    hospital = read_yaml(path)
    for name in ("stays", "diagnoses", "measurements", "channels"):
        if not hospital.get(name) and name not in may_lack:
            raise ClinRaGenInputError(f"{path}: section {name} is missing")
    unknown = set(hospital) - {*FIELDS, *DESCRIPTION, *Dialect._fields, "channels", "sex", "units"}
    if unknown:
        raise ClinRaGenInputError(f"{path}: unknown section {sorted(unknown)[0]!r}")
    fault = fault_of(hospital, SHAPE)
    if fault is not None:
        raise ClinRaGenInputError(f"{path}: {fault}")
    for name, (needed, optional) in FIELDS.items():
        sections = hospital.get(name, [])
        if name != "stays" and isinstance(sections, dict):
            sections = hospital[name] = [sections]
        for section in [sections] if name == "stays" else sections:
            wanted = tuple(field for field in needed if field not in may_lack)
            _check_section(section, name, wanted, (*needed, *optional), path)
    return hospital


WORD = (str, int, float)
SHAPE = {  # beside what the sections need, which `_check_section` tells with a hint
    **{f"{name}?": (str, int, float, bool) for name in DESCRIPTION},
    **{f"{name}?": ([{str: WORD}], {str: WORD}) for name in FIELDS},
    **{f"{name}?": str for name in Dialect._fields},
    "sex?": {str: [WORD]},
    "units?": {str: str},
}


def _check_section(section: object, name: str, needed: tuple, optional: tuple, path: Path) -> None:
    if not isinstance(section, dict):
        raise ClinRaGenInputError(f"{path}: {name} must be a table of fields, such as `file: {name}.csv`")
    missing = [field for field in ("file", *needed) if section.get(field) in (None, "")]
    if missing:
        raise ClinRaGenInputError(f"{path}: {name}: {missing[0]} is missing")
    unknown = set(section) - {"file", *needed, *optional, *CONSTANTS[name]}
    if unknown:
        raise ClinRaGenInputError(f"{path}: {name}: unknown field {sorted(unknown)[0]!r}")
    if name == "stays" and not {"age", "birth"} & set(section):
        raise ClinRaGenInputError(f"{path}: stays: age or birth is missing")


def _table(tables: dict[str, dict], name: str, section: dict, path: str) -> dict[str, str]:
    """Enter a section's file among the tables; give field -> column, in lower case."""
    kind = name.split("_")[0]
    fields = {k: str(v).lower() for k, v in section.items() if k not in ("file", *CONSTANTS[kind])}
    spec = {
        "file": str(section["file"]),
        "fields": fields,
        "columns": sorted(set(fields.values())),
        "times": [fields[field] for field in TIMES if field in fields],
        "births": [fields[field] for field in ("birth",) if field in fields],
        "ids": [fields[field] for field in (*IDS, *ITEM_CODES.get(kind, ())) if field in fields],
        "decimals": [fields[field] for field in ("value", "age") if field in fields],
        "ages": [fields["age"]] if "age" in fields else [],
        "versions": [fields["version"]] if "version" in fields else [],
    }
    if "unit" in fields:
        spec["unit"] = (fields["code"], fields["unit"])
    if kind == "diagnoses":
        spec["codes"] = (fields["code"], parse_separator(section, f"{path}: diagnoses"))
    if name == "stays":
        spec["key"] = identifier(fields["stay"])
        spec["filled"] = [fields["patient"], fields["stay"]]
        if "admission" in fields:
            spec["of_one"] = (fields["admission"], fields["patient"])
    tables[f"raw_{name}"] = spec
    return fields


def _all_sections(hospital: dict) -> list[dict]:
    """Return the sections in the order in which their tables are entered."""
    return [hospital["stays"], *(section for kind in QUERIES for section in hospital.get(kind, []))]


def _check_zone(zone: str | None, path: str) -> None:
    if zone and not is_zone(zone):
        raise ClinRaGenInputError(f"{path}: time_zone {zone!r} is unknown; write it as Europe/Berlin or UTC")


def _find_dialect(root: Path, spec: dict, settings: dict[str, str]) -> Dialect:
    """Return how a table is written, and log what was found by itself; a file that is missing is refused later."""
    path = locate(root.resolve(), spec) if root.is_dir() else None
    files = [] if path is None else files_of(path)
    if not files or files[0].suffix == ".parquet":
        return PLAIN._replace(**settings)
    dialect, found = find_dialect(files, spec["columns"], settings)
    if found:
        logger.info("%s: %s", path.name, "; ".join(found))
    return dialect


def _in_units(items: list[dict], units: dict[str, str], where: str) -> list[dict]:
    """Return the items, those without a unit in the one that is declared for their channel."""
    unused = sorted(set(units) - {item["channel"] for item in items})
    if unused:
        raise ClinRaGenInputError(f"{where}: {unused[0]} has no codes under channels")
    return [{**item, "unit": item["unit"] or units.get(item["channel"], "")} for item in items]


def _text(fields: dict[str, str], field: str) -> str:
    return f"nullif(trim(r.{identifier(fields[field])}), '')" if field in fields else "NULL::VARCHAR"


def _time(fields: dict[str, str], field: str) -> str:
    return f"moment(r.{identifier(fields[field])})" if field in fields else "NULL::TIMESTAMP"


def _wall(fields: dict[str, str], field: str) -> str:
    """Write the SQL for what a clock showed: births have no time zone; a birthday begins at the patient's place."""
    return f"wall_time(r.{identifier(fields[field])})"


def _stored(fields: dict[str, str]) -> str:
    """Write the SQL for when a row was known: when it was stored, else at the end of the date that is its time."""
    stored = f"known(r.{identifier(fields['stored'])})" if "stored" in fields else "NULL::TIMESTAMP"
    return f"coalesce({stored}, end_of_date(r.{identifier(fields['time'])}))" if "time" in fields else stored


def _age(fields: dict[str, str]) -> str:
    """Write the SQL for an age in years, null where it is none: a date of birth may tell it."""
    age = f"years_old({_text(fields, 'age')})"
    return f"CASE WHEN {age} >= 0 AND isfinite({age}) THEN {age} END"


def _sex(fields: dict[str, str], words: dict) -> str:
    """Write the SQL for `M` and `F`, from the words that stand for them."""
    if "sex" not in fields:
        return "NULL::VARCHAR"
    spelled = {"M": ["m", "male"], "F": ["f", "female"]}
    for sex in spelled:
        spelled[sex] += [str(word).lower() for word in words.get(sex, [])]
    cases = " ".join(f"WHEN lower({_text(fields, 'sex')}) IN ({_list(w)}) THEN '{s}'" for s, w in spelled.items())
    return f"CASE {cases} END"


def _list(words: list[str]) -> str:
    return ", ".join(map(quoted, words))


def _stay_of(fields: dict[str, str], where: str) -> str:
    """Write the condition that joins a row to its stay, or to all stays of its admission."""
    if not {"stay", "admission"} & set(fields):
        raise ClinRaGenInputError(f"{where}: stay or admission is missing")
    of_stay = f"s.stay_id = {_text(fields, 'stay')}"
    of_admission = f"s.admission = {_text(fields, 'admission')}"
    if "stay" in fields and "admission" in fields:
        return f"CASE WHEN {_text(fields, 'stay')} IS NULL THEN {of_admission} ELSE {of_stay} END"
    return of_stay if "stay" in fields else of_admission


def _of_no_stay(fields: dict[str, str]) -> str:
    """Write the condition that a row names no listed stay, or no admission of one."""
    stay, admission = _text(fields, "stay"), _text(fields, "admission")
    return (
        f"CASE WHEN {stay} IS NOT NULL THEN {stay} NOT IN (SELECT stay_id FROM listed) "
        f"ELSE coalesce({admission} NOT IN (SELECT admission FROM listed WHERE admission IS NOT NULL), true) END"
    )


def _diagnoses_query(fields: dict[str, str], i: int, section: dict, path: str) -> str:
    where = f"{path}: diagnoses"
    if ("version" in fields) == ("icd" in section):
        raise ClinRaGenInputError(f"{where}: give either version (a column) or icd (9 or 10)")
    if section.get("icd", 9) not in (9, 10):
        raise ClinRaGenInputError(f"{where}: icd is {section['icd']!r}; it must be 9 or 10")
    version = str(section["icd"]) if "icd" in section else f"icd_version({_text(fields, 'version')})"
    separator, code = parse_separator(section, where), _text(fields, "code")
    return (
        f"SELECT s.stay_id, {codes_in(code, separator) if separator else code} AS code, {version} AS version "
        f"FROM stays s JOIN raw_diagnoses_{i} r ON {_stay_of(fields, where)}"
    )


def _events_query(fields: dict[str, str], i: int, section: dict, path: str) -> str:
    if not {"stay", "patient"} & set(fields):
        raise ClinRaGenInputError(f"{path}: measurements: stay or patient is missing")
    itemid = _text(fields, "code")
    if "unit" in fields:
        itemid += f" || ' ' || coalesce({_text(fields, 'unit')}, '')"
    text = _text(fields, "value")
    number = f"CASE WHEN number({text}) IS NOT NULL THEN {text} END"
    return (
        f"SELECT {_text(fields, 'stay')} AS stay_id, {_text(fields, 'patient')} AS subject_id, "
        f"{_time(fields, 'time')} AS time, 'events' AS \"table\", {itemid} AS itemid, {number} AS number, "
        f"{text} AS text, {_stored(fields)} AS stored FROM raw_measurements_{i} r"
    )


def _notes_query(fields: dict[str, str], i: int, section: dict, path: str) -> str:
    kind = f"coalesce({_text(fields, 'kind')}, {quoted(section.get('title', 'Note'))})"
    order = f"{_stored(fields)}, {_text(fields, 'text')}"
    return (
        f"SELECT s.stay_id, {kind} AS kind, "
        f"{i} * 1000000 + row_number() OVER (PARTITION BY s.stay_id ORDER BY {order}) AS rank, "
        f"{_text(fields, 'text')} AS text, {_stored(fields)} AS stored "
        f"FROM stays s JOIN raw_notes_{i} r ON {_stay_of(fields, f'{path}: notes')}"
    )


QUERIES = {"diagnoses": _diagnoses_query, "measurements": _events_query, "notes": _notes_query}


def _union(queries) -> str:
    return " UNION ALL ".join(f"({query})" for query in queries)


def _with_units(items: list[dict], units: Units, source: dict, root: Path, path: str) -> list[dict]:
    """
    Return the items with the name of a conversion as their unit: one for each unit that their code has in the tables
    with a column of units, and one as it is for those without.
    """
    tables = {name: spec for name, spec in source["tables"].items() if name.startswith("raw_measurements")}
    spelled = {
        name: _units_of_codes(source, name, find_table(root.resolve(), name, spec))
        for name, spec in tables.items()
        if "unit" in spec
    }
    plain = units.convert(items, f"{path}: channels") if len(spelled) < len(tables) else []
    found: dict[tuple[str, str], dict] = {}
    for i, item in enumerate(items):
        for converted in plain[i : i + 1]:
            found[item["itemid"], item["channel"]] = {**converted, "code": item["itemid"]}
        for unit, where in (cell for cells in spelled.values() for cell in cells.get(item["itemid"], ())):
            conversion = units.conversion(item["channel"], unit or item["unit"], where)
            itemid = f"{item['itemid']} {unit}"
            found[itemid, item["channel"]] = {**item, "itemid": itemid, "unit": conversion, "code": item["itemid"]}
    return list(found.values())


def _units_of_codes(source: dict, table: str, file: Path) -> dict[str, list[tuple[str, str]]]:
    """Return code -> units that its rows name, each with the place of the first."""
    spec = source["tables"][table]
    code, unit = spec["unit"]
    numbered = f"SELECT *, row_number() OVER () + 1 AS row FROM ({select_columns(file, [code, unit], spec, [code])})"
    cells = f"trim({identifier(code)}) AS code, coalesce(trim({identifier(unit)}), '') AS unit"
    query = f"SELECT {cells}, min(row) AS row FROM ({numbered}) GROUP BY 1, 2 ORDER BY row"
    try:
        rows = duckdb.execute(query).fetchall()
    except READ_ERRORS as error:
        raise explain(error, source, {table: file}) from None
    found: dict[str, list[tuple[str, str]]] = {}
    for name, spelled, row in rows:
        found.setdefault(name, []).append((spelled, f"{file.name}, row {row}, column {unit}"))
    return found
