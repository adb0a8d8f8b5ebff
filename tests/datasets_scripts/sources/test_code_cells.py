# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Several diagnosis codes in one cell: split at the sign that is declared, refused without one."""

import pytest

from datasets_scripts import build_dataset
from datasets_scripts.sources.labels import load_labels
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.small_hospital import build, hospital


NAMES = [label["name"] for label in load_labels("phenotypes")]


def labels_of(row):
    return {NAMES[i] for i in row["diagnoses"]}


def with_cells(*cells, **fields):
    """Tables and mapping of one patient for each cell of codes."""
    tables, mapping = hospital(len(cells))
    for row, cell in zip(tables["diagnoses"], cells, strict=True):
        row["code"] = cell
    mapping["diagnoses"][0].update(fields)
    return tables, mapping


@pytest.mark.parametrize(
    ("separator", "cell"),
    [
        ("|", "I5014 | N179|J189"),
        (",", "I50.14,N17.9 , J18.9,"),
        (";", ";I50.14;N17.9;J18.9"),
        (" ", "I5014  N179+ J189*"),
        ("+", "I5014+N179+J189"),
        ("\n", "I50.14\nN17.9\nJ18.9"),
    ],
)
def test_each_code_of_a_cell_counts(separator, cell, tmp_path):
    rows, metadata = build(tmp_path, *with_cells("I50.14", "N17.9", "J18.9", cell, separator=separator))
    alone = [labels_of(rows[f"s{i}"]) for i in range(3)]
    assert all(alone)
    assert labels_of(rows["s3"]) == set.union(*alone)
    assert metadata["codes"]["total"] == 6


def test_an_empty_cell_is_no_recorded_diagnosis(tmp_path):
    rows, metadata = build(tmp_path, *with_cells("I50.9", "", " "))
    assert list(rows) == ["s0"]
    assert metadata["attrition"][-1]["stays_lost"] == 2


def test_check_counts_the_stays_of_every_label(tmp_path, capsys):
    build(tmp_path, *with_cells("I5014|N179", "I50.9", "Z99.9", separator="|"))
    build_dataset.main(["--source", "tables", "--root", str(tmp_path / "hospital"), "--check"])
    printed = capsys.readouterr().out.splitlines()
    start = printed.index("labels of 3 ICU stays") + 1
    counted = [line.strip().rsplit(": ", 1) for line in printed[start : start + len(NAMES)]]
    assert sorted(name for name, _ in counted) == sorted(NAMES)
    assert [number for _, number in counted] == ["2", "1"] + ["0"] * (len(NAMES) - 2)
    assert "diagnosis codes: 2 of 4 known, 1 read by their family" in printed
    assert {"unknown diagnosis codes: Z99.9 1", "read by their family: I5014 1"} <= set(printed)


def test_a_cell_without_a_code_between_the_signs_is_no_diagnosis(tmp_path):
    rows, metadata = build(tmp_path, *with_cells("I50.14|N17.9", " | ", "", separator="|"))
    assert list(rows) == ["s0"]
    assert (metadata["codes"]["total"], metadata["attrition"][-1]["stays_lost"]) == (2, 2)


@pytest.mark.parametrize(
    ("cell", "separator"),
    [
        ("I269 | I5001 | F102", "'|'"),
        ("I26.9, I50.01", "','"),
        ("428.0; 584.9", "';'"),
        ("V45.81/4280", "'/'"),
        ("E1050+ G632*", "' '"),
        ("I50.9\n\nN17.9", "' '"),
        ("I50.9; I50.9;", "';'"),
    ],
)
def test_several_codes_in_a_cell_without_a_separator_are_refused_with_row_and_remedy(cell, separator, tmp_path):
    with pytest.raises(ClinRaGenInputError) as refused:
        build(tmp_path, *with_cells("I50.9", "I50.9", cell))
    assert str(refused.value) == (
        f"diagnoses.csv, row 4, column code: several diagnosis codes in one cell; give separator: {separator}"
    )


def test_another_sign_than_the_declared_one_is_refused(tmp_path):
    with pytest.raises(ClinRaGenInputError, match=r"row 2, column code: several .*; give separator: '\|'"):
        build(tmp_path, *with_cells("I50.9 | N17.9", separator=","))


@pytest.mark.parametrize(
    "cell", ["I50.9", "J 18.9", "250 00", "J18.9 lobar pneumonia", "J12-J18", "E10.50+", "no code", "N17.9 stage 3"]
)
def test_a_cell_of_one_code_is_read_as_it_is(cell, tmp_path):
    _, metadata = build(tmp_path, *with_cells(cell))
    assert metadata["codes"]["total"] == 1


@pytest.mark.parametrize("separator", ["", "0", "a", "."])
def test_a_sign_that_codes_hold_is_no_separator(separator, tmp_path):
    with pytest.raises(ClinRaGenInputError, match=r"map.yaml: diagnoses: separator is .*; give the sign between two"):
        build(tmp_path, *with_cells("I50.9", separator=separator))
