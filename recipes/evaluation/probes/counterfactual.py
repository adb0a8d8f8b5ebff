# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Effect of each input (counterfactual ablation): the same records once more, with the note blanked, the series blanked,
each patient's series exchanged for another's, or the knowledge shuffled.

A condition generates new answers, rationales included, for the records that it can change; the others keep theirs.
All four together cost at most four times as much as the evaluation. (With the release's unmasked generation, an
answer also depends on its batch, and the batches differ here: small differences then mean nothing.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset

from modeling_clinragen import ClinRaGenLanguageModel, ClinRaGenPipeline
from modeling_clinragen.claims_clinragen import ClaimChecker
from recipes.evaluation.figures.intervals import compare_sets, intervals, once, set_figures
from recipes.evaluation.figures.metrics import cells_of
from recipes.evaluation.prediction import predict


FIGURES = ("micro_f1", "macro_f1")
SERIES = ("lab_times", "lab_values")


@dataclass(frozen=True)
class Condition:
    """
    Args:
        rows (list of `int`): positions of the records that it can change.
        change (callable, *optional*): as `predict` takes it, positions counted among `rows`.
        model (context manager): changes the model while the condition runs.
    """

    rows: list[int]
    change: Callable[[int, dict], dict] | None = None
    model: AbstractContextManager = field(default_factory=nullcontext)


def counterfactual_metrics(
    pipe: ClinRaGenPipeline,
    records: Dataset,
    given: list[dict],
    batch_size: int,
    seed: int = 0,
    grounded: bool = True,
    num_beams: int = 1,
) -> dict[str, dict]:
    """
    Return the figures of `given` and of each condition that applies, all on the same records.

    Args:
        given (list of `dict`): the predictions of `records` as they are.
        seed (`int`): of the exchange of series between patients, and of the shuffled knowledge.
        grounded (`bool`), num_beams (`int`): as the pipeline takes them; like those of `given`.

    Returns:
        Under `"as given"` and the names of `conditions_of`: `records`; `unreadable` (no input of the model is left:
        predicted to have no disease); `abstained`, the share for which the model abstains;
        `micro_f1`, `macro_f1` and their `intervals`; `claims` about the series and `claims_supported`, the share that
        the patient's true values support. Under a condition also
        `difference` of these two from as given, with its intervals (`difference_micro_f1` and so on) and the `p_value`
        of a test paired by patients; `changed`, the share of records with another list of diagnoses;
        `mean_probability_shift`, the mean absolute change of a diagnosis' probability over the records that are
        readable both times (`None` without any, or without diagnosis head).
    """
    comparison = Comparison(pipe, records, given)
    found = {"as given": comparison.figures(given)}
    for name, condition in conditions_of(pipe, records, seed).items():
        predictions = list(given)
        with condition.model:
            chosen = records.select(condition.rows)
            answers = predict(pipe, chosen, batch_size, num_beams, condition.change, name, grounded)
            for i, answer in zip(condition.rows, answers, strict=True):
                predictions[i] = answer
        own, beside = comparison.figures(predictions), comparison.differences(predictions)
        found[name] = {**own, **beside, "intervals": own["intervals"] | beside["intervals"]}
    return found


def conditions_of(pipe: ClinRaGenPipeline, records: Dataset, seed: int) -> dict[str, Condition]:
    """Return the conditions that can change the model's input, by name: none of the series if it reads only notes."""
    reads, found = pipe.processor.modalities, {}
    with_note = [i for i, note in enumerate(records["note"]) if note and note.strip()]
    with_series = [i for i, times in enumerate(records["lab_times"]) if len(times)]
    if "note" in reads and with_note:
        found["note blanked"] = Condition(with_note, lambda i, row: {**row, "note": ""})
    if "lab" not in reads or not with_series:
        return found
    found["series blanked"] = Condition(with_series, lambda i, row: {**row, "lab_times": [], "lab_values": []})
    donor = donors_of([records["subject_id"][i] for i in with_series], seed)
    if donor is not None:
        series = records.select_columns(list(SERIES)).select([with_series[i] for i in donor])
        found["series swapped"] = Condition(with_series, lambda i, row: {**row, **series[i]})
    if pipe.model.config.num_knowledge_tokens > 1:
        filled = pipe.processor.feature_extractor.grid == "paper"  # then records without series attend too
        rows = list(range(len(records))) if filled else with_series
        found["knowledge shuffled"] = Condition(rows, model=shuffled_knowledge(pipe.model, seed))
    return found


def donors_of(subject_ids: Sequence[str], seed: int) -> list[int] | None:
    """
    Return for each stay the position of the stay that gives it its series; `None` if there is only one patient.

    Each patient gets the series of exactly one other patient. Their stays are paired in order; if the other patient
    has fewer, their stays are used again from the first.
    """
    stays = defaultdict(list)
    for i, subject_id in enumerate(subject_ids):
        stays[subject_id].append(i)
    if len(stays) < 2:
        return None
    patients, donor = list(stays), [0] * len(subject_ids)
    for patient, other in zip(patients, derangement(len(patients), seed), strict=True):
        theirs = stays[patients[other]]
        for k, i in enumerate(stays[patient]):
            donor[i] = theirs[k % len(theirs)]
    return donor


def derangement(number: int, seed: int) -> np.ndarray:
    """Return a random permutation of `number` (at least 2) items without a fixed point: a single cycle."""
    circle = np.random.default_rng(seed).permutation(number)
    moved = np.empty_like(circle)
    moved[circle] = np.roll(circle, 1)
    return moved


@contextmanager
def shuffled_knowledge(model: ClinRaGenLanguageModel, seed: int) -> Iterator[None]:
    """
    Shuffle the knowledge within the block: a patch that attends to one term (or prototype) gets the value of another,
    as keys stay and values are permuted. A term that a record shows is evidence for the diagnoses of another term.

    Permuting keys and values alike would change nothing, because attention does not depend on their order.
    """

    def shuffle(module, inputs, values):  # (num_knowledge_tokens, width)
        return values[derangement(len(values), seed)]

    handle = model.knowledge_attention.value.register_forward_hook(shuffle)
    linear = getattr(model.diagnosis_head, "linear", None)
    links = getattr(linear, "term_links", None)
    if links is not None:
        linear.term_links = links[:, derangement(links.shape[1], seed)]
    try:
        yield
    finally:
        handle.remove()
        if links is not None:
            linear.term_links = links


def abstained(prediction: dict) -> bool:
    """Return `True` if the model abstained, or there was nothing to read."""
    return prediction["doubt"]["abstain"] if prediction.get("doubt") else not prediction["readable"]


class Comparison:
    """Compares predictions of the same records with the recorded diagnoses and with the predictions as given."""

    def __init__(self, pipe: ClinRaGenPipeline, records: Dataset, given: list[dict]):
        self.labels = pipe.processor.labels
        self.position = {label: i for i, label in enumerate(self.labels)}
        self.check = ClaimChecker(pipe.processor.feature_extractor.channels)
        self.english = pipe.processor.spoken.english
        self.series = records.select_columns(list(SERIES))
        self.patients = records["subject_id"]
        self.true = cells_of(records["diagnoses"], len(self.labels))
        self.given = given

    def figures(self, predictions: list[dict]) -> dict:
        """Return the figures of one run alone."""
        figures = set_figures(self.true, self._predicted(predictions))
        whole, bounds = once(figures, len(self.true)), intervals(figures, self.patients)
        supported, total = self._claims(predictions)
        return {
            "records": len(predictions),
            "unreadable": sum(not prediction["readable"] for prediction in predictions),
            "abstained": float(np.mean([abstained(prediction) for prediction in predictions])),
            **{name: whole[name] for name in FIGURES},
            "intervals": {name: bounds[name] for name in FIGURES},
            "claims": total,
            "claims_supported": supported / total if total else None,
        }

    def differences(self, predictions: list[dict]) -> dict:
        """Return the differences of one run from that as given."""
        before, after = self._predicted(self.given), self._predicted(predictions)
        compared = compare_sets(self.true, before, after, self.patients)
        both = [
            (old["probabilities"], new["probabilities"])
            for old, new in zip(self.given, predictions, strict=True)
            if old["probabilities"] and new["probabilities"]
        ]
        shifts = [abs(new[label] - old[label]) for old, new in both for label in self.labels]
        return {
            "difference": {name: compared[name]["difference"] for name in FIGURES},
            "intervals": {f"difference_{name}": compared[name]["interval"] for name in FIGURES},
            "p_value": {name: compared[name]["p_value"] for name in FIGURES},
            "changed": float((before != after).any(axis=1).mean()),
            "mean_probability_shift": float(np.mean(shifts)) if shifts else None,
        }

    def _predicted(self, predictions: list[dict]) -> np.ndarray:
        """Return the diagnoses as a bool array of shape `(num_records, num_labels)`."""
        return cells_of([[self.position[d["label"]] for d in p["diagnoses"]] for p in predictions], len(self.labels))

    def _claims(self, predictions: list[dict]) -> tuple[int, int]:
        """Count the claims about the patients' series that their true values support, and all of them."""
        verdicts = [
            claim.verdict
            for prediction, row in zip(predictions, self.series, strict=True)
            for claim in self.check(self.english(prediction["lab_rationale"]), row["lab_times"], row["lab_values"])
            if claim.channel
        ]
        return verdicts.count("supported"), len(verdicts)
