# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The Medical Event Data Standard: a reader for MEDS folders by a mapping of their codes, and an exporter.

Source: Medical-Event-Data-Standard, version 0.4 (`subject_id`, `time`, `code`, `numeric_value`, `text_value`; further
columns are allowed).
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import yaml

from datasets_scripts.sources.items import Units, parse_items
from modeling_clinragen import __version__
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


HERE = Path(__file__).parent
COLUMNS = ("stay_id", "hadm_id", "subject_id", "ethnicity", "available_time")
GROUPS = {  # role of a code -> groups that its regular expression has
    "stay_begin": (0, 1), "stay_end": 0, "birth": 0, "age": 0, "sex": 1, "ethnicity": (0, 1), "diagnosis": 2,
    "note": 1, "document": 1, "measurement": 1, "specimen": 0,
}  # fmt: skip
NEEDED = ("stay_begin", "stay_end", "diagnosis", "measurement")
DESCRIPTION = ("title", "version", "licence", "url", "credentialed", "cite")


def load_mapping(name_or_path: str) -> dict:
    """
    Load a mapping of codes: a ready one by its name, or a YAML file with `columns`, `codes`, `items`, a description.

    Raises:
        ClinRaGenInputError: naming the field that is missing, unknown or of the wrong kind.
    """
    ready = HERE / "meds" / f"{name_or_path}.yaml"
    path = ready if ready.is_file() else Path(name_or_path)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in (HERE / "meds").glob("*.yaml")))
        raise ClinRaGenInputError(f"--mapping {name_or_path} is neither a file nor one of {names}")
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError:
        raise ClinRaGenInputError(f"{path}: not a YAML file") from None
    for name, allowed in (("columns", COLUMNS), ("codes", tuple(GROUPS))):
        part = mapping.get(name) if isinstance(mapping, dict) else None
        if not isinstance(part, dict) or set(part) - set(allowed):
            raise ClinRaGenInputError(f"{path}: {name} must be a table of {', '.join(allowed)}")
    items = mapping.get("items")
    if isinstance(items, str) and items != "channels" and not (HERE / items).is_file():
        raise ClinRaGenInputError(f"{path}: items: {items} is no table of this project; list channels and their codes")
    missing = [f"codes: {role}" for role in NEEDED if role not in mapping["codes"]]
    missing += [name for name in ("items", *DESCRIPTION) if name not in mapping]
    missing += [] if "stay_id" in mapping["columns"] else ["columns: stay_id"]
    if missing:
        raise ClinRaGenInputError(f"{path}: {missing[0]} is missing")
    for role, pattern in mapping["codes"].items():
        try:
            groups = re.compile(pattern).groups
        except (re.error, TypeError) as error:
            raise ClinRaGenInputError(f"{path}: codes: {role}: no regular expression: {error}") from None
        wanted = GROUPS[role] if isinstance(GROUPS[role], tuple) else (GROUPS[role],)
        if groups not in wanted:
            raise ClinRaGenInputError(f"{path}: codes: {role}: {groups} groups instead of {wanted[-1]}")
    return mapping


def meds_source(mapping: dict, channels: list[dict]) -> dict:
    """
    Describe a MEDS folder for the reader, as `mimic-iv.yaml` is for its tables.

    Raises:
        ClinRaGenInputError: for items that name no channel, or a unit that is unknown.
    """
    units, items = Units(channels), mapping["items"]
    if not isinstance(items, str):
        items = units.convert(parse_items(items, channels, "--mapping: items"), "--mapping: items")
    source = _described()
    del source["export"]
    table, columns = source["tables"]["events"], mapping["columns"]
    table["columns"] += [name for name in columns.values() if name not in table["columns"]]
    table["optional_columns"] += [name for role, name in columns.items() if role != "stay_id"]
    picked = {name: columns.get(name, "NULL") for name in COLUMNS}
    picked["subject_id"] = f"coalesce({picked['subject_id']}, subject_id)"
    picked["available_time"] = (
        f"moment({picked['available_time']})" if "available_time" in columns else "NULL::TIMESTAMP"
    )
    texts = [name for name in COLUMNS if name != "available_time"]
    view = ", ".join(
        [
            *(f"CAST({picked[name]} AS VARCHAR) AS {name}" for name in texts),
            f"{picked['available_time']} AS available_time",
        ]
    )
    prepare = [
        f"CREATE VIEW event AS SELECT {view}, moment(time) AS time, code, numeric_value, text_value FROM events",
        "CREATE TABLE codes_found AS SELECT DISTINCT code FROM events",
        "CREATE TABLE roles (code VARCHAR, role VARCHAR, value VARCHAR, version VARCHAR)",
    ]
    for role, pattern in mapping["codes"].items():
        quoted = pattern.replace("'", "''")
        groups = [f"regexp_extract(code, '^(?:{quoted})$', {i})" for i in range(re.compile(pattern).groups, 0, -1)]
        value, version = [*groups, "NULL", "NULL"][:2]
        prepare.append(
            f"INSERT INTO roles SELECT code, '{role}', {value}, {version} FROM codes_found "
            f"WHERE regexp_full_match(code, '{quoted}')"
        )
    prepare.append(
        "CREATE TABLE specimens AS SELECT subject_id, time, "
        "coalesce(min(text_value) FILTER (starts_with(text_value, 'ART')), min(text_value)) AS specimen "
        "FROM event JOIN roles USING (code) WHERE role = 'specimen' GROUP BY ALL"
    )
    description = {name: mapping[name] for name in DESCRIPTION}
    stored = "e.available_time" if "available_time" in columns else "e.time"
    for name in ("notes", "documents"):
        source[name] = source[name].replace("{note_stored}", stored)
    return {**description, **source, "items": items, "units": units.ranges, "prepare": prepare}


def _described() -> dict:
    return yaml.safe_load((HERE / "meds.yaml").read_text(encoding="utf-8"))


def export_meds(cohort, folder: Path, split_of: Callable[[str], str]) -> None:
    """
    Write a cohort as a MEDS folder: what `meds/clinragen.yaml` reads back into the same dataset.

    Args:
        cohort (`Cohort`): as `read_source` gives it.
        folder (`Path`): an empty folder.
        split_of (callable): patient's id -> `"train"`, `"validation"` or `"test"`.
    """
    run = cohort.connection.execute
    patients = [row[0] for row in run("SELECT DISTINCT subject_id FROM stays ORDER BY 1").fetchall()]
    run("CREATE TABLE exported_patients (source_subject_id VARCHAR, subject_id BIGINT, split VARCHAR)")
    columns = [patients, list(map(_subject_number, patients)), [SPLIT_NAMES[split_of(p)] for p in patients]]
    run("INSERT INTO exported_patients SELECT unnest(?), unnest(?), unnest(?)", columns)
    for split in SPLIT_NAMES.values():
        (folder / "data" / split).mkdir(parents=True)
        shard = folder / "data" / split / "0.parquet"
        run(
            f"COPY ({_described()['export']} WHERE p.split = '{split}' "
            "ORDER BY p.subject_id, r.time, r.code, r.stay, r.rank, r.number, r.text) "
            f"TO '{shard}' (FORMAT parquet)"
        )
    (folder / "metadata").mkdir()
    splits = folder / "metadata" / "subject_splits.parquet"
    run(f"COPY (SELECT subject_id, split FROM exported_patients ORDER BY 1) TO '{splits}'")
    run(
        f"COPY (SELECT DISTINCT code, NULL::VARCHAR AS description, NULL::VARCHAR[] AS parent_codes "
        f"FROM read_parquet('{folder}/data/*/*.parquet') ORDER BY 1) TO '{folder}/metadata/codes.parquet'"
    )
    metadata = {
        "dataset_name": cohort.source["title"],
        "dataset_version": str(cohort.source["version"]),
        "etl_name": "clinragen",
        "etl_version": __version__,
        "meds_version": "0.4.1",
        "created_at": datetime.now(timezone.utc).isoformat(),
    }
    (folder / "metadata" / "dataset.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")


def _subject_number(patient: str) -> int:
    """Return a whole number, as MEDS wants it: the id itself where it is one, else 62 bits of its hash."""
    if re.fullmatch(r"[0-9]{1,18}", patient) and str(int(patient)) == patient:
        return int(patient)
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") >> 2


SPLIT_NAMES = {"train": "train", "validation": "tuning", "test": "held_out"}
