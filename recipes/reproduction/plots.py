# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Plots of the results of a plan."""

from pathlib import Path

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from recipes.evaluation.report.plots import INK, MUTED


COLOURS = ("#1f6f8b", "#b5651d", "#5b7f3a", "#7a4f9a", "#8a8f98")


def plot_results(path: Path, results: list[dict], reference: str) -> None:
    """Plot micro- and macro-F1 of each row with its interval; hollow points: of the probabilities at 0.5."""
    groups = list(dict.fromkeys(result["group"] for result in results))
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 0.34 * len(results) + 1.2), sharey=True, layout="constrained", squeeze=False
    )
    for axis, name, title in zip(axes[0], ("micro_f1", "macro_f1"), ("micro-F1", "macro-F1"), strict=True):
        _draw_dots(axis, results, groups, name, reference)
        axis.set_xlabel(f"{title}, mean over seeds, 95% interval over patients", color=MUTED, fontsize=9)
    axes[0][0].set_yticks(range(len(results)), [result["name"] for result in results], fontsize=9)
    axes[0][0].invert_yaxis()
    hollow = any("decided_f1" in result for result in results)
    figure.legend(handles=_legend(groups, reference, hollow), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _legend(groups: list[str], reference: str = "", hollow: bool = False) -> list[Line2D]:
    """Return the legend of the colours, and for the plot of results of hollow points and the dotted line."""
    point = {"marker": "o", "linestyle": "", "markersize": 5}
    marks = [Line2D([], [], color=_colour(group, groups), label=group, **point) for group in groups]
    if hollow:
        marks.append(Line2D([], [], color=INK, markerfacecolor="white", label="at a threshold of 0.5", **point))
    if reference:
        marks.append(Line2D([], [], color=INK, linewidth=0.7, linestyle=":", label=reference))
    return marks


def _colour(group: str, groups: list[str]) -> str:
    return COLOURS[groups.index(group) % len(COLOURS)]


def _draw_dots(axis: Axes, results: list[dict], groups: list[str], name: str, reference: str) -> None:
    for y, result in enumerate(results):
        colour = _colour(result["group"], groups)
        axis.plot([result[f"{name}_low"], result[f"{name}_high"]], [y, y], color=colour, linewidth=1.6)
        axis.plot(result[name], y, "o", color=colour, markersize=5)
        if name == "micro_f1" and "decided_f1" in result:
            axis.plot(result["decided_f1"], y, "o", color=colour, markersize=6, markerfacecolor="white")
        if result["name"] == reference:
            axis.axvline(result[name], color=INK, linewidth=0.7, linestyle=":", zorder=0)
    axis.grid(axis="x", color="#e4e9ee", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, labelsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)


def plot_cost(path: Path, results: list[dict]) -> None:
    """Plot micro-F1 of each row against training minutes and against parameters; points are numbered by row."""
    figure, (*axes, names) = plt.subplots(
        1, 3, figsize=(12, 4.4), sharey=True, layout="constrained", width_ratios=(4, 4, 3)
    )
    groups = list(dict.fromkeys(result["group"] for result in results))
    colours = [_colour(result["group"], groups) for result in results]
    titles = {"minutes": "minutes of training, one process", "parameters": "parameters"}
    for axis, (name, title) in zip(axes, titles.items(), strict=True):
        for number, (result, colour) in enumerate(zip(results, colours, strict=True), start=1):
            if result.get(name):
                at = (result[name], result["micro_f1"])
                axis.scatter(*at, s=24, color=colour)
                axis.annotate(str(number), at, xytext=(4, 2), textcoords="offset points", fontsize=8, color=colour)
        axis.set_xscale("log")
        axis.set_xlabel(title, color=MUTED, fontsize=9)
        axis.tick_params(colors=INK, labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("micro-F1", color=MUTED, fontsize=9)
    names.axis("off")
    for number, (result, colour) in enumerate(zip(results, colours, strict=True), start=1):
        y = 1 - number / (len(results) + 1)
        names.text(0, y, f"{number}  {result['name']}", transform=names.transAxes, fontsize=8, color=colour)
    figure.legend(handles=_legend(groups), loc="outside lower center", ncols=len(groups), frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
