# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The commands that the documents and the first lines of the scripts show are accepted as they stand, and the form of the
documents is what `make quality` asks for.
"""

import argparse
import ast
import re
import shlex
import shutil
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser
from torch.distributed.run import get_args_parser

from recipes.training.fields import DataArguments, ModelArguments, RewardFields, StageFields, transformers_fields
from recipes.training.parsing import FieldParser
from tests.check_docs import MAX_LINES, documents, faults, main
from tests.commands import run_script


ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("recipes", "datasets_scripts", "benchmarks", "space")
FOREIGN_COMMAND = r"git |pip |pytest |transformers |vllm "
LAUNCHERS = {"accelerate": (2, launch_command_parser), "torchrun": (1, get_args_parser)}
OWN = r"python (?:-m benchmarks\.|recipes/|datasets_scripts/|space/)|accelerate launch |torchrun |clinragen "
COMMAND = rf"(?:\w+=\S+ )*(?:{OWN})"
OPTIONS = r"\w+\.py --"  # a script's name and some of its options
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for room in ROOMS[:3] for path in (ROOT / room).glob("[a-z]*.py"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


class Parsed(BaseException):
    """The arguments of a command were accepted; the command itself does not run."""


@cache
def commands() -> list[tuple[str, bool]]:
    """Return the commands of all documents, and for each if it is whole: those in the text may be parts of one."""
    found = set()
    for name in documents(ROOT):
        if name == "space/README.md":  # of another folder
            continue
        text = read(name).replace("\\\n", " ")
        for block in re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S):
            found |= {(line.removesuffix(" &"), True) for line in re.findall(rf"^{COMMAND}.*$", block, re.M)}
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        found |= {(span, False) for span in re.findall(rf"`((?:{COMMAND}|{OPTIONS})[^`]*)`", prose)}
    return sorted({(" ".join(command.split()), whole) for command, whole in found})


def commands_of_the_first_lines(script: str) -> list[str]:
    """Return the commands that the docstring of a script shows."""
    text = (ast.get_docstring(ast.parse(read(script))) or "").replace("\\\n", " ")
    return [" ".join(command.split()) for command in re.findall(rf"^    ({COMMAND}.*)$", text, re.M)]


def words_of(command: str) -> list[str]:
    """Split a command as a shell does, without what it sets in the environment."""
    words = shlex.split(command.replace("...", "").replace("$ROOT", "ROOT"), comments=True)
    return words[next(i for i, word in enumerate(words) if "=" not in word) :]


def script_and_arguments(words: list[str]) -> tuple[str, list[str]]:
    """Return the script that a command starts, below the root, and its arguments."""
    if words[0] in LAUNCHERS:
        own, parser = LAUNCHERS[words[0]]
        launched = parser().parse_args(words[own:])
        assert (ROOT / (getattr(launched, "config_file", None) or "README.md")).is_file()
        return launched.training_script, launched.training_script_args
    if words[0] == "clinragen":
        return "recipes/__main__.py", words[1:]
    if words[:2] == ["python", "-m"]:
        return f"{words[2].replace('.', '/')}.py", words[3:]
    if words[0] == "python":
        return words[1], words[2:]
    room = "recipes" if (ROOT / "recipes" / words[0]).is_file() else "datasets_scripts"
    return f"{room}/{words[0]}", words[1:]


def accept(monkeypatch, command: str, whole: bool):
    """Start a command, and return how it ends; one whose arguments are accepted is stopped and gives `None`."""
    script, arguments = script_and_arguments(words_of(command))
    assert (ROOT / script).is_file(), script

    def stop_after(parse):
        def parse_and_stop(parser, *args, **kwargs):
            for action in parser._actions:
                action.required &= whole
                if isinstance(action.choices, list | tuple):  # a word in capitals stands for any of them
                    action.choices = (*action.choices, *filter(str.isupper, arguments))
            parse(parser, *args, **kwargs)
            raise Parsed

        return parse_and_stop

    for kind, name in ((argparse.ArgumentParser, "parse_args"), (FieldParser, "check_known")):
        monkeypatch.setattr(kind, name, stop_after(getattr(kind, name)))
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend((ROOT / script).parent)
    try:
        return run_script(ROOT / script, *arguments)
    except Parsed:
        return None


@pytest.mark.parametrize(("command", "whole"), commands())
def test_a_command_of_the_documents_is_accepted(monkeypatch, command, whole):
    done = accept(monkeypatch, command, whole)
    assert done is None or done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_first_lines_of_a_script_show_how_to_start_it(monkeypatch, script):
    shown = commands_of_the_first_lines(script)
    assert shown
    for command in shown:
        assert script_and_arguments(words_of(command))[0] == script
        done = accept(monkeypatch, command, True)
        assert done is None or done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "whole"),
    [
        ("python recipes/predict.py --model M --inputs records.jsonl --output answers.jsonl", True),
        ("python recipes/predict.py --model M", True),
        ("predict.py --evidences", False),
        ("generate_rationales.py --rejected perhaps", False),
        ("accelerate launch recipes/stage1_note.py --config recipes/configs/no_such/stage1.yaml", True),
        ("stage1_note.py --learning_rates 1", False),
        ("python -m benchmarks.guarantees --recall 0.9", True),
        ("clinragen build-datasets", False),
    ],
)
def test_a_command_that_a_script_does_not_take_is_refused(monkeypatch, command, whole):
    done = accept(monkeypatch, command, whole)
    assert done.returncode == 2
    assert done.stderr


def test_the_documents_show_every_kind_of_command():
    shown = [command for command, _ in commands()]
    for start in (
        "python recipes/",
        "python datasets_scripts/",
        "python -m ",
        "python space/",
        "accelerate ",
        "torchrun ",
    ):
        assert any(start in command for command in shown), start
    assert "clinragen --help" in shown
    for script in ROOT.glob("recipes/[a-z]*.py"):
        assert any(script.name in command for command in shown), script


def options_of_the_text(name: str) -> set[str]:
    """Return the options in backticks of a document, those of whole commands left out."""
    prose = re.sub(r"^```.*?^```$", "", read(name), flags=re.M | re.S)
    spans = [span for span in re.findall(r"`([^`]+)`", prose) if not re.match(FOREIGN_COMMAND, span)]
    return {option for span in spans for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}


def options_of_the_commands() -> set[str]:
    """Return the options of scripts and launchers, and the fields of the stages, those of transformers included."""
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    written = {option for path in sources for option in re.findall(r"\"(--[a-z][\w-]*)\"", path.read_text("utf-8"))}
    kinds = (ModelArguments, DataArguments, StageFields, RewardFields)
    named = {one.name for kind in kinds for one in fields(kind)} | transformers_fields()
    launchers = {option for _, parser in LAUNCHERS.values() for option in parser()._option_string_actions}
    return written | launchers | {f"--{name}" for name in named}


@pytest.mark.parametrize("name", documents(ROOT))
def test_an_option_in_the_text_is_one_of_a_command(name):
    gone = name == "CHANGELOG.md"  # which also names what is gone
    assert gone or options_of_the_text(name) - options_of_the_commands() == set()


@pytest.mark.parametrize("path", sorted((ROOT / "findings").glob("*.sh")), ids=lambda path: path.stem)
def test_a_finding_looks_as_its_page_says(path):
    text = path.read_text(encoding="utf-8")
    head = text.partition("set -euo pipefail")[0]
    assert path.stat().st_mode & 0o111
    assert re.search(r"^# A good guess: .*^# Seen: ", head, re.M | re.S)
    pinned = re.findall(r"\"([\w\[\]-]+)==([\d.]+)\"", text)
    assert any(version in head for _, version in pinned)


def test_make_does_what_the_documents_say():
    makefile = read("Makefile")
    targets = set(re.findall(r"^(\w+):", makefile, re.M))
    shown = {target for name in documents(ROOT) for target in re.findall(r"\bmake (\w+)[\n`]", read(name))}
    assert {"quickstart"} < shown <= targets
    (quickstart,) = re.findall(r"^quickstart:.*\n\t\$\(BIN\)/(.*)$", makefile, re.M)
    assert (quickstart, False) in commands()


def test_the_documents_have_no_fault():
    assert [fault for name in documents(ROOT) for fault in faults(ROOT, name)] == []


@pytest.fixture
def copied(tmp_path):
    """A folder with documents that have no fault: a short one for each name that is asked for."""
    for name in MAX_LINES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# Title\n\nA line.\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("README.md", "line\n" * 151, "README.md: 151 lines, at most 150"),
        ("recipes/README.md", "line\n" * 81, "recipes/README.md: 81 lines, at most 80"),
        ("findings/README.md", "line\n" * 61, "findings/README.md: 61 lines, at most 60"),
        ("docs/results.md", f"# T\n{'w' * 121}\n", "docs/results.md:2: 121 characters, at most 120"),
        ("README.md", "Made of `8e4f86b`.\n", "commit hash in '`8e4f86b`'"),
        ("CHANGELOG.md", "Drawn before commit\n8334438, which is new.\n", "commit hash in 'commit\\n8334438'"),
        ("docs/data.md", "Of `git worktree add ../before 8e4f86b`.\n", "commit hash in '8e4f86b'"),
        ("README.md", "Since ba12b3d0c4f5e6a7b8c9d0e1f2a3b4c5d6e7f809.\n", "commit hash in 'ba12b3d0c4f5"),
        ("docs/data.md", "Written to /home/someone/runs.\n", "path of one machine in '/home/someone'"),
        ("space/README.md", "`python app.py --model /tmp/model`\n", "path of one machine in '/tmp/model'"),
        ("docs/data.md", "Written to D:\\records.\n", "path of one machine in 'D:\\\\records'"),
        ("README.md", "Minutes on a slower\nmachine.\n", "says 'slower machine'"),
        ("README.md", "On busy cores.\n", "says 'busy core'"),
        ("docs/data.md", "See [there](../gone.md).\n", "broken link ../gone.md"),
        ("docs/data.md", "See ![a picture](gone.png).\n", "broken link gone.png"),
        ("README.md", "See [there](space/README.md#no-such-part).\n", "broken link space/README.md#no-such-part"),
        ("README.md", "# A part\n\n[here](#an-other-part)\n", "broken link #an-other-part"),
        ("docs/data.md", "See `space/gone.py`.\n", "no file space/gone.py"),
        ("docs/data.md", "See `recipes/gone/*.yaml`.\n", "no file recipes/gone/*.yaml"),
        ("docs/data.md", "Write `tests/gone/NAME.md`.\n", "no file tests/gone/NAME.md"),
    ],
)
def test_each_rule_finds_its_fault(copied, capsys, name, text, fault):
    assert main(copied) == 0
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_text(text, encoding="utf-8")
    capsys.readouterr()
    assert main(copied) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(name)
    assert fault in line


@pytest.mark.parametrize(
    "text",
    [
        "line\n" * 150,
        "w" * 120,
        "A [file](space/README.md), [a part](space/README.md#title), [a page](https://example.org/gone).\n",
        "# What we did, and why\n\n[here](#what-we-did-and-why)\n",
        "```\n[code](is/no/link.md)\n```\n",
        "A colour `#abc` and the number `12345`; commit often.\n",
        "Record 1234567 was effaced; the hash has 64 digits: " + "0a" * 32 + ".\n",
        "See `space/README.md`, `space/`, `recipes/R*.md`, `findings/NAME.md` and `runs/gone.json`.\n",
        "See `~/.cache/huggingface/tmp/`, docs/tmp/file, `/docs`, `/metrics` and https://example.org/home/page.\n",
    ],
)
def test_allowed_content_has_no_fault(copied, text):
    (copied / "README.md").write_text(text, encoding="utf-8")
    assert main(copied) == 0


def test_a_room_without_its_page_is_a_fault(copied, capsys):
    shutil.rmtree(copied / "space")
    assert main(copied) == 1
    assert "space/README.md: is missing" in capsys.readouterr().out
