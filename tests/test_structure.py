# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The structure of the project: imports between packages, commands, and no circular imports."""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from recipes.__main__ import COMMANDS


ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("modeling_clinragen", "datasets_scripts", "recipes", "benchmarks")  # each may import those before it
LIGHT = ("numpy", "torch", "transformers", "huggingface_hub")  # what the Hub's code needs
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
QUESTION_WORDS = ("What", "Whether", "Which", "Where", "How", "Who", "When", "Why", "If")
MAY_CALL_COMMANDS = ("recipes.quickstart", "recipes.reproduce", "recipes.__main__")


def modules_of(*rooms):
    """Name -> file of every module; the modules of `evaluate`, which are loaded by their path, are none of them."""
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py") if "modules" not in path.parts]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}


MODULES = modules_of(*FLOORS)
SCRIPTS = {
    name
    for name in MODULES
    if name.count(".") == 1 and name.startswith(("datasets_scripts.", "recipes.")) and "__init__" not in name
}


def imported_by(name: str, path: Path) -> set[str]:
    """Full names of what a module imports, at its top or in a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(name.split(".")[: -node.level]) if node.level else ""
            base = ".".join(filter(None, (package, node.module)))
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return found


IMPORTS = {name: imported_by(name, path) for name, path in MODULES.items()}
OWN_IMPORTS = {name: {other for other in found if other in MODULES} for name, found in IMPORTS.items()}


def room_of(name: str) -> str:
    return name.partition(".")[0]


def package_of(name: str) -> str:
    """The package; the commands at the top of a room and the flat modeling room are one place each."""
    return name.rpartition(".")[0]


def test_every_script_at_the_top_of_a_room_is_a_command():
    for name in SCRIPTS:
        body = ast.parse(MODULES[name].read_text()).body
        functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
        assert "main" in functions, f"{name} has no main: it belongs into a package"


def test_every_command_has_its_place_in_the_one_entry():
    assert {f"{room}.{name}" for name, (room, _) in COMMANDS.items()} == SCRIPTS - {"recipes.__main__"}
    assert len(COMMANDS) + 1 <= 22  # and the app


def test_no_library_imports_a_command():
    climbing = {
        (name, other)
        for name, found in OWN_IMPORTS.items()
        for other in found & SCRIPTS
        if name not in MAY_CALL_COMMANDS and room_of(name) != "benchmarks"
    }
    assert not climbing


def test_no_import_goes_up_the_order_of_packages():
    for name, found in IMPORTS.items():
        above = [*FLOORS[FLOORS.index(room_of(name)) + 1 :], "space"]
        above += [] if room_of(name) == "benchmarks" else ["tests"]
        assert not {other for other in found if room_of(other) in above}, name


def test_what_travels_to_the_hub_is_flat_and_light():
    for name in modules_of("modeling_clinragen"):
        assert name.count(".") == 1, f"{name}: code on the Hub knows no folders"
        others = {room_of(other) for other in IMPORTS[name]} - {"modeling_clinragen"}
        assert others <= {*sys.stdlib_module_names, *LIGHT}, name


def test_the_app_needs_no_package_of_the_project():
    for path in (ROOT / "space").rglob("*.py"):
        assert not {room_of(other) for other in imported_by(path.stem, path)} & {*FLOORS, "tests"}, path.name


def test_no_imports_are_circular():
    tuple(TopologicalSorter(OWN_IMPORTS).static_order())  # raises CycleError


def test_no_package_depends_on_one_that_depends_on_it():
    graph = {}
    for name, found in OWN_IMPORTS.items():
        if name not in SCRIPTS:
            graph.setdefault(package_of(name), set()).update(map(package_of, found - SCRIPTS))
    for package, found in graph.items():
        found.discard(package)
    tuple(TopologicalSorter(graph).static_order())


def test_a_circle_is_found():
    with pytest.raises(CycleError):
        tuple(TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).static_order())


def questions_in(code: str) -> list[str]:
    """Return the first lines of docstrings that open with a question word instead of a verb or a noun."""
    nodes = (node for node in ast.walk(ast.parse(code)) if isinstance(node, DOCUMENTED))
    found = filter(None, map(ast.get_docstring, nodes))
    return [text.splitlines()[0] for text in found if text.split()[0] in QUESTION_WORDS]


@pytest.mark.parametrize("room", [*FLOORS, "space"])
def test_no_docstring_opens_with_a_question(room):
    for path in (ROOT / room).rglob("*.py"):
        assert questions_in(path.read_text(encoding="utf-8")) == [], path


def test_a_docstring_that_opens_with_a_question_is_found():
    code = '"""Read it."""\ndef one():\n    """Whether it is so."""\ndef other():\n    """Return what it is."""'
    assert questions_in(code) == ["Whether it is so."]
    assert questions_in('"""What it shows."""') == ["What it shows."]


@pytest.mark.parametrize("room", ["datasets_scripts", "recipes", "modeling_clinragen", "space", "benchmarks"])
def test_tests_mirror_the_packages(room):
    """A folder that holds tests has the name of a folder that they test."""
    for folder in {path.parent for path in (ROOT / "tests" / room).rglob("test_*.py")}:
        assert (ROOT / folder.relative_to(ROOT / "tests")).is_dir(), folder
