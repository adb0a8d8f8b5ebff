# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of model folders: complete weights, and a configuration, processor and tokenizer that match."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from .clinical_clinragen import ClinRaGenInputError
from .fields_clinragen import plain_name
from .shapes_clinragen import fault_of


MAX_LAYERS = 1000  # the largest language models have 126; building a million takes hours, and then memory
DOUBT = {  # the fields of `ClinRaGenDoubt`
    "num_positives": [int],
    "positive_scores": [[float]],
    "selected": [[int]],
    "correct": [[int]],
    "support_limits": {str: float},
    "influence": [[float]],
}
DECISIONS = {
    "mixture": float,
    "temperature": float,
    "thresholds": [float],
    "token_ids": (
        None,
        {"opening": [int], "labels": [[int]], "separator": [int], "end": [int], "nothing": [int]},
    ),
    "doubt": (None, {f"{name}?": shape for name, shape in DOUBT.items()}),
}
NUMBER, FLAG = (None, float), (None, bool)
GENERATION = {
    "eos_token_id": (None, int, [int]),
    **dict.fromkeys(("pad_token_id", "decoder_start_token_id", "max_new_tokens", "num_beams"), (None, int)),
    **dict.fromkeys(("temperature", "top_p", "repetition_penalty", "length_penalty"), NUMBER),
    **dict.fromkeys(("do_sample", "use_cache", "output_attentions", "output_hidden_states", "output_scores"), FLAG),
}
ADDED_LATER = "diagnosis_head.linear."  # weights that files of version 0 lack; used only with a share in the mixture
AGAIN = "copy the folder again, or run its stage again"


def check_written(settings: dict, flat_names: tuple[str, ...]) -> None:
    """
    Check that a `config.json` has the fields that are always written, and names its labels consistently.

    Args:
        settings (`dict`): content of the file.
        flat_names (`tuple[str, ...]`): names of the fields of `decisions` at the top level of older files.

    Raises:
        ValueError: naming the field.
    """
    decisions = settings.get("decisions")
    before = not any(name in settings for name in ("decisions", "use_linear_classifier"))  # files of version 0
    if isinstance(decisions, dict):
        missing = next((f"decisions.{name}" for name in DECISIONS if name not in decisions), None)
    else:
        missing = None if before or any(name in settings for name in flat_names) else "decisions"
    if missing:
        raise ValueError(f"`{missing}` is missing; without it, diagnoses would be decided differently")
    names, labels = settings.get("id2label"), settings.get("labels")
    if isinstance(names, dict) and labels is not None and [names.get(str(i)) for i in range(len(names))] != labels:
        raise ValueError("`labels` and `id2label` name different diagnoses, or in a different order")


def check_decisions(config) -> None:
    """
    Check the fitted part of a configuration: types, one entry for each label, thresholds in range.

    Raises:
        ValueError: naming the field.
    """
    decisions, number = config.decisions, len(config.labels)
    fault = fault_of({name: getattr(decisions, name) for name in DECISIONS}, DECISIONS, "decisions")
    if fault:
        raise ValueError(fault)
    doubt = decisions.doubt or {}
    entries = {"thresholds": decisions.thresholds, "token_ids": (decisions.token_ids or {}).get("labels")}
    entries |= {"doubt": doubt.get("num_positives")}
    entries |= {f"doubt.{name}": part for name, part in doubt.items() if isinstance(part, list)}
    for name, given in entries.items():
        if given is not None and len(given) != number:
            raise ValueError(f"`decisions.{name}` needs one entry for each of the {number} labels, not {len(given)}")
    if not all(0 <= threshold <= 1 for threshold in decisions.thresholds):
        raise ValueError("`decisions.thresholds` has a value that is not a probability between 0 and 1")
    if any(len(row) != config.num_input_channels + 1 for row in doubt.get("influence", ())):
        raise ValueError(f"`decisions.doubt.influence` needs {config.num_input_channels + 1} numbers for each label")


def check_layers(config, place: str = "") -> None:
    """
    Check that no part of a configuration asks for more layers than can be built.

    Raises:
        ValueError: naming the field and its value.
    """
    for name, value in vars(config).items():
        if name.endswith("_config") or name in ("encoder", "decoder"):
            if hasattr(value, "to_dict"):
                check_layers(value, f"{place}{name}.")
        elif "layer" in name and isinstance(value, int) and value > MAX_LAYERS:
            raise ValueError(f"`{place}{name}` is {value}; at most {MAX_LAYERS} layers can be built")


class ClinRaGenWholeModel(PreTrainedModel):
    """A model that loads only from complete, finite weights in safetensors."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """
        Load as [`~PreTrainedModel.from_pretrained`], but only from safetensors: pickle files can run code.

        Raises:
            ValueError: if a weight is missing, unexpected, or not finite. With `ignore_mismatched_sizes`, weights of
                other sizes are initialised as usual.
        """
        if not kwargs.setdefault("use_safetensors", True):
            raise ValueError("ClinRaGen reads safetensors only: pickle files can run code when they are read")
        with_info = kwargs.pop("output_loading_info", False)
        try:
            model, loading_info = super().from_pretrained(
                pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
            )
        except OSError as error:
            if "safetensors" not in str(error):
                raise
            raise OSError(
                f"{pretrained_model_name_or_path} has no model.safetensors. Weights of any other kind, such as "
                "pytorch_model.bin, are pickle files, which can run code when they are read, and are refused"
            ) from error
        except RuntimeError as error:
            if "ignore_mismatched_sizes" not in str(error):
                raise
            raise ValueError(
                f"{pretrained_model_name_or_path}: weights of its files have other shapes than those of its "
                f"config.json; {AGAIN}"
            ) from error
        fault = fault_of_weights(model, loading_info)
        if fault:
            raise ValueError(f"{pretrained_model_name_or_path}: {fault}; {AGAIN}")
        return (model, loading_info) if with_info else model


def fault_of_weights(model: PreTrainedModel, loading_info: dict) -> str | None:
    """
    Return the first fault of loaded weights, `None` if there is none.

    Args:
        loading_info (`dict`): as `from_pretrained` returns it.
    """
    missing = _without_older(model, set(loading_info["missing_keys"]))
    if missing:
        return f"weight {_first(missing)} missing in its files, and would be random"
    if loading_info["unexpected_keys"]:
        unexpected = _first(loading_info["unexpected_keys"])
        return f"weight {unexpected} of its files is not part of the model of its config.json"
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.is_meta and not torch.isfinite(tensor).all():
            return f"weight {name} has a value that is not finite"
    return None


def _without_older(model: PreTrainedModel, missing: set[str]) -> set[str]:
    """Return the missing weights, except those of a linear classifier that an older file lacks entirely."""
    added = {name for name in model.state_dict() if name.startswith(ADDED_LATER)}
    return missing - added if added and added <= missing and model.config.decisions.mixture == 0 else missing


def _first(names) -> str:
    more = f" and {len(names) - 1} more are" if len(names) > 1 else " is"
    return min(names) + more


def check_fit(config, processor, generation_config, where: str = "the model folder") -> None:
    """
    Check that a processor makes the inputs of a configuration's model, and has the same labels.

    Args:
        config (`ClinRaGenConfig`), processor (`ClinRaGenProcessor`), generation_config (`GenerationConfig`): of one
            model.
        where (`str`): name of the model in messages.

    Raises:
        ClinRaGenInputError: naming the difference.
    """
    fault = _misfit(config, processor) or _fault_of_generation(config, generation_config)
    if fault:
        raise ClinRaGenInputError(f"{where}: {fault}; {AGAIN}")


def _misfit(config, processor) -> str | None:
    extractor, tokenizer = processor.feature_extractor, processor.tokenizer
    fault = fault_of(tokenizer.pad_token_id, int, "the tokenizer's pad_token_id")
    fault = fault or fault_of(tokenizer.model_max_length, float, "the tokenizer's model_max_length")
    if processor.labels != config.labels:
        return "labels of config.json and processor_config.json differ, in names or in order"
    if extractor.channels != config.channels:
        return "channels of config.json and processor_config.json differ, in a field or in order"
    if extractor.context_length != config.context_length:
        return f"context_length is {config.context_length} in config.json, {extractor.context_length} in the processor"
    num_terms = len(processor.knowledge or ()) if processor.term_evidence else 0
    if num_terms != config.num_evidence_terms:
        return f"config.json reads {config.num_evidence_terms} terms of a record, the processor gives {num_terms}"
    size = _vocab_size(config)
    if max(tokenizer.get_vocab().values(), default=0) >= size:
        return f"the tokenizer has more tokens than the model's vocabulary (vocab_size {size})"
    doubt = config.decisions.doubt
    fault = fault or fault_of(doubt, (None, DOUBT), "decisions.doubt")
    if fault:
        return fault
    if doubt and len({len(row) for row in [*doubt["selected"], *doubt["correct"]]}) > 1:
        return "decisions.doubt needs as many counts for one label as for another, in `selected` and `correct`"
    parts = config.decisions.token_ids or {}
    ids = [token for term in config.knowledge_input_ids for token in term]
    if any(not 0 <= token < size for token in ids):
        return f"knowledge_input_ids has a token outside the vocabulary (vocab_size {size})"
    ids = [token for part in ("opening", "separator", "end", "nothing") for token in parts.get(part, ())]
    names = parts.get("labels", ())
    if any(not 0 <= token < size for token in [*ids, *(token for name in names for token in name)]):
        return f"decisions.token_ids has a token outside the vocabulary (vocab_size {size})"
    for tokens, label in zip(names, config.labels, strict=False):
        if plain_name(tokenizer.decode(tokens)) != plain_name(label):
            return f"labels differ from the tokens that write them: {label!r} would be written differently"
    return None


def _fault_of_generation(config, generation_config) -> str | None:
    found = {name: getattr(generation_config, name, None) for name in GENERATION}
    fault = fault_of(found, GENERATION, "generation_config.json")
    if fault is None and config.is_encoder_decoder and found["decoder_start_token_id"] is None:
        return "generation_config.json: decoder_start_token_id is missing"
    for name in ("eos_token_id", "pad_token_id", "decoder_start_token_id") if fault is None else ():
        ids = found[name] if isinstance(found[name], list) else [found[name]]
        if any(token is not None and not 0 <= token < _vocab_size(config) for token in ids):
            return f"generation_config.json: {name} {found[name]} is not a token of the vocabulary"
    return fault


def _vocab_size(config) -> int:
    return getattr(config.text_config, "encoder", config.text_config).get_text_config().vocab_size


__all__ = ["ClinRaGenWholeModel"]
