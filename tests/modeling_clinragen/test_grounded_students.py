# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Grounded texts of students that were trained to write what is wrong, of kinds whose tokenizers and marks differ."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, EncoderDecoderConfig, PreTrainedTokenizerFast

from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenPipeline, ClinRaGenProcessor
from modeling_clinragen.claims_clinragen import check_claims
from modeling_clinragen.clinical_clinragen import CHANNELS
from modeling_clinragen.note_claims_clinragen import check_note_claims
from tests.conftest import make_tiny_config, make_tiny_model
from tests.modeling_clinragen.grounded import ILL, KNOWLEDGE, LABELS, PNEUMONIA, SEPSIS, record_of


pytestmark = pytest.mark.slow

WELL = record_of(
    "Sevelamer at home. No cough.", hr=[70, 72, 75, 71, 70, 74], temp=[36.8, 37.0, 36.9, 36.7, 36.8, 36.9]
)
FEVERISH = record_of("Crackles. PNA last year.", temp=[37.0, 38.6, 39.2, 38.9, 38.5, 38.4])
RIGHT = [
    ("Productive cough and shaking chills point to Pneumonia.", "Heart Rate is up to 128, which fits Septicemia."),
    ("Crackles suggest Pneumonia.", "Temperature peaked at 39.2 °C at hour 2, which fits Septicemia."),
]
RECORDS = [ILL, FEVERISH, WELL]  # the student writes of the last one what holds of the first
BART = {"model_type": "bart", "d_model": 48, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
BART |= {"decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
BART |= {"max_position_embeddings": 256, "pad_token_id": 0}
LISTED = [LABELS.index(name) for name in (PNEUMONIA, SEPSIS)]


@pytest.fixture(scope="module")
def wordpiece():
    """A tokenizer of BERT's kind: lower case, signs apart."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    texts = [*LABELS, *(record["note"] for record in RECORDS), *(part for parts in RIGHT for part in parts)]
    texts += ["### Disease Diagnosed: No disease is diagnosed. ### Rationale: ### Lab Test: 0 1 2 3 4 5 6 7 8 9"]
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="[SEP]", **names)


def bert_to_bert(size):
    part = BertConfig(
        vocab_size=size, hidden_size=48, num_attention_heads=2, num_hidden_layers=1, intermediate_size=96
    )
    config = EncoderDecoderConfig.from_encoder_decoder_configs(part, part)
    config.pad_token_id, config.eos_token_id, config.decoder_start_token_id = 0, 3, 2
    return config


def trained(tokenizer, text_config):
    processor = ClinRaGenProcessor(
        ClinRaGenFeatureExtractor(CHANNELS, context_length=24), tokenizer, LABELS, knowledge=KNOWLEDGE
    )
    config = make_tiny_config(tokenizer, text_config=text_config)
    config.decisions.token_ids = None  # the list is the decoder's own, too
    model = make_tiny_model(config)  # without dropout: what it learns hangs on no processor's random numbers
    targets = [processor.target_text(LISTED, *RIGHT[i]) for i in (0, 1, 0)]
    labels = [torch.tensor(ids) for ids in processor.encode_targets(targets)["input_ids"]]
    labels = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    batch = processor(
        notes=[record["note"] for record in RECORDS],
        lab_values=[record["lab_values"] for record in RECORDS],
        lab_times=[record["lab_times"] for record in RECORDS],
        return_tensors="pt",
    )
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=2e-3), torch.tensor(1.0)
    for _ in range(1000):
        if loss < 0.01:
            break
        optimizer.zero_grad()
        loss = model(**batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss < 0.01, "the student has not learned its texts"
    model.generation_config.max_new_tokens = 200
    return model.eval(), processor


@pytest.fixture(scope="module", params=["bert to bert", "bart"])
def student(request, wordpiece):
    text_config = bert_to_bert(len(wordpiece))
    if request.param == "bart":  # decoder's start and end are the same, as BART's own are
        text_config = {**BART, "vocab_size": len(wordpiece), "decoder_start_token_id": 3, "eos_token_id": 3}
    model, processor = trained(wordpiece, text_config)
    return ClinRaGenPipeline(model, processor=processor, tokenizer=processor.tokenizer, device="cpu")


def verdicts(answer, record):
    claims = check_claims(answer["lab_rationale"], CHANNELS, record["lab_times"], record["lab_values"])
    return {c.verdict for c in (*claims, *check_note_claims(answer["note_rationale"], record["note"])) if c.text}


def test_supported_text_stays_as_written_and_text_that_is_wrong_for_another_record_is_left_out(student):
    plain = student(RECORDS, batch_size=3, grounded=False, do_sample=False)
    assert {"contradicted", "absent"} <= verdicts(plain[2], WELL)
    answers = student(RECORDS, batch_size=3, do_sample=False)
    for record, answer, before in zip(RECORDS, answers, plain, strict=True):
        assert answer["diagnoses"] == before["diagnoses"]
        assert [entry["label"] for entry in answer["diagnoses"]] == [LABELS[i] for i in sorted(LISTED)]
        assert not verdicts(answer, record) & {"contradicted", "absent"}
        assert student.processor.parse(answer["generated_text"])["lab_rationale"] == answer["lab_rationale"]
        *_, last = student.stream(record, do_sample=False)
        assert last["generated_text"] == answer["generated_text"]
    for answer, right in zip(answers, RIGHT, strict=False):
        written = [sentence["text"] for sentence in answer["sentences"] if sentence["origin"] == "written"]
        assert [text.replace(" ", "") for text in written] == [text.lower().replace(" ", "") for text in right]
    assert {sentence["origin"] for sentence in answers[2]["sentences"]} == {"composed"}
    assert "unexplained" in answers[2]["lab_rationale"]
