# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""LoRA layers in a model's backbone: which modules they adapt, how they are inserted, and how they are merged."""

from __future__ import annotations

import re

import torch
from transformers import AutoConfig, PreTrainedModel

from datasets_scripts.common.checkpoints import fields_at_fault, pretrained, reason_of
from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenInputError,
    ClinRaGenLanguageModel,
)


LORA_FIELDS = ("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules")
TARGETS = ("q", "v", "q_proj", "v_proj", "query", "value", "c_attn", "query_key_value", "qkv_proj")
NEW_PARTS = ("time_series_encoder", "knowledge_attention", "diagnosis_head")


def whole_parts(model: ClinRaGenLanguageModel, base: str, trained: list[str]) -> list[str]:
    """Return the modules that an adapter of `base` holds in full."""
    base_config = base_config_of(base)
    if base_config.model_type == ClinRaGenConfig.model_type:
        parts = [part for part in NEW_PARTS if part in trained]
    elif type(base_config) is type(model.config.text_config):
        parts = [*NEW_PARTS]
    else:  # an encoder: the other parts of a sequence-to-sequence model are new
        parts = [*NEW_PARTS, "backbone.decoder", "backbone.enc_to_dec_proj"]
    there = {name for name, _ in model.named_modules()}
    return [part for part in parts if part in there]


def adapted_part(model: ClinRaGenLanguageModel, whole: list[str], trained: list[str]) -> str:
    """Return the name of the module that adapters are inserted into."""
    if "backbone.decoder" in whole:
        if "backbone" not in trained:
            raise ClinRaGenInputError("arguments: lora has nothing to adapt: the decoder is new, and trained in full")
        return "backbone.encoder"
    if "backbone" in trained:
        return "backbone"
    return next(name for name, module in model.named_modules() if module is model.get_decoder())


def base_config_of(base: str):
    checkpoint, options = pretrained(base)
    try:
        return AutoConfig.from_pretrained(checkpoint, **options, trust_remote_code=False)
    except Exception as error:  # libraries raise errors of any class for damaged files
        raise ClinRaGenInputError(f"no model to load from {base}: {reason_of(error)}") from error


def lora_config(model: ClinRaGenLanguageModel, fields: dict, part: str):
    from peft import LoraConfig

    unknown = [name for name in fields if name not in LORA_FIELDS]
    if unknown:
        raise ClinRaGenInputError(f"arguments: lora has no field {unknown[0]!r}; choose of {', '.join(LORA_FIELDS)}")
    names = fields.get("target_modules", list(TARGETS))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ClinRaGenInputError("arguments: lora: target_modules is a list of names, such as [q, v]")
    pattern = rf"{re.escape(part)}\.(?:.*\.)?(?:{'|'.join(re.escape(name) for name in names)})"
    if not any(re.fullmatch(pattern, name) for name, _ in model.named_modules()):
        raise ClinRaGenInputError(
            f"arguments: lora: the backbone has no module {' or '.join(names)}; name its modules by target_modules"
        )
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    with fields_at_fault("lora"):
        return LoraConfig(**{**fields, "target_modules": pattern, "task_type": task})


def insert_adapters(model: ClinRaGenLanguageModel, config, whole: list[str]) -> None:
    """Insert LoRA layers; `modules_to_save` is set afterwards, so that peft does not copy those modules."""
    from peft.tuners.lora import LoraModel

    learning = {id(weight) for weight in model.parameters() if weight.requires_grad}
    with fields_at_fault("lora"):
        LoraModel(model, {"default": config}, "default")
    config.modules_to_save, config.inference_mode = whole, False
    frozen = base_weights(model)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name or (id(weight) in learning and name not in frozen))


def adapter_config(model: PreTrainedModel):
    """Return the `LoraConfig` of a model with adapters, else `None`."""
    return getattr(model, "peft_config", {}).get("default")


def base_weights(model: PreTrainedModel) -> set[str]:
    """Return the state names of the unchanged base weights; empty for a model without adapters."""
    config = adapter_config(model)
    if config is None:
        return set()
    whole = tuple(f"{part}." for part in config.modules_to_save)
    return {name for name in model.state_dict() if "lora_" not in name and not name.startswith(whole)}


def learned_state(model: PreTrainedModel, state: dict | None = None) -> dict[str, torch.Tensor]:
    """Select the part of the model's state, or of `state`, that does not belong to the base."""
    base = base_weights(model)
    state = model.state_dict() if state is None else state
    return {name: value for name, value in state.items() if name not in base}


def merge_adapters(model: ClinRaGenLanguageModel) -> ClinRaGenLanguageModel:
    """Merge the adapters into the weights, and return the same model without adapters."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge(safe_merge=True)
            model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    return model
