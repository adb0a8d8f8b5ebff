# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The form of a grounded answer: a schema for each record, which requires its findings.

For models with constrained decoding, however small: a sentence begins with one or two findings of the record that the
knowledge links with a recorded diagnosis, and ends with that diagnosis. The model chooses findings and verb,
and, if allowed, writes words of its own between them.
"""

from __future__ import annotations

import re
from itertools import combinations

from modeling_clinragen.composition_clinragen import Composer
from modeling_clinragen.realization_clinragen import (
    NO_SIGN,
    SeriesFinding,
    sentence_case,
    sentence_name,
    with_singular_verb,
)


MOST_FINDINGS = 4  # of one diagnosis, to choose from
MOST_SENTENCES = 5  # of one part
OWN_WORDS = "(,? [a-z][a-z ,'-]{0,36}[a-z])?"
VERBS = ("suggest", "point to", "support", "indicate", "favor", "fit", "are consistent with", "are in keeping with")
SPECIAL = re.compile(r"([\\^$.|?*+()\[\]{}])")


class GroundedForm:
    """
    Args:
        composer (`Composer`): finds the evidence of a record for a diagnosis.
        own_words (`bool`): let the model write between finding and verb.
    """

    def __init__(self, composer: Composer, own_words: bool = False):
        self.composer, self.words = composer, OWN_WORDS if own_words else ""

    def __call__(self, row: dict) -> dict:
        """Return the schema of an answer about one row of the dataset."""
        diseases = [self.composer.labels[i] for i in row["diagnoses"]]
        evidence = self.composer.evidence(row["note"], row["lab_times"], row["lab_values"], diseases)
        noted = {d: [(f.text, f.text) for f in found.note] for d, found in evidence.items()}
        shown = {d: [stated for f in found.series for stated in statements(f)] for d, found in evidence.items()}
        return _object(note_rationale=self._part("note", noted), lab_rationale=self._part("lab", shown))

    def _part(self, part: str, found: dict[str, list[tuple[str, str]]]) -> dict:
        """Return the schema of one part: one sentence for each diagnosis that has a finding."""
        names = {disease: sentence_name(disease, self.composer.links.names_of(disease)) for disease in found}
        usable = {
            names[d]: [f for f in findings if '"' not in f[0] and "\\" not in f[0]] for d, findings in found.items()
        }
        items = [self._sentence(name, found[:MOST_FINDINGS]) for name, found in usable.items() if found]
        items = items[:MOST_SENTENCES]
        nothing = _object(evidence={"const": []}, sentence={"enum": list(NO_SIGN[part])})
        items = items or [nothing]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _sentence(self, name: str, findings: list[tuple[str, str]]) -> dict:
        """Return the schema of a sentence that argues for a diagnosis from one finding, or from two."""
        chosen = [[finding] for finding in findings]
        chosen += [[a, b] for a, b in combinations(findings, 2) if a[1] != b[1]]
        return {"anyOf": [self._argument(name, findings) for findings in chosen]}

    def _argument(self, name: str, findings: list[tuple[str, str]]) -> dict:
        said = sentence_case(" and ".join(" ".join(text.split()) for text, _ in findings))
        ends = [f" {verb} {name}." for verb in VERBS]
        if len(findings) == 1:
            ends = [end for end in (with_singular_verb(end, said) for end in ends) if end]
        pattern = f"^{_literal(said)}{self.words}({'|'.join(map(_literal, ends))})$"
        sentence = {"type": "string", "pattern": pattern, "examples": [said + ends[0]]}
        return _object(evidence={"const": [source for _, source in findings]}, sentence=sentence)


def statements(finding: SeriesFinding) -> list[tuple[str, str]]:
    """Return the possible statements of a finding of the series, each with the name of its channel."""
    channel, values = finding.channel, finding.values
    first, last, extreme = (f"{values[i]:.{channel['decimals']}f}" for i in (0, -1, finding.extreme))
    unit = channel["unit"] if channel["unit"] not in ("pH", "fraction") else ""
    if finding.direction in ("rising", "falling"):
        said = [f"{channel['name']} {finding.direction} from {first} to {last} {unit}"]
    else:
        word, reach = ("high", "up to") if finding.upwards else ("low", "down to")
        said = [f"{word} {channel['name']}, {reach} {extreme} {unit}", f"{channel['name']} {reach} {extreme} {unit}"]
    return [(text.strip(), channel["name"]) for text in said]


def _literal(text: str) -> str:
    """Return a regular expression that matches a text literally."""
    return SPECIAL.sub(r"\\\1", text)


def _object(**properties: dict) -> dict:
    """Return the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
