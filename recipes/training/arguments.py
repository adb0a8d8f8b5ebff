# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the training stages: three dataclasses, read from a YAML file and the command line."""

from dataclasses import dataclass, field

import torch
from accelerate.utils import parse_flag_from_env
from transformers import Seq2SeqTrainingArguments
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from trl import TrlParser
from yaml import YAMLError

from modeling_clinragen import ClinRaGenInputError


MODALITIES = ("note", "lab")
MODULES = ("backbone", "decoder", "time_series_encoder", "knowledge_attention", "diagnosis_head")


@dataclass
class ModelArguments:
    """Which model a stage starts from: stage 1 builds one, stages 2 and 3 read the folder of the stage before."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "A ClinRaGen model folder to go on from; in stage 1 also a seq2seq checkpoint "
            "(google/flan-t5-small, facebook/bart-base), a decoder-only one (Qwen/Qwen3-0.6B, facebook/opt-125m), or "
            "an encoder (sentence-transformers/all-MiniLM-L6-v2), which gets a new decoder. Not given: random weights "
            "of the shape `text_config`."
        },
    )
    text_config: dict = field(
        default_factory=dict,
        metadata={"help": "Stage 1 without model_name_or_path: the backbone's configuration, `model_type` included."},
    )
    vocab_size: int = field(
        default=8000, metadata={"help": "Stage 1 without model_name_or_path: upper bound of the trained vocabulary."}
    )
    decoder_config: dict = field(
        default_factory=dict,
        metadata={"help": "Stage 1 from an encoder: what its new decoder's configuration changes of the encoder's."},
    )
    time_series_config: dict = field(
        default_factory=dict, metadata={"help": "Stage 1: what to change of the series encoder's configuration."}
    )
    knowledge_attention_type: str = field(default="term", metadata={"help": "Stage 1: term, or prototype (paper)."})
    use_knowledge_residual: bool = field(
        default=True, metadata={"help": "Stage 1: add the series to what it attended to; False is the paper's."}
    )
    patch_layout: str = field(default="fixed", metadata={"help": "Stage 1: fixed, or paper (the release's fault)."})
    max_series_tokens_per_channel: int | None = field(
        default=6,
        metadata={"help": "Stage 1: series tokens read of a channel; longer stays are pooled. None, the paper: all."},
    )
    use_linear_classifier: bool = field(
        default=True, metadata={"help": "Stage 1: score diagnoses by words and series statistics beside the encoder."}
    )
    label_similarity_model: str | None = field(
        default=None,
        metadata={
            "help": "Stage 1: sentence encoder that tells that classifier what words mean, once: all-MiniLM-L6-v2"
        },
    )
    diagnosis_loss_weight: float = field(
        default=1.0, metadata={"help": "Stage 1: weight of the diagnosis head's loss; 0 builds no head, as the paper."}
    )
    lora: dict = field(
        default_factory=dict,
        metadata={
            "help": "Fields of PEFT's LoraConfig, such as {r: 16, lora_alpha: 32}: the backbone's weights stay as "
            "they are, adapters in it learn, and the other trained_modules learn whole. Default: none."
        },
    )
    quantization: str | None = field(
        default=None,
        metadata={"help": "With lora: 4bit or 8bit, the backbone's weights while it learns (bitsandbytes)."},
    )


@dataclass
class DataArguments:
    """Which records a stage reads, and which parts of them."""

    dataset: str | None = field(default=None, metadata={"help": "Dataset folder with rationales."})
    knowledge: str | None = field(
        default=None, metadata={"help": "Stage 1: knowledge.json; not given: a model without knowledge."}
    )
    inputs: list[str] = field(default_factory=lambda: list(MODALITIES), metadata={"help": "What is read: note, lab."})
    rationales: list[str] = field(
        default_factory=lambda: list(MODALITIES),
        metadata={"help": "Which rationales are written: note, lab; none: diagnoses alone."},
    )
    rationale_first: bool = field(
        default=False, metadata={"help": "Write the rationale before the diagnoses, as a chain of thought."}
    )
    train_split: str = field(default="train", metadata={"help": "Split to learn from."})
    eval_split: str = field(
        default="validation", metadata={"help": "Split that picks the checkpoint; the paper's release takes test."}
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Validate on the first N records; not given: all."}
    )
    max_note_tokens: int = field(default=512, metadata={"help": "Stage 1: longer notes are cut at their end."})
    max_target_tokens: int = field(default=256, metadata={"help": "Longer targets are cut at their end."})
    series_grid: str = field(
        default="hourly", metadata={"help": "Stage 1: hourly, or paper (rows filled and repeated, all observed)."}
    )
    streaming: bool = field(
        default=False,
        metadata={
            "help": "Stages 1 to 3: read train_split anew in each epoch and encode it batch by batch, in place of a "
            "copy of it on disk. Not with the linear classifier, which is fitted on all records at once."
        },
    )
    streaming_buffer_size: int = field(
        default=1000,
        metadata={"help": "With streaming: records in memory, in each process, that batches are drawn from."},
    )


@dataclass
class StageArguments(Seq2SeqTrainingArguments):
    """`Seq2SeqTrainingArguments` with this project's defaults; what is trained is data."""

    trained_modules: list[str] = field(
        default_factory=lambda: [name for name in MODULES if name != "decoder"],
        metadata={
            "help": "Parts whose weights learn, of: "
            + ", ".join(MODULES)
            + ". The others are frozen. The decoder is the part of the backbone that writes, without what it shares "
            "with the encoder."
        },
    )
    module_learning_rates: dict = field(
        default_factory=dict, metadata={"help": "Part -> learning rate, where it differs from learning_rate."}
    )
    ignore_padding_in_loss: bool = field(
        default=True, metadata={"help": "False counts padding tokens in the loss, as the paper's release does."}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after this many validations without a better micro-F1."}
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "When to validate."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save; the same as eval_strategy."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints kept beside the best one."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Keep the best checkpoint."})
    metric_for_best_model: str | None = field(default="micro_f1", metadata={"help": "Of the diagnoses."})
    greater_is_better: bool | None = field(default=True, metadata={"help": "Of metric_for_best_model."})
    predict_with_generate: bool = field(
        default=True, metadata={"help": "A model without diagnosis head is validated on what it writes."}
    )
    learning_rate: float = field(default=1e-5, metadata={"help": "Peak learning rate; default: the paper's."})
    weight_decay: float = field(default=0.05, metadata={"help": "Default: the paper's."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "Default: the paper's."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Steps, or below 1 the share of all; the paper's 10%."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "The collator reads the raw columns."})
    label_names: list[str] | None = field(
        default_factory=lambda: ["diagnosis_labels"], metadata={"help": "What the metrics compare with."}
    )
    report_to: str = field(default="none", metadata={"help": "Nothing is sent anywhere unless asked for."})
    hub_private_repo: bool | None = field(default=True, metadata={"help": "Of what push_to_hub makes."})
    dataloader_pin_memory: bool = field(
        default_factory=torch.cuda.is_available, metadata={"help": "Only where there is a GPU to copy to."}
    )
    use_cpu: bool = field(
        default_factory=lambda: not torch.accelerator.is_available(),
        metadata={"help": "Default: where there is no accelerator; several processes then talk through gloo."},
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Frozen parts are no reason to search for unused parameters."}
    )


@dataclass
class RewardStageArguments(StageArguments):
    """`StageArguments` of the stage that learns from rewards: how texts are sampled, and what they are worth."""

    num_rounds: int = field(default=3, metadata={"help": "Each samples texts from the model that the last one left."})
    records_per_round: int | None = field(
        default=None, metadata={"help": "Training records to sample texts for in a round; not given: all."}
    )
    num_generations: int = field(default=8, metadata={"help": "Texts sampled for each of these records."})
    temperature: float = field(default=0.8, metadata={"help": "Of the sampling."})
    generation_batch_size: int = field(default=64, metadata={"help": "Records that texts are sampled for at once."})
    reward_weights: dict = field(
        default_factory=dict, metadata={"help": "Part of the reward -> weight, where it is not 1; see rewards.py."}
    )
    reward_floor: float = field(
        default=0.8, metadata={"help": "A record whose best text is worth less teaches nothing."}
    )
    metric_for_best_model: str | None = field(
        default="reward", metadata={"help": "Of the texts that are written greedily for eval_split."}
    )


class StageParser(TrlParser):
    """`TrlParser` whose errors are one line instead of a usage text of several screens."""

    def error(self, message: str):
        raise ClinRaGenInputError(f"arguments: {message}")


def parse_arguments(
    argv: list[str] | None, kind: type[StageArguments] = StageArguments, **defaults: list[str]
) -> tuple[ModelArguments, DataArguments, StageArguments]:
    """
    Read `--config FILE.yaml`, what the command line overrides of it, and `defaults` of the stage for the rest.

    Args:
        kind (`type`): the stage's arguments.

    Raises:
        ClinRaGenInputError: for an unknown or ill-valued field, or a file that cannot be read.
    """
    parser = StageParser((ModelArguments, DataArguments, kind))
    parser.set_defaults(**defaults)
    for name in ("use_cpu", "dataloader_pin_memory"):  # of a truth value the parser calls no factory, it takes False
        parser.set_defaults(**{name: kind.__dataclass_fields__[name].default_factory()})
    try:
        model_args, data_args, stage_args = parser.parse_args_and_config(argv)
    except (ValueError, OSError, TypeError, YAMLError) as error:
        raise ClinRaGenInputError(f"arguments: {error}") from None
    unset_hf_deepspeed_config()  # a stage builds its model whole; the trainer spreads it
    _check("inputs", data_args.inputs, MODALITIES)
    _check("rationales", data_args.rationales or MODALITIES, MODALITIES)
    _check("trained_modules", stage_args.trained_modules, MODULES)
    _check("module_learning_rates", stage_args.module_learning_rates or MODULES, MODULES)
    _check_streaming(data_args, stage_args)
    for name, value in (("dataset", data_args.dataset), ("output_dir", stage_args.output_dir)):
        if value is None:
            raise ClinRaGenInputError(f"arguments: --{name} is needed, in the YAML file or on the command line")
    return model_args, data_args, stage_args


def check_unadapted(args: ModelArguments) -> None:
    """A `ClinRaGenInputError` where a stage without adapters was asked for some."""
    if args.lora or args.quantization is not None:
        raise ClinRaGenInputError("arguments: lora and quantization are for stages 1 to 3")


def check_whole(args: DataArguments) -> None:
    """A `ClinRaGenInputError` where a stage that reads its records in any order was to stream them."""
    if args.streaming:
        raise ClinRaGenInputError("arguments: streaming is for stages 1 to 3")


def check_unsharded(args: StageArguments) -> None:
    """A `ClinRaGenInputError` where a stage that needs all weights in each process was launched without them."""
    launched = any(parse_flag_from_env(f"ACCELERATE_USE_{name}") for name in ("FSDP", "DEEPSPEED"))
    if launched or args.fsdp or args.deepspeed:
        raise ClinRaGenInputError("arguments: FSDP and DeepSpeed are for stages 1 to 3; launch this one with ddp.yaml")


def _check(name: str, values, allowed: tuple[str, ...]) -> None:
    if not values or any(value not in allowed for value in values):
        raise ClinRaGenInputError(f"arguments: {name} is {list(values)}; choose among {', '.join(allowed)}")


def _check_streaming(data_args: DataArguments, stage_args: StageArguments) -> None:
    if data_args.streaming_buffer_size < 1:
        raise ClinRaGenInputError(
            f"arguments: streaming_buffer_size is {data_args.streaming_buffer_size}; give 1 or more"
        )
    if not data_args.streaming:
        return
    if stage_args.train_sampling_strategy not in ("random", "group_by_length"):
        raise ClinRaGenInputError(
            f"arguments: train_sampling_strategy is {stage_args.train_sampling_strategy}; "
            "streaming takes random or group_by_length"
        )
    for name in ("dataloader_drop_last", "auto_find_batch_size"):
        if getattr(stage_args, name):
            raise ClinRaGenInputError(f"arguments: {name} has no effect on streamed records; leave it out")
