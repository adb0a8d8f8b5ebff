# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import multiprocessing
import os
import signal

import pytest

from datasets_scripts import build_dataset
from datasets_scripts.common.outputs import ResumableError
from datasets_scripts.dataset import records
from datasets_scripts.sources.synthetic import write_synthetic_tables


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Build a dataset of six blocks of stays; return its files."""
    monkeypatch.setattr(records, "STAYS_PER_BLOCK", 20)
    write_synthetic_tables(tmp_path / "raw", 120, seed=0)

    def build(name, processes):
        arguments = ["--source", "mimic-iv", "--root", str(tmp_path / "raw"), "--output", str(tmp_path / name)]
        build_dataset.main([*arguments, "--processes", processes])
        folder = tmp_path / name
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return build


def test_two_processes_write_the_bytes_of_one_and_share_the_work(build, monkeypatch):
    alone = build("alone", "1")
    written, write_shard = set(), records.write_shard

    def noted(folder, split, number, table):
        written.add(number)
        write_shard(folder, split, number, table)

    monkeypatch.setattr(records, "write_shard", noted)
    assert build("together", "2") == alone
    assert 0 in written
    assert len(written) < 6


class KilledThere(records.ShardWriter):
    """Die in another process than the command's, as if the system had killed it."""

    def __call__(self, numbered):
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(numbered)


def test_a_killed_process_is_told_in_one_line_and_the_build_resumes(build, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(records, "ShardWriter", KilledThere)
        with pytest.raises(ResumableError, match="--processes: one of them was killed"):
            build("killed", "2")
    assert build("killed", "1") == build("whole", "1")


@pytest.mark.parametrize(("blocks", "threads", "expected"), [(3, None, 1), (4, None, 4), (1000, None, 4), (9, "1", 1)])
def test_several_processes_work_where_there_are_many_stays(monkeypatch, blocks, threads, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert records._processes_for(blocks) == expected
