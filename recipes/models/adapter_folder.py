# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
LoRA: a stage that freezes the backbone and learns low-rank changes of it, together with the other parts.

The adapters are inserted into the model itself, so that it trains, generates and shards like any other. The result is
saved in PEFT's format; the other parts are saved in full, as its `modules_to_save`.
"""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from datasets_scripts.common.checkpoints import reason_of
from datasets_scripts.common.outputs import finished_folder
from modeling_clinragen import ClinRaGenConfig, ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from modeling_clinragen.integrity_clinragen import check_fit
from recipes.models.backbone import load_backbone
from recipes.models.card import card_header, fill_card, write_card
from recipes.models.folder import fetched, load_model_folder, model_class, save_model_folder
from recipes.models.history import (
    HISTORY,
    datasets_of,
    is_base_of,
    is_credentialed,
    merged_history,
    required_history,
    shown,
)
from recipes.models.lora import adapter_config, base_config_of, insert_adapters, learned_state, merge_adapters


logger = logging.getLogger(__name__)

ADAPTER, WEIGHTS = "adapter", "adapter_model.safetensors"
REQUIRED_FILES = ("adapter_config.json", WEIGHTS, "config.json", "processor_config.json", "tokenizer_config.json")
TEMPLATE = Path(__file__).with_name("adapter_card_template.md")
PREFIX = "base_model.model."  # of every weight in PEFT's format


def save_adapter(
    model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor, training: dict, folder: str | Path
) -> None:
    """
    Write the result of a stage with adapters: PEFT's two files, the fitted settings (`config.json`),
    processor, history and card. It holds only the name of the base.

    Args:
        training (`dict`): what `training.json` holds.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        _name_in_peft(name): value.detach().cpu().contiguous().clone() for name, value in learned_state(model).items()
    }
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    _save_settings(adapter_config(model), model.config, model.generation_config, processor, training, folder)


def _name_in_peft(name: str) -> str:
    return PREFIX + (name.replace(".default.", ".") if "lora_" in name else name)


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
    Rewrite an adapter to `target`, an empty folder; other files of its folder are not copied.

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
    Return `LoraConfig`, [`ClinRaGenConfig`], [`ClinRaGenProcessor`] and `GenerationConfig` of an adapter folder.

    Raises:
        ClinRaGenInputError: if it is not of this project, or damaged.
    """
    from peft import LoraConfig, PeftConfig

    missing = [name for name in REQUIRED_FILES if not (Path(folder) / name).is_file()]
    if missing:
        raise ClinRaGenInputError(f"{folder} is not an adapter of a stage with lora: {', '.join(missing)} missing")
    try:
        lora = PeftConfig.from_pretrained(folder)
        config = ClinRaGenConfig.from_pretrained(folder)
        processor = ClinRaGenProcessor.from_pretrained(folder, trust_remote_code=False)
        generation_config = GenerationConfig.from_pretrained(folder)
        check_fit(config, processor, generation_config, str(folder))
    except ClinRaGenInputError:
        raise
    except Exception as error:  # libraries raise errors of any class for damaged files
        raise ClinRaGenInputError(f"{folder} cannot be read: {reason_of(error)}; copy it again") from error
    if not isinstance(lora, LoraConfig):
        raise ClinRaGenInputError(f"{folder} holds an adapter of another kind than LoRA")
    return lora, config, processor, generation_config


def load_adapter(base: str, folder: str | Path) -> tuple[ClinRaGenLanguageModel, ClinRaGenProcessor]:
    """
    Return the base with the adapter on it, not merged, in evaluation mode; and the processor.

    Args:
        base (`str`): the base of the adapter: a model folder, or a checkpoint of a language model.
        folder (`str` or `Path`): as [`save_adapter`] writes it. No code of it is run.

    Raises:
        ClinRaGenInputError: if one of the two cannot be read, or they do not fit together.
    """
    lora, config, processor, generation_config = read_adapter(folder)
    if base_config_of(base).model_type == ClinRaGenConfig.model_type:
        model, _ = load_model_folder(base)
        model.config.decisions = config.decisions
    else:
        decoder = getattr(config.text_config, "decoder", None)
        backbone, _ = load_backbone(base, {} if decoder is None else decoder.to_dict())
        if type(backbone.config) is not type(config.text_config):
            raise ClinRaGenInputError(f"{folder} was not trained on {base}, which is another kind of model")
        model = model_class(config)(config)
        model.use_pretrained_backbone(backbone)
    model.generation_config = generation_config
    lora.base_model_name_or_path = base
    whole, lora.modules_to_save = list(lora.modules_to_save or []), None
    insert_adapters(model, lora, whole)
    _load_weights(model, Path(folder) / WEIGHTS, base)
    return model.eval(), processor


def _load_weights(model: ClinRaGenLanguageModel, path: Path, base: str) -> None:
    names = {_name_in_peft(name): name for name in learned_state(model)}
    try:
        state = load_file(path)
        wrong = sorted(names.keys() ^ state.keys())
        if wrong:
            raise ClinRaGenInputError(f"{path} does not fit {base}: {wrong[0]} is in only one of them")
        damaged = next((name for name, value in state.items() if not torch.isfinite(value).all()), None)
        if damaged:
            raise ClinRaGenInputError(f"{path}: weight {damaged} holds a non-finite value; copy it again")
        model.load_state_dict({names[name]: value for name, value in state.items()}, strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ClinRaGenInputError(f"{path} cannot be put on {base}: {reason_of(error)}") from error


def finish_adapters(
    model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor, training: dict, folder: Path
) -> ClinRaGenLanguageModel:
    """
    Save the adapter to `folder`, and return the base, loaded again, with the adapter merged into it. A model without
    adapters is returned unchanged, and nothing is written.
    """
    config = adapter_config(model)
    if config is None:
        return model
    save_adapter(model, processor, training, folder)
    return merge_adapters(load_adapter(config.base_model_name_or_path, folder)[0])


def adapter_card(lora, training: dict, repo_id: str | None = None) -> str:
    """
    Return the `README.md` of an adapter.

    Args:
        lora (`LoraConfig`): of the adapter.
        training (`dict`): what `training.json` holds.
        repo_id (`str`, *optional*): on the Hub.
    """
    base = lora.base_model_name_or_path
    header = card_header(
        is_credentialed(training),
        library_name="peft",
        tags=["clinragen", "lora", "clinical", "diagnosis", "rationale"],
        base_model=base if base.count("/") == 1 else None,
    )
    content = {
        "name": (repo_id or "ClinRaGen adapter").split("/")[-1],
        "base": base,
        "lora": lora,
        "source": training["source"],
        "datasets": datasets_of(training),
        "stage": training["stages"][-1] if training["stages"] else {},
        "metric": training.get("metric"),
        "best": training.get("best_metric"),
        "permission": training.get("permission_to_publish"),
    }
    return fill_card(TEMPLATE, header, content)


def merge_into_base(base: str, adapter: str, output: Path) -> None:
    """
    Write the base with the adapter merged into it: a complete model folder that needs neither of them.

    Args:
        base (`str`): as [`load_adapter`] takes it.
        adapter (`str`): adapter folder, or its name on the Hub.
        output (`Path`): model folder to write.

    Raises:
        ClinRaGenInputError: if one of the two cannot be read, or they do not fit together.
    """
    folder = fetched(adapter)
    model, processor = load_adapter(base, folder)
    training = required_history(folder)
    if not is_base_of(base, training):
        logger.warning(
            "%s: not the base that %s was trained on, by their training.json; nobody has measured what both write "
            "together. Give the folder that its stage began from",
            base,
            adapter,
        )
    training = merged_history(base, training)
    merge_adapters(model)
    with finished_folder(output) as aside:
        save_model_folder(model, processor, aside)
        write_card(aside, training, model, processor)
    load_model_folder(output)
    logger.info("%s: %s with the adapter merged into its weights", output, base)
