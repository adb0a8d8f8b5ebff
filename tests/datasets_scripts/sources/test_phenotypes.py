# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import pytest

from datasets_scripts.sources.phenotypes import phenotypes_of


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
        ("I2510", 10, {101}),  # of two alternatives the first
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


@pytest.mark.parametrize(("code", "version"), [("", 9), (None, 10), ("XYZ", 9), ("Z99999", 10), ("12345678", 9)])
def test_when_a_code_does_not_exist_then_it_has_no_category_and_a_reason(code, version):
    categories, route = phenotypes_of(code, version)
    assert categories == ()
    assert route
