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
    Return the model itself, with the adapters of `model_args.lora` in its backbone, if it asks for any.

    Of `stage_args.trained_modules`, the backbone or its decoder gets adapters, and the others are trained in full. If
    the base is a plain language model, the adapter holds all parts that the base lacks; with an encoder as the base,
    the decoder is one of them.

    Raises:
        ClinRaGenInputError: for unknown fields, targets that the backbone does not have, and a missing base.
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
    set_seed(stage_args.seed)  # before adapters are initialized
    insert_adapters(model, config, whole)
    config.base_model_name_or_path = base
    return model
