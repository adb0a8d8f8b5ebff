# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The public OMOP release of the MIMIC-IV demo, against counts of its files; and the demo tables written as OMOP."""

import csv
import gzip
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import numpy as np
import pytest
import yaml

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.phenotypes import phenotypes_of
from datasets_scripts.sources.reader import load_source
from modeling_clinragen import PHENOTYPES
from tests.datasets_scripts.sources.omop_tables import CONCEPTS, export_eicu, export_mimic, large_id, reduce_mimic
from tests.datasets_scripts.sources.raw_tables import EQUAL, rows


UNITS_OF_ICU = re.compile("Intensive Care|ICU|Coronary Care|Neuro (Stepdown|Intermediate)")
CLASS_OF = {phenotype["ccs"]: i for i, phenotype in enumerate(PHENOTYPES)}


def build(source, root, output, *options):
    build_dataset.main(["--source", source, "--root", str(root), "--output", str(output), "--splits", EQUAL, *options])
    return rows(output)


def table(folder, name):
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def classes(codes):
    """The labels of pairs of code and version, sorted."""
    return sorted({CLASS_OF[c] for code, version in codes for c in phenotypes_of(code, version)[0] if c in CLASS_OF})


@pytest.fixture(scope="module")
def release(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    return real_data / "mimic-iv-demo-omop", build("omop", real_data / "mimic-iv-demo-omop", folder / "omop"), folder


@pytest.fixture(scope="module")
def mimic(real_data):
    """Stays by subject, admission and times; the codes of each admission; patients. Of MIMIC-IV's own tables."""
    folder = real_data / "mimic-iv-demo"
    codes = defaultdict(set)
    for row in table(folder, "hosp/diagnoses_icd"):
        codes[row["hadm_id"]].add((row["icd_code"].strip(), int(row["icd_version"])))
    stays = {(r["subject_id"], r["hadm_id"], r["intime"], r["outtime"]): r for r in table(folder, "icu/icustays")}
    return folder, stays, codes, {row["subject_id"]: row for row in table(folder, "hosp/patients")}


def sources(root):
    """(subject, admission, begin, end) of each ICU stay of the release, counted in plain Python -> its first row."""
    site = {row["care_site_id"]: row["care_site_name"] for row in table(root, "care_site")}
    units = [row for row in table(root, "visit_detail") if UNITS_OF_ICU.search(site.get(row["care_site_id"], ""))]
    units.sort(key=lambda row: (row["visit_occurrence_id"], row["visit_detail_start_datetime"]))
    stays, last = {}, None
    for row in units:
        key, begin, end = (
            row[f"visit_{name}"] for name in ("occurrence_id", "detail_start_datetime", "detail_end_datetime")
        )
        if last and last[0]["visit_occurrence_id"] == key and begin <= last[2]:
            last[2] = max(last[2], end)
        else:
            last = stays[row["visit_detail_id"]] = [row, begin, end]
    return {(*row["visit_detail_source_value"].split("|")[:2], begin, end): row for row, begin, end in stays.values()}


def test_the_release_has_the_stays_ages_and_sexes_of_its_own_files_and_of_mimic_iv(release, mimic):
    root, found, _ = release
    stays = sources(root)
    assert {row["visit_detail_id"] for row in stays.values()} == set(found)
    assert len(found) == 111
    assert len({row["subject_id"] for row in found.values()}) == len(table(root, "person")) == 76
    born = {row["person_id"]: row for row in table(root, "person")}
    for (_, _, begin, _), row in stays.items():
        person, built = born[row["person_id"]], found[row["visit_detail_id"]]
        assert built["hadm_id"] == row["visit_occurrence_id"]
        assert built["subject_id"] == row["person_id"]
        assert built["sex"] == {"8507": "M", "8532": "F"}[person["gender_concept_id"]]
        assert built["age"] == min(int(begin[:4]) - int(person["year_of_birth"]), 90)
    # For one transfer of 53 minutes MIMIC-IV lists no ICU stay; all others are equal to the second.
    _, own, _, patients = mimic
    assert set(own) <= set(stays)
    (extra,) = stays.keys() - own.keys()
    assert datetime.fromisoformat(extra[3]) - datetime.fromisoformat(extra[2]) == timedelta(minutes=52, seconds=53)
    for key, stay in own.items():
        patient, built = patients[key[0]], found[stays[key]["visit_detail_id"]]
        assert built["sex"] == patient["gender"]
        assert built["care_unit"] == stay["first_careunit"]
        anchor = int(patient["anchor_age"])
        age = 90 if anchor > 89 else min(anchor + int(key[2][:4]) - int(patient["anchor_year"]), 90)
        assert built["age"] == age


def test_the_labels_of_the_release_are_those_of_its_codes_and_lack_what_is_no_condition(release, mimic):
    root, found, folder = release
    _, _, codes, _ = mimic
    version = {hadm: next(iter(versions)) for hadm, versions in ((h, {v for _, v in c}) for h, c in codes.items())}
    hadm = {
        row["visit_occurrence_id"]: row["visit_source_value"].split("|")[1] for row in table(root, "visit_occurrence")
    }
    billed, types = defaultdict(set), Counter()
    for row in table(root, "condition_occurrence"):
        types[row["condition_type_concept_id"]] += 1
        if row["condition_type_concept_id"] == "32821":
            billed[row["visit_occurrence_id"]].add(row["condition_source_value"].strip())
    assert types == {"32821": 3059, "32817": 11078}
    lost = Counter()
    for stay in found.values():
        number = hadm[stay["hadm_id"]]
        own = {(code, version[number]) for code in billed[stay["hadm_id"]]}
        assert own <= codes[number]
        assert stay["diagnoses"] == classes(own)
        lost.update(set(classes(codes[number])) - set(stay["diagnoses"]))
    assert {PHENOTYPES[i]["name"]: n for i, n in lost.items()} == LOST
    said = " ".join(read_metadata(folder / "omop")["warnings"])
    assert "11078 of 12778 rows of the visits with an ICU stay name no ICD code (of type 32817)" in said
    assert "observation and procedure_occurrence: absent" in said


LOST = {  # of the 111 stays: pacemakers (V45.01), bypass grafts (V45.81), abnormal tests (790.4) and the like
    "Conduction disorders": 4, "Coronary atherosclerosis and other heart disease": 1,
    "Diabetes mellitus without complication": 1, "Other liver diseases": 3, "Other upper respiratory disease": 1,
}  # fmt: skip


def test_with_the_codes_that_are_no_conditions_the_labels_are_those_of_mimic_iv(release, mimic, tmp_path):
    """Those that condition_occurrence lacks stand in observation, as the public conversion puts them."""
    root, _, _ = release
    folder, stays, codes, _ = mimic
    copy = tmp_path / "omop"
    copy.mkdir()
    for path in root.glob("*.csv.gz"):
        (copy / path.name).symlink_to(path)
    hadm = {
        row["visit_occurrence_id"]: row["visit_source_value"].split("|")[1] for row in table(root, "visit_occurrence")
    }
    held = {
        (hadm[r["visit_occurrence_id"]], r["condition_source_value"].strip())
        for r in table(root, "condition_occurrence")
    }
    visit = {number: occurrence for occurrence, number in hadm.items()}
    missing = [
        (visit[h], code) for h, some in codes.items() for code, _ in some if h in visit and (h, code) not in held
    ]
    with open(copy / "observation.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [f"observation_{name}" for name in ("concept_id", "type_concept_id", "source_value", "source_concept_id")]
            + ["visit_occurrence_id"]
        )
        writer.writerows([4000000, 32821, f"{code:7}", 35200000, occurrence] for occurrence, code in missing)
        writer.writerows(
            [0, 32817, "V4581", 2000001305, occurrence] for occurrence, _ in missing
        )  # of the hospital's own
    found = build("omop", copy, tmp_path / "dataset")
    direct = build("mimic-iv", folder, tmp_path / "direct")
    by_key = {key: row["visit_detail_id"] for key, row in sources(root).items()}
    assert len(direct) == 110
    for key, stay in stays.items():
        assert found[by_key[key]]["diagnoses"] == direct[stay["stay_id"]]["diagnoses"]


# Items of MIMIC-IV without a standard concept that is read, by their own numbers.
MAPPING = {
    "channels": {
        "Weight": [226512, {"code": 226531, "unit": "lb"}, 224639],
        "Glucose": [225664, 226537],
        "Respiratory rate": [224689, 224422],
    }
}
DIAGNOSES = load_source("eicu")["diagnoses"]
OWN = {226512, 226531, 224639, 225664, 226537, 224689, 224422}
UNREAD = {50817, 50821, 50810}  # whose concept does not say that the blood is arterial, or is not certain


def build_mimic(tables, folder, suffix, *options):
    """The rows by the direct path, and those of the tables as OMOP, under the same stays."""
    folder.mkdir()
    (folder / "map.yaml").write_text(yaml.safe_dump(MAPPING), encoding="utf-8")
    root = export_mimic(tables, folder / f"omop{suffix}", suffix)
    direct = build("mimic-iv", tables, folder / "direct", *options)
    built = build("omop", root, folder / "built", "--mapping", str(folder / "map.yaml"), *options)
    assert len(built) == len(direct) == 44
    return direct, {stay: built[str(large_id("s" + stay))] for stay in direct}


def test_of_mimic_iv_as_omop_the_same_rows_are_built(real_data, tmp_path):
    tables, copy = real_data / "mimic-iv-layout", tmp_path / "copy"
    assert reduce_mimic(tables, copy, CONCEPTS.keys() - UNREAD | OWN) == LEFT_OUT
    direct, built = build_mimic(copy, tmp_path / "omop", ".csv.gz", "--channels", "extended")
    for stay, row in direct.items():
        other = built[stay]
        assert (other["subject_id"], other["hadm_id"]) == of_omop(row)
        for name in ("age", "sex", "ethnicity", "care_unit", "diagnoses"):
            assert other[name] == row[name], (name, stay)
        np.testing.assert_array_equal(other["lab_times"], row["lab_times"])
        np.testing.assert_array_equal(np.array(other["lab_values"]), np.array(row["lab_values"]))


@pytest.mark.slow
def test_of_all_of_mimic_iv_as_omop_few_values_differ(real_data, tmp_path):
    """Those of several devices at one moment, and those of blood gases, whose concepts do not name the specimen."""
    direct, built = build_mimic(real_data / "mimic-iv-layout", tmp_path / "omop", ".duckdb")
    counts = Counter()
    for stay, row in direct.items():
        mine, theirs = cells(row), cells(built[stay])
        counts.update("lost" for _ in mine.keys() - theirs.keys())
        counts.update("more" for _ in theirs.keys() - mine.keys())
        counts.update("equal" if mine[key] == theirs[key] else "differs" for key in mine.keys() & theirs.keys())
    assert counts == {"equal": 33601, "differs": 113, "lost": 24, "more": 5}


def of_omop(row):
    """The ids of patient and admission that stand for those of a row."""
    return tuple(str(large_id(letter + row[name])) for letter, name in (("p", "subject_id"), ("v", "hadm_id")))


LEFT_OUT = {
    "no concept that is read": 389,
    "not of arterial blood": 27,
    "outside of the stay": 45,
    "another value of the channel at that moment": 1569,
}


def cells(row):
    """(hour, channel) -> value"""
    pairs = zip(row["lab_times"], row["lab_values"], strict=True)
    return {(t, i): value for t, values in pairs for i, value in enumerate(values) if value == value}


# Stays of one hospital stay without a gap between them are one of OMOP.
TOUCHING = """
SELECT unnest([a.stay, b.stay]) FROM unit_stays a JOIN unit_stays b USING (visit)
WHERE (a.intime, a.stay) < (b.intime, b.stay) AND b.intime <= a.outtime
"""
# Of several values of a channel at one moment the direct path takes that of the preferred item.
SEVERAL = """
SELECT stay, minutes::INTEGER, channel FROM measured
GROUP BY ALL HAVING count(DISTINCT coalesce(number, text)) > 1
"""
# OMOP knows one word of each patient; here those differ between hospital stays.
OTHER_WORDS = "SELECT person FROM visits GROUP BY person HAVING count(DISTINCT (race, gender)) > 1"


@pytest.mark.slow
def test_of_eicu_as_omop_the_same_rows_are_built(real_data, tmp_path):
    connection = export_eicu(real_data / "eicu-crd-demo", tmp_path / "omop")
    touching, coded, other_words = (
        {row[0] for row in connection.execute(query).fetchall()}
        for query in (TOUCHING, f"SELECT stay_id FROM ({DIAGNOSES}) WHERE code <> ''", OTHER_WORDS)
    )
    several = set(connection.execute(SEVERAL).fetchall())
    direct = build("eicu", real_data / "eicu-crd-demo", tmp_path / "direct")
    built = build("omop", tmp_path / "omop", tmp_path / "built")
    names = [channel["name"] for channel in read_metadata(tmp_path / "built")["channels"]]
    ours = direct.keys() - touching & coded
    assert (len(direct), len(direct.keys() & touching), len(direct.keys() - touching - coded), len(ours)) == (
        1496, 155, 109, 1232
    )  # fmt: skip
    differing = 0
    for stay in ours:
        row, other = direct[stay], built[str(large_id("s" + stay))]
        assert (other["subject_id"], other["hadm_id"]) == of_omop(row)
        for name in (
            "age",
            "care_unit",
            "diagnoses",
            *(() if row["subject_id"] in other_words else ("sex", "ethnicity")),
        ):
            assert other[name] == row[name], (name, stay)
        mine, theirs = cells(row), cells(other)
        assert mine.keys() == theirs.keys()
        unequal = [key for key in mine if mine[key] != theirs[key]]
        assert {(stay, round(hour * 60), names[i]) for hour, i in unequal} <= several
        differing += len(unequal)
    assert (differing, sum(len(cells(direct[stay])) for stay in ours), len(other_words)) == (94, 452753, 5)
