# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Record of the inputs of a stage: its checkpoints are resumed only with the same data and settings."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import fields
from pathlib import Path

from datasets_scripts.common.outputs import check_own
from datasets_scripts.dataset.folder import read_metadata
from datasets_scripts.dataset.terms import is_open
from modeling_clinragen import ClinRaGenInputError
from recipes.models.history import shown
from recipes.models.weights import weights_hash
from recipes.training.arguments import DataArguments, ModelArguments, StageArguments


RECORD = "begun.json"
ENCODED = "encoded"  # folder of the tokenized records, beside the checkpoints, while a stage runs
# Fields that do not affect the weights, or depend on the hardware: they may differ between starts.
# Of the last two, only their product with the number of processes matters: `records_per_step`.
MAY_CHANGE = frozenset((
    "plan", "output_dir", "do_train", "do_eval", "do_predict", "resume_from_checkpoint",
    "restore_callback_states_from_checkpoint", "logging_strategy", "logging_steps", "logging_first_step",
    "logging_nan_inf_filter", "log_on_each_node", "log_level", "log_level_replica", "disable_tqdm", "report_to",
    "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id",
    "include_num_input_tokens_seen", "skip_memory_metrics", "debug", "save_total_limit", "save_on_each_node",
    "enable_jit_checkpoint", "push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy",
    "hub_always_push", "hub_revision", "dataloader_num_workers", "dataloader_pin_memory",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
    "per_device_eval_batch_size", "eval_accumulation_steps", "eval_do_concat_batches", "use_cpu", "local_rank",
    "torch_empty_cache_steps", "torch_compile", "torch_compile_backend", "torch_compile_mode",
    "activation_checkpointing", "activation_checkpointing_kwargs", "gradient_checkpointing",
    "gradient_checkpointing_kwargs", "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
    "ddp_static_graph", "ddp_backend", "ddp_timeout", "fsdp", "fsdp_config", "deepspeed", "parallelism_config",
    "accelerator_config", "per_device_train_batch_size", "gradient_accumulation_steps",
))  # fmt: skip


def begun_with(model_args: ModelArguments, data_args: DataArguments, stage_args: StageArguments) -> dict:
    """
    Return everything that the weights of a stage depend on, as JSON: data by content and terms, files by hash,
    and every setting outside `MAY_CHANGE`.

    Args:
        model_args, data_args, stage_args: of the stage, before any change.
    """
    metadata = read_metadata(data_args.dataset)
    meaning = json.dumps([metadata["labels"], metadata["channels"]], sort_keys=True).encode()
    settings = {**stage_args.to_dict(), **vars(model_args), **vars(data_args)}
    names = [one.name for kind in (stage_args, model_args, data_args) for one in fields(kind) if one.init]
    begun = {"dataset": None} | {name: settings[name] for name in names if name not in MAY_CHANGE}
    begun["dataset"] = {
        "source": metadata["source"],
        "credentialed": not is_open(data_args.dataset, metadata),
        "content_hash": metadata["content_hash"],
        "labels_and_channels": hashlib.sha256(meaning).hexdigest(),
    }
    if data_args.knowledge and Path(data_args.knowledge).is_file():
        begun["knowledge"] = hashlib.sha256(Path(data_args.knowledge).read_bytes()).hexdigest()
    begun["model_name_or_path"] = _identity(model_args.model_name_or_path)
    begun["records_per_step"] = (
        stage_args.train_batch_size * stage_args.gradient_accumulation_steps * stage_args.world_size
    )
    return json.loads(json.dumps(begun, default=str))


def _identity(name_or_path: str | None) -> str | None:
    """Return the hash of a folder's weights, or the name of a model on the Hub."""
    if name_or_path is None or not Path(name_or_path).is_dir():
        return name_or_path
    return f"{shown(name_or_path)}, weights {weights_hash(name_or_path)}"


def check_begun(folder: str | Path, begun: dict, write: bool = True) -> None:
    """
    Record the inputs of a stage in the folder of its checkpoints, or compare them with the record there.

    Args:
        folder (`str` or `Path`): the folder; where it holds nothing to resume, a new record replaces any other.
        begun (`dict`): as [`begun_with`] returns it.
        write (`bool`): whether this process writes the record.

    Raises:
        ClinRaGenInputError: if the checkpoints there come from other data or settings, or have no record.
    """
    path = Path(folder) / RECORD
    if any(Path(folder).glob("**/checkpoint-*")) or any(Path(folder).glob("round-*/*.jsonl")):
        _compare(path, begun)
    elif write:
        check_own(path.parent, (RECORD,))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_encoded(folder)
        aside = path.with_suffix(".unfinished")
        aside.write_text(json.dumps(begun, indent=1), encoding="utf-8")
        aside.rename(path)


def remove_encoded(folder: str | Path) -> None:
    """Remove the encoded records beside the checkpoints of a stage: they hold the text of notes."""
    shutil.rmtree(Path(folder) / ENCODED, ignore_errors=True)


def _compare(path: Path, begun: dict) -> None:
    remove = f"remove {path.parent} to begin again"
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        raise ClinRaGenInputError(
            f"{path.parent} holds checkpoints, but no readable {RECORD} of their data and settings; {remove}"
        ) from None
    for name in begun:
        if begun[name] != before.get(name, begun[name]):  # another version of a library may have other fields
            what, was, is_ = _first_difference(name, before[name], begun[name])
            raise ClinRaGenInputError(
                f"{path.parent} was begun with {what} {was}, and this start has {is_}: give the same to resume it, or "
                f"{remove}"
            )


def _first_difference(name: str, was: object, is_: object) -> tuple[str, str, str]:
    """Return the name of the field that differs, with the key within a dictionary, and both values."""
    if isinstance(was, dict) and isinstance(is_, dict):
        key = next(key for key in sorted(was.keys() | is_.keys()) if was.get(key) != is_.get(key))
        return _first_difference(f"{name}.{key}", was.get(key), is_.get(key))
    return name, json.dumps(was), json.dumps(is_)
