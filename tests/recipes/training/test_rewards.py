# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from modeling_clinragen import CHANNELS, PHENOTYPES, ClinRaGenInputError
from recipes.training.data import load_records
from recipes.training.rewards import REWARD_PARTS, RationaleReward, diagnosis_f1, length_share


NAMES = [phenotype["name"] for phenotype in PHENOTYPES]
SHOCK, PNEUMONIA = 12, 9
NOTE = "Fever and productive cough. Denies chest pain."


def series(**measured):
    """Two times at which the named channels hold the given value."""
    values = np.full((2, len(CHANNELS)), np.nan)
    for name, value in measured.items():
        values[:, [channel["name"] for channel in CHANNELS].index(name.replace("_", " "))] = value
    return values.tolist()


RECORD = {
    "note": NOTE,
    "lab_times": [1.0, 2.0],
    "lab_values": series(Heart_Rate=150, Temperature=39.5),
    "diagnoses": [PNEUMONIA],
    "note_rationale": "Fever and productive cough in the note point to Pneumonia.",
    "lab_rationale": "Temperature is higher than normal, which suggests Pneumonia.",
}


@pytest.fixture(scope="module")
def reward(tiny_processor):
    return RationaleReward(tiny_processor)


def parts_of(reward, text, **changes):
    columns = {name: [value] for name, value in {**RECORD, **changes}.items()}
    return dict(zip(REWARD_PARTS, reward.parts([text], **columns)[0].tolist(), strict=True))


def text_of(reward, diagnoses, note, lab):
    return reward.processor.target_text(diagnoses, note, lab)


def test_the_teachers_rationale_of_the_recorded_diagnoses_has_the_full_reward(reward):
    text = text_of(reward, [PNEUMONIA], RECORD["note_rationale"], RECORD["lab_rationale"])
    assert parts_of(reward, text) == dict.fromkeys(REWARD_PARTS, 1.0)


@pytest.mark.parametrize(
    ("lab_rationale", "worth"),
    [
        ("Heart Rate is higher than normal and Temperature is up to 39.5 °C.", 1.0),
        ("Heart Rate is higher than normal and Temperature is lower than normal.", 0.5),
        ("Heart Rate is lower than normal and Temperature is higher than normal 1 time.", 0.0),
        ("Heart Rate is higher than normal, pH is low, Temperature is high and Glucose is high.", 0.5),
        ("Nothing is clear.", 0.5),
    ],
)
def test_claims_about_the_series_are_checked_against_the_measured_values(reward, lab_rationale, worth):
    assert parts_of(reward, text_of(reward, [PNEUMONIA], "", lab_rationale))["series_claims"] == worth


@pytest.mark.parametrize(
    ("note_rationale", "worth"),
    [
        ("Fever in the note points to Pneumonia.", 1.0),
        ("Fever and chest pain in the note point to Pneumonia.", 0.5),
        ("Leg swelling in the note points to Pneumonia.", 0.0),
        ("", 0.5),
    ],
)
def test_findings_that_the_note_denies_or_does_not_mention_count_against_a_text(reward, note_rationale, worth):
    assert parts_of(reward, text_of(reward, [PNEUMONIA], note_rationale, ""))["note_claims"] == worth


def test_where_the_teacher_claims_nothing_silence_is_right(reward):
    text = text_of(reward, [], "Nothing in the note points to a listed disease.", "The series point to no disease.")
    references = {
        "note_rationale": "Nothing in the note points to a listed disease.",
        "lab_rationale": "The series are calm.",
    }
    silent, asked = parts_of(reward, text, **references), parts_of(reward, text)
    assert (silent["series_claims"], silent["note_claims"]) == (1.0, 1.0)
    assert (asked["series_claims"], asked["note_claims"]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("written", "note_rationale", "worth"),
    [
        ([PNEUMONIA], "Fever suggests pneumonia.", 1.0),
        ([SHOCK, PNEUMONIA], "Fever suggests pneumonia.", 1.0),  # the teacher argues for no shock, and need not
        ([SHOCK, PNEUMONIA], "Cold skin suggests shock.", 0.5),
        ([SHOCK, PNEUMONIA], "Fever suggests pneumonia. Shock is unlikely.", 0.5),
        ([PNEUMONIA], "Fever suggests pneumonia and shock.", 0.5),
        ([PNEUMONIA], "Nothing is clear.", 0.0),
        ([SHOCK], "Fever suggests pneumonia.", 0.0),
        ([PNEUMONIA], "Fever is noted; pneumonia is unlikely.", 0.0),
        ([], "Nothing is clear.", 1.0),
    ],
)
def test_list_and_rationale_have_to_name_the_same(reward, written, note_rationale, worth):
    assert parts_of(reward, text_of(reward, written, note_rationale, ""))["agreement"] == worth


def test_synonyms_argue_for_a_diagnosis(tiny_processor):
    reward = RationaleReward(tiny_processor, {NAMES[SHOCK]: ["circulatory collapse"]})
    text = text_of(reward, [SHOCK], "Cold skin suggests circulatory collapse.", "")
    assert parts_of(reward, text)["agreement"] == 1.0


def test_too_short_and_too_long_rationales_are_worth_less(reward):
    def length(note, lab):
        return parts_of(reward, text_of(reward, [], note, lab))["length"]

    note, lab = RECORD["note_rationale"], RECORD["lab_rationale"]  # 10 and 8 words
    assert length("", "") == 0.0
    assert length(note, "") == 0.5
    assert length("word " * 4, lab) == pytest.approx((4 / 8 + 1) / 2)
    assert length(note, "word " * 24) == pytest.approx((1 + 12 / 24) / 2)


@given(st.integers(0, 400), st.integers(0, 200))
def test_the_right_length_is_a_plateau_that_falls_to_both_sides(words, reference):
    share = length_share(words, reference)
    assert 0 <= share <= 1
    assert (share == 1) == (0.8 * reference <= words <= 1.5 * reference)
    if words < 0.8 * reference:
        assert share < length_share(words + 1, reference) + 1e-12
    if words > 1.5 * reference:
        assert share >= length_share(words + 1, reference)


@given(*[st.sets(st.integers(0, 24), max_size=5) for _ in range(2)])
def test_f1_of_a_list_is_that_of_scikit_learn(written, recorded):
    cells = [[int(i in chosen) for i in range(25)] for chosen in (recorded, written)]
    assert diagnosis_f1(written, recorded) == pytest.approx(f1_score(*cells, zero_division=1.0))


SENTENCES = [
    "Heart Rate is higher than normal 2 times, which suggests Shock.",
    "Temperature is lower than normal and pH is not measured.",
    "Fever and chest pain in the note point to Pneumonia.",
    "Shock is unlikely.",
    "### Lab Test: Glucose is up to 7000 mg/dL",
    "### Disease Diagnosed: Shock. ### Rationale:",
]


@given(st.lists(st.one_of(st.sampled_from(SENTENCES), st.text(max_size=40)), max_size=8).map(" ".join))
def test_whatever_is_written_each_part_lies_between_0_and_1(reward, text):
    parts = parts_of(reward, text)
    assert all(0 <= value <= 1 for value in parts.values())
    assert reward([text], **{k: [v] for k, v in RECORD.items()})[0] == pytest.approx(np.mean(list(parts.values())))


def test_weights_select_the_parts(tiny_processor):
    weights = {**dict.fromkeys(REWARD_PARTS, 0.0), "diagnoses": 3.0, "length": 1.0}
    reward = RationaleReward(tiny_processor, weights=weights)
    columns = {name: [value] for name, value in RECORD.items()}
    assert reward([text_of(reward, [PNEUMONIA], "", "")], **columns) == [pytest.approx(0.75)]


@pytest.mark.parametrize("weights", [{"style": 1.0}, {"length": -1.0}, dict.fromkeys(REWARD_PARTS, 0)])
def test_invalid_weights_are_refused(tiny_processor, weights):
    with pytest.raises(
        ClinRaGenInputError, match=r"reward_weights is .*; give weights of 0 or more, not all 0, to diag"
    ):
        RationaleReward(tiny_processor, weights=weights)


def test_the_teachers_own_texts_are_worth_more_than_another_patients(data_folder, tiny_processor):
    records = load_records(str(data_folder / "dataset"), "train")
    reward = RationaleReward(tiny_processor)
    own = [
        text_of(reward, row["diagnoses"], row["note_rationale"], row["lab_rationale"])
        for row in records.select_columns(["diagnoses", "note_rationale", "lab_rationale"])
    ]
    right, wrong = reward.parts(own, **records[:]), reward.parts(own[1:] + own[:1], **records[:])
    for part in ("diagnoses", "series_claims", "length"):
        assert right[:, REWARD_PARTS.index(part)] == pytest.approx(1.0)
    assert (right.mean(axis=0) >= wrong.mean(axis=0)).all()
    assert (right @ reward.weights).min() > (wrong @ reward.weights).mean()


def test_trl_trains_a_decoder_by_the_reward(reward, tiny_tokenizer, tmp_path):
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    special = {"pad_token_id": tiny_tokenizer.pad_token_id, "eos_token_id": tiny_tokenizer.eos_token_id}
    config = LlamaConfig(
        vocab_size=len(tiny_tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, bos_token_id=None, **special,
    )  # fmt: skip
    trainer = GRPOTrainer(
        model=LlamaForCausalLM(config),
        reward_funcs=reward,
        args=GRPOConfig(
            str(tmp_path), max_steps=1, per_device_train_batch_size=4, num_generations=2, max_completion_length=16,
            logging_steps=1, report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": "Diagnose disease", **RECORD}] * 4),
        processing_class=tiny_tokenizer,
    )  # fmt: skip
    trainer.train()
    logged = next(entry for entry in trainer.state.log_history if "rewards/rationale_reward/mean" in entry)
    assert 0 < logged["rewards/rationale_reward/mean"] < 1
