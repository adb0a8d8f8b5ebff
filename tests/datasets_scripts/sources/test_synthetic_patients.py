# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated patients that a clinician would believe: their series, their notes, and what the knowledge finds."""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from datasets_scripts.dataset.leakage import LeakMeter
from datasets_scripts.knowledge.base import builtin_knowledge
from datasets_scripts.sources import synthetic_notes
from datasets_scripts.sources.labels import load_labels
from datasets_scripts.sources.notes import note_text
from datasets_scripts.sources.sections import split_sections
from datasets_scripts.sources.synthetic import draw_age, draw_diseases, read_world
from datasets_scripts.sources.synthetic_notes import Finding, discharge_summary, findings_of, read_words
from datasets_scripts.sources.synthetic_series import simulate_series
from modeling_clinragen.clinical_clinragen import CHANNELS, PHENOTYPES, clear_limits, usual_limits
from modeling_clinragen.links_clinragen import KnowledgeLinks


WORLD, WORDS = read_world(), read_words()
DISEASES = WORLD["diseases"]
CHANNEL = {channel["name"]: channel for channel in CHANNELS}
SYSTOLIC, DIASTOLIC, MEAN = (f"{name} blood pressure" for name in ("Systolic", "Diastolic", "Mean"))


@dataclass
class Patient:
    diseases: list[str]
    age: int
    sex: str
    series: dict
    summary: str
    told: list[Finding]
    denied: list[Finding]

    @cached_property
    def note(self) -> str:
        """Return what the admission view reads of the summary."""
        document = {"kind": "Discharge summary", "text": self.summary, "rank": 0, "hour": 90.0, "origin": "note"}
        return note_text([document], "admission")

    def values(self, channel: str) -> np.ndarray:
        return np.round(self.series[channel][1], CHANNEL[channel]["decimals"])


@pytest.fixture(scope="module")
def patients():
    drawn = {}
    with pytest.MonkeyPatch.context() as patch:  # to know what the summary was to tell; it is written as ever
        for name in ("draw_told", "draw_denied"):
            original = getattr(synthetic_notes, name)
            patch.setattr(
                synthetic_notes, name, lambda *given, _as=name, _to=original: drawn.setdefault(_as, _to(*given))
            )
        return [_patient(i, drawn) for i in range(1000)]


def _patient(i: int, drawn: dict) -> Patient:
    drawn.clear()
    rng = np.random.default_rng([22, i])
    diseases = draw_diseases(WORLD, rng)
    age, sex = draw_age(WORLD, diseases, rng), "MF"[i % 2]
    series = simulate_series(WORLD, diseases, sex, float(rng.uniform(24, 48)), rng)
    summary = discharge_summary(DISEASES, diseases, age, sex, rng)
    return Patient(diseases, age, sex, series, summary, drawn["draw_told"], drawn["draw_denied"])


@pytest.fixture(scope="module")
def links():
    return KnowledgeLinks(builtin_knowledge()["terms"], [label["name"] for label in PHENOTYPES], CHANNELS)


def shown(effect: dict) -> tuple[str, str]:
    """Return what an effect shows, as the patterns of the knowledge say it."""
    ways = ("rising", "falling") if effect["channel"] == "Weight" else ("high", "low")
    return effect["channel"], ways[effect["add"] < 0]


def test_without_a_disease_of_the_series_nearly_all_values_are_usual(patients):
    well = [p for p in patients if not any("effects" in DISEASES[name] for name in p.diseases)]
    assert len(well) > 150
    for channel in CHANNEL:
        low, high = usual_limits(CHANNEL[channel])
        values = np.concatenate([p.values(channel) for p in well if channel in p.series])
        assert np.mean((values < low) | (values > high)) <= 0.05, channel


@pytest.mark.parametrize("name", [name for name, disease in DISEASES.items() if "effects" in disease])
def test_a_disease_of_the_series_takes_its_channels_beyond_the_clear_limits(patients, name):
    for effect in DISEASES[name]["effects"]:
        channel = effect["channel"]
        ill = [p for p in patients if name in p.diseases and channel in p.series]
        low, high = clear_limits(CHANNEL[channel])
        if channel == "Weight":
            changes = [p.values(channel)[-1] - p.values(channel)[0] for p in ill]
            assert np.mean(np.sign(changes) == np.sign(effect["add"])) >= 0.9
        else:
            beyond = [
                (p.values(channel) < low).any() if effect["add"] < 0 else (p.values(channel) > high).any() for p in ill
            ]
            assert np.mean(beyond) >= 0.95, channel


def test_treated_diseases_fade_and_others_stay(patients):
    """Of those with shock, some end with a usual pressure and some do not; so with fever."""
    for channel, name, beyond in (
        (SYSTOLIC, "Shock", lambda values: values < 90),
        ("Temperature", "Septicemia (except in labor)", lambda values: values > 38.3),
    ):
        ill = [p.values(channel) for p in patients if name in p.diseases and channel in p.series]
        ended_well = np.mean([not beyond(values[-2:]).any() for values in ill])
        assert 0.2 <= ended_well <= 0.6, name


def test_no_patient_has_an_impossible_value(patients):
    for patient in patients:
        for channel, (times, values) in patient.series.items():
            assert (np.diff(times) >= 0).all()
            assert len(times) == len(values)
            assert (values >= CHANNEL[channel]["minimum"]).all()
            assert (values <= CHANNEL[channel]["maximum"]).all()
        assert (patient.series.get("pH", [0, np.array([7.4])])[1] >= 6.9).all()
        assert (patient.series.get("pH", [0, np.array([7.4])])[1] <= 7.7).all()
        if MEAN in patient.series:
            low, mean, high = (patient.series[name] for name in (DIASTOLIC, MEAN, SYSTOLIC))
            assert (low[0] == mean[0]).all()
            assert (mean[0] == high[0]).all()
            assert (low[1] < mean[1]).all()
            assert (mean[1] < high[1]).all()


def test_pressures_move_together_and_shock_drives_the_heart(patients):
    shock = [p for p in patients if "Shock" in p.diseases and {SYSTOLIC, DIASTOLIC, "Heart Rate"} <= set(p.series)]
    for patient in shock:
        systolic, diastolic = (patient.series[name][1] for name in (SYSTOLIC, DIASTOLIC))
        assert 58 <= systolic.min() < 90
        assert diastolic.min() < 55
        assert patient.series["Heart Rate"][1].max() > 100
    assert len(shock) > 30


def test_ages_sexes_and_occupations_fit(patients):
    for patient in patients:
        assert 20 <= patient.age <= 89
        assert all(patient.age >= DISEASES[name].get("min_age", 0) for name in patient.diseases)
        note = patient.note
        assert ("Retired" not in note) or patient.age >= 65
        assert not re.search(r"\b(College student|Apprentice|Trains as)", note) or patient.age <= 25
        assert re.search(rf"\b{patient.age}\b", note)
        own, other = (("man", "Mr"), ("woman", "Ms")) if patient.sex == "M" else (("woman", "Ms"), ("man", "Mr"))
        assert any(re.search(rf"\b{word}\b", note) for word in own)
        assert not any(re.search(rf"\b{word}\b", note) for word in other)
        wrong = r"\b(she|her)\b" if patient.sex == "M" else r"\b(he|his|him)\b"
        assert not re.search(wrong, note, re.IGNORECASE)
        assert not re.search(r"pregnanc|hysterect", note) or (patient.sex == "F" and patient.age >= 30)
        assert not re.search(r"prostate", note) or (patient.sex == "M" and patient.age >= 55)


FORBIDDEN = [
    r"\b(no|denies|reports|describes|of|has) (takes|sleeps|wakes|receives|ran|had|broke|on|is|was)\b",
    r"\bthere (is|was) (no )?\w+s\b",
    r"\bdoes not \w+s (on|breathless|out)\b",
    r"\bwith (a )?(fall|transfer)\b",
    r"\b1 days\b|\bone days\b|\b(two|three|five) (day|hour)\b",
    r"\b(for|since) [^.\n]* (for|since) [^.\n]*\.",
    r"\ba [aeio]\w+",
    r"\ban [^aeio8h\W]\w*",
    r"\ba (8\d|11|18) year",
    r"\b(\w{2,}) \1\b",
    r"\bhistory of (recent|a|an|no)\b",
    r" {2}| [.,;]|\.\.|,\.|[{}|]",
    r"[.:] [a-z][a-z ]+ showed",
    r"(\bnan\b|: None\b)",
]


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_the_grammar_of_notes(patients, pattern):
    wrong = [m[0] for p in patients for m in re.finditer(f"(?i:{pattern})" if pattern[0] == "\\" else pattern, p.note)]
    assert not wrong


def test_each_sentence_of_a_note_begins_with_a_capital(patients):
    for patient in patients:
        present = re.search(r"History of present illness: (.*)", patient.note)[1]
        assert all(re.match("[A-Z0-9]", sentence) for sentence in re.split(r"(?<!\bMr)(?<!\bMs)\. ", present)), present


def test_notes_say_each_finding_that_was_drawn_and_deny_those_of_no_disease(patients, found):
    for patient, known in zip(patients, found, strict=True):
        note = patient.note.lower()
        assert all(finding.text.lower() in note for finding in patient.told)
        assert not {finding.disease for finding in patient.denied} & set(patient.diseases)
        told = [finding.text.lower() for finding in patient.told]
        for finding in known:  # what is found is what was told: nothing denied, and nothing beside it
            start, end = finding.start, finding.end
            assert any(start < note.find(text) + len(text) and note.find(text) - 3 <= end for text in told), finding


def test_a_symptom_is_told_once_and_never_denied_as_well(patients):
    for patient in patients:
        assert not {f.text for f in patient.told} & {f.text for f in patient.denied}
        for group in WORDS["alike"]:
            assert not ({f.text for f in patient.told} & set(group) and {f.text for f in patient.denied} & set(group))


def test_the_knowledge_explains_nearly_every_diagnosis(patients, found, links):
    explained = []
    for patient, known in zip(patients, found, strict=True):
        linked = {disease for finding in known for disease in finding.diseases}
        for name in patient.diseases:
            patterns = links.patterns_of(name)
            explained.append(
                name in linked
                or any(_shows(patient, effect, patterns) for effect in DISEASES[name].get("effects", ()))
            )
    assert np.mean(explained) >= 0.95


def _shows(patient: Patient, effect: dict, patterns: list) -> bool:
    channel = effect["channel"]
    if shown(effect) not in patterns or channel not in patient.series or channel == "Weight":
        return False
    low, high = usual_limits(CHANNEL[channel])
    return bool((patient.values(channel) < low).any() if effect["add"] < 0 else (patient.values(channel) > high).any())


@pytest.fixture(scope="module")
def found(patients, links):
    """Return what the knowledge finds in each patient's note."""
    return [links.find_in_note(patient.note) for patient in patients]


@pytest.mark.parametrize("name", DISEASES)
def test_each_finding_and_effect_of_a_disease_is_of_the_knowledge(links, name):
    assert all(name in (links.diseases_of(finding.text) or ()) for finding in findings_of(DISEASES, name))
    assert {shown(effect) for effect in DISEASES[name].get("effects", ())} <= set(links.patterns_of(name))


def test_drugs_stand_among_the_medications(patients):
    for patient in patients:
        medications = re.search(r"Medications on admission: (.*)", patient.note)[1]
        for finding in patient.told:
            assert (finding.text in medications) == (finding.kind == "drug")


def test_notes_name_no_diagnosis_and_have_several_layouts(patients):
    meter = LeakMeter(load_labels("phenotypes"))
    assert not any(meter.named(patient.note) for patient in patients)
    layouts = {tuple(heading for _, heading, _ in split_sections(p.summary) if heading) for p in patients}
    assert len(layouts) >= 6
    kept = [[line.partition(":")[0] for line in patient.note.splitlines()] for patient in patients]
    wanted = {"Chief complaint", "History of present illness", "Past medical history", "Medications on admission"}
    assert all({*wanted, "Allergies", "Physical exam"} <= set(sections) for sections in kept)
    assert sum("Social history" in sections for sections in kept) > 200


def test_courses_and_diagnoses_stand_in_later_sections_only(patients):
    for patient in patients:
        assert all(name in patient.summary and name not in patient.note for name in patient.diseases)
