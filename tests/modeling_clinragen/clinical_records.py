# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Random series, and what is true of them: levels, counts and numbers, computed independently of the package."""

from dataclasses import dataclass, field

import numpy as np


PRESSURES = ("Systolic blood pressure", "Mean blood pressure", "Diastolic blood pressure")


@dataclass
class Record:
    hours: np.ndarray
    values: np.ndarray
    channels: list
    names: list = field(init=False)

    def __post_init__(self):
        self.names = [channel["name"] for channel in self.channels]

    def series(self, name):
        column = self.values[:, self.names.index(name)]
        kept = [i for i in range(len(column)) if column[i] == column[i]]
        return [self.hours[i] for i in kept], [column[i] for i in kept]


def make_records(channels, number, seed):
    """Series that wander in and out of their usual limits, of 4 to 14 hours, with channels that are missing."""
    rng, records = np.random.default_rng(seed), []
    for _ in range(number):
        times = int(rng.integers(4, 15))
        hours = np.sort(rng.choice(np.arange(1, 60), times, replace=False)) + rng.choice([0.0, 0.1, -0.2], times)
        columns = [_column(channel, times, rng) for channel in channels]
        records.append(Record(hours.round(1), np.array(columns).T, channels))
    return records


def _column(channel, times, rng):
    low = channel["low"] if channel["low"] is not None else channel["minimum"]
    high = channel["high"] if channel["high"] is not None else channel["maximum"]
    if channel["name"] == "Fraction inspired oxygen":
        column = rng.choice([[0.21], [0.21, 0.4, 0.5], [0.5, 0.6, 0.8]][rng.integers(3)], times)
    elif channel["name"] == "Weight":
        column = rng.normal(rng.uniform(50, 110), 2, times)
    else:
        middle, width = (low + high) / 2, (high - low) / 2
        level = middle + width * rng.choice([-1.6, -0.9, 0, 0, 0, 0.9, 1.6])
        drift = rng.choice([-1.2, 0, 0, 1.2]) * width * np.linspace(-0.5, 0.5, times)
        column = level + drift + rng.normal(0, rng.choice([0.15, 0.5]) * width, times)
    column = np.clip(column, channel["minimum"], channel["maximum"]).round(channel["decimals"])
    column[rng.random(times) < 0.1] = np.nan
    return np.full(times, np.nan) if rng.random() < 0.12 else column


# ---- limits, computed independently


def _limits(channel, clearly):
    low, high = channel.get("low"), channel.get("high")
    if clearly:
        low = channel["clearly_low"] if channel.get("clearly_low") is not None else low
        high = channel["clearly_high"] if channel.get("clearly_high") is not None else high
    return low, high


def counts(channel, values, side):
    """How many values lie beyond the usual and beyond the clear limit; None where there is none."""
    found = []
    for clearly in (False, True):
        limit = _limits(channel, clearly)[side == "high"]
        if limit is None:
            return None
        found.append(sum(value > limit if side == "high" else value < limit for value in values))
    return found


def is_side(channel, values, side):
    found = counts(channel, values, side)
    if found is None:
        return None
    return True if found[1] else None if found[0] else False


def is_normal(channel, values):
    sides = [is_side(channel, values, side) for side in ("low", "high") if counts(channel, values, side) is not None]
    if not sides:
        return None
    return False if True in sides else None if None in sides else True


def opposite(truth):
    return None if truth is None else not truth


def level(record, state, name):
    """The truth of a level; of "pressure" by the systolic or the mean one, high also by the diastolic one."""
    if name == "pressure":
        names = PRESSURES if "high" in state else PRESSURES[:2]
        truths = [level(record, state, n) for n in names if record.series(n)[1]]
        if not truths:
            return False
        everyone = state == "normal" or state.startswith("not_")
        decides = not everyone
        return decides if decides in truths else None if None in truths else everyone
    channel, (_, values) = record.channels[record.names.index(name)], record.series(name)
    if not values:
        return None if name == "Fraction inspired oxygen" else False
    if state.endswith("room_air"):
        above = sum(value > 0.21 for value in values)
        return True if not above else False if above == len(values) or state == "all_room_air" else None
    if state == "not_normal":
        return opposite(is_normal(channel, values))
    if state == "normal":
        return is_normal(channel, values)
    if state.startswith("first_"):
        return is_side(channel, values[:1], state[6:])
    if state.startswith("not_"):
        return opposite(is_side(channel, values, state[4:]))
    return is_side(channel, values, state)


# ---- numbers


def written(value, channel):
    return f"{value:.{channel['decimals']}f}"


def far(number, values, channel):
    """Return whether a number is none of the values, by a clear margin, in whichever way a bare number is read."""
    margin = {"pH": 0.08, "°C": 0.8, "%": 5, "fraction": 0.1}.get(channel["unit"], 0.12 * abs(number))
    return all(abs(number - value) > margin for value in values)


def false_value(rng, channel, values):
    """A plausible number that is far from all the given ones."""
    spread = max(values) - min(values) + 0.3 * abs(np.mean(values)) + 10.0 ** -channel["decimals"] * 3
    for _ in range(30):
        number = float(written(rng.uniform(min(values) - spread, max(values) + spread), channel))
        inside = channel["minimum"] <= number <= channel["maximum"]
        if inside and number > 0 and far(number, values, channel):
            return number
    return None


def close(value, other, channel):
    return abs(value - other) < 10.0 ** -channel["decimals"] * 0.6


def in_order(values, numbers, channel):
    """Return whether the numbers are found one after the other."""
    place = -1
    for number in numbers:
        later = [i for i in range(place + 1, len(values)) if close(values[i], number, channel)]
        if not later:
            return False
        place = later[0]
    return True
