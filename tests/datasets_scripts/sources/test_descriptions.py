# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The YAML file of every database: its fields are known and documented, and its queries fit its tables."""

import re
from pathlib import Path

import duckdb
import pytest

from datasets_scripts.build_dataset import SOURCES
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.cohort import STAY, Cohort
from datasets_scripts.sources.items import Units, read_item_table
from datasets_scripts.sources.measurements import EVENT
from datasets_scripts.sources.raw_tables import create_views
from datasets_scripts.sources.reader import load_source, open_tables


DOCS = Path(__file__).resolve().parents[3] / "docs"
FILLED_IN = ("meds", "omop")  # their queries have gaps that the code fills
DATABASES = [name for name in SOURCES if name not in ("synthetic", "tables", *FILLED_IN)]
ABOUT = {"title", "version", "licence", "url", "credentialed", "cite"}
QUERIES = {
    "stays", "diagnoses", "diagnosed", "events", "notes", "documents", "note_sections", "prepare", "prepare_diagnoses",
    "losses", "losses_of_diagnoses",
}  # fmt: skip
FIELDS = {*ABOUT, *QUERIES, "tables", "items", "lookups", "demographics"}
COLUMN_FIELDS = {"columns", "optional_columns", "key", "filled", "numbers", "milliseconds", "times", "births", "ids"}
TABLE_FIELDS = {*COLUMN_FIELDS, "file", "optional", "encoding"}
OF_OTHERS = {"admission", "sex_said", "unended"}  # columns of stays for a hospital's own tables and new patients
NOTE = {"stay_id", "kind", "rank", "text", "stored"}


def columns_of(query):
    return {row[0] for row in duckdb.sql(f"DESCRIBE {query}").fetchall()}


def opened(name):
    """A source whose tables are all absent, and what gives the columns of a query over them."""
    source, connection = load_source(name), duckdb.connect()
    cohort = Cohort(connection, source, load_channels("extended"))
    absent = dict.fromkeys(source["tables"])
    create_views(connection, source, absent)
    open_tables(cohort, absent)
    connection.execute(f"CREATE TABLE stays AS ({STAY}) UNION ALL BY NAME ({source['stays']})")
    return source, lambda query: {row[0] for row in connection.execute(f"DESCRIBE ({query})").fetchall()}


@pytest.mark.parametrize("name", DATABASES)
def test_a_description_has_known_fields_and_names_its_columns(name):
    source = load_source(name)
    assert source.pop("file") == f"{name}.yaml"
    assert set(source) <= FIELDS
    assert {*ABOUT, "tables", "stays", "diagnoses", "items", "events"} <= set(source)
    for table, spec in source["tables"].items():
        assert set(spec) <= TABLE_FIELDS, table
        named = {spec.get("key", spec["columns"][0])}
        for field in COLUMN_FIELDS - {"key"}:
            named.update(spec.get(field, ()))
        assert named == set(spec["columns"]), table


@pytest.mark.parametrize("name", DATABASES)
def test_the_queries_give_the_columns_that_the_reader_takes(name):
    source, described = opened(name)
    stay, event = columns_of(STAY), columns_of(EVENT)
    assert {"subject_id", "stay_id", "intime", "outtime", "age"} <= described(source["stays"]) <= stay
    assert described(source["diagnoses"]) == {"stay_id", "code", "version"}
    for query in source["events"]:
        assert {"time", "table", "itemid"} <= described(query) <= event
    notes = [source[field] for field in ("notes", "documents") if field in source]
    for query in (*notes, *(section["query"] for section in source.get("note_sections", {}).values())):
        assert described(query) == NOTE


@pytest.mark.parametrize("name", DATABASES)
def test_the_items_are_of_known_channels_and_their_tables_are_read(name):
    source = load_source(name)
    items = read_item_table(source["items"], Units(load_channels("extended")))
    read = {table for query in source["events"] for table in re.findall(r"'(\w+)' AS \"table\"", query)}
    assert {item["table"] for item in items} == read


def test_fields_columns_and_sources_are_documented():
    guide, data = ((DOCS / name).read_text(encoding="utf-8") for name in ("new_source.md", "data.md"))
    reads = (columns_of(STAY) - OF_OTHERS) | columns_of(EVENT) | NOTE
    assert [name for name in sorted(FIELDS | TABLE_FIELDS | reads) if f"`{name}`" not in guide.replace('"', "")] == []
    assert [name for name in SOURCES if f"\n| `{name}` |" not in data] == []
