# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""OMOP databases, small and made up: stays, ages, codes, units, notes, forms of storage, and what is refused."""

import copy
import csv

import duckdb
import pytest
import yaml

from datasets_scripts import build_dataset
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.sources.channels import load_channels
from datasets_scripts.sources.items import Units
from datasets_scripts.sources.omop import tables_to_copy
from datasets_scripts.sources.reader import HERE
from modeling_clinragen import PHENOTYPES
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.conversions_clinragen import SPELLED
from tests.datasets_scripts.sources.omop_tables import write
from tests.datasets_scripts.sources.raw_tables import measured, rows


HEART, PRESSURE = "Congestive heart failure; nonhypertensive", "Essential hypertension"
ARTERIES = "Coronary atherosclerosis and other heart disease"
FLUIDS, RHYTHM = "Fluid and electrolyte disorders", "Cardiac dysrhythmias"
HEADERS = {
    "person": "person_id gender_concept_id year_of_birth month_of_birth day_of_birth birth_datetime race_concept_id "
    "ethnicity_concept_id",
    "visit_occurrence": "visit_occurrence_id person_id visit_start_date visit_start_datetime visit_end_date "
    "visit_end_datetime",
    "visit_detail": "visit_detail_id person_id visit_occurrence_id visit_detail_concept_id visit_detail_start_date "
    "visit_detail_start_datetime visit_detail_end_date visit_detail_end_datetime visit_detail_source_value",
    "condition_occurrence": "visit_occurrence_id visit_detail_id condition_concept_id condition_type_concept_id "
    "condition_source_value condition_source_concept_id",
    "observation": "visit_occurrence_id observation_concept_id observation_type_concept_id observation_source_value "
    "observation_source_concept_id",
    "procedure_occurrence": "visit_occurrence_id procedure_concept_id procedure_type_concept_id "
    "procedure_source_value procedure_source_concept_id",
    "measurement": "person_id visit_occurrence_id visit_detail_id measurement_concept_id "
    "measurement_source_concept_id measurement_source_value measurement_type_concept_id measurement_date "
    "measurement_datetime measurement_time operator_concept_id value_as_number value_source_value unit_concept_id "
    "unit_source_value",
    "note": "visit_occurrence_id visit_detail_id note_date note_datetime note_title note_text",
    "concept": "concept_id concept_name vocabulary_id concept_class_id concept_code",
    "concept_relationship": "concept_id_1 concept_id_2 relationship_id invalid_reason",
}
PATIENTS = range(1, 7)
BILLING, CHARTED = 32821, 32817


def span(kind, begin, end):
    return {
        f"{kind}_{name}_{unit}": moment[: 10 if unit == "date" else None]
        for name, moment in (("start", begin), ("end", end))
        for unit in ("date", "datetime")
    }


def detail(number, patient, begin, end, concept=32037, **cells):
    ids = {"visit_detail_id": number, "person_id": -patient, "visit_occurrence_id": 100 + patient}
    return ids | {"visit_detail_concept_id": concept} | span("visit_detail", at(begin), at(end)) | cells


def at(hour):
    return f"2026-03-{1 + int(hour) // 24:02d} {int(hour) % 24:02d}:{round(hour * 60) % 60:02d}:00"


def condition(patient, code, source=0, concept=1, kind=BILLING, table="condition", **cells):
    names = {"concept_id": concept, "type_concept_id": kind, "source_value": f"{code:7}", "source_concept_id": source}
    return {"visit_occurrence_id": 100 + patient} | {f"{table}_{name}": cell for name, cell in names.items()} | cells


def value(patient, hour, concept, number, unit=0, **cells):
    ids = {"person_id": -patient, "measurement_concept_id": concept, "measurement_source_concept_id": 0}
    moment = {
        "measurement_datetime": at(hour),
        "measurement_date": at(hour)[:10],
        "measurement_type_concept_id": CHARTED,
    }
    return ids | moment | {"value_as_number": number, "unit_concept_id": unit} | cells


@pytest.fixture
def tables():
    """Patients of one ICU stay of two days, with heart failure (ICD-10) and a heart rate of 80 at hour 1."""
    return {
        "person": [
            {"person_id": -i, "gender_concept_id": 8532, "year_of_birth": 1966, "race_concept_id": 8527}
            for i in PATIENTS
        ],
        "visit_occurrence": [
            {"visit_occurrence_id": 100 + i, "person_id": -i} | span("visit", at(0), at(99)) for i in PATIENTS
        ],
        "visit_detail": [detail(200 + i, i, 0, 48) for i in PATIENTS],
        "condition_occurrence": [condition(i, "I50.9") for i in PATIENTS],
        "measurement": [value(i, 1, 3027018, 80, 8541) for i in PATIENTS],
    }


def write_tables(root, tables, suffix=".csv"):
    if suffix == ".csv":
        root.mkdir()
        for name, records in tables.items():
            with open(root / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, HEADERS[name].split())
                writer.writeheader()
                writer.writerows(records)
        return root
    connection = duckdb.connect()
    for name in tables:
        connection.execute(f"CREATE TABLE {name} AS FROM read_csv('{root.with_name('csv') / name}.csv')")
    return write(connection, root, {name: f"FROM {name}" for name in tables}, suffix)


def build(tmp_path, tables, *options, mapping=None):
    if mapping is not None:
        (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping), encoding="utf-8")
        options = (*options, "--mapping", str(tmp_path / "map.yaml"))
    root = write_tables(tmp_path / "raw", tables)
    return run(root, tmp_path / "dataset", *options)


def run(root, output, *options):
    build_dataset.main(
        ["--source", "omop", "--root", str(root), "--output", str(output), "--splits", "train=1", *options]
    )
    return rows(output), read_metadata(output)["warnings"]


def names(row):
    return {PHENOTYPES[i]["name"] for i in row["diagnoses"]}


def concepts(file):
    with open(HERE / file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def check_digit(code):
    """Of a LOINC code: every second digit from the right counts double."""
    digits = [int(digit) * (2 - i % 2) for i, digit in enumerate(reversed(code))]
    return -sum(digit // 10 + digit % 10 for digit in digits) % 10


def test_every_concept_has_a_channel_a_unit_that_it_has_and_a_code_of_its_vocabulary():
    table, units = concepts("omop_concepts.csv"), Units(load_channels("extended"))
    assert len({row["itemid"] for row in table}) == len(table)
    assert {row["channel"] for row in table} == set(units.channels)
    for row in table:
        number, _, digit = row["code"].partition("-")
        assert row["vocabulary"] == "SNOMED" or check_digit(number) == int(digit), row
        assert "" in units.readable(row["channel"], row["unit"])
    assert {row["unit"] for row in concepts("omop_units.csv")} <= set(SPELLED.values())


def test_the_concepts_that_the_public_release_uses_have_the_names_of_their_channels(real_data):
    with open(real_data / "mimic-iv-demo-omop" / "measurement_concepts.csv", encoding="utf-8", newline="") as file:
        used = {row["concept_id"]: row["concept_name"].lower() for row in csv.DictReader(file)}
    words = {channel["name"]: channel.get("words", []) for channel in load_channels("extended")}
    words["Fraction inspired oxygen"] = ["inhaled oxygen concentration", "oxygen/inspired gas"]
    words["Ionized calcium"], words["Carbon dioxide pressure"] = (
        ["calcium.ionized"],
        ["carbon dioxide [partial pressure]"],
    )
    found = [row for row in concepts("omop_concepts.csv") if row["itemid"] in used]
    assert len(found) == 25
    for row in found:
        name = used[row["itemid"]]
        assert any(word.lower() in name for word in [row["channel"], *words[row["channel"]]]), (row, name)
        assert "urine" not in name
        assert "fluid" not in name
        assert "venous" not in name


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".duckdb"])
def test_all_forms_of_storage_give_the_same_rows(tmp_path, tables, suffix):
    tables["note"] = [
        {"visit_occurrence_id": 101, "note_date": at(0)[:10], "note_title": "Admission", "note_text": "ill"}
    ]
    expected = run(write_tables(tmp_path / "csv", tables), tmp_path / "expected")
    root = write_tables(tmp_path / f"other{suffix if suffix == '.duckdb' else ''}", tables, suffix)
    assert repr(run(root, tmp_path / "other_dataset")) == repr(expected)


def test_rows_of_a_visit_without_a_gap_are_one_stay_and_ambulatory_moments_are_none(tmp_path, tables):
    tables["visit_detail"] += [
        detail(-5, 1, 48, 60, concept=0, visit_detail_source_value="MICU|x"),
        detail(-6, 1, 61, 70),
        detail(-7, 1, 2, 2, concept=38004207),
        detail(-8, 2, 10, 20),
    ]
    tables["measurement"] += [
        value(1, 50, 3027018, 81, visit_detail_id=-5), value(1, 62, 3027018, 82), value(1, 60.5, 3027018, 83),
    ]  # fmt: skip
    found, _ = build(tmp_path, tables)
    assert found.keys() == {"-6", *(str(200 + i) for i in PATIENTS)}
    assert measured(found["201"], "Heart Rate") == {1: 80, 50: 81}
    assert measured(found["-6"], "Heart Rate") == {1: 82}
    assert found["-6"]["hadm_id"] == found["201"]["hadm_id"] == "101"
    assert found["202"]["subject_id"] == "-2"


def test_ages_count_what_is_known_of_the_birthday(tmp_path, tables):
    for person, birth in zip(tables["person"], ({}, {"month_of_birth": 3, "day_of_birth": 2}, {"month_of_birth": 3},
                                                {"birth_datetime": "1966-03-02 00:00:00"}, {"year_of_birth": 1920},
                                                {"year_of_birth": ""}), strict=True):  # fmt: skip
        person |= birth
    found, warnings = build(tmp_path, tables)
    assert [found[str(200 + i)]["age"] for i in range(1, 6)] == [60, 59, 60, 59, 90]
    assert "206" not in found
    assert "1 ICU stay left out: age unknown" in warnings
    assert {(row["sex"], row["ethnicity"]) for row in found.values()} == {("F", "White")}


def test_codes_are_told_by_their_form_and_v_and_e_codes_by_the_others_of_their_visit(tmp_path, tables):
    tables["condition_occurrence"] = [
        condition(1, "4280", 44819001), condition(1, "V4581", 44819002), condition(1, "E8712", 44819003),
        condition(2, "I509", 35200001), condition(2, "E871", 35200002),
        condition(3, "4280"), condition(3, "AF (Atrial Fibrillation)", 2000031011, 313217, CHARTED),
        condition(3, "4273", 2000030001, 313217, CHARTED),  # a number of the hospital's own
        condition(3, "42731", 2000001, 2000001, CHARTED),  # of a vocabulary that has standard concepts
        *(condition(i, "I10") for i in (4, 5, 6)),
    ]  # fmt: skip
    found, warnings = build(tmp_path, tables)
    assert [names(found[str(200 + i)]) for i in range(1, 5)] == [
        {HEART, ARTERIES},
        {HEART, FLUIDS},
        {HEART},
        {PRESSURE},
    ]
    assert any(
        "3 of 12 rows of the visits with an ICU stay name no ICD code (of type 32817)" in line for line in warnings
    )


def test_codes_that_are_no_conditions_are_found_elsewhere_by_type_and_source_concept(tmp_path, tables):
    tables["condition_occurrence"] = [condition(i, "4280", 44819001) for i in PATIENTS]
    tables["observation"] = [
        condition(1, "V4581", 44819002, 4000000, table="observation"),
        condition(2, "V4581", 44819002, 4000000, CHARTED, table="observation"),
        condition(3, "V4581", 2000031011, 4000000, table="observation"),
    ]
    tables["procedure_occurrence"] = [
        condition(4, "42731", 2000001, 2000001, table="procedure"),  # of a vocabulary that has standard concepts
        condition(5, "V4581", 44819002, 4000000, table="procedure"),
    ]
    found, warnings = build(tmp_path, tables)
    assert [ARTERIES in names(found[str(200 + i)]) for i in PATIENTS] == [True, False, False, False, True, False]
    assert all(RHYTHM not in names(row) for row in found.values())
    assert not any("absent" in line for line in warnings)


def test_a_code_that_names_an_icu_stay_is_of_that_stay_alone(tmp_path, tables):
    tables["visit_detail"].append(detail(301, 1, 60, 80))
    tables["condition_occurrence"] += [condition(1, "I10", visit_detail_id=301)]
    found, _ = build(tmp_path, tables)
    assert (names(found["201"]), names(found["301"])) == ({HEART}, {HEART, PRESSURE})


def test_the_vocabulary_tells_codes_and_maps_standard_concepts_back(tmp_path, tables):
    tables["condition_occurrence"] = [
        *(condition(i, "local", 0, 320128) for i in PATIENTS),
        condition(1, "x|y", 45000001), condition(2, "4280", 45000009),
    ]  # fmt: skip
    tables["concept"] = [
        {"concept_id": i, "vocabulary_id": vocabulary, "concept_class_id": kind, "concept_code": code}
        for i, vocabulary, kind, code in (
            (45000001, "ICD10CM", "4-char billing code", "I50.9"), (45000002, "ICD10CM", "3-char nonbill code", "I50"),
            (45000003, "ICD10CM", "3-char billing code", "I10"), (45000004, "ICD9CM", "4-dig billing code", "401.9"),
            (45000005, "ICD10CM", "5-char billing code", "I25.10"), (45000009, "CPT4", "CPT4", "4280"),
        )
    ]  # fmt: skip
    pairs = ((45000003, 320128), (45000004, 320128), (45000005, 320128), (45000005, 1), (45000002, 316139))
    tables["concept_relationship"] = [
        {"concept_id_1": a, "concept_id_2": b, "relationship_id": "Maps to"} for a, b in pairs
    ]
    found, _ = build(tmp_path, copy.deepcopy(tables))
    assert names(found["203"]) == names(found["202"]) == {PRESSURE}  # type and codes of conditions that name ICD
    assert names(found["201"]) == {PRESSURE, HEART}


def test_units_come_by_concept_else_by_word_and_an_unknown_one_is_counted(tmp_path, tables):
    tables["measurement"] += [
        value(1, 2, 3020891, 98.6, 9289), value(1, 3, 3020891, 37.5, 0, unit_source_value="Cel"),
        value(2, 2, 3004501, 5, 8753), value(2, 3, 3004501, 90, 0, unit_source_value="mg/dL"),
        value(2, 4, 3004501, 95), value(2, 5, 3004501, 96, 0, unit_source_value="furlongs"),
        value(2, 6, 3004501, 600, 8840, operator_concept_id=4172704),
        value(2, 7, 3004501, "", value_source_value=">500"),
        value(3, 2, 0, 7.3, measurement_source_concept_id=3010421), value(3, 3, 0, 7.2, measurement_source_value="PH"),
        value(4, 2, 3025315, 60), value(4, 3, 3025315, 200, measurement_source_value="226531"),
    ]  # fmt: skip
    own = {"channels": {"Weight": [{"code": 226531, "unit": "lb"}]}}
    found, warnings = build(tmp_path, tables, mapping=own)
    assert measured(found["201"], "Temperature") == {2: 37, 3: 37.5}
    assert measured(found["202"], "Glucose") == {2: 90.08, 3: 90, 4: 95, 6: 600, 7: 500}
    assert measured(found["203"], "pH") == {2: 7.3}
    assert measured(found["204"], "Weight") == {2: 60, 3: 90.718}
    assert (
        "measurement: 1 values of Glucose are left out: unit_concept_id 0, unit_source_value 'furlongs' is no unit "
        "that is read" in warnings
    )
    assert any("measurement: 2 of 18 rows have no standard concept (0)" in line for line in warnings)


def test_notes_belong_to_the_stay_of_their_visit_detail_else_to_all_of_their_visit(tmp_path, tables):
    tables["visit_detail"].append(detail(301, 1, 60, 80))
    tables["note"] = [
        {
            "visit_occurrence_id": 101,
            "note_date": at(0)[:10],
            "note_datetime": at(0.5),
            "note_title": title,
            "note_text": text,
        }
        | cells
        for title, text, cells in (("Nursing", "all", {}), ("Nursing", "second", {"visit_detail_id": 301}))
    ]
    found, _ = build(tmp_path, tables, "--note-view", "as-of=24")
    assert "all" in found["201"]["note"]
    assert "second" not in found["201"]["note"]
    assert "all" in found["301"]["note"]
    assert "second" in found["301"]["note"]


def spoil(tables, table, **cells):
    tables[table][2] |= cells


def add_notes(tables, **third):
    note = {"note_date": at(0)[:10], "note_datetime": "", "note_title": "Admission", "note_text": "private"}
    tables["note"] = [note | {"visit_occurrence_id": 100 + i} for i in (1, 2, 3)]
    if "note_datetime" in third and not third["note_datetime"]:
        for row in tables["note"][:2]:
            row |= {"note_datetime": at(0) + "+00:00"}
    tables["note"][2] |= third


def zone(tables):
    """Give all times an offset."""
    for rows_ in tables.values():
        for row in rows_:
            row |= {name: f"{cell}+00:00" for name, cell in row.items() if name.endswith("_datetime") and cell}


REFUSED = [
    (
        lambda t: [spoil(t, "measurement", measurement_datetime="noon")],
        "measurement.csv, row 4, column measurement_datetime",
    ),
    (
        lambda t: [spoil(t, "measurement", value_as_number="x")],
        "measurement.csv, row 4, column value_as_number: not a number",
    ),
    (lambda t: [row.update(visit_detail_concept_id=9201) for row in t["visit_detail"]], "no row is of an ICU by its"),
    (lambda t: [spoil(t, "visit_detail", visit_detail_id=201)], "visit_detail.csv: visit_detail_id 201 is in 2 rows"),
    (lambda t: [spoil(t, "visit_detail", person_id="")], "visit_detail.csv, row 4, column person_id: empty"),
    (lambda t: [t.pop("condition_occurrence")], "table condition_occurrence is missing"),
    (lambda t: [spoil(t, "person", year_of_birth="19x6")], "person.csv, row 4, column year_of_birth: not a number"),
    (lambda t: [spoil(t, "person", month_of_birth="May")], "person.csv, row 4, column month_of_birth: not a number"),
    (lambda t: [spoil(t, "person", month_of_birth=13)], "person.csv, row 4, column month_of_birth: not a date"),
    (
        lambda t: [spoil(t, "person", month_of_birth=2, day_of_birth=31)],
        "person.csv, row 4, column day_of_birth: not a date and time; correct the row",
    ),
    (lambda t: [spoil(t, "person", birth_datetime="May")], "person.csv, row 4, column birth_datetime: not a date"),
    (
        lambda t: [spoil(t, "measurement", measurement_datetime="", measurement_date="noon")],
        "measurement.csv, row 4, column measurement_date: not a date and time; correct the row",
    ),
    (
        lambda t: [spoil(t, "measurement", measurement_datetime="", measurement_date="x", measurement_time="10:00")],
        "measurement.csv, row 4, column measurement_date: not a date and time; correct the row",
    ),
    (
        lambda t: [spoil(t, "measurement", measurement_datetime="", measurement_time="25:00:00")],
        "measurement.csv, row 4, column measurement_time: not a date and time; correct the row",
    ),
    *(
        (
            lambda t, name=name, table=table: [spoil(t, table, **{f"{name}_datetime": "", f"{name}_date": "13.2.26"})],
            f"{table}.csv, row 4, column {name}_date: not a date and time; correct the row",
        )
        for table, start in (("visit_detail", "visit_detail"), ("visit_occurrence", "visit"))
        for name in (f"{start}_start", f"{start}_end")
    ),
    *(
        (
            lambda t, name=name, table=table: [spoil(t, table, **{f"{name}_datetime": "soon"})],
            f"{table}.csv, row 4, column {name}_datetime: not a date and time; correct the row",
        )
        for table, start in (("visit_detail", "visit_detail"), ("visit_occurrence", "visit"))
        for name in (f"{start}_start", f"{start}_end")
    ),
    (lambda t: [add_notes(t, note_date="soon")], "note.csv, row 4, column note_date: not a date and time; correct"),
    (
        lambda t: [add_notes(t, note_datetime="soon")],
        "note.csv, row 4, column note_datetime: not a date and time; correct the row",
    ),
    (
        lambda t: [zone(t), add_notes(t, note_datetime="")],
        "note.csv, row 4, column note_date: the time has no offset from UTC, others of this source have one",
    ),
]


@pytest.mark.parametrize(("fault", "said"), REFUSED)
def test_a_fault_ends_the_build_in_a_line_that_names_its_place(tmp_path, tables, fault, said):
    fault(tables)
    with pytest.raises(ClinRaGenInputError, match="^[^\n]*" + said.replace("(", r"\(")) as caught:
        build(tmp_path, tables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".duckdb"])
def test_a_date_that_is_none_is_named_in_every_form_of_storage(tmp_path, tables, suffix):
    add_notes(tables, note_date="no note yet")
    write_tables(tmp_path / "csv", tables)
    root = write_tables(tmp_path / f"other{suffix if suffix == '.duckdb' else ''}", tables, suffix)
    said = (
        f"note{'' if suffix == '.duckdb' else suffix}, row 4, column note_date: not a date and time; correct the row"
    )
    with pytest.raises(ClinRaGenInputError) as caught:
        run(root, tmp_path / "dataset")
    assert str(caught.value) == said


def test_a_date_beside_its_time_is_not_read(tmp_path, tables):
    spoil(tables, "measurement", measurement_date="soon")
    spoil(tables, "visit_detail", visit_detail_start_date="soon", visit_detail_end_date="later")
    found, _ = build(tmp_path, tables)
    assert measured(found["203"], "Heart Rate") == {1: 80}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"stays": {}}, "unknown section 'stays'"),
        ({"icu": {"names": "("}}, "icu: names: no regular expression"),
        ({"icu": {"concepts": ["a"]}}, r"icu.concepts\[0\] is 'a', not a whole number"),
        ({"channels": {"Pulse": 1}}, "there is no channel 'Pulse'"),
        ({"channels": {"Weight": {"code": 1, "unit": "furlong"}}}, "unit 'furlong' is unknown for Weight"),
    ],
)
def test_a_mistake_in_the_mapping_is_named(tmp_path, tables, mapping, said):
    with pytest.raises(ClinRaGenInputError, match=said):
        build(tmp_path, tables, mapping=mapping)


def test_icus_of_a_mapping_are_read_beside_the_known_ones(tmp_path, tables):
    tables["visit_detail"] = [
        detail(200 + i, i, 0, 48, concept=9201, visit_detail_source_value="Bay 4") for i in PATIENTS
    ]
    found, _ = build(tmp_path, tables, mapping={"icu": {"names": "^Bay"}, "title": "Ours"})
    assert len(found) == len(PATIENTS)
    assert read_metadata(tmp_path / "dataset")["source_description"]["title"] == "Ours"


def test_a_database_that_cannot_be_read_is_refused_by_name(tmp_path, tables):
    root = write_tables(tmp_path / "csv", tables) and write_tables(tmp_path / "db.duckdb", tables, ".duckdb")
    with duckdb.connect(str(root)) as connection:
        connection.execute("ALTER TABLE person RENAME TO people; CREATE VIEW person AS FROM people")
    with pytest.raises(ClinRaGenInputError, match="table person is missing: no person among its tables"):
        run(root, tmp_path / "a")
    with duckdb.connect(str(root)) as connection:
        connection.execute(
            "CREATE SCHEMA a; CREATE TABLE a.person AS FROM people; "
            "CREATE SCHEMA b; CREATE TABLE b.person AS FROM people"
        )
    with pytest.raises(ClinRaGenInputError, match=r"db\.duckdb: several schemas hold a table person"):
        run(root, tmp_path / "a")
    (tmp_path / "no.duckdb").write_text("no database")
    with pytest.raises(ClinRaGenInputError, match=r"no\.duckdb cannot be read as a DuckDB file"):
        run(tmp_path / "no.duckdb", tmp_path / "a")


def test_new_patients_need_no_table_of_diagnoses(tmp_path, tables):
    tables["note"] = [
        {"visit_occurrence_id": 101, "note_date": at(0)[:10], "note_title": "Admission", "note_text": "ill"}
    ]
    expected, _ = build(tmp_path, tables)
    del tables["condition_occurrence"]
    tables["visit_detail"][1] |= {"visit_detail_end_date": "", "visit_detail_end_datetime": ""}
    root, output = write_tables(tmp_path / "new", tables), tmp_path / "unlabelled"
    build_dataset.main(["--source", "omop", "--root", str(root), "--output", str(output), "--unlabelled"])
    found = rows(output)
    assert found.keys() == expected.keys()
    assert repr(measured(found["201"], "Heart Rate")) == repr(measured(expected["201"], "Heart Rate"))
    assert found["201"]["note"] == expected["201"]["note"] != ""
    assert {len(row["diagnoses"]) for row in found.values()} == {0}
    warnings = read_metadata(output)["warnings"]
    assert "1 of 6 ICU stays have no end; each lasts until its last measurement" in warnings
    assert not [line for line in warnings if "diagnos" in line or "condition" in line]


def test_tables_of_diagnoses_and_the_vocabulary_are_not_copied_for_new_patients():
    left_out = {"condition_occurrence", "observation", "procedure_occurrence", "concept", "concept_relationship"}
    assert tables_to_copy().keys() - tables_to_copy(labelled=False).keys() == left_out
