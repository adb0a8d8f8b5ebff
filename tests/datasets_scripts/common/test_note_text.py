# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Files with text of notes are found where commands, or the cache of `datasets`, keep them, and removed on request."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from datasets_scripts.common import note_text
from datasets_scripts.common.note_text import is_readable
from modeling_clinragen import ClinRaGenInputError
from recipes.__main__ import help_text, main


KEPT = ["model.safetensors", "knowledge.json", "dataset/README.md", "report/metrics.json", "dataset/label_audit.csv"]
NOTES = [
    "dataset/data/train-00000.parquet", "dataset/set_aside.jsonl", "report/predictions.jsonl", "report/report.html",
    "dataset.requests.sqlite", "stage1.training/encoded/train-all.arrow", "rationales.md",
    "build.unfinished/work/x.bin", "stage4.training/round-1/samples.jsonl", "raw/note/discharge.csv.gz",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as written by commands, and an empty cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    for name in KEPT + NOTES:
        path = tmp_path / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a productive cough")
    return tmp_path / "runs"


def listed(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_files_with_notes_are_listed_and_the_others_are_not(folder, capsys):
    main(["--note-text", str(folder)])
    *lines, total = listed(capsys)
    assert sorted(line.split("  ")[-1] for line in lines) == sorted(str(folder / name) for name in NOTES)
    assert total.startswith(f"{len(NOTES)} files, ")
    assert sorted(path.read_text() for path in folder.rglob("*") if path.is_file()) == ["a productive cough"] * 15


def test_listed_files_are_removed_only_on_request(folder, capsys):
    main(["--note-text", str(folder), "--remove"])
    assert listed(capsys)[-1].endswith("removed")
    left = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert left == set(KEPT)


def test_copies_in_the_cache_of_datasets_are_found_and_those_of_other_data_are_kept(folder, tmp_path, capsys):
    columns = {"stay_id": ["1"], "note": ["a productive cough"], "lab_times": [[0.0]], "lab_values": [[[1.0]]]}
    for name, table in (("ours", columns), ("other", {"text": ["x"]})):
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        cache = tmp_path / "home" / "datasets"
        load_dataset("parquet", data_files=str(tmp_path / f"{name}.parquet"), split="train", cache_dir=str(cache))
    assert len(list(cache.rglob("*.arrow"))) == 2
    main(["--note-text"])
    (line, _) = listed(capsys)
    assert line.endswith("parquet-train.arrow")
    main(["--note-text", "--remove"])
    (left,) = cache.rglob("*.arrow")
    assert str(left) not in line
    assert list(note_text.cached_copies()) == []


@pytest.mark.parametrize(
    ("folder_mode", "mode", "readable"), [(0o755, 0o644, True), (0o755, 0o600, False), (0o700, 0o644, False)]
)
def test_a_file_is_readable_if_its_mode_and_its_folders_permit_others(folder_mode, mode, readable):
    with tempfile.TemporaryDirectory() as folder:  # which others can enter, unlike pytest's
        path = Path(folder) / "x.jsonl"
        path.write_text("{}")
        path.chmod(mode)
        Path(folder).chmod(folder_mode)
        assert is_readable(path) == readable


def test_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(ClinRaGenInputError, match="there is no folder"):
        main(["--note-text", str(tmp_path / "nothing")])
    assert "--note-text" in help_text()
