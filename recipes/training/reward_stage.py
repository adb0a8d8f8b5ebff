# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The stage that learns from rewards, from its arguments to its folder."""

from functools import partial
from pathlib import Path

from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.dataset.terms import with_terms
from modeling_clinragen import ClinRaGenInputError, ClinRaGenProcessor
from recipes.models.history import stage_history
from recipes.training.arguments import (
    DataArguments,
    ModelArguments,
    RewardStageArguments,
    StageInput,
    check_unsharded,
    complete,
)
from recipes.training.clock import StageClock
from recipes.training.data import encode_records, load_records, readable_records, taught_records
from recipes.training.provenance import ENCODED, remove_encoded
from recipes.training.reinforcement import Split, learn_in_rounds
from recipes.training.rewards import RationaleReward
from recipes.training.stages import begin, finish_stage, freeze_all_but, load_for_stage, locked_stage, output_of


def train_by_rewards(given: StageInput) -> None:
    """Train the decoder on its own best texts, and leave a finished model folder."""
    model_args, data_args, stage_args = complete(given, RewardStageArguments)
    check_unsharded(stage_args)
    if stage_args.world_size > 1:
        raise ClinRaGenInputError("stage 4 runs in one process: launch it with --num_processes 1")
    with locked_stage(stage_args):
        _train(model_args, data_args, stage_args)


def _train(model_args: ModelArguments, data_args: DataArguments, stage_args: RewardStageArguments) -> None:
    begin(model_args, data_args, stage_args)
    model, processor = load_for_stage(model_args, data_args)
    if not model.config.is_encoder_decoder:
        raise ClinRaGenInputError(
            f"{model_args.model_name_or_path} holds a decoder-only model; stage 4 trains the decoder alone, so that "
            "the diagnoses stay the same, and such a model has no separate decoder"
        )
    clock = StageClock(Path(stage_args.output_dir))
    data_args.inputs = processor.modalities  # the model reads the inputs it was trained on
    freeze_all_but(model, stage_args.trained_modules)
    model.generation_config.max_new_tokens = data_args.max_target_tokens
    metadata = with_terms(data_args.dataset, read_metadata(data_args.dataset))
    synonyms = {label["name"]: label["synonyms"] for label in metadata["labels"]}
    reward = RationaleReward(processor, synonyms, stage_args.reward_weights)
    folder = Path(stage_args.output_dir) / ENCODED
    train = load_taught(data_args, processor, folder, data_args.train_split)
    validation = load_taught(data_args, processor, folder, data_args.eval_split, data_args.max_eval_samples)
    trainer = learn_in_rounds(model, processor, reward, train, validation, stage_args)
    trainer.history = partial(stage_history, trainer, data_args, metadata, model_args.model_name_or_path, clock)
    finish_stage(trainer, processor, data_args, output_of(stage_args))
    remove_encoded(stage_args.output_dir)


def load_taught(
    data_args: DataArguments, processor: ClinRaGenProcessor, folder: Path, split: str, limit: int | None = None
) -> Split:
    """
    Return the records of a split with an input of the model and a rationale of the teacher.

    Args:
        folder (`Path`): for the encoded records.
    """
    records = load_records(data_args.dataset, split, needs_rationales=True, limit=limit)
    records = taught_records(readable_records(records, processor))
    encoded = encode_records(
        records,
        processor,
        data_args.rationales,
        data_args.max_target_tokens,
        data_args.rationale_first,
        file=folder / f"{split}-{limit or 'all'}.arrow",
    )
    return Split(records, encoded.with_format("numpy"))
