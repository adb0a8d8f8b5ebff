# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from datasets_scripts.common.checkpoints import MINILM, resolve_checkpoint
from modeling_clinragen import PHENOTYPES, ClinRaGenFeatureExtractor, ClinRaGenInputError, ClinRaGenProcessor
from modeling_clinragen.clinical_clinragen import CHANNELS, NO_DISEASE
from modeling_clinragen.processing_clinragen import TARGET
from recipes.models.backbone import train_tokenizer


LABELS = [phenotype["name"] for phenotype in PHENOTYPES]


@pytest.fixture(scope="module")
def wordpiece_processor():
    tokenizer = AutoTokenizer.from_pretrained(resolve_checkpoint(MINILM))
    return ClinRaGenProcessor(ClinRaGenFeatureExtractor(context_length=8), tokenizer)


@given(
    st.sets(st.integers(0, 24)),
    st.sampled_from(["", "Fever fits it."]),
    st.sampled_from(["", "pH is low 2 times."]),
    st.booleans(),
)
@settings(max_examples=100)
def test_target_text_is_parsed_back(tiny_processor, diagnoses, note_rationale, lab_rationale, rationale_first):
    text = tiny_processor.target_text(diagnoses, note_rationale, lab_rationale, rationale_first)
    assert (text.index("Rationale:") < text.index("Disease Diagnosed:")) == rationale_first
    parsed = tiny_processor.parse(text)
    assert parsed["diagnoses"] == [LABELS[i] for i in sorted(diagnoses)]
    assert parsed["note_rationale"] == note_rationale
    assert parsed["lab_rationale"] == lab_rationale
    assert parsed["rationale"] == f"{note_rationale} {lab_rationale}".strip()


@pytest.mark.parametrize("processor_name", ["tiny_processor", "wordpiece_processor"])
def test_targets_survive_the_tokenizer(processor_name, request):
    processor = request.getfixturevalue(processor_name)
    text = processor.target_text(range(25), "low pulse", "high pulse")
    tokens = processor.tokenizer(text_target=text)["input_ids"]
    parsed = processor.parse(processor.tokenizer.decode(tokens, skip_special_tokens=True))
    assert parsed["diagnoses"] == LABELS
    assert (parsed["note_rationale"], parsed["lab_rationale"]) == ("low pulse", "high pulse")


@pytest.mark.parametrize(
    ("text", "diagnoses"),
    [
        ("", []),
        ("shock", []),
        ("### Disease Diagnosed: Shock, shock, Nonsense, SHOCK. ### Rationale: x", ["Shock"]),
        ("### Disease Diagnosed: cardiogenic shock. ### Rationale: Pneumonia", []),
        ("### Disease Diagnosed: No disease is diagnosed. ### Rationale: ### Lab Test:", []),
        ("# # # disease diagnosed : shock , pleurisy ; pneumothorax ; pulmonary collapse .", [LABELS[8], LABELS[12]]),
    ],
)
def test_only_whole_label_names_count(tiny_processor, text, diagnoses):
    assert tiny_processor.parse(text)["diagnoses"] == diagnoses


def test_numeric_slots_are_filled_from_the_series_and_stay_without_them(tiny_processor):
    values = np.full((2, len(CHANNELS)), np.nan)
    values[:, [channel["name"] for channel in CHANNELS].index("Heart Rate")] = [131, 96]
    values[:, [channel["name"] for channel in CHANNELS].index("Fraction inspired oxygen")] = [0.4, 0.65]
    lab = "Heart rate up to [highest] /min fits Shock. Inspired oxygen was [last]% at the end."
    text = tiny_processor.target_text([8], "x", lab)
    assert tiny_processor.parse(text)["lab_rationale"] == lab
    filled = "Heart rate up to 131 /min fits Shock. Inspired oxygen was 65% at the end."
    assert tiny_processor.parse(text, [0.0, 5.0], values)["lab_rationale"] == filled
    parted = text.replace("###", "# # #").replace("[", "[ ").replace("]", " ]").replace("/min", "/ min")
    parted = parted.replace("%", " %")  # as BERT's tokenizer gives it back
    assert tiny_processor.parse(parted, [0.0, 5.0], values)["lab_rationale"] == filled
    spaced = lab.replace("[", "[ ").replace("]", " ]")
    assert tiny_processor.parse(parted)["lab_rationale"] == spaced  # no space before % and /min: grounding fills it


def test_labels_with_commas_are_read(tiny_processor):
    processor = ClinRaGenProcessor(
        tiny_processor.feature_extractor, tiny_processor.tokenizer, labels=["Fever", "Fever, rash, and cough", "Rash"]
    )
    assert processor.parse(processor.target_text([0, 1]))["diagnoses"] == ["Fever", "Fever, rash, and cough"]


def test_long_notes_are_cut_and_the_prompt_stays(tiny_processor):
    note = "fever and cough for two days " * 50
    ids = tiny_processor(notes=[note], return_tensors="pt")["input_ids"][0]
    text = tiny_processor.tokenizer.decode(ids, skip_special_tokens=True)
    assert text.startswith("Diagnose disease from the following medical notes: fever and cough")
    assert text.endswith("and Lab Test:")
    assert text.count("fever") < 20


def test_missing_modalities(tiny_processor, records):
    notes, values, times = zip(*records, strict=True)
    batch = tiny_processor(notes=list(notes), lab_values=list(values), lab_times=list(times), return_tensors="pt")
    assert batch["past_values"].shape == batch["past_observed_mask"].shape == (4, 24, 11)
    assert batch["past_observed_mask"].any(dim=2).any(dim=1).tolist() == [True, False, True, True]
    assert "not available" in tiny_processor.tokenizer.decode(batch["input_ids"][2])


@pytest.mark.parametrize(
    ("note", "values", "times"),
    [
        ("", None, None),
        (None, np.full((2, 11), np.nan), [0, 1]),
        ("  ", np.full((1, 11), -5.0), [1]),  # nothing plausible
        ("", np.full((1, 11), 50.0), [500]),  # beyond the context
    ],
)
def test_when_a_record_has_no_input_then_it_is_refused(tiny_processor, note, values, times):
    with pytest.raises(ClinRaGenInputError, match="record 1 has neither a note nor a measurement"):
        tiny_processor(notes=["fever", note], lab_values=[None, values], lab_times=[None, times])


def test_when_the_model_reads_series_only_then_notes_stay_out(tiny_processor, records):
    processor = ClinRaGenProcessor(tiny_processor.feature_extractor, tiny_processor.tokenizer, modalities=["lab"])
    note, values, times = records[0]
    assert "cough" not in processor.tokenizer.decode(processor([note], [values], [times])["input_ids"][0])
    with pytest.raises(ClinRaGenInputError, match="record 0"):
        processor(["a note alone"])
    processor.modalities = ["note"]
    assert set(processor([note], [values], [times])) == {"input_ids", "attention_mask"}


def test_round_trip(tiny_processor, tmp_path):
    import recipes.models.folder  # registers the feature extractor for AutoFeatureExtractor

    assert recipes.models.folder
    tiny_processor.save_pretrained(tmp_path)
    loaded = ClinRaGenProcessor.from_pretrained(tmp_path)
    assert loaded.labels == tiny_processor.labels
    assert loaded.max_note_tokens == 40
    assert loaded.feature_extractor.to_dict() == tiny_processor.feature_extractor.to_dict()
    assert loaded("fever and cough")["input_ids"] == tiny_processor("fever and cough")["input_ids"]


@pytest.mark.parametrize("lost", ["#", ":", "#;(", "."])
def test_a_tokenizer_without_the_marks_is_named_with_what_it_lacks(tiny_processor, lost):
    without = dict.fromkeys(map(ord, lost))
    tokenizer = train_tokenizer([text.translate(without) for text in (TARGET, NO_DISEASE, *LABELS)], [], 400)
    processor = ClinRaGenProcessor(tiny_processor.feature_extractor, tokenizer)
    for rationale_first in (False, True):
        with pytest.raises(ClinRaGenInputError, match="does not give the diagnoses and their marks back") as error:
            processor.diagnosis_token_ids(rationale_first)
        assert f"it lacks {' '.join(sorted(lost))};" in str(error.value)
