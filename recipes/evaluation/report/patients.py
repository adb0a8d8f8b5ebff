# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Worked patients of a report: which ones, and what is shown of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from markupsafe import Markup

from modeling_clinragen import ClinRaGenPipeline
from modeling_clinragen.pipeline_clinragen import attention_over_time
from recipes.evaluation.report.charts import DARKEST, LIGHTEST, Axis, Row, cells, hour_axis, row_chart, series_panel
from recipes.evaluation.report.html import joined, table, tag


NUM_PATIENTS = 10
SEED = 0

RULE = (
    "{shown} of the {readable} records that the model can read, chosen by a rule: the records are put in the order of "
    "the F1 of their own list of diagnoses (equal ones in an order drawn with seed {seed}), and taken at equal "
    "distances from the worst to the best. They show the range of the answers; their share of failures is not that of "
    "all records."
)
SERIES = (
    "Series: the shaded band is the reference range; values outside of it are large and vermilion; the line breaks "
    "where six hours or more went without a measurement. Claims of the rationale are marked by what the record says "
    "of them; the quote shows on hover and is listed below each rationale."
)


def choose_records(predictions: list[dict], number: int = NUM_PATIENTS, seed: int = SEED) -> list[int]:
    """Positions of records at equal distances from the lowest to the highest F1, equal ones in an order by seed."""
    readable = [i for i, prediction in enumerate(predictions) if prediction["readable"]]
    drawn = np.random.default_rng(seed).permutation(readable)
    ranked = sorted(map(int, drawn), key=lambda i: record_f1(predictions[i]))
    places = np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def record_f1(prediction: dict) -> float:
    """F1 of one record's list of diagnoses; 1 where none is recorded and none written."""
    gold, written = set(prediction["gold"]), {d["label"] for d in prediction["diagnoses"]}
    return 2 * len(gold & written) / (len(gold) + len(written)) if gold or written else 1.0


def worked_patients(predictions: list[dict], records, pipe: ClinRaGenPipeline) -> list[Markup]:
    """
    The rule by which records are chosen, and one article for each.

    Args:
        predictions (list of `dict`), records (`Dataset`): in the same order.
        pipe (`ClinRaGenPipeline`): that made the predictions.
    """
    chosen = choose_records(predictions)
    if not chosen:
        return []
    readable = sum(prediction["readable"] for prediction in predictions)
    rule = tag("p", RULE.format(shown=len(chosen), readable=readable, seed=SEED))
    return [rule, tag("p", SERIES), KEY, *(worked_patient(predictions[i], records[i], pipe) for i in chosen)]


MEANING = {
    "supported": "the record supports it",
    "contradicted": "the record contradicts it",
    "unverifiable": "cannot be checked",
}
KEY = tag(
    "div",
    *(tag("span", tag("mark", verdict, class_=verdict), f" {meaning}") for verdict, meaning in MEANING.items()),
    class_="key",
)


def worked_patient(prediction: dict, record: dict, pipe: ClinRaGenPipeline) -> Markup:
    """Series, note, diagnoses, rationale with its claims, and attention to knowledge of one record."""
    person = [f"{record['age']:.0f} years" if record["age"] else None, record["sex"]]
    note = record["note"].strip()
    about = ", ".join([*filter(None, person), f"F1 of the list of diagnoses {record_f1(prediction):.3f}"])
    return tag(
        "article",
        tag("h3", f"Stay {prediction['stay_id']}"),
        tag("p", about, class_="muted"),
        tag("h4", "Note"),
        tag("div", note, class_="note", tabindex=0) if note else tag("p", "No note."),
        tag("h4", "Series"),
        *_series(record, pipe.processor.feature_extractor.channels),
        tag("h4", "Diagnoses"),
        _diagnoses(prediction),
        tag("h4", "Rationale"),
        *_rationale(prediction),
        _attention(prediction, record, pipe),
    )


def _series(record: dict, channels: list[dict]) -> list[Markup]:
    hours = np.asarray(record["lab_times"], dtype=float).reshape(-1)
    values = np.asarray(record["lab_values"], dtype=float).reshape(-1, len(channels))
    measured = ~np.isnan(values)
    seen = [i for i in range(len(channels)) if measured[:, i].any()]
    if not seen:
        return [tag("p", "Nothing was measured.")]
    x = hour_axis(max(float(hours.max()), 1.0))
    panels = [series_panel(channels[i], hours[measured[:, i]], values[measured[:, i], i], x) for i in seen]
    missing = ", ".join(channel["name"] for i, channel in enumerate(channels) if i not in seen)
    return [
        tag("p", "Measured values over the hours since ICU admission.", class_="muted"),
        tag("div", *panels, class_="panels"),
        tag("p", f"Not measured: {missing}.", class_="muted") if missing else Markup(""),
    ]


def _diagnoses(prediction: dict) -> Markup:
    gold, written = prediction["gold"], [d["label"] for d in prediction["diagnoses"]]
    rows = [
        [name, *("yes" if name in names else "no" for names in (gold, written)), prediction["probabilities"].get(name)]
        for name in dict.fromkeys([*gold, *written])
    ]
    if not rows:
        return tag("p", "None is recorded and none is written.")
    return table("Diagnoses that are recorded or written.", ["diagnosis", "recorded", "written", "probability"], rows)


def _rationale(prediction: dict) -> list[Markup]:
    """Return both parts with their claims marked, and the quote of each claim as a list."""
    about_series = [claim for claim in prediction["claims"] if claim["channel"]]
    shown = []
    for heading, part, claims in (
        ("From the note: ", "note_rationale", prediction["note_claims"]),
        ("From the series: ", "lab_rationale", about_series),
    ):
        text, reference = prediction[part], prediction[f"reference_{part}"]
        shown.append(tag("p", tag("strong", heading), marked(text, claims) if text else "nothing was written."))
        if claims:
            items = [tag("li", f"{c['verdict']}: ", tag("q", c["text"]), f" – {c['quote']}") for c in claims]
            shown.append(tag("details", tag("summary", f"Quotes of {len(claims)} claims"), tag("ul", *items)))
        if reference:
            shown.append(tag("details", tag("summary", "The teacher's words"), tag("p", reference)))
    return shown


def marked(text: str, claims: Sequence[dict]) -> Markup:
    """Mark each claim of a text by its verdict; the quote shows on hover."""
    parts, at = [], 0
    for claim in claims:
        parts.append(text[at : claim["start"]])
        words, hover = text[claim["start"] : claim["end"]], f"{claim['verdict']}: {claim['quote']}"
        parts.append(tag("mark", words, class_=claim["verdict"], title=hover))
        at = claim["end"]
    return joined([*parts, text[at:]])


def _attention(prediction: dict, record: dict, pipe: ClinRaGenPipeline) -> Markup:
    weights = weights_over_time(record, pipe)
    if weights is None or not prediction["knowledge"]:
        return Markup("")
    config = pipe.model.config
    width = config.time_series_config.patch_length
    position = {term: i for i, term in enumerate(config.knowledge_terms)}
    terms = [entry["term"] for entry in prediction["knowledge"]]
    columns = weights[:, [position[term] for term in terms]]  # (num_patches, the shown terms)
    highest = float(np.nanmax(columns))
    x = hour_axis(len(weights) * width)
    rows = []
    for entry, column in zip(prediction["knowledge"], columns.T, strict=True):
        weight = f"{entry['weight']:.4f}"
        rows.append(Row(entry["term"], _heat(column, highest, width, x), f"mean weight {weight}", weight))
    caption = (
        f"The {len(rows)} terms that the series attended to most, of {len(position)}, over time: each column is a "
        f"patch of {width} hours, the mean over the channels that were measured in it. At the end of each row the "
        "mean over all patches of all channels."
    )
    return tag("h4", "Attention to knowledge terms over time") + row_chart(caption, {"": rows}, x, key=_scale(highest))


def _heat(column: np.ndarray, highest: float, width: int, x: Axis) -> Markup:
    said = ["no measurement" if np.isnan(value) else f"weight {value:.4f}" for value in column]
    titles = [f"hours {i * width} to {(i + 1) * width}: {text}" for i, text in enumerate(said)]
    return cells(column, highest, width, x, titles)


def _scale(highest: float) -> Markup:
    """The key of a heat map."""
    light, dark = (f"rgb{colour}" for colour in (LIGHTEST, DARKEST))
    shades = tag("span", class_="shades", style=f"background: linear-gradient(to right, {light}, {dark})")
    nothing = tag("span", tag("span", class_="swatch gap"), "no measurement")
    return tag("div", tag("span", "weight 0", shades, f"{highest:.4f}"), nothing, class_="key")


@torch.no_grad()
def weights_over_time(record: dict, pipe: ClinRaGenPipeline) -> np.ndarray | None:
    processor = pipe.processor
    series = {"lab_values": [record["lab_values"]], "lab_times": [record["lab_times"]]}
    inputs = processor(notes=[record["note"]], **series, return_tensors="pt").to(pipe.device)
    attention = pipe.model.encode(**inputs).knowledge_attentions
    if attention is None:
        return None
    return attention_over_time(attention[0], pipe.model.config, processor.feature_extractor.grid)
