# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""From a hospital's tables without labels to an answer for every stay; and what refuses such a dataset."""

import json

import numpy as np
import pytest

from datasets_scripts import build_knowledge, generate_rationales
from datasets_scripts.dataset.folder import iterate_rows
from modeling_clinragen import ClinRaGenInputError
from recipes import evaluate_baseline, evaluate_model, predict, stage1_note
from recipes.serving import answer_file
from tests.datasets_scripts.sources import small_hospital
from tests.modeling_clinragen.test_handler import same


STAYS = 20


@pytest.fixture
def folder(tiny_model, tiny_processor, tmp_path):
    """A model folder that writes a few words, so that a record is answered at once."""
    from recipes.models.folder import save_model_folder

    tiny_model.generation_config.max_new_tokens = 8
    save_model_folder(tiny_model, tiny_processor, tmp_path / "model")
    return tmp_path / "model"


def build(folder, notes=True, *options):
    """Dataset folder of new patients: every second has not left, one has no measurement, one no note."""
    tables, mapping = small_hospital.hospital(STAYS)
    del tables["diagnoses"], mapping["diagnoses"]
    for row in tables["stays"][::2]:
        row["end"] = ""
    if notes:
        tables["notes"] = [row for row in tables["notes"] if row["stay"] != "s3"]
        tables["vitals"] = [row for row in tables["vitals"] if row["stay"] != "s4"]
    else:
        del tables["notes"], mapping["notes"]
    small_hospital.build(folder, tables, mapping, "--unlabelled", *options)
    return folder / "dataset"


def answers(model, dataset, output, *options):
    predict.main(["--model", str(model), "--dataset", str(dataset), "--output", str(output), *options])
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("notes", [True, False])
def test_every_stay_of_tables_without_labels_gets_an_answer(folder, tmp_path, notes):
    dataset = build(tmp_path, notes)
    found = answers(folder, dataset, tmp_path / "out.jsonl", "--split", "test", "--batch-size", "4")
    assert [answer["stay_id"] for answer in found] == [row["stay_id"] for row in iterate_rows(dataset, "test")]
    assert sorted(answer["id"] for answer in found) == sorted(f"s{i}" for i in range(STAYS))
    for answer in found:
        assert answer["subject_id"] == answer["stay_id"].replace("s", "p")
        assert len(answer["probabilities"]) == 25
        assert "error" not in answer


def test_a_dataset_is_answered_as_its_records_in_a_file(folder, tmp_path):
    dataset = build(tmp_path)
    found = answers(folder, dataset, tmp_path / "out.jsonl")
    with open(tmp_path / "records.jsonl", "w", encoding="utf-8") as file:
        for row in iterate_rows(dataset, "test"):
            cells = [[None if np.isnan(cell) else cell for cell in cells] for cells in row["lab_values"]]
            record = {name: row[name] for name in ("stay_id", "note", "lab_times")}
            file.write(json.dumps({**record, "lab_values": cells}) + "\n")
    arguments = ["--model", str(folder), "--input", str(tmp_path / "records.jsonl")]
    predict.main([*arguments, "--output", str(tmp_path / "again.jsonl")])
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text(encoding="utf-8").splitlines()]
    ids = ("subject_id", "hadm_id", "stay_id")
    assert all(
        same({name: part for name, part in one.items() if name not in ids}, other)
        for one, other in zip(found, again, strict=True)
    )


def test_a_stay_with_nothing_to_read_is_named_with_its_row(folder, tmp_path):
    tables, mapping = small_hospital.hospital(3)
    tables["notes"], tables["vitals"] = tables["notes"][:2], tables["vitals"][: 2 * len(tables["vitals"]) // 3]
    small_hospital.build(tmp_path, tables, mapping, "--unlabelled")
    found = answers(folder, tmp_path / "dataset", tmp_path / "out.jsonl")
    (refused,) = (answer for answer in found if "error" in answer)
    assert refused["stay_id"] == "s2"
    assert refused["error"] == "row 2: record: neither a note nor a measurement that the model reads; give one"


def test_answers_to_a_dataset_resume_and_end_in_the_same_bytes(folder, tmp_path, monkeypatch):
    dataset, options = build(tmp_path), ("--batch-size", "1")
    answers(folder, dataset, tmp_path / "whole.jsonl", *options)
    calls, answer_chunk = [], answer_file.answer_chunk

    def fail_in_the_second_chunk(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer_chunk(*arguments)

    monkeypatch.setattr(answer_file, "answer_chunk", fail_in_the_second_chunk)
    with pytest.raises(KeyboardInterrupt):
        answers(folder, dataset, tmp_path / "out.jsonl", *options)
    assert not (tmp_path / "out.jsonl").exists()
    answers(folder, dataset, tmp_path / "out.jsonl", *options)
    assert len(calls) == 6  # of five chunks one was done
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_dataset_that_does_not_fit_the_model_is_refused(folder, tmp_path):
    dataset = build(tmp_path / "extended", True, "--channels", "extended")
    with pytest.raises(ClinRaGenInputError, match=r"has other channels, units or another order of them than .*model"):
        answers(folder, dataset, tmp_path / "out.jsonl")
    dataset = build(tmp_path)
    with pytest.raises(ClinRaGenInputError, match="has no split 'train'; its splits are test"):
        answers(folder, dataset, tmp_path / "out.jsonl", "--split", "train")
    with pytest.raises(ClinRaGenInputError, match="--split is of a dataset"):
        predict.main(["--model", "m", "--input", "x.jsonl", "--split", "test", "--output", str(tmp_path / "o")])


def test_nothing_is_trained_on_or_compared_with_patients_without_labels(folder, tmp_path):
    dataset, output = str(build(tmp_path)), str(tmp_path / "out")
    build_knowledge.main(["--corpus", "builtin", "--output", str(tmp_path / "knowledge.json")])
    commands = {
        evaluate_model: ["--model", str(folder), "--dataset", dataset, "--split", "test", "--output", output],
        evaluate_baseline: ["--baseline", "tfidf", "--dataset", dataset, "--output", output],
        generate_rationales: ["--dataset", dataset, "--knowledge", str(tmp_path / "knowledge.json")]
        + ["--teacher", "template", "--output", output],
        stage1_note: ["--dataset", dataset, "--output_dir", output],
    }
    for command, arguments in commands.items():
        with pytest.raises(ClinRaGenInputError, match=r"dataset has no labels \(build_dataset\.py --unlabelled\)"):
            command.main(arguments)
        assert not (tmp_path / "out").exists(), command
