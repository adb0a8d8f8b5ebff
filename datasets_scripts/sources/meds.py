# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The Medical Event Data Standard: a reader for MEDS folders by a mapping of their codes.

Source: Medical-Event-Data-Standard, version 0.4 (`subject_id`, `time`, `code`, `numeric_value`, `text_value`; further
columns are allowed).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import yaml

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.sources.items import Units, parse_items
from datasets_scripts.sources.raw_tables import identifier, quoted
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


HERE = Path(__file__).parent
COLUMNS = ("stay_id", "hadm_id", "subject_id", "ethnicity", "available_time")
GROUPS = {  # role of a code -> groups that its regular expression may have
    "stay_begin": (0, 1), "stay_end": (0,), "birth": (0,), "age": (0,), "sex": (1,), "ethnicity": (0, 1),
    "diagnosis": (0, 2), "note": (1,), "document": (1,), "measurement": (1,), "specimen": (0,),
}  # fmt: skip
NEEDED = ("stay_begin", "stay_end", "diagnosis", "measurement")
WITH_TEXT = ("note", "document")
RULE = {"code": ".*", "parent": None, "kind": None, "also": False}  # what a rule says where it says nothing
SUBJECTS = ("patients", "admissions")
DESCRIPTION = ("title", "version", "licence", "url", "credentialed", "cite")


def load_mapping(name_or_path: str, labelled: bool = True) -> dict:
    """
    Load a mapping of codes: a ready one by its name, or a YAML file with `columns`, `codes`, `items`, a description.

    Args:
        labelled (`bool`, *optional*, defaults to `True`): `False` for a folder that may have neither diagnoses, whose
            rules are left out, nor ends of stays.

    Returns:
        The mapping, each role of its `codes` as a list of rules: `code` and `parent` (regular expressions over the
        code and over one of its parent codes), `kind` (of a note whose text is what the expression reads) and `also`
        (whether the rule counts beside the first that fits).

    Raises:
        ClinRaGenInputError: naming the field that is missing, unknown or of the wrong kind.
    """
    ready = HERE / "meds" / f"{name_or_path}.yaml"
    path = ready if ready.is_file() else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in (HERE / "meds").glob("*.yaml")))
        raise ClinRaGenInputError(f"--mapping {name_or_path} is neither a file nor one of {names}")
    mapping = read_yaml(path)
    _check_fields(mapping, path, [role for role in NEEDED if labelled or role not in ("stay_end", "diagnosis")])
    if not labelled:
        mapping["codes"].pop("diagnosis", None)
    for role, rules in mapping["codes"].items():
        where = f"{path}: codes: {role}"
        mapping["codes"][role] = [_rule(role, rule, where) for rule in (rules if isinstance(rules, list) else [rules])]
    return mapping


def _check_fields(mapping: object, path: Path, needed: list[str]) -> None:
    for name, allowed in (("columns", COLUMNS), ("codes", tuple(GROUPS))):
        part = mapping.get(name) if isinstance(mapping, dict) else None
        if not isinstance(part, dict) or set(part) - set(allowed):
            raise ClinRaGenInputError(f"{path}: {name} must be a table of {', '.join(allowed)}")
    fault = fault_of(mapping["columns"], {str: str}, "columns")
    if fault is not None:
        raise ClinRaGenInputError(f"{path}: {fault}")
    items = mapping.get("items")
    if isinstance(items, str) and items != "channels" and not (HERE / items).is_file():
        raise ClinRaGenInputError(f"{path}: items: {items} is no table of this project; list channels and their codes")
    missing = [f"codes: {role}" for role in needed if not mapping["codes"].get(role)]
    missing += [name for name in ("items", *DESCRIPTION) if name not in mapping]
    missing += [] if "stay_id" in mapping["columns"] else ["columns: stay_id"]
    if missing:
        raise ClinRaGenInputError(f"{path}: {missing[0]} is missing")
    if mapping.get("subjects", SUBJECTS[0]) not in SUBJECTS:
        raise ClinRaGenInputError(f"{path}: subjects must be {' or '.join(SUBJECTS)}")
    if not isinstance(mapping.get("unknown", ""), str):
        raise ClinRaGenInputError(f"{path}: unknown must be one text, in quotes")


def _rule(role: str, rule: object, where: str) -> dict:
    """Return one rule of a role as a table of `RULE`'s fields, a string being its `code`."""
    given = rule if isinstance(rule, dict) else {"code": rule}
    given = {part: text for part, text in given.items() if text is not None}
    fields_known = set(given) <= set(RULE) and isinstance(given.get("also", False), bool)
    if not fields_known or not {"code", "parent"} & set(given) or ("kind" in given and role not in WITH_TEXT):
        raise ClinRaGenInputError(
            f"{where}: a rule is a regular expression, or a table of code, parent, also (true or false) and, for a "
            "note, its kind"
        )
    rule = RULE | given
    groups = _count_groups(rule["code"], where)
    if rule["parent"] is not None:
        if groups:
            raise ClinRaGenInputError(f"{where}: code has {groups} groups instead of 0, as its parent is read")
        groups = _count_groups(rule["parent"], where)
    if groups not in GROUPS[role]:
        raise ClinRaGenInputError(f"{where}: {groups} groups instead of {GROUPS[role][-1]}")
    return rule


def _count_groups(pattern: object, where: str) -> int:
    try:
        groups = re.compile(pattern).groups
        duckdb.execute("SELECT regexp_full_match('', ?)", [pattern]).fetchall()  # which knows fewer forms than Python
    except (re.error, TypeError, duckdb.Error) as error:
        raise ClinRaGenInputError(f"{where}: no regular expression: {str(error).splitlines()[0]}") from None
    return groups


def meds_source(mapping: dict, channels: list[dict]) -> dict:
    """
    Describe a MEDS folder for the reader, as `mimic-iv.yaml` is for its tables.

    Raises:
        ClinRaGenInputError: for items that name no channel, or a unit that is unknown.
    """
    units, items = Units(channels), mapping["items"]
    if not isinstance(items, str):
        items = units.convert(parse_items(items, channels, "--mapping: items"), "--mapping: items")
    source = described()
    del source["export"]
    table, columns = source["tables"]["events"], mapping["columns"]
    table["columns"] += [name for name in columns.values() if name not in table["columns"]]
    table["ids"] = ["subject_id", *(columns[role] for role in ("stay_id", "hadm_id", "subject_id") if role in columns)]
    table["optional_columns"] += [name for role, name in columns.items() if role != "stay_id"]
    parents = any(rule["parent"] for rules in mapping["codes"].values() for rule in rules)
    if not parents:
        del source["tables"]["code_metadata"]
    whole = str(mapping.get("subjects") == "admissions")
    prepare = [
        _event_view(columns),
        *_find_roles(mapping["codes"], mapping.get("unknown", ""), parents),
        *(statement.replace("{whole}", whole) for statement in source["prepare"]),
    ]
    description = {name: mapping[name] for name in DESCRIPTION}
    stored = "available_time" if "available_time" in columns else "time"
    for name in ("notes", "documents"):
        source[name] = source[name].replace("{note_stored}", stored)
    source["has_notes"] = "note" in mapping["codes"]
    source["demographics"] = [name for name in ("sex", "ethnicity") if name in mapping["codes"]]
    if not isinstance(items, str):
        source["codes"] = [(item["channel"], item["itemid"]) for item in items if item["channel"] in units.channels]
    return {**description, **source, "items": items, "units": units.ranges, "prepare": prepare}


def _event_view(columns: dict[str, str]) -> str:
    """Write the statement that makes the view `event`: the further columns under the names of `COLUMNS`."""
    picked = {name: identifier(columns[name]) if name in columns else "NULL" for name in COLUMNS}
    picked["subject_id"] = f"coalesce({picked['subject_id']}, subject_id)"
    stored = picked.pop("available_time")
    texts = [f"CAST({column} AS VARCHAR) AS {name}" for name, column in picked.items()]
    return (
        f"CREATE VIEW event AS SELECT {', '.join(texts)}, known({stored}) AS available_time, moment(time) AS time, "
        "code, numeric_value, text_value FROM events"
    )


def _find_roles(codes: dict[str, list[dict]], unknown: str, parents: bool) -> Iterator[str]:
    """Write the statements that make the table `roles` out of the distinct codes, by the first rule that fits."""
    yield "CREATE TABLE codes_found AS SELECT DISTINCT code FROM events"
    if parents:
        yield (
            "CREATE TABLE parents_found AS "
            "SELECT DISTINCT code, unnest(coalesce(TRY_CAST(parent_codes AS VARCHAR[]), [parent_codes])) AS parent "
            "FROM code_metadata JOIN codes_found USING (code) WHERE parent_codes IS NOT NULL"
        )
    yield "CREATE TABLE roles (code VARCHAR, role VARCHAR, value VARCHAR, version VARCHAR, text VARCHAR, also BOOLEAN)"
    for role, rules in codes.items():
        for rule in rules:
            yield _apply_rule(role, rule, unknown)
    # The same diagnosis in two versions: ICD-9 needs no equivalence map.
    yield (
        "DELETE FROM roles USING roles other WHERE roles.role = 'diagnosis' AND other.role = 'diagnosis' "
        "AND roles.code = other.code AND TRY_CAST(roles.version AS INTEGER) > TRY_CAST(other.version AS INTEGER) "
        "AND NOT roles.also AND NOT other.also"
    )


def _apply_rule(role: str, rule: dict, unknown: str) -> str:
    read, found = ("code", "codes_found") if rule["parent"] is None else ("parent", "parents_found")
    pattern = quoted(f"^(?:{rule[read]})$")
    groups = [f"regexp_extract({read}, {pattern}, {i})" for i in range(re.compile(rule[read]).groups, 0, -1)]
    known = [f"CASE WHEN {group} NOT IN ('', {quoted(unknown)}) THEN {group} END" for group in groups]
    value, version = [*known, "NULL", "NULL"][:2]
    text = "NULL"
    if rule["kind"] is not None:
        value, text = quoted(rule["kind"]), value
    conditions = [f"regexp_full_match({part}, {quoted(rule[part])})" for part in dict.fromkeys(("code", read))]
    if not rule["also"]:
        conditions.append(f"code NOT IN (SELECT code FROM roles WHERE role = '{role}' AND NOT also)")
    return (
        f"INSERT INTO roles SELECT DISTINCT code, '{role}', {value}, {version}, {text}, {rule['also']} FROM {found} "
        f"WHERE {' AND '.join(conditions)}"
    )


def described() -> dict:
    """Return `meds.yaml`."""
    return yaml.safe_load((HERE / "meds.yaml").read_text(encoding="utf-8"))
