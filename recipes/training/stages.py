# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Parts that the three stages share: building or loading the model, freezing, the run, and finishing the folder."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from datasets import Dataset, IterableDataset
from transformers import AutoConfig, EarlyStoppingCallback, PatchTSTConfig, PreTrainedConfig, set_seed
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from datasets_scripts.common.checkpoints import fields_at_fault
from datasets_scripts.common.outputs import (
    check_free,
    finished_folder,
    full_disk,
    held,
    is_full_disk,
    is_interruption,
)
from datasets_scripts.dataset.folder import (
    check_labelled,
    label_names,
    labels_without_records,
    language_in,
    read_metadata,
)
from datasets_scripts.dataset.terms import with_terms
from datasets_scripts.knowledge.base import NAME, read_terms
from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenFeatureExtractor,
    ClinRaGenInputError,
    ClinRaGenLanguageModel,
    ClinRaGenPipeline,
    ClinRaGenProcessor,
)
from modeling_clinragen.clinical_clinragen import NO_DISEASE
from modeling_clinragen.configuration_clinragen import LEVELS
from modeling_clinragen.fields_clinragen import did_you_mean
from modeling_clinragen.processing_clinragen import NO_NOTE, PROMPT, TARGET
from modeling_clinragen.shapes_clinragen import fault_of
from modeling_clinragen.slots_clinragen import SLOTS
from recipes.evaluation.prediction import predict
from recipes.evaluation.probes.decoder import decoder_metrics, known_text
from recipes.evaluation.report.reader import decoder_warnings
from recipes.models.adapter_folder import ADAPTER, finish_adapters
from recipes.models.backbone import load_backbone, special_tokens, train_tokenizer
from recipes.models.card import write_card
from recipes.models.folder import is_model_folder, load_model_folder, model_class, save_model_folder
from recipes.models.history import shown, stage_history
from recipes.training.adapters import with_adapters
from recipes.training.arguments import DataArguments, ModelArguments, StageArguments, StageInput, complete
from recipes.training.checkpoints import last_checkpoint
from recipes.training.clock import StageClock
from recipes.training.data import (
    ClinRaGenCollator,
    channels_with_statistics,
    check_same_names,
    encode_records,
    encode_rows,
    load_records,
)
from recipes.training.fitting import fit_decisions, prepare_decisions
from recipes.training.inputs import input_statistics
from recipes.training.provenance import ENCODED, begun_with, check_begun, remove_encoded
from recipes.training.shares import fit_shares
from recipes.training.streaming import RecordStream, StreamCollator
from recipes.training.trainer import ClinRaGenTrainer, parts_of, validation_metrics


logger = logging.getLogger(__name__)
ENOUGH_RECORDS = 50  # to validate on: the standard error of a share is then at most 7 percentage points

CHECKPOINTS = ".training"  # suffix of their folder, beside the model folder
READ_AT_THE_END = 16  # records that the decoder writes about at the end of a stage


def train_stage(given: StageInput, builds_model: bool = False) -> None:
    """
    Run a stage: its model, from an earlier folder or, if it `builds_model`, from the training records; its adapters;
    and the training.
    """
    model_args, data_args, stage_args = complete(given)
    with locked_stage(stage_args):
        begin(model_args, data_args, stage_args)
        if builds_model:
            records = load_records(
                data_args.dataset, data_args.train_split, needs_rationales=True, streaming=data_args.streaming
            )
            set_seed(stage_args.seed)  # before weights are initialized
            model, processor = build_model(model_args, data_args, records)
            del records  # frees the memory of a large split
        else:
            model, processor = load_for_stage(model_args, data_args)
        with_adapters(model, model_args, stage_args)
        run_stage(model, processor, data_args, stage_args, model_args.model_name_or_path)


@contextmanager
def locked_stage(stage_args: StageArguments) -> Iterator[None]:
    """Lock the model folder of a stage, in its first process, and report a full disk."""
    output = stage_args.output_dir
    with held(output) if stage_args.process_index == 0 else nullcontext():
        try:
            yield
        except Exception as error:
            if is_full_disk(error) and not is_interruption(error):
                raise full_disk(output, kept=True) from error
            raise


def begin(
    model_args: ModelArguments, data_args: DataArguments, stage_args: StageArguments, write: bool = True
) -> None:
    """
    Check the outputs of a stage before its work, and set `output_dir` to the folder of its checkpoints.

    Args:
        write (`bool`, *optional*, defaults to `True`): record the inputs of the stage there.

    Raises:
        ClinRaGenInputError: if the model folder exists, or there are checkpoints of other data or settings.
    """
    output = Path(stage_args.output_dir).absolute()
    check_free(output, data_args.dataset, model_args.model_name_or_path, data_args.knowledge)
    if stage_args.push_to_hub:
        raise ClinRaGenInputError("--push_to_hub: a stage sends nothing; push its folder with recipes/push_model.py")
    begun = begun_with(model_args, data_args, stage_args)
    stage_args.restore_callback_states_from_checkpoint = True  # the remaining patience
    stage_args.output_dir = str(output.with_name(f"{output.name}{CHECKPOINTS}"))
    check_begun(stage_args.output_dir, begun, write=write and stage_args.process_index == 0)
    metadata = read_metadata(data_args.dataset)
    check_labelled(metadata, data_args.dataset)
    unseen = labels_without_records(metadata, data_args.train_split)
    if unseen and stage_args.process_index == 0:
        logger.warning(
            "%s: no record of split %s has %s: not taught by this stage",
            data_args.dataset,
            data_args.train_split,
            "; ".join(unseen),
        )


def output_of(stage_args: StageArguments) -> Path:
    """Return the model folder of a stage, after [`begin`]."""
    return Path(stage_args.output_dir.removesuffix(CHECKPOINTS))


def build_model(
    model_args: ModelArguments,
    data_args: DataArguments,
    records: Dataset | IterableDataset,
    load: Callable[[str], tuple] = load_backbone,
) -> tuple[ClinRaGenLanguageModel, ClinRaGenProcessor]:
    """
    Return a new model and its processor, with vocabulary, statistics and knowledge from the training records and
    files. If `model_name_or_path` is a model folder, they come from it.

    Args:
        load (callable, *optional*): returns the backbone of a name, and its tokenizer.
    """
    if is_model_folder(model_args.model_name_or_path):
        logger.info("%s: a model folder; its shape, vocabulary and knowledge are kept", model_args.model_name_or_path)
        return load_for_stage(model_args, data_args)
    metadata = read_metadata(data_args.dataset)
    labels, language = label_names(metadata), language_in(metadata)
    _disable_slots(data_args, language)
    knowledge = data_args.knowledge and read_terms(data_args.knowledge)
    attended = [term for term in knowledge or () if term["type"] != NAME]
    terms = [term["term"] for term in attended]
    channels = channels_with_statistics(data_args.dataset, records)
    classifies = model_args.use_linear_classifier and model_args.diagnosis_loss_weight > 0
    reads_terms = model_args.use_term_evidence and classifies
    if model_args.model_name_or_path is None:
        backbone = None
        phrases = [f" {label}" for label in labels] + re.findall(r" ?### [\w ]+:", TARGET)
        phrases += [f" {slot}" for slot in SLOTS if data_args.numeric_slots]
        tokenizer = train_tokenizer(_tokenizer_texts(records, labels, terms), phrases, model_args.vocab_size)
        if "model_type" not in model_args.text_config:
            raise ClinRaGenInputError("arguments: give model_name_or_path, or text_config with a model_type")
        text_config = {**model_args.text_config, "vocab_size": len(tokenizer)}
        is_seq2seq = text_config["model_type"] in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        if not is_seq2seq:
            text_config |= special_tokens(tokenizer)
    else:
        backbone, tokenizer = load(model_args.model_name_or_path)
        text_config, is_seq2seq = backbone.config, backbone.config.is_encoder_decoder
        for part in (text_config, *(getattr(text_config, name, None) for name in ("encoder", "decoder"))):
            if part is not None:
                part.name_or_path = shown(model_args.model_name_or_path)  # a shared folder must not hold local paths
    known = {} if is_seq2seq else {name: i for name, i in special_tokens(tokenizer).items() if i is not None}
    with fields_at_fault("no model can be built of these fields"):
        _check_configs(model_args)
        config = ClinRaGenConfig(
            text_config=text_config,
            time_series_config={"num_input_channels": len(channels), **model_args.time_series_config},
            labels=labels,
            channels=channels,
            knowledge_terms=terms,
            knowledge_input_ids=[tokenizer(term, add_special_tokens=False)["input_ids"] for term in terms],
            knowledge_attention_type=model_args.knowledge_attention_type,
            knowledge_patterns=patterns_of(attended, channels) if model_args.knowledge_alignment_weight else None,
            knowledge_alignment_weight=model_args.knowledge_alignment_weight,
            num_evidence_terms=len(knowledge or ()) if reads_terms else 0,
            use_knowledge_residual=model_args.use_knowledge_residual,
            patch_layout=model_args.patch_layout,
            max_series_tokens_per_channel=model_args.max_series_tokens_per_channel,
            diagnosis_loss_weight=model_args.diagnosis_loss_weight,
            use_linear_classifier=model_args.use_linear_classifier,
            label_similarity_model=model_args.label_similarity_model,
            **known,  # decoder-only checkpoints often define them only in the tokenizer
        )
        model = model_class(config)(config)
        extractor = ClinRaGenFeatureExtractor(config.channels, config.context_length, grid=data_args.series_grid)
    if backbone is not None:
        model.use_pretrained_backbone(backbone)
    processor = ClinRaGenProcessor(
        extractor,
        tokenizer,
        labels,
        max_note_tokens=data_args.max_note_tokens,
        knowledge=knowledge,
        numeric_slots=data_args.numeric_slots,
        term_evidence=reads_terms and bool(knowledge),
        language=language,
    )
    return model, processor


def _disable_slots(data_args: DataArguments, language: dict | None) -> None:
    """Turn off slots where rationales are not in English, because slots are English."""
    if language is not None and data_args.numeric_slots:
        logger.info("numeric_slots: rationales are in %s, so that numbers are learned as they stand", language["name"])
        data_args.numeric_slots = False


def _take_language(processor: ClinRaGenProcessor, model: str, folder: str) -> None:
    """Use the dataset's language, as its file may have changed since the previous stage."""
    language = language_in(read_metadata(folder))
    if language is None and processor.language is not None:
        raise ClinRaGenInputError(
            f"{folder}: its notes are read as English, those of {model} as {processor.language['name']}; build the "
            "dataset with build_dataset.py --language"
        )
    if language != processor.language and processor.numeric_slots:
        raise ClinRaGenInputError(
            f"{folder}: its notes are in {language['name']}, but {model} learned English slots for numbers; train "
            "stage 1 again on this dataset"
        )
    if language != processor.language:
        logger.info("%s: notes and rationales are read as its language %s says", folder, language["name"])
        processor.language = language


def patterns_of(terms: list[dict], channels: list[dict]) -> list[list | None]:
    """Return for each term the channel and the level that it names, as `knowledge_patterns` of the configuration."""
    position = {channel["name"]: i for i, channel in enumerate(channels)}
    patterns = [(term.get("pattern") or {}) for term in terms]
    return [
        [position[pattern["channel"]], pattern["direction"]]
        if pattern.get("channel") in position and pattern["direction"] in LEVELS
        else None
        for pattern in patterns
    ]


def _check_configs(model_args: ModelArguments) -> None:
    """Refuse fields of the configurations that transformers accepts silently, or rejects without their name."""
    kind = model_args.text_config.get("model_type")
    if kind == ClinRaGenConfig.model_type:
        raise ClinRaGenInputError(f"arguments: text_config: model_type is {kind}; name that of a language model")
    _check_config("time_series_config", model_args.time_series_config, PatchTSTConfig(), whole=True)
    if model_args.model_name_or_path is None:
        _check_config("text_config", model_args.text_config, AutoConfig.for_model(kind), whole=False)


def _check_config(part: str, given: dict, default: PreTrainedConfig, whole: bool) -> None:
    """Check names and counts of fields; with `whole`, `default` has all valid names."""
    for name, value in given.items():
        known, hint = hasattr(default, name), did_you_mean(name, default.to_dict())
        if not known and (whole or hint):
            raise ClinRaGenInputError(f"arguments: {part} has no field {name!r}{hint}")
        usual = getattr(default, name, None)
        if isinstance(usual, int) and usual is not True and usual > 0 and fault_of(value, int) is None and value < 1:
            raise ClinRaGenInputError(f"arguments: {part}: {name} is {value}; give at least 1")


def _tokenizer_texts(records: Dataset | IterableDataset, labels: list[str], terms: list[str]):
    yield from (PROMPT, NO_NOTE, NO_DISEASE, TARGET, ", ".join(labels), *terms)
    for rows in records.select_columns(["note", "note_rationale", "lab_rationale"]).iter(batch_size=1000):
        for column in rows.values():
            yield from column


def load_for_stage(
    model_args: ModelArguments, data_args: DataArguments, load: Callable[[str], tuple] = load_model_folder
) -> tuple[ClinRaGenLanguageModel, ClinRaGenProcessor]:
    """
    Load the model folder of an earlier stage; its labels and channels must be those of the dataset.

    Args:
        load (callable, *optional*): returns model and processor of a folder.
    """
    if model_args.model_name_or_path is None:
        raise ClinRaGenInputError("arguments: --model_name_or_path is needed: the model folder of the stage before")
    model, processor = load(model_args.model_name_or_path)
    check_same_names(processor, model_args.model_name_or_path, data_args.dataset)
    _take_language(processor, model_args.model_name_or_path, data_args.dataset)
    if processor.knowledge is None:  # an older folder
        processor.knowledge = data_args.knowledge and read_terms(data_args.knowledge)
    return model, processor


def freeze_all_but(model: ClinRaGenLanguageModel, trained: list[str]) -> None:
    """Freeze all weights except those of the named parts of `MODULES`; the backbone includes its decoder."""
    learning = {*trained, *(["decoder"] if "backbone" in trained else [])}
    parts = parts_of(model)
    for name, weight in model.named_parameters():
        weight.requires_grad_(parts.get(name) in learning)


def set_up(
    model: ClinRaGenLanguageModel, processor: ClinRaGenProcessor, data_args: DataArguments, stage_args: StageArguments
) -> None:
    """Set the inputs and targets of the model in this stage, and its trainable weights."""
    processor.modalities = list(data_args.inputs)
    model.config.decisions.token_ids = processor.diagnosis_token_ids(data_args.rationale_first)
    model.generation_config.max_new_tokens = data_args.max_target_tokens
    model.generation_config.max_length = None
    freeze_all_but(model, stage_args.trained_modules)
    check_streamable(model, data_args, stage_args)


def run_stage(
    model: ClinRaGenLanguageModel,
    processor: ClinRaGenProcessor,
    data_args: DataArguments,
    stage_args: StageArguments,
    began_from: str | None,
) -> None:
    """
    Train, and write the best checkpoint as a finished model folder to `stage_args.output_dir`.

    Checkpoints are beside it in `OUTPUT_DIR.training`; the same command resumes from the last one.

    Args:
        began_from (`str`, *optional*): the folder or name of the initial model, or of its backbone.
    """
    clock = StageClock(Path(stage_args.output_dir))
    set_seed(stage_args.seed)
    set_up(model, processor, data_args, stage_args)
    with stage_args.main_process_first(desc="encoding the records"):  # the other processes read its files
        folder = Path(stage_args.output_dir) / ENCODED
        evaluation = _encoded(processor, data_args, folder, data_args.eval_split, data_args.max_eval_samples)
        train = None if data_args.streaming else _encoded(processor, data_args, folder, data_args.train_split)
    _warn_of_few(len(evaluation), data_args, stage_args)
    fit_shares(processor, load_records(data_args.dataset, data_args.train_split, streaming=data_args.streaming))
    collator = ClinRaGenCollator(processor, stage_args.ignore_padding_in_loss)
    trainer_collator = collator
    if data_args.streaming:
        train = _streamed(processor, data_args, stage_args)
        trainer_collator = StreamCollator(collator, partial(encode_rows, **encoding_options(processor, data_args)))
    if "diagnosis_head" in stage_args.trained_modules:
        prepare_decisions(model, processor, train, collator)
    patience = stage_args.early_stopping_patience
    trainer = ClinRaGenTrainer(
        model=model,
        args=stage_args,
        train_dataset=train,
        eval_dataset=evaluation,
        data_collator=trainer_collator,
        processing_class=processor,
        compute_metrics=validation_metrics(processor, model.diagnosis_head is not None),
        callbacks=[clock, *([EarlyStoppingCallback(patience)] if patience else [])],
    )
    metadata = with_terms(data_args.dataset, read_metadata(data_args.dataset))
    trainer.history = partial(stage_history, trainer, data_args, metadata, began_from, clock)
    trainer.train(resume_from_checkpoint=_checkpoint_for(trainer))
    trainer.model = trainer.whole_model()
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()  # a process that exits before its group is destroyed may abort
    if trainer.is_world_process_zero():
        if "diagnosis_head" in stage_args.trained_modules and trainer.model.diagnosis_head is not None:
            fit_decisions(trainer.model, processor, train, evaluation, collator, trainer.compute_loss_context_manager)
        finish_stage(trainer, processor, data_args, output_of(stage_args))
    if trainer.is_local_process_zero():
        remove_encoded(stage_args.output_dir)


def _counted(records: int, data_args: DataArguments) -> str:
    return f"{records} record{'' if records == 1 else 's'} of split {data_args.eval_split}"


def _warn_of_few(records: int, data_args: DataArguments, stage_args: StageArguments) -> None:
    """Warn before the training if the records to validate on are too few to choose a checkpoint by."""
    if records < ENOUGH_RECORDS and stage_args.process_index == 0:
        logger.warning(
            "%s: validation on %s, too few to tell which checkpoint is the best; its figure says little. Give %d or "
            "more (--splits of build_dataset.py, max_eval_samples)",
            data_args.dataset,
            _counted(records, data_args),
            ENOUGH_RECORDS,
        )


def check_streamable(model: ClinRaGenLanguageModel, data_args: DataArguments, stage_args: StageArguments) -> None:
    """Refuse to stream records if the linear classifier needs all of them at once."""
    fitted = model.diagnosis_head is not None and model.diagnosis_head.linear is not None
    if data_args.streaming and fitted and "diagnosis_head" in stage_args.trained_modules:
        raise ClinRaGenInputError(
            "arguments: streaming, but the linear classifier is fitted on all training records at once; train stage 1 "
            "with --use_linear_classifier false, or leave diagnosis_head out of trained_modules"
        )


def encoding_options(processor: ClinRaGenProcessor, data_args: DataArguments) -> dict:
    """Return the options of [`encode_rows`] for the records of a stage."""
    return {
        "processor": processor,
        "rationales": data_args.rationales,
        "max_target_tokens": data_args.max_target_tokens,
        "rationale_first": data_args.rationale_first,
    }


def _encoded(
    processor: ClinRaGenProcessor, data_args: DataArguments, folder: Path, split: str, limit: int | None = None
) -> Dataset:
    records = load_records(data_args.dataset, split, needs_rationales=True, limit=limit)
    file = folder / f"{split}-{limit or 'all'}.arrow"
    return encode_records(records, **encoding_options(processor, data_args), file=file).with_format("numpy")


def _streamed(processor: ClinRaGenProcessor, data_args: DataArguments, stage_args: StageArguments) -> RecordStream:
    """Return the training split as a stream; all processes read it, and each takes its own records."""
    stage_args.accelerator_config.dispatch_batches = False
    columns = [*(["note"] if "note" in data_args.inputs else []), *(f"{r}_rationale" for r in data_args.rationales)]
    return RecordStream(
        load_records(data_args.dataset, data_args.train_split, needs_rationales=True, streaming=True),
        processor,
        batch_size=stage_args.train_batch_size * stage_args.world_size,
        buffer_size=data_args.streaming_buffer_size,
        seed=stage_args.seed if stage_args.data_seed is None else stage_args.data_seed,
        length_columns=columns if stage_args.train_sampling_strategy == "group_by_length" else [],
        taught_only=data_args.rationale_first,
    )


def _checkpoint_for(trainer: ClinRaGenTrainer) -> str | None:
    """Return the newest checkpoint; its optimizer's state must be sharded if and only if this run is."""
    checkpoint = last_checkpoint(trainer.args.output_dir)
    if checkpoint is None:
        return None
    other = ("optimizer.pt",) if trainer.is_sharded else ("optimizer.bin", "global_step*")
    if any(next(Path(checkpoint).glob(pattern), None) for pattern in other):
        raise ClinRaGenInputError(
            f"{checkpoint} was written {'without' if trainer.is_sharded else 'with'} FSDP or DeepSpeed: resume in the "
            f"same way, or remove {trainer.args.output_dir} to begin again"
        )
    return checkpoint


def finish_stage(
    trainer: ClinRaGenTrainer, processor: ClinRaGenProcessor, data_args: DataArguments, output: Path
) -> None:
    """Write the model folder aside, with figures of its decoder on a few records; rename it, and read it back."""
    with finished_folder(output) as aside:
        training = trainer.history()
        model = finish_adapters(trainer.model, processor, training, aside / ADAPTER).requires_grad_(True)
        save_model_folder(model, processor, aside)
        pipe = ClinRaGenPipeline(model.eval(), processor.tokenizer, processor=processor, device=model.device)
        records = load_records(data_args.dataset, data_args.train_split, streaming=data_args.streaming)
        training["inputs"] = input_statistics(records, processor)
        training["decoder"] = decoder_alone(pipe, data_args, trainer.args.per_device_eval_batch_size)
        write_card(aside, training, model, processor)
    load_model_folder(output)
    best = f"{trainer.args.metric_for_best_model} {trainer.state.best_metric}"
    logger.info("%s: best %s, on %s", output, best, _counted(len(trainer.eval_dataset), data_args))
    for warning in decoder_warnings(training):
        logger.warning("%s", warning)


def decoder_alone(pipe: ClinRaGenPipeline, data_args: DataArguments, batch_size: int) -> dict:
    """Measure a decoder's own texts for the first validation records, which are enough for a warning only."""
    records = load_records(data_args.dataset, data_args.eval_split, limit=READ_AT_THE_END)
    predictions = list(predict(pipe, records, batch_size, 1, desc="What the decoder writes", own_text=True))
    known = known_text(data_args.dataset, data_args.eval_split, pipe.processor, predictions)
    return decoder_metrics(pipe, records, predictions, known, batch_size)[0]
