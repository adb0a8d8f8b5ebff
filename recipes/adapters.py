# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
LoRA: a stage that leaves the backbone as it is, and learns low-rank changes of it beside the other parts.

The adapters stand in the model itself, so that it trains, generates and shards as any other. What a stage has learned
is saved in the format of PEFT; the other parts are in it whole, as its `modules_to_save`.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import torch
from huggingface_hub import ModelCard, ModelCardData
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, GenerationConfig, PreTrainedModel, set_seed

from datasets_scripts.checkpoints import resolve_checkpoint
from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenInputError,
    ClinRaGenLanguageModel,
    ClinRaGenProcessor,
)
from recipes.arguments import ModelArguments, StageArguments
from recipes.backbone import load_backbone
from recipes.history import HISTORY, read_history, shown
from recipes.model_card import GATED_PROMPT
from recipes.model_folder import load_model_folder, model_class


ADAPTER, WEIGHTS = "adapter", "adapter_model.safetensors"
REQUIRED_FILES = ("adapter_config.json", WEIGHTS, "config.json", "processor_config.json", "tokenizer_config.json")
TEMPLATE = Path(__file__).with_name("adapter_card_template.md")
PREFIX = "base_model.model."  # of every weight in PEFT's format

LORA_FIELDS = ("r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules")
TARGETS = ("q", "v", "q_proj", "v_proj", "query", "value", "c_attn", "query_key_value", "qkv_proj")
NEW_PARTS = ("time_series_encoder", "knowledge_attention", "diagnosis_head")
FITTED = ("diagnosis_mixture", "diagnosis_temperature", "diagnosis_thresholds", "diagnosis_token_ids", "doubt")


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
        if model_args.quantization is not None:
            raise ClinRaGenInputError("arguments: quantization needs lora: quantised weights do not learn")
        return model
    base, trained = model_args.model_name_or_path, stage_args.trained_modules
    if base is None:
        raise ClinRaGenInputError("arguments: lora adapts pretrained weights; name them by model_name_or_path")
    if not {"backbone", "decoder"} & {*trained}:
        raise ClinRaGenInputError("arguments: lora adapts the backbone, which is none of trained_modules")
    whole = whole_parts(model, base, trained)
    config = _lora_config(model, model_args.lora, adapted_part(model, whole, trained))
    if model_args.quantization is not None:
        quantize(model, model_args.quantization, whole)
    set_seed(stage_args.seed)  # before any adapter is drawn
    _insert(model, config, whole, model_args.quantization)
    config.base_model_name_or_path = base
    return model


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
    """What of the model's state, or of `state`, is not the base's."""
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


def save_adapter(
    model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor, training: dict, folder: str | Path
) -> None:
    """
    Write what a stage with adapters has learned: PEFT's two files, the settings that were fitted (`config.json`),
    processor, history and card. Of the base it holds the name alone.

    Args:
        training (`dict`): what `training.json` holds.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        PREFIX + (name.replace(".default.", ".") if "lora_" in name else name): value.detach()
        .cpu()
        .contiguous()
        .clone()
        for name, value in learned_state(model).items()
    }
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    _save_settings(adapter_config(model), model.config, model.generation_config, processor, training, folder)


def _save_settings(lora, config, generation_config, processor, training: dict, folder: Path) -> None:
    lora, config = copy.deepcopy(lora), copy.deepcopy(config)
    lora.base_model_name_or_path, lora.inference_mode = shown(lora.base_model_name_or_path), True
    lora.save_pretrained(folder)
    for name in ("auto_map", "custom_pipelines"):  # an adapter brings no code
        config.__dict__.pop(name, None)
    config.to_json_file(folder / "config.json")
    generation_config.save_pretrained(folder)
    processor.save_pretrained(folder)
    for path in folder.glob("*.py"):
        path.unlink()
    (folder / HISTORY).write_text(json.dumps(training, indent=1), encoding="utf-8")
    (folder / "README.md").write_text(adapter_card(lora, training), encoding="utf-8")


def copy_adapter(folder: str | Path, target: str | Path, training: dict, repo_id: str | None = None) -> None:
    """
    Write an adapter anew to `target`, an empty folder: what else stands in its own folder stays there.

    Args:
        training (`dict`): what `training.json` holds.
        repo_id (`str`, *optional*): on the Hub, for the card.
    """
    lora, config, processor, generation_config = read_adapter(folder)
    target = Path(target)
    save_file(load_file(Path(folder) / WEIGHTS), target / WEIGHTS, metadata={"format": "pt"})
    _save_settings(lora, config, generation_config, processor, training, target)
    (target / "README.md").write_text(adapter_card(lora, training, repo_id), encoding="utf-8")


def read_adapter(folder: str | Path) -> tuple:
    """
    `LoraConfig`, [`ClinRaGenConfig`], [`ClinRaGenProcessor`] and `GenerationConfig` of an adapter folder.

    Raises:
        ClinRaGenInputError: if it is none of this project's, or damaged.
    """
    from peft import LoraConfig, PeftConfig

    missing = [name for name in REQUIRED_FILES if not (Path(folder) / name).is_file()]
    if missing:
        raise ClinRaGenInputError(f"{folder} is no adapter of a stage with lora: {', '.join(missing)} missing")
    try:
        lora = PeftConfig.from_pretrained(folder)
        config = ClinRaGenConfig.from_pretrained(folder)
        processor = ClinRaGenProcessor.from_pretrained(folder, trust_remote_code=False)
        generation_config = GenerationConfig.from_pretrained(folder)
    except (OSError, TypeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ClinRaGenInputError(f"{folder} cannot be read: {reason}; copy it again") from error
    if not isinstance(lora, LoraConfig):
        raise ClinRaGenInputError(f"{folder} holds an adapter of another kind than LoRA")
    return lora, config, processor, generation_config


def load_adapter(base: str, folder: str | Path) -> tuple[ClinRaGenLanguageModel, ClinRaGenProcessor]:
    """
    The base with the adapter on it, not merged, in evaluation mode; and the processor.

    Args:
        base (`str`): what the adapter was trained upon: a model folder, or a checkpoint of a language model.
        folder (`str` or `Path`): as [`save_adapter`] writes it. No code of it is run.

    Raises:
        ClinRaGenInputError: if one of the two cannot be read, or they do not fit together.
    """
    lora, config, processor, generation_config = read_adapter(folder)
    if _config_of(base).model_type == ClinRaGenConfig.model_type:
        model, _ = load_model_folder(base)
        for name in FITTED:
            setattr(model.config, name, getattr(config, name))
    else:
        decoder = getattr(config.text_config, "decoder", None)
        backbone, _ = load_backbone(base, {} if decoder is None else decoder.to_dict())
        if type(backbone.config) is not type(config.text_config):
            raise ClinRaGenInputError(f"{folder} was not trained upon {base}, which is another kind of model")
        model = model_class(config)(config)
        model.use_pretrained_backbone(backbone)
    model.generation_config = generation_config
    lora.base_model_name_or_path = base
    whole, lora.modules_to_save = list(lora.modules_to_save or []), None
    _insert(model, lora, whole)
    _load_weights(model, Path(folder) / WEIGHTS, base)
    return model.eval(), processor


def _load_weights(model: ClinRaGenLanguageModel, path: Path, base: str) -> None:
    names = {
        PREFIX + (name.replace(".default.", ".") if "lora_" in name else name): name for name in learned_state(model)
    }
    try:
        state = load_file(path)
        wrong = sorted(names.keys() ^ state.keys())
        if wrong:
            raise ClinRaGenInputError(f"{path} does not fit {base}: {wrong[0]} is in one of them alone")
        model.load_state_dict({names[name]: value for name, value in state.items()}, strict=False)
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ClinRaGenInputError(f"{path} cannot be put on {base}: {reason}") from error


def merge_adapters(model: ClinRaGenLanguageModel) -> ClinRaGenLanguageModel:
    """Add the changes to the weights that they are of: the model itself, without adapters."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge(safe_merge=True)
            model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    return model


def finish_adapters(
    model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor, training: dict, folder: Path
) -> ClinRaGenLanguageModel:
    """
    Save the adapter to `folder`, and give the base, read again, with that merged into it: in full precision also where
    the stage had quantised it. A model without adapters is given back, and nothing is written.
    """
    config = adapter_config(model)
    if config is None:
        return model
    save_adapter(model, processor, training, folder)
    return merge_adapters(load_adapter(config.base_model_name_or_path, folder)[0])


def adapter_card(lora, training: dict, repo_id: str | None = None) -> str:
    """
    The `README.md` of an adapter.

    Args:
        lora (`LoraConfig`): of the adapter.
        training (`dict`): what `training.json` holds.
        repo_id (`str`, *optional*): on the Hub.
    """
    gated, base = training["source"]["credentialed"], lora.base_model_name_or_path
    header = ModelCardData(
        language="en",
        license="other" if gated else "apache-2.0",
        license_name="see-data-use-agreement" if gated else None,
        library_name="peft",
        tags=["clinragen", "lora", "clinical", "diagnosis", "rationale"],
        base_model=base if base.count("/") == 1 else None,
        extra_gated_prompt=GATED_PROMPT if gated else None,
        extra_gated_fields={"I have signed the data-use agreement of the source": "checkbox"} if gated else None,
    )
    content = {
        "name": (repo_id or "ClinRaGen adapter").split("/")[-1],
        "base": base,
        "lora": lora,
        "source": training["source"],
        "stage": training["stages"][-1] if training["stages"] else {},
        "metric": training.get("metric"),
        "best": training.get("best_metric"),
        "permission": training.get("permission_to_publish"),
    }
    template = "---\n{{ card_data }}\n---\n\n" + TEMPLATE.read_text(encoding="utf-8")
    return f"{ModelCard.from_template(header, template_str=template, **content)}\n"


def adapter_history(folder: str | Path) -> dict:
    """`training.json` of an adapter folder."""
    training = read_history(folder)
    if "source" not in training:
        raise ClinRaGenInputError(f"{folder}: {HISTORY} is missing, or does not tell of its data; run its stage again")
    return training
