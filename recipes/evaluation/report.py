# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""`report.html`: the figures of one evaluation and some worked patients on a page that needs nothing from outside."""

import io
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
from datasets import Dataset

from modeling_clinragen import ClinRaGenProcessor
from recipes.evaluation.plots import series_figure


NUM_PATIENTS = 6

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #d9e2ec; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.headline { display: flex; flex-wrap: wrap; gap: 1rem; } .headline div { background: #f0f4f8; padding: .7rem 1.1rem; }
.headline b { display: block; font-size: 1.5rem; } .bar { background: #d9e2ec; width: 12rem; height: .7rem; }
.bar span { display: block; height: 100%; background: #2f6f8f; }
.supported { background: #d3f0dc; } .contradicted { background: #f8d0cc; } .unverifiable { background: #eceff2; }
article { border: 1px solid #d9e2ec; padding: .4rem 1.2rem 1rem; margin: 1.2rem 0; }
svg { max-width: 100%; height: auto; }
.note { white-space: pre-line; color: #52606d; } .muted { color: #7b8794; }
"""

NOTICE = "Research software. Not a medical device; not for the diagnosis or treatment of patients."


def write_report(
    folder: Path, metrics: dict, predictions: list[dict], records: Dataset, processor: ClinRaGenProcessor
) -> None:
    """
    Write `report.html` to `folder`.

    Args:
        metrics (`dict`): as `compute_metrics` of `evaluate_model.py` gives it.
        predictions (`list[dict]`): one per record of `records`, in its order.
    """
    shown = [i for i, prediction in enumerate(predictions) if prediction["readable"]][:NUM_PATIENTS]
    patients = "".join(_patient(predictions[i], records[i], processor.feature_extractor.channels) for i in shown)
    run = metrics["run"]
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>ClinRaGen evaluation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{escape(str(run['model']))} on {escape(str(run['dataset']))}, {escape(run['split'])} split</h1>"
        f"<p>{NOTICE}</p>{_headline(metrics)}<h2>Diagnoses</h2>{_labels(metrics['diagnosis'])}"
        f"{_rationales(metrics)}{_agreement(metrics)}{_subgroups(metrics)}<h2>Patients</h2>{patients}</html>"
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _headline(metrics: dict) -> str:
    diagnosis, probability = metrics["diagnosis"], metrics.get("probability", {})
    sure = metrics["intervals"]
    figures = {
        "records": (metrics["records"], None),
        "micro-F1": (diagnosis["micro_f1"], sure["diagnosis"].get("micro_f1")),
        "macro-F1": (diagnosis["macro_f1"], sure["diagnosis"].get("macro_f1")),
        "whole set right": (diagnosis["exact_match"], sure["diagnosis"].get("exact_match")),
        "macro-AUROC": (probability.get("macro_auroc"), sure.get("probability", {}).get("macro_auroc")),
        "claims supported": (metrics["claims"]["supported"], sure["claims"].get("supported")),
    }
    cells = "".join(
        f"<div><b>{_number(value)}</b>{name}{_interval(interval)}</div>"
        for name, (value, interval) in figures.items()
        if value is not None
    )
    return f'<div class="headline">{cells}</div><p class="muted">Small: 95% intervals by resampling patients.</p>'


def _interval(interval: list[float] | None) -> str:
    return f"<small> {interval[0]:.3f} to {interval[1]:.3f}</small>" if interval else ""


def _number(value) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _table(header: list[str], rows: list[list]) -> str:
    def cell(tag: str, value, first: bool) -> str:
        numeric = not first and (tag == "th" or isinstance(value, int | float) or value is None)
        shown = value if isinstance(value, str) else _number(value)
        return f"<{tag}{' class=number' if numeric else ''}>{shown}</{tag}>"

    lines = [("th", header), *(("td", row) for row in rows)]
    return "<table>" + "".join(
        "<tr>" + "".join(cell(tag, value, i == 0) for i, value in enumerate(line)) + "</tr>" for tag, line in lines
    ) + "</table>"  # fmt: skip


def _labels(diagnosis: dict) -> str:
    rows = [
        [
            escape(name),
            s["support"],
            s["predicted"],
            s["precision"],
            s["recall"],
            s["f1"],
            f'<div class="bar"><span style="width:{100 * s["f1"]:.0f}%"></span></div>',
        ]
        for name, s in sorted(diagnosis["per_label"].items(), key=lambda item: -item[1]["support"])
    ]
    return _table(["diagnosis", "support", "predicted", "precision", "recall", "F1", ""], rows)


def _rationales(metrics: dict) -> str:
    page = ""
    if "rationale" in metrics:
        names = list(next(iter(metrics["rationale"].values())))
        rows = [[part.replace("_", " "), *scores.values()] for part, scores in metrics["rationale"].items()]
        page += "<h2>Rationales against the teacher's</h2>" + _table(["", *names], rows)
    claims = metrics["claims"]
    rows = [
        [escape(kind), *(counts.get(verdict, 0) for verdict in ("supported", "contradicted", "unverifiable"))]
        for kind, counts in claims["per_kind"].items()
    ]
    page += f"<h2>Claims about the series, checked against the measured values ({claims['claims']})</h2>"
    return page + _table(["kind", "supported", "contradicted", "unverifiable"], rows)


SHARES = {
    "written_argued_for": "diagnoses of the list that the rationale argues for",
    "written_denied": "diagnoses of the list that the rationale denies",
    "argued_not_written": "diagnoses argued for that the list does not hold",
    "supported": "findings of the note part that the note supports",
    "contradicted": "findings of the note part that the note contradicts",
    "unverifiable": "findings of the note part of which the note does not speak",
}


def _agreement(metrics: dict) -> str:
    rows = []
    for part in ("agreement", "note_claims"):
        for name, share in metrics.get(part, {}).items():
            if name in SHARES:
                interval = metrics["intervals"][part].get(name)
                rows.append([SHARES[name], share, *(interval or [None, None])])
    return "<h2>Rationale against list and note</h2>" + _table(["share of", "", "from", "to"], rows)


def _subgroups(metrics: dict) -> str:
    rows = [
        [
            f"{escape(attribute)}: {escape(value)}",
            group["records"],
            group["micro_f1"],
            *group["intervals"]["micro_f1"],
            group["macro_f1"],
        ]
        for attribute, groups in metrics.get("subgroups", {}).items()
        for value, group in groups.items()
    ]
    header = ["group", "records", "micro-F1", "from", "to", "macro-F1"]
    return "<h2>Subgroups</h2>" + _table(header, rows) if rows else ""


def _patient(prediction: dict, record: dict, channels: list[dict]) -> str:
    figure = series_figure(channels, record["lab_times"], record["lab_values"])
    picture = io.StringIO()
    figure.savefig(picture, format="svg")
    plt.close(figure)
    svg = picture.getvalue()
    probabilities = prediction["probabilities"]
    gold, guessed = prediction["gold"], [d["label"] for d in prediction["diagnoses"]]
    rows = [
        [escape(name), "yes" if name in gold else "no", "yes" if name in guessed else "no", probabilities.get(name)]
        for name in dict.fromkeys([*gold, *guessed])
    ]
    terms = ", ".join(f"{escape(k['term'])} {k['weight']:.3f}" for k in prediction["knowledge"])
    return (
        f"<article><h3>Stay {escape(prediction['stay_id'])}</h3>"
        f'<p class="note">{escape(record["note"]) or "no note"}</p>{svg[svg.index("<svg") :]}'
        f"{_table(['diagnosis', 'recorded', 'written', 'probability'], rows)}"
        f"<p><b>From the note.</b> {escape(prediction['note_rationale'])}</p>"
        f"<p><b>From the series.</b> {_coloured(prediction['lab_rationale'], prediction['claims'])}</p>"
        + (f'<p class="muted">Knowledge attended to: {terms}</p>' if terms else "")
        + "</article>"
    )


def _coloured(text: str, claims: list[dict]) -> str:
    """The text with each claim about a channel marked by its verdict; the evidence shows on hover."""
    page, at = "", 0
    for claim in claims:
        if claim["channel"]:
            marked = escape(text[claim["start"] : claim["end"]])
            page += escape(text[at : claim["start"]])
            page += f'<span class="{claim["verdict"]}" title="{escape(claim["evidence"])}">{marked}</span>'
            at = claim["end"]
    return page + escape(text[at:])
