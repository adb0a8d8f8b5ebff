# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A made-up folder in the layout of AmsterdamUMCdb: relative times, age groups, reasons for admission, specimens."""

import csv
import gzip
import math

import pytest

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.labels import load_labels, map_codes
from datasets_scripts.sources.reader import HERE
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import measured, rows


HEADERS = {
    "admissions": "patientid admissionid admissioncount location urgency origin admittedat admissionyeargroup "
    "dischargedat lengthofstay destination gender agegroup dateofdeath weightgroup weightsource lengthgroup "
    "lengthsource specialty",
    "numericitems": "admissionid itemid item tag value unitid unit comment measuredat registeredat registeredby "
    "updatedat updatedby islabresult fluidout",
    "listitems": "admissionid itemid item valueid value measuredat registeredat registeredby updatedat updatedby "
    "islabresult",
    "freetextitems": "admissionid itemid item value comment measuredat registeredat registeredby updatedat updatedby "
    "islabresult",
}
SECOND = 500  # hours from the first to the second admission of patient 1
SEPSIS, SHOCK = "Septicemia (except in labor)", "Shock"
PNEUMONIA = "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"
APACHE_IV, SCHEME_IV, SEPSIS_AT_ADMISSION, PULMONARY = 18671, 17005, 15808, 13134


def ms(hour):
    return round(hour * 3_600_000)


def admission(patient, admission_id, begin=0, hours=48, age="60-69", gender="Man", location="IC"):
    return {
        "patientid": patient, "admissionid": admission_id, "location": location, "admittedat": ms(begin),
        "dischargedat": ms(begin + hours), "gender": gender, "agegroup": age, "lengthofstay": hours,
    }  # fmt: skip


def numeric(admission_id, item, hour, value, stored=None, tag=""):
    at = {"measuredat": ms(hour), "registeredat": ms(hour if stored is None else stored)}
    return {"admissionid": admission_id, "itemid": item, "tag": tag, "value": value, **at}


def listed(admission_id, item, value, updated=1, choice=1, hour=1):
    at = {"measuredat": ms(hour), "updatedat": ms(updated)}
    return {"admissionid": admission_id, "itemid": item, "value": value, "valueid": choice, **at}


def drawn(admission_id, hour, place):
    return {"admissionid": admission_id, "itemid": 11646, "value": place, "measuredat": ms(hour)}


def base_tables():
    """Three patients, of whom the first was admitted twice; a heart rate each, and pneumonia as the reason."""
    stays = [
        admission(1, 10),
        admission(1, 11, begin=SECOND, location="IC&MC"),
        admission(2, 20, age="80+", gender="Vrouw"),
        admission(3, 30, age="18-39", gender=""),
    ]
    begins = {10: 0, 11: SECOND, 20: 0, 30: 0}
    reason = "Non-operative respiratory - Pneumonia, bacterial"
    return {
        "admissions": stays,
        "numericitems": [numeric(stay, 6640, begin + 1, 80) for stay, begin in begins.items()],
        "listitems": [listed(stay, APACHE_IV, reason) for stay in begins],
        "freetextitems": [],
    }


def build(tmp_path, tables, *options, suffix=".csv"):
    root, output = tmp_path / "raw", tmp_path / "dataset"
    root.mkdir()
    opener = gzip.open if suffix.endswith(".gz") else open
    for name, records in tables.items():
        with opener(root / f"{name}{suffix}", "wt", encoding="latin-1", newline="") as file:
            writer = csv.DictWriter(file, HEADERS[name].split(), restval="")
            writer.writeheader()
            writer.writerows(records)
    arguments = ["--source", "amsterdamumcdb", "--root", str(root), "--output", str(output)]
    build_dataset.main([*arguments, *(options or ("--splits", "train=1"))])
    return rows(output), read_metadata(output)


def labels_of(built, metadata):
    names = [label["name"] for label in metadata["labels"]]
    return {stay: {names[i] for i in row["diagnoses"]} for stay, row in built.items()}


def test_times_count_from_the_admission_of_each_stay(tmp_path):
    tables = base_tables()
    tables["numericitems"] += [
        numeric(11, 6640, SECOND + 2.5, 90, stored=SECOND + 3),
        numeric(11, 6640, 3, 999),  # of the time of the stay before
        numeric(10, 6640, -5, 70),  # before the first admission
    ]
    built, metadata = build(tmp_path, tables)
    assert measured(built["11"], "Heart Rate") == {1.0: 80.0, 2.5: 90.0}
    assert list(built["11"]["lab_available_times"][1])[3] == 3.0
    assert measured(built["10"], "Heart Rate") == {1.0: 80.0}
    assert metadata["values"][3]["outside_of_stay"] == 2


def test_demographics_are_those_of_the_admission(tmp_path):
    built, metadata = build(tmp_path, base_tables())
    told = {stay: (row["age"], row["sex"], row["care_unit"], row["ethnicity"]) for stay, row in built.items()}
    assert told == {
        "10": (60, "M", "IC", None),
        "11": (60, "M", "IC&MC", None),
        "20": (80, "F", "IC", None),
        "30": (18, None, "IC", None),
    }
    assert built["11"]["subject_id"] == built["10"]["subject_id"] == "1"
    assert not [line for line in metadata["warnings"] if "ethnicity" in line]


def test_a_stay_without_an_age_group_is_left_out_and_counted(tmp_path):
    tables = base_tables()
    tables["admissions"][3]["agegroup"] = ""
    built, metadata = build(tmp_path, tables)
    assert set(built) == {"10", "11", "20"}
    assert "1 ICU stay left out: age unknown" in metadata["warnings"]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_the_reason_for_admission_is_the_label(tmp_path, suffix):
    tables = base_tables()
    tables["listitems"] = [
        listed(10, APACHE_IV, "Non-operative cardiovascular - Shock, cardiogenic", updated=1),
        listed(10, APACHE_IV, "Non-operative cardiovascular - Sepsis, pulmonary", updated=5),
        listed(10, PULMONARY, "Pneumonie", updated=9),  # of a scheme that comes later
        listed(11, SCHEME_IV, "Pneumonia, viral"),
        listed(11, SEPSIS_AT_ADMISSION, "Nee", updated=1),
        listed(11, SEPSIS_AT_ADMISSION, "Ja", updated=2),
        listed(20, PULMONARY, "Respiratoire insufficiëntie"),  # not ASCII
        listed(20, SEPSIS_AT_ADMISSION, "Onbekend"),
        listed(30, APACHE_IV, "Post-operative respiratory - Thoracotomy for lung cancer"),
    ]
    built, metadata = build(tmp_path, tables, suffix=suffix)
    assert labels_of(built, metadata) == {
        "10": {SEPSIS},
        "11": {PNEUMONIA, SEPSIS},
        "20": {"Respiratory failure; insufficiency; arrest (adult)"},
        "30": set(),
    }
    assert metadata["codes"]["unknown_codes"] == ["Thoracotomy for lung cancer"]
    (said,) = [line for line in metadata["warnings"] if "reason for admission alone" in line]
    assert said.endswith("3 of 4 ICU stays have a label")


def test_a_stay_without_a_reason_is_left_out_and_counted(tmp_path):
    tables = base_tables()
    tables["listitems"][0] = listed(10, SEPSIS_AT_ADMISSION, "Nee")
    tables["listitems"][1] = listed(11, 6671, "NSR")
    built, metadata = build(tmp_path, tables)
    assert set(built) == {"20", "30"}
    assert metadata["attrition"][-1]["why"] == "no diagnosis"
    assert metadata["attrition"][-1]["stays_lost"] == 2


def test_every_reason_with_a_code_leads_to_a_label():
    with open(HERE / "amsterdamumcdb_reasons.csv", encoding="utf-8", newline="") as file:
        reasons = {row["reason"].lower(): row["code"] for row in csv.DictReader(file)}
    mapped = map_codes([(code, 9) for code in reasons.values()], load_labels("phenotypes"))
    assert [reason for reason, code in reasons.items() if not mapped[code, 9].labels] == []
    assert len(reasons) > 90


def test_units_bounds_and_specimens(tmp_path):
    tables = base_tables()
    tables["numericitems"] += [
        numeric(10, 9947, 2, 10),  # glucose, mmol/L
        numeric(10, 9947, 3, 2, tag="<"),
        numeric(10, 9941, 2, 100),  # creatinine, µmol/L
        numeric(10, 21213, 2, 5),  # carbon dioxide, kPa
        numeric(10, 12279, 2, 40),  # inspired oxygen, percent
        *(numeric(10, 12310, hour, 7.3 + hour / 100) for hour in (2, 3, 4, 5)),  # pH
    ]
    tables["freetextitems"] = [drawn(10, 2, "Art."), drawn(10, 3, "Ven."), drawn(20, 4, "Ven.")]
    tables["listitems"] += [listed(10, 7432, "Centrale lijn", hour=5)]
    built, metadata = build(tmp_path, tables, "--channels", "extended", "--splits", "train=1")
    names = [channel["name"] for channel in metadata["channels"]]
    found = {
        (name, hour): float(value)
        for hour, values in zip(built["10"]["lab_times"], built["10"]["lab_values"], strict=True)
        for name, value in zip(names, values, strict=True)
        if not math.isnan(value) and name != "Heart Rate"
    }
    assert found == pytest.approx(
        {
            ("Glucose", 2): 180.16, ("Glucose", 3): 36.032, ("Creatinine", 2): 1.1312,
            ("Carbon dioxide pressure", 2): 37.503, ("Fraction inspired oxygen", 2): 0.4,
            ("pH", 2): 7.32, ("pH", 4): 7.34,
        },
        rel=1e-4,
    )  # fmt: skip
    counts = {row["channel"]: row for row in metadata["values"]}
    assert (counts["Glucose"]["censored"], counts["pH"]["not_arterial"]) == (1, 2)


def test_the_series_alone_are_read(tmp_path):
    built, metadata = build(tmp_path, base_tables())
    assert {row["note"] for row in built.values()} == {""}
    assert not [line for line in metadata["warnings"] if "have a note" in line]
    assert metadata["source_description"]["credentialed"] is True


@pytest.mark.parametrize(
    ("table", "column", "cell", "fault"),
    [
        (
            "numericitems",
            "measuredat",
            "noon",
            "row 3, column measuredat: not a number of milliseconds; correct the row",
        ),
        ("numericitems", "value", "high", "row 3, column value: not a number; correct the row"),
        ("admissions", "dischargedat", "2010-01-01", "row 3, column dischargedat: not a number of milliseconds"),
        ("admissions", "patientid", "", "row 3, column patientid: empty"),
        ("admissions", "admissionid", 10, "admissionid 10 is in 2 rows; remove the duplicate rows"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(tmp_path, table, column, cell, fault):
    tables = base_tables()
    tables[table][1][column] = cell
    with pytest.raises(ClinRaGenInputError, match=rf"^{table}.csv[,:] {fault}"):
        build(tmp_path, tables)


def test_new_patients_need_no_reason_and_no_end(tmp_path):
    tables = base_tables()
    tables["listitems"], tables["admissions"][0]["dischargedat"] = [], ""
    built, metadata = build(tmp_path, tables, "--unlabelled")
    assert set(built) == {"10", "11", "20", "30"}
    assert "1 of 4 ICU stays have no end; each lasts until its last measurement" in metadata["warnings"]
    assert not [line for line in metadata["warnings"] if "reason for admission" in line]
