# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model's name is a folder of this machine or a name on the Hub, and a folder that is missing is never looked up."""

import pytest

from datasets_scripts.common.checkpoints import MINILM, is_missing_path, resolve_checkpoint
from datasets_scripts.llm.options import parse_model
from modeling_clinragen import ClinRaGenInputError
from recipes.models.folder import load_model_folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with `runs/stage1` in it."""
    (tmp_path / "runs" / "stage1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PATHS = [
    "./x", "../x/y", "/abs", "/abs/x", "~/x", "runs/x/stage3", "a/b/c", "runs/stage2", "x/y/",
    "C:\\models\\x", "runs\\stage2", "",
]  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_does_not_exist_is_missing(here, name):
    assert is_missing_path(name)
    with pytest.raises(ClinRaGenInputError, match=r"there is no folder .* or a name on the Hub, USER/NAME"):
        resolve_checkpoint(name)


@pytest.mark.parametrize("name", [".", "./", "runs/", "runs/stage1", "runs", "./runs", "gpt2", "t5-small", MINILM])
def test_an_existing_path_and_a_name_on_the_hub_are_not_missing(here, name):
    assert not is_missing_path(name)


@pytest.mark.parametrize("name", ["google/flan-t5-small", "Qwen/Qwen3-0.6B", "t5-small"])
def test_a_name_on_the_hub_is_unchanged(here, name):
    assert resolve_checkpoint(name) == name


@pytest.mark.parametrize("name", ["./x", "runs/stage2", "/abs/x", "runs/x/stage3"])
def test_a_missing_model_folder_is_not_looked_up_on_the_hub(here, hub, name):
    with pytest.raises(ClinRaGenInputError, match="no model folder at"):
        load_model_folder(name)
    for option in ("--teacher", "--judge"):
        with pytest.raises(ClinRaGenInputError, match="there is no folder"):
            parse_model(f"transformers:{name}", option, ())
    assert not hub.requests


def test_the_name_of_an_endpoints_model_is_not_a_path(here):
    assert parse_model("openai:runs/stage2", "--teacher", ()) == ("openai", "runs/stage2")
