# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The public extractions themselves, MIMIC-IV-MEDS 0.2 and eICU-MEDS 0.1, run on raw tables.

What an extraction leaves out or moves is left out and moved in a copy of the tables, too: of that copy the direct path
must make the very same rows as the mapping of the extraction's folder.
"""

import gzip
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets_scripts import build_dataset
from datasets_scripts.sources.synthetic import write_synthetic_tables
from tests.datasets_scripts.sources.raw_tables import rows


pytestmark = pytest.mark.nightly
TOOLS = ("MIMIC-IV-MEDS==0.2.0", "eICU-MEDS==0.1.0")
CONCEPTS = "itemid label omop_concept_name omop_vocabulary_id omop_concept_code"
# Columns of the tables that the extractions want and that the tables at hand lack; they are written empty.
MIMIC_IV = {
    "hosp/d_hcpcs": "code long_description short_description",
    "hosp/d_icd_procedures": "icd_code icd_version long_title",
    "hosp/drgcodes": "subject_id hadm_id drg_type drg_code description drg_severity drg_mortality",
    "hosp/emar": "subject_id hadm_id emar_id emar_seq pharmacy_id charttime medication event_txt",
    "hosp/hcpcsevents": "subject_id hadm_id chartdate short_description",
    "hosp/omr": "subject_id chartdate result_name result_value",
    "hosp/pharmacy": "subject_id hadm_id pharmacy_id poe_id starttime stoptime medication route frequency "
    "doses_per_24_hrs",
    "hosp/prescriptions": "subject_id hadm_id pharmacy_id drug_type ndc",
    "hosp/procedures_icd": "subject_id hadm_id icd_code icd_version",
    "hosp/transfers": "subject_id hadm_id eventtype careunit intime",
    "icu/inputevents": "subject_id hadm_id stay_id starttime endtime itemid amount amountuom rate rateuom orderid "
    "linkorderid ordercategorydescription statusdescription patientweight",
    "icu/outputevents": "subject_id hadm_id stay_id charttime itemid value valueuom",
    "icu/procedureevents": "subject_id hadm_id stay_id starttime endtime itemid",
    "d_labitems_to_loinc": CONCEPTS,
    "inputevents_to_rxnorm": CONCEPTS,
    "meas_chartevents_main": CONCEPTS,
    "outputevents_to_loinc": CONCEPTS,
    "proc_datetimeevents": CONCEPTS,
    "proc_itemid": CONCEPTS,
}
NUMBERS = ("subject_id", "hadm_id", "stay_id", "pharmacy_id", "itemid")
# With one row, for the extraction joins only columns of one type and reads it off the cells.
EICU = {
    "allergy": {"allergyenteredoffset": 0, "allergytype": "Drug", "allergyname": "x"},
    "carePlanEOL": {"cpleoldiscussionoffset": 0},
    "carePlanGeneral": {"cplitemoffset": 0, "cplgroup": "x", "cplitemvalue": "x"},
    "carePlanGoal": {"cplgoaloffset": 0, "cplgoalcategory": "x", "cplgoalvalue": "x", "cplgoalstatus": "x"},
    "carePlanInfectiousDisease": {"cplinfectdiseaseoffset": 0, "infectdiseasesite": "x",
                                  "infectdiseaseassessment": "x", "treatment": "x", "responsetotherapy": "x"},
    "infusionDrug": {"infusiondrugid": 1, "infusionoffset": 0, "drugname": "x", "drugrate": "x", "infusionrate": "x",
                     "drugamount": "x", "volumeoffluid": "x", "patientweight": "x"},
    "vitalPeriodic": {"vitalperiodicid": 1, "observationoffset": 7, "temperature": 37.1, "sao2": 96, "heartrate": 70,
                      "respiration": 15, "cvp": 9, "etco2": 30, "systemicsystolic": 120, "systemicdiastolic": 60,
                      "systemicmean": 80, "pasystolic": 20, "padiastolic": 10, "pamean": 15, "st1": 1, "st2": 1,
                      "st3": 1, "icp": 9},
}  # fmt: skip


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    """Run one of the extractions' programs, which lie in an environment of their own."""
    folder = tmp_path_factory.mktemp("tools")
    venv.create(folder, with_pip=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *TOOLS]
    installed = subprocess.run(pip, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"{' and '.join(TOOLS)} cannot be installed: {installed.stderr.strip().splitlines()[-1]}")

    def run(program, *arguments):
        path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # With one worker eICU-MEDS 0.1 does not start; of two, one may wait for the other in steps of five minutes.
        environment = {**os.environ, "PATH": path, "N_WORKERS": "2"}
        command = [folder / "bin" / program, *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    return run


def copy_of(tables, folder):
    return Path(shutil.copytree(tables, folder, ignore=shutil.ignore_patterns("note", "LICENSE*")))


def add_empty_tables(raw):
    for name, columns in MIMIC_IV.items():
        if not list(raw.glob(f"{name}.*")):
            types = {column: pa.int64() if column in NUMBERS else pa.string() for column in columns.split()}
            table = pa.schema(types).empty_table()
            if columns == CONCEPTS:
                table = table.rename_columns({"itemid": "itemid (omop_source_code)"})
            pq.write_table(table, raw / f"{name}.parquet")


def add_tables_of_one_row(raw):
    stay = gzip.decompress((raw / "patient.csv.gz").read_bytes()).decode().splitlines()[1].split(",")[0]
    for name, cells in EICU.items():
        row = {"patientunitstayid": stay, **cells}
        text = "\n".join(",".join(map(str, line)) for line in (row, row.values())) + "\n"
        (raw / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))


OPTIONS = "header = true, delim = ',', quote = '\"', escape = '\"', all_varchar = true"
# Each row with the unit stay that had begun last, or with the first; of several that begin together with the longest.
PLACED = """
WITH spans AS (
  SELECT patientunitstayid, patienthealthsystemstayid AS admission, -hospitaldischargeoffset::INT AS begin FROM patient
), longest AS (
  SELECT admission, begin, arg_max(patientunitstayid, (unitdischargeoffset::INT, patientunitstayid)) AS stay
  FROM spans JOIN patient USING (patientunitstayid) GROUP BY ALL
), firsts AS (SELECT admission, arg_min(stay, begin) AS stay, min(begin) AS begin FROM longest GROUP BY ALL)
SELECT r.* EXCLUDE (admission, minute)
       REPLACE (coalesce(s.stay, f.stay) AS patientunitstayid, minute - coalesce(s.begin, f.begin) AS {offset})
FROM (SELECT rows.*, admission, begin + {offset}::INT AS minute FROM {rows} JOIN spans USING (patientunitstayid)) r
ASOF LEFT JOIN longest s ON s.admission = r.admission AND r.minute >= s.begin
JOIN firsts f ON f.admission = r.admission
"""
ICD9 = r"^(\d{3}(\.\d{1,2})?|E\d{3}(\.\d)?|V\d{2}(\.\d{1,2})?)$"
ICD10 = r"^[A-TV-Z]\d[0-9A-Z](\.[0-9A-Z]{1,4})?$"


def change(raw, name, query):
    """Put the rows of a query, which reads a table as `rows`, in its place."""
    (file,) = raw.glob(f"{name}.csv.gz")
    aside = file.with_name("aside.csv.gz")
    connection = duckdb.connect()
    for table, path in (("rows", file), ("patient", raw / "patient.csv.gz")):
        if path.is_file():
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_csv('{path}', {OPTIONS})")
    connection.execute(f"COPY ({query}) TO '{aside}' (HEADER)")
    aside.replace(file)


def build(source, root, output, *options):
    options = ["--source", source, "--root", root, "--output", output, "--min-age", 0, *options]
    build_dataset.main(list(map(str, options)))
    return {stay: repr({k: v for k, v in row.items() if k != "source"}) for stay, row in rows(output).items()}


@pytest.mark.parametrize("patients", ["simulated", "mimic-iv-layout"])
def test_mimic_iv_reads_like_its_tables(tools, tmp_path, request, patients):
    if patients == "simulated":
        write_synthetic_tables(tmp_path / "simulated", 200, seed=0)
        tables = tmp_path / "simulated"
        for file in tables.rglob("*.csv.gz"):  # the extraction reads whole seconds
            text = re.sub(rb"(:\d\d:\d\d)\.\d+", rb"\1", gzip.decompress(file.read_bytes()))
            file.write_bytes(gzip.compress(text))
    else:
        tables = request.getfixturevalue("real_data") / patients
    raw = copy_of(tables, tmp_path / "raw")
    add_empty_tables(raw)
    tools("meds-extract-run", "spec=MIMIC-IV", f"output_dir={tmp_path}/meds", "do_download=false", f"input_dir={raw}")
    read = build("meds", tmp_path / "meds", tmp_path / "read", "--mapping", "mimic-iv")
    change(raw, "hosp/labevents", "SELECT * REPLACE (storetime AS charttime) FROM rows WHERE storetime <> ''")
    change(raw, "icu/chartevents", "SELECT * REPLACE ('' AS storetime) FROM rows")
    direct = build("mimic-iv", raw, tmp_path / "direct")
    assert read == direct
    if patients != "simulated":
        assert any("'ethnicity': 'WHITE'" in row for row in read.values())


def test_eicu_reads_like_its_tables(tools, tmp_path, real_data):
    raw = copy_of(real_data / "eicu-crd-demo", tmp_path / "raw")
    add_tables_of_one_row(raw)
    folder = tmp_path / "extracted"
    tools("MEDS_extract-eICU", f"root_output_dir={folder}", f"raw_input_dir={raw}", "do_download=False")
    read = build("meds", folder / "MEDS_output", tmp_path / "read", "--mapping", "eicu")
    for name in ("note", "pastHistory", "physicalExam", "respiratoryCharting", "treatment"):
        change(raw, name, "SELECT * FROM rows WHERE false")
    for name in ("vitalAperiodic", "vitalPeriodic"):
        change(raw, name, PLACED.format(rows="rows", offset="observationoffset"))
    revised = "(SELECT * REPLACE (labresultrevisedoffset AS labresultoffset) FROM rows) rows"
    change(raw, "lab", PLACED.format(rows=revised, offset="labresultoffset"))
    change(raw, "lab", "SELECT * REPLACE (labresultoffset AS labresultrevisedoffset) FROM rows")
    plain = f"regexp_matches(x, '{ICD9}') <> regexp_matches(x, '{ICD10}')"
    codes = f"array_to_string(list_filter(string_split(icd9code, ', '), lambda x: {plain}), ', ')"
    change(raw, "diagnosis", f"SELECT * REPLACE ({codes} AS icd9code) FROM rows")
    change(raw, "diagnosis", PLACED.format(rows="rows", offset="diagnosisoffset"))
    change(raw, "patient", "SELECT * REPLACE (patienthealthsystemstayid AS uniquepid, '' AS unittype) FROM rows")
    direct = build("eicu", raw, tmp_path / "direct")
    assert read == direct
