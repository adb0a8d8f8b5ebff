# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Doubt: statistics of a calibration split, and the sets of diagnoses with guarantees that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.modeling_outputs import ModelOutput

from .clinical_clinragen import ClinRaGenInputError


if TYPE_CHECKING:
    from .configuration_clinragen import ClinRaGenConfig


# The probabilities at which a precision is tested, in descending order; they must not be chosen from data.
PRECISION_GRID = tuple(i / 50 for i in range(49, 0, -1))

# Measure of support -> the reason to abstain if a record's value is beyond nearly all of the calibration split's.
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
            The diagnoses that cannot be ruled out: each includes at least the chosen share of the patients who have
            it.
        confident (`torch.BoolTensor` of shape `(batch_size, num_labels)`, *optional*, with a precision):
            The diagnoses that can be relied on: at least the chosen share of those named so are right.
        possible_from, confident_from (`torch.FloatTensor` of shape `(num_labels,)`, *optional*, likewise):
            Their thresholds. `possible_from` is 0 if the calibration split has too few patients for the chosen recall;
            `confident_from` is infinite if no threshold is certified.
    """

    possible: torch.BoolTensor | None = None
    confident: torch.BoolTensor | None = None
    possible_from: torch.FloatTensor | None = None
    confident_from: torch.FloatTensor | None = None

    def flags(self) -> dict[str, torch.BoolTensor]:
        """
        Return `possible` and `confident`, if given, and the diagnoses for which the calibration split is too small,
        `never_ruled_out` and `never_confident`: `(batch_size, num_labels)` each.
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

    Both guarantees hold for patients like those of the calibration split (exchangeable), for each diagnosis
    separately, and are exact if nothing else was fitted on that split. A stage uses the validation split, on which it
    also chooses its checkpoint and the share of the linear classifier, and takes the probabilities of classifiers
    fitted on other patients (cross-conformal), not of the classifier that the model keeps. To that extent the
    guarantees are approximate; the temperature does not matter, as it keeps the order of probabilities. A separate
    split and `recipes.training.guarantees.fit_guarantees` make them exact.

    Args:
        num_positives (list of `int`): calibration records that have each diagnosis.
        positive_scores (list of lists of `float`): their probabilities in ascending order, rounded down; for many
            records, evenly chosen order statistics.
        selected, correct (list of lists of `int`, `(num_labels, len(PRECISION_GRID))`): numbers of calibration records
            with a probability of at least that of the grid, and of those among them that have the diagnosis.
        support_limits (`dict` of `float`): measure of support -> its limit, beyond which few calibration records are;
            see `support_of`.
        influence (list of lists of `float`, `(num_labels, num_input_channels + 1)`): mean absolute change of a
            diagnosis's log-odds when a channel, or as the last entry the note, is removed from a record that has it.

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

        The probability includes the draw of the calibration split (Conformal Risk Control, with the loss "missed").
        """
        _check_share("recall", recall)
        scores = zip(self.num_positives, self.positive_scores, strict=True)
        return [recall_threshold(number, kept, recall) for number, kept in scores]

    def confident_from(self, precision: float, confidence: float = 0.9) -> list[float]:
        """
        Return the lowest threshold of each diagnosis at which P(has it | probability >= threshold) >= `precision`, by
        [`precision_threshold`]; infinite if there is none.

        Args:
            confidence (`float`): at least this share of calibration splits give a threshold that has this precision.
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
        Estimate how much the probabilities of one record may change with its missing inputs.

        Args:
            probabilities (`torch.Tensor` of shape `(num_labels,)`).
            missing (`torch.BoolTensor` of shape `(num_input_channels + 1,)`): channels, and last the note.

        Returns:
            `torch.Tensor` of shape `(num_labels, num_input_channels + 1)`: the expected absolute change if
            the log-odds rise or fall by the influence. It is large for probabilities near 0.5; near 0 and 1, a change
            of the log-odds changes the probability little.
        """
        influence = torch.tensor(self.influence, device=probabilities.device)
        log_odds = torch.logit(probabilities, eps=1e-6).unsqueeze(1)
        return ((log_odds + influence).sigmoid() - (log_odds - influence).sigmoid()) / 2 * missing


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ClinRaGenInputError(f"`{name}` is a share between 0 and 1, not {value}")


def recall_threshold(number: int, scores: list[float], recall: float) -> float:
    """
    Return the order statistic of the positives' probabilities that keeps a recall; 0 if there are too few positives.

    Of `number` positives `rank - 1` may be missed, with (rank - 1 + 1) / (number + 1) <= 1 - recall: the unseen
    positive counts as missed. `scores` has the statistics of ranks ceil(i * number / len(scores)), i from 1; the
    highest rank not above `rank` is taken, so that fewer scores can only make the threshold too low.
    """
    rank = math.floor((1 - recall) * (number + 1) + 1e-9)
    kept = min(rank, number) * len(scores) // max(number, 1)
    return scores[kept - 1] if kept else 0.0


def precision_threshold(selected: list[int], correct: list[int], precision: float, error: float) -> float:
    """
    Return the last threshold before the first that fails in a fixed-sequence test down `PRECISION_GRID`, with exact
    binomial p-values; infinite if none passes.

    The sequence begins when enough records are selected for the test to be able to succeed. That choice depends on the
    probabilities alone, and the probability of certifying a wrong threshold stays at most `error` if the diagnosis is
    not rarer at higher probabilities.
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
