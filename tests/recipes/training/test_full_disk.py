# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A stage on a full disk, and beside another one with the same output."""

import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from datasets_scripts.common.outputs import held
from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note


@pytest.mark.slow
@pytest.mark.parametrize("size", ["200k", "900k", "2m", "3m"])
def test_a_full_disk_keeps_the_checkpoints_and_the_stage_resumes(stage_arguments, tmp_path, small_disk, size):
    disk = small_disk(size)
    with pytest.raises(ClinRaGenInputError, match=r"the disk of .*/stage1 is full; .* to resume it"):
        stage1_note.main(stage_arguments(disk / "stage1", max_steps=4))
    assert not (disk / "stage1").exists()
    small_disk("200m")
    stage1_note.main(stage_arguments(disk / "stage1", max_steps=4))
    assert not list(disk.glob("*.unfinished"))
    stage1_note.main(stage_arguments(tmp_path / "whole", max_steps=4))
    resumed, whole = (load_file(folder / "model.safetensors") for folder in (disk / "stage1", tmp_path / "whole"))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


@pytest.mark.slow
def test_a_second_stage_with_the_same_output_is_refused(stage_arguments, tmp_path):
    with held(tmp_path / "stage1"):
        command = [sys.executable, stage1_note.__file__, *stage_arguments(tmp_path / "stage1")]
        began = time.perf_counter()
        second = subprocess.run(command, capture_output=True, text=True)
    assert (second.returncode, time.perf_counter() - began < 120) == (2, True)
    assert second.stderr.splitlines()[-1].startswith("error: another process is working on"), second.stderr
    assert not (tmp_path / "stage1.training").exists()
