# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Test what `--sections` adds to a note view: treatments of the hours that it reads, without what they are for."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.dataset.leakage import LeakMeter
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.sources.notes import note_text, parse_sections
from datasets_scripts.sources.reader import load_source
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import EQUAL, rows
from tests.datasets_scripts.sources.test_eicu import write_eicu


TREATMENTS = [  # hour, path, and what is read of it
    (-2, "cardiovascular|non-operative procedures|external pacemaker", "external pacemaker"),
    (3, "cardiovascular|shock|vasopressors|norepinephrine > 0.1 micrograms/kg/min",
     "vasopressors norepinephrine > 0.1 micrograms/kg/min"),
    (3.25, "renal|electrolyte correction|treatment of hyperkalemia|kayexalate", "kayexalate"),
    (4, "renal|dialysis|hemodialysis|for chronic renal failure", "hemodialysis"),
    (5, "renal|electrolyte correction|treatment of hyponatremia", ""),
    (6, "gastrointestinal|medications|hormonal therapy (for varices)|octreotide", "hormonal therapy octreotide"),
    (7, "cardiovascular|shock|vasopressors|norepinephrine > 0.1 micrograms/kg/min", ""),  # told already
    (24, "pulmonary|medications|bronchodilator", "bronchodilator"),
    (24.1, "pulmonary|ventilation and oxygenation|mechanical ventilation", ""),
    (30, "neurologic|consultations|Neurology consultation", ""),
]  # fmt: skip


def write(root, treatments=TREATMENTS):
    write_eicu(root, [("038.9", "")])
    with (root / "admissionDx.csv").open("a", encoding="utf-8", newline="") as file:
        columns = load_source("eicu")["tables"]["admissiondx"]["columns"]
        row = {
            "patientunitstayid": "1000",
            "admitdxenteredoffset": "5",
            "admitdxpath": "admission diagnosis|All Diagnosis|Non-operative|Infection",
            "admitdxname": "Pneumonia",
        }
        csv.DictWriter(file, columns).writerow(row)
    with (root / "treatment.csv").open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(["1000", str(round(hour * 60)), path] for hour, path, _ in treatments)
    return root


def note_of(tmp_path, *options):
    folder = tmp_path / "dataset"
    build_dataset.main(
        ["--source", "eicu", "--root", str(tmp_path / "raw"), "--output", str(folder), "--splits", EQUAL, *options]
    )
    return rows(folder)["1000"]["note"], read_metadata(folder)


def test_treatments_of_the_first_day_are_read_without_their_problem_and_purpose(tmp_path):
    write(tmp_path / "raw")
    note, metadata = note_of(tmp_path, "--sections", "treatments")
    reason, treatments = note.splitlines()
    assert reason == "Reason for admission: Pneumonia"
    assert treatments == "Treatments: " + "; ".join(read for _, _, read in TREATMENTS if read)
    assert metadata["settings"]["sections"] == "treatments"


@pytest.mark.parametrize(
    ("view", "last"),
    [("as-of=3.5", "kayexalate"), ("as-of=24.5", "mechanical ventilation"), ("as-of=48", "Neurology consultation")],
)
def test_a_view_as_of_an_hour_reads_the_treatments_until_then(tmp_path, view, last):
    write(tmp_path / "raw")
    note, _ = note_of(tmp_path, "--sections", "treatments", "--note-view", view)
    assert note.endswith(f"; {last}")


def test_by_default_what_is_there_is_read(tmp_path):
    write(tmp_path / "raw")
    note, metadata = note_of(tmp_path)
    assert "\nTreatments: external pacemaker; " in note
    assert metadata["settings"]["sections"] == "treatments"


@pytest.mark.parametrize("options", [["--sections", "none"], ["--note-view", "paper"]])
def test_without_sections_the_notes_alone_are_read(tmp_path, options):
    write(tmp_path / "raw")
    note, metadata = note_of(tmp_path, *options)
    assert note == "Reason for admission: Pneumonia"
    assert metadata["settings"]["sections"] == "none"


def test_by_default_a_missing_table_is_no_mistake(tmp_path):
    write(tmp_path / "raw")
    (tmp_path / "raw" / "treatment.csv").unlink()
    note, metadata = note_of(tmp_path)
    assert note == "Reason for admission: Pneumonia"
    assert metadata["settings"]["sections"] == "none"


def test_a_stay_without_a_treatment_has_no_section(tmp_path):
    write(tmp_path / "raw", [])
    assert note_of(tmp_path, "--sections", "treatments")[0] == "Reason for admission: Pneumonia"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sections", "procedures"], "--sections procedures: this source has treatments"),
        (["--sections", "treatments", "--note-view", "paper"], "note view paper reads none"),
    ],
)
def test_mistakes_are_named(tmp_path, options, message):
    write(tmp_path / "raw")
    with pytest.raises(ClinRaGenInputError, match=message):
        note_of(tmp_path, *options)


def test_sections_of_a_source_that_has_none_and_of_a_missing_table_are_refused(tmp_path):
    write(tmp_path / "raw")
    (tmp_path / "raw" / "treatment.csv").unlink()
    with pytest.raises(ClinRaGenInputError, match="table treatment is missing; give --sections none"):
        note_of(tmp_path, "--sections", "treatments")
    with pytest.raises(ClinRaGenInputError, match="--sections treatments: this source has none"):
        build_dataset.main(
            ["--source", "synthetic", "--limit", "3", "--sections", "treatments", "--output", str(tmp_path / "out")]
        )


@given(st.floats(-100, 1500, allow_nan=False), st.floats(0, 1000))
def test_no_view_reads_a_section_from_after_its_hours(hour, until):
    section = {"kind": "Treatments", "text": "dialysis", "rank": 6, "hour": hour, "origin": "section"}
    assert note_text([section], until) == ("Treatments: dialysis" if hour <= until else "")
    assert note_text([section], "admission") == ("Treatments: dialysis" if hour <= 24 else "")
    assert note_text([section], "paper") == ""


@pytest.mark.parametrize(
    ("text", "view", "names"),
    [
        ("none", "admission", ()),
        ("treatments", 12.0, ("treatments",)),
        ("a, b", "admission", ("a", "b")),
        ("none", "paper", ()),
        ("all", "paper", ()),
        ("all", "admission", None),
    ],
)
def test_names_of_sections(text, view, names):
    assert parse_sections(text, view) == names


@pytest.mark.slow
def test_treatments_of_eicu_add_little_to_the_leak_meter(real_data, tmp_path):
    """Names of diagnoses that the treatments alone add; a pacemaker is one, and a treatment as well."""
    for sections in ("none", "treatments"):
        build_dataset.main(
            ["--source", "eicu", "--root", str(real_data / "eicu-crd-demo"), "--sections", sections]
            + ["--output", str(tmp_path / sections)]
        )
    notes = {sections: rows(tmp_path / sections) for sections in ("none", "treatments")}
    meter, labels = LeakMeter(load_labels("phenotypes")), read_metadata(tmp_path / "none")["labels"]
    conduction = [label["name"] for label in labels].index("Conduction disorders")
    with_section = 0
    for stay, row in notes["treatments"].items():
        before, added, section = row["note"].partition("Treatments: ")
        assert before.rstrip("\n") == notes["none"][stay]["note"]
        assert meter.named(section) <= {conduction}
        with_section += bool(added)
    assert with_section > 1000
