# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Times as tables write them: each text is understood or refused, against Python's own calendar and zones."""

import json
import os
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import dateutil.parser
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_scripts.build_dataset import main
from datasets_scripts.dataset.folder import SPLITS, iterate_rows
from datasets_scripts.sources.times import create_time_macros, has_offset
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import EQUAL, base_tables, build, rows, write_tables


ROOT = Path(__file__).resolve().parents[3]
WARD, ZONED = duckdb.connect(), duckdb.connect()
create_time_macros(WARD, zoned=False)
create_time_macros(ZONED, zoned=True)


def read(text, connection=WARD, macro="moment"):
    """Read a column of two cells, since a constant may take another way through the database."""
    query = f"SELECT {macro}(x) FROM (SELECT unnest(?) AS x)"
    return connection.execute(query, [[text, text]]).fetchall()[1][0]


def refuses(text, connection=WARD):
    try:
        return read(text, connection) is None
    except (duckdb.ConversionException, duckdb.NotImplementedException):
        return True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-01 08:30:00", datetime(2024, 7, 1, 8, 30)),
        ("2024-07-01 8:30 PM", datetime(2024, 7, 1, 20, 30)),
        ("2024-07-01 08:30 pm", datetime(2024, 7, 1, 20, 30)),
        ("2024-07-01 08:30PM", datetime(2024, 7, 1, 20, 30)),
        ("2024-07-01 08:30:15 p.m.", datetime(2024, 7, 1, 20, 30, 15)),
        ("2024-07-01 8:30\u202fPM", datetime(2024, 7, 1, 20, 30)),  # as new versions of Java and JavaScript write it
        ("2024-07-01 12:05 AM", datetime(2024, 7, 1, 0, 5)),
        ("2024-07-01 12:05 PM", datetime(2024, 7, 1, 12, 5)),
        ("2024-07-01 8 PM", datetime(2024, 7, 1, 20)),
        ("2024-07-01T08:30", datetime(2024, 7, 1, 8, 30)),
        ("2024/07/01 08:30:00.25", datetime(2024, 7, 1, 8, 30, 0, 250_000)),
        ("2024-07-01 08:30:00.123456789", datetime(2024, 7, 1, 8, 30, 0, 123_456)),
        ("2024-7-1 8:05", datetime(2024, 7, 1, 8, 5)),
        ("2024-07-01", datetime(2024, 7, 1)),
        ("  2024-07-01 08:30:00\t", datetime(2024, 7, 1, 8, 30)),
        ("2024-07-01 24:00:00", datetime(2024, 7, 2)),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_what_a_clock_shows_is_understood(text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-01 08:30:00Z", datetime(2024, 7, 1, 8, 30)),
        ("2024-07-01T08:30:00z", datetime(2024, 7, 1, 8, 30)),
        ("2024-07-01 08:30:00 UTC", datetime(2024, 7, 1, 8, 30)),
        ("2024-07-01 08:30:00 GMT", datetime(2024, 7, 1, 8, 30)),
        ("2024-07-01 08:30:00+00", datetime(2024, 7, 1, 8, 30)),
        ("2024-07-01 08:30:00+02:00", datetime(2024, 7, 1, 6, 30)),
        ("2024-07-01 08:30:00+0200", datetime(2024, 7, 1, 6, 30)),
        ("2024-07-01 08:30:00 -05", datetime(2024, 7, 1, 13, 30)),
        ("2024-07-01 08:30-03:30", datetime(2024, 7, 1, 12, 0)),
        ("2024-07-01 8:30 PM +02:00", datetime(2024, 7, 1, 18, 30)),
        ("2024-07-01T08:30:00.5+02:00", datetime(2024, 7, 1, 6, 30, 0, 500_000)),
        ("2024-07-01 08:30:00 Europe/Berlin", datetime(2024, 7, 1, 6, 30)),
        ("2024-12-01 08:30:00 America/Argentina/Buenos_Aires", datetime(2024, 12, 1, 11, 30)),
        ("", None),
        (None, None),
    ],
)
def test_times_with_an_offset_are_instants(text, expected):
    assert read(text, ZONED) == expected
    assert text in ("", None) or refuses(text, WARD)


REFUSED = [
    "25:61", "31.02.2020", "01.07.2024 08:30", "07/01/2024 8:30 PM", "2024-02-30", "2024-13-01", "20200131", "45474",
    "45474.354", "1719822600", "2024-07-01 25:00", "2024-07-01 10:60", "2024-07-01 10:00:60", "2024-07-01 13:30 PM",
    "2024-07-01 0:30 AM", "2024-07-01 08:30:PM", "2024-07-01 08:30 junk", "2024-07-01 08:30 EST",
    "2024-07-01 08:30 IST", "2024-07-01 08:30 PM CEST", "2024-07-01 08:30+25:00", "2024-07-01 08:30 Mars/Olympus",
    "24-07-01 08:30:00", "2024-07", "2024-07-01 24:30", "infinity", "epoch", "yesterday", "2024-07-01 (BC)",
    "2024-07-01 08", "08:30", "2024-07-01 Z", "2024-07-01 PM", "02024-07-01 08:30", "2024-7-01 8:3+02:00x",
    "2024-07-01 08:30:00 2024-07-01 08:30:00",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_time_is_refused(text):
    assert refuses(text, WARD)
    assert refuses(text, ZONED)


@pytest.mark.parametrize("text", ["2024-07-01 08:30:00", "2024-07-01 8:30 PM", "2024-07-01"])
def test_a_time_without_an_offset_among_some_that_have_one_is_refused(text):
    assert refuses(text, ZONED)


@pytest.mark.parametrize("text", ["2024-10-27 02:30 Europe/Berlin", "2024-03-31 02:30:00 Europe/Berlin"])
def test_the_hour_that_a_zone_repeats_or_skips_is_refused(text):
    assert refuses(text, ZONED)


moments = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31))
twelve = st.sampled_from(["{:%Y-%m-%d} {}:{:%M} {}", "{:%Y-%m-%d} {}:{:%M:%S}{}", "{:%Y/%m/%d}T{}:{:%M:%S.%f} {}"])
FULL = st.sampled_from(
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d"]
)


@given(moments, FULL)
@settings(max_examples=200)
def test_any_time_of_the_24_hour_clock_reads_as_it_was_written(when, form):
    assert read(when.strftime(form)) == datetime.strptime(when.strftime(form), form)


@given(moments, twelve, st.sampled_from(["AM PM", "am pm", "a.m. p.m.", "A P"]).map(str.split))
@settings(max_examples=200)
def test_any_time_of_the_12_hour_clock_reads_as_it_was_written(when, form, halves):
    hour = (when.hour - 1) % 12 + 1
    text = form.format(when, hour, when, halves[when.hour >= 12])
    kept = when.replace(second=when.second if "%S" in form else 0, microsecond=when.microsecond if "%f" in form else 0)
    if halves[0] == "A":
        assert refuses(text)  # half of what it may mean
    else:
        assert read(text) == kept


@given(moments, st.integers(-14 * 60, 14 * 60 + 59), st.sampled_from(["{}:{}", "{}{}", " {}:{}"]))
@settings(max_examples=200)
def test_any_offset_gives_the_instant(when, minutes, form):
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    text = when.isoformat(" ") + form.format(f"{sign}{size // 60:02d}", f"{size % 60:02d}")
    expected = when.replace(tzinfo=timezone(timedelta(minutes=minutes))).astimezone(timezone.utc)
    assert read(text, ZONED) == expected.replace(tzinfo=None)


ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)), st.sampled_from(ZONES))
@settings(max_examples=300)
def test_the_zones_are_pythons(when, zone):
    """Tell that an hour is neither repeated nor skipped: both readings of it agree."""
    early, late = (when.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    text = f"{when.isoformat(' ')} {zone}"
    assert refuses(text, ZONED) if early != late else read(text, ZONED) == early.replace(tzinfo=None)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), FULL, st.data())
@settings(max_examples=400)
def test_a_damaged_time_is_refused_or_means_what_it_says(when, form, data):
    text = when.strftime(form)
    place = data.draw(st.integers(0, len(text)))
    added, removed = data.draw(st.text("0123456789:-/+ TZPMapm.", max_size=3)), data.draw(st.integers(0, 2))
    text = text[:place] + added + text[place + removed :]
    if not refuses(text):
        assert read(text) == dateutil.parser.parse(text.strip(), yearfirst=True, default=datetime(1, 1, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-02", datetime(2024, 2, 3)),
        (" 2024-2-2 ", datetime(2024, 2, 3)),
        ("2024-02-02\t", datetime(2024, 2, 3)),
        ("\n2024/02/02\r\n", datetime(2024, 2, 3)),
        ("\xa02024-02-02\u202f", datetime(2024, 2, 3)),
        ("2024-02-02" + 12 * "\t", datetime(2024, 2, 3)),
        ("2024-2-2T8:5", datetime(2024, 2, 2, 8, 5)),
        ("2024-2-2 8pm", datetime(2024, 2, 2, 20)),
        ("2024-12-31", datetime(2025, 1, 1)),
        ("2024-02-02 00:00:00", datetime(2024, 2, 2)),
        ("2024-02-02 8 PM", datetime(2024, 2, 2, 20)),
        ("", None),
        (None, None),
    ],
)
def test_a_date_alone_is_known_at_its_end(text, expected):
    assert read(text, WARD, "known") == expected


def test_a_birth_is_a_date_where_the_patient_is():
    assert read("1964-07-01", ZONED, "wall_time") == datetime(1964, 7, 1)
    assert read("2024-07-01 00:30+02:00", ZONED, "wall_time") == datetime(2024, 7, 1, 0, 30)


def test_an_offset_is_seen():
    assert not has_offset(WARD, "2024-07-01 8:30 PM")
    assert has_offset(WARD, "2024-07-01 8:30 PM Z")


HOSPITAL = {
    "stays": {"file": "stays", "patient": "pid", "stay": "sid", "begin": "b", "end": "e", "birth": "dob"},
    "diagnoses": {"file": "diagnoses", "stay": "sid", "code": "code", "icd": 10},
    "measurements": {
        "file": "vitals",
        "stay": "sid",
        "time": "t",
        "code": "item",
        "value": "value",
        "stored": "known",
    },
    "channels": {"Heart Rate": ["HR"]},
    "notes": {"file": "notes", "stay": "sid", "text": "text", "stored": "written"},
}


def hospital(folder, stays, vitals, notes=()):
    """Write the tables of a hospital with one stay."""
    folder.mkdir()
    (folder / "map.yaml").write_text(yaml.safe_dump(HOSPITAL), encoding="utf-8")
    tables = {
        "stays": [("pid", "sid", "b", "e", "dob"), ("p", "s", *stays, "1964-07-01")],
        "diagnoses": [("sid", "code"), ("s", "I4891")],
        "vitals": [
            ("sid", "t", "item", "value", "known"),
            *(("s", t, "HR", 80 + i, k) for i, (t, k) in enumerate(vitals)),
        ],
        "notes": [("sid", "text", "written"), *(("s", text, written) for text, written in notes)],
    }
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text(
            "".join(",".join(map(str, line)) + "\n" for line in lines), encoding="utf-8"
        )
    return folder


def build_hospital(root, output, *options):
    main(["--source", "tables", "--root", str(root), "--output", str(output), "--splits", EQUAL, *options])
    (row,) = (row for split in SPLITS for row in iterate_rows(output, split))
    return row


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_hours_are_true_across_a_change_of_clocks(tmp_path, zone):
    """Written as pandas writes them, with the offset of the moment; or by the name of the zone."""
    berlin = ZoneInfo("Europe/Berlin")
    begin = datetime(2024, 10, 26, 20, tzinfo=berlin)
    wall = [datetime(2024, 10, 26, 23, tzinfo=berlin), datetime(2024, 10, 27, 4, tzinfo=berlin)]
    write = lambda when: str(when) if zone is None else f"{when:%Y-%m-%d %I:%M %p} {zone}"  # noqa: E731
    end = datetime(2024, 10, 28, 20, tzinfo=berlin)
    root = hospital(tmp_path / "raw", map(write, (begin, end)), [(write(t), write(t)) for t in wall])
    row = build_hospital(root, tmp_path / "out")
    utc = [t.astimezone(timezone.utc) for t in (begin, *wall)]
    assert row["lab_times"] == [(t - utc[0]) / timedelta(hours=1) for t in utc[1:]] == [3, 9]


def test_a_birthday_begins_at_the_patients_place(tmp_path):
    root = hospital(
        tmp_path / "raw", ("2024-07-01 00:30+02:00", "2024-07-02 00:30+02:00"), [("2024-07-01T01:00Z", "")]
    )
    assert build_hospital(root, tmp_path / "out")["age"] == 60


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("25:61", "not a date and time"),
        ("31.02.2024", "not a date and time"),
        ("20240702", "a number, not a date and time; write YYYY-MM-DD HH:MM:SS"),
        ("45475.5", "a number, not a date and time"),
        ("2024-07-02 08:30 EST", "an abbreviated time zone stands for several; write the offset"),
        ("2024-07-02 08:30 PM CET", "an abbreviated time zone stands for several; write the offset"),
        ("2024-07-02 08:30+02:00", "the time has an offset from UTC, others of this source have none"),
        ("2024-07-02 08:30 Europe/Berlin", "the time has an offset from UTC, others of this source have none"),
    ],
)
@pytest.mark.parametrize("column", ["t", "known", "written"])
def test_a_time_that_is_refused_is_named(tmp_path, cell, words, column):
    fine = "2024-07-01 8:30 PM"
    root = hospital(
        tmp_path / "raw",
        ("2024-07-01 20:00:00", "2024-07-03 20:00:00"),
        [(fine, fine), (cell if column == "t" else fine, cell if column == "known" else "")],
        [("Cough", fine), ("Fever", cell if column == "written" else "")],
    )
    file = "notes" if column == "written" else "vitals"
    with pytest.raises(ClinRaGenInputError) as error:
        build_hospital(root, tmp_path / "out")
    assert str(error.value).startswith(f"{file}.csv, row 3, column {column}: {words}")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("2024-07-02 08:30:00", "the time has no offset from UTC, others of this source have one"),
        ("2024-07-02", "the time has no offset from UTC, others of this source have one"),
        ("2024-07-02 08:30 Mars/Olympus", "the time zone is unknown, or its clocks skip or repeat this hour"),
        ("2024-10-27 02:30 Europe/Berlin", "the time zone is unknown, or its clocks skip or repeat this hour"),
        ("2024-07-02 08:30 PDT", "an abbreviated time zone"),
    ],
)
def test_a_source_of_instants_names_what_is_none(tmp_path, cell, words):
    root = hospital(
        tmp_path / "raw",
        ("2024-07-01 20:00:00Z", "2024-12-03 20:00:00Z"),
        [("2024-07-01 21:00:00+01:00", ""), (cell, "")],
    )
    with pytest.raises(ClinRaGenInputError, match=f"vitals.csv, row 3, column t: {words}"):
        build_hospital(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (
            [pa.timestamp("us"), pa.timestamp("us", tz="UTC")],
            "column t holds dates, times and times with a zone, by file",
        ),
        ([pa.timestamp("ns"), pa.date64()], "column t holds dates, times and times with a zone, by file"),
        ([pa.timestamp("us", tz="UTC"), pa.string()], "row 3, column t: the time has no offset from UTC"),
        ([pa.timestamp("us", tz="UTC"), pa.timestamp("ms", tz="Asia/Tokyo")], None),
        ([pa.timestamp("us", tz="UTC")], None),
        ([pa.timestamp("us")], "row 2, column t: the time has no offset from UTC"),
    ],
)
def test_files_of_a_table_that_keep_times_otherwise_are_refused(tmp_path, kinds, words):
    root = hospital(tmp_path / "raw", ("2024-07-01 20:00:00Z", "2024-07-03 20:00:00Z"), [])
    mapping = HOSPITAL | {"measurements": HOSPITAL["measurements"] | {"file": "vitals/*.parquet"}}
    (root / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    (root / "vitals").mkdir()
    for i, kind in enumerate(kinds):
        when = datetime(2024, 7, 2) if pa.types.is_temporal(kind) else "2024-07-02 00:00:00"
        columns = {"sid": ["s"], "t": pa.array([when], kind), "item": ["HR"], "value": [80 + i], "known": [""]}
        pq.write_table(pa.table(columns), root / "vitals" / f"{i}.parquet")
    if words is None:
        assert build_hospital(root, tmp_path / "out")["lab_times"] == [4]
    else:
        with pytest.raises(ClinRaGenInputError, match=words):
            build_hospital(root, tmp_path / "out")


def test_mimic_tables_with_the_12_hour_clock_read_the_same(tmp_path):
    tables = base_tables()
    plain = rows(build(tmp_path / "a", tables))
    twelve = lambda cell: datetime.fromisoformat(cell).strftime("%Y-%m-%d %I:%M:%S %p")  # noqa: E731
    for name, columns in (("ICUSTAYS", (3, 4)), ("CHARTEVENTS", (3, 4)), ("ADMISSIONS", (2, 3)), ("PATIENTS", (2,))):
        tables[name] = [[twelve(c) if i in columns else c for i, c in enumerate(row)] for row in tables[name]]
    assert str(rows(build(tmp_path / "b", tables))) == str(plain)


def test_what_is_measured_on_a_date_is_known_at_its_end(tmp_path):
    root = hospital(
        tmp_path / "raw",
        ("2024-02-01 00:00:00", "2024-02-04 00:00:00"),
        [("2024-02-02", ""), ("2024-02-02 12:00:00", "2024-02-02"), ("2024-02-03", "2024-02-03 05:00:00")],
        [("Cough", "2024-02-01 08:00:00"), ("LATEWORD", "2024-02-02")],
    )
    row = build_hospital(root, tmp_path / "out", "--note-view", "as-of=47")
    assert row["lab_times"] == [24, 36, 48]
    assert [[k for k in known if k == k] for known in row["lab_available_times"]] == [[48], [48], [53]]
    assert row["note"] == "Note: Cough"
    assert "LATEWORD" in build_hospital(root, tmp_path / "later", "--note-view", "as-of=48")["note"]


BUILD = """
import json, sys
from datasets_scripts.build_dataset import main
from datasets_scripts.dataset.folder import SPLITS, iterate_rows, read_metadata

found = {}
for name, *arguments in json.loads(sys.argv[1]):
    main(arguments)
    folder = arguments[arguments.index("--output") + 1]
    rows = [row for split in SPLITS for row in iterate_rows(folder, split)]
    found[name] = [read_metadata(folder)["content_hash"], {row["stay_id"]: row["lab_times"] for row in rows}]
print(json.dumps(found))
"""


def zoned(path, zone, columns):
    """Make the columns of a Parquet file instants, as if their texts were times of the zone."""
    table = pq.read_table(path)
    for name in columns:
        cells = table.column(name).to_pylist()
        cells = [datetime.fromisoformat(str(c)).replace(tzinfo=ZoneInfo(zone)) if c else None for c in cells]
        kind = pa.timestamp("us", tz=zone)
        table = table.set_column(table.column_names.index(name), name, pa.array(cells, kind))
    pq.write_table(table, path)


@pytest.mark.slow
def test_instants_do_not_depend_on_the_time_zone_of_the_machine(tmp_path):
    """Parquet of MIMIC-III, of a hospital and of MEDS with instants, under three zones of the machine."""
    tables, zone = base_tables(), "America/New_York"
    tables["ICUSTAYS"][0][3:] = "2100-03-13 20:00:00", "2100-03-15 20:00:00"  # clocks change in the night
    tables["CHARTEVENTS"][0][3:5] = ["2100-03-14 08:00:00"] * 2
    raw = write_tables(tmp_path / "mimic", tables, suffix=".parquet")
    plain, meds = tmp_path / "plain", tmp_path / "meds"
    main(["--source", "mimic-iii", "--root", str(raw), "--output", str(plain), "--also-meds", str(meds)])
    for name, columns in {
        "PATIENTS": ["DOB"], "ADMISSIONS": ["ADMITTIME", "DISCHTIME"], "ICUSTAYS": ["INTIME", "OUTTIME"],
        "CHARTEVENTS": ["CHARTTIME", "STORETIME"],
    }.items():  # fmt: skip
        zoned(raw / f"{name}.parquet", zone, columns)
    for shard in (meds / "data").rglob("*.parquet"):
        zoned(shard, zone, ["time", "available_time"])
    own = hospital(tmp_path / "own", ("", ""), [])
    pq.write_table(
        pa.table({
            "pid": ["p"], "sid": ["s"], "dob": [date(1964, 7, 1)],
            "b": pa.array([datetime(2024, 10, 26, 18)], pa.timestamp("ns", tz="UTC")),
            "e": pa.array([datetime(2024, 10, 28, 18)], pa.timestamp("ms", tz="Asia/Tokyo")),
        }),
        own / "stays.parquet",
    )  # fmt: skip
    (own / "stays.csv").unlink()
    (own / "vitals.csv").write_text("sid,t,item,value,known\ns,2024-10-27 04:00 Europe/Berlin,HR,80,\n")
    found = {}
    for machine in ("UTC", "Asia/Tokyo", "America/New_York"):
        roots = {"mimic": ("mimic-iii", raw), "meds": ("meds", meds), "own": ("tables", own)}
        builds = [
            [name, "--source", source, "--root", str(root), "--output", str(tmp_path / machine / name)]
            for name, (source, root) in roots.items()
        ]
        (tmp_path / machine).mkdir(parents=True)
        done = subprocess.run(
            [sys.executable, "-c", BUILD, json.dumps(builds)],
            cwd=ROOT, env={**os.environ, "TZ": machine}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[machine] = json.loads(done.stdout.splitlines()[-1])
    assert found["UTC"] == found["Asia/Tokyo"] == found["America/New_York"]
    wall = [datetime(2100, 3, 13, 20, tzinfo=ZoneInfo(zone)), datetime(2100, 3, 14, 8, tzinfo=ZoneInfo(zone))]
    begin, measured = (when.astimezone(timezone.utc) for when in wall)
    hours = (measured - begin) / timedelta(hours=1)
    assert found["UTC"]["mimic"][1]["201"] == found["UTC"]["meds"][1]["201"] == [hours]
    assert found["UTC"]["mimic"][1]["202"] == [1]
    assert found["UTC"]["own"][1] == {"s": [9]}
