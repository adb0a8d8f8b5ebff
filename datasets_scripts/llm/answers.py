# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The text of a model, read as the JSON object that was asked for."""

import json
import re

import json_repair
import jsonschema

from datasets_scripts.llm.chat import Answer


def parse_answer(content: str, schema: dict) -> Answer:
    """
    Read the object in a model's text: after its thoughts, inside of a code fence or of other words. Small slips of
    JSON (a comma too many, a quotation mark missing) are mended, but not a text that was cut off.
    """
    text = content.rpartition("</think>")[2]
    start, end = text.find("{"), text.rfind("}")
    if start < 0:
        return Answer(None, "no JSON", again=True)
    if end < start or re.search(r"\w", text[end:].partition("```")[0]):
        return Answer(None, "JSON that was cut off", again=True)
    text = text[start : end + 1]
    try:
        value = json.loads(text)
    except ValueError:
        if _ends_in_a_string(text):
            return Answer(None, "JSON that was cut off", again=True)
        value = json_repair.loads(text)
    try:
        jsonschema.validate(value, schema)
    except jsonschema.ValidationError:
        return Answer(None, "JSON of another shape", again=True)
    return Answer(value)


def _ends_in_a_string(text: str) -> bool:
    """Tell if the last quotation mark opens a string, so that the brace at the end belongs to its words."""
    before, mark, _ = re.sub(r"\\.", "", text).rpartition('"')
    return bool(mark) and re.search(r"[:,\[{]\s*$", before) is not None
