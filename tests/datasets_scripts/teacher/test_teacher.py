# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import logging

import numpy as np
import pytest

from datasets_scripts import build_dataset, build_knowledge, generate_rationales
from datasets_scripts.dataset.folder import SPLITS, iterate_rows, label_names, read_metadata
from datasets_scripts.knowledge.base import builtin_knowledge
from datasets_scripts.teacher.template import TemplateTeacher
from modeling_clinragen import CHANNELS, PHENOTYPES
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.clinical_clinragen import short_name


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
PNEUMONIA, SHOCK = 9, 12


@pytest.fixture(scope="module")
def teacher():
    return TemplateTeacher(builtin_knowledge(), CHANNELS, PHENOTYPES)


def row(note="", diagnoses=(), heart_rate=(), systolic=(), stay_id="1"):
    values = np.full((max(len(heart_rate), len(systolic)), 11), np.nan)
    values[: len(heart_rate), 3] = heart_rate
    values[: len(systolic), 7] = systolic
    hours = np.arange(float(len(values)))
    return {"stay_id": stay_id, "note": note, "diagnoses": list(diagnoses), "lab_times": hours, "lab_values": values}


def argued(text, disease):
    """Return whether some sentence names the disease without saying that it is unexplained."""
    return any(
        short_name(disease).lower() in sentence.lower()
        for sentence in text.split(". ")
        if "unexplained" not in sentence
    )


def test_note_rationale_cites_what_the_note_says(teacher):
    note, _ = teacher.explain(row("Came with productive cough and rigors. Denies melena.", [PNEUMONIA]))
    assert "roductive cough" in note
    assert argued(note, LABELS[PNEUMONIA])


@pytest.mark.parametrize(
    "text", ["No productive cough.", "Denies fever, productive cough or rigors.", "Cough absent."]
)
def test_negated_findings_are_not_evidence(teacher, text):
    note, lab = teacher.explain(row(text, [PNEUMONIA]))
    assert not argued(note, LABELS[PNEUMONIA])
    assert "unexplained" in lab


def test_nothing_is_argued_from_the_label_alone(teacher):
    note, lab = teacher.explain(row("Feels well.", [PNEUMONIA, SHOCK], heart_rate=[80] * 10, systolic=[120] * 10))
    assert not argued(note + " " + lab, LABELS[PNEUMONIA])
    assert not argued(note + " " + lab, LABELS[SHOCK])
    assert "neumonia and shock" in lab


def test_lab_rationale_states_measured_findings(teacher):
    _, lab = teacher.explain(row("x", [SHOCK], systolic=[120, 50, 45, 55]))
    assert "systolic blood pressure" in lab.lower()
    assert argued(lab, LABELS[SHOCK])


def test_empty_modalities_are_stated(teacher):
    note, lab = teacher.explain(row("", [SHOCK]))
    assert note == "There is no note."
    assert lab.startswith("No series were measured. ")
    assert "hock" in lab
    assert "unexplained" in lab
    assert teacher.explain(row("")) == ("There is no note.", "No series were measured.")


def test_wording_varies_with_the_stay_and_repeats_with_the_seed(teacher):
    rows = [row("productive cough, rigors", [PNEUMONIA], stay_id=str(i)) for i in range(200)]
    first = [teacher.explain(r) for r in rows]
    assert len({note for note, _ in first}) > 60
    assert first == [TemplateTeacher(builtin_knowledge(), CHANNELS, PHENOTYPES).explain(r) for r in rows]


def check_folder(dataset, tmp_path):
    """Rationales for a whole dataset folder: all claims hold, and all cited spans are in the notes."""
    build_knowledge.main(["--corpus", "builtin", "--output", str(tmp_path / "knowledge.json")])
    output = tmp_path / "rationales"
    generate_rationales.main(
        ["--dataset", str(dataset), "--knowledge", str(tmp_path / "knowledge.json"), "--teacher", "template"]
        + ["--output", str(output)]
    )
    metadata = read_metadata(output)
    before = [r for split in SPLITS for r in iterate_rows(dataset, split)]
    after = [r for split in SPLITS for r in iterate_rows(output, split)]
    assert metadata["rationales"]["teacher"] == "template"
    assert metadata["content_hash"] != read_metadata(dataset)["content_hash"]
    card = (output / "README.md").read_text(encoding="utf-8")
    for name in (
        "label_audit.csv",
        "figures/attrition.png",
        "figures/leakage.png",
    ):  # the files that the card names exist
        assert name in card
        assert (output / name).read_bytes() == (dataset / name).read_bytes()
    claims = 0
    assert set(metadata["rationales"]["outcomes"]) == {"accepted at once"}, metadata["rationales"]["reasons"]
    assert not [
        name for name in metadata["rationales"]["claims"] if name.endswith(("contradicted", "absent", "unlinked"))
    ]
    for old, new in zip(before, after, strict=True):
        assert {k: str(v) for k, v in old.items() if k not in ("note_rationale", "lab_rationale", "teacher")} == {
            k: str(v) for k, v in new.items() if k not in ("note_rationale", "lab_rationale", "teacher")
        }
        assert new["note_rationale"]
        assert new["lab_rationale"]
        for claim in check_claims(new["lab_rationale"], metadata["channels"], new["lab_times"], new["lab_values"]):
            if claim.channel:
                claims += 1
                assert claim.verdict == "supported", claim
    names = label_names(metadata)
    arguments = [sum(argued(f"{r['note_rationale']} {r['lab_rationale']}", name) for name in names) for r in after]
    return claims, np.mean(arguments)


@pytest.mark.parametrize("kept", ["all", "one"])
def test_rationales_without_evidence_are_counted_and_warned_of(tmp_path, caplog, kept):
    knowledge = builtin_knowledge()
    if kept == "one":  # so that hardly a rationale has evidence
        knowledge["terms"] = [term for term in knowledge["terms"] if term["term"] == "tendon xanthoma"]
    (tmp_path / "knowledge.json").write_text(json.dumps(knowledge), encoding="utf-8")
    build_dataset.main(["--source", "synthetic", "--output", str(tmp_path / "dataset"), "--limit", "40"])
    named = {"--dataset": "dataset", "--knowledge": "knowledge.json", "--output": "out"}
    options = [part for name, path in named.items() for part in (name, str(tmp_path / path))]
    with caplog.at_level(logging.INFO):
        generate_rationales.main([*options, "--teacher", "template", "--processes", "1"])
    shares = read_metadata(tmp_path / "out")["rationales"]["without_evidence"]
    names = [name.lower() for name in map(short_name, LABELS)] + ["acute renal failure", "coronary artery disease"]
    names += ["chronic obstructive pulmonary disease"]
    rows = [row for split in SPLITS for row in iterate_rows(tmp_path / "out", split) if row["diagnoses"]]
    for part, share in shares.items():
        silent = [not any(argued(row[f"{part}_rationale"], name) for name in names) for row in rows]
        assert share == pytest.approx(np.mean(silent), abs=1e-4), part
    levels = {r.levelno for r in caplog.records if "without evidence" in r.message}
    assert levels == {logging.WARNING if max(shares.values()) > 0.5 else logging.INFO}
    assert (max(shares.values()) > 0.5) == (kept == "one")
    assert "argue for none of them" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_simulated_patients_get_true_rationales(tmp_path):
    build_dataset.main(["--source", "synthetic", "--output", str(tmp_path / "dataset"), "--limit", "150"])
    claims, arguments = check_folder(tmp_path / "dataset", tmp_path)
    assert claims > 100
    assert arguments > 1.5


@pytest.mark.parametrize(
    ("source", "root"),
    [("mimic-iii", "mimic-iii-demo"), pytest.param("eicu", "eicu-crd-demo", marks=pytest.mark.slow)],
)
def test_real_patients_get_true_rationales(real_data, tmp_path, source, root):
    build_dataset.main(["--source", source, "--root", str(real_data / root), "--output", str(tmp_path / "dataset")])
    claims, _ = check_folder(tmp_path / "dataset", tmp_path)
    assert claims > 50
