# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A pretrained encoder with a head on the notes, all weights fine-tuned from a linear probe (Devlin et al., BERT, 2019;
Kumar et al., ICLR 2022); by default all-MiniLM-L6-v2 (Wang et al., MiniLM, 2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from datasets import Dataset

from datasets_scripts.common.checkpoints import resolve_checkpoint
from modeling_clinragen import ClinRaGenInputError
from recipes.baselines.common import Classifier, Fitted, Task, best_threshold, by_threshold
from recipes.baselines.settings import EncoderSettings
from recipes.training.checkpoints import last_checkpoint
from recipes.training.fitting import Described, logistic_regression


if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

READS = ("note",)


def fit(task: Task, settings: EncoderSettings) -> Fitted:
    return by_threshold(fit_classifier(task, settings), task)


def fit_classifier(task: Task, settings: EncoderSettings) -> Classifier:
    trainer = classifier_trainer(task, settings)
    checkpoint = last_checkpoint(trainer.args.output_dir)
    if checkpoint is None:
        start_from_probe(trainer)
    trainer.train(resume_from_checkpoint=checkpoint)

    def probabilities(records: Dataset) -> np.ndarray:
        return sigmoid(trainer.predict(encoded(records, trainer.processing_class, settings.max_length)).predictions)

    return Classifier(probabilities, num_parameters=trainer.model.num_parameters())


def classifier_trainer(task: Task, settings: EncoderSettings) -> Trainer:
    """Return a trainer of all weights, which keeps the epoch with the best micro-F1 on the validation split."""
    from transformers import Trainer, set_seed

    set_seed(task.seed)  # before the head is drawn
    model, tokenizer = load_encoder(settings.model_name_or_path, task.labels)
    rows = {
        name: encoded(records, tokenizer, settings.max_length).add_column("labels", task.gold(records).tolist())
        for name, records in (("train", task.train), ("validation", task.validation))
    }
    return Trainer(
        model=model,
        args=training_arguments(task, settings),
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        compute_metrics=lambda p: {"micro_f1": best_threshold(p.label_ids, sigmoid(p.predictions))[1]},
    )


def start_from_probe(trainer: Trainer) -> None:
    """
    Set the head to the logistic regression, with a ridge penalty, on the pretrained features of the training split.

    A head with random weights would distort the features in the first epochs (Kumar et al., ICLR 2022), and
    the features of a sentence encoder differ too little between notes for such a head to learn from few notes.
    """
    labels = torch.tensor(trainer.train_dataset["labels"])
    head = [m for m in trainer.model.modules() if isinstance(m, torch.nn.Linear)][-1]
    seen: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().float().cpu()))
    trainer.predict(trainer.train_dataset)
    hook.remove()
    features = torch.cat(seen)[: len(labels)]  # (num_records, width)
    mean, std = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)
    weights = logistic_regression(Described.plain(((features - mean) / std).numpy(), labels.shape[1]), labels, c=0.1)
    with torch.no_grad():
        head.weight.copy_(weights.own / std)
        head.bias.copy_(weights.bias - (weights.own / std) @ mean)


def encoded(records: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    return Dataset.from_dict(dict(tokenizer(list(records["note"]), truncation=True, max_length=max_length)))


def load_encoder(name_or_path: str, labels: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """
    Return the encoder with a new head for `labels`, and its tokenizer.

    Raises:
        ClinRaGenInputError: if nothing can be loaded from there.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    checkpoint = resolve_checkpoint(name_or_path)
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            checkpoint, num_labels=len(labels), problem_type="multi_label_classification"
        )
        return model, AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise ClinRaGenInputError(f"model_name_or_path: no encoder to load from {name_or_path}: {error}") from None


def training_arguments(task: Task, settings: EncoderSettings) -> TrainingArguments:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(task.work / "encoder"),
        num_train_epochs=settings.num_train_epochs,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        per_device_eval_batch_size=64,
        learning_rate=settings.learning_rate,
        warmup_steps=0.1,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="micro_f1",
        logging_strategy="epoch",
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=task.seed,
    )


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).sigmoid().numpy()
