# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans against real stages: steps, records, weights, optimizer states; and the text of a plan."""

import json
from dataclasses import replace
from math import ceil
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Trainer

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note, stage2_lab, stage3_multimodal, stage4_rewards
from recipes.models.backbone import load_backbone
from recipes.models.folder import load_model_folder
from recipes.training import plan as planning
from recipes.training.data import ClinRaGenCollator, encode_records, load_records
from recipes.training.fields import read_fields
from recipes.training.gpus import GPUS, gpu_of, name_of
from recipes.training.plan import plan_stage
from recipes.training.stage_simulation import simulated_stage
from recipes.training.trainer import ClinRaGenTrainer, EpochLengthGroupedSampler


def read(arguments, stage=stage1_note):
    return read_fields([*arguments, *([] if "--plan" in arguments else ["--plan"])], **stage.STAGE)


@pytest.fixture(scope="module")
def plan(stage_arguments, tmp_path_factory):
    """Of a stage 1 of three epochs."""
    output = tmp_path_factory.mktemp("plan") / "out"
    changes = {"max_steps": -1, "num_train_epochs": 3, "eval_strategy": "epoch", "save_strategy": "epoch"}
    given = read(stage_arguments(output, **changes))
    return plan_stage(given, builds_model=True)


@pytest.fixture(scope="module")
def stage3(stage_arguments, stage1_folder, tmp_path_factory):
    """A stage 3 to go through, and its arguments; its batches are grouped by length."""
    output = tmp_path_factory.mktemp("stage3") / "out"
    options = ["--model_name_or_path", stage1_folder, "--train_sampling_strategy", "group_by_length"]
    given = read(stage_arguments(output, *options), stage3_multimodal)
    return simulated_stage(given, False, on_gpu=False), given


def test_a_plan_has_the_parameters_of_the_model_that_the_stage_makes(plan, stage1_folder):
    model, _ = load_model_folder(stage1_folder)
    parts = {name: sum(weight.numel() for weight in part.parameters()) for name, part in model.named_children()}
    assert dict(plan.parameters) == parts
    head = {name: sum(w.numel() for w in part.parameters()) for name, part in model.diagnosis_head.named_children()}
    assert plan.trained["backbone"] + plan.trained["decoder"] == parts["backbone"]
    assert plan.trained["diagnosis_head"] == parts["diagnosis_head"] - head["linear"]
    assert set(plan.trained) == {"backbone", "decoder", "diagnosis_head"}
    held = [*model.parameters(), *model.buffers()]
    sizes = {weight.data_ptr(): weight.numel() * weight.element_size() for weight in held if weight.numel()}
    assert plan.memory["weights"] == sum(sizes.values())
    assert plan.memory["gradients"] == 4 * sum(plan.trained.values())


def test_a_plan_counts_the_records_and_tokens_of_the_dataset(plan, data_folder, stage1_folder):
    records = load_records(str(data_folder / "dataset"), "train")
    assert plan.records.is_whole
    assert plan.records.number == len(records) == len(plan.records.rows)
    assert plan.steps == 3 * ceil(len(records) / 4) == 3 * plan.epoch_steps
    assert plan.evaluations == 3
    assert plan.evaluated.number == 4  # max_eval_samples
    _, processor = load_model_folder(stage1_folder)
    processor.modalities = ["note"]
    encoded = encode_records(records, processor, ["note", "lab"], 60)
    assert sorted(plan.records.note) == sorted(map(len, encoded["input_ids"]))
    assert sorted(plan.records.target) == sorted(map(len, encoded["labels"]))
    assert not plan.records.series.any()
    assert 0 <= plan.padding < 0.7


def test_series_tokens_are_those_that_the_language_model_reads(stage3):
    steps, _ = stage3
    records = steps.read("train")
    model, _ = load_model_folder(stage3[1].model.model_name_or_path)
    batch = ClinRaGenCollator(steps.processor)(records.rows[:5])
    with torch.no_grad():
        _, mask, _ = model._embed(
            batch["input_ids"], batch["attention_mask"], batch["past_values"], batch["past_observed_mask"], None, None
        )
    assert mask.sum(dim=1).tolist() == (records.note + records.series)[:5].tolist()
    assert records.series.any()


def test_batches_are_those_that_the_trainer_draws_in_its_first_epoch(stage3):
    steps, _ = stage3
    records = steps.read("train")
    lengths = [row["length"] for row in records.rows]
    sampler = EpochLengthGroupedSampler(steps.args.train_batch_size, lengths=lengths, seed=steps.args.seed)
    assert [int(row) for batch in records.batches(steps.args) for row in batch] == list(sampler)


@given(
    records=st.integers(1, 500),
    batch=st.integers(1, 40),
    accumulated=st.integers(1, 9),
    processes=st.integers(1, 8),
    epochs=st.floats(0.1, 5),
    max_steps=st.sampled_from([-1, 7]),
    drops=st.booleans(),
)
@settings(max_examples=150)
def test_steps_are_those_of_the_trainer(records, batch, accumulated, processes, epochs, max_steps, drops):
    drops &= records >= batch * processes
    args = SimpleNamespace(
        train_batch_size=batch,
        world_size=processes,
        gradient_accumulation_steps=accumulated,
        dataloader_drop_last=drops,
        num_train_epochs=epochs,
        max_steps=max_steps,
        eval_strategy="no",
    )
    theirs = SimpleNamespace(
        get_total_train_batch_size=lambda _: batch, get_sp_size=lambda: 1, num_examples=lambda _: records
    )
    loader = torch.utils.data.DataLoader(range(records), batch_size=batch * processes, drop_last=drops)
    _, per_epoch, _, _, _, _, total = Trainer.set_initial_training_values(theirs, args, loader)
    assert planning._steps(records, args) == (per_epoch, total, 0)


@pytest.mark.parametrize(
    ("strategy", "every", "expected"), [("epoch", None, 3), ("steps", 10, 2), ("steps", 0.5, 1), ("steps", None, 5)]
)
def test_validations_are_counted(strategy, every, expected):
    args = SimpleNamespace(
        train_batch_size=10, world_size=1, gradient_accumulation_steps=1, dataloader_drop_last=False
    )
    vars(args).update(num_train_epochs=2.5, max_steps=-1, eval_strategy=strategy, eval_steps=every, logging_steps=5)
    assert planning._steps(100, args) == (10, 25, expected)


@pytest.mark.parametrize(
    ("optim", "changes"),
    [
        ("adamw_torch", {}),
        ("adamw_torch_fused", {}),
        ("adafactor", {"optim_args": "scale_parameter=True"}),
        ("sgd", {}),
        ("rmsprop", {}),
    ],
)
def test_the_optimizer_keeps_what_a_real_one_keeps_after_a_step(stage3, optim, changes):
    steps, _ = stage3
    args = replace_args(steps.args, optim=optim, **changes)
    model, _ = load_model_folder(stage3[1].model.model_name_or_path)
    trained = {name for name, weight in steps.model.named_parameters() if weight.requires_grad}
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in trained)
        weight.grad = torch.ones_like(weight) if name in trained else None
    trainer = object.__new__(ClinRaGenTrainer)
    trainer.args, trainer.model, trainer.optimizer = args, model, None
    optimizer = trainer.create_optimizer()
    optimizer.step()
    kept = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    before, steps.args = steps.args, args
    with steps._running():
        steps._make_optimizer()
    steps.args = before
    assert steps.optimizer_state == sum(value.numel() * value.element_size() for value in kept)


def replace_args(args, **changes):
    changed = SimpleNamespace(**vars(args))
    vars(changed).update(changes)
    return changed


def test_accumulated_gradients_count_at_the_peak(stage3):
    steps, _ = stage3
    rows = steps.read("train").rows[:2]
    one = steps.train(rows)
    before, steps.args = steps.args, replace_args(steps.args, gradient_accumulation_steps=4, world_size=2)
    waiting = steps.train(rows)
    steps.args = before
    assert one.peak - steps.weights < waiting.peak - steps.weights
    assert waiting.peak >= steps.weights + steps.optimizer_state + 2 * steps.gradients
    assert (waiting.forward, waiting.backward) == (one.forward, one.backward)


def test_operations_of_all_batches_come_from_a_few(stage3):
    steps, _ = stage3
    records = steps.read("train")
    batches = records.batches(steps.args)
    each = [steps.train([records.rows[i] for i in batch]) for batch in batches[:8]]
    expected = sum(step.forward + step.backward for step in each)
    sizes = planning.np.array([records.size(batch) for batch in batches[:8]])
    operations = planning.np.array([float(step.forward + step.backward) for step in each])
    assert planning._over_all(sizes, [0, 3, 7], operations[[0, 3, 7]]) == pytest.approx(expected, rel=0.1)


def test_a_plan_writes_nothing_and_is_called_an_estimate(stage_arguments, data_folder, tmp_path, capsys):
    arguments = stage_arguments(tmp_path / "out", "--plan", "A100:0.4")
    before = sorted(path for folder in (tmp_path, data_folder) for path in folder.rglob("*"))
    stage1_note.main(arguments)
    assert sorted(path for folder in (tmp_path, data_folder) for path in folder.rglob("*")) == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Plan, an estimate: nothing was trained or written."
    rows = {line.split()[0]: line for line in lines[1:]}
    assert {"records", "tokens", "steps", "parameters", "trained", "memory", "operations", "time", "device"} < set(
        rows
    )
    assert "1 x A100 at 40% of 19.5 TFLOP/s (float32)" in rows["time"]
    assert "fits into A100" in rows["device"]


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        (stage1_note, ["--plan", "A1000"], "plan is A1000; give nothing, or a GPU of T4, .*H200$"),
        (stage1_note, ["--plan", "A100:2"], "plan is A100:2; a share of the peak rate is above 0 and at most 1"),
        (stage1_note, ["--plan", "--learning_rat", "1"], "there is no field 'learning_rat'"),
        (stage1_note, ["--plan", "--optim", "adam"], "optim"),
        (stage1_note, ["--plan", "--knowledge", "nowhere.json"], "nowhere.json"),
        (stage1_note, ["--plan", "--lora", '{"r": 4}'], "lora adapts pretrained weights"),
        (stage2_lab, ["--plan"], "--model_name_or_path is needed"),
        (stage2_lab, ["--plan", "--model_name_or_path", "nowhere/model"], "nowhere/model"),
        (stage4_rewards, ["--plan"], "plan is for stages 1 to 3"),
    ],
)
def test_a_mistake_gives_the_error_of_the_stage_itself(stage_arguments, tmp_path, stage, options, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        stage.main(stage_arguments(tmp_path / "out", *options))


def test_an_existing_folder_and_other_settings_are_refused(stage_arguments, tmp_path, stage1_folder):
    with pytest.raises(ClinRaGenInputError, match="already"):
        stage1_note.main(stage_arguments(stage1_folder, "--plan"))
    begun = tmp_path / "out.training"
    (begun / "checkpoint-1").mkdir(parents=True)
    (begun / "begun.json").write_text(json.dumps({"seed": 5}))
    with pytest.raises(ClinRaGenInputError, match="was begun with seed 5"):
        stage1_note.main(stage_arguments(tmp_path / "out", "--plan"))
    assert json.loads((begun / "begun.json").read_text()) == {"seed": 5}


def test_errors_of_the_model_are_reported_in_advance(stage_arguments, tmp_path):
    text_config = {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    text_config |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 61}
    arguments = stage_arguments(tmp_path / "out", "--plan", text_config=text_config, max_note_tokens=100)
    with pytest.raises(ClinRaGenInputError, match=r"the stage would end with an error: .* reads at most 61: lower"):
        stage1_note.main(arguments)


def test_a_plan_that_does_not_fit_names_one_that_would(plan):
    batch = {"weights": 10**9, "gradients": 10**9, "optimizer": 2 * 10**9, "activations": 4 * 10**10}
    large = replace(plan, gpu="T4", longest=(64, 500, 100), memory={**batch, "peak": 43 * 10**9, "evaluation": 0})
    room = (16 * 2**30 - 10**9) / 1.1
    assert large.largest_batch() == int((room - 3 * 10**9) / (40 * 10**9 / 64)) == 18
    (line,) = (line for line in large.lines() if line.startswith("  device"))
    assert "DOES NOT FIT into T4: 48.30 GB with what CUDA takes itself of 17.18 GB" in line
    assert "--per_device_train_batch_size 18 --gradient_accumulation_steps 4" in line
    none = replace(large, memory={**large.memory, "weights": 15 * 10**9})
    assert "not even one record fits" in none.lines()[-1]
    validation = replace(large, memory={**large.memory, "evaluation": 10**12})
    assert validation.lines()[-1].endswith("lower --per_device_eval_batch_size")


def test_the_time_is_operations_by_the_rate_that_is_reached(plan):
    run = replace(plan, gpu="A100", precision="bf16", utilisation=0.25, processes=4, forward=1e18, backward=2e18)
    run = replace(run, steps=20, epoch_steps=10, evaluations=2, validation=5e17)
    assert run.operations == 2 * 3e18 + 2 * 5e17
    assert run.rate() == 312e12
    hours = 7e18 / 4 / (312e12 * 0.25) / 3600
    assert f"{hours:.1f} hours on 4 x A100 at 25% of 312 TFLOP/s (bf16)" in run._time()
    assert "give --fp16 true" in replace(run, gpu="T4")._time()
    assert replace(run, gpu="T4", precision="fp16").rate() == 65e12


@pytest.mark.parametrize(
    ("device", "memory", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", 79.1, "A100"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "A100-40GB"),
        ("NVIDIA A10", 22.1, "A10"),
        ("Tesla T4", 14.6, "T4"),
        ("Tesla V100-SXM2-32GB", 31.7, "V100"),
        ("NVIDIA L40S", 44.4, "L40S"),
        ("NVIDIA L4", 22.0, "L4"),
        ("NVIDIA GeForce RTX 4090", 23.6, "RTX4090"),
        ("NVIDIA H100 80GB HBM3", 79.1, "H100"),
    ],
)
def test_a_device_is_identified_by_its_own_name(device, memory, name):
    assert name_of(device, memory) == name


def test_an_unknown_device_is_named():
    with pytest.raises(ClinRaGenInputError, match="plan knows no GeForce GT 710; name a GPU like it"):
        name_of("GeForce GT 710", 2)


def test_names_of_gpus_are_read_with_their_share():
    assert gpu_of("a100") == ("A100", 0.3)
    assert gpu_of("H100:0.5") == ("H100", 0.5)
    assert all(gpu.half >= gpu.tf32 and gpu.half > gpu.full and gpu.memory >= 16 for gpu in GPUS.values())


@pytest.mark.parametrize("precision", [["--bf16", "true"], ["--activation_checkpointing", "true"]])
def test_a_gpu_keeps_fewer_activations_where_they_are_smaller_or_made_again(
    stage_arguments, stage1_folder, tmp_path, precision
):
    options = ["--model_name_or_path", stage1_folder, "--plan", "A100"]
    plain, fewer = (
        plan_stage(read(stage_arguments(tmp_path / "out", *options, *more), stage3_multimodal))
        for more in ([], precision)
    )
    assert fewer.memory["activations"] < plain.memory["activations"]
    assert fewer.memory["weights"] == plain.memory["weights"]
    if "--bf16" in precision:
        assert (fewer.precision, fewer.forward) == ("bf16", pytest.approx(plain.forward, rel=0.01))
    else:
        assert fewer.backward > plain.backward


def test_streamed_records_are_planned_from_the_first_ones(stage_arguments, data_folder, tmp_path, monkeypatch):
    options = ["--streaming", "true", "--use_linear_classifier", "false"]
    steps = simulated_stage(read(stage_arguments(tmp_path / "out", *options)), True, on_gpu=True)
    some = steps.read("train", sample=10)
    assert (len(some.rows), some.is_whole) == (10, False)
    assert some.number == len(load_records(str(data_folder / "dataset"), "train"))


def test_weights_that_are_not_read_have_the_shapes_of_those_that_are(
    tmp_path, tiny_model, tiny_processor, tiny_folder
):
    for with_weights in (True, False):
        model, _ = load_model_folder(tiny_folder, with_weights=with_weights)
        assert {weight.is_meta for weight in model.parameters()} == {not with_weights}
        assert {name: weight.shape for name, weight in model.named_parameters()} == {
            name: weight.shape for name, weight in tiny_model.named_parameters()
        }
    tiny_model.backbone.save_pretrained(tmp_path / "backbone")
    tiny_processor.tokenizer.save_pretrained(tmp_path / "backbone")
    backbone, _ = load_backbone(str(tmp_path / "backbone"), with_weights=False)
    assert {weight.is_meta for weight in backbone.parameters()} == {True}
    assert backbone.lm_head.weight is backbone.shared.weight


def test_a_head_of_its_own_is_planned_with_weights_of_its_own(tmp_path, tiny_model, tiny_processor):
    backbone = tiny_model.backbone
    backbone.lm_head.weight = torch.nn.Parameter(torch.randn_like(backbone.lm_head.weight))
    backbone.config.tie_word_embeddings = False
    backbone.save_pretrained(tmp_path / "backbone")
    tiny_processor.tokenizer.save_pretrained(tmp_path / "backbone")
    loaded, _ = load_backbone(str(tmp_path / "backbone"), with_weights=False)
    assert loaded.lm_head.weight is not loaded.shared.weight
    assert sum(w.numel() for w in loaded.parameters()) == sum(w.numel() for w in backbone.parameters())
