# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A German hospital: made-up letters, labels and knowledge, and its export as files."""

import csv
from pathlib import Path

import yaml

from datasets_scripts.dataset.language import load_language
from modeling_clinragen.language_clinragen import Language
from tests.datasets_scripts.sources import small_hospital


FILE = Path(__file__).parents[1] / "datasets_scripts" / "sources" / "language_german.yaml"
LUNG, HEART = "Pneumonie", "Herzinsuffizienz"
LABELS = {
    "labels": [
        {"name": LUNG, "codes": {"icd10": ["J18"]}, "synonyms": ["Lungenentzündung"]},
        {"name": HEART, "codes": {"icd10": ["I50"]}},
    ]
}
KNOWLEDGE = {
    "source": "Leitfaden der Klinik, 2026",
    "diseases": {
        LUNG: {
            "name": ["Pneumonie | Lungenentzündung"],
            "symptom": [
                "Husten",
                "eitriger Auswurf | Auswurf",
                "Schüttelfrost",
                "Fieber @ Temperature high",
                "Atemnot | Luftnot | Dyspnoe",
            ],
            "imaging": ["Infiltrat | Infiltrate"],
            "sign": ["Rasselgeräusche"],
            "history": ["Übelkeit"],
        },
        HEART: {
            "name": ["Herzinsuffizienz"],
            "symptom": ["Beinödeme | Knöchelödeme", "Müdigkeit"],
            "sign": ["schneller Puls | Tachykardie @ Heart Rate high"],
            "history": ["Diabetes mellitus | Diabetes"],
        },
    },
}
LETTER = """Sehr geehrte Kollegin, wir berichten über die stationäre Behandlung.

Diagnosen:
{diagnosis} durch Legionellen

Aufnahmegrund: {complaint}
Anamnese:
Seit drei Tagen {findings}. Kein {absent}. Übelkeit wird verneint.

Familienanamnese: Die Mutter hatte {others}.
Aufnahmebefund
Herz: rein
Temperatur 38,4 °C, Herzfrequenz 104 pro Minute.
Therapie und Verlauf: Unter Ampicillin besserte sich die {diagnosis}.
Anamnese: In der Nachschau Legionellen.
Entlassungsdiagnosen
1. {diagnosis}
"""
PATIENTS = {
    LUNG: {
        "complaint": "Verdacht auf Infekt",
        "findings": "Husten mit eitrigem Auswurf und Schüttelfrost",
        "absent": "Diabetes",
        "others": "Herzinsuffizienz",
        "code": "J18.9",
    },
    HEART: {
        "complaint": "Beinödeme bds.",
        "findings": "Beinödeme und Müdigkeit",
        "absent": "Husten",
        "others": "eine Lungenentzündung",
        "code": "I50.9",
    },
}


def german() -> Language:
    """Return the language of the example file."""
    return Language(load_language(FILE))


def letter(diagnosis: str) -> str:
    """Return the discharge letter of a patient."""
    return LETTER.format(diagnosis=diagnosis, **PATIENTS[diagnosis])


def hospital(patients: int) -> tuple[dict, dict]:
    """Return tables and mapping of patients of whom every second has pneumonia, the others heart failure."""
    tables, mapping = small_hospital.hospital(patients)
    names = [LUNG if number % 2 else HEART for number in range(patients)]
    stays = [row["stay"] for row in tables["stays"]]
    own = {LUNG: ("TEMP", 39.4), HEART: ("HR", 131)}
    for stay, name in zip(stays, names, strict=True):
        item, value = own[name]
        tables["vitals"] += [small_hospital.vital(stay, hour, item, value) for hour in (3, 4, 5, 6)]
    tables["diagnoses"] = [
        {"stay": stay, "code": PATIENTS[name]["code"]} for stay, name in zip(stays, names, strict=True)
    ]
    tables["notes"] = [{"stay": stay, "text": letter(name)} for stay, name in zip(stays, names, strict=True)]
    mapping["notes"] = [{"file": "notes", "stay": "stay", "text": "text", "title": "Entlassungsbrief"}]
    return tables, mapping


def export(folder: Path, patients: int = 40) -> None:
    """Write the tables with their description, `labels.yaml` and `knowledge.yaml`."""
    tables, mapping = hospital(patients)
    (folder / "tables").mkdir(parents=True)
    for name, rows in tables.items():
        with open(folder / "tables" / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    files = {"tables/tables": mapping, "labels": LABELS, "knowledge": KNOWLEDGE}
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
