# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""`clinragen` and the scripts beside it: every help text, and a wheel that is whole in an empty environment."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from recipes.__main__ import COMMANDS, main
from tests.commands import run_script


ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("modeling_clinragen", "datasets_scripts", "recipes")
HEAVY = ("torch", "transformers", "datasets", "duckdb", "pyarrow", "pandas", "scipy", "sklearn", "trl", "peft", "ray")
HELP_OF_ALL = """
import contextlib, importlib, io, json, sys
texts = {}
for room, name in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            importlib.import_module(f"{room}.{name}").main(["--help"])
        except SystemExit as ended:
            assert not ended.code, (name, ended.code)
    texts[name] = [out.getvalue(), [module for module in json.loads(sys.argv[2]) if module in sys.modules]]
print(json.dumps(texts))
"""


@pytest.fixture(scope="module")
def help_texts():
    """Help text of each command, and which of `HEAVY` are loaded once it is printed."""
    pairs = [[room, name] for name, (room, _) in COMMANDS.items()]
    arguments = [sys.executable, "-c", HELP_OF_ALL, json.dumps(pairs), json.dumps(HEAVY)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_its_help_before_anything_heavy_is_loaded(help_texts, name):
    text, loaded = help_texts[name]
    assert text.startswith("usage: ")
    assert "--help" in text
    assert not loaded


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_wait_as_the_user_says_or_else_shortly_and_torch_is_not_loaded_before(given, expected):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    script = (
        "import json, os, sys\n"
        "from recipes import evaluate_model, predict, stage1_note, stage2_lab, stage3_multimodal, stage4_rewards\n"
        f"print(json.dumps([dict((k, os.environ[k]) for k in {names} if k in os.environ), 'torch' in sys.modules]))"
    )
    variables = {name: value for name, value in os.environ.items() if name not in names} | given
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=variables, cwd=ROOT)
    assert json.loads(done.stdout) == [expected, False], done.stderr


def test_the_app_prints_its_help_before_anything_heavy_is_loaded():
    script = "import runpy, sys; sys.argv = ['app.py', '--help']; runpy.run_path('space/app.py', run_name='__main__')"
    arguments = [sys.executable, "-X", "importtime", "-c", script]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--model" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & {*HEAVY, "gradio"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_is_one_line_and_exit_code_2(name):
    done = run_script(ROOT / COMMANDS[name][0] / f"{name}.py", "--no-such-option", "x")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_one_entry_lists_every_command(argv, capsys):
    main(argv)
    text = capsys.readouterr().out
    assert all(f"  {name.replace('_', '-')} " in text for name in COMMANDS)


def test_an_unknown_command_is_named():
    done = run_script(ROOT / "recipes/__main__.py", "train")
    assert (done.returncode, done.stderr) == (
        2,
        "error: there is no command 'train'; `clinragen --help` lists them\n",
    )


def test_a_command_is_called_with_what_follows_its_name(tmp_path):
    """As a script of its own does: the same dataset, and the same message for the same mistake."""
    for arguments in (["--source", "synthetic"], ["--source", "paper", "--output", str(tmp_path / "out")]):
        script = run_script(ROOT / "datasets_scripts/build_dataset.py", *arguments)
        entry = run_script(ROOT / "recipes/__main__.py", "build-dataset", *arguments)
        assert (entry.returncode, entry.stderr) == (script.returncode, script.stderr) == (2, script.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    source = folder / "source"  # a build leaves files beside its sources
    files = subprocess.run(["git", "ls-files", *PACKAGES, "setup.py", "pyproject.toml", "README.md", "LICENSE"],
                           capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()  # fmt: skip
    for name in files:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_holds_every_file_of_the_packages(wheel):
    listed = subprocess.run(["git", "ls-files", *PACKAGES], capture_output=True, text=True, check=True, cwd=ROOT)
    unneeded = (".png", "/README.md")
    ours = {name for name in listed.stdout.split() if not name.endswith(unneeded) and (ROOT / name).is_file()}
    assert ours <= {*zipfile.ZipFile(wheel).namelist()}


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment that holds the wheel and nothing else; a function that runs a program of it elsewhere."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv/bin/python"
    options = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *options], check=True)

    def run(program, *arguments):
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [folder / "venv/bin" / program, *map(str, arguments)],
            cwd=folder,
            env=clean,
            capture_output=True,
            text=True,
        )

    run.folder = folder
    return run


def test_without_any_other_package_the_wheel_gives_every_help_text(environment, help_texts):
    done = environment("clinragen", "--help")
    assert done.returncode == 0, done.stderr
    assert "build-dataset" in done.stdout
    for name in COMMANDS:
        done = environment("clinragen", name.replace("_", "-"), "--help")
        assert done.returncode == 0, (name, done.stderr)
        assert done.stdout.startswith(f"usage: clinragen {name.replace('_', '-')}")


def test_a_package_that_is_missing_is_named_with_its_remedy(environment):
    done = environment("clinragen", "build-dataset", "--source", "synthetic", "--output", "dataset")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the package ")
    assert done.stderr.endswith(" is not installed; pip install 'clinragen[all]'\n")


def test_with_its_packages_the_wheel_builds_and_finds_its_configurations(environment):
    """The other packages are those of this environment, without this checkout."""
    (site,) = (environment.folder / "venv").glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others))
    where = environment("python", "-c", "import recipes; print(recipes.__file__)").stdout
    assert where.startswith(str(site))
    done = environment("clinragen", "build-dataset", "--source", "synthetic", "--limit", "30", "--output", "dataset")
    assert done.returncode == 0, done.stderr
    assert (environment.folder / "dataset/README.md").is_file()
    done = environment("clinragen", "reproduce", "--config", "reproduce/synthetic.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "jobs" in done.stdout + done.stderr
