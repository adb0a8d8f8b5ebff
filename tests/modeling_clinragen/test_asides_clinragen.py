# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Find no finding in allergies, susceptibilities, instructions, teaching, beliefs, work, and fields left open."""

import pytest

from modeling_clinragen.note_claims_clinragen import check_note_claims


ASIDES = """
All: ASA->GI bleed || gi bleed
ALL: PCN, levofloxacin || levofloxacin
ALLERGIES\\nLisinopril - angioedema\\nAspirin - GI bleed || gi bleed
Allergies vancomycin, metformin || metformin
Medication allergies include vancomycin. || vancomycin
Known allergies: vancomycin || vancomycin
Intolerant of metformin || metformin
Unable to tolerate statins || statins
Statin intolerance || statin
Vancomycin and penicillin allergies || vancomycin
PCN -> anaphylaxis || anaphylaxis
Sulfa (angioedema) || angioedema
Reaction to IV contrast: anaphylaxis || anaphylaxis
Please return if you have:\\n* melena\\n* slurred speech || slurred speech
Call if:\\n- melena\\n- stridor || stridor
Symptoms to report:\\n- melena || melena
Warning signs:\\n1. melena\\n2. stridor || stridor
Contact your physician with melena, stridor. || stridor
In case of chest pain take rest. || chest pain
Side effects include cough and angioedema. || angioedema
Side effects: angioedema || angioedema
Lisinopril can cause angioedema. || angioedema
You may experience hoarseness and a sore throat. || sore throat
Expect some shortness of breath for weeks. || shortness of breath
Pt believes he had a heart attack. || heart attack
Family thinks that she has pneumonia. || pneumonia
Pt states "I think I have pneumonia". || pneumonia
Teaching: s/s of GI bleed || gi bleed
Teaching done re: CHF || chf
Given leaflet on heart failure. || heart failure
S/s of stroke reviewed || stroke
Consent: risks incl. pneumothorax, stroke || pneumothorax
Risks (stroke, pneumothorax) explained || pneumothorax
Seek emergency care for:\\n\\n- melena\\n- stridor || stridor
Return immediately for melena. || melena
Adverse effects include bradycardia || bradycardia
Hoarseness may occur || hoarseness
Drug reactions: amiodarone || amiodarone
PCN: anaphylaxis || anaphylaxis
Consent signed: bleeding, stroke || stroke
COPD: unknown if present || copd
CHF: N/A COPD: yes || chf
S to cefepime, R to levofloxacin || levofloxacin
Works in a dialysis unit. || dialysis
Occupation: dialysis technician || dialysis
Retired stroke researcher || stroke
Volunteer for the heart failure society || heart failure
COPD: N/A || copd
COPD - not documented || copd
COPD: [not entered] || copd
COPD: NA; gout || copd
Smoking history unknown || smoking
Diabetes: pre-diabetes only || diabetes
Sensitivities: ceftriaxone S, cefepime S, meropenem S || meropenem
S. aureus: vancomycin S, levofloxacin R || vancomycin
CEFEPIME----- <=1 S\\nMEROPENEM---- <=0.25 S || cefepime
E. coli sensitive to cefepime, meropenem || meropenem
Levofloxacin-resistant Klebsiella || levofloxacin
Helicobacter pylori stool antigen pending || helicobacter pylori
Escherichia coli in urine, contaminant || escherichia coli
"""


@pytest.mark.parametrize("line", ASIDES.strip().splitlines())
def test_an_aside_is_no_finding_and_supports_none(find, line):
    note, finding = line.replace("\\n", "\n").split(" || ")
    assert not any(finding in found for found in find(note))
    claims = check_note_claims(f"{finding.capitalize()} is recorded in the note.", note)
    assert claims
    assert "supported" not in {claim.verdict for claim in claims}


FINDINGS = """
All cultures negative. Sepsis. || sepsis
ALL: PCN, levofloxacin\\nPMH: COPD || copd
Allergies:\\nNKDA\\nsepsis || sepsis
ALLERGIES\\nvancomycin\\n\\nCOPD || copd
Allergies include vancomycin. COPD. || copd
Allergies: PCN. Meds: metformin. || metformin
PCN allergy, so vancomycin given || vancomycin
Tolerates metformin || metformin
Intolerant of metformin; intubated || intubated
Sepsis -> intubated || intubated
Angioedema after lisinopril || angioedema
You were admitted with pneumonia. || pneumonia
Call if:\\n- melena\\n\\nPMH:\\n- COPD || copd
Discharge diagnosis:\\n- sepsis || sepsis
Returned to ED with melena || melena
Called EMS with chest pain || chest pain
Cardiology feels this is an NSTEMI || nstemi
Pt feels short of breath, chest pain || chest pain
Call back received with blood cultures positive for Escherichia coli || escherichia coli
Pneumonia: pending cultures || pneumonia
He is on a dialysis program || dialysis
Works as a nurse, has COPD. || copd
Retired teacher with COPD || copd
Nurse noted melena || melena
Dialysis today in the dialysis unit || dialysis
Signs of GI bleed: melena || melena
Transferred from a teaching hospital with sepsis || sepsis
Diabetes: diet-controlled || diabetes
CHF: EF not documented || chf
COPD, severity not known || copd
Chronic CHF; Na 128 || chf
Sensitivities pending, on meropenem || meropenem
Vancomycin IV, sensitive to touch || vancomycin
E. coli sensitive to ceftriaxone, switched to meropenem || meropenem
Atrial fibrillation resistant to amiodarone || amiodarone
Blood culture: Escherichia coli || escherichia coli
"""


@pytest.mark.parametrize("line", FINDINGS.strip().splitlines())
def test_a_finding_beside_an_aside_is_found(find, line):
    note, finding = line.replace("\\n", "\n").split(" || ")
    assert finding in find(note)
