# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The reference range in plots and charts."""

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from recipes.evaluation.report.charts import series_panel, unit_axis
from recipes.evaluation.report.html import TEMPLATES
from recipes.evaluation.report.plots import BAND, series_plot
from recipes.reproduction.plots import plot_cost, plot_results


SATURATION = {"name": "Oxygen saturation", "unit": "%", "low": 94, "high": None}
WEIGHT = {"name": "Weight", "unit": "kg", "low": None, "high": None}


def test_a_panel_shades_an_open_range_to_its_edge_and_none_where_there_is_no_range():
    hours, series = np.array([0.0, 1]), TEMPLATES.get_template("charts.html").module.series
    panel = series_panel(SATURATION, hours, np.array([90.0, 100]), unit_axis("h"))
    assert (panel["band_top"], panel["count_outside"]) == (0, 1)
    assert panel["band_height"] == pytest.approx(100 * (101 - 94) / (101 - 89), abs=0.01)  # the margin is a tenth
    assert "1 outside of the reference range at least 94 %" in series(panel)
    panel = series(series_panel(WEIGHT, hours, np.array([80.0, 82]), unit_axis("h")))
    assert "there is no reference range" in panel
    assert 'class="band"' not in panel


def test_a_plot_shades_the_range_within_its_axis():
    figure = series_plot([SATURATION, WEIGHT], [0, 1], [[90, 80], [100, 82]])
    bands = [
        [patch.get_bbox().intervaly.tolist() for patch in axis.patches if patch.get_facecolor() == to_rgba(BAND)]
        for axis in figure.axes[:2]
    ]
    assert bands == [[pytest.approx([94, figure.axes[0].get_ylim()[1]])], []]
    red = [len(axis.collections[1].get_offsets()) for axis in figure.axes[:2]]
    assert red == [1, 0]
    plt.close(figure)


def test_a_plot_has_a_legend_and_its_axis_is_no_finer_than_the_values():
    oxygen = {"name": "Fraction inspired oxygen", "unit": "fraction", "low": None, "high": 0.21, "decimals": 2}
    figure = series_plot([SATURATION, oxygen], [0, 1], [[90, 0.21], [100, 0.21]])
    (legend,) = figure.legends
    marks = {text.get_text(): handle for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)}
    assert to_rgba(marks["reference range"].get_facecolor()) == to_rgba(BAND)
    drawn = [tuple(axis.collections[1].get_facecolor()[0]) for axis in figure.axes[:1]]
    assert to_rgba(marks["outside of it"].get_color()) in drawn
    assert figure.axes[0].get_title(loc="left") == "Oxygen saturation, reference at least 94 %"
    low, high = figure.axes[1].get_ylim()
    assert high - low == pytest.approx(0.04)  # four of the last digit
    plt.close(figure)


def test_the_plots_of_a_plan_have_legends_for_colours_and_hollow_points(tmp_path):
    groups = ("full model", "ablations", "classifiers")
    results = [
        {"name": f"row {i}", "group": group, "minutes": i + 1, "parameters": 10**6 * (i + 1)}
        | {f"{score}{end}": 0.5 + i / 10 for score in ("micro_f1", "macro_f1") for end in ("", "_low", "_high")}
        for i, group in enumerate(groups)
    ]
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_results(tmp_path / "plain.svg", results, "row 0")
        results[0]["decided_f1"] = 0.4
        plot_results(tmp_path / "results.svg", results, "row 0")
        plot_cost(tmp_path / "cost.svg", results)
    said = {path.stem: re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text()) for path in tmp_path.glob("*.svg")}
    for words in said.values():
        assert all(words.count(group) == 1 for group in groups)
    assert "at a threshold of 0.5" in said["results"]
    assert "at a threshold of 0.5" not in said["plain"] + said["cost"]
    assert said["results"].count("row 0") == 2  # its tick, and the dotted line
