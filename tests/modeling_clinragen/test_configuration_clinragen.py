# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import re

import pytest
from transformers import BertConfig, EncoderDecoderConfig

from modeling_clinragen import CHANNELS, PHENOTYPES, ClinRaGenConfig
from modeling_clinragen.configuration_clinragen import ClinRaGenDecisionsConfig


def bert_to_bert():
    part = BertConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16)
    return EncoderDecoderConfig.from_encoder_decoder_configs(part, part)


def test_bare_config_is_the_papers():
    config = ClinRaGenConfig()
    assert (config.context_length, config.num_patches, config.time_series_config.d_model) == (1000, 125, 768)
    assert config.labels == [phenotype["name"] for phenotype in PHENOTYPES]
    assert [channel["name"] for channel in config.channels] == [channel["name"] for channel in CHANNELS]
    assert config.is_encoder_decoder
    assert config.num_labels == 25


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"text_config": {"model_type": "bart", "d_model": 16}, "labels": ["a", "b"]},
        {"text_config": bert_to_bert(), "knowledge_attention_type": "prototype"},
        {"text_config": {"model_type": "llama", "hidden_size": 32}},
        {"knowledge_terms": ["fever"], "knowledge_input_ids": [[3, 4]], "patch_layout": "paper"},
        {"channels": CHANNELS[:2], "time_series_config": {"num_input_channels": 2, "context_length": 16}},
    ],
)
def test_round_trip(arguments, tmp_path):
    config = ClinRaGenConfig(**arguments)
    config.save_pretrained(tmp_path)
    assert ClinRaGenConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"time_series_config": {"num_input_channels": 3}}, "num_input_channels is 3"),
        ({"time_series_config": {"context_length": 20}}, "context_length 20"),
        ({"time_series_config": {"channel_attention": True}}, "channel_attention"),
        ({"knowledge_terms": ["a", "b"], "knowledge_input_ids": [[1]]}, "2 `knowledge_terms`"),
        ({"knowledge_terms": ["a"], "knowledge_input_ids": [[]]}, "at least one token id"),
        ({"knowledge_attention_type": "both"}, "term, prototype"),
        ({"labels": ["a", "a"]}, "each once"),
        ({"channels": [{**CHANNELS[0], "std": 0.0}]}, "`std` must be positive"),
        ({"decisions": {"mixture": 1.5}}, "share between 0 and 1, not 1.5"),
        ({"decisions": {"temperature": 0.0}}, "must be positive, not 0.0"),
        ({"labels": ["a", "b"], "decisions": {"thresholds": [0.5]}}, "each of the 2 labels, not 1"),
    ],
)
def test_when_parts_do_not_fit_then_the_message_names_the_field(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClinRaGenConfig(**arguments)


@pytest.mark.parametrize(
    ("special", "padding", "start"),
    [
        ({"bos_token_id": 5, "eos_token_id": 6, "pad_token_id": 7}, 7, 5),
        ({"bos_token_id": None, "eos_token_id": [6, 8]}, 6, 6),
        ({"bos_token_id": 5, "eos_token_id": 6}, 6, 5),
    ],
)
def test_a_decoder_only_backbone_has_no_encoder_and_missing_special_tokens_are_filled_in(special, padding, start):
    config = ClinRaGenConfig(text_config={"model_type": "llama", "hidden_size": 32, **special})
    assert not config.is_encoder_decoder
    assert (config.pad_token_id, config.decoder_start_token_id) == (padding, start)
    assert config.text_config.pad_token_id == special.get("pad_token_id")  # which would silence an embedding


def test_the_callers_text_config_is_not_changed():
    given = bert_to_bert()
    config = ClinRaGenConfig(text_config=given)
    assert config.text_config is not given
    assert config.text_config.encoder is not given.encoder


DECISIONS = {
    "mixture": 0.25,
    "temperature": 1.5,
    "thresholds": [0.2, 0.7],
    "token_ids": {"opening": [4], "labels": [[5], [6]], "separator": [7], "end": [8], "nothing": [9]},
    "doubt": {"num_positives": [3, 4], "support_limits": {"channels": 2.0}},
}


def test_decisions_are_one_part_that_survives_a_round_trip(tmp_path):
    config = ClinRaGenConfig(labels=["a", "b"], decisions=DECISIONS)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert {name: written["decisions"][name] for name in DECISIONS} == DECISIONS
    again = ClinRaGenConfig.from_pretrained(tmp_path).decisions
    assert {name: getattr(again, name) for name in DECISIONS} == DECISIONS
    assert ClinRaGenConfig(labels=["a", "b"]).decisions.thresholds == [0.5, 0.5]


def test_an_older_flat_file_gives_the_same_decisions(tmp_path):
    ClinRaGenConfig(labels=["a", "b"]).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    del written["decisions"]
    flat = {f"diagnosis_{name}": DECISIONS[name] for name in ("mixture", "temperature", "thresholds", "token_ids")}
    doubt = {"num_positives": [3, 4], "evidence_limits": {"channels": 2.0}}
    (tmp_path / "config.json").write_text(json.dumps({**written, **flat, "doubt": doubt}))
    config = ClinRaGenConfig.from_pretrained(tmp_path)
    assert {name: getattr(config.decisions, name) for name in DECISIONS} == DECISIONS
    assert not {"doubt", *flat} & set(config.to_dict())


@pytest.mark.parametrize("config_class", [ClinRaGenConfig, ClinRaGenDecisionsConfig])
def test_docstring_lists_exactly_the_fields(config_class):
    inherited = {field.name for field in dataclasses.fields(config_class.__mro__[1])}
    own = {field.name for field in dataclasses.fields(config_class)} - inherited
    documented = set(re.findall(r"^        (\w+) \(`", config_class.__doc__, flags=re.MULTILINE))
    assert documented == own
