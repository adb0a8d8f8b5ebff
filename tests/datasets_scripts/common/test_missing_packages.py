# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A missing package is one line with the command that installs it, for all users of the package."""

import importlib
import os
import sys

import pytest
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from datasets_scripts.common.command import run_command


@pytest.fixture(autouse=True)
def same_mask():
    mask = os.umask(0o022)
    yield
    os.umask(mask)


def error_of(main, capsys):
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("aiohttp", "'clinragen[all]'"),
        ("gradio.blocks", "'clinragen[space]'"),
        ("ray", "'clinragen[ray]'"),
    ],
)
def test_a_package_of_the_project_is_named_with_its_extra(monkeypatch, capsys, name, wanted):
    monkeypatch.setitem(sys.modules, name.partition(".")[0], None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, name, None)
    message = error_of(lambda _: importlib.import_module(name), capsys)
    assert message == f"error: the package {name.partition('.')[0]} is not installed; pip install {wanted}\n"


@pytest.mark.parametrize("logger", ["azure_ml", "codecarbon", "comet_ml", "clearml", "swanlab", "wandb"])
def test_a_package_that_transformers_needs_is_named(capsys, logger):
    def main(_):
        INTEGRATION_TO_CALLBACK[logger]()

    try:
        main(None)
    except (RuntimeError, ImportError):
        package = {"azure_ml": "azureml", "comet_ml": "comet-ml"}.get(logger, logger)
        message = error_of(main, capsys)
        assert message == f"error: the package {package} is not installed; pip install {package}\n"
    else:
        pytest.skip(f"{logger} is installed")


def test_words_of_transformers_tokenizers_are_read(capsys):
    def main(_):
        raise ImportError(
            "\nSmallTokenizer requires the SentencePiece library but it was not found in your environment. Check out\n"
        )

    assert error_of(main, capsys) == ("error: the package SentencePiece is not installed; pip install sentencepiece\n")


def test_a_module_of_the_project_that_is_missing_is_a_fault_of_the_program():
    with pytest.raises(ModuleNotFoundError):
        run_command(lambda _: importlib.import_module("datasets_scripts.nowhere"))
