# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of diagnoses, probabilities, rationales and claims; all computed offline. Every value is ready for JSON."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from modeling_clinragen.note_claims_clinragen import DiagnosisFinder, check_note_claims
from recipes.evaluation.intervals import scores, set_figures


def diagnosis_metrics(gold: Sequence[Sequence[int]], predicted: Sequence[Sequence[int]], labels: list[str]) -> dict:
    """
    Precision, recall and F1 of predicted sets of diagnoses.

    Args:
        gold, predicted (lists of class-id lists): one per record.
        labels (`list[str]`): names in class-id order.

    Returns:
        `micro_*` over all cells, `macro_*` the mean over all labels, `weighted_*` that by their support,
        `exact_match` the share of records whose set is right, and `per_label`. A quotient without cases is 0, as in
        scikit-learn with `zero_division=0`.
    """
    true, guess = cells_of(gold, len(labels)), cells_of(predicted, len(labels))
    hits, guessed, actual = (true & guess).sum(axis=0), guess.sum(axis=0), true.sum(axis=0)
    precision, recall, f1 = scores(hits, guessed, actual)
    whole = set_figures(true, guess)(np.ones((1, len(true)), dtype=np.float32)) if len(true) else {}
    return {
        **{name: float(value[0]) for name, value in whole.items()},
        "per_label": {
            label: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(actual[i]),
                "predicted": int(guessed[i]),
            }
            for i, label in enumerate(labels)
        },
    }


def cells_of(sets: Sequence[Sequence[int]], num_labels: int) -> np.ndarray:
    """Lists of class ids as a bool array of shape `(num_records, num_labels)`."""
    cells = np.zeros((len(sets), num_labels), dtype=bool)
    for row, ids in zip(cells, sets, strict=True):
        row[list(ids)] = True
    return cells


def probability_metrics(gold: np.ndarray, probabilities) -> dict:
    """
    AUROC and AUPRC of probabilities.

    Args:
        gold (`np.ndarray` of shape `(num_records, num_labels)`): 1 where a record has the label.
        probabilities (array of the same shape): in [0, 1].

    Returns:
        `micro_*` over all cells, `macro_*` over the labels that have both kinds of records; `None` without any.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    gold, probabilities = np.asarray(gold).astype(int), np.asarray(probabilities, dtype=float)
    both = [i for i in range(gold.shape[1]) if 0 < gold[:, i].sum() < len(gold)]
    if not both:
        return {"micro_auroc": None, "micro_auprc": None, "macro_auroc": None, "macro_auprc": None}
    return {
        "micro_auroc": float(roc_auc_score(gold.ravel(), probabilities.ravel())),
        "micro_auprc": float(average_precision_score(gold.ravel(), probabilities.ravel())),
        "macro_auroc": float(np.mean([roc_auc_score(gold[:, i], probabilities[:, i]) for i in both])),
        "macro_auprc": float(np.mean([average_precision_score(gold[:, i], probabilities[:, i]) for i in both])),
    }


def rationale_metrics(references: Sequence[str], candidates: Sequence[str]) -> dict:
    """
    How close written rationales are to the teacher's: corpus BLEU (sacrebleu, 0-100), mean ROUGE F1 (0-1), words per
    rationale, and the share of repeated three-word sequences within a rationale.
    """
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_StemmingTokenizer())
    scores = [scorer.score(reference, candidate) for reference, candidate in zip(references, candidates, strict=True)]
    return {
        "bleu": float(sacrebleu.corpus_bleu(list(candidates), [list(references)]).score),
        **{
            name: float(np.mean([score[name].fmeasure for score in scores])) for name in ("rouge1", "rouge2", "rougeL")
        },
        "words": float(np.mean([len(candidate.split()) for candidate in candidates])),
        "reference_words": float(np.mean([len(reference.split()) for reference in references])),
        "repetition": float(np.mean([_repetition(candidate.split()) for candidate in candidates])),
    }


class _StemmingTokenizer:
    """rouge-score's own words and Porter stems, each word stemmed once: half of the time of a score is stemming."""

    def __init__(self):
        from nltk.stem.porter import PorterStemmer

        self.stem = lru_cache(maxsize=2**17)(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        from rouge_score.tokenize import tokenize

        return tokenize(text, self)  # which asks for `stem`


def _repetition(words: list[str]) -> float:
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if triples else 0.0


def claim_metrics(claims: Sequence[Sequence[dict]]) -> dict:
    """
    What became of the checkable claims of each record's rationale.

    Args:
        claims (lists of claims as `dict`): one list per record, as `check_claims` gives them.

    Returns:
        `claims` (number about a channel), `supported`, `contradicted` and `unverifiable` (their shares; `None` without
        claims), `records_with_contradiction` (share of records), and `per_kind` (counts of each verdict).
    """
    about = [[claim for claim in record if claim["channel"]] for record in claims]
    verdicts = Counter(claim["verdict"] for record in about for claim in record)
    kinds = defaultdict(Counter)
    for record in about:
        for claim in record:
            kinds[claim["kind"]][claim["verdict"]] += 1
    total = sum(verdicts.values())
    share = {name: verdicts[name] / total if total else None for name in ("supported", "contradicted", "unverifiable")}
    contradicted = sum(any(claim["verdict"] == "contradicted" for claim in record) for record in about)
    return {
        "claims": total,
        **share,
        "records_with_contradiction": contradicted / len(about) if about else None,
        "per_kind": {kind: dict(counts) for kind, counts in sorted(kinds.items())},
    }


def series_claim_counts(claims: Sequence[Sequence[dict]]) -> dict[str, np.ndarray]:
    """For each record how many of its claims about a channel have each verdict."""
    about = [Counter(claim["verdict"] for claim in record if claim["channel"]) for record in claims]
    return {name: np.array([counts[name] for counts in about]) for name in VERDICTS}


def note_claim_counts(notes: Sequence[str], rationales: Sequence[str]) -> dict[str, np.ndarray]:
    """For each record how many findings that its rationale names are supported by its note, contradicted, neither."""
    verdicts = [
        Counter(claim.verdict for claim in check_note_claims(rationale, note))
        for note, rationale in zip(notes, rationales, strict=True)
    ]
    return {name: np.array([counts[name] for counts in verdicts]) for name in VERDICTS}


VERDICTS = ("supported", "contradicted", "unverifiable")


def agreement_counts(
    written: Sequence[Sequence[str]], rationales: Sequence[str], phrases: dict[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """
    Whether lists of diagnoses and rationales say the same.

    Args:
        written (lists of `str`): the diagnoses of each record's list.
        phrases (`dict`): diagnosis -> its name and synonyms.

    Returns:
        Counts of each record: diagnoses `written`, and of these `argued_for` and `denied` in the rationale; `argued`
        ones (a name that several share counts once), and of these `not_written`.
    """
    find, rows = DiagnosisFinder(phrases), []
    for names, rationale in zip(written, rationales, strict=True):
        mentions, listed = find(rationale), set(names)
        argued = {mention.labels for mention in mentions if mention.says == "argues"}
        denied = {mention.labels for mention in mentions if mention.says == "denies" and len(mention.labels) == 1}
        rows.append(
            {
                "written": len(listed),
                "argued_for": len(listed & frozenset().union(*argued)),
                "denied": len(listed & frozenset().union(*denied)),
                "argued": len(argued),
                "not_written": sum(not labels & listed for labels in argued),
            }
        )
    names = ("written", "argued_for", "denied", "argued", "not_written")
    return {name: np.array([row[name] for row in rows]) for name in names}
