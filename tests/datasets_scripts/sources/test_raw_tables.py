# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Raw tables as other programs write them: ids with gaps between them, and columns that no comma separates."""

import csv
import sys
import unicodedata
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_scripts.build_dataset import main
from datasets_scripts.dataset.folder import SPLITS, iterate_rows
from datasets_scripts.sources.raw_tables import whole_number
from datasets_scripts.sources.synthetic import write_synthetic_tables
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources import small_hospital
from tests.datasets_scripts.sources.raw_tables import (
    EQUAL,
    HEADERS,
    base_tables,
    build,
    chart,
    lab,
    rows,
    write_tables,
)


BLANKS = "".join(c for c in map(chr, range(sys.maxunicode)) if unicodedata.category(c) == "Zs")  # what trim takes
IDS = {"SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "ITEMID"}
WRITTEN = {
    "a whole number": str,
    "as pandas writes integers with gaps": lambda n: f"{float(n)}",
    "two decimals": lambda n: f"{n}.00",
    "as R writes round numbers": lambda n: f"{n:.5e}" if n else "0",
}


def charted():
    tables = base_tables()
    tables["CHARTEVENTS"].append(chart(2, 211, 3, 90))
    tables["LABEVENTS"] += [lab(1, 50931, 4, 100), lab(3, 50931, 5, 110)]
    return tables


def with_ids(tables, write):
    """Write the ids of all tables otherwise."""
    headers = {name: header.split() for name, header in HEADERS.items()}
    return {
        name: [[write(int(c)) if h in IDS else c for h, c in zip(headers[name], row, strict=True)] for row in lines]
        for name, lines in tables.items()
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return rows(build(tmp_path_factory.mktemp("plain"), charted()))


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_whole_ids_join_however_they_are_written(tmp_path, plain, write, suffix):
    """In all tables, or in one: those of events in CSV, those of stays in Parquet."""
    one = "CHARTEVENTS" if suffix == ".csv" else "ICUSTAYS"
    written = with_ids(charted(), write)
    assert str(rows(build(tmp_path / "one", charted() | {one: written[one]}, suffix=suffix))) == str(plain)
    assert str(rows(build(tmp_path / "all", written, suffix=suffix))) == str(plain)


def test_ids_of_mimic_iv_with_gaps_join(tmp_path):
    root, other = tmp_path / "raw", tmp_path / "other"
    write_synthetic_tables(root, num_patients=6, seed=0)
    for path in sorted(root.rglob("*.csv.gz")):
        table = duckdb.read_csv(str(path), all_varchar=True)
        ids = [name for name in table.columns if name in ("subject_id", "hadm_id", "stay_id", "itemid")]
        cells = ", ".join(f"{name} || '.0' AS {name}" if name in ids else f'"{name}"' for name in table.columns)
        (other / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        table.project(cells).write_csv(str(other / path.relative_to(root)), compression="gzip")
    for folder in (root, other):
        output = ["--output", str(tmp_path / f"{folder.name}-dataset"), "--splits", EQUAL]
        main(["--source", "mimic-iv", "--root", str(folder), *output])
    found = rows(tmp_path / "other-dataset")
    assert str(found) == str(rows(tmp_path / "raw-dataset"))
    assert any(row["lab_times"] for row in found.values())


def test_ids_of_meds_with_gaps_join(tmp_path, plain):
    meds = tmp_path / "meds"
    build(tmp_path / "a", charted(), "--also-meds", str(meds))
    for shard in (meds / "data").rglob("*.parquet"):
        table = pq.read_table(shard)
        for name in ("stay_id", "hadm_id", "source_subject_id"):
            numbers = pa.array(
                [float(cell) if cell else None for cell in table.column(name).to_pylist()], pa.float64()
            )
            table = table.set_column(table.column_names.index(name), name, numbers)
        pq.write_table(table, shard)
    output = tmp_path / "out"
    main(["--source", "meds", "--root", str(meds), "--output", str(output), "--splits", EQUAL])
    assert str(rows(output)).replace("'meds'", "'mimic-iii'") == str(plain)


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.decimal128(12, 2), pa.int64()])
def test_whole_ids_join_whatever_parquet_calls_them(tmp_path, plain, kind):
    """Some rows have no stay: they are joined by patient and time, also where NaN stands for it."""
    tables = charted()
    tables["CHARTEVENTS"][1][1] = ""
    root = write_tables(tmp_path / "raw", tables, suffix=".parquet")
    events = pq.read_table(root / "CHARTEVENTS.parquet")
    for name in ("SUBJECT_ID", "ICUSTAY_ID", "ITEMID"):
        none = float("nan") if pa.types.is_floating(kind) else None
        number = Decimal if pa.types.is_decimal(kind) else int
        cells = [number(cell) if cell else none for cell in events.column(name).to_pylist()]
        events = events.set_column(events.column_names.index(name), name, pa.array(cells, kind, from_pandas=False))
    pq.write_table(events, root / "CHARTEVENTS.parquet")
    output = tmp_path / "typed"
    main(["--source", "mimic-iii", "--root", str(root), "--output", str(output), "--splits", EQUAL])
    assert str(rows(output)) == str(plain)


def read_ids(texts):
    cells = duckdb.execute(f"SELECT {whole_number('x')} FROM (SELECT unnest(?) AS x)", [texts]).fetchall()
    return [cell for (cell,) in cells]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200.0", "200"), ("-7.000", "-7"), (" 200.0 ", "200"), ("007.0", "007"), ("1e+05", "100000"),
        ("1.25e+05", "125000"), ("007", "007"), ("2.5", "2.5"), ("2.50", "2.50"), ("1.2.0", "1.2.0"), ("A.0", "A.0"),
        ("002-1039", "002-1039"), ("1.23e+01", "1.23e+01"), ("5E1", "5E1"), (" 100", "100"), ("", ""), (None, None),
    ],
)  # fmt: skip
def test_only_whole_numbers_lose_their_fraction(text, expected):
    assert read_ids([text, text]) == [expected] * 2


@given(st.integers(1 - 2**53, 2**53 - 1))
@settings(max_examples=200)
def test_any_whole_number_is_written_as_such(number):
    assert read_ids([f"{number}.0", str(number), str(float(number))]) == [str(number)] * 3


@given(st.text(min_size=1, max_size=8).filter(lambda text: text.strip(" 0123456789.eE+-\t\n\r\f\v") != ""))
@settings(max_examples=200)
def test_any_other_id_is_kept_as_it_is(text):
    assert read_ids([text]) == [text.strip(BLANKS)]


@pytest.mark.parametrize("text", [f"{2**53}.0", "9.007199254740993e+15", "-9.007199254740993e+15", "1e+17", "1e+20"])
def test_a_number_that_may_stand_for_its_neighbour_is_no_id(text):
    with pytest.raises(duckdb.ConversionException, match="is a rounded number; write ids as whole"):
        read_ids([text])


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "VARCHAR"])
@pytest.mark.parametrize(
    ("table", "column"), [("stays", "stay"), ("stays", "patient"), ("vitals", "stay"), ("vitals", "item")]
)
def test_rounded_ids_of_a_hospital_are_named(tmp_path, kind, table, column):
    tables, mapping = small_hospital.hospital(4)
    large = 2**24 if kind == "FLOAT" else 2**53
    for i, row in enumerate(tables[table]):
        row[column] = f"{large + 2000 * i}.0"
    given = mapping["stays"] if table == "stays" else mapping["measurements"][0]
    given["file"] = "other/*.parquet"
    root = tmp_path / "in"
    other = root / "hospital" / "other"
    other.mkdir(parents=True)
    cells = duckdb.from_arrow(pa.Table.from_pylist([{k: str(v) for k, v in row.items()} for row in tables[table]]))
    names = ", ".join(f"TRY_CAST({c} AS {kind}) AS {c}" if c == column else f'"{c}"' for c in cells.columns)
    cells.project(names).write_parquet(str(other / "1.parquet"))
    with pytest.raises(ClinRaGenInputError, match=rf"parquet, column {column}: the id .* is a rounded number"):
        small_hospital.build(root, tables, mapping)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_rounded_ids_of_mimic_are_named(tmp_path, kind):
    root = write_tables(tmp_path / "raw", base_tables(), suffix=".parquet")
    events = pq.read_table(root / "CHARTEVENTS.parquet")
    ids = pa.array([2.0**53 + 2 * i for i in range(len(events))], kind)
    index = events.column_names.index("ICUSTAY_ID")
    pq.write_table(events.set_column(index, "ICUSTAY_ID", ids), root / "CHARTEVENTS.parquet")
    with pytest.raises(ClinRaGenInputError, match=r"the id .* is a rounded number"):
        main(["--source", "mimic-iii", "--root", str(root), "--output", str(tmp_path / "out")])


def test_ids_with_blanks_around_them_join(tmp_path, plain):
    blank = with_ids(charted(), lambda n: f" {n} ")
    one = charted() | {"DIAGNOSES_ICD": blank["DIAGNOSES_ICD"], "CHARTEVENTS": blank["CHARTEVENTS"]}
    assert str(rows(build(tmp_path, one))) == str(plain)


def test_a_hospitals_ids_and_item_codes_join_but_its_diagnoses_stay_as_they_are(tmp_path):
    mapping = {
        "stays": {
            "file": "stays",
            "patient": "p",
            "stay": "s",
            "admission": "a",
            "begin": "b",
            "end": "e",
            "age": "age",
        },
        "diagnoses": {"file": "diagnoses", "admission": "a", "code": "code", "icd": 9},
        "measurements": {"file": "vitals", "stay": "s", "patient": "p", "time": "t", "code": "item", "value": "x"},
        "channels": {"Heart Rate": [220045], "Temperature": ["7.0"], "Glucose": ["2.5"]},
    }
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    begin, end, first = "2026-01-01 00:00:00", "2026-01-03 00:00:00", "2026-01-01 01:00:00"
    tables = {
        "stays": ["p,s,a,b,e,age", f"7.0,200,0300,{begin},{end},60", f"8,201.0,301,{begin},{end},60"],
        "diagnoses": ["a,code", "0300,250.0", "301.0,428.0"],
        "vitals": [
            "p,s,t,item,x", f"7,200.0,{first},220045.0,80", "7.0,,2026-01-01 02:00:00,7,37",
            f"8,201,{first},2.5,100", f"8,2.5,{first},220045,99",
        ],
    }  # fmt: skip
    for name, lines in tables.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = tmp_path / "out"
    main(["--source", "tables", "--root", str(tmp_path), "--output", str(output), "--splits", EQUAL])
    found = {row["stay_id"]: row for split in SPLITS for row in iterate_rows(output, split)}
    assert set(found) == {"200", "201"}
    assert (found["200"]["subject_id"], found["200"]["hadm_id"], found["201"]["hadm_id"]) == ("7", "0300", "301")
    assert found["200"]["lab_times"] == [1, 2]
    assert np.nansum(found["201"]["lab_values"]) == 100
    with open(output / "label_audit.csv", encoding="utf-8", newline="") as file:
        assert {row["code"] for row in csv.DictReader(file)} == {"250.0", "428.0"}


@pytest.mark.parametrize(("sign", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
@pytest.mark.parametrize("quote", ["", '"'])
def test_another_delimiter_is_named(tmp_path, sign, name, quote):
    root = write_tables(tmp_path / "raw", base_tables(), suffix=".csv")
    path = root / "DIAGNOSES_ICD.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("\n".join(sign.join(f"{quote}{cell}{quote}" for cell in line) for line in lines))
    with pytest.raises(ClinRaGenInputError, match=f"DIAGNOSES_ICD.csv: columns are separated by {name}"):
        main(["--source", "mimic-iii", "--root", str(root), "--output", str(tmp_path / "out")])


def test_a_missing_column_is_no_other_delimiter(tmp_path):
    root = write_tables(tmp_path / "raw", base_tables(), suffix=".csv")
    (root / "DIAGNOSES_ICD.csv").write_text("HADM_ID,CODE;TEXT\n101,4280\n")
    with pytest.raises(ClinRaGenInputError, match="column icd9_code missing; is it the right table"):
        main(["--source", "mimic-iii", "--root", str(root), "--output", str(tmp_path / "out")])
