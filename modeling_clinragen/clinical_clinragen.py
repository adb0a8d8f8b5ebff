# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
The clinical vocabulary that data, model and claims share: the paper's 25 diagnoses and 11 channels.

This module imports nothing, so that data preparation can read it without loading torch.

Source: arXiv 2411.07611 and its release for the labels, channels and the `low`, `high` and `fill` columns; HCUP
Clinical Classifications Software (single level) for the category numbers. The plausibility limits `minimum` and
`maximum` are this project's own: a value outside them cannot be a measurement of a living patient in that unit.
"""


class ClinRaGenInputError(ValueError):
    """A mistake in what the user gave; its message is one line that names the place and the remedy."""


NO_DISEASE = "No disease is diagnosed"

# HCUP CCS single-level category -> name. The position in this list is the class id.
PHENOTYPES = [
    {"ccs": 157, "name": "Acute and unspecified renal failure"},
    {"ccs": 109, "name": "Acute cerebrovascular disease"},
    {"ccs": 100, "name": "Acute myocardial infarction"},
    {"ccs": 238, "name": "Complications of surgical procedures or medical care"},
    {"ccs": 55, "name": "Fluid and electrolyte disorders"},
    {"ccs": 153, "name": "Gastrointestinal hemorrhage"},
    {"ccs": 133, "name": "Other lower respiratory disease"},
    {"ccs": 134, "name": "Other upper respiratory disease"},
    {"ccs": 130, "name": "Pleurisy; pneumothorax; pulmonary collapse"},
    {"ccs": 122, "name": "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)"},
    {"ccs": 131, "name": "Respiratory failure; insufficiency; arrest (adult)"},
    {"ccs": 2, "name": "Septicemia (except in labor)"},
    {"ccs": 249, "name": "Shock"},
    {"ccs": 158, "name": "Chronic kidney disease"},
    {"ccs": 127, "name": "Chronic obstructive pulmonary disease and bronchiectasis"},
    {"ccs": 101, "name": "Coronary atherosclerosis and other heart disease"},
    {"ccs": 49, "name": "Diabetes mellitus without complication"},
    {"ccs": 53, "name": "Disorders of lipid metabolism"},
    {"ccs": 98, "name": "Essential hypertension"},
    {"ccs": 99, "name": "Hypertension with complications and secondary hypertension"},
    {"ccs": 106, "name": "Cardiac dysrhythmias"},
    {"ccs": 105, "name": "Conduction disorders"},
    {"ccs": 108, "name": "Congestive heart failure; nonhypertensive"},
    {"ccs": 50, "name": "Diabetes mellitus with complications"},
    {"ccs": 151, "name": "Other liver diseases"},
]


def short_name(disease: str) -> str:
    """Shorten a diagnosis for a sentence: without what follows a semicolon or stands in brackets."""
    return disease.split(";")[0].split(" (")[0]


def _channel(name, unit, low, high, fill, minimum, maximum, decimals=0):
    return {
        "name": name,  # as in the public mimic3-benchmarks extraction
        "unit": unit,
        "low": low,  # below: "lower than normal"
        "high": high,  # above: "higher than normal"
        "fill": fill,  # the release's value for a missing cell; only the `paper` settings use it
        "minimum": minimum,  # plausibility limits, inclusive
        "maximum": maximum,
        "decimals": decimals,  # digits after the point when a value is written in a sentence
    }


CHANNELS = [
    _channel("Diastolic blood pressure", "mmHg", 28.0, 92.0, 59.0, 5.0, 250.0),
    _channel("Fraction inspired oxygen", "fraction", -0.075, 0.685, 0.21, 0.2, 1.0, decimals=2),
    _channel("Glucose", "mg/dL", 43.0, 187.0, 128.0, 5.0, 2500.0),
    _channel("Heart Rate", "/min", 40.0, 128.0, 86.0, 5.0, 350.0),
    _channel("Mean blood pressure", "mmHg", 41.0, 113.0, 77.0, 10.0, 300.0),
    _channel("Oxygen saturation", "%", 90.0, 106.0, 98.0, 10.0, 100.0),
    _channel("Respiratory rate", "/min", 5.5, 33.5, 19.0, 1.0, 150.0),
    _channel("Systolic blood pressure", "mmHg", 61.5, 177.5, 118.0, 20.0, 375.0),
    _channel("Temperature", "°C", 35.0, 38.56, 36.6, 24.0, 45.0, decimals=1),
    _channel("Weight", "kg", 31.3, 127.9, 81.0, 20.0, 500.0, decimals=1),
    _channel("pH", "pH", 7.145, 7.585, 7.4, 6.3, 8.4, decimals=2),
]
