# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Grounded text: only what the record supports is returned, and each listed diagnosis has a reason."""

import itertools
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.clinical_clinragen import CHANNELS, PAPER_CHANNELS
from modeling_clinragen.grounding_clinragen import Grounding, split_sentences
from modeling_clinragen.links_clinragen import argue
from modeling_clinragen.note_claims_clinragen import check_note_claims
from modeling_clinragen.realization_clinragen import NO_SIGN
from tests.modeling_clinragen.grounded import (
    HEART_FAILURE,
    ILL,
    KIDNEY,
    KNOWLEDGE,
    LABELS,
    NOTE,
    PNEUMONIA,
    SEPSIS,
    SHOCK,
    ground,
    record_of,
    term,
    written,
)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("note", "Productive cough and crackles point to Pneumonia."),
        ("note", "Pneumonia is supported by shaking chills in the note."),
        ("lab", "Heart Rate is up to 128, which fits Shock."),
        ("lab", "Heart Rate is higher than normal 4 times, which fits Septicemia."),
        ("lab", "Systolic blood pressure is lower than normal, and this suggests Shock."),
    ],
)
def test_a_supported_and_linked_sentence_is_kept_as_written(grounding, part, sentence):
    made = ground(grounding, [PNEUMONIA, SEPSIS, SHOCK], **{part: sentence})
    assert written(made) == [sentence]
    assert made.sentences[0 if part == "note" else -2].part in ("note", "lab")


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("note", "Leg swelling suggests Congestive heart failure."),  # denied
        ("note", "Night sweats suggest Pneumonia."),
        ("note", "Productive cough and hemoptysis raise the question of Pneumonia."),  # "Productive cough raise"
        ("note", "Productive cough suggests Congestive heart failure."),  # not linked
        ("note", "Crackles suggest Chronic kidney disease."),
        ("note", "Crackles suggest Acute myocardial infarction."),  # not listed
        ("note", "The note argues against Pneumonia."),
        ("note", "No pneumonia is likely with crackles."),
        ("note", "Lorem ipsum dolor."),
        ("note", "of of the the"),
        ("note", "### Crackles suggest Pneumonia."),
        ("lab", "Heart Rate is lower than normal, which fits Shock."),
        ("lab", "Temperature is higher than normal, which fits Septicemia."),  # not measured
        ("lab", "Heart Rate was 96 /min at the start, with a maximum of 128 °C at hour 2, which fits Shock."),
        ("lab", "Heart Rate was 96 at the start and 99 /min at the end, with a peak of 128 mmHg, which fits Shock."),
        ("lab", "Heart Rate is higher than normal, which fits Pneumonia."),  # not linked
        ("lab", "Systolic blood pressure is lower than normal, which fits Acute myocardial infarction."),
        ("lab", "Heart Rate is higher than normal and hemoptysis is present, which fit Shock."),
        ("lab", "This suggests Shock."),
        ("lab", "The measured series point to no listed disease."),
    ],
)
def test_an_unsupported_sentence_is_left_out(grounding, part, sentence):
    made = ground(grounding, [PNEUMONIA, SEPSIS, SHOCK, HEART_FAILURE, KIDNEY], **{part: sentence})
    assert written(made) == []
    assert sentence not in made.text


@pytest.mark.parametrize(
    ("sentence", "is_kept"),
    [
        ("Systolic blood pressure is up to 190, which fits Essential hypertension.", True),
        ("Essential hypertension is supported by Systolic blood pressure up to 190.", True),
        ("Systolic blood pressure is up to 190, which fits Heart Rate and Essential hypertension.", False),
    ],
)
def test_a_name_of_a_diagnosis_is_no_open_claim_but_a_channel_is(make_processor, sentence, is_kept):
    label = "Essential hypertension"
    high = term("high pressure", label, kind="vital-sign pattern", pattern=("Systolic blood pressure", "high"))
    processor = make_processor(knowledge=[*KNOWLEDGE, high])
    made = Grounding(processor).of(record_of(sbp=[190, 185, 180, 170, 175, 180], hr=[58, 66, 70, 72, 70, 71]))
    made.read(processor.target_text([LABELS.index(label)], "", sentence))
    assert (sentence in written(made)) == is_kept
    assert "unexplained" not in made.text


@pytest.mark.parametrize(
    ("pressures", "sentence"),
    [
        ([118, 98, 118, 97, 118, 118], "Systolic blood pressure is lower than normal 2 times, which fits Shock."),
        ([135, 118, 98, 140, 118, 118], "Shock is suggested by systolic blood pressure as low as 98 mmHg."),
        ([118, 117, 116, 115, 114, 113], "Systolic blood pressure fell from 118 to 113 mmHg, which suggests Shock."),
    ],
)
def test_a_value_that_only_some_call_abnormal_is_no_reason(grounding, pressures, sentence):
    made = ground(grounding, [SHOCK], lab=sentence, record=record_of(sbp=pressures))
    assert written(made) == []
    assert "Systolic blood pressure" not in made.text


@pytest.mark.parametrize(
    ("note", "mentioned"),
    [("Pneumonia two years ago. Crackles.", False), ("Pneumonia of the left lower lobe. Crackles.", True)],
)
def test_without_a_listed_diagnosis_an_acute_disease_of_the_past_is_not_mentioned(grounding, note, mentioned):
    made = ground(grounding, [], record=record_of(note))
    assert "rackles" in made.text
    assert ("neumonia" in made.text) == mentioned
    (sentence,) = written(made, "composed")[:1]
    claims = argue(check_note_claims(sentence, note), sentence, grounding.links, note)
    assert not [claim for claim in claims if claim.argument == "unlinked"]


@pytest.mark.parametrize(
    ("note", "sentence", "kept"),
    [
        ("Pneumonia two years ago. Crackles.", "The note documents pneumonia.", False),
        ("Pneumonia of the left lower lobe.", "The note documents pneumonia.", True),
    ],
)
def test_an_event_of_the_past_is_no_reason_for_an_acute_disease(grounding, note, sentence, kept):
    made = ground(grounding, [PNEUMONIA], sentence, record=record_of(note))
    assert (sentence in written(made)) == kept


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("Shaking chills and hemoptysis suggest Pneumonia.", "Shaking chills suggest Pneumonia."),  # one is not there
        ("Hemoptysis and crackles suggest Pneumonia.", "Crackles suggest Pneumonia."),
        ("A hemoptysis and productive cough also point to Pneumonia.", "Productive cough also points to Pneumonia."),
        (
            "Productive cough, crackles and productive cough suggest Pneumonia.",  # one of them twice
            "Productive cough and crackles suggest Pneumonia.",
        ),
        (
            "Shaking chills, shaking chills and shaking chills suggest Septicemia.",
            "Shaking chills suggest Septicemia.",
        ),
        (
            'The note reports crackles, "leg swelling" and night sweats, which are in keeping with Pneumonia.',
            "The note reports crackles, which are in keeping with Pneumonia.",
        ),
        (
            "Pneumonia is supported by hemoptysis, productive cough and sevelamer in the note.",
            "Pneumonia is supported by productive cough in the note.",
        ),
        ("Given sevelamer and crackles, Pneumonia is likely.", "Given crackles, Pneumonia is likely."),
        ("Hemoptysis and the use of crackles fits Pneumonia.", "The use of crackles fits Pneumonia."),
    ],
)
def test_findings_that_are_not_in_the_note_are_left_out_of_an_enumeration(grounding, wrong, right):
    made = ground(grounding, [PNEUMONIA, SEPSIS], note=wrong)
    assert written(made, "repaired") == [right]
    assert written(made, "written") == []


def test_a_finding_that_the_note_is_said_to_mention_must_be_in_it(grounding):
    record = record_of("PNA. Productive cough.")
    kept = "The note mentions PNA, which is supported by productive cough."
    assert written(ground(grounding, [PNEUMONIA], note=kept, record=record), "written") == [kept]
    longer = "The note mentions PNA, which is supported by crackles and hemoptysis."
    assert written(ground(grounding, [PNEUMONIA], note=longer, record=record)) == ["The note mentions PNA."]
    assert written(ground(grounding, [PNEUMONIA], note=kept)) == []  # the note does not
    circular = "The note mentions PNA of the left lung, which is supported by PNA and productive cough."
    record = record_of("PNA of the left lung. Productive cough.")
    said = "The note mentions PNA of the left lung, which is supported by productive cough."
    assert written(ground(grounding, [PNEUMONIA], note=circular, record=record)) == [said]


def test_a_finding_repeated_for_the_same_diagnosis_is_left_out_of_the_next_enumeration(grounding):
    made = ground(
        grounding, [PNEUMONIA], note="Crackles point to Pneumonia. Crackles and shaking chills fit Pneumonia."
    )
    assert written(made) == ["Crackles point to Pneumonia.", "Shaking chills fit Pneumonia."]


def test_findings_joined_by_a_preposition_are_left_out_together(grounding):
    said = "Crackles and hemoptysis with productive cough suggest Pneumonia."
    assert written(ground(grounding, [PNEUMONIA], note=said)) == ["Crackles suggest Pneumonia."]


@pytest.mark.parametrize("part", ["note", "lab"])
def test_the_decoders_own_sentence_on_no_sign_stays_if_there_is_none(grounding, part):
    own = NO_SIGN[part][0]
    nothing = record_of("Well.", hr=80)
    assert written(ground(grounding, [], record=nothing, **{part: own}), "written") == [own]
    found = ground(grounding, [SHOCK, PNEUMONIA], **{part: own})
    assert own not in found.text


def test_findings_are_stated_if_no_diagnosis_is_listed(grounding):
    record = record_of("Productive cough and crackles. Known pneumonia.", hr=131)
    found = ground(grounding, [], record=record, note=NO_SIGN["note"][0], lab=NO_SIGN["lab"][0])
    by_part = {sentence.part: sentence for sentence in found.sentences}
    assert by_part["note"].text.startswith("The note mentions pneumonia and ")
    assert by_part["lab"].text.startswith("Heart rate ")
    assert "131 /min" in by_part["lab"].text
    assert {sentence.origin for sentence in by_part.values()} == {"composed"}
    assert {claim.verdict for claims in found.claims.values() for claim in claims} == {"supported"}
    quiet = ground(grounding, [], record=record_of("Well.", hr=80))
    assert {sentence.text for sentence in quiet.sentences} <= {*NO_SIGN["note"], *NO_SIGN["lab"]}


def test_slots_are_filled_and_a_sentence_whose_slots_are_not_is_left_out(grounding):
    lab = (
        "Heart Rate was higher than normal [times above], up to [highest] /min at hour [hour of highest], which fits"
        " Shock. Temperature is up to [highest] °C, which fits Septicemia. Systolic blood pressure fell from [first]"
        " to [ lowest ] and was [last] at the end, which fits Shock."
    )
    made = ground(grounding, [SHOCK, SEPSIS], lab=lab)
    assert written(made, "written") == [
        "Heart Rate was higher than normal 4 times, up to 128 /min at hour 2, which fits Shock.",
        "Systolic blood pressure fell from 118 to 82 and was 104 at the end, which fits Shock.",
    ]
    assert "[" not in made.text
    assert all(claim.verdict == "supported" for claim in made.claims["lab"])


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("Heart Rate is up to 131, which fits Shock.", "Heart Rate is up to 128, which fits Shock."),
        (
            "Heart Rate is higher than normal 14 times, which fits Shock.",
            "Heart Rate is higher than normal 4 times, which fits Shock.",
        ),
        (
            "Systolic blood pressure is lower than normal 1 time, which fits Shock.",
            "Systolic blood pressure is lower than normal 3 times, which fits Shock.",
        ),
        (
            "Systolic blood pressure fell to 72 and recovered to 104, which fits Shock.",  # nor did it fall to 118
            "Systolic blood pressure fell to 82 and recovered to 104, which fits Shock.",
        ),
        (
            "Systolic blood pressure is as low as 60 mmHg and Heart Rate is up to 140, which fit Shock.",
            "Systolic blood pressure is as low as 82 mmHg and Heart Rate is up to 128, which fit Shock.",
        ),
    ],
)
def test_a_wrong_number_is_corrected_if_nothing_else_is_wrong(grounding, wrong, right):
    made = ground(grounding, [SHOCK], lab=wrong)
    assert written(made, "repaired") == [right]
    assert written(made, "written") == []


@pytest.mark.parametrize(
    "sentence",
    [
        "Heart Rate is up to 131 and Temperature is up to 39.0, which fit Septicemia.",  # one of them was not measured
        "Heart Rate is lower than normal 3 times, which fits Shock.",  # it never was
        "Heart Rate is 131, which fits Shock.",  # may be any of six values
        "Heart Rate is higher than normal 1 times, up to 17 times, which fits Shock.",  # it would be the same twice
    ],
)
def test_a_sentence_that_a_number_cannot_correct_is_left_out(grounding, sentence):
    assert written(ground(grounding, [SHOCK, SEPSIS], lab=sentence)) == []


def test_a_number_is_written_with_the_digits_of_its_channel(grounding):
    record = record_of(temp=[37.0, 38.6, 39.24, 38.9, 38.5, 38.4])
    made = ground(grounding, [SEPSIS], lab="Temperature is up to 40, which fits Septicemia.", record=record)
    assert written(made, "repaired") == ["Temperature is up to 39.2, which fits Septicemia."]


def test_a_finding_is_stated_once_for_a_diagnosis(grounding):
    said = "Crackles point to Pneumonia."
    made = ground(
        grounding, [PNEUMONIA, HEART_FAILURE], f"{said} {said} Crackles, again, fit Pneumonia. Crackles fit CHF."
    )
    assert written(made) == [said]
    again = ground(
        grounding, [SHOCK], lab="Heart Rate is up to 128, which fits Shock. Heart Rate is high: this is Shock."
    )
    assert written(again) == ["Heart Rate is up to 128, which fits Shock."]


def test_each_listed_diagnosis_is_argued_for_or_stated_to_be_unexplained(grounding):
    made = ground(grounding, [PNEUMONIA, KIDNEY, SHOCK])
    assert [(s.part, s.origin) for s in made.sentences] == [
        ("note", "composed"),
        ("lab", "composed"),
        ("lab", "composed"),
    ]
    note, lab, last = (sentence.text for sentence in made.sentences)
    assert "pneumonia" in note.lower()
    assert "shock" in lab.lower()
    assert "unexplained" in last
    assert "chronic kidney disease" in last.lower()
    assert "pneumonia" not in last.lower()
    note_only = record_of("Sevelamer at home.")
    assert "unexplained" not in ground(grounding, [KIDNEY], record=note_only).text


def test_a_diagnosis_that_the_note_names_is_stated_though_it_supports_another_one(make_processor):
    chain = make_processor(knowledge=[*KNOWLEDGE, term("pneumonia", SEPSIS, synonyms=["PNA"], kind="mechanism")])
    made = ground(Grounding(chain), [PNEUMONIA, SEPSIS], "Pneumonia points to septicemia.", record=record_of("PNA."))
    first, second = (sentence.text.lower() for sentence in made.sentences if sentence.part == "note")
    assert first == "pneumonia points to septicemia."
    assert "pneumonia" in second or "pna" in second
    assert "unexplained" not in made.text


def test_the_unfinished_end_is_left_out_and_the_rest_completed(grounding):
    lab = "Heart Rate is up to 128, which fits Shock. Systolic blood pressure is lower"
    made = ground(grounding, [SHOCK], "Crackles are heard.", lab, finished=False)
    assert written(made) == ["Crackles are heard.", "Heart Rate is up to 128, which fits Shock."]
    whole = ground(grounding, [SHOCK], "Crackles are heard.", lab)
    assert written(whole)[-1] == "Systolic blood pressure is lower."  # it ended, without a full stop
    cut = grounding.of(ILL)
    cut.read("### Disease Diagnosed: Shock. ### Rationale: Crackles are heard. Productive co", finished=False)
    assert written(cut) == ["Crackles are heard."]
    assert cut.listed == [SHOCK]
    assert "shock" in cut.rationale("lab").lower()


@pytest.mark.parametrize("reads", [["note"], ["lab"]])
def test_a_model_that_reads_one_part_writes_nothing_about_the_other(make_processor, reads):
    grounding = Grounding(make_processor(modalities=reads))
    made = ground(grounding, [PNEUMONIA, SHOCK, KIDNEY], "Crackles fit Pneumonia.", "Heart Rate is up to 128: Shock.")
    assert {sentence.part for sentence in made.sentences} == set(reads)
    missing = {PNEUMONIA, SHOCK, KIDNEY} - {PNEUMONIA if reads == ["note"] else SHOCK}
    assert "unexplained" in made.sentences[-1].text
    assert all(name.split(" (")[0].lower() in made.sentences[-1].text.lower() for name in missing)


def test_an_old_folder_without_knowledge_leaves_out_what_is_wrong_and_no_argument(make_processor):
    grounding = Grounding(make_processor(knowledge=None, channels=PAPER_CHANNELS))
    note = (
        "Productive cough suggests Congestive heart failure. Night sweats suggest Pneumonia. Leg swelling fits Shock."
    )
    made = ground(grounding, [HEART_FAILURE, PNEUMONIA, SHOCK], note)
    assert written(made) == ["Productive cough suggests Congestive heart failure."]
    assert "congestive heart failure" not in made.sentences[-1].text.lower()
    assert "unexplained" in made.sentences[-1].text


def test_the_text_is_in_the_processors_format_in_either_order(grounding):
    processor = grounding.processor
    ids = [LABELS.index(name) for name in (PNEUMONIA, SHOCK)]
    for first in (False, True):
        made = grounding.of(ILL)
        made.read(processor.target_text(ids, "Crackles fit Pneumonia. Nonsense.", "", rationale_first=first))
        parsed = processor.parse(made.text)
        assert parsed["diagnoses"] == [PNEUMONIA, SHOCK]
        assert parsed["note_rationale"] == "Crackles fit Pneumonia."
        assert parsed["lab_rationale"] == made.rationale("lab")
        assert made.text.startswith("### Rationale:" if first else "### Disease Diagnosed:")
    cut = grounding.of(ILL)
    cut.read("### Rationale: Crackles are heard. ### Lab Test: Heart Rate is up to 128. ### Disease", finished=False)
    assert processor.parse(cut.text)["diagnoses"] == []
    assert "Diagnosed" not in cut.text


def test_wording_depends_on_the_record_alone(grounding):
    texts = {ground(grounding, [PNEUMONIA, SHOCK]).text for _ in range(3)}
    assert len(texts) == 1
    others = {ground(grounding, [PNEUMONIA], record=record_of(f"{NOTE} Aged {age}.")).text for age in range(30, 50)}
    assert len(others) > 3


@pytest.mark.parametrize("record", range(4))
def test_the_teachers_composed_text_is_kept_unchanged(grounding, record):
    record, diagnoses = RECORDS[record], [PNEUMONIA, SEPSIS, SHOCK, HEART_FAILURE, KIDNEY]
    lost = []
    for seed in range(40):
        series = record["lab_times"], record["lab_values"]
        parts = grounding.composer.rationale(record["note"], *series, diagnoses, random.Random(seed))
        composed = [sentence.text for part in parts for sentence in part if sentence.diseases]
        made = ground(grounding, diagnoses, *(" ".join(s.text for s in part) for part in parts), record)
        lost += [text for text in composed if text not in written(made) and "unexplained" not in text]
    assert not lost


def test_a_text_in_lower_case_with_signs_apart_is_read_as_well(grounding):
    made = grounding.of(ILL)
    text = (
        "disease diagnosed : shock . # # # rationale : crackles are heard . # # # lab test : heart rate is up to 128"
    )
    made.read(f"# # # {text} , which fits shock . heart rate was 7 .")
    assert made.listed == [SHOCK]
    assert written(made) == ["crackles are heard .", "heart rate is up to 128 , which fits shock ."]


@pytest.mark.parametrize("end", ["", ".", "..", "...", ".!"])
def test_a_sentence_ends_with_one_mark(grounding, end):
    made = ground(grounding, [PNEUMONIA], f"Pneumonia is supported by crackles{end}")
    assert written(made) == ["Pneumonia is supported by crackles."]


@pytest.mark.parametrize("point", [". ", " . "])
def test_a_tokenizer_that_splits_numbers_changes_none(grounding, point):
    """As BERT's: 39.2 is three tokens, and comes back as 39. 2"""
    record = record_of(temp=[37.0, 38.6, 39.2, 38.9, 38.5, 38.4], hr=[96, 104, 128, 118, 110, 99])
    made = grounding.of(record)
    lab = f"temperature peaked at 39{point}2 °c at hour 2, and heart rate at 128 / min, which fits septicemia."
    text = f"# # # disease diagnosed : septicemia ( except in labor ). # # # rationale : . # # # lab test : {lab}"
    made.read(text)
    assert made.listed == [SEPSIS]
    right = "temperature peaked at 39.2 °c at hour 2, and heart rate at 128 /min, which fits septicemia."
    assert [(s.text, s.origin) for s in made.sentences if s.part == "lab"] == [(right, "written")]
    growing = grounding.of(record)
    for end in range(len(text)):
        growing.read(text[:end], ended=False)
        assert made.text.startswith(growing.text)


# --- whatever the decoder writes

RECORDS = [
    ILL,
    record_of(
        "Fever. Sevelamer at home. No cough. Mother with heart failure.", temp=[38.9, 39.4, 39.1, 38.7, 38.5, 38.8]
    ),
    record_of("", hr=[70, 72, 75, 71, 70, 74]),
    record_of("Crackles. History of PNA. Leg swelling."),
    record_of("Nothing of note."),
]
FINDINGS = ["crackles", "productive cough", "leg swelling", "sevelamer", "night sweats", "fever", "PNA", "no cough"]
CHANNEL_CLAIMS = [
    "Heart Rate is higher than normal {n} times", "Heart Rate is up to {n}", "Heart Rate was lower than normal",
    "Systolic blood pressure is as low as {n} mmHg", "Temperature is higher than normal", "pH is not measured",
    "Temperature peaked at {n}", "Heart Rate rose from {n} to {n}", "fever", "the patient was hypotensive",
]  # fmt: skip
names = st.sampled_from([label.split(";")[0].split(" (")[0] for label in LABELS])
note_sentences = st.builds(
    "{} {} {}.".format, st.sampled_from(FINDINGS), st.sampled_from(["suggests", "argues against", "and"]), names
)
lab_sentences = st.builds(
    lambda claim, n, verb, name: f"{claim.format(n=n)}, which {verb} {name}.",
    st.sampled_from(CHANNEL_CLAIMS),
    st.integers(0, 200),
    st.sampled_from(["fits", "does not fit"]),
    names,
)
garbage = st.text(alphabet="abc. #;:?!\n,5µ", max_size=30) | st.sampled_from(
    ["### Lab Test:", "### Rationale:", "### Disease Diagnosed: Shock.", "It remains unexplained.", "This fits Shock."]
)


@given(
    st.sampled_from(RECORDS),
    st.sets(st.sampled_from([PNEUMONIA, SEPSIS, SHOCK, HEART_FAILURE, KIDNEY, LABELS[0]]), max_size=4),
    st.lists(note_sentences | lab_sentences | garbage, max_size=6),
    st.lists(note_sentences | lab_sentences | garbage, max_size=6),
    st.booleans(),
)
@settings(max_examples=150)
def test_no_unsupported_text_is_returned_for_any_decoder_text(grounding, record, diagnoses, note, lab, finished):
    made = ground(grounding, diagnoses, " ".join(note), " ".join(lab), record, finished=finished)
    parsed, links = grounding.processor.parse(made.text), grounding.links
    assert set(parsed["diagnoses"]) >= diagnoses
    assert parsed["note_rationale"] == made.rationale("note")
    assert parsed["lab_rationale"] == made.rationale("lab")
    shown = check_claims(parsed["lab_rationale"], CHANNELS, record["lab_times"], record["lab_values"])
    found = check_note_claims(parsed["note_rationale"], record["note"])
    assert not [claim for claim in (*shown, *found) if claim.verdict in ("contradicted", "absent")]
    sentences = [re.sub(r"\W+", " ", sentence.text.lower()) for sentence in made.sentences]
    assert len(set(sentences)) == len(sentences)
    explained = set()
    for sentence in made.sentences:
        claims = shown if sentence.part == "lab" else found
        begin = parsed[f"{sentence.part}_rationale"].index(sentence.text)
        within = [c for c in claims if begin <= c.start < begin + len(sentence.text) and c.verdict == "supported"]
        linked = [
            links.diseases_of(c.text) if c.channel is None else links.diseases_of_series(c.channel, c.direction)
            for c in within
        ]
        for mention in links.find_diagnoses(sentence.text):
            names = mention.labels & set(parsed["diagnoses"])
            if mention.says == "argues" and mention.inferred:
                assert within
                assert all(name in diseases for name in names for diseases in linked)
            if mention.says == "argues" and within:
                explained |= {name for name in names if any(name in diseases for diseases in linked)}
    for name in parsed["diagnoses"]:
        short = name.split(";")[0].split(" (")[0].lower()
        assert name in explained or any("unexplained" in s and short in s for s in map(str.lower, sentences))


@given(
    st.sampled_from(RECORDS),
    st.lists(note_sentences | garbage, max_size=4),
    st.lists(lab_sentences | garbage, max_size=4),
    st.lists(st.integers(1, 12), min_size=1, max_size=20),
)
@settings(max_examples=100)
def test_incremental_reading_gives_the_same_text(grounding, record, note, lab, steps):
    text = grounding.processor.target_text([LABELS.index(SHOCK)], " ".join(note), " ".join(lab))
    whole, growing, shown, end = grounding.of(record), grounding.of(record), "", 0
    whole.read(text)
    for step in itertools.cycle(steps):
        end += step
        if end >= len(text):
            break
        growing.read(text[:end], ended=False)
        assert growing.text.startswith(shown)
        shown = growing.text
    growing.read(text)
    assert growing.text == whole.text
    assert growing.text.startswith(shown)


def test_sentences_end_at_their_marks_and_numbers_stay_whole():
    assert split_sentences("pH was 7.35. Why? See below!  Last one") == [
        "pH was 7.35.",
        "Why?",
        "See below!",
        "Last one",
    ]
    assert split_sentences(" ") == []


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("note", "Productive cough for five days suggests Pneumonia."),  # the note says two
        ("note", "Productive cough for 14 days suggests Pneumonia."),
        ("note", "Productive cough for two weeks suggests Pneumonia."),
        ("note", "Crackles at the right base suggest Pneumonia."),  # at the left one
        ("note", "Bilateral crackles suggest Pneumonia."),
        ("note", "Given crackles are likely and Pneumonia remains unexplained."),
        ("note", "Crackles and nothing in the note points to a listed disease."),
        ("note", "The note documents crackles."),
        ("note", "Crackles on admission suggest Pneumonia."),
        ("note", "A history of productive cough suggests Pneumonia."),
        ("note", "The patient now has crackles, which suggests Pneumonia."),
        ("note", "Crackles due to an abscess suggest Pneumonia."),
        ("note", "The note reports crackles, which are backed by the left base."),
        ("lab", "Heart Rate is high on norepinephrine, which fits Shock."),
        ("lab", "Heart Rate is high with lactate 8, which fits Shock."),
        ("lab", "Heart Rate is high and urine output is low, which fits Shock."),
        ("lab", "Heart Rate is high on sevelamer, which fits Shock."),
        ("lab", "A peak heart rate of 128 /min and the measured series show no clear sign of a listed disease."),
        ("lab", "Heart Rate is up to 128 and Chronic kidney disease remains unexplained."),
        ("lab", "Heart Rate up to 128 /min."),  # no sentence, and no reason
        ("lab", "Heart Rate is up to 128 /min and congestive heart failure."),
        ("lab", "Systolic blood pressure down to 82 mmHg and Heart Rate up to 128 /min."),
    ],
)
def test_a_sentence_that_adds_to_the_record_or_gives_no_reason_is_left_out(grounding, part, sentence):
    made = ground(grounding, [PNEUMONIA, SEPSIS, SHOCK, HEART_FAILURE, KIDNEY], **{part: sentence})
    assert written(made) == []


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("note", "Productive cough for two days suggests Pneumonia."),
        ("note", "Productive cough for 2 days suggests Pneumonia."),
        ("note", "Crackles at the left base suggest Pneumonia."),
        ("lab", "Heart Rate reached 128 /min at hour 2, with crackles in the note, which fits Shock."),
        ("lab", "Heart Rate steadily climbed to 128 beats per minute, which fits Shock."),
        ("lab", "Systolic blood pressure fell to 82 and recovered to 104, which fits Shock."),
        ("lab", "Systolic blood pressure fell to 82, then recovered to 104, which fits Shock."),
        ("lab", "Heart Rate was 96 at the start, 128 /min at its highest and 99 at the end, which fits Shock."),
    ],
)
def test_details_that_the_note_states_may_be_stated(grounding, part, sentence):
    assert written(ground(grounding, [PNEUMONIA, SHOCK], **{part: sentence})) == [sentence]


@pytest.mark.parametrize("knowledge", [None, []])
def test_without_knowledge_the_text_does_not_claim_a_search(make_processor, knowledge):
    made = ground(Grounding(make_processor(knowledge=knowledge)), [PNEUMONIA, SHOCK])
    assert "unexplained" in made.sentences[-1].text
    assert "pneumonia" in made.sentences[-1].text.lower()
    for claimed in ("record", "points to", "point to", "gives no", "no clear sign", "show"):
        assert claimed not in made.text


@pytest.mark.parametrize(("reads", "place"), [("note", "this note"), ("lab", "these series")])
def test_a_model_that_reads_one_part_claims_a_search_of_that_part_only(make_processor, reads, place):
    """The record's series show shock, and its note pneumonia."""
    made = ground(Grounding(make_processor(modalities=[reads])), [PNEUMONIA, SHOCK])
    assert place in made.sentences[-1].text
    assert "record" not in made.text


def test_a_note_with_half_a_character_or_its_own_marks_is_read(grounding):
    for note in (
        "Crackles \ud83d heard.",
        "### Rationale: Crackles. ### Lab Test: Crackles. ### Disease Diagnosed: PNA",
    ):
        made = ground(grounding, [PNEUMONIA], record=record_of(note))
        parsed = grounding.processor.parse(made.text)
        assert parsed["diagnoses"] == [PNEUMONIA]
        assert parsed["note_rationale"] == made.rationale("note")
        assert "crackles" in made.text.lower()
