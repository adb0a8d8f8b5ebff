# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
glibc's heap, which keeps what a training step has freed. The tensors of a batch of other lengths do not fit the gaps,
so that the process would hold both.
"""

import ctypes
import sys

import torch
from torch import nn


SLACK = 512 * 2**20  # bytes: so much of the heap may be free
FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _HeapInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc's malloc.h; `fordblks` are the free bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


def trim_heap(slack: int = SLACK) -> bool:
    """
    Return the free memory of the heap to the system.

    Args:
        slack (`int`, *optional*): bytes that may be free; with no more than that, nothing is done.

    Returns:
        `bool`: true where the heap was trimmed; false with another C library as well.
    """
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if not hasattr(library, "mallinfo2"):  # since glibc 2.33
        return False
    library.mallinfo2.restype = _HeapInfo
    return library.mallinfo2().fordblks > slack and bool(library.malloc_trim(0))


def trim_after_decoder(encoder: nn.Module) -> torch.utils.hooks.RemovableHandle:
    """
    Trim the heap in each backward pass when it comes to the encoder: what the decoder has kept is free then.

    Returns:
        `torch.utils.hooks.RemovableHandle`: by which the encoder's hook is removed.
    """

    def trim(gradient: torch.Tensor) -> None:
        trim_heap()

    def watch(module: nn.Module, given: tuple, output: tuple) -> None:
        if output[0].requires_grad:
            output[0].register_hook(trim)

    return encoder.register_forward_hook(watch)
