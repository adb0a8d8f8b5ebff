# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Draw the model: the picture of docs/how_it_works.md.

    python docs/draw_model.py

writes docs/images/model.svg.
"""

from dataclasses import dataclass
from pathlib import Path


PICTURE = Path(__file__).parent / "images" / "model.svg"
WIDTH, HEIGHT = 960, 688
FONT = "DejaVu Sans, Verdana, sans-serif"
COLOURS = {  # what a part belongs to -> its fill
    "data": "#f3f4f6",
    "backbone": "#dbeafe",
    "time_series_encoder": "#dcfce7",
    "knowledge_attention": "#ffedd5",
    "diagnosis_head": "#ede9fe",
}


@dataclass
class Box:
    """A part of the model, at `x`, `y`: its title, a line below it, and what it belongs to (a key of `COLOURS`)."""

    x: int
    y: int
    title: str
    line: str
    part: str = "data"
    width: int = 280
    height: int = 54

    def svg(self) -> str:
        middle = self.x + self.width / 2
        return (
            f'<rect x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6" '
            f'fill="{COLOURS[self.part]}" stroke="#374151"/>\n'
            f'<text x="{middle:g}" y="{self.y + 23}" font-weight="bold">{self.title}</text>\n'
            f'<text x="{middle:g}" y="{self.y + 42}" font-size="12">{self.line}</text>'
        )


BOXES = [
    Box(20, 16, "Note", "by default what was known at admission"),
    Box(340, 16, "Series", "values at the times they were measured"),
    Box(660, 16, "Medical terms", "knowledge.json, a list for each disease"),
    Box(20, 104, "ClinRaGenProcessor", "prompt and note as tokens, embedded"),
    Box(340, 104, "ClinRaGenFeatureExtractor", "hourly grid with a mask, standardised"),
    Box(660, 104, "Embedded terms", "mean of each term's token embeddings", "backbone"),
    Box(340, 192, "ClinRaGenTimeSeriesEncoder", "PatchTST: patches of 8 hours of a channel", "time_series_encoder"),
    Box(340, 280, "ClinRaGenKnowledgeAttention", "cross-attention of patches over terms", "knowledge_attention"),
    Box(20, 376, "Encoder of the language model", "tokens of note and series as one sequence", "backbone", 600),
    Box(660, 376, "ClinRaGenLinearClassifier", "fitted, not trained by the stages", "diagnosis_head"),
    Box(340, 464, "ClinRaGenDiagnosisHead", "mean of two scores, temperature, thresholds", "diagnosis_head", 600),
    Box(20, 552, "Decoder of the language model", "attends to the record and the decisions", "backbone", 600),
    Box(660, 552, "Probabilities, doubt", "a threshold for each diagnosis"),
    Box(
        20,
        632,
        "Diagnoses, note rationale, series rationale",
        "each sentence checked against the record",
        "data",
        600,
        50,
    ),
]
ARROWS = [  # points of each
    [(160, 70), (160, 104)],
    [(480, 70), (480, 104)],
    [(800, 70), (800, 104)],
    [(480, 158), (480, 192)],
    [(480, 246), (480, 280)],
    [(800, 158), (800, 307), (620, 307)],
    [(160, 158), (160, 376)],
    [(480, 334), (480, 376)],
    [(800, 350), (800, 376)],
    [(480, 430), (480, 464)],
    [(800, 430), (800, 464)],
    [(160, 430), (160, 552)],
    [(480, 518), (480, 552)],
    [(800, 518), (800, 552)],
    [(320, 606), (320, 632)],
]
LABELS = [  # x, y, text
    (800, 344, "words, statistics and terms of the record"),
    (710, 301, "keys, values"),
    (516, 266, "queries"),
    (588, 539, "a token for each diagnosis"),
]


def draw() -> str:
    """Return the picture as SVG."""
    arrows = [" ".join(f"{x},{y}" for x, y in points) for points in ARROWS]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'font-family="{FONT}" font-size="14" text-anchor="middle" fill="#111827">',
            "<title>How ClinRaGen reads a record and writes diagnoses with their rationale</title>",
            '<defs><marker id="end" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="#374151"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *(
                f'<polyline points="{points}" fill="none" stroke="#374151" stroke-width="1.5" marker-end="url(#end)"/>'
                for points in arrows
            ),
            *(box.svg() for box in BOXES),
            *(f'<text x="{x}" y="{y}" font-size="12" fill="#374151">{text}</text>' for x, y, text in LABELS),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
