# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A hospital's export as European programs write it: read by a short description, and each wrong setting named."""

import csv
import re
from datetime import datetime, timezone

import duckdb
import numpy as np
import pytest
import yaml

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.dialects import Dialect, date_fault, find_dialect, strptime_format
from datasets_scripts.sources.raw_tables import find_table, select_columns
from datasets_scripts.sources.tables import load_hospital
from datasets_scripts.sources.times import create_time_macros
from modeling_clinragen import CHANNELS, ClinRaGenInputError
from tests.commands import run_script
from tests.datasets_scripts.sources.raw_tables import rows
from tests.hospital_export import write_tables


COLUMN = {channel["name"]: i for i, channel in enumerate(CHANNELS)}
MAPPING = """
title: Intensive care of a made-up hospital
delimiter: ";"
decimal: ","
encoding: latin-1
date_format: dd.mm.yyyy hh:mm
stays:
  file: faelle_*.csv
  patient: PatNr
  stay: FallNr
  begin: Aufnahme
  end: Entlassung
  birth: Geburtsdatum
  sex: Geschlecht
sex: {M: [männlich], F: [weiblich]}
diagnoses: {file: diagnosen_*.csv, stay: FallNr, code: ICD, icd: 10}
measurements: {file: werte_*.csv, stay: FallNr, time: Zeitpunkt, code: Größe, value: Wert, stored: Freigabe}
notes: {file: briefe_*.csv, stay: FallNr, text: Text, stored: Erstellt, title: Aufnahme}
channels:
  Heart Rate: HF
  Temperature: TEMP
  Glucose: [GLU, GLU_BGA]
units: {Glucose: mmol/L}
"""
TABLES = {  # file -> lines, without the order of rows or columns that another program would choose
    "faelle_1.csv": [
        ["PatNr", "FallNr", "Aufnahme", "Entlassung", "Geburtsdatum", "Geschlecht"],
        ["0012", "00070", "03.04.2026 08:00", "06.04.2026 12:30", "05.06.1950", "männlich"],
        ["12", "70", "03.04.2026 09:15", "05.04.2026 09:15", "01.02.1971", "weiblich"],
    ],
    "faelle_2.csv": [
        ["FallNr", "PatNr", "Station", "Geschlecht", "Geburtsdatum", "Entlassung", "Aufnahme"],
        ["00071", "0013", "Süd", "weiblich", "11.12.1980", "12.05.2026 00:00", "10.05.2026 06:00"],
    ],
    "diagnosen_1.csv": [["FallNr", "ICD"], ["00070", "I50.9"], ["70", "N17.9"]],
    "diagnosen_2.csv": [["FallNr", "ICD"], ["00071", "J18.9"]],
    "werte_1.csv": [
        ["FallNr", "Zeitpunkt", "Größe", "Wert", "Freigabe"],
        ["00070", "03.04.2026 09:00", "HF", "82", "03.04.2026 09:05"],
        ["00070", "03.04.2026 09:00", "TEMP", "37,5", "03.04.2026 09:05"],
        ["00070", "03.04.2026 10:30", "GLU", "<3,0", "03.04.2026 12:00"],
        ["00070", "04.04.2026 10:30", "GLU", "7,25", ""],
        ["70", "03.04.2026 10:15", "GLU", ">30,5", "03.04.2026 10:45"],
        ["70", "03.04.2026 11:15", "TEMP", "36,85", ""],
    ],
    "werte_2.csv": [
        ["FallNr", "Zeitpunkt", "Größe", "Wert", "Freigabe"],
        ["00071", "11.05.2026 06:00", "GLU_BGA", "5,6", "11.05.2026 06:01"],
        ["00071", "11.05.2026 06:00", "HF", "101", ""],
        ["00071", "11.05.2026 07:00", "HF", "99,5", ""],
        ["00071", "11.05.2026 08:00", "KALIUM", "4,1", ""],
    ],
    "briefe_1.csv": [["FallNr", "Erstellt", "Text"], ["00070", "03.04.2026 08:00", "Mühe beim Atmen; Ödeme"]],
    "briefe_2.csv": [["FallNr", "Erstellt", "Text"], ["70", "03.04.2026 09:00", "Größere Übelkeit, °C"]],
}


def write(root, tables=TABLES, *form, **named):
    return write_tables(root, tables, *form, **named)


def build(root, mapping, *options):
    """Build a dataset beside the tables, and return how the command ended."""
    path = root.parent / "map.yaml"
    path.write_text(mapping if isinstance(mapping, str) else yaml.safe_dump(mapping), encoding="utf-8")
    output = root.parent / "dataset"
    options = options or ("--output", output, "--splits", "train=1")
    done = run_script(build_dataset.__file__, "--source", "tables", "--root", root, "--mapping", path, *options)
    if done.returncode:
        assert "--check" in options or not output.exists()
        assert (done.returncode, done.stderr.count("error: ")) == (2, 1)
        assert done.stderr.splitlines()[-1].startswith("error: ")
    return done


def records(pattern):
    return [
        dict(zip(lines[0], line, strict=True))
        for name, lines in TABLES.items()
        if name.startswith(pattern)
        for line in lines[1:]
    ]


def hours(begin, text):
    return (datetime.strptime(text, "%d.%m.%Y %H:%M") - begin).total_seconds() / 3600


def expected():
    """Return what the tables say, computed without the package's reader: per stay the row, values and known hours."""
    channel = {"HF": "Heart Rate", "TEMP": "Temperature", "GLU": "Glucose", "GLU_BGA": "Glucose"}
    stays = {}
    for stay in records("faelle"):
        begin = datetime.strptime(stay["Aufnahme"], "%d.%m.%Y %H:%M")
        born = datetime.strptime(stay["Geburtsdatum"], "%d.%m.%Y")
        values, known = {}, {}
        for row in records("werte"):
            if row["FallNr"] == stay["FallNr"] and row["Größe"] in channel:
                number = float(row["Wert"].strip("<>").replace(",", "."))
                cell = hours(begin, row["Zeitpunkt"]), channel[row["Größe"]]
                values[cell] = number * 18.016 if cell[1] == "Glucose" else number
                known[cell] = max(cell[0], hours(begin, row["Freigabe"] or row["Zeitpunkt"]))
        stays[stay["FallNr"]] = {
            "subject_id": stay["PatNr"],
            "age": begin.year - born.year - ((begin.month, begin.day) < (born.month, born.day)),
            "sex": {"männlich": "M", "weiblich": "F"}[stay["Geschlecht"]],
            "note": "\n".join(f"Aufnahme: {r['Text']}" for r in records("briefe") if r["FallNr"] == stay["FallNr"]),
            "values": values,
            "known": known,
        }
    return stays


def found(output):
    """Return what a dataset holds, in the form of `expected`."""
    stays = {}
    for stay_id, row in rows(output).items():
        cells = {
            (hour, name): (row["lab_values"][i][column], row["lab_available_times"][i][column])
            for i, hour in enumerate(row["lab_times"])
            for name, column in COLUMN.items()
            if not np.isnan(row["lab_values"][i][column])
        }
        stays[stay_id] = {name: row[name] for name in ("subject_id", "age", "sex", "note")}
        stays[stay_id] |= {"values": {k: v for k, (v, _) in cells.items()}}
        stays[stay_id] |= {"known": {k: a for k, (_, a) in cells.items()}}
    return stays


def assert_as_expected(output):
    ours, wanted = found(output), expected()
    assert set(ours) == set(wanted) == {"00070", "70", "00071"}
    for stay, row in wanted.items():
        for part in ("values", "known"):
            assert ours[stay].pop(part) == pytest.approx(row.pop(part), rel=1e-6), (stay, part)
        assert ours[stay] == row


def test_an_export_of_europe_is_read_by_a_short_description(tmp_path):
    assert len(MAPPING.strip().splitlines()) <= 60
    done = build(write(tmp_path / "export"), MAPPING)
    assert done.returncode == 0, done.stderr
    assert_as_expected(tmp_path / "dataset")
    counts = {row["channel"]: row for row in read_metadata(tmp_path / "dataset")["values"]}
    assert (counts["Glucose"]["censored"], counts["Glucose"]["kept"], counts["Glucose"]["unit_converted"]) == (2, 4, 4)
    assert sum(row["kept"] for row in counts.values()) == sum(len(row["values"]) for row in expected().values()) == 9
    assert read_metadata(tmp_path / "dataset")["warnings"] == []


def without(setting):
    return "".join(line for line in MAPPING.splitlines(keepends=True) if not line.startswith(setting))


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (MAPPING.replace('";"', '","'), "faelle_1.csv: columns are separated by semicolons; give delimiter: ';'"),
        (without("decimal"), "werte_*.csv: column wert holds decimal commas; give decimal: ','"),
        (without("encoding"), "faelle_1.csv, row 2: not UTF-8: give encoding: latin-1"),
        (
            without("date_format"),
            "faelle_*.csv, row 2, column aufnahme: a date with the day first; give date_format: dd.mm.yyyy",
        ),
        (MAPPING.replace("dd.mm.yyyy hh", "mm/dd/yyyy hh"), "not a date by date_format (%m/%d/%Y); correct the row"),
        (MAPPING.replace("latin-1", "utf-16"), "faelle_1.csv: not UTF-16; leave encoding out, or give latin-1"),
        (MAPPING.replace("FallNr, code", "Fall, code"), "diagnosen_*.csv: column fall missing; it has FallNr, ICD"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path, mapping, said):
    done = build(write(tmp_path / "export"), mapping)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "version?" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "briefe_1.csv: the file is empty; export it again, or take it out of the description"),
        (
            'FallNr;Erstellt;Text\n00070;03.04.2026 08:00;"Atmen\n',
            "briefe_1.csv, row 2: the quote that opens a cell is never closed; close it, or give quote",
        ),
    ],
)
def test_a_file_that_is_empty_or_does_not_close_a_quote_is_named(tmp_path, content, said):
    export = write(tmp_path / "export")
    (export / "briefe_1.csv").write_text(content, encoding="latin-1")
    done = build(export, MAPPING.replace("briefe_*.csv", "briefe_1"))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (MAPPING.replace("latin-1", "cp1252"), "encoding is 'cp1252', not utf-8, latin-1 or utf-16; convert"),
        (MAPPING.replace("latin-1", "klingon"), "encoding is 'klingon', not utf-8, latin-1 or utf-16"),
        (MAPPING.replace("dd.mm.yyyy hh:mm", "mm.yyyy"), "date_format is 'mm.yyyy'; write it as dd.mm.yyyy"),
        (MAPPING.replace('";"', '"; "'), "delimiter is '; '; give one sign"),
        (MAPPING.replace('decimal: ","', "decimal: ;"), "decimal is ';'; give . or ,"),
        (MAPPING + "time_zone: Berlin\n", "time_zone 'Berlin' is unknown; write it as Europe/Berlin or UTC"),
        (MAPPING + "quote: '`'\n", "quote is '`'; give \" or ' or none"),
        (MAPPING + "quote: 7\n", "quote is 7, not text"),
        (MAPPING.replace("{file: briefe", "{decimal: ';', file: briefe"), "notes: decimal is ';'; give . or ,"),
        (MAPPING.replace("{Glucose: mmol/L}", "{pH: pH}"), "units: pH has no codes under channels"),
        (MAPPING.replace("mmol/L", "stone"), "channels: Glucose: unit 'stone' is unknown for Glucose"),
    ],
)
def test_a_setting_that_there_is_not_is_named(tmp_path, mapping, said):
    (tmp_path / "map.yaml").write_text(mapping, encoding="utf-8")
    with pytest.raises(ClinRaGenInputError) as error:
        load_hospital(str(tmp_path / "map.yaml"), tmp_path, CHANNELS)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time;number;\n2026-01-01;1,5;\n", None),
        ("time;number;;NUMBER of column 3\n2026-01-01;1,5;;x\n", None),
        ("time;note;number;Note\n2026-01-01;a;1,5;b\n", None),
        ("time;number;Number\n2026-01-01;1,5;2\n", "a.csv: column number is there twice; rename one"),
        ("sep=;\ntime;number\n2026-01-01;1,5\n", "a.csv, row 1: sep=; of a spreadsheet, no header; remove this line"),
    ],
)
def test_odd_headers(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    spec = {"file": "a", "columns": ["time", "number"], "decimals": ["number"], "times": ["time"]}

    def read():
        spec["dialect"], _ = find_dialect([tmp_path / "a.csv"], spec["columns"], {"decimal": ","})
        path = find_table(tmp_path, "raw", spec)
        return duckdb.sql(select_columns(path, spec["columns"], spec)).fetchall()

    if said is None:
        assert read() == [("2026-01-01", "1.5")]
    else:
        with pytest.raises(ClinRaGenInputError, match=re.escape(said)):
            read()


def test_the_header_tells_the_delimiter_and_a_line_says_so(tmp_path):
    done = build(write(tmp_path / "export"), without("delimiter"))
    assert done.stderr.count("columns are separated by semicolons, by its header") == 4
    assert_as_expected(tmp_path / "dataset")


def spoiled(file, row, column, cell):
    """Return the tables with another cell."""
    tables = {name: [list(line) for line in lines] for name, lines in TABLES.items()}
    tables[file][row][column] = cell
    return tables


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("cp1252", "briefe_1.csv: not latin-1; if a program of Windows wrote it, convert the file (iconv -f cp1252"),
        ("utf-8", "faelle_1.csv: UTF-8, not latin-1; leave encoding out for it, or give utf-8"),
    ],
)
def test_a_file_that_is_not_latin_1_is_named(tmp_path, encoding, said):
    tables = spoiled("briefe_1.csv", 1, 2, "„Mühe“ beim Atmen – Ödeme")
    assert said in build(write(tmp_path / "export", tables, encoding), MAPPING).stderr


def test_an_encoding_that_differs_far_down_in_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets_scripts.sources.dialects.PROBED", 100)
    tables = spoiled("briefe_1.csv", 1, 2, f"Atmen {'x' * 200} – „Ödeme“")
    done = build(write(tmp_path / "export", tables, "cp1252"), MAPPING)
    assert "briefe_1.csv: not latin-1" in done.stderr
    done = build(tmp_path / "export", without("encoding"))
    assert "not UTF-8" in done.stderr


@pytest.mark.slow
def test_utf_16_is_known_by_its_first_bytes(tmp_path):
    done = build(
        write(tmp_path / "export", encoding="utf-16", delimiter="\t"), without("encoding").replace('";"', "tab")
    )
    assert done.stderr.count("encoding is utf-16, by its first bytes") == 4
    assert_as_expected(tmp_path / "dataset")


def test_files_of_a_table_that_are_written_otherwise_are_named(tmp_path):
    root = write(tmp_path / "export")
    with open(root / "werte_2.csv", "w", encoding="latin-1", newline="") as file:
        csv.writer(file, delimiter="|").writerows(TABLES["werte_2.csv"])
    done = build(root, without("delimiter"))
    assert "werte_2.csv: its delimiter differs from that of werte_1.csv" in done.stderr


def test_a_table_has_its_own_settings_before_those_of_all(tmp_path):
    mapping = yaml.safe_load(MAPPING)
    general = {name: mapping.pop(name) for name in ("delimiter", "decimal", "encoding", "date_format")}
    root = write(tmp_path / "export")
    for i in (1, 2):
        with open(root / f"werte_{i}.csv", "w", encoding="utf-8", newline="") as file:
            lines = [[cell.replace(",", ".") for cell in line] for line in TABLES[f"werte_{i}.csv"]]
            csv.writer(file).writerows(lines)
    for name in ("stays", "diagnoses", "notes"):
        mapping[name] |= general
    mapping["measurements"]["date_format"] = "%d.%m.%Y"
    assert build(root, mapping).returncode == 0
    assert_as_expected(tmp_path / "dataset")


def test_a_number_with_the_other_sign_is_counted(tmp_path):
    root = write(tmp_path / "export", spoiled("werte_1.csv", 6, 3, "36.85"))
    said = "Temperature: 1 of 2 charted values are dropped, numbers with the other decimal sign"
    assert said in build(root, MAPPING, "--check").stdout


def test_a_number_with_a_comma_that_may_be_a_thousand_is_no_wrong_setting(tmp_path):
    tables = {name: [list(line) for line in lines] for name, lines in TABLES.items()}
    for name in ("werte_1.csv", "werte_2.csv"):
        tables[name] = [[cell.replace(",", "") for cell in line] for line in tables[name]]
    tables["werte_1.csv"][2][3] = "1,037"
    done = build(write(tmp_path / "export", tables), without("decimal"), "--check")
    assert done.returncode == 0
    assert "1 of them as no number (is there a decimal comma?)" in done.stdout


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("03/04/2026 09:00", "a date with the day or the month first; give date_format: dd/mm/yyyy or mm/dd/yyyy"),
        ("04/13/2026 09:00", "a date with the month first; give date_format: mm/dd/yyyy"),
        ("13-04-2026", "a date with the day first; give date_format: dd-mm-yyyy"),
        ("3.4.26 9:00", "a date with the day first; give date_format: dd.mm.yy"),
        ("31.02.2026 09:00", None),
        ("31/13/2026 09:00", None),
        ("2026-13-04 09:00", None),
    ],
)
def test_a_date_that_may_be_two_is_refused(cell, said):
    assert date_fault(cell, Dialect()) == said
    wrong = (
        None if cell.startswith("2026") else "not a date by date_format (%d %b %Y); correct the row, or date_format"
    )
    assert date_fault(cell, Dialect(date_format="%d %b %Y")) == wrong


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("dd.mm.yyyy", "%d.%m.%Y"), ("DD.MM.YYYY HH:MM:SS", "%d.%m.%Y"), ("mm/dd/yyyy hh:mm", "%m/%d/%Y"),
        ("d/m/yyyy", "%d/%m/%Y"), ("dd-mmm-yyyy", "%d-%b-%Y"), ("yyyymmdd", "%Y%m%d"), ("dd.mm.yy", "%d.%m.%y"),
        ("%d.%m.%y %H:%M", "%d.%m.%y"), ("%m/%d/%Y %I:%M %p", "%m/%d/%Y"), ("%Y%m%d%H%M", "%Y%m%d%H%M"),
        ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"),
    ],
)  # fmt: skip
def test_a_date_format_is_written_in_words_or_directives(written, read):
    assert strptime_format(written) == read


@pytest.mark.parametrize("written", ["", "dd.mm", "mm.mm.yyyy", "yyy.mm.dd", "%d.%m", "%d.%m.%Q", "%H:%M", "ISO"])
def test_a_date_format_without_day_month_or_year_is_refused(written):
    with pytest.raises(ClinRaGenInputError, match="date_format is"):
        strptime_format(written)


@pytest.mark.parametrize(
    ("date_format", "cells"),
    [
        ("mm/dd/yyyy hh:mm", ["04/03/2026 02:05 PM", "4/3/2026 14:05:00", "2026-04-03T14:05", "04/03/2026"]),
        ("dd-mmm-yyyy", ["03-APR-2026 14:05", "03-Apr-2026T14:05:00", "3-apr-2026 2:05 pm", "03-APR-2026"]),
        ("yyyymmdd", ["20260403 14:05", "20260403T14:05:00", "2026-04-03 14:05", "20260403"]),
        ("%d.%m.%y", ["03.04.26 14:05", "3.4.26  14:05:00", "2026/04/03 14:05", "03.04.26"]),
        ("%d %b %Y %H:%M", ["03 Apr 2026 14:05", "3 Apr 2026 14:05:00.0", "2026-04-03 14:05", "3 Apr 2026"]),
        ("%Y%m%d%H%M", ["202604031405", "202604031405 ", "2026-04-03 14:05", "2026-04-03"]),
    ],
)
def test_dates_of_other_orders_are_read(tmp_path, date_format, cells):
    """Three spellings of one time, and the date alone, which stays one: what is stored then is known at its end."""
    (tmp_path / "a.csv").write_text("\n".join(["time", *cells]), encoding="utf-8")
    spec = {"dialect": Dialect(date_format=strptime_format(date_format)), "decimals": (), "times": ["time"]}
    connection = duckdb.connect()
    create_time_macros(connection, zoned=False)
    table = select_columns(tmp_path / "a.csv", ["time"], spec)
    read = [row[0] for row in connection.execute(f"SELECT known(time) FROM ({table})").fetchall()]
    assert read == [datetime(2026, 4, 3, 14, 5)] * 3 + [datetime(2026, 4, 4)]


def test_times_of_a_zone_join_those_with_an_offset(tmp_path):
    """The ward writes the time of its clock, the laboratory UTC; the clocks change on 29 March 2026."""
    tables = {name: [list(line) for line in lines] for name, lines in TABLES.items()}
    tables["faelle_1.csv"][1][2:4] = ["28.03.2026 20:00", "30.03.2026 20:00"]
    tables["werte_1.csv"] = [tables["werte_1.csv"][0], ["00070", "2026-03-29 01:30Z", "HF", "82", ""]]
    tables["werte_2.csv"] = [tables["werte_2.csv"][0], ["00071", "2026-05-10T05:00:00+00:00", "HF", "90", ""]]
    mapping = yaml.safe_load(MAPPING) | {"time_zone": "Europe/Berlin", "channels": {"Heart Rate": "HF"}, "units": {}}
    done = build(write(tmp_path / "export", tables), mapping)
    assert done.returncode == 0, done.stderr
    assert [rows(tmp_path / "dataset")[stay]["lab_times"] for stay in ("00070", "00071")] == [[6.5], [1]]


def since_1970(text, unit):
    """Return the number of a cell of `TABLES`, a time in Berlin's summer or a date."""
    if not re.match(r"\d+\.\d+\.\d+", text):
        return text
    written = datetime.strptime(text, "%d.%m.%Y %H:%M" if ":" in text else "%d.%m.%Y").replace(tzinfo=timezone.utc)
    return str(int(written.timestamp() - 7200 * (":" in text)) * unit)


@pytest.mark.parametrize(("date_format", "unit"), [("epoch seconds", 1), ("Epoch Milliseconds", 1000)])
def test_times_since_1970_are_read_as_declared(tmp_path, date_format, unit):
    """All tables hold numbers: births before 1970 negative ones."""
    tables = {name: [[since_1970(cell, unit) for cell in row] for row in lines] for name, lines in TABLES.items()}
    done = build(write(tmp_path / "export", tables), yaml.safe_load(MAPPING) | {"date_format": date_format})
    assert done.returncode == 0, done.stderr
    assert_as_expected(tmp_path / "dataset")


def test_a_table_of_seconds_since_1970_joins_those_of_a_ward_with_a_time_zone(tmp_path):
    tables = {
        name: [[since_1970(cell, 1) if name[:5] == "werte" else cell for cell in row] for row in lines]
        for name, lines in TABLES.items()
    }
    mapping = yaml.safe_load(MAPPING)
    mapping["measurements"]["date_format"] = "epoch seconds"
    said = "the time has an offset from UTC, others of this source have none; give all of them one, or none; time_zone"
    root = write(tmp_path / "export", tables)
    assert f"row 2, column freigabe: {said}" in build(root, mapping).stderr
    done = build(root, mapping | {"time_zone": "Europe/Berlin"})
    assert done.returncode == 0, done.stderr
    assert_as_expected(tmp_path / "dataset")


@pytest.mark.parametrize("cell", ["20260403", "202604030900", "20260403090000", "45992.5", "1764547200000000"])
def test_a_number_that_may_be_a_date_is_not_taken_for_one_since_1970(cell):
    assert date_fault(cell, Dialect()) is None


@pytest.mark.parametrize(
    ("unit", "date_format", "said"),
    [
        (1, "", "a number of seconds since 1970; give date_format: epoch seconds, for this table alone among its"),
        (1, "dd.mm.yyyy", "a number of seconds since 1970; give date_format: epoch seconds, for this table alone"),
        (1000, "dd.mm.yyyy", "a number of milliseconds since 1970; give date_format: epoch milliseconds"),
        (1000, "epoch seconds", "a number of milliseconds since 1970; give date_format: epoch milliseconds"),
        (1, "epoch milliseconds", "a number of seconds since 1970; give date_format: epoch seconds"),
    ],
)
def test_undeclared_times_since_1970_are_named(tmp_path, unit, date_format, said):
    tables = {name: [[since_1970(cell, unit) for cell in row] for row in lines] for name, lines in TABLES.items()}
    mapping = {k: v for k, v in (yaml.safe_load(MAPPING) | {"date_format": date_format}).items() if v != ""}
    assert f", column aufnahme: {said}" in build(write(tmp_path / "export", tables), mapping).stderr


@pytest.mark.slow
def test_an_hour_that_the_clocks_repeat_is_the_later_one_and_counted(tmp_path):
    tables = spoiled("faelle_1.csv", 1, 2, "25.10.2026 01:00")
    tables["faelle_1.csv"][1][3] = "26.10.2026 00:00"
    tables["werte_1.csv"] = [tables["werte_1.csv"][0]] + [
        ["00070", f"25.10.2026 {clock}", "HF", "82", ""] for clock in ("01:30", "02:30", "03:30")
    ]
    mapping = yaml.safe_load(MAPPING) | {"time_zone": "Europe/Berlin"}
    root = write(tmp_path / "export", tables)
    done = build(root, mapping)
    assert rows(tmp_path / "dataset")["00070"]["lab_times"] == [0.5, 2.5, 3.5]
    said = "werte_*.csv: times in an hour that the clocks of Europe/Berlin repeat: 1;"
    assert done.stderr.count("clocks of Europe/Berlin repeat") == done.stderr.count(said) == 1
    with open(root / "werte_1.csv", "a", encoding="latin-1", newline="") as file:
        file.write("00071;29.03.2026 02:30;HF;82;\r\n")  # which no clock has shown
    said = "werte_*.csv, row 5, column zeitpunkt: the time zone is unknown, or its clocks skip or repeat this hour"
    assert said in build(root, mapping, "--check").stderr


@pytest.mark.slow
def test_cells_in_other_quotes(tmp_path):
    root = write(tmp_path / "export")
    for name, lines in TABLES.items():
        with open(root / name, "w", encoding="latin-1", newline="") as file:
            csv.writer(file, delimiter=";", quotechar="'", quoting=csv.QUOTE_ALL).writerows(lines)
    done = build(root, MAPPING + "quote: none\n")
    assert "faelle_1.csv: cells are quoted with '; give quote: \"'\"" in done.stderr
    done = build(root, MAPPING)
    assert done.stderr.count("cells are quoted with ', by its header") == 4
    assert_as_expected(tmp_path / "dataset")


def test_a_cell_that_holds_the_delimiter_without_quotes_is_named(tmp_path):
    root = write(tmp_path / "export")
    with open(root / "briefe_2.csv", "a", encoding="latin-1", newline="") as file:
        file.write("70;03.04.2026 10:00;müde; schwach\r\n")
    done = build(root, MAPPING)
    assert "briefe_2.csv, row 3: more or fewer cells than its header; put a cell that" in done.stderr


def test_lines_that_end_differently_are_named(tmp_path):
    root = write(tmp_path / "export")
    with open(root / "briefe_2.csv", "a", encoding="latin-1", newline="") as file:
        file.write("70;03.04.2026 10:00;müde\n")
    assert "briefe_2.csv: lines end with \\r\\n and with \\n" in build(root, MAPPING).stderr


def test_check_prints_what_is_understood_and_writes_nothing(tmp_path):
    root = write(tmp_path / "export")
    before = sorted(tmp_path.rglob("*"))
    done = build(root, without("units"), "--check")
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "map.yaml"])
    for line in (
        "stays: faelle_*.csv, 2 files",
        '  written with semicolons, quote ", encoding latin-1, decimal comma, dates %d.%m.%Y',
        "  patient: patnr, stay: fallnr, begin: aufnahme, end: entlassung, birth: geburtsdatum, sex: geschlecht",
        "  not read: Station",
        "rows read, at most 10,000 a table: faelle_*.csv 3, diagnosen_*.csv 3, werte_*.csv 10, briefe_*.csv 2",
        "  3 ICU stays in the tables",
        "    codes: GLU 3 (mg/dL), GLU_BGA 1 (mg/dL)",
        "codes of measurements that no channel names: KALIUM 1",
        "diagnosis codes: 3 of 3 known",
        "what looks wrong",
    ):
        assert line in done.stdout.splitlines()
    (glucose,) = [line for line in done.stdout.splitlines() if line.startswith("  Glucose, ")]
    assert glucose.startswith("  Glucose, mg/dL: 3 to 30.5, median 6.425; plausible ")
    assert glucose.endswith("<- see below")
    assert "as in mmol/L: give the unit" in done.stdout
    assert "nothing looks wrong" in build(root, MAPPING, "--check").stdout


def test_check_repeats_what_a_build_warns_of(tmp_path):
    root = write(tmp_path / "export")
    (file,) = root.glob("diagnosen_1.csv")
    file.write_text(file.read_text(encoding="latin-1").replace("I50", "I50 03.01.2026"), encoding="latin-1")
    _, said, wrong = build(root, MAPPING, "--check").stdout.partition("what looks wrong")
    assert said
    assert "of 3 diagnosis codes are in no table of codes (such as I50 03.01.2026" in wrong


def test_check_reads_the_first_rows_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets_scripts.dataset.check.FIRST_ROWS", 2)
    done = build(write(tmp_path / "export"), MAPPING, "--check")
    assert "at most 2 a table: faelle_*.csv 2, diagnosen_*.csv 2, werte_*.csv 2, briefe_*.csv 2" in done.stdout
    assert "what seems unmatched may have its match there" in done.stdout


def test_check_looks_at_values_of_whatever_stay(tmp_path):
    tables = {name: [list(line) for line in lines] for name, lines in TABLES.items()}
    for name in ("werte_1.csv", "werte_2.csv"):
        tables[name] = [line if line[2] != "GLU" else ["99", *line[1:]] for line in tables[name]]
    done = build(write(tmp_path / "export", tables), without("units").replace(", GLU_BGA", ""), "--check")
    assert (
        "median 7.25; plausible 5 to 2500, typical 43 to 187 <- looks wrong, as in mmol/L: give the unit"
        in done.stdout
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--source", "eicu", "--root", "x", "--check"],
            "--check reads a hospital's own tables; give --source tables",
        ),
        (["--source", "eicu", "--root", "x"], "--output is needed: the dataset folder to write"),
    ],
)
def test_check_and_output(options, said):
    with pytest.raises(ClinRaGenInputError, match=said):
        build_dataset.main(options)


def test_channels_are_added_to_a_set(tmp_path):
    path = tmp_path / "channels.yaml"
    own = {"name": "Bispectral index", "unit": "1", "low": 40, "high": 60, "minimum": 0, "maximum": 100}
    path.write_text(yaml.safe_dump({"extends": "paper", "channels": ["Lactate", own]}), encoding="utf-8")
    names = [channel["name"] for channel in load_channels(str(path))]
    assert names == [channel["name"] for channel in CHANNELS] + ["Lactate", "Bispectral index"]
    for fault, said in (({"extends": "mine"}, "extends is 'mine'"), ({"channels": ["pH"]}, "'pH' is there twice")):
        path.write_text(yaml.safe_dump({"extends": "paper", "channels": [own]} | fault), encoding="utf-8")
        with pytest.raises(ClinRaGenInputError, match=said):
            load_channels(str(path))
