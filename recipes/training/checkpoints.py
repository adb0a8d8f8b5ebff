# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a stage, and the check that training can resume from them."""

from __future__ import annotations

import json
import logging
import os
import zipfile
from pathlib import Path

from modeling_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of


logger = logging.getLogger(__name__)

STATE = "trainer_state.json"  # written last; without it, the checkpoint was cut off by a kill
FIELDS = {"global_step": int, "log_history": [dict], "best_model_checkpoint": (None, str)}
WEIGHTS = ("model*.safetensors", "adapter_model.safetensors", "pytorch_model*", "global_step*")
NEEDED = {  # in a checkpoint, any of these files; FSDP and DeepSpeed write the last ones
    "its weights (model.safetensors)": WEIGHTS,
    "the optimizer's state (optimizer.pt)": ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"),
    "the scheduler's state (scheduler.pt)": ("scheduler.pt", "global_step*"),
    "the random numbers' state (rng_state.pth)": ("rng_state*.pth",),
}
PICKLED = (".pt", ".pth", ".bin")  # archives, as `torch.save` writes them


def last_checkpoint(folder: str | Path) -> str | None:
    """
    Return the newest complete checkpoint in a folder, `None` if none was ever finished. A warning reports each newer
    damaged one.

    Raises:
        ClinRaGenInputError: if checkpoints were finished, and all of them are damaged.
    """
    finished = [path for path in Path(folder).glob("checkpoint-*") if _state_of(path) is not None]
    fault = None
    for checkpoint in sorted(finished, key=_step_of, reverse=True):
        fault = fault_of_checkpoint(checkpoint)
        if fault is None:
            return str(checkpoint)
        logger.warning("%s is skipped: %s", checkpoint, fault)
    if fault:
        raise ClinRaGenInputError(
            f"{checkpoint}: {fault}, and there is no complete earlier one; copy it again, or remove {folder} to begin "
            "again"
        )
    return None


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _state_of(checkpoint: Path) -> dict | None:
    """Return the trainer's state, which it writes last; `None` if a kill or a full disk cut it off."""
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return None
    return state if checkpoint.name.rpartition("-")[2].isdecimal() else None


def fault_of_checkpoint(checkpoint: Path) -> str | None:
    """Return what a checkpoint lacks for resuming, or its damaged file; `None` if it is complete."""
    for what, patterns in NEEDED.items():
        if not _files(checkpoint, patterns):
            return f"it lacks {what}"
    state = _state_of(checkpoint)
    fault = fault_of(state, FIELDS)
    if fault or state["global_step"] != _step_of(checkpoint):
        return f"{STATE} is damaged: {fault or 'it is of another step'}"
    fault = _damaged_file(checkpoint, ("*",))
    if fault is None and state["best_model_checkpoint"] is not None:
        best = checkpoint.with_name(Path(state["best_model_checkpoint"]).name)
        fault = _damaged_file(best, WEIGHTS) if _files(best, WEIGHTS) else "its weights are missing"
        return fault and f"the best checkpoint before it, {best.name}, is damaged: {fault}"
    return fault


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in folder.glob(pattern)]


def _damaged_file(folder: Path, patterns: tuple[str, ...]) -> str | None:
    for path in _files(folder, patterns):
        if path.suffix in PICKLED and not _is_whole_archive(path):
            return f"{path.name} is damaged"
        if path.suffix == ".safetensors" and not _is_whole_safetensors(path):
            return f"{path.name} is damaged"
        if path.name.endswith(".safetensors.index.json") and not _has_its_parts(path):
            return f"{path.name} names weights that are missing"
    return None


def _is_whole_archive(path: Path) -> bool:
    """Return whether a file of `torch.save` is complete, by the checksum of each part; nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _is_whole_safetensors(path: Path) -> bool:
    """Return whether a file has as many bytes as its header says."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, os.path.getsize(path))))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return os.path.getsize(path) == 8 + size + max(ends, default=0)
    except (ValueError, OSError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return False


def _has_its_parts(path: Path) -> bool:
    try:
        names = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return all((path.parent / str(name)).is_file() for name in names)
