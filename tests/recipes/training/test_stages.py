# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import copy
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from datasets_scripts.dataset.folder import METADATA_FILE, read_metadata
from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from recipes import stage1_note, stage2_lab, stage3_multimodal, stage4_rewards
from recipes.models.folder import load_model_folder
from recipes.training import stages
from recipes.training.arguments import RewardStageArguments, StageArguments, complete, parse_arguments
from recipes.training.checkpoints import last_checkpoint
from recipes.training.data import ClinRaGenCollator, channels_with_statistics, encode_records, load_records
from recipes.training.fields import read_fields
from recipes.training.stages import begin, freeze_all_but
from recipes.training.trainer import ClinRaGenTrainer
from tests.commands import run_script
from tests.conftest import make_tiny_config, make_tiny_model


CONFIGS = sorted(Path("recipes/configs").rglob("stage*.yaml"))


def weights(folder):
    return {name: value.clone() for name, value in load_model_folder(folder)[0].state_dict().items()}


def moved_parts(before, after):
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_the_chain_of_stages_moves_what_each_names_and_nothing_else(stage_arguments, stage1_folder, tmp_path):
    before = weights(stage1_folder)
    stage2_lab.main(stage_arguments(tmp_path / "stage2", "--model_name_or_path", stage1_folder))
    middle = weights(tmp_path / "stage2")
    assert moved_parts(before, middle) == {"time_series_encoder", "knowledge_attention", "diagnosis_head"}
    stage3_multimodal.main(stage_arguments(tmp_path / "stage3", "--model_name_or_path", tmp_path / "stage2"))
    assert moved_parts(middle, weights(tmp_path / "stage3")) == {"backbone", "knowledge_attention", "diagnosis_head"}
    modalities = [
        load_model_folder(f)[1].modalities for f in (stage1_folder, tmp_path / "stage2", tmp_path / "stage3")
    ]
    assert modalities == [["note"], ["lab"], ["note", "lab"]]


def test_a_diagnosis_that_no_training_record_has_is_said(stage_arguments, data_folder, tmp_path, caplog):
    shutil.copytree(data_folder / "dataset", tmp_path / "dataset")
    metadata = read_metadata(data_folder / "dataset")
    shock = next(label for label in metadata["labels"] if label["name"] == "Shock")
    assert shock["stays_by_split"]["train"]
    shock["stays_by_split"]["train"] = 0
    (tmp_path / "dataset" / METADATA_FILE).write_text(json.dumps(metadata))
    for dataset in (tmp_path / "dataset", data_folder / "dataset"):
        options = stage_arguments(tmp_path / dataset.parent.name / "stage1", dataset=dataset)
        begin(*complete(read_fields(options, **stage1_note.STAGE)), write=False)
    (line,) = [record.message for record in caplog.records if "no record" in record.message]
    assert line == f"{tmp_path / 'dataset'}: no record of split train has Shock: not taught by this stage"


def test_new_patients_are_refused_before_their_labels_are_missed(stage_arguments, data_folder, tmp_path, caplog):
    shutil.copytree(data_folder / "dataset", tmp_path / "dataset")
    metadata = read_metadata(data_folder / "dataset") | {"labelled": False}
    for label in metadata["labels"]:
        label["stays_by_split"] = dict.fromkeys(label["stays_by_split"], 0)
    (tmp_path / "dataset" / METADATA_FILE).write_text(json.dumps(metadata))
    options = stage_arguments(tmp_path / "stage1", dataset=tmp_path / "dataset")
    with pytest.raises(ClinRaGenInputError, match=r"has no labels \(build_dataset.py --unlabelled\)"):
        begin(*complete(read_fields(options, **stage1_note.STAGE)), write=False)
    assert "no record of" not in caplog.text


def test_a_finished_stage_leaves_a_model_folder_and_its_history(stage1_folder):
    history = json.loads((stage1_folder / "training.json").read_text())
    assert history["trained_modules"] == ["backbone", "diagnosis_head"]
    assert any("eval_micro_f1" in entry for entry in history["log"])
    assert not stage1_folder.with_name("stage1.unfinished").exists()
    model, processor = load_model_folder(stage1_folder)
    assert model.generation_config.max_new_tokens == 60
    assert processor.feature_extractor.channels == model.config.channels
    assert len(model.config.knowledge_terms) > 300


def test_the_processor_carries_the_knowledge_and_names_are_not_attended_to(stage1_folder, data_folder):
    terms = json.loads((data_folder / "knowledge.json").read_text())["terms"]
    model, processor = load_model_folder(stage1_folder)
    assert [(term["term"], term["diseases"], term["pattern"]) for term in processor.knowledge] == [
        (term["term"], term["diseases"], term["pattern"]) for term in terms
    ]
    assert {"name"} < {term["type"] for term in terms}
    assert model.config.knowledge_terms == [term["term"] for term in terms if term["type"] != "name"]
    shares = {term["term"]: term["share"] for term in processor.knowledge}
    assert set(model.config.knowledge_terms) <= set(shares)
    assert 0.2 < max(shares.values()) <= 1
    assert min(shares.values()) == 0


def test_the_folders_card_holds_what_was_measured(stage1_folder, data_folder):
    card = ModelCard.load(stage1_folder / "README.md")
    assert card.data.license == "apache-2.0"
    history = json.loads((stage1_folder / "training.json").read_text())
    assert f"| micro_f1 | {history['best_metric']:.3f} |" in card.text
    assert read_metadata(data_folder / "dataset")["content_hash"] in card.text
    assert "Not a medical device" in card.text


def test_the_papers_model_without_a_diagnosis_head_is_trained_and_answers(stage_arguments, tmp_path):
    """With the knowledge of the stage, whose terms only a classifier could read."""
    stage1_note.main(stage_arguments(tmp_path / "stage1", max_steps=1, diagnosis_loss_weight=0.0))
    stage2_lab.main(stage_arguments(tmp_path / "stage2", "--model_name_or_path", tmp_path / "stage1", max_steps=1))
    model, processor = load_model_folder(tmp_path / "stage2")
    assert model.diagnosis_head is None
    assert model.config.knowledge_terms
    answer = ClinRaGenPipeline(model, processor.tokenizer, processor=processor, device="cpu")(
        {"labs": {"Temperature": [[1, 39.2]]}}
    )
    assert answer["probabilities"] == {}
    assert answer["generated_text"]


def test_a_killed_stage_resumes_from_its_last_complete_checkpoint(stage_arguments, tmp_path):
    stage1_note.main(stage_arguments(tmp_path / "whole", max_steps=3))
    stage1_note.main(stage_arguments(tmp_path / "killed", max_steps=3, save_total_limit=5))
    shutil.rmtree(tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed.training" / "checkpoint-3")
    (tmp_path / "killed.training" / "checkpoint-9").mkdir()  # cut short while it was written
    assert last_checkpoint(tmp_path / "killed.training").endswith("checkpoint-2")
    stage1_note.main(stage_arguments(tmp_path / "killed", max_steps=3))
    log = json.loads((tmp_path / "killed" / "training.json").read_text())["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == [1, 2, 3]


def test_the_seed_determines_every_weight(stage_arguments, stage1_folder, tmp_path):
    stage1_note.main(stage_arguments(tmp_path / "again"))
    stage1_note.main(stage_arguments(tmp_path / "other", "--seed", "7"))
    first, again, other = (weights(folder) for folder in (stage1_folder, tmp_path / "again", tmp_path / "other"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.shared.weight"], other["backbone.shared.weight"])


def test_accelerate_launch_runs_a_stage_as_the_readme_says(stage_arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "recipes/stage1_note.py"]
        + stage_arguments(tmp_path / "stage1", max_steps=1),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_model_folder(tmp_path / "stage1")


@pytest.mark.slow
def test_two_processes_share_the_work_and_one_writes(stage_arguments, tmp_path):
    arguments = stage_arguments(tmp_path / "stage1", "--logging_steps", "1", "--use_cpu", "true")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            "recipes/stage1_note.py",
            *arguments,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    load_model_folder(tmp_path / "stage1")
    history = json.loads((tmp_path / "stage1" / "training.json").read_text())
    records = len(load_records(arguments[arguments.index("--dataset") + 1], "train"))
    assert history["log"][0]["epoch"] == pytest.approx(8 / records, rel=0.2)  # two processes of four records a step


def test_a_finished_stage_is_not_trained_again(stage_arguments, stage1_folder):
    with pytest.raises(ClinRaGenInputError, match="exists already"):
        stage1_note.main(stage_arguments(stage1_folder))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: "-".join(path.with_suffix("").parts[2:]))
def test_every_configuration_parses(path, tmp_path):
    stage = (stage1_note, stage2_lab, stage3_multimodal, stage4_rewards)[int(path.stem[-1]) - 1]
    kind = RewardStageArguments if stage is stage4_rewards else StageArguments
    defaults = stage.STAGE
    model_args, data_args, stage_args = parse_arguments(["--config", str(path)], kind, **defaults)
    assert data_args.dataset
    assert stage_args.trained_modules == defaults["trained_modules"]
    assert data_args.inputs == defaults["inputs"]
    assert (model_args.model_name_or_path is None) <= (path.stem == "stage1")
    assert stage_args.report_to in ("none", [])


def test_a_stage_ends_when_it_gets_no_better(stage_arguments, tmp_path):
    frozen = {"learning_rate": 0.0, "max_steps": 9, "early_stopping_patience": 2}
    stage1_note.main(stage_arguments(tmp_path / "stage1", **frozen))
    log = json.loads((tmp_path / "stage1" / "training.json").read_text())["log"]
    assert [entry["step"] for entry in log if "eval_micro_f1" in entry] == [1, 2, 3]  # the best, and two no better


@pytest.mark.parametrize(("limit", "records", "warns"), [(1, "1 record", True), (4, "4 records", False)])
def test_a_validation_says_of_how_many_records_it_is(
    stage_arguments, tmp_path, data_folder, caplog, monkeypatch, limit, records, warns
):
    monkeypatch.setattr(stages, "ENOUGH_RECORDS", 4)
    caplog.set_level("INFO", logger="recipes.training.stages")
    given = {"eval_split": "train", "max_eval_samples": limit, "max_steps": 1}
    stage1_note.main(stage_arguments(tmp_path / "stage1", **given))
    said = [record.message for record in caplog.records if " of split train" in record.message]
    fault = f"{data_folder / 'dataset'}: validation on {records} of split train, too few to tell which checkpoint is"
    assert [line.startswith(fault) for line in said] == [True, False][not warns :]
    assert re.search(rf"/stage1: best micro_f1 \d\.\d+, on {records} of split train$", said[-1])


def test_the_command_line_overrides_the_file(stage_arguments, tmp_path):
    _, _, stage_args = parse_arguments(
        stage_arguments(tmp_path / "x", "--learning_rate", "0.5", "--trained_modules", "backbone")
    )
    assert (stage_args.learning_rate, stage_args.trained_modules, stage_args.max_steps) == (0.5, ["backbone"], 2)


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (["--inputs", "picture"], {}, r"inputs is \['picture'\]; choose among note, lab"),
        (["--trained_modules", "head"], {}, "trained_modules"),
        ([], {"learning_rat": 1}, "learning_rat"),
        ([], {"learning_rate": "fast"}, "learning_rate"),
        ([], {"text_config": {}}, "model_type"),
        ([], {"knowledge": "nowhere.json"}, "no knowledge file"),
        (["--model_name_or_path", "nowhere/model"], {}, "no model to load"),
        (["--train_split", "training"], {}, "no split 'training'"),
    ],
)
def test_bad_arguments_are_refused_by_name(stage_arguments, tmp_path, options, changes, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        stage1_note.main(stage_arguments(tmp_path / "out", *options, **changes))
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_rationales_is_refused(stage_arguments, stage1_folder, tmp_path):
    for main, options in ((stage1_note.main, []), (stage2_lab.main, ["--model_name_or_path", str(stage1_folder)])):
        with pytest.raises(ClinRaGenInputError, match=r"no rationales; run .*generate_rationales"):
            main(stage_arguments(tmp_path / "out", *options, dataset="records"))


def test_stage2_needs_a_model_and_refuses_an_unfinished_one(stage_arguments, stage1_folder, tmp_path):
    with pytest.raises(ClinRaGenInputError, match="--model_name_or_path is needed"):
        stage2_lab.main(stage_arguments(tmp_path / "out"))
    shutil.copytree(stage1_folder, tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").unlink()
    with pytest.raises(ClinRaGenInputError, match=r"not a finished model folder: model\.safetensors"):
        stage2_lab.main(stage_arguments(tmp_path / "out", "--model_name_or_path", tmp_path / "half"))


def test_a_mistake_on_the_command_line_is_one_line_and_code_2(stage_arguments, tmp_path):
    done = run_script(stage1_note.__file__, *stage_arguments(tmp_path / "out", dataset="nowhere"))
    assert done.returncode == 2
    assert "error: " in done.stderr.splitlines()[-1]
    assert "is not a finished dataset folder" in done.stderr.splitlines()[-1]


def test_statistics_are_those_of_plausible_values(data_folder):
    records = load_records(str(data_folder / "dataset"), "train")
    channels = channels_with_statistics(str(data_folder / "dataset"), records)
    for i in (3, 8):
        values = [row[i] for rows in records["lab_values"] for row in rows if row[i] == row[i]]
        assert channels[i]["mean"] == pytest.approx(sum(values) / len(values), rel=1e-6)
        variance = sum((v - channels[i]["mean"]) ** 2 for v in values) / len(values)
        assert channels[i]["std"] == pytest.approx(variance**0.5, rel=1e-4)


def test_a_record_without_a_rationale_teaches_its_diagnoses_alone(data_folder, stage1_folder):
    _, processor = load_model_folder(stage1_folder)
    records = load_records(str(data_folder / "dataset"), "train", limit=6)
    dropped = records.map(
        lambda row, i: {"note_rationale": "", "lab_rationale": "", "teacher": ""} if i % 2 else {}, with_indices=True
    )
    whole, partly = (encode_records(r, processor, ["note", "lab"], 200)["labels"] for r in (records, dropped))
    end = processor.tokenizer.eos_token_id
    for i in range(6):
        assert whole[i][-1] == end
        if i % 2:
            assert end not in partly[i]
            assert partly[i] == whole[i][: len(partly[i])]
            written = processor.parse(processor.tokenizer.decode(partly[i]))
            assert written["diagnoses"] == [processor.labels[d] for d in records[i]["diagnoses"]]
            assert written["rationale"] == ""
        else:
            assert partly[i] == whole[i]


def test_where_the_rationale_comes_first_a_record_without_one_is_left_out(data_folder, stage1_folder):
    _, processor = load_model_folder(stage1_folder)
    records = load_records(str(data_folder / "dataset"), "train", limit=6)
    dropped = records.map(
        lambda row, i: {"note_rationale": "", "lab_rationale": "", "teacher": ""} if i % 2 else {}, with_indices=True
    )
    encoded = encode_records(dropped, processor, ["note", "lab"], 300, rationale_first=True)
    assert len(encoded) == 3
    for row, record in zip(encoded, records.select([0, 2, 4]), strict=True):
        written = processor.parse(processor.tokenizer.decode(row["labels"], skip_special_tokens=True))
        assert written["diagnoses"] == [processor.labels[d] for d in record["diagnoses"]]
        assert written["note_rationale"] == record["note_rationale"]


def test_a_stage_without_rationales_learns_diagnoses_alone(stage_arguments, data_folder, tmp_path):
    stage1_note.main(stage_arguments(tmp_path / "stage1", rationales=[], max_steps=1))
    _, processor = load_model_folder(tmp_path / "stage1")
    records = load_records(str(data_folder / "dataset"), "train", limit=4)
    for row in encode_records(records, processor, [], 200):
        written = processor.parse(processor.tokenizer.decode(row["labels"], skip_special_tokens=True))
        assert written["rationale"] == ""
    assert json.loads((tmp_path / "stage1" / "training.json").read_text())["data"]["rationales"] == []


@pytest.mark.parametrize(("ignore", "pad"), [(True, -100), (False, 0)])
def test_collator_pads_and_keeps_padding_out_of_the_loss(data_folder, stage1_folder, ignore, pad):
    _, processor = load_model_folder(stage1_folder)
    processor.modalities = ["note", "lab"]
    records = load_records(str(data_folder / "dataset"), "train", limit=4)
    encoded = encode_records(records, processor, ["note", "lab"], 60).with_format("numpy")
    batch = ClinRaGenCollator(processor, ignore)([encoded[i] for i in range(4)])
    for i in range(4):
        length = len(encoded[i]["labels"])
        assert batch["labels"][i, :length].tolist() == encoded[i]["labels"].tolist()
        assert set(batch["labels"][i, length:].tolist()) <= {pad}
        assert int(batch["attention_mask"][i].sum()) == len(encoded[i]["input_ids"])
        assert batch["diagnosis_labels"][i].nonzero().flatten().tolist() == records[i]["diagnoses"]
    direct = processor(
        notes=records["note"], lab_values=records["lab_values"], lab_times=records["lab_times"], return_tensors="pt"
    )
    torch.testing.assert_close(batch["past_values"], direct["past_values"])
    assert torch.equal(batch["past_observed_mask"], direct["past_observed_mask"])


def test_accumulating_one_record_at_a_time_gives_the_gradient_of_the_batch(
    data_folder, stage1_folder, stage_arguments
):
    """Loss and gradient do not grow with the number of accumulation steps (each record's loss is its own mean)."""
    losses = []
    for accumulation in (1, 2):
        model, processor = load_model_folder(stage1_folder)
        records = load_records(str(data_folder / "dataset"), "train", limit=4)
        _, _, args = parse_arguments(
            stage_arguments(stage1_folder.parent / f"a{accumulation}", "--gradient_accumulation_steps", accumulation)
            + ["--per_device_train_batch_size", str(4 // accumulation), "--learning_rate", "0", "--max_steps", "1"]
        )
        trainer = ClinRaGenTrainer(
            model=model,
            args=args,
            train_dataset=encode_records(records, processor, ["note", "lab"], 60).with_format("numpy"),
            eval_dataset=[],
            data_collator=ClinRaGenCollator(processor),
            processing_class=processor,
        )
        trainer.args.eval_strategy = trainer.args.save_strategy = "no"
        trainer.args.load_best_model_at_end = False
        losses.append(trainer.train().training_loss)
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.parametrize(("given", "asked"), [([], 1), (["--generation_num_beams", "3"], 3)])
def test_generation_in_validation_has_the_requested_beams(
    data_folder, stage1_folder, stage_arguments, given, asked, tmp_path, monkeypatch
):
    model, processor = load_model_folder(stage1_folder)
    _, _, args = parse_arguments(stage_arguments(tmp_path / "out", *given))
    args.eval_strategy = args.save_strategy = "no"
    args.load_best_model_at_end = False
    records = load_records(str(data_folder / "dataset"), "test", limit=2)
    collator = ClinRaGenCollator(processor)
    batch = collator([*encode_records(records, processor, ["note"], 60).with_format("numpy")])
    trainer = ClinRaGenTrainer(
        model=model, args=args, data_collator=collator, processing_class=processor, train_dataset=records
    )
    used, generate = [], model.generate
    monkeypatch.setattr(model, "generate", lambda **options: used.append(options["num_beams"]) or generate(**options))
    written = trainer.generate(batch)
    assert used == [asked]
    assert len(written) == 2


@pytest.mark.parametrize("kind", ["term", "prototype"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(
    ("stage", "inputs"),
    [
        (stage1_note, ["note"]),
        (stage2_lab, ["lab"]),
        (stage3_multimodal, ["note", "lab"]),
        (stage3_multimodal, ["note"]),
    ],
)
def test_every_weight_that_learns_has_a_gradient_which_several_processes_wait_for(
    data_folder, tiny_tokenizer, tiny_processor, stage_arguments, tmp_path, stage, inputs, residual, kind
):
    options = {"knowledge_attention_type": kind, "use_knowledge_residual": residual, "diagnosis_loss_weight": 0.0}
    model = make_tiny_model(make_tiny_config(tiny_tokenizer, **options))
    processor = copy.copy(tiny_processor)
    processor.modalities = inputs
    records = load_records(str(data_folder / "dataset"), "train", limit=3)
    collator = ClinRaGenCollator(processor)
    batch = collator([*encode_records(records, processor, ["note", "lab"], 60).with_format("numpy")])
    _, _, args = parse_arguments(stage_arguments(tmp_path / "out"), **stage.STAGE)
    freeze_all_but(model, args.trained_modules)
    ClinRaGenTrainer(model=model, args=args, data_collator=collator, processing_class=processor, eval_dataset=records)
    model.train()(**batch).loss.backward()
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert [name for name, weight in learning.items() if weight.grad is None] == []
    reached = {"note": {"backbone"}, "lab": {"time_series_encoder", "knowledge_attention"}}
    wanted = {*args.trained_modules} & set.union({"backbone"}, *(reached[name] for name in inputs))
    assert {name.partition(".")[0] for name in learning} == wanted


@pytest.mark.parametrize(("records", "batch", "fits"), [(3, 4, False), (4, 4, True), (5, 4, True), (4, 5, False)])
def test_a_validation_whose_only_batch_would_be_dropped_is_refused(stage_arguments, tmp_path, records, batch, fits):
    given = {"dataloader_drop_last": True, "max_eval_samples": records, "per_device_eval_batch_size": batch}
    arguments = stage_arguments(tmp_path / "out", **given, max_steps=1, eval_split="train")
    if fits:
        stage1_note.main(arguments)
        return
    with pytest.raises(
        ClinRaGenInputError, match=f"leaves nothing of the {records} records .* batches of {batch}; lower"
    ):
        stage1_note.main(arguments)


def test_one_batch_can_be_overfitted(data_folder, stage1_folder):
    model, processor = load_model_folder(stage1_folder)
    records = load_records(str(data_folder / "dataset"), "train", limit=4)
    encoded = encode_records(records, processor, ["note", "lab"], 60).with_format("numpy")
    batch = ClinRaGenCollator(processor)([encoded[i] for i in range(4)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = model(**batch).loss.item()
    for _ in range(60):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.2 * first


def test_stage_yaml_files_name_only_fields_that_exist():
    assert CONFIGS
    for path in CONFIGS:
        assert isinstance(yaml.safe_load(path.read_text()), dict)
