# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""An OMOP database on a real PostgreSQL server: the same dataset as of its Parquet files, and nothing left behind."""

import json
import sys
import tempfile
import threading

import pyarrow.parquet as pq
import pytest

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.omop import tables_to_copy
from datasets_scripts.sources.postgres import copied_tables, parse_url
from datasets_scripts.sources.synthetic import write_synthetic_tables
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.commands import run_script
from tests.datasets_scripts.sources.omop_tables import export_mimic
from tests.datasets_scripts.sources.postgres_server import OWNER, WORD, server
from tests.datasets_scripts.sources.raw_tables import rows


TYPES = {  # of the columns that a database would not keep as text
    "person": {"year_of_birth": "integer"},
    "visit_occurrence": {
        "visit_start_date": "date", "visit_start_datetime": "timestamp",
        "visit_end_date": "date", "visit_end_datetime": "timestamp",
    },
    "visit_detail": {
        "visit_detail_start_date": "date", "visit_detail_start_datetime": "timestamp",
        "visit_detail_end_date": "date", "visit_detail_end_datetime": "timestamp",
    },
    "measurement": {
        "measurement_date": "date", "measurement_datetime": "timestamp", "value_as_number": "numeric",
        "unit_source_value": "varchar(50)",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def place():
    """The URL of a server whose schema `cdm` is empty; the password stands in the environment."""
    with server() as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", WORD)
        execute(url, "CREATE SCHEMA cdm")
        yield url


@pytest.fixture(scope="module")
def filled(place, tmp_path_factory):
    """The URL of a database of 40 simulated patients, and the folder of Parquet files with the same tables."""
    folder = tmp_path_factory.mktemp("omop")
    write_synthetic_tables(folder / "raw", 40, 0)
    export_mimic(folder / "raw", folder / "parquet", ".parquet")
    with connect(place) as connection, connection.cursor() as cursor:
        for path in sorted((folder / "parquet").glob("*.parquet")):
            name = "PERSON" if path.stem == "person" else path.stem  # an export may keep capitals
            cursor.adbc_ingest(name, pq.read_table(path), mode="create", db_schema_name="cdm")
            for column, kind in TYPES.get(path.stem, {}).items():
                cursor.execute(f'ALTER TABLE cdm."{name}" ALTER {column} TYPE {kind} USING {column}::text::{kind}')
        connection.commit()
    return f"{place}?schema=cdm", folder / "parquet"


@pytest.fixture
def no_rest(tmp_path, monkeypatch):
    """The folder for temporary files, in which a test leaves none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    yield tmp_path / "temporary"
    assert not list((tmp_path / "temporary").iterdir())


def connect(url):
    from adbc_driver_postgresql import dbapi

    return dbapi.connect(url)


def execute(url, *statements):
    with connect(url) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def build(root, output, *options):
    arguments = ["--source", "omop", "--root", root, "--output", output, "--splits", "train=1", *options]
    return run_script(build_dataset.__file__, *arguments)


def test_the_dataset_is_that_of_the_parquet_files(filled, no_rest, tmp_path):
    url, parquet = filled
    for root, output in ((url, tmp_path / "a"), (parquet, tmp_path / "b")):
        done = build(root, output)
        assert done.returncode == 0, done.stderr
    assert repr(rows(tmp_path / "a")) == repr(rows(tmp_path / "b"))
    assert len(rows(tmp_path / "a")) == 40
    ours, theirs = read_metadata(tmp_path / "a"), read_metadata(tmp_path / "b")
    assert ours == theirs
    assert ours["content_hash"]


def test_only_what_is_read_is_copied_to_a_private_folder(filled, no_rest):
    with copied_tables(filled[0], tables_to_copy()) as folder:
        assert folder.parent == no_rest
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stem for path in folder.iterdir()} == {path.stem for path in filled[1].iterdir()}
        names = pq.read_table(folder / "person.parquet").column_names
        assert "person_id" in names
        assert "person_source_value" not in names
        assert "person_source_value" in pq.read_table(filled[1] / "person.parquet").column_names


def test_of_the_vocabulary_only_what_is_asked_for_is_copied(place, no_rest):
    execute(
        place,
        "CREATE SCHEMA words",
        "CREATE TABLE words.concept (concept_id int, vocabulary_id text, concept_class_id text, concept_code text)",
        "INSERT INTO words.concept VALUES (1, 'ICD10CM', 'x', 'I50'), (2, 'SNOMED', 'x', '7'), (3, NULL, 'x', '8')",
    )
    tables = {"concept": tables_to_copy()["concept"]}
    with copied_tables(f"{place}?schema=words", tables) as folder:
        assert pq.read_table(folder / "concept.parquet").column("concept_id").to_pylist() == ["1"]


def test_all_tables_are_of_one_moment(place, no_rest):
    """A writer commits pairs of rows all the time: a copy without a snapshot would hold more of the later table."""
    text = "SELECT i, repeat('x', 200) FROM generate_series(1, 30000) i"
    execute(
        place,
        "CREATE SCHEMA busy",
        f"CREATE TABLE busy.person AS {text.replace('i,', 'i AS person_id,', 1)}",
        f"CREATE TABLE busy.visit_detail AS {text.replace('i,', 'i AS person_id,', 1)}",
    )
    stopped, written = threading.Event(), []

    def write():
        with connect(place) as connection, connection.cursor() as cursor:
            while not stopped.is_set():
                for table in ("person", "visit_detail"):
                    cursor.execute(f"INSERT INTO busy.{table} VALUES (0, '')")
                connection.commit()
                written.append(1)

    tables = {name: {"columns": ["person_id"]} for name in ("person", "visit_detail")}
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not written:
            pass
        before = len(written)
        with copied_tables(f"{place}?schema=busy", tables) as folder:
            after = len(written)
            numbers = {name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in tables}
    finally:
        stopped.set()
        writer.join()
    assert after > before + 2
    assert numbers["person"] == numbers["visit_detail"] >= 30_000


def test_nothing_is_written_to_the_database(place, no_rest):
    execute(
        place,
        "CREATE SCHEMA sly",
        "CREATE TABLE sly.log (number int)",
        "CREATE FUNCTION sly.note() RETURNS int LANGUAGE sql AS 'INSERT INTO sly.log VALUES (1) RETURNING 1'",
        "CREATE VIEW sly.person AS SELECT sly.note() AS person_id",
    )
    with (
        pytest.raises(ClinRaGenInputError, match="cannot execute INSERT in a read-only transaction"),
        copied_tables(f"{place}?schema=sly", {"person": {"columns": ["person_id"]}}),
    ):
        pass


def test_a_connection_that_is_lost_is_told(place, no_rest):
    """Another client ends the connection, again and again until it meets one that copies."""
    rows_of = "SELECT i AS person_id, repeat('x', 100) AS rest FROM generate_series(1, 50000000) i"
    execute(place, "CREATE SCHEMA lost", f"CREATE VIEW lost.person AS {rows_of}")
    ended, kill = threading.Event(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE "

    def end():
        while not ended.wait(0.2):
            execute(place, f"{kill} 'COPY%lost%' AND pid <> pg_backend_pid()")

    other = threading.Thread(target=end)
    other.start()
    try:
        with (
            pytest.raises(ClinRaGenInputError, match=r"--root: PostgreSQL: .*(terminat|closed the connection)"),
            copied_tables(f"{place}?schema=lost", {"person": {"columns": ["person_id"]}}),
        ):
            pass
    finally:
        ended.set()
        other.join()


def test_times_are_told_in_utc_whatever_the_server_is_set_to(place, no_rest):
    execute(
        place,
        f"ALTER ROLE {OWNER} SET timezone = 'Asia/Tokyo'",
        f"ALTER ROLE {OWNER} SET datestyle = 'SQL, DMY'",
        "CREATE SCHEMA far",
        "CREATE TABLE far.note (note_datetime timestamptz, note_date date)",
        "INSERT INTO far.note VALUES ('2026-02-03 04:05:06+09', '2026-02-03')",
    )
    try:
        tables = {"note": {"columns": ["note_datetime", "note_date"]}}
        with copied_tables(f"{place}?schema=far", tables) as folder:
            (row,) = pq.read_table(folder / "note.parquet").to_pylist()
    finally:
        execute(place, f"ALTER ROLE {OWNER} RESET ALL")
    assert row == {"note_datetime": "2026-02-02 19:05:06+00", "note_date": "2026-02-03"}


def test_a_build_that_ends_early_leaves_no_copy(filled, no_rest, tmp_path):
    """Notes of a column that is no date: the build is refused after the tables were copied."""
    url, _ = filled
    execute(
        url.partition("?")[0],
        "CREATE TABLE cdm.note (visit_occurrence_id bigint, note_date text, note_title text, note_text text)",
        "INSERT INTO cdm.note VALUES (1, 'yesterday', 'Note', 'words of a patient')",
    )
    try:
        done = build(url, tmp_path / "a")
    finally:
        execute(url.partition("?")[0], "DROP TABLE cdm.note")
    said = "note.parquet, row 2, column note_date: not a date and time; correct the row"
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "words of" not in done.stderr
    assert not list(no_rest.iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace("owner@", "stranger@"), 'password authentication failed for user "stranger"'),
        (lambda url: url.replace("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
        (lambda url: url.replace("schema=cdm", "schema=dcm"), "table person is missing in the search path"),
        (lambda url: url.replace("schema=cdm", "options=-csearch_path%3Dcdm"), None),
        (lambda url: url.replace("schema=cdm", "foo=1"), 'invalid URI query parameter: "foo"'),
        (lambda url: url.partition("?")[0], "table person is missing in public; name its schema by ?schema=SCHEMA"),
    ],
)
def test_a_database_that_is_refused_is_told_in_one_line(filled, no_rest, tmp_path, change, said):
    done = build(change(filled[0]), tmp_path / "a")
    if said is None:
        assert done.returncode == 0, done.stderr
        return
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1)
    assert said in done.stderr
    assert not (tmp_path / "a").exists()


def test_no_right_to_a_table_is_told(filled, no_rest, tmp_path, monkeypatch):
    url = filled[0]
    base = url.partition("?")[0]
    execute(base, "CREATE ROLE reader LOGIN PASSWORD 'reader'", "GRANT USAGE ON SCHEMA cdm TO reader")
    monkeypatch.setenv("PGPASSWORD", "reader")
    done = build(url.replace("owner@", "reader@"), tmp_path / "a")
    assert "permission denied for" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://owner:geheim@host/omop",
        "postgresql://owner:geheim@ho:st@host/omop",
        "postgresql://owner:ge/heim@host/omop",
        "postgresql://owner:ge?heim@host/omop",
        "postgresql://owner:geheim",
        "postgresql://host/omop?password=geheim",
        "postgresql://host/omop?sslmode=require&pass%77ord=geheim",
        "postgresql://host/omop?sslpassword=geheim",
        "mysql://owner:geheim@host/omop",
    ],
)
def test_a_url_that_may_hold_a_password_is_refused_and_not_repeated(tmp_path, url):
    done = build(url, tmp_path / "a")
    assert done.returncode == 2
    assert "write it as postgresql://USER@HOST:PORT/DATABASE?schema=SCHEMA" in done.stderr
    assert "heim" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("url", "address", "schema"),
    [
        ("postgresql://", "postgresql://", None),
        ("postgres://u%40x@h:5432/d?schema=c%20d&sslmode=require", "postgres://u%40x@h:5432/d?sslmode=require", "c d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=/run/postgresql", None),
        ("postgresql://[::1]:5432,h2:5/d?schema=cdm", "postgresql://[::1]:5432,h2:5/d", "cdm"),
    ],
)
def test_a_url_is_handed_on_without_the_schema(url, address, schema):
    assert parse_url(url) == (address, schema)


def test_the_password_stands_nowhere(filled, no_rest, tmp_path):
    done = build(filled[0], tmp_path / "a")
    texts = [done.stdout, done.stderr, json.dumps(read_metadata(tmp_path / "a"))]
    texts += [path.read_text(encoding="utf-8") for path in (tmp_path / "a").glob("*.*") if path.suffix != ".parquet"]
    for text in texts:
        for hidden in (WORD, OWNER + "@", "postgresql:"):
            assert hidden not in text


def test_a_server_is_read_of_omop_alone(tmp_path):
    arguments = ["--source", "eicu", "--root", "postgresql://host/omop", "--output", tmp_path / "a"]
    done = run_script(build_dataset.__file__, *arguments)
    assert "of eicu no server is read, only of omop" in done.stderr


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)  # as where it is not installed
    done = build("postgresql://host/omop", tmp_path / "a")
    assert "adbc_driver_postgresql is not installed; pip install 'clinragen[postgres]'" in done.stderr
    assert done.returncode == 2
