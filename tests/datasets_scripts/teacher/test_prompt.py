# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Prompt files: those of the project, one in another language, and what is wrong with others, in one line."""

import hashlib
import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets_scripts.teacher.prompt import LONGEST_FIELD, PROMPT, Prompt
from modeling_clinragen import CHANNELS, PHENOTYPES
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


NAMES = [phenotype["name"] for phenotype in PHENOTYPES]
KNOWLEDGE = {"terms": [{"term": "rigors", "diseases": [NAMES[0]]}]}
ROW = {
    "note": "Husten seit drei Tagen.",
    "lab_times": np.empty(0),
    "lab_values": np.empty((0, len(CHANNELS))),
    "lab_caption": "Weight is 80.5 kg.",
    "diagnoses": [0],
}
GERMAN = {
    "version": "deutsch-1",
    "system": "Begründen Sie die Diagnosen aus der Akte. Antworten Sie mit JSON.",
    "user": "Diagnosen: $diagnoses\nAnamnese: $note\nMesswerte: $caption\nKosten: 3 $$",
    "examples": [
        {
            "diagnoses": "Pneumonie",
            "note": "Rostfarbener Auswurf.",
            "caption": "Die Temperatur ist fünfmal erhöht.",
            "answer": {
                "note_rationale": [
                    {
                        "sentence": "Rostfarbener Auswurf spricht für eine Pneumonie.",
                        "evidence": ["Rostfarbener Auswurf"],
                    }
                ],
                "lab_rationale": [],
            },
        }
    ],
}


def prompt_of(tmp_path, words, name="prompt.yaml"):
    path = tmp_path / name
    path.write_text(words if isinstance(words, str) else yaml.safe_dump(words, allow_unicode=True), encoding="utf-8")
    return Prompt(KNOWLEDGE, CHANNELS, NAMES, path)


@pytest.mark.parametrize("path", sorted(PROMPT.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_projects_prompts_are_named_as_their_versions_and_filled(path):
    chat = Prompt(KNOWLEDGE, CHANNELS, NAMES, path)(ROW)
    assert Prompt(KNOWLEDGE, CHANNELS, NAMES, path).version == path.stem
    assert [message["role"] for message in chat] == ["system", *["user", "assistant"] * (len(chat) // 2 - 1), "user"]
    assert ROW["note"] in chat[-1]["content"]
    assert NAMES[0] in chat[-1]["content"]


def test_another_language_is_asked_as_it_is_written(tmp_path):
    prompt = prompt_of(tmp_path, GERMAN)
    system, asked, answered, last = prompt(ROW)
    assert prompt.version == "deutsch-1"
    assert prompt.sha256 == hashlib.sha256((tmp_path / "prompt.yaml").read_bytes()).hexdigest()
    assert system == {"role": "system", "content": GERMAN["system"]}
    assert asked["content"].startswith("Diagnosen: Pneumonie\nAnamnese: Rostfarbener")
    assert list(json.loads(answered["content"])["note_rationale"][0]) == ["evidence", "sentence"]
    assert last["content"] == (
        f"Diagnosen: {NAMES[0]}\nAnamnese: Husten seit drei Tagen.\nMesswerte: Weight is 80.5 kg.\nKosten: 3 $"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"system": None}, "system is missing"),
        ({"system": 7}, "system is 7, not text"),
        ({"system": ""}, "system has 0 characters; give 1 to 20000"),
        ({"system": "x" * (LONGEST_FIELD + 1)}, "system has 20001 characters"),
        ({"version": "v" * 61}, "version has 61 characters; give 1 to 60"),
        ({"sistem": "x"}, "sistem is not a field of a prompt; the fields are version, system, user, examples"),
        ({"user": "$note $caption"}, "user has no $diagnoses"),
        ({"user": "$diagnoses $caption"}, "user has no $note"),
        ({"user": "$diagnoses $note"}, "user has no $series and no $caption"),
        ({"user": "$diagnoses $note $caption $name"}, "user has $name; there are $diagnoses, $note,"),
        ({"user": "$diagnoses $note $caption 5 $"}, "user has a $ without a name; write $$"),
        ({"user": "$diagnoses $note $caption $series"}, "examples[0].series is missing; user asks for it"),
        ({"examples": {}}, "examples is {}, not a list"),
        ({"examples": ["x"]}, "examples[0] is 'x', not an object with fields"),
        ({"examples": [{**GERMAN["examples"][0], "notes": "x"}]}, "examples[0].notes is not a field of a prompt"),
        ({"examples": [{**GERMAN["examples"][0], "note": 3}]}, "examples[0].note is 3, not text"),
        ({"examples": [{**GERMAN["examples"][0], "answer": {}}]}, "examples[0].answer.note_rationale is missing"),
    ],
)
def test_a_mistake_in_a_prompt_is_one_line_with_file_and_field(tmp_path, changed, message):
    words = {name: value for name, value in {**GERMAN, **changed}.items() if value is not None}
    with pytest.raises(ClinRaGenInputError) as error:
        prompt_of(tmp_path, words)
    assert str(error.value).startswith(f"{tmp_path / 'prompt.yaml'}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "version: [", "\x00", "a: &a [*a]"])
def test_a_file_without_a_prompt_is_one_line(tmp_path, text):
    with pytest.raises(ClinRaGenInputError, match=r"prompt\.yaml"):
        prompt_of(tmp_path, text)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["version", "system", "user", "examples", "other"]), anything))
def test_any_content_of_a_field_is_a_prompt_or_one_line(tmp_path_factory, changed):
    try:
        prompt = prompt_of(tmp_path_factory.mktemp("prompt"), {**GERMAN, **changed})
    except ClinRaGenInputError:
        return
    assert len(prompt(ROW)) >= 2


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ClinRaGenInputError, match=r"none\.yaml: not a YAML file"):
        Prompt(KNOWLEDGE, CHANNELS, NAMES, tmp_path / "none.yaml")
