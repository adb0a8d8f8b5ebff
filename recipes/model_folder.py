# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A model folder: weights, the code they need, processor and pipeline, loadable without this project installed."""

import json
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForSeq2SeqLM
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import logging as transformers_logging

from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenFeatureExtractor,
    ClinRaGenForConditionalGeneration,
    ClinRaGenInputError,
    ClinRaGenPipeline,
    ClinRaGenProcessor,
)
from modeling_clinragen.pipeline_clinragen import TASK


AutoConfig.register("clinragen", ClinRaGenConfig, exist_ok=True)
AutoModelForSeq2SeqLM.register(ClinRaGenConfig, ClinRaGenForConditionalGeneration, exist_ok=True)
AutoFeatureExtractor.register(ClinRaGenConfig, ClinRaGenFeatureExtractor, exist_ok=True)
ClinRaGenConfig.register_for_auto_class()
ClinRaGenFeatureExtractor.register_for_auto_class()
ClinRaGenForConditionalGeneration.register_for_auto_class("AutoModelForSeq2SeqLM")
ClinRaGenProcessor.register_for_auto_class()

REQUIRED_FILES = ("config.json", "model*.safetensors", "processor_config.json", "tokenizer_config.json")


def save_model_folder(
    model: ClinRaGenForConditionalGeneration, processor: ClinRaGenProcessor, folder: str | Path
) -> None:
    """Write everything that `AutoModel`, `AutoProcessor` and `pipeline` need to `folder`."""
    model.config.auto_map = {"AutoModel": "modeling_clinragen.ClinRaGenForConditionalGeneration"}
    model.config.custom_pipelines = {
        TASK: {
            "impl": f"pipeline_clinragen.{ClinRaGenPipeline.__name__}",
            "pt": ["AutoModelForSeq2SeqLM"],
            "type": "multimodal",
        }
    }
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    custom_object_save(ClinRaGenPipeline, folder)


def load_model_folder(folder: str | Path) -> tuple[ClinRaGenForConditionalGeneration, ClinRaGenProcessor]:
    """
    Model, in evaluation mode, and processor of a finished model folder.

    Raises:
        ClinRaGenInputError: if the folder is missing, unfinished, damaged or not a ClinRaGen model.
    """
    folder = check_model_folder(folder)
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # T5 warns that a head of its own stays untied, which is meant
    try:
        model = ClinRaGenForConditionalGeneration.from_pretrained(folder)
        processor = ClinRaGenProcessor.from_pretrained(folder, trust_remote_code=False)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ClinRaGenInputError(
            f"{folder} cannot be read: {reason}; copy it again or run its stage again"
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    return model.eval(), processor


def check_model_folder(folder: str | Path) -> Path:
    """`folder` as a path, if it is a finished ClinRaGen model folder; else a `ClinRaGenInputError`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ClinRaGenInputError(f"no model folder at {folder}; train one with recipes/stage1_note.py")
    missing = [name.replace("*", "") for name in REQUIRED_FILES if not any(folder.glob(name))]
    if missing:
        raise ClinRaGenInputError(
            f"{folder} is not a finished model folder: {', '.join(missing)} missing; run its stage again to go on"
        )
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except ValueError:
        raise ClinRaGenInputError(f"{folder}/config.json is damaged; copy it or run its stage again") from None
    if model_type != ClinRaGenConfig.model_type:
        raise ClinRaGenInputError(f"{folder} holds a model of another kind, not a ClinRaGen model")
    return folder
