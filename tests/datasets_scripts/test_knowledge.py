# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
from collections import Counter

import pytest

from datasets_scripts import build_knowledge
from datasets_scripts.knowledge.base import builtin_knowledge, load_knowledge
from modeling_clinragen import CHANNELS, PHENOTYPES, ClinRaGenInputError


LABELS = {phenotype["name"] for phenotype in PHENOTYPES}


def test_every_disease_has_terms_with_a_source():
    knowledge = builtin_knowledge()
    counts = Counter(disease for term in knowledge["terms"] for disease in term["diseases"])
    assert set(counts) == LABELS
    assert min(counts.values()) >= 12
    assert all(len(term["source"]) > 30 for term in knowledge["terms"])


def test_terms_are_distinct_and_never_a_label():
    terms = builtin_knowledge()["terms"]
    names = [term["term"].lower() for term in terms]
    assert len(names) == len(set(names))
    assert not {label.lower() for label in LABELS} & set(names)
    assert all(len(set(term["diseases"])) == len(term["diseases"]) for term in terms)


def test_patterns_name_known_channels():
    channels = {channel["name"] for channel in CHANNELS}
    patterns = [term["pattern"] for term in builtin_knowledge()["terms"] if term["pattern"]]
    assert len(patterns) > 15
    assert {pattern["channel"] for pattern in patterns} <= channels


def test_round_trip(tmp_path):
    build_knowledge.main(["--corpus", "builtin", "--output", str(tmp_path / "knowledge.json")])
    assert load_knowledge(tmp_path / "knowledge.json") == builtin_knowledge()
    assert [path.name for path in tmp_path.iterdir()] == ["knowledge.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no knowledge file"),
        ("{", "no JSON"),
        ("[]", "holds no terms"),
        ('{"labels": [], "terms": []}', "holds no terms"),
        ('{"labels": ["a"], "terms": [{"term": "x"}]}', "term 0: type, diseases, source missing"),
        ('{"labels": ["a"], "terms": [{"term": "x", "type": "t", "source": "s", "diseases": ["b"]}]}', "disease 'b'"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    path = tmp_path / "knowledge.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClinRaGenInputError, match=message):
        load_knowledge(path)


def test_when_the_teacher_gets_no_knowledge_then_it_ends_with_one_line(tmp_path):
    (tmp_path / "empty.json").write_text(json.dumps({"labels": [], "terms": []}))
    done = subprocess.run(
        [
            sys.executable,
            "datasets_scripts/generate_rationales.py",
            "--dataset",
            str(tmp_path),
            "--teacher",
            "template",
        ]
        + ["--knowledge", str(tmp_path / "empty.json"), "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "clinragen_dataset.json missing" in done.stderr
