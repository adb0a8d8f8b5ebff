# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import gzip
import io
from contextlib import contextmanager

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import build_dataset
from datasets_scripts.common.outputs import is_interruption
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.unpacked import BLOCK, StoredZstandard, UnpackedFileSystem, unpacked_files
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import base_tables, build, chart


OPTIONS = "auto_detect = false, header = true, quote = '\"', columns = {a: 'VARCHAR', b: 'VARCHAR'}"


@contextmanager
def engine(system):
    with duckdb.connect() as connection:
        connection.register_filesystem(system)
        yield connection


def read(*files, system=None):
    with engine(system or UnpackedFileSystem()) as connection:
        return connection.execute(f"SELECT a, b FROM read_csv({unpacked_files(list(files))}, {OPTIONS})").fetchall()


@pytest.mark.parametrize("length", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
@pytest.mark.parametrize("size", [7, BLOCK + 3, -1])
def test_another_reader_of_zstandard_finds_the_content(tmp_path, length, size):
    content = (b"0123456789abcdef\n" * (length // 17 + 1))[:length]
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(content))
    with StoredZstandard(str(file)) as stream:
        assert stream.seek(0) == 0
        packed = b"".join(iter(lambda: stream.read(size), b""))
        with pytest.raises(io.UnsupportedOperation):
            stream.seek(1)
    with pa.CompressedInputStream(pa.py_buffer(packed), "zstd") as found:
        assert found.read() == content


@given(
    cells=st.lists(st.tuples(*[st.text("ab ,\n\"'é", min_size=1, max_size=9)] * 2), min_size=1, max_size=50),
    cut=st.integers(0, 2000),
)
def test_any_cells_come_back_also_of_a_file_in_several_members(tmp_path_factory, cells, cut):
    lines = ["a,b\n", *(",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in cells)]
    content = "".join(lines).encode()
    file = tmp_path_factory.mktemp("tables") / "a.csv.gz"
    file.write_bytes(gzip.compress(content[:cut]) + gzip.compress(content[cut:]))
    assert read(file) == cells


def test_files_are_found_whatever_signs_their_names_have(tmp_path):
    files = [tmp_path / "it's [1]?.csv.gz", tmp_path / "b*.csv.gz"]
    for i, file in enumerate(files):
        file.write_bytes(gzip.compress(f"a,b\n{i},x\n".encode()))
    assert sorted(read(*files)) == [("0", "x"), ("1", "x")]
    assert unpacked_files([*files, tmp_path / "c.csv"]) is None


def test_a_table_larger_than_the_buffers_is_read_whole_by_several_threads(tmp_path):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"a,b\n" + b"".join(b"%d,%064d\n" % (i, i) for i in range(1_000_000)), 1))
    with engine(UnpackedFileSystem()) as connection:
        connection.execute("SET threads = 4; SET preserve_insertion_order = false")
        query = f"SELECT count(*), sum(a::INT), sum(b::INT) FROM read_csv({unpacked_files([file])}, {OPTIONS})"
        assert connection.execute(query).fetchone() == (10**6, *[10**6 * (10**6 - 1) // 2] * 2)


def cut(content):
    return content[: len(content) // 2]


def with_wrong_checksum(content):
    """The cells are all right: nothing but the checksum tells."""
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


@pytest.mark.parametrize("damage", [cut, with_wrong_checksum])
def test_a_damaged_file_is_named_in_one_line(tmp_path, damage):
    tables = base_tables()
    tables["CHARTEVENTS"] += [chart(1 + i % 12, 211, i % 40 + i % 7 / 7, 60 + i % 50) for i in range(50_000)]
    build(tmp_path, tables)
    file = next((tmp_path / "raw").glob("CHARTEVENTS*"))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ClinRaGenInputError) as error:
        build_dataset.main(["--source", "mimic-iii", "--root", str(file.parent), "--output", str(tmp_path / "again")])
    assert str(error.value) == f"{file.name}: the compressed file is cut short or damaged; fetch it again"


def test_gzipped_tables_give_the_dataset_of_plain_ones(tmp_path):
    plain, gzipped = (build(tmp_path / suffix, base_tables(), suffix=suffix) for suffix in (".csv", ".csv.gz"))
    assert read_metadata(plain)["content_hash"] == read_metadata(gzipped)["content_hash"]


class Interrupted(UnpackedFileSystem):
    """Press Ctrl-C while a file is read."""

    def _open(self, path, mode="rb", **_):
        stream = StoredZstandard(path)
        stream.content = self
        return stream

    def read(self, size):
        raise KeyboardInterrupt

    def close(self):
        pass


def test_ctrl_c_while_a_file_is_read_is_known(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(duckdb.Error) as error:
        read(tmp_path / "a.csv.gz", system=Interrupted())
    assert is_interruption(error.value)
