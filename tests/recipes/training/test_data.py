# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What is encoded once, and found on disk again."""

import json
import os
import subprocess
import sys

import pytest

from recipes import stage1_note
from recipes.models.folder import load_model_folder
from recipes.training.data import columns_of, encode_records, load_records, target_texts


AGAIN = """
import json, sys
from recipes.training.data import encode_records, load_records
from recipes.models.folder import load_model_folder
folder, dataset, *splits = sys.argv[1:]
processor = load_model_folder(folder)[1]
files = {}
for split in splits:
    encoded = encode_records(load_records(dataset, split), processor, ["note", "lab"], 60)
    files[split] = encoded.cache_files[0]["filename"]
print(json.dumps(files))
"""


def written(path: str) -> tuple:
    stat = os.stat(path)
    return path, stat.st_mtime_ns, stat.st_ino


@pytest.mark.parametrize(
    "splits", [["validation", "train"], pytest.param(["train", "validation"], marks=pytest.mark.slow)]
)
def test_another_run_finds_what_was_encoded_and_encodes_nothing(stage1_folder, data_folder, splits):
    """In whatever order: that a tokenizer was used before makes no difference."""
    processor, dataset = load_model_folder(stage1_folder)[1], str(data_folder / "dataset")
    first = {}
    for split in ("train", "validation"):
        encoded = encode_records(load_records(dataset, split), processor, ["note", "lab"], 60)
        first[split] = written(encoded.cache_files[0]["filename"])
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, stage1_folder, dataset, *splits], capture_output=True, text=True, check=True
    )
    assert "Encoding records" not in done.stderr
    assert {split: written(path) for split, path in json.loads(done.stdout).items()} == first


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
