# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a stage: records, tokens, steps, memory, operations and time, without weights and without training."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil

import numpy as np
import pyarrow.parquet as pq
import torch
from accelerate.utils import parse_flag_from_env
from datasets import Dataset, IterableDataset
from scipy.optimize import nnls
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
from recipes.training.fields import MODULES
from recipes.training.gpus import GPUS, gpu_of, name_of
from recipes.training.simulation import Simulation
from recipes.training.stages import begin, build_model, encoding_options, load_for_stage, set_up, train_stage
from recipes.training.trainer import ClinRaGenTrainer, parts_of


HERE = "here"  # what `--plan` alone stands for: this machine
SAMPLE = 2000  # records that are read of a split; of more, at equal distances
CPU_UTILISATION = 0.5
SLACK, RESERVE = 1.1, 1e9  # of a GPU: gaps between what is allocated; what CUDA and its libraries take themselves
GIB = 2**30


def train_or_plan(given: StageInput, builds_model: bool = False) -> None:
    """Run a stage; or with `--plan` print what that would take, and do nothing else."""
    if given.stage.plan is None:
        train_stage(given, builds_model)
    else:
        plan = plan_stage(given, builds_model)
        if plan is not None:
            print("\n".join(plan.lines()))


@dataclass
class Split:
    """
    Records of a split as a stage encodes them.

    Args:
        rows (list of `dict`): those that were read, without what the model cannot read.
        number (`int`): of all of them in the split, estimated by their share where not all were read.
        is_whole (`bool`): whether all were read.
        note, series, target (arrays of shape `(num_rows,)`): tokens of each row.
    """

    rows: list[dict]
    number: int
    is_whole: bool
    note: np.ndarray
    series: np.ndarray
    target: np.ndarray

    def batches(self, args: StageArguments) -> list[np.ndarray]:
        """Return the rows of each batch of an epoch: those that the trainer groups by length in its first."""
        generator = torch.Generator().manual_seed(args.seed if args.data_seed is None else args.data_seed)
        size = args.train_batch_size
        if args.train_sampling_strategy == "group_by_length":
            lengths = (self.note + self.target).tolist()
            order = get_length_grouped_indices(lengths, size * args.world_size, generator=generator)
        else:
            order = torch.randperm(len(self.rows), generator=generator).tolist()
        return [np.array(order[start : start + size]) for start in range(0, len(order), size)]

    def size(self, batch: np.ndarray) -> tuple[int, int, int]:
        """Return the records of a batch, and the tokens that are read and written for each: those of the longest."""
        return len(batch), int((self.note + self.series)[batch].max()), int(self.target[batch].max())


@dataclass
class Step:
    """
    What a step takes.

    Args:
        forward, backward (`int`): floating-point operations.
        kept (`int`): bytes of activations that stand when the forward pass is done.
        peak (`int`): bytes at the peak, weights and the optimizer's state included.
    """

    forward: int
    backward: int
    kept: int
    peak: int


@dataclass
class Plan:
    """
    What a stage would take; counts are of all processes, memory is of one.

    Args:
        records, evaluated (`Split`): of training and of validation.
        padding (`float`): share of the tokens that are computed in an epoch.
        longest (`tuple`): records of the longest batch, its tokens read and its tokens written.
        epoch_steps, steps, evaluations (`int`): steps of the optimizer in an epoch and in all; validations.
        records_per_step (`str`): and how they come together.
        parameters, trained (`Counter`): by part of the model.
        memory (`dict`): bytes of `weights`, `gradients`, `optimizer`, `activations`, `peak` (of a step) and
            `evaluation`, the peak of a validation.
        forward, backward, validation (`float`): operations of an epoch, and of one validation.
        processes (`int`).
        precision (`str`): of products of matrices: `float32`, `tf32`, `bf16` or `fp16`.
        gpu (`str`, *optional*): its name; `None` for the CPU of this machine.
        utilisation (`float`): share of the peak rate.
        optimizer (`str`): its name.
    """

    records: Split
    evaluated: Split
    padding: float
    longest: tuple[int, int, int]
    epoch_steps: int
    steps: int
    evaluations: int
    records_per_step: str
    parameters: Counter
    trained: Counter
    memory: dict[str, int]
    forward: float
    backward: float
    validation: float
    processes: int
    precision: str
    gpu: str | None
    utilisation: float
    optimizer: str

    @property
    def epochs(self) -> float:
        return self.steps / self.epoch_steps

    @property
    def operations(self) -> float:
        """Those of the whole run."""
        return self.epochs * (self.forward + self.backward) + self.evaluations * self.validation

    @property
    def needed(self) -> float:
        """Bytes that the device has to have."""
        peak = max(self.memory["peak"], self.memory["evaluation"])
        return peak if self.gpu is None else SLACK * peak + RESERVE

    @property
    def there(self) -> float:
        return GPUS[self.gpu].memory * GIB if self.gpu else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    def rate(self) -> float:
        """Return the peak rate of the device, in operations a second; of this CPU it is measured. 0: there is none."""
        if self.gpu is None:
            return _rate_here(torch.float32 if self.precision == "float32" else torch.bfloat16)
        gpu = GPUS[self.gpu]
        rates = {"float32": gpu.full, "tf32": gpu.tf32, "fp16": gpu.half, "bf16": gpu.half if gpu.has_bf16 else 0.0}
        return rates[self.precision] * 1e12

    def largest_batch(self) -> int:
        """Return the number of records, of the longest batch, that fit into the device; 0 where not one does."""
        fixed = self.memory["weights"] + self.memory["optimizer"]
        room = self.there if self.gpu is None else (self.there - RESERVE) / SLACK
        record = (self.memory["peak"] - fixed) / self.longest[0]
        return max(int((room - fixed) / record), 0)

    def lines(self) -> list[str]:
        records, memory = self.records, self.memory
        tokens = {name: getattr(records, name).mean() * records.number for name in ("note", "series", "target")}
        size, read, written = self.longest
        rows = {
            "records": f"{records.number:,} an epoch"
            + ("" if records.is_whole else f", of which {len(records.rows):,} were read"),
            "tokens": f"{_parts(tokens)} an epoch; {self.padding:.0%} of what is computed is padding",
            "steps": f"{self.epoch_steps:,} an epoch, {self.steps:,} in all ({self.epochs:.3g} epochs), each of "
            f"{self.records_per_step}; {self.evaluations:,} validations of {self.evaluated.number:,} records",
            "parameters": f"{sum(self.parameters.values()):,}",
            "trained": f"{sum(self.trained.values()):,}: {_parts(self.trained)}",
            "memory": f"{_bytes(memory['peak'])} at the peak of a step, of a batch of {size} records with {read} "
            f"tokens read and {written} written",
            "": ", ".join(f"{name} {_bytes(memory[name])}" for name in ("weights", "gradients", "optimizer"))
            + f" ({self.optimizer}), activations {_bytes(memory['activations'])}: not all at once; "
            f"a validation {_bytes(memory['evaluation'])}",
            "operations": f"{_flops(self.forward + self.backward)} an epoch (forward {_flops(self.forward)}, backward "
            f"{_flops(self.backward)}), {_flops(self.operations)} in all, validations included",
            "time": self._time(),
            "device": self._fit(),
        }
        width = max(map(len, rows))
        head = "Plan, an estimate: nothing was trained or written."
        return [head, *(f"  {name:{width}}  {text}" for name, text in rows.items())]

    def _time(self) -> str:
        rate = self.rate()
        if not rate:
            return f"not known: no rate in {self.precision}; {self._other_precision()}"
        seconds = self.operations / self.processes / rate / self.utilisation
        device = f"{self.processes} x {self.gpu}" if self.gpu else "this CPU"
        measured = "" if self.gpu else ", as measured now"
        return (
            f"{_duration(seconds)} on {device} at {self.utilisation:.0%} of {_flops(rate)}/s ({self.precision}"
            f"{measured}); {_duration(seconds / max(self.epochs, 1e-9))} an epoch"
        )

    def _other_precision(self) -> str:
        return "give --fp16 true" if self.gpu and not GPUS[self.gpu].has_bf16 else "give --bf16 false"

    def _fit(self) -> str:
        device, there = self.gpu or "this machine", _bytes(self.there)
        need = f"{_bytes(self.needed)} with what CUDA takes itself" if self.gpu else _bytes(self.needed)
        if self.needed <= self.there:
            return f"fits into {device}: {need} of {there}"
        return f"DOES NOT FIT into {device}: {need} of {there}; {self._remedy()}"

    def _remedy(self) -> str:
        if self.memory["evaluation"] > self.memory["peak"]:
            return "lower --per_device_eval_batch_size"
        largest = self.largest_batch()
        if largest:
            times = ceil(self.longest[0] / largest)
            return (
                f"batches of {largest} would: --per_device_train_batch_size {largest} --gradient_accumulation_steps "
                f"{times}; or keep fewer activations: --activation_checkpointing true"
            )
        return "not even one record fits: train adapters (--lora '{\"r\": 16}'), or with --optim adafactor"


def plan_stage(given: StageInput, builds_model: bool = False) -> Plan | None:
    """
    Plan a stage as it would run here, or on the GPU of `given.stage.plan`; `None` in all processes but the first.

    Raises:
        ClinRaGenInputError: as the stage itself, and for FSDP and DeepSpeed.
    """
    gpu, utilisation = _device(given.stage.plan)
    steps = simulated_stage(given, builds_model, on_gpu=gpu is not None)
    try:
        return None if steps is None else _planned(steps, {"gpu": gpu, "utilisation": utilisation})
    except ValueError as error:  # of the model, such as of texts that are too long for it
        raise ClinRaGenInputError(f"the stage would end with an error: {error}") from error


def simulated_stage(given: StageInput, builds_model: bool, on_gpu: bool) -> StageSimulation | None:
    """Return a stage to go through its steps, `None` in all processes but the first; raises as [`plan_stage`]."""
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


def _device(plan: str) -> tuple[str | None, float]:
    if plan != HERE:
        return gpu_of(plan)
    if not torch.cuda.is_available():
        return None, CPU_UTILISATION
    return gpu_of(name_of(torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / GIB))


def _load(
    model_args: ModelArguments,
    data_args: DataArguments,
    stage_args: StageArguments,
    builds_model: bool,
    simulation: Simulation,
) -> tuple[ClinRaGenLanguageModel, ClinRaGenProcessor]:
    """Make the model of a stage as the stage does, with weights that hold no values."""

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
    with_adapters(model, model_args, stage_args)  # small ones, with values
    set_up(model, processor, data_args, stage_args)
    return simulation.without_values(model), processor


class StageSimulation:
    """
    Steps of a stage without values.

    Args:
        simulation (`Simulation`): that the model's weights are of.
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
        """Make the stage's optimizer, and the state that it has after its first step."""
        trainer = object.__new__(ClinRaGenTrainer)  # whose __init__ makes a folder
        trainer.args, trainer.model, trainer.optimizer = self.args, self.model, None
        try:
            self.optimizer = trainer.create_optimizer()
        except (ValueError, ImportError) as error:
            raise ClinRaGenInputError(f"arguments: {error}") from error
        for group in self.optimizer.param_groups:
            if self.on_gpu and group.get("foreach", 1) is None and not group.get("fused"):
                group["foreach"] = True  # PyTorch's choice there
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
            stack.enter_context(self.simulation.of_a_gpu() if self.on_gpu else self.simulation.of_a_cpu())
            if precision != "no":  # float16 is as large as bfloat16, and takes as many operations
                stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
            yield

    def train(self, rows: list[dict]) -> Step:
        """Go through a training step: forward, backward, and the optimizer's."""
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
        with simulation:  # beyond mixed precision
            if self.args.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(self.trained, self.args.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        buckets = self.gradients if self.args.world_size > 1 else 0  # in which gradients travel
        backward = simulation.flops - start - forward
        return Step(forward, backward, kept, simulation.peak + buckets)

    @torch.no_grad()
    def validate(self, rows: list[dict]) -> Step:
        """Go through a validation step."""
        batch, simulation = self.collator(rows), self.simulation
        self.model.eval()
        with self._running():
            start, simulation.peak = simulation.flops, simulation.live
            self.model(**batch)
        forward = simulation.flops - start
        if self.model.diagnosis_head is None:
            forward *= 2  # about: what is written, too
        return Step(forward, 0, 0, simulation.peak)

    def read(self, name: str, limit: int | None = None, sample: int = SAMPLE) -> Split:
        """Read a split, or a sample of its records, and encode them as the stage does."""
        records, number = _some(self.data_args, name, limit, sample)
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


def _some(
    data_args: DataArguments, name: str, limit: int | None, sample: int
) -> tuple[Dataset | IterableDataset, int]:
    """Return the records of a split that are read for a plan, and how many it has."""
    streaming = data_args.streaming and limit is None and name == data_args.train_split
    records = load_records(data_args.dataset, name, needs_rationales=True, limit=limit, streaming=streaming)
    if streaming:
        number = sum(pq.ParquetFile(path).metadata.num_rows for path in shards(data_args.dataset, name))
        return records.take(sample), number
    if len(records) > sample:
        return records.select(np.linspace(0, len(records) - 1, sample).round().astype(int)), len(records)
    return records, len(records)


def _planned(steps: StageSimulation, device: dict) -> Plan:
    data_args, args = steps.data_args, steps.args
    records = steps.read(data_args.train_split)
    evaluated = steps.read(data_args.eval_split, data_args.max_eval_samples)
    size, processes = args.train_batch_size, args.world_size
    batches = records.batches(args)
    sizes = np.array([records.size(batch) for batch in batches])
    computed = sizes[:, 0] * sizes[:, 1:].sum(axis=1)
    longest = batches[computed.argmax()]
    ratio = sizes[:, 2] / sizes[:, 1]
    places = {int(computed.argmax()): None, int(ratio.argmin()): None, int(ratio.argmax()): None}  # each once
    done = [steps.train([records.rows[i] for i in batches[place]]) for place in places]
    step, times = done[0], records.number / len(records.rows)
    forward, backward = (
        times * _over_all(sizes, list(places), np.array([getattr(one, name) for one in done], dtype=float))
        for name in ("forward", "backward")
    )
    validation = _validation(steps, evaluated, args)
    epoch_steps, total, evaluations = _steps(records.number, args)
    parts = parts_of(steps.model)
    every, trained = Counter(), Counter()
    for name, weight in steps.model.named_parameters():
        every[name.partition(".")[0]] += weight.numel()
        trained[parts.get(name)] += weight.numel() * weight.requires_grad
    tokens = (records.note + records.series + records.target).sum()
    return Plan(
        records,
        evaluated,
        padding=1 - tokens / computed.sum(),
        longest=records.size(longest),
        epoch_steps=epoch_steps,
        steps=total,
        evaluations=evaluations,
        records_per_step=f"{size} records x {processes} process{'es' * (processes > 1)} x "
        f"{args.gradient_accumulation_steps} accumulated",
        parameters=every,
        trained=Counter({name: trained[name] for name in MODULES if trained[name]}),
        memory={
            "weights": steps.weights,
            "gradients": steps.gradients,
            "optimizer": steps.optimizer_state,
            "activations": step.kept,
            "peak": step.peak,
            "evaluation": validation.peak,
        },
        forward=forward,
        backward=backward,
        validation=validation.forward,
        processes=processes,
        precision=_precision(args),
        optimizer=getattr(args.optim, "value", args.optim),
        **device,
    )


def _over_all(sizes: np.ndarray, places: list[int], operations: np.ndarray) -> float:
    """
    Sum the operations of all batches from those of a few: they grow with the tokens read, with those written, and with
    the square of both together.

    Args:
        sizes (array of shape `(num_batches, 3)`): records of each batch, and tokens read and written of its longest.
        places, operations: the few batches, and what each takes.
    """
    number, read, written = sizes.T.astype(float)
    parts = np.stack([number * read, number * written, number * (read + written) ** 2], axis=1)
    parts /= parts.max(axis=0).clip(min=1)
    shares, _ = nnls(parts[places], operations / operations.max().clip(min=1))
    return float((parts @ shares).sum() * operations.max().clip(min=1))


def _validation(steps: StageSimulation, evaluated: Split, args: StageArguments) -> Step:
    """Return the operations of a whole validation, and its peak: that of the longest records together."""
    lengths = evaluated.note + evaluated.series + evaluated.target
    longest = np.argsort(lengths, kind="stable")[-args.eval_batch_size :]
    step = steps.validate([evaluated.rows[i] for i in longest])
    number, read, written = evaluated.size(longest)
    share = lengths.sum() / (number * (read + written)) * evaluated.number / len(evaluated.rows)
    return Step(step.forward * share, 0, 0, step.peak)


def _steps(number: int, args: StageArguments) -> tuple[int, int, int]:
    """Return the steps of an epoch and of all, and the validations, of so many records."""
    per_batch = args.train_batch_size * args.world_size
    batches = number // per_batch if args.dataloader_drop_last else ceil(number / per_batch)
    epoch = max(ceil(batches / args.gradient_accumulation_steps), 1)
    total = args.max_steps if args.max_steps > 0 else ceil(args.num_train_epochs * epoch)
    if args.eval_strategy == "no":
        return epoch, total, 0
    if args.eval_strategy == "epoch":
        return epoch, total, ceil(total / epoch)
    every = args.eval_steps or args.logging_steps
    return epoch, total, int(total // (every if every >= 1 else ceil(total * every)))


def _precision(args: StageArguments) -> str:
    if args.mixed_precision != "no":
        return args.mixed_precision
    return "tf32" if args.tf32 else "float32"


def _rate_here(dtype: torch.dtype) -> float:
    """Measure the operations a second of a product of matrices on this CPU."""
    (left, right), seconds = torch.randn(2, 1024, 1024).to(dtype), []
    for _ in range(5):
        start = time.process_time()  # of all threads together, whatever else the cores do
        left @ right
        seconds.append(time.process_time() - start)
    return 2 * 1024**3 * torch.get_num_threads() / min(seconds)


def _size(tensors: list[torch.Tensor]) -> int:
    """Return the bytes of tensors, of shared ones once."""
    return sum({id(tensor.untyped_storage()): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def _parts(numbers: dict) -> str:
    return ", ".join(f"{name} {number:,.0f}" for name, number in numbers.items())


def _bytes(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _flops(number: float) -> str:
    for unit, size in (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e9:.3g} GFLOP"


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 90 else f"{seconds:.2g} seconds"
