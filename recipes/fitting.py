# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
What is fitted rather than trained: the linear classifier on the training split; and on the validation split how much
it counts beside the encoder, the temperature, and the threshold of each diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from datasets import Dataset
from scipy import sparse
from torch import nn
from torch.utils.data import DataLoader

from modeling_clinragen import ClinRaGenForConditionalGeneration
from recipes.data import ClinRaGenCollator


RIDGE_C = 2.5  # scikit-learn's `C`: the inverse of the penalty on each label's weights
SHARES = np.linspace(0, 1, 21)
PREVALENCE_POWER = 0.25


def prepare_decisions(model: ClinRaGenForConditionalGeneration, records: Dataset, collator: ClinRaGenCollator) -> None:
    """Before a stage: fit the linear classifier, if there is one; until validation says more, it counts one half."""
    model.config.diagnosis_temperature, model.config.diagnosis_mixture = 1.0, 0.0
    if model.diagnosis_head is not None and model.diagnosis_head.linear is not None:
        fit_linear_classifier(model, records, collator)
        model.config.diagnosis_mixture = 0.5


def fit_linear_classifier(
    model: ClinRaGenForConditionalGeneration, records: Dataset, collator: ClinRaGenCollator, batch_size: int = 64
) -> None:
    """
    Set the diagnosis head's linear classifier to the ridge regression of the diagnoses of `records`.

    Args:
        records (`Dataset`): as `encode_records` gives them; features are kept sparse, at about a kilobyte a record.
    """
    linear = model.diagnosis_head.linear
    counts, series, gold = [], [], []
    for batch in _batches(model, records, collator, batch_size):
        counts.append(sparse.csr_matrix(linear.token_counts(batch["input_ids"], batch["attention_mask"]).cpu()))
        gold.append(batch["diagnosis_labels"].cpu())
        if "past_values" in batch:
            series.append(linear.series_features(batch["past_values"], batch["past_observed_mask"]).cpu())
    counts, gold = sparse.vstack(counts), torch.cat(gold)
    frequency = np.asarray((counts > 0).sum(axis=0)).ravel()
    inverse = np.log((1 + len(gold)) / (1 + frequency)) + 1
    counts.data = (1 + np.log(counts.data)) * inverse[counts.indices]
    length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel()).clip(min=1e-12)
    counts = sparse.diags(1 / length) @ counts
    if series:
        counts = sparse.hstack([counts, sparse.csr_matrix(torch.cat(series))])
    weight, bias = logistic_regression(_torch(counts), gold, RIDGE_C)
    with torch.no_grad():
        linear.inverse_document_frequency.copy_(torch.as_tensor(inverse))
        linear.weight.zero_()[:, : weight.shape[1]] = weight.to(linear.weight)
        linear.bias.copy_(bias)


def _batches(model, records: Dataset, collator: ClinRaGenCollator, batch_size: int) -> Iterator[dict]:
    for batch in DataLoader(records, batch_size=batch_size, collate_fn=collator):
        yield {name: tensor.to(model.device) for name, tensor in batch.items()}


def _torch(matrix: sparse.spmatrix) -> torch.Tensor:
    matrix = matrix.tocoo()
    index = torch.as_tensor(np.stack([matrix.row, matrix.col]), dtype=torch.long)
    return torch.sparse_coo_tensor(index, matrix.data.astype(np.float32), matrix.shape, check_invariants=True)


def logistic_regression(features: torch.Tensor, labels: torch.Tensor, c: float) -> tuple[torch.Tensor, torch.Tensor]:
    """
    One regression for each label, with a ridge penalty on its weights.

    Args:
        features (`torch.Tensor` of shape `(num_records, width)`): may be sparse (COO).
        labels (`torch.Tensor` of shape `(num_records, num_labels)`): 0 and 1.
        c (`float`): as scikit-learn's `C`.

    Returns:
        Weight `(num_labels, width)` and bias `(num_labels,)`.
    """
    weight = torch.zeros(features.shape[1], labels.shape[1], requires_grad=True)
    bias = torch.zeros(labels.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        fit = nn.functional.binary_cross_entropy_with_logits(features @ weight + bias, labels)
        total = fit + weight.square().sum() / (2 * c * labels.numel())
        total.backward()
        return total

    optimizer.step(loss)
    return weight.detach().T, bias.detach()


def fit_decisions(
    model: ClinRaGenForConditionalGeneration, train: Dataset, validation: Dataset, collator: ClinRaGenCollator
) -> None:
    """
    After a stage: set mixture, temperature and thresholds by records that the model did not learn from.

    Args:
        train, validation (`Dataset`): as `encode_records` gives them; of `train` only how frequent each label is.
    """
    model.eval()
    member_logits, gold = member_scores(model, validation, collator)
    prevalence = np.mean(train.with_format("numpy", columns=["diagnosis_labels"])["diagnosis_labels"], axis=0)
    share, temperature, logits = fit_mixture(member_logits, gold)
    model.config.diagnosis_mixture, model.config.diagnosis_temperature = share, temperature
    probabilities = (logits / temperature).sigmoid().numpy()
    model.config.diagnosis_thresholds = fit_thresholds(probabilities, gold.numpy(), prevalence).tolist()


@torch.no_grad()
def member_scores(
    model: ClinRaGenForConditionalGeneration, records: Dataset, collator: ClinRaGenCollator, batch_size: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """`member_logits` of `encode`, and the diagnoses `(num_records, num_labels)`, 0 and 1."""
    scores, gold = [], []
    for batch in _batches(model, records, collator, batch_size):
        gold.append(batch.pop("diagnosis_labels").cpu())
        batch.pop("labels")
        scores.append(model.encode(**batch).member_logits.cpu())
    return torch.cat(scores), torch.cat(gold)


def fit_mixture(member_logits: torch.Tensor, gold: torch.Tensor) -> tuple[float, float, torch.Tensor]:
    """
    The share of the linear classifier and the temperature that give the least cross-entropy.

    Args:
        member_logits (`torch.Tensor` of shape `(num_records, 1 or 2, num_labels)`): see `member_scores`.
        gold (`torch.Tensor` of shape `(num_records, num_labels)`): 0 and 1.

    Returns:
        Share, temperature, and the mixed scores before the temperature `(num_records, num_labels)`.
    """
    encoder, linear = member_logits[:, 0], member_logits[:, -1]
    shares = SHARES if member_logits.shape[1] == 2 else [0.0]
    mixtures = [(float(share), (1 - share) * encoder + share * linear) for share in shares]
    fitted = [(*fit_temperature(logits, gold), share, logits) for share, logits in mixtures]
    _, temperature, share, logits = min(fitted, key=lambda found: found[0])
    return share, temperature, logits


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """The least cross-entropy, and the temperature that gives it (Guo et al., ICML 2017)."""
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return float(nn.functional.binary_cross_entropy_with_logits(logits / np.exp(logarithm), labels))

    found = minimize_scalar(loss, bounds=(-3, 3), method="bounded")
    return float(found.fun), float(np.exp(found.x))


def fit_thresholds(probabilities: np.ndarray, gold: np.ndarray, prevalence: np.ndarray) -> np.ndarray:
    """
    A threshold per label that rises with its prevalence, of which one number is fitted: validation holds too few of
    a rare diagnosis to say more. It gives the best mean of micro- and macro-F1.

    Args:
        probabilities, gold (arrays of shape `(num_records, num_labels)`), prevalence (array of shape `(num_labels,)`).
    """
    shape = np.maximum(prevalence, 1e-3) ** PREVALENCE_POWER
    scales = np.unique(np.quantile(probabilities / shape, np.linspace(0.5, 1, 400)))
    scores = [_f1_score(gold, probabilities >= scale * shape) for scale in scales]
    return np.clip(scales[int(np.argmax(scores))] * shape, 1e-6, 1 - 1e-6)


def _f1_score(gold: np.ndarray, guess: np.ndarray) -> float:
    hits, total = (gold * guess).sum(axis=0), gold.sum(axis=0) + guess.sum(axis=0)
    macro = np.divide(2 * hits, total, out=np.zeros(len(hits)), where=total > 0).mean()
    return 2 * hits.sum() / max(total.sum(), 1) + macro


def best_threshold(gold: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """
    The one threshold for all labels with the best micro-F1, and that F1; 0.5 where no record has a diagnosis.

    Args:
        gold (array of 0 and 1 of shape `(num_records, num_labels)`), probabilities (array of the same shape).
    """
    from sklearn.metrics import precision_recall_curve

    if not gold.any():
        return 0.5, 0.0
    precision, recall, thresholds = precision_recall_curve(gold.ravel(), probabilities.ravel())
    precision, recall = precision[:-1], recall[:-1]  # the last pair is that of no prediction at all
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros_like(recall), where=recall > 0)
    best = int(np.argmax(f1))
    return float(thresholds[best]), float(f1[best])
