# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""docs/how_it_works.md: its picture is what the script draws, and the names in it exist in the code."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from docs.draw_model import BOXES, HEIGHT, LABELS, PICTURE, WIDTH, draw


ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "how_it_works.md").read_text(encoding="utf-8")
ROWS = [row.split(" | ") for row in re.findall(r"^\| (.*`.*`.*) \|$", PAGE, re.M)]


def defined_in(path: Path) -> set[str]:
    """Return the names that a module defines at its top."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return names | {t.id for node in body if isinstance(node, ast.Assign) for t in node.targets if hasattr(t, "id")}


def text_width(text: str, size: float, weight: str = "normal") -> float:
    return TextPath((0, 0), text, size=size, prop=FontProperties("DejaVu Sans", weight=weight)).get_extents().width


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_what_the_code_defines(row):
    file = row[-2].strip("`")
    path = ROOT / (file if file.endswith(".py") else f"modeling_clinragen/{file}_clinragen.py")
    names = re.findall(r"`(\w+)`", row[-3])
    assert names
    assert set(names) <= defined_in(path)


def test_every_stage_has_its_row():
    assert len(ROWS) > 15
    shown = {row[-2].strip("`") for row in ROWS}
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.glob("recipes/stage[123]_*.py")} <= shown


def test_the_picture_is_what_the_script_draws():
    assert PICTURE.read_text(encoding="utf-8") == draw()
    assert f"images/{PICTURE.name}" in PAGE
    drawn = ElementTree.fromstring(draw())
    shown = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {box.title for box in BOXES} < shown


def test_the_parts_of_the_picture_exist_in_the_code():
    classes = set().union(*map(defined_in, (ROOT / "modeling_clinragen").glob("*.py")))
    named = {box.title for box in BOXES if box.title.startswith("ClinRaGen")}
    assert len(named) >= 6
    assert named <= classes


def test_boxes_lie_apart_within_the_picture_and_hold_their_text():
    for one, other in combinations(BOXES, 2):
        apart_x = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart_x or one.y + one.height <= other.y or other.y + other.height <= one.y, (one, other)
    for box in BOXES:
        assert 0 <= box.x <= WIDTH - box.width, box
        assert 0 <= box.y <= HEIGHT - box.height, box
        assert text_width(box.title, 14, "bold") < box.width - 10, box
        assert text_width(box.line, 12) < box.width - 10, box
    for x, y, text in LABELS:
        half = text_width(text, 12) / 2
        for box in BOXES:
            outside = x + half <= box.x or box.x + box.width <= x - half
            assert outside or y <= box.y or box.y + box.height <= y - 12, (text, box)
