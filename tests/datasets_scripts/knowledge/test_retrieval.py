# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval against naive formulas, and its recall on the documents of the tests and on the built-in knowledge."""

import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.knowledge.base import builtin_entries, parse_entry
from datasets_scripts.knowledge.documents import Document, collect, read_files, sentence_spans
from datasets_scripts.knowledge.queries import Query, queries_for
from datasets_scripts.knowledge.retrieval import (
    CONTRAST,
    DENSE_WEIGHT,
    Retriever,
    _compete,
    _fuse,
    cut_passages,
    evaluate_retrieval,
    load_encoder,
)
from datasets_scripts.knowledge.words import american, label_forms, plain_phrase, plain_word
from datasets_scripts.sources.labels import load_labels


DATA = Path(__file__).resolve().parents[2] / "data"


def encode_letters(texts):
    """Unit vectors of letter counts: a stand-in where meaning does not matter."""
    counts = np.array([[text.lower().count(chr(97 + i)) + 0.01 for i in range(26)] for text in texts])
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def encode():
    return load_encoder()


def naive_bm25(query, documents, k1=1.5, b=0.75):
    """Okapi's formula with Lucene's inverse document frequency, word by word."""
    mean_length = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            having = sum(word in other for other in documents)
            if having:
                idf = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
                times = document.count(word)
                score += idf * times / (times + k1 * (1 - b + b * len(document) / mean_length))
        scores.append(score)
    return scores


def test_bm25_ranks_as_the_formula_does():
    texts = [
        "fever cough sputum",
        "cough cough rales",
        "fracture hip",
        "sputum fever fever rales cough",
        "ankle cough",
    ]
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    retriever = Retriever(documents, encode_letters)
    query = ["fever", "sputum", "cough"]
    found = retriever.search([Query("fever", ["fever", "sputum cough"])])["fever"]["bm25"]
    expected = naive_bm25(query, [text.replace("rales", "rale").split() for text in texts])
    order = sorted((i for i in range(5) if expected[i] > 0), key=lambda i: -expected[i])
    assert [document.id for document in found] == [str(i) for i in order]
    scores = retriever._bm25(dict.fromkeys(query, 1.0))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_allclose(scores, retriever.bm25.get_scores(query), rtol=1e-5)


def test_dense_ranking_is_that_of_the_cosine():
    documents = [Document(str(i), text) for i, text in enumerate(["aaaa", "aabb", "bbbb", "cccc"])]
    found = Retriever(documents, encode_letters).search([Query("aaaaa", ["aaaaa"])])["aaaaa"]["dense"]
    assert [document.id for document in found][:2] == ["0", "1"]


def test_fused_scores_by_hand():
    lexical = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])  # (labels, documents)
    semantic = np.array([[0.5, 0.1, 0.3], [0.2, 0.2, 0.2]])
    total = [[(x - np.mean(row)) / np.std(row) for x in row] for row in lexical.tolist()] + DENSE_WEIGHT * np.array(
        [[(x - 0.3) / np.std([0.5, 0.1, 0.3]) for x in semantic[0]], [0, 0, 0]]
    )
    first, second = total[0] - CONTRAST * total[1], total[1] - CONTRAST * total[0]
    assert _fuse(lexical, semantic) == [np.argsort(-first).tolist(), np.argsort(-second).tolist()]


def test_queries_hold_the_known_terms_of_a_label():
    (query,) = queries_for([label for label in load_labels("phenotypes") if label["name"] == "Shock"])
    assert "septic shock" in query.names
    assert len(query.terms) > 10
    assert not any("@" in term or "|" in term or "^" in term for term in query.terms)
    assert "Cardiogenic shock" in query.titles
    own = {"name": "Atrial fibrillation", "codes": {"icd9": ["42731"], "icd10": ["I48"]}, "synonyms": ["afib"]}
    (query,) = queries_for([own])
    assert (query.terms, query.names) == ([], ["atrial fibrillation", "afib"])
    assert {"Atrial fibrillation", "Paroxysmal atrial fibrillation"} <= set(query.titles)


@given(st.text(alphabet="abA .!?\n(1", max_size=80))
def test_sentences_cover_all_but_white_space(text):
    spans = list(sentence_spans(text))
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    kept = "".join(text[start:end] for start, end in spans)
    closing = "\"')] \n"  # allowed between sentences
    assert [c for c in kept if c not in closing] == [c for c in text if c not in closing]


def test_abbreviations_end_no_sentence():
    text = "Diuretics, e.g. Furosemide, help. The dose is 2.5 mg. It varies."
    assert [text[start:end] for start, end in sentence_spans(text)] == [
        "Diuretics, e.g. Furosemide, help.",
        "The dose is 2.5 mg.",
        "It varies.",
    ]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_passages_keep_every_word_and_are_short(lengths):
    text = " ".join(" ".join(["Word"] + ["word"] * (n - 1)) + "." for n in lengths)
    passages = cut_passages(Document("d", text), length=40)
    assert " ".join(passages) == text
    assert max(len(passage.split()) for passage in passages) <= 40


def test_a_long_document_takes_its_best_passage():
    filler = "Nothing of note is written here about the weather. " * 60
    documents = [
        Document("long", filler + "Thyrotropin is raised in myxoedema. " + filler),
        *(Document(f"other {i}", filler) for i in range(3)),
    ]
    found = Retriever(documents, encode_letters).search([Query("Myxedema", ["myxedema"])])["Myxedema"]
    assert found["bm25"] == documents[:1]  # in British spelling, and the others hold no word of it


def test_labels_compete_for_documents():
    scores = np.array([[0.9, 0.5, 0.1], [0.8, 0.7, 0.0], [0.2, 0.7, 0.3]])  # (labels, documents)
    expected = [[0.9 - 0.4, 0.5 - 0.35, 0.1 - 0.15], [0.8 - 0.45, 0.7 - 0.35, -0.15], [0.2 - 0.45, 0.35, 0.3 - 0.05]]
    np.testing.assert_allclose(_compete(scores), expected)
    np.testing.assert_allclose(_compete(scores[:1]), scores[:1])  # a single label has no rival


def test_label_forms():
    (label,) = [label for label in load_labels("phenotypes") if label["name"].startswith("Pneumonia")]
    assert label_forms(label)[0] == "pneumonia"
    assert label_forms({"name": "Pleurisy; pneumothorax; pulmonary collapse"})[2] == "pulmonary collapse"


@pytest.mark.parametrize(
    ("word", "plain"),
    [
        ("Crackles", "crackle"),
        ("biopsies", "biopsy"),
        ("stenoses", "stenosis"),
        ("diabetes", "diabete"),
        ("Anaemia", "anemia"),
        ("oedema", "edema"),
        ("virus", "virus"),
        ("abscess", "abscess"),
        ("abscesses", "abscess"),
    ],
)
def test_plain_words(word, plain):
    assert plain_word(word) == plain
    assert plain_phrase(plain) == plain_phrase(word)


def test_american_spelling():
    assert (
        american("Hypoxaemia, diarrhoea and dyspnoea with a tumour") == "hypoxemia, diarrhea and dyspnea with a tumor"
    )


def test_recall_is_relative_to_what_can_be_found():
    documents = [Document(str(i), f"shock {'x' * i}", diseases=("Shock",)) for i in range(4)]
    documents.append(Document("none", "cough"))
    retriever = Retriever(documents, encode_letters)
    labels = [Query("Shock", ["shock"]), Query("Gout", ["gout"])]
    assert evaluate_retrieval(retriever, labels, k=2) == {"Shock": {"bm25": 1.0, "dense": 1.0, "fused": 1.0}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "least"), [("medical_documents", 0.99, 0.9), ("medical_documents_held_out", 0.97, 0.87)]
)
def test_recall_on_documents_written_for_it(encode, name, mean, least):
    """The settings were chosen on the first file; the second, by another author, was also seen."""
    documents = collect(read_files(DATA / f"{name}.jsonl"))
    assert len(documents) >= 200
    recalls = evaluate_retrieval(Retriever(documents, encode), queries_for(load_labels("phenotypes")))
    assert len(recalls) == 25
    for method in ("bm25", "dense", "fused"):
        found = [recall[method] for recall in recalls.values()]
        print(
            f"{name}, {method}: mean {np.mean(found):.3f}, least {min(found):.3f}, "
            f"{sum(recall >= 0.9 for recall in found)} diseases at 0.9"
        )
    assert np.mean(found) >= mean
    assert min(found) >= least
    for method in ("bm25", "dense"):
        assert np.mean([recall[method] for recall in recalls.values()]) < np.mean(found)


def builtin_documents():
    """Return the built-in knowledge as texts: one a disease and type of term, marked with its disease."""
    texts = defaultdict(list)
    for disease, kind, entry in builtin_entries():
        texts[disease, kind].append(f"{disease} goes with {', also called '.join(parse_entry(entry)[0])}.")
    return [
        Document(f"{disease}: {kind}", " ".join(parts), title=f"{disease}: {kind}", diseases=(disease,))
        for (disease, kind), parts in texts.items()
    ]


def test_recall_on_the_builtin_knowledge(encode):
    queries = queries_for(load_labels("phenotypes"), with_terms=False)  # they are the documents
    recalls = evaluate_retrieval(Retriever(builtin_documents(), encode), queries)
    assert len(recalls) == 25
    assert min(recall["fused"] for recall in recalls.values()) >= 0.9
