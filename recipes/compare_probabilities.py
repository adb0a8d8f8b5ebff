# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Compare ways to get the probability of each diagnosis from one model: what its decoder says, its diagnosis head, and
their mix.

    python recipes/compare_probabilities.py --model runs/quickstart/stage3 --dataset runs/quickstart/dataset \
        --split test --output runs/quickstart/probabilities

leaves `comparison.json`, `comparison.md` and `reliability.png`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm

from datasets_scripts.command import check_free, finished_folder, run_command
from modeling_clinragen import ClinRaGenForConditionalGeneration, ClinRaGenInputError, ClinRaGenProcessor
from modeling_clinragen.generation_clinragen import DiagnosisGrammar
from modeling_clinragen.processing_clinragen import NO_NOTE, PROMPT
from recipes.data import load_records, multi_hot
from recipes.evaluation.calibration import CalibrationFigures, calibration, equal_mass_bins
from recipes.evaluation.intervals import intervals, ranking_figures, set_figures
from recipes.evaluation.likelihood import listed_shares, name_log_probabilities, undecided
from recipes.evaluation.plots import plot_reliability
from recipes.fitting import fit_mixture, fit_temperature, fit_thresholds
from recipes.model_folder import load_model_folder


FOLDS = 5
FIGURES = {
    "micro_auroc": "micro-AUROC",
    "macro_auroc": "macro-AUROC",
    "micro_auprc": "micro-AUPRC",
    "macro_auprc": "macro-AUPRC",
    "expected_calibration_error": "ECE",
    "brier_score": "Brier score",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
}


@dataclass(frozen=True)
class Candidate:
    """
    A way to get probabilities.

    Args:
        score (`str`): what it is made of, a name in `Scores`.
        maps (`str`): how that becomes a logit: `"stored"`, as the model has it; `"temperature"`; or `"affine"`.
        less_mean (`bool`): the mean over the records to fit on is subtracted from each label, as its prior.
    """

    score: str
    maps: str
    less_mean: bool = False


REFERENCE, MIX = "head as stored", "head and decoder mixed"
CANDIDATES = {
    REFERENCE: Candidate("head", "stored"),
    "head fitted alike": Candidate("head", "temperature"),
    "head: encoder alone": Candidate("encoder", "temperature"),
    "head: linear classifier alone": Candidate("linear", "temperature"),
    "name": Candidate("name", "affine"),
    "name less empty record": Candidate("name less empty record", "affine"),
    "name less mean": Candidate("name", "affine", less_mean=True),
    "name per token less mean": Candidate("name per token", "affine", less_mean=True),
    "first name in the trie": Candidate("first name", "affine"),
    "sampled lists": Candidate("lists", "affine"),
    "name less mean, decisions hidden": Candidate("name, hidden", "affine", less_mean=True),
    "first name in the trie, decisions hidden": Candidate("first name, hidden", "affine"),
    "sampled lists, decisions hidden": Candidate("lists, hidden", "affine"),
}


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description="Compare ways to get probabilities of diagnoses from one model.")
    parser.add_argument("--model", required=True, help="model folder, with a diagnosis head")
    parser.add_argument("--dataset", required=True, help="dataset folder")
    parser.add_argument("--split", default="test", help="what the figures are of; default: test")
    parser.add_argument(
        "--fit-split",
        help="records by which scores become probabilities and thresholds are chosen; the model must not have seen "
        "them, as the linear classifier has seen validation. Default: each fifth of the patients of --split by the "
        "other four",
    )
    parser.add_argument("--samples", type=int, default=20, help="lists that the decoder writes of each; default: 20")
    parser.add_argument("--batch-size", type=int, default=16, help="default: 16")
    parser.add_argument("--limit", type=int, help="only the first N records of a split")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    check_free(arguments.output)
    if arguments.samples < 1:
        raise ClinRaGenInputError(f"--samples is {arguments.samples}; give at least 1")
    model, processor = load_model_folder(arguments.model)
    check_model(model, arguments.model)
    splits = [arguments.fit_split, arguments.split] if arguments.fit_split else [arguments.split]
    parts = [readable(load_records(arguments.dataset, split, limit=arguments.limit), processor) for split in splits]
    scored = [score_records(model, processor, part, arguments.samples, arguments.batch_size) for part in parts]
    scores = {name: np.concatenate([part.values(name) for part in scored]) for name in scored[-1].parts}
    gold = multi_hot([ids for part in parts for ids in part["diagnoses"]], len(processor.labels)).astype(int)
    patients = np.array([patient for part in parts for patient in part["subject_id"]])
    folds = folds_of([len(part) for part in parts], patients)
    fitted = fit_candidates(scores, gold, folds, np.array(model.config.diagnosis_thresholds))
    tested = np.sort(np.concatenate([rows for _, rows in folds]))
    candidates = compare(fitted, gold, patients, tested)
    for name, entry in candidates.items():
        sources = [CANDIDATES[name].score] if name in CANDIDATES else {found["decoder"] for found in entry["fitted"]}
        entry["seconds_per_record"] = max(scored[-1].seconds[source] for source in sources) / len(parts[-1])
    comparison = {
        "run": {name: value if value is None else str(value) for name, value in vars(arguments).items()},
        "records": len(tested),
        "patients": len(set(patients[tested])),
        "reference": REFERENCE,
        "candidates": candidates,
    }
    with finished_folder(arguments.output) as aside:
        (aside / "comparison.json").write_text(json.dumps(comparison, indent=1), encoding="utf-8")
        (aside / "comparison.md").write_text(table(comparison), encoding="utf-8")
        plot_reliability(aside / "reliability.png", {name: entry["bins"] for name, entry in candidates.items()})
    print(table(comparison))
    return comparison


def check_model(model: ClinRaGenForConditionalGeneration, folder: str) -> None:
    token_ids = model.config.diagnosis_token_ids
    if not model.config.is_encoder_decoder:
        raise ClinRaGenInputError(
            f"{folder} holds a decoder-only model; only the decoders of seq2seq models are asked"
        )
    if model.diagnosis_head is None:
        raise ClinRaGenInputError(f"{folder} has no diagnosis head to compare with: diagnosis_loss_weight is 0")
    if not token_ids or token_ids["opens_anywhere"]:
        raise ClinRaGenInputError(f"{folder}: its texts do not begin with the list of diagnoses; train it so")


def readable(records: Dataset, processor: ClinRaGenProcessor) -> Dataset:
    """The records that hold something of what the model reads."""
    rows = records.select_columns(["note", "lab_values", "lab_times"])
    return records.select([i for i, row in enumerate(rows) if processor.can_read(**row, where=f"row {i}")])


def folds_of(sizes: list[int], patients: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows to measure on: the two splits, or of one split the folds of its patients."""
    if len(sizes) == 2:
        return [(np.arange(sizes[0]), np.arange(sizes[0], sum(sizes)))]
    number = min(FOLDS, len(set(patients)))
    if number < 2:
        raise ClinRaGenInputError("the split holds one patient only; name a --fit-split")
    return list(GroupKFold(number).split(patients, groups=patients))


@dataclass
class Scores:
    """Scores by name, a part of shape `(batch_size, num_labels)` for each batch, and the processor time of each."""

    parts: dict[str, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, before: float = 0.0) -> Iterator[Callable[[str, torch.Tensor], None]]:
        """What is added inside takes as long as the block, and `before`."""
        started, names = time.process_time(), []

        def add(name: str, values: torch.Tensor) -> None:
            self.parts[name].append(values.detach().float().cpu().numpy())
            names.append(name)

        yield add
        for name in names:
            self.seconds[name] += before + time.process_time() - started

    def values(self, name: str) -> np.ndarray:
        return np.concatenate(self.parts[name])


@torch.no_grad()
def score_records(
    model: ClinRaGenForConditionalGeneration,
    processor: ClinRaGenProcessor,
    records: Dataset,
    num_samples: int,
    batch_size: int,
) -> Scores:
    """All scores of all records: logits, or log-probabilities of what the decoder would write."""
    torch.manual_seed(0)
    grammar, scores = DiagnosisGrammar(**model.config.diagnosis_token_ids), Scores()
    num_tokens = torch.tensor([len(name) for name in grammar.names], device=model.device)
    prompt = processor.tokenizer([PROMPT.format(note=NO_NOTE)], return_tensors="pt")
    nothing, _ = name_log_probabilities(model, model.encode(prompt["input_ids"].to(model.device)), grammar)
    for start in tqdm(range(0, len(records), batch_size), desc="Scoring", unit="batch"):
        rows = records[start : start + batch_size]
        batch = processor(rows["note"], rows["lab_values"], rows["lab_times"], return_tensors="pt").to(model.device)
        with scores.timed() as add:
            began = time.process_time()
            encoded = model.encode(**batch)
            encoding = time.process_time() - began
            add("head", encoded.diagnosis_logits)
            for name, logits in zip(("encoder", "linear"), encoded.member_logits.unbind(dim=1), strict=False):
                add(name, logits)
        for view, seen in (("", encoded), (", hidden", undecided(model, encoded))):
            with scores.timed(encoding) as add:
                free, in_list = name_log_probabilities(model, seen, grammar)
                add(f"name{view}", free)
                add(f"first name{view}", in_list)
                if not view:
                    add("name less empty record", free - nothing)
                    add("name per token", free / num_tokens)
            with scores.timed(encoding) as add:
                listed = num_samples * listed_shares(model, processor, seen, grammar, num_samples)
                add(f"lists{view}", ((listed + 0.5) / (num_samples + 1)).logit())
    return scores


@dataclass
class Fitted:
    """
    What a candidate says of each record, once its map and thresholds are chosen.

    Args:
        logits (array of shape `(num_records, num_labels)`), made (bool array of that shape): the diagnoses.
        fitted (list of `dict`): what was chosen in each fold.
    """

    logits: np.ndarray
    made: np.ndarray
    fitted: list[dict] = field(default_factory=list)


def fit_candidates(
    scores: dict[str, np.ndarray], gold: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], stored: np.ndarray
) -> dict[str, Fitted]:
    """
    Each candidate's map and thresholds, chosen on the first rows of a fold for its second.

    Args:
        scores (`dict`): name -> array of shape `(num_records, num_labels)`.
        gold (array of 0 and 1 of that shape).
        folds (list of pairs of index arrays): see `folds_of`.
        stored (array of shape `(num_labels,)`): the model's own thresholds, for what is taken as stored.
    """
    present = {name: candidate for name, candidate in CANDIDATES.items() if candidate.score in scores}
    found = {name: Fitted(np.zeros(gold.shape), np.zeros(gold.shape, dtype=bool)) for name in (*present, MIX)}
    for fit, rows in folds:
        if not 0 < gold[fit].sum() < gold[fit].size:
            raise ClinRaGenInputError("the records to fit on hold no diagnosis; give more with --fit-split")
        logits, chosen = {}, {}
        for name, candidate in present.items():
            logits[name], chosen[name] = map_scores(candidate, scores[candidate.score], gold, fit)
        logits[MIX], chosen[MIX] = mix_with_decoder(logits, gold, fit)
        for name, values in logits.items():
            thresholds = stored if name == REFERENCE else fit_thresholds(sigmoid(values[fit]), gold[fit])
            found[name].logits[rows] = values[rows]
            found[name].made[rows] = sigmoid(values[rows]) >= thresholds
            found[name].fitted.append(chosen[name])
    return found


def map_scores(candidate: Candidate, scores: np.ndarray, gold: np.ndarray, fit: np.ndarray) -> tuple[np.ndarray, dict]:
    """Logits of all records, by what gives the least cross-entropy on the rows `fit`; and what that is."""
    if candidate.maps == "stored":
        return scores, {}
    if candidate.maps == "temperature":
        _, temperature = fit_temperature(_tensor(scores[fit]), _tensor(gold[fit]))
        return scores / temperature, {"temperature": temperature}
    if candidate.less_mean:
        scores = scores - scores[fit].mean(axis=0)
    scale = max(float(scores[fit].std()), 1e-6)
    regression = LogisticRegression(C=1e6).fit(scores[fit].reshape(-1, 1) / scale, gold[fit].ravel())
    slope, offset = float(regression.coef_[0, 0]) / scale, float(regression.intercept_[0])
    return slope * scores + offset, {"slope": slope, "offset": offset}


def mix_with_decoder(logits: dict[str, np.ndarray], gold: np.ndarray, fit: np.ndarray) -> tuple[np.ndarray, dict]:
    """The head and the decoder's candidate of least cross-entropy on the rows `fit`, mixed as fits these best."""
    target = _tensor(gold[fit])
    decoders = [name for name in logits if CANDIDATES[name].maps == "affine"]
    best = min(decoders, key=lambda name: float(binary_cross_entropy_with_logits(_tensor(logits[name][fit]), target)))
    share, temperature, _ = fit_mixture(_tensor(logits[REFERENCE][fit]), _tensor(logits[best][fit]), target)
    mixed = (1 - share) * logits[REFERENCE] + share * logits[best]
    return mixed / temperature, {
        "candidate": best,
        "decoder": CANDIDATES[best].score,
        "share": share,
        "temperature": temperature,
    }


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.as_tensor(logits).sigmoid().numpy()


def compare(
    candidates: dict[str, Fitted], gold: np.ndarray, patients: np.ndarray, rows: np.ndarray
) -> dict[str, dict]:
    """
    Of each candidate, on these rows: figures with 95% intervals over patients, their differences from `REFERENCE` on
    the same resamples, and the bins of its calibration.
    """
    gold, owners = gold[rows], patients[rows].tolist()
    figures = {
        name: candidate_figures(gold, sigmoid(candidate.logits[rows]), candidate.made[rows])
        for name, candidate in candidates.items()
    }

    def all_figures(weights: np.ndarray) -> dict[tuple, np.ndarray]:
        values = {name: of(weights) for name, of in figures.items()}
        found = {(name, figure): values[name][figure] for name in values for figure in FIGURES}
        differences = {
            (name, figure, "difference"): found[name, figure] - found[REFERENCE, figure] for name, figure in found
        }
        return found | differences

    whole = {key: float(value[0]) for key, value in all_figures(np.ones((1, len(rows)))).items()}
    sure = intervals(all_figures, owners)
    return {
        name: {
            "figures": {figure: whole[name, figure] for figure in FIGURES},
            "intervals": {figure: sure[name, figure] for figure in FIGURES},
            "differences": {figure: whole[name, figure, "difference"] for figure in FIGURES},
            "difference_intervals": {figure: sure[name, figure, "difference"] for figure in FIGURES},
            "bins": calibration(gold, sigmoid(candidate.logits[rows]), owners)[0]["bins"],
            "fitted": candidate.fitted,
        }
        for name, candidate in candidates.items()
    }


def candidate_figures(
    gold: np.ndarray, probabilities: np.ndarray, made: np.ndarray
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """`FIGURES` under weights of the records, for `intervals`."""
    parts = [
        ranking_figures(gold, probabilities),
        CalibrationFigures(gold.astype(float), probabilities, equal_mass_bins(probabilities, 10)),
        set_figures(gold.astype(bool), made),
    ]

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {name: value for part in parts for name, value in part(weights).items()}
        return {name: found[name] for name in FIGURES}

    return figures


def table(comparison: dict) -> str:
    """Markdown: the figures with their intervals, and beside them the difference from the reference."""
    lines = [
        f"{comparison['records']} records of {comparison['patients']} patients; differences from the first row.",
        "",
    ]
    lines += ["| probabilities | " + " | ".join(FIGURES.values()) + " | seconds a record |"]
    lines += ["| --- " * (len(FIGURES) + 2) + "|"]
    for name, entry in comparison["candidates"].items():
        cells = [_cell(entry, figure, name == comparison["reference"]) for figure in FIGURES]
        lines.append(f"| {name} | {' | '.join(cells)} | {entry['seconds_per_record']:.4f} |")
    return "\n".join(lines) + "\n"


def _cell(entry: dict, figure: str, is_reference: bool) -> str:
    interval = entry["intervals" if is_reference else "difference_intervals"][figure]
    if interval is None:
        return "-"
    low, high = interval
    value, difference = entry["figures"][figure], entry["differences"][figure]
    if is_reference:
        return f"{value:.3f} ({low:.3f} to {high:.3f})"
    return f"{value:.3f}, {difference:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    run_command(main)
