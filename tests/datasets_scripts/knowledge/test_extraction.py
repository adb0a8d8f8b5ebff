# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Terms from documents: phrases, types, patterns, both extractors, and a whole knowledge base with its provenance."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import build_knowledge
from datasets_scripts.knowledge.base import DIRECTIONS, Finding, collect_terms, load_knowledge
from datasets_scripts.knowledge.documents import Document, collect, read_files
from datasets_scripts.knowledge.extraction import Prompt, extract_by_model, forbidden_phrases, log_odds, names_label
from datasets_scripts.knowledge.phrases import TypeModel, mentions, stated_pattern
from datasets_scripts.knowledge.retrieval import load_encoder
from datasets_scripts.knowledge.words import american, label_forms, plain_phrase
from datasets_scripts.llm.chat import Answer
from datasets_scripts.sources.labels import load_labels


DOCUMENTS = Path(__file__).resolve().parents[2] / "data" / "medical_documents.jsonl"
SHOCK = {"name": "Shock", "synonyms": ["septic shock"]}


def terms_of(text):
    return {mention.text for mention in mentions(Document("d", text))}


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("Patients present with crushing chest pain and nausea.", {"crushing chest pain", "nausea"}, {"pain"}),
        ("Shortness of breath is common.", {"shortness of breath"}, {"shortness", "breath"}),
        ("There is no fever, cough or rash.", set(), {"fever", "cough", "rash"}),
        ("There is no fever, but rigors occur.", {"rigors"}, {"fever"}),
        ("Troponin and Staphylococcus aureus are found.", {"Staphylococcus aureus"}, {"staphylococcus aureus"}),
        ("Nimodipine prevents vasospasm.", {"nimodipine", "vasospasm"}, {"nimodipine prevents vasospasm"}),
        ("Hypoxia drives the heart, and norepinephrine squeezes vessels.", {"hypoxia"}, {"hypoxia drives"}),
        ("Typical causes of illness in patients.", set(), {"illness", "patients", "causes"}),
        ("A low sodium and the sodium.", {"low sodium"}, {"sodium"}),
    ],
)
def test_phrases(text, wanted, unwanted):
    found = terms_of(text)
    assert wanted <= found
    assert not unwanted & found


@given(st.text(alphabet="abcd of,.-S\n", max_size=120))
def test_every_mention_stands_in_its_sentence_and_document(text):
    for mention in mentions(Document("d", text)):
        assert text[mention.offset :].startswith(mention.sentence)
        assert mention.text.lower() in mention.sentence.lower()
        assert 1 <= len(mention.text.split()) <= 4


@pytest.mark.parametrize(
    ("term", "pattern"),
    [
        ("elevated heart rate", ("Heart Rate", "high")),
        ("tachycardia", ("Heart Rate", "high")),
        ("high fever", ("Temperature", "high")),
        ("hyperkalaemia", ("Potassium", "high")),
        ("low oxygen saturation", ("Oxygen saturation", "low")),
        ("falling mean arterial pressure", ("Mean blood pressure", "falling")),
        ("rapid weight loss", ("Weight", "falling")),
        ("weight gain", ("Weight", "rising")),
        ("heart rate", None),
        ("low-molecular-weight heparin", None),
        ("history of malignant hyperthermia", None),
        ("chest pain", None),
    ],
)
def test_patterns(term, pattern):
    assert stated_pattern(term) == pattern


@pytest.fixture(scope="module")
def encode():
    return load_encoder()


def test_types(encode):
    expected = {
        "atorvastatin": "drug",
        "colonoscopy": "procedure",
        "raised lipase": "laboratory pattern",
        "ground-glass opacity": "imaging",
        "splitting headache": "symptom",
        "tachycardia": "vital-sign pattern",
        "hyperglycaemia": "laboratory pattern",
        "Klebsiella oxytoca": "organism",
        "cigarette smoking": "history",
    }
    typed = TypeModel(encode)(list(expected))
    assert {term: kind for term, (kind, _) in zip(expected, typed, strict=True)} == expected
    (_, medical), (_, other) = TypeModel(encode)(["pleuritic chest pain", "railway timetable"])
    assert medical > 0.5 > 0.3 > other


def test_log_odds_by_hand():
    # 3 of 10 against 1 of 90 documents, prior of 10 documents: 0.4 expected
    expected = math.log(3.4 / 16.6) - math.log(1.4 / 98.6)
    assert log_odds(3, 10, 1, 90) == pytest.approx(expected / math.sqrt(1 / 3.4 + 1 / 1.4))


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 200), st.integers(1, 200))
def test_log_odds_are_positive_where_the_label_has_the_larger_share(inside, more, outside, beyond):
    size, rest = inside + more, outside + beyond
    score = log_odds(inside, size, outside, rest)
    if inside * rest == outside * size:
        assert score == pytest.approx(0, abs=1e-9)
    else:
        assert (score > 0) == (inside * rest > outside * size)


def test_a_phrase_of_every_document_scores_zero():
    assert log_odds(10, 10, 90, 90) == 0


def test_names_of_labels_are_not_terms():
    forbidden = forbidden_phrases([SHOCK, {"name": "Gout (acute)", "synonyms": ["podagra"]}])
    assert names_label(plain_phrase("profound shock"), forbidden["Shock"])
    assert names_label(plain_phrase("Gout"), forbidden["Shock"])
    assert not names_label(plain_phrase("podagra"), forbidden["Shock"])  # another label's synonym may be a term
    assert names_label(plain_phrase("podagra"), forbidden["Gout (acute)"])


def test_forms_of_a_term_are_one_and_diseases_share_it():
    documents = {"d": Document("d", "..."), "e": Document("e", "...", title="E", url="http://e", date="2020")}
    findings = [
        Finding("Oedemas", "sign", "A", "e", 3, "Oedemas.", 1.0),
        Finding("edema", "sign", "A", "d", 0, "edema", 1.0),
        Finding("edema", "sign", "B", "d", 0, "edema", 0.5),
        Finding("rash", "sign", "A", "d", 9, "rash", 0.2),
    ]
    edema, rash = collect_terms(findings, documents, max_terms=2)
    assert (edema["term"], edema["diseases"], edema["synonyms"]) == ("edema", ["A", "B"], ["Oedemas", "edemas"])
    assert edema["source"] == "E, http://e, 2020"
    assert [cited["document"] for cited in edema["provenance"]] == ["e", "d", "d"]
    assert rash["diseases"] == ["A"]
    (only,) = collect_terms(findings, documents, max_terms=1)
    assert only["term"] == "edema"


def test_a_model_may_only_copy():
    text = "Shock makes the skin cold and clammy. Norepinephrine restores pressure. Septic shock is frequent."
    asked = []

    def ask(requests):
        for request in requests:
            asked.append(request)
            terms = [("Cold and clammy", 1), ("norepinephrine", 2), ("vasopressin", 2), ("norepinephrine", 1)]
            terms += [("septic shock", 3), ("pressure", 9), ("shock makes the skin cold and clammy", 1)]
            value = [{"term": term, "type": "sign", "sentence": number} for term, number in terms]
            yield Answer({"terms": value}) if len(asked) == 1 else Answer(None, "no JSON")

    documents = [Document("d", text), Document("e", "Nothing.")]
    findings, dropped = extract_by_model([SHOCK], {"Shock": documents}, ask)
    assert [(f.term, f.sentence, f.offset) for f in findings] == [
        ("Cold and clammy", "Shock makes the skin cold and clammy.", 0),
        ("norepinephrine", "Norepinephrine restores pressure.", 38),
    ]
    assert dropped == Counter(
        {"not in the sentence it cites": 2, "names a label": 2, "cites no sentence": 1, "no answer: no JSON": 1}
    )
    system, user = asked[0].messages
    assert system["role"] == "system"
    assert "Disease: Shock\n[1] Shock makes" in user["content"]
    assert '{"terms": [' in user["content"]
    assert "vital-sign pattern" in asked[0].schema["properties"]["terms"]["items"]["properties"]["type"]["enum"]


def test_the_score_of_a_model_is_its_number_of_documents():
    def ask(requests):
        for _ in requests:
            yield Answer({"terms": [{"term": "cold skin", "type": "sign", "sentence": 1}]})

    documents = [Document("d", "Cold skin."), Document("e", "A cold skin.")]
    findings, dropped = extract_by_model([SHOCK], {"Shock": documents}, ask)
    assert [finding.score for finding in findings] == [2.0, 2.0]
    assert not dropped


def test_prompts_state_their_version():
    assert Prompt.load("extraction-1").version == "extraction-1"
    with pytest.raises(ValueError, match="no prompt extraction-0; there are extraction-1"):
        Prompt.load("extraction-0")


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory):
    output = tmp_path_factory.mktemp("knowledge") / "knowledge.json"
    build_knowledge.main(["--corpus", str(DOCUMENTS), "--output", str(output)])
    return load_knowledge(output), output


@pytest.mark.slow
def test_every_disease_has_terms_of_several_types(knowledge):
    terms = knowledge[0]["terms"]
    for label in knowledge[0]["labels"]:
        own = [term for term in terms if label in term["diseases"]]
        assert 20 <= len(own) <= 40
        assert len({term["type"] for term in own}) >= 5


@pytest.mark.slow
def test_provenance_holds_the_term(knowledge):
    texts = {document.id: document for document in collect(read_files(DOCUMENTS))}
    for term in knowledge[0]["terms"]:
        forms = [form.lower() for form in (term["term"], *term["synonyms"])]
        assert {cited["disease"] for cited in term["provenance"]} == set(term["diseases"])
        for cited in term["provenance"]:
            text, sentence = texts[cited["document"]].text, cited["sentence"]
            assert text[cited["offset"] : cited["offset"] + len(sentence)] == sentence
            assert any(form in sentence.lower() for form in forms)
            assert knowledge[0]["documents"][cited["document"]]["title"] == texts[cited["document"]].title


@pytest.mark.slow
def test_no_term_names_a_label(knowledge):
    labels = {label["name"]: label for label in load_labels("phenotypes")}
    names = [form for label in labels.values() for form in label_forms({"name": label["name"]})]
    for term in knowledge[0]["terms"]:
        own = [form for disease in term["diseases"] for form in label_forms(labels[disease])]
        written = f" {american(term['term'])} "
        assert not [form for form in (*names, *own) if f" {form} " in written]
        assert term["pattern"] is None or term["pattern"]["direction"] in DIRECTIONS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disease", "wanted"),
    [
        ("Shock", {"lactate", "vasopressors", "capillary refill"}),
        ("Gastrointestinal hemorrhage", {"haematemesis", "peptic ulcer", "variceal bleeding"}),
        ("Congestive heart failure; nonhypertensive", {"third heart sound", "ejection fraction", "leg oedema"}),
        ("Other liver diseases", {"asterixis", "jaundice", "spider angiomas"}),
    ],
)
def test_findings_of_textbooks_are_found(knowledge, disease, wanted):
    assert wanted <= {term["term"] for term in knowledge[0]["terms"] if disease in term["diseases"]}


@pytest.mark.slow
def test_forms_of_a_term_are_not_listed_twice(knowledge):
    plain = [plain_phrase(term["term"]) for term in knowledge[0]["terms"]]
    assert len(plain) == len(set(plain))


@pytest.mark.slow
def test_report_shows_recall_and_documents(knowledge):
    report = knowledge[1].with_suffix(".md").read_text()
    assert "| disease | bm25 | dense | fused |" in report
    assert "| mean | 0." in report
    assert "## Retrieved documents" in report
    assert "corpus " in report.splitlines()[2]


def test_own_labels_and_the_same_bytes_again(tmp_path, caplog):
    labels, corpus = tmp_path / "labels.yaml", tmp_path / "corpus.jsonl"
    labels.write_text("labels:\n- {name: Gout, ccs: [54], synonyms: [podagra]}\n- {name: Migraine, ccs: [84]}\n")
    rows = [
        {
            "title": "Gout",
            "text": "Gout causes a swollen toe and high urate. Colchicine helps.",
            "diseases": ["Gouts"],
        },
        {"title": "Migraine", "text": "Migraine brings photophobia and a throbbing headache. Sumatriptan helps."},
        {"title": "Hip fracture", "text": "A fall breaks the hip. Surgery follows."},
    ]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    written = []
    for name in ("a", "b"):
        output = tmp_path / f"{name}.json"
        command = ["--corpus", str(corpus), "--labels", str(labels), "--top-k", "1", "--output", str(output)]
        build_knowledge.main([*command, "--terms", "5"])
        written.append((output.read_bytes(), output.with_suffix(".md").read_bytes()))
    assert written[0] == written[1]
    terms = {term["term"]: term["diseases"] for term in load_knowledge(output)["terms"]}
    assert terms["colchicine"] == ["Gout"]
    assert terms["throbbing headache"] == ["Migraine"]
    assert "such as 'Gouts'" in caplog.text
