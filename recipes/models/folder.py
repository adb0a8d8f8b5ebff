# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model folder: weights, the code they need, processor and pipeline, loadable without this project installed."""

import shutil
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.utils import logging as transformers_logging

import modeling_clinragen
from datasets_scripts.common.checkpoints import is_missing_path, reason_of
from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenFeatureExtractor,
    ClinRaGenForCausalLM,
    ClinRaGenForConditionalGeneration,
    ClinRaGenInputError,
    ClinRaGenLanguageModel,
    ClinRaGenProcessor,
)
from modeling_clinragen.integrity_clinragen import AGAIN, check_fit
from recipes.models.history import read_history, read_object


AutoConfig.register("clinragen", ClinRaGenConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(ClinRaGenConfig, ClinRaGenForConditionalGeneration, exist_ok=True)
AutoModelForCausalLM.register(ClinRaGenConfig, ClinRaGenForCausalLM, exist_ok=True)
AutoFeatureExtractor.register(ClinRaGenConfig, ClinRaGenFeatureExtractor, exist_ok=True)

REQUIRED_FILES = (
    "config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "model*.safetensors",
    "generation_config.json",
)


CODE = Path(modeling_clinragen.__file__).parent
FORMER_CODE = ("estimation_clinragen.py", "telling_clinragen.py")  # in folders that earlier versions wrote
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".msgpack", ".h5")


def model_class(config: ClinRaGenConfig) -> type[ClinRaGenLanguageModel]:
    """Return the class of the model with that configuration."""
    return ClinRaGenForConditionalGeneration if config.is_encoder_decoder else ClinRaGenForCausalLM


def save_model_folder(model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor, folder: str | Path) -> None:
    """Write everything that `AutoModel`, `AutoProcessor`, `pipeline` and an inference endpoint need to `folder`."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    shutil.copy(CODE / "handler.py", folder)


def load_model_folder(
    folder: str | Path, revision: str | None = None, with_weights: bool = True
) -> tuple[ClinRaGenLanguageModel, ClinRaGenProcessor]:
    """
    Return model, in evaluation mode, and processor of a finished model folder. No code of the folder is run.

    Args:
        folder (`str` or `Path`): on this machine, or a name on the Hub, `"user/name"`.
        revision (`str`, *optional*): branch, tag or commit on the Hub.
        with_weights (`bool`, *optional*, defaults to `True`): `False` puts weights without values on the meta device.

    Raises:
        ClinRaGenInputError: if the folder is missing, unfinished, damaged, not a ClinRaGen model, or holds files that
            may run code: see [`check_model_folder`].
    """
    folder = check_model_folder(fetched(folder, revision))
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # T5 warns that its head is not tied, which is intended
    try:
        model = _read_model(folder, with_weights)
        processor = ClinRaGenProcessor.from_pretrained(folder, trust_remote_code=False)
        check_fit(model.config, processor, model.generation_config, str(folder))
    except ClinRaGenInputError:
        raise
    except Exception as error:  # libraries raise errors of any class for damaged files
        reason = reason_of(error).replace(f"{folder}: ", "").replace(f"; {AGAIN}", "")
        raise ClinRaGenInputError(f"{folder} cannot be read: {reason}; {AGAIN}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    return model.eval(), processor


def _read_model(folder: Path, with_weights: bool) -> ClinRaGenLanguageModel:
    place = {} if with_weights else {"device_map": "meta"}
    config = ClinRaGenConfig.from_pretrained(folder)
    return model_class(config).from_pretrained(folder, config=config, **place)


def is_model_folder(name_or_path: str | None) -> bool:
    """Return whether a name is a folder with the configuration of a ClinRaGen model, rather than of a backbone."""
    if name_or_path is None:
        return False  # None must not mean the working directory
    config = Path(name_or_path, "config.json")
    return config.is_file() and read_object(config).get("model_type") == ClinRaGenConfig.model_type


def fetched(folder: str | Path, revision: str | None = None) -> Path:
    """Return the folder itself, or the local copy of the Hub's repository of that name."""
    if Path(folder).is_dir() or str(folder).count("/") != 1 or is_missing_path(folder):
        return Path(folder)
    try:
        return Path(snapshot_download(str(folder), revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ClinRaGenInputError(
            f"no model folder at {folder}, and on the Hub none could be read: {reason}"
        ) from error


def check_model_folder(folder: str | Path) -> Path:
    """
    Return `folder` as a path, if it is a finished ClinRaGen model folder without other files that may run code.

    Raises:
        ClinRaGenInputError: if files are missing, for pickle files (unpickling runs code), for code that is not
            of this project, and for settings that name other code.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ClinRaGenInputError(f"no model folder at {folder}; train one with recipes/stage1_note.py")
    if (folder / "begun.json").is_file():
        raise ClinRaGenInputError(
            f"{folder} holds the checkpoints of a stage; give its model folder, {folder.with_suffix('')}, which is "
            "there once the stage is finished"
        )
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLES:
            raise ClinRaGenInputError(
                f"{path} is refused: a file of this kind can run code when it is read; a model folder holds "
                "safetensors only. Remove it if you know where it comes from"
            )
        if path == folder / "adapter_config.json":  # read only at the top level
            raise ClinRaGenInputError(f"{path} is refused: it replaces the weights of the folder with others")
        is_code = (CODE / path.name).is_file() or path.name in FORMER_CODE
        if path.suffix == ".py" and not (path.parent == folder and is_code):
            raise ClinRaGenInputError(
                f"{path} is refused: it is not a code file of this project. Remove it if you know where it comes from"
            )
    missing = [name.replace("*", "") for name in REQUIRED_FILES if not any(folder.glob(name))]
    if missing:
        raise ClinRaGenInputError(
            f"{folder} is not a finished model folder: {', '.join(missing)} missing; run its stage again to resume it"
        )
    named = sorted([*folder.glob("*config.json"), *folder.glob("tokenizer.json")])
    settings = {path.name: read_object(path) for path in named}
    read_history(folder)
    if settings["config.json"].get("model_type") != ClinRaGenConfig.model_type:
        raise ClinRaGenInputError(f"{folder} holds a model of another kind, not a ClinRaGen model")
    for name, content in settings.items():
        for reference in _named_code(content):
            module = reference.split("--")[-1].split(".")[0]
            if "--" in reference or not (CODE / f"{module}.py").is_file():
                raise ClinRaGenInputError(
                    f"{folder / name} is refused: it names other code, {reference!r}, to be run. Do not load this "
                    "model with trust_remote_code=True"
                )
    return folder


def _named_code(content) -> list[str]:
    """Return the code that settings name: in `auto_map` and `custom_pipelines`, at any depth."""
    if isinstance(content, list):
        return [reference for part in content for reference in _named_code(part)]
    if not isinstance(content, dict):
        return []
    pipelines = content.get("custom_pipelines")
    pipelines = list(pipelines.values()) if isinstance(pipelines, dict) else [pipelines]
    found = _leaves(content.get("auto_map"))
    found += _leaves([part.get("impl") if isinstance(part, dict) else part for part in pipelines])
    return found + _named_code([part for name, part in content.items() if name not in CODE_SETTINGS])


def _leaves(content) -> list[str]:
    """Return all values in nested lists and dicts, as text, except `None`."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [leaf for part in content for leaf in _leaves(part)]
    return [] if content is None else [str(content)]


CODE_SETTINGS = ("auto_map", "custom_pipelines")
