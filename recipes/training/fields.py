# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The project's own arguments of the training stages, read and checked before anything heavy is loaded."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from datasets_scripts.common.checkpoints import with_gguf
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError
from recipes.training.parsing import FieldParser, option


MODALITIES = ("note", "lab")
MODULES = ("backbone", "decoder", "time_series_encoder", "knowledge_attention", "diagnosis_head")
MORE_FIELDS = (
    "All fields of transformers' Seq2SeqTrainingArguments are accepted as well, in the file and on the command line; "
    "of these, use_cpu and dataloader_pin_memory follow the hardware."
)


@dataclass
class ModelArguments:
    """The model a stage starts from: stage 1 builds one, later stages read the folder of the stage before."""

    model_name_or_path: str | None = option(
        "A ClinRaGen model folder to start from; in stage 1 also a seq2seq checkpoint (google/flan-t5-small, "
        "facebook/bart-base), a decoder-only one (Qwen/Qwen3-0.6B, facebook/opt-125m), or an encoder "
        "(sentence-transformers/all-MiniLM-L6-v2), which gets a new decoder. Not given: random weights "
        "in the shape of `text_config`.",
        None,
    )
    gguf_file: str | None = option(
        "Stage 1: file of model_name_or_path that holds the weights in llama.cpp's format; they are trained in "
        "float32.",
        None,
    )
    text_config: dict = option(
        "Stage 1 without model_name_or_path: the backbone's configuration, `model_type` included.", {}
    )
    vocab_size: int = option("Stage 1 without model_name_or_path: upper bound of the trained vocabulary.", 8000)
    time_series_config: dict = option("Stage 1: changes to the series encoder's configuration.", {})
    knowledge_attention_type: str = option("Stage 1: term, or prototype (paper).", "term")
    use_knowledge_residual: bool = option(
        "Stage 1: add the projected series to the attended knowledge; False is the paper's.", True
    )
    knowledge_alignment_weight: float = option(
        "Stage 1: weight of the loss by which series attend to the terms of their own level; 0 is the paper's.", 0.5
    )
    use_term_evidence: bool = option(
        "Stage 1: the linear classifier reads which terms a record shows; False is the paper's.", True
    )
    patch_layout: str = option("Stage 1: fixed, or paper (the release's fault).", "fixed")
    max_series_tokens_per_channel: int | None = option(
        "Stage 1: most series tokens of a channel; longer stays are pooled. None: all, as in the paper.", 6
    )
    use_linear_classifier: bool = option(
        "Stage 1: score diagnoses by words and series statistics beside the encoder.", True
    )
    label_similarity_model: str | None = option(
        "Stage 1: sentence encoder from which the linear classifier takes the meaning of words: all-MiniLM-L6-v2.",
        None,
    )
    diagnosis_loss_weight: float = option(
        "Stage 1: weight of the diagnosis head's loss; 0 builds no head, as the paper.", 1.0
    )
    lora: dict = option(
        "Fields of PEFT's LoraConfig, such as {r: 16, lora_alpha: 32}: the backbone's weights stay as they "
        "are, adapters in it learn, and the other trained_modules learn whole.",
        {},
    )


@dataclass
class DataArguments:
    """The records a stage reads, and the parts of them that count."""

    dataset: str | None = option("Dataset folder with rationales.", None)
    knowledge: str | None = option("Stage 1: knowledge.json; not given: a model without knowledge.", None)
    inputs: list[str] = option("Inputs that the model reads: note, lab.", list(MODALITIES))
    rationales: list[str] = option("Rationales to write: note, lab; none: only diagnoses.", list(MODALITIES))
    rationale_first: bool = option("Write the rationale before the diagnoses, as a chain of thought.", False)
    train_split: str = option("Split to learn from.", "train")
    eval_split: str = option("Split that picks the checkpoint; the paper's release takes test.", "validation")
    max_eval_samples: int | None = option("Validate on the first N records; not given: all.", None)
    max_note_tokens: int = option("Stage 1: longer notes are cut at their end.", 512)
    max_target_tokens: int = option("Longer targets are cut at their end.", 160)
    numeric_slots: bool = option(
        "Stage 1: the decoder learns slots such as [highest] for the numbers of the series, which the record fills.",
        True,
    )
    series_grid: str = option("Stage 1: hourly, or paper (rows filled and repeated, all observed).", "hourly")
    streaming: bool = option(
        "Stages 1 to 3: read train_split anew in each epoch and encode it batch by batch, instead of keeping an "
        "encoded copy on disk. Not with the linear classifier, which is fitted on all records at once.",
        False,
    )
    streaming_buffer_size: int = option(
        "With streaming: records in memory, in each process, that batches are drawn from.", 1000
    )


@dataclass
class StageFields:
    """Training of a stage: its own fields, and this project's defaults for fields of Seq2SeqTrainingArguments."""

    output_dir: str | None = option("Model folder to write; checkpoints are beside it, in OUTPUT_DIR.training.", None)
    plan: str | None = option(
        "Train nothing: print records, steps, memory, operations and time, as estimates for this machine, or for a "
        "GPU and a share of its peak rate, such as A100 or A100:0.4.",
        None,
        nargs="?",
        const="here",
    )
    trained_modules: list[str] = option(
        "Parts of the model to train, of: "
        + ", ".join(MODULES)
        + ". The others are frozen. The decoder is the part of the backbone that writes, without what it shares "
        "with the encoder.",
        [name for name in MODULES if name != "decoder"],
    )
    ignore_padding_in_loss: bool = option(
        "False counts padding tokens in the loss, as the paper's release does.", True
    )
    early_stopping_patience: int | None = option(
        "Stop after this many validations without a better metric_for_best_model. None: never.", None
    )
    eval_strategy: str = option("When to validate.", "epoch")
    save_strategy: str = option("When to save; the same as eval_strategy.", "epoch")
    save_total_limit: int | None = option("Checkpoints kept beside the best one.", 1)
    load_best_model_at_end: bool = option("Keep the best checkpoint.", True)
    metric_for_best_model: str | None = option("Metric of the diagnoses.", "micro_f1")
    greater_is_better: bool | None = option("A higher metric_for_best_model is better.", True)
    predict_with_generate: bool = option("A model without diagnosis head is validated on what it writes.", True)
    generation_max_length: int | None = option(
        "Most tokens of a text in validation; give more with rationale_first. None: as many as a target may have.",
        60,
    )
    learning_rate: float = option("Peak learning rate; the paper's is 1e-5.", 1e-5)
    weight_decay: float = option("The paper's is 0.05.", 0.0)
    lr_scheduler_type: str = option("The paper's is cosine.", "linear")
    warmup_steps: float = option("Steps, or below 1 the share of all; the paper's is 0.1.", 0.02)
    per_device_train_batch_size: int = option("Records per step on each device.", 16)
    per_device_eval_batch_size: int = option("Records per batch of a validation.", 64)
    train_sampling_strategy: str = option("Batches of similar lengths, or random.", "group_by_length")
    logging_steps: float = option("Steps between lines of the log.", 20)
    remove_unused_columns: bool = option("The collator reads the raw columns.", False)
    label_names: list[str] | None = option("What the metrics compare with.", ["diagnosis_labels"])
    report_to: str = option("Nothing is sent anywhere unless asked for.", "none")
    hub_private_repo: bool | None = option("Create private repositories on the Hub.", True)
    ddp_find_unused_parameters: bool | None = option(
        "Frozen parts are no reason to search for unused parameters.", False
    )


@dataclass
class RewardFields(StageFields):
    """Training from rewards: how texts are sampled, and what they are worth."""

    num_rounds: int = option("Rounds; each samples texts from the model of the round before.", 3)
    records_per_round: int | None = option("Training records to sample texts for in a round; not given: all.", None)
    num_generations: int = option("Texts sampled for each of these records.", 8)
    temperature: float = option("Sampling temperature.", 0.8)
    generation_batch_size: int = option("Records per batch of sampling.", 64)
    reward_weights: dict = option("Weights of parts of the reward, 1 where not given; see rewards.py.", {})
    reward_floor: float = option("Least reward of a record's best text; others are not learned from.", 0.8)
    metric_for_best_model: str | None = option("Metric of the greedily decoded texts of eval_split.", "reward")
    generation_max_length: int | None = option(
        "Most tokens of a text in validation. None: as many as a target may have.", None
    )


class StageInput(NamedTuple):
    """
    A stage's arguments so far.

    Args:
        model, data, stage: the project's own fields, checked; `stage` is a `StageFields`.
        others (`dict`): fields of `Seq2SeqTrainingArguments` in the YAML file.
        command_line (`list[str]`): those on the command line.
    """

    model: ModelArguments
    data: DataArguments
    stage: StageFields
    others: dict
    command_line: list[str]


def read_fields(argv: list[str] | None, kind: type[StageFields] = StageFields, **defaults: list[str]) -> StageInput:
    """
    Read `--config FILE.yaml`, the overrides on the command line, and `defaults` of the stage for the rest.

    Args:
        kind (`type`): of the stage's own fields.

    Raises:
        ClinRaGenInputError: for an unknown or ill-valued field, or a file that cannot be read.
    """
    parser = FieldParser((ModelArguments, DataArguments, kind), defaults, epilog=MORE_FIELDS)
    (model, data, stage), others, command_line = parser.read(argv)
    parser.check_known(others, command_line, transformers_fields())
    for name, value in (("dataset", data.dataset), ("output_dir", stage.output_dir)):
        if value is None:
            parser.error(f"--{name} is needed, in the YAML file or on the command line")
    model.model_name_or_path = with_gguf(model.model_name_or_path, model.gguf_file, "model_name_or_path")
    _check("inputs", data.inputs, MODALITIES)
    _check("rationales", data.rationales or MODALITIES, MODALITIES)
    _check("trained_modules", stage.trained_modules, MODULES)
    if data.streaming_buffer_size < 1:
        parser.error(f"streaming_buffer_size is {data.streaming_buffer_size}; give 1 or more")
    if data.streaming and stage.train_sampling_strategy not in ("random", "group_by_length"):
        parser.error(
            f"train_sampling_strategy is {stage.train_sampling_strategy}; streaming takes random or group_by_length"
        )
    if kind is RewardFields:
        _check_rewarded(model, data, stage)
    return StageInput(model, data, stage, others, command_line)


@cache
def transformers_fields() -> set[str] | None:
    """Return the names of the fields of `Seq2SeqTrainingArguments` from its source, since its import loads torch."""
    package = find_spec("transformers")
    if package is None:
        return None
    folder, names = Path(package.origin).parent, set()
    for file in ("training_args.py", "training_args_seq2seq.py"):
        nodes = ast.walk(ast.parse((folder / file).read_text(encoding="utf-8")))
        names |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and hasattr(node.target, "id")}
    return names


def _check(name: str, values, allowed: tuple[str, ...]) -> None:
    if not values or any(value not in allowed for value in values):
        raise ClinRaGenInputError(f"arguments: {name} is {list(values)}; choose among {', '.join(allowed)}")


def _check_rewarded(model: ModelArguments, data: DataArguments, stage: RewardFields) -> None:
    """Refuse arguments of other stages that would break the guarantees of stage 4."""
    if model.lora:
        raise ClinRaGenInputError("arguments: lora is for stages 1 to 3")
    if stage.plan:
        raise ClinRaGenInputError("arguments: plan is for stages 1 to 3")
    if data.streaming:
        raise ClinRaGenInputError("arguments: streaming is for stages 1 to 3")
    if stage.trained_modules != ["decoder"]:
        raise ClinRaGenInputError(
            f"arguments: trained_modules is {stage.trained_modules}; stage 4 trains the decoder alone"
        )
    for name in ("num_rounds", "num_generations"):
        if getattr(stage, name) < 1:
            raise ClinRaGenInputError(f"arguments: {name} is {getattr(stage, name)}; give 1 or more")
