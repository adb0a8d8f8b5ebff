# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A killed build leaves nothing that looks finished, resumes when started again, and ends in the same bytes."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.etl import copy_tables
from datasets_scripts import build_dataset
from datasets_scripts.common.outputs import finished_folder
from datasets_scripts.dataset import build as build_module
from datasets_scripts.dataset import records
from datasets_scripts.dataset.folder import write_metadata, write_shard
from datasets_scripts.sources import reader
from datasets_scripts.sources.synthetic import write_synthetic_tables
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.commands import run_script


def start(source, root, output, stderr=subprocess.DEVNULL):
    command = [
        sys.executable,
        build_dataset.__file__,
        "--source",
        source,
        "--root",
        str(root),
        "--output",
        str(output),
    ]
    return subprocess.Popen(command, stderr=stderr, text=True)


def files(folder):
    """Every file of a folder and the hash of its bytes."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def kill_and_restart(source, root, tmp_path, times, seed, number=signal.SIGKILL):
    """
    End builds by a signal at random moments, and start each again until it finishes; return the share of signals that
    hit unfinished builds. A signal that comes too late is sent again to another build, earlier.
    """
    began = time.perf_counter()
    assert start(source, root, tmp_path / "undisturbed").wait() == 0
    duration = time.perf_counter() - began
    undisturbed = files(tmp_path / "undisturbed")
    draw, hits = random.Random(seed), 0
    for i in range(3 * times):
        if hits == times:
            break
        output = tmp_path / f"killed-{i}"
        process = start(source, root, output, stderr=subprocess.PIPE)
        time.sleep(draw.uniform(0.1, 0.95) * duration)
        process.send_signal(number)
        errors = process.communicate()[1]
        if not output.exists():  # a signal that came too late finds the whole folder there
            hits += 1
            if number == signal.SIGINT:
                assert process.returncode == 130, errors
                assert errors.splitlines()[-1].startswith("error: interrupted;")
                assert "Traceback" not in errors
            assert start(source, root, output).wait() == 0
        else:
            duration *= 0.7
        assert files(output) == undisturbed
        assert {path.name for path in tmp_path.iterdir()} <= {
            "undisturbed",
            root.name,
            *(f"killed-{k}" for k in range(i + 1)),
        }
    return hits / times


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_ends_in_the_same_bytes(tmp_path, number):
    write_synthetic_tables(tmp_path / "raw", 300, seed=0)
    assert kill_and_restart("mimic-iv", tmp_path / "raw", tmp_path, times=3, seed=0, number=number) > 0.5


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("source", ["mimic-iii", "eicu"])
def test_ten_kills_of_a_build_of_a_demo(real_data, tmp_path, source, number):
    root = real_data / "eicu-crd-demo"
    if source == "mimic-iii":
        root = copy_tables(real_data / "mimic-iii-demo", 10, tmp_path / "x10")
    assert kill_and_restart(source, root, tmp_path, times=10, seed=1, number=number) >= 0.8


def test_whole_steps_and_blocks_are_not_repeated(tmp_path, monkeypatch):
    write_synthetic_tables(tmp_path / "raw", 120, seed=0)
    arguments = ["--source", "mimic-iv", "--root", str(tmp_path / "raw"), "--output"]
    monkeypatch.setattr(records, "STAYS_PER_BLOCK", 50)
    build_dataset.main([*arguments, str(tmp_path / "whole")])
    written, write_shard = [], records.write_shard

    def write_and_die(folder, split, number, table):
        if number == 2:
            raise KeyboardInterrupt  # keeps what was done, like a kill
        written.append((split, number))
        write_shard(folder, split, number, table)

    monkeypatch.setattr(records, "write_shard", write_and_die)
    with pytest.raises(KeyboardInterrupt):
        build_dataset.main([*arguments, str(tmp_path / "killed")])
    assert {number for _, number in written} == {0, 1}
    written.clear()

    def repeated(*_):
        raise AssertionError("a finished step was repeated")

    monkeypatch.undo()
    monkeypatch.setattr(records, "STAYS_PER_BLOCK", 50)
    for step in ("open_tables", "select_stays", "_map_diagnoses", "measure", "_read_notes"):
        monkeypatch.setattr(reader, step, repeated)

    def write_and_note(folder, split, number, table):
        written.append((split, number))
        write_shard(folder, split, number, table)

    monkeypatch.setattr(records, "write_shard", write_and_note)
    build_dataset.main([*arguments, str(tmp_path / "killed")])
    assert {number for _, number in written} == {2}
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def interrupted(output, resume):
    """Return whether a start finds the output of an earlier one; it writes some itself and is interrupted."""
    found = []

    def work():
        with finished_folder(output, resume=resume) as folder:
            found.append((folder / "part").exists())
            (folder / "part").write_text("done")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    return found[0]


def test_only_a_start_with_the_same_settings_and_tables_resumes(tmp_path):
    output = tmp_path / "out"
    assert not interrupted(output, {"a": 1})
    assert interrupted(output, {"a": 1})
    assert not interrupted(output, {"a": 2})
    assert not interrupted(output, None)
    assert not list(tmp_path.iterdir())


def test_a_second_build_of_the_same_output_leaves_the_first_alone(tmp_path):
    write_synthetic_tables(tmp_path / "raw", 300, seed=0)
    first = start("mimic-iv", tmp_path / "raw", tmp_path / "out")
    database = tmp_path / "out.unfinished" / "work" / reader.DATABASE
    while not database.exists() and first.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    first.send_signal(signal.SIGSTOP)  # in the middle of its work
    command = [sys.executable, build_dataset.__file__, "--source", "mimic-iv", "--root", str(tmp_path / "raw")]
    second = subprocess.run([*command, "--output", str(tmp_path / "out")], capture_output=True, text=True)
    first.send_signal(signal.SIGCONT)
    assert (second.returncode, first.wait()) == (2, 0)
    assert "error: another process is working on" in second.stderr
    assert (tmp_path / "out" / "README.md").is_file()


FULL_AT = ["20k", "500k", "3m", "7m"]  # at the very start, at the first table, at the series, at the shards


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=[] if size == "7m" else pytest.mark.slow) for size in FULL_AT]
)
def test_a_full_disk_is_one_clear_line_and_the_work_is_resumed(tmp_path, small_disk, size):
    write_synthetic_tables(tmp_path / "raw", 300, seed=0)
    arguments = ["--source", "mimic-iv", "--root", tmp_path / "raw", "--output"]
    disk = small_disk(size)
    done = run_script(build_dataset.__file__, *arguments, disk / "out")
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: the disk of"), done.stderr
    assert last.endswith("and start the same command again to resume it")
    assert [path.name for path in disk.iterdir()] == ["out.unfinished"]
    small_disk("200m")
    assert run_script(build_dataset.__file__, *arguments, disk / "out").returncode == 0
    assert [path.name for path in disk.iterdir()] == ["out"]
    assert run_script(build_dataset.__file__, *arguments, tmp_path / "whole").returncode == 0
    assert files(disk / "out") == files(tmp_path / "whole")


def test_a_shard_that_was_lost_from_a_killed_build_is_written_again(tmp_path, monkeypatch):
    write_synthetic_tables(tmp_path / "raw", 120, seed=0)
    arguments = ["--source", "mimic-iv", "--root", str(tmp_path / "raw"), "--output"]
    monkeypatch.setattr(records, "STAYS_PER_BLOCK", 50)
    build_dataset.main([*arguments, str(tmp_path / "whole")])
    monkeypatch.setattr(build_module, "write_metadata", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_dataset.main([*arguments, str(tmp_path / "killed")])
    monkeypatch.setattr(build_module, "write_metadata", write_metadata)
    (tmp_path / "killed.unfinished" / "data" / "train-00001.parquet").unlink()
    build_dataset.main([*arguments, str(tmp_path / "killed")])
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_folder_with_fewer_rows_than_counted_is_not_finished(tmp_path, monkeypatch):
    write_synthetic_tables(tmp_path / "raw", 30, seed=0)
    monkeypatch.setattr(
        records, "write_shard", lambda *where_and_table: write_shard(*where_and_table[:-1], where_and_table[-1][1:])
    )
    arguments = ["--source", "mimic-iv", "--root", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]
    with pytest.raises(ClinRaGenInputError, match=r"split 'train' has \d+ records in 1 files .* counts \d+"):
        build_dataset.main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
