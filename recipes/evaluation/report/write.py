# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""`report.html`: the figures of one evaluation and some worked patients on a page that needs nothing from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from datasets import Dataset
from markupsafe import Markup
from matplotlib.ticker import EngFormatter

from modeling_clinragen import ClinRaGenPipeline
from recipes.evaluation.report.charts import (
    Axis,
    Point,
    Row,
    bar,
    decades,
    dot,
    row_chart,
    spoken_estimate,
    stacked,
    unit_axis,
    xy_chart,
)
from recipes.evaluation.report.html import anchor, document, estimate, number, section, span, table, tag
from recipes.evaluation.report.patients import worked_patients


NOTICE = "Research software. Not a medical device; not for the diagnosis or treatment of patients."
VERDICTS = ("supported", "contradicted", "unverifiable")
SCORES = {"precision": "precision", "recall": "recall", "f1": "F1"}


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
        others (`dict`, *optional*): report folder -> its metrics, to set this one's cost and F1 beside.
    """
    run = metrics["run"]
    title = f"Evaluation of {run['model']}"
    sections = {
        "Diagnoses": diagnoses(metrics),
        "Each diagnosis": each_diagnosis(metrics),
        "Calibration": calibration(metrics),
        "Doubt": doubt(metrics),
        "Faithfulness": faithfulness(metrics),
        "Rationales": rationales(metrics),
        "Use of the inputs": use_of_inputs(metrics),
        "Evidence": evidence(metrics),
        "Subgroups": subgroups(metrics),
        "Cost": cost({"this report": metrics, **(others or {})}),
        "Worked patients": worked_patients(predictions, records, pipe),
    }
    sections = {name: parts for name, parts in sections.items() if parts}
    page = document(
        title,
        tag("header", tag("h1", title), tag("p", f"on {run['dataset']}, {run['split']} split", class_="muted")),
        tag("p", NOTICE, class_="notice", role="note"),
        headline(metrics),
        tag("p", ABOUT_INTERVALS, class_="muted"),
        tag("nav", *(tag("a", name, href=f"#{anchor(name)}") for name in sections), aria_label="Sections"),
        tag("main", *(section(name, *parts) for name, parts in sections.items())),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


ABOUT_INTERVALS = (
    "Ranges are 95% intervals by resampling patients 1,000 times. They show how much the figures would vary with "
    "other patients of the same kind, not with another training. A figure of 0 or 1 cannot vary between resamples: "
    "its interval is too narrow."
)


def headline(metrics: dict) -> Markup:
    bounds = metrics["intervals"]
    figures = [
        (name, metrics.get(part, {}).get(key), bounds.get(part, {}).get(key))
        for name, part, key in (
            ("micro-F1", "diagnosis", "micro_f1"),
            ("macro-F1", "diagnosis", "macro_f1"),
            ("whole list right", "diagnosis", "exact_match"),
            ("macro-AUROC", "probability", "macro_auroc"),
            ("claims supported", "claims", "supported"),
        )
    ]
    boxes = [("records", [number(metrics["records"]), tag("small", f"{metrics['patients']:,} patients")])]
    boxes += [(name, [estimate(value, interval)]) for name, value, interval in figures if value is not None]
    return tag("dl", *(tag("div", tag("dt", n), tag("dd", *shown)) for n, shown in boxes), class_="headline")


def diagnoses(metrics: dict) -> list[Markup]:
    """The averages of the diagnosis figures, by both matchings where there are two."""
    bounds = metrics["intervals"]
    written = averages(metrics["diagnosis"], bounds["diagnosis"], SCORES)
    ranked = averages(metrics.get("probability", {}), bounds.get("probability", {}), ("auroc", "auprc"))
    caption = (
        "Diagnoses as written (precision, recall, F1) and their probabilities (AUROC, AUPRC). Micro: over all pairs "
        "of record and diagnosis; macro: the mean over the diagnoses; weighted: that by how often each is recorded."
    )
    rows = [[name, *written[name], *ranked[name]] for name in AVERAGES]
    found = [table(caption, ["average", *SCORES.values(), "AUROC", "AUPRC"], rows)]
    if "diagnosis_by_embedding" in metrics:
        figures = metrics["diagnosis_by_embedding"]
        rows = [[name, *cells] for name, cells in averages(figures, figures["intervals"], SCORES).items()]
        caption = (
            "The same as the paper counts: a written name is a diagnosis where the embeddings of both are close. "
            f"Whole lists right: {number(figures['exact_match'])}."
        )
        found.append(table(caption, ["average", *SCORES.values()], rows))
    if metrics["unreadable"]:
        text = f"Records that could not be read, counted as if nothing was written: {metrics['unreadable']:,}."
        found.append(tag("p", text))
    return found


AVERAGES = ("micro", "macro", "weighted")


def averages(figures: dict, bounds: dict, scores: Iterable[str]) -> dict[str, list[Markup]]:
    """Micro, macro and weighted figures, a dash for what there is not."""
    return {
        name: [estimate(figures.get(f"{name}_{score}"), bounds.get(f"{name}_{score}")) for score in scores]
        for name in AVERAGES
    }


def figure_row(name: str, value: tuple, axis: Axis, draw: Callable = dot, detail: str = "") -> Row:
    """Draw a row of a chart for a figure and its interval."""
    return Row(name, draw(*value, axis), spoken_estimate(axis.label, *value), estimate(*value), detail)


def each_diagnosis(metrics: dict) -> list[Markup]:
    axis, bounds = unit_axis("F1"), metrics["intervals"].get("per_label", {})
    per_label = sorted(metrics["diagnosis"]["per_label"].items(), key=lambda item: -item[1]["support"])
    bars = [
        figure_row(
            name,
            (label["f1"], bounds.get(name, {}).get("f1")),
            axis,
            bar,
            f"recorded {label['support']:,}, written {label['predicted']:,}",
        )
        for name, label in per_label
    ]
    rows = [
        [
            name,
            label["support"],
            label["predicted"],
            *(estimate(label[score], bounds.get(name, {}).get(score)) for score in SCORES),
        ]
        for name, label in per_label
    ]
    caption = "F1 of each diagnosis with its 95% interval, the most often recorded first."
    numbers = table(
        "Figures of each diagnosis with their 95% intervals.",
        ["diagnosis", "recorded", "written", *SCORES.values()],
        rows,
    )
    return [
        row_chart(caption, {"": bars}, axis),
        tag("details", tag("summary", "Precision and recall of each diagnosis"), numbers),
    ]


def calibration(metrics: dict) -> list[Markup]:
    if "calibration" not in metrics:
        return []
    figures, bounds = metrics["calibration"], metrics["intervals"]["calibration"]
    bins = list(zip(figures["bins"], bounds["bins"], strict=True))
    points = [Point(cells["predicted"], cells["observed"], interval) for cells, interval in bins]
    chart = xy_chart(
        "Reliability of the probabilities of all diagnoses together, in bins of about equally many cells (a cell is "
        "one record and one diagnosis). On the dashed line probabilities mean what they say; above it they are too "
        "low.",
        points,
        unit_axis("mean probability"),
        unit_axis("share that has the diagnosis"),
        "; ".join(f"probability {p.x:.3f}: {spoken_estimate('share', p.y, p.interval)}" for p in points),
        reliability=True,
    )
    names = {
        "expected_calibration_error": "expected calibration error",
        "brier_score": "Brier score",
    }
    scores = [[text, estimate(figures[name], bounds[name])] for name, text in names.items()]
    rows = [
        [
            f"{cells['lowest']:.3f} to {cells['highest']:.3f}",
            cells["cells"],
            cells["predicted"],
            estimate(cells["observed"], interval),
        ]
        for cells, interval in bins
    ]
    bins_table = table("The bins.", ["probabilities", "cells", "mean", "share that has it"], rows)
    error = (
        "Mean distance of probability and share over the bins, and mean squared distance of probability and outcome."
    )
    return [tag("div", chart, tag("div", table(error, ["score", "value"], scores), bins_table), class_="pair")]


def doubt(metrics: dict) -> list[Markup]:
    """Abstention, the error among the records with the most confident predictions, and what cannot be ruled out."""
    figures = metrics.get("doubt")
    if not figures:
        return []
    found = [tag("div", selection_chart(figures["selection"]), tag("div", *abstention(figures)), class_="pair")]
    if figures.get("would_help"):
        helped = figures["would_help"]
        change = {name: number(value) for name, value in helped["change"].items()}
        text = (
            f"What would help: of three measured channels that were hidden, the one that the model names changes the "
            f"probabilities by {change['named']}, one at random by {change['random']}; it expected "
            f"{change['expected']}. Sums over diagnoses, means over {helped['records']:,} records; difference "
            f"{number(helped['difference'])} ({span(helped['interval'])}), p-value {helped['p_value']:.4f}."
        )
        found.append(tag("p", text))
    if "recall" in figures:
        found.append(tag("details", tag("summary", "What cannot be ruled out"), possible(figures["recall"])))
    return found


def selection_chart(figures: dict) -> Markup:
    bounds = figures["intervals"]["error"]
    points = [Point(*of) for of in zip(figures["coverage"], figures["error"], bounds, strict=True)]
    highest = max(0.02, *(p.interval[1] if p.interval else p.y for p in points))
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if highest / step <= 5)
    ticks = [i * step for i in range(int(highest / step) + 2)]
    caption = (
        "Share of wrong cells (a cell is one record and one diagnosis) among the records whose probabilities have the "
        f"least entropy. Mean over all shares of records {number(figures['area'])}; in random order it is "
        f"{number(figures['area_at_random'])}, in the best {number(figures['area_at_best'])}."
    )
    spoken = "; ".join(f"of {p.x:.0%} of the records: {spoken_estimate('error', p.y, p.interval)}" for p in points)
    axis = Axis(0, ticks[-1], ticks, "share of wrong cells")
    return xy_chart(caption, points, unit_axis("share of the records, the most confident first"), axis, spoken)


def abstention(figures: dict) -> list[Markup]:
    parts = {name: figures["abstention"][name] for name in ("answered", "abstained")}
    rows = [
        [
            name,
            part["records"],
            *(
                estimate(part.get(figure), part.get("intervals", {}).get(figure))
                for figure in ("micro_f1", "expected_calibration_error")
            ),
        ]
        for name, part in parts.items()
    ]
    caption = "Records with enough support, and those where it is thin and the model abstains."
    found = [table(caption, ["support", "records", "micro-F1", "calibration error"], rows)]
    reasons = [[reason, count] for reason, count in figures["abstention"]["reasons"].items()]
    return found + ([table("Why support is thin.", ["reason", "records"], reasons)] if reasons else [])


def possible(figures: dict) -> Markup:
    rows = [
        [
            name,
            label["support"],
            estimate(label["recall"], label["interval"]),
            Markup(f"{label['threshold']:.4f}"),
            label["possible"],
        ]
        for name, label in figures["per_label"].items()
    ]
    caption = (
        f"Recall of the diagnoses that cannot be ruled out, where {number(figures['asked'])} is promised for each. "
        "A threshold of 0: too few patients to rule it out of any."
    )
    return table(caption, ["diagnosis", "recorded", "recall", "probability from", "share of records"], rows)


def faithfulness(metrics: dict) -> list[Markup]:
    """Show the verdicts of the rationales' claims, and the agreement of list and rationale."""
    found, bounds = [], metrics["intervals"]
    groups = claims_by_verdict(metrics)
    if groups:
        key = tag("div", *(tag("span", tag("span", class_=f"swatch {v}"), v) for v in VERDICTS), class_="key")
        caption = (
            "What becomes of the claims that rationales make: those about series against the patient's measured "
            "values, by kind; the findings that the note part gives as evidence against the note, where unverifiable "
            "means that the note does not speak of it in these words. Numbers: supported / contradicted / "
            "unverifiable."
        )
        found.append(row_chart(caption, groups, unit_axis("share of the claims"), key=key))
        rows = [
            [what, *(estimate(metrics[part][verdict], bounds[part].get(verdict)) for verdict in VERDICTS)]
            for what, part in CLAIMS.items()
            if part in metrics
        ]
        found.append(table("Shares of all of these claims.", ["share of", *VERDICTS], rows))
    agreement = [
        [text, estimate(metrics["agreement"][name], bounds["agreement"].get(name))] for name, text in AGREEMENT.items()
    ]
    caption = "Whether the list of diagnoses and the rationale say the same."
    return [*found, table(caption, ["share of", "share"], agreement)]


def claims_by_verdict(metrics: dict) -> dict[str, list[Row]]:
    """Rows of counts by verdict: series claims of each kind, findings of the note part."""

    def row(name: str, counts: dict[str, int]) -> Row:
        spoken = ", ".join(f"{verdict} {count:,}" for verdict, count in counts.items())
        beside = " / ".join(f"{count:,}" for count in counts.values())
        return Row(name, stacked(counts), spoken, beside, f"{sum(counts.values()):,} claims")

    series = {
        kind: {verdict: found.get(verdict, 0) for verdict in VERDICTS}
        for kind, found in metrics["claims"]["per_kind"].items()
    }
    groups = {"about the series": [row(kind, counts) for kind, counts in series.items()]} if series else {}
    note = metrics.get("note_claims")
    if note and note["total"]:
        counts = {verdict: round(note[verdict] * note["total"]) for verdict in VERDICTS}
        groups["from the note"] = [row("findings", counts)]
    return groups


CLAIMS = {"claims about the series": "claims", "findings of the note part": "note_claims"}
AGREEMENT = {
    "written_argued_for": "diagnoses of the list: argued for in the rationale",
    "written_denied": "diagnoses of the list: denied in the rationale",
    "argued_not_written": "diagnoses argued for in the rationale: missing in the list",
}


def rationales(metrics: dict) -> list[Markup]:
    """Compare rationales with the teacher's: wording, evidence given, and knowledge used."""
    found, bounds = [], metrics["intervals"]
    parts, part_bounds = metrics.get("rationale", {}), bounds.get("rationale", {})
    if parts:
        names = list(dict.fromkeys(name for figures in parts.values() for name in figures))
        rows = [
            [
                named(name),
                *(estimate(figures.get(name), part_bounds.get(p, {}).get(name)) for p, figures in parts.items()),
            ]
            for name in names
        ]
        found.append(table("Rationales against the teacher's.", ["figure", *map(named, parts)], rows))
    for name, caption in SMALL_TABLES.items():
        rows = [
            [named(key), estimate(value, bounds.get(name, {}).get(key))]
            for key, value in metrics.get(name, {}).items()
        ]
        found += [table(caption, ["figure", "value"], rows)] if rows else []
    return found


SMALL_TABLES = {
    "note_evidence": "Evidence from the note: findings of the teacher's rationale that the model's names too.",
    "lab_evidence": "Evidence from the series: claims of the teacher's rationale that the model's makes too.",
    "knowledge_use": "Knowledge: terms that the series attended to most, and terms that the rationale writes.",
}


NAMES = {
    "note_rationale": "note part",
    "lab_rationale": "series part",
    "bleu": "BLEU (0 to 100)",
    "paper_bleu": "BLEU as in the paper (0 to 1)",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "meteor": "METEOR",
    "words": "words",
    "reference_words": "words of the teacher",
    "repetition": "repeated three-word sequences",
    "reference_findings": "findings of the teacher",
    "reference_claims": "claims of the teacher",
    "covered": "share of these that the model gives too",
    "attended": "terms attended to",
    "attended_written": "share of these that are written",
    "written": "terms written",
    "written_attended": "share of these that are attended to",
    "attended_written_by_chance": "the same with the terms attended to of other patients",
    "attended_written_above_chance": "difference of both",
    "written_attended_by_chance": "the same with the terms attended to of other patients",
    "written_attended_above_chance": "difference of both",
}


def named(figure: str) -> str:
    """The name of a figure for readers."""
    return NAMES.get(figure, figure.replace("_", " ").replace("bertscore", "BERTScore"))


def use_of_inputs(metrics: dict) -> list[Markup]:
    """Micro-F1 with parts of the input taken away or exchanged."""
    conditions = metrics.get("counterfactual", {})
    if not conditions:
        return []
    axis = unit_axis("micro-F1")
    rows = [
        figure_row(name, (figures["micro_f1"], figures["intervals"]["micro_f1"]), axis)
        for name, figures in conditions.items()
    ]
    differences = [
        [
            name,
            *(
                estimate(figures["difference"][f1], figures["intervals"].get(f"difference_{f1}"))
                for f1 in ("micro_f1", "macro_f1")
            ),
            figures["macro_f1"],
            figures["abstained"],
        ]
        for name, figures in conditions.items()
        if "difference" in figures
    ]
    caption = "The same records with a part of what the model reads blanked or exchanged. Dashed: as given."
    header = ["condition", "micro-F1 less as given", "macro-F1 less as given", "macro-F1", "abstained"]
    return [
        row_chart(caption, {"": rows}, axis, reference=metrics["diagnosis"]["micro_f1"]),
        table("Differences from the records as given.", header, differences) if differences else Markup(""),
    ]


def evidence(metrics: dict) -> list[Markup]:
    """Deletion tests of the evidence that is named for diagnoses."""
    rows = [
        [
            f"{test}: {judge}",
            figures["patients"],
            figures["share"],
            figures["named"],
            figures["random"],
            estimate(figures["difference"], figures["interval"]),
            Markup(f"{figures['p_value']:.4f}"),
        ]
        for test, judges in metrics.get("deletion", {}).items()
        for judge, figures in judges.items()
    ]
    caption = (
        "By how much a diagnosis' probability drops where the evidence named for it is deleted, and where as much is "
        "deleted at random; means over patients, paired test. Who judges is said beside what is deleted: that a model "
        "confirms what it named itself says less than that its other member does."
    )
    header = ["deleted: judge", "patients", "share deleted", "named", "at random", "difference", "p-value"]
    return [table(caption, header, rows)] if rows else []


def subgroups(metrics: dict) -> list[Markup]:
    axis = unit_axis("micro-F1")
    groups = {
        attribute: [
            figure_row(
                value,
                (group["micro_f1"], group["intervals"]["micro_f1"]),
                axis,
                detail=f"{group['records']:,} records, macro-F1 {number(group['macro_f1'])}",
            )
            for value, group in sorted(values.items(), key=lambda item: (not item[0].startswith("under "), item[0]))
        ]
        for attribute, values in metrics.get("subgroups", {}).items()
        if values
    }
    if not groups:
        return []
    overall = metrics["diagnosis"]["micro_f1"]
    caption = (
        f"Micro-F1 of groups of patients. Dashed: all records, {number(overall)}. Groups of few records are left out."
    )
    return [row_chart(caption, groups, axis, reference=overall)]


def cost(reports: dict[str, dict]) -> list[Markup]:
    """Show the cost and F1 of each report's model, as a table, and as charts where there are two or more."""
    runs = {name: metrics["run"] for name, metrics in reports.items()}
    f1 = {name: metrics["diagnosis"]["micro_f1"] for name, metrics in reports.items()}
    bounds = {name: metrics["intervals"]["diagnosis"].get("micro_f1") for name, metrics in reports.items()}
    seconds = {name: run.get("prediction_seconds", run["seconds"]) for name, run in runs.items()}
    rate = {name: taken / reports[name]["records"] for name, taken in seconds.items() if reports[name]["records"]}
    rows = [
        [
            f"{i}. {name}" if len(runs) > 1 else name,
            f"{run['dataset']}, {run['split']}",
            run["num_parameters"],
            Markup(f"{seconds[name]:,.1f}"),
            rate.get(name),
            estimate(f1[name], bounds[name]),
        ]
        for i, (name, run) in enumerate(runs.items(), start=1)
    ]
    header = ["report", "records of", "parameters", "seconds", "seconds per record", "micro-F1"]
    found = [table("Size of the model, time of the predictions on the machine they ran on, and F1.", header, rows)]
    if len(runs) < 2:
        return found
    charts = []
    for what, values, show in (
        ("parameters", {name: run["num_parameters"] for name, run in runs.items()}, EngFormatter(sep="")),
        ("seconds per record", rate, "{:g}".format),
    ):
        points = [
            Point(values[name], f1[name], bounds[name], str(i))
            for i, name in enumerate(runs, start=1)
            if values.get(name, 0) > 0
        ]
        spoken = "; ".join(f"report {p.text}: {p.x:,.4g} {what}, micro-F1 {number(p.y)}" for p in points)
        axis = decades([p.x for p in points], what, show)
        charts.append(xy_chart(f"Micro-F1 against {what}.", points, axis, unit_axis("micro-F1"), spoken))
    return [tag("div", *charts, class_="pair"), *found]
