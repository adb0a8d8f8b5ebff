# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The public extractions MIMIC-IV-MEDS and eICU-MEDS: small folders in the shapes of their several versions."""

import csv
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources import meds as meds_module
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.items import Units
from datasets_scripts.sources.meds import load_mapping, meds_source
from datasets_scripts.sources.raw_tables import create_views, find_tables
from modeling_clinragen import CHANNELS, PHENOTYPES, ClinRaGenInputError
from tests.datasets_scripts.sources.raw_tables import EQUAL, measured, rows


MAPPINGS = Path(meds_module.__file__).with_name("meds")
HEART_FAILURE, KIDNEY_FAILURE, PNEUMONIA, RESPIRATORY_FAILURE, SHOCK = (
    next(i for i, label in enumerate(PHENOTYPES) if label["name"].startswith(name))
    for name in (
        "Congestive heart failure",
        "Acute and unspecified renal failure",
        "Pneumonia",
        "Respiratory failure",
        "Shock",
    )
)
EVENT = pa.schema(
    {
        "subject_id": pa.int64(),
        "time": pa.timestamp("us"),
        "code": pa.string(),
        "numeric_value": pa.float32(),
        "text_value": pa.large_string(),
        "hadm_id": pa.int64(),
        "icustay_id": pa.int64(),
    }
)


def event(subject, hour, code, **columns):
    """An event that many hours after the beginning of the year 2100, or without a time."""
    time = None if hour is None else datetime(2100, 1, 1) + timedelta(hours=hour)
    return {"subject_id": subject, "time": time, "code": code, **columns}


def write_folder(folder, events, parents=None, further=()):
    """A MEDS folder of those events, with further columns of text and, where given, the parents of codes."""
    (folder / "data" / "train").mkdir(parents=True)
    schema = pa.schema([*EVENT, *(pa.field(name, pa.string()) for name in further)])
    pq.write_table(pa.Table.from_pylist(events, schema), folder / "data" / "train" / "0.parquet")
    if parents is not None:
        (folder / "metadata").mkdir()
        codes = sorted({e["code"] for e in events})
        table = {
            "code": codes,
            "description": pa.nulls(len(codes), pa.string()),
            "parent_codes": pa.array([parents.get(code) for code in codes], pa.list_(pa.string())),
        }
        pq.write_table(pa.table(table), folder / "metadata" / "codes.parquet")
    return folder


def build(folder, output, mapping, *options):
    options = ["--mapping", str(mapping), "--splits", EQUAL, *options]
    build_dataset.main(["--source", "meds", "--root", str(folder), "--output", str(output), *options])
    return rows(output)


def mimic_iv(patient, *, race_is="an event", race="WHITE"):
    """One patient with one stay of two days as MIMIC-IV-MEDS writes it: 0.2, or before with the race as a column."""
    admission, stay = {"hadm_id": 100 + patient}, {"hadm_id": 100 + patient, "icustay_id": 200 + patient}
    column = {"race": race} if race_is == "a column" else {}
    events = [
        event(patient, None, "GENDER//F"),
        event(patient, -60 * 365.2425 * 24, "MEDS_BIRTH"),
        event(patient, -5, "HOSPITAL_ADMISSION//EW EMER.//EMERGENCY ROOM", **admission, **column),
        event(patient, 0, "ICU_ADMISSION//Medical Intensive Care Unit (MICU)", **stay),
        event(patient, 1, "LAB//220045//bpm", numeric_value=80, text_value="80", **stay),
        event(patient, 3, "LAB//SPECIMEN_COLLECTED//50931//STAT", **admission),
        event(patient, 6, "LAB//RESULT//50931//mg/dL", numeric_value=98.6, text_value="98.6", **admission),
        event(patient, 48, "ICU_DISCHARGE//Medical Intensive Care Unit (MICU)", **stay),
        event(patient, 90, "DIAGNOSIS//ICD//10//I509", **admission),
    ]
    if race_is == "an event" and race:
        events.append(event(patient, -5, f"RACE//{race}", **admission))
    return events


@pytest.mark.parametrize("race_is", ["an event", "a column"])
def test_mimic_iv_of_today_and_of_before_has_its_races(tmp_path, race_is):
    races = ["WHITE", "BLACK/AFRICAN AMERICAN", None] * 4
    events = [e for i, race in enumerate(races, 1) for e in mimic_iv(i, race_is=race_is, race=race)]
    further = ["race"] if race_is == "a column" else []
    read = build(write_folder(tmp_path / "meds", events, further=further), tmp_path / "out", "mimic-iv")
    assert [read[str(200 + i)]["ethnicity"] for i in range(1, 13)] == races
    assert {row["sex"] for row in read.values()} == {"F"}
    assert {tuple(row["diagnoses"]) for row in read.values()} == {(HEART_FAILURE,)}
    assert {row["care_unit"] for row in read.values()} == {"Medical Intensive Care Unit (MICU)"}


def test_a_result_of_mimic_iv_stands_when_it_was_stored(tmp_path):
    events = [e for i in range(1, 13) for e in mimic_iv(i)]
    row = build(write_folder(tmp_path / "meds", events), tmp_path / "out", "mimic-iv")["201"]
    assert measured(row, "Glucose") == {6.0: 98.6}
    assert measured(row, "Heart Rate") == {1.0: 80.0}


def test_unk_is_not_known(tmp_path):
    """Return what the extractions wrote for an empty cell."""
    events = [e for i in range(1, 13) for e in mimic_iv(i, race="UNK")]
    for e in events:
        e["code"] = e["code"].replace("Medical Intensive Care Unit (MICU)", "UNK").replace("GENDER//F", "GENDER//UNK")
    read = build(write_folder(tmp_path / "meds", events), tmp_path / "out", "mimic-iv")
    assert {(row["ethnicity"], row["sex"], row["care_unit"]) for row in read.values()} == {(None, None, None)}


def test_a_race_reaches_no_stay_by_the_id_of_something_else(tmp_path):
    """Ids of patients, admissions and stays may be the same numbers."""
    events = [e for i in range(1, 13) for e in mimic_iv(i, race=f"RACE OF {i}")]
    swapped = [{**e, "hadm_id": e.get("hadm_id") and 313 - e["hadm_id"]} for e in events]
    read = build(write_folder(tmp_path / "meds", swapped), tmp_path / "out", "mimic-iv")
    assert {row["hadm_id"] for row in read.values()} == set(read)
    assert all(row["ethnicity"] == f"RACE OF {row['subject_id']}" for row in read.values())


PARENTS = {
    "DIAGNOSIS//cardiovascular|heart failure": ["ICD10CM/N17.9", "ICD9CM/428.0"],  # ICD-9 is read, ICD-10 is not
    "DIAGNOSIS//renal|failure": ["ICD10CM/N17.9", "SNOMED/14669001"],
    "DIAGNOSIS//pulmonary|pneumonia": ["ICD9CM/486"],
    "DIAGNOSIS//both": ["ICD9CM/486", "ICD9CM/584.9"],
    "DIAGNOSIS//pulmonary|Respiratory Failure|hypoxemia": ["ICD9CM/799.02", "ICD10CM/J96.91"],
    "DIAGNOSIS//shock": ["ICD9CM/785.59", "ICD10CM/J96.91"],
    "DIAGNOSIS//graft": None,  # V45.81 could be of either version
}


def eicu(admission, *diagnoses, sex="Female"):
    """One hospital admission with two stays of a day, and diagnoses as pairs of hour and text, as eICU-MEDS has it."""
    first, second = ({"hadm_id": 77, "icustay_id": 1000 * number + admission} for number in (1, 2))
    return [
        event(admission, None, f"GENDER//{sex}"),
        event(admission, None, "RACE//Caucasian"),
        event(admission, -60.5 * 365.25 * 24, "MEDS_BIRTH"),
        event(admission, -1, "HOSPITAL_ADMISSION//UNK//South//TRUE//>= 500", hadm_id=77),
        event(admission, 0, "ICU_ADMISSION//Emergency Department//admit", **first),
        event(admission, 0, "ICU_ADMISSION_WEIGHT", numeric_value=70, **first),
        event(admission, 2, "VITALS//APERIODIC//BP//NONINVASIVE_MEAN", numeric_value=65),
        event(admission, 3, "LAB//SPECIMEN_DRAWN//glucose//mg/dL"),
        event(admission, 4, "LAB//RESULT//glucose//mg/dL", numeric_value=150, text_value="150"),
        event(admission, 6, "LAB//RESULT//Respiratory Rate///min", numeric_value=17, text_value="17"),
        event(admission, 24, "ICU_DISCHARGE//Alive//Step-Down Unit (SDU)", **first),
        event(admission, 30, "ICU_ADMISSION//Step-Down Unit (SDU)//readmit", **second),
        event(admission, 31, "VITALS//PERIODIC//HEARTRATE", numeric_value=90),
        event(admission, 54, "ICU_DISCHARGE//Alive//Floor", **second),
        event(admission, 90, "HOSPITAL_DISCHARGE//Alive//Home", hadm_id=77),
        event(
            admission,
            5,
            "ADMISSION_DIAGNOSIS//admission diagnosis|All Diagnosis|Non-operative|Diagnosis|Sepsis, pulmonary",
            icustay_id=1000 + admission,
        ),
        event(admission, 5, "ADMISSION_DIAGNOSIS//admission diagnosis|Was the patient admitted from the O.R.|No"),
        *(event(admission, hour, f"DIAGNOSIS//{text}", diagnosis_priority="Major") for hour, text in diagnoses),
    ]


def eicu_folder(folder, *diagnoses):
    events = eicu(1, *diagnoses) + [e for i in range(2, 13) for e in eicu(i, (1, "graft"), (31, "graft"))]
    return write_folder(folder, events, PARENTS, further=["diagnosis_priority"])


def test_eicu_finds_icd_codes_among_the_parents(tmp_path):
    diagnoses = [(1, "cardiovascular|heart failure"), (2, "renal|failure"), (31, "both"), (32, "graft")]
    read = build(eicu_folder(tmp_path / "meds", *diagnoses), tmp_path / "out", "eicu")
    assert read["1001"]["diagnoses"] == sorted([HEART_FAILURE, KIDNEY_FAILURE])
    assert read["2001"]["diagnoses"] == sorted([PNEUMONIA, KIDNEY_FAILURE])
    assert read["1002"]["diagnoses"] == read["2002"]["diagnoses"] == []  # recorded, without a code
    assert len(read) == 24


def test_respiratory_failure_that_the_text_of_eicu_says_counts(tmp_path):
    """The ICD-9 code names hypoxemia only; the ICD-10 code of another text does not count beside its ICD-9 code."""
    diagnoses = [(1, "pulmonary|Respiratory Failure|hypoxemia"), (31, "shock")]
    read = build(eicu_folder(tmp_path / "meds", *diagnoses), tmp_path / "out", "eicu")
    assert read["1001"]["diagnoses"] == [RESPIRATORY_FAILURE]
    assert read["2001"]["diagnoses"] == [SHOCK]


def test_eicu_reads_stays_values_and_the_reason_for_admission(tmp_path):
    read = build(eicu_folder(tmp_path / "meds", (1, "graft"), (31, "graft")), tmp_path / "out", "eicu")
    first, second = read["1001"], read["2001"]
    assert {row["subject_id"] for row in (first, second)} == {row["hadm_id"] for row in (first, second)} == {"1"}
    assert [first[name] for name in ("age", "sex", "ethnicity", "care_unit")] == [60.0, "F", "Caucasian", None]
    assert first["note"] == "Reason for admission: Sepsis, pulmonary"
    assert second["note"] == ""
    assert measured(first, "Respiratory rate") == {6.0: 17.0}
    assert measured(first, "Weight") == {0.0: 70.0}
    assert measured(first, "Mean blood pressure") == {2.0: 65.0}
    assert measured(first, "Glucose") == {4.0: 150.0}
    assert measured(second, "Heart Rate") == {1.0: 90.0}


@pytest.mark.parametrize(
    ("hour", "stay"),
    [(-40, "1001"), (0, "1001"), (23.9, "1001"), (27, "1001"), (30, "2001"), (31, "2001"), (54, "2001"), (80, "2001")],
)
def test_a_diagnosis_of_an_admission_goes_to_the_last_stay_that_had_begun(tmp_path, hour, stay):
    diagnoses = [(1, "graft"), (31, "graft"), (hour, "pulmonary|pneumonia")]
    read = build(eicu_folder(tmp_path / "meds", *diagnoses), tmp_path / "out", "eicu")
    assert [id_ for id_, row in read.items() if row["diagnoses"] == [PNEUMONIA]] == [stay]


def test_the_stays_that_are_left_out_keep_their_diagnoses(tmp_path):
    """The later stay is none of `--stays first`; what was found during it says nothing of the first."""
    diagnoses = [(1, "graft"), (31, "pulmonary|pneumonia")]
    folder = eicu_folder(tmp_path / "meds", *diagnoses)
    read = build(folder, tmp_path / "out", "eicu", "--stays", "first")
    assert read["1001"]["diagnoses"] == []
    assert not {"2001", "2002"} & set(read)


def of_stay(folder, mapping):
    """Stays and values of diagnoses, as the prepared tables have them."""
    source = meds_source(mapping, CHANNELS)
    connection = duckdb.connect()
    create_views(connection, source, find_tables(source, folder))
    for statement in source["prepare"]:
        connection.execute(statement)
    return set(connection.execute("SELECT stay_id, value FROM of_stay WHERE role = 'diagnosis'").fetchall())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spans=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=4),
    ids=st.permutations("1234"),
    hours=st.lists(st.integers(-30, 150), max_size=8, unique=True),
    subjects=st.sampled_from(["patients", "admissions"]),
)
def test_what_names_no_stay_is_placed_by_its_time(tmp_path_factory, spans, ids, hours, subjects):
    stays, end = {}, 0
    for (gap, length), stay in zip(spans, ids, strict=False):
        stays[stay] = (end + gap, end := end + gap + length)
    stays = dict(sorted(stays.items(), key=lambda item: (item[1], item[0])))
    events = [event(1, h, f"DIAGNOSIS//ICD//9//{h}") for h in hours]
    for stay, bounds in stays.items():
        for hour, name in zip(bounds, ("ADMISSION", "DISCHARGE"), strict=True):
            events.append(event(1, hour, f"ICU_{name}//", icustay_id=int(stay)))
    mapping = {**load_mapping("mimic-iv"), "subjects": subjects}
    folder = write_folder(tmp_path_factory.mktemp("meds"), events)
    expected = set()
    for hour in hours:
        begun = [stay for stay, (begin, _) in stays.items() if begin <= hour]
        if subjects == "admissions":
            expected.add(((begun or list(stays))[-1 if begun else 0], str(hour)))
        elif begun and hour <= stays[begun[-1]][1]:
            expected.add((begun[-1], str(hour)))
    assert of_stay(folder, mapping) == expected


def test_what_belongs_to_no_stay_is_counted_and_said(tmp_path):
    events = [e for i in range(1, 13) for e in mimic_iv(i)]
    events += [
        event(1, 5, "DIAGNOSIS//ICD//9//486", icustay_id=999),
        event(1, -30, "DIAGNOSIS//ICD//9//486"),
        event(2, 500, "DIAGNOSIS//ICD//9//486"),
        event(3, 5, "DIAGNOSIS//ICD//9//486"),  # during the stay
        event(4, 500, "DIAGNOSIS//ICD//9//486", hadm_id=999),  # of another admission: nothing is lost
        event(5, 500, "LAB//SPECIMEN_COLLECTED//50931//STAT"),
    ]
    read = build(write_folder(tmp_path / "meds", events), tmp_path / "out", "mimic-iv")
    warnings = read_metadata(tmp_path / "out")["warnings"]
    assert [line for line in warnings if "events of" in line] == [
        "1 events of diagnosis name an ICU stay that is not listed, and are left out",
        "2 events of diagnosis name neither stay nor admission and fall into no ICU stay; they are left out",
    ]
    assert [stay for stay, row in read.items() if PNEUMONIA in row["diagnoses"]] == ["203"]


def test_the_first_rule_that_fits_a_code_counts(tmp_path):
    mapping = yaml.safe_load((MAPPINGS / "mimic-iv.yaml").read_text(encoding="utf-8"))
    mapping["codes"]["diagnosis"] = [r"DIAGNOSIS//ICD//(9)//(.+)", {"parent": "ICD(10)CM/(.+)"}, "DIAGNOSIS//.*"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    codes = ["DIAGNOSIS//ICD//9//486", "DIAGNOSIS//ICD//10//J189", "DIAGNOSIS//UNCODED", "finding"]
    events = [*mimic_iv(1)[:-1], *(event(1, 90, code, hadm_id=101) for code in codes)]
    folder = write_folder(tmp_path / "meds", events, {codes[0]: ["ICD10CM/N17.9"], "finding": ["ICD10CM/I50.9"]})
    expected = {("201", "486"), ("201", None), ("201", "I50.9")}
    assert of_stay(folder, load_mapping(str(tmp_path / "mine.yaml"))) == expected


def test_parents_may_be_one_text(tmp_path):
    folder = eicu_folder(tmp_path / "meds", (1, "pulmonary|pneumonia"))
    duckdb.sql(
        f"COPY (SELECT code, parent_codes[1] AS parent_codes FROM read_parquet('{folder}/metadata/codes.parquet')) "
        f"TO '{tmp_path}/codes.parquet'"
    )
    (tmp_path / "codes.parquet").replace(folder / "metadata" / "codes.parquet")
    assert ("1001", "486") in of_stay(folder, load_mapping("eicu"))


def test_without_the_metadata_the_folder_is_refused(tmp_path):
    folder = eicu_folder(tmp_path / "meds", (1, "graft"))
    (folder / "metadata" / "codes.parquet").unlink()
    with pytest.raises(ClinRaGenInputError, match="table metadata/codes is missing"):
        build(folder, tmp_path / "out", "eicu")


def test_new_patients_need_neither_the_metadata_nor_rules_for_diagnoses_and_ends(tmp_path):
    folder = eicu_folder(tmp_path / "meds", (1, "pulmonary|pneumonia"))
    (folder / "metadata" / "codes.parquet").unlink()
    mapping = yaml.safe_load((MAPPINGS / "eicu.yaml").read_text(encoding="utf-8"))
    del mapping["codes"]["diagnosis"], mapping["codes"]["stay_end"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    for name, place in (("eicu", tmp_path / "ready"), (str(tmp_path / "mine.yaml"), tmp_path / "own")):
        arguments = ["--source", "meds", "--root", str(folder), "--output", str(place), "--mapping", name]
        build_dataset.main([*arguments, "--unlabelled"])
        found = rows(place)
        assert len(found) == 24
        assert {len(row["diagnoses"]) for row in found.values()} == {0}
        assert measured(found["1001"], "Glucose") == {4: 150}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["codes"].update(stay_end={"kind": "x"}), "codes: stay_end: a rule is a regular expression, or"),
        (lambda m: m["codes"].update(sex={"code": "(M)", "kind": "x"}), "codes: sex: a rule is"),
        (lambda m: m["codes"].update(note={"code": "(N)", "text": "x"}), "codes: note: a rule is"),
        (lambda m: m["codes"].update(note={}), "codes: note: a rule is"),
        (lambda m: m["codes"].update(sex={"code": "(M)", "also": 1}), "codes: sex: a rule is"),
        (lambda m: m["codes"].update(diagnosis={"code": "(D).*", "parent": "(9)/(.*)"}), "code has 1 groups"),
        (lambda m: m["codes"].update(diagnosis=["X", {"parent": "ICD9/(.*)"}]), "diagnosis: 1 groups instead of 2"),
        (lambda m: m["codes"].update(diagnosis=[]), "codes: diagnosis is missing"),
        (lambda m: m["codes"].update(sex="(?=x)(.)"), "codes: sex: no regular expression"),
        (lambda m: m["codes"].update(sex=[None]), "codes: sex: a rule is"),
        (lambda m: m.update(unknown=["UNK", ""]), "unknown must be one text"),
        (lambda m: m.update(subjects="stays"), "subjects must be patients or admissions"),
    ],
)
def test_a_rule_with_a_fault_is_named(tmp_path, change, message):
    mapping = load_mapping("eicu")
    change(mapping)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
    with pytest.raises(ClinRaGenInputError, match=message):
        load_mapping(str(tmp_path / "mine.yaml"))


def test_the_items_of_eicu_are_those_of_its_tables():
    """The same codes in the same order of preference and units, for the tables that the extraction reads."""
    channels, expected = load_channels("extended"), defaultdict(list)
    with open(MAPPINGS.parent / "eicu_items.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["table"] in ("lab", "vitalPeriodic", "vitalAperiodic", "patient"):
                code = row["itemid"].lower().replace("admissionweight", "icuadmissionweight")
                expected[row["channel"]].append((code, Units(channels).conversion(row["channel"], row["unit"], "")))
    found = defaultdict(list)
    for item in meds_source(load_mapping("eicu"), channels)["items"]:
        found[item["channel"]].append((item["itemid"].lower().replace("_", ""), item["unit"]))
    assert found == expected
