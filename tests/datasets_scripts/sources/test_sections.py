# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Cutting discharge summaries: 120 summaries in 30 layouts, every later heading in every form, any line end."""

import re
import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.dataset.leakage import LeakMeter
from datasets_scripts.sources.heading_words import COURSE, LATER
from datasets_scripts.sources.line_ends import normalise_lines
from datasets_scripts.sources.notes import note_text, notes_left_out
from datasets_scripts.sources.sections import split_sections
from tests.datasets_scripts.sources.raw_tables import base_tables, build, rows
from tests.datasets_scripts.sources.summaries import LATE, LAYOUTS, summary


def document(text, kind="Discharge summary", hour=200.0):
    return {"kind": kind, "text": text, "rank": 0, "hour": hour, "origin": "note"}


def admission_view(text):
    return note_text([document(text)], "admission")


def words(text):
    return Counter(re.findall(r"[a-z0-9]+", text.lower()))


# -- whole summaries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_layout_leaks_and_the_admission_text_is_kept(layout):
    kept, wanted = 0, 0
    for seed in range(4):
        text, before, _ = summary(layout, seed)
        view = admission_view(text)
        assert LATE not in view.lower()
        wanted += words(before).total()
        kept += (words(before) & words(view)).total()
    assert kept >= 0.95 * wanted


def test_the_leak_meter_finds_in_the_view_what_stands_in_the_summary():
    meter = LeakMeter([{"name": LATE, "synonyms": []}, {"name": "never written", "synonyms": []}])
    whole, view = Counter(), Counter()
    for layout in LAYOUTS:
        text, _, _ = summary(layout, 0)
        whole += meter.count(normalise_lines(text), [0])
        view += meter.count(admission_view(text), [0])
    assert meter.report(whole)["gold_named"] == 1.0
    assert view["gold"] == len(LAYOUTS)
    assert meter.report(view)["gold_named"] == 0.0


def test_a_list_at_the_top_does_not_take_the_exam_away():
    text = (
        "DISCHARGE DIAGNOSIS: stroke\nHPI: weak\nPHYSICAL EXAM: lame\nHOSPITAL COURSE: stroke\nPHYSICAL EXAM: well\n"
    )
    assert admission_view(text) == "History of present illness: weak\nPhysical exam: lame"


@pytest.mark.parametrize(
    ("heading", "kept"),
    [
        ("Past Medical History", True), ("PMH", True), ("Family History", True), ("Social History", True),
        ("Allergies", True), ("Medications on Admission", True), ("Admission Labs", True), ("Exam on admission", True),
        ("ADMISSION PHYSICAL EXAM (___)", True), ("History of Present Illness", True), ("Chief Complaint", True),
        ("Physical Exam", False), ("Exam", False), ("PE", False), ("Review of Systems", False), ("Labs", False),
        ("Home Medications", False), ("Current Medications", False), ("CC", False), ("History", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("later", ["Hospital Course", "Discharge Medications", "Assessment and Plan", "Addendum"])
def test_what_comes_back_after_a_later_section(heading, kept, later):
    text = f"HPI:\ncough\n\n{later}:\npneumonia\n\n{heading}:\nspecial words\n\nDischarge Diagnosis:\npneumonia\n"
    view = admission_view(text)
    assert ("special words" in view) == kept
    assert "pneumonia" not in view


def test_a_later_heading_beside_another_column_ends_the_section_with_the_line():
    text = f"Hospital Course\tHistory of Present Illness\n{LATE}\tcough\n\nPast Medical History:\nasthma\n"
    assert admission_view(text) == "Past medical history: asthma"
    text = "Sex: F     Service: MED     Allergies:\npenicillin\nHospital Course: asthma"
    assert admission_view(text) == "Allergies: penicillin"


def test_the_course_is_read_with_its_problems():
    course = (
        "65 year old man with asthma.\n# Sepsis: resolved. CT head: clear.\nINFECTIOUS DISEASE: cured.\n"
        "On the day of discharge he was well."
    )
    text = f"HPI:\ncough\n\nBrief Hospital Course:\n{course}\n\nDischarge Medications:\naspirin\n"
    assert note_text([document(text)], "paper") == f"{COURSE}: {' '.join(course.split())}"
    assert admission_view(text) == "History of present illness: cough"


# -- headings ---------------------------------------------------------------------------------------------------------

LATER_HEADINGS = [
    heading
    for line in (
        "Discharge Exam|Discharge PE|D/C Exam|Exam at discharge|Exam on day of discharge|Physical Exam on Discharge",
        "VS on discharge|Discharge Vitals|Discharge labs|Labs prior to discharge|Discharge Meds",
        "Medications at time of discharge|A & P|A + P|Medications on transfer|A/P|A&P|Assessment|Assessment/Plan",
        "Assessment and Plan|Impression|Impression and Plan|IMP/PLAN|Plan|Plan by problem|Recommendations",
        "Hospital Course|BRIEF HOSPITAL COURSE BY SYSTEM|Hospital course and treatment|Course|Course in the Hospital",
        "Hosp course|ICU Course|MICU course|SICU Course|Floor Course|Clinical Course|Interval events",
        "Significant Events|Postoperative course|Post-op course|Operative course|Treatment|Active Issues|ACUTE ISSUES",
        "Problem List|TRANSITIONAL ISSUES|Problems|Active Problems|Active Hospital Problems|Principal Problem",
        "Resolved Hospital Problems|Dx|Discharge dx|D/C Dx|Discharge diagnosis|Discharge Diagnosis(es)|Final Dx",
        "FINAL DIAGNOSES|Primary Diagnosis|Secondary diagnoses|Principal Diagnosis|Working Diagnosis",
        "Admission Diagnosis|Differential Diagnosis|Cause of death|Dispo|Disposition|Discharge Disposition",
        "Discharge Condition|Condition at discharge|Discharge Status|Discharge Instructions|Patient Instructions",
        "Follow-up|Follow up|F/U|Followup Instructions|Pending results|Pending Labs|Addendum|Pertinent Results",
        "Results|Lab results|Imaging Studies|Microbiology|Procedures performed|Major Surgical or Invasive Procedure",
        "Consultations|On discharge|At discharge|Upon discharge|At time of discharge|Day of discharge",
        "Discharge summary|Discharge plan|Summary of Hospital Course|Summary of stay|Hospitalization|Outcome",
        "Complications|Prognosis|Conclusion|Clinical impression|New medications|Stopped medications",
        "Discharge Exam 05/11|DISCHARGE PHYSICAL EXAM (___)|Physical Exam (discharge)|Hospital Course [**2101-2-3**]",
        "*** Hospital Course ***|== Assessment ==|>> PLAN|Hospital Course (by problem)|1) Hospital course",
        "(3) Discharge diagnosis|III. Hospital course|b) Plan|HOSPITAL-COURSE|HospitalCourse|Hospital_Course",
        "H O S P I T A L  C O U R S E|Assesment and plan|Transfer summary|Labs on transfer|Inpatient medications",
        "Treatment plan|ED diagnosis|Operative findings|Postoperative diagnosis|ED course and MDM|Discussion",
        "Clinical summary|Epicrisis",
    )
    for heading in line.split("|")
]
FORMS = {
    "before a colon": "Physical Exam:\nT 101, crackles\n\n{}:\n" + LATE,
    "alone": "Physical Exam:\nT 101, crackles\n\n{}\n" + LATE,
    "in the line": "Past Medical History:\ncrackles\n{}: " + LATE,
    "inside a line": "Past Medical History: crackles. {}: " + LATE,
    "after a dash": "Past Medical History - crackles\n{} - " + LATE,
    "markdown": "## Past Medical History\ncrackles\n## {}\n" + LATE,
    "bold": "**Past Medical History:** crackles\n**{}:** " + LATE,
}


@pytest.mark.parametrize("form", FORMS)
def test_no_later_heading_is_missed(form):
    kept = {heading: admission_view(FORMS[form].format(heading)) for heading in LATER_HEADINGS}
    assert not [heading for heading, view in kept.items() if LATE in view]
    assert not [heading for heading, view in kept.items() if "crackles" not in view]


@pytest.mark.parametrize("form", ["before a colon", "alone", "in the line", "inside a line"])
def test_no_later_heading_in_capitals_is_missed(form):
    kept = {heading: admission_view(FORMS[form].upper().format(heading.upper())) for heading in LATER_HEADINGS}
    assert not [heading for heading, view in kept.items() if LATE.upper() in view]


IN_ONE_LINE = {
    "PMH: COPD": "Past medical history: COPD",
    "Allergies: Penicillin": "Allergies: Penicillin",
    "Chief Complaint: Chest Pain": "Chief complaint: Chest Pain",
    "CC: dyspnea": "Chief complaint: dyspnea",
    "Medications on Admission: Lisinopril 10 mg PO DAILY": "Medications on admission: Lisinopril 10 mg PO DAILY",
    "Labs on Admission: WBC 13.2 Hgb 9.1": "Admission labs: WBC 13.2 Hgb 9.1",
    "Allergies: Penicillin Physical Exam: crackles": "Allergies: Penicillin\nPhysical exam: crackles",
    "PMH: Gout Social History: Smoker Family History: Asthma": (
        "Past medical history: Gout\nSocial history: Smoker\nFamily history: Asthma"
    ),
}


@pytest.mark.parametrize("before", IN_ONE_LINE)
@pytest.mark.parametrize(
    "heading",
    ["Hospital Course", "HOSPITAL COURSE", "Brief Hospital Course", "Discharge Diagnosis", "Final Discharge Diagnosis",
     "Labs on Discharge", "Discharge Physical Exam", "Assessment and Plan", "Hospital Course by Problem",
     "hospital course", "discharge diagnosis", "Plan", "Disposition", "Medications", "MICU Course",
     "Post-operative Course"],
)  # fmt: skip
def test_the_words_before_a_heading_in_a_line_stay_in_their_section(before, heading):
    assert admission_view(f"{before} {heading}: {LATE}") == IN_ONE_LINE[before]


def test_the_words_before_a_heading_without_a_colon_stay_in_their_section():
    view = admission_view("Past Medical History COPD, Gout, Depression Hospital Course He was intubated.")
    assert view == "Past medical history: COPD, Gout, Depression"


@pytest.mark.parametrize(
    "heading", ["HOSPITAL COURSE", "DISCHARGE DIAGNOSES", "ASSESSMENT AND PLAN", "IMPRESSION", "PLAN"]
)
def test_capitals_in_a_line_are_a_heading_without_a_colon(heading):
    view = admission_view(f"PAST MEDICAL HISTORY Asthma since childhood. {heading} Patient had {LATE} twice.")
    assert view == "Past medical history: Asthma since childhood."


@pytest.mark.parametrize(
    "heading",
    [
        "Consultants seen", "Complications", "Clinical trajectory", "Wound Care", "What happened",
    ],
)  # fmt: skip
def test_an_unknown_heading_ends_a_section(heading):
    view = admission_view(f"HPI:\ncough\n\n{heading.title()}:\n{LATE}\n\nPMH:\nasthma\n")
    assert view == "History of present illness: cough\nPast medical history: asthma"


@pytest.mark.parametrize(
    "later",
    [
        "A: {}\nP: {}", "On the day of discharge {} was well.", "Hospital course was notable for {}.", "#Sepsis: {}",
        "hospital course {} and nothing else", "Dispo home with {}", "[Plan] {}", "<<Assessment>> {}",
        "{{Impression}} {}",
        "HOSPITAL COURSE. {}", "Hospital Course; {}", "Plan..... {}", "Plan\t{}", "5/11/20 Discharge Exam: {}",
        "[**2101-2-3**] Discharge labs: {}", "I. Hospital Course {}", "Hospital\nCourse:\n{}", "Hospital\tCourse:\t{}",
        "Hospital Course :- {}", "so that HOSPITAL COURSE: {}", "and plan: {}", "(Discharge dx: {})",
        "GROSS REPORT: {}",
        "Procedure Date: {}", "<b>Hospital Course</b> {}", "<H3>Plan</H3>{}", "&bull; Discharge dx: {}",
    ],
)  # fmt: skip
def test_signs_of_a_later_time_in_unusual_forms(later):
    for start in ("HPI: cough\n", "HISTORY OF PRESENT ILLNESS\r\n\r\ncough.\r\n"):
        view = admission_view(start + later.format(LATE, LATE))
        assert view.startswith("History of present illness: cough")
        assert LATE not in view


def test_the_words_after_a_heading_before_its_colon_are_text():
    text = (
        "Review of systems is negative for the following: fever\nPast medical history of asthma and: gout\nPlan: rest"
    )
    assert admission_view(text) == (
        "Review of systems: is negative for the following: fever\nPast medical history: of asthma and: gout"
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "Exam today shows crackles: basal.",
        "Pulse: 80, P: 80",
        "Diagnosis Date\n\u2022 COPD 2010",
        "Procedure Laterality Date\n\u2022 Hip repair Left 2011",
        "In the ED he was pale.\n- Labs notable for: WBC 15\n- Imaging notable for: none\n- Meds given: saline",
        "He was discharged from an outside hospital in May.",
        "Of course she did not know; her plan was to wait.",
        "She reports vaginal discharge and, on assessment, a fever.",
        "Vaginal discharge",
        "No discharge",
        "Transfer for sepsis",
        "Abnormal labs",
        "The results were not known at the time of transfer: he left.",
        "A course of steroids was given: no change.",
        "Her impression: none. 5:30 was the time.",
        "Seen by the discharge clinic on 5/11 for follow up.",
        "General:\nwell",
        "HEENT:\nclear",
        "Family meeting was planned for the day of his surgery",
        "He went to\nsurgery\nin May.",
        "1. Asthma: treatment with steroids\n2. Gout",
        "Diabetes - plan of care by her physician",
    ],
)
def test_words_of_later_sections_in_a_sentence_do_not_end_it(sentence):
    view = admission_view(f"Physical Exam:\nobese\n{sentence}\nedema\n\nDischarge Diagnosis:\n{LATE}")
    assert view == f"Physical exam: obese {' '.join(sentence.split())} edema"


@pytest.mark.parametrize(
    "heading",
    ["Discharge diagnosis (Dr. Smith):", "Discharge exam (Dr. Smith):", "Discharge summary by Dr. Smith:",
     "Discharge condition (J. Smith, MD)", "Time of death", "Date of death:", "Expired", "Surgery",
     "Surgical procedures", "NEW MEDS", "Medication List", "Cardiac cath", "Course on the floor", "Course in the unit",
     "Response to treatment", "STOP taking", "START taking these medications", "Appointments", "Autopsy", "Path:",
     "In the MICU:", "In the OR:", "On the floor:", "Continue these medications which have NOT CHANGED",
     "Problem List/Past Medical History"],
)  # fmt: skip
def test_a_heading_alone_after_an_empty_line_ends_the_history(heading):
    view = admission_view(f"Past Medical History:\nCOPD, gout\n\n{heading}\n{LATE}")
    assert view == "Past medical history: COPD, gout"


@pytest.mark.parametrize(
    ("before", "later"),
    [
        ("HPI: cough. ", "Discharge diagnosis - {}."), ("HPI: cough. ", "Hospital course - {}"),
        ("HPI: cough. ", "Discharge medications {}, prednisone."), ("HPI: cough. ", "D/C meds {}, prednisone."),
        ("HPI:\ncough.\n\n", "Discharge diagnosis {} and ARDS with renal failure due to shock."),
        ("HPI:\ncough.\n\n", "MICU course {} and on pressors for days and for more days"),
        ("HPI:\ncough.\n\n", "Assessment and plan {} with septic shock, to be treated with fluids and more"),
        ("HISTORY OF PRESENT ILLNESS cough. ", "HOSPITAL COURSE {}. DISCHARGE DIAGNOSIS {}."),
    ],
)  # fmt: skip
def test_a_later_phrase_in_sentence_case_or_capitals_begins_a_section_without_a_colon(before, later):
    assert admission_view(before + later.format(LATE, LATE)) == "History of present illness: cough."
    if before.startswith("HISTORY"):
        assert admission_view((before + later.format(LATE, LATE)).upper()) == "History of present illness: COUGH."


LISTED = [
    "Back surgery", "Cataract surgery 2010", "Gastric Bypass Surgery", "Diet controlled diabetes", "ESRD on HD",
    "Prostate cancer - radiation therapy 2005", "Recent hospitalization for pneumonia", "Cardiac cath 2011: clean",
    "Father - death at 60 from stroke", "HCV genotype 1, treatment naive", "HEENT: PERRL, no discharge", "P: 80",
    "Transfer for cath", "Planned admission for chemotherapy", "Abnormal EKG", "Wound drainage",
    "Home O2: 2L", "Course of steroids last month", "Results pending at OSH",
    "Discharged 3 days ago from rehab", "Mental Status: alert",
    "Problems with gait since May", "Vitals: T 98.2 BP 105/57", "On arrival to the ward, he was well",
    "Hip Replacement", "Father: Deceased", "Father - expired", "Seen by Dr. Smith: well",
    "Colonoscopy 2008 - normal", "1. Furosemide 40 mg PO DAILY", "He denies fever, chills, discharge", "No Discharge",
]  # fmt: skip


@pytest.mark.parametrize("mark", ["", "- ", "2. ", "\n"])
def test_entries_of_lists_do_not_end_a_section(mark):
    text = f"Past Medical History:\n{mark}asthma\n{mark}{{}}\n{mark}gout\n\nHospital Course:\n{LATE}"
    first = f"Past Medical History:\n{mark}{{}}\n{mark}gout\n\nHospital Course:\n{LATE}"
    for entry in LISTED:
        assert "gout" in admission_view(text.format(entry)), entry
        assert "gout" in admission_view(first.format(entry)), entry


@pytest.mark.parametrize(
    "time", ["On discharge, {}.", "At d/c, {}.", "At discharge: {}", "Prior to discharge he had {}."]
)
@pytest.mark.parametrize("between", [" ", "\n"])
def test_what_an_exam_tells_of_the_discharge_ends_it_and_nothing_else(time, between):
    assert admission_view("PE: crackles." + between + time.format(LATE)) == "Physical exam: crackles."
    if ":" not in time:
        view = admission_view("HPI: seen elsewhere." + between + time.format("well"))
        assert view == f"History of present illness: seen elsewhere. {time.format('well')}"


@pytest.mark.parametrize(
    "heading",
    ["Exam on arrival to ICU:", "Initial ICU exam:", "MICU admission labs:", "Physical exam on admission to rehab:",
     "Labs on arrival to the floor:", "Exam on admission to the SICU:"],
)  # fmt: skip
def test_an_admission_to_a_later_unit_is_none_to_the_hospital(heading):
    view = admission_view(f"HPI: cough\n\nHospital Course:\nsepsis\n\n{heading}\n{LATE}")
    assert view == "History of present illness: cough"
    assert "first" in admission_view(f"HPI: cough\n\n{heading}\nfirst\n\nHospital Course:\nsepsis")


@pytest.mark.parametrize(
    "heading",
    ["Predischarge exam", "Pre-discharge exam:", "Dicharge Exam", "Discharg exam:", "Discahrge exam:",
     "Dischage Labs:", "Dischrage Diagnosis:", "Physical exam on admission and at discharge", "Final exam:",
     "Exam on HD 5:", "Exam on POD 3:", "Exam on hospital day 5:", "Post-op exam:", "Exam today:",
     "Home meds to resume:", "Home medications changed:", "Meds on transfer to floor", "Home medications stopped:",
     "Vitals on HD 3:", "Exam the next day:", "Exam at time of death"],
)  # fmt: skip
@pytest.mark.parametrize("before", ["HPI", "Physical Exam"])
def test_exams_and_medications_of_a_later_day_end_a_section(heading, before):
    view = admission_view(f"{before}:\ncough\n\n{heading}\n{LATE}")
    assert view.endswith(": cough")


@pytest.mark.parametrize(
    "heading", ["Initial exam in the ED", "Physical examination on arrival", "Labs on presentation"]
)
def test_an_exam_of_the_admission_is_read_after_the_course(heading):
    assert "crackles" in admission_view(f"HPI: cough\n\nHospital Course:\nsepsis\n\n{heading}:\ncrackles")


@pytest.mark.parametrize("history", ["PMH", "Past Surgical History", "Social History", "Family History"])
@pytest.mark.parametrize("part", ["Procedures", "Diet", "Activity", "Education", "Surgeries", "Treatment", "Problems"])
def test_a_part_of_a_history_does_not_take_the_exam_away(history, part):
    text = f"HPI: c.\n\n{history}:\nCOPD\n{part}: some\n\n{{}}Physical Exam:\ncrackles"
    assert admission_view(text.format("")).endswith("\nPhysical exam: crackles")
    for later in ("Hospital Course", "Discharge Diagnosis", "Assessment and Plan"):
        assert "crackles" not in admission_view(text.format(f"{later}:\nwell\n\n"))


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
@pytest.mark.parametrize(
    "told",
    ["In the ED, labs: WBC 18, lactate 4. He was given 2L.", "Imaging showed: clear lungs.", "OSH course: intubated.",
     "ED labs: WBC 18.", "At the outside hospital: CT head was negative.", "OSH imaging: clear.", "ER studies: none.",
     "Labs in the ED: WBC 18.", "Labs from outside hospital: none.", "In the emergency department: CT was clear."],
)  # fmt: skip
def test_findings_of_the_emergency_room_or_elsewhere_belong_to_the_history(told, between):
    view = admission_view(f"HPI: cough.{between}{told} He came.\n\nHospital Course: {LATE}")
    assert view == f"History of present illness: cough. {told} He came."


# -- line ends --------------------------------------------------------------------------------------------------------

LINE_ENDS = [
    "\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "<br>", "<br/>", "<BR />", "</p><p>",
    "</div>\n<div>", "&#10;", "&#13;&#10;", "&lt;br&gt;", "\\n", "\\r\\n", "\\.br\\", "_x000D_\n", "\x1e",
    " \n", "\n\t",
]  # fmt: skip
BEFORE = {
    "Chief Complaint": "Chief complaint", "History of Present Illness": "History of present illness",
    "HPI": "History of present illness", "Past Medical History": "Past medical history", "PMH": "Past medical history",
    "Family History": "Family history", "Social History": "Social history", "Allergies": "Allergies",
    "Medications on Admission": "Medications on admission", "Admission Labs": "Admission labs",
    "Physical Exam": "Physical exam", "Review of Systems": "Review of systems",
}  # fmt: skip
TWICE = ("Physical Exam", "Review of Systems")
HISTORIES = ("Past Medical History", "PMH", "Family History", "Social History")
LISTS = ("Discharge Diagnosis", "Final Diagnoses", "Principal Problem", "Procedures")
AFTER = (
    "Discharge Medications", "Pertinent Results", "Hospital Course", "Brief Hospital Course", "MICU Course",
    "Hospital Course by System", "Discharge Instructions", "Followup Instructions", "Assessment and Plan", "A/P",
)  # fmt: skip
headings = st.sampled_from([*BEFORE, *LISTS, *AFTER])
spelling = st.sampled_from([str, str.upper, str.capitalize, str.lower])
mark = st.sampled_from(["", "", "", "# ", "**", "- ", "3. ", "(b) "])
documents = st.lists(st.tuples(headings, spelling, mark, st.sampled_from([" ", "END", "ENDEND"])), max_size=15)


@given(documents, st.sampled_from(LINE_ENDS))
@example([("Physical Exam", str, "", " "), ("Procedures", str, "", " "), ("HPI", str, "", " ")], "\r")
@settings(max_examples=400)
def test_the_admission_view_holds_all_words_of_its_sections_and_none_of_the_others(sections, end):
    text, kept, course, after, told, last = "", set(), set(), False, False, ""
    for i, (heading, spell, sign, space) in enumerate(sections):
        word = f"word{'abcdefghijklmno'[i]}"
        text += f"{sign}{spell(heading)}:{'**' if sign == '**' else ''}{space}{word} is: notedEND"
        is_part = heading == "Procedures" and last in HISTORIES
        after |= heading in AFTER or (heading in LISTS and told and not is_part)
        last = heading
        if heading in BEFORE and not (after and heading in TWICE):
            kept.add(word)
            told |= BEFORE[heading] in ("History of present illness", "Past medical history")
        course |= {word} if "Hospital Course" in heading else set()
    note = document(text.replace("END", end))
    for view, expected in (("admission", kept), ("paper", course)):
        found = {w for w in note_text([note], view).replace(":", " ").split() if w.startswith("word")}
        assert found == expected


@given(
    st.lists(
        st.sampled_from([*"abcDE :.\n\t|-#*_()[]<>&;\\/~,\r\u2028\u0130", "HPI: ", "PLAN", "\nCourse\n"]), max_size=120
    ).map("".join)
)
@settings(max_examples=300)
def test_every_text_is_cut_into_parts_that_hold_all_of_it(text):
    assert "".join(heading + body for _, heading, body in split_sections(text)) == normalise_lines(text)


@given(st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=80))
def test_only_newlines_are_left_as_line_ends(text):
    normal = normalise_lines(text)
    assert normal.splitlines() == normal.removesuffix("\n").split("\n") or normal == ""


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("WBC <3.0 and K>5", "WBC <3.0 and K>5"), ("a<b, c>d", "a<b, c>d"), ("5 &lt; 6", "5 < 6"),
        ("C:\\notes are there\n", "C:\\notes are there\n"), ("one\\ntwo", "one\ntwo"), ("A&P; B", "A&P; B"),
        ("HOSPITAL\u00a0COURSE\uff1a", "HOSPITAL COURSE:"), ("\ufeffHPI\u200b:", "HPI:"),
        ("a<br >b<P class='x'>c", "a\nb\nc"),
    ],
)  # fmt: skip
def test_what_a_line_end_is(text, normal):
    assert normalise_lines(text) == normal


# -- what cannot be cut -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "He came with a cough and was treated for pneumonia.",
        "Hospital Course: pneumonia.",
        "Addendum:\nHe is well.",
        "PLAN: home",
    ],
)
def test_a_summary_without_a_heading_of_admission_is_left_out_and_counted(text):
    documents = [document(text), document("HPI: cough"), document("", hour=1.0)]
    assert note_text(documents, "admission") == "History of present illness: cough"
    assert notes_left_out(documents, "admission") == 1
    assert notes_left_out(documents, 500.0) == 0


def test_what_is_left_out_of_the_view_of_the_paper_is_counted_too():
    documents = [document("HPI: cough"), document("Hospital Course: pneumonia.")]
    assert (note_text(documents, "paper"), notes_left_out(documents, "paper")) == (f"{COURSE}: pneumonia.", 1)


@pytest.mark.parametrize(
    "kind",
    ["Discharge summary", "DISCHARGE SUMMARY", "Physician Discharge Note", "discharge_summary", "D/C summary", "DS",
     "Death Summary", "Hospital Discharge Letter", "Transfer summary"],
)  # fmt: skip
@pytest.mark.parametrize("hour", [None, 3.0, 200.0])
def test_a_summary_is_cut_whatever_its_kind_is_called(kind, hour):
    text = f"HPI: cough\nHospital Course: {LATE}\n"
    assert note_text([document(text, kind, hour)], "admission") == "History of present illness: cough"


def test_a_document_of_no_known_time_is_cut_where_it_tells_of_the_discharge():
    cut, whole = document(f"HPI: cough\nDischarge dx: {LATE}", "Note", None), document("Plan: rest", "Nursing", None)
    early = document("Hospital course elsewhere: surgery", "Transfer form", 2.0)
    assert note_text([cut], "admission") == "History of present illness: cough"
    assert note_text([whole], "admission") == "Nursing: Plan: rest"
    assert note_text([early], "admission") == "Transfer form: Hospital course elsewhere: surgery"


def test_the_card_and_the_terminal_say_how_many_summaries_were_left_out(tmp_path, caplog):
    tables = base_tables()
    texts = {101: "HPI: cough\nHospital Course: sepsis", 102: "Treated for sepsis, all went well."}
    tables["NOTEEVENTS"] += [
        [admission, "Discharge summary", "Report", "2100-01-03 00:00:00", "", "", text]
        for admission, text in texts.items()
    ]
    folder = build(tmp_path, tables)
    notes = [row["note"] for row in rows(folder).values() if row["note"]]
    assert notes == ["History of present illness: cough"]
    counts = read_metadata(folder)["counts"].values()
    assert sum(count["notes_left_out"] for count in counts) == 1
    assert "1 discharge summaries left out of the note view admission" in caplog.text
    assert "| notes left out |" in (folder / "README.md").read_text(encoding="utf-8")


# -- cost -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unit",
    ["He came with a cough and fever; BP: 88/40. ", "a:", ". ", "- ", "HOSPITAL ", "Discharge ", "[", "___",
     "\n", "  ", "<", "(x",
     "\\n", "PLAN: x. "],
)  # fmt: skip
def test_a_long_line_costs_in_proportion_to_its_length(unit):
    def seconds(size):
        text = "HPI: " + unit * (size // len(unit))
        begin = time.process_time()
        split_sections.__wrapped__(text)
        return time.process_time() - begin

    seconds(1000)
    assert seconds(300_000) < 30 * min(seconds(30_000) for _ in range(3)) + 0.2


def test_a_note_of_a_megabyte_in_one_line_is_cut_in_seconds():
    text, _, _ = summary("one line", 1)
    body = "The pain had begun at 5:30 in the morning, and of course he did not sleep. " * 14_000
    begin = time.process_time()
    view = admission_view(text.replace("HISTORY OF PRESENT ILLNESS: ", f"HISTORY OF PRESENT ILLNESS: {body}"))
    assert time.process_time() - begin < 10
    assert len(view) > 1_000_000
    assert LATE not in view.lower()


def test_later_is_no_section_that_a_view_reads():
    assert LATER == ""
    assert [section for section, _, _ in split_sections("x")] == [LATER]
