# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Repositories that somebody has tampered with: what they bring along is not run.

Each of them would make a file, `touched`, in the working folder if code that it brings ran or a pickle was read.
"""

import json
import pickle

import pytest

from modeling_clinragen import ClinRaGenInputError
from recipes import evaluate_model, predict, push_model
from recipes.models.folder import load_model_folder
from tests.recipes.models.test_folder import run_elsewhere


TOUCH = b"\nopen('touched', 'w').close()\n"
MODULE = TOUCH + b"\nclass Other:\n    pass\n"


class Touch:
    def __reduce__(self):
        return open, ("touched", "w")


def with_settings(name, change):
    """Tamper with a JSON file by `change`; the module that it may then name lies in a repo of its own."""

    def tamper(files):
        settings = json.loads(files[name])
        change(settings)
        files[name] = json.dumps(settings).encode()

    return tamper


def pickled_weights(files):
    del files["model.safetensors"]
    files["pytorch_model.bin"] = pickle.dumps(Touch())


def changed_code(files):
    for name in ("modeling_clinragen.py", "processing_clinragen.py", "pipeline_clinragen.py"):
        files[name] += TOUCH


PIPELINE = {"impl": "extra.Other", "pt": ["AutoModelForSeq2SeqLM"], "type": "multimodal"}

TAMPERED = {
    "pickled-weights": pickled_weights,
    "pickle-beside": lambda files: files.update({"optimizer.pt": pickle.dumps(Touch())}),
    "pickle-in-a-folder": lambda files: files.update({"checkpoint/Scheduler.PKL": pickle.dumps(Touch())}),
    "extra-code": lambda files: files.update({"extra.py": MODULE}),
    "code-in-a-folder": lambda files: files.update({"custom_generate/generate.py": MODULE}),
    "model-of-another-module": with_settings(
        "config.json", lambda settings: settings["auto_map"].update(AutoModel="extra.Other")
    ),
    "model-of-another-repo": with_settings(
        "config.json", lambda settings: settings["auto_map"].update(AutoModel="user/other--extra.Other")
    ),
    "text-config-of-another-module": with_settings(
        "config.json", lambda settings: settings["text_config"].update(auto_map={"AutoConfig": "extra.Other"})
    ),
    "another-pipeline": with_settings(
        "config.json",
        lambda settings: settings["custom_pipelines"].update({"clinical-rationale-generation": PIPELINE}),
    ),
    "processor-of-another-module": with_settings(
        "processor_config.json", lambda settings: settings["auto_map"].update(AutoProcessor="extra.Other")
    ),
    "extractor-of-another-repo": with_settings(
        "processor_config.json",
        lambda settings: settings["feature_extractor"].update(
            auto_map={"AutoFeatureExtractor": "user/other--extra.Other"}
        ),
    ),
    "tokenizer-of-another-module": with_settings(
        "tokenizer_config.json", lambda settings: settings.update(auto_map={"AutoTokenizer": [None, "extra.Other"]})
    ),
    "extractor-beside-the-processor": lambda files: files.update(
        {"preprocessor_config.json": b'{"auto_map": {"AutoFeatureExtractor": "extra.Other"}}'}
    ),
    "model-by-name-alone": with_settings("config.json", lambda settings: settings.update(auto_map="extra.Other")),
    "pipeline-by-name-alone": with_settings(
        "config.json", lambda settings: settings.update(custom_pipelines={"diagnosis": "extra.Other"})
    ),
    "module-of-another-folder": with_settings(
        "config.json", lambda settings: settings["auto_map"].update(AutoModel="../elsewhere/modeling_clinragen.Other")
    ),
    "weights-of-an-adapter": lambda files: files.update(
        {"adapter_config.json": json.dumps({"peft_type": "LORA", "base_model_name_or_path": "user/other"}).encode()}
    ),
}


@pytest.fixture
def genuine(tiny_folder):
    return {path.name: path.read_bytes() for path in tiny_folder.iterdir()}


def tampered(genuine, tamper):
    files = dict(genuine)
    tamper(files)
    return files


@pytest.fixture
def elsewhere(hub, tmp_path):
    """Run code in a fresh process that uses the loopback Hub, in an empty folder; return whether it was touched."""

    def run(code):
        folder = tmp_path / "elsewhere"
        folder.mkdir(exist_ok=True)
        done = run_elsewhere(code, "", folder, **hub.environment())
        return done, (folder / "touched").exists()

    return run


REFUSALS = ("trust_remote_code", "Unknown task", "does not recognize this architecture")


def test_without_trust_every_tampered_repo_is_refused_and_nothing_of_it_runs(hub, genuine, elsewhere):
    hub.add_commit("models", "user/other", {**genuine, "extra.py": MODULE})
    tampering = {**TAMPERED, "changed-code": changed_code}
    for name, tamper in tampering.items():
        hub.add_commit("models", f"user/{name}", tampered(genuine, tamper))
    code = f"""
        from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoProcessor, pipeline
        for name in {list(tampering)}:
            for load in (
                AutoModel.from_pretrained,
                AutoModelForSeq2SeqLM.from_pretrained,
                AutoProcessor.from_pretrained,
                lambda repo: pipeline("clinical-rationale-generation", model=repo),
            ):
                try:
                    load(f"user/{{name}}")
                except Exception as error:
                    assert any(words in str(error) for words in {REFUSALS}), (name, error)
                else:
                    raise AssertionError(f"{{name}} was loaded")
    """
    done, touched = elsewhere(code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not touched


COMMANDS = {
    "load": lambda model, output: load_model_folder(model),
    "push": lambda model, output: push_model.main(["--model", str(model), "--repo-id", "user/mine"]),
    "evaluate": lambda model, output: evaluate_model.main(
        ["--model", str(model), "--dataset", str(output / "dataset"), "--output", str(output / "report")]
    ),
    "predict": lambda model, output: predict.main(
        ["--model", str(model), "--input", str(output / "records.jsonl"), "--output", str(output / "out.jsonl")]
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", TAMPERED)
def test_the_commands_refuse_a_tampered_folder_with_one_line(hub, genuine, tmp_path, monkeypatch, command, name):
    folder = tmp_path / "tampered"
    for path, content in tampered(genuine, TAMPERED[name]).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (tmp_path / "records.jsonl").write_text('{"note": "fever"}\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClinRaGenInputError, match="refused") as caught:
        COMMANDS[command](folder, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "touched").exists()
    assert not hub.requests


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_repo_of_the_hub_is_refused_too(hub, genuine, tmp_path, monkeypatch, name):
    hub.add_commit("models", "user/model", tampered(genuine, TAMPERED[name]))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClinRaGenInputError, match="refused"):
        load_model_folder("user/model")
    assert not (tmp_path / "touched").exists()


def test_changed_code_does_not_run_where_the_installed_package_loads_the_model(hub, genuine, tmp_path, monkeypatch):
    hub.add_commit("models", "user/model", tampered(genuine, changed_code))
    monkeypatch.chdir(tmp_path)
    load_model_folder("user/model")
    assert not (tmp_path / "touched").exists()


@pytest.mark.slow
def test_pickled_weights_are_refused_with_trust_too(hub, genuine, elsewhere):
    hub.add_commit("models", "user/model", tampered(genuine, pickled_weights))
    code = """
        from transformers import AutoModel, AutoModelForSeq2SeqLM, pipeline
        for load in (AutoModel.from_pretrained, AutoModelForSeq2SeqLM.from_pretrained,
                     lambda repo, **trust: pipeline("clinical-rationale-generation", model=repo, **trust)):
            try:
                load("user/model", trust_remote_code=True)
            except Exception as error:
                assert "pickle files, which can run code" in str(error), error
            else:
                raise AssertionError("loaded")
    """
    done, touched = elsewhere(code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not touched


@pytest.mark.slow
def test_with_trust_a_pinned_revision_runs_the_code_that_was_read_and_no_later_one(hub, genuine, elsewhere):
    """The limit of the guard: trust in a repo with changed code; and its remedy."""
    read = hub.add_commit("models", "user/model", genuine)
    hub.add_commit("models", "user/model", tampered(tampered(genuine, changed_code), TAMPERED["code-in-a-folder"]))
    load_all = """
        from transformers import AutoModel, AutoProcessor, pipeline
        for load in (AutoModel.from_pretrained, AutoProcessor.from_pretrained):
            load("user/model", trust_remote_code=True, **PLACE)
        pipeline("clinical-rationale-generation", model="user/model", trust_remote_code=True, **PLACE)
    """
    done, touched = elsewhere(load_all.replace("PLACE", f'{{"revision": "{read}"}}'))
    assert done.returncode == 0, done.stderr[-3000:]
    assert not touched
    _, touched = elsewhere(load_all.replace("PLACE", "{}"))
    assert touched
