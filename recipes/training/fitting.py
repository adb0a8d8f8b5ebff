# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Parts that are fitted rather than trained: the linear classifier on the training split; and on the validation split its
share beside the encoder, the temperature, and the threshold of each diagnosis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import GroupKFold
from torch.nn import functional as F
from torch.utils.data import DataLoader

from datasets_scripts.common.checkpoints import resolve_checkpoint
from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from modeling_clinragen.diagnosis_clinragen import ClinRaGenLinearClassifier
from modeling_clinragen.modeling_clinragen import ENCODER_INPUTS
from modeling_clinragen.processing_clinragen import NO_NOTE, PROMPT
from recipes.training.data import ClinRaGenCollator
from recipes.training.guarantees import fit_doubt


RIDGE_C = 2.0  # scikit-learn's `C`: the inverse of the penalty on each label's weights
SHARED_C, OWN_C = 100.0, 1.0  # of the term weights shared by all labels, and of each label's deviations
RIDGE_STEPS = 60
FOLDS = 5
SHARES = np.linspace(0, 1, 21)
BATCH = 64


@dataclass
class Described:
    """
    The linear classifier's features of some records.

    Args:
        features (`csr_matrix` or `np.ndarray` of shape `(num_records, num_features)`): features for which each label
            has its own weights.
        evidence (`np.ndarray` of shape `(num_records, num_labels, num_kinds)`): of the terms that a record shows, with
            weights that all labels share.
    """

    features: sparse.csr_matrix
    evidence: np.ndarray

    @classmethod
    def plain(cls, features: np.ndarray, num_labels: int) -> Described:
        """Describe records without evidence."""
        return cls(features, np.zeros((features.shape[0], num_labels, 0)))

    def __getitem__(self, rows: np.ndarray) -> Described:
        return Described(self.features[rows], self.evidence[rows])


@dataclass
class Weights:
    """
    The weights of one logistic regression for each label.

    Args:
        own (`torch.Tensor` of shape `(num_labels, num_features)`), bias (of shape `(num_labels,)`).
        shared (`torch.Tensor` of shape `(num_kinds,)`), deviation (of shape `(num_labels, num_kinds)`): of evidence.
    """

    own: torch.Tensor
    bias: torch.Tensor
    shared: torch.Tensor
    deviation: torch.Tensor

    def logits(self, described: Described) -> torch.Tensor:
        """Score records: `(num_records, num_labels)`."""
        own = torch.from_numpy(described.features @ self.own.T.double().numpy()).float()
        evidence = torch.from_numpy(described.evidence).float()
        return own + (evidence * (self.shared + self.deviation)).sum(dim=-1) + self.bias


def prepare_decisions(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    train: Dataset,
    collator: ClinRaGenCollator,
) -> None:
    """Fit the linear classifier, if there is one, before a stage; its share is one half until validation."""
    model.config.decisions.temperature, model.config.decisions.mixture = 1.0, 0.0
    if model.diagnosis_head is not None and model.diagnosis_head.linear is not None:
        learn_words(model, processor, train)
        learn_terms(model, processor)
        fit_regression(model.diagnosis_head.linear, *describe(model, train, collator))
        model.config.decisions.mixture = 0.5


def fit_decisions(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    train: Dataset,
    validation: Dataset,
    collator: ClinRaGenCollator,
    precision: Callable[[], AbstractContextManager] = nullcontext,
) -> None:
    """
    Refit the decisions after a stage: the linear classifier on both splits; mixture and temperature on validation
    scores of the encoder and of classifiers that were not fitted on the scored fifth of the patients; the thresholds
    on these probabilities, for training records on those of the classifiers alone; and `doubt`.

    The final classifier is fitted on one fold more than those behind the thresholds and guarantees, and the
    checkpoint was chosen on the same validation records: both have little influence, but not none.

    Args:
        train, validation (`Dataset`): as `encode_records` gives them.
        precision (callable): see [`fit_doubt`].
    """
    model.eval()
    encoder, gold = encoder_scores(model, validation, collator)
    if model.diagnosis_head.linear is None:
        share, temperature, logits = fit_mixture(encoder, encoder, gold)
        probabilities = (logits / temperature).sigmoid().numpy()
    else:
        both = concatenate_datasets([train, validation])
        learn_words(model, processor, both)
        learn_terms(model, processor)
        described, gold = describe(model, both, collator)
        linear = held_out_logits(described, gold, both["subject_id"])
        fit_regression(model.diagnosis_head.linear, described, gold)
        seen, unseen = linear[: len(train)], linear[len(train) :]
        share, temperature, logits = fit_mixture(encoder, unseen, gold[len(train) :])
        _, alone = fit_temperature(linear, gold)
        probabilities = torch.cat([seen / alone, logits / temperature]).sigmoid().numpy()
    model.config.decisions.mixture, model.config.decisions.temperature = share, temperature
    model.config.decisions.thresholds = fit_thresholds(probabilities, gold.numpy()).tolist()
    fit_doubt(model, processor, validation, collator, (logits / temperature).sigmoid().numpy(), precision)


def learn_words(model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor, records: Dataset) -> None:
    """Set the linear classifier's frequent token pairs of `records`, and the label similarity of words and pairs."""
    linear = model.diagnosis_head.linear
    frequency: Counter = Counter()
    for ids in records.with_format(None)["input_ids"]:
        frequency.update(set(pairwise(ids)))
    pairs = [pair for pair, n in frequency.most_common(len(linear.pair_codes)) if n > 1]
    codes = sorted(first * linear.vocab_size + second for first, second in pairs)
    linear.pair_codes.fill_(linear.vocab_size**2)
    linear.pair_codes[: len(codes)] = torch.tensor(codes, dtype=torch.long)
    if model.config.label_similarity_model is not None:
        table = label_similarity(processor, linear, model.config.label_similarity_model, records)
        linear.label_similarity.data.copy_(table)


def learn_terms(model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor) -> None:
    """Link the terms of the processor's knowledge with labels, if the model reads them."""
    linear = model.diagnosis_head.linear
    if linear.reads_terms:
        linear.link(processor.knowledge, processor.labels, processor.feature_extractor.channels)


def label_similarity(
    processor: ClinRaGenProcessor, linear: ClinRaGenLinearClassifier, encoder: str, records: Dataset
) -> torch.Tensor:
    """
    Return the cosine of each word of `records`, and each known pair, with the name of each label, by a sentence
    encoder: `(num_words, num_labels)`; 0 for words of fewer than two letters and for words of the prompt.
    """
    from sentence_transformers import SentenceTransformer

    tokenizer = processor.tokenizer
    prompt = set(tokenizer(PROMPT.format(note=NO_NOTE))["input_ids"])
    tokens = sorted({i for ids in records.with_format(None)["input_ids"] for i in ids} - prompt)
    known = [code for code in linear.pair_codes.tolist() if code < linear.vocab_size**2]
    texts = {i: tokenizer.decode([i]) for i in tokens}
    texts |= {linear.vocab_size + k: tokenizer.decode(divmod(code, linear.vocab_size)) for k, code in enumerate(known)}
    texts = {i: text.strip() for i, text in texts.items() if sum(character.isalpha() for character in text) > 1}
    table = torch.zeros(linear.num_words, linear.num_labels)
    if texts:
        embed = SentenceTransformer(resolve_checkpoint(encoder), device="cpu").encode
        words, labels = (embed(list(t), normalize_embeddings=True) for t in (texts.values(), processor.labels))
        table[list(texts)] = torch.from_numpy(words @ labels.T)
    return table


@torch.no_grad()
def describe(
    model: ClinRaGenLanguageModel, records: Dataset, collator: ClinRaGenCollator
) -> tuple[Described, torch.Tensor]:
    """
    Set the weights and scales of the linear classifier's features from `records`.

    Returns:
        The description of the records, and the diagnoses `(num_records, num_labels)`, 0 and 1.
    """
    linear = model.diagnosis_head.linear
    counts, similarities, statistics, evidence, gold = [], [], [], [], []
    for batch in _batches(model, records, collator):
        words = linear.words(batch["input_ids"], batch["attention_mask"])
        counts.append(sparse.csr_matrix(linear.count(words).cpu()))
        similarities.append(linear.similarity(words))
        if "past_values" in batch:
            statistics.append(linear.statistics(batch["past_values"], batch["past_observed_mask"]))
        evidence.append(_evidence(linear, batch))
        gold.append(batch["diagnosis_labels"].cpu())
    measured = torch.cat(similarities)
    if statistics:
        measured = torch.cat([measured, torch.cat(statistics).flatten(1)], dim=1)
    frequency = np.asarray((sparse.vstack(counts) > 0).sum(axis=0)).ravel()
    inverse = np.log((1 + len(measured)) / (1 + frequency)) + 1
    linear.inverse_document_frequency.data.copy_(torch.as_tensor(inverse))
    mean = measured.nanmean(dim=0)
    variance = (measured - mean).square().nanmean(dim=0)
    linear.mean.data.zero_()[: len(mean)] = mean.nan_to_num(0.0)
    linear.std.data.fill_(1.0)[: len(mean)] = torch.where(variance > 1e-8, variance.sqrt(), 1.0)
    rows = []
    for i, count in enumerate(counts):
        own = statistics[i] if statistics else None
        count = torch.from_numpy(count.toarray()).to(measured.device)
        rows.append(sparse.csr_matrix(linear.features(count, similarities[i], own).cpu()))
    return Described(sparse.vstack(rows).tocsr(), torch.cat(evidence).double().cpu().numpy()), torch.cat(gold)


def _evidence(linear: ClinRaGenLinearClassifier, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the evidence of the terms of a batch; for a model that does not read terms, with no kinds."""
    if not linear.reads_terms:
        return torch.zeros(len(batch["input_ids"]), linear.num_labels, 0)
    return linear.evidence(batch["term_evidence"], batch.get("past_observed_mask"))


def fit_regression(linear: ClinRaGenLinearClassifier, described: Described, gold: torch.Tensor) -> None:
    weights = regression(described, gold)
    linear.weight.data.copy_(weights.own)
    linear.bias.data.copy_(weights.bias)
    if linear.reads_terms:
        linear.shared_evidence_weight.data.copy_(weights.shared)
        linear.evidence_weight.data.copy_(weights.deviation)


def regression(described: Described, gold: torch.Tensor) -> Weights:
    """Run `logistic_regression` on the features that occur; the others, many in a small dataset, have weight 0."""
    occur = np.unique(described.features.indices)
    occurring = Described(described.features[:, occur], described.evidence)
    weights = logistic_regression(occurring, gold, RIDGE_C, RIDGE_STEPS)
    own = torch.zeros(gold.shape[1], described.features.shape[1])
    own[:, occur] = weights.own
    weights.own = own
    return weights


def held_out_logits(described: Described, gold: torch.Tensor, patients: list[str]) -> torch.Tensor:
    """Return the scores of each patient from a regression fitted on the other folds of patients."""
    folds = min(FOLDS, len(set(patients)))
    if folds < 2:
        raise ClinRaGenInputError("training and validation hold one patient only; build the dataset with more")
    logits = torch.empty_like(gold)
    for rest, held in GroupKFold(folds).split(gold, groups=patients):
        logits[held] = regression(described[rest], gold[rest]).logits(described[held])
    return logits


def _batches(model, records: Dataset, collator: ClinRaGenCollator) -> Iterator[dict]:
    for batch in DataLoader(records, batch_size=BATCH, collate_fn=collator):
        yield {name: tensor.to(model.device) for name, tensor in batch.items()}


@torch.no_grad()
def logistic_regression(described: Described, labels: torch.Tensor, c: float, max_iter: int = 300) -> Weights:
    """
    Fit one regression per label, with a ridge penalty on its weights; those of evidence are shared by all labels,
    with deviations.

    Args:
        labels (`torch.Tensor` of shape `(num_records, num_labels)`): 0 and 1.
        c (`float`): as scikit-learn's `C`.
        max_iter (`int`): steps of L-BFGS at most.
    """
    # float32 is too coarse near the optimum
    features, labels = described.features.astype(np.float64), labels.double()
    evidence, numbers = torch.from_numpy(described.evidence), labels.numel()
    (width, num_labels), num_kinds = (features.shape[1], labels.shape[1]), evidence.shape[2]
    shapes = {"own": (width, num_labels), "bias": (num_labels,), "shared": (num_kinds,)}
    shapes["deviation"] = (num_labels, num_kinds)
    found = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}
    ridges = {"own": 1 / (c * numbers), "shared": 1 / (SHARED_C * numbers), "deviation": 1 / (OWN_C * numbers)}
    optimizer = torch.optim.LBFGS(list(found.values()), max_iter=max_iter, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        # takes a quarter of the time of torch's sparse products
        logits = torch.from_numpy(features @ found["own"].numpy()) + found["bias"]
        logits = logits + (evidence * (found["shared"] + found["deviation"])).sum(dim=-1)
        error = (logits.sigmoid() - labels) / numbers
        moved = error.unsqueeze(-1) * evidence  # (num_records, num_labels, num_kinds)
        found["own"].grad = torch.from_numpy(features.T @ error.numpy())
        found["bias"].grad = error.sum(dim=0)
        found["deviation"].grad = moved.sum(dim=0)
        found["shared"].grad = found["deviation"].grad.sum(dim=0)
        penalty = 0.0
        for name, ridge in ridges.items():
            found[name].grad = found[name].grad + ridge * found[name]
            penalty += ridge / 2 * found[name].square().sum()
        return F.binary_cross_entropy_with_logits(logits, labels) + penalty

    optimizer.step(loss)
    found["own"] = found["own"].T
    return Weights(**{name: weights.float() for name, weights in found.items()})


@torch.no_grad()
def encoder_scores(
    model: ClinRaGenLanguageModel, records: Dataset, collator: ClinRaGenCollator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the encoder's logits, and the diagnoses, 0 and 1: both `(num_records, num_labels)`."""
    scores, gold = [], []
    for batch in _batches(model, records, collator):
        gold.append(batch.pop("diagnosis_labels").cpu())
        inputs = {name: batch[name] for name in batch if name in ENCODER_INPUTS}
        scores.append(model.encode(**inputs).member_logits[:, 0].cpu())
    return torch.cat(scores), torch.cat(gold)


def fit_mixture(encoder: torch.Tensor, linear: torch.Tensor, gold: torch.Tensor) -> tuple[float, float, torch.Tensor]:
    """
    Return the share of the linear classifier and the temperature with the least cross-entropy.

    Args:
        encoder, linear (`torch.Tensor` of shape `(num_records, num_labels)`): logits.
        gold (`torch.Tensor`, same shape): 0 and 1.

    Returns:
        Share, temperature, and the mixed logits before the temperature `(num_records, num_labels)`.
    """
    shares = [0.0] if encoder is linear else SHARES
    mixtures = [(float(share), (1 - share) * encoder + share * linear) for share in shares]
    fitted = [(*fit_temperature(logits, gold), share, logits) for share, logits in mixtures]
    _, temperature, share, logits = min(fitted, key=lambda found: found[0])
    return share, temperature, logits


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return the least cross-entropy, and the temperature that gives it (Guo et al., ICML 2017)."""

    def loss(logarithm: float) -> float:
        return float(F.binary_cross_entropy_with_logits(logits / np.exp(logarithm), labels))

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    return float(found.fun), float(np.exp(found.x))


THRESHOLDS = np.linspace(0.02, 0.7, 69)
OWN_SHARE = 0.75


def fit_thresholds(probabilities: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """
    Return a threshold per label, between its own best one and the best shared one.

    A label's own threshold has the best F1, the mean of the F1 counted on the records and the F1 expected from the
    probabilities, since a rare diagnosis has too few records to rely on alone. The two thresholds are mixed by their
    geometric mean, for a good macro-F1 at a good micro-F1.

    Args:
        probabilities, gold (arrays of shape `(num_records, num_labels)`).

    Returns:
        Array of shape `(num_labels,)`.
    """
    common = np.clip(best_threshold(gold, probabilities)[0], THRESHOLDS[0], THRESHOLDS[-1])
    made = probabilities[None] >= THRESHOLDS[:, None, None]  # (num_thresholds, num_records, num_labels)
    hits = (made * gold).sum(axis=1) + (made * probabilities).sum(axis=1)
    total = 2 * made.sum(axis=1) + gold.sum(axis=0) + probabilities.sum(axis=0)
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    own = THRESHOLDS[f1.argmax(axis=0)]
    return np.exp(OWN_SHARE * np.log(own) + (1 - OWN_SHARE) * np.log(common))


def best_threshold(gold: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """
    Return the single threshold for all labels with the best micro-F1, and that F1; 0.5 if no record has a diagnosis.

    Args:
        gold (array of 0 and 1 of shape `(num_records, num_labels)`), probabilities (array of the same shape).
    """
    if not gold.any():
        return 0.5, 0.0
    precision, recall, thresholds = precision_recall_curve(gold.ravel(), probabilities.ravel())
    precision, recall = precision[:-1], recall[:-1]  # the last pair is of no prediction at all
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros_like(recall), where=recall > 0)
    best = int(np.argmax(f1))
    return float(thresholds[best]), float(f1[best])
