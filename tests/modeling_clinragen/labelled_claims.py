# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""True and false claims about ICU series, made from wordings and labelled by an independent computation."""

import math
import random
import re
from dataclasses import dataclass

import numpy as np

from modeling_clinragen import PAPER_CHANNELS


DRAWS = 3000
UNMEASURED_SHARE = 0.12
NO_NUMBERS = ("Temperature", "Fraction inspired oxygen")
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
UNITS = {"Heart Rate": ["bpm", "beats/min", "/min"], "Respiratory rate": ["breaths/min", "/min"], "pH": [""]}
OTHER_UNITS = {"mg/dL": 18.016, "kg": 2.2046, "mmHg": 7.50062, "%": 100.0}


@dataclass
class LabelledClaim:
    """A sentence, the record it is about, and whether the record supports or contradicts it."""

    text: str
    kind: str
    hours: np.ndarray
    values: np.ndarray
    channel: str
    verdict: str


@dataclass
class Series:
    """The measured values of one channel of one record."""

    channel: dict
    hours: np.ndarray
    values: np.ndarray
    record: tuple


def labelled_claims(wordings, records, seed):
    """One true and one false claim of every wording about the series, where some record allows them."""
    rng = random.Random(seed)
    pools = make_pools(records)
    claims = []
    for wording in wordings:
        if wording["kind"] in MAKERS:
            drawn = [draw_claim(rng, wording, pools, wanted) for wanted in (True, False)]
            claims += [claim for claim in drawn if claim is not None]
    return claims


def make_pools(records):
    """The series by (channel name, whether it was measured); those with implausible values are left out."""
    pools = {}
    for hours, values in records:
        hours, values = np.asarray(hours, dtype=float), np.asarray(values, dtype=float)
        for column, channel in enumerate(PAPER_CHANNELS):
            kept = np.flatnonzero(~np.isnan(values[:, column]))
            kept = kept[np.argsort(hours[kept], kind="stable")]
            series = Series(channel, hours[kept], values[kept, column], (hours, values))
            if np.all((series.values >= channel["minimum"]) & (series.values <= channel["maximum"])):
                pools.setdefault((channel["name"], bool(len(kept))), []).append(series)
    return pools


def draw_claim(rng, wording, pools, wanted):
    """A claim whose truth is `wanted`, or None if DRAWS random series give none."""
    keys = [key for key in pools if channel_fits(wording, key[0])]
    blank = [key for key in keys if not key[1]]
    if wording["kind"] == "unmeasured":
        keys = [key for key in keys if key[1] == ((wording["states"] == "measured") == wanted)]
    elif blank and not wanted and rng.random() < UNMEASURED_SHARE:
        keys = blank
    else:
        keys = [key for key in keys if key[1]]
    for _ in range(DRAWS if keys else 0):
        series = rng.choice(pools[rng.choice(keys)])
        maker = MAKERS[wording["kind"]] if len(series.values) else MAKERS_UNMEASURED[wording["kind"]]
        slots = maker(rng, wording, series, wanted)
        if slots is not None:
            return finish(rng, wording, series, slots, wanted)
    return None


def channel_fits(wording, name):
    """Return whether a wording may be about the channel, and the channel can show what it states."""
    channel = next(channel for channel in PAPER_CHANNELS if channel["name"] == name)
    if wording.get("channel", name) != name or ("number}" in wording["text"] and name in NO_NUMBERS):
        return False
    if "high" in wording["states"] and channel["high"] >= channel["maximum"]:
        return False
    return not ("low" in wording["states"] and channel["low"] <= channel["minimum"])


def finish(rng, wording, series, slots, wanted):
    text = fill(rng, wording["text"], series.channel, slots)
    verdict = "supported" if wanted else "contradicted"
    return LabelledClaim(text, wording["kind"], *series.record, series.channel["name"], verdict)


def fill(rng, text, channel, slots):
    """The sentence with its slots filled, a capital at its start and a period at its end."""
    name = channel["name"] if channel["name"] == "pH" else rng.choice([channel["name"], channel["name"].lower()])
    unit = rng.choice(UNITS.get(channel["name"], [channel["unit"]]))
    joined = unit if unit[:1] in ("%", "/", "") else " " + unit
    if name[0] in "Oo":
        text = re.sub(r"\ba \{channel\}", "an {channel}", text)
    text = text.replace(" {unit}", joined).format(channel=name, **slots)
    if not text.startswith("pH"):
        text = text[0].upper() + text[1:]
    return text if text.endswith(".") else text + "."


# ---- level and count


def outside(series, side, widen, kept=slice(None)):
    """How many values lie above or below limits that are moved outwards (widen 1) or inwards (-1) a little."""
    shift = widen * 0.4 * 10.0 ** -series.channel["decimals"]
    values = series.values[kept]
    if side == "high":
        return int(np.sum(values > series.channel["high"] + shift))
    return int(np.sum(values < series.channel["low"] - shift))


def level_holds(series, state, widen, kept=slice(None)):
    if state.startswith("not_"):
        return not level_holds(series, state[4:], widen, kept)
    if state == "normal":
        return outside(series, "high", widen, kept) + outside(series, "low", widen, kept) == 0
    return outside(series, state, widen, kept) > 0


def make_level(rng, wording, series, wanted):
    truths = {level_holds(series, wording["states"], widen) for widen in (-1, 0, 1)}
    return {} if truths == {wanted} else None


def make_count(rng, wording, series, wanted):
    side = wording["states"].removeprefix("count_")
    counts = {outside(series, side, widen) for widen in (-1, 0, 1)}
    if len(counts) > 1:
        return None
    count = counts.pop()
    if not wanted:
        count += rng.choice([-3, -2, -1, 1, 2, 3, 5])
    return count_slots(rng, wording, count)


def count_slots(rng, wording, count):
    """None for counts that would read badly: none at all, or a single one before a plural."""
    if count < (2 if "{count}" in wording["text"] else 1):
        return None
    spelled = WORDS[count] if count < len(WORDS) else str(count)
    times = {1: ["once"], 2: ["twice", "2 times", "two times"]}.get(count, [f"{count} times", f"{spelled} times"])
    return {"count": str(count), "times": rng.choice(times)}


# ---- value


def written(value, channel):
    """The value with the channel's decimals; None if it lies so near a half that rounding could go either way."""
    scaled = value * 10 ** channel["decimals"]
    if abs(scaled - math.floor(scaled) - 0.5) < 0.02:
        return None
    return f"{value:.{channel['decimals']}f}"


def is_far(number, truth, channel):
    """Return whether a number is clearly not the true one, neither in the channel's unit nor in another common one."""
    factor = OTHER_UNITS.get(channel["unit"], 1.0)
    least = max(0.03 * abs(truth), 2 * 10.0 ** -channel["decimals"]) + 0.5 * 10.0 ** -channel["decimals"]
    others = all(abs(number - truth * times) > 0.04 * truth * times for times in (factor, 1 / factor))
    return others and abs(number - truth) > least


def false_number(rng, series, truths):
    """A plausible number, often one that was measured at another time, that is far from all the true ones."""
    channel = series.channel
    candidates = list(rng.choices(series.values.tolist(), k=4)) if len(series.values) else []
    bottom, top = channel["minimum"], channel["maximum"]
    for truth in rng.sample(list(truths), min(4, len(truths))):
        candidates += [truth * rng.uniform(0.7, 0.97), truth * rng.uniform(1.03, 1.4)]
    candidates += [rng.uniform(max(bottom, 0.7 * channel["low"]), min(top, 1.3 * channel["high"])) for _ in range(4)]
    for candidate in candidates:
        number = written(candidate, channel) if bottom <= candidate <= top else None
        if number is not None and all(is_far(float(number), truth, channel) for truth in truths):
            return number
    return None


def right_values(series, state):
    """The values of which a claim may name any one."""
    values = series.values.tolist()
    right = {"maximum": [max(values)], "minimum": [min(values)], "first_value": values[:1], "last_value": values[-1:]}
    return right.get(state, values)


def make_value(rng, wording, series, wanted):
    if wording["states"] == "range":
        return make_range(rng, series, wanted)
    truths = right_values(series, wording["states"])
    number = written(rng.choice(truths), series.channel) if wanted else false_number(rng, series, truths)
    return None if number is None else {"number": number}


def make_range(rng, series, wanted):
    ends = [float(series.values.min()), float(series.values.max())]
    numbers = [written(end, series.channel) for end in ends]
    for side in [] if wanted else rng.choice([[0], [1], [0, 1]]):
        numbers[side] = false_number(rng, series, [ends[side]])
    if None in numbers or float(numbers[0]) >= float(numbers[1]):
        return None
    return {"low_number": numbers[0], "high_number": numbers[1]}


# ---- trend


def trends(values):
    """Every trend that a fair reading of the definition gives: how thirds are rounded, and a margin on the limit."""
    first_quartile, third_quartile = np.percentile(values, [25, 75])
    spread = third_quartile - first_quartile
    found = set()
    for size in {len(values) // 3, math.ceil(len(values) / 3)}:
        change = np.median(values[-size:]) - np.median(values[:size])
        for share in (0.4, 0.5, 0.6):
            near = abs(change) <= share * spread
            found.add("stable" if near else "rising" if change > 0 else "falling")
    return found if spread > 0 else set()


def make_trend(rng, wording, series, wanted):
    if len(series.values) < 6:
        return None
    found = trends(series.values)
    if len(found) != 1:
        return None
    state = wording["states"]
    holds = state.removeprefix("not_") in found
    return {} if (holds != state.startswith("not_")) == wanted else None


# ---- time


def make_time(rng, wording, series, wanted):
    if wording["states"] == "value_at":
        return make_value_at(rng, series, wanted)
    if wording["states"].endswith("imum_at"):
        return make_extreme_at(rng, wording["states"], series, wanted)
    level, _, window = wording["states"].partition("_")
    for hour in window_hours(rng, series, level):
        if window_truths(series, level, window, hour) == {wanted}:
            return {"hours": f"{hour:g}"}
    return None


def window_hours(rng, series, level):
    """Hours to split the series at: usual ones, and those just before or after its values outside the limits."""
    last = series.hours[-1]
    channel = series.channel
    outliers = series.hours[(series.values > channel["high"]) | (series.values < channel["low"])].tolist()
    hours = [6, 8, 12, 24, 36, 48, rng.uniform(2, 24), round(rng.uniform(2, 72))]
    for hour in outliers[:1] + outliers[-1:]:
        hours += [math.floor(hour) - rng.randint(0, 3), math.ceil(hour) + rng.randint(0, 3)]
    hours = [round(hour, 1) for hour in hours if 2 <= hour <= last]
    rng.shuffle(hours)
    return hours


def window_truths(series, level, window, hour):
    """The truths for limits and an hour moved a little; empty if the window may hold no value."""
    truths = set()
    for limit in (hour - 0.1, hour, hour + 0.1):
        kept = series.hours <= limit if window == "in_first" else series.hours > limit
        if not kept.any():
            return set()
        truths |= {level_holds(series, level, widen, kept) for widen in (-1, 0, 1)}
    return truths


def written_hour(rng, hour):
    """A whole hour or one with a decimal, well within half an hour of the true one; from 2 on, for the plural."""
    number = rng.choice([float(round(hour)), round(hour, 1)])
    return number if number >= 2 and abs(number - hour) <= 0.4 else None


def make_value_at(rng, series, wanted):
    chosen = rng.randrange(len(series.values))
    hour = written_hour(rng, series.hours[chosen])
    if hour is None:
        return None
    near = series.values[np.abs(series.hours - hour) <= 0.7].tolist()
    number = written(series.values[chosen], series.channel) if wanted else false_number(rng, series, near)
    return None if number is None else {"number": number, "hours": f"{hour:g}"}


def make_extreme_at(rng, state, series, wanted):
    extreme = series.values.max() if state == "maximum_at" else series.values.min()
    ties = series.hours[np.abs(series.values - extreme) <= 1.001 * 10.0 ** -series.channel["decimals"]]
    hour = written_hour(rng, rng.choice(ties.tolist() if wanted else series.hours.tolist()))
    if hour is None or (wanted and len(ties) > 1) or (not wanted and np.abs(ties - hour).min() < 1):
        return None
    return {"hours": f"{hour:g}"}


# ---- channels that were not measured


def make_unmeasured(rng, wording, series, wanted):
    return {}


def any_slots(rng, wording, series, wanted):
    """Slots for a claim about a channel that was not measured."""
    numbers = sorted(filter(None, (false_number(rng, series, []) for _ in range(2))), key=float)
    counted = count_slots(rng, wording, rng.randint(2, 6))
    if len(numbers) < 2 or float(numbers[0]) == float(numbers[1]):
        return None
    named = {"number": numbers[0], "low_number": numbers[0], "high_number": numbers[1]}
    return {**named, **counted, "hours": str(rng.randint(2, 48))}


MAKERS = {
    "level": make_level,
    "count": make_count,
    "value": make_value,
    "trend": make_trend,
    "time": make_time,
    "unmeasured": make_unmeasured,
}
MAKERS_UNMEASURED = dict.fromkeys(MAKERS, any_slots) | {"unmeasured": make_unmeasured}
