# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Stage 4, optional: the decoder learns from texts of its own that are the best of several, by rewards that are checked
against the record. All else is frozen, so that diagnoses and probabilities stay those of stage 3.

    accelerate launch recipes/stage4_rewards.py --config recipes/configs/quickstart/stage4.yaml
"""

from functools import partial
from pathlib import Path

from datasets_scripts.common.command import check_free, run_command
from datasets_scripts.dataset.folder import read_metadata
from modeling_clinragen import ClinRaGenInputError, ClinRaGenProcessor
from recipes.models.history import StageClock, stage_history
from recipes.training.arguments import (
    DataArguments,
    RewardStageArguments,
    check_unadapted,
    check_unsharded,
    check_whole,
    parse_arguments,
)
from recipes.training.data import encode_records, load_records, readable_records, taught_records
from recipes.training.reinforcement import Split, learn_in_rounds
from recipes.training.rewards import RationaleReward
from recipes.training.stages import finish_stage, freeze_all_but, load_for_stage


STAGE = {"inputs": ["note", "lab"], "rationales": ["note", "lab"], "trained_modules": ["decoder"]}


def main(argv: list[str] | None = None) -> None:
    model_args, data_args, stage_args = parse_arguments(argv, RewardStageArguments, **STAGE)
    check_unadapted(model_args)
    check_unsharded(stage_args)
    check_whole(data_args)
    check_rewarded(data_args, stage_args)
    model, processor = load_for_stage(model_args, data_args)
    if not model.config.is_encoder_decoder:
        raise ClinRaGenInputError(
            f"{model_args.model_name_or_path} holds a decoder-only model; stage 4 trains the decoder alone, so that "
            "the diagnoses stay, and such a model has no part that writes and does not read"
        )
    output = Path(stage_args.output_dir)
    check_free(output)
    stage_args.output_dir = str(output.with_name(output.name + ".training"))
    clock = StageClock(Path(stage_args.output_dir))
    data_args.inputs = processor.modalities  # what it reads it has learned to read
    freeze_all_but(model, stage_args.trained_modules)
    model.generation_config.max_new_tokens = data_args.max_target_tokens
    synonyms = {label["name"]: label["synonyms"] for label in read_metadata(data_args.dataset)["labels"]}
    reward = RationaleReward(processor, synonyms, stage_args.reward_weights)
    train = load_taught(data_args, processor, data_args.train_split)
    validation = load_taught(data_args, processor, data_args.eval_split, data_args.max_eval_samples)
    trainer = learn_in_rounds(model, processor, reward, train, validation, stage_args)
    metadata = read_metadata(data_args.dataset)
    trainer.history = partial(stage_history, trainer, data_args, metadata, model_args.model_name_or_path, clock)
    finish_stage(trainer, processor, output)


def check_rewarded(data_args: DataArguments, stage_args: RewardStageArguments) -> None:
    """A `ClinRaGenInputError` where arguments that other stages take would break what this one promises."""
    if stage_args.trained_modules != ["decoder"]:
        raise ClinRaGenInputError(
            f"arguments: trained_modules is {stage_args.trained_modules}; stage 4 trains the decoder alone"
        )
    for name in ("num_rounds", "num_generations"):
        if getattr(stage_args, name) < 1:
            raise ClinRaGenInputError(f"arguments: {name} is {getattr(stage_args, name)}; give 1 or more")
    if stage_args.world_size > 1:
        raise ClinRaGenInputError("stage 4 runs in one process: launch it with --num_processes 1")


def load_taught(
    data_args: DataArguments, processor: ClinRaGenProcessor, split: str, limit: int | None = None
) -> Split:
    """The records of a split that the model can read and the teacher has written a rationale for."""
    records = load_records(data_args.dataset, split, needs_rationales=True, limit=limit)
    records = taught_records(readable_records(records, processor))
    encoded = encode_records(
        records, processor, data_args.rationales, data_args.max_target_tokens, data_args.rationale_first
    )
    return Split(records, encoded.with_format("numpy"))


if __name__ == "__main__":
    run_command(main)
