# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Stage 0, optional: without labels or rationales, the series encoder learns to fill in hidden patches of the series and
the backbone to fill in spans of the notes. Stage 1 goes on from the folder that it leaves: `--model_name_or_path`.

    accelerate launch recipes/stage0_pretrain.py --config recipes/configs/quickstart/stage0.yaml

`trained_modules` says which of the two is pretrained: `time_series_encoder`, `backbone`.

Source: PatchTST, arXiv 2211.14730 (masked pretraining); T5, arXiv 1910.10683 (span corruption). Not in the paper.
"""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from transformers import set_seed

from datasets_scripts.command import check_free, finished_folder, run_command
from datasets_scripts.dataset_folder import read_metadata
from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from recipes.arguments import (
    TARGET_FIELDS,
    DataArguments,
    PretrainArguments,
    check_unadapted,
    check_unsharded,
    check_unused,
    check_whole,
    parse_arguments,
)
from recipes.data import load_records
from recipes.history import StageClock, stage_history
from recipes.model_card import write_card
from recipes.model_folder import load_model_folder, save_model_folder
from recipes.pretraining import (
    DenoisingTrainer,
    MaskedSeriesCollator,
    MaskedSeriesModel,
    MaskedSeriesTrainer,
    SpanDenoisingCollator,
    encode_notes,
    encode_series,
    reconstruction_errors,
)
from recipes.training import build_model, freeze_all_but, last_checkpoint


logger = logging.getLogger(__name__)

STAGE = {"inputs": ["note", "lab"], "rationales": [], "trained_modules": ["time_series_encoder", "backbone"]}


def main(argv: list[str] | None = None) -> None:
    model_args, data_args, args = parse_arguments(argv, PretrainArguments, **STAGE)
    check_unadapted(model_args)
    check_unsharded(args)
    check_whole(data_args)
    output = Path(args.output_dir)
    check_free(output)
    check_pretrained(args)
    records = {
        "train": load_records(data_args.dataset, data_args.train_split),
        "eval": load_records(data_args.dataset, data_args.eval_split, limit=data_args.max_eval_samples),
    }
    set_seed(args.seed)  # before any weight is drawn
    model, processor = build_model(model_args, data_args, records["train"])
    trainers = []
    for module, pretrain in (("time_series_encoder", pretrain_series), ("backbone", pretrain_backbone)):
        if module in args.trained_modules:
            freeze_all_but(model, [module])
            folder = output.with_name(output.name + ".training") / module
            part = replace(args, output_dir=str(folder), trained_modules=[module])
            set_seed(args.seed)
            trainers.append(pretrain(model, processor, records, data_args, part, model_args.model_name_or_path))
    if trainers[0].is_world_process_zero():
        with finished_folder(output) as aside:
            model.requires_grad_(True)
            save_model_folder(model, processor, aside)
            write_card(aside, joint_history([trainer.history() for trainer in trainers]), model, processor)
        load_model_folder(output)


def check_pretrained(args: PretrainArguments) -> None:
    """A `ClinRaGenInputError` for arguments that this stage has no use for."""
    if not set(args.trained_modules) <= set(STAGE["trained_modules"]):
        raise ClinRaGenInputError(
            f"arguments: trained_modules is {args.trained_modules}; stage 0 pretrains "
            f"{' and '.join(STAGE['trained_modules'])}"
        )
    for name in ("series_mask_ratio", "note_noise_density"):
        if not 0 < getattr(args, name) < 1:
            raise ClinRaGenInputError(f"arguments: {name} is {getattr(args, name)}; it is a share between 0 and 1")
    if args.note_span_length < 1:
        raise ClinRaGenInputError(f"arguments: note_span_length is {args.note_span_length}; give 1 or more")
    check_unused(args, *TARGET_FIELDS)
    if args.push_to_hub:
        raise ClinRaGenInputError("--push_to_hub: a stage sends nothing; push its folder with recipes/push_model.py")


def pretrain_series(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: dict,
    data_args: DataArguments,
    args: PretrainArguments,
    began_from: str | None,
) -> MaskedSeriesTrainer:
    """The model's series encoder learns; its errors on the validation split end the trainer's log."""
    args = replace(
        args,
        num_train_epochs=args.series_epochs or args.num_train_epochs,
        learning_rate=float(args.module_learning_rates.get("time_series_encoder", args.learning_rate)),
        train_sampling_strategy="random",  # all series have one length
    )
    encoded = {split: encode_series(rows, processor) for split, rows in records.items()}
    collator = MaskedSeriesCollator(model.config.time_series_config.patch_length, args.series_mask_ratio)
    trainer = MaskedSeriesTrainer(
        model=MaskedSeriesModel(model),
        args=args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["eval"],
        data_collator=collator,
    )
    _train(trainer, replace(data_args, inputs=["lab"]), began_from)
    errors = reconstruction_errors(trainer.model, encoded["eval"], collator, args.seed)
    trainer.state.log_history.append({"hidden_measurements": errors, "step": trainer.state.global_step})
    if trainer.is_world_process_zero():
        shown = ", ".join(f"{name.replace('_', ' ')} {error:.3f}" for name, error in errors.items())
        logger.info("mean squared error of hidden measurements: %s", shown)
    return trainer


def pretrain_backbone(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    records: dict,
    data_args: DataArguments,
    args: PretrainArguments,
    began_from: str | None,
) -> DenoisingTrainer:
    """The model's backbone learns."""
    trainer = DenoisingTrainer(
        model=model,
        args=args,
        train_dataset=encode_notes(records["train"], processor),
        eval_dataset=encode_notes(records["eval"], processor),
        data_collator=SpanDenoisingCollator(processor.tokenizer, args.note_noise_density, args.note_span_length),
        processing_class=processor,
    )
    _train(trainer, replace(data_args, inputs=["note"]), began_from)
    return trainer


def _train(trainer: MaskedSeriesTrainer | DenoisingTrainer, data_args: DataArguments, began_from: str | None) -> None:
    folder = Path(trainer.args.output_dir)
    clock = StageClock(folder)
    trainer.add_callback(clock)
    trainer.history = partial(stage_history, trainer, data_args, read_metadata(data_args.dataset), began_from, clock)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))


def joint_history(parts: list[dict]) -> dict:
    """One `training.json` of the parts of this stage: the last one's, with what was learned and logged in all."""
    return {
        **parts[-1],
        "stages": parts[0]["stages"] + [part["stages"][-1] for part in parts[1:]],
        "trained_modules": [name for part in parts for name in part["trained_modules"]],
        "log": [entry for part in parts for entry in part["log"]],
    }


if __name__ == "__main__":
    run_command(main)
