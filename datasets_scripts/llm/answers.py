# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Parse the text of a model as the requested JSON object."""

import json
import re

import json_repair
import jsonschema

from datasets_scripts.llm.chat import Answer


LONGEST = 32_000  # characters after the thoughts: more than any valid answer, and a limit for the gate
LONGEST_REPAIRED = 8_000  # characters, and
MOST_MARKS_REPAIRED = 1_000  # quotation marks and brackets: repair takes quadratic time, here at most two seconds


class _UnusableError(Exception):
    """Raised for a text without an answer; the message can be counted."""


def parse_answer(content: str, schema: dict) -> Answer:
    """
    Parse the object in a model's text: after its thoughts, within a code fence or other words. Small errors of
    JSON (an extra comma, a missing quotation mark) are repaired, but not a text that was cut off.
    """
    try:
        value = _read(content if content.lstrip().startswith("{") else content.rpartition("</think>")[2])
        jsonschema.validate(value, schema)
        json.dumps(value, ensure_ascii=False).encode()
    except _UnusableError as fault:
        return Answer(None, str(fault), again=True)
    except jsonschema.ValidationError:
        return Answer(None, "JSON of another shape", again=True)
    except RecursionError:
        return Answer(None, "JSON nested too deep", again=True)
    except UnicodeEncodeError:
        return Answer(None, "half a character", again=True)
    return Answer(value)


def _read(text: str) -> object:
    start, end = text.find("{"), text.rfind("}")
    if start < 0:
        raise _UnusableError("no JSON")
    if end < start or re.search(r"\w", text[end:].partition("```")[0]):
        raise _UnusableError("JSON that was cut off")
    text = text[start : end + 1]
    if len(text) > LONGEST:
        raise _UnusableError("too long an answer")
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except ValueError:
        return _repaired(text)


def _each_key_once(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _UnusableError("JSON with a key twice")
    return found


def _repaired(text: str) -> object:
    if _ends_in_a_string(text):
        raise _UnusableError("JSON that was cut off")
    if len(text) > LONGEST_REPAIRED or sum(map(text.count, "\"'{[")) > MOST_MARKS_REPAIRED:
        raise _UnusableError("broken JSON")
    try:
        return json_repair.loads(text)
    except ValueError:
        raise _UnusableError("broken JSON") from None


def _ends_in_a_string(text: str) -> bool:
    """Return whether the last quotation mark opens a string, so that the brace at the end belongs to its words."""
    before, mark, _ = re.sub(r"\\.", "", text).rpartition('"')
    return bool(mark) and before.rstrip().endswith((":", ",", "[", "{"))
