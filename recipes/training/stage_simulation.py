# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated steps of a stage on its own records, without weights and without training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import torch
from accelerate.utils import parse_flag_from_env
from datasets import Dataset, IterableDataset
from transformers import set_seed
from transformers.trainer_pt_utils import get_length_grouped_indices

from datasets_scripts.dataset.folder import shards
from modeling_clinragen import ClinRaGenInputError, ClinRaGenLanguageModel, ClinRaGenProcessor
from modeling_clinragen.time_series_clinragen import pool_patches
from recipes.models.backbone import load_backbone
from recipes.models.folder import is_model_folder, load_model_folder
from recipes.training.adapters import with_adapters
from recipes.training.arguments import DataArguments, ModelArguments, StageArguments, StageInput, complete
from recipes.training.cpu import speed_up_on_cpu
from recipes.training.data import BATCH, ClinRaGenCollator, encode_rows, load_records, readable_rows
from recipes.training.simulation import Simulation
from recipes.training.stages import begin, build_model, encoding_options, load_for_stage, set_up
from recipes.training.trainer import ClinRaGenTrainer


SAMPLE = 2000  # most records that are read of a split, at equal distances


@dataclass
class Split:
    """
    Records of a split as a stage encodes them.

    Args:
        rows (list of `dict`): the encoded records, without unreadable ones.
        number (`int`): of readable records in the split, estimated from the sample if not all were read.
        is_whole (`bool`): whether all records were read.
        note, series, target (arrays of shape `(num_rows,)`): tokens of each row.
    """

    rows: list[dict]
    number: int
    is_whole: bool
    note: np.ndarray
    series: np.ndarray
    target: np.ndarray

    def batches(self, args: StageArguments) -> list[np.ndarray]:
        """Return the rows of each batch of an epoch, as the trainer groups them by length in the first epoch."""
        generator = torch.Generator().manual_seed(args.seed if args.data_seed is None else args.data_seed)
        size = args.train_batch_size
        if args.train_sampling_strategy == "group_by_length":
            lengths = (self.note + self.target).tolist()
            order = get_length_grouped_indices(lengths, size * args.world_size, generator=generator)
        else:
            order = torch.randperm(len(self.rows), generator=generator).tolist()
        return [np.array(order[start : start + size]) for start in range(0, len(order), size)]

    def size(self, batch: np.ndarray) -> tuple[int, int, int]:
        """Return the records of a batch, and the tokens read and written for each after padding to the longest."""
        return len(batch), int((self.note + self.series)[batch].max()), int(self.target[batch].max())


@dataclass
class Step:
    """
    The cost of a step.

    Args:
        forward, backward (`int`): floating-point operations.
        kept (`int`): bytes of activations at the end of the forward pass.
        peak (`int`): bytes at the peak, weights and the optimizer's state included.
    """

    forward: int
    backward: int
    kept: int
    peak: int


def simulated_stage(given: StageInput, builds_model: bool, on_gpu: bool) -> StageSimulation | None:
    """Return the simulation of a stage, `None` in all processes but the first; raises as [`plan_stage`]."""
    on_cpu = given._replace(command_line=[*given.command_line, "--use_cpu", "true"])
    model_args, data_args, stage_args = complete(on_cpu)
    sharded = any(parse_flag_from_env(f"ACCELERATE_USE_{name}") for name in ("FSDP", "DEEPSPEED"))
    if sharded or stage_args.fsdp or stage_args.deepspeed:
        raise ClinRaGenInputError("arguments: plan counts processes that hold all weights; launch it with ddp.yaml")
    if stage_args.process_index:
        return None
    begin(model_args, data_args, stage_args, write=False)
    simulation = Simulation()
    model, processor = _load(model_args, data_args, stage_args, builds_model, simulation)
    return StageSimulation(simulation, model, processor, data_args, stage_args, on_gpu)


def _load(
    model_args: ModelArguments,
    data_args: DataArguments,
    stage_args: StageArguments,
    builds_model: bool,
    simulation: Simulation,
) -> tuple[ClinRaGenLanguageModel, ClinRaGenProcessor]:
    """Build the model of a stage as the stage does, with weights without values."""

    def without_values(load: Callable[..., tuple]) -> Callable[[str], tuple]:
        def loaded(name: str) -> tuple:
            model, other = load(name, with_weights=False)
            return simulation.without_values(model), other

        return loaded

    base = model_args.model_name_or_path
    records = load_records(
        data_args.dataset, data_args.train_split, needs_rationales=True, streaming=data_args.streaming
    )
    set_seed(stage_args.seed)
    if builds_model and not is_model_folder(base):
        loaded = None if base is None else without_values(load_backbone)(base)
        with simulation:
            model, processor = build_model(model_args, data_args, records, load=lambda _: loaded)
    else:
        model, processor = load_for_stage(model_args, data_args, load=without_values(load_model_folder))
    with_adapters(model, model_args, stage_args)  # adapters are small, and hold values
    set_up(model, processor, data_args, stage_args)
    return simulation.without_values(model), processor


class StageSimulation:
    """
    The simulation of a stage's steps.

    Args:
        simulation (`Simulation`): the one that holds the model's weights.
        on_gpu (`bool`): count what a GPU would run, rather than a CPU.
    """

    def __init__(
        self,
        simulation: Simulation,
        model: ClinRaGenLanguageModel,
        processor: ClinRaGenProcessor,
        data_args: DataArguments,
        stage_args: StageArguments,
        on_gpu: bool,
    ):
        self.simulation, self.model, self.processor = simulation, model, processor
        self.data_args, self.args, self.on_gpu = data_args, stage_args, on_gpu
        self.collator = ClinRaGenCollator(processor, stage_args.ignore_padding_in_loss)
        if not on_gpu:
            speed_up_on_cpu(model.backbone)
        if stage_args.activation_checkpointing:
            options = dict(stage_args.activation_checkpointing_kwargs or {})
            every, offload = options.pop("every_n_layers", 1), options.pop("offload", False)
            model.activation_checkpointing_enable(options or None, every_n_layers=every, offload=offload)
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.weights = _size([*model.parameters(), *model.buffers()])
        self.gradients = _size(self.trained)
        with self._running():
            self._make_optimizer()

    def _make_optimizer(self) -> None:
        """Create the stage's optimizer, and the state that it has after its first step."""
        trainer = object.__new__(ClinRaGenTrainer)  # ClinRaGenTrainer.__init__ creates a folder
        trainer.args, trainer.model, trainer.optimizer = self.args, self.model, None
        try:
            self.optimizer = trainer.create_optimizer()
        except (ValueError, ImportError) as error:
            raise ClinRaGenInputError(f"arguments: {error}") from error
        for group in self.optimizer.param_groups:
            if self.on_gpu and group.get("foreach", 1) is None and not group.get("fused"):
                group["foreach"] = True  # PyTorch's default on a GPU
        self._fill_gradients()
        self.optimizer.step()
        self.optimizer.zero_grad()
        state = [value for one in self.optimizer.state.values() for value in one.values()]
        self.optimizer_state = _size([value for value in state if isinstance(value, torch.Tensor)])

    def _fill_gradients(self) -> None:
        for weight in self.trained:
            weight.grad = torch.empty_like(weight)

    @contextmanager
    def _running(self) -> Iterator[None]:
        precision = self.args.mixed_precision
        with ExitStack() as stack:
            stack.enter_context(self.simulation)
            stack.enter_context(self.simulation.gpu_kernels() if self.on_gpu else self.simulation.cpu_kernels())
            if precision != "no":  # float16 is as large as bfloat16, and takes as many operations
                stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
            yield

    def train(self, rows: list[dict]) -> Step:
        """Simulate a training step: forward, backward and optimizer."""
        batch, simulation = self.collator(rows), self.simulation
        totals = {
            "num_items_in_batch": (batch["labels"] != -100).sum(),
            "num_records_in_batch": torch.tensor(len(rows)),
        }
        self.model.train()
        with self._running():
            if self.args.gradient_accumulation_steps > 1:
                self._fill_gradients()
            before, start, simulation.peak = simulation.live, simulation.flops, simulation.live
            loss = self.model(**batch, **totals).loss
            kept, forward = simulation.live - before, simulation.flops - start
            loss.backward()
            del loss
        with simulation:  # outside mixed precision
            if self.args.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(self.trained, self.args.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        buckets = self.gradients if self.args.world_size > 1 else 0  # communication buffers of gradients
        backward = simulation.flops - start - forward
        return Step(forward, backward, kept, simulation.peak + buckets)

    @torch.no_grad()
    def validate(self, rows: list[dict]) -> Step:
        """Simulate a validation step."""
        batch, simulation = self.collator(rows), self.simulation
        self.model.eval()
        with self._running():
            start, simulation.peak = simulation.flops, simulation.live
            self.model(**batch)
        forward = simulation.flops - start
        if self.model.diagnosis_head is None:
            forward *= 2  # approximation: includes generation
        return Step(forward, 0, 0, simulation.peak)

    def read(self, name: str, limit: int | None = None, sample: int = SAMPLE) -> Split:
        """Read a split, or a sample of its records, and encode them as the stage does."""
        records, number = _sampled_records(self.data_args, name, limit, sample)
        options = encoding_options(self.processor, self.data_args)
        rows, seen, parts = [], 0, [np.zeros(0, dtype=int)]
        for table in records.with_format("arrow").iter(BATCH):
            taken = np.array(readable_rows(table, self.processor, seen))
            if self.data_args.rationale_first:
                taken &= np.array([bool(teacher) for teacher in table["teacher"].to_pylist()])
            seen += len(table)
            if taken.any():
                columns = encode_rows(table.filter(taken), **options)
                rows += [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
                parts.append(self._series_tokens(columns.get("past_observed_mask"), int(taken.sum())))
        if not rows:
            raise ClinRaGenInputError(f"split {name!r}: no record holds anything to read")
        note, target = (np.array([len(row[column]) for row in rows]) for column in ("input_ids", "labels"))
        return Split(rows, round(number * len(rows) / seen), seen == number, note, np.concatenate(parts), target)

    def _series_tokens(self, observed, number: int) -> np.ndarray:
        """Count the tokens that the language model reads of each series."""
        if observed is None:
            return np.zeros(number, dtype=int)
        grid = torch.stack([torch.as_tensor(mask) for mask in observed]).float()
        patches = self.model.time_series_encoder._patches(grid).any(dim=-1)
        longest = self.model.knowledge_attention.max_tokens_per_channel
        _, tokens = pool_patches(torch.zeros(*patches.shape, 1), patches, longest)
        return tokens.flatten(1).sum(dim=1).numpy()


def _sampled_records(
    data_args: DataArguments, name: str, limit: int | None, sample: int
) -> tuple[Dataset | IterableDataset, int]:
    """Return the records of a split that a plan reads, and their number in the split."""
    streaming = data_args.streaming and limit is None and name == data_args.train_split
    records = load_records(data_args.dataset, name, needs_rationales=True, limit=limit, streaming=streaming)
    if streaming:
        number = sum(pq.ParquetFile(path).metadata.num_rows for path in shards(data_args.dataset, name))
        return records.take(sample), number
    if len(records) > sample:
        return records.select(np.linspace(0, len(records) - 1, sample).round().astype(int)), len(records)
    return records, len(records)


def _size(tensors: list[torch.Tensor]) -> int:
    """Return the bytes of tensors, counting shared ones once."""
    return sum({id(tensor.untyped_storage()): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
