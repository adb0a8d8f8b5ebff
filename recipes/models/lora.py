# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""LoRA layers in a model's backbone: which modules they adapt, how they are inserted, and how they are merged."""

from __future__ import annotations

import re

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedModel

from datasets_scripts.common.checkpoints import resolve_checkpoint
from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenInputError,
    ClinRaGenLanguageModel,
)


LORA_FIELDS = ("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules")
TARGETS = ("q", "v", "q_proj", "v_proj", "query", "value", "c_attn", "query_key_value", "qkv_proj")
NEW_PARTS = ("time_series_encoder", "knowledge_attention", "diagnosis_head")


def whole_parts(model: ClinRaGenLanguageModel, base: str, trained: list[str]) -> list[str]:
    """The modules that an adapter upon `base` holds whole."""
    base_config = _config_of(base)
    if base_config.model_type == ClinRaGenConfig.model_type:
        parts = [part for part in NEW_PARTS if part in trained]
    elif type(base_config) is type(model.config.text_config):
        parts = [*NEW_PARTS]
    else:  # an encoder: what a sequence-to-sequence model needs beside it is new
        parts = [*NEW_PARTS, "backbone.decoder", "backbone.enc_to_dec_proj"]
    there = {name for name, _ in model.named_modules()}
    return [part for part in parts if part in there]


def adapted_part(model: ClinRaGenLanguageModel, whole: list[str], trained: list[str]) -> str:
    """Name of the module that adapters are put into."""
    if "backbone.decoder" in whole:
        if "backbone" not in trained:
            raise ClinRaGenInputError("arguments: lora has nothing to adapt: the decoder is new, and learns whole")
        return "backbone.encoder"
    if "backbone" in trained:
        return "backbone"
    return next(name for name, module in model.named_modules() if module is model.get_decoder())


def _config_of(base: str):
    try:
        return AutoConfig.from_pretrained(resolve_checkpoint(base), trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ClinRaGenInputError(f"no model to load from {base}: {reason}") from None


def _lora_config(model: ClinRaGenLanguageModel, fields: dict, part: str):
    from peft import LoraConfig

    unknown = [name for name in fields if name not in LORA_FIELDS]
    if unknown:
        raise ClinRaGenInputError(f"arguments: lora has no field {unknown[0]!r}; choose of {', '.join(LORA_FIELDS)}")
    names = fields.get("target_modules", list(TARGETS))
    if not isinstance(names, list) or not names:
        raise ClinRaGenInputError("arguments: lora: target_modules is a list of names, such as [q, v]")
    pattern = rf"{re.escape(part)}\.(?:.*\.)?(?:{'|'.join(re.escape(name) for name in names)})"
    if not any(re.fullmatch(pattern, name) for name, _ in model.named_modules()):
        raise ClinRaGenInputError(
            f"arguments: lora: the backbone has no module {' or '.join(names)}; name its own by target_modules"
        )
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    try:
        return LoraConfig(**{**fields, "target_modules": pattern, "task_type": task})
    except (TypeError, ValueError) as error:
        raise ClinRaGenInputError(f"arguments: lora: {error}") from None


def _insert(model: ClinRaGenLanguageModel, config, whole: list[str], quantization: str | None = None):
    """Put LoRA layers in place; `modules_to_save` is set after, so that no copies of those modules are made."""
    from peft.tuners.lora import LoraModel

    learning = {id(weight) for weight in model.parameters() if weight.requires_grad}
    flag = f"is_loaded_in_{quantization}"
    setattr(model, flag, True)  # by which PEFT knows layers of bitsandbytes
    try:
        LoraModel(model, {"default": config}, "default")
    except (TypeError, ValueError) as error:
        raise ClinRaGenInputError(f"arguments: lora: {error}") from None
    finally:
        delattr(model, flag)
    config.modules_to_save, config.inference_mode = whole, False
    frozen = base_weights(model)
    for name, weight in model.named_parameters():
        weight.requires_grad_("lora_" in name or (id(weight) in learning and name not in frozen))


def adapter_config(model: PreTrainedModel):
    """The `LoraConfig` of a model with adapters, else `None`."""
    return getattr(model, "peft_config", {}).get("default")


def base_weights(model: PreTrainedModel) -> set[str]:
    """Names in the state of the weights that stay those of the base; none in a model without adapters."""
    config = adapter_config(model)
    if config is None:
        return set()
    whole = tuple(f"{part}." for part in config.modules_to_save)
    return {name for name in model.state_dict() if "lora_" not in name and not name.startswith(whole)}


def learned_state(model: PreTrainedModel, state: dict | None = None) -> dict[str, torch.Tensor]:
    """Select the part of the model's state, or of `state`, that is not the base's."""
    base = base_weights(model)
    state = model.state_dict() if state is None else state
    return {name: value for name, value in state.items() if name not in base}


def quantize(model: ClinRaGenLanguageModel, kind: str, whole: list[str]) -> None:
    """
    Replace the linear layers of the backbone by those of bitsandbytes, and move the backbone to the accelerator.

    The head, modules that the backbone wants in full precision, layers whose width does not fit into the kernels'
    blocks of 32, and the parts that learn whole stay as they are.

    Args:
        kind (`str`): `"4bit"` (NF4) or `"8bit"`.
        whole (`list[str]`): modules that learn whole.

    Raises:
        ClinRaGenInputError: where bitsandbytes is not installed, or cannot run.
    """
    make = {"4bit": _four_bit, "8bit": _eight_bit}.get(kind)
    if make is None:
        raise ClinRaGenInputError(f"arguments: quantization is {kind!r}; choose 4bit or 8bit")
    head, precise = model.get_output_embeddings(), model.backbone._keep_in_fp32_modules or ()
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    try:
        for name, module in list(model.named_modules()):
            if type(module) is not nn.Linear or module is head or module.out_features % 32:
                continue
            if name.rpartition(".")[2] in precise:
                continue
            if name.startswith("backbone.") and not name.startswith(tuple(f"{part}." for part in whole)):
                model.set_submodule(name, make(module).to(device))
    except (ImportError, RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ClinRaGenInputError(
            f"arguments: quantization {kind} does not run here ({reason}); pip install -e .[quantization], or drop it"
        ) from error


def _four_bit(linear: nn.Linear) -> nn.Module:
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(linear.in_features, linear.out_features, bias=linear.bias is not None, quant_type="nf4")
    layer.weight = bnb.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4", module=layer)
    layer.bias = linear.bias
    return layer


def _eight_bit(linear: nn.Linear) -> nn.Module:
    import bitsandbytes as bnb

    has_bias = linear.bias is not None
    layer = bnb.nn.Linear8bitLt(linear.in_features, linear.out_features, bias=has_bias, has_fp16_weights=False)
    layer.weight = bnb.nn.Int8Params(linear.weight.data, requires_grad=False, has_fp16_weights=False)
    layer.bias = linear.bias
    return layer


def merge_adapters(model: ClinRaGenLanguageModel) -> ClinRaGenLanguageModel:
    """Add the changes to the weights that they are of: the model itself, without adapters."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge(safe_merge=True)
            model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    return model
