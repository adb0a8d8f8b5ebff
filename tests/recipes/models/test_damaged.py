# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Model folders that are damaged: each is refused in one line, by the commands and in a process of its own."""

import json
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from modeling_clinragen import ClinRaGenForConditionalGeneration, ClinRaGenInputError
from modeling_clinragen.pipeline_clinragen import ClinRaGenPipeline
from recipes.models.folder import load_model_folder, save_model_folder
from tests.conftest import make_tiny_config, make_tiny_model
from tests.recipes.models.test_folder import run_elsewhere


TERMS = [
    {"term": "fever", "type": "symptom", "synonyms": ["pyrexia"], "diseases": ["Shock"], "pattern": None},
    {
        "term": "fast heart rate",
        "type": "sign",
        "synonyms": [],
        "diseases": ["Shock", "Cardiac dysrhythmias"],
        "pattern": {"channel": "Heart Rate", "direction": "high"},
    },
]


@pytest.fixture(scope="module")
def whole(tiny_tokenizer, tmp_path_factory):
    """A folder as a stage leaves it: with decisions that were fitted, and knowledge."""
    from modeling_clinragen import ClinRaGenFeatureExtractor, ClinRaGenProcessor

    config = make_tiny_config(tiny_tokenizer)
    extractor = ClinRaGenFeatureExtractor(config.channels, context_length=config.context_length)
    processor = ClinRaGenProcessor(extractor, tiny_tokenizer, config.labels, max_note_tokens=40, knowledge=TERMS)
    config.decisions.token_ids = processor.diagnosis_token_ids()
    config.decisions.mixture, config.decisions.temperature = 0.5, 0.8
    config.decisions.thresholds = [0.5 + i / 100 for i in range(25)]
    config.decisions.doubt = {
        "num_positives": [1] * 25,
        "positive_scores": [[0.5]] * 25,
        "selected": [[1] * 49] * 25,
        "correct": [[1] * 49] * 25,
        "support_limits": {"token_rarity": 5.0},
        "influence": [[0.1] * 12] * 25,
    }
    folder = tmp_path_factory.mktemp("whole") / "model"
    save_model_folder(make_tiny_model(config), processor, folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def weights(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def setting(folder, name, change):
    content = json.loads((folder / name).read_text())
    changed = change(content)
    (folder / name).write_text(json.dumps(content if changed is None else changed))


def config(change):
    return lambda folder: setting(folder, "config.json", change)


def processor(change):
    return lambda folder: setting(folder, "processor_config.json", change)


def swapped(names):
    """Swap the first two of a list, or of the values of a dictionary with numbers as keys."""
    first, second = ("0", "1") if isinstance(names, dict) else (0, 1)
    names[first], names[second] = names[second], names[first]


def relabelled(content):
    swapped(content["labels"])
    swapped(content["id2label"])


def everywhere(folder):
    """Swap two labels in all files that name them, but not the tokens of the decoder."""
    config(relabelled)(folder)
    processor(lambda p: swapped(p["labels"]))(folder)


def drop(prefix):
    def change(state):
        for name in [name for name in state if name.startswith(prefix)]:
            del state[name]

    return lambda folder: weights(folder, change)


def fill(value, name="backbone.shared.weight"):
    return lambda folder: weights(folder, lambda state: state[name][0].fill_(value))


CLASSIFIER = "diagnosis_head.classifier.weight"
BACKBONE = "backbone.decoder.block.0.layer.0.SelfAttention.q.weight"
DAMAGES = {
    "a weight is missing": (drop(BACKBONE), f"{BACKBONE}.*missing"),
    "the head's weights are missing": (drop("diagnosis_head."), "diagnosis_head.*missing"),
    "the linear classifier is missing": (drop("diagnosis_head.linear."), "diagnosis_head.linear.*missing"),
    "all weights are missing": (drop(""), "missing"),
    "a weight too many": (
        lambda f: weights(f, lambda state: state.update({"backbone.other.weight": torch.ones(2)})),
        "backbone.other.weight",
    ),
    "a weight of another shape": (
        lambda f: weights(f, lambda state: state.update({CLASSIFIER: torch.ones(3, 16)})),
        "other shapes",
    ),
    "NaN weights": (fill(torch.nan, CLASSIFIER), f"{CLASSIFIER}.*not finite"),
    "one NaN": (
        lambda f: weights(f, lambda state: state["backbone.shared.weight"][7, 3].fill_(torch.nan)),
        "backbone.shared.weight.*not finite",
    ),
    "infinite weights": (fill(torch.inf, CLASSIFIER), f"{CLASSIFIER}.*not finite"),
    "a NaN buffer": (
        lambda f: weights(f, lambda state: state["diagnosis_head.linear.bias"][0].fill_(torch.nan)),
        "diagnosis_head.linear.bias",
    ),
    "no weights in the file": (lambda f: (f / "model.safetensors").write_bytes(b""), "cannot be read"),
    "labels in another order": (config(lambda c: swapped(c["labels"])), "label"),
    "labels in another order in the configuration": (config(relabelled), "labels"),
    "labels in another order in the processor": (processor(lambda p: swapped(p["labels"])), "labels"),
    "labels in another order everywhere": (everywhere, "labels"),
    "a label less in the processor": (processor(lambda p: p["labels"].pop() and None), "labels"),
    "a label in another spelling": (processor(lambda p: p["labels"].__setitem__(0, "Other")), "labels"),
    "channels in another order in the configuration": (config(lambda c: swapped(c["channels"])), "channels"),
    "channels in another order in the processor": (
        processor(lambda p: swapped(p["feature_extractor"]["channels"])),
        "channels",
    ),
    "a channel with another unit": (
        processor(lambda p: p["feature_extractor"]["channels"][0].update(unit="kPa")),
        "channels",
    ),
    "a channel with another mean": (
        processor(lambda p: p["feature_extractor"]["channels"][0].update(mean=1.0)),
        "channels",
    ),
    "a channel less in the processor": (
        processor(lambda p: p["feature_extractor"]["channels"].pop() and None),
        "channels",
    ),
    "another length of the grid": (processor(lambda p: p["feature_extractor"].update(context_length=48)), "context"),
    "a million layers": (config(lambda c: c["text_config"].update(num_layers=1_000_000)), "num_layers"),
    "a million layers of the series": (
        config(lambda c: c["time_series_config"].update(num_hidden_layers=1_000_000)),
        "num_hidden_layers",
    ),
    "more layers than weights": (config(lambda c: c["text_config"].update(num_layers=3)), "missing"),
    "less layers than weights": (config(lambda c: c["text_config"].update(num_layers=1)), "block.1"),
    "a huge width": (config(lambda c: c["text_config"].update(d_model=10**9)), "cannot be read"),
    "a negative width": (config(lambda c: c["text_config"].update(d_model=-1)), "cannot be read"),
    "no heads": (config(lambda c: c["text_config"].update(num_heads=0)), "cannot be read"),
    "a larger vocabulary": (config(lambda c: c["text_config"].update(vocab_size=10**6)), "cannot be read"),
    "a smaller vocabulary": (config(lambda c: c["text_config"].update(vocab_size=100)), "cannot be read"),
    "another tokenizer": (
        lambda f: setting(f, "tokenizer.json", lambda t: t["model"]["vocab"].update({"xyz": 5000})),
        "token",
    ),
    "no decisions": (config(lambda c: c.pop("decisions") and None), "decisions"),
    "decisions that are null": (config(lambda c: c.update(decisions=None)), "decisions"),
    "decisions without thresholds": (config(lambda c: c["decisions"].pop("thresholds") and None), "thresholds"),
    "decisions without a temperature": (config(lambda c: c["decisions"].pop("temperature") and None), "temperature"),
    "a threshold of NaN": (config(lambda c: c["decisions"]["thresholds"].__setitem__(3, float("nan"))), "thresholds"),
    "a threshold above 1": (config(lambda c: c["decisions"]["thresholds"].__setitem__(3, 2.0)), "thresholds"),
    "a threshold that is text": (config(lambda c: c["decisions"]["thresholds"].__setitem__(3, "a")), "thresholds"),
    "a temperature of NaN": (config(lambda c: c["decisions"].update(temperature=float("nan"))), "temperature"),
    "an infinite temperature": (config(lambda c: c["decisions"].update(temperature=float("inf"))), "temperature"),
    "a mixture of NaN": (config(lambda c: c["decisions"].update(mixture=float("nan"))), "mixture"),
    "tokens of no label": (config(lambda c: c["decisions"]["token_ids"].pop("labels") and None), "token_ids"),
    "a token that is text": (config(lambda c: c["decisions"]["token_ids"].update(end="x")), "token_ids"),
    "a token that is none": (config(lambda c: c["decisions"]["token_ids"].update(end=[10**7])), "token_ids"),
    "tokens of knowledge that are none": (config(lambda c: c["knowledge_input_ids"].__setitem__(0, [10**7])), "know"),
    "doubt of another number": (config(lambda c: c["decisions"]["doubt"]["influence"].pop() and None), "doubt"),
    "no field of doubt": (config(lambda c: c["decisions"]["doubt"].pop("selected") and None), "doubt"),
    "counts of doubt of another number": (
        config(lambda c: c["decisions"]["doubt"]["selected"][3].pop() and None),
        "doubt needs as many counts",
    ),
    "no token to begin with": (
        lambda f: setting(f, "generation_config.json", lambda g: g.update(decoder_start_token_id=None)),
        "decoder_start_token_id is missing",
    ),
    "a token to begin with that is none": (
        lambda f: setting(f, "generation_config.json", lambda g: g.update(decoder_start_token_id=-1)),
        "decoder_start_token_id -1 is not a token",
    ),
    "an end that is text": (
        lambda f: setting(f, "generation_config.json", lambda g: g.update(eos_token_id="")),
        "generation_config.json.eos_token_id is ''",
    ),
    "no token for padding": (
        lambda f: setting(f, "tokenizer_config.json", lambda t: t.pop("pad_token") and None),
        "pad_token_id",
    ),
    "a channel without a name": (config(lambda c: c["channels"][0].pop("name") and None), "channels"),
    "a channel whose mean is text": (
        processor(lambda p: p["feature_extractor"]["channels"][0].update(mean="x")),
        "channels",
    ),
    "a channel whose std is 0": (
        lambda f: (
            config(lambda c: c["channels"][0].update(std=0))(f),
            processor(lambda p: p["feature_extractor"]["channels"][0].update(std=0))(f),
        ),
        "std",
    ),
    "labels that are a text": (processor(lambda p: p.update(labels="x")), "labels"),
    "modalities that there are not": (processor(lambda p: p.update(modalities=["image"])), "modalities"),
    "no tokens of a note": (processor(lambda p: p.update(max_note_tokens=0)), "max_note_tokens"),
    "tokens of a note that are text": (processor(lambda p: p.update(max_note_tokens="x")), "max_note_tokens"),
    "knowledge of texts": (processor(lambda p: p.update(knowledge=["fever"])), "knowledge"),
    "a term of knowledge that is a number": (processor(lambda p: p["knowledge"][0].update(term=3)), "knowledge"),
    "a term without diseases": (processor(lambda p: p["knowledge"][1].pop("diseases") and None), "knowledge"),
    "a pattern that is text": (processor(lambda p: p["knowledge"][1].update(pattern="high")), "knowledge"),
    "no feature extractor": (processor(lambda p: p.pop("feature_extractor") and None), "feature extractor"),
    **{
        f"no {name}": (lambda f, name=name: (f / name).unlink(), name.removesuffix(".json"))
        for name in (
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        )
    },
    **{
        f"{name} holds {text or 'nothing'}": (lambda f, name=name, text=text: (f / name).write_text(text), name)
        for name in (
            "config.json",
            "generation_config.json",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        )
        for text in ("", "[]", "null", "{", "x")
    },
    **{
        f"{name} is no text": (lambda f, name=name: (f / name).write_bytes(b"\xff\xfe\x00" * 9), name)
        for name in ("config.json", "processor_config.json", "tokenizer.json")
    },
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused_in_a_line(folder, name):
    damage, message = DAMAGES[name]
    damage(folder)
    with pytest.raises(ClinRaGenInputError, match=message) as caught:
        load_model_folder(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_whole_folder_is_read(folder):
    model, loaded = load_model_folder(folder)
    assert model.config.labels == loaded.labels
    assert model.config.decisions.mixture == 0.5


IN_A_PROCESS = [
    "a weight is missing",
    "the head's weights are missing",
    "all weights are missing",
    "a weight too many",
    "a weight of another shape",
    "one NaN",
    "infinite weights",
    "labels in another order",
    "labels in another order in the configuration",
    "labels in another order in the processor",
    "labels in another order everywhere",
    "channels in another order in the processor",
    "a million layers",
    "another tokenizer",
    "no decisions",
    "a threshold of NaN",
]


@pytest.mark.slow
def test_pipeline_and_auto_classes_refuse_it_in_a_process_without_the_project(whole, tmp_path):
    for name in IN_A_PROCESS:
        DAMAGES[name][0](shutil.copytree(whole, tmp_path / "folders" / name))
    shutil.copytree(whole, tmp_path / "folders" / "whole")
    code = """
        import pathlib, sys
        from transformers import AutoModel, AutoProcessor, pipeline
        for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            try:
                pipeline("clinical-rationale-generation", model=str(folder), trust_remote_code=True)
            except (ValueError, OSError, RuntimeError) as error:
                print(folder.name, "refused")
            else:
                print(folder.name, "loaded")
    """
    done = run_elsewhere(code, tmp_path / "folders", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert outcomes == {**dict.fromkeys(IN_A_PROCESS, "refused"), "whole": "loaded"}


def test_other_sizes_and_the_loading_report_are_given_on_request(folder):
    weights(folder, lambda state: state.update({CLASSIFIER: torch.ones(3, 16)}))
    options = {"ignore_mismatched_sizes": True, "output_loading_info": True}
    model, loading_info = ClinRaGenForConditionalGeneration.from_pretrained(folder, **options)
    assert model.diagnosis_head.classifier.weight.shape == (25, 16)
    assert [name for name, *_ in loading_info["mismatched_keys"]] == [CLASSIFIER]


def places(value, path=()):
    """Yield the path of every value inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*path, key)
        yield from places(part, (*path, key))


JUNK = st.sampled_from([None, "x", "", -1, 0, 7, 10**12, 1e300, float("nan"), float("inf"), [], {}, [None], True])
RECORD = {"note": "fever and productive cough", "labs": {"Heart Rate": [[1, 90], [2, 130]]}}


def check_changed(whole, folder, data, name):
    """Change one value of a JSON file: it is refused in a line, or the model loads and answers a record."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    content = json.loads((folder / name).read_text())
    place = data.draw(st.sampled_from(list(places(content))))
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    if data.draw(st.booleans()):
        inside[place[-1]] = data.draw(JUNK)
    else:
        del inside[place[-1]]
    (folder / name).write_text(json.dumps(content))
    try:
        model, loaded = load_model_folder(folder)
    except ClinRaGenInputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    pipe = ClinRaGenPipeline(model, processor=loaded, tokenizer=loaded.tokenizer)
    assert len(pipe(RECORD, max_new_tokens=4)["probabilities"]) == 25


@pytest.mark.parametrize("name", ["config.json", "processor_config.json"])
@settings(max_examples=25)
@given(data=st.data())
def test_any_one_value_of_a_file_changed(whole, tmp_path_factory, name, data):
    check_changed(whole, tmp_path_factory.mktemp("junk") / "model", data, name)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "generation_config.json"])
@settings(max_examples=300)
@given(data=st.data())
def test_any_one_value_of_a_file_changed_often(whole, tmp_path_factory, name, data):
    check_changed(whole, tmp_path_factory.mktemp("junk") / "model", data, name)
