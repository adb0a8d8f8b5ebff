# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The file with one answer: complete, self-contained, and the same in print."""

import base64
import re

import html5lib
import pytest

from tests.space.conftest import Visit
from tests.space.test_page import NOTE, table  # noqa: F401 - a fixture


pytestmark = pytest.mark.usefixtures("space_modules")


def saved(visit) -> str:
    kind, page = visit.one(".export-link").get_attribute("href").split(",", 1)
    assert kind == "data:text/html;base64"
    assert visit.one(".export-link").get_attribute("download") == "clinragen-answer.html"
    return base64.b64decode(page).decode()


def text_of(page: str) -> str:
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    return " ".join("".join(tree.find("body").itertext()).split())


def shown(visit, selector: str) -> str:
    return " ".join(visit.one(selector).get_attribute("textContent").split())


@pytest.fixture(scope="module")
def page_and_visit(app, chrome, tmp_path_factory):
    from tests.space.conftest import SERIES

    path = tmp_path_factory.mktemp("export") / "series.csv"
    path.write_text(SERIES)
    visit = Visit(chrome, app.address)
    visit.upload(path)
    visit.enter(NOTE)
    visit.write()
    before = saved(visit)
    parts = {part: shown(visit, part) for part in ("#diagnoses", "#doubt", "#knowledge", "#modalities")}
    visit.click("#find")
    visit.wait(lambda: visit.all("#evidence .evidence"))
    parts["#evidence"] = shown(visit, "#evidence")
    visit.wait(lambda: saved(visit) != before)
    return before, saved(visit), parts


def test_a_click_saves_it(visit, tmp_path):
    visit.write()
    behavior = {"behavior": "allow", "downloadPath": str(tmp_path)}
    visit.browser.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    visit.click(".export-link")
    path = tmp_path / "clinragen-answer.html"
    visit.wait(path.exists)
    visit.wait(lambda: path.read_text() == saved(visit))
    assert visit.browser.get_log("browser") == []


def test_it_holds_the_record_and_all_that_the_page_shows(page_and_visit):
    before, page, parts = page_and_visit
    text = text_of(page)
    for words in (NOTE, "not a medical device", "Written 20", "space", "version "):
        assert words in text
    for part in ("#diagnoses", "#doubt", "#knowledge", "#modalities", "#evidence"):
        assert parts[part].replace(" ", "") in text.replace(" ", ""), part
    assert "What each diagnosis rests on" not in before  # it was not asked for
    assert "36 to 38 °C; clearly below 35 or above 38.29<" in page
    assert "fever ≥38.3 IDSA" in text  # the source
    verdicts = re.findall(r'<q>([^<]*)</q> <span class="(\w+) verdict">', page)
    assert ("Productive cough", "supported") in verdicts


def test_measurements_that_the_model_did_not_read_are_named_on_the_page_and_in_the_file(visit, tmp_path):
    (tmp_path / "late.csv").write_text("hour,Heart Rate,Temperature\n1,90,39.1\n30,150,\n31,155,37.5\n")
    visit.upload(tmp_path / "late.csv")
    visit.enter(NOTE)
    visit.write()
    said = "after the 24 hours that it reads: Heart Rate (2 values), Temperature (1 value); the text may still quote"
    assert said in shown(visit, "#doubt")
    assert said in text_of(saved(visit))


def test_it_asks_for_nothing_runs_nothing_and_has_nothing_to_press(page_and_visit, chrome, tmp_path):
    _, page, _ = page_and_visit
    assert "default-src 'none'" in page
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    assert not list(tree.iter("script"))
    assert all(details.get("open") is not None for details in tree.iter("details"))
    assert not [e for e in tree.iter() if e.get("role") == "button" or e.get("data-links")]
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    (tmp_path / "answer.html").write_text(page)
    chrome.get_log("performance"), chrome.get_log("browser")
    chrome.get((tmp_path / "answer.html").as_uri())
    assert chrome.get_log("browser") == []
    asked = [
        url for url in re.findall(r'"url":"([^"]+)"', str(chrome.get_log("performance"))) if "answer.html" not in url
    ]
    assert not [url for url in asked if not url.startswith("data:")]


def test_it_prints_on_a_few_pages(page_and_visit, chrome, tmp_path):
    (tmp_path / "answer.html").write_text(page_and_visit[1])
    chrome.get((tmp_path / "answer.html").as_uri())
    printed = base64.b64decode(chrome.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6


def test_omitted_inputs_are_named(app, chrome, table):  # noqa: F811
    visit = Visit(chrome, app.address)
    visit.upload(table)
    visit.click("#use-note input")
    visit.write()
    text = text_of(saved(visit))
    assert "Written without the note." in text
    assert "No note." in text
    visit.js("arguments[0].click()", visit.all("#example input")[1])
    visit.wait(visit.unanswered)  # for another record, this answer cannot be saved
    assert not visit.one("#export").is_displayed()


def test_an_answer_without_probabilities_is_saved_and_its_evidence_refused(tiny_tokenizer, tiny_processor):
    from export import export_page
    from page import NOTICE, START, Page
    from page import draw as draw_page

    from modeling_clinragen import ClinRaGenPipeline
    from tests.conftest import make_tiny_config, make_tiny_model

    config = make_tiny_config(tiny_tokenizer, diagnosis_loss_weight=0.0)
    pipe = ClinRaGenPipeline(make_tiny_model(config), processor=tiny_processor, tokenizer=tiny_tokenizer)
    page = Page(pipe, "somebody/model")
    given = ("Productive cough.", next(iter(page.examples.values()))[1])
    *_, answer = pipe.stream({"note": given[0], "lab_values": given[1][0], "lab_times": given[1][1]})
    answered = {"given": given, "left_out": "", "answer": answer, "modalities": "", "record": 0}
    text = text_of(export_page("somebody/model", NOTICE, page.channels, page.thresholds, answered, "", None))
    assert "Productive cough." in text
    assert "With the note or the measurements alone" not in text
    shown = page.find_evidence(draw_page.only(0, START), answered)
    assert list(shown) == [page.refusal]
    assert "this model has none" in shown[page.refusal]


@pytest.mark.parametrize(
    ("modalities", "said"),
    [
        (["note"], "This model reads the note alone: no measurement counts for its answer."),
        (["lab"], "This model reads the measurements alone: the note does not count for its answer."),
        (["note", "lab"], ""),
    ],
)
def test_what_a_model_of_one_modality_reads_is_said_on_the_page_and_in_the_file(
    tiny_model, tiny_tokenizer, tiny_processor, modalities, said
):
    import copy

    from page import NOTICE, Page

    from modeling_clinragen import ClinRaGenPipeline

    processor = copy.deepcopy(tiny_processor)
    processor.modalities = modalities
    page = Page(ClinRaGenPipeline(tiny_model, processor=processor, tokenizer=tiny_tokenizer), "somebody/model")
    given = ("Productive cough.", next(iter(page.examples.values()))[1])
    *_, answer = page.pipe.stream({"note": given[0], "lab_values": given[1][0], "lab_times": given[1][1]})
    answered = {"given": given, "left_out": "", "answer": answer, "modalities": "", "record": 0}
    file = base64.b64decode(re.search("base64,([^\"']+)", str(page._export(answered)))[1]).decode()
    for text in (text_of(str(page._header())), text_of(file)):
        assert f"{NOTICE} {said}".strip() in text
        assert ("This model reads" in text) == bool(said)
