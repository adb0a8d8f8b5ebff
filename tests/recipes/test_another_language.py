# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A German hospital's way by the commands of the documents, from its export to answers in German."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from transformers import AutoProcessor

from datasets_scripts import generate_rationales
from datasets_scripts.dataset.folder import METADATA_FILE, iterate_rows
from modeling_clinragen import ClinRaGenInputError
from recipes import evaluate_model, predict, stage1_note, stage3_multimodal
from tests import german
from tests.commands import run_script
from tests.recipes.conftest import STAGE


ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(sentence)) for sentence in german.german().sentences.values()]


def documented() -> list[list[str]]:
    """Return the commands of the section on other languages."""
    text = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
    section = text.partition("## Another language")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```bash\n(.*?)```", section, re.S)
    return [shlex.split(line)[1:] for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder in which the documented commands were run."""
    folder = tmp_path_factory.mktemp("german")
    german.export(folder / "klinik")
    for script, *arguments in documented():
        own = [re.sub("^(?=klinik/|data/)", f"{folder}/", argument) for argument in arguments]
        done = run_script(ROOT / script, *(re.sub("^datasets_scripts/", f"{ROOT}/datasets_scripts/", a) for a in own))
        assert done.returncode == 0, done.stderr
    return folder


def is_german(rationale: str) -> bool:
    return bool(re.fullmatch(rf"(?:(?:{'|'.join(TEMPLATES)}) ?)*", rationale))


def test_the_template_teacher_writes_german_that_the_gate_accepts(made):
    metadata = json.loads((made / "data/klinik-rationales" / METADATA_FILE).read_text(encoding="utf-8"))
    assert metadata["rationales"]["outcomes"] == {"accepted at once": 40}
    assert metadata["language"]["name"] == "German"
    rows = list(iterate_rows(made / "data/klinik-rationales", "train"))
    assert len(rows) > 20
    for row in rows:
        assert is_german(row["note_rationale"])
        assert is_german(row["lab_rationale"])
        findings = "Husten" if row["diagnoses"] == [0] else "Beinödeme"
        assert (
            f"Der Befund {findings} spricht für {german.LABELS['labels'][row['diagnoses'][0]]['name']}."
            in (row["note_rationale"])
        )
        assert "Übelkeit" not in row["note_rationale"]  # denied
        assert "Legionellen" not in row["note"]  # of the discharge diagnoses


@pytest.fixture(scope="module")
def model(made):
    config = made / "stage1.yaml"
    config.write_text(yaml.safe_dump({**STAGE, "knowledge": str(made / "data/klinik.json")}), encoding="utf-8")
    stage1_note.main(
        ["--config", str(config), "--dataset", str(made / "data/klinik-rationales")]
        + ["--output_dir", str(made / "stage1")]
    )
    return made / "stage1"


def test_a_model_takes_the_language_from_its_dataset_and_answers_in_it(made, model):
    processor = AutoProcessor.from_pretrained(model, trust_remote_code=True)
    assert processor.language["name"] == "German"
    assert not processor.numeric_slots
    answers = made / "answers.jsonl"
    dataset = ["--dataset", str(made / "data/klinik"), "--split", "test"]
    predict.main(["--model", str(model), *dataset, "--output", str(answers)])
    rows = {row["stay_id"]: row for row in iterate_rows(made / "data/klinik", "test")}
    found = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    assert len(found) == len(rows) > 0
    for answer in found:
        note = rows[answer["stay_id"]]["note"]
        assert answer["note_rationale"]
        assert is_german(answer["note_rationale"])
        assert is_german(answer["lab_rationale"])
        assert all(sentence["text"].count(".") == 1 for sentence in answer["sentences"])
        for claim in answer["note_claims"]:
            assert answer["note_rationale"][claim["start"] : claim["end"]] == claim["text"]
            assert all(note[slice(*span)] in note for span in claim["spans"])
        shown = {entry["term"] for entry in answer["knowledge"]}
        assert shown <= ({"Husten", "eitriger Auswurf", "Schüttelfrost", "Fieber"} | {"Beinödeme", "Müdigkeit"})
        assert ("Husten" in shown) == ("Kein Diabetes" in note)


def test_an_evaluation_reads_german(made, model):
    evaluate_model.main(
        ["--model", str(model), "--dataset", str(made / "data/klinik-rationales"), "--split", "train"]
        + ["--output", str(made / "report"), "--ungrounded"]
    )
    metrics = json.loads((made / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["note_recall"]["reference_findings"] >= 50  # of the teacher's, that the notes support
    assert metrics["teacher_evidence"]["note_without_evidence"] == 0
    assert metrics["lab_recall"]["reference_claims"] > 20


def test_a_dataset_that_was_built_without_the_file_is_refused_by_a_later_stage(made, model, tmp_path):
    folder = tmp_path / "english"
    metadata = json.loads((made / "data/klinik-rationales" / METADATA_FILE).read_text(encoding="utf-8"))
    (folder / "data").mkdir(parents=True)
    for file in (made / "data/klinik-rationales/data").iterdir():
        (folder / "data" / file.name).symlink_to(file)
    del metadata["language"]
    (folder / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")
    config = tmp_path / "stage3.yaml"
    config.write_text(yaml.safe_dump({"max_steps": 1, "max_target_tokens": 60}), encoding="utf-8")
    with pytest.raises(ClinRaGenInputError, match=r"its notes are read as English, those of .* as German; build the"):
        stage3_multimodal.main(
            ["--config", str(config), "--dataset", str(folder), "--model_name_or_path", str(model)]
            + ["--output_dir", str(tmp_path / "stage3")]
        )


def without_sentences(made, folder):
    """Copy the dataset, with a language that has no sentences to compose with."""
    (folder / "data").mkdir(parents=True)
    for file in (made / "data/klinik/data").iterdir():
        (folder / "data" / file.name).symlink_to(file)
    metadata = json.loads((made / "data/klinik" / METADATA_FILE).read_text(encoding="utf-8"))
    del metadata["language"]["sentences"]
    (folder / METADATA_FILE).write_text(json.dumps(metadata), encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--teacher", "template"], "gives no `sentences` to write"),
        (["--teacher", "openai:none", "--sentences", "grounded"], "are in German; give --sentences free"),
    ],
)
def test_a_teacher_that_cannot_write_the_language_is_refused(made, tmp_path, options, message):
    without_sentences(made, tmp_path / "dataset")
    with pytest.raises(ClinRaGenInputError, match=re.escape(message)):
        generate_rationales.main(
            ["--dataset", str(tmp_path / "dataset"), "--knowledge", str(made / "data/klinik.json"), *options]
            + ["--output", str(tmp_path / "out")]
        )


def test_rewards_distinguish_true_from_false_german(made, model):
    from recipes.training.rewards import REWARD_PARTS, RationaleReward

    processor = AutoProcessor.from_pretrained(model, trust_remote_code=True)
    row = next(r for r in iterate_rows(made / "data/klinik-rationales", "train") if r["diagnoses"] == [0])
    texts = [
        processor.target_text([0], "Der Befund Husten spricht für Pneumonie.", "Die Temperatur war erhöht."),
        processor.target_text([0], "Der Befund Beinödeme spricht für Pneumonie.", "Die Temperatur war erniedrigt."),
    ]
    columns = {name: [row[name]] * 2 for name in row}
    true, false = (
        dict(zip(REWARD_PARTS, parts, strict=True)) for parts in RationaleReward(processor).parts(texts, **columns)
    )
    for part in ("note_claims", "series_claims"):
        assert (true[part], false[part]) == (1, 0)
    assert true["agreement"] == false["agreement"] == 1
