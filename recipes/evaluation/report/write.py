# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""`report.html`: the figures of one evaluation and some worked patients on a self-contained page."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from matplotlib.ticker import EngFormatter

from modeling_clinragen import ClinRaGenPipeline
from recipes.evaluation.report.charts import Axis, Point, decades
from recipes.evaluation.report.html import render
from recipes.evaluation.report.patients import worked_patients
from recipes.evaluation.report.reader import decoder_rows, decoder_warnings, reader_rows


VERDICTS = ("supported", "contradicted", "absent", "unverifiable")


def write_report(
    folder: Path,
    metrics: dict,
    predictions: list[dict],
    records: Dataset,
    pipe: ClinRaGenPipeline,
    others: dict[str, dict] | None = None,
) -> None:
    """
    Write `report.html` to `folder`.

    Args:
        metrics (`dict`): as `evaluate_model.py` gives it.
        predictions (`list[dict]`): one per record of `records`, in its order.
        pipe (`ClinRaGenPipeline`): that made the predictions.
        others (`dict`, *optional*): report folder -> its metrics, to compare cost and F1 with.
    """
    sections = {
        "Diagnoses": render("diagnoses", metrics=metrics),
        "Each diagnosis": each_diagnosis(metrics),
        "Calibration": calibration(metrics),
        "Doubt": doubt(metrics),
        "What a reader meets": render("reader", rows=reader_rows(metrics)),
        "The decoder alone": decoder(metrics),
        "Faithfulness": faithfulness(metrics),
        "Rationales": rationales(metrics),
        "Use of the inputs": use_of_the_inputs(metrics),
        "Evidence": evidence(metrics),
        "Subgroups": subgroups(metrics),
        "Cost": cost({"this report": metrics, **(others or {})}),
        "Worked patients": worked_patients(predictions, records, pipe),
    }
    sections = {title: content for title, content in sections.items() if content}
    warnings = decoder_warnings(metrics)
    page = render("report", run=metrics["run"], metrics=metrics, sections=sections, warnings=warnings)
    (folder / "report.html").write_text(page + "\n", encoding="utf-8")


def each_diagnosis(metrics: dict) -> str:
    by_support = sorted(metrics["diagnosis"]["per_label"].items(), key=lambda item: -item[1]["support"])
    return render("each_diagnosis", per_label=dict(by_support), bounds=metrics["intervals"].get("per_label", {}))


def calibration(metrics: dict) -> str:
    if "calibration" not in metrics:
        return ""
    figures, bounds = metrics["calibration"], metrics["intervals"]["calibration"]
    bins = list(zip(figures["bins"], bounds["bins"], strict=True))
    points = [Point(cells["predicted"], cells["observed"], interval) for cells, interval in bins]
    return render("calibration", figures=figures, bounds=bounds, bins=bins, points=points)


def doubt(metrics: dict) -> str:
    """Write abstention, the error among the most confident predictions, and what cannot be ruled out."""
    figures = metrics.get("doubt")
    if not figures:
        return ""
    selection = figures["selection"]
    errors = zip(selection["coverage"], selection["error"], selection["intervals"]["error"], strict=True)
    points = [Point(*error) for error in errors]
    highest = max(0.02, *(p.interval[1] if p.interval else p.y for p in points))
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if highest / step <= 5)
    ticks = [i * step for i in range(int(highest / step) + 2)]
    error_axis = Axis(0, ticks[-1], ticks, "share of wrong cells")
    return render("doubt", figures=figures, points=points, error_axis=error_axis)


def decoder(metrics: dict) -> str:
    """Write what the decoder lists and writes by itself."""
    rows = decoder_rows(metrics)
    return render("decoder", rows=rows, seed=metrics["decoder"]["free_list"]["seed"] if rows else None)


def faithfulness(metrics: dict) -> str:
    """Write the verdicts of the rationales' claims, and the agreement of list and rationale."""
    return render("faithfulness", metrics=metrics, groups=claim_counts(metrics), VERDICTS=VERDICTS)


def claim_counts(metrics: dict) -> dict[str, dict[str, dict[str, int]]]:
    """Return heading -> row -> verdict -> count: series claims of each kind, and findings of the note part."""
    groups = {}
    per_kind = metrics["claims"]["per_kind"]
    if per_kind:
        groups["about the series"] = {
            kind: {verdict: found.get(verdict, 0) for verdict in VERDICTS} for kind, found in per_kind.items()
        }
    note = metrics.get("note_claims")
    if note and note["total"]:
        findings = {verdict: round(note.get(verdict, 0) * note["total"]) for verdict in VERDICTS}
        groups["from the note"] = {"findings": findings}
    return groups


def rationales(metrics: dict) -> str:
    """Compare rationales with the teacher's: wording, evidence given, and knowledge used."""
    parts = metrics.get("rationale", {})
    names = dict.fromkeys(name for figures in parts.values() for name in figures)
    return render("rationales", metrics=metrics, parts=parts, names=names)


def use_of_the_inputs(metrics: dict) -> str:
    """Write micro-F1 with parts of the input taken away or exchanged."""
    conditions = metrics.get("counterfactual", {})
    differences = {name: figures for name, figures in conditions.items() if "difference" in figures}
    overall = metrics["diagnosis"]["micro_f1"]
    return render("use_of_the_inputs", conditions=conditions, differences=differences, overall=overall)


def evidence(metrics: dict) -> str:
    """Write deletion tests of the evidence that is named for diagnoses."""
    return render("evidence", tests=metrics.get("deletion", {}))


def subgroups(metrics: dict) -> str:
    """Write micro-F1 of each group of patients, the youngest first."""
    groups = {
        attribute: dict(sorted(values.items(), key=lambda item: (not item[0].startswith("under "), item[0])))
        for attribute, values in metrics.get("subgroups", {}).items()
        if values
    }
    return render("subgroups", groups=groups, overall=metrics["diagnosis"]["micro_f1"])


def cost(reports: dict[str, dict]) -> str:
    """Write the cost and F1 of each report's model, as a table, and as charts where there are two or more."""
    rows = [_cost_of(name, metrics) for name, metrics in reports.items()]
    measures = {
        "parameters": ([row["run"]["num_parameters"] for row in rows], EngFormatter(sep="")),
        "seconds per record": ([row["rate"] for row in rows], "{:g}".format),
    }
    charts = []
    for measure, (values, show) in measures.items() if len(rows) > 1 else ():
        points = [
            Point(value, row["f1"], row["interval"], str(i))
            for i, (value, row) in enumerate(zip(values, rows, strict=True), start=1)
            if value
        ]
        charts.append((measure, points, decades([p.x for p in points], measure, show)))
    return render("cost", reports=rows, charts=charts)


def _cost_of(name: str, metrics: dict) -> dict:
    run, records = metrics["run"], metrics["records"]
    seconds = run.get("prediction_seconds", run["seconds"])
    return {
        "name": name,
        "run": run,
        "seconds": seconds,
        "rate": seconds / records if records else None,
        "f1": metrics["diagnosis"]["micro_f1"],
        "interval": metrics["intervals"]["diagnosis"].get("micro_f1"),
    }
