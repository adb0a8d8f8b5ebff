# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings with several names, some of more than one word: "coughing up blood" is hemoptysis."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from .words_clinragen import MODIFIER_STEMS, content_words


# one finding per line
_NAMES = """
    syncope; fainting; fainted; passed out; passing out; blacked out; blackout; loss of consciousness
    lightheadedness; light-headedness; feeling faint; felt faint; presyncope; near syncope
    hemoptysis; coughing up blood; bloody sputum; blood in sputum; blood-tinged sputum; blood-streaked sputum
    hematemesis; vomiting blood; throwing up blood; bloody vomit; coffee ground emesis
    vomiting; throwing up; threw up
    melena; black stools; tarry stools; black tarry stools; dark tarry stools
    hematochezia; bloody stools; blood in stool; bright red blood per rectum; rectal bleeding; blood per rectum
    hematuria; blood in urine; bloody urine
    dysuria; painful urination; burning with urination; burning urination; pain with urination
    urinary frequency; frequent urination
    urinary retention; unable to void; unable to urinate
    dysphagia; difficulty swallowing; trouble swallowing
    odynophagia; painful swallowing; pain with swallowing
    diplopia; double vision; seeing double
    diarrhea; loose stools; watery stools
    hair loss; alopecia; hair falling out
    anorexia; loss of appetite; poor appetite; poor eating; eats poorly; decreased appetite; reduced appetite
    insomnia; trouble sleeping; difficulty sleeping
    rhinorrhea; runny nose
    epistaxis; nosebleed; nose bleed
    myalgia; muscle aches; muscle pain; body aches
    arthralgia; joint pain; joint aches; painful joints
    myocardial infarction; heart attack
    stroke; cerebrovascular accident
    seizure; convulsion
    hypertension; high blood pressure
    hyperlipidemia; dyslipidemia; high cholesterol; hypercholesterolemia
    edema; leg edema; leg swelling; swollen leg; swelling of legs; pedal edema; peripheral edema; ankle edema
    swollen ankle; foot swelling; ankle swelling; leg swelling; ankle edema
    jugular venous distension; elevated jugular venous pressure; raised jugular venous pressure; distended neck veins
    weight loss; lost weight
    weight gain; gained weight
    rigors; shaking chills; shaking
    orthopnea; dyspnea lying flat; unable to lie flat; cannot lie flat; could not lie flat
    abdominal pain; stomach pain; stomach ache
    abdominal distension; distended abdomen
    abdominal tenderness; tender abdomen
    paroxysmal nocturnal dyspnea; pnd
    dyspnea on exertion; exertional dyspnea; doe
    altered mental status; confusion; mental status change; change in mental status
    palpitation; heart racing; racing heart; heart pounding
    ecchymosis; bruise; bruising
    hepatomegaly; enlarged liver
    splenomegaly; enlarged spleen; palpable spleen
    lymphadenopathy; adenopathy; swollen glands; enlarged lymph nodes
    gallstones; cholelithiasis
    kidney stone; renal calculi; nephrolithiasis
    cancer; malignancy; carcinoma
    smoking; tobacco use; smoker; cigarettes
    alcohol use; alcohol abuse; drinks alcohol
    flank tenderness; costovertebral angle tenderness
    deep vein thrombosis; clot in leg; leg clot
    pulmonary embolism; clot in lung; lung clot
    numbness; loss of sensation
    increased work of breathing; labored breathing
    dyspnea; breathing difficulty; air hunger; out of breath; winded
    hypoxia; hypoxemia
    dehydration; volume depletion
    pleuritic chest pain; pleuritic pain; pleurisy
    sore throat; pharyngitis; throat pain
    nasal congestion; stuffy nose
    sputum; productive cough; sputum production; phlegm
    hearing loss; deafness
    memory loss; forgetfulness; amnesia
    gait instability; unsteady gait; unsteadiness; imbalance; loss of balance
    photophobia; light sensitivity; sensitivity to light
    neck stiffness; stiff neck; nuchal rigidity; meningismus
    slurred speech; dysarthria
    facial droop; facial weakness; facial asymmetry; drooping face
    hemiparesis; one-sided weakness; unilateral weakness
    aphasia; word finding difficulty
    blurred vision; blurry vision; visual disturbance; visual changes; vision changes
    visual loss; vision loss; loss of vision; blindness
    skin breakdown; pressure ulcer; decubitus ulcer; pressure injury; pressure sore; bedsore
    polydipsia; excessive thirst; increased thirst
    polyuria; increased urination; excessive urination
    oliguria; low urine output; decreased urine output; reduced urine output
    urticaria; hives
    erythema; redness
    dyspepsia; indigestion; heartburn
    agitation; restlessness
    drowsiness; somnolence; sleepiness
    depression; low mood; depressed mood
    pneumothorax; collapsed lung
    intravenous drug use; iv drug use; injection drug use
    coronary artery disease; coronary disease; coronary heart disease; ischemic heart disease
    congestive heart failure; heart failure; cardiac failure
    chronic kidney disease; chronic renal insufficiency; chronic renal failure
    acute kidney injury; acute renal failure
    chronic obstructive pulmonary disease; chronic obstructive lung disease
    sleep apnea; obstructive sleep apnea
    urinary tract infection; bladder infection; cystitis
    gastrointestinal bleeding; gastrointestinal hemorrhage; gi bleed
    intracranial hemorrhage; intracranial bleed; brain bleed; intracerebral hemorrhage
"""


@cache
def _forms() -> dict[tuple[str, ...], list[list[str]]]:
    forms = defaultdict(list)
    for line in _NAMES.strip().splitlines():
        names = [[word[0] for word in content_words(name, 0, len(name))] for name in line.strip().split("; ")]
        for name in names:
            forms[tuple(name)] += [other for other in names if other != name and other not in forms[tuple(name)]]
    return dict(forms)


def is_name(stems: list[str]) -> bool:
    """Return whether these stems, with their words of degree, are a finding's name: "elevated jugular pressure"."""
    return tuple(stems) in _forms()


def other_names(stems: list[str]) -> list[list[str]]:
    """Return the stems of a finding's other names, regardless of words of degree."""
    plain = tuple(word for word in stems if word not in MODIFIER_STEMS)
    return _forms().get(tuple(stems)) or _forms().get(plain) or []
