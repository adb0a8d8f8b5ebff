# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Learning from rewards, in rounds: texts are sampled for training records, each is scored against its record, and the
decoder learns from the best.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader, SequentialSampler
from tqdm import tqdm
from transformers import set_seed

from modeling_clinragen import ClinRaGenForConditionalGeneration, ClinRaGenInputError, ClinRaGenProcessor
from modeling_clinragen.modeling_clinragen import ENCODER_INPUTS
from recipes.training.arguments import RewardStageArguments
from recipes.training.checkpoints import last_checkpoint
from recipes.training.data import ClinRaGenCollator
from recipes.training.rewards import REWARD_PARTS, RationaleReward
from recipes.training.trainer import ClinRaGenTrainer, decoded


SAMPLES = "samples.jsonl"
REWARD_COLUMNS = ["note", "lab_times", "lab_values", "diagnoses", "note_rationale", "lab_rationale"]


class Split(NamedTuple):
    """Records of a dataset folder, and the same records as `encode_records` gives them."""

    records: Dataset
    encoded: Dataset

    def select(self, rows) -> Split:
        return Split(self.records.select(rows), self.encoded.select(rows))


class RewardTrainer(ClinRaGenTrainer):
    """`ClinRaGenTrainer` that validates on whole texts, written greedily, in the order of the records."""

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None, **gen_kwargs):
        inputs = self._prepare_inputs(inputs)
        return None, self.generate(inputs), inputs["diagnosis_labels"]

    def _get_eval_sampler(self, eval_dataset):
        return SequentialSampler(eval_dataset)


def learn_in_rounds(
    model: ClinRaGenForConditionalGeneration,
    processor: ClinRaGenProcessor,
    reward: RationaleReward,
    train: Split,
    validation: Split,
    args: RewardStageArguments,
) -> RewardTrainer:
    """
    Fine-tune by best-of-N: in each round the model writes texts for some training records, and the trainable weights
    are fine-tuned on the best text of each. The final weights are the best of any round, or the initial ones.

    The texts of a round are in `OUTPUT_DIR/round-N/samples.jsonl`, its checkpoints beside them; a start after a kill
    finds both, and resumes where it stopped.

    Returns:
        `RewardTrainer`: of the last round, with the best weights and metric, and the history of all rounds.

    Source: RAFT (Dong et al., 2023). Differs from it: the reward is computed, not learned, and the list of diagnoses
    is the model's decision, not a sample.
    """
    best, kept, history = -np.inf, trainable_weights(model), []
    order = np.random.default_rng(args.seed).permutation(len(train.records))
    size = min(args.records_per_round or len(order), len(order))
    for number in range(1, args.num_rounds + 1):
        folder = Path(args.output_dir) / f"round-{number}"
        chosen = train.select(np.take(order, np.arange((number - 1) * size, number * size), mode="wrap"))
        set_seed(args.seed + number)
        samples = sample_texts(model, processor, reward, chosen, args, folder / SAMPLES)
        trainer = RewardTrainer(
            model=model,
            args=replace(args, output_dir=str(folder), eval_on_start=number == 1),
            train_dataset=best_of_n(chosen.encoded, samples, args.reward_floor),
            eval_dataset=validation.encoded,
            data_collator=ClinRaGenCollator(processor, args.ignore_padding_in_loss),
            processing_class=processor,
            compute_metrics=reward_metrics(processor, reward, validation.records),
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
        history += [{"round": number, **entry} for entry in trainer.state.log_history]
        best = max(best, history[0][f"eval_{args.metric_for_best_model}"])  # before the first round
        if trainer.state.best_metric > best:
            best, kept = trainer.state.best_metric, trainable_weights(model)
    model.load_state_dict(kept, strict=False)
    trainer.state.best_metric, trainer.state.log_history = best, history
    return trainer


def trainable_weights(model: ClinRaGenForConditionalGeneration) -> dict[str, torch.Tensor]:
    """Return a copy of the trainable weights, by name."""
    return {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def sample_texts(
    model: ClinRaGenForConditionalGeneration,
    processor: ClinRaGenProcessor,
    reward: RationaleReward,
    split: Split,
    args: RewardStageArguments,
    path: Path,
) -> list[dict]:
    """
    Return texts for each record, with their rewards; they are written to `path`, or read from it if it exists.

    Returns:
        For each record, in order, `{"stay_id", "texts"}`: for each text `tokens`, `text` and `reward`. The reward of a
        text that was cut at the token limit is 0.
    """
    if not path.is_file():
        tokens = sample_tokens(model, split.encoded, ClinRaGenCollator(processor), args)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".unfinished")
        with open(aside, "w", encoding="utf-8") as file:
            for row, group in zip(split.records, tokens, strict=True):
                texts = rewarded(row, group, processor, reward)
                file.write(json.dumps({"stay_id": row["stay_id"], "texts": texts}, ensure_ascii=False) + "\n")
        aside.rename(path)
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def rewarded(row: dict, tokens: list[list[int]], processor: ClinRaGenProcessor, reward: RationaleReward) -> list[dict]:
    """Return the texts of one record, as `sample_texts` returns them."""
    texts = processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    worth = reward(texts, **{name: [row[name]] * len(texts) for name in REWARD_COLUMNS})
    return [
        {"tokens": ids, "text": text, "reward": value if ids[-1] == processor.tokenizer.eos_token_id else 0.0}
        for ids, text, value in zip(tokens, texts, worth, strict=True)
    ]


@torch.no_grad()
def sample_tokens(
    model: ClinRaGenForConditionalGeneration,
    encoded: Dataset,
    collator: ClinRaGenCollator,
    args: RewardStageArguments,
) -> list[list[list[int]]]:
    """
    Return for each record, in order, `num_generations` sampled texts, in the form of `labels`. The diagnoses are those
    that the model decides, because its rationales will argue for these.
    """
    model.eval()
    end = model.config.eos_token_id
    # Generating a batch takes as long as its longest text.
    by_length = np.argsort([len(labels) for labels in encoded["labels"]], kind="stable")
    batches = DataLoader(encoded.select(by_length), args.generation_batch_size, collate_fn=collator)
    groups = []
    for batch in tqdm(batches, desc="Sampling", unit="batch", disable=args.disable_tqdm):
        inputs = {name: batch[name].to(model.device) for name in batch if name in ENCODER_INPUTS}
        tokens = model.generate(
            **inputs,
            do_sample=True,
            temperature=args.temperature,
            top_k=0,
            num_return_sequences=args.num_generations,
        )
        rows = [row[: row.index(end) + 1] if end in row else row for row in tokens[:, 1:].tolist()]
        groups += [rows[i : i + args.num_generations] for i in range(0, len(rows), args.num_generations)]
    return [groups[i] for i in np.argsort(by_length)]


def best_of_n(encoded: Dataset, samples: list[dict], floor: float) -> Dataset:
    """
    Return the records with a best reward of at least `floor`, with that text as their target.

    Raises:
        ClinRaGenInputError: if there is none.
    """
    best = [max(sample["texts"], key=lambda text: text["reward"]) for sample in samples]
    kept = [i for i, text in enumerate(best) if text["reward"] >= floor]
    if not kept:
        most = max(text["reward"] for text in best)
        raise ClinRaGenInputError(f"reward_floor is {floor}, but no sampled text is worth more than {most:.3f}")
    tokens, form = [best[i]["tokens"] for i in kept], encoded.features["labels"]
    return encoded.select(kept).remove_columns("labels").add_column("labels", tokens, feature=form)


def reward_metrics(processor: ClinRaGenProcessor, reward: RationaleReward, records: Dataset) -> Callable:
    """Return a `compute_metrics` for `RewardTrainer`: mean `reward` of the texts, and mean of each part."""
    columns = records.select_columns(REWARD_COLUMNS)[:]

    def compute(prediction) -> dict[str, float]:
        parts = reward.parts(decoded(processor, prediction.predictions), **columns).mean(axis=0)
        return {"reward": float(parts @ reward.weights), **dict(zip(REWARD_PARTS, parts.tolist(), strict=True))}

    return compute
