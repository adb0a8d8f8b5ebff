# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Simulated training steps: every operation of a step is called, and its bytes and arithmetic are counted, but weights,
activations and gradients hold no values.

Everything that determines shapes is real: tokens, masks and indices. So a step has the same lengths, and makes the
same calls in the same order, as a real one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count, shape_wrapper

from recipes.training import cpu


aten = torch.ops.aten


# Operations that PyTorch's counter omits, in the form of its `custom_mapping`.
MORE_FLOPS = {
    aten.addmm_: lambda own, left, right, *_, **__: 2 * left[0] * left[1] * right[1],
    aten.baddbmm_: lambda own, left, right, *_, **__: 2 * left[0] * left[1] * left[2] * right[2],
    aten._scaled_dot_product_flash_attention_for_cpu: lambda query, key, value, *_, **__: sdpa_flop_count(
        query, key, value
    ),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda gradient, query, key, value, *_, **__: (
        sdpa_backward_flop_count(gradient, query, key, value)
    ),
}
FLOPS = flop_registry | {operation: shape_wrapper(formula) for operation, formula in MORE_FLOPS.items()}


class Simulation(TorchDispatchMode):
    """
    Within this mode operations count their cost; new floating-point tensors hold no values.

    Attributes:
        live, peak (`int`): bytes of all live tensors that were created within, and their maximum so far.
        flops (`int`): floating-point operations of matrix products so far; a multiply-add counts as two.
    """

    def __init__(self):
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self.live = self.peak = self.flops = 0
        self._storages: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return args[0].fake_device if isinstance(args[0], FakeTensor) else func(*args)
        given = list(_tensors((args, kwargs.values())))
        absent = any(isinstance(tensor, FakeTensor) for tensor in given)
        if absent and func is aten._local_scalar_dense.default:
            return _any_number(args[0])
        if absent and func is aten.equal.default:
            return args[0] is args[1]
        if absent and func is aten.index.Tensor:
            args = (args[0], _as_positions(args[1]))
        made = self._make(func, args, kwargs) if not given else func(*args, **kwargs)
        self._count(func, args, kwargs, made)
        return made

    def _make(self, func, args, kwargs):
        """Call a tensor factory: numbers, indices and masks are real, all other tensors hold no values."""
        if kwargs.get("device") == torch.device("meta"):
            return func(*args, **kwargs)
        with self.fake:
            made = func(*args, **kwargs)
        real = isinstance(made, torch.Tensor) and (not made.is_floating_point() or made.numel() <= 1)
        return func(*args, **kwargs) if real else made

    def _count(self, func, args, kwargs, made) -> None:
        formula = FLOPS.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=made)
        for tensor in _tensors((made,)):
            self.hold(tensor)

    def hold(self, tensor: torch.Tensor) -> None:
        """Count a tensor's memory for as long as it lives."""
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key not in self._storages:
            self._storages[key] = weakref.ref(storage, lambda _: self._release(key, size))
            self.live += size
            self.peak = max(self.peak, self.live)

    def _release(self, key: int, size: int) -> None:
        if self._storages.pop(key, None) is not None:
            self.live -= size

    def absent(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a CPU tensor of the same dtype and shape without values."""
        with torch.no_grad():
            fake = FakeTensor(self.fake, tensor.detach().to("meta"), torch.device("cpu"))
            self.hold(fake)
            return nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake

    def empty(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return self.absent(torch.empty(shape, dtype=dtype, device="meta"))

    def without_values(self, model: nn.Module) -> nn.Module:
        """Return the model itself, with weights replaced by ones without values; shared ones stay shared."""
        known = {}
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None and not isinstance(tensor, FakeTensor):
                        tensors[name] = known.setdefault(id(tensor), (tensor, self.absent(tensor)))[1]
        return model

    @contextmanager
    def cpu_kernels(self) -> Iterator[None]:
        """Count attention and dropout as `recipes/training/cpu.py` computes them."""
        with _replaced(cpu, _BlockwiseAttention=_attention_in_blocks(self), _Draw=_draw(self)):
            yield

    @contextmanager
    def gpu_kernels(self) -> Iterator[None]:
        """Count the memory of GPU kernels: no attention weights, and one byte per element for dropout."""
        with _replaced(F, scaled_dot_product_attention=_efficient_attention, dropout=_fused_dropout):
            yield


@contextmanager
def _replaced(module, **others) -> Iterator[None]:
    before = {name: getattr(module, name) for name in others}
    vars(module).update(others)
    try:
        yield
    finally:
        vars(module).update(before)


def _tensors(values) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple) or type(value).__name__ == "dict_values":
            yield from _tensors(value)


def _any_number(tensor: torch.Tensor) -> float | bool:
    """Return a value for an optimizer, such as the size of a weight; lengths must be known."""
    if tensor.dtype == torch.bool or tensor.is_floating_point():
        return bool(tensor.dtype == torch.bool) or 1.0
    raise ValueError("a length depends on weights, which hold no values in a simulation")


def _as_positions(index: list[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Turn masks among indices into the positions that they select."""
    positions = []
    for part in index:
        is_mask = part is not None and part.dtype == torch.bool
        positions += part.nonzero(as_tuple=True) if is_mask else [part]
    return positions


def _efficient_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
) -> torch.Tensor:
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros(attn_mask.shape, dtype=query.dtype).masked_fill_(~attn_mask, -torch.inf)
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    return aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale
    )[0]


def _fused_dropout(input, p=0.5, training=True, inplace=False) -> torch.Tensor:
    return aten.native_dropout(input, p, True)[0] if training and p else input


def _draw(simulation: Simulation) -> type:
    class Draw(cpu._Draw):
        """Random bits that are only counted."""

        def bits(self, shape, source):
            return simulation.empty(*shape, dtype=torch.int8)

    return Draw


def _attention_in_blocks(simulation: Simulation) -> type:
    class Attention(torch.autograd.Function):
        """Count the memory and operations of `_BlockwiseAttention`, without its blocks."""

        @staticmethod
        def forward(ctx, query, key, value, bias, mask, dropout, scaling):
            rows, num_heads, num_queries, width = query.shape
            lengths = (
                [key.shape[2]] * rows if mask is None else [_num_keys(mask[i % len(mask), 0]) for i in range(rows)]
            )
            ctx.scores, ctx.kept = num_heads * num_queries * sum(lengths), []
            ctx.is_kept = cpu.keeps_weights(query, key)
            if ctx.is_kept:
                kinds = (query.dtype, torch.int8) if dropout else (query.dtype,)
                ctx.kept = [simulation.empty(ctx.scores, dtype=kind) for kind in kinds]
            simulation.flops += 2 * ctx.scores * (width + value.shape[-1])
            output = query.new_empty(*query.shape[:3], value.shape[-1])
            ctx.save_for_backward(query, key, value, bias, output)
            return output

        @staticmethod
        def backward(ctx, grad_output):
            query, key, value, bias, output = ctx.saved_tensors
            (grad_output * output).sum(dim=-1, keepdim=True)
            width = query.shape[-1]
            made_again = 0 if ctx.is_kept else 2 * ctx.scores * width
            simulation.flops += 4 * ctx.scores * (width + value.shape[-1]) + made_again
            gradients = [torch.zeros_like(part) for part in (query, key, value)]
            gradients.append(torch.zeros_like(bias) if ctx.needs_input_grad[3] else None)
            ctx.kept = []
            return *gradients, None, None, None

    return Attention


def _num_keys(mask: torch.Tensor) -> int:
    """Return the number of keys up to the last that any query attends to; mask of (query_length, key_length)."""
    seen = mask.any(dim=0).nonzero()
    return int(seen[-1]) + 1 if len(seen) else mask.shape[1]
