# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words and their plain forms, the same for retrieval and extraction; and the names of a label."""

import re
from pathlib import Path

import yaml


WORD = re.compile(r"[A-Za-z0-9]+(?:[-'][A-Za-z0-9]+)*")
LISTS = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
STOP_WORDS = frozenset(LISTS["stops"].split())
_BRITISH_PART = re.compile("|".join(LISTS["british"]))


def american(text: str) -> str:
    """Return a text in lower case and American spelling: "Hypoxaemia" -> "hypoxemia"."""
    return _BRITISH_PART.sub(lambda part: LISTS["british"][part[0]], text.lower())


def plain_word(word: str) -> str:
    """Return a word in lower case, American and singular: "Oedemas" -> "edema", "stenoses" -> "stenosis"."""
    word = american(word).removesuffix("'s")
    if word in LISTS["irregular"]:
        return LISTS["irregular"][word]
    if len(word) <= 3 or word.endswith(("ss", "us", "is", "itus")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("oses", "yses", "ases")) and len(word) > 6:
        return word[:-2] + "is"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word.removesuffix("s")


def plain_words(text: str) -> list[str]:
    """Return the plain forms of the words of a text; hyphens separate words."""
    return [plain_word(part) for word in WORD.findall(text) for part in word.split("-")]


def plain_phrase(text: str) -> str:
    """Return the common form of phrases that differ only by inflection, case or hyphens."""
    return " ".join(plain_words(text))


def label_forms(label: dict) -> list[str]:
    """
    Return the names of a label, most specific first: the parts of its name, without parentheses, and its synonyms.

    Args:
        label (`dict`): `name` and `synonyms`.
    """
    name = re.sub(r"\([^)]*\)", "", label["name"])
    parts = [" ".join(part.split()) for part in name.split(";")]
    return list(dict.fromkeys(form.lower() for form in (*filter(None, parts), *label.get("synonyms", ()))))
