# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import gzip
import os
import shutil
import stat
from collections import namedtuple

import duckdb
import pyarrow.parquet as pq
import pytest

from datasets_scripts import build_dataset
from datasets_scripts.common import outputs
from datasets_scripts.sources import copies, reader
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import COLUMN, EQUAL, base_tables, chart, rows, write_tables


HEART_RATE = COLUMN["Heart Rate"]


@pytest.fixture
def raw(tmp_path):
    return write_tables(tmp_path / "raw", base_tables())


@pytest.fixture
def build(tmp_path, raw):
    def build(name, *options, cache=tmp_path / "cache"):
        output = tmp_path / name
        arguments = ["--source", "mimic-iii", "--root", str(raw), "--output", str(output), "--splits", EQUAL]
        build_dataset.main([*arguments, *(["--cache", str(cache)] if cache else []), *options])
        return output

    return build


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copies_of(cache, table="chartevents"):
    return sorted(cache.glob(f"{table}-*.parquet"))


def heart_rates(dataset):
    return {row["lab_values"][0][HEART_RATE] for row in rows(dataset).values()}


@pytest.fixture
def raw_reads(monkeypatch):
    """Note each file that is unpacked."""
    opened = []

    class System(reader.UnpackedFileSystem):
        def _open(self, path, mode="rb", **options):
            opened.append(path)
            return super()._open(path, mode, **options)

    monkeypatch.setattr(reader, "UnpackedFileSystem", System)
    return opened


def test_the_first_build_and_those_that_read_its_copies_give_the_same_bytes(tmp_path, build, raw_reads):
    without = content(build("without", cache=None))
    assert content(build("first")) == without
    assert raw_reads
    raw_reads.clear()
    assert content(build("second")) == without
    assert not raw_reads


def test_nobody_else_can_read_a_copy(tmp_path, build):
    build("dataset")
    cache = tmp_path / "cache"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in cache.iterdir()}
    assert (stat.S_IMODE(cache.stat().st_mode), modes) == (0o700, {0o600})


def test_a_changed_table_is_copied_anew_in_place_of_its_old_copy(tmp_path, raw, build):
    build("first")
    (before,) = copies_of(tmp_path / "cache")
    labs = copies_of(tmp_path / "cache", "labevents")
    write_tables(raw, {"CHARTEVENTS": [chart(i, 211, 1, 90) for i in range(1, 13)]})
    assert heart_rates(build("second")) == {90}
    (after,) = copies_of(tmp_path / "cache")
    assert after != before
    assert copies_of(tmp_path / "cache", "labevents") == labs


def test_a_change_that_keeps_size_and_time_is_seen(raw, build):
    file = raw / "CHARTEVENTS.csv.gz"
    text = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(text, 0))
    build("first")
    before = file.stat()
    file.write_bytes(gzip.compress(text.replace(b",80,80,", b",90,90,"), 0))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert heart_rates(build("second")) == {90}


def test_what_a_killed_build_left_is_replaced_and_a_copy_that_was_cut_short_is_written_again(tmp_path, build):
    whole = content(build("first"))
    (copy,) = copies_of(tmp_path / "cache")
    copy.write_bytes(copy.read_bytes()[:100])
    aside = copy.with_name(f"{copy.stem.rsplit('-', 1)[0]}.unfinished")
    aside.write_text("begun")
    assert content(build("second")) == whole
    assert not aside.exists()
    assert pq.read_metadata(copy).num_rows == 12


def test_an_interruption_while_copying_leaves_no_copy_and_can_be_resumed(tmp_path, build, monkeypatch):
    written = copies._write_aside

    def interrupted(connection, query, aside):
        written(connection, query, aside)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copies, "_write_aside", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build("dataset")
    assert not any((tmp_path / "cache").iterdir())
    assert content(build("dataset")) == content(build("other", cache=None))


def test_a_build_resumes_though_the_copies_that_it_began_with_are_gone(tmp_path, build, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(reader, "measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            build("dataset")
    shutil.rmtree(tmp_path / "cache")
    assert content(build("dataset", cache=None)) == content(build("other", cache=None))


def full(folder, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 100, 0))
    return folder


def filled(folder, monkeypatch):
    def fill(*_):
        raise duckdb.IOException("Could not write file: No space left on device")

    monkeypatch.setattr(copies, "_write_aside", fill)
    return folder


def a_file(folder, monkeypatch):
    folder.write_text("")
    return folder


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (full, "its disk has less free space than the table takes"),
        (filled, "its disk is full"),
        (a_file, "File exists"),
    ],
)
def test_without_a_place_for_copies_the_tables_are_read_as_they_are(tmp_path, build, monkeypatch, caplog, spoil, told):
    cache = spoil(tmp_path / "cache", monkeypatch)
    assert content(build("dataset")) == content(build("other", cache=None))
    (line,) = [record.message for record in caplog.records if "--cache" in record.message]
    assert told in line
    assert "CHARTEVENTS.csv.gz, LABEVENTS.csv.gz" in line
    assert not cache.is_dir() or not any(cache.iterdir())


def test_a_table_that_another_build_is_copying_is_read_as_it_is(tmp_path, build, caplog):
    build("first")
    (copy,) = copies_of(tmp_path / "cache")
    copy.unlink()
    place = copy.with_name(copy.stem.rsplit("-", 1)[0])
    with outputs.held(place):
        outputs._held.clear()  # as another process sees it
        build("second")
    assert "another process is working on" in caplog.text
    assert not copies_of(tmp_path / "cache")


def test_a_fault_in_a_table_is_told_of_the_table(tmp_path, raw, build):
    rows_with_fault = [*base_tables()["CHARTEVENTS"], chart(1, 211, 2, 80)[:-2] + ["eighty", ""]]
    write_tables(raw, {"CHARTEVENTS": rows_with_fault})
    for name in ("first", "second"):
        with pytest.raises(ClinRaGenInputError, match=r"^CHARTEVENTS\.csv\.gz, row 14, column valuenum: not a number"):
            build(name)


def test_a_table_that_cannot_be_read_leaves_no_copy(tmp_path, raw, build):
    file = raw / "CHARTEVENTS.csv.gz"
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(ClinRaGenInputError, match="the compressed file is cut short or damaged"):
        build("dataset")
    assert not copies_of(tmp_path / "cache")


def test_the_output_is_no_part_of_the_cache(tmp_path, build):
    with pytest.raises(ClinRaGenInputError, match="is, or is inside"):
        build("dataset", cache=tmp_path / "dataset" / "cache")
