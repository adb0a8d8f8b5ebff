# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Check the content of a JSON file against a shape."""

from __future__ import annotations

import sys


NAMES = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object with fields",
    None: "null",
}
CHANNEL = {  # of configuration, processor and dataset
    "name": str,
    "unit": str,
    "low?": (None, float),
    "high?": (None, float),
    "clearly_low?": (None, float),
    "clearly_high?": (None, float),
    "minimum?": float,
    "maximum?": float,
    "mean?": float,
    "std?": float,
    "fill?": float,
    "decimals?": int,
    "normal?": str,
    "words?": [str],
}
TERM = {  # of knowledge
    "term": str,
    "type": str,
    "diseases": [str],
    "synonyms?": [str],
    "pattern?": (None, {"channel": str, "direction": str}),
    "share?": float,
}
LANGUAGE = {  # of processor and dataset
    "name": str,
    "words": {str: [str]},
    "decimal?": str,
    "sentences?": {str: str},
}


def fault_of(value: object, shape: object, place: str = "") -> str | None:
    """
    Return the first fault of `value`, as `"channels[3].unit is 7, not text"`; `None` if it fits.

    Args:
        value: as `json` reads it.
        shape: a type (`float` is any finite number, `int` excludes truth values), `None`, a tuple of alternative
            shapes, `[shape]` for a list, `{str: shape}` for any fields, or `{name: shape}` for fields that others may
            accompany; a field with a name that ends in `?` may be missing.
        place (`str`): name of `value` in the message.
    """
    if isinstance(shape, tuple):
        return _fault_of_either(value, shape, place)
    kind = type(shape) if isinstance(shape, list | dict) else shape
    if not _is(value, kind):
        return f"{place or 'it'} is {_shown(value)}, not {NAMES[kind]}"
    if isinstance(shape, list):
        parts = ((part, shape[0], f"{place}[{i}]") for i, part in enumerate(value))
    elif isinstance(shape, dict):
        if str in shape:
            shape = dict.fromkeys(value, shape[str])
        missing = next((name for name in shape if name[-1:] != "?" and name not in value), None)
        if missing is not None:
            return f"{_inside(place, missing)} is missing"
        names = {name: name if name in value else name[:-1] for name in shape}
        parts = ((value[n], shape[name], _inside(place, n)) for name, n in names.items() if n in value)
    else:
        return None
    return next((fault for part in parts if (fault := fault_of(*part)) is not None), None)


def _fault_of_either(value: object, shapes: tuple, place: str) -> str | None:
    for shape in shapes:
        fault = fault_of(value, shape, place)
        if fault is None or (isinstance(shape, list | dict) and isinstance(value, type(shape))):
            return fault
    kinds = [type(shape) if isinstance(shape, list | dict) else shape for shape in shapes]
    return f"{place or 'it'} is {_shown(value)}, not {' or '.join(NAMES[kind] for kind in kinds)}"


def _is(value: object, kind: object) -> bool:
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _shown(value: object) -> str:
    text = " ".join(repr(value)[:200].split())
    return text if len(text) <= 60 else f"{text[:60]}…"
