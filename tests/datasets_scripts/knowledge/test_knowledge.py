# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from datasets_scripts import build_knowledge, generate_rationales
from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from datasets_scripts.knowledge.base import builtin_entries, builtin_knowledge, load_knowledge
from datasets_scripts.knowledge.own_terms import own_knowledge
from datasets_scripts.llm.guard import LeavesMachineError
from datasets_scripts.sources.channels import load_channels
from modeling_clinragen import PHENOTYPES, ClinRaGenInputError
from modeling_clinragen.clinical_clinragen import CHANNELS
from modeling_clinragen.links_clinragen import KnowledgeLinks
from tests.commands import run_script
from tests.datasets_scripts.llm.chat_server import ChatServer


LABELS = {phenotype["name"] for phenotype in PHENOTYPES}


def test_every_disease_has_terms_with_a_source():
    knowledge = builtin_knowledge()
    counts = Counter(disease for term in knowledge["terms"] for disease in term["diseases"])
    assert set(counts) == LABELS
    assert min(counts.values()) >= 12
    assert all(len(term["source"]) > 30 for term in knowledge["terms"])


def test_terms_are_distinct_and_findings_are_never_a_label():
    for named in (True, False):
        terms = [term for term in builtin_knowledge()["terms"] if (term["type"] == "name") == named]
        first = [term["term"].lower() for term in terms]
        assert len(first) == len(set(first))
        assert named or not {label.lower() for label in LABELS} & set(first)
        assert all(len(set(term["diseases"])) == len(term["diseases"]) for term in terms)


def test_every_disease_has_names_and_no_name_belongs_to_two():
    owner, counts = {}, Counter()
    for term in builtin_knowledge()["terms"]:
        if term["type"] == "name":
            assert len(term["diseases"]) == 1, term
            counts.update(term["diseases"])
            for form in (term["term"], *term["synonyms"]):
                assert owner.setdefault(form.lower(), term["term"]) == term["term"], form
    assert set(counts) == LABELS
    assert not {"arf", "mi", "af", "vt", "cardiac arrest", "cardiomyopathy"} & set(owner)


@pytest.mark.parametrize(
    ("name", "disease"),
    [
        ("CHF", "Congestive heart failure; nonhypertensive"),
        ("infarction, acute myocardial", "Acute myocardial infarction"),
        ("ESRD", "Chronic kidney disease"),
        ("sick sinus syndrome", "Cardiac dysrhythmias"),  # ICD-9-CM 427.81
        ("hepatic encephalopathy", "Other liver diseases"),  # 572.2
        ("DKA", "Diabetes mellitus with complications"),  # 250.1
        ("acidosis", "Fluid and electrolyte disorders"),  # 276.2
        ("PNA", "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"),
    ],
)
def test_names_are_those_of_the_category(name, disease):
    (term,) = (
        term
        for term in builtin_knowledge()["terms"]
        if term["type"] == "name" and name in (term["term"], *term["synonyms"])
    )
    assert term["diseases"] == [disease]


def test_patterns_name_known_channels():
    channels = {channel["name"] for name in ("paper", "extended") for channel in load_channels(name)}
    patterns = [term["pattern"] for term in builtin_knowledge()["terms"] if term["pattern"]]
    assert len(patterns) > 80
    assert {pattern["channel"] for pattern in patterns} <= channels
    laboratory = (
        "Creatinine, Lactate, Total bilirubin, Troponin T, Hemoglobin, Platelets, Sodium, Potassium, "
        "White blood cells, Blood urea nitrogen, Bicarbonate, Carbon dioxide pressure, Oxygen pressure"
    )
    assert set(laboratory.split(", ")) <= {pattern["channel"] for pattern in patterns}


def test_a_name_that_is_a_finding_of_another_disease_has_all_its_forms():
    (finding,) = (t for t in builtin_knowledge()["terms"] if t["term"] == "pneumonia" and t["type"] != "name")
    assert "PNA" in finding["synonyms"]
    assert "Septicemia (except in labor)" in finding["diseases"]


def test_names_are_not_searched_for_in_documents():
    kinds = {kind for _, kind, _ in builtin_entries()}
    assert kinds
    assert "name" not in kinds
    assert "name" in {kind for _, kind, _ in builtin_entries(names=True)}


def test_round_trip(tmp_path):
    build_knowledge.main(["--corpus", "builtin", "--output", str(tmp_path / "knowledge.json")])
    assert load_knowledge(tmp_path / "knowledge.json") == builtin_knowledge()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["knowledge.json", "knowledge.md"]
    report = (tmp_path / "knowledge.md").read_text()
    assert f"{len(builtin_knowledge()['terms'])} terms of 25 diseases" in report
    assert "| Shock / " in report or "/ Shock |" in report


def test_report_counts_the_tokens_of_a_tokenizer(tmp_path):
    build_knowledge.main(["--corpus", "builtin", "--output", str(tmp_path / "knowledge.json")])
    tokenizer = AutoTokenizer.from_pretrained(resolve_checkpoint(MINILM))
    tokens = set()
    for term in builtin_knowledge()["terms"]:
        tokens |= set(tokenizer.tokenize(term["term"]))
    assert f"|V_k|: {len(tokens)} distinct tokens" in (tmp_path / "knowledge.md").read_text()


def test_builtin_terms_cite_the_source_of_each_of_their_diseases():
    knowledge = builtin_knowledge()
    for term in knowledge["terms"]:
        assert [cited["disease"] for cited in term["provenance"]] == term["diseases"]
        assert {cited["offset"] for cited in term["provenance"]} == {None}
        assert term["source"] == knowledge["documents"][term["provenance"][0]["document"]]["title"]
    assert {cited["document"] for term in knowledge["terms"] for cited in term["provenance"]} == set(
        knowledge["documents"]
    )


def test_builtin_knowledge_for_own_labels(tmp_path):
    labels = tmp_path / "labels.yaml"
    labels.write_text("labels:\n- {name: Shock, ccs: [249]}\n- {name: Gout, ccs: [54]}\n")
    build_knowledge.main(["--corpus", "builtin", "--labels", str(labels), "--output", str(tmp_path / "k.json")])
    knowledge = load_knowledge(tmp_path / "k.json")
    assert knowledge["labels"] == ["Shock", "Gout"]
    whole = [term["term"] for term in builtin_knowledge()["terms"] if "Shock" in term["diseases"]]
    assert {term["term"] for term in knowledge["terms"]} == set(whole)
    assert {disease for term in knowledge["terms"] for disease in term["diseases"]} == {"Shock"}
    labels.write_text("labels:\n- {name: Gout, ccs: [54]}\n")
    with pytest.raises(ClinRaGenInputError, match="knows none of the labels"):
        build_knowledge.main(["--corpus", "builtin", "--labels", str(labels), "--output", str(tmp_path / "k2.json")])


BLOCK = """\
  "Septicemia (except in labor)":
    source: sepsis3
    name: [sepsis | septicemia]
    laboratory pattern: ["low platelets ^ssc", "high lactate @ Lactate high"]
"""


def test_a_block_of_builtin_yaml_is_read_in_a_file_of_ones_own(tmp_path):
    (tmp_path / "k.yaml").write_text(f"diseases:\n{BLOCK}")
    knowledge = own_knowledge(tmp_path / "k.yaml", ["Septicemia (except in labor)"])
    whole = {(term["term"], term["type"]): term["source"] for term in builtin_knowledge()["terms"]}
    assert {term["term"] for term in knowledge["terms"]} == {"sepsis", "low platelets", "high lactate"}
    for term in knowledge["terms"]:
        assert term["source"] == whole[term["term"], term["type"]] or term["type"] == "name"


def test_own_terms_may_extend_the_builtin_ones(tmp_path, caplog):
    gout = (
        "extends: builtin\nsource: my reading\n"
        "diseases: {Gout: {sign: [tophi, slow pulse @ Heart rate low, fast pulse @ HeartRate high]}}"
    )
    (tmp_path / "k.yaml").write_text(gout)
    terms = own_knowledge(tmp_path / "k.yaml", ["Shock", "Gout"])["terms"]
    assert [term for term in terms if term["diseases"] == ["Shock"]] == builtin_knowledge(["Shock", "Gout"])["terms"]
    assert {term["term"]: term["source"] for term in terms if "Gout" in term["diseases"]} == {
        "tophi": "my reading",
        "slow pulse": "my reading",
        "fast pulse": "my reading",
    }
    for channel in ("Heart rate", "HeartRate"):
        assert f"no built-in channel is called {channel!r}; did you mean 'Heart Rate'?" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corpus", "nowhere"], "no such file or folder"),
        (["--corpus", "builtin", "--labels", "nothing.yaml"], "nothing.yaml: there is no such file; give phenotypes"),
        (["--corpus", "builtin", "--tokenizer", "nowhere/nothing"], "no tokenizer"),
        (["--corpus", "builtin", "--output", "k.md"], "use .json"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(tmp_path, arguments, message):
    done = run_script(build_knowledge.__file__, "--output", tmp_path / "k.json", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert not list(tmp_path.iterdir())


CITED = {"disease": "a", "document": "d", "offset": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"provenance": []}, r"term 0: provenance missing"),
        ({"provenance": [{**CITED, "disease": "b"}]}, r"term 0 \(x\): a provenance names a disease that"),
        ({"provenance": [{**CITED, "document": "e"}]}, r"term 0 \(x\): document 'e'"),
        ({"provenance": [{**CITED, "offset": -1}]}, r"term 0 \(x\): the offset -1"),
        ({"pattern": {"channel": "Heart Rate", "direction": "up"}}, r"term 0 \(x\): a pattern needs"),
        ({"diseases": ["b"]}, r"term 0 \(x\): disease 'b'"),
        ({"diseases": ["a", "a"]}, r"term 0 \(x\): a disease is repeated"),
        ({"diseases": "a"}, r"term 0: diseases is 'a', not a list"),
        ({"diseases": [["a"]]}, r"term 0: diseases\[0\] is \['a'\], not text"),
        ({"term": 3}, r"term 0: term is 3, not text"),
        ({"term": "  "}, r"term 0: its name is blank"),
        ({"type": ["sign"]}, r"term 0: type is \['sign'\], not text"),
        ({"source": 1}, r"term 0: source is 1, not text"),
        ({"synonyms": "y"}, r"term 0: synonyms is 'y', not a list"),
        ({"synonyms": [None]}, r"term 0: synonyms\[0\] is None, not text"),
        ({"pattern": "high"}, r"term 0: pattern is 'high', not null or an object"),
        ({"pattern": {"channel": 4, "direction": "high"}}, r"term 0: pattern.channel is 4, not text"),
        ({"pattern": {"channel": "pH", "direction": []}}, r"term 0: pattern.direction is \[\], not text"),
        ({"provenance": [7]}, r"term 0: provenance\[0\] is 7, not an object"),
        ({"provenance": {"disease": "a"}}, r"term 0: provenance is .* not a list"),
        ({"provenance": [{**CITED, "disease": ["a"]}]}, r"term 0: provenance\[0\].disease is \['a'\], not text"),
        ({"provenance": [{**CITED, "score": "1"}]}, r"term 0: provenance\[0\].score is '1', not null or a number"),
        ({"provenance": [{**CITED, "offset": True}]}, r"term 0 \(x\): the offset True"),
    ],
)
def test_terms_that_do_not_fit_the_file_are_refused(tmp_path, change, message):
    term = {"term": "x", "type": "sign", "source": "s", "diseases": ["a"], "provenance": [CITED]}
    whole = {"schema_version": 2, "labels": ["a"], "documents": {"d": {}}, "settings": {}}
    path = tmp_path / "knowledge.json"
    path.write_text(json.dumps({**whole, "terms": [term]}))
    assert load_knowledge(path)["terms"] == [term]
    path.write_text(json.dumps({**whole, "terms": [{**term, **change}]}))
    with pytest.raises(ClinRaGenInputError, match=message):
        load_knowledge(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no knowledge file"),
        ("{", "not a JSON"),
        ("[]", "holds no terms"),
        ('{"labels": [], "terms": []}', "holds no terms"),
        ('{"schema_version": 1, "labels": ["a"], "terms": [{"term": "x"}]}', "schema_version is 1, .* make it again"),
        ('{"schema_version": 2, "labels": ["a"], "terms": [{"term": "x"}], "settings": {}}', "documents missing"),
        ('{"schema_version": 2, "labels": [], "terms": [4], "documents": {}, "settings": {}}', "term 0: term, type"),
        ('{"schema_version": 2, "labels": [3], "terms": [4], "documents": {}, "settings": {}}', r"labels\[0\] is 3"),
        (
            '{"schema_version": 2, "labels": [], "terms": [4], "documents": {"d": 1}, "settings": {}}',
            "documents.d is 1",
        ),
        ("", "not a JSON"),
        ("[" * 100_000, "not a JSON"),
        ('{"terms": "x"}', "holds no terms"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    path = tmp_path / "knowledge.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClinRaGenInputError, match=message):
        load_knowledge(path)


def test_a_repeated_term_is_refused_but_a_name_may_be_a_finding_too(tmp_path):
    term = {"term": "x", "type": "sign", "source": "s", "diseases": ["a"], "provenance": [CITED]}
    whole = {"schema_version": 2, "labels": ["a"], "documents": {"d": {}}, "settings": {}}
    path = tmp_path / "knowledge.json"
    path.write_text(json.dumps({**whole, "terms": [term, {**term, "type": "name"}]}))
    assert len(load_knowledge(path)["terms"]) == 2
    path.write_text(json.dumps({**whole, "terms": [{**term, "term": "y"}, term, {**term, "type": "symptom"}]}))
    with pytest.raises(ClinRaGenInputError, match=r"term 2 \(x\): term 1 is the same"):
        load_knowledge(path)


JUNK = st.sampled_from([None, "x", "", -1, 7, 1e300, float("nan"), [], {}, [None], {"a": 1}, True])


@settings(max_examples=300)
@given(data=st.data())
def test_a_file_with_any_one_value_changed_is_refused_in_a_line_or_usable(tmp_path_factory, data):
    """Every accepted file is sufficient for looking up terms."""
    knowledge = json.loads(json.dumps(builtin_knowledge(["Shock"])))
    inside = knowledge
    while True:  # down to a value, or to a list or an object on the way
        key = data.draw(st.sampled_from(list(inside) if isinstance(inside, dict) else range(len(inside))))
        part = inside[key]
        if not isinstance(part, dict | list) or not part or data.draw(st.integers(0, 3)) == 0:
            break
        inside = part
    inside[key] = data.draw(JUNK)
    path = tmp_path_factory.mktemp("junk") / "knowledge.json"
    path.write_text(json.dumps(knowledge))
    try:
        terms = load_knowledge(path)["terms"]
    except ClinRaGenInputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert KnowledgeLinks(terms, ["Shock"], CHANNELS)


def test_when_the_teacher_gets_no_knowledge_then_it_ends_with_one_line(tmp_path):
    (tmp_path / "empty.json").write_text(json.dumps({"labels": [], "terms": []}))
    arguments = ["--dataset", tmp_path, "--teacher", "template", "--knowledge", tmp_path / "empty.json"]
    done = run_script(generate_rationales.__file__, *arguments, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "clinragen_dataset.json missing" in done.stderr


def test_a_language_model_extracts_what_the_sentences_hold(tmp_path):
    """Through the command, over HTTP: terms that are in the sentence they cite are kept, others are counted."""
    sentences = "Patients have crackles at the base. A new infiltrate is seen on the chest film."
    documents = [
        {"id": f"d{i}", "text": f"Pneumonia, report {i}. {sentences}" if i < 5 else f"Gout of toe {i} is painful."}
        for i in range(10)
    ]
    corpus = tmp_path / "documents.jsonl"
    corpus.write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    labels = tmp_path / "labels.yaml"
    labels.write_text("labels: [{name: Pneumonia, ccs: [122]}]")

    def extract(body):
        lines = body["messages"][-1]["content"].rpartition("Disease: ")[2].splitlines()[1:]
        found = [(n, "infiltrate", line) for n, line in enumerate(lines, 1) if "infiltrate" in line]
        terms = [{"term": "new infiltrate", "type": "imaging", "sentence": n} for n, *_ in found]
        terms += [{"term": "ground glass", "type": "imaging", "sentence": 1}]
        return json.dumps({"terms": terms})

    arguments = ["--corpus", str(corpus), "--labels", str(labels), "--output", str(tmp_path / "knowledge.json")]
    with ChatServer(extract) as server:
        build_knowledge.main([*arguments, "--extractor", "openai:m", "--base-url", server.url, "--top-k", "4"])
    knowledge = load_knowledge(tmp_path / "knowledge.json")
    (term,) = knowledge["terms"]
    assert (term["term"], term["type"], term["diseases"]) == ("new infiltrate", "imaging", ["Pneumonia"])
    assert knowledge["settings"]["prompt"] == "extraction-1"
    for cited in term["provenance"]:
        text = next(d["text"] for d in documents if d["id"] == cited["document"])
        assert text[cited["offset"] :].startswith(cited["sentence"])
        assert "new infiltrate" in cited["sentence"]
    assert "not in the sentence it cites" in (tmp_path / "knowledge.md").read_text(encoding="utf-8")


def test_a_hospitals_own_documents_stay_on_the_machine(tmp_path):
    (tmp_path / "guideline.txt").write_text("Our guideline for pneumonia. Give oxygen.")
    arguments = ["--corpus", str(tmp_path / "guideline.txt"), "--output", str(tmp_path / "knowledge.json")]
    with pytest.raises(LeavesMachineError, match="nothing was sent"):
        build_knowledge.main([*arguments, "--extractor", "openai:m", "--base-url", "http://203.0.113.7/v1"])
