# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""`report.html`: its figures are the metrics, it is self-contained, and a browser shows it."""

import json
import re
import shutil
from dataclasses import asdict

import html5lib
import numpy as np
import pytest
from datasets import load_dataset
from jinja2 import UndefinedError

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.note_claims_clinragen import check_note_claims
from recipes import evaluate_model
from recipes.evaluation.figures.compute import compute_metrics
from recipes.evaluation.report.charts import Axis, decades, heat_cells, hour_axis, series_panel, unit_axis
from recipes.evaluation.report.html import NAMES, TEMPLATES
from recipes.evaluation.report.patients import choose_records, record_f1, weights_over_time
from recipes.evaluation.report.reader import reader_rows
from recipes.evaluation.report.write import cost, faithfulness, write_report
from tests.conftest import make_tiny_config, make_tiny_model


def made_predictions(records, pipe, seed=0):
    """Predictions like a mediocre model's: some diagnoses missed or added, some rationales of other patients."""
    rng, processor = np.random.default_rng(seed), pipe.processor
    predictions = []
    for i, row in enumerate(records):
        gold = np.isin(np.arange(len(processor.labels)), row["diagnoses"])
        probabilities = np.clip(0.15 + 0.6 * gold + 0.15 * rng.normal(size=len(gold)), 0.001, 0.999).round(4)
        source = records[int(rng.integers(len(records)))] if rng.random() < 0.3 else row
        series = row["lab_times"], row["lab_values"]
        claims = check_claims(source["lab_rationale"], processor.feature_extractor.channels, *series)
        terms = pipe.model.config.knowledge_terms[:10] if row["lab_times"] else []
        predictions.append(
            {
                **{name: row[name] for name in ("subject_id", "hadm_id", "stay_id")},
                "readable": i != 1,
                "gold": [processor.labels[k] for k in row["diagnoses"]],
                "reference_note_rationale": row["note_rationale"],
                "reference_lab_rationale": row["lab_rationale"],
                "diagnoses": [
                    {"label": processor.labels[k], "probability": float(probabilities[k])}
                    for k in np.flatnonzero(probabilities > 0.45)
                ],
                "note_rationale": source["note_rationale"],
                "lab_rationale": source["lab_rationale"],
                "generated_text": "",
                "claims": [asdict(claim) for claim in claims],
                "note_claims": [asdict(claim) for claim in check_note_claims(source["note_rationale"], row["note"])],
                "knowledge": [
                    {"term": term, "weight": 0.2 / (1 + k), "label": processor.labels[k], "part": "lab"}
                    for k, term in enumerate([*terms, *(["rigors"] if terms else [])])  # the last is not attended to
                ],
                "probabilities": dict(zip(processor.labels, map(float, probabilities), strict=True)),
            }
        )
    return predictions


def counterfactuals(micro_f1):
    def condition(change):
        value = micro_f1 + change
        figures = {"records": 60, "micro_f1": value, "macro_f1": value / 2, "abstained": 0.1}
        sure = {"micro_f1": [value - 0.05, value + 0.04], "macro_f1": [value / 2 - 0.1, value / 2 + 0.1]}
        if not change:
            return {**figures, "intervals": sure}
        sure |= {"difference_micro_f1": [change - 0.02, change + 0.02], "difference_macro_f1": [change, change + 0.01]}
        return {**figures, "difference": {"micro_f1": change, "macro_f1": change / 2}, "intervals": sure}

    names = ("as given", "note blanked", "series blanked", "series swapped", "knowledge shuffled")
    return {name: condition(change) for name, change in zip(names, (0, -0.3, -0.2, -0.25, -0.01), strict=True)}


def macros_of(template):
    return TEMPLATES.get_template(template).module


def metrics_of(predictions, records, pipe, **run):
    channels, knowledge = pipe.processor.feature_extractor.channels, builtin_knowledge()["terms"]
    metrics = compute_metrics(predictions, pipe.processor.labels, records, channels=channels, knowledge=knowledge)
    metrics["run"] = {
        "model": "runs/a-model",
        "dataset": "data/a-dataset",
        "split": "train",
        "num_parameters": pipe.model.num_parameters(),
        "seconds": 12.5,
        **run,
    }
    return metrics


@pytest.fixture(scope="module")
def records_with_rationales(data_folder):
    return load_dataset(str(data_folder / "dataset"), split="train")


@pytest.fixture(scope="module")
def pipe(tiny_config, tiny_processor):
    return ClinRaGenPipeline(
        make_tiny_model(tiny_config), processor=tiny_processor, tokenizer=tiny_processor.tokenizer
    )


@pytest.fixture(scope="module")
def evaluation(records_with_rationales, pipe):
    """Metrics and predictions of all records, with every part that a report can have."""
    predictions = made_predictions(records_with_rationales, pipe)
    metrics = metrics_of(predictions, records_with_rationales, pipe)
    metrics["counterfactual"] = counterfactuals(metrics["diagnosis"]["micro_f1"])
    return metrics, predictions


def page_of(folder, metrics, predictions, records, pipe, others=None):
    write_report(folder, metrics, predictions, records, pipe, others)
    return (folder / "report.html").read_text()


def parsed(page):
    """Return the page as a tree; html5lib raises at the first piece of invalid HTML."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text_of(element):
    return " ".join("".join(element.itertext()).split())


def test_each_number_on_the_page_is_the_metric(tmp_path, evaluation, records_with_rationales, pipe):
    metrics, predictions = evaluation
    tree = parsed(page_of(tmp_path, metrics, predictions, records_with_rationales, pipe))
    sure = metrics["intervals"]

    def written(value, interval):
        return f"{value:.3f} {interval[0]:.3f} to {interval[1]:.3f}"

    headline = {text_of(box.find("dt")): text_of(box.find("dd")) for box in tree.find(".//dl")}
    assert headline["records"] == f"{len(predictions)}{len({p['subject_id'] for p in predictions})} patients"
    for name, part, key in (
        ("micro-F1", "diagnosis", "micro_f1"),
        ("macro-AUROC", "probability", "macro_auroc"),
        ("claims supported", "claims", "supported"),
    ):
        assert headline[name] == written(metrics[part][key], sure[part][key])

    bars = tree.findall(".//section[@id='each-diagnosis']//div[@role='listitem']")
    per_label = metrics["diagnosis"]["per_label"]
    supports = [label["support"] for label in sorted(per_label.values(), key=lambda label: -label["support"])]
    assert len(bars) == len(per_label)
    for row, support in zip(bars, supports, strict=True):
        detail = text_of(row.find("div/small"))
        name = row.find("div").text
        label = per_label[name]
        assert detail == f"recorded {label['support']}, written {label['predicted']}"
        assert label["support"] == support
        assert text_of(row.findall("div")[-1]) == written(label["f1"], sure["per_label"][name]["f1"])
        (bar,) = [rect for rect in row.iter() if rect.get("class") == "bar"]
        assert float(bar.get("width")) == pytest.approx(100 * label["f1"], abs=0.01)

    rows = {text_of(r.find("th")): [text_of(c) for c in r.findall("td")] for r in tree.findall(".//tbody/tr")}
    assert rows["Brier score"] == [written(metrics["calibration"]["brier_score"], sure["calibration"]["brier_score"])]
    agreement = metrics["agreement"]["argued_not_written"], sure["agreement"]["argued_not_written"]
    assert rows["diagnoses argued for in the rationale: missing in the list"] == [written(*agreement)]
    assert rows["ROUGE-L"][0].startswith(f"{metrics['rationale']['note_rationale']['rougeL']:.3f}")
    assert rows["weighted"][2] == written(metrics["diagnosis"]["weighted_f1"], sure["diagnosis"]["weighted_f1"])
    assert rows["weighted"][3] == "–"  # AUROC has no such average
    for cells_, interval in zip(metrics["calibration"]["bins"], sure["calibration"]["bins"], strict=True):
        shown = rows[f"{cells_['lowest']:.3f} to {cells_['highest']:.3f}"]
        assert shown == [str(cells_["cells"]), f"{cells_['predicted']:.3f}", written(cells_["observed"], interval)]

    met = {text_of(r.find("th")): [text_of(c) for c in r.findall("td")]
           for r in tree.findall(".//section[@id='what-a-reader-meets']//tbody/tr")}  # fmt: skip
    for name, part, key, of in (
        ("supported claims and findings per record", "supported_per_record", "both", "records"),
        ("findings that are not in the note", "note_claims", "absent", "findings"),
        ("arguments that the knowledge links", "arguments", "linked", "arguments"),
        ("listed diagnoses explained by evidence", "listed_diagnoses", "explained", "listed diagnoses"),
        ("repeated sentences", "sentences", "repeated", "sentences"),
    ):
        total = metrics[part].get("total", metrics["records"])
        assert met[name] == [written(metrics[part][key], sure[part][key]), f"{total:,} {of}"]

    groups = tree.findall(".//section[@id='subgroups']//div[@role='listitem']")
    shown = {row.find("div").text: text_of(row.findall("div")[-1]) for row in groups}
    assert shown == {
        name: written(group["micro_f1"], group["intervals"]["micro_f1"])
        for attribute in metrics["subgroups"].values()
        for name, group in attribute.items()
    }
    conditions = tree.findall(".//section[@id='use-of-the-inputs']//div[@role='listitem']")
    assert [row.find("div").text for row in conditions] == list(metrics["counterfactual"])


def test_the_page_needs_nothing_from_outside_and_runs_nothing(tmp_path, evaluation, records_with_rationales, pipe):
    page = page_of(tmp_path, *evaluation, records_with_rationales, pipe)
    assert "Not a medical device" in page
    assert not re.search(r"https?:|//[a-z]|url\(|@import|<script|\ssrc=|\son[a-z]+=", page)
    assert set(re.findall(r'href="([^"]*)"', page)) - {"data:,"} <= {
        f"#{name}" for name in re.findall(r'<section id="([^"]+)"', page)
    }
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    for svg in re.findall(r"<svg[^>]*>", page):
        assert 'role="img"' in svg or "viewBox" in svg or "ticks" in svg
    assert all(label for label in re.findall(r'<svg[^>]*aria-label="([^"]*)"', page))


HOSTILE = '<script>alert("1")</script> & <b>cough</b>'


def test_content_of_records_is_text_and_never_markup(tmp_path, records_with_rationales, pipe):
    records = records_with_rationales.select(range(12)).map(lambda row: {"note": HOSTILE, "sex": "<i>F"})
    predictions = made_predictions(records, pipe)
    for prediction in predictions:
        prediction["note_rationale"] = prediction["stay_id"] = HOSTILE
    page = page_of(tmp_path, metrics_of(predictions, records, pipe, model=HOSTILE), predictions, records, pipe)
    tree = parsed(page)
    assert not [element for element in tree.iter() if element.tag in ("script", "b", "i")]
    notes = [text_of(element) for element in tree.iter() if element.get("class") == "note"]
    assert notes == [HOSTILE] * 10


def test_names_of_channels_and_terms_are_text():
    series = macros_of("charts.html").series
    channel = {"name": HOSTILE, "unit": "<i>", "low": 0, "high": 1}
    assert "<script" not in series(series_panel(channel, np.array([0.0]), np.array([0.5]), unit_axis(HOSTILE)))
    row = TEMPLATES.from_string('{% from "charts.html" import figure_row %}{{ figure_row(name, 0.5, none, axis) }}')
    assert "<script" not in row.render(name=HOSTILE, axis=unit_axis(HOSTILE))


def test_missing_figures_leave_no_gap_on_the_page(evaluation):
    metrics = json.loads(json.dumps(evaluation[0]))
    del metrics["run"]["dataset"]
    with pytest.raises(UndefinedError, match="dataset"):
        cost({"this report": metrics})


def test_a_model_without_head_and_knowledge_and_records_without_notes_or_rationales(
    tmp_path, records_with_rationales, tiny_tokenizer, tiny_processor
):
    config = make_tiny_config(tiny_tokenizer, diagnosis_loss_weight=0.0)
    config.knowledge_terms, config.knowledge_input_ids = [], []
    pipe = ClinRaGenPipeline(make_tiny_model(config), processor=tiny_processor, tokenizer=tiny_tokenizer)
    empty = {"note": "", "note_rationale": "", "lab_rationale": "", "age": None, "sex": None}
    records = records_with_rationales.filter(lambda row: len(row["lab_times"]) > 0).map(lambda row: empty)
    predictions = made_predictions(records, pipe)
    for prediction in predictions:
        prediction["probabilities"] = {}
        prediction["diagnoses"] = [{**entry, "probability": None} for entry in prediction["diagnoses"]]
    metrics = metrics_of(predictions, records, pipe)
    metrics["subgroups"]["ethnicity"] = {}  # a group that is too small is left out
    tree = parsed(page_of(tmp_path, metrics, predictions, records, pipe))
    sections = [section.get("id") for section in tree.iter("section")]
    shown = ["what-a-reader-meets", "faithfulness", "subgroups", "cost", "worked-patients"]
    assert sections == ["diagnoses", "each-diagnosis", *shown]
    assert len(list(tree.iter("article"))) == 10
    assert "No note." in text_of(tree)
    assert "ethnicity" not in text_of(tree)


def test_one_record_that_cannot_be_read_makes_a_page(tmp_path, records_with_rationales, pipe):
    records = records_with_rationales.select(range(1))
    predictions = made_predictions(records, pipe)
    predictions[0] |= {
        "readable": False,
        "diagnoses": [],
        "claims": [],
        "note_claims": [],
        "probabilities": {},
        "knowledge": [],
    }
    tree = parsed(page_of(tmp_path, metrics_of(predictions, records, pipe), predictions, records, pipe))
    assert not list(tree.iter("article"))
    assert "could not be read, counted as if nothing was written: 1." in text_of(tree)


def test_worked_patients_span_the_range_and_are_drawn_by_seed():
    def prediction(written, readable=True):
        return {"readable": readable, "gold": ["a", "b"], "diagnoses": [{"label": name} for name in written]}

    predictions = [prediction(w) for w in (["c"], ["a"], ["a", "b"], [])] * 20 + [prediction([], readable=False)] * 9
    chosen = choose_records(predictions)
    scores = [record_f1(predictions[i]) for i in chosen]
    assert len(set(chosen)) == 10
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (0, 1)
    assert all(predictions[i]["readable"] for i in chosen)
    assert choose_records(predictions) == chosen
    assert choose_records(predictions, seed=1) != chosen
    assert len(choose_records(predictions[:3])) == 3
    assert choose_records([]) == []


def test_f1_of_one_record():
    def f1(gold, written):
        return record_f1({"gold": gold, "diagnoses": [{"label": name} for name in written]})

    assert f1(["a", "b"], ["a", "c"]) == pytest.approx(0.5)
    assert f1(["a"], []) == 0
    assert f1([], []) == 1


def test_attention_over_time_is_the_mean_over_measured_channels(pipe, records):
    note, values, times = records[0]
    values, times = values[times < 8], times[times < 8]  # the first patch of three
    row = {"note": note, "lab_values": np.vstack([values, values[:1]]), "lab_times": np.append(times, 17.0)}
    weights = weights_over_time(row, pipe)
    assert weights.shape == (3, 4)
    assert np.isnan(weights[1]).all()  # nothing was measured from hour 8 to 16
    assert weights[[0, 2]].sum(axis=1) == pytest.approx([1, 1])  # a mean of distributions is one
    assert weights_over_time({"note": note, "lab_values": [], "lab_times": []}, pipe) is None


def test_no_heat_map_where_no_weight_belongs_to_a_term_and_an_hour(tiny_tokenizer, tiny_processor, records):
    note, values, times = records[0]
    row = {"note": note, "lab_values": values, "lab_times": times}
    for changes in ({"knowledge_attention_type": "prototype"}, {"patch_layout": "paper"}):
        model = make_tiny_model(make_tiny_config(tiny_tokenizer, **changes))
        assert (
            weights_over_time(row, ClinRaGenPipeline(model, processor=tiny_processor, tokenizer=tiny_tokenizer))
            is None
        )


def test_an_older_report_and_one_without_knowledge_show_the_figures_that_they_have(evaluation):
    metrics = json.loads(json.dumps(evaluation[0]))
    metrics["arguments"] = metrics["intervals"]["arguments"] = None
    names = [row.name for row in reader_rows(metrics)]
    assert "listed diagnoses explained by evidence" in names
    assert not [name for name in names if "knowledge" in name]
    del metrics["listed_diagnoses"]
    assert reader_rows(metrics) == []
    metrics["note_claims"].pop("absent")
    metrics["intervals"]["note_claims"].pop("absent")
    assert "absent" in faithfulness(metrics)


def test_the_argument_of_a_claim_is_shown_with_its_verdict():
    claim = {"verdict": "supported", "argument": "unlinked", "diagnoses": ["Shock", "Pneumonia"]}
    for argument, words in (("linked", "known to go with"), ("unlinked", "not known to go with"),
                            ("unknown", "not in the knowledge base, so unknown whether it goes with")):  # fmt: skip
        said = macros_of("claims.html").verdict(claim | {"argument": argument})
        assert said == f"present in the record ({words} Shock, Pneumonia)"
    assert macros_of("claims.html").verdict({"verdict": "absent"}) == "absent from the note"


def test_each_part_shows_the_origins_of_its_sentences():
    rows = (
        ("A.", "note", "written"),
        ("<B>.", "note", "composed"),
        ("C.", "note", "composed"),
        ("D.", "lab", "repaired"),
    )
    sentences = [dict(zip(("text", "part", "origin"), sentence, strict=True)) for sentence in rows]
    answer = {"note_rationale": "A. <B>. C.", "lab_rationale": "D.", "sentences": sentences}
    answer |= {"reference_note_rationale": "", "reference_lab_rationale": ""}
    rationale = macros_of("claims.html").rationale
    claim = {"channel": None, "text": "C", "verdict": "supported", "quote": "x", "start": 8, "end": 9}
    said = rationale("Note", answer, "note_rationale", [claim])
    sentence = '<mark class="supported" title="present in the record: x">C</mark>. <small>(by rule)</small>'
    shown = f"A. <small>(the model&#39;s)</small> &lt;B&gt;. <small>(by rule)</small> {sentence}"
    assert shown in " ".join(said.split())
    assert "1 as the model wrote them, 2 written by rule from the record and the knowledge base." in said
    assert "corrected" not in said
    series = rationale("Series", answer, "lab_rationale", [])
    assert "Sentences: 1 corrected from the record." in series
    assert "D. <small>(corrected)</small>" in series
    del answer["sentences"]  # of an older report
    assert "Sentences" not in rationale("Note", answer, "note_rationale", [])
    assert "A. &lt;B&gt;. C." in rationale("Note", answer, "note_rationale", [])


def test_claims_are_marked_and_text_is_escaped():
    text = "pH is <low> once, and more."
    claim = {"channel": "pH", "verdict": "supported", "quote": '"x"', "start": 0, "end": 16}
    page = (
        '<mark class="supported" title="present in the record: &#34;x&#34;">pH is &lt;low&gt; once</mark>, and more.'
    )
    assert macros_of("claims.html").marked(text, [claim]) == page


def test_the_quote_of_each_claim_is_reachable_without_a_mouse(tmp_path, evaluation, records_with_rationales, pipe):
    tree = parsed(page_of(tmp_path, *evaluation, records_with_rationales, pipe))
    for article in tree.iter("article"):
        hovers = [mark.get("title") for mark in article.iter("mark")]
        listed = [text_of(item) for details in article.iter("details") for item in details.iter("li")]
        assert len(hovers) == len(listed)
        for hover, item in zip(hovers, listed, strict=True):
            verdict, quote = hover.split(": ", 1)
            assert item.startswith(verdict)
            assert item.endswith(" ".join(quote.split()))


def test_reports_that_are_compared_are_points_and_rows(tmp_path, evaluation, records_with_rationales, pipe):
    metrics, predictions = evaluation
    page = page_of(tmp_path, metrics, predictions, records_with_rationales, pipe)
    assert "Micro-F1 against" not in page  # one point is not drawn
    other = json.loads(json.dumps(metrics))
    other["run"] |= {"num_parameters": 77_000_000, "seconds": 9.0, "prediction_seconds": 300.0}
    other["diagnosis"]["micro_f1"] = 0.25
    tree = parsed(page_of(tmp_path, metrics, predictions, records_with_rationales, pipe, {"reports/b": other}))
    cost = tree.find(".//section[@id='cost']")
    rows = [[text_of(cell) for cell in row] for row in cost.findall(".//tbody/tr")]
    assert [row[0] for row in rows] == ["1. this report", "2. reports/b"]
    assert rows[1][2:4] == ["77,000,000", "300.0"]
    spoken = [element.get("aria-label") for element in cost.iter() if element.get("role") == "img"]
    assert len(spoken) == 2
    assert "report 2: 7.7e+07 parameters, micro-F1 0.250" in spoken[0]


def test_a_folder_to_compare_that_is_not_a_report_is_named(tmp_path):
    with pytest.raises(ClinRaGenInputError, match=r"--compare: .*nothing is not a report folder"):
        evaluate_model.main(
            [
                "--model",
                "m",
                "--dataset",
                "d",
                "--output",
                str(tmp_path / "out"),
                "--compare",
                str(tmp_path / "nothing"),
            ]
        )


def test_an_axis_puts_its_ends_at_the_ends():
    axis = Axis(-10, 30, (), "x")
    assert [axis.at(x) for x in (-10, 0, 30, 99)] == [0, 25, 100, 100]
    logarithmic = decades([2e5, 3e7], "parameters")
    assert logarithmic.ticks == [1e5, 1e6, 1e7, 1e8]
    assert logarithmic.at(1e6) == pytest.approx(33.33)
    assert decades([1000.0], "x").ticks == [1000, 10000]
    assert hour_axis(48).ticks == [0, 12, 24, 36, 48]
    assert len(hour_axis(1000).ticks) <= 7


def test_stacked_bars_are_divided_by_shares():
    stacked = macros_of("charts.html").stacked
    rects = re.findall(r'x="([\d.]+)" y="18" width="([\d.]+)"', stacked({"supported": 3, "contradicted": 1}))
    assert [tuple(map(float, rect)) for rect in rects] == [(0, 75), (75, 25)]
    assert 'width="0.0"' in stacked({"supported": 0})


def test_heat_map_cells_are_at_their_hours_and_higher_values_are_darker():
    axis = hour_axis(24)
    row = macros_of("charts.html").heat(heat_cells([0.0, float("nan"), 0.5], 0.5, 8, axis))
    assert [float(x) for x in re.findall(r' x="([\d.]+)"', row)] == pytest.approx([0, 33.33, 66.67])
    fills = re.findall(r'fill="#(\w+)"', row)
    assert len(fills) == 2
    light, dark = (sum(bytes.fromhex(fill)) for fill in fills)
    assert light > dark
    assert row.count('class="gap"') == 1
    titles = ["hours 0 to 8: weight 0.0000", "hours 8 to 16: no measurement", "hours 16 to 24: weight 0.5000"]
    assert re.findall("<title>(.*)</title>", row) == titles


def test_a_panel_breaks_its_line_at_gaps_and_marks_values_outside():
    channel = {"name": "Heart Rate", "unit": "/min", "low": 60, "high": 100}
    series = macros_of("charts.html").series
    panel = series(series_panel(channel, np.array([0.0, 2, 10, 11]), np.array([80.0, 120, 90, 40]), unit_axis("h")))
    (line,) = re.findall(r'd="([^"]+)" class="thin"', panel)
    assert line.count("M") == 2  # broken between hours 2 and 10
    (outside,) = re.findall(r'd="([^"]+)" class="outside"', panel)
    assert outside.count("h0") == 2
    assert "4 values from 40 to 120, 2 outside of the reference range 60 to 100" in panel
    alone = series(series_panel(channel, np.array([0.0]), np.array([0.0]), unit_axis("h")))
    assert "1 values from 0 to 0" in alone


def test_numbers_and_tables():
    estimate = macros_of("parts.html").estimate
    assert estimate(0.5, [0.25, 0.75]) == "0.500<small> 0.250 to 0.750</small>"
    assert estimate(None, None) == "–"
    assert estimate(1234, None) == "1,234"
    source = """{% from "parts.html" import table, table_row %}
        {% call table('A & "B"', ["name", "n"]) %}{{ table_row("x", 3) }}{{ table_row("<", 4) }}{% endcall %}"""
    html = TEMPLATES.from_string(source).render()
    assert "<figcaption>A &amp; &#34;B&#34;</figcaption>" in html
    assert '<table aria-label="A &amp; &#34;B&#34;">' in html
    assert '<th scope="row">&lt;</th>' in html
    assert '<th scope="row">x</th><td class="number">3</td>' in html


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_the_page_without_errors_requests_or_overflow(
    browser, width, tmp_path, evaluation, records_with_rationales, pipe
):
    metrics, predictions = evaluation
    write_report(tmp_path, metrics, predictions, records_with_rationales, pipe, {"reports/b": metrics})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    browser.get_log("performance")
    address = (tmp_path / "report.html").as_uri()
    browser.get(address)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert asked <= {address, "data:,"}
    assert address in asked
    assert browser.execute_script("return window.innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    narrow = browser.execute_script(
        "return [...document.querySelectorAll('svg[role=img]')]"
        ".filter(e => e.getBoundingClientRect().width < 150).length"
    )
    assert narrow == 0
    small = browser.execute_script(
        "return [...document.querySelectorAll('p, td, th, svg text, .name, .value')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0


def test_the_figures_of_the_knowledge_have_names_for_readers(evaluation):
    metrics = evaluation[0]
    figures = [name for part in ("knowledge_shown", "knowledge_use") for name in metrics.get(part) or {}]
    assert figures
    assert not [name for name in figures if name != "records" and name not in NAMES]
