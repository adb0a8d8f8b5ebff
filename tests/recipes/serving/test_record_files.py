# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import os
import re
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS, ClinRaGenFeatureExtractor, ClinRaGenInputError
from recipes.serving import record_files
from recipes.serving.record_files import read_records


EXTRACTOR = ClinRaGenFeatureExtractor(context_length=48)
FILE = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON_LINES = st.one_of(
    st.binary(max_size=30),
    st.dictionaries(st.sampled_from(["id", "stay_id", "note", "labs"]), st.text(max_size=5) | st.integers()).map(
        lambda record: json.dumps(record).encode()
    ),
)


def read(path, data):
    path.write_bytes(data)
    return list(read_records(path, CHANNELS))


@given(st.lists(JSON_LINES, min_size=1, max_size=8))
@FILE
def test_each_line_of_jsonl_is_a_record_or_a_refusal(tmp_path, drawn):
    lines = [line for part in drawn for line in part.split(b"\n")]
    expected = [
        i for i, line in enumerate(lines, start=1) if line.removeprefix(b"\xef\xbb\xbf" if i == 1 else b"").strip()
    ]
    try:
        entries = read(tmp_path / "in.jsonl", b"\n".join(lines))
    except ClinRaGenInputError as error:
        assert "holds no record" in str(error)  # noqa: PT017
        entries = []
    assert [entry.line for entry in entries] == expected
    for entry in entries:
        assert (entry.record is None) == (entry.error is not None)
        assert entry.error is None or entry.error.startswith(f"line {entry.line}: ")


CELLS = st.sampled_from(["", "a", "b", "c", "1", "2.5", "x", '"', '"y"', "\ud800", "é", "1,2"])


@given(st.lists(st.lists(CELLS, min_size=1, max_size=5).map(",".join), max_size=10), st.booleans())
@FILE
def test_any_table_is_read_or_refused_and_what_is_read_has_no_unreadable_row(tmp_path, rows, long):
    header = "id,note,hour," + ("channel,value" if long else "pH,Glucose")
    data = "\r\n".join([header, *rows]).encode("utf-8", "surrogatepass")
    try:
        entries = read(tmp_path / "in.csv", data)
    except ClinRaGenInputError as error:
        assert "holds no record" in str(error)  # noqa: PT017
        entries = []
    names = [entry.id for entry in entries if entry.error is None]
    assert len(set(names)) == len(names)
    for entry in entries:
        assert (entry.record is None) == (entry.error is not None)
        if entry.record:
            EXTRACTOR.validate(entry.record["lab_values"], entry.record["lab_times"])
    for row in rows:  # a well-formed row is in its record or in a refusal
        if '"' not in "".join(rows) and row.count(",") == 4 and row.split(",")[0] in ("a", "b", "c"):
            assert row.split(",")[0] in [entry.id for entry in entries]


def test_a_spreadsheets_file_is_read(tmp_path):
    data = '\ufeffId,Note,Hour,heart rate\r\na,"fever, ""high""\r\nsince Monday",2,90\r\na,,1,80\r\nb,cough,,\r\n'
    first, second = read(tmp_path / "in.csv", data.encode())
    assert (first.id, first.line, first.record["note"]) == ("a", 2, 'fever, "high"\r\nsince Monday')
    assert first.record["lab_times"].tolist() == [1, 2]
    assert first.record["lab_values"][:, 3].tolist() == [80, 90]
    assert (second.id, second.line, len(second.record["lab_times"])) == ("b", 5, 0)


def test_a_table_of_notes_alone_is_read(tmp_path):
    (entry,) = read(tmp_path / "in.csv", b"stay_id,note\n1,fever\n")
    assert (entry.id, entry.record) == ("1", {"note": "fever"})


def test_a_line_that_is_too_long_is_refused_and_those_after_it_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "MAX_LINE", 100)
    for length in (99, 100, 101, 200, 1000):
        long = json.dumps({"note": "x" * (length - 12)}).encode()
        assert len(long) == length
        entries = read(tmp_path / "in.jsonl", long + b'\n{"id": 2}\n' + long)
        assert [entry.error is None for entry in entries] == [length <= 100, True, length <= 100]
        assert all("longer than 100 bytes" in entry.error for entry in entries if entry.error)


def test_a_quotation_mark_that_is_never_closed_is_refused_where_it_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "MAX_LINE", 1000)  # of a cell
    rows = ["id,note", "a,fever", 'b,"cough', *(f"c{i},pain" for i in range(300))]
    entries = read(tmp_path / "in.csv", "\n".join(rows).encode())
    assert [(entry.id, entry.error is None) for entry in entries[:1]] == [("a", False)]
    assert entries[0].error.startswith("line 3: no row of this table")
    # after an overlong cell the table continues, with a refusal first
    assert entries[1].error.startswith("line 3: ")
    assert [entry.error for entry in entries[2:]] == [None] * (len(entries) - 2)
    assert len(entries) > 100


def test_a_long_file_is_never_whole_in_memory(tmp_path):
    """A file without end: reading it is only possible record by record."""
    for suffix, head, line in ((".jsonl", b"", b'{"note": "fever"}\n'), (".csv", b"id,note\n", None)):
        reader, writer = os.pipe()
        numbers = itertools.count()

        def endless(writer=writer, head=head, line=line, numbers=numbers):
            with open(writer, "wb", buffering=0) as pipe:
                try:
                    pipe.write(head)
                    while True:
                        pipe.write(line or b"%d,fever\n" % next(numbers))
                except BrokenPipeError:
                    pass

        thread = threading.Thread(target=endless)
        thread.start()
        read_file = (
            record_files._read_jsonl if suffix == ".jsonl" else lambda path: record_files._read_csv(path, CHANNELS)
        )
        entries = read_file(reader)
        assert all(entry.error is None for entry in itertools.islice(entries, 2000))
        entries.close()
        thread.join()


@pytest.mark.parametrize(
    "text",
    [
        "id,note,hour,Glucose,Heart Rate\n,,unit,mmol/L,\na,fever,1,10,80\nb,,2,5,\n",
        "id,hour,channel,value,unit\na,1,Glucose,10,mmol/L\na,1,Heart Rate,80,\nb,2,glucose,90.08,mg/dL\n",
    ],
)
def test_a_table_of_records_takes_units(tmp_path, text):
    first, second = read(tmp_path / "in.csv", text.encode())
    assert (first.id, second.id) == ("a", "b")
    names = [channel["name"] for channel in CHANNELS]
    glucose, pulse = names.index("Glucose"), names.index("Heart Rate")
    assert first.record["lab_values"][0, [glucose, pulse]].tolist() == [180.16, 80]
    assert second.record["lab_values"][0, glucose] == 90.08


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,hour,Glucose\n,unit,stone\na,1,10\n", "in.csv, line 2, column 'Glucose': unit 'stone' is unknown for"),
        (
            "id,hour,Glucose\na,unit,mmol/L\na,1,10\n",
            "in.csv, line 2: a row of units with an id or a note; leave",
        ),
        ("id,hour,Glucose\n,unit,mmol/L\n", "in.csv: holds no record"),
        (
            "id,hour,Glucose\nunit,,mmol/L\na,1,10\n",
            "in.csv, line 2, column 'hour': empty; give the hour of the row, or",
        ),
        ("id,note,hour,pH,Glucose\n,,,,MMOL/L\na,,1,7,10\n", "in.csv, line 2, column 'hour': empty"),
    ],
)
def test_a_wrong_row_of_units_refuses_the_table(tmp_path, text, words):
    with pytest.raises(ClinRaGenInputError, match=re.escape(words)):
        read(tmp_path / "in.csv", text.encode())


@pytest.mark.parametrize("cells", ["a,,10", "a,,hemolytic", "a,,1"])
def test_a_first_row_without_an_hour_or_a_unit_refuses_its_record_alone(tmp_path, cells):
    first, second = read(tmp_path / "in.csv", f"id,hour,Glucose\n{cells}\nb,1,100\n".encode())
    assert first.error.startswith("line 2, column 'hour': empty")
    assert second.record["lab_times"].tolist() == [1]


def test_a_time_since_1970_is_no_hour(tmp_path):
    first, second = read(tmp_path / "in.csv", b"id,hour,Glucose\na,1764547200,100\nb,1,100\n")
    assert first.error == (
        "line 2, column 'hour': over a hundred years; give hours since ICU admission, not seconds or "
        "milliseconds since 1970"
    )
    assert second.error is None
