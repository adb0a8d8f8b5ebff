# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Spoiled options, settings files, tables and records: each is read, or refused in one line; no traceback, no hang.

A few of each kind run always, hundreds `nightly`. Each test reports the numbers of tried and refused inputs.
"""

import csv
import io
import json
import random
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from datasets_scripts.common.settings import read_yaml
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.sources.meds import load_mapping, meds_source
from datasets_scripts.sources.tables import load_hospital
from modeling_clinragen import CHANNELS, ClinRaGenInputError
from modeling_clinragen.handler import MAX_NOTE_CHARACTERS, EndpointHandler, RequestError
from modeling_clinragen.note_claims_clinragen import check_note_claims
from recipes.__main__ import COMMANDS
from recipes.reproduction.plan import read_plan
from recipes.serving.record_files import read_records
from recipes.serving.server import read_json
from recipes.training.arguments import parse_arguments
from tests import broken
from tests.commands import run_script
from tests.datasets_scripts.sources import raw_tables
from tests.datasets_scripts.sources.small_hospital import hospital


ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120  # for one input, on a busy machine


@contextmanager
def no_hang():
    def stop(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refuses(call, *errors) -> bool:
    """Return whether a call refuses its input; any other error, and a refusal of several lines, ends the test."""
    try:
        with no_hang():
            call()
    except (ClinRaGenInputError, *errors) as error:
        message = str(error)
    else:
        return False
    assert 0 < len(message) < 3000
    return True


def numbers(few, many):
    return [few, pytest.param(many, marks=pytest.mark.nightly)]


def report(kind, tried, refused):
    print(f"{kind}: {tried} tried, {refused} refused in one line, {tried - refused} read")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Files and folders without usable content; and a working directory."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "a?b'c [x].json").write_text("{}")
    (tmp_path / "text.yaml").write_text("a: 1\n")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return [*map(str, sorted(tmp_path.iterdir())), str(tmp_path / "missing"), "user/missing/more", "\0", "x" * 300]


FLAGS = {  # command -> options that it needs, and those that it may have; none of them is given what it can use
    "build_dataset": ("source root output", "mapping also-meds splits seed limit min-age hours stays labels channels "
                      "note-view sections memory-limit threads max-age min-stay-hours reference-ranges caption"),
    "build_knowledge": ("corpus output", "labels retriever top-k terms extractor tokenizer limit seed split"),
    "generate_rationales": ("dataset knowledge teacher output", "seed processes max-note tries timeout concurrency"),
    "push_dataset": ("dataset repo-id", "i-am-permitted-to-send"),
    "evaluate_model": ("model dataset split output", "limit batch-size bertscore-model compare device"),
    "evaluate_baseline": ("baseline dataset output", "split seed max_note_tokens lora learning_rate config"),
    "compare_reports": ("first second", ""),
    "reproduce": ("config output", "root rows processes"),
    "show_rationales": ("report dataset output", "records seed data-are-open"),
    "judge_rationales": ("report dataset output", "split judge sample seed repeats max-note"),
    "rate_rationales": ("report dataset output", "sample seed raters sheets answers judge"),
    "recalibrate": ("model dataset", "split output drift-only"),
    "predict": ("model input output", "revision batch-size device"),
    "serve": ("model", "port batch-size revision token-file"),
    "export_model": ("model output", "format adapter knowledge"),
    "push_model": ("model repo-id", "report dataset-id"),
    "stage1_note": ("dataset output_dir", "config lora text_config vocab_size inputs learning_rate max_steps seed "
                    "optim report_to time_series_config knowledge model_name_or_path early_stopping_patience bf16"),
    "stage2_lab": ("dataset output_dir model_name_or_path", "config trained_modules per_device_eval_batch_size"),
    "stage4_rewards": ("dataset output_dir model_name_or_path", "config reward_weights temperature num_rounds"),
}  # fmt: skip


@pytest.mark.parametrize("number", numbers(36, 400))
def test_spoiled_options_of_every_command(places, number):
    draw, refused = random.Random(number), 0
    for i in range(number):
        name = list(FLAGS)[i % len(FLAGS)]
        needed, others = (text.split() for text in FLAGS[name])
        options = [*needed, *draw.sample(others, min(len(others), draw.randrange(4)))]
        if draw.random() < 0.1:
            options.remove(draw.choice(needed))
        argv = []
        for option in options:
            argv += [f"--{option}={draw.choice((*broken.WORDS, *places) if option not in needed else places)}"]
        room = COMMANDS[name][0]
        with no_hang():
            done = run_script(ROOT / room / f"{name}.py", *argv)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert (done.returncode, len(errors)) == (2, 1), (name, argv, done.stderr[-2000:])
        refused += 1
    report("options", number, refused)


STAGE = {
    "text_config": {"model_type": "t5", "d_model": 16, "num_layers": 1},
    "time_series_config": {"context_length": 24, "d_model": 8},
    "inputs": ["note", "lab"],
    "rationales": [],
    "learning_rate": "1e-4",
    "max_steps": 5,
    "lora": {"r": 4},
    "eval_strategy": "epoch",
    "report_to": "none",
    "lr_scheduler_kwargs": {},
    "bf16": False,
    "logging_steps": 2,
    "num_train_epochs": 1,
}
LABELS = {"labels": [{"name": "A", "codes": {"icd9": ["4280"], "icd10": ["I50"]}, "ccs": [2], "synonyms": ["a"]}]}
LIMITS = {"low": 1, "high": 2, "minimum": 0, "maximum": 9}
SETS = {"channels": ["Heart Rate", {"name": "Zinc", "unit": "mg/dL", **LIMITS, "words": ["zinc"], "decimals": 1}]}
PLAN = {
    "seeds": [0],
    "data": {"source": "synthetic", "limit": 20},
    "stages": "recipes/configs/quickstart",
    "reference": "A",
    "settings": {"all": {"max_steps": 1}},
    "rows": {"A": {"group": "g", "stages": ["stage1"]}, "B": {"against": "A", "seeds": [1], "dataset": {"seed": 3}}},
}


def settings_files(tmp_path):
    """Kind of file -> a right one, and how it is read."""
    output = ["--output_dir", str(tmp_path / "out"), "--dataset", str(tmp_path / "none")]
    mapping = read_yaml(ROOT / "datasets_scripts/sources/meds/clinragen.yaml")
    return {
        "stage": (STAGE, lambda path: parse_arguments(["--config", str(path), *output])),
        "labels": (LABELS, lambda path: load_labels(str(path))),
        "channels": (SETS, lambda path: load_channels(str(path))),
        "tables": (hospital()[1], lambda path: load_hospital(str(path), tmp_path, CHANNELS)),
        "meds": (mapping, lambda path: meds_source(load_mapping(str(path)), CHANNELS)),
        "reproduce": (PLAN, lambda path: read_plan(path, None, None, ())),
    }


@pytest.mark.parametrize("number", numbers(120, 2000))
def test_spoiled_settings_files(tmp_path, number):
    draw, files = random.Random(number), settings_files(tmp_path)
    path = tmp_path / "settings.yaml"
    for right, read in files.values():
        path.write_text(yaml.safe_dump(right))
        assert not refuses(lambda read=read: read(path))
    tried = dict.fromkeys(files, 0)
    refused = dict.fromkeys(files, 0)
    for i in range(number):
        kind = list(files)[i % len(files)]
        right, read = files[kind]
        if draw.random() < 0.3:
            path.write_bytes(broken.spoiled_bytes(draw, yaml.safe_dump(right).encode()))
        else:
            value = broken.spoiled(draw, right)
            path.write_text(yaml.safe_dump(value, allow_unicode=draw.random() < 0.5), errors="surrogatepass")
        tried[kind] += 1
        refused[kind] += refuses(lambda read=read: read(path))
    for kind in files:
        report(f"settings, {kind}", tried[kind], refused[kind])
        assert refused[kind]


RECORD = {
    "id": "a", "note": "fever and cough", "lab_times": [1.0, 2.5],
    "lab_values": [[80.0, None, *[None] * 9], [None, 0.4, *[None] * 9]],
}  # fmt: skip
EVENTS = {"id": 2, "note": "", "labs": {"Heart Rate": [[1, 80], [2, 90.5]], "pH": [[1, 7.4]]}}


@pytest.mark.parametrize("number", numbers(300, 6000))
def test_spoiled_records(tiny_processor, tmp_path, number):
    draw, refused, read = random.Random(number), 0, 0
    endpoint = EndpointHandler(pipe=type("Pipe", (), {"processor": tiny_processor}))

    def answer(path):
        nonlocal refused, read
        for entry in read_records(path, CHANNELS):
            is_refused = entry.error is not None or refuses(
                lambda e=entry: endpoint.read_record(e.record, "x"), RequestError
            )
            refused, read = refused + is_refused, read + (not is_refused)

    table = [["id", "note", "hour", "Heart Rate", "pH"], ["a", "fever", "1", "80", ""], ["a", "", "2", "", "7.4"]]
    for _ in range(number):
        if draw.random() < 0.3:
            path, content = tmp_path / "records.csv", io.StringIO()
            csv.writer(content).writerows(table)
            path.write_bytes(broken.spoiled_bytes(draw, content.getvalue().encode()))
        else:
            path = tmp_path / "records.jsonl"
            text = json.dumps(broken.spoiled(draw, draw.choice((RECORD, EVENTS)))).encode()
            path.write_bytes(broken.spoiled_bytes(draw, text) if draw.random() < 0.4 else text)
        refused += refuses(lambda path=path: answer(path))
        request = {"inputs": draw.choice((RECORD, [EVENTS]))} | draw.choice(({}, {"parameters": {"num_beams": 2}}))
        body = json.dumps(broken.spoiled(draw, request)).encode()
        refused += refuses(lambda body=body: endpoint.read_request(read_json(body)), RequestError)
    report("records", 2 * number, refused)
    assert refused
    assert read


SHAPES = (
    "\n",
    "\r\n",
    " \n \n",
    "\n-",
    "a\n",
    "\n\t",
    "\n1. ",
    " ",
    "\t",
    "x",
    "1 ",
    "(",
    '"',
    ",",
    "no fever and ",
    "denies cough, ",
    "___ ",
)


@pytest.mark.slow
@pytest.mark.parametrize("unit", SHAPES)
def test_a_note_of_one_sign_costs_no_more_than_its_length(unit):
    """With the most characters of a request, quadratic time would take minutes."""
    note = unit * (MAX_NOTE_CHARACTERS // len(unit)) + "fever"
    started = time.process_time()
    check_note_claims("The patient has fever.", note)
    assert time.process_time() - started < 15


def build(source, root, output, *options):
    """Build a dataset; return whether the tables are refused, which leaves nothing behind."""
    script = ROOT / "datasets_scripts/build_dataset.py"
    arguments = ["--source", source, "--root", root, "--output", output, "--splits", "train=1", "--threads", "1"]
    with no_hang():
        done = run_script(script, *arguments, *options)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors)) in ((0, 0), (2, 1)), done.stderr[-2000:]
    assert output.exists() == (done.returncode == 0)
    left = output.with_name(output.name + ".unfinished")
    assert not left.exists() or "resume" in errors[0]
    shutil.rmtree(output, ignore_errors=True)
    shutil.rmtree(left, ignore_errors=True)
    return done.returncode == 2


def own_tables():
    tables, mapping = hospital(4)
    found = {name: (list(rows[0]), [list(row.values()) for row in rows]) for name, rows in tables.items()}
    return found, lambda root: (root / "map.yaml").write_text(yaml.safe_dump(mapping))


def mimic_tables():
    tables = raw_tables.base_tables()
    tables["LABEVENTS"] = [raw_tables.lab(1, 50931, 2, 120)]
    tables["NOTEEVENTS"] = [[101, "Nursing", "Report", "2100-01-01", "2100-01-01 02:00:00", "", "short of breath"]]
    return {name: (raw_tables.HEADERS[name].split(), rows) for name, rows in tables.items()}, lambda root: None


@pytest.mark.parametrize("number", numbers(6, 150))
@pytest.mark.parametrize(("source", "tables"), [("tables", own_tables), ("mimic-iii", mimic_tables)])
def test_spoiled_tables(tmp_path, source, tables, number):
    draw, refused = random.Random(number), 0
    for i in range(number):
        root = tmp_path / draw.choice(("plain", "a?b'c", "[x] *y", 'say "x"'))
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        found, prepare = tables()
        prepare(root)
        victim = draw.choice(list(found))
        for name, (header, rows) in found.items():
            if name == victim and draw.random() < 0.7:
                header, rows = broken.spoiled_table(draw, header, rows)
            write, suffix = draw.choice(((broken.write_csv, "csv"), (broken.write_parquet, "parquet")))
            write(root / f"{name}.{suffix}", header, rows, draw)
        if draw.random() < 0.4:
            path = draw.choice([path for path in root.iterdir() if path.suffix != ".yaml"])
            path.write_bytes(broken.spoiled_bytes(draw, path.read_bytes()))
        refused += build(source, root, tmp_path / f"out{i}")
    report(f"tables of {source}", number, refused)
