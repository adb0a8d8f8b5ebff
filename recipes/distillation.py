# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Token-level distillation: each target token is learned from the distribution of a larger model's as well."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from recipes.model_folder import load_model_folder
from recipes.trainer import ClinRaGenTrainer


def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float = 1.0,
    loss_weights: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """
    T^2 * KL(teacher || student) over the target tokens, both softened by the temperature T.

    Args:
        student_logits, teacher_logits (`torch.Tensor` of shape `(batch_size, target_length, vocab_size)`).
        labels (`torch.LongTensor` of shape `(batch_size, target_length)`): -100 where there is no target token.
        temperature (`float`, *optional*, defaults to 1.0): above 0.
        loss_weights (`torch.Tensor`, *optional*, shape of `labels`): of each token. Default: 1.
        num_items_in_batch (`torch.Tensor` or `int`, *optional*): target tokens of the global batch, by which the sum
            is divided. Default: the sum of the weights.

    Source: Hinton et al., arXiv 1503.02531. TRL's `generalized_jsd_loss` with `beta=0` is the same divergence, but has
    no weights of tokens and no T^2, and softens padding too, in the dtype of the logits.
    """
    targets = labels != -100
    student = F.log_softmax(student_logits[targets].float() / temperature, dim=-1)  # (num_targets, vocab_size)
    teacher = F.log_softmax(teacher_logits[targets].float() / temperature, dim=-1)
    divergence = F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    weights = torch.ones_like(divergence) if loss_weights is None else loss_weights[targets].float()
    total = weights.sum() if num_items_in_batch is None else num_items_in_batch
    return temperature**2 * (weights * divergence).sum() / total


class DistillationTrainer(ClinRaGenTrainer):
    """
    `ClinRaGenTrainer` whose loss of a target token is `(1 - a) * CE + a * T^2 * KL(teacher || student)`.

    The loss of the diagnosis head stays as it is. Validation is that of the student alone.

    Args:
        teacher (`ClinRaGenLanguageModel`): as [`load_teacher`] gives it.
    """

    def __init__(self, *args, teacher: nn.Module, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher = teacher.requires_grad_(False).eval().to(self.args.device)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        share, labels = self.args.distillation_weight, inputs["labels"]
        weights = inputs.get("loss_weights", (labels != -100).float())
        inputs = {**inputs, "loss_weights": (1 - share) * weights, "skip_logits": False}
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        with torch.no_grad():
            teacher_logits = self.teacher(**inputs).logits
        divergence = distillation_loss(
            outputs.logits, teacher_logits, labels, self.args.distillation_temperature, weights, num_items_in_batch
        )
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            divergence = divergence * self.accelerator.num_processes  # as Trainer does with the loss of the model
        loss = loss + share * divergence
        return (loss, outputs) if return_outputs else loss


def load_teacher(
    folder: str, student: ClinRaGenLanguageModel, processor: ClinRaGenProcessor
) -> ClinRaGenLanguageModel:
    """
    The model folder of a teacher that reads the same inputs and writes the same tokens as the student.

    Raises:
        ClinRaGenInputError: if it does not; the message names what differs.
    """
    teacher, theirs = load_model_folder(folder)
    pairs = {
        "vocabulary": (processor.tokenizer.get_vocab(), theirs.tokenizer.get_vocab()),
        "size of the output layer": (_vocab_size(student), _vocab_size(teacher)),
        "labels": (student.config.labels, teacher.config.labels),
        "channels or their statistics": (student.config.channels, teacher.config.channels),
        "hours of series": (student.config.context_length, teacher.config.context_length),
        "grid of series": (processor.feature_extractor.grid, theirs.feature_extractor.grid),
        "order of rationale and diagnoses": (_order(student), _order(teacher)),
    }
    for name, (ours, others) in pairs.items():
        if ours != others:
            raise ClinRaGenInputError(
                f"distillation_teacher: {folder} and the student differ in their {name}; train the teacher on the "
                "student's dataset with the same settings but for its size"
            )
    missing = [name for name in processor.modalities if name not in theirs.modalities]
    if missing:
        raise ClinRaGenInputError(
            f"distillation_teacher: {folder} has not learned to read {' and '.join(missing)}, which the student reads"
        )
    return teacher


def _vocab_size(model: ClinRaGenLanguageModel) -> int:
    return model.config.text_config.get_text_config(decoder=True).vocab_size


def _order(model: ClinRaGenLanguageModel) -> bool:
    return bool((model.config.diagnosis_token_ids or {}).get("opens_anywhere"))
