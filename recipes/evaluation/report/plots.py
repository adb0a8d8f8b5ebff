# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Plots of a patient's series, and of the course of training."""

from pathlib import Path

import matplotlib


matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from modeling_clinragen.clinical_clinragen import range_text, usual_limits


INK, MUTED, BAND, ALARM = "#1f2933", "#7b8794", "#d9eaf2", "#c0392b"


def series_plot(channels: list[dict], lab_times, lab_values, title: str | None = None) -> Figure:
    """
    Plot each measured channel: every measurement is a point, the reference range is shaded, points outside it are red,
    and the line is broken where six hours or more have no measurement.

    Args:
        channels (`list[dict]`): `name`, `unit`, `low`, `high` (`None` where there is no limit).
        lab_times (array of shape `(T,)`): hours since ICU admission.
        lab_values (array of shape `(T, num_input_channels)`): NaN = not measured.
    """
    hours = np.asarray(lab_times, dtype=float).reshape(-1)
    values = np.asarray(lab_values, dtype=float).reshape(-1, len(channels))
    shown = [i for i in range(len(channels)) if not np.isnan(values[:, i]).all()]
    rows = max(-(-len(shown) // 3), 1)
    figure, axes = plt.subplots(
        rows, 3, figsize=(11, 1.9 * rows + 0.6), sharex=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, i in zip(axes.flat, shown, strict=False):
        _draw_channel(axis, channels[i], hours, values[:, i])
    for axis in axes.flat[max(len(shown) - 3, 0) : len(shown)]:  # the lowest axis of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("hours since ICU admission", color=MUTED, fontsize=8)
    if shown:
        legend = figure.legend(handles=_legend(), loc="outside lower left", ncols=4, frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set_color(INK)
    missing = [channel["name"] for i, channel in enumerate(channels) if i not in shown]
    heading = [title] if title else []
    heading += [f"not measured: {', '.join(missing)}"] if missing else []
    if heading:
        figure.suptitle("\n".join(heading), fontsize=10, color=INK, x=0.01, ha="left")
    return figure


def _legend() -> list[Line2D | Patch]:
    """Return the legend entries of a plot of series."""
    point = {"marker": "o", "linestyle": ""}
    return [
        Line2D([], [], color=INK, markersize=3, label="in the reference range", **point),
        Line2D([], [], color=ALARM, markersize=4, label="outside of it", **point),
        Patch(color=BAND, label="reference range"),
        Line2D([], [], color=MUTED, linewidth=0.8, label="measurements less than 6 hours apart"),
    ]


def _draw_channel(axis, channel: dict, hours: np.ndarray, column: np.ndarray) -> None:
    measured = ~np.isnan(column)
    x, y = hours[measured], column[measured]
    for part in np.split(np.arange(len(x)), np.flatnonzero(np.diff(x) >= 6) + 1):
        axis.plot(x[part], y[part], color=MUTED, linewidth=0.8, zorder=1)
    low, high = usual_limits(channel)
    outside = (y < low) | (y > high)
    axis.scatter(x[~outside], y[~outside], s=7, color=INK, zorder=2)
    axis.scatter(x[outside], y[outside], s=11, color=ALARM, zorder=3)
    # The axis is no finer than the values.
    missing = max(4 * 10.0 ** -channel.get("decimals", 1) - np.ptp(y), 0)
    margin = 0.1 * np.ptp(y) + missing / 2
    bottom, top = y.min() - margin, y.max() + margin
    axis.set_ylim(bottom, top)
    if range_text(channel):
        axis.axhspan(np.clip(low, bottom, top), np.clip(high, bottom, top), color=BAND, zorder=0)
    unit = "" if channel["unit"] == channel["name"] else f" ({channel['unit']})"
    usual = f", reference {range_text(channel)}" if range_text(channel) else ""
    axis.set_title(channel["name"] + (usual or unit), fontsize=8, color=INK, loc="left")
    axis.tick_params(labelsize=7, colors=MUTED)
    axis.spines[["top", "right"]].set_visible(False)


def plot_series(path: str | Path, channels: list[dict], lab_times, lab_values, title: str | None = None) -> None:
    """Save [`series_plot`] as a file."""
    figure = series_plot(channels, lab_times, lab_values, title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_training(path: str | Path, histories: dict[str, list[dict]]) -> None:
    """
    Save the loss and the validation micro-F1 of each stage against its steps.

    Args:
        histories (`dict`): stage name -> the `log` of its `training.json`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    for name, log in histories.items():
        losses = [(entry["step"], entry["loss"]) for entry in log if "loss" in entry]
        scores = [(entry["step"], entry["eval_micro_f1"]) for entry in log if "eval_micro_f1" in entry]
        for axis, points in ((left, losses), (right, scores)):
            if points:
                axis.plot(*zip(*points, strict=True), marker="o" if axis is right else None, markersize=3, label=name)
    left.set_ylabel("training loss")
    right.set_ylabel("validation micro-F1")
    right.set_ylim(0, 1)
    for axis in (left, right):
        axis.set_xlabel("step")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
