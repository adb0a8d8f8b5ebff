# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the training stages: the project's own fields, and those of `Seq2SeqTrainingArguments`."""

import sys
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from types import NoneType
from typing import get_args, get_origin, get_type_hints

import torch
from accelerate.utils import parse_flag_from_env
from transformers import HfArgumentParser, Seq2SeqTrainingArguments
from transformers.integrations import get_available_reporting_integrations
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from datasets_scripts.common.command import MAX_COUNT, shortened
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from modeling_clinragen.shapes_clinragen import fault_of
from recipes.training.devices import refuse_data_parallel
from recipes.training.fields import (
    DataArguments,
    ModelArguments,
    RewardFields,
    StageFields,
    StageInput,
    read_fields,
)


LOGGER_PACKAGES = {"azure_ml": "azureml-sdk", "comet_ml": "comet-ml", "dagshub": "dagshub mlflow", "flyte": "flytekit"}
SEEDS = (0, 2**32 - 1)
RANGES = {  # of fields with other bounds than 0 or more
    "seed": SEEDS,
    "data_seed": SEEDS,
    "max_steps": (-1, MAX_COUNT),
    "gradient_accumulation_steps": (1, MAX_COUNT),
    "adam_beta1": (0, 0.999999),
    "adam_beta2": (0, 0.999999),
    "reward_floor": (-sys.float_info.max, sys.float_info.max),
}


@dataclass
class StageArguments(StageFields, Seq2SeqTrainingArguments):
    """`Seq2SeqTrainingArguments` with this project's fields and defaults."""

    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "Only where there is a GPU to copy to."}
    )
    use_cpu: bool = field(
        default_factory=lambda: not torch.accelerator.is_available(),
        metadata={"help": "Default: where there is no accelerator; several processes then talk through gloo."},
    )


@dataclass
class RewardStageArguments(RewardFields, StageArguments):
    """`StageArguments` of the stage that learns from rewards."""


class TrainingParser(HfArgumentParser):
    """`HfArgumentParser` whose errors are one line instead of a usage text of several screens."""

    def error(self, message: str):
        raise ClinRaGenInputError(shortened(f"arguments: {message}"))


def parse_arguments(
    argv: list[str] | None, kind: type[StageArguments] = StageArguments, **defaults: list[str]
) -> tuple[ModelArguments, DataArguments, StageArguments]:
    """Return all arguments of a stage: [`read_fields`] and [`complete`] in one."""
    own = RewardFields if issubclass(kind, RewardFields) else StageFields
    return complete(read_fields(argv, own, **defaults), kind)


def complete(
    given: StageInput, kind: type[StageArguments] = StageArguments
) -> tuple[ModelArguments, DataArguments, StageArguments]:
    """
    Return the project's own fields with those of `Seq2SeqTrainingArguments`.

    Raises:
        ClinRaGenInputError: for an unknown or ill-valued field, or one process with several GPUs.
    """
    parser = TrainingParser(kind)
    for name in ("use_cpu", "dataloader_pin_memory"):  # for booleans the parser ignores the factory and takes False
        parser.set_defaults(**{name: kind.__dataclass_fields__[name].default_factory()})
    hints = get_type_hints(kind)
    for name, value in given.others.items():
        fault = fault_of(value, _shape(hints.get(name)), name)
        if fault is not None:
            raise ClinRaGenInputError(f"arguments: {fault}")
    parser.set_defaults(**given.others, **vars(given.stage))
    try:
        (stage_args,) = parser.parse_args_into_dataclasses(given.command_line, look_for_args_file=False)
    except ClinRaGenInputError:
        raise
    except Exception as error:  # transformers checks few values of a file, and fails on others with any error
        raise ClinRaGenInputError(f"arguments: {str(error) or type(error).__name__}") from None
    _check_numbers(stage_args)
    _check_loggers(stage_args.report_to)
    unset_hf_deepspeed_config()  # a stage builds its whole model; the trainer shards it
    for name in ("dataloader_drop_last", "auto_find_batch_size"):
        if given.data.streaming and getattr(stage_args, name):
            raise ClinRaGenInputError(f"arguments: {name} has no effect on streamed records; leave it out")
    refuse_data_parallel(stage_args)
    return given.model, given.data, stage_args


def _shape(hint: object) -> object:
    """Return the shape of a field of transformers in a file, see [`fault_of`]; text is converted or refused later."""
    kinds = {get_origin(part) or part for part in get_args(hint) or (hint,)}
    if not kinds <= {int, float, bool, str, list, dict, NoneType}:
        return object
    return (str, *(None if kind is NoneType else kind for kind in kinds - {str}))


def _check_loggers(names: list[str]) -> None:
    """Refuse a logger that is not known or not installed before any record is read."""
    there = {*get_available_reporting_integrations(), *(["flyte"] if find_spec("flytekit") else [])}
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise ClinRaGenInputError(f"arguments: report_to is {name}; give none, or some of {known}")
        if name not in there:
            package = LOGGER_PACKAGES.get(name, name)
            raise ClinRaGenInputError(f"arguments: report_to is {name}, which is not installed; pip install {package}")


def _check_numbers(args: StageArguments) -> None:
    """Refuse numbers that training would fail on, or accept silently."""
    for one in fields(args):
        value = getattr(args, one.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value != one.default:
            low, high = RANGES.get(one.name, (0, sys.float_info.max))
            if not low <= value <= high:
                wanted = f"{low} or more" if high >= MAX_COUNT else f"{low} to {high}"
                raise ClinRaGenInputError(f"arguments: {one.name} is {value}; give {wanted}")


def check_unsharded(args: StageArguments) -> None:
    """Refuse FSDP and DeepSpeed for a stage that needs all weights in each process."""
    launched = any(parse_flag_from_env(f"ACCELERATE_USE_{name}") for name in ("FSDP", "DEEPSPEED"))
    if launched or args.fsdp or args.deepspeed:
        raise ClinRaGenInputError("arguments: FSDP and DeepSpeed are for stages 1 to 3; launch this one with ddp.yaml")
