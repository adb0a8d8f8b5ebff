# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""What the three stages share: building or loading the model, freezing, the trainer, and finishing the folder."""

import json
import logging
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, Seq2SeqTrainer, set_seed

from datasets_scripts.command import check_free, finished_folder
from datasets_scripts.dataset_folder import read_metadata
from datasets_scripts.hub import files_in, hub_errors, push_files
from datasets_scripts.knowledge.base import load_knowledge
from modeling_clinragen import (
    ClinRaGenConfig,
    ClinRaGenFeatureExtractor,
    ClinRaGenForConditionalGeneration,
    ClinRaGenInputError,
    ClinRaGenProcessor,
)
from modeling_clinragen.clinical_clinragen import NO_DISEASE
from modeling_clinragen.processing_clinragen import NO_NOTE, PROMPT, TARGET
from recipes.adapters import ADAPTER, base_weights, finish_adapters, learned_state
from recipes.arguments import DataArguments, ModelArguments, StageArguments
from recipes.backbone import load_backbone, train_tokenizer
from recipes.data import ClinRaGenCollator, channels_with_statistics, encode_records, load_records
from recipes.evaluation.metrics import diagnosis_metrics, probability_metrics
from recipes.fitting import best_threshold, fit_decisions, prepare_decisions
from recipes.history import StageClock, shown, stage_history
from recipes.model_card import write_card
from recipes.model_folder import load_model_folder, save_model_folder


logger = logging.getLogger(__name__)


def build_model(
    model_args: ModelArguments, data_args: DataArguments, records: Dataset
) -> tuple[ClinRaGenForConditionalGeneration, ClinRaGenProcessor]:
    """
    A new model and its processor: vocabulary, statistics and knowledge from the training records and files. Where
    `model_name_or_path` is a model folder, as stage 0 leaves it, those are what it holds.
    """
    if _is_model_folder(model_args.model_name_or_path):
        logger.info("%s: a model folder, whose shape, vocabulary and knowledge stay", model_args.model_name_or_path)
        return load_for_stage(model_args, data_args)
    labels = [label["name"] for label in read_metadata(data_args.dataset)["labels"]]
    terms = _knowledge_terms(data_args.knowledge)
    channels = channels_with_statistics(data_args.dataset, records)
    if model_args.model_name_or_path is None:
        backbone = None
        phrases = [f" {label}" for label in labels] + re.findall(r" ?### [\w ]+:", TARGET)
        tokenizer = train_tokenizer(_tokenizer_texts(records, labels, terms), phrases, model_args.vocab_size)
        if "model_type" not in model_args.text_config:
            raise ClinRaGenInputError("arguments: give model_name_or_path, or text_config with a model_type")
        text_config = {**model_args.text_config, "vocab_size": len(tokenizer)}
    else:
        backbone, tokenizer = load_backbone(model_args.model_name_or_path, model_args.decoder_config)
        text_config = backbone.config
        for part in (text_config, *(getattr(text_config, name, None) for name in ("encoder", "decoder"))):
            if part is not None:
                part.name_or_path = shown(model_args.model_name_or_path)  # a folder is shared without its paths
    config = ClinRaGenConfig(
        text_config=text_config,
        time_series_config={"num_input_channels": len(channels), **model_args.time_series_config},
        labels=labels,
        channels=channels,
        knowledge_terms=terms,
        knowledge_input_ids=[tokenizer(term, add_special_tokens=False)["input_ids"] for term in terms],
        knowledge_attention_type=model_args.knowledge_attention_type,
        use_knowledge_residual=model_args.use_knowledge_residual,
        patch_layout=model_args.patch_layout,
        diagnosis_loss_weight=model_args.diagnosis_loss_weight,
        use_linear_classifier=model_args.use_linear_classifier,
        label_similarity_model=model_args.label_similarity_model,
    )
    model = ClinRaGenForConditionalGeneration(config)
    if backbone is not None:
        model.use_pretrained_backbone(backbone)
    extractor = ClinRaGenFeatureExtractor(config.channels, config.context_length, grid=data_args.series_grid)
    return model, ClinRaGenProcessor(extractor, tokenizer, labels, max_note_tokens=data_args.max_note_tokens)


def _is_model_folder(name_or_path: str | None) -> bool:
    config = Path(name_or_path or "", "config.json")
    return config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("model_type") == "clinragen"


def _knowledge_terms(path: str | None) -> list[str]:
    return [] if path is None else [term["term"] for term in load_knowledge(path)["terms"]]


def _tokenizer_texts(records: Dataset, labels: list[str], terms: list[str]):
    yield from (PROMPT, NO_NOTE, NO_DISEASE, TARGET, ", ".join(labels), *terms)
    for rows in records.select_columns(["note", "note_rationale", "lab_rationale"]).iter(batch_size=1000):
        for column in rows.values():
            yield from column


def load_for_stage(
    model_args: ModelArguments, data_args: DataArguments
) -> tuple[ClinRaGenForConditionalGeneration, ClinRaGenProcessor]:
    """The model folder that an earlier stage left; its labels and channels must be the dataset's."""
    if model_args.model_name_or_path is None:
        raise ClinRaGenInputError("arguments: --model_name_or_path is needed: the model folder of the stage before")
    model, processor = load_model_folder(model_args.model_name_or_path)
    metadata = read_metadata(data_args.dataset)
    for name, ours, theirs in (
        ("labels", model.config.labels, [label["name"] for label in metadata["labels"]]),
        ("channels", *([c["name"] for c in channels] for channels in (model.config.channels, metadata["channels"]))),
    ):
        if ours != theirs:
            raise ClinRaGenInputError(
                f"{model_args.model_name_or_path} and {data_args.dataset} differ in their {name}; "
                "train stage 1 again on this dataset"
            )
    return model, processor


def parts_of(model: ClinRaGenForConditionalGeneration) -> dict[str, str]:
    """The part, of `MODULES`, of each weight that can be trained, by name; the decoder's own are no other part's."""
    shared = {id(weight) for weight in model.get_input_embeddings().parameters()}
    writing = [model.get_decoder(), model.get_output_embeddings()]
    own = {id(weight) for part in writing if part is not None for weight in part.parameters()} - shared
    kept = base_weights(model)  # that adapters stand upon
    parts = {}
    for name, weight in model.named_parameters():
        if not name.endswith("position_enc") and ".linear." not in name and name not in kept:  # sines; fitted
            parts[name] = "decoder" if id(weight) in own else name.partition(".")[0]
    return parts


def freeze_all_but(model: ClinRaGenForConditionalGeneration, trained: list[str]) -> None:
    """Only the weights of the named parts, of `MODULES`, learn; the backbone has its decoder among its own."""
    learning = {*trained, *(["decoder"] if "backbone" in trained else [])}
    parts = parts_of(model)
    for name, weight in model.named_parameters():
        weight.requires_grad_(parts.get(name) in learning)


class ClinRaGenTrainer(Seq2SeqTrainer):
    """
    `Seq2SeqTrainer` that validates on diagnoses, with a learning rate for each part of the model.

    Args:
        history (callable): gives what `training.json` holds of the training so far, see [`stage_history`].
    """

    def __init__(self, *args, history: Callable[[], dict] | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.history = history

    num_records_in_batch: torch.Tensor | None = None  # of the step of the optimizer that is being made

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """The batches of a step of the optimizer, and the weight of all their target tokens, over all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        tokens = [batch.get("loss_weights", batch["labels"] != -100).sum() for batch in batches]
        totals = torch.tensor([[sum(tokens), sum(len(batch["labels"]) for batch in batches)]], device=device)
        if self.args.average_tokens_across_devices:
            totals = self.accelerator.gather(totals).sum(dim=0, keepdim=True)
        num_items_in_batch, self.num_records_in_batch = totals[0]
        return batches, num_items_in_batch

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if num_items_in_batch is not None:
            inputs = {**inputs, "num_records_in_batch": self.num_records_in_batch}
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def create_optimizer(self, *args, **kwargs):
        if self.optimizer is None:
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            if self.args.optim == "adafactor" and self.args.optim_args:
                pairs = dict(pair.split("=") for pair in self.args.optim_args.replace(" ", "").split(","))
                options.update({name: value == "True" for name, value in pairs.items()})
            self.optimizer = optimizer_class(self._parameter_groups(), **options)
        return self.optimizer

    def _parameter_groups(self) -> list[dict]:
        decayed, parts = set(self.get_decay_parameter_names(self.model)), parts_of(self.model)
        rates = {**self.args.module_learning_rates}
        rates.setdefault("decoder", rates.get("backbone", self.args.learning_rate))
        groups = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                rate = rates.get(parts.get(name), self.args.learning_rate)
                decay = self.args.weight_decay if name in decayed else 0.0
                groups.setdefault((rate, decay), []).append(parameter)
        return [
            {"params": parameters, "lr": float(rate), "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ]

    def _save(self, output_dir=None, state_dict=None):
        if base_weights(self.model):  # what adapters stand upon is in its own place
            state_dict = learned_state(self.model, state_dict)
        super()._save(output_dir, state_dict)  # with the arguments as a pickle file, which nothing here reads
        if self.args.should_save:
            Path(output_dir or self.args.output_dir, "training_args.bin").unlink()

    def _issue_warnings_after_load(self, load_result):
        kept = base_weights(self.model)
        missing = [name for name in load_result.missing_keys if name not in kept]
        super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))

    def create_model_card(self, **kwargs):
        """The folder's own card and history, which say more than the arguments could."""
        write_card(self.args.output_dir, self.history(), self.model, self.processing_class)

    def _push_from_checkpoint(self, checkpoint_folder):
        """Nothing: a checkpoint is no model folder, and holds the arguments as a pickle file."""

    def push_to_hub(
        self, commit_message: str = "End of training", token: str | None = None, private: bool | None = None, **kwargs
    ) -> tuple[str, str] | None:
        """
        Push the model as it is now to `main` of `args.hub_model_id`: as a whole model folder, in one commit.

        Args:
            private (`bool`, *optional*): of a new repository. Default: `args.hub_private_repo`.

        Returns:
            `tuple[str, str]`: address of the repository and hash of the commit, on the first process.

        Raises:
            ClinRaGenInputError: for what the Hub refuses, and for a public model of credentialed data.
        """
        if not self.is_world_process_zero():
            return None
        training, repo_id = self.history(), self.args.hub_model_id or Path(self.args.output_dir).name
        private = self.args.hub_private_repo if private is None else private
        gated = training["source"]["credentialed"]
        if gated and not private:
            raise ClinRaGenInputError(
                f"{repo_id} would be public, and comes from credentialed data; see recipes/push_model.py --help"
            )
        with tempfile.TemporaryDirectory() as aside, hub_errors(repo_id):
            save_model_folder(self.model, self.processing_class, aside)
            write_card(aside, training, self.model, self.processing_class)
            files = files_in(Path(aside), ("*",))
            return push_files(files, repo_id, "model", private, gated, commit_message, token or self.args.hub_token)

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None, **gen_kwargs):
        """Loss, what the model predicts, and the true diagnoses: its scores, or without a head what it writes."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = model(**inputs)
            predicted = outputs.diagnosis_logits
            if predicted is None:
                predicted = self.generate_greedily(inputs)
        return outputs.loss.detach(), predicted, inputs["diagnosis_labels"]

    def generate_greedily(self, inputs: dict) -> torch.Tensor:
        limit = self.args.generation_max_length or self.model.generation_config.max_new_tokens
        read = {name: inputs[name] for name in self.processing_class.model_input_names}
        return self.model.generate(**read, max_new_tokens=limit, num_beams=1, do_sample=False)


def validation_metrics(processor: ClinRaGenProcessor, has_head: bool):
    """
    A `compute_metrics` for `ClinRaGenTrainer`: of the diagnoses that the scores decide with the best threshold for
    all, and of the scores; or of the diagnoses that were written.
    """

    def compute(prediction) -> dict:
        gold = prediction.label_ids > 0
        if has_head:
            probabilities = torch.from_numpy(prediction.predictions).sigmoid().numpy()
            guess = probabilities >= best_threshold(gold, probabilities)[0]
            ranking = probability_metrics(gold, probabilities)
        else:
            guess, ranking = _written_diagnoses(processor, prediction.predictions), {}
        figures = diagnosis_metrics(
            *([np.flatnonzero(row) for row in cells] for cells in (gold, guess)), processor.labels
        )
        return {name: value for name, value in {**figures, **ranking}.items() if isinstance(value, float)}

    return compute


def _written_diagnoses(processor: ClinRaGenProcessor, tokens: np.ndarray) -> np.ndarray:
    written = [processor.parse(text)["diagnoses"] for text in decoded(processor, tokens)]
    return np.array([[label in names for label in processor.labels] for names in written])


def decoded(processor: ClinRaGenProcessor, tokens: np.ndarray) -> list[str]:
    """The texts of generated tokens as a `Trainer` gives them: filled up with -100."""
    tokens = np.where(tokens < 0, processor.tokenizer.pad_token_id, tokens)
    return processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)


def run_stage(
    model: ClinRaGenForConditionalGeneration,
    processor: ClinRaGenProcessor,
    data_args: DataArguments,
    stage_args: StageArguments,
    began_from: str | None,
) -> None:
    """
    Train, and leave the best checkpoint as a finished model folder at `stage_args.output_dir`.

    Checkpoints stand beside it in `OUTPUT_DIR.training`; the same command goes on from the last one.

    Args:
        began_from (`str`, *optional*): the folder or name that the model, or its backbone, came from.
    """
    output = Path(stage_args.output_dir)
    check_free(output)
    if stage_args.push_to_hub:
        raise ClinRaGenInputError("--push_to_hub: a stage sends nothing; push its folder with recipes/push_model.py")
    stage_args.output_dir = str(output.with_name(output.name + ".training"))
    clock = StageClock(Path(stage_args.output_dir))
    set_seed(stage_args.seed)
    processor.modalities = list(data_args.inputs)
    model.config.diagnosis_token_ids = processor.diagnosis_token_ids(data_args.rationale_first)
    model.generation_config.max_new_tokens = data_args.max_target_tokens
    model.generation_config.max_length = None
    freeze_all_but(model, stage_args.trained_modules)
    trainer_class = _trainer_class(model, processor, stage_args)
    splits = {"train": (data_args.train_split, None), "eval": (data_args.eval_split, data_args.max_eval_samples)}
    encoded = {
        name: encode_records(
            load_records(data_args.dataset, split, needs_rationales=True, limit=limit),
            processor,
            data_args.rationales,
            data_args.max_target_tokens,
            data_args.rationale_first,
        ).with_format("numpy")
        for name, (split, limit) in splits.items()
    }
    patience = stage_args.early_stopping_patience
    collator = ClinRaGenCollator(
        processor,
        stage_args.ignore_padding_in_loss,
        stage_args.diagnosis_token_weight,
        stage_args.rationale_token_weight,
    )
    if "diagnosis_head" in stage_args.trained_modules:
        prepare_decisions(model, processor, encoded["train"], collator)
    trainer = trainer_class(
        model=model,
        args=stage_args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["eval"],
        data_collator=collator,
        processing_class=processor,
        compute_metrics=validation_metrics(processor, model.diagnosis_head is not None),
        callbacks=[clock, *([EarlyStoppingCallback(patience)] if patience else [])],
    )
    trainer.history = partial(stage_history, trainer, data_args, read_metadata(data_args.dataset), began_from, clock)
    trainer.train(resume_from_checkpoint=last_checkpoint(stage_args.output_dir))
    if trainer.is_world_process_zero():
        if "diagnosis_head" in stage_args.trained_modules and model.diagnosis_head is not None:
            fit_decisions(model, processor, encoded["train"], encoded["eval"], collator)
        finish_stage(trainer, processor, output)


def _trainer_class(
    model: ClinRaGenForConditionalGeneration, processor: ClinRaGenProcessor, stage_args: StageArguments
) -> Callable[..., ClinRaGenTrainer]:
    if stage_args.distillation_teacher is None:
        return ClinRaGenTrainer
    from recipes.distillation import DistillationTrainer, load_teacher

    return partial(DistillationTrainer, teacher=load_teacher(stage_args.distillation_teacher, model, processor))


def last_checkpoint(folder: str | Path) -> str | None:
    """The newest whole checkpoint; one that a kill cut short lacks its trainer state."""
    whole = [path.parent for path in Path(folder).glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def finish_stage(trainer: ClinRaGenTrainer, processor: ClinRaGenProcessor, output: Path) -> None:
    """Write the model folder aside, rename it, and read it back."""
    with finished_folder(output) as aside:
        training = trainer.history()
        model = finish_adapters(trainer.model, processor, training, aside / ADAPTER).requires_grad_(True)
        save_model_folder(model, processor, aside)
        write_card(aside, training, model, processor)
    load_model_folder(output)
    logger.info("%s: best %s %s", output, trainer.args.metric_for_best_model, trainer.state.best_metric)
