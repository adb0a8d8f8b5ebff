# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
History of a model folder, `training.json`: data, base model, and every stage with its settings.

Only the last part of a folder's path is recorded, so that the file can be shared.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from huggingface_hub import try_to_load_from_cache

from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


HISTORY = "training.json"
OF_A_DATASET = ("title", "version", "url", "licence", "credentialed", "content_hash")
UNKNOWN_SOURCE = {
    "title": "data that are not recorded",
    "version": "",
    "url": "address unknown",
    "licence": "unknown",
    "cite": "unknown",
    "content_hash": "unknown",
    "credentialed": True,
}
DECODER_GROUPS = ("sentences", "rationales", "findings", "claims", "free_list")  # figures of the decoder alone
PLAIN = (None, str, bool, float)
FIELDS = {  # optional fields of `training.json`
    "source?": (None, {str: PLAIN}),
    "stages?": [{"dataset?": {str: PLAIN}, "settings?": dict, "trained_modules?": [str], "lora?": dict}],
    "data?": dict,
    "inputs?": dict,
    "recalibrated?": dict,
    "decoder?": {"warnings?": [str], **{f"{name}?": {str: (None, float)} for name in DECODER_GROUPS}},
    "log?": [dict],
}
SETTINGS = (
    "seed", "optim", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "num_train_epochs",
    "per_device_train_batch_size", "gradient_accumulation_steps", "world_size", "bf16",
)  # fmt: skip


def read_history(folder: str | Path | None) -> dict:
    """
    Return `training.json` of a model folder; empty where there is none.

    Raises:
        ClinRaGenInputError: if it is damaged.
    """
    path = None if folder is None else Path(folder) / HISTORY
    if path is None or not path.is_file():
        return {}
    history = read_object(path)
    fault = fault_of(history, FIELDS)
    if fault:
        raise ClinRaGenInputError(f"{path} is damaged: {fault}; copy it again")
    return history


def required_history(folder: str | Path) -> dict:
    """
    Return `training.json` of a folder that another one is derived from.

    Raises:
        ClinRaGenInputError: if it is missing, damaged, or does not name its data.
    """
    history = read_history(folder)
    if "source" not in history:
        raise ClinRaGenInputError(f"{folder}: {HISTORY} is missing, or does not name its data; run its stage again")
    return history


def read_object(path: Path) -> dict:
    """Read a JSON file with an object; anything else raises a `ClinRaGenInputError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        content = None
    if not isinstance(content, dict):
        raise ClinRaGenInputError(f"{path} is damaged, not a JSON object; copy it again or run its stage again")
    return content


def history_before(began_from: str | None) -> dict:
    """
    Return the known history of the model that a stage, or a merge, starts from.

    A ClinRaGen model without `training.json`, or with a history that names no data, counts as trained on credentialed
    data. For any other model the result is empty: its name shows where it comes from.

    Args:
        began_from (`str`, *optional*): a folder, or a name on the Hub with a local copy.
    """
    path = began_from and _local_file(began_from, HISTORY)
    history = read_history(path.parent) if path else {}
    if began_from is None or ("stages" not in history and not _is_ours(_local_file(began_from, "config.json"))):
        return {}
    return {"stages": [], "base_model": None, **history, "source": history.get("source") or UNKNOWN_SOURCE}


def _local_file(folder: str, name: str) -> Path | None:
    """Return a file of a folder, or of the local copy of a repository on the Hub; `None` if there is none."""
    path = Path(folder) / name
    if not Path(folder).is_dir() and folder.count("/") == 1:
        cached = try_to_load_from_cache(folder, name)
        path = Path(cached) if isinstance(cached, str) else path
    return path if path.is_file() else None


def _is_ours(config: Path | None) -> bool:
    return config is not None and read_object(config).get("model_type") == "clinragen"


def datasets_of(training: dict) -> list[dict]:
    """Return all datasets that a model was trained on, over all stages, as far as its history names them."""
    last = {name: training["source"].get(name) for name in OF_A_DATASET}
    named = _of_stages(training)
    named += [] if any(last["content_hash"] == dataset["content_hash"] for dataset in named) else [last]
    return [dataset for i, dataset in enumerate(named) if dataset not in named[:i]]


def _of_stages(training: dict) -> list[dict]:
    """Return the dataset of each stage that names one; older stages do not."""
    named = [stage["dataset"] for stage in training["stages"] if stage.get("dataset")]
    return [{name: dataset.get(name) for name in OF_A_DATASET} for dataset in named]


def is_credentialed(training: dict) -> bool:
    """Return whether any of a model's training data is credentialed, or not known to be open."""
    return any(one.get("credentialed") is not False for one in (training["source"], *_of_stages(training)))


def is_base_of(base: str, training: dict) -> bool:
    """Return whether a model, or a checkpoint without a history, has the training that precedes an adapter's."""
    return history_before(base).get("stages", []) == training["stages"][:-1]


def merged_history(base: str, training: dict) -> dict:
    """
    Return the history of an adapter merged into a base; the base may be trained on more data than the adapter records.

    Args:
        base (`str`): model folder or name of the adapter's base.
        training (`dict`): history of the adapter.
    """
    before = history_before(base)
    if not before:
        return training
    stages = [stage for stage in before["stages"] if stage not in training["stages"]] + training["stages"]
    credentialed = is_credentialed(before) or is_credentialed(training)
    return {**training, "stages": stages, "source": {**training["source"], "credentialed": credentialed}}


def stage_history(trainer, data_args, dataset: dict, began_from: str | None, clock) -> dict:
    """
    Return the content of `training.json`.

    Args:
        trainer (`ClinRaGenTrainer`): the one that ran the training.
        data_args (`DataArguments`): of the stage.
        dataset (`dict`): `clinragen_dataset.json` of the training data.
        began_from (`str`, *optional*): model folder of the stage before, or name or folder of the pretrained backbone.
        clock (`StageClock`): of the stage.
    """
    args, before = trainer.args, history_before(began_from)
    settings = {**args.to_dict(), "world_size": args.world_size}  # enumerations become their names
    base_model = before.get("base_model") if before else began_from and shown(began_from)
    data = {**vars(data_args), "dataset": shown(data_args.dataset)}
    data["knowledge"] = data_args.knowledge and shown(data_args.knowledge)
    source = {**dataset["source_description"], "content_hash": dataset["content_hash"]}
    stage = {
        "dataset": {name: source.get(name) for name in OF_A_DATASET},
        "trained_modules": args.trained_modules,
        "inputs": data_args.inputs,
        "rationales": data_args.rationales,
        "settings": {name: settings[name] for name in SETTINGS},
        "device": _device(args.device),
        "seconds": round(clock.seconds, 1),
    }
    lora = getattr(trainer.model, "peft_config", {}).get("default")
    if lora is not None:
        stage["lora"] = {name: getattr(lora, name) for name in ("r", "lora_alpha", "target_modules")}
    if before and is_credentialed(before):
        source["credentialed"] = True  # the weights still hold an earlier stage's data
    return {
        "source": source,
        "base_model": base_model,
        "stages": [*before.get("stages", []), stage],
        "best_metric": trainer.state.best_metric,
        "metric": args.metric_for_best_model,
        "data": data,
        "trained_modules": args.trained_modules,
        "log": trainer.state.log_history,
    }


def shown(path: str) -> str:
    """Return a Hub name as it is, and the last part of a local path."""
    return path if path.count("/") == 1 and not Path(path).exists() else Path(path).name


def _device(device: torch.device) -> dict:
    """Return kind, name and number of the GPUs, or CPU threads, of one process."""
    if device.type == "cuda":
        return {"kind": "gpu", "name": torch.cuda.get_device_name(device), "units": 1}
    return {"kind": "cpu", "name": "CPU", "units": torch.get_num_threads()}
