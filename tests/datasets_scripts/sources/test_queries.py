# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A fault in a query of a database's description is one line that names the file and the query."""

import pytest

from datasets_scripts.dataset import build as building
from datasets_scripts.sources.reader import load_source
from modeling_clinragen import ClinRaGenInputError
from tests.datasets_scripts.sources.test_amsterdamumcdb import base_tables, build


WHERE = "amsterdamumcdb.yaml, query "
NOTE = "SELECT stay_id, 'Note' AS kind, 0 AS rank, 'text' AS text, intime AS stored FROM stays"


def build_with(tmp_path, monkeypatch, *options, **queries):
    faulty = load_source("amsterdamumcdb") | queries
    monkeypatch.setattr(building, "load_source", lambda name: faulty)
    return build(tmp_path, base_tables(), *options)


@pytest.mark.parametrize(
    ("field", "query", "said"),
    [
        ("stays", "SELEC 1", 'stays: Parser Error: syntax error at or near "SELEC"'),
        ("stays", "SELECT nr AS stay_id FROM admissions", 'stays: Binder Error: Referenced column "nr" not found'),
        ("stays", "SELECT admissionid AS stay FROM admissions", "stays: it has no column age, intime, outtime"),
        ("prepare", ["CREATE TABLE a AS SELECT 1", "CREATE TABLE b AS FROM nowhere"], "2 of prepare: Catalog Error"),
        ("diagnoses", "SELECT stay_id, code FROM stays", 'diagnoses: Binder Error: Referenced column "code"'),
        ("diagnoses", "SELECT stay_id, '486' AS code FROM stays", "diagnoses: it has no column version"),
        ("diagnosed", "SELECT stay_id FROM stay", "diagnosed: Catalog Error: Table with name stay does not exist"),
        ("events", ["SELECT stay_id, intime AS time FROM stays"], "1 of events: it has no column itemid, table"),
        ("notes", NOTE.replace("kind", "sort"), "notes: it has no column kind"),
        ("documents", NOTE.replace("stays", "letters"), "documents: Catalog Error"),
        ("note_sections", {"drugs": {"table": "admissions", "query": "FROM x"}}, "drugs of note_sections: Catalog"),
        ("losses", ["SELECT 'a line' WHERE len(1, 2)"], "1 of losses: Binder Error"),
    ],
)
def test_the_line_names_file_and_query(tmp_path, monkeypatch, field, query, said):
    with pytest.raises(ClinRaGenInputError) as error:
        build_with(tmp_path, monkeypatch, **{field: query})
    assert str(error.value).startswith(WHERE + said)
    assert "\n" not in str(error.value)


def test_new_patients_need_no_sound_query_of_diagnoses(tmp_path, monkeypatch):
    rows, _ = build_with(tmp_path, monkeypatch, "--unlabelled", diagnoses="SELEC", prepare_diagnoses=["SELEC"])
    assert set(rows) == {"10", "11", "20", "30"}
