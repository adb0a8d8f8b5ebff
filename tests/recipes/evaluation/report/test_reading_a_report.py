# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A report in a browser: nothing that axe-core finds serious, a legend for each chart, ranges with their sources."""

import re

import pytest

from modeling_clinragen.clinical_clinragen import CHANNELS, PAPER_CHANNELS
from recipes.evaluation.report.ranges import PUBLISHED, range_rows
from tests.browser import resize, severe_violations
from tests.recipes.evaluation.report.test_write import (  # noqa: F401 - fixtures
    evaluation,
    page_of,
    parsed,
    pipe,
    records_with_rationales,
    text_of,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, evaluation, records_with_rationales, pipe):  # noqa: F811
    folder = tmp_path_factory.mktemp("report")
    metrics, predictions = evaluation
    other = {**metrics, "run": {**metrics["run"], "num_parameters": 77_000_000, "prediction_seconds": 300.0}}
    page_of(folder, metrics, predictions, records_with_rationales, pipe, {"other": other})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_a_report_has_no_serious_violation_and_fits(folder, chrome, axe, width):
    resize(chrome, width, 900)
    chrome.get((folder / "report.html").as_uri())
    chrome.execute_script("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert severe_violations(chrome, axe) == []
    assert chrome.execute_script("return document.documentElement.scrollWidth") <= width


def test_each_chart_has_a_legend_of_its_marks(folder):
    tree = parsed((folder / "report.html").read_text())
    sections = {section.get("id"): section for section in tree.iter("section")}
    charts = [
        figure
        for section in sections.values()
        for figure in section.iter("figure")
        if any(element.get("role") == "img" for element in figure.iter())
    ]
    small = {figure for panels in tree.findall(".//div[@class='panels']") for figure in panels.iter("figure")}
    assert len(charts) - len(small) >= 7
    for figure in charts:
        if figure not in small:
            assert [e for e in figure.iter("div") if e.get("class") == "key"], text_of(figure.find("figcaption"))
    worked = sections["worked-patients"]
    legend = " ".join(text_of(key) for key in worked.findall("div[@class='key']"))
    for words in ("present in the record", "absent from the note", "outside of it", "reference range"):
        assert words in legend


def test_measurements_are_beside_their_range_and_its_source(folder):
    tree = parsed((folder / "report.html").read_text())
    rows = {
        row.find("th").text: [text_of(cell) for cell in row.findall("td")]
        for row in tree.findall(".//section[@id='worked-patients']/details//tbody/tr")
    }
    assert rows["Heart Rate"] == ["60 to 100 /min", "below 50", PUBLISHED["Heart Rate"]["source"]]
    assert rows["Weight"] == ["none", "–", "–"]
    assert len(rows) == len(CHANNELS)
    captions = [
        text_of(figure.find("figcaption")) for panels in tree.findall(".//div[@class='panels']") for figure in panels
    ]
    assert captions
    for caption in captions:
        assert re.search(r"ref\. .*\d|no reference range", caption)


def test_limits_that_are_not_the_published_ones_claim_no_source():
    assert {source for *_, source in range_rows(PAPER_CHANNELS)} == {"limits of this model"}
    assert "limits of this model" not in {source for *_, source in range_rows(CHANNELS)}


def test_the_threshold_of_each_listed_diagnosis_stands_beside_its_probability(folder, pipe):  # noqa: F811
    tree = parsed((folder / "report.html").read_text())
    thresholds = dict(zip(pipe.processor.labels, pipe.model.config.decisions.thresholds, strict=True))
    tables = [
        table
        for table in tree.findall(".//article//table")
        if [text_of(cell) for cell in table.findall("thead/tr/th")][-1] == "listed from"
    ]
    assert tables
    for row in (row for table in tables for row in table.findall("tbody/tr")):
        name, value = text_of(row.find("th")), text_of(row.findall("td")[-1])
        assert value == f"{thresholds[name]:.3f}"
