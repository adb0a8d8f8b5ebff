# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Adapters for a stage that trains with LoRA."""

from __future__ import annotations

from transformers import set_seed

from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel
from recipes.models.lora import adapted_part, insert_adapters, lora_config, whole_parts
from recipes.training.arguments import ModelArguments, StageArguments


def with_adapters(
    model: ClinRaGenLanguageModel, model_args: ModelArguments, stage_args: StageArguments
) -> ClinRaGenLanguageModel:
    """
    The model itself, with the adapters of `model_args.lora` in its backbone, if that asks for any.

    Of `stage_args.trained_modules` the backbone, or its decoder, gets adapters, and the others learn whole. Where the
    base is a plain language model, an adapter holds all parts that it lacks, since they come from nowhere else; with
    an encoder as the base the decoder is one of them.

    Raises:
        ClinRaGenInputError: for fields that are not LoRA's, targets that the backbone has not, and no base.
    """
    if not model_args.lora:
        return model
    base, trained = model_args.model_name_or_path, stage_args.trained_modules
    if base is None:
        raise ClinRaGenInputError("arguments: lora adapts pretrained weights; name them by model_name_or_path")
    if not {"backbone", "decoder"} & {*trained}:
        raise ClinRaGenInputError("arguments: lora adapts the backbone, which is not in trained_modules")
    whole = whole_parts(model, base, trained)
    config = lora_config(model, model_args.lora, adapted_part(model, whole, trained))
    set_seed(stage_args.seed)  # before any adapter is drawn
    insert_adapters(model, config, whole)
    config.base_model_name_or_path = base
    return model
