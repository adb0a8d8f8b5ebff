# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Deletion tests: whether the probability of a diagnosis falls more if the evidence named for it is deleted than if the
same amount is deleted at random.

For each predicted diagnosis, the named units (see `modeling_clinragen.evidence_clinragen`) are deleted together,
those with the largest effect first, until `SHARE` of the note's words, the measurements or the attended terms
are gone; at random, units in a random order, starting anywhere, until exactly as many are gone.

What it shows, and what it does not: evidence is named by deleting one unit at a time, so a model that judges its own
evidence is asked nearly the same question again. If the named units win, the effects of single units add up and are
larger than those of arbitrary deletions; the reverse would be a fault. If the model has two members, the encoder
with its attention and the linear classifier, each therefore also judges the units that the other named. They share
only the training records and the tokens: evidence that convinces both is in the records rather than an artifact of
one member. None of this shows that a clinician would name the same evidence, or that it is a cause. Diagnoses without
evidence are not counted, and records with deletions may be unlike any that the model was trained on.

*Cited* evidence is what the rationale rests on: the words of the note and the measurements that support its claims. It
is selected by the links of the knowledge, not by the model's scores: its deletion shows whether the rationale is
about what moved the decision.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from modeling_clinragen import ClinRaGenPipeline
from modeling_clinragen.evidence_clinragen import NEGLIGIBLE, PARTS, Occlusion, Removal, Unit
from recipes.evaluation.figures.intervals import divide, intervals


SHARE = 0.2
DRAWS = 8
FLIPS, CHUNK = 10_000, 1000
MODEL, ENCODER, LINEAR = 0, 1, 2  # positions among the scores of `Occlusion.logits`
# Scores that name the evidence, and scores that judge its deletion.
JUDGES = {
    "the model": (MODEL, MODEL),
    "linear classifier, named by the encoder": (ENCODER, LINEAR),
    "encoder, named by the linear classifier": (LINEAR, ENCODER),
}
TESTS = {**{part: (part,) for part in PARTS}, "note and series": ("note", "series")}
# Part of the record -> the claims of a prediction that rest on it.
CLAIMS = {"note": "note_claims", "series": "claims"}
CITED_TESTS = {"cited note": ("note",), "cited series": ("series",), "all that is cited": ("note", "series")}


class Deletion(NamedTuple):
    """
    Evidence to delete.

    Args:
        test (`str`): one of `TESTS` or `CITED_TESTS`; judge (`str`): name of the judging scores.
        scorer (`int`): its position among the scores of `Occlusion.logits`.
        label (`int`): class id of the diagnosis.
        atoms (`dict`): part of the record -> its deleted atoms.
    """

    test: str
    judge: str
    scorer: int
    label: int
    atoms: dict[str, list]

    @property
    def size(self) -> int:
        return sum(map(len, self.atoms.values()))


class Drop(NamedTuple):
    """
    The probability that a diagnosis loses.

    Args:
        named (`float`): the drop of its probability without the evidence; falls (`float`): 1 if that is a drop.
        random (`float`), random_falls (`float`): the means of both without random units of the same size.
        share (`float`): how much was deleted.
    """

    named: float
    random: float
    share: float
    falls: float
    random_falls: float


def deletion_metrics(pipe: ClinRaGenPipeline, records: Dataset, predictions: list[dict], seed: int = 0) -> dict:
    """
    Run the deletion tests of the predicted diagnoses.

    Args:
        predictions (list of `dict`): of `records`, in their order.
        seed (`int`): of the random deletions.

    Returns:
        For each of `TESTS` and `CITED_TESTS` and each of `JUDGES` that applies: `patients` and `diagnoses` for which
        evidence was named (cited) and some input is left without it; `share`, how much was deleted; `named` and
        `random`, the mean drop of the probability; `falls` and `random_falls`, how often it drops; the `difference`
        of the mean drops, its 95% `interval` by resampling patients, and the `p_value` of a two-sided paired test.
        All patients have the same weight, each with the mean over their diagnoses.
    """
    generator = np.random.default_rng(seed)
    position = {label: i for i, label in enumerate(pipe.processor.labels)}
    drops = defaultdict(list)
    rows = records.select_columns(["note", "lab_values", "lab_times"])
    for row, prediction in tqdm(
        zip(rows, predictions, strict=True), total=len(predictions), desc="Deletion tests", unit="record"
    ):
        made = [position[diagnosis["label"]] for diagnosis in prediction["diagnoses"]]
        if made and prediction["readable"]:
            occlusion = Occlusion(pipe.model, pipe.processor, **row)
            deletions = named_deletions(occlusion, made) + cited_deletions(occlusion, made, prediction)
            for deletion, drop in zip(deletions, record_drops(occlusion, deletions, generator), strict=True):
                drops[deletion.test, deletion.judge].append((prediction["subject_id"], *drop))
    return {
        test: {judge: paired_test(drops[test, judge]) for judge in JUDGES if drops[test, judge]}
        for test in (*TESTS, *CITED_TESTS)
        if any(drops[test, judge] for judge in JUDGES)
    }


def named_deletions(occlusion: Occlusion, labels: Sequence[int]) -> list[Deletion]:
    """Return, for each test and judge of a record's diagnoses, the evidence named by its effect."""
    whole, effects = occlusion.effects()
    deletions = []
    for judge, (namer, scorer) in JUDGES.items():
        for label in labels if max(namer, scorer) < len(whole) else ():
            named = {part: named_atoms(occlusion.units[part], effects[part][:, namer, label]) for part in PARTS}
            if scorer == LINEAR and not occlusion.processor.reads_terms:
                named["knowledge"] = []  # it reads no knowledge
            deletions += [
                Deletion(test, judge, scorer, label, {part: named[part] for part in parts})
                for test, parts in TESTS.items()
                if all(named[part] for part in parts) and leaves_input(occlusion, parts, named)
            ]
    return deletions


def cited_deletions(occlusion: Occlusion, labels: Sequence[int], prediction: dict) -> list[Deletion]:
    """Return what the rationale of a prediction cites for each diagnosis, by test of `CITED_TESTS`."""
    deletions = []
    for label in labels:
        cited = cited_atoms(occlusion, prediction, occlusion.processor.labels[label])
        deletions += [
            Deletion(test, "the model", MODEL, label, {part: cited[part] for part in parts})
            for test, parts in CITED_TESTS.items()
            if any(cited[part] for part in parts) and leaves_input(occlusion, parts, cited)
        ]
    return deletions


def cited_atoms(occlusion: Occlusion, prediction: dict, diagnosis: str) -> dict[str, list]:
    """
    Return the parts of a record that support the claims that argue for a diagnosis.

    Returns:
        `note`: words as `(start, end)`; `series`: measurements as `(row, channel)`; only those that the model reads.
    """
    rests_on = {
        part: [c for c in prediction[name] if c["verdict"] == "supported" and diagnosis in c["diagnoses"]]
        for part, name in CLAIMS.items()
    }
    channels = [channel["name"] for channel in occlusion.processor.feature_extractor.channels]
    spans = [span for claim in rests_on["note"] for span in claim["spans"]]
    measured = {(claim["channel"], hour) for claim in rests_on["series"] for hour in claim["hours"]}
    read = {part: [atom for unit in occlusion.units[part] for atom in unit] for part in CLAIMS}
    return {
        "note": [word for word in read["note"] if any(word[0] < end and start < word[1] for start, end in spans)],
        "series": [(row, i) for row, i in read["series"] if (channels[i], float(occlusion.times[row])) in measured],
    }


def leaves_input(occlusion: Occlusion, parts: Sequence[str], atoms: dict[str, list]) -> bool:
    """Return whether deletion leaves anything of some parts of a record."""
    total = sum(len(unit) for part in parts for unit in occlusion.units[part])
    return sum(len(atoms[part]) for part in parts) < total


def record_drops(occlusion: Occlusion, deletions: list[Deletion], generator: np.random.Generator) -> list[Drop]:
    """Return the drop in probability from each deletion, beside random deletions of the same size."""
    if not deletions:
        return []
    removals = [Removal()]
    for deletion in deletions:
        sizes = {part: len(atoms) for part, atoms in deletion.atoms.items()}
        removals += [Removal(**deletion.atoms), *random_removals(occlusion, sizes, generator)]
    whole, *without = occlusion.logits(removals).split([1] + [1 + DRAWS] * len(deletions))
    return [drop_of(occlusion, *pair, whole[0]) for pair in zip(deletions, without, strict=True)]


def drop_of(occlusion: Occlusion, deletion: Deletion, without: torch.Tensor, whole: torch.Tensor) -> Drop:
    """Compare a diagnosis's score without its evidence, the first of `without`, with those without random units."""
    whole, without = whole[deletion.scorer, deletion.label], without[:, deletion.scorer, deletion.label]
    total = sum(len(unit) for part in deletion.atoms for unit in occlusion.units[part])
    lost = whole.sigmoid() - without.sigmoid()
    falls = (whole - without > NEGLIGIBLE).float()
    return Drop(
        named=float(lost[0]),
        random=float(lost[1:].mean()),
        share=deletion.size / total,
        falls=float(falls[0]),
        random_falls=float(falls[1:].mean()),
    )


def named_atoms(units: list[Unit], effects: torch.Tensor) -> list:
    """Return the units with the largest positive effects, until they hold `SHARE` of all atoms."""
    wanted, atoms = SHARE * sum(map(len, units)), []
    for i in effects.argsort(descending=True).tolist():
        if effects[i] <= NEGLIGIBLE or len(atoms) >= wanted:
            break
        atoms += units[i]
    return atoms


def random_removals(occlusion: Occlusion, sizes: dict[str, int], generator: np.random.Generator) -> list[Removal]:
    """Return `DRAWS` random removals: units in a random order, with the given number of atoms of each part."""

    def draw(units: list[Unit], size: int) -> list:
        atoms = [atom for i in generator.permutation(len(units)) for atom in units[i]]
        first = generator.integers(max(len(atoms), 1))  # otherwise cuts would favour the first word of a clause
        return (atoms[first:] + atoms[:first])[:size]

    return [Removal(**{part: draw(occlusion.units[part], size) for part, size in sizes.items()}) for _ in range(DRAWS)]


def paired_test(drops: list[tuple]) -> dict:
    """
    Return the figures of one test, as in `deletion_metrics`.

    Args:
        drops (list of tuples): for each diagnosis its patient, and the fields of [`Drop`].
    """
    patients, owner = np.unique([patient for patient, *_ in drops], return_inverse=True)
    values = np.array([numbers for _, *numbers in drops])
    number = np.bincount(owner)
    named, random, share, falls, random_falls = (np.bincount(owner, column) / number for column in values.T)
    difference = named - random

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"difference": divide(weights @ difference, weights.sum(axis=1))}

    return {
        "patients": len(patients),
        "diagnoses": len(drops),
        "share": float(share.mean()),
        "named": float(named.mean()),
        "random": float(random.mean()),
        "falls": float(falls.mean()),
        "random_falls": float(random_falls.mean()),
        "difference": float(difference.mean()),
        "interval": intervals(figures, patients)["difference"],
        "p_value": sign_flip_test(difference),
    }


def sign_flip_test(differences: np.ndarray, seed: int = 0) -> float:
    """
    Return the two-sided p-value of a mean difference: the share of `FLIPS` random choices of the differences' signs
    with a mean at least as far from zero, the observed one included (Fisher's randomisation test of pairs).
    """
    generator, as_far = np.random.default_rng(seed), 0
    for _ in range(FLIPS // CHUNK):
        signs = generator.integers(0, 2, (CHUNK, len(differences))) * 2 - 1
        as_far += int((np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).sum())
    return (1 + as_far) / (1 + FLIPS)
