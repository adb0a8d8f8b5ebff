# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Deletion tests: whether a diagnosis loses more of its probability where the evidence that was named for it is deleted
than where as much is deleted at random.

For each diagnosis that is made, the named units (see `modeling_clinragen.evidence_clinragen`) are deleted together,
those with the largest effect first, until `SHARE` of the note's words, of the measurements or of the attended terms
are gone; at random, units in a random order until exactly as many are gone.

What it shows, and what it does not: evidence is named by deleting one unit at a time, so that a model which judges its
own evidence is asked nearly the same again. That the named wins then says that effects of single units add up, and
are larger than what any deletion does; it would be a fault if it did not. Where the model has two members, the encoder
with its attention and the linear classifier, each therefore also judges what the other named. They share the training
records and the tokens, and nothing else: evidence that convinces both lies in the records rather than in the faults of
one. None of it shows that the evidence is what a clinician would name, nor that it is a cause. Diagnoses without
evidence are not counted, and a deleted record is one that the model may never have seen the like of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

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
# Who names the evidence, and who judges its deletion.
JUDGES = {
    "the model": (MODEL, MODEL),
    "linear classifier, named by the encoder": (ENCODER, LINEAR),
    "encoder, named by the linear classifier": (LINEAR, ENCODER),
}
TESTS = {**{part: (part,) for part in PARTS}, "note and series": ("note", "series")}


def deletion_metrics(pipe: ClinRaGenPipeline, records: Dataset, predictions: list[dict], seed: int = 0) -> dict:
    """
    The deletion tests of the diagnoses made.

    Args:
        predictions (list of `dict`): of `records`, in their order.
        seed (`int`): of what is deleted at random.

    Returns:
        For each of `TESTS` and each of `JUDGES` that applies: `patients` and `diagnoses` for which evidence was
        named and something is left without it; `share`, how much was deleted; `named` and `random`, the mean drop of
        the probability; their `difference`, its 95% `interval` by resampling patients, and the `p_value` of a
        two-sided paired test. Patients count alike, each with the mean over their diagnoses.
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
            for key, found in record_drops(occlusion, made, generator).items():
                drops[key] += [(prediction["subject_id"], *values) for values in found]
    return {
        test: {judge: paired_test(drops[test, judge]) for judge in JUDGES if drops[test, judge]}
        for test in TESTS
        if any(drops[test, judge] for judge in JUDGES)
    }


def record_drops(
    occlusion: Occlusion, labels: Sequence[int], generator: np.random.Generator
) -> dict[tuple[str, str], list[tuple[float, float, float]]]:
    """
    For each test and judge of a record's diagnoses the drop of the probability without the named evidence, the mean
    drop without random units of the same size, and the share that was deleted.
    """
    whole, effects = occlusion.effects()
    judges = {judge: pair for judge, pair in JUDGES.items() if max(pair) < len(whole)}
    asked, removals = [], []
    for judge, (namer, scorer) in judges.items():
        for label in labels:
            named = {part: named_atoms(occlusion.units[part], effects[part][:, namer, label]) for part in PARTS}
            if scorer == LINEAR:
                named["knowledge"] = []  # it reads none
            for test, parts in TESTS.items():
                total = sum(len(unit) for part in parts for unit in occlusion.units[part])
                size = sum(len(named[part]) for part in parts)
                if all(named[part] for part in parts) and size < total:
                    asked.append((test, judge, scorer, label, size / total))
                    removals.append(Removal(**{part: named[part] for part in parts}))
                    removals += random_removals(occlusion, {part: len(named[part]) for part in parts}, generator)
    if not removals:
        return {}
    probabilities = occlusion.logits(removals).sigmoid().unflatten(0, (len(asked), 1 + DRAWS))
    found = defaultdict(list)
    for (test, judge, scorer, label, share), without in zip(asked, probabilities, strict=True):
        lost = whole[scorer, label].sigmoid() - without[:, scorer, label]
        found[test, judge].append((float(lost[0]), float(lost[1:].mean()), share))
    return found


def named_atoms(units: list[Unit], effects: torch.Tensor) -> list:
    """The units with the largest effects, while that is above zero, until they hold `SHARE` of all atoms."""
    wanted, atoms = SHARE * sum(map(len, units)), []
    for i in effects.argsort(descending=True).tolist():
        if effects[i] <= NEGLIGIBLE or len(atoms) >= wanted:
            break
        atoms += units[i]
    return atoms


def random_removals(occlusion: Occlusion, sizes: dict[str, int], generator: np.random.Generator) -> list[Removal]:
    """`DRAWS` times units in a random order, of each part as many atoms as asked; the last unit is cut."""

    def draw(units: list[Unit], size: int) -> list:
        return [atom for i in generator.permutation(len(units)) for atom in units[i]][:size]

    return [Removal(**{part: draw(occlusion.units[part], size) for part, size in sizes.items()}) for _ in range(DRAWS)]


def paired_test(drops: list[tuple[str, float, float, float]]) -> dict:
    """
    Figures of one test, as `deletion_metrics` gives them.

    Args:
        drops (list of tuples): of each diagnosis its patient, the drop without the named evidence, the drop without
            random units, and the share deleted.
    """
    patients, owner = np.unique([patient for patient, *_ in drops], return_inverse=True)
    values = np.array([numbers for _, *numbers in drops])
    number = np.bincount(owner)
    named, random, share = (np.bincount(owner, column) / number for column in values.T)
    difference = named - random

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"difference": divide(weights @ difference, weights.sum(axis=1))}

    return {
        "patients": len(patients),
        "diagnoses": len(drops),
        "share": float(share.mean()),
        "named": float(named.mean()),
        "random": float(random.mean()),
        "difference": float(difference.mean()),
        "interval": intervals(figures, patients)["difference"],
        "p_value": sign_flip_test(difference),
    }


def sign_flip_test(differences: np.ndarray, seed: int = 0) -> float:
    """
    The two-sided p-value of a mean difference: the share of `FLIPS` random choices of the differences' signs whose
    mean is as far from zero, the observed one among them (Fisher's randomisation test of pairs).
    """
    generator, as_far = np.random.default_rng(seed), 0
    for _ in range(FLIPS // CHUNK):
        signs = generator.integers(0, 2, (CHUNK, len(differences))) * 2 - 1
        as_far += int((np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).sum())
    return (1 + as_far) / (1 + FLIPS)
