# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command refuses a damaged model, and a damaged dataset, in one line, and leaves nothing behind."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from datasets_scripts.dataset.folder import METADATA_FILE, content_hash, schema_for, shards
from modeling_clinragen import ClinRaGenInputError
from recipes import (
    evaluate_baseline,
    evaluate_model,
    predict,
    push_model,
    stage1_note,
    stage2_lab,
    stage3_multimodal,
    stage4_rewards,
)
from recipes.serving.answers import load_handler
from tests.commands import run_script
from tests.dataset_folders import describe


def without_a_weight(model):
    state = load_file(model / "model.safetensors")
    del state["diagnosis_head.classifier.weight"]
    save_file(state, model / "model.safetensors", metadata={"format": "pt"})


def with_nan(model):
    state = load_file(model / "model.safetensors")
    state["diagnosis_head.classifier.weight"][0, 0] = torch.nan
    save_file(state, model / "model.safetensors", metadata={"format": "pt"})


def with_labels_in_another_order(model):
    processor = json.loads((model / "processor_config.json").read_text())
    processor["labels"].reverse()
    (model / "processor_config.json").write_text(json.dumps(processor))


def with_a_list_for_a_history(model):
    (model / "training.json").write_text("[]")


MODELS = {
    without_a_weight: "diagnosis_head.classifier.weight is missing",
    with_nan: "is not finite",
    with_labels_in_another_order: "labels of config.json and processor_config.json differ",
    with_a_list_for_a_history: "training.json is damaged",
}


def without_a_file(dataset):
    shards(dataset, "train")[0].unlink()


def with_class(number):
    return lambda dataset: change(dataset, "diagnoses", lambda cells: cells.__setitem__(0, [number]))


def with_fewer_times(dataset):
    change(dataset, "lab_times", lambda cells: next(cell for cell in cells if cell).pop())


def with_metadata_of_text(dataset):
    (dataset / METADATA_FILE).write_text('{"schema_version": 2, "labels": "x"}')


def change(dataset, name, damage):
    path = shards(dataset, "train")[0]
    table = pq.read_table(path)
    place, cells = table.schema.get_field_index(name), table[name].to_pylist()
    damage(cells)
    field = table.schema.field(place)
    pq.write_table(table.set_column(place, field, pa.array(cells, field.type)), path)
    describe(dataset, dataset)


DATASETS = {
    "a missing file": (without_a_file, "split 'train' has 0 records"),
    "class -1": (with_class(-1), "diagnoses holds an unknown class"),
    "class 25": (with_class(25), "diagnoses holds an unknown class"),
    "fewer times": (with_fewer_times, "lab_times does not have as many entries"),
    "metadata of text": (with_metadata_of_text, "is damaged"),
}


def stage(main):
    def run(model, dataset, output, arguments):
        main(arguments(output, "--model_name_or_path", model, "--dataset", dataset))

    return run


READ_BOTH = {
    "stage1": stage(stage1_note.main),
    "stage2": stage(stage2_lab.main),
    "stage3": stage(stage3_multimodal.main),
    "stage4": stage(stage4_rewards.main),
    "evaluate": lambda model, dataset, output, arguments: evaluate_model.main(
        ["--model", str(model), "--dataset", str(dataset), "--output", str(output)]
    ),
}
READ_MODELS = {
    **READ_BOTH,
    "predict": lambda model, dataset, output, arguments: predict.main(
        ["--model", str(model), "--input", str(records_beside(output)), "--output", str(output) + ".jsonl"]
    ),
    "push": lambda model, dataset, output, arguments: push_model.main(
        ["--model", str(model), "--repo-id", "user/model", "--dry-run"]
    ),
    "serve": lambda model, dataset, output, arguments: load_handler(str(model), None, "cpu"),
}
READ_DATASETS = {
    **READ_BOTH,
    "streaming": lambda model, dataset, output, arguments: stage2_lab.main(
        arguments(
            output, "--model_name_or_path", model, "--dataset", dataset, "--streaming", "--trained_modules", "backbone"
        )
    ),
    "baseline": lambda model, dataset, output, arguments: evaluate_baseline.main(
        ["--baseline", "tfidf", "--dataset", str(dataset), "--output", str(output)]
    ),
}


def records_beside(output):
    path = output.with_name("records.jsonl")
    path.write_text('{"id": "a", "note": "fever"}\n')
    return path


def refused(run, model, dataset, folder, arguments):
    with pytest.raises(ClinRaGenInputError) as caught:
        run(model, dataset, folder / "out", arguments)
    assert "\n" not in str(caught.value)
    assert not [path for path in folder.glob("out*") if path.suffix not in (".yaml", ".training")]
    return str(caught.value)


@pytest.mark.parametrize("damage", MODELS, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", READ_MODELS)
def test_a_damaged_model(name, damage, stage1_folder, data_folder, stage_arguments, tmp_path):
    model = shutil.copytree(stage1_folder, tmp_path / "model")
    damage(model)
    line = refused(READ_MODELS[name], model, data_folder / "dataset", tmp_path, stage_arguments)
    assert MODELS[damage] in line
    assert str(model) in line


@pytest.mark.parametrize("damage", DATASETS)
@pytest.mark.parametrize("name", READ_DATASETS)
def test_a_damaged_dataset(name, damage, stage1_folder, data_folder, stage_arguments, tmp_path):
    dataset = shutil.copytree(data_folder / "dataset", tmp_path / "dataset")
    DATASETS[damage][0](dataset)
    line = refused(READ_DATASETS[name], stage1_folder, dataset, tmp_path, stage_arguments)
    assert DATASETS[damage][1] in line
    assert str(dataset) in line


@pytest.mark.parametrize("name", READ_BOTH)
@pytest.mark.parametrize("part", ["labels", "channels"])
def test_a_whole_dataset_whose_labels_or_channels_are_in_another_order(
    name, part, stage1_folder, data_folder, stage_arguments, tmp_path
):
    """Whole in itself, files and all; but its class 0 is another diagnosis than the model's."""
    dataset = shutil.copytree(data_folder / "dataset", tmp_path / "dataset")
    metadata = json.loads((dataset / METADATA_FILE).read_text())
    metadata[part].reverse()
    names = [label["name"] for label in metadata["labels"]]
    for path in (dataset / "data").iterdir():
        pq.write_table(pq.read_table(path).replace_schema_metadata(schema_for(names).metadata), path)
    metadata["content_hash"] = content_hash(dataset)
    (dataset / METADATA_FILE).write_text(json.dumps(metadata))
    line = refused(READ_BOTH[name], stage1_folder, dataset, tmp_path, stage_arguments)
    assert f"differ in their {part}" in line


def test_a_command_ends_with_one_line_and_2(stage1_folder, data_folder, tmp_path):
    model = shutil.copytree(stage1_folder, tmp_path / "model")
    with_nan(model)
    arguments = ["--model", model, "--dataset", data_folder / "dataset", "--output", tmp_path / "report"]
    done = run_script(evaluate_model.__file__, *arguments)
    assert done.returncode == 2
    *bars, line = done.stderr.splitlines()
    assert line.startswith(f"error: {model} cannot be read: weight diagnosis_head.classifier.weight")
    assert all(bar.startswith("Loading weights") for bar in bars if bar)
    assert not (tmp_path / "report").exists()
