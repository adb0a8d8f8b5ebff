# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings files that a user writes."""

from pathlib import Path

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


MAX_DEPTH, MAX_PARTS = 50, 1_000_000  # of a file's content, with aliases expanded


def read_yaml(path: Path, shape: object = dict, only_text: bool = False) -> object:
    """
    Return the content of a YAML file: strings, numbers, booleans, lists, and mappings with string keys.

    Args:
        shape (*optional*): as [`fault_of`] takes it.
        only_text (`bool`): read numbers and booleans as strings, so that `no` is the word.

    Raises:
        ClinRaGenInputError: naming the file, and the line or field that is wrong.
    """
    import yaml

    try:
        loader = yaml.BaseLoader if only_text else yaml.SafeLoader
        value = yaml.load(path.read_text(encoding="utf-8"), loader)
    except UnicodeDecodeError:
        raise ClinRaGenInputError(f"{path}: not a YAML file: no text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(filter(None, (error.context, error.problem)))
        where = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ClinRaGenInputError(f"{path}{where}: not a YAML file: {reason}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
        raise ClinRaGenInputError(f"{path}: not a YAML file: {reason}") from None
    fault = _unusual(value) or fault_of(value, shape)
    if fault is not None:
        raise ClinRaGenInputError(f"{path}: {fault}")
    return value


def _unusual(value: object) -> str | None:
    """Return the fault of YAML content that settings must not hold: dates, non-string keys, surrogates, cycles."""
    parts, number = [(value, 0)], 0
    while parts:
        part, depth = parts.pop()
        number += 1
        if depth > MAX_DEPTH or number > MAX_PARTS:
            return "holds itself, or too much"
        if isinstance(part, dict):
            name = next((name for name in part if not isinstance(name, str)), None)
            if name is not None or None in part:
                return f"the name {name} is not text; write it in quotes"
            parts += [(inner, depth + 1) for inner in (*part, *part.values())]
        elif isinstance(part, list):
            parts += [(inner, depth + 1) for inner in part]
        elif isinstance(part, str) and not part.isascii() and any("\ud800" <= sign <= "\udfff" for sign in part):
            return "holds half of a character"
        elif part is not None and not isinstance(part, str | int | float):
            return f"{str(part)[:60]!r} is neither text nor a number; write it in quotes"
    return None
