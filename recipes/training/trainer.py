# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainer of all stages, and what it validates by."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, parse_flag_from_env
from torch import nn
from transformers import EarlyStoppingCallback, Seq2SeqTrainer
from transformers.integrations.deepspeed import unset_hf_deepspeed_config
from transformers.trainer_pt_utils import LengthGroupedSampler

from datasets_scripts.common.hub import files_in, hub_errors, push_files
from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from recipes.evaluation.figures.metrics import diagnosis_metrics, probability_metrics
from recipes.models.card import write_card
from recipes.models.folder import save_model_folder
from recipes.models.history import is_credentialed
from recipes.models.lora import base_weights, learned_state
from recipes.training.allocator import trim_after_decoder, trim_heap
from recipes.training.cpu import speed_up_on_cpu
from recipes.training.fitting import best_threshold


def parts_of(model: ClinRaGenLanguageModel) -> dict[str, str]:
    """The part, of `MODULES`, of each weight that can be trained, by name; the decoder's own are no other part's."""
    shared = {id(weight) for weight in model.get_input_embeddings().parameters()}
    writing = [model.get_decoder(), model.get_output_embeddings()]
    own = {id(weight) for part in writing if part is not None for weight in part.parameters()} - shared
    kept = base_weights(model)  # that adapters stand upon
    if not model.knowledge_attention.use_residual:  # nothing is made of what it alone uses
        kept |= {f"knowledge_attention.series_projection.{name}" for name in ("weight", "bias")}
    parts = {}
    for name, weight in model.named_parameters():
        if not name.endswith("position_enc") and ".linear." not in name and name not in kept:  # sines; fitted
            parts[name] = "decoder" if id(weight) in own else name.partition(".")[0]
    return parts


def blank_copy(model: ClinRaGenLanguageModel) -> ClinRaGenLanguageModel:
    """A copy of the model, adapters and all, whose weights hold nothing and take no memory."""
    weights = {id(weight): nn.Parameter(weight.to("meta"), weight.requires_grad) for weight in model.parameters()}
    return copy.deepcopy(model, weights)


class EpochLengthGroupedSampler(LengthGroupedSampler):
    """
    `LengthGroupedSampler` whose order is that of the seed and the epoch alone: all processes have the same, whatever
    numbers they have drawn, and so has a stage that is resumed. Random orders are of this kind anyway.

    Args:
        seed (`int`): of the first epoch.
    """

    def __init__(self, *args, seed: int, **kwargs):
        super().__init__(*args, generator=torch.Generator(), **kwargs)
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int):
        self.epoch = epoch

    def __iter__(self):
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


def first_records(batch: dict[str, torch.Tensor], size: int) -> dict[str, torch.Tensor]:
    """The batch's first `size` records; in place of none, one without target tokens."""
    batch = {name: values[: max(size, 1)] for name, values in batch.items()}
    if not size:
        batch["labels"] = torch.full_like(batch["labels"], -100)
    return batch


class ClinRaGenTrainer(Seq2SeqTrainer):
    """
    `Seq2SeqTrainer` that validates on diagnoses.

    Args:
        history (callable): gives what `training.json` holds of the training so far, see [`stage_history`].
    """

    def __init__(self, *args, history: Callable[[], dict] | None = None, **kwargs):
        try:
            super().__init__(*args, **kwargs)
        except (ValueError, ImportError) as error:  # of settings that do not fit each other or this machine
            raise ClinRaGenInputError(f"arguments: {error}") from error
        self._check_validated()
        if "lab" not in self.processing_class.modalities:  # several processes would wait for its gradient
            for part in (self.model.time_series_encoder, self.model.knowledge_attention):
                part.requires_grad_(False)
        self.history = history
        self.is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        self.blank_model = blank_copy(self.model) if self.is_sharded else None

    def _check_validated(self) -> None:
        """Refuse to drop the last batch of a validation that has no other."""
        step = self.args.per_device_eval_batch_size * self.args.world_size
        if self.args.dataloader_drop_last and self.eval_dataset is not None and len(self.eval_dataset) < step:
            raise ClinRaGenInputError(
                f"arguments: dataloader_drop_last leaves nothing of the {len(self.eval_dataset)} records to validate "
                f"by in batches of {step}; lower per_device_eval_batch_size"
            )

    def train(self, *args, **kwargs):
        """As ever; on a CPU with parts of the same function that cost less there."""
        if self.args.device.type != "cpu":
            return super().train(*args, **kwargs)
        speed_up_on_cpu(self.model.backbone)
        if not self.model.backbone.config.is_encoder_decoder:
            return super().train(*args, **kwargs)
        hook = trim_after_decoder(self.model.backbone.get_encoder())
        try:
            return super().train(*args, **kwargs)
        finally:
            hook.remove()

    def training_step(self, *args, **kwargs):
        """Run a training step, after the heap's free memory has gone back to the system."""
        trim_heap()
        return super().training_step(*args, **kwargs)

    def compute_loss(self, *args, **kwargs):
        """Compute the loss; memory that the forward pass has freed goes back to the system."""
        loss = super().compute_loss(*args, **kwargs)
        trim_heap()
        return loss

    def _run_epoch(self, *args, **kwargs):
        """As ever; but where a resumed stage had reached its last step, or lost its patience, it learns no more."""
        patient = [one for one in self.callback_handler.callbacks if isinstance(one, EarlyStoppingCallback)]
        stopped = any(one.early_stopping_patience_counter >= one.early_stopping_patience for one in patient)
        if stopped or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _determine_best_metric(self, metrics, trial):
        """As ever; but an unknown metric is the user's mistake."""
        try:
            return super()._determine_best_metric(metrics, trial)
        except KeyError:
            known = sorted(name.removeprefix("eval_") for name in metrics)
            raise ClinRaGenInputError(
                f"arguments: metric_for_best_model is {self.args.metric_for_best_model}; there are {', '.join(known)}"
            ) from None

    def create_accelerator_and_postprocess(self):
        """FSDP on CPUs as well, where `accelerate` takes its settings and replicates the model without a word."""
        super().create_accelerator_and_postprocess()
        state = self.accelerator.state
        if state.distributed_type == DistributedType.MULTI_CPU and parse_flag_from_env("ACCELERATE_USE_FSDP"):
            state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**(self.args.fsdp_plugin_args or {}))
            if state.mixed_precision != "no":
                state.fsdp_plugin.set_mixed_precision(state.mixed_precision)
            self.is_fsdp_enabled = True

    def _prepare_for_training(self, *args, **kwargs):
        """
        As ever; but FSDP is to keep the embedding and the head with all that shares their weights, or reads them
        without a call, in one unit, the model itself. `accelerate` would make units of their own for them.
        """
        if self.is_fsdp_enabled:
            self.create_optimizer()  # which has to see them
            self.model.get_input_embeddings = self.model.get_output_embeddings = lambda: None
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_fsdp_enabled:
            del self.model.get_input_embeddings, self.model.get_output_embeddings
        return prepared

    def whole_model(self) -> ClinRaGenLanguageModel | None:
        """
        The model that was trained; where its weights are spread over the processes a copy with all of them, on the
        first process alone. All processes have to call this.
        """
        if not self.is_sharded:
            return self.model
        weights = self.accelerator.get_state_dict(self.model_wrapped)
        unset_hf_deepspeed_config()  # what is loaded from here on is whole
        if not self.is_world_process_zero():
            return None
        kinds = {name: weight.dtype for name, weight in self.blank_model.state_dict().items()}
        weights = {name: weight.to(kinds[name]) for name, weight in weights.items()}  # DeepSpeed's may have 16 bits
        self.blank_model.load_state_dict(weights, assign=True)
        self.blank_model.tie_weights()
        return self.blank_model

    def _get_train_sampler(self, *args):
        sampler = super()._get_train_sampler(*args)
        if isinstance(sampler, LengthGroupedSampler):
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            step = sampler.batch_size * self.args.world_size  # as many records as all processes read
            return EpochLengthGroupedSampler(step, lengths=sampler.lengths, seed=seed)
        return sampler

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """
        The batches of a step of the optimizer, and the number of all their target tokens, over all processes; each
        batch holds the number of all their records.

        The last step of an epoch is filled up with records from its start, so that all processes have a batch: these
        count for nothing.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        sizes = [len(batch["labels"]) for batch in batches]
        rest = len(self.train_dataset) % (self._train_batch_size * self.args.world_size)
        if rest and self.accelerator.gradient_state.end_of_dataloader and not self.args.dataloader_drop_last:
            before = self.args.process_index * self._train_batch_size
            sizes[-1] = min(sizes[-1], max(0, rest - before))
            batches[-1] = first_records(batches[-1], sizes[-1])
        tokens = sum((batch["labels"] != -100).sum() for batch in batches)
        totals = torch.tensor([[tokens, sum(sizes)]], device=device)
        if self.args.average_tokens_across_devices:
            totals = self.accelerator.gather(totals).sum(dim=0, keepdim=True)
        num_items_in_batch, num_records_in_batch = totals[0]
        for batch, size in zip(batches, sizes, strict=True):
            batch["num_records_in_batch"] = num_records_in_batch if size else torch.inf
        return batches, num_items_in_batch

    def create_optimizer(self, *args, **kwargs):
        if self.optimizer is None:
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            if self.args.optim == "adafactor" and self.args.optim_args:
                pairs = dict(pair.split("=") for pair in self.args.optim_args.replace(" ", "").split(","))
                options.update({name: value == "True" for name, value in pairs.items()})
            self.optimizer = optimizer_class(self._parameter_groups(), **options)
        return self.optimizer

    def _parameter_groups(self) -> list[dict]:
        decayed, groups = set(self.get_decay_parameter_names(self.model)), {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.args.weight_decay if name in decayed else 0.0, []).append(parameter)
        rate = float(self.args.learning_rate)
        return [{"params": parameters, "lr": rate, "weight_decay": decay} for decay, parameters in groups.items()]

    def _save(self, output_dir=None, state_dict=None):
        if base_weights(self.model):  # what adapters stand upon is in its own place
            state_dict = learned_state(self.model, state_dict)
        trained = self.model
        self.model = self.blank_model if self.is_sharded else trained  # a sharded model is of another class
        super()._save(output_dir, state_dict)  # with the arguments as a pickle file, which nothing here reads
        self.model = trained
        if self.args.should_save:
            Path(output_dir or self.args.output_dir, "training_args.bin").unlink()

    def _issue_warnings_after_load(self, load_result):
        """As ever; but weights of the base that adapters stand upon, and tied ones, are stored under no such name."""
        weights, absent = self.model.state_dict(keep_vars=True), set(load_result.missing_keys)
        loaded = {id(weight) for name, weight in weights.items() if name not in absent}
        kept = base_weights(self.model) | {name for name, weight in weights.items() if id(weight) in loaded}
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
        gated = is_credentialed(training)
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
                predicted = self.generate(inputs)
        return outputs.loss.detach(), predicted, inputs["diagnosis_labels"]

    def generate(self, inputs: dict) -> torch.Tensor:
        limit = self.args.generation_max_length or self.model.generation_config.max_new_tokens
        read = {name: inputs[name] for name in self.processing_class.model_input_names}
        return self.model.generate(
            **read,
            max_new_tokens=limit,
            num_beams=self.args.generation_num_beams or 1,
            do_sample=False,
            synced_gpus=self.is_sharded,
        )


def validation_metrics(processor: ClinRaGenProcessor, has_head: bool):
    """
    A `compute_metrics` for `ClinRaGenTrainer`: of the diagnoses that the scores decide with the best threshold for
    all, and of the scores; or of the diagnoses that were written.
    """

    def compute(prediction) -> dict:
        gold = prediction.label_ids > 0
        if has_head:
            probabilities = torch.from_numpy(prediction.predictions).sigmoid().numpy()
            predicted = probabilities >= best_threshold(gold, probabilities)[0]
            ranking = probability_metrics(gold, probabilities)
        else:
            predicted, ranking = _written_diagnoses(processor, prediction.predictions), {}
        figures = diagnosis_metrics(
            *([np.flatnonzero(row) for row in cells] for cells in (gold, predicted)), processor.labels
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
