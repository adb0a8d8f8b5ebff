# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Findings of notes: affirmed or negated in sentences and forms, or absent."""

import itertools
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modeling_clinragen.note_claims_clinragen import DiagnosisFinder, check_note_claims
from modeling_clinragen.reading_clinragen import Reading
from modeling_clinragen.synonyms_clinragen import _NAMES, other_names
from modeling_clinragen.words_clinragen import _WORD, _word_pattern, content_words


FOLDER = Path(__file__).parent
PAIRS = yaml.safe_load((FOLDER / "negation_pairs.yaml").read_text(encoding="utf-8"))
LINES = (FOLDER / "note_forms.txt").read_text(encoding="utf-8").splitlines()[1:]
AFFIRMED = {"p": "supported", "n": "contradicted", "r": "absent"}  # the verdict on "X suggests disease"
DENIED = {"p": "contradicted", "n": "supported", "r": "absent"}  # the verdict on "No X"


def verdict_of(claim, note):
    (verdict,) = {found.verdict for found in check_note_claims(claim, note)}
    return verdict


@pytest.mark.parametrize("line", LINES)
def test_polarity_of_a_finding_in_a_note(line):
    note, _, stated = line.replace("\\n", "\n").replace("\\t", "\t").partition(" || ")
    for entry in stated.split("; "):
        polarity, finding = entry[0], entry[2:]
        assert verdict_of(f"{finding.capitalize()} suggests disease.", note) == AFFIRMED[polarity], finding
        assert verdict_of(f"No {finding}.", note) == DENIED[polarity], finding


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("No wheezing on arrival, and he is now wheezing.", "Wheezing"),
        ("No dyspnea at rest, dyspnea on the stairs", "Dyspnea"),
    ],
)
def test_a_finding_that_is_negated_once_and_affirmed_once_is_supported(note, finding):
    assert verdict_of(f"{finding} suggests disease.", note) == "supported"


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("Heparin as prophylaxis against thrombosis.", "Thrombosis"),
        ("Call if she has a fever or a rash.", "Rash"),
        ("At risk of falls.", "Falls"),
        ("Chest film to exclude pneumonia.", "Pneumonia"),
        ("Fever: unknown", "Fever"),
        ("Gait could not be assessed.", "Gait"),
        ("no edema, palmar erythema", "Palmar erythema"),
    ],
)
def test_a_risk_or_a_plan_neither_supports_nor_contradicts_a_finding(note, finding):
    assert verdict_of(f"{finding} suggests disease.", note) == "unverifiable"
    assert verdict_of(note, note) != "contradicted"


@pytest.mark.parametrize(
    ("note", "finding"),
    [
        ("Weakness of the left arm.", "Weakness of the right arm"),
        ("Left leg swelling.", "Right leg swelling"),
        ("Known diastolic heart failure.", "Systolic heart failure"),
        ("Chronic renal failure.", "Acute renal failure"),
    ],
)
def test_a_finding_of_the_other_side_or_kind_is_absent(note, finding):
    verdicts = {claim.text: claim.verdict for claim in check_note_claims(f"{finding} is noted.", note)}
    assert "absent" in verdicts.values()
    assert {claim.verdict for claim in check_note_claims(note, note)} == {"supported"}


def test_precision_and_recall_of_contradicted_by_kind():
    by_kind = defaultdict(Counter)
    for pair in PAIRS:
        by_kind[pair["kind"]][pair["verdict"], verdict_of(pair["claim"], pair["note"])] += 1
    assert len(PAIRS) >= 200
    for kind, counts in {**by_kind, "all": sum(by_kind.values(), Counter())}.items():
        hits = counts["contradicted", "contradicted"]
        precision = hits / sum(n for (_, said), n in counts.items() if said == "contradicted")
        recall = hits / sum(n for (truth, _), n in counts.items() if truth == "contradicted")
        print(f"{kind}: {counts.total()} pairs, precision and recall of contradicted {precision:.3f} {recall:.3f}")
        assert min(precision, recall) >= 0.95, (kind, counts)


VERDICTS = {"s": "supported", "c": "contradicted", "a": "absent", "u": "unverifiable"}


def pairs_by_voice():
    """Yield note, claim and right verdict of `note_claims_by_voice.txt`."""
    note = ""
    for line in (FOLDER / "note_claims_by_voice.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("N: "):
            note = line[3:].replace("\\n", "\n").replace("\\t", "\t")
        elif line[1:4] == " | ":
            yield note, line[4:], VERDICTS[line[0]]


def test_notes_in_many_voices():
    """Most pairs are read as a reader would; those that differ have been looked at, and are counted as errors."""
    counts = Counter()
    for note, claim, truth in pairs_by_voice():
        said = {found.verdict for found in check_note_claims(claim, note)}
        counts[truth, said.pop() if len(said) == 1 else "several"] += 1
    assert counts.total() >= 1000
    for verdict in ("contradicted", "absent"):
        hits = counts[verdict, verdict]
        precision = hits / sum(n for (_, said), n in counts.items() if said == verdict)
        recall = hits / sum(n for (truth, _), n in counts.items() if truth == verdict)
        print(f"{counts.total()} pairs, precision and recall of {verdict} {precision:.3f} {recall:.3f}")
        assert recall >= 0.98
        assert precision >= {"contradicted": 0.99, "absent": 0.82}[verdict]


@given(st.text(alphabet="shortne of breathing/nvdlw pe:.,'", max_size=60))
def test_both_word_patterns_give_the_same_words(text):
    assert [word.group() for word in _word_pattern(text, 0, len(text)).finditer(text)] == _WORD.findall(text)


@pytest.mark.parametrize(
    ("claim", "note", "verdict"),
    [
        ("Hemoptysis suggests cancer.", "He is coughing up blood.", "supported"),
        ("Hematuria suggests a stone.", "Blood and urine cultures were sent.", "absent"),
        ("Melena suggests bleeding.", "No black stools.", "contradicted"),
        ("Diaphoresis suggests infarction.", "He was diaphoretic.", "supported"),
        ("Gag is intact.", "No gag.", "contradicted"),
        ("Pulmonary embolism is noted.", "PE: lungs clear, no rash.", "absent"),
        ("Skin breakdown suggests immobility.", "Skin: redness, no breakdown.", "contradicted"),
        ("Chest pain suggests infarction.", "Chest: clear, abdominal pain.", "absent"),
        ("Chills suggest sepsis.", "Without fever, chills, or sweats, he was sent home.", "contradicted"),
        ("Cough suggests pneumonia.", "In the absence of fever, cough was treated at home.", "supported"),
    ],
)
def test_other_names_and_parts_of_the_body(claim, note, verdict):
    assert verdict_of(claim, note) == verdict


def test_synonymy_is_symmetric():
    for line in _NAMES.strip().splitlines():
        names = [[word[0] for word in content_words(name, 0, len(name))] for name in line.strip().split("; ")]
        for one, other in itertools.permutations(names, 2):
            assert one == other or other in other_names(one), line


FINDINGS = ["vertigo", "wheezing", "ascites", "gum bleeding", "night sweats", "jaundice", "hematuria", "joint pain"]
NO_FORMS = ["{}: none", "{} - denied", "{} (-)", "{}: no", "{} | No", "{}: absent", "no {}", "{} [ ]", "{}: negative"]
YES_FORMS = [
    "{}: present",
    "{} - yes",
    "{} (+)",
    "{}: yes",
    "{} | Yes",
    "{}: severe",
    "has {}",
    "{} [x]",
    "{}: since May",
]


@given(
    st.lists(st.sampled_from(FINDINGS), min_size=1, max_size=6, unique=True),
    st.randoms(use_true_random=False),
    st.sampled_from(["; ", "\n", ". ", "\n- "]),
)
def test_each_item_of_a_list_keeps_its_own_polarity(findings, random, joint):
    stated = {finding: random.choice("pn") for finding in findings}
    forms = {"p": YES_FORMS, "n": NO_FORMS}
    note = joint.join(random.choice(forms[polarity]).format(finding) for finding, polarity in stated.items())
    for finding, polarity in stated.items():
        assert verdict_of(f"{finding} suggests disease", note) == AFFIRMED[polarity], note


@given(st.text(alphabet="fever cough no(+-)[x]:;,.|\n\t/yn", max_size=120))
def test_any_note_is_read_and_positions_are_kept(note):
    reading = Reading(note)
    assert len(reading.text) == len(reading.prose) == len(note)
    for form in reading.forms:
        assert 0 <= form.start <= form.end <= len(note)
    for claim in check_note_claims("Fever and cough suggest disease.", note):
        assert claim.verdict in ("supported", "contradicted", "absent")
        for start, end in claim.spans:
            assert note[start:end].strip()


@pytest.mark.parametrize("words", ["Normal equal", "Intact", "Palpable and equal"])
def test_a_finding_of_words_for_normal_alone_is_looked_up(words):
    for claim in check_note_claims(f"{words} suggests disease.", "Cough. No gag."):
        assert claim.verdict in ("absent", "unverifiable")


def test_a_finding_that_is_not_in_the_note_is_absent_and_not_unverifiable():
    (claim,) = check_note_claims("Tendon xanthoma suggests a disorder of lipids.", "Chest pain.")
    assert (claim.verdict, claim.spans) == ("absent", [])
    assert claim.quote == "the note does not speak of it"


@pytest.mark.parametrize(
    ("note", "finding", "verdict"),
    [
        ("Chest clear, abdominal pain.", "Chest pain", "absent"),
        ("Chest pain, abdomen clear.", "Abdominal pain", "absent"),
        ("Pain in the left chest.", "Chest pain", "supported"),
        ("Abdominal pain radiating to the back.", "Chest pain radiating to the back", "absent"),
        ("Chest pain radiating to the back.", "Chest pain radiating to the back", "supported"),
        ("Sepsis, pulmonary", "Pulmonary sepsis", "supported"),
        ("Infarction, acute myocardial (MI)", "Acute myocardial infarction", "supported"),
        ("Infarction, acute myocardial (MI)", "Myocardial infarction", "supported"),
        ("Cough, worse at night and productive", "Productive cough", "absent"),
    ],
)
def test_words_of_a_finding_are_in_one_clause(note, finding, verdict):
    assert verdict_of(f"{finding} suggests disease.", note) == verdict


@pytest.mark.parametrize(
    ("note", "finding", "verdict"),
    [
        ("Known portal hypertension.", "Hypertension", "absent"),
        ("Known portal hypertension.", "Portal hypertension", "supported"),
        ("Pulmonary hypertension, hypertension.", "Hypertension", "supported"),
        ("Pulmonary hypertension, high blood pressure.", "Hypertension", "supported"),
        ("Central diabetes insipidus.", "Diabetes", "absent"),
        ("Pre-diabetes", "Diabetes", "absent"),
        ("Heat stroke.", "Stroke", "absent"),
        ("Stroke volume 60 ml.", "Stroke", "absent"),
        ("Shock liver.", "Shock", "absent"),
        ("R CVA tenderness", "Stroke", "absent"),
        ("R CVA tenderness", "Costovertebral angle tenderness", "supported"),
        ("CVA in 2010.", "Stroke", "supported"),
        ("s/p gastric bypass", "Bypass", "absent"),
    ],
)
def test_a_longer_name_for_something_else_is_another_finding(note, finding, verdict):
    assert verdict_of(f"{finding} is documented.", note) == verdict


@pytest.mark.parametrize(
    ("note", "finding", "verdict"),
    [
        ("L facial droop", "Right facial droop", "absent"),
        ("L facial droop", "Left facial droop", "supported"),
        ("R-sided weakness", "Right sided weakness", "supported"),
        ("NSTEMI", "STEMI", "absent"),
        ("NSTEMI", "ST elevation", "absent"),
        ("NSTEMI ruled out", "ST elevation", "absent"),
        ("NSTEMI", "Myocardial infarction", "supported"),
        ("STEMI", "ST elevation", "supported"),
        ("STEMI", "NSTEMI", "absent"),
        ("NSTEMI", "Non-ST elevation myocardial infarction", "supported"),
        ("Non-ST elevation MI", "NSTEMI", "supported"),
        ("Non-ST elevation MI", "STEMI", "absent"),
        ("Non-ST elevation MI", "ST elevation", "absent"),
        ("NIDDM", "Insulin dependent diabetes", "absent"),
        ("IDDM", "Insulin dependent diabetes", "supported"),
        ("Non-productive cough", "Productive cough", "contradicted"),
        ("Type 1 diabetes", "Type 2 diabetes", "absent"),
        ("Type II diabetes", "Type 2 diabetes", "supported"),
        ("T1DM", "T2DM", "absent"),
        ("T2DM", "Type 2 diabetes", "supported"),
        ("Severe respiratory acidosis", "Severe metabolic acidosis", "absent"),
        ("Chronic respiratory failure", "Acute respiratory failure", "absent"),
        ("Acute on chronic respiratory failure", "Acute respiratory failure", "supported"),
        ("CKD stage 3", "ESRD", "absent"),
        ("Systolic murmur; heart failure", "Systolic heart failure", "absent"),
        ("Pneumonia improving", "Worsening pneumonia", "absent"),
        ("Pneumonia worsening", "Worsening pneumonia", "supported"),
        ("Abdominal pain, chest clear", "Chest pain", "absent"),
        ("Pain, chest clear", "Chest pain", "absent"),
    ],
)
def test_the_side_and_the_kind_of_a_finding_are_read(note, finding, verdict):
    assert verdict_of(f"{finding} is documented.", note) == verdict


@pytest.mark.parametrize(
    ("note", "finding", "verdict"),
    [
        ("JVP not elevated", "Raised jugular venous pressure", "contradicted"),
        ("JVP elevated", "Raised jugular pressure", "supported"),
        ("JVP 8 cm", "Raised jugular venous pressure", "absent"),
        ("3 hours of chest pain", "Chest pain for three days", "absent"),
        ("3 days of chest pain", "Chest pain for three days", "supported"),
        ("Chest pain x3", "Chest pain for three days", "supported"),
        ("4 days of cough", "Four days of cough", "supported"),
        ("Chest pain", "Chest pain for three days", "absent"),
    ],
)
def test_the_level_and_the_duration_of_a_finding_are_read(note, finding, verdict):
    assert verdict_of(f"{finding} suggests disease.", note) == verdict


@pytest.mark.parametrize(
    ("note", "side"),
    [("l arm", "left"), ("r>l edema", "right"), ("2 l oxygen", None), ("rr 18 r 20", None), ("2l/min", None)],
)
def test_letters_of_a_side(note, side):
    sides = {word for word, *_ in content_words(note, 0, len(note))} & {"left", "right"}
    assert side in sides if side else not sides


def test_a_number_is_not_that_with_its_digits_turned():
    found = {claim.text: claim.verdict for claim in check_note_claims("An INR of 8.3 is documented.", "INR 3.8")}
    assert found == {"INR": "supported", "8.3": "absent"}
    assert verdict_of("An INR of 3.8 is documented.", "INR 3.8") == "supported"


def test_a_status_that_declined_is_not_denied():
    assert verdict_of("Mental status decline is noted.", "Mental status declined.") == "supported"


@pytest.mark.parametrize("text", ["The patient has confirmed pneumonia.", "Pneumonia is confirmed."])
@pytest.mark.parametrize(
    ("note", "verdict"),
    [
        ("Possible pneumonia", "unverifiable"),
        ("? pneumonia", "unverifiable"),
        ("Pneumonia", "supported"),
        ("Concern for pneumonia. Lobar pneumonia on CT.", "supported"),
        ("No pneumonia", "contradicted"),
    ],
)
def test_what_is_only_suspected_is_not_confirmed(text, note, verdict):
    assert verdict_of(text, note) == verdict


@pytest.mark.parametrize(
    ("note", "treatment", "verdict"),
    [
        ("He refused dialysis.", "dialysis", "contradicted"),
        ("Refuses any further dialysis.", "dialysis", "contradicted"),
        ("Dialysis not needed.", "dialysis", "contradicted"),
        ("Dialysis was declined.", "dialysis", "contradicted"),
        ("Declined EGD.", "EGD", "contradicted"),
        ("Off ventilator.", "a ventilator", "contradicted"),
        ("Now off mechanical ventilation.", "ventilation", "contradicted"),
        ("On dialysis.", "dialysis", "supported"),
        ("Surgery not needed, dialysis begun.", "dialysis", "supported"),
        ("Status declined, dialysis begun.", "dialysis", "supported"),
        ("Fell off a ladder; insulin at home.", "insulin", "supported"),
    ],
)
def test_a_treatment_that_was_not_given_is_denied(note, treatment, verdict):
    assert verdict_of(f"The patient is on {treatment}.", note) == verdict


@pytest.mark.parametrize(
    "text",
    [
        "Pneumonia and Shock remain unexplained: no finding in this record points to them.",
        "Pneumonia is left unexplained, as no finding in this record points to it.",
        "Unexplained by this record: pneumonia and shock.",
    ],
)
def test_an_unexplained_diagnosis_is_neither_argued_for_nor_denied(text):
    find = DiagnosisFinder({"Pneumonia": ["pneumonia"], "Shock": ["shock"]})
    assert {mention.says for mention in find(text)} == {"neither"}
    assert check_note_claims(text, "Cough.") == []


def test_an_unexplained_finding_is_a_finding():
    (claim,) = check_note_claims("Unexplained weight loss suggests cancer.", "Cough.")
    assert claim.verdict == "absent"
    (mention,) = DiagnosisFinder({"Cancer": ["cancer"]})("Unexplained weight loss suggests cancer.")
    assert mention.says == "argues"


@pytest.mark.parametrize(
    "text",
    [
        "Pneumonia is unlikely.",
        "Pneumonia is not supported.",
        "Pneumonia: none.",
        "Nothing in the note points to pneumonia.",
        "There is nothing to indicate pneumonia.",
        "The record does not suggest pneumonia.",
        "No finding suggests pneumonia.",
        "No imaging points to pneumonia.",
        "There is no sign that fits pneumonia.",
    ],
)
def test_a_diagnosis_that_is_denied(text):
    (mention,) = DiagnosisFinder({"Pneumonia": ["pneumonia"]})(text)
    assert mention.says == "denies"


@pytest.mark.parametrize(
    "text",
    [
        "Absent breath sounds favor pneumonia.",
        "Polyuria fits diabetes mellitus without complication and pneumonia.",
        "Cough without fever suggests pneumonia.",
        "Not unlike the last time, cough points to pneumonia.",
        "No breath sounds on the left support pneumonia.",
        "No urine output is consistent with pneumonia.",
        "Absent breath sounds indicate pneumonia.",
    ],
)
def test_a_denial_of_something_else_does_not_deny_a_diagnosis(text):
    find = DiagnosisFinder({"Pneumonia": ["pneumonia"], "Diabetes": ["diabetes mellitus without complication"]})
    assert {mention.says for mention in find(text)} == {"argues"}


def test_this_points_to_refers_to_the_previous_sentence():
    text = "Fever and cough are described. This points to pneumonia."
    (mention,) = DiagnosisFinder({"Pneumonia": ["pneumonia"]})(text)
    assert mention.inferred
    assert [claim.text for claim in check_note_claims(text, "Fever, cough.")] == ["Fever", "cough"]


@pytest.mark.parametrize(
    "note",
    [
        "Fever: none, cough: yes. ",
        "(+) fever (-) cough ",
        "no fever, ",
        "a b: ",
        "- fever\n",
        "negatives:\n",
        "x\t",
        "...",
    ],
)
def test_the_time_to_read_a_note_grows_with_its_length(note):
    def seconds(times, salt):
        begun = time.process_time()
        check_note_claims("Fever suggests pneumonia.", f"{salt} {note * times}")  # no note is read twice
        return time.process_time() - begun

    seconds(10, 0)
    small, large = (min(seconds(times, salt) for salt in (1, 2, 3)) for times in (400, 4000))  # others use the cores
    assert large < 40 * max(small, 0.02)


@pytest.mark.parametrize(
    ("note", "verdict"),
    [
        ("Systolic murmur and heart failure.", "absent"),
        ("Heart failure with a systolic murmur.", "absent"),
        ("Systolic and diastolic heart failure.", "supported"),
        ("Acute on chronic systolic and diastolic heart failure.", "supported"),
        ("Heart failure, systolic.", "supported"),
        ("Heart failure is systolic.", "supported"),
    ],
)
def test_a_kind_of_one_finding_is_not_that_of_another(note, verdict):
    assert verdict_of("Systolic heart failure is documented.", note) == verdict
