# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Records in other units: the model inputs are those of the same records in its own units."""

import csv
import io
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_scripts.sources.channels import load_channels
from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenFeatureExtractor,
    ClinRaGenInputError,
    ClinRaGenPipeline,
    ClinRaGenProcessor,
)
from modeling_clinragen.conversions_clinragen import SPELLED, UNITS, Scale, known_scale, unit_name, units_of
from modeling_clinragen.handler import EndpointHandler, RequestError
from tests.conftest import make_tiny_config, make_tiny_model
from tests.datasets_scripts.sources import small_hospital


EXTENDED = load_channels("extended")
NAMES = [channel["name"] for channel in EXTENDED]
OF = {channel["name"]: channel for channel in EXTENDED}
EXAMPLES = 1000


@pytest.fixture(scope="session")
def pipe(tiny_tokenizer):
    """A pipeline of all channels, the extended ones among them."""
    tiny = make_tiny_config(tiny_tokenizer).to_dict()
    series = {**tiny["time_series_config"], "num_input_channels": len(EXTENDED)}
    config = ClinRaGenConfig(**{**tiny, "channels": EXTENDED, "time_series_config": series})
    extractor = ClinRaGenFeatureExtractor(EXTENDED, context_length=config.context_length)
    processor = ClinRaGenProcessor(extractor, tiny_tokenizer, labels=config.labels, max_note_tokens=40)
    return ClinRaGenPipeline(make_tiny_model(config), processor=processor, tokenizer=tiny_tokenizer, device="cpu")


@pytest.mark.parametrize(
    ("channel", "unit", "factor"),
    [
        ("White blood cells", "/nl", 1),
        ("White blood cells", "Gpt/l", 1),
        ("White blood cells", "G/l", 1),
        ("Platelets", "G/L", 1),
        ("Platelets", "Tsd/µl", 1),
        ("Red blood cells", "/pl", 1),
        ("Red blood cells", "T/l", 1),
        ("Red blood cells", "Mio/µl", 1),
        ("Potassium", "mval/l", 1),
        ("Total calcium", "mval/l", 2.0039),
        ("Partial thromboplastin time", "Sek.", 1),
    ],
)
def test_units_of_german_laboratories_are_known(channel, unit, factor):
    assert known_scale(OF[channel], unit) == Scale(factor)


@st.composite
def records(draw):
    """A record in the channels' own units, of values with two more digits than they are written with; and units."""
    labs, units = {}, {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True)):
        channel, digits = OF[name], OF[name]["decimals"] + 2
        low, high = (round(channel[side] * 10**digits) for side in ("minimum", "maximum"))
        hours = draw(st.lists(st.integers(0, 23), min_size=1, max_size=4, unique=True))
        labs[name] = [[hour, draw(st.integers(low, high)) / 10**digits] for hour in sorted(hours)]
        unit = draw(st.sampled_from([*units_of(channel)]))
        units[name] = draw(st.sampled_from([word for word in SPELLED if SPELLED[word] == unit_name(unit)]))
    return labs, units


def written(labs, units):
    """The series with its values in these units."""
    scales = {name: known_scale(OF[name], unit) for name, unit in units.items()}
    return {
        name: [[hour, (value - scales[name].offset) / scales[name].factor] for hour, value in pairs]
        for name, pairs in labs.items()
    }


def tables(labs, units):
    """The series as CSV in the wide and in the long layout, with its units."""
    hours = sorted({hour for pairs in labs.values() for hour, _ in pairs})
    cell = {(name, hour): repr(float(value)) for name, pairs in labs.items() for hour, value in pairs}
    wide = [["hour", *labs], ["unit", *(units[name] for name in labs)]]
    wide += [[hour, *(cell.get((name, hour), "") for name in labs)] for hour in hours]
    long = [["hour", "channel", "value", "unit"]]
    long += [[hour, name, value, units[name]] for (name, hour), value in cell.items()]
    for rows in (wide, long):
        file = io.StringIO()
        csv.writer(file).writerows(rows)
        yield file.getvalue()


@given(records())
@settings(max_examples=EXAMPLES)
def test_units_do_not_change_the_model_inputs(pipe, record):
    """Exactly: a converted value of up to twelve digits is the intended number."""
    own, units = record
    labs = written(own, units)
    expected = pipe.preprocess({"labs": own})
    converted = pipe.preprocess({"labs": labs, "units": units})
    assert expected["past_observed_mask"].sum() == sum(map(len, own.values()))
    for name in ("past_values", "past_observed_mask"):
        assert torch.equal(converted[name], expected[name])
    extractor = pipe.processor.feature_extractor
    for text in tables(labs, units):
        for read, wanted in zip(extractor.series_from_csv(text), extractor.series_from_events(own), strict=True):
            np.testing.assert_array_equal(read, wanted)


@pytest.mark.parametrize(
    ("name", "number", "unit", "expected"),  # by hand, from molar masses and definitions
    [
        ("Glucose", 5.5, "mmol/L", 99.088), ("Creatinine", 88.4, "µmol/L", 1.0), ("Creatinine", 0.1, "mmol/l", 1.131),
        ("Creatinine", 12, "mg/l", 1.2), ("Blood urea nitrogen", 10, "mmol/L", 28.01), ("Lactate", 36, "mg/dL", 3.996),
        ("Total bilirubin", 34, "umol/L", 1.988), ("Total calcium", 2.5, "mmol/L", 10.02),
        ("Total calcium", 5, "mEq/L", 10.02), ("Ionized calcium", 4.4, "mg/dL", 1.098),
        ("Ionized calcium", 2.2, "mEq/L", 1.1), ("Magnesium", 0.8, "mmol/L", 1.944),
        ("Magnesium", 1.6, "mEq/L", 1.944), ("Troponin T", 14, "ng/L", 0.014),
        ("Phosphate", 1, "mmol/L", 3.097), ("Hemoglobin", 8, "mmol/L", 12.89), ("Hemoglobin", 130, "g/L", 13),
        ("Mean corpuscular hemoglobin", 1.9, "fmol", 30.62), ("Fibrinogen", 3, "g/L", 300),
        ("Mean corpuscular hemoglobin concentration", 20, "mmol/L", 32.23), ("Albumin", 38, "g/L", 3.8),
        ("Total protein", 70, "g/L", 7), ("Sodium", 140, "mEq/L", 140), ("Bicarbonate", 24, "meq/l", 24),
        ("Hematocrit", 0.41, "L/L", 41), ("Neutrophils", 0.6, "fraction", 60), ("Platelets", 250000, "/µL", 250),
        ("White blood cells", 12.5, "K/uL", 12.5), ("Red blood cells", 4.5e6, "/uL", 4.5),
        ("Troponin I", 40, "pg/mL", 0.04), ("Creatine kinase MB", 5, "µg/L", 5), ("Lipase", 1, "µkat/L", 60),
        ("Carbon dioxide pressure", 6, "kPa", 45.0), ("Oxygen pressure", 12, "kPa", 90.01),
        ("Mean blood pressure", 10, "kPa", 75.01), ("Temperature", 113, "°F", 45), ("Temperature", 98.6, "deg. F", 37),
        ("Weight", 176, "lb", 79.83), ("Weight", 3200, "g", 3.2), ("Fraction inspired oxygen", 40, "%", 0.4),
        ("Fraction inspired oxygen", 0.4, "1", 0.4), ("Oxygen saturation", 0.97, "fraction", 97),
        ("Heart Rate", 88, "bpm", 88), ("Respiratory rate", 18, "breaths/min", 18), ("pH", 7.4, "units", 7.4),
        ("International normalized ratio", 1.2, "INR", 1.2), ("Partial thromboplastin time", 30, "sec", 30),
        ("Mean corpuscular volume", 90, "µm3", 90),
    ],
)  # fmt: skip
def test_the_factors(name, number, unit, expected):
    assert float(known_scale(OF[name], unit).of(number)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Glucose", "furlong"), ("Glucose", "mEq/L"), ("Glucose", "lb"), ("International normalized ratio", "%"),
        ("Phosphate", "mEq/L"), ("Creatine kinase MB", "U/L"), ("Neutrophils", "10^9/L"), ("pH", "nmol/L"),
        ("Heart Rate", "mmHg"), ("Potassium", "mg/dL"),
    ],
)  # fmt: skip
def test_a_unit_that_the_channel_does_not_have_is_refused(name, unit):
    words = f"^here: unit {re.escape(repr(unit))} is unknown for {name}; give .*, or convert the values$"
    with pytest.raises(ClinRaGenInputError, match=words):
        known_scale(OF[name], unit, "here: ")


def test_giga_per_litre_is_grams_per_litre_of_a_mass():
    assert known_scale(OF["Hemoglobin"], "G/l") == known_scale(OF["Hemoglobin"], "g/L") == Scale(0.1)
    with pytest.raises(ClinRaGenInputError, match="unit 'g/L' is unknown for Red blood cells"):
        known_scale(OF["Red blood cells"], "g/L")
    assert [*units_of(OF["Platelets"])] == ["10^9/L", "/µL"]


def test_each_unit_has_one_spelling_that_stands_for_itself():
    assert all(unit_name(unit) == unit for unit in UNITS)


FAULTS = [
    ({"Glucose": "stone"}, "unit 'stone' is unknown for Glucose; give mg/dL, g/dL, g/L, mmol/L, mg/L, or convert"),
    ({"Glucos": "mmol/L"}, r"unknown channel 'Glucos' \(did you mean 'Glucose'\?\)"),
    ({"Glucose": None}, "unit of type NoneType is unknown for Glucose"),
    ({"Glucose": "mmol/L", "glucose": "mg/dL"}, "two units are given for Glucose"),
    (["mmol/L"], "the units must be a dict of channel names"),
]


@pytest.mark.parametrize(("units", "words"), FAULTS)
def test_faults_of_units_are_named(pipe, units, words):
    record = {"labs": {"Glucose": [[1, 5.5]]}, "units": units}
    with pytest.raises(ClinRaGenInputError, match=words):
        pipe.preprocess(record)
    with pytest.raises(RequestError, match=rf"^inputs\.units: {words}"):
        EndpointHandler(pipe=pipe)({"inputs": record})


def test_the_server_and_arrays_take_units(pipe):
    handler = EndpointHandler(pipe=pipe)
    values = np.full((1, len(NAMES)), np.nan)
    values[0, NAMES.index("Glucose")] = 5.5
    record = {"lab_times": [1], "lab_values": values.tolist(), "units": {"glucose": "mmol/l", "Heart Rate": ""}}
    read = handler.read_record(record, "it")
    assert read["lab_values"][0, NAMES.index("Glucose")] == pytest.approx(99.088)
    assert np.isnan(read["lab_values"]).sum() == len(NAMES) - 1
    assert values[0, NAMES.index("Glucose")] == 5.5  # the record itself stays as it is


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hour,Glucose,pH\nunit,stone,\n1,5,7\n", "line 2, column 'Glucose': unit 'stone' is unknown for Glucose"),
        (
            "hour,Glucose\n1,5\nunit,mmol/L\n",
            "line 3, column 'hour': not a number; give hours since ICU admission, such",
        ),
        (
            "hour,Glucose\n2026-01-01 10:00,5\n",
            "line 2, column 'hour': not a number; give hours since ICU admission, such",
        ),
        ("hour,Glucose\n1,five\n", "line 2, column 'Glucose': not a number; write one such as 36.6, or leave"),
        ("hour,Glucose\n,mmol/L\n", "line 2, column 'hour': empty; .* or write unit there in a first row of units"),
        ("hour,channel,value,unit\n1,Glucose,5,st\n", "line 2, column 'unit': unit 'st' is unknown for Glucose"),
        ("hour,Glucose\nunit,mmol/L\n", "no row follows"),
    ],
)
def test_faults_of_units_in_a_table_are_named(pipe, text, words):
    with pytest.raises(ClinRaGenInputError, match=words):
        pipe.processor.feature_extractor.series_from_csv(text)


def test_a_record_is_converted_as_the_builder_converts(tmp_path):
    """The values of a hospital's table with a column of units, and those of records with the same units."""
    tables_, mapping = small_hospital.hospital(1)
    given = {
        "Glucose": (5.5, "mmol/L"),
        "Temperature": (101.3, "°F"),
        "Weight": (176, "lbs"),
        "pH": (7.4, "units"),
    }
    mapping["measurements"][0]["unit"] = "unit"
    mapping["channels"] = {name: name for name in given}
    tables_["vitals"] = [
        {**small_hospital.vital("s0", 1, name, number), "unit": unit} for name, (number, unit) in given.items()
    ]
    rows, _ = small_hospital.build(tmp_path, tables_, mapping)
    extractor = ClinRaGenFeatureExtractor()
    values, _ = extractor.series_from_events({name: [[1, number]] for name, (number, _) in given.items()})
    converted = extractor.in_own_units(values, {name: unit for name, (_, unit) in given.items()})
    np.testing.assert_array_equal(converted.astype(np.float32), np.array(rows["s0"]["lab_values"], np.float32))
