# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The clinical vocabulary that data, model and claims share: the paper's 25 diagnoses and 11 channels.

This module imports nothing, so that data preparation can read it without loading torch.

Source: arXiv 2411.07611 and its release for the labels, channels, `fill`, and the limits of `PAPER_CHANNELS`, from
which `mean` and `std` follow; docs/data.md for the limits of `CHANNELS`, which are clinical; HCUP Clinical
Classifications Software (single level) for the category numbers. The plausibility limits `minimum` and `maximum` are
this project's own: a value outside them cannot be a measurement of a living patient in that unit.
"""


class ClinRaGenInputError(ValueError):
    """A mistake in the user's input; its message is one line that names the place and the remedy."""


NO_DISEASE = "No disease is diagnosed"

# HCUP CCS single-level category -> name. The position in this list is the class id.
PHENOTYPES = [
    {"ccs": 157, "name": "Acute and unspecified renal failure"},
    {"ccs": 109, "name": "Acute cerebrovascular disease"},
    {"ccs": 100, "name": "Acute myocardial infarction"},
    {"ccs": 238, "name": "Complications of surgical procedures or medical care"},
    {"ccs": 55, "name": "Fluid and electrolyte disorders"},
    {"ccs": 153, "name": "Gastrointestinal hemorrhage"},
    {"ccs": 133, "name": "Other lower respiratory disease"},
    {"ccs": 134, "name": "Other upper respiratory disease"},
    {"ccs": 130, "name": "Pleurisy; pneumothorax; pulmonary collapse"},
    {"ccs": 122, "name": "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"},
    {"ccs": 131, "name": "Respiratory failure; insufficiency; arrest (adult)"},
    {"ccs": 2, "name": "Septicemia (except in labor)"},
    {"ccs": 249, "name": "Shock"},
    {"ccs": 158, "name": "Chronic kidney disease"},
    {"ccs": 127, "name": "Chronic obstructive pulmonary disease and bronchiectasis"},
    {"ccs": 101, "name": "Coronary atherosclerosis and other heart disease"},
    {"ccs": 49, "name": "Diabetes mellitus without complication"},
    {"ccs": 53, "name": "Disorders of lipid metabolism"},
    {"ccs": 98, "name": "Essential hypertension"},
    {"ccs": 99, "name": "Hypertension with complications and secondary hypertension"},
    {"ccs": 106, "name": "Cardiac dysrhythmias"},
    {"ccs": 105, "name": "Conduction disorders"},
    {"ccs": 108, "name": "Congestive heart failure; nonhypertensive"},
    {"ccs": 50, "name": "Diabetes mellitus with complications"},
    {"ccs": 151, "name": "Other liver diseases"},
]


def short_name(disease: str) -> str:
    """Shorten a diagnosis for a sentence: without text after a semicolon or in brackets."""
    return disease.split(";")[0].split(" (")[0]


def _channel(name, unit, typical, usual, fill, minimum, maximum, decimals=0, **more):
    low, high = typical
    return {
        "name": name,  # as in the public mimic3-benchmarks extraction
        "unit": unit,
        "low": usual[0],  # below: "lower than normal"; None for no limit
        "high": usual[1],  # above: "higher than normal"; None for no limit
        "fill": fill,  # the release's value for a missing cell; only the `paper` settings use it
        "minimum": minimum,  # plausibility limits, inclusive
        "maximum": maximum,
        "decimals": decimals,  # digits after the point when a value is written in a sentence
        "mean": (low + high) / 2,  # of the model's input, independent of the limits
        "std": (high - low) / 4,
        **more,  # clearly_low, clearly_high; normal: its word for "normal"
    }


_PAPER = (  # name, unit, the release's lowest and highest normal value, fill, minimum, maximum, decimals
    ("Diastolic blood pressure", "mmHg", (28.0, 92.0), 59.0, 5.0, 250.0, 0),
    ("Fraction inspired oxygen", "fraction", (-0.075, 0.685), 0.21, 0.2, 1.0, 2),
    ("Glucose", "mg/dL", (43.0, 187.0), 128.0, 5.0, 2500.0, 0),
    ("Heart Rate", "/min", (40.0, 128.0), 86.0, 5.0, 350.0, 0),
    ("Mean blood pressure", "mmHg", (41.0, 113.0), 77.0, 10.0, 300.0, 0),
    ("Oxygen saturation", "%", (90.0, 106.0), 98.0, 10.0, 100.0, 0),
    ("Respiratory rate", "/min", (5.5, 33.5), 19.0, 1.0, 150.0, 0),
    ("Systolic blood pressure", "mmHg", (61.5, 177.5), 118.0, 20.0, 375.0, 0),
    ("Temperature", "°C", (35.0, 38.56), 36.6, 24.0, 45.0, 1),
    ("Weight", "kg", (31.3, 127.9), 81.0, 20.0, 500.0, 1),
    ("pH", "pH", (7.145, 7.585), 7.4, 6.3, 8.4, 2),
)
# Usual limits of adults, and limits beyond which all conventions agree; docs/data.md has the source of each.
_CLINICAL = {
    "Diastolic blood pressure": {"usual": (60.0, 79.0), "clearly_low": 50.0, "clearly_high": 89.0},
    "Fraction inspired oxygen": {"usual": (None, 0.21), "normal": "room air"},
    "Glucose": {"usual": (70.0, 140.0), "clearly_high": 180.0},
    "Heart Rate": {"usual": (60.0, 100.0), "clearly_low": 50.0},
    "Mean blood pressure": {"usual": (70.0, 105.0), "clearly_low": 65.0, "clearly_high": 109.0},
    "Oxygen saturation": {"usual": (94.0, None), "clearly_low": 90.0},
    "Respiratory rate": {"usual": (12.0, 20.0), "clearly_low": 10.0, "clearly_high": 21.0},
    "Systolic blood pressure": {"usual": (100.0, 129.0), "clearly_low": 90.0, "clearly_high": 139.0},
    "Temperature": {"usual": (36.0, 38.0), "clearly_low": 35.0, "clearly_high": 38.29},  # 38.3 is fever
    "Weight": {"usual": (None, None)},
    "pH": {"usual": (7.35, 7.45)},
}

CHANNELS = [
    _channel(*row[:3], fill=row[3], minimum=row[4], maximum=row[5], decimals=row[6], **_CLINICAL[row[0]])
    for row in _PAPER
]
# The same with the release's wide limits of normal.
PAPER_CHANNELS = [_channel(*row[:3], row[2], *row[3:]) for row in _PAPER]

_FLOAT32 = 1e-7  # tolerance: 7.35 in single precision is not below 7.35


def usual_limits(channel: dict) -> tuple[float, float]:
    """
    Return the lowest and the highest usual value of a channel, infinite without a limit on that side.

    Compare with `<` and `>`: the limits are normal themselves, also in single precision.
    """
    return _limits(channel.get("low"), channel.get("high"))


def clear_limits(channel: dict) -> tuple[float, float]:
    """Return the limits beyond which all conventions agree; the usual limits if the channel has no others."""
    low, high = (channel.get(name) for name in ("clearly_low", "clearly_high"))
    return _limits(channel.get("low") if low is None else low, channel.get("high") if high is None else high)


def _limits(low: float | None, high: float | None) -> tuple[float, float]:
    return (
        float("-inf") if low is None else low - abs(low) * _FLOAT32,
        float("inf") if high is None else high + abs(high) * _FLOAT32,
    )


def with_statistics(channel: dict) -> dict:
    """
    Return the channel with `mean` and `std`, by default the middle and a quarter of its clear range; on a side without
    a limit, the plausibility limit is used.
    """
    if "mean" in channel and "std" in channel:
        return channel
    low, high = (
        next((channel[name] for name in names if channel.get(name) is not None), None)
        for names in (("clearly_low", "low", "minimum"), ("clearly_high", "high", "maximum"))
    )
    if low is None or high is None:
        raise ClinRaGenInputError(f"channel {channel.get('name')!r}: give `mean` and `std`, or limits on both sides")
    return {"mean": (low + high) / 2, "std": (high - low) / 4, **channel}


def typical_range(channel: dict) -> tuple[float, float]:
    """Return the band in which most values of patients lie, two standard deviations around the mean."""
    return channel["mean"] - 2 * channel["std"], channel["mean"] + 2 * channel["std"]


def with_unit(channel: dict, number: str) -> str:
    """Write a number with the channel's unit; pH has no unit."""
    return number if channel["unit"] == channel["name"] else f"{number} {channel['unit']}"


def range_text(channel: dict) -> str:
    """Write the usual limits with their unit, as in "60 to 100 /min"; empty without limits."""
    low, high = channel.get("low"), channel.get("high")
    if low is None and high is None:
        return ""
    if low is None:
        return with_unit(channel, f"at most {high:g}")
    return with_unit(channel, f"at least {low:g}" if high is None else f"{low:g} to {high:g}")
