# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Rewards of written texts, computed from the patient's own record without a judging model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from modeling_clinragen import ClinRaGenInputError, ClinRaGenProcessor
from modeling_clinragen.claims_clinragen import Claim, ClaimChecker
from modeling_clinragen.clinical_clinragen import short_name
from modeling_clinragen.note_claims_clinragen import NoteIndex, check_note_claims
from recipes.evaluation.figures.faithfulness import agreement_counts


REWARD_PARTS = ("diagnoses", "series_claims", "note_claims", "agreement", "length")
SHORTEST, LONGEST = 0.8, 1.5  # of the teacher's words: bounds of a good length


class RationaleReward:
    """
    The reward of each text, in [0, 1]: the weighted mean of parts that are each in [0, 1].

    - `diagnoses`: F1 of the list against the recorded diagnoses.
    - `series_claims`: claims about the series that the measured values support, against those they contradict.
    - `note_claims`: findings that the note supports, against those that it contradicts or that are absent from it.
    - `agreement`: diagnoses of the list that the rationale argues for, as a share of all that it argues for or denies
        and of those of the list that the teacher argues for. If the teacher found no evidence, none is required.
    - `length`: 1 from 0.8 to 1.5 times the teacher's words, less outside; the mean of both rationales.

    Silence is not rewarded: a rationale without claims counts like one with half of its claims true, unless the
    teacher claims nothing either, and it is too short.

    An instance is also a reward function for TRL's `GRPOTrainer`, for a dataset with this project's columns.

    Args:
        processor (`ClinRaGenProcessor`): reads the texts; claims are about its channels.
        synonyms (`dict`, *optional*): label -> further names by which a rationale may argue for it.
        weights (`dict`, *optional*): part -> weight; default: 1.

    Raises:
        ClinRaGenInputError: if a weight is negative or of an unknown part, or all are 0.
    """

    def __init__(
        self,
        processor: ClinRaGenProcessor,
        synonyms: dict[str, Sequence[str]] | None = None,
        weights: dict[str, float] | None = None,
    ):
        self.__name__ = "rationale_reward"  # what TRL logs it as
        self.processor, self.weights = processor, _normalized(weights or {})
        self.english = processor.spoken.english
        self.phrases = {
            label: tuple(map(self.english, (label, short_name(label), *(synonyms or {}).get(label, ()))))
            for label in processor.labels
        }
        self.check_series = ClaimChecker(processor.feature_extractor.channels)
        self.index_of = lru_cache(maxsize=1024)(NoteIndex)  # several texts share a note

    def __call__(self, completions: Sequence[str], **columns: Sequence) -> list[float]:
        """Return the weighted mean of `parts` for each text."""
        return (self.parts(completions, **columns) @ self.weights).tolist()

    def parts(
        self,
        completions: Sequence[str],
        *,
        note: Sequence[str],
        lab_times: Sequence,
        lab_values: Sequence,
        diagnoses: Sequence[Sequence[int]],
        note_rationale: Sequence[str],
        lab_rationale: Sequence[str],
        **other_columns,
    ) -> np.ndarray:
        """
        Return the parts of each text's reward.

        Args:
            completions (list of `str`): the written texts.
            note, lab_times, lab_values, diagnoses, note_rationale, lab_rationale (lists): columns of a dataset folder,
                one entry for each text; the rationales are the teacher's.

        Returns:
            Array of shape `(num_texts, 5)`, in the order of `REWARD_PARTS`.
        """
        texts = [self._parsed(*row) for row in zip(completions, lab_times, lab_values, strict=True)]
        note, note_rationale, lab_rationale = (
            [self.english(text) for text in column] for column in (note, note_rationale, lab_rationale)
        )
        gold = [[self.processor.labels[i] for i in ids] for ids in diagnoses]
        columns = [
            [diagnosis_f1(text["diagnoses"], names) for text, names in zip(texts, gold, strict=True)],
            [self._series(*row) for row in zip(texts, lab_times, lab_values, lab_rationale, strict=True)],
            [self._note(*row) for row in zip(texts, note, note_rationale, strict=True)],
            self._agreement(texts, note_rationale, lab_rationale),
            [_length(*row) for row in zip(texts, note_rationale, lab_rationale, strict=True)],
        ]
        return np.array(columns).T

    def _parsed(self, text: str, lab_times, lab_values) -> dict:
        parsed = self.processor.parse(text, lab_times, lab_values)
        return parsed | {name: self.english(parsed[name]) for name in ("note_rationale", "lab_rationale")}

    def _series(self, text: dict, lab_times, lab_values, reference: str) -> float:
        claims = [claim for claim in self.check_series(text["lab_rationale"], lab_times, lab_values) if claim.channel]
        silent = not any(mention for _, _, mention in self.check_series.split(reference))
        return balance(claims, against=("contradicted",), without_claims=1.0 if silent else 0.5)

    def _note(self, text: dict, note: str, reference: str) -> float:
        index = self.index_of(note)
        claims = check_note_claims(text["note_rationale"], index)
        silent = not check_note_claims(reference, index)
        return balance(claims, against=("contradicted", "absent"), without_claims=1.0 if silent else 0.5)

    def _agreement(self, texts: list[dict], note_rationale: Sequence[str], lab_rationale: Sequence[str]) -> np.ndarray:
        lists = [text["diagnoses"] for text in texts]
        own = [f"{text['note_rationale']}\n{text['lab_rationale']}" for text in texts]
        with_teachers = ["\n".join(parts) for parts in zip(own, note_rationale, lab_rationale, strict=True)]
        counts = agreement_counts(lists, own, self.phrases)
        arguable = agreement_counts(lists, with_teachers, self.phrases)["argued_for"]
        whole = arguable + counts["not_written"] + counts["denied"]
        return np.divide(counts["argued_for"], whole, out=np.ones(len(texts)), where=whole > 0)


def _normalized(weights: dict[str, float]) -> np.ndarray:
    unknown = [name for name in weights if name not in REWARD_PARTS]
    values = np.array([float(weights.get(part, 1.0)) for part in REWARD_PARTS])
    if unknown or (values < 0).any() or not values.any():
        raise ClinRaGenInputError(
            f"reward_weights is {weights}; give weights of 0 or more, not all 0, to {', '.join(REWARD_PARTS)}"
        )
    return values / values.sum()


def diagnosis_f1(written: Sequence[str], recorded: Sequence[str]) -> float:
    """Return the F1 of one list; 1 if both lists are empty."""
    both = len(set(written) & set(recorded))
    return 2 * both / (len(written) + len(recorded)) if written or recorded else 1.0


def balance(claims: Sequence[Claim], against: Sequence[str], without_claims: float) -> float:
    """
    Return the balance of claims: 0 if all are false, 0.5 if as many are true as false, 1 if all are true.

    Args:
        claims (list of `Claim`): of one text.
        against (list of `str`): the verdicts that count against the text.
        without_claims (`float`): the balance of a text without claims.
    """
    if not claims:
        return without_claims
    verdicts = Counter(claim.verdict for claim in claims)
    difference = verdicts["supported"] - sum(verdicts[verdict] for verdict in against)
    return (1 + difference / len(claims)) / 2


def _length(text: dict, note_rationale: str, lab_rationale: str) -> float:
    pairs = ((text["note_rationale"], note_rationale), (text["lab_rationale"], lab_rationale))
    return float(np.mean([length_share(len(own.split()), len(teachers.split())) for own, teachers in pairs]))


def length_share(words: int, reference_words: int) -> float:
    """Return 1 from `SHORTEST` to `LONGEST` times the reference, and less, in proportion, outside."""
    shortest, longest = SHORTEST * reference_words, LONGEST * reference_words
    if words < shortest:
        return words / shortest
    return longest / words if words > longest else 1.0
