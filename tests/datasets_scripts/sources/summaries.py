# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Made-up discharge summaries in many layouts; each sentence that was written after admission holds `LATE`."""

import random
import textwrap


LATE = "latewordium"

# Sentences of what was known at admission, with words that name later sections too.
BEFORE = {
    "Chief Complaint": [
        "Shortness of breath and fever.",
        "Chest pain.",
        "Vaginal discharge and pelvic pain.",
        "Transfer for low blood pressure.",
        "Fall from a ladder with hip pain.",
        "Follow-up of abnormal results, found weak at home.",
    ],
    "History of Present Illness": [
        "This is a 67 year old man who was in his usual state of health until three days ago, when he noted a cough.",
        "He was discharged from an outside hospital in May after a course of antibiotics.",
        "Of course he did not take the tablets; his plan was to wait until Monday.",
        "In the emergency department his blood pressure was 88/40, heart rate 122: two liters of saline were given.",
        "He reports yellow sputum, chills, and night sweats; he denies chest pain, nausea or dysuria.",
        "Results of a chest film at the clinic were not available at the time of transfer to us.",
        "His daughter says that the condition of his skin got worse over the last week.",
        "On assessment by the paramedics he was drowsy, with a glucose of 54.",
        "She was seen by her primary care physician, whose impression was of a viral illness.",
        "There was no discharge from the ear, no trauma and no recent procedure.",
        "The problem began at 5:30 in the morning: sudden, sharp pain under the left ribs.",
        "He went to follow up with his urologist on 3/14 and was told to come to the hospital.",
    ],
    "Past Medical History": [
        "Hypertension since 1998, diabetes type 2 on insulin, COPD on home oxygen.",
        "1. Coronary artery disease, stent in 2011. 2. Gout. 3. Chronic kidney disease, stage 3.",
        "Admitted twice last year for heart failure; the last hospital stay was in November.",
        "Depression, in treatment with sertraline; no plan of self-harm.",
        "Atrial fibrillation: rate control, warfarin; hypothyroidism; sleep apnea without a machine.",
        "Breast cancer 2004, status post lumpectomy and a course of radiation.",
    ],
    "Social History": [
        "Lives alone on the third floor, retired teacher, smoked one pack a day for 40 years.",
        "No alcohol since 2009, no drugs. Her sister helps with the plan of medicines.",
        "Worked at a course for golf players; drinks two beers on weekends.",
    ],
    "Family History": [
        "Father died of a stroke at 71, mother had diabetes.",
        "Noncontributory. No known diagnosis of cancer in the family.",
        "A brother was treated for a disease of the liver; the results of his tests are not known.",
    ],
    "Allergies": ["Penicillin and sulfa, a rash with both.", "No known drug allergies.", "Codeine: nausea; latex."],
    "Physical Exam": [
        "T 101.2, BP 92/50, HR 118, RR 26, oxygen saturation 89% on room air.",
        "Alert, in mild distress; neck veins flat; lungs with crackles at the left base.",
        "Abdomen soft and not tender; no discharge from the wound; no edema.",
        "Heart: irregular, no murmur. Skin: warm. Neuro: moves all four limbs, course tremor of the hands.",
        "Rectal examination without blood, in good general condition for her age.",
    ],
}
TAIL = {
    "Medications on Admission": [
        "Aspirin 81 mg daily, metoprolol 25 mg twice daily, insulin at night.",
        "Warfarin 5 mg, to be stopped by plan of her surgeon; furosemide 40 mg.",
        "None. He did not fill the prescriptions of his last discharge.",
    ],
}
LATER_SENTENCES = [
    f"He was treated for {LATE} with good results.",
    f"She has a history of {LATE}, and her allergies were reviewed.",
    f"{LATE.capitalize()} was found; medications on admission were continued.",
    f"The exam was notable for {LATE}: no other finding.",
    f"1. {LATE.capitalize()}. 2. Severe {LATE} with shock.",
    f"See your doctor about {LATE} within one week.",
]
COURSES = [
    "Hospital Course",
    "Brief Hospital Course",
    "Hospital Course by Problem",
    "MICU Course",
    "Course in Hospital",
]
RESULTS = ["Pertinent Results", "Discharge Labs", "Laboratory Data", "Imaging Studies", "Hospital Laboratory Results"]
OPINIONS = [
    "Assessment and Plan",
    "Assessment",
    "Impression",
    "Plan",
    "Assessment & Plan",
    "Active Problems",
    "Problem List",
]
LISTS = [
    "Discharge Diagnosis",
    "Discharge Diagnoses",
    "Final Diagnosis",
    "Principal Diagnosis",
    "Secondary Diagnoses",
    "Principal Problem",
    "Diagnoses",
]
ENDS = [
    "Discharge Medications",
    "Discharge Condition",
    "Condition on Discharge",
    "Discharge Instructions",
    "Discharge Plan",
    "Discharge Disposition",
    "Followup Instructions",
    "Transitional Issues",
    "Discharge Exam",
    "Physical Exam on Discharge",
    "Medications on Discharge",
    "Disposition",
]
SHORT = {
    "Chief Complaint": "CC", "History of Present Illness": "HPI", "Past Medical History": "PMH",
    "Social History": "SH", "Family History": "FH", "Physical Exam": "PE",
    "Medications on Admission": "Meds on admission",
    "Hospital Course": "MICU course", "Assessment and Plan": "A/P", "Discharge Diagnosis": "D/C dx",
    "Final Diagnosis": "Dx", "Discharge Medications": "D/C meds", "Discharge Instructions": "D/C instructions",
    "Disposition": "Dispo", "Discharge Exam": "D/C exam", "Principal Diagnosis": "Discharge dx", "Assessment": "A&P",
    "Followup Instructions": "F/u", "Discharge Labs": "DC labs", "Discharge Condition": "Cond on d/c",
}  # fmt: skip


def sections_of(rng: random.Random) -> list[tuple[str, str, bool]]:
    """Headings with their text, and whether it was known at admission, in one of the orders that hospitals use."""

    def draw(pool, most):
        return " ".join(rng.sample(pool, rng.randint(1, min(most, len(pool)))))

    before = [(name, draw(pool, 6 if "Illness" in name else 3), True) for name, pool in BEFORE.items()]
    late = [
        (rng.choice(names), draw(LATER_SENTENCES, 3), False)
        for names in (RESULTS, OPINIONS, COURSES, LISTS, *[[name] for name in rng.sample(ENDS, 3)])
    ]
    tail = [(name, draw(pool, 2), True) for name, pool in TAIL.items()]
    order = rng.choice(["plain", "tail", "list first", "procedure"])
    if order == "plain":
        return before[:6] + tail + before[6:] + late
    if order == "tail":
        return before + late[:4] + tail + late[4:]
    if order == "list first":
        return [late[3]] + before[:6] + tail + before[6:] + late[:3] + late[4:]
    procedure = ("Major Surgical or Invasive Procedure", f"Biopsy of {LATE}.", False)
    return before[:1] + [procedure] + before[1:] + late[:3] + tail + late[3:]


def _lines(head, join="\n\n", wrap=None):
    """A layout: `head(name, i)` with its text, one after the other."""

    def write(sections, rng):
        parts = [head(name, i, rng) + body for i, (name, body, _) in enumerate(sections, start=1)]
        parts = ["\n".join(textwrap.wrap(part, wrap)) for part in parts] if wrap else parts
        return join.join(parts)

    return write


def _upper(sections, rng):
    return "\n\n".join(f"{name}:\n{body}" for name, body, _ in sections).upper()


def _columns(sections, rng):
    rows = [f"{name}:\t{body}" for name, body, _ in sections]
    return "\n".join(rows)


def _bullets(sections, rng):
    return "\n".join(
        f"- {name}:\n" + "\n".join(f"   * {part}" for part in body.split("; ")) for name, body, _ in sections
    )


def _epic(sections, rng):
    top = "Patient: Doe, J    MRN: 000    Admit date: 1/2/2101    Discharge date: 1/9/2101\nAttending: Dr. Roe\n"
    parts = [
        f"{name}:{' Present on Admission: Yes -' if 'Problem' in name else ''} {body}" for name, body, _ in sections
    ]
    return top + "\n".join(parts) + "\n\nElectronically signed by: Roe, MD: 1/9/2101 8:15"


def _addendum(sections, rng):
    first = "\n\n".join(f"{name}:\n{body}" for name, body, _ in sections)
    return (
        f"{first}\n\nADDENDUM:\nThe culture grew {LATE}.\n\nPhysical Exam:\nNo {LATE} any more.\n\nLabs\n{LATE} 3.1\n"
    )


def _table(sections, rng):
    return "\n".join(f"| {name} | {body} |" for name, body, _ in sections)


def _with(write, replacement):
    return lambda sections, rng: write(sections, rng).replace("\n", replacement)


BRACKETS = ["___", "[**2101-2-3**]", "per resident"]
PLAIN = _lines(lambda name, i, rng: f"{name}:\n")
LAYOUTS = {
    "plain": PLAIN,
    "one line": _lines(lambda name, i, rng: f"{name.upper()}: ", join=" "),
    "one line, Title Case": _lines(lambda name, i, rng: f"{name}: ", join=" "),
    "one line, no colons": _lines(lambda name, i, rng: f"{name.upper()} ", join=" "),
    "one line, commas for line ends": _lines(lambda name, i, rng: f"{name.upper()}: ,", join=","),
    "CR": _with(PLAIN, "\r"),
    "CRLF, no colons": _with(_lines(lambda name, i, rng: f"{name}\n"), "\r\n"),
    "vertical tabs": _with(PLAIN, "\x0b"),
    "form feeds": _with(_lines(lambda name, i, rng: f"{name.upper()}\n"), "\x0c"),
    "U+2028": _with(_lines(lambda name, i, rng: f"{name.upper()}\n"), "\u2028"),
    "NEL": _with(PLAIN, "\x85"),
    "HTML breaks": _with(_lines(lambda name, i, rng: f"<b>{name}</b>\n"), "<br/>"),
    "HTML paragraphs": _lines(lambda name, i, rng: f"<p><strong>{name}:</strong> ", join="</p>"),
    "escaped line ends": _with(PLAIN, "\\n"),
    "Title Case, no colons": _lines(lambda name, i, rng: f"{name}\n"),
    "all capitals": _upper,
    "brackets": _lines(lambda name, i, rng: f"{name.upper()} ({rng.choice(BRACKETS)}):\n"),
    "bullets": _bullets,
    "markdown": _lines(lambda name, i, rng: f"{'#' * rng.randint(1, 3)} **{name}**\n\n"),
    "numbered": _lines(lambda name, i, rng: f"{i}. {name}: ", join="\n"),
    "columns": _columns,
    "table": _table,
    "tilde underlines": _lines(lambda name, i, rng: f"{name}\n{'~' * len(name)}\n"),
    "dashes": _lines(lambda name, i, rng: f"{name} - ", join="\n"),
    "dates": _lines(lambda name, i, rng: f"{name} {rng.randint(1, 12):02}/{rng.randint(1, 28):02}:\n", join="\n"),
    "abbreviations": _lines(lambda name, i, rng: f"{SHORT.get(name, name)}: ", join="\n"),
    "mixed case": _lines(lambda name, i, rng: f"{rng.choice([name.capitalize(), name.upper(), name.lower()])}:\n"),
    "indented, wrapped, no blank lines": _lines(lambda name, i, rng: f"    {name}: ", join="\n", wrap=60),
    "addenda": _addendum,
    "Epic": _epic,
}  # fmt: skip


def summary(layout: str, seed: int) -> tuple[str, str, str]:
    """Return a summary in a layout, all its admission text, and all its later text; the same for the same seed."""
    rng = random.Random(f"{layout} {seed}")
    sections = sections_of(rng)
    before, later = (" ".join(body for _, body, known in sections if known == want) for want in (True, False))
    return LAYOUTS[layout](sections, rng), before, later
