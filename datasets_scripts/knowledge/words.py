# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words and their plain forms, the same for retrieval and extraction; and what a label is called."""

import re


WORD = re.compile(r"[A-Za-z0-9]+(?:[-'][A-Za-z0-9]+)*")
_IRREGULAR = {"vertebrae": "vertebra", "feet": "foot", "teeth": "tooth", "diagnoses": "diagnosis"}


_STOPS = """a an and are as at be but by due except for from has have if in into is it its no not of on or other
such that the their then there these they this to unspecified was were will with without"""
STOP_WORDS = frozenset(_STOPS.split())
_BRITISH = {
    "aem": "em",
    "aetiolog": "etiolog",
    "anaesth": "anesth",
    "caec": "cec",
    "centre": "center",
    "coeliac": "celiac",
    "faec": "fec",
    "fibre": "fiber",
    "foet": "fet",
    "gynaec": "gynec",
    "leucocyt": "leukocyt",
    "litre": "liter",
    "oedem": "edem",
    "oesoph": "esoph",
    "oestr": "estr",
    "paed": "ped",
    "pnoe": "pne",
    "rrhoe": "rrhe",
    "sulph": "sulf",
    "tumour": "tumor",
}
_BRITISH_PART = re.compile("|".join(_BRITISH))


def american(text: str) -> str:
    """Lower case, with American spelling of what medicine writes in two ways: "Hypoxaemia" -> "hypoxemia"."""
    return _BRITISH_PART.sub(lambda part: _BRITISH[part[0]], text.lower())


def plain_word(word: str) -> str:
    """Lower case, American, singular: "Oedemas" -> "edema", "biopsies" -> "biopsy", "stenoses" -> "stenosis"."""
    word = american(word).removesuffix("'s")
    if word in _IRREGULAR:
        return _IRREGULAR[word]
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
    """Plain forms of the words of a text; hyphens part words."""
    return [plain_word(part) for word in WORD.findall(text) for part in word.split("-")]


def plain_phrase(text: str) -> str:
    """What phrases have in common that differ by inflection, case or hyphens only."""
    return " ".join(plain_words(text))


def label_forms(label: dict) -> list[str]:
    """
    What a label is called, most telling first: the parts of its name, without parentheses, and its synonyms.

    Args:
        label (`dict`): `name` and `synonyms`.
    """
    name = re.sub(r"\([^)]*\)", "", label["name"])
    parts = [" ".join(part.split()) for part in name.split(";")]
    return list(dict.fromkeys(form.lower() for form in (*filter(None, parts), *label.get("synonyms", ()))))
