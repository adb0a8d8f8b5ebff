# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The page in each of its states, and the file that it saves, by axe-core: nothing serious or critical."""

import base64

import pytest

from tests.browser import resize, severe_violations
from tests.space.conftest import Visit
from tests.space.test_page import NOTE, table  # noqa: F401 - a fixture


ABSTAINS = 6  # of the examples: it has no note


def choose(visit, position: int) -> None:
    visit.js("arguments[0].click()", visit.all("#example input")[position])
    visit.wait(visit.unanswered)


def unfold(visit) -> None:
    visit.js("document.querySelectorAll('details').forEach((details) => { details.open = true; })")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_no_state_of_the_page_has_a_serious_violation(app, chrome, axe, table, tmp_path, width):  # noqa: F811
    visit, found = Visit(chrome, app.address, width), {}

    def look(state: str) -> None:
        unfold(visit)
        found[state] = severe_violations(chrome, axe)

    look("empty")
    (tmp_path / "wrong.csv").write_text("hour,Blood colour\n1,2\n")
    visit.upload(tmp_path / "wrong.csv")
    assert visit.all("#message .error")
    look("error")

    choose(visit, ABSTAINS)
    visit.write()
    assert visit.all("#doubt .abstain")
    look("abstention")

    visit.upload(table)
    visit.enter(NOTE)
    visit.click("#grounded input")  # the model's own words hold findings of every verdict
    visit.write()
    assert {"supported", "contradicted", "absent"} <= {
        claim.get_attribute("class").split()[1] for claim in visit.all("#rationale .claim")
    }
    visit.click("#find")
    visit.wait(lambda: visit.all("#evidence .evidence"))
    look("answer")
    visit.js("arguments[0].focus()", visit.all("#rationale .claim[data-links*=point]")[0])
    look("a finding pointed at")
    visit.click("#use-note input")
    visit.write()
    look("without the note")
    visit.click("#use-note input")
    visit.click("#use-series input")
    visit.write()
    look("without the measurements")
    assert found == {state: [] for state in found}
    assert len(found) == 7


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_the_saved_answer_has_no_serious_violation_and_fits(app, chrome, axe, tmp_path, width):
    visit = Visit(chrome, app.address, width)
    visit.write()
    page = visit.one(".export-link").get_attribute("href").split(",", 1)[1]
    (tmp_path / "answer.html").write_bytes(base64.b64decode(page))
    resize(chrome, width, 900)
    chrome.get((tmp_path / "answer.html").as_uri())
    assert severe_violations(chrome, axe) == []
    assert visit.js("return document.documentElement.scrollWidth") <= width


def test_axe_finds_what_is_wrong(chrome, axe, tmp_path):
    (tmp_path / "bad.html").write_text(
        '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1><p style="color:#bbb">pale</p><input></main>'
    )
    chrome.get((tmp_path / "bad.html").as_uri())
    assert {rule for rule, _, _ in severe_violations(chrome, axe)} == {"color-contrast", "label"}
