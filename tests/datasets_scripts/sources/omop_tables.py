# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The open demo tables in the form of the OMOP Common Data Model, by the rules of the public conversion of MIMIC-IV: ids
are hashes of 64 bits, source values are joined by `|` and padded, what has no standard concept has concept 0, stays in
an ICU are visit details among ambulatory moments, and a code that is no condition stands in observation.

What OMOP cannot say is left out of a copy of the tables: of that copy the direct path must make the very same rows.
"""

import hashlib
import shutil

import duckdb

from datasets_scripts.sources.raw_tables import create_views, find_tables, quoted
from datasets_scripts.sources.reader import HERE, load_source


# Item of MIMIC-IV -> standard concept, as the public conversion maps it.
CONCEPTS = {
    220051: 3012888, 225310: 3012888, 220180: 21492240, 224643: 3012888, 227242: 3012888, 223835: 3020716,
    50931: 3004501, 50809: 3000483, 220621: 3004501, 220045: 3027018, 220052: 3027598, 225312: 3027598,
    220181: 21492241, 50817: 3013502, 220277: 40762499, 220227: 3016502, 220210: 3024171, 224690: 3024171,
    224689: 1175625, 224422: 1175625, 220050: 3004249, 225309: 3004249, 220179: 21492239, 224167: 3004249,
    227243: 3004249, 223762: 3020891, 223761: 3020891, 226512: 3025315, 226531: 3025315, 50820: 3010421,
    223830: 3019977, 50862: 3024561, 50861: 3006923, 50863: 3035995, 50868: 3037278, 50878: 3013721, 50802: 3012501,
    51146: 3013869, 50882: 3016293, 50885: 3024128, 51006: 3013682, 50808: 3021119, 50893: 3006906, 50818: 3013290,
    50902: 3014576, 50806: 3018572, 50910: 3007220, 50911: 3005785, 50912: 3016723, 51200: 3010457, 51214: 3016407,
    51221: 3023314, 50810: 3023230, 51222: 3000963, 50811: 3000963, 51237: 3022217, 50813: 3047181, 50954: 3016436,
    50956: 3004905, 51244: 3037511, 50960: 3001420, 51248: 3012030, 51249: 3009744, 51250: 3023599, 51254: 3011948,
    51256: 3008342, 50821: 3027315, 51275: 3018677, 50970: 3011904, 51265: 3024929, 50971: 3023103, 50822: 3005456,
    50976: 3020630, 51274: 3034426, 51279: 3020416, 51277: 3019897, 50983: 3019550, 50824: 3000285, 51003: 3019800,
    51301: 3000905, 51300: 3000905,
}  # fmt: skip
UNITS = {
    "mmHg": 8876, "mm Hg": 8876, "bpm": 8483, "insp/min": 8541, "%": 8554, "?F": 9289, "?C": 586323, "kg": 9529,
    "units": 8510, "mg/dL": 8840, "mEq/L": 9557, "mmol/L": 8753, "IU/L": 8923, "g/dL": 8713, "K/uL": 8848,
    "m/uL": 8815, "ng/mL": 8842, "sec": 8555, "fL": 8583, "pg": 8564,
}  # fmt: skip
BILLING = 32821
SPECIMENS = ("50800", "52033")


def large_id(text):
    """The hash of 64 bits, with a sign, that stands for a source's id."""
    return int.from_bytes(hashlib.sha256(str(text).encode()).digest()[:8], "big", signed=True)


def connect(**files):
    """A connection with a view for each CSV file, all cells text, and the hash as function `large_id`."""
    connection = duckdb.connect()
    connection.create_function("large_id", large_id, ["VARCHAR"], "BIGINT")
    for name, path in files.items():
        options = "header = true, delim = ',', quote = '\"', escape = '\"', all_varchar = true"
        connection.execute(f"CREATE VIEW {name} AS FROM read_csv({quoted(path)}, {options})")
    return connection


def write(connection, root, queries, suffix):
    """Write the result of each query as a table: `.csv`, `.csv.gz`, `.parquet`, or all into one `.duckdb` file."""
    if suffix == ".duckdb":
        connection.execute(f"ATTACH {quoted(root)} AS written")
        for name, query in queries.items():
            connection.execute(f"CREATE TABLE written.{name} AS {query}")
        connection.execute("DETACH written")
        return root
    root.mkdir(parents=True)
    for name, query in queries.items():
        form = "FORMAT parquet" if suffix == ".parquet" else "HEADER, DELIMITER ','"
        connection.execute(f"COPY ({query}) TO {quoted(root / (name + suffix))} ({form})")
    return root


def reduce_mimic(root, copy, read):
    """
    Copy MIMIC-IV's tables but for measurements that OMOP cannot say, and count these by reason.

    `read`: the items that are read of OMOP, by their concept or by their own number.
    """
    for path in root.rglob("*.csv.gz"):
        (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
        if path.name not in ("chartevents.csv.gz", "labevents.csv.gz"):
            shutil.copyfile(path, copy / path.parent.name / path.name)
    connection = connect(
        charted=root / "icu" / "chartevents.csv.gz", tested=root / "hosp" / "labevents.csv.gz",
        stays=root / "icu" / "icustays.csv.gz", items=HERE / "mimic_items.csv",
    )  # fmt: skip
    connection.execute(
        f"""
        CREATE TABLE rows AS
        WITH all_rows AS (
          SELECT 'chartevents' AS "table", rowid_, c.subject_id, stay_id, itemid, charttime, value
          FROM (SELECT *, row_number() OVER () AS rowid_ FROM charted) c
          UNION ALL
          SELECT 'labevents', row_number() OVER (), subject_id, NULL, itemid, charttime, value FROM tested),
        specimens AS (
          SELECT subject_id, charttime, bool_or(value LIKE 'ART%') AS arterial
          FROM all_rows WHERE itemid IN {SPECIMENS} GROUP BY ALL)
        SELECT a.*, i.channel,
               CASE WHEN i.itemid IS NULL THEN 'other item'
                    WHEN a.itemid NOT IN {tuple(map(str, sorted(read)))} THEN 'no concept that is read'
                    WHEN i.specimen = 'ART' AND p.arterial IS NOT TRUE THEN 'not of arterial blood'
                    WHEN a.charttime NOT BETWEEN s.intime AND s.outtime THEN 'outside of the stay'
               END AS why
        FROM all_rows a LEFT JOIN items i ON a."table" = i."table" AND a.itemid = i.itemid
        LEFT JOIN specimens p ON a.subject_id = p.subject_id AND a.charttime = p.charttime
        LEFT JOIN stays s ON a.stay_id = s.stay_id
        """
    )
    connection.execute(
        """
        CREATE TABLE kept AS SELECT "table", rowid_ FROM rows WHERE why IS NULL
        QUALIFY row_number() OVER (PARTITION BY subject_id, charttime, channel ORDER BY itemid, value, rowid_) = 1
        """
    )
    connection.execute(f"""INSERT INTO kept SELECT "table", rowid_ FROM rows WHERE itemid IN {SPECIMENS}""")
    for table, view in (("chartevents", "charted"), ("labevents", "tested")):
        folder = copy / ("icu" if view == "charted" else "hosp")
        connection.execute(
            f"COPY (SELECT t.* EXCLUDE rowid_ FROM (SELECT *, row_number() OVER () AS rowid_ FROM {view}) t "
            f"JOIN kept USING (rowid_) WHERE kept.\"table\" = '{table}') "
            f"TO {quoted(folder / (table + '.csv.gz'))} (HEADER, DELIMITER ',')"
        )
    why = dict(connection.execute("SELECT why, count(*) FROM rows WHERE why <> 'other item' GROUP BY 1").fetchall())
    fit = connection.execute("SELECT count(*) FROM rows WHERE why IS NULL").fetchone()[0]
    kept = connection.execute(
        f'SELECT count(*) FROM kept JOIN rows USING ("table", rowid_) WHERE itemid NOT IN {SPECIMENS}'
    )
    return why | {"another value of the channel at that moment": fit - kept.fetchone()[0]}


def export_mimic(tables, root, suffix):
    """Write MIMIC-IV's tables as OMOP; every code of V, E or Z as if its standard concept were no condition."""
    connection = connect(
        patients=tables / "hosp" / "patients.csv.gz", admissions=tables / "hosp" / "admissions.csv.gz",
        diagnoses=tables / "hosp" / "diagnoses_icd.csv.gz", stays=tables / "icu" / "icustays.csv.gz",
        charted=tables / "icu" / "chartevents.csv.gz", tested=tables / "hosp" / "labevents.csv.gz",
    )  # fmt: skip
    connection.execute(f"CREATE TABLE concepts AS FROM (VALUES {_values(CONCEPTS)}) t (itemid, concept)")
    connection.execute(f"CREATE TABLE unit_ids AS FROM (VALUES {_values(UNITS)}) t (unit, concept)")
    codes = """
      SELECT large_id('d' || hadm_id || seq_num) AS {0}_id, large_id('p' || subject_id) AS person_id,
             1 + abs(large_id(icd_code) % 1000000) AS {0}_concept_id, {2} AS {0}_type_concept_id,
             large_id('v' || hadm_id) AS visit_occurrence_id, NULL::BIGINT AS visit_detail_id,
             rpad(icd_code, 7, ' ') AS {0}_source_value,
             if(icd_version = '9', 44819000, 35200000) + abs(large_id(icd_code) % 9000) AS {0}_source_concept_id
      FROM diagnoses WHERE {1}
    """
    measurement = """
      SELECT large_id('m{table}' || row_number() OVER ()) AS measurement_id, large_id('p' || subject_id) AS person_id,
             coalesce(c.concept, 0) AS measurement_concept_id, left(charttime, 10) AS measurement_date,
             charttime AS measurement_datetime, 32817 AS measurement_type_concept_id,
             if(value LIKE '>%', 4172704, if(value LIKE '<%', 4171756, NULL)) AS operator_concept_id,
             coalesce(valuenum, nullif(regexp_extract(value, '^[<>]\\s*([0-9.]+)$', 1), '')) AS value_as_number,
             u.concept AS unit_concept_id, large_id('v' || hadm_id) AS visit_occurrence_id,
             NULL::BIGINT AS visit_detail_id, itemid AS measurement_source_value,
             2000030000 + itemid::BIGINT % 10000 AS measurement_source_concept_id, valueuom AS unit_source_value,
             value AS value_source_value
      FROM {table} LEFT JOIN concepts c USING (itemid) LEFT JOIN unit_ids u ON valueuom = u.unit
    """
    detail = """
      SELECT large_id('s' || stay_id) AS visit_detail_id, large_id('p' || subject_id) AS person_id,
             if(first_careunit = 'CSRU', 4149943, 0) AS visit_detail_concept_id,
             left(intime, 10) AS visit_detail_start_date, intime AS visit_detail_start_datetime,
             left(outtime, 10) AS visit_detail_end_date, outtime AS visit_detail_end_datetime,
             large_id('c' || first_careunit) AS care_site_id,
             concat_ws('|', subject_id, hadm_id, stay_id) AS visit_detail_source_value,
             large_id('v' || hadm_id) AS visit_occurrence_id
      FROM stays
      UNION ALL
      SELECT DISTINCT large_id('a' || subject_id || charttime), large_id('p' || subject_id), 38004207,
             left(charttime, 10), charttime, left(charttime, 10), charttime, NULL,
             subject_id || '|' || left(charttime, 10),
             large_id('v' || subject_id || left(charttime, 10))
      FROM tested WHERE hadm_id IS NULL
    """
    no_condition = "regexp_matches(icd_code, '^[VEZ]')"
    queries = {
        "person": """
          SELECT large_id('p' || subject_id) AS person_id, if(gender = 'M', 8507, 8532) AS gender_concept_id,
                 anchor_year::INTEGER - anchor_age::INTEGER AS year_of_birth, NULL AS month_of_birth,
                 NULL AS birth_datetime, 0 AS race_concept_id, 0 AS ethnicity_concept_id,
                 subject_id AS person_source_value,
                 (SELECT min(race) FROM admissions a WHERE a.subject_id = p.subject_id) AS race_source_value
          FROM patients p
        """,
        "care_site": "SELECT DISTINCT large_id('c' || first_careunit) AS care_site_id, "
        "first_careunit AS care_site_name FROM stays",
        "visit_occurrence": "SELECT large_id('v' || hadm_id) AS visit_occurrence_id, large_id('p' || subject_id) AS "
        "person_id, 9201 AS visit_concept_id, left(admittime, 10) AS visit_start_date, "
        "admittime AS visit_start_datetime, "
        "left(dischtime, 10) AS visit_end_date, dischtime AS visit_end_datetime, subject_id || '|' || hadm_id AS "
        "visit_source_value FROM admissions",
        "visit_detail": detail,
        "condition_occurrence": codes.format("condition", f"NOT {no_condition}", BILLING),
        "observation": codes.format("observation", no_condition, BILLING),
        "procedure_occurrence": codes.format("procedure", "false", BILLING),
        "measurement": f"{measurement.format(table='charted')} UNION ALL {measurement.format(table='tested')}",
    }
    return write(connection, root, queries, suffix)


def _values(table):
    return ", ".join(f"({quoted(key)}, {value})" for key, value in table.items())


# Table and item of eICU -> standard concept, unit.
EICU = {
    ("vitalAperiodic", "noninvasivesystolic"): (21492239, 8876),
    ("vitalAperiodic", "noninvasivediastolic"): (21492240, 8876),
    ("vitalAperiodic", "noninvasivemean"): (21492241, 8876),
    ("physicalExam", "BP (systolic) Current"): (4152194, 8876),
    ("physicalExam", "BP (diastolic) Current"): (4154790, 8876), ("physicalExam", "HR Current"): (4239408, 8541),
    ("physicalExam", "O2 Sat% Current"): (40762499, 8554), ("lab", "O2 Sat (%)"): (3016502, 8554),
    ("respiratoryCharting", "SaO2"): (40762499, 8554), ("lab", "FiO2"): (3020716, 8554),
    ("respiratoryCharting", "FiO2"): (3024882, 8554), ("respiratoryCharting", "FIO2 (%)"): (3024882, 8554),
    ("respiratoryCharting", "O2 Percentage"): (3024882, 8554), ("physicalExam", "FiO2%"): (3020716, 8554),
    ("lab", "glucose"): (3004501, 8840), ("lab", "bedside glucose"): (3000483, 8840),
    ("respiratoryCharting", "Total RR"): (3024171, 8541), ("respiratoryCharting", "RR (patient)"): (3024171, 8541),
    ("respiratoryCharting", "f Total"): (3024171, 8541), ("lab", "Respiratory Rate"): (3024171, 8541),
    ("physicalExam", "Resp Current"): (4313591, 8541), ("lab", "Temperature"): (3020891, None),
    ("physicalExam", "Temp Current"): (4302666, None), ("patient", "admissionweight"): (3025315, 9529),
    ("physicalExam", "Current"): (4099154, 9529), ("lab", "pH"): (3019977, 8482),
}  # fmt: skip
EICU_EVENTS = """
CREATE TABLE measured AS
WITH events AS (
  SELECT patientunitstayid AS stay, observationoffset AS minutes, 'vitalAperiodic' AS "table", itemid, number,
         NULL AS text
  FROM (UNPIVOT vitalaperiodic ON noninvasivesystolic, noninvasivediastolic, noninvasivemean
        INTO NAME itemid VALUE number)
  UNION ALL
  SELECT patientunitstayid, respchartoffset, 'respiratoryCharting', respchartvaluelabel, NULL, respchartvalue
  FROM respiratorycharting
  UNION ALL
  SELECT patientunitstayid, labresultoffset, 'lab', labname, labresult, labresulttext FROM lab
  UNION ALL
  SELECT patientunitstayid, physicalexamoffset, 'physicalExam', physicalexamvalue, NULL, physicalexamtext
  FROM physicalexam
  WHERE physicalexampath LIKE '%/Constitutional/Vital Sign%' OR physicalexampath LIKE '%/Weight (kg)/Current'
  UNION ALL
  SELECT patientunitstayid, '0', 'patient', 'admissionweight', admissionweight, NULL FROM patient)
SELECT e.*, c.concept, c.unit, i.channel FROM events e JOIN items i USING ("table", itemid)
JOIN concepts c USING ("table", itemid)
"""
# A hospital stay begins in the year 2000 plus its age, in which years its patient was born; one of unknown age before.
EICU_STAYS = """
CREATE TABLE visits AS
SELECT *, make_timestamp(2000 + years, 2, 1, 0, 0, 0)
            + to_days(7 * (row_number() OVER (PARTITION BY person, years ORDER BY visit) - 1)::INTEGER) AS began
FROM (
  SELECT patienthealthsystemstayid AS visit, uniquepid AS person, min(gender) AS gender, min(ethnicity) AS race,
         coalesce(CASE WHEN min(age) = '> 89' THEN 90 ELSE TRY_CAST(min(age) AS INTEGER) END, -10) AS years,
         min(hospitaldischargeoffset::INTEGER - hospitaladmitoffset::INTEGER) AS minutes
  FROM patient GROUP BY ALL);
CREATE TABLE unit_stays AS
SELECT patientunitstayid AS stay, visit, person, unittype, began - to_minutes(hospitaladmitoffset::INTEGER) AS intime,
       intime + to_minutes(unitdischargeoffset::INTEGER) AS outtime
FROM patient JOIN visits ON patienthealthsystemstayid = visit
"""


def export_eicu(tables, root):
    """
    Write eICU's tables as OMOP, in Parquet, with the vocabulary as it is downloaded; each value and diagnosis names
    its ICU stay. Return the connection with the tables `unit_stays` and `measured`.
    """
    source = load_source("eicu")
    connection = connect(items=HERE / "eicu_items.csv")
    create_views(connection, source, find_tables(source, tables))
    connection.execute(f"CREATE TABLE stays AS {source['stays']}")
    concepts = ", ".join(f"({quoted(t)}, {quoted(i)}, {c}, {u or 'NULL'})" for (t, i), (c, u) in EICU.items())
    connection.execute(f'CREATE TABLE concepts AS FROM (VALUES {concepts}) t ("table", itemid, concept, unit)')
    connection.execute(EICU_EVENTS)
    connection.execute(EICU_STAYS)
    diagnoses = source["diagnoses"]
    connection.execute(
        "CREATE TABLE codes AS SELECT DISTINCT code, version, "
        f"45000000 + dense_rank() OVER (ORDER BY code, version) AS id FROM ({diagnoses}) WHERE code <> ''"
    )
    ids = (
        "large_id('s' || stay) AS visit_detail_id, large_id('p' || person) AS person_id, "
        "large_id('v' || visit) AS visit_occurrence_id"
    )
    queries = {
        "person": """
          SELECT large_id('p' || person) AS person_id, 2000 AS year_of_birth,
                 any_value(CASE gender WHEN 'Male' THEN 8507 WHEN 'Female' THEN 8532 ELSE 0 END) AS gender_concept_id,
                 0 AS race_concept_id, 0 AS ethnicity_concept_id, any_value(race) AS race_source_value
          FROM visits GROUP BY person
        """,
        "visit_occurrence": """
          SELECT large_id('v' || visit) AS visit_occurrence_id, began::DATE AS visit_start_date,
                 began AS visit_start_datetime, began + to_minutes(minutes) AS visit_end_datetime,
                 visit_end_datetime::DATE AS visit_end_date
          FROM visits
        """,
        "visit_detail": f"""
          SELECT {ids}, 32037 AS visit_detail_concept_id, intime::DATE AS visit_detail_start_date,
                 intime AS visit_detail_start_datetime, outtime::DATE AS visit_detail_end_date,
                 outtime AS visit_detail_end_datetime, large_id('c' || unittype) AS care_site_id
          FROM unit_stays
        """,
        "care_site": """
          SELECT DISTINCT large_id('c' || unittype) AS care_site_id, unittype AS care_site_name FROM unit_stays
        """,
        "condition_occurrence": f"""
          SELECT {ids}, 1 AS condition_concept_id, {BILLING} AS condition_type_concept_id,
                 'diagnosis|' || code AS condition_source_value, id AS condition_source_concept_id
          FROM ({diagnoses}) d JOIN codes USING (code, version) JOIN unit_stays u ON d.stay_id = u.stay
        """,
        "measurement": f"""
          SELECT {ids}, concept AS measurement_concept_id, 0 AS measurement_source_concept_id,
                 "table" || '|' || itemid AS measurement_source_value, 32817 AS measurement_type_concept_id,
                 intime + to_minutes(m.minutes::INTEGER) AS measurement_datetime,
                 measurement_datetime::DATE AS measurement_date, number::DOUBLE AS value_as_number,
                 text AS value_source_value, unit AS unit_concept_id
          FROM measured m JOIN unit_stays USING (stay)
        """,
    }
    write(connection, root, queries, ".parquet")
    rows = connection.execute("SELECT id, code, if(version = 9, 'ICD9CM', 'ICD10CM') FROM codes").fetchall()
    with open(root / "CONCEPT.csv", "w", encoding="utf-8") as file:
        file.write("concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tconcept_code\n")
        file.write('1\ta "name, as it stands\tCondition\tSNOMED\tDisorder\t1\n')
        file.writelines(f"{number}\tx\tCondition\t{vocabulary}\tx\t{code}\n" for number, code, vocabulary in rows)
    return connection
