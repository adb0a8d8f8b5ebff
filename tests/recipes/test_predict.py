# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A file of records answered: each record one line, in order, and the same bytes however often it was killed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datasets_scripts.common.outputs import BusyError
from modeling_clinragen import CHANNELS, ClinRaGenInputError, ClinRaGenPipeline
from recipes import predict
from recipes.serving import answer_file
from recipes.serving.answers import answer_chunk, load_handler
from tests.commands import run_script
from tests.modeling_clinragen.test_handler import same


NAMES = [channel["name"] for channel in CHANNELS]


@pytest.fixture
def folder(tiny_model, tiny_processor, tmp_path):
    """A model folder that writes a few words, so that a record is answered at once."""
    from recipes.models.folder import save_model_folder

    tiny_model.generation_config.max_new_tokens = 8
    save_model_folder(tiny_model, tiny_processor, tmp_path / "model")
    return tmp_path / "model"


def made_up(number, seed=0):
    """Records with an id: notes of different length, a few measurements each."""
    draw = random.Random(seed)
    words = ["fever", "cough", "pain", "denies", "heart", "failure", "pressure", "low", "high", "for", "two", "days"]
    for i in range(number):
        times = sorted({round(draw.uniform(0, 20), 2) for _ in range(draw.randrange(4))})
        rows = [[round(draw.uniform(60, 90), 1) if draw.random() < 0.5 else None for _ in NAMES] for _ in times]
        note = " ".join(draw.choices(words, k=1 + draw.randrange(30)))
        yield {"id": f"stay-{i}", "note": note, "lab_times": times, "lab_values": rows}


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_csv(path, records, long):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "note", "hour", *(["channel", "value"] if long else NAMES)])
        for record in records:
            rows = [
                row
                for hour, cells in zip(record["lab_times"], record["lab_values"], strict=True)
                for row in ([[hour, *pair] for pair in zip(NAMES, cells, strict=True)] if long else [[hour, *cells]])
            ]
            for i, row in enumerate(rows or [[None] * (3 if long else 12)]):
                writer.writerow([record["id"], "" if i else record["note"], *row])
    return path


def command(folder, records, output, *options):
    return [sys.executable, predict.__file__, "--model", folder, "--input", records, "--output", output, *options]


def answer(folder, records, output, *options):
    counts = predict.main(list(map(str, command(folder, records, output, *options)[2:])))
    return counts, [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def test_each_record_has_the_answer_of_the_pipeline_in_order(folder, tiny_model, tiny_processor, tmp_path):
    records = list(made_up(45))
    counts, lines = answer(folder, write_jsonl(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl", "--evidence")
    pipe = ClinRaGenPipeline(tiny_model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)
    assert same(lines, [{"id": r["id"], **json.loads(json.dumps(pipe(r, evidence=True)))} for r in records])
    assert counts == {"answered": 45, "refused": 0}
    assert not (tmp_path / "out.jsonl.unfinished").exists()


def test_csv_in_both_layouts_and_jsonl_give_the_same_bytes(folder, tmp_path):
    records = list(made_up(30, seed=1))
    files = [
        write_jsonl(tmp_path / "in.jsonl", records),
        write_csv(tmp_path / "wide.csv", records, long=False),
        write_csv(tmp_path / "long.csv", records, long=True),
    ]
    for file in files:
        answer(folder, file, file.with_suffix(".out"))
    assert len({file.with_suffix(".out").read_bytes() for file in files}) == 1


def test_a_bad_line_is_one_refusal_in_its_place_and_stops_nothing(folder, tmp_path, caplog):
    caplog.set_level("INFO")
    good = list(made_up(3))
    lines = [
        json.dumps(good[0]),
        '{"note": "a secret',
        "",
        '["a secret"]',
        json.dumps({"id": 7, "note": "a secret", "labs": {"Sodium": [[1, 140]]}}),
        json.dumps(good[1]),
        json.dumps({"id": "empty"}),
        json.dumps({"id": ["a"], "note": "a secret"}),
        json.dumps({"id": "half", "note": "a secret \ud800"}),
        "9" * 5000,
        "[" * 100_000,
        json.dumps({"stay_id": "s", **{k: v for k, v in good[2].items() if k != "id"}}),
    ]
    (tmp_path / "in.jsonl").write_bytes("\n".join(lines).encode() + b'\n{"note": "\xff"}\n')
    counts, answers = answer(folder, tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--batch-size", "2")
    errors = {line["id"]: line["error"] for line in answers if "error" in line}
    assert [line["id"] for line in answers] == [
        "stay-0", "line 2", "line 4", 7, "stay-1", "empty", "line 8", "half", "line 10", "line 11", "s", "line 13"
    ]  # fmt: skip
    assert counts == {"answered": 3, "refused": 9}
    for name, reason in {
        "line 2": "line 2: invalid JSON at column",
        "line 4": "line 4: no JSON object",
        7: "line 5: record.labs: unknown channel 'Sodium'",
        "empty": "line 7: record: it has no known field",
        "line 8": "line 8: id is neither text nor a whole number",
        "half": "line 9: record.note: holds half of a character",
        "line 10": "line 10: no JSON",
        "line 11": "line 11: no JSON",
        "line 13": "line 13: not in UTF-8",
    }.items():
        assert errors[name].startswith(reason), errors[name]
    assert "secret" not in "".join(errors.values()) + caplog.text
    assert "3 answered, 9 refused (line 2, line 4, line 5" in caplog.text


def test_bad_rows_of_a_csv_are_refusals_of_their_records(folder, tmp_path):
    rows = [
        "id,note,hour,pH,Heart Rate",  # line 1
        "a,fever,1,7.4,80",
        "a,,2,7.3,",
        "b,a secret,1,low,80",  # line 4
        "c,cough, a secret,1,7.4,80",  # line 5: an unquoted comma
        "d,cough,,,",
        "a,fever,1,7.4,80",  # line 7: a repeated id
        ",cough,1,7.4,80",  # line 8
        "e,cough,1,7.4,80",
        "e,another secret,2,7.4,80",  # line 10
        'f,"two',
        'lines",1,7.4,80',
        "g,,,,",  # line 13
        'h,"quoted" secret,1,7.4,80',  # line 14: not CSV
        "i,cough,1,7.4,80",  # the unreadable row may have been its first
        "j,cough,1,7.4,80",
    ]
    (tmp_path / "in.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    _, answers = answer(folder, tmp_path / "in.csv", tmp_path / "out.jsonl")
    reasons = [(line["id"], line.get("error", "").partition(";")[0][:60]) for line in answers]
    assert reasons == [
        ("a", ""),
        ("b", "line 4, column 'pH': not a number"),
        ("c", "line 5 has 6 cells under 5 columns"),
        ("d", ""),
        ("a", "line 7: this id occurred before"),
        ("line 8", "line 8: the id is empty"),
        ("e", "line 10: another note than in line 9"),
        ("f", ""),
        ("g", "line 14: no row of this table"),
        ("i", "line 14: no row of this table"),
        ("j", ""),
    ]
    assert "secret" not in "".join(line.get("error", "") for line in answers)


def kill_and_restart(folder, tmp_path, number, kills, seed):
    """Kill some starts in the middle of their work, let the next finish; its bytes must be the usual ones."""
    records = write_jsonl(tmp_path / "in.jsonl", made_up(number))
    records.write_text(records.read_text().replace('"note"', '"nota"', 40).replace("stay-100", 'stay"100'))
    options = ["--batch-size", "2"]
    answer(folder, records, tmp_path / "whole.jsonl", *options)
    output, draw = tmp_path / "out.jsonl", random.Random(seed)
    written = tmp_path / "out.jsonl.unfinished" / "answers.jsonl"
    for _ in range(kills):
        process = subprocess.Popen(command(folder, records, output, *options), stderr=subprocess.DEVNULL)
        before = written.stat().st_size if written.exists() else 0
        while process.poll() is None and not (written.exists() and written.stat().st_size > before):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not output.exists()
        with open(written, "ab") as file:  # left by a kill in the middle of a line
            file.write(b'{"id": "stay-1", "diagn'[: draw.randrange(24)])
    _, lines = answer(folder, records, output, *options)
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(lines) == number
    assert not written.parent.exists()


def test_several_processes_write_the_same_bytes(folder, tmp_path):
    bad = {"id": "stay-x", "note": 3}
    records = write_jsonl(tmp_path / "in.jsonl", [*made_up(40), bad, *made_up(49)])
    for number in (1, 2):
        options = ["--batch-size", "4", "--processes", number]
        counts, _ = answer(folder, records, tmp_path / f"{number}.jsonl", *options)
        assert counts == {"answered": 89, "refused": 1}
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


@pytest.mark.slow
def test_a_killed_process_ends_the_command_in_one_line_and_it_resumes(folder, tmp_path):
    records, options = write_jsonl(tmp_path / "in.jsonl", made_up(400)), ["--batch-size", "2"]
    answer(folder, records, tmp_path / "whole.jsonl", *options)
    output = tmp_path / "out.jsonl"
    command_line = command(folder, records, output, *options, "--processes", "2")
    running = subprocess.Popen(list(map(str, command_line)), stderr=subprocess.PIPE, text=True)
    worker = kill_worker_of(running)
    message = running.communicate()[1].splitlines()[-1]
    assert running.returncode == 2, message
    assert "--processes: one of them was killed" in message
    assert worker is not None
    assert not output.exists()
    answer(folder, records, output, *options)
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def kill_worker_of(running):
    """Kill the first process of multiprocessing that a command starts, directly or by a fork server."""
    while running.poll() is None:
        for child in children_of(running.pid):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            workers = [child] if b"spawn_main" in command else children_of(child) if b"forkserver" in command else []
            if workers:
                os.kill(workers[0], signal.SIGKILL)
                return workers[0]
        time.sleep(0.01)
    return None


def children_of(process):
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


@pytest.mark.slow
def test_of_many_records_workers_are_copies_of_a_process_that_imported_meanwhile(folder, tmp_path):
    records = write_jsonl(tmp_path / "in.jsonl", [{**one, "text": "x" * 8000} for one in made_up(200)])
    assert records.stat().st_size > predict.MANY_BYTES
    output = tmp_path / "two.jsonl"
    command_line = list(map(str, command(folder, records, output, "--batch-size", "8", "--processes", "2")))
    running, servers = subprocess.Popen(command_line), set()
    while running.poll() is None:
        servers |= {child for child in children_of(running.pid) if is_forkserver(child)}
        time.sleep(0.01)
    assert running.returncode == 0
    assert len(servers) == 1
    ends = time.monotonic() + 30
    while is_forkserver(*servers) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not is_forkserver(*servers)
    answer(folder, records, tmp_path / "one.jsonl", "--batch-size", "8", "--processes", "1")
    assert output.read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def is_forkserver(process):
    command = Path(f"/proc/{process}/cmdline")
    return command.exists() and b"forkserver" in command.read_bytes()


@pytest.mark.nightly
def test_killed_ten_times_it_ends_in_the_same_bytes(folder, tmp_path):
    kill_and_restart(folder, tmp_path, 400, kills=10, seed=1)


def interrupted(folder, records, output, monkeypatch, *options):
    """A start that ends after its first chunk."""
    answer_chunk, done = answer_file.answer_chunk, []

    def once(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(True)
        return answer_chunk(*arguments)

    monkeypatch.setattr(answer_file, "answer_chunk", once)
    with pytest.raises(KeyboardInterrupt):
        answer(folder, records, output, *options)
    monkeypatch.undo()


def test_it_resumes_only_with_the_same_model_input_and_options(
    folder, tiny_model, tiny_processor, tmp_path, monkeypatch
):
    from recipes.models.folder import save_model_folder

    records = write_jsonl(tmp_path / "in.jsonl", made_up(40))
    output, options = tmp_path / "out.jsonl", ["--batch-size", "2"]
    interrupted(folder, records, output, monkeypatch, *options)
    tiny_model.config.decisions.thresholds = [0.1] * 25
    save_model_folder(tiny_model, tiny_processor, tmp_path / "other")
    (tmp_path / "other.jsonl").write_text(records.read_text() + "\n")
    for model, file, more, changed in [
        (tmp_path / "other", records, [], "another model;"),
        (folder, tmp_path / "other.jsonl", [], "another input;"),
        (folder, records, ["--evidence"], "another options;"),
        (tmp_path / "other", tmp_path / "other.jsonl", [], "another model and input;"),
    ]:
        with pytest.raises(ClinRaGenInputError, match=changed):
            answer(model, file, output, *options, *more)
    folder.rename(tmp_path / "moved")  # the same model in another place is the same
    counts, lines = answer(tmp_path / "moved", records, output, *options)
    assert counts == {"answered": 40, "refused": 0}
    assert [line["id"] for line in lines] == [f"stay-{i}" for i in range(40)]


def test_two_processes_with_one_output_do_not_harm_each_other(folder, tmp_path):
    records = write_jsonl(tmp_path / "in.jsonl", made_up(300))
    answer(folder, records, tmp_path / "whole.jsonl", "--batch-size", "2")
    first = subprocess.Popen(command(folder, records, tmp_path / "out.jsonl", "--batch-size", "2"))
    written = tmp_path / "out.jsonl.unfinished" / "answers.jsonl"
    while first.poll() is None and not written.exists():
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # in the middle of its work
    for options in (["--batch-size", "2"], ["--batch-size", "4", "--evidence"]):
        with pytest.raises(BusyError, match=f"another process is working on .*process {first.pid} on"):
            answer(folder, records, tmp_path / "out.jsonl", *options)
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_damaged_answers_are_computed_again(folder, tmp_path, monkeypatch):
    records, output = write_jsonl(tmp_path / "in.jsonl", made_up(40)), tmp_path / "out.jsonl"
    answer(folder, records, tmp_path / "whole.jsonl", "--batch-size", "2")
    interrupted(folder, records, output, monkeypatch, "--batch-size", "2")
    written = tmp_path / "out.jsonl.unfinished" / "answers.jsonl"
    written.write_bytes(written.read_bytes().replace(b'{"id": "stay-3"', b'{"id": stay', 1))
    answer(folder, records, output, "--batch-size", "2")
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_answers_of_an_unknown_start_are_refused_and_kept(folder, tmp_path, monkeypatch):
    records, output = write_jsonl(tmp_path / "in.jsonl", made_up(40)), tmp_path / "out.jsonl"
    interrupted(folder, records, output, monkeypatch, "--batch-size", "2")
    (tmp_path / "out.jsonl.unfinished" / "start.json").write_text('{"model": ')
    with pytest.raises(ClinRaGenInputError, match=r"no readable start.json .* remove that folder"):
        answer(folder, records, output, "--batch-size", "2")
    assert (tmp_path / "out.jsonl.unfinished" / "answers.jsonl").stat().st_size


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("in.jsonl", None, [], "in.jsonl: there is no such file"),
        ("in.jsonl", "", [], "in.jsonl: holds no record"),
        ("in.csv", "", [], "in.csv: holds no record"),
        ("in.csv", "id,note\n", [], "in.csv: holds no record"),
        ("in.csv", "note,hour,pH\nfever,1,7\n", [], "in.csv, line 1: no column id"),
        ("in.csv", "id;note;hour\na;fever;1\n", [], "in.csv, line 1: no column id; .* separated by commas"),
        ("in.csv", "id,note,hour,Sodium\na,fever,1,140\n", [], "in.csv, line 1: unknown column 'Sodium'"),
        ("in.csv", "id,note,note\na,fever,b\n", [], "in.csv, line 1: no header with a column hour"),
        ("in.csv", 'id,"note\n', [], "in.csv, line 1: the header is not CSV"),
        ("in.xlsx", "x", [], "in.xlsx: unknown kind of file"),
        ("in.jsonl", "{}", ["--batch-size", "0"], "--batch-size is 0"),
        ("in.jsonl", "{}", ["--device", "cuda:99"], "--device: there is no cuda:99; leave it out or give cpu"),
        ("in.jsonl", "{}", ["--output", "."], ". exists already"),
    ],
)
def test_a_users_mistake_is_one_line(folder, tmp_path, name, content, options, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        answer(folder, tmp_path / name, tmp_path / "out.jsonl", *options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_mistake_ends_with_code_2_and_no_traceback(tiny_folder, tmp_path):
    done = run_script(*command(tiny_folder, tmp_path / "nothing.jsonl", tmp_path / "out.jsonl")[1:])
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_a_full_disk_is_one_line_and_the_answers_are_kept(folder, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        records = write_jsonl(tmp_path / "in.jsonl", made_up(80))
        with pytest.raises(ClinRaGenInputError, match=r"the disk of .* is full; .* to resume it"):
            answer(folder, records, disk / "out.jsonl", "--batch-size", "2")
        assert (disk / "out.jsonl.unfinished" / "answers.jsonl").stat().st_size > 20_000
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        answer(folder, records, disk / "out.jsonl", "--batch-size", "2")
        _, lines = answer(folder, records, tmp_path / "out.jsonl", "--batch-size", "2")
        assert (disk / "out.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
        assert len(lines) == 80
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_number_of_records(folder, tmp_path):
    """Five times as many records may cost 20 MB more at the peak, for memory kept by the allocator."""
    script = (
        "import sys; from recipes import predict; predict.main(sys.argv[1:]); "
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"  # kB at the peak
    )
    peaks = []
    for number in (1_000, 5_000):
        records = write_jsonl(tmp_path / f"{number}.jsonl", made_up(number))
        arguments = command(folder, records, tmp_path / f"{number}.out", "--batch-size", "32")[2:]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], check=True, stdout=subprocess.PIPE, text=True
        )
        peaks.append(int(done.stdout.split()[-1]) / 1024)
        assert len((tmp_path / f"{number}.out").read_bytes().splitlines()) == number
    assert peaks[1] - peaks[0] < 20, peaks


def test_the_order_of_a_chunk_is_kept_though_its_batches_are_sorted(folder):
    from recipes.serving.record_files import Entry

    handler = load_handler(str(folder), None, None)
    notes = np.random.default_rng(0).permutation([f"fever {'cough ' * i}" for i in range(12)]).tolist()
    entries = [Entry(i, i, {"note": note}) for i, note in enumerate(notes)]
    answers = answer_chunk(handler, entries, 5, {})
    assert same(answers, [answer_chunk(handler, [entry], 1, {})[0] for entry in entries])
