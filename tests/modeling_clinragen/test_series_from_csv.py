# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import contextlib
import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen import CHANNELS, ClinRaGenFeatureExtractor, ClinRaGenInputError


NAMES = [channel["name"] for channel in CHANNELS]
EXTRACTOR = ClinRaGenFeatureExtractor(context_length=48)


def column(values, name):
    return values[:, NAMES.index(name)].tolist()


def write(rows, terminator="\n"):
    file = io.StringIO()
    csv.writer(file, lineterminator=terminator).writerows(rows)
    return file.getvalue()


def respelled(name, draw):
    return draw(st.sampled_from([name, name.upper(), name.lower().replace(" ", "_"), f" {name} "]))


@st.composite
def tables(draw):
    """A series, and texts of it in both layouts: rows and columns in any order, names spelled in any way."""
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    hours = st.floats(-876_000, 876_000, allow_nan=False)  # a hundred years
    times = sorted(draw(st.sets(hours.map(lambda hour: hour + 0.0), min_size=1, max_size=8)))
    cell = st.one_of(st.just(np.nan), numbers)
    values = np.array([[draw(cell) for _ in NAMES] for _ in times])
    order = draw(st.permutations(range(len(NAMES))))
    wide = [
        [times[row], *("" if np.isnan(values[row, c]) else repr(float(values[row, c])) for c in order)]
        for row in draw(st.permutations(range(len(times))))
    ]
    wide_header = ["Hour", *(respelled(NAMES[c], draw) for c in order)]
    long = [
        [NAMES[c].lower(), "" if np.isnan(values[row, c]) else repr(float(values[row, c])), times[row]]
        for row in range(len(times))
        for c in order
    ]
    terminator = draw(st.sampled_from(["\n", "\r\n"]))
    texts = [
        write([wide_header, *wide], terminator),
        write([["Channel", "VALUE", "hour"], *draw(st.permutations(long))], terminator),
    ]
    return values, np.array(times), draw(st.sampled_from(["", "\ufeff"])), texts


@given(tables())
@settings(max_examples=60)
def test_a_table_in_either_layout_is_read_back(drawn):
    values, times, mark, texts = drawn
    for text in texts:
        for form in (mark + text, (mark + text).encode(), io.StringIO(mark + text, newline="")):
            read_values, read_times = EXTRACTOR.series_from_csv(form)
            np.testing.assert_array_equal(read_times, times)
            np.testing.assert_array_equal(read_values, values)
            EXTRACTOR.validate(read_values, read_times)


@given(st.text(), st.sampled_from(["", "hour,pH\n", "hour,channel,value\n1,pH,"]))
@settings(max_examples=200)
def test_any_text_is_read_or_refused_in_one_line(text, before):
    try:
        EXTRACTOR.validate(*EXTRACTOR.series_from_csv(before + text))
        message = ""
    except ClinRaGenInputError as error:
        message = str(error)
    assert "\n" not in message


@given(st.binary())
@settings(max_examples=100)
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(ClinRaGenInputError):
        EXTRACTOR.series_from_csv(data)


def test_rows_of_one_hour_are_merged_and_the_last_value_is_kept():
    values, times = EXTRACTOR.series_from_csv("hour,pH,Heart Rate\n2,7.3,\n1,,80\n2.0,,90\n2,,95\n")
    assert times.tolist() == [1, 2]
    assert column(values, "Heart Rate") == [80, 95]
    assert column(values, "pH")[1] == 7.3


def test_rows_without_any_cell_are_skipped():
    values, times = EXTRACTOR.series_from_csv("hour,pH\n\n1,7.4\n,\n , \n")
    assert (times.tolist(), column(values, "pH")) == ([1], [7.4])


def test_a_channel_named_like_a_column_of_the_long_layout_is_a_column():
    extractor = ClinRaGenFeatureExtractor([{**CHANNELS[0], "name": "Channel"}, {**CHANNELS[1], "name": "Value"}])
    values, _ = extractor.series_from_csv("hour,channel,value\n1,60,0.3\n")
    assert values.tolist() == [[60, 0.3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table of the series is empty"),
        ("\n\r\n", "the table of the series is empty"),
        ("\ufeff", "the table of the series is empty"),
        ("hour,pH\n", "line 1: no row follows the header"),
        ("hour,pH\n,\n", "line 1: no row follows the header"),
        ("1,7.4\n2,7.3\n", "line 1: no header with a column hour"),
        ("time,pH\n1,7.4\n", "line 1: no header with a column hour"),
        ("hour;pH\n1;7,4\n", "line 1: the columns are separated by semicolons; save the table as CSV with commas"),
        ("hour\tpH\n1\t7.4\n", "line 1: the columns are separated by tabs"),
        ("hour,Sodium\n1,140\n", "line 1: unknown column 'Sodium'; columns are hour and any of .*Heart Rate.*pH"),
        ("hour,channel,result\n1,pH,7\n", "line 1: unknown column 'channel'.*or hour, channel and value"),
        ("hour,pH,\n1,7.4,\n", "line 1: unknown column ''"),
        ("hour,pH,ph\n1,7.4,7.4\n", "line 1: two columns are named 'ph'"),
        ("hour,pH\n1,7.4\n2,N/A\n", "line 3, column 'pH': not a number; .* leave the cell empty"),
        ("hour,pH\n1,nan\n", "line 2, column 'pH': not a number"),
        ("hour,pH\n1,1e999\n", "line 2, column 'pH': not a number"),
        ("hour,pH\n1,1_0\n", "line 2, column 'pH': not a number"),
        ("hour,pH\n\n,7.4\n", "line 3, column 'hour': empty; give the hour"),
        ("hour,pH\nday 1,7.4\n", "line 2, column 'hour': not a number"),
        ("hour,pH\ninf,7.4\n", "line 2, column 'hour': not a number"),
        ("hour,pH\n1\n", "line 2 has 1 cells under 2 columns"),
        ("hour,pH\n1,7,4\n", "line 2 has 3 cells under 2 columns; .* decimals with a point"),
        ("hour,channel,value\n1,Sodium,140\n", "line 2, column 'channel': unknown channel; the model reads: .*pH"),
        ("hour,channel,value\n1,pH,low\n", "line 2, column 'value': not a number"),
        ('hour,pH\n1,"7.4\n', "close every quotation mark"),
        ("PK\x03\x04\0\0", "line 1: this is not text"),
        (b"\xff\xfeh\0o\0u\0r\0", "this is not text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "this is not text in UTF-8"),
    ],
)
def test_a_wrong_table_is_one_sentence_with_its_place(text, message):
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        EXTRACTOR.series_from_csv(text)
    assert "\n" not in str(caught.value)


def test_no_cell_is_quoted_since_it_may_contain_text_of_a_note():
    for text in ("hour,pH\n1,Mrs Jones\n", "hour,channel,value\n1,Mrs Jones,2\n", "Mrs Jones,fever\n"):
        with pytest.raises(ClinRaGenInputError) as caught:
            EXTRACTOR.series_from_csv(text)
        assert "Jones" not in str(caught.value)


def test_a_file_that_is_not_text_is_refused_with_its_line(tmp_path):
    (tmp_path / "series.csv").write_bytes(b"hour,pH\n1,7.4\n2,\xe9\n")
    with (
        open(tmp_path / "series.csv", encoding="utf-8", newline="") as file,
        pytest.raises(ClinRaGenInputError, match="not text in UTF-8"),
    ):
        EXTRACTOR.series_from_csv(file)


def test_values_that_the_model_does_not_read_are_reported_with_the_limits():
    values, times = EXTRACTOR.series_from_csv("hour,Heart Rate,pH\n-1,80,\n3,900,7.4\n50,80,\n")
    assert EXTRACTOR.left_out(values, times) == [
        "Heart Rate 80 /min at -1 h is left out: the model reads hours 0 to 48.",
        "Heart Rate 900 /min at 3 h is left out: plausible is 5 to 350 /min.",
        "Heart Rate 80 /min at 50 h is left out: the model reads hours 0 to 48.",
    ]
    observed = EXTRACTOR([values], [times], return_tensors="np")["past_observed_mask"]
    assert observed.sum() == 1
