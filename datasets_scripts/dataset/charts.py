# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The charts of a dataset card, drawn from the metadata of the build."""

from pathlib import Path

from matplotlib.figure import Figure


INK, MUTED, BAR, ALARM = "#1f2933", "#7b8794", "#3e7cb1", "#c0392b"


def draw_charts(metadata: dict, folder: Path) -> dict[str, str]:
    """
    Write `attrition`, `prevalence`, `missingness` and `leakage` as PNG files into `folder`; without labels only
    `attrition` and `missingness`.

    Returns:
        Name of a chart -> its file's name.
    """
    folder.mkdir(exist_ok=True)
    stays = metadata["attrition"][-1]["stays"]
    labels = sorted(metadata["labels"], key=lambda label: label["stays"])
    values, leaks = metadata["values"][::-1], metadata["leakage"]
    bars = {
        "attrition": (
            [row["step"] for row in metadata["attrition"]][::-1],
            {"ICU stays": [row["stays"] for row in metadata["attrition"]][::-1]},
            "ICU stays that are left",
        ),
        "prevalence": (
            [label["name"] for label in labels],
            {"stays": [100 * label["stays"] / stays for label in labels]},
            "% of the ICU stays have the diagnosis",
        ),
        "missingness": (
            [row["channel"] for row in values],
            {"stays": [100 * (1 - row["stays_with_a_value"] / stays) for row in values]},
            "% of the ICU stays without a value",
        ),
        "leakage": (
            list(leaks)[::-1],
            {
                "diagnoses that the stay has": [100 * (r["gold_named"] or 0) for r in leaks.values()][::-1],
                "diagnoses that it does not have": [100 * (r["other_named"] or 0) for r in leaks.values()][::-1],
            },
            "% named in the note",
        ),
    }
    if not metadata.get("labelled", True):
        bars = {name: bars[name] for name in ("attrition", "missingness")}
    for name, (rows, series, label) in bars.items():
        _bars(rows, series, label).savefig(folder / f"{name}.png", dpi=80)
    return {name: f"{name}.png" for name in bars}


def _bars(rows: list[str], series: dict[str, list[float]], label: str) -> Figure:
    """Draw horizontal bars, one group a row, with their numbers."""
    height = 0.8 + 0.26 * len(rows) * len(series)
    figure = Figure(figsize=(8, height))
    axis = figure.add_axes((0.45, 0.55 / height, 0.5, 1 - 0.7 / height))
    width = 0.8 / len(series)
    for i, (name, numbers) in enumerate(series.items()):
        places = [row + width * ((len(series) - 1) / 2 - i) for row in range(len(rows))]
        drawn = axis.barh(places, numbers, height=width, color=(BAR, ALARM)[i], label=name)
        axis.bar_label(
            drawn, [f"{n:,}" if isinstance(n, int) else f"{n:.1f}" for n in numbers], padding=2, fontsize=7, color=INK
        )
    axis.set_yticks(range(len(rows)), [row if len(row) < 52 else row[:50] + "…" for row in rows], fontsize=7)
    axis.set_xlabel(label, fontsize=8, color=MUTED)
    axis.tick_params(axis="x", labelsize=7, colors=MUTED)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.margins(x=0.12, y=0.02)
    if len(series) > 1:
        axis.legend(fontsize=7, frameon=False, loc="best")
    return figure
