# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The page of rationales: its choice of records, its facts, and that all its content is visible."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from datasets_scripts.dataset.folder import METADATA_FILE, label_names, read_metadata
from modeling_clinragen import CHANNELS, ClinRaGenInputError
from recipes import show_rationales
from recipes.evaluation.figures.compute import compute_metrics
from recipes.evaluation.report.folder import write_evaluation
from recipes.evaluation.report.rationale_page import (
    WIDTH,
    chosen_records,
    facts_table,
    note_head,
    plain,
    rationale_page,
    read_sentences,
    wrapped,
)
from recipes.training.data import load_records
from tests.recipes.evaluation.figures.test_compute import as_the_teacher, predictions_of


MARKDOWN = MarkdownIt("commonmark").enable("table")


def text_of(markdown):
    """The words that a reader sees of a page."""
    html = MARKDOWN.render(markdown)
    for name, character in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        html = html.replace(name, character) if character != "<" else html.replace(name, "\0")
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("\0", "<").split())


@given(st.lists(st.text("0123456789", min_size=1, max_size=6), max_size=60, unique=True), st.integers(1, 30))
def test_records_are_chosen_by_seed_and_ids_alone(stays, number):
    chosen = chosen_records(stays, number, seed=0)
    assert len(chosen) == len(set(chosen)) == min(number, len(stays))
    backwards = chosen_records(stays[::-1], number, seed=0)
    assert [stays[i] for i in chosen] == [stays[::-1][i] for i in backwards]


def test_every_kth_record_of_the_hashed_order_is_chosen():
    stays = [str(i) for i in range(100)]
    whole = chosen_records(stays, 100, seed=3)
    assert sorted(whole) == list(range(100))
    assert chosen_records(stays, 20, seed=3) == whole[::5]
    assert chosen_records(stays, 30, seed=3) == whole[::3][:30]
    assert chosen_records(stays, 20, seed=4) != chosen_records(stays, 20, seed=3)


@given(st.text(max_size=300) | st.lists(st.sampled_from(["34.", "1)", "-", "+", "#", "hour", "x" * 40])).map(" ".join))
def test_text_is_shown_as_it_is_and_never_as_markup(text):
    text = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\ufffd]|&\w+;|&#\w+;", " ", text).split())
    tokens = MARKDOWN.parse("- " + wrapped(f"x {plain(text)}", then="  "))
    kinds = [token.type for token in tokens]
    assert kinds[:3] == ["bullet_list_open", "list_item_open", "paragraph_open"]
    assert kinds.count("inline") == 1
    (inline,) = [token for token in tokens if token.type == "inline"]
    shown = "".join("\n" if child.type == "softbreak" else child.content for child in inline.children)
    assert shown.split() == ["x", *text.split()]
    assert {child.type for child in inline.children} <= {"text", "text_special", "softbreak"}


def test_the_facts_are_those_that_pandas_finds():
    rng = np.random.default_rng(0)
    values = np.where(rng.random((40, len(CHANNELS))) < 0.3, rng.uniform(0, 160, (40, len(CHANNELS))), np.nan)
    values[:, 0], values[0, 3] = np.nan, 100.0  # the first is never measured; 100 is a normal heart rate
    hours = np.arange(40) * 0.7
    lines = facts_table({"lab_times": hours, "lab_values": values.tolist()}, CHANNELS).splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    shown = {row[0].split(", ")[0]: row[1:] for row in rows[2:]}
    table = pd.DataFrame(values, index=hours, columns=[channel["name"] for channel in CHANNELS])
    assert set(shown) == set(table.columns[table.notna().any()])
    for channel in CHANNELS[1:]:
        column, digits = table[channel["name"]].dropna(), channel["decimals"]
        first, last = (column.index[0], column.iloc[0]), (column.index[-1], column.iloc[-1])
        expected = [first, (column.idxmin(), column.min()), (column.idxmax(), column.max()), last]
        cells = shown[channel["name"]]
        assert cells[1:5] == [f"{value:.{digits}f} ({hour:.1f})" for hour, value in expected]
        below = "–" if channel["low"] is None else str((column < channel["low"]).sum())
        above = "–" if channel["high"] is None else str((column > channel["high"]).sum())
        assert cells[5:] == [str(len(column)), below, above]
    assert shown["Fraction inspired oxygen"][0] == "to 0.21"
    assert shown["Oxygen saturation"][0] == "from 94"
    assert shown["Weight"][0] == "–"


def test_a_value_stored_in_single_precision_at_the_limit_is_not_beyond_it():
    values = np.full((1, len(CHANNELS)), np.nan)
    values[0, -1] = np.float32(7.45)
    assert "| 7.45 (1.0) | 1 | 0 | 0 |" in facts_table({"lab_times": [1.0], "lab_values": values}, CHANNELS)


def test_a_record_without_measurements_says_so():
    assert facts_table({"lab_times": [], "lab_values": []}, CHANNELS) == "Nothing was measured."


def test_a_long_note_is_cut_and_says_by_how_much():
    note = "\n".join(f"Line {i} of the note." for i in range(20)) + "\n```\n# no heading"
    head = note_head(note)
    assert head.count("\n") < 20
    assert "Line 11" in head
    assert "Line 12" not in head
    words = len(note.split()) - sum(len(f"Line {i} of the note.".split()) for i in range(12))
    assert head.endswith(f"… and {words} more words.")
    assert [t.type for t in MARKDOWN.parse(note_head("a ```\n``` b"))] == ["fence"]


def claim(text, start, **fields):
    return {"text": text, "start": start, "end": start + len(text), "channel": None, "verdict": "supported",
            "quote": "in the note", "argument": "", "diagnoses": [], **fields}  # fmt: skip


def test_each_sentence_has_its_claims_and_its_origin():
    answer = {
        "note_rationale": "Fever fits sepsis. Fever is noted.",
        "lab_rationale": "Pulse is 131.",
        "note_claims": [claim("Fever", 0, argument="linked", diagnoses=["Sepsis"]), claim("Fever", 19)],
        "claims": [claim("Pulse is 131", 0, channel="Heart Rate"), claim("nothing", 13)],
        "sentences": [
            {"text": "Fever fits sepsis.", "part": "note", "origin": "composed"},
            {"text": "Fever is noted.", "part": "note", "origin": "written"},
            {"text": "Pulse is 131.", "part": "lab", "origin": "repaired"},
        ],
    }
    found = [(part, origin, [c["start"] for c in claims]) for part, origin, _, claims in read_sentences(answer)]
    assert found == [("note", "composed", [0]), ("note", "written", [19]), ("lab", "repaired", [0])]
    old = {key: value for key, value in answer.items() if key != "sentences"}
    assert [(s[0], s[1], s[2]) for s in read_sentences(old)] == [
        ("note", "", "Fever fits sepsis."),
        ("note", "", "Fever is noted."),
        ("lab", "", "Pulse is 131."),
    ]


@pytest.fixture(scope="module")
def report(data_folder, tmp_path_factory):
    """A report folder of the teacher's rationales of the training split."""
    folder = str(data_folder / "dataset")
    metadata, records = read_metadata(folder), load_records(folder, "train")
    predictions = predictions_of(records, metadata, as_the_teacher(records))
    for prediction, row in zip(predictions, records, strict=True):
        prediction |= {"stay_id": row["stay_id"], "note_claims": []}
    metrics = compute_metrics(predictions, label_names(metadata), records, channels=metadata["channels"])
    metrics["run"] = {"split": "train", "model": "runs/model", "dataset": folder}
    output = tmp_path_factory.mktemp("report")
    write_evaluation(output, metrics, predictions)
    return output


def command(report, dataset, output, *options):
    return ["--report", str(report), "--dataset", str(dataset), "--output", str(output), *options]


def test_the_page_shows_the_chosen_records_and_no_ids(report, data_folder, tmp_path):
    page = show_rationales.main(
        command(report, data_folder / "dataset", tmp_path / "docs" / "page.md", "--records", "7")
    ).read_text()
    assert page.count("\n## Record ") == 7
    assert max(map(len, page.splitlines())) <= 120
    records = load_records(str(data_folder / "dataset"), "train")
    chosen = chosen_records(records["stay_id"], 7, 0)
    text = text_of(page)
    for i in chosen:
        for sentence in records[i]["lab_rationale"].split(". "):
            assert " ".join(sentence.split()).rstrip(".") in text
    for name in ("stay_id", "subject_id", "hadm_id"):
        assert not any(re.search(rf"\b{identity}\b", page) for identity in records[name])
    assert "every 7th" in text or "every 6th" in text
    assert not list((tmp_path / "docs").glob("*.unfinished"))


def test_another_models_rationales_are_beside(report, data_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    metrics = json.loads((report / "metrics.json").read_text())
    metrics["run"]["model"] = "runs/another"
    (other / "metrics.json").write_text(json.dumps(metrics))
    lines = (report / "predictions.jsonl").read_text().splitlines()
    (other / "predictions.jsonl").write_text("\n".join(reversed(lines)) + "\n")  # in an order of its own
    options = ("--records", "5", "--beside", str(other))
    page = show_rationales.main(command(report, data_folder / "dataset", tmp_path / "page.md", *options)).read_text()
    records = page.split("\n## Record ")[1:]
    assert len(records) == 5
    for record in records:
        own, beside = record.split("**Listed by the model (runs/another).**")
        own = own.split("**Listed by the model.**")[1].replace("**Rationale.**", "**Rationale (runs/another).**")
        assert own.split() == beside.split()
    (other / "predictions.jsonl").write_text(lines[0] + "\n")
    with pytest.raises(ClinRaGenInputError, match=r"--beside: .* lacks \d+ of the \d+ records"):
        show_rationales.main(command(report, data_folder / "dataset", tmp_path / "b.md", *options))


def test_credentialed_records_are_refused_unless_they_are_said_to_be_open(report, data_folder, tmp_path):
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    (dataset / "data").symlink_to(data_folder / "dataset" / "data")
    metadata = read_metadata(data_folder / "dataset")
    metadata["source_description"]["credentialed"] = True
    (dataset / METADATA_FILE).write_text(json.dumps(metadata))
    output = tmp_path / "page.md"
    for reason in ([], ["--data-are-open", "  "]):
        with pytest.raises(ClinRaGenInputError, match=r"its records may not be shown.*--data-are-open"):
            show_rationales.main(command(report, dataset, output, *reason))
    assert not output.exists()
    show_rationales.main(command(report, dataset, output, "--data-are-open", "the open demo, ODbL"))
    assert "Shown because: the open demo, ODbL." in text_of(output.read_text())


def test_mistakes_are_named(report, data_folder, tmp_path):
    there = tmp_path / "there.md"
    there.write_text("mine")
    with pytest.raises(ClinRaGenInputError, match=r"there\.md exists already"):
        show_rationales.main(command(report, data_folder / "dataset", there))
    assert there.read_text() == "mine"
    with pytest.raises(ClinRaGenInputError, match="--records is 0"):
        show_rationales.main(command(report, data_folder / "dataset", tmp_path / "a.md", "--records", "0"))
    with pytest.raises(ClinRaGenInputError, match="not a report folder"):
        show_rationales.main(command(tmp_path, data_folder / "dataset", tmp_path / "a.md"))
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("metrics.json", "predictions.jsonl"):
        (foreign / name).write_text((report / name).read_text().replace('"stay_id": "', '"stay_id": "x'))
    with pytest.raises(ClinRaGenInputError, match="is not about"):
        show_rationales.main(command(foreign, data_folder / "dataset", tmp_path / "a.md"))


def test_verdicts_and_arguments_are_below_their_sentence(data_folder):
    metadata = read_metadata(data_folder / "dataset")
    answer = {
        "diagnoses": [{"label": "Shock", "probability": 0.875}],
        "gold": ["Shock"],
        "note_rationale": "Cold <b>skin</b> fits shock.",
        "lab_rationale": "",
        "note_claims": [
            claim("Cold", 0, verdict="absent", argument="unlinked", diagnoses=["Shock"], quote="| a_b_ |")
        ],
        "claims": [],
    }
    row = {"note": "", "lab_times": [], "lab_values": []}
    metrics = {"run": {"split": "test"}, "records": 3}
    page = rationale_page(metrics, [answer], [row], metadata, seed=0, permission=None)
    text = text_of(page)
    assert (
        "Cold <b>skin</b> fits shock. (note) “Cold” – absent , the knowledge does not link it with Shock: | a_b_ |"
        in text
    )
    assert "Listed by the model. Shock (0.88)" in text or "Shock (0.87)" in text
    assert "Note. None." in text
    assert all(len(line) <= WIDTH for line in page.splitlines())
