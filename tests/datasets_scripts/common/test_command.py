# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuse impossible options and settings files, for all commands in one place."""

import subprocess
import sys
from pathlib import Path

import pytest

from datasets_scripts import build_dataset
from datasets_scripts.common.command import CommandParser
from datasets_scripts.common.settings import read_yaml
from modeling_clinragen import ClinRaGenInputError
from recipes.training.arguments import parse_arguments
from recipes.training.fields import read_fields


@pytest.fixture
def parser():
    parser = CommandParser()
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float)
    parser.add_argument("--place", type=Path)
    parser.add_argument("--kind", choices=("a", "b"), default="a")
    parser.add_argument("--parts", type=int, nargs="+", choices=(1, 2))
    return parser


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--count", "0"], "--count is 0; give at least 1"),
        (["--count", "-5"], "--count is -5; give at least 1"),
        (["--count", "9" * 30], "--count is 99999999999999999999...; give at most 2147483647"),
        (["--seed", "-1"], "--seed is -1; give at least 0"),
        (["--seed", str(2**32)], "--seed is 4294967296; give at most 4294967295"),
        (["--share", "nan"], "--share is nan; give 0 or more"),
        (["--share", "inf"], "--share is inf; give 0 or more"),
        (["--share", "-0.1"], "--share is -0.1; give 0 or more"),
        (["--place", "a\0b"], "--place holds a zero byte"),
        (["--kind", "c"], "argument --kind: invalid choice"),
    ],
)
def test_impossible_values_of_options_are_refused(parser, argv, message):
    with pytest.raises(ClinRaGenInputError) as caught:
        parser.parse_args(argv)
    assert message in str(caught.value)


def test_possible_values_of_options_are_accepted(parser):
    argv = ["--count", "1", "--seed", "0", "--share", "0", "--place", "a?b'c", "--parts", "1", "2"]
    given = parser.parse_args(argv)
    assert (given.count, given.seed, given.share, given.place, given.parts) == (1, 0, 0.0, Path("a?b'c"), [1, 2])


def test_a_message_is_short_for_any_pasted_text(parser):
    with pytest.raises(ClinRaGenInputError) as caught:
        parser.parse_args(["--count", "x" * 100_000])
    assert len(str(caught.value)) < 1100


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--splits=train=0.8,validation=0.1,test=0.1,train=0.8", "names a split twice; give each once"),
        ("--splits=train=0.5,train=1", "names a split twice; give each once"),
        ("--threads=100000", "--threads is 100000; give at most 1024"),
        ("--threads=" + "9" * 20, "--threads is 99999999999999999999; give at most"),
    ],
)
def test_impossible_options_of_a_build_are_refused(tmp_path, option, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        build_dataset.main(["--source", "synthetic", "--output", str(tmp_path / "out"), option])
    assert not list(tmp_path.iterdir())


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\ta: 1", "line 1: not a YAML file"),
        (b"a: 1\nb: [", "line 2: not a YAML file"),
        (b"\xff\xfea", "not a YAML file: no text in UTF-8"),
        (b"\x7fELF\0", "not a YAML file"),
        (b"a: " + b"[" * 5000, "nested too deeply"),
        (b"a: " + b"[" * 60 + b"]" * 60, "holds itself, or too much"),
        (b"a: &a [*a]", "holds itself, or too much"),
        (BOMB.encode(), "holds itself, or too much"),
        (b"1: a", "the name 1 is not text; write it in quotes"),
        (b"yes: a", "the name True is not text; write it in quotes"),
        (b"a: {null: 1}", "the name None is not text"),
        (b"a: 2020-01-01", "'2020-01-01' is neither text nor a number; write it in quotes"),
        (b"a: 2020-99-99", "not a YAML file"),
        (b'a: "\\ud800"', "holds half of a character"),
        (b"a: !!python/name:os.system", "could not determine a constructor"),
        (b"[1]", r"it is \[1\], not an object with fields"),
        (b"", "it is None, not an object with fields"),
    ],
)
def test_an_invalid_settings_file_is_refused(tmp_path, content, message):
    path = tmp_path / "a?b.yaml"
    path.write_bytes(content)
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_folder_in_place_of_a_settings_file_is_refused(tmp_path):
    with pytest.raises(ClinRaGenInputError, match="Is a directory"):
        read_yaml(tmp_path)


def test_aliases_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: [*a]}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": [{"x": 1}]}}


OUTPUT = ["--dataset", "d", "--output_dir", "o"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vocab_size: [1]", r"vocab_size is \[1\], not a whole number or text"),
        ("vocab_size: 1.5", "vocab_size is 1.5, not a whole number"),
        ("vocab_size: true", "vocab_size is True, not a whole number"),
        ("vocab_size: 0", "--vocab_size is 0; give at least 1"),
        ("max_note_tokens: null", "max_note_tokens is None, not a whole number"),
        ("learning_rate: .nan", "learning_rate is nan, not a number"),
        ("learning_rate: -1.0", "--learning_rate is -1.0; give 0 or more"),
        ("learning_rate: fast", "argument --learning_rate: invalid float value: 'fast'"),
        ("inputs: note", "inputs is 'note', not a list"),
        ("inputs: [1]", r"inputs\[0\] is 1, not text"),
        ("eval_strategy: no", "eval_strategy is False, not text"),
        ("lora: [r]", "lora is .*, not an object with fields"),
        ("rationale_first: 3", "rationale_first is 3, not true or false"),
    ],
)
def test_fields_of_a_stage_have_their_type_and_range(tmp_path, text, message):
    (tmp_path / "stage.yaml").write_text(text)
    with pytest.raises(ClinRaGenInputError, match=message):
        read_fields([*OUTPUT, "--config", str(tmp_path / "stage.yaml")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_steps: [1]", r"max_steps is \[1\], not text or a whole number"),
        ("max_steps: -2", "max_steps is -2; give -1 or more"),
        ("num_train_epochs: nan", "num_train_epochs is nan; give 0 or more"),
        ("seed: -1", "seed is -1; give 0 or more"),
        ("gradient_accumulation_steps: 0", "gradient_accumulation_steps is 0; give 1 or more"),
        ("dataloader_num_workers: -1", "dataloader_num_workers is -1; give 0 or more"),
        ("adam_beta1: 5", "adam_beta1 is 5; give 0 to 0.999999"),
        ("lr_scheduler_kwargs: 5", "lr_scheduler_kwargs is 5, not"),
        ("max_grad_norm: -1", "max_grad_norm is -1; give 0 or more"),
        ("torch_compile: [1]", "torch_compile is .*, not"),
        ("optim: nothing", "nothing is not a valid OptimizerNames"),
        ("report_to: 5", "report_to is 5, not"),
    ],
)
def test_fields_of_transformers_have_their_type_and_range(tmp_path, text, message):
    (tmp_path / "stage.yaml").write_text(text)
    with pytest.raises(ClinRaGenInputError, match=message):
        parse_arguments([*OUTPUT, "--config", str(tmp_path / "stage.yaml")])


ABORTS_IN_TEARDOWN = """
import atexit, os, sys
from datasets_scripts.common.command import run_command

class Held:
    def __del__(self, abort=os.abort):
        abort()

def main(argv):
    sys.modules["held"] = Held()  # lives until Python tears its modules down
    atexit.register(print, "left in order", end="")
    if "fails" in sys.argv:
        raise ValueError("fails")

run_command(main)
"""


@pytest.mark.parametrize(("option", "code"), [("works", 0), ("fails", -6)])
def test_a_finished_command_exits_without_a_teardown(option, code):
    command = [sys.executable, "-c", ABORTS_IN_TEARDOWN, option]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path.cwd())
    assert (done.returncode, done.stdout) == (code, "left in order"), done.stderr


def test_the_caller_of_a_command_keeps_its_own_exit_code():
    caller = "import sys; from datasets_scripts.common.command import run_command; run_command(print); sys.exit(3)"
    done = subprocess.run([sys.executable, "-c", caller], capture_output=True, text=True, cwd=Path.cwd())
    assert (done.returncode, done.stdout) == (3, "None\n"), done.stderr
