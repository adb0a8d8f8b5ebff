# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Blind sheets, filled by a script and in a browser, and the agreement against hand calculation."""

import json
import re
import shutil
import time
from html.parser import HTMLParser

import pytest
from lxml import etree

from datasets_scripts.dataset.folder import label_names, read_metadata
from modeling_clinragen import ClinRaGenInputError
from recipes import rate_rationales
from recipes.evaluation.raters.sheets import series_svg
from recipes.training.data import load_records


MODELS = ("runs/zebra", "runs/okapi")
AWKWARD = 'Fever & cough </script><img src="x"> "quoted" ü'


def write_report(folder, dataset, model):
    labels = label_names(read_metadata(dataset))
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"run": {"model": model}}))
    with open(folder / "predictions.jsonl", "w", encoding="utf-8") as file:
        for row in load_records(str(dataset), "test"):
            prediction = {
                "subject_id": row["subject_id"],
                "stay_id": row["stay_id"],
                "gold": [labels[i] for i in row["diagnoses"]],
                "readable": True,
                "diagnoses": [{"label": labels[3]}, {"label": labels[1]}],
                "note_rationale": AWKWARD,
                "lab_rationale": "Heart rate is high. " * 5,
            }
            file.write(json.dumps(prediction) + "\n")
    return folder


@pytest.fixture(scope="module")
def dataset(data_folder):
    return data_folder / "dataset"


@pytest.fixture(scope="module")
def reports(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    return [write_report(folder / model.split("/")[1], dataset, model) for model in MODELS]


def make(dataset, reports, output, *options, raters="alice,bob", sample=3):
    arguments = [word for report in reports for word in ("--report", str(report))]
    arguments += ["--dataset", str(dataset), "--raters", raters, "--sample", str(sample), "--output", str(output)]
    return rate_rationales.main(["sheets", *arguments, *options])


@pytest.fixture(scope="module")
def sheets(dataset, reports, tmp_path_factory):
    """Sheets of alice and bob: three records, two models and the teacher's rationales."""
    folder = tmp_path_factory.mktemp("rating") / "sheets"
    make(dataset, reports, folder, "--reference")
    return folder


class Page(HTMLParser):
    """A page's tags with their attributes, its data, and whether all tags are closed."""

    VOID = ("meta", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.stack, self.data = [], [], ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.stack.append((tag, dict(attributes).get("id")))

    def handle_endtag(self, tag):
        assert self.stack.pop()[0] == tag

    def handle_data(self, data):
        if self.stack and self.stack[-1] == ("script", "sheet"):
            self.data += data


def read_page(folder, rater):
    text = (folder / f"sheet-{rater}.html").read_text(encoding="utf-8")
    page = Page(text)
    return text, page, json.loads(page.data)


@pytest.mark.parametrize("rater", ["alice", "bob"])
def test_a_sheet_reveals_neither_system_nor_stay_nor_patient(sheets, rater):
    text, _, data = read_page(sheets, rater)
    key = json.loads((sheets / "key.json").read_text())
    assert key["systems"] == [*MODELS, "reference"]
    for name in ("zebra", "okapi", *key["patients"], *key["patients"].values()):
        assert name not in text
    assert all(set(item) == {"id", "record", "diagnoses", "note_rationale", "lab_rationale"} for item in data["items"])
    assert all(item["diagnoses"] == sorted(item["diagnoses"]) for item in data["items"])


def test_every_rater_sees_the_same_items_in_an_order_of_their_own(sheets):
    key = json.loads((sheets / "key.json").read_text())
    alice, bob = (list(map(tuple, key["sheets"][rater]["items"].values())) for rater in ("alice", "bob"))
    assert len(alice) == 9
    assert set(alice) == set(bob) == {(stay, system) for stay in key["patients"] for system in key["systems"]}
    assert alice != bob
    for order in (alice, bob):
        stays = [stay for stay, _ in order]
        assert stays == sorted(stays, key=stays.index)  # the items of a stay follow each other
    assert len({tuple(system for _, system in alice[i : i + 3]) for i in (0, 3, 6)}) > 1
    assert not set(key["sheets"]["alice"]["items"]) & set(key["sheets"]["bob"]["items"])


def test_a_sheet_shows_what_was_written_about_the_record(sheets, dataset):
    _, _, data = read_page(sheets, "alice")
    items = json.loads((sheets / "key.json").read_text())["sheets"]["alice"]["items"]
    labels = label_names(read_metadata(dataset))
    rows = {row["stay_id"]: row for row in load_records(str(dataset), "test")}
    for item in data["items"]:
        stay, system = items[item["id"]]
        record, row = data["records"][item["record"]], rows[stay]
        assert (record["note"], record["caption"]) == (row["note"], row["lab_caption"])
        assert record["diagnoses"] == sorted(labels[i] for i in row["diagnoses"])
        expected = row["note_rationale"] if system == "reference" else AWKWARD
        assert item["note_rationale"] == expected
        assert item["diagnoses"] == (record["diagnoses"] if system == "reference" else sorted([labels[1], labels[3]]))


def test_a_sheet_needs_nothing_from_outside(sheets):
    text, page, data = read_page(sheets, "alice")
    assert not [tag for tag, attributes in page.tags if {"src", "href", "action", "srcset"} & set(attributes)]
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "img", "base", "object")]
    policies = [attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes]
    assert policies[0].startswith("default-src 'none'")
    assert set(re.findall(r"https?://[^\"\\ ]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    for record in data["records"]:
        plot = etree.fromstring(record["plot"])
        links = [value for node in plot.iter() for name, value in node.attrib.items() if name.endswith("href")]
        assert links
        assert all(link.startswith("#") for link in links)
        assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", record["plot"]))


def test_the_same_seed_makes_the_same_sheets_and_another_seed_others(dataset, reports, tmp_path):
    for name, seed in (("one", 4), ("again", 4), ("other", 5)):
        make(dataset, reports[:1], tmp_path / name, "--seed", str(seed), raters="alice", sample=1)
    for file in ("sheet-alice.html", "key.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    one, other = (json.loads((tmp_path / name / "key.json").read_text()) for name in ("one", "other"))
    assert one["sheets"]["alice"]["items"].keys().isdisjoint(other["sheets"]["alice"]["items"])


def test_a_record_without_measurements_has_no_plot():
    assert series_svg([{"name": "pH", "unit": "pH", "low": 7, "high": 8}], [], []) == ""


def test_the_command_warns_of_patient_records_and_names_the_key(dataset, reports, tmp_path, caplog):
    make(dataset, reports[:1], tmp_path / "sheets", raters="alice", sample=1)
    assert "hold patient records" in caplog.text
    assert "keep it from the raters" in caplog.text
    assert "patient records" in (tmp_path / "sheets" / "sheet-alice.html").read_text(encoding="utf-8")


SCORES = {"runs/zebra": 5, "runs/okapi": 3, "reference": 4}


def answers_by_rule(folder, rater, path, less=0):
    """Every item scored by its system alone, bob one less than alice; the same for readability."""
    sheet = json.loads((folder / "key.json").read_text())["sheets"][rater]
    _, _, data = read_page(folder, rater)
    answers = {
        item["id"]: {
            axis: 3 if axis == "readability" else SCORES[sheet["items"][item["id"]][1]] - less for axis in data["axes"]
        }
        for item in data["items"]
    }
    path.write_text(json.dumps({"sheet": data["sheet"], "rater": rater, "answers": answers}))
    return path


@pytest.fixture
def answers(sheets, tmp_path):
    less = {"alice": 0, "bob": 1}
    return [answers_by_rule(sheets, rater, tmp_path / f"answers-{rater}.json", n) for rater, n in less.items()]


def measure(sheets, answers, output, *options):
    return rate_rationales.main(
        ["agreement", "--sheets", str(sheets), "--answers", *map(str, answers), "--output", str(output), *options]
    )


def test_filled_sheets_give_the_agreement_of_hand_calculation(sheets, answers, tmp_path, capsys):
    found = measure(sheets, answers, tmp_path / "ratings")
    assert found["unanswered"] == {"alice": 0, "bob": 0}
    axis = found["axes"]["soundness"]
    for system, score in SCORES.items():
        assert axis["systems"][system] == {
            "items": 3,
            "mean": score - 0.5,
            "interval": pytest.approx([score - 0.5] * 2),  # each patient got the same
        }
    # 18 ratings: 2 three times, 3 and 4 six times, 5 three times; middle ranks 1.5, 6, 12, 16.5, their mean 9.
    # observed: six pairs of 4.5^2, three of 6^2; expected: from the spread 6 * 7.5^2 + 12 * 3^2 = 445.5
    assert axis["alpha"] == pytest.approx(1 - (2 * (6 * 4.5**2 + 3 * 36) / 18) / (2 * 18 * 445.5 / (18 * 17)))
    # nine items, k = 2: BMS = 2 * 6 / 8, JMS = 9 * 2 * 0.25, EMS = 0
    assert axis["items_all_rated"] == 9
    assert axis["icc_2_1"] == pytest.approx(1.5 / (1.5 + 2 * 4.5 / 9))
    assert axis["icc_2_k"] == pytest.approx(1.5 / (1.5 + 4.5 / 9))
    # observed cost 1; expected: both variances, 2 / 3 each, and the square of the difference of means, 1
    assert axis["kappa"] == [{"raters": ["alice", "bob"], "kappa": pytest.approx(1 - 1 / (7 / 3))}]
    readability = found["axes"]["readability"]
    assert [readability[name] for name in ("alpha", "alpha_interval", "icc_2_1", "icc_2_k")] == [None] * 4
    assert json.loads((tmp_path / "ratings" / "agreement.json").read_text()) == json.loads(json.dumps(found))
    table = (tmp_path / "ratings" / "agreement.md").read_text()
    assert table in capsys.readouterr().out
    assert "| soundness | 4.50 (4.50 to 4.50) | 2.50 (2.50 to 2.50) | 3.50 (3.50 to 3.50) |" in table
    assert "| soundness | 0.51 | 0.60 | 0.75 | 0.57 |" in table


def test_ratings_are_one_row_a_score_and_comments_are_kept(sheets, answers, tmp_path):
    written = json.loads(answers[0].read_text())
    item = next(iter(written["answers"]))
    written["answers"][item]["comment"] = "Well argued."
    answers[0].write_text(json.dumps(written))
    measure(sheets, answers, tmp_path / "ratings")
    rows, comments = (
        [json.loads(line) for line in (tmp_path / "ratings" / name).read_text(encoding="utf-8").splitlines()]
        for name in ("ratings.jsonl", "comments.jsonl")
    )
    assert len(rows) == 2 * 9 * 5
    assert all(list(row) == ["stay_id", "system", "rater", "axis", "score"] for row in rows)
    for row in rows:
        rule = SCORES[row["system"]] - (row["rater"] == "bob")
        assert row["score"] == (3 if row["axis"] == "readability" else rule)
    stay, system = json.loads((sheets / "key.json").read_text())["sheets"]["alice"]["items"][item]
    assert comments == [{"stay_id": stay, "system": system, "rater": "alice", "comment": "Well argued."}]


def test_unanswered_questions_are_counted_and_do_not_count_as_scores(sheets, answers, tmp_path):
    written = json.loads(answers[1].read_text())
    items = json.loads((sheets / "key.json").read_text())["sheets"]["bob"]["items"]
    dropped = [item for item, (_, system) in items.items() if system == "runs/okapi"]
    for item in dropped:
        del written["answers"][item]["soundness"]
    answers[1].write_text(json.dumps(written))
    found = measure(sheets, answers, tmp_path / "ratings")
    assert found["unanswered"] == {"alice": 0, "bob": 3}
    axis = found["axes"]["soundness"]
    assert axis["systems"]["runs/okapi"]["mean"] == 3  # alice's alone
    assert axis["items_all_rated"] == 6


def judge_folder(folder, sheets, scores):
    patients = json.loads((sheets / "key.json").read_text())["patients"]
    folder.mkdir()
    rows = [
        {"stay_id": stay, "system": system, "rater": f"judge:model#{repeat}", "axis": axis, "score": score + shift}
        for stay in [*patients, "another stay"]
        for system, score in {**scores, "another system": 1}.items()
        for repeat, shift in ((1, 0), (2, -1))
        for axis in ("soundness", "correctness")
    ]
    (folder / "ratings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_raters_are_compared_with_the_mean_of_a_judges_runs(sheets, answers, tmp_path):
    # the judge's means 4.5, 1.5, 3.5, rounded 5, 2, 4; the raters' 4.5, 2.5, 3.5, rounded 5, 3, 4
    judge = judge_folder(tmp_path / "judge", sheets, {"runs/zebra": 5, "runs/okapi": 2, "reference": 4})
    found = measure(sheets, answers, tmp_path / "ratings", "--judge", str(judge))
    compared = found["axes"]["soundness"]["judge"]
    assert compared["items"] == 9
    # observed cost 1 / 3; expected: variances 2 / 3 and 14 / 9, and the square of the difference of means 4 - 11 / 3
    assert compared["kappa"] == pytest.approx(1 - (1 / 3) / (2 / 3 + 14 / 9 + 1 / 9))
    assert compared["spearman"] == pytest.approx(1)
    # 18 values: 1.5, 2.5 three times, 3.5, 4.5 six times; middle ranks 1.5, 4.5, 9, 15; observed: three pairs of 3^2
    spread = 3 * (7.5**2 + 4.5**2) + 6 * (0**2 + 6**2)  # about the mean of the ranks, 9
    assert compared["alpha"] == pytest.approx(1 - (2 * 3 * 9 / 18) / (2 * 18 * spread / (18 * 17)))
    assert found["axes"]["persuasiveness"]["judge"] == {"items": 0, "alpha": None, "kappa": None, "spearman": None}
    assert "| soundness | 9 | " in (tmp_path / "ratings" / "agreement.md").read_text()


def test_a_judge_of_other_systems_is_refused(sheets, answers, tmp_path):
    judge = judge_folder(tmp_path / "judge", sheets, {"runs/lynx": 3})
    with pytest.raises(ClinRaGenInputError, match="rates another system, runs/lynx, and none"):
        measure(sheets, answers, tmp_path / "ratings", "--judge", str(judge))
    with pytest.raises(ClinRaGenInputError, match=r"holds no ratings\.jsonl"):
        measure(sheets, answers, tmp_path / "ratings", "--judge", str(tmp_path))


def change_first(field, value):
    def change(written):
        answer = next(iter(written["answers"].values()))
        answer[field] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w["answers"].update({"0000": {"soundness": 3}}), "item '0000' is not in the sheet of alice"),
        (lambda w: w["answers"].update({next(iter(w["answers"])): 4}), "expected scores by axis, found 4"),
        (change_first("soundness", 6), r"item '\w{8}': soundness is 6; give 1 to 5"),
        (change_first("soundness", 0), "soundness is 0"),
        (change_first("soundness", True), "soundness is True"),
        (change_first("soundness", "3"), "soundness is '3'"),
        (change_first("soundness", 3.5), r"soundness is 3\.5"),
        (change_first("beauty", 3), "'beauty' is not an axis; the axes are correctness, readability"),
        (lambda w: w.update(sheet="f00"), "sheet 'f00' of 'alice' is none of these, of alice, bob"),
        (lambda w: w.update(rater="bob"), "of 'bob' is none of these"),
        (lambda w: w.update(rater=["alice"]), "is none of these"),
        (lambda w: w.update(answers=4), "is not a file of answers"),
        (lambda w: w.pop("rater"), "is not a file of answers"),
    ],
)
def test_answers_with_a_fault_are_refused_by_file_and_item(sheets, answers, tmp_path, change, said):
    written = json.loads(answers[0].read_text())
    change(written)
    answers[0].write_text(json.dumps(written))
    with pytest.raises(ClinRaGenInputError, match=f"answers-alice.json.*{said}"):
        measure(sheets, answers, tmp_path / "ratings")
    assert not (tmp_path / "ratings").exists()


def test_files_other_than_answers_are_refused(sheets, answers, tmp_path):
    with pytest.raises(ClinRaGenInputError, match=r"of alice are in .*answers-alice.json already"):
        measure(sheets, [*answers, shutil.copy(answers[0], tmp_path / "copy.json")], tmp_path / "ratings")
    with pytest.raises(ClinRaGenInputError, match=r"nothing.json cannot be read"):
        measure(sheets, [tmp_path / "nothing.json"], tmp_path / "ratings")
    (tmp_path / "page.json").write_bytes(b"\xff<html>")
    with pytest.raises(ClinRaGenInputError, match=r"page.json is not a file of answers"):
        measure(sheets, [tmp_path / "page.json"], tmp_path / "ratings")
    with pytest.raises(ClinRaGenInputError, match=r"key.json missing"):
        measure(tmp_path, answers, tmp_path / "ratings")
    empty = {**json.loads(answers[0].read_text()), "answers": {}}
    answers[0].write_text(json.dumps(empty))
    with pytest.raises(ClinRaGenInputError, match="no item is rated"):
        measure(sheets, answers[:1], tmp_path / "ratings")


def test_sheets_that_cannot_be_written_give_the_reason(dataset, reports, tmp_path):
    for options, said in (
        ({"raters": "alice,alice"}, "names a rater twice"),
        ({"raters": "alice,../bob"}, "is not a valid name"),
        ({"sample": 0}, "--sample is 0"),
    ):
        with pytest.raises(ClinRaGenInputError, match=said):
            make(dataset, reports, tmp_path / "sheets", **options)
    with pytest.raises(ClinRaGenInputError, match="nothing to rate"):
        make(dataset, [], tmp_path / "sheets")
    with pytest.raises(ClinRaGenInputError, match="'runs/zebra', and so is another"):
        make(dataset, [reports[0], reports[0]], tmp_path / "sheets")
    with pytest.raises(ClinRaGenInputError, match="not about these records"):
        make(dataset, reports, tmp_path / "sheets", "--split", "validation")
    silent = write_report(tmp_path / "silent", dataset, "silent")
    text = (silent / "predictions.jsonl").read_text().replace('"readable": true', '"readable": false')
    (silent / "predictions.jsonl").write_text(text)
    with pytest.raises(ClinRaGenInputError, match="no record of this split has a rationale of each of silent"):
        make(dataset, [silent], tmp_path / "sheets")


@pytest.fixture
def browser(tmp_path):
    """Headless Chromium that saves to `tmp_path` and keeps what its console says."""
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver (Debian packages chromium and chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as chrome:
        yield chrome


def set_width(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait_for(found, seconds=20):
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_sheet_is_filled_in_a_browser_and_imported(sheets, answers, browser, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    def press(keys):
        ActionChains(browser).send_keys(keys).perform()

    def text(name):
        return browser.find_element(By.ID, name).text

    answers[0].unlink()
    address = (sheets / "sheet-alice.html").as_uri()
    browser.get(address)
    _, _, data = read_page(sheets, "alice")
    ids, axes = [item["id"] for item in data["items"]], list(data["axes"])
    for width in (1280, 400):
        set_width(browser, width)
        wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= seen == width
    set_width(browser, 1280)
    assert text("state") == "0 of 9 items complete"
    assert len(browser.find_elements(By.CSS_SELECTOR, "fieldset.open")) == len(axes)
    press("54321")  # one key a question
    assert text("state") == "1 of 9 items complete"
    press("nn21")  # the third item: two questions answered
    assert text("heading") == "Item 3 of 9"
    press("p")
    browser.find_element(By.CSS_SELECTOR, '#axis-soundness input[value="4"]').click()
    browser.find_element(By.ID, "comment").send_keys("n 5 p: not keys here")
    assert text("heading") == "Item 2 of 9"
    browser.get(address)  # closed and opened again
    assert text("state") == "1 of 9 items complete"
    assert text("heading") == "Item 2 of 9"  # the first with open questions
    assert browser.find_element(By.ID, "comment").get_property("value") == "n 5 p: not keys here"
    assert browser.find_element(By.CSS_SELECTOR, '#axis-soundness input[value="4"]').is_selected()
    states = [b.get_attribute("class") for b in browser.find_elements(By.CSS_SELECTOR, "#items button")]
    assert states == ["complete", "partial", "partial", *["unanswered"] * 6]
    assert AWKWARD in [text("note_rationale"), *(item["note_rationale"] for item in data["items"])]
    browser.find_element(By.ID, "save").click()
    wait_for(answers[0].is_file)
    expected = {
        ids[0]: dict(zip(axes, (5, 4, 3, 2, 1), strict=True)),
        ids[1]: {"soundness": 4, "comment": "n 5 p: not keys here"},
        ids[2]: dict(zip(axes, (2, 1), strict=False)),
    }
    assert json.loads(answers[0].read_text())["answers"] == expected
    found = measure(sheets, answers, tmp_path / "ratings")
    assert found["unanswered"] == {"alice": 45 - 8, "bob": 0}
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
