# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a stage: records, tokens, steps, memory, operations and time, without weights and without training."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from scipy.optimize import nnls

from modeling_clinragen import ClinRaGenInputError
from recipes.training.arguments import StageArguments, StageInput
from recipes.training.fields import MODULES
from recipes.training.gpus import GPUS, gpu_of, name_of
from recipes.training.stage_simulation import Split, StageSimulation, Step, simulated_stage
from recipes.training.stages import train_stage
from recipes.training.trainer import parts_of


HERE = "here"  # what `--plan` alone stands for: this machine
CPU_UTILISATION = 0.5
SLACK, RESERVE = 1.1, 1e9  # of a GPU: fragmentation; memory of CUDA and its libraries
GIB = 2**30


def train_or_plan(given: StageInput, builds_model: bool = False) -> None:
    """Run a stage, or with `--plan` only print its cost."""
    if given.stage.plan is None:
        train_stage(given, builds_model)
    else:
        plan = plan_stage(given, builds_model)
        if plan is not None:
            print("\n".join(plan.lines()))


@dataclass
class Plan:
    """
    The plan of a stage: counts are of all processes, memory is of one.

    Args:
        records, evaluated (`Split`): of training and of validation.
        padding (`float`): share of padding among the tokens computed in an epoch.
        longest (`tuple`): of the longest batch: records, tokens read and tokens written.
        epoch_steps, steps, evaluations (`int`): steps of the optimizer in an epoch and in all; validations.
        records_per_step (`str`): their number, and its factors.
        parameters, trained (`Counter`): by part of the model.
        memory (`dict`): bytes of `weights`, `gradients`, `optimizer`, `activations`, `peak` (of a step) and
            `evaluation`, the peak of a validation.
        forward, backward, validation (`float`): operations of an epoch, and of one validation.
        processes (`int`).
        precision (`str`): of matrix products: `float32`, `tf32`, `bf16` or `fp16`.
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
        """Return the operations of the whole run."""
        return self.epochs * (self.forward + self.backward) + self.evaluations * self.validation

    @property
    def needed(self) -> float:
        """Return the bytes that the device must have."""
        peak = max(self.memory["peak"], self.memory["evaluation"])
        return peak if self.gpu is None else SLACK * peak + RESERVE

    @property
    def capacity(self) -> float:
        return GPUS[self.gpu].memory * GIB if self.gpu else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    def rate(self) -> float:
        """Return the operations a second at this precision; 0 if unsupported. The rate of a CPU is measured."""
        if self.gpu is None:
            return _rate_here(torch.float32 if self.precision == "float32" else torch.bfloat16)
        gpu = GPUS[self.gpu]
        rates = {"float32": gpu.full, "tf32": gpu.tf32, "fp16": gpu.half, "bf16": gpu.half if gpu.has_bf16 else 0.0}
        return rates[self.precision] * 1e12

    def largest_batch(self) -> int:
        """Return the number of records of the longest batch that fit into the device; 0 if none fits."""
        fixed = self.memory["weights"] + self.memory["optimizer"]
        room = self.capacity if self.gpu is None else (self.capacity - RESERVE) / SLACK
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
        device, capacity = self.gpu or "this machine", _bytes(self.capacity)
        need = f"{_bytes(self.needed)} with what CUDA takes itself" if self.gpu else _bytes(self.needed)
        if self.needed <= self.capacity:
            return f"fits into {device}: {need} of {capacity}"
        return f"DOES NOT FIT into {device}: {need} of {capacity}; {self._remedy()}"

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
    Return the plan of a stage here, or on the GPU of `given.stage.plan`; `None` in all processes but the first.

    Raises:
        ClinRaGenInputError: as the stage itself, and for FSDP and DeepSpeed.
    """
    gpu, utilisation = _device(given.stage.plan)
    steps = simulated_stage(given, builds_model, on_gpu=gpu is not None)
    try:
        return None if steps is None else _planned(steps, {"gpu": gpu, "utilisation": utilisation})
    except ValueError as error:  # of the model, such as for texts that are too long for it
        raise ClinRaGenInputError(f"the stage would end with an error: {error}") from error


def _device(plan: str) -> tuple[str | None, float]:
    if plan != HERE:
        return gpu_of(plan)
    if not torch.cuda.is_available():
        return None, CPU_UTILISATION
    return gpu_of(name_of(torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / GIB))


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
    Estimate the operations of all batches from a few: they grow with the tokens read, the tokens written, and the
    square of their sum.

    Args:
        sizes (array of shape `(num_batches, 3)`): records of each batch, and tokens read and written of its longest.
        places, operations: the few batches, and the operations of each.
    """
    number, read, written = sizes.T.astype(float)
    parts = np.stack([number * read, number * written, number * (read + written) ** 2], axis=1)
    parts /= parts.max(axis=0).clip(min=1)
    shares, _ = nnls(parts[places], operations / operations.max().clip(min=1))
    return float((parts @ shares).sum() * operations.max().clip(min=1))


def _validation(steps: StageSimulation, evaluated: Split, args: StageArguments) -> Step:
    """Return the operations of a whole validation, and its peak, which is that of the longest records."""
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
        start = time.process_time()  # of all threads, independent of other processes
        left @ right
        seconds.append(time.process_time() - start)
    return 2 * 1024**3 * torch.get_num_threads() / min(seconds)


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
