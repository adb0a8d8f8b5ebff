# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import json
import math
import shutil

import pytest
import torch
from torch.nn import functional as F

from modeling_clinragen import ClinRaGenInputError
from recipes import stage1_note, stage2_lab, stage4_rewards
from recipes.arguments import parse_arguments
from recipes.data import ClinRaGenCollator, encode_records, load_records
from recipes.distillation import DistillationTrainer, distillation_loss, load_teacher
from recipes.model_folder import load_model_folder
from recipes.training import freeze_all_but


def random_logits(seed, shape=(2, 5, 7)):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([[3, 1, 0, 6, 2], [5, 2, -100, -100, -100]])


def test_the_divergence_is_that_of_a_computation_by_hand():
    student = torch.tensor([[[0.0, 0.0], [4.0, 0.0]]])
    teacher = torch.tensor([[[2.0 * math.log(3.0), 0.0], [0.0, 0.0]]])
    labels = torch.tensor([[1, -100]])
    # At T = 2: the teacher gives 3/4 and 1/4, the student 1/2 each; the other token is padding.
    expected = 4.0 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert distillation_loss(student, teacher, labels, temperature=2.0).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("number", [None, 20])
def test_the_divergence_is_that_of_trl(temperature, number):
    from trl.experimental.gkd import GKDTrainer

    student, teacher = random_logits(0), random_logits(1)
    theirs = GKDTrainer.generalized_jsd_loss(
        student, teacher, LABELS, beta=0, temperature=temperature, num_items_in_batch=number
    )
    ours = distillation_loss(student, teacher, LABELS, temperature, num_items_in_batch=number)
    torch.testing.assert_close(ours, temperature**2 * theirs)


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    student = random_logits(0).requires_grad_()
    loss = distillation_loss(student, student.detach(), LABELS, temperature=3.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(student.grad, torch.zeros_like(student))


def test_weights_of_tokens_count_and_padding_does_not():
    student, teacher = random_logits(0), random_logits(1)
    whole = distillation_loss(student, teacher, LABELS)
    student[1, 2:], teacher[1, 2:] = 100.0, float("-inf")
    assert torch.equal(distillation_loss(student, teacher, LABELS), whole)
    weights = torch.zeros(2, 5)
    weights[0, 3], weights[1, 0] = 3.0, 1.0
    single = [
        F.kl_div(student[i].log_softmax(-1), teacher[i].softmax(-1), reduction="sum").item() for i in ((0, 3), (1, 0))
    ]
    weighted = distillation_loss(student, teacher, LABELS, loss_weights=weights)
    assert weighted.item() == pytest.approx((3 * single[0] + single[1]) / 4, rel=1e-5)


def test_parts_of_a_global_batch_add_up_to_the_whole():
    student, teacher = random_logits(0), random_logits(1)
    number = int((LABELS != -100).sum())
    parts = [
        distillation_loss(student[i : i + 1], teacher[i : i + 1], LABELS[i : i + 1], 2.0, num_items_in_batch=number)
        for i in (0, 1)
    ]
    torch.testing.assert_close(parts[0] + parts[1], distillation_loss(student, teacher, LABELS, 2.0))


@pytest.fixture(scope="session")
def teacher_folder(stage_arguments, tmp_path_factory):
    """A larger model of the same data, and so of the same vocabulary."""
    output = tmp_path_factory.mktemp("teacher") / "stage1"
    shape = {"model_type": "t5", "d_model": 48, "d_ff": 64, "d_kv": 16, "num_heads": 3, "num_layers": 2}
    stage1_note.main(stage_arguments(output, text_config=shape, max_steps=1, seed=5))
    return output


def trainer_and_batch(data_folder, stage_arguments, student_folder, teacher_folder, output, *options):
    model, processor = load_model_folder(student_folder)
    _, _, args = parse_arguments(
        stage_arguments(output, "--distillation_weight", "0.3", "--distillation_temperature", "2", *options)
    )
    records = load_records(str(data_folder / "dataset"), "train", limit=4)
    encoded = encode_records(records, processor, ["note", "lab"], 60).with_format("numpy")
    collator = ClinRaGenCollator(processor, True, args.diagnosis_token_weight, args.rationale_token_weight)
    teacher = load_teacher(str(teacher_folder), model, processor)
    freeze_all_but(model, ["backbone", "diagnosis_head"])
    trainer = DistillationTrainer(
        model=model,
        args=args,
        train_dataset=encoded,
        eval_dataset=encoded,
        data_collator=collator,
        processing_class=processor,
        teacher=teacher,
    )
    return trainer, collator([encoded[i] for i in range(4)])


@pytest.mark.parametrize("weights", [("1", "1"), ("2", "0.5")])
def test_the_loss_of_training_mixes_cross_entropy_and_divergence(
    data_folder, stage_arguments, stage1_folder, teacher_folder, tmp_path, weights
):
    options = ["--diagnosis_token_weight", weights[0], "--rationale_token_weight", weights[1]]
    trainer, batch = trainer_and_batch(
        data_folder, stage_arguments, stage1_folder, teacher_folder, tmp_path / "x", *options
    )
    model, teacher, labels = trainer.model, trainer.teacher, batch["labels"]
    number = (labels != -100).sum()
    loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=number)

    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    start = model.prepare_decoder_input_ids_from_labels(labels)
    ours, theirs = (m(**inputs, decoder_input_ids=start) for m in (model, teacher))
    total = 0.0
    for row, place in (labels != -100).nonzero().tolist():
        weight = 1.0 if "loss_weights" not in batch else batch["loss_weights"][row, place].item()
        cross_entropy = -ours.logits[row, place].log_softmax(-1)[labels[row, place]]
        student, target = ((o.logits[row, place] / 2).log_softmax(-1) for o in (ours, theirs))
        divergence = (target.exp() * (target - student)).sum()
        total = total + weight * (0.7 * cross_entropy + 0.3 * 4 * divergence)
    heads = F.binary_cross_entropy_with_logits(
        model.encode(**inputs).member_logits[:, 0], batch["diagnosis_labels"], reduction="mean"
    )
    torch.testing.assert_close(loss, total / number + heads, rtol=1e-4, atol=1e-5)


def test_the_teacher_does_not_move_and_needs_no_gradient(
    data_folder, stage_arguments, stage1_folder, teacher_folder, tmp_path
):
    trainer, _ = trainer_and_batch(data_folder, stage_arguments, stage1_folder, teacher_folder, tmp_path / "x")
    trainer.args.eval_strategy = trainer.args.save_strategy = "no"
    trainer.args.load_best_model_at_end = False
    before = {name: weight.clone() for name, weight in trainer.teacher.state_dict().items()}
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert 0 < losses[1] < losses[0]
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.teacher.state_dict().items())
    assert not trainer.teacher.training
    assert all(weight.grad is None for weight in trainer.teacher.parameters())
    assert not any("teacher" in name for name in trainer.model.state_dict())


def test_a_step_in_parts_has_the_loss_of_the_whole(
    data_folder, stage_arguments, stage1_folder, teacher_folder, tmp_path
):
    losses = []
    for accumulation in (1, 4):
        options = ["--gradient_accumulation_steps", accumulation, "--learning_rate", "0", "--max_steps", "1"]
        options += ["--per_device_train_batch_size", 4 // accumulation, "--rationale_token_weight", "0.5"]
        trainer, _ = trainer_and_batch(
            data_folder, stage_arguments, stage1_folder, teacher_folder, tmp_path / f"x{accumulation}", *options
        )
        trainer.args.eval_strategy = trainer.args.save_strategy = "no"
        trainer.args.load_best_model_at_end = False
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            elif isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        losses.append(trainer.train().training_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_stage_learns_from_a_larger_teacher_and_says_so(stage_arguments, teacher_folder, tmp_path):
    stage1_note.main(stage_arguments(tmp_path / "stage1", "--distillation_teacher", teacher_folder, max_steps=1))
    stage = json.loads((tmp_path / "stage1" / "training.json").read_text())["stages"][-1]
    assert stage["distillation_teacher"] == "stage1"
    assert stage["settings"]["distillation_weight"] == 0.5


def test_what_the_teacher_learned_from_credentialed_data_the_student_has_too(
    stage_arguments, teacher_folder, tmp_path
):
    shutil.copytree(teacher_folder, tmp_path / "gated")
    history = json.loads((tmp_path / "gated" / "training.json").read_text())
    history["source"]["credentialed"] = True
    (tmp_path / "gated" / "training.json").write_text(json.dumps(history))
    stage1_note.main(stage_arguments(tmp_path / "out", "--distillation_teacher", tmp_path / "gated", max_steps=1))
    assert json.loads((tmp_path / "out" / "training.json").read_text())["source"]["credentialed"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("vocabulary", "differ in their vocabulary"),
        ("labels", "differ in their labels"),
        ("channels", "differ in their channels or their statistics"),
        ("modalities", "has not learned to read lab"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused_in_one_line(stage1_folder, tmp_path, change, message):
    student, processor = load_model_folder(stage1_folder)
    processor.modalities = ["note", "lab"] if change == "modalities" else ["note"]
    shutil.copytree(stage1_folder, tmp_path / "teacher")
    config = json.loads((tmp_path / "teacher" / "config.json").read_text())
    if change == "labels":
        config["labels"][0] = "Something else"
    if change == "channels":
        config["channels"][2]["mean"] += 1.0
    (tmp_path / "teacher" / "config.json").write_text(json.dumps(config))
    if change == "vocabulary":
        path = tmp_path / "teacher" / "tokenizer.json"
        tokenizer = json.loads(path.read_text())
        vocabulary = tokenizer["model"]["vocab"]
        first, second = sorted(vocabulary, key=vocabulary.get)[10:12]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
        path.write_text(json.dumps(tokenizer))
    with pytest.raises(ClinRaGenInputError, match=message) as error:
        load_teacher(str(tmp_path / "teacher"), student, processor)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--distillation_teacher", "nowhere"], "no model folder at nowhere"),
        (["--distillation_weight", "1.5"], "distillation_weight is 1.5"),
        (["--distillation_temperature", "0"], "distillation_temperature is 0"),
        (["--rationale_token_weight", "-1"], "rationale_token_weight is -1"),
    ],
)
def test_bad_arguments_of_distillation_are_refused(stage_arguments, stage1_folder, tmp_path, options, message):
    with pytest.raises(ClinRaGenInputError, match=message):
        stage2_lab.main(stage_arguments(tmp_path / "out", "--model_name_or_path", stage1_folder, *options))


def test_stage_4_which_has_texts_of_its_own_refuses_a_teacher(stage_arguments, stage1_folder, tmp_path):
    with pytest.raises(ClinRaGenInputError, match="distillation_teacher is x; this stage has no use for it"):
        stage4_rewards.main(
            stage_arguments(tmp_path / "out", "--model_name_or_path", stage1_folder, "--distillation_teacher", "x")
        )
