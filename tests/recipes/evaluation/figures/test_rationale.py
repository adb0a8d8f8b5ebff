# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Rationale scores against sacrebleu, nltk, rouge-score and hand calculation, on random texts and resamples."""

from types import SimpleNamespace

import nltk
import numpy as np
import pytest
import sacrebleu
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nltk.corpus.reader import WordNetCorpusReader
from nltk.corpus.util import LazyCorpusLoader
from nltk.stem.porter import PorterStemmer
from nltk.translate.bleu_score import corpus_bleu
from nltk.translate.meteor_score import meteor_score
from rouge_score.rouge_scorer import RougeScorer

from recipes.evaluation.figures.rationale import (
    NoSynonyms,
    bleu,
    find_wordnet,
    ngram_statistics,
    random_pairs,
    rationale_figures,
    rationale_metrics,
    rescaled_bertscore,
    tokenize,
)


WORDS = [
    "fever",
    "Fever",
    "cough",
    "points",
    "pointing",
    "to",
    "pneumonia.",
    "Patients'",
    "3.5",
    "&lt;7.2",
    "x-ray",
    "—",
]
texts = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=6)


def statistics_of(references, candidates):
    return np.array(
        [ngram_statistics(tokenize(r), tokenize(c)) for r, c in zip(references, candidates, strict=True)], dtype=float
    )


@given(pairs)
@settings(max_examples=100)
def test_bleu_is_that_of_sacrebleu_smoothed_or_not(pairs):
    references, candidates = map(list, zip(*pairs, strict=True))
    sums = statistics_of(references, candidates).sum(axis=0, keepdims=True)
    for smooth, method in ((True, "exp"), (False, "none")):
        expected = sacrebleu.corpus_bleu(candidates, [references], smooth_method=method).score
        assert 100 * bleu(sums, smooth)[0] == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(*[st.lists(st.sampled_from(WORDS), min_size=4, max_size=25).map(" ".join)] * 2), min_size=1))
@settings(max_examples=100)
@pytest.mark.filterwarnings("ignore:.*BLEU:UserWarning", "ignore:\n:UserWarning")
def test_the_papers_bleu_is_nltks_with_the_same_tokens(pairs):
    references, candidates = zip(*pairs, strict=True)
    tokenize_13a = sacrebleu.BLEU(tokenize="13a").tokenizer
    found = rationale_metrics(references, candidates)["paper_bleu"]
    wanted = [[tokenize_13a(text).split()] for text in references]
    expected = corpus_bleu(wanted, [tokenize_13a(text).split() for text in candidates])
    assert found == pytest.approx(expected, abs=1e-9)


@given(pairs, st.integers(0, 10_000))
@settings(max_examples=50)
def test_weighted_scores_are_those_of_repeated_records(pairs, seed):
    references, candidates = zip(*pairs, strict=True)
    weights = np.random.default_rng(seed).integers(0, 4, (2, len(pairs)))
    assume(weights.sum(axis=1).all())
    found = rationale_figures(references, candidates)(weights.astype(np.float32))
    for row, counts in enumerate(weights):
        repeated = [np.repeat(np.array(texts, dtype=object), counts).tolist() for texts in (references, candidates)]
        expected = rationale_metrics(*repeated)
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected)
        assert found["bleu"][row] == pytest.approx(sacrebleu.corpus_bleu(repeated[1], [repeated[0]]).score, abs=1e-9)


@given(pairs)
@settings(max_examples=50)
def test_rouge_is_that_of_the_library(pairs):
    references, candidates = zip(*pairs, strict=True)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    metrics = rationale_metrics(references, candidates)
    for name in ("rouge1", "rouge2", "rougeL"):
        expected = np.mean([scorer.score(r, c)[name].fmeasure for r, c in pairs])
        assert metrics[name] == pytest.approx(expected)


@given(pairs)
@settings(max_examples=50)
def test_meteor_is_that_of_nltk_with_the_same_tokens(pairs):
    references, candidates = zip(*pairs, strict=True)
    expected = [
        meteor_score([tokenize(r)], tokenize(c), stemmer=PorterStemmer(), wordnet=find_wordnet()) for r, c in pairs
    ]
    assert rationale_metrics(references, candidates)["meteor"] == pytest.approx(np.mean(expected))


def test_meteor_by_hand():
    # Matches: "fever", "points" with "pointing" by their stem, "to"; in two chunks.
    metrics = rationale_metrics(["fever points to sepsis"], ["pointing to it: fever"])
    precision, recall = 3 / 5, 3 / 4
    mean = precision * recall / (0.9 * precision + 0.1 * recall)
    assert metrics["meteor"] == pytest.approx(mean * (1 - 0.5 * (2 / 3) ** 3))


def test_words_have_synonyms_only_if_wordnet_is_installed(monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk.corpus, "wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, None))
    assert isinstance(find_wordnet(), NoSynonyms)
    assert rationale_metrics(["sick"], ["ill"])["meteor"] == 0
    lemmas = [SimpleNamespace(name=lambda: "sick"), SimpleNamespace(name=lambda: "ill")]
    synset = SimpleNamespace(lemmas=lambda: lemmas)
    installed = SimpleNamespace(ensure_loaded=lambda: None, synsets=lambda word: [synset] if word == "ill" else [])
    monkeypatch.setattr(nltk.corpus, "wordnet", installed)
    assert rationale_metrics(["sick"], ["ill"])["meteor"] == pytest.approx(0.5)


def test_lengths_and_repetition_are_means_over_records():
    metrics = rationale_metrics(["a b c", "d"], ["a b c a b c", ""])
    assert (metrics["words"], metrics["reference_words"]) == (3, 2)
    assert metrics["repetition"] == pytest.approx((1 / 4 + 0) / 2)  # of abc, bca, cab, abc one stood there before


def test_rationale_metrics_of_equal_and_of_foreign_texts():
    texts = ["fever and cough point to pneumonia in this note", "melena fits bleeding from the gut and nothing else"]
    same = rationale_metrics(texts, texts)
    assert same["bleu"] == pytest.approx(100)
    assert same["paper_bleu"] == pytest.approx(1)
    assert (same["rouge1"], same["rougeL"], same["repetition"]) == (1, 1, 0)
    assert same["meteor"] > 0.99
    foreign = rationale_metrics(texts, ["x y z x y z x y z", "nothing"])
    assert foreign["bleu"] < 5
    assert foreign["repetition"] > 0.2


def jaccard(references, candidates):
    """A scorer of shared words in the place of an encoder."""
    words = [(set(r.split()), set(c.split())) for r, c in zip(references, candidates, strict=True)]
    return {"f1": np.array([len(a & b) / len(a | b) for a, b in words])}


def test_bertscore_is_rescaled_by_what_different_references_share():
    references = [f"the record tells of {finding}" for finding in ("fever", "cough", "melena")]
    found = rescaled_bertscore(jaccard, references, [references[0], references[2], "nothing"])
    assert found["bertscore_f1"].tolist() == pytest.approx([1, 4 / 6, 0])
    assert found["bertscore_f1_rescaled"].tolist() == pytest.approx([1, 0, -2])  # the baseline is 4 / 6
    same = rescaled_bertscore(jaccard, references[:1] * 2, references[:2])
    assert np.isnan(same["bertscore_f1_rescaled"]).all()


def test_random_pairs_are_of_different_texts_each_as_likely_as_another():
    firsts, seconds = random_pairs(["a"] * 50 + ["b", "c"], pairs=3000, seed=1)
    assert all(a != b for a, b in zip(firsts, seconds, strict=True))
    for texts in (firsts, seconds):
        assert [texts.count(name) / 3000 for name in "abc"] == pytest.approx([1 / 3] * 3, abs=0.04)
    assert random_pairs(["a", "a"]) == ([], [])
