# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""One output, one process; unwritable places; the state after an interruption and a full disk."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from datasets_scripts import build_dataset, build_knowledge, generate_rationales
from datasets_scripts.common.outputs import (
    BusyError,
    ResumableError,
    check_free,
    check_separate,
    finished_folder,
    held,
    is_full_disk,
    is_interruption,
    write_whole,
)
from datasets_scripts.sources.synthetic import write_synthetic_tables
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from tests.commands import run_script


ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys, time
from datasets_scripts.common.outputs import held
with held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def another_process():
    """A function that makes another process lock an output, and returns that process."""
    with ExitStack() as processes:

        def hold(output):
            command = [sys.executable, "-c", HOLDER, str(output)]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            processes.enter_context(process)
            processes.callback(process.kill)
            assert process.stdout.readline() == "held\n"
            return process

        yield hold


def test_an_output_locked_by_another_process_is_refused_and_the_process_named(tmp_path, another_process):
    other = another_process(tmp_path / "out")
    with pytest.raises(BusyError) as caught, finished_folder(tmp_path / "out"):
        pass
    assert f"process {other.pid} on " in str(caught.value)
    assert f"since {time.strftime('%Y-%m-%d')}" in str(caught.value)
    assert str(caught.value).endswith("wait for it or end it, or name another output")
    with held(tmp_path / "out2"):
        pass


def test_the_lock_of_a_killed_process_is_free_and_leaves_no_file(tmp_path, another_process):
    other = another_process(tmp_path / "out")
    other.kill()
    other.wait()
    with held(tmp_path / "out"):
        assert [path.name for path in tmp_path.iterdir()] == [".out.clinragen-lock"]
    assert not list(tmp_path.iterdir())


def test_a_place_has_one_lock_whatever_path_leads_to_it(tmp_path, another_process):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    another_process(tmp_path / "link" / "out")
    with pytest.raises(BusyError), held(tmp_path / "real" / ".." / "real" / "out"):
        pass


def test_a_process_holds_its_own_output_again(tmp_path):
    with held(tmp_path / "out"), held(tmp_path / "out"):
        pass
    assert not list(tmp_path.iterdir())


def test_on_a_disk_without_locks_the_command_warns_and_works(tmp_path, monkeypatch, caplog):
    import fcntl

    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with finished_folder(tmp_path / "out") as folder:
        (folder / "part").write_text("done")
    assert "has no locks" in caplog.text
    assert (tmp_path / "out" / "part").read_text() == "done"


@pytest.fixture
def places(tmp_path):
    """Places that cannot be written, by name."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "to-full").symlink_to("full")
    (tmp_path / "empty").mkdir()
    (tmp_path / "to-empty").symlink_to("empty")
    (tmp_path / "to-file").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "work.unfinished").mkdir()
    (tmp_path / "work.unfinished" / "thesis.txt").write_text("mine")
    (tmp_path / "notes.unfinished").write_text("mine")
    (tmp_path / "linked.unfinished").symlink_to("full")
    return tmp_path


PLACES = {
    "file": "exists already",
    "full": "exists already",
    "full/thesis.txt": "exists already",
    "file/out": "file is a file, no folder",
    "file/deep/er/out": "file is a file, no folder",
    "to-full": "is a symbolic link to full; name its target",
    "to-empty": "is a symbolic link to empty",
    "to-file": "is a symbolic link to file",
    "dangling": "is a symbolic link to nowhere, which does not exist",
    "dangling/out": "is a symbolic link to nothing",
    "work": "work.unfinished is in the way, and was not created by this program",
    "notes": "notes.unfinished is in the way",
    "linked": "linked.unfinished is in the way",
    "x" * 300: "File name too long",
    "x" * 250: "File name too long",
}


def what_is_in(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} | {
        str(p.relative_to(folder)): None for p in folder.rglob("*") if not p.is_file()
    }


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_cannot_be_written_is_refused_and_nothing_is_touched(places, place):
    before = what_is_in(places)
    with pytest.raises(ClinRaGenInputError, match=PLACES[place]) as caught, finished_folder(places / place):
        raise AssertionError("the work began")
    assert "\n" not in str(caught.value)
    assert what_is_in(places) == before


def build(*options):
    return run_script(build_dataset.__file__, *options)


def teach(*options):
    return run_script(generate_rationales.__file__, "--teacher", "template", *options)


def test_builds_and_teachers_check_their_output_before_they_read_anything(places, data):
    before = what_is_in(places)
    for place, message in PLACES.items():
        for done in (
            build("--source", "mimic-iv", "--root", data / "raw", "--output", places / place),
            teach("--dataset", data / "dataset", "--knowledge", data / "knowledge.json", "--output", places / place),
        ):
            assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
            assert message in done.stderr
    assert what_is_in(places) == before


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """`raw/`, `dataset/` and `knowledge.json` of 40 simulated patients."""
    folder = tmp_path_factory.mktemp("data")
    write_synthetic_tables(folder / "raw", 40, seed=0)
    build_dataset.main(["--source", "mimic-iv", "--root", str(folder / "raw"), "--output", str(folder / "dataset")])
    build_knowledge.main(["--corpus", "builtin", "--output", str(folder / "knowledge.json")])
    return folder


def test_an_output_inside_an_input_is_refused(data):
    for options in (
        ["--output", data / "raw"],
        ["--output", data / "out", "--also-meds", data / "out"],
        ["--output", data / "out", "--also-meds", data / "out" / "meds"],
        ["--output", data / "out", "--also-meds", data / "out.unfinished"],
        ["--output", data / "meds" / "out", "--also-meds", data / "meds"],
    ):
        before = what_is_in(data / "raw").keys()
        done = build("--source", "mimic-iv", "--root", data / "raw", *options)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "is inside" in done.stderr or "exists already" in done.stderr, done.stderr
        assert what_is_in(data / "raw").keys() == before
        assert not (data / "out").exists()
    (data / "events" / "data").mkdir(parents=True)
    done = build("--source", "meds", "--root", data / "events", "--output", data / "events" / "data" / "out")
    assert "is inside" in done.stderr  # its files are found in all folders below
    knowledge = ["--knowledge", data / "knowledge.json"]
    done = teach("--dataset", data / "dataset", *knowledge, "--output", data / "dataset" / "data" / "out")
    assert "is inside" in done.stderr


def test_two_outputs_are_separate_or_refused(tmp_path):
    check_separate(tmp_path / "a", tmp_path / "b")
    check_separate(tmp_path / "a", tmp_path / "a-meds")
    for second in ("a", "a/b", "a.unfinished", "."):
        with pytest.raises(ClinRaGenInputError, match="also an output"):
            check_separate(tmp_path / "a", tmp_path / second)


def test_a_file_system_that_is_read_only_is_refused_even_to_root(tmp_path):
    (tmp_path / "disk").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "ro,size=100k", "tmpfs", str(tmp_path / "disk")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        with pytest.raises(ClinRaGenInputError, match="is read-only for you"):
            check_free(tmp_path / "disk" / "out")
        with pytest.raises(ClinRaGenInputError, match="is where a disk is mounted"):
            check_free(tmp_path / "disk")
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def test_a_folder_of_another_user_is_refused(tmp_path):
    if os.geteuid():
        pytest.skip("needs the right to become another user")
    (tmp_path / "mine").mkdir(mode=0o755)
    script = (
        "import os, sys; from datasets_scripts.common.outputs import check_free; os.setuid(65534); "
        "check_free(sys.argv[1])"
    )
    for path in (tmp_path, *list(tmp_path.parents)[:2]):
        path.chmod(0o755)
    command = [sys.executable, "-c", script, str(tmp_path / "mine" / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "is read-only for you" in done.stderr or "Permission denied" in done.stderr, done.stderr


def test_real_tables_are_never_overwritten_by_simulated_ones(tmp_path):
    real = tmp_path / "mimic" / "hosp" / "patients.csv.gz"
    real.parent.mkdir(parents=True)
    real.write_text("real patients")
    options = ["--source", "synthetic", "--limit", "20"]
    done = build(*options, "--root", tmp_path / "mimic", "--output", tmp_path / "out")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "patients.csv.gz exists without a simulated.json that says it is simulated" in done.stderr
    assert real.read_text() == "real patients"
    assert [path.name for path in tmp_path.iterdir()] == ["mimic"]


def test_simulated_tables_have_the_same_bytes_and_are_not_rewritten(tmp_path):
    write_synthetic_tables(tmp_path / "a", 20, seed=0)
    stats = {path: path.stat() for path in (tmp_path / "a").rglob("*.csv.gz")}
    write_synthetic_tables(tmp_path / "a", 20, seed=0)
    assert all(path.stat().st_mtime_ns == stat.st_mtime_ns for path, stat in stats.items())
    write_synthetic_tables(tmp_path / "a", 30, seed=0)
    assert any(path.stat().st_size != stat.st_size for path, stat in stats.items())


@pytest.mark.parametrize("taken", ["report.md", "report.json"])
def test_the_users_own_files_are_not_overwritten_by_a_knowledge_base(tmp_path, taken):
    (tmp_path / taken).write_text("my own")
    command = [build_knowledge.__file__, "--corpus", "builtin", "--output", tmp_path / "report.json"]
    done = run_script(*command)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"{taken} exists already" in done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {taken: "my own"}
    (tmp_path / taken).unlink()
    assert run_script(*command).returncode == 0
    assert run_script(*command).returncode == 0  # the command rewrites its own files
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "report.json"}


def raised(kind, message):
    """An error with another one as its cause, as libraries raise them."""
    try:
        try:
            raise kind(message)
        except kind as error:
            raise ValueError("something else") from error
    except ValueError as error:
        return error


def test_interruptions_and_full_disks_are_recognized_in_every_error():
    assert is_interruption(raised(KeyboardInterrupt, ""))
    assert is_interruption(RuntimeError("Query interrupted"))
    assert not is_interruption(raised(RuntimeError, "no query was interrupted"))
    assert is_full_disk(raised(RuntimeError, "I/O error: No space left on device (os error 28)"))
    assert is_full_disk(OSError(errno.EDQUOT, "quota"))
    assert not is_full_disk(raised(OSError, "no such file"))


def broken_off(output, error, resume=None):
    """Write a part and raise the error; return whether the part of an earlier start existed."""
    found = []

    def work():
        with finished_folder(output, resume) as folder:
            found.append((folder / "part").exists())
            (folder / "part").touch()
            raise error

    with pytest.raises(type(error)):
        work()
    return found[0]


@pytest.mark.parametrize(
    ("error", "resume", "kept"),
    [
        (KeyboardInterrupt(), {"a": 1}, True),
        (ResumableError("more memory"), {"a": 1}, True),
        (RuntimeError("unforeseen"), {"a": 1}, True),
        (ClinRaGenInputError("a bad row"), {"a": 1}, False),
        (KeyboardInterrupt(), None, False),
    ],
)
def test_resumable_output_is_kept_and_a_mistake_leaves_nothing(tmp_path, error, resume, kept):
    broken_off(tmp_path / "out", error, resume)
    assert [path.name for path in tmp_path.iterdir()] == (["out.unfinished"] if kept else [])
    assert broken_off(tmp_path / "out", error, resume) == kept
    assert not broken_off(tmp_path / "out", error, {"a": 2})


def test_a_mistake_in_a_later_start_keeps_the_earlier_output(tmp_path):
    assert not broken_off(tmp_path / "out", KeyboardInterrupt(), {"a": 1})
    assert broken_off(tmp_path / "out", ClinRaGenInputError("--memory-limit 4GBB is no size"), {"a": 1})
    assert broken_off(tmp_path / "out", KeyboardInterrupt(), {"a": 1})


def test_too_little_memory_is_one_line_and_a_start_with_more_resumes(data, tmp_path):
    options = ["--source", "mimic-iv", "--root", data / "raw", "--output", tmp_path / "out"]
    for limit in ("1kB", "5MB"):
        done = build(*options, "--memory-limit", limit)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].startswith(f"error: --memory-limit {limit} is too little"), done.stderr
        assert (tmp_path / "out.unfinished").is_dir()
    assert "is no size" in build(*options, "--memory-limit", "4GBB").stderr
    assert (tmp_path / "out.unfinished").is_dir()
    assert build(*options).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("bytes_", [0, 100, 3_000, 20_000])
def test_a_limit_of_file_sizes_is_one_line_and_nothing_is_half_written(data, tmp_path, bytes_):
    """As on a full disk, at other moments; the limit is that of a process of its own."""
    knowledge = ["--knowledge", data / "knowledge.json", "--teacher", "template", "--processes", "1"]
    command = [generate_rationales.__file__, "--dataset", data / "dataset", *knowledge, "--output", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_)),
    )
    assert done.returncode == 2, done.stderr
    assert "is full" in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith("-lock")]


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path):
    write_whole(tmp_path / "a.json", "first")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "a.json", "second \ud800")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "first"}


def test_a_second_teacher_is_refused_and_the_first_loses_nothing(data, tmp_path):
    options = ["--dataset", data / "dataset", "--knowledge", data / "knowledge.json", "--processes", "1", "--output"]
    assert teach(*options, tmp_path / "whole").returncode == 0
    command = [sys.executable, generate_rationales.__file__, "--teacher", "template", *options, tmp_path / "out"]
    first = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
    while first.poll() is None and not (tmp_path / "out.unfinished").exists():
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)  # in the middle of its work
    for more in ([], ["--seed", "5"]):
        second = teach(*options, tmp_path / "out", *more)
        assert (second.returncode, len(second.stderr.splitlines())) == (2, 1), second.stderr
        assert second.stderr.startswith("error: another process is working on")
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert what_is_in(tmp_path / "out") == what_is_in(tmp_path / "whole")


def pressed_ctrl_c(command, seconds):
    """Start a command, press Ctrl-C in its terminal after some seconds; return exit code and error output."""
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, message = process.communicate(timeout=120)
    return process.returncode, message


def test_ctrl_c_while_libraries_are_imported_ends_the_command(data, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'pandas.core.arrays':\n"
        "            sys.meta_path.remove(self)\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    done = subprocess.run(
        [sys.executable, generate_rationales.__file__, "--dataset", data / "dataset", "--teacher", "template"]
        + ["--knowledge", data / "knowledge.json", "--output", tmp_path / "out"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "error: interrupted; start the same command again to resume\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_ctrl_c_in_workers_is_one_line(data, tmp_path):
    large = tmp_path / "large"
    build_dataset.main(["--source", "synthetic", "--limit", "700", "--output", str(large)])
    command = [sys.executable, generate_rationales.__file__, "--dataset", large, "--teacher", "template"]
    command += ["--knowledge", data / "knowledge.json", "--processes", "2", "--output", tmp_path / "out"]
    codes = []
    for seconds in (1.5, 2.5, 3.5, 4.5):
        code, message = pressed_ctrl_c(command, seconds)
        codes.append(code)
        if code:
            assert code == 130
            assert message.splitlines()[-1].startswith("error: interrupted;"), message
            assert "Traceback" not in message
            assert not (tmp_path / "out").exists()
        else:
            break
    assert codes[0] == 130
