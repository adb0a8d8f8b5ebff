# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The item table of a database: its units are those of a hospital's own tables, and a mistake in it is named."""

import pytest

from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.cohort import CohortOptions
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.sources.reader import load_source, read_source
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import PATIENTS, base_tables, chart, write_tables


def read(folder, row, value):
    """Read a value of each patient by an item table of one row, and return what is kept of it."""
    items = folder / "items.csv"
    items.write_text(f"table,itemid,channel,unit,label\nchartevents,901,{row},x\n", encoding="utf-8")
    tables = base_tables()
    tables["CHARTEVENTS"] = [chart(patient, 901, 1, value) for patient in PATIENTS]
    root = write_tables(folder / "raw", tables)
    source, labels = {**load_source("mimic-iii"), "items": str(items)}, load_labels("phenotypes")
    cohort = read_source(source, root, folder / "work", load_channels("extended"), labels, CohortOptions())
    kept = cohort.connection.execute("SELECT DISTINCT value FROM kept").fetchall()
    cohort.connection.close()
    return [value for (value,) in kept]


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [
        ("Glucose,mmol/L", 10, 180.16),
        ("Glucose,mg/dL", 100, 100),
        ("Creatinine,µmol/l", 100, 1.1312),
        ("Carbon dioxide pressure,kPa", 5, 37.503),
        ("Weight,lb", 220, 99.79),
        ("Temperature,°C or °F", 98.6, 37),
        ("Glucose,", 100, 100),
    ],
)
def test_an_item_is_converted_from_any_unit_that_its_channel_may_be_given_in(tmp_path, row, value, expected):
    assert read(tmp_path, row, value) == [pytest.approx(expected, rel=1e-4)]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("Glucose,mmol", "items.csv, row 2: Glucose: unit 'mmol' is unknown for Glucose; give mg/dL"),
        ("Hart Rate,/min", "items.csv, row 2: there is no channel 'Hart Rate'; did you mean Heart Rate"),
        ("C-reactive protein,mg/L", "there is no channel 'C-reactive protein'; give its file as --channels"),
    ],
)
def test_a_mistake_in_an_item_table_is_named(tmp_path, row, fault):
    with pytest.raises(ClinRaGenInputError, match=fault):
        read(tmp_path, row, 80)
