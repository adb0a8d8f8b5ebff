# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A saved folder in a fresh process without this project."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch

from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.pipeline_clinragen import ClinRaGenPipeline
from recipes.models.folder import check_model_folder, load_model_folder, save_model_folder


def run_elsewhere(code, folder, cwd, **variables):
    """Run code in an empty folder where `modeling_clinragen` cannot be imported."""
    hide = textwrap.dedent(
        """
        import importlib.abc, sys
        class Hidden(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("modeling_clinragen", "datasets_scripts", "recipes"):
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Hidden())
        """
    )
    return subprocess.run(
        [sys.executable, "-c", hide + textwrap.dedent(code), str(folder)],
        cwd=cwd,
        env={**os.environ, "HF_HOME": str(cwd / "hf"), "HF_HUB_OFFLINE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def test_auto_classes_and_pipeline_load_a_saved_folder(tiny_folder, tmp_path, records):
    note, values, times = records[0]
    record = {"note": note, "lab_times": times.tolist(), "lab_values": values.tolist()}
    (tmp_path / "record.json").write_text(json.dumps(record))
    code = """
        import json, sys, torch
        from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, AutoProcessor, pipeline
        folder = sys.argv[1]
        trust = {"trust_remote_code": True}
        assert AutoConfig.from_pretrained(folder, **trust).model_type == "clinragen"
        models = [auto.from_pretrained(folder, **trust) for auto in (AutoModel, AutoModelForSeq2SeqLM)]
        assert [type(m).__name__ for m in models] == ["ClinRaGenForConditionalGeneration"] * 2
        processor = AutoProcessor.from_pretrained(folder, **trust)
        record = json.load(open("record.json"))
        batch = processor(
            notes=[record["note"]], lab_values=[record["lab_values"]], lab_times=[record["lab_times"]],
            return_tensors="pt",
        )
        ids = models[1].generate(**batch, max_new_tokens=8, do_sample=False)
        processor.parse(processor.batch_decode(ids, skip_special_tokens=True)[0])
        assert models[0].diagnosis_probabilities(**batch).shape == (1, 25)
        for task in ("clinical-rationale-generation", None):
            pipe = pipeline(task, model=folder, **trust)
            answer = pipe(record, max_new_tokens=8, do_sample=False)
            events = pipe({"labs": {"Heart Rate": [[1, 90], [2, 95]]}}, max_new_tokens=8)
        many = pipe([record, {"note": "fever"}, record], batch_size=2, max_new_tokens=8, do_sample=False)
        assert many[0] == many[2] == answer, (many, answer)
        print(json.dumps({"ids": ids.tolist(), "answer": answer}))
    """
    done = run_elsewhere(code, tiny_folder, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["answer"]) == {
        "diagnoses",
        "note_rationale",
        "lab_rationale",
        "generated_text",
        "sentences",
        "claims",
        "note_claims",
        "knowledge",
        "probabilities",
        "doubt",
        "model_version",
    }
    model, processor = load_model_folder(tiny_folder)
    batch = processor(notes=[note], lab_values=[values], lab_times=[times], return_tensors="pt")
    assert model.generate(**batch, max_new_tokens=8, do_sample=False).tolist() == result["ids"]
    assert result["answer"]["knowledge"] == []  # the processor holds none


def test_without_trust_nothing_of_the_folder_runs(tiny_folder, tmp_path):
    for path in tiny_folder.glob("*.py"):
        path.write_text(path.read_text() + "\nopen('touched', 'w').write('x')\n")
    code = """
        import sys
        from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoProcessor, pipeline
        autos = [auto.from_pretrained for auto in (AutoModel, AutoModelForSeq2SeqLM, AutoProcessor)]
        for load in (*autos, lambda folder: pipeline("clinical-rationale-generation", model=folder)):
            try:
                load(sys.argv[1])
            except Exception as error:
                assert "trust_remote_code" in str(error) or "Unknown task" in str(error), error
            else:
                raise AssertionError(f"{load} loaded")
    """
    done = run_elsewhere(code, tiny_folder, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (tmp_path / "touched").exists()


def test_a_folder_holds_safetensors_and_the_code_it_needs(tiny_folder):
    names = {path.name for path in tiny_folder.iterdir()}
    assert {"model.safetensors", "config.json", "processor_config.json", "pipeline_clinragen.py"} <= names
    assert {"modeling_clinragen.py", "claims_clinragen.py", "clinical_clinragen.py"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


@pytest.mark.parametrize("name", ["estimation_clinragen.py", "telling_clinragen.py"])
def test_a_folder_of_an_earlier_version_may_hold_its_code_files(tiny_folder, name):
    (tiny_folder / name).touch()
    assert check_model_folder(tiny_folder) == tiny_folder
    (tiny_folder / "code").mkdir()
    (tiny_folder / name).rename(tiny_folder / "code" / name)
    with pytest.raises(ClinRaGenInputError, match="not a code file of this project"):
        check_model_folder(tiny_folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "processor_config.json"])
def test_when_a_folder_is_unfinished_then_the_missing_file_is_named(tiny_folder, missing):
    (tiny_folder / missing).unlink()
    with pytest.raises(ClinRaGenInputError, match=missing):
        load_model_folder(tiny_folder)


@pytest.mark.parametrize("damaged", ["config.json", "model.safetensors", "processor_config.json", "tokenizer.json"])
def test_when_a_file_is_cut_short_then_it_is_one_line(tiny_folder, damaged):
    whole = (tiny_folder / damaged).read_bytes()
    (tiny_folder / damaged).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ClinRaGenInputError, match="again") as caught:
        load_model_folder(tiny_folder)
    assert "\n" not in str(caught.value)


def test_sharded_weights_load(tiny_model, tiny_processor, tmp_path):
    save_model_folder(tiny_model, tiny_processor, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    tiny_model.save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    model, _ = load_model_folder(tmp_path)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in tiny_model.state_dict().items())


def test_the_folder_of_checkpoints_is_no_model_folder(tmp_path):
    (tmp_path / "stage3.training" / "checkpoint-4").mkdir(parents=True)
    (tmp_path / "stage3.training" / "begun.json").write_text("{}")
    (tmp_path / "stage3.training" / "checkpoint-4" / "modeling_clinragen.py").write_text("")
    message = (
        r"stage3.training holds the checkpoints of a stage; give its model folder, .*/stage3, which is there once"
    )
    with pytest.raises(ClinRaGenInputError, match=message):
        load_model_folder(tmp_path / "stage3.training")


def test_when_there_is_no_folder_then_it_says_so(tmp_path):
    with pytest.raises(ClinRaGenInputError, match="no model folder at"):
        load_model_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "a record is a dict with at least one of"),
        ("fever", "a record is a dict"),
        ({"note": 3}, "`note` must be text"),
        ({"note": ""}, "neither a note nor a measurement"),
        ({"note": "x", "labs": {"Sodium": [[1, 2]]}}, "unknown channel 'Sodium'"),
        ({"note": "x", "lab_times": [1], "lab_values": [[1, 2]]}, "11 channels"),
        ({"note": "x", "labs": {}, "lab_values": [[1.0] * 11]}, "either as `labs` or as"),
    ],
)
def test_malformed_records_are_refused(tiny_model, tiny_processor, record, message):
    pipe = ClinRaGenPipeline(tiny_model, processor=tiny_processor, tokenizer=tiny_processor.tokenizer)
    with pytest.raises(ClinRaGenInputError, match=message):
        pipe(record)
