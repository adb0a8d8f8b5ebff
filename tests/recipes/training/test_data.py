# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Records that are encoded once, and found on disk again."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from datasets_scripts.dataset.folder import METADATA_FILE, read_metadata
from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note
from recipes.models.folder import load_model_folder
from recipes.training.data import check_same_names, columns_of, encode_records, load_records, target_texts


def test_another_start_finds_what_was_encoded_and_encodes_nothing(stage1_folder, data_folder, tmp_path, capfd):
    processor, dataset = load_model_folder(stage1_folder)[1], str(data_folder / "dataset")
    file = tmp_path / "out.training" / "encoded" / "train.arrow"

    def encoded():
        return encode_records(load_records(dataset, "train"), processor, ["note", "lab"], 60, file=file)

    first = encoded()
    assert "Encoding records" in capfd.readouterr().err
    written = file.stat().st_mtime_ns, file.stat().st_ino
    assert encoded()[:] == first[:]
    assert "Encoding records" not in capfd.readouterr().err
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == written
    in_memory = encode_records(load_records(dataset, "train"), processor, ["note", "lab"], 60)
    assert in_memory[:] == first[:]


def test_records_that_an_earlier_version_encoded_in_other_columns_are_encoded_anew(
    stage1_folder, data_folder, tmp_path
):
    processor, dataset = load_model_folder(stage1_folder)[1], str(data_folder / "dataset")
    file = tmp_path / "encoded" / "train.arrow"

    def encoded(file=None):
        return encode_records(load_records(dataset, "train"), processor, ["note", "lab"], 60, file=file)

    encoded().remove_columns("length").map(lambda row: row, cache_file_name=str(file))
    assert encoded(file)[:] == encoded()[:]


def test_no_copy_of_a_record_is_left_on_disk(data_folder, stage_arguments, tmp_path):
    """The cache of the library holds only locks and code; only the owner can read a stage's files."""
    home = tmp_path / "home"
    environment = {**os.environ, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    arguments = stage_arguments(tmp_path / "out", max_steps=1)
    subprocess.run(
        [sys.executable, stage1_note.__file__, *arguments], check=True, env=environment, capture_output=True
    )
    assert {path.suffix for path in home.rglob("*") if path.is_file()} <= {".lock", ".py", ".pyc"}
    assert not (tmp_path / "out.training" / "encoded").exists()
    written = (path for path in tmp_path.glob("out*/**/*") if path.is_file())
    made = [path for path in written if path.suffix != ".py"]  # code keeps the modes that it has here
    assert made
    assert {path.stat().st_mode & 0o77 for path in [tmp_path / "out", tmp_path / "out.training", *made]} == {0}


def test_targets_hold_slots_for_the_numbers_of_the_series_where_the_model_learns_them(stage1_folder, data_folder):
    processor = load_model_folder(stage1_folder)[1]
    records = load_records(str(data_folder / "dataset"), "train")
    rows = columns_of(records.with_format("arrow")[:])
    assert processor.numeric_slots  # by default
    slotted = target_texts(rows, processor, ["note", "lab"])
    processor.numeric_slots = False
    plain = target_texts(rows, processor, ["note", "lab"])
    assert sum("[" in text for text in slotted) > len(records) / 2
    assert not any("[" in text for text in plain)
    series = zip(rows["lab_times"], rows["lab_values"], strict=True)
    filled = [processor.slots.fill(text, *record) for text, record in zip(slotted, series, strict=True)]
    assert filled == plain


@pytest.mark.slow
def test_of_two_processes_one_encodes_and_the_other_reads(stage_arguments, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    arguments = [*stage_arguments(tmp_path / "two"), "--max_steps", "1"]
    done = subprocess.run(
        [*command, stage1_note.__file__, *arguments], check=True, env=environment, capture_output=True, text=True
    )
    assert done.stderr.count("Encoding records:   0%") == 2  # of training and of validation records, by one process


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda channels: channels.pop(),
            r" \(only the model has pH in pH\); build the dataset with --channels",
        ),
        (
            lambda channels: channels.append(channels[0] | {"name": "CRP"}),
            "only the data has CRP in mmHg",
        ),
        (lambda channels: channels[0].update(unit="kPa"), "only the model has Diastolic blood pressure in mmHg"),
        (
            lambda channels: channels.reverse(),
            "the order of these; build the dataset with --channels of the model",
        ),
    ],
)
def test_channels_that_are_not_the_models_are_named(stage1_folder, data_folder, tmp_path, change, said):
    shutil.copytree(data_folder / "dataset", tmp_path / "dataset")
    metadata = read_metadata(data_folder / "dataset")
    change(metadata["channels"])
    (tmp_path / "dataset" / METADATA_FILE).write_text(json.dumps(metadata))
    _, processor = load_model_folder(stage1_folder)
    with pytest.raises(ClinRaGenInputError, match=said):
        check_same_names(processor, "model", str(tmp_path / "dataset"))
