# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Misspelt fields, columns and channels: each is named with the one that was meant."""

import json
from functools import cache

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS, ClinRaGenFeatureExtractor, ClinRaGenInputError, ClinRaGenPipeline
from modeling_clinragen.fields_clinragen import RECORD_FIELDS, check_fields, edits, nearest
from modeling_clinragen.handler import EndpointHandler, RequestError
from recipes.serving.record_files import read_records


DATASET_COLUMNS = (
    "subject_id", "hadm_id", "stay_id", "source", "age", "sex", "ethnicity", "note", "lab_times", "lab_values",
    "lab_caption", "diagnoses", "note_rationale", "lab_rationale", "teacher",
)  # fmt: skip


def edits_by_definition(a, b):
    """The optimal string alignment distance, by its recursion."""

    @cache
    def d(i, j):
        if not i or not j:
            return i + j
        ways = [d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (a[i - 1] != b[j - 1])]
        if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
            ways.append(d(i - 2, j - 2) + 1)
        return min(ways)

    return d(len(a), len(b))


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_edits_are_those_of_the_definition(a, b):
    assert edits(a, b) == edits_by_definition(a, b)


MISSPELT = {
    "lab_value": "lab_values",
    "lab_vaules": "lab_values",
    "labValues": "lab_values",
    "labs_value": "lab_values",
    "lab_time": "lab_times",
    "Lab Times": "lab_times",
    "lab": "labs",
    "Labs": "labs",
    "notes": "note",
    "Note": "note",
    "noet": "note",
    "nots": "note",
}


@pytest.mark.parametrize("name", MISSPELT)
def test_a_misspelt_field_is_named_with_the_one_that_was_meant(tiny_model, tiny_processor, tmp_path, name):
    record = {"note": "a secret", name: "a secret"}
    if MISSPELT[name] == "note":
        record = {name: "a secret", "labs": {"pH": [[1, 7.4]]}}
    pipe = ClinRaGenPipeline(tiny_model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)
    message = f"there is no field '{name}'; did you mean '{MISSPELT[name]}'"
    with pytest.raises(ClinRaGenInputError, match=message):
        pipe(record)
    with pytest.raises(RequestError, match=rf"inputs\[1\]: {message}") as caught:
        EndpointHandler(pipe=pipe)({"inputs": [{"note": "fever"}, record]})
    assert "secret" not in str(caught.value)


@given(st.sampled_from(RECORD_FIELDS), st.data())
def test_one_wrong_letter_in_any_field_is_detected(field, data):
    position = data.draw(st.integers(0, len(field) - 1))
    letter = data.draw(st.sampled_from(["", "x", "X", field[position] * 2]))
    wrong = field[:position] + letter + field[position + 1 :]
    assume(wrong not in RECORD_FIELDS)
    with pytest.raises(ClinRaGenInputError, match="did you mean"):
        check_fields({"note": "fever", wrong: {} if field == "units" else 1})


@pytest.mark.parametrize(
    "name",
    [*DATASET_COLUMNS, "id", "label", "labels", "lab_name", "lab_units", "note_id", "note_type", "unit", "date"],
)
def test_columns_of_datasets_and_other_fields_are_ignored(name):
    check_fields({"note": "fever", name: 1})


def test_units_under_another_name_are_not_ignored():
    with pytest.raises(ClinRaGenInputError, match="there is no field 'unit'; did you mean 'units'"):
        check_fields({"labs": {"Glucose": [[1, 5.5]]}, "unit": {"Glucose": "mmol/L"}})


def test_a_record_of_other_fields_alone_is_refused_with_their_names():
    with pytest.raises(ClinRaGenInputError, match=r"it has no known field .'text', 'vitals'.; give any of note"):
        check_fields({"text": "a secret", "vitals": {}})


@pytest.mark.parametrize(
    "record",
    [
        {"lab_values": [[True] * 11], "lab_times": [1]},
        {"lab_values": [[1] * 11], "lab_times": [False]},
        {"labs": {"pH": [[1, True]]}},
    ],
)
def test_a_truth_value_is_no_measurement(tiny_processor, record):
    endpoint = EndpointHandler(pipe=type("Pipe", (), {"processor": tiny_processor}))
    with pytest.raises(RequestError, match="holds true or false"):
        endpoint.read_request({"inputs": record})


def test_times_beside_labs_are_not_ignored(tiny_processor):
    endpoint = EndpointHandler(pipe=type("Pipe", (), {"processor": tiny_processor}))
    with pytest.raises(RequestError, match=r"inputs.labs: give the series either so or as"):
        endpoint.read_request({"inputs": {"labs": {"pH": [[1, 7.4]]}, "lab_times": [1]}})


CHANNEL_NAMES = [channel["name"] for channel in CHANNELS]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Hart Rate", "Heart Rate"),
        ("heartrates", "Heart Rate"),
        ("Glucos", "Glucose"),
        ("Systolic blood presure", "Systolic blood pressure"),
        ("Dyastolic blood pressure", "Diastolic blood pressure"),
        ("ph.", "pH"),
        ("Sodium", None),
        ("", None),
    ],
)
def test_the_nearest_channel(name, meant):
    assert nearest(name, CHANNEL_NAMES) == meant


def test_an_unknown_channel_is_named_with_the_nearest_one():
    extractor = ClinRaGenFeatureExtractor(CHANNELS)
    with pytest.raises(ClinRaGenInputError, match=r"unknown channel 'Hart Rate' .did you mean 'Heart Rate'"):
        extractor.series_from_events({"Hart Rate": [[1, 90]]})
    with pytest.raises(ClinRaGenInputError, match=r"line 1: unknown column 'Hart Rate' .did you mean 'Heart Rate'"):
        extractor.series_from_csv("hour,Hart Rate\n1,90\n")
    with pytest.raises(ClinRaGenInputError, match=r"unknown channel .did you mean 'Heart Rate'"):
        extractor.series_from_csv("hour,channel,value\n1,Hart Rate,90\n")


def test_a_misspelt_column_of_a_file_of_records_is_named(tmp_path):
    path = tmp_path / "records.csv"
    path.write_text("id,notes,hour,pH\n1,fever,1,7.4\n")
    with pytest.raises(ClinRaGenInputError, match=r"unknown column 'notes' .did you mean 'note'"):
        list(read_records(path, CHANNELS))


def test_predict_names_the_line_of_a_misspelt_field(tiny_folder, tmp_path):
    from recipes import predict

    lines = [{"id": 1, "note": "fever"}, {"id": 2, "note": "fever", "lab_value": []}]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = ["--model", str(tiny_folder), "--input", str(tmp_path / "records.jsonl")]
    predict.main([*arguments, "--output", str(tmp_path / "out.jsonl")])
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert answers[0]["id"] == 1
    assert answers[1]["error"].startswith("line 2: record: there is no field 'lab_value'; did you mean 'lab_values'")
