# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Levels and trends of a channel's series, as sentences state them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .clinical_clinragen import clear_limits, usual_limits


# Standard deviations beyond the clear limit that a value of strong evidence reaches; twice as many where a channel has
# only a usual limit: 40% of inspired oxygen, a pH of 7.24 or 7.56.
STRONG = 0.5
SLIGHT = 0.15  # standard deviations beyond a usual limit that are no evidence: 23% of inspired oxygen, a pH of 7.46
MAX_WEIGHT_CHANGE = 0.3  # of the first value; a larger one is an error, such as pounds among kilograms
# lowest and highest values of a monitor that are credible between others which are not abnormal
_CREDIBLE = {
    "Heart Rate": (20.0, 250.0),
    "Systolic blood pressure": (40.0, 260.0),
    "Diastolic blood pressure": (15.0, 160.0),
    "Mean blood pressure": (25.0, 200.0),
    "Oxygen saturation": (50.0, 100.0),
    "Respiratory rate": (4.0, 60.0),
    "Temperature": (30.0, 42.5),
}
_ROUNDING = 1e-4  # of a standard deviation


@dataclass(frozen=True)
class SeriesFinding:
    """
    A level or a trend of one channel.

    Args:
        channel (`dict`): as in the dataset; `direction` (`str`): `high`, `low`, `rising` or `falling`.
        diseases (`frozenset[str]`): the diseases that the knowledge links with it.
        hours, values (`np.ndarray`): of the channel's measurements.
    """

    channel: dict
    direction: str
    diseases: frozenset[str]
    hours: np.ndarray = field(compare=False)
    values: np.ndarray = field(compare=False)

    @property
    def upwards(self) -> bool:
        return self.direction in ("high", "rising")

    @property
    def extreme(self) -> int:
        """Return the position of the highest, or the lowest, value."""
        return int(self.values.argmax() if self.upwards else self.values.argmin())

    @property
    def is_error(self) -> bool:
        """
        Return whether the finding rests on an error of measurement: an extreme value that is hardly possible, between
        others that are not abnormal, or a weight that changes by more than 30%.
        """
        if self.direction in ("rising", "falling"):
            change = abs(self.values[-1] - self.values[0])
            return self.channel["name"] == "Weight" and bool(change > MAX_WEIGHT_CHANGE * self.values[0])
        low, high = _CREDIBLE.get(self.channel["name"], (-np.inf, np.inf))
        at, beyond = self.extreme, self.distances > 0
        beside = beyond[max(at - 1, 0) : at].any() or beyond[at + 1 : at + 2].any()
        return not (low <= self.values[at] <= high or beside)

    @property
    def crosses(self) -> bool:
        """Return whether the first or the last value lies beyond the usual limit on the other side."""
        low, high = usual_limits(self.channel)
        ends = self.values[[0, -1]]
        return bool((ends < low if self.upwards else ends > high).any())

    @property
    def is_constant(self) -> bool:
        """Return whether all values are written alike."""
        decimals = self.channel.get("decimals", 1)
        return len({f"{value:.{decimals}f}" for value in self.values}) == 1

    @property
    def is_flat(self) -> bool:
        """Return whether the extreme value differs too little from the first and the last to report a course."""
        return self.is_near(0) and self.is_near(-1)

    def is_near(self, position: int) -> bool:
        """Return whether a value differs too little from the extreme one to call the difference a change."""
        worth = 0.4 * self.channel.get("std", 0.1 * abs(self.values[self.extreme]))
        return bool(abs(self.values[position] - self.values[self.extreme]) < worth)

    @property
    def stays_beyond(self) -> bool:
        """Return whether the last value is also beyond the usual limit."""
        low, high = usual_limits(self.channel)
        return bool(self.values[-1] > high if self.upwards else self.values[-1] < low)

    @property
    def stays_clearly_beyond(self) -> bool:
        """Return whether the last value is still evidence, see `distances`."""
        return bool(self.distances[-1] > 0)

    @property
    def distances(self) -> np.ndarray:
        """Return how far each value lies beyond the clear limit, or well beyond the usual one if it has no other."""
        low, high = clear_limits(self.channel)
        beyond = self.values - high if self.upwards else low - self.values
        return beyond - (0.0 if self._has_clear_limit else SLIGHT * self._std)

    @property
    def is_marked(self) -> bool:
        """
        Return whether the finding is strong evidence: an extreme value far beyond the clear limit, or a change of at
        least a standard deviation.
        """
        if self.direction in ("rising", "falling"):
            return bool(abs(self.values[-1] - self.values[0]) >= self._std)
        needed = STRONG if self._has_clear_limit else 2 * STRONG - SLIGHT
        return bool(self.distances.max() >= (needed - _ROUNDING) * self._std)

    @property
    def _has_clear_limit(self) -> bool:
        return self.channel.get("clearly_high" if self.upwards else "clearly_low") is not None

    @property
    def _std(self) -> float:
        return self.channel.get("std", 0.0)

    @property
    def is_brief(self) -> bool:
        """Return whether the extreme value was measured in the hour of the first or the last value."""
        hour = f"{self.hours[self.extreme]:.0f}"
        return hour in (f"{self.hours[0]:.0f}", f"{self.hours[-1]:.0f}")

    @property
    def count(self) -> int:
        """Count the values beyond the usual limit, as captions do."""
        low, high = usual_limits(self.channel)
        return int((self.values > high if self.upwards else self.values < low).sum())


__all__ = ["SeriesFinding"]
