# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Compose rationales by the built-in knowledge, and list the faults that the checkers find in them."""

import random
from functools import cache

import numpy as np

from datasets_scripts.knowledge.base import builtin_knowledge
from modeling_clinragen import CHANNELS, PHENOTYPES
from modeling_clinragen.claims_clinragen import ClaimChecker
from modeling_clinragen.composition_clinragen import Composer
from modeling_clinragen.links_clinragen import KnowledgeLinks, argue
from modeling_clinragen.note_claims_clinragen import check_note_claims


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]
CHF, SHOCK, SEPSIS = "Congestive heart failure; nonhypertensive", "Shock", "Septicemia (except in labor)"
PNEUMONIA = next(label for label in LABELS if label.startswith("Pneumonia"))
AMI, RENAL = "Acute myocardial infarction", "Acute and unspecified renal failure"
RESPIRATORY = next(label for label in LABELS if label.startswith("Respiratory failure"))
STROKE, KIDNEY, LIPIDS = "Acute cerebrovascular disease", "Chronic kidney disease", "Disorders of lipid metabolism"
BLEEDING, HYPERTENSION, DYSRHYTHMIAS = "Gastrointestinal hemorrhage", "Essential hypertension", "Cardiac dysrhythmias"
CORONARY = "Coronary atherosclerosis and other heart disease"
COMPLICATIONS = "Complications of surgical procedures or medical care"
DIABETES, FLUIDS = "Diabetes mellitus without complication", "Fluid and electrolyte disorders"
LIVER, COPD = "Other liver diseases", "Chronic obstructive pulmonary disease and bronchiectasis"
LOWER = "Other lower respiratory disease"
PLEURA = "Pleurisy; pneumothorax; pulmonary collapse"
NAMES = [channel["name"] for channel in CHANNELS]
UNEVENTFUL = {"Heart Rate": 80, "Systolic blood pressure": 120, "Mean blood pressure": 85, "Temperature": 36.8}


@cache
def links(channels: str = "clinical") -> KnowledgeLinks:
    return KnowledgeLinks(builtin_knowledge()["terms"], LABELS, CHANNELS)


@cache
def composer() -> Composer:
    return Composer(links(), CHANNELS, LABELS)


def series(**columns):
    """A grid of hourly values; a column's name is that of the channel with underscores."""
    number = max(map(len, columns.values()), default=0)
    values = np.full((number, len(CHANNELS)), np.nan)
    for name, column in columns.items():
        values[: len(column), NAMES.index(name.replace("_", " "))] = column
    return np.arange(float(number)), values


def composed(note, lab, diseases, seed=0, **options):
    parts = composer().rationale(note, *lab, diseases, random.Random(seed), **options)
    return [[sentence.text for sentence in part] for part in parts]


def faults(note, lab, sentences, lab_sentences):
    """Return the faults that the checkers find."""
    check, found = ClaimChecker(CHANNELS), []
    for text in sentences:
        found += argue(check_note_claims(text, note), text, links())
    for text in lab_sentences:
        found += [c for c in argue(check(text, *lab), text, links()) if c.channel]
    return [c for c in found if c.verdict != "supported" or c.argument in ("unlinked", "unknown")]


def is_evidence(note, text, disease):
    """Return whether a finding of a note is evidence of a disease."""
    return any(
        finding.text.lower() == text for finding in composer().evidence(note, *series(), [disease])[disease].note
    )


def arguments_from(note, subject, disease):
    """Return the arguments of a text that concludes a disease from a finding of a note."""
    text = f"{subject} suggests {links().names_of(disease)[1]}."
    claims = argue(check_note_claims(text, note), text, links(), note)
    return {claim.argument for claim in claims if claim.diagnoses}
