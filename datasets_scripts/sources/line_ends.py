# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Line ends of notes, as many systems write them: CR, form feeds, HTML, HL7 and Excel escapes become newlines."""

import html
import re


_CONTROLS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_COLONS = re.compile("[\uff1a\ufe55\ufe13\ua789\u02d0\u2236]")
_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_ENTITY = re.compile(r"&(?:#\d{1,6}|#[xX][0-9a-fA-F]{1,5}|[A-Za-z]{2,8});")
_TAG = re.compile(
    r"</?(?:b|big|blockquote|body|br|caption|center|content|dd|div|dl|dt|em|font|h[1-6]|hr|html|i|item|li|linebreak|list"
    r"|ol|p|paragraph|pre|section|span|strong|table|tbody|td|text|th|thead|title|tr|u|ul)(?:\s[^<>]{0,200})?/?>",
    re.IGNORECASE,
)
_ESCAPES = re.compile(r"\\\.br\\|\\X0[AD]\\|\\(?:par|line)\b[ ]?|_x000[aAdD]_", re.IGNORECASE)
_SPACED = re.compile(r"\b(?:[A-Z] ){3,}[A-Z]\b")
_LITERAL = re.compile(r"(?:\\r)?\\n|\\r")


def normalise_lines(text: str) -> str:
    """
    Return a note with `\\n` as its only line end, plain spaces and colons, and without marks that nobody sees.

    A backslash and an n count as a line end where a note holds more of them than newlines. Words in spaced capitals
    ("P L A N") are closed up.
    """
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    if "<" in text:
        text = _TAG.sub("\n", text)
    if "\\" in text or "_x" in text:
        text = _ESCAPES.sub("\n", text)
    if text.count("\\n") + text.count("\\r") > text.count("\n") + text.count("\r"):
        text = _LITERAL.sub("\n", text)
    text = _SPACED.sub(lambda match: match[0].replace(" ", ""), _CONTROLS.sub("\n", text))
    if not text.isascii():
        text = _SPACES.sub(" ", _COLONS.sub(":", _INVISIBLE.sub("", text)))
    return text
