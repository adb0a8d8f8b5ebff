# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Words for channels, and clinical terms such as "fever" that state the level of a channel."""

from __future__ import annotations

from dataclasses import dataclass


# For the paper's channels, in lower case; other channels have their own `words`.
CHANNEL_WORDS = {
    "Diastolic blood pressure": ("diastolic blood pressure", "diastolic pressure", "diastolic bp", "dbp"),
    "Fraction inspired oxygen": (
        "fraction inspired oxygen", "fraction of inspired oxygen", "inspired oxygen fraction", "inspired oxygen",
        "fio2",
    ),
    "Glucose": ("blood glucose", "serum glucose", "plasma glucose", "blood sugar", "blood sugars", "glucose"),
    "Heart Rate": ("heart rate", "heart rates", "pulse rate", "ventricular rate", "pulse", "hr"),
    "Mean blood pressure": (
        "mean blood pressure", "mean arterial blood pressure", "mean arterial pressure", "mean pressure", "mean bp",
        "map",
    ),
    "Oxygen saturation": (
        "oxygen saturation", "oxygen saturations", "o2 saturation", "saturation", "saturations", "spo2", "sao2",
        "o2 sat", "o2 sats", "sats", "oxygenation", "pulse oximetry",
    ),
    "Respiratory rate": (
        "respiratory rate", "respiratory rates", "respiration rate", "breathing rate", "respirations", "resp rate",
        "rr",
    ),
    "Systolic blood pressure": (
        "systolic blood pressure", "systolic arterial pressure", "systolic pressure", "systolic bp", "sbp",
    ),
    "Temperature": ("body temperature", "core temperature", "temperatures", "temperature", "temp", "temps"),
    "Weight": ("body weight", "body mass", "weight", "weighed"),
    "pH": ("arterial ph", "blood ph", "blood gas ph", "ph"),
}  # fmt: skip
# Further words in clinical notes, too short or too broad to be searched for in documents. "max" is still read.
_MORE_WORDS = {
    "Diastolic blood pressure": (
        "diastolic",
        "diastolics",
        "dbps",
        "diastolic pressures",
        "bottom number",
        "lower number",
    ),
    "Fraction inspired oxygen": (
        "fraction of oxygen",
        "o2 requirement",
        "o2 requirements",
        "oxygen requirements",
        "oxygen needs",
        "o2 needs",
    ),
    "Glucose": ("gluc", "fingerstick", "fingersticks", "bg", "sugar", "sugars", "glucoses"),
    "Heart Rate": ("heartrate", "ventricular rates", "ventricular response"),
    "Mean blood pressure": ("maps", "mean arterial pressures"),
    "Oxygen saturation": (
        "oxygen levels",
        "o2 levels",
        "o2sat",
        "o2sats",
        "oxygen sat",
        "oxygen sats",
        "satting",
        "saturating",
        "oxygenating",
        "o2 saturations",
    ),
    "Respiratory rate": ("resps", "resp rates", "kussmaul breathing"),
    "Systolic blood pressure": (
        "systolic",
        "systolics",
        "sbps",
        "systolic pressures",
        "top number",
        "upper number",
    ),
    "Temperature": ("tmax", "tmin", "t max", "t min", "max temp", "body temp", "defervesced"),
    "Weight": ("weights", "wt", "weighs", "weighing"),
    "Creatinine": ("cr", "creat"),
    "Hemoglobin": ("hgb", "hb", "haemoglobin"),
    "Hematocrit": ("hct", "haematocrit"),
    "Platelets": ("plt", "plts", "platelet counts"),
    "Phosphate": ("phos",),
    "Creatine kinase": ("ck",),
    "Blood urea nitrogen": ("urea", "blood urea"),
    "International normalized ratio": ("inrs",),
    "Lactate": ("lactic acid", "lactates"),
    "Total bilirubin": ("bili", "tbili", "t bili"),
    "White blood cells": ("wcc", "white count", "white cells", "white blood count", "wbcs", "leukocytes"),
    "Bicarbonate": ("bicarb",),
    "Potassium": ("serum potassium",),
    "Sodium": ("serum sodium",),
    "Total calcium": ("serum calcium",),
    "Carbon dioxide pressure": ("pco₂", "co2 tension"),
    "Anion gap": ("gap",),
    "Oxygen pressure": ("po₂",),
}
_FINDINGS = {  # level of a channel -> the findings that state it
    ("Heart Rate", "high"): "tachycardia",
    ("Heart Rate", "low"): "bradycardia",
    ("Temperature", "high"): "fever fevers febrile pyrexia hyperthermia",
    ("Temperature", "not_high"): "afebrile apyrexia",
    ("Temperature", "normal"): "normothermia",
    ("Temperature", "low"): "hypothermia",
    ("Systolic blood pressure", "low"): "hypotension",
    ("Oxygen saturation", "low"): "hypoxia hypoxemia desaturation desaturations desaturated desaturating",
    ("Respiratory rate", "high"): "tachypnea",
    ("Respiratory rate", "low"): "bradypnea",
    ("Respiratory rate", "normal"): "eupnea",
    ("Glucose", "high"): "hyperglycemia",
    ("Glucose", "low"): "hypoglycemia",
    ("Glucose", "normal"): "euglycemia normoglycemia",
    ("pH", "low"): "acidosis acidemia",
    ("pH", "high"): "alkalosis alkalemia",
    ("Hemoglobin", "low"): "anemia",
    ("White blood cells", "high"): "leukocytosis",
    ("White blood cells", "low"): "leukopenia",
    ("Platelets", "high"): "thrombocytosis",
    ("Platelets", "low"): "thrombocytopenia",
    ("Potassium", "high"): "hyperkalemia",
    ("Potassium", "low"): "hypokalemia",
    ("Sodium", "high"): "hypernatremia",
    ("Sodium", "low"): "hyponatremia",
    ("Total calcium", "high"): "hypercalcemia",
    ("Total calcium", "low"): "hypocalcemia",
    ("Magnesium", "high"): "hypermagnesemia",
    ("Magnesium", "low"): "hypomagnesemia",
    ("Phosphate", "high"): "hyperphosphatemia",
    ("Phosphate", "low"): "hypophosphatemia",
    ("Albumin", "low"): "hypoalbuminemia",
    ("Total bilirubin", "high"): "hyperbilirubinemia",
    ("Blood urea nitrogen", "high"): "azotemia",
    ("Lactate", "high"): "hyperlactatemia",
    ("Carbon dioxide pressure", "high"): "hypercapnia",
    ("Carbon dioxide pressure", "low"): "hypocapnia",
}
# Further findings, which are not terms of the knowledge or are names of diseases there.
_MORE_FINDINGS = {
    ("Heart Rate", "high"): "tachycardias tachy",
    ("Heart Rate", "low"): "bradycardias brady",
    ("Temperature", "high"): "pyrexial hyperpyrexia",
    ("Temperature", "not_high"): "apyrexial apyretic nonfebrile",
    ("Systolic blood pressure", "high"): "hypertension",
    ("Systolic blood pressure", "normal"): "normotension",
    ("Oxygen saturation", "low"): "desaturate desaturates desat desats desatted desatting",
    ("Oxygen saturation", "normal"): "normoxia normoxemia",
    ("Hemoglobin", "high"): "polycythemia",
    ("Chloride", "high"): "hyperchloremia",
    ("Chloride", "low"): "hypochloremia",
    ("Blood urea nitrogen", "high"): "uremia",
    ("Lactate", "high"): "hyperlactemia",
    ("Carbon dioxide pressure", "high"): "hypercarbia",
    ("Carbon dioxide pressure", "low"): "hypocarbia",
    ("Carbon dioxide pressure", "normal"): "normocapnia normocarbia",
    ("International normalized ratio", "high"): "coagulopathy coagulopathic",
    ("Lymphocytes", "low"): "lymphopenia lymphocytopenia",
    ("Neutrophils", "high"): "neutrophilia",
    ("Total protein", "low"): "hypoproteinemia",
    ("Urine output", "low"): "oliguria anuria",
    ("Urine output", "high"): "polyuria",
}
_PHRASES = {
    ("Fraction inspired oxygen", "high"): (
        "supplemental oxygen", "supplementary oxygen", "supplemental o2", "oxygen support", "oxygen therapy",
        "oxygen supplementation", "oxygen requirement", "required oxygen", "requires oxygen", "requiring oxygen",
        "require oxygen", "required o2", "requiring o2", "needed oxygen", "need oxygen", "given oxygen",
        "received oxygen", "on oxygen",
    ),
    ("Fraction inspired oxygen", "room air"): ("room air", "ambient air", "on ra"),
}  # fmt: skip
# Diseases and signs that contain a word for a channel but state nothing about its values.
_DISEASES = (
    "essential hypertension", "history of hypertension", "pulmonary hypertension", "pulmonary arterial hypertension",
    "portal hypertension", "secondary hypertension", "primary hypertension", "chronic hypertension",
    "known hypertension", "intracranial hypertension", "intraabdominal hypertension", "systemic hypertension",
    "arterial hypertension", "hypertension with complications", "hypertensive heart disease",
    "hypertension with complications and secondary hypertension", "hypertensive kidney disease",
    "hypertensive encephalopathy", "hypertensive cardiomyopathy", "nonhypertensive", "hypertensive disease",
    "hypertensive chronic kidney disease", "hypertensive nephropathy", "complicated hypertension",
    "systolic heart failure", "systolic dysfunction", "systolic murmur", "systolic function", "chronic systolic",
    "acute systolic", "diastolic heart failure", "diastolic dysfunction", "diastolic murmur", "diastolic function",
    "chronic diastolic", "acute diastolic", "lower respiratory", "upper respiratory",
)  # fmt: skip
# Findings that another channel may also show, and findings that several channels must show together.
_EITHER = {
    ("Systolic blood pressure", "low"): ("Mean blood pressure",),
    ("Systolic blood pressure", "high"): ("Mean blood pressure", "Diastolic blood pressure"),
    ("Systolic blood pressure", "normal"): ("Mean blood pressure",),
    ("Total calcium", "low"): ("Ionized calcium",),
    ("Total calcium", "high"): ("Ionized calcium",),
    ("Hemoglobin", "low"): ("Hematocrit",),
}
_ALL = {
    "lactic acidosis": (("pH", "low"), ("Lactate", "high")),
    "metabolic acidosis": (("pH", "low"), ("Bicarbonate", "low")),
    "respiratory acidosis": (("pH", "low"), ("Carbon dioxide pressure", "high")),
    "metabolic alkalosis": (("pH", "high"), ("Bicarbonate", "high")),
    "respiratory alkalosis": (("pH", "high"), ("Carbon dioxide pressure", "low")),
}
# Substances with two assays, of which a hospital uses one.
_SUBSTANCES = {
    ("troponin", "troponins", "trop", "trops"): ("Troponin I", "Troponin T"),
    ("co2",): ("Carbon dioxide pressure", "Bicarbonate"),
}
SYSTOLIC, DIASTOLIC, MEAN_PRESSURE = "Systolic blood pressure", "Diastolic blood pressure", "Mean blood pressure"
_BLOOD_PRESSURE = ("blood pressure", "blood pressures", "bp", "bps", "b/p", "pressures", "arterial pressure", "nibp")
# Other measurements and findings that a text may mention; their numbers are not values of a channel.
_OTHER_MEASUREMENTS = (
    "lactate", "lactic acid", "creatinine", "bilirubin", "hemoglobin", "hgb", "haemoglobin", "hematocrit", "hct",
    "platelets", "platelet count", "wbc", "white count", "white cell count", "white blood cell count", "leukocytes",
    "potassium", "sodium", "chloride", "bicarbonate", "bicarb", "hco3", "calcium", "magnesium", "phosphate", "albumin",
    "troponin", "troponins", "bnp", "bun", "urea", "inr", "ptt", "pao2", "paco2", "pco2", "po2", "base excess",
    "anion gap", "urine output", "crp", "procalcitonin", "ejection fraction", "lvef", "cvp", "central venous pressure",
    "peep", "tidal volume", "gcs", "cardiac output", "cardiac index", "ck", "ldh", "lipase", "ammonia", "fibrinogen",
    "d-dimer", "intracranial pressure", "icp", "filling pressures", "airway pressures", "plateau pressure",
    "pulmonary artery pressure", "leukocytosis", "leukopenia", "anemia", "thrombocytopenia", "hyperkalemia",
    "hypokalemia", "hypernatremia", "hyponatremia", "a1c", "hba1c", "nasal cannula", "urine ph", "gastric ph",
    "pulse pressure", "shock index", "sodium chloride", "potassium chloride", "potassium phosphate",
    "sodium phosphate", "sodium bicarbonate", "calcium gluconate", "calcium chloride", "calcium carbonate",
    "relative bradycardia",
    "magnesium sulfate", "magnesium sulphate", "magnesium oxide", "iv albumin", "albumin infusion", "molecular weight",
)  # fmt: skip


# Short words that name a channel only before one of its values: word -> channel, pattern of what follows.
_GOING = (
    r"(?:of|recovered (?:in)?to|was|is|were|are|at|down to|up to|as high as|controlled (?:at|to)"
    r"|slowed to|went to|rose to|fell to)"
)
_CHANGED = (
    r"(?:has |had )?(?:rose|risen|fell|fallen|dropped|improved|increased|decreased|corrected|climbed"
    r"|(?:went|came|is|was) (?:up|down)|drifted (?:up|down)|remain\w*|stay\w*)\b[^.;]{0,12}?\s\d"
)
_LEVEL = r"(?:never |not )?(?:normal|low|high|elevated)\b"
_OXYGEN = (
    r"\s?(?:was |is |were |now |never |not )*(?:down to|up to|weaned|titrated|turned|increased|decreased|reduced)\b"
    r"[^,.;]{0,30}?\d\d\s?%"
)
_PACE = r"(?:is |was |were |beats? |beating )*(?:too |very |so )?(?:fast|slow|rapid|racing|quick)\b"
_KILOS = r"\s(?:about |around |nearly |over |more than |another )?\d+(?:\.\d+)?\s?(?:kgs?|kilos?|lbs?|pounds?)\b"
SHORT_NAMES = {
    "t": ("Temperature", r"\s?[:=]?\s?(?:of |was |is |now )*(?:3\d|4[0-3]|9\d|10\d)(?:\.\d+)?(?![\d/])"),
    "k": (
        "Potassium",
        r"(?:'s)?\+?\s?[:=]?\s?(?:of |was |is |now |trend(?:ed)?:? )*"
        rf"(?:[1-9](?:\.\d+)?(?![\d/])|{_LEVEL}|{_CHANGED})",
    ),
    "na": (
        "Sodium",
        rf"(?:'s)?\+?\s?[:=]?\s?(?:of |was |is |now |trend(?:ed)?:? )*(?:1\d\d(?![\d/])|{_LEVEL}|{_CHANGED})",
    ),
    "mg": ("Magnesium", r"\s?[:=]?\s?(?:of |was |is |now )*[0-9]\.\d+(?![\d/])"),
    "cl": ("Chloride", r"\s?[:=]?\s?(?:of |was |is |now )*(?:[89]\d|1[0-4]\d)(?![\d/])"),
    "ag": ("Anion gap", r"\s?[:=]?\s?(?:of |was |is |now )*\d\d?(?![\d/])"),
    "sat": ("Oxygen saturation", r"\s?[:=]?\s?(?:of |was |is |now )?\d\d"),
    "rate": (
        "Heart Rate",
        rf"\s(?:{_GOING} )?(?:in the |about |~)?(?:[5-9]\d|1\d\d|2[0-4]\d)(?:'?s)?\b(?!\s?(?:ml|cc|/h|%))",
    ),
    "rates": (
        "Heart Rate",
        rf"\s(?:{_GOING} )?(?:in the |about |~)?(?:[5-9]\d|1\d\d|2[0-4]\d)(?:'?s)?\b(?!\s?(?:ml|cc|/h|%))",
    ),
    "oxygen": ("Fraction inspired oxygen", _OXYGEN),
    "o2": ("Fraction inspired oxygen", _OXYGEN),
    "breathing": (
        "Respiratory rate",
        r"\s(?:at a normal rate\b|(?:too |very |so |really )?(?:fast|slow|rapid|quick)(?:ly)?\b(?!,? (?:at|up|to|and))"
        r"|(?:got|became|grew) (?:faster|slower)\b"
        r"|(?:(?!(?:and|with|sats?|on|room|oxygen|after|since|for|hours?)\b)[a-z,-]+\s){0,6}?"
        r"(?:(?:low|mid|high|upper)[\s-])?\d\d(?:'?s\b)?(?![\d/%]|\.\d)(?!\s?(?:l\b|lit|%|kg|h\b|hours?)))",
    ),
    "breath": ("Respiratory rate", rf"\s{_PACE}"),
    "pressure": (
        "Systolic blood pressure",
        r"\s(?:(?!support|ulcer|sore|control|over|dress|vent)[a-z]+\s){0,4}?(?:[<>]\s?)?\d{2,3}(?:/\d{2,3})?(?!\d|\s?cm|\s?kg|\s?%)",
    ),
    "racing": ("Heart Rate", r"\s(?:along |away )?(?:at|in) (?:the |about |around )?\d{2,3}"),
    "lost": ("Weight", _KILOS),
    "gained": ("Weight", _KILOS),
    "heart": ("Heart Rate", rf"\s{_PACE}"),
}


@dataclass(frozen=True)
class WordMeaning:
    """
    The meaning of a word: the channels that it names, and their levels.

    Args:
        parts (`tuple[tuple[str, str | None], ...]`): channel, and `high`, `low`, `normal`, `not_high`, `room air`, or
            `None` for a mere name; empty if the word is about no channel.
        together (`bool`): whether every part must show the level, not just one.
        finding (`bool`): whether the word is a finding, not a name.
    """

    parts: tuple[tuple[str, str | None], ...]
    together: bool = False
    finding: bool = False

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.parts)


def _spellings(finding: str) -> set[str]:
    """Spell a finding as a noun and as an adjective, in American and British spelling."""
    forms = {finding}
    for ending, adjective in (("ia", "ic"), ("osis", "otic"), ("pnea", "pneic"), ("tension", "tensive")):
        if finding.endswith(ending):
            forms.add(finding[: -len(ending)] + adjective)
    spellings = (("emi", "aemi"), ("pne", "pnoe"), ("anem", "anaem"), ("cemi", "caemi"), ("leuko", "leuco"))
    for american, british in spellings:
        forms |= {form.replace(american, british) for form in forms}
    return forms | {form.replace("natrem", "natraem") for form in forms}


def _spelled(findings: dict) -> dict[str, tuple[str, str]]:
    return {
        spelling: level
        for level, words in findings.items()
        for finding in words.split()
        for spelling in _spellings(finding)
    }


FINDINGS = _spelled(_FINDINGS)


def words_of(channel: dict) -> list[str]:
    """Return the words for a channel: its own `words` or the default ones, and its name."""
    name = channel["name"]
    own = channel.get("words") or CHANNEL_WORDS.get(name, ())
    return [*own, *_MORE_WORDS.get(name, ()), name.lower()]


def vocabulary(channels: list[dict]) -> dict[str, WordMeaning]:
    """Map each word, in lower case, to its meaning for these channels."""
    names = {channel["name"] for channel in channels}
    words = dict.fromkeys((*_OTHER_MEASUREMENTS, *_DISEASES), WordMeaning(()))
    findings = {**FINDINGS, **_spelled(_MORE_FINDINGS)}
    findings |= {phrase: level for level, phrases in _PHRASES.items() for phrase in phrases}
    for word, (channel, state) in findings.items():
        parts = ((channel, state), *((other, state) for other in _EITHER.get((channel, state), ())))
        _add(words, word, parts, names, together=False, finding=True)
    for word, parts in _ALL.items():
        _add(words, word, parts, names, together=True, finding=True)
        _add(words, word.replace("osis", "otic"), parts, names, together=True, finding=True)
    pressures = tuple((name, None) for name in (SYSTOLIC, MEAN_PRESSURE, DIASTOLIC))
    for word in _BLOOD_PRESSURE:
        _add(words, word, pressures, names, together=False, finding=False)
    for spoken, assays in _SUBSTANCES.items():
        for word in spoken:
            _add(words, word, tuple((name, None) for name in assays), names, together=False, finding=False)
    words |= {word: WordMeaning(((name, None),)) for word, (name, _) in SHORT_NAMES.items() if name in names}
    return words | {
        word.lower(): WordMeaning(((channel["name"], None),)) for channel in channels for word in words_of(channel)
    }


def _add(words: dict[str, WordMeaning], word: str, parts, names: set[str], together: bool, finding: bool) -> None:
    """Add a word with those of its parts that are about a known channel."""
    kept = tuple(part for part in parts if part[0] in names)
    if kept:
        words[word] = WordMeaning(kept, together, finding)
