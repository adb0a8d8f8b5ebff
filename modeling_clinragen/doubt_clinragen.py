# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Doubt: statistics of a calibration split, and the sets with a guarantee that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.modeling_outputs import ModelOutput

from .clinical_clinragen import ClinRaGenInputError


if TYPE_CHECKING:
    from .configuration_clinragen import ClinRaGenConfig


# The probabilities at which a precision is tested, from the highest; the test needs that no data chose them.
PRECISION_GRID = tuple(i / 50 for i in range(49, 0, -1))

# Measure of support -> the reason to abstain where a record's is beyond nearly all of the calibration split's.
UNUSUAL = {
    "note_tokens": "the note is very short",
    "token_rarity": "the words of the note are unusual",
    "measurements": "few measurements",
    "channels": "few channels are measured",
}
MORE_IS_UNUSUAL = ("token_rarity",)


@dataclass
class ClinRaGenDiagnosisSets(ModelOutput):
    """
    Args:
        possible (`torch.BoolTensor` of shape `(batch_size, num_labels)`, *optional*, with a recall):
            The diagnoses that cannot be ruled out: each holds at least the chosen share of the patients who have it.
        confident (`torch.BoolTensor` of shape `(batch_size, num_labels)`, *optional*, with a precision):
            The diagnoses that can be relied on: at least the chosen share of those named so are right.
        possible_from, confident_from (`torch.FloatTensor` of shape `(num_labels,)`, *optional*, likewise):
            Their thresholds. `possible_from` is 0 where the calibration split has too few patients for the chosen
            recall; `confident_from` is infinite where no threshold is certified.
    """

    possible: torch.BoolTensor | None = None
    confident: torch.BoolTensor | None = None
    possible_from: torch.FloatTensor | None = None
    confident_from: torch.FloatTensor | None = None

    def flags(self) -> dict[str, torch.BoolTensor]:
        """
        Return `possible` and `confident`, where given, with the diagnoses for which the calibration split is too small
        to say more, `never_ruled_out` and `never_confident`: `(batch_size, num_labels)` each.
        """
        found = {}
        if self.possible is not None:
            found |= {"possible": self.possible, "never_ruled_out": (self.possible_from == 0).expand_as(self.possible)}
        if self.confident is not None:
            never = self.confident_from.isinf().expand_as(self.confident)
            found |= {"confident": self.confident, "never_confident": never}
        return found


@dataclass
class ClinRaGenDoubt:
    """
    Statistics of the calibration split: the entries of `decisions.doubt` in the configuration.

    Both guarantees are for patients like those of the calibration split (exchangeable), for each diagnosis by itself,
    and are exact where nothing else was fitted on that split. A stage uses validation, where it also chooses its
    checkpoint and the share of the linear classifier, and where the probabilities that count are those of classifiers
    of other patients (cross-conformal), not of the one that the model keeps. By so much the guarantees are
    approximate; the temperature does not matter, as it keeps the order of probabilities. A split of its own and
    `recipes.training.guarantees.fit_guarantees` make them exact.

    Args:
        num_positives (list of `int`): calibration records that have each diagnosis.
        positive_scores (list of lists of `float`): the probabilities of these, from the lowest, rounded down; of many,
            evenly chosen order statistics.
        selected, correct (list of lists of `int`, `(num_labels, len(PRECISION_GRID))`): calibration records whose
            probability is at least that of the grid, and those of them that have the diagnosis.
        support_limits (`dict` of `float`): measure of support -> its limit, beyond which few of the calibration
            records are; see `support_of`.
        influence (list of lists of `float`, `(num_labels, num_input_channels + 1)`): mean absolute change of a
            diagnosis's log-odds where a channel, and last the note, is taken from a record that has it.

    Source: Angelopoulos et al., Conformal Risk Control, ICLR 2024; Angelopoulos et al., Learn then Test, 2021.
    """

    num_positives: list[int]
    positive_scores: list[list[float]]
    selected: list[list[int]]
    correct: list[list[int]]
    support_limits: dict[str, float]
    influence: list[list[float]]

    @classmethod
    def of(cls, config: ClinRaGenConfig) -> ClinRaGenDoubt:
        """
        Return the statistics of a configuration.

        Raises:
            ClinRaGenInputError: if nothing was fitted.
        """
        if config.decisions.doubt is None:
            raise ClinRaGenInputError("this model gives no guarantees: its doubt was not fitted; run its stage again")
        return cls(**config.decisions.doubt)

    def possible_from(self, recall: float) -> list[float]:
        """
        Return the highest threshold of each diagnosis at which P(probability >= threshold | has it) >= `recall`.

        The chance counts the draw of the calibration split too (Conformal Risk Control, with the loss "missed").
        """
        _check_share("recall", recall)
        scores = zip(self.num_positives, self.positive_scores, strict=True)
        return [recall_threshold(number, kept, recall) for number, kept in scores]

    def confident_from(self, precision: float, confidence: float = 0.9) -> list[float]:
        """
        Return the lowest threshold of each diagnosis at which P(has it | probability >= threshold) >= `precision`, by
        [`precision_threshold`]; infinite where there is none.

        Args:
            confidence (`float`): at least this share of calibration splits give a threshold that keeps the promise.
        """
        _check_share("precision", precision)
        _check_share("confidence", confidence)
        counts = zip(self.selected, self.correct, strict=True)
        return [precision_threshold(selected, correct, precision, 1 - confidence) for selected, correct in counts]

    def unusual(self, support: dict[str, float]) -> list[str]:
        """Return the measures of [`support_of`] of one record that are beyond their limits."""
        signs = {name: -1 if name in MORE_IS_UNUSUAL else 1 for name in UNUSUAL}
        known = [name for name in UNUSUAL if name in support and name in self.support_limits]
        return [name for name in known if signs[name] * (support[name] - self.support_limits[name]) < 0]

    def would_help(self, probabilities: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """
        Estimate by how much the probabilities of one record may change with what is missing in it.

        Args:
            probabilities (`torch.Tensor` of shape `(num_labels,)`).
            missing (`torch.BoolTensor` of shape `(num_input_channels + 1,)`): channels, and last the note.

        Returns:
            `torch.Tensor` of shape `(num_labels, num_input_channels + 1)`: the expected absolute change, where the
            log-odds may rise or fall by the influence. It is large for a diagnosis in doubt, as near 0 and 1 a change
            of the log-odds moves the probability little.
        """
        influence = torch.tensor(self.influence, device=probabilities.device)
        log_odds = torch.logit(probabilities, eps=1e-6).unsqueeze(1)
        return ((log_odds + influence).sigmoid() - (log_odds - influence).sigmoid()) / 2 * missing


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ClinRaGenInputError(f"`{name}` is a share between 0 and 1, not {value}")


def recall_threshold(number: int, scores: list[float], recall: float) -> float:
    """
    Return the order statistic of the positives' probabilities that keeps a recall; 0 where there are too few of them.

    Of `number` positives `rank - 1` may be missed, with (rank - 1 + 1) / (number + 1) <= 1 - recall: the unseen one
    counts as missed. `scores` has the statistics of ranks ceil(i * number / len(scores)), i from 1; the highest that
    is not above `rank` is taken, so that with fewer scores the threshold is at most too low.
    """
    rank = math.floor((1 - recall) * (number + 1) + 1e-9)
    kept = min(rank, number) * len(scores) // max(number, 1)
    return scores[kept - 1] if kept else 0.0


def precision_threshold(selected: list[int], correct: list[int], precision: float, error: float) -> float:
    """
    Return the last threshold before the first that fails in a fixed-sequence test down `PRECISION_GRID`, with exact
    binomial p-values; infinite without any.

    The sequence begins where enough records are selected for the test to succeed at all. That choice looks at the
    probabilities alone, and the chance of a certified threshold that breaks its promise stays at most `error` if the
    diagnosis is no rarer where its probability is higher.
    """
    certified = math.inf
    for threshold, number, hits in zip(PRECISION_GRID, selected, correct, strict=True):
        if precision**number > error:
            continue
        if binomial_tail(number - hits, number, 1 - precision) > error:
            break
        certified = threshold
    return certified


def binomial_tail(most: int, number: int, chance: float) -> float:
    """Return P(X <= `most`) of the binomial distribution of `number` trials."""
    count = torch.arange(most + 1, dtype=torch.float64)
    number = torch.tensor(float(number), dtype=torch.float64)
    ways = torch.lgamma(number + 1) - torch.lgamma(count + 1) - torch.lgamma(number - count + 1)
    return float((ways + count * math.log(chance) + (number - count) * math.log1p(-chance)).logsumexp(0).exp())


__all__ = ["ClinRaGenDiagnosisSets", "ClinRaGenDoubt"]
