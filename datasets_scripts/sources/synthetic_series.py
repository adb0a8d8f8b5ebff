# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The series of simulated patients: what an adult at rest shows, moved by diseases that come, stay or are treated.

A disease has one severity and one course in all of a patient's channels. Pressures are read together, and the mean
pressure follows from the two others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


SYSTOLIC, DIASTOLIC, MEAN = (f"{name} blood pressure" for name in ("Systolic", "Diastolic", "Mean"))
OXYGEN = "Fraction inspired oxygen"
RECOVERING = 0.4  # share of the diseases with a course that fade under treatment
RISE = 1.0  # hours from the onset of an effect to all of it


@dataclass(frozen=True)
class Course:
    """The course of one disease in one patient: `severity` (1 is usual), `onset` and the hours when it fades."""

    severity: float
    onset: float
    fades: float


def draw_course(hours: float, rng: np.random.Generator) -> Course:
    """Draw a course: more than half are there from the beginning, and some fade in the second third of the stay."""
    severity = float(np.clip(rng.normal(1, 0.1), 0.85, 1.2))
    onset = float(rng.uniform(-6, 5))
    fades = float(rng.uniform(0.35, 0.55)) * hours if rng.random() < RECOVERING else np.inf
    return Course(severity, onset, fades)


def effect_shape(shape: str, course: Course, times: np.ndarray, hours: float, rng: np.random.Generator) -> np.ndarray:
    """Return the share of an effect that is there at each time, 0 to 1."""
    if shape == "ramp":
        return np.clip(times / hours, 0, 1)
    risen = np.clip((times - course.onset) / RISE, 0, 1)
    if shape == "course":
        return risen * np.clip(1 - (times - course.fades) / (0.35 * hours), 0.05, 1)
    if shape == "swings":
        return np.where(np.floor(times / 6).astype(int) % 2 == 0, 1.0, 0.0)
    if shape == "bursts":
        return _bursts(max(course.onset, 0), times, hours, rng)
    return risen  # sustained


def _bursts(onset: float, times: np.ndarray, hours: float, rng: np.random.Generator) -> np.ndarray:
    active, start = np.zeros(len(times)), onset
    while start < hours:
        length = rng.uniform(2, 4)
        active[(times >= start) & (times < start + length)] = 1.0
        start += length + rng.uniform(3, 6)
    return active


def simulate_series(
    world: dict, diseases: list[str], sex: str, hours: float, rng: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """
    Return hours and values of each channel that is measured, in the channel's unit.

    Args:
        world (`dict`): as `read_world` gives it.
        diseases (list of `str`): of the patient.
        hours (`float`): length of the stay.
    """
    courses = {name: draw_course(hours, rng) for name in diseases}
    pressures = _reading_times(world["hours_between"].get(SYSTOLIC, 1.0), hours, rng)
    series = {}
    for channel in (name for name in world["channels"] if name != MEAN):
        effects = [
            (effect, courses[name])
            for name in diseases
            for effect in world["diseases"][name].get("effects", ())
            if effect["channel"] == channel
        ]
        missing = rng.random() < (0.01 if effects else 0.06)
        times = _reading_times(world["hours_between"].get(channel, 1.0), hours, rng)
        if channel in (SYSTOLIC, DIASTOLIC):
            times = pressures
        if not missing:
            series[channel] = times, _values(world["channels"][channel], effects, sex, times, hours, rng)
    _add_mean_pressure(world, series, rng)
    _set_oxygen(series)
    return series


def _reading_times(step: float, hours: float, rng: np.random.Generator) -> np.ndarray:
    """Draw irregular hours: jittered steps, one in ten left out, and for many patients a gap of some hours."""
    times = np.arange(rng.uniform(0.1, step), hours, step)
    times = np.sort(np.clip(times + rng.uniform(-0.3, 0.3, len(times)) * step, 0.02, hours - 0.02))
    keep = rng.random(len(times)) > 0.1
    if rng.random() < 0.4:
        gap = rng.uniform(0, hours)
        keep &= (times < gap) | (times > gap + rng.uniform(3, 7))
    return times[keep]


def _values(
    base: dict,
    effects: Iterable[tuple[dict, Course]],
    sex: str,
    times: np.ndarray,
    hours: float,
    rng: np.random.Generator,
) -> np.ndarray:
    mean = base["mean"][sex] if isinstance(base["mean"], dict) else base["mean"]
    values = mean + base["sd"] * np.clip(rng.normal(), -2, 2) + rng.normal(0, base["noise"], len(times))
    up, down = np.zeros(len(times)), np.zeros(len(times))
    for effect, course in effects:
        change = effect["add"] * course.severity * effect_shape(effect["shape"], course, times, hours, rng)
        up, down = np.maximum(up, change), np.minimum(down, change)
    return np.clip(values + up + down, base["floor"], base["ceiling"])


def _add_mean_pressure(world: dict, series: dict, rng: np.random.Generator) -> None:
    if SYSTOLIC not in series or DIASTOLIC not in series:
        return
    times, systolic = series[SYSTOLIC]
    diastolic = series[DIASTOLIC][1]
    noise = rng.normal(0, world["channels"][MEAN]["noise"], len(times))
    series[MEAN] = times, np.clip(diastolic + (systolic - diastolic) / 3 + noise, diastolic + 3, systolic - 3)


def _set_oxygen(series: dict) -> None:
    """Turn the fraction of oxygen into what is set on a device: room air, or steps of five percent."""
    if OXYGEN in series:
        times, values = series[OXYGEN]
        series[OXYGEN] = times, np.where(values < 0.235, 0.21, np.round(values * 20) / 20)
