# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The results of a plan as one table: means over seeds, 95% intervals over patients, differences from a reference."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.evaluation.figures.intervals import intervals, macro_ranking_figures, set_figures
from recipes.evaluation.figures.metrics import label_cells
from recipes.evaluation.report.folder import read_metrics, read_predictions
from recipes.reproduction.plan import Plan, Row


Figures = Callable[[np.ndarray], dict[str, np.ndarray]]  # weights (num_resamples, num_records) -> figures

SETS = ("micro_f1", "macro_f1", "micro_precision", "micro_recall", "exact_match")
RANKED = ("decided_f1", "macro_auroc")
COMPARED = ("micro_f1", "macro_f1", "decided_f1", "macro_auroc")
COLUMNS = {  # of the Markdown and LaTeX tables; the CSV holds every figure
    "micro_f1": "micro-F1",
    "micro_f1_difference": "difference in micro-F1",
    "macro_f1": "macro-F1",
    "decided_f1": "micro-F1 of probabilities",
    "decided_f1_difference": "difference in it",
    "macro_auroc": "macro-AUROC",
    "calibration_error": "ECE",
    "bleu": "BLEU",
    "supported": "claims supported",
    "minutes": "training minutes",
}


def collect(plan: Plan) -> list[dict]:
    """
    Return a `dict` for each row: `name`, `group`, `seeds`, `against`, and for each figure its mean over seeds, with
    `NAME_low` and `NAME_high` (95%, by resampling patients, the same resample for all seeds) and `NAME_sd` (over
    seeds) where defined. `NAME_difference`, for figures of `COMPARED`, is the figure minus that of the row it is
    compared with. `micro_f1` is of the written diagnoses, `decided_f1` of those with a probability of 0.5 or more,
    `calibration_error` the mean over seeds of the expected calibration error.

    Raises:
        ClinRaGenInputError: if two rows that are compared differ in their records.
    """
    runs = {row.name: _Runs(plan, row) for row in plan.rows}
    results = []
    for row in plan.rows:
        own, against = runs[row.name], row.against or plan.reference
        result = {"name": row.name, "group": row.group, "seeds": len(own.answers), "against": against}
        result |= own.figures()
        if row.name != against and against in runs:
            result |= own.differences(runs[against])
        results.append(result)
    return results


class _Runs:
    """Answers of one row's models to the test records, for each seed."""

    def __init__(self, plan: Plan, row: Row):
        keys = [key for key in plan.reports if key[0] == row.name]
        reports = [plan.reports[key] for key in keys]
        self.name = row.name
        self.metrics = [read_metrics(report) for report in reports]
        runs = [read_predictions(report) for report in reports]
        names = sorted(self.metrics[0]["diagnosis"]["per_label"])
        self.records = [prediction["stay_id"] for prediction in runs[0]]
        self.patients = [prediction["subject_id"] for prediction in runs[0]]
        self.gold, _ = label_cells(runs[0], names)
        self.answers = [label_cells(run, names)[1] for run in runs]
        self.rankings = [_ranking(run, self.gold, names) for run in runs]
        self.writes = any(p["note_rationale"] or p["lab_rationale"] for run in runs for p in run)
        self.minutes = [_minutes(plan.models.get(key, ()), m) for key, m in zip(keys, self.metrics, strict=True)]

    def mean(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the figures under each row of weights, mean over seeds; AUROC if every seed has probabilities."""
        seeds = [set_figures(self.gold, answer)(weights) for answer in self.answers]
        found = {name: np.mean([figures[name] for figures in seeds], axis=0) for name in SETS}
        if all(self.rankings):
            ranked = [ranking(weights) for ranking in self.rankings]
            found |= {name: np.mean([figures[name] for figures in ranked], axis=0) for name in RANKED}
        return found

    def figures(self) -> dict:
        found: dict = {}
        bounds = intervals(self.mean, self.patients)
        once = _once(self.records)
        for name, value in self.mean(once).items():
            found[name], (found[f"{name}_low"], found[f"{name}_high"]) = float(value[0]), bounds[name]
            seeds = self.rankings if name in RANKED else [set_figures(self.gold, answer) for answer in self.answers]
            found[f"{name}_sd"] = _standard_deviation([float(figures(once)[name][0]) for figures in seeds])
        if self.writes:
            written = {name: _seed_values(self.metrics, _mean_of_parts(name)) for name in ("bleu", "rougeL")}
            written["supported"] = _seed_values(self.metrics, lambda metrics: metrics["claims"]["supported"])
            for name, values in written.items():
                found[name], found[f"{name}_sd"] = (
                    (float(np.mean(values)), _standard_deviation(values)) if values else (None, None)
                )
        errors = _seed_values(
            self.metrics, lambda metrics: metrics.get("calibration", {}).get("expected_calibration_error")
        )
        found["calibration_error"] = float(np.mean(errors)) if errors else None
        found["parameters"] = self.metrics[0]["run"]["num_parameters"]
        return {**found, "minutes": float(np.mean(self.minutes))}

    def differences(self, other: _Runs) -> dict:
        if self.records != other.records or not np.array_equal(self.gold, other.gold):
            raise ClinRaGenInputError(f"rows {self.name!r} and {other.name!r} are not about the same records")

        def less(weights: np.ndarray) -> dict[str, np.ndarray]:
            mine, theirs = self.mean(weights), other.mean(weights)
            return {
                f"{name}_difference": mine[name] - theirs[name] for name in COMPARED if name in mine and name in theirs
            }

        bounds, found = intervals(less, self.patients), {}
        for name, value in less(_once(self.records)).items():
            found[name], (found[f"{name}_low"], found[f"{name}_high"]) = float(value[0]), bounds[name]
        return found


def _ranking(run: list[dict], gold: np.ndarray, names: list[str]) -> Figures | None:
    """
    Return the `RANKED` figures of the probabilities under weights; `None` without probabilities. An unreadable record
    has neither probabilities nor diagnoses.
    """
    scored = [i for i, prediction in enumerate(run) if prediction["probabilities"]]
    if not scored:
        return None
    probabilities = np.array([[run[i]["probabilities"][name] for name in names] for i in scored])
    decided = np.zeros_like(gold)
    decided[scored] = probabilities >= 0.5
    sets, ranked = set_figures(gold, decided), macro_ranking_figures(gold[scored], probabilities)
    return lambda weights: {
        "decided_f1": sets(weights)["micro_f1"],
        "macro_auroc": ranked(weights[:, scored])["macro_auroc"],
    }


def _once(records: list) -> np.ndarray:
    return np.ones((1, len(records)), dtype=np.float32)


def _seed_values(metrics: list[dict], figure: Callable[[dict], float | None]) -> list[float]:
    """Return a figure of each seed's metrics; undefined ones are left out."""
    return [value for value in map(figure, metrics) if value is not None]


def _mean_of_parts(name: str) -> Callable[[dict], float | None]:
    """Return the mean of a figure over the written parts of the rationale."""

    def figure(metrics: dict) -> float | None:
        parts = [part[name] for part in metrics.get("rationale", {}).values() if part["words"]]
        return float(np.mean(parts)) if parts else None

    return figure


def _standard_deviation(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _minutes(models: list[Path], metrics: dict) -> float:
    """Return the training time of the stages, or of the baseline, in minutes."""
    logs = [json.loads((model / "training.json").read_text(encoding="utf-8"))["log"] for model in models]
    seconds = sum(entry.get("train_runtime", 0.0) for log in logs for entry in log)
    return (seconds if models else metrics["run"]["seconds"]) / 60


def write_tables(folder: Path, plan: Plan, results: list[dict]) -> None:
    """Write the results as `table.md`, `table.csv` and `table.tex`."""
    (folder / "table.md").write_text(markdown(plan, results), encoding="utf-8")
    (folder / "table.tex").write_text(latex(plan, results), encoding="utf-8")
    with open(folder / "table.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for result in results for name in result)))
        writer.writeheader()
        writer.writerows(results)


def _columns(results: list[dict]) -> dict[str, str]:
    return {name: title for name, title in COLUMNS.items() if any(r.get(name) is not None for r in results)}


def _cell(result: dict, name: str, reference: str) -> str:
    value = result.get(name)
    if value is None:
        return "-"
    if name in ("bleu", "minutes"):
        return f"{value:.1f}"
    if name.endswith("_difference"):
        versus = "" if result["against"] == reference else f", to {result['against']}"
        return f"{value:+.3f} ({result[f'{name}_low']:+.3f} to {result[f'{name}_high']:+.3f}{versus})"
    if f"{name}_low" in result:
        return f"{value:.3f} ({result[f'{name}_low']:.3f} to {result[f'{name}_high']:.3f})"
    return f"{value:.3f}"


def _grouped(results: list[dict]) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for result in results:
        groups.setdefault(result["group"], []).append(result)
    return groups


def markdown(plan: Plan, results: list[dict]) -> str:
    columns = _columns(results)
    lines = ["| " + " | ".join(["", "seeds", *columns.values()]) + " |", "| --- " * (len(columns) + 2) + "|"]
    for group, members in _grouped(results).items():
        lines += [f"| **{group}** |" + " |" * (len(columns) + 1)] if group else []
        for result in members:
            cells = [_cell(result, name, plan.reference) for name in columns]
            lines.append("| " + " | ".join([result["name"], str(result["seeds"]), *cells]) + " |")
    return "\n".join(lines) + "\n"


_TEX = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"})


def latex(plan: Plan, results: list[dict]) -> str:
    """Return a `tabular` for the package booktabs."""
    columns = _columns(results)
    rows = [" & ".join(["", "seeds", *columns.values()]) + r" \\", r"\midrule"]
    for number, (group, members) in enumerate(_grouped(results).items()):
        rows += [r"\midrule"] if number else []
        rows += [rf"\multicolumn{{{len(columns) + 2}}}{{l}}{{\textit{{{group.translate(_TEX)}}}}} \\"] if group else []
        for result in members:
            cells = [_cell(result, name, plan.reference).translate(_TEX) for name in columns]
            rows.append(" & ".join([result["name"].translate(_TEX), str(result["seeds"]), *cells]) + r" \\")
    body = "\n".join(rows)
    return f"\\begin{{tabular}}{{l{'r' * (len(columns) + 1)}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
