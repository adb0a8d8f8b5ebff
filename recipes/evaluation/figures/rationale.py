# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Closeness of written rationales to the teacher's. The statistics of each record are computed once; every figure is a
weighted sum of them, so intervals are cheap. Everything is computed offline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from recipes.evaluation.figures.intervals import once


if TYPE_CHECKING:
    from recipes.evaluation.figures.bertscore import BertScorer

MAX_ORDER = 4  # of BLEU's n-grams
ROUGE = ("rouge1", "rouge2", "rougeL")

Figures = Callable[[np.ndarray], dict[str, np.ndarray]]


def rationale_metrics(
    references: Sequence[str], candidates: Sequence[str], bertscore: BertScorer | None = None
) -> dict[str, float | None]:
    """
    Return the figures of `rationale_figures`, each record counted once; `None` where one is undefined.

    Args:
        references, candidates (lists of `str`): the teacher's and the model's, one per record; at least one record.
        bertscore (`BertScorer`, *optional*): without it there is no BERTScore.
    """
    return once(rationale_figures(references, candidates, bertscore), len(references))


def rationale_figures(
    references: Sequence[str], candidates: Sequence[str], bertscore: BertScorer | None = None
) -> Figures:
    """
    Return the closeness of rationales as a function of the records' weights.

    Of the whole corpus: `bleu` (0 to 100, as sacrebleu computes it) and `paper_bleu` (0 to 1, as the `evaluate`
    module "bleu" does: the same tokens, no smoothing). Means over records: F1 of `rouge1`, `rouge2` and `rougeL`,
    `meteor` (0 to 1, see `meteor_scores`), `words` and `reference_words`, `repetition` (the share of three-word
    sequences that repeat an earlier one), and where a scorer is given `bertscore_precision`, `_recall`
    and `_f1`, each also `_rescaled` (see `rescaled_bertscore`).
    """
    stemmer = CachedStemmer()
    tokens = [tuple(map(tokenize, pair)) for pair in zip(references, candidates, strict=True)]
    ngrams = np.array([ngram_statistics(*pair) for pair in tokens], dtype=float)  # (num_records, 2 + 2 * MAX_ORDER)
    means = {
        **rouge_scores(references, candidates, stemmer),
        "meteor": meteor_scores(tokens, stemmer),
        "words": np.array([len(candidate.split()) for candidate in candidates]),
        "reference_words": np.array([len(reference.split()) for reference in references]),
        "repetition": np.array([_repetition(candidate.split()) for candidate in candidates]),
        **(rescaled_bertscore(bertscore, references, candidates) if bertscore else {}),
    }

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = weights.astype(float)
        sums, total = weights @ ngrams, weights.sum(axis=1)
        return {
            "bleu": 100 * bleu(sums, smooth=True),
            "paper_bleu": bleu(sums, smooth=False),
            **{name: weights @ values / total for name, values in means.items()},
        }

    return figures


@lru_cache(maxsize=1)
def _tokenizer() -> Callable[[str], str]:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()


def tokenize(text: str) -> list[str]:
    """Tokenize as WMT's mteval-v13a, like sacrebleu and the `evaluate` module "bleu"."""
    return _tokenizer()(text.rstrip()).split()


def ngram_statistics(reference: list[str], candidate: list[str]) -> list[int]:
    """Return BLEU's counts of a record: both lengths, n-grams of the candidate in the reference, all n-grams."""
    matches, totals = [], []
    for order in range(1, MAX_ORDER + 1):
        wanted, written = _ngrams(reference, order), _ngrams(candidate, order)
        matches.append((wanted & written).total())
        totals.append(written.total())
    return [len(reference), len(candidate), *matches, *totals]


def _ngrams(tokens: list[str], order: int) -> Counter:
    return Counter(zip(*(tokens[i:] for i in range(order)), strict=False))


def bleu(sums: np.ndarray, smooth: bool) -> np.ndarray:
    """
    Return BLEU, 0 to 1, from summed statistics.

    Args:
        sums (array of shape `(num_resamples, 2 + 2 * MAX_ORDER)`): sums of `ngram_statistics` over records.
        smooth (`bool`): the k-th order without a match counts as 1 / 2**k of a match (sacrebleu's `exp`); otherwise a
            corpus with such an order has a BLEU of 0.

    Source: Papineni et al., 2002; smoothing: Chen and Cherry, 2014, method 3.
    """
    wanted, written = sums[:, 0], sums[:, 1]
    matches, totals = sums[:, 2 : 2 + MAX_ORDER], sums[:, 2 + MAX_ORDER :]
    if smooth:
        empty = np.cumsum(matches == 0, axis=1)
        matches = np.where((matches == 0) & (sums[:, 2:3] > 0), 0.5**empty, matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.where((matches > 0) & (totals > 0), np.log(matches / totals), -np.inf)
        brevity = np.where(written > 0, np.minimum(0.0, 1 - wanted / written), -np.inf)
    return np.exp(brevity + logarithms.mean(axis=1))


class CachedStemmer:
    """Porter's stems, as nltk and rouge-score use them, each word stemmed once."""

    def __init__(self):
        from nltk.stem.porter import PorterStemmer

        self.stem = lru_cache(maxsize=2**17)(PorterStemmer().stem)


class _RougeTokenizer:
    """rouge-score's own words, with cached stems."""

    def __init__(self, stemmer: CachedStemmer):
        self.stemmer = stemmer

    def tokenize(self, text: str) -> list[str]:
        from rouge_score.tokenize import tokenize

        return tokenize(text, self.stemmer)


def rouge_scores(references: Sequence[str], candidates: Sequence[str], stemmer: CachedStemmer) -> dict:
    """Return the F1 of each record by rouge-score, with stems."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), tokenizer=_RougeTokenizer(stemmer))
    scores = [scorer.score(reference, candidate) for reference, candidate in zip(references, candidates, strict=True)]
    return {name: np.array([score[name].fmeasure for score in scores]) for name in ROUGE}


class NoSynonyms:
    """Replaces WordNet where it is not installed: no word has a synonym."""

    @staticmethod
    def synsets(word: str) -> list:
        return []


def find_wordnet():
    """Return nltk's WordNet, or `NoSynonyms` where its data are not installed; nothing is downloaded."""
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return NoSynonyms()
    return wordnet


def meteor_scores(tokens: Sequence[tuple[list[str], list[str]]], stemmer: CachedStemmer) -> np.ndarray:
    """
    Return METEOR of each record by nltk: tokens are matched as they are, then by Porter's stem, then by synonyms where
    WordNet is installed (`rationale_settings` of `metrics.json` states whether it is).

    Args:
        tokens (list of pairs): of the reference and of the candidate.
    """
    from nltk.translate.meteor_score import single_meteor_score

    wordnet = find_wordnet()
    return np.array(
        [
            single_meteor_score(reference, candidate, stemmer=stemmer, wordnet=wordnet)
            for reference, candidate in tokens
        ]
    )


def _repetition(words: list[str]) -> float:
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


def rescaled_bertscore(scorer: BertScorer, references: Sequence[str], candidates: Sequence[str]) -> dict:
    """
    Return BERTScore of each record, raw and rescaled: `(score - baseline) / (1 - baseline)`, so that 0 is the score of
    two references of different records, which have only the dataset in common, and 1 that of identical texts. NaN if
    all references are the same.

    Source: Zhang et al., "BERTScore", ICLR 2020, Sec. 5. Differs from it: the baseline is the mean over random pairs
    of distinct references of this dataset instead of Common Crawl's sentences, which makes it higher.
    """
    firsts, seconds = random_pairs(references)
    scores = scorer([*references, *firsts], [*candidates, *seconds])
    found = {}
    for name, values in scores.items():
        raw, chance = values[: len(references)], values[len(references) :]
        baseline = chance.mean() if len(chance) else 1.0
        found[f"bertscore_{name}"] = raw
        found[f"bertscore_{name}_rescaled"] = (
            (raw - baseline) / (1 - baseline) if baseline < 1 else np.full(len(raw), np.nan)
        )
    return found


def random_pairs(texts: Sequence[str], pairs: int = 1000, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return random pairs of different texts, all distinct texts equally likely; none where all are the same."""
    distinct = sorted(set(texts))
    if len(distinct) < 2:
        return [], []
    generator = np.random.default_rng(seed)
    firsts = generator.integers(0, len(distinct), pairs)
    seconds = (firsts + generator.integers(1, len(distinct), pairs)) % len(distinct)
    return [distinct[i] for i in firsts], [distinct[i] for i in seconds]
