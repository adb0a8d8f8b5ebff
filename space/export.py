# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""One answer as a self-contained, printable HTML file. The server keeps no copy."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from pathlib import Path

import views
from charts import series_panels
from markup import TEMPLATES, macros
from markupsafe import Markup


HERE = Path(__file__).parent
draw = macros("page.html")


def export_link(
    model: str,
    notice: str,
    channels: list[dict],
    thresholds: dict[str, float],
    answered: dict,
    modalities: Markup | str,
    evidence: list[dict] | None = None,
) -> Markup:
    """
    Return a link that saves an answer; the link contains the file.

    Args:
        model (`str`): as the page names it; `notice` (`str`): the warning on the page.
        answered (`dict`): `given`, note and series as the model read them; `left_out`, the names of the inputs left
            out; and the whole `answer`.
        modalities (`Markup`): as the page shows them.
        evidence (`list[dict]`, *optional*): for each diagnosis, if requested.
    """
    page = export_page(model, notice, channels, thresholds, answered, modalities, evidence)
    return draw.export_link(base64.b64encode(page.encode()).decode())


def export_page(
    model: str,
    notice: str,
    channels: list[dict],
    thresholds: dict[str, float],
    answered: dict,
    modalities: Markup | str,
    evidence: list[dict] | None,
) -> str:
    """Return the page of [`export_link`]."""
    answer, (note, (values, hours)) = answered["answer"], answered["given"]
    links = views.Links(channels, hours, values, [])
    page = TEMPLATES.get_template("export.html").render(
        model=model,
        version=answer.get("model_version", ""),
        notice=notice,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        left_out=answered["left_out"],
        note=draw.note([], note),
        series=series_panels(channels, values, hours),
        doubt=views.doubt_view(answer["doubt"]),
        diagnoses=views.diagnoses_view(
            answer["diagnoses"], answer["probabilities"], thresholds, answer["doubt"]["abstain"]
        ),
        rationale=views.rationale_view(answer, links, printed=True),
        modalities=modalities,
        evidence=""
        if evidence is None
        else views.evidence_view(evidence, answer["probabilities"], links, printed=True),
        knowledge=views.knowledge_view(answer["knowledge"], answer["probabilities"], thresholds),
    )
    return page.replace("<details>", "<details open>")  # paper cannot be unfolded
