# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Diseases that are added to the knowledge of a model are ranked without training."""

import json
import shutil

import pytest
import torch

from datasets_scripts.knowledge.base import SCHEMA_VERSION
from modeling_clinragen import PHENOTYPES, ClinRaGenInputError, ClinRaGenPipeline
from recipes import export_model
from recipes.models.folder import load_model_folder


PNEUMONIA = PHENOTYPES[9]["name"]
ONE_NOTE = {"notes": ["Productive cough, fever and crackles."], "lab_values": [None], "lab_times": [None]}


def write_knowledge(path, *terms):
    diseases = sorted({disease for _, _, linked, _ in terms for disease in linked})
    made = [
        {
            "term": name,
            "type": kind,
            "diseases": linked,
            "source": "a textbook",
            "synonyms": [],
            "pattern": pattern and dict(zip(("channel", "direction"), pattern, strict=True)),
            "provenance": [
                {"disease": disease, "document": "book", "offset": None, "sentence": None, "score": None}
                for disease in linked
            ],
        }
        for name, kind, linked, pattern in terms
    ]
    document = {"title": "A textbook", "url": None, "date": None}
    settings = dict.fromkeys(("retriever", "top_k", "extractor", "prompt"))
    path.write_text(
        json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "labels": diseases,
                "terms": made,
                "documents": {"book": document},
                "settings": {"corpus": "own", "date": "2026-01-01", **settings},
            }
        ),
        encoding="utf-8",
    )
    return path


@pytest.fixture
def gout(tmp_path):
    return write_knowledge(
        tmp_path / "gout.json",
        ("podagra", "name", ["Gout"], None),
        ("swollen great toe", "sign", ["Gout"], None),
        ("productive cough", "symptom", [PNEUMONIA, "Gout"], None),
        ("fever of gout", "vital-sign pattern", ["Gout", "Lyme disease"], ("Temperature", "high")),
        ("erythema migrans", "sign", ["Lyme disease"], None),
        ("rusty sputum", "symptom", [PNEUMONIA], None),
    )


def add(folder, knowledge, output):
    paths = ["--model", str(folder), "--knowledge", str(knowledge), "--output", str(output)]
    export_model.main(["--format", "extended", *paths])
    return load_model_folder(output)


def test_added_diseases_are_ranked_by_their_terms(stage1_folder, gout, tmp_path, caplog):
    caplog.set_level("INFO")
    model, processor = add(stage1_folder, gout, tmp_path / "more")
    assert "also ranks diseases that are not labels (2): Gout, Lyme disease" in caplog.text
    assert "left out: 1 terms" in caplog.text  # rusty sputum supports only a label
    model.diagnosis_head.linear.shared_evidence_weight.data.copy_(torch.tensor([2.0, 1.0, 1.0, 1.0]))
    model.config.decisions.mixture, model.config.decisions.temperature = 1.0, 2.0
    pipe = ClinRaGenPipeline(model=model, tokenizer=processor.tokenizer, processor=processor)
    assert "unseen_diagnoses" not in pipe({"note": "Podagra."})
    found = pipe({"note": "Podagra, swollen great toe."}, unseen=True)["unseen_diagnoses"]
    assert found == [{"label": "Gout", "score": pytest.approx(1.5), "terms": ["podagra", "swollen great toe"]}]
    processor.modalities = ["note", "lab"]
    found = pipe({"note": "Erythema migrans.", "labs": {"Temperature": [[1, 39.5], [2, 39.4]]}}, unseen=True)
    feverish = 0.5 * 0.5**0.5  # fever supports both
    assert [(entry["label"], entry["score"]) for entry in found["unseen_diagnoses"]] == [
        ("Lyme disease", pytest.approx(0.5 + feverish, abs=1e-4)),
        ("Gout", pytest.approx(feverish, abs=1e-4)),
    ]
    assert pipe({"note": "Denies podagra."}, unseen=True)["unseen_diagnoses"] == []


def test_the_trained_labels_are_unchanged(stage1_folder, gout, tmp_path):
    before, its_processor = load_model_folder(stage1_folder)
    after, processor = add(stage1_folder, gout, tmp_path / "more")
    assert processor.labels == its_processor.labels
    logits = [m.encode(**p(**ONE_NOTE, return_tensors="pt")).diagnosis_logits for m, p in
              ((before, its_processor), (after, processor))]  # fmt: skip
    assert torch.equal(*logits)
    assert (tmp_path / "more" / "training.json").read_bytes() == (stage1_folder / "training.json").read_bytes()


def test_impossible_additions_are_one_line(stage1_folder, tmp_path):
    labels_alone = write_knowledge(tmp_path / "labels.json", ("rusty sputum", "symptom", [PNEUMONIA], None))
    with pytest.raises(ClinRaGenInputError, match="labels of the model already"):
        add(stage1_folder, labels_alone, tmp_path / "more")
    bare = shutil.copytree(stage1_folder, tmp_path / "bare")
    (bare / "training.json").unlink()
    with pytest.raises(ClinRaGenInputError, match=r"training.json is missing"):
        add(bare, labels_alone, tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_a_model_that_does_not_read_terms_ranks_none(stage1_folder, gout, tmp_path):
    model, processor = load_model_folder(stage1_folder)
    processor.term_evidence, model.config.num_evidence_terms = False, 0
    pipe = ClinRaGenPipeline(model=model, tokenizer=processor.tokenizer, processor=processor)
    with pytest.raises(ClinRaGenInputError, match="`unseen` needs a model that reads"):
        pipe({"note": "Podagra."}, unseen=True)
