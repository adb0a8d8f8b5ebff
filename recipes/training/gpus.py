# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory and peak rates of GPUs that a run can be planned for."""

from __future__ import annotations

from dataclasses import dataclass

from modeling_clinragen import ClinRaGenInputError


UTILISATION = 0.3  # of the peak rate; small models and short texts reach less, large ones up to half


@dataclass(frozen=True)
class Gpu:
    """
    A kind of GPU.

    Args:
        memory (`int`): in GiB.
        half, tf32, full (`float`): peak rate of dense matrix products in TFLOP/s: in 16 bits, in TF32 and in float32;
            0 if unsupported.
        has_bf16 (`bool`): whether `half` holds for bfloat16 too.
    """

    memory: int
    half: float
    tf32: float
    full: float
    has_bf16: bool = True


# Source: NVIDIA's data sheet or white paper of each; of a rate stated with sparsity, half.
GPUS = {
    "T4": Gpu(16, 65, 0, 8.1, has_bf16=False),
    "V100": Gpu(32, 125, 0, 15.7, has_bf16=False),
    "A10": Gpu(24, 125, 62.5, 31.2),
    "L4": Gpu(24, 121, 60, 30.3),
    "L40S": Gpu(48, 362, 183, 91.6),
    "RTX4090": Gpu(24, 165, 82.6, 82.6),
    "A100-40GB": Gpu(40, 312, 156, 19.5),
    "A100": Gpu(80, 312, 156, 19.5),
    "H100": Gpu(80, 989, 495, 67),
    "H200": Gpu(141, 989, 495, 67),
}


def gpu_of(text: str) -> tuple[str, float]:
    """
    Parse the name of a GPU and the share of its peak rate that is reached: `A100`, or `A100:0.4`.

    Raises:
        ClinRaGenInputError: for an unknown name or an invalid share.
    """
    name, _, share = text.partition(":")
    known = {each.lower(): each for each in GPUS}
    if name.lower() not in known:
        raise ClinRaGenInputError(f"arguments: plan is {text}; give nothing, or a GPU of {', '.join(GPUS)}")
    try:
        utilisation = float(share or UTILISATION)
    except ValueError:
        utilisation = 0.0
    if not 0 < utilisation <= 1:
        raise ClinRaGenInputError(f"arguments: plan is {text}; a share of the peak rate is above 0 and at most 1")
    return known[name.lower()], utilisation


def name_of(device: str, memory: float) -> str:
    """
    Return the name in `GPUS` of a device, by its own name and its memory in GiB.

    Raises:
        ClinRaGenInputError: for an unknown device.
    """
    words = device.replace("RTX ", "RTX").replace("-", " ").split()
    names = [name for name in GPUS if name.partition("-")[0] in words]
    if not names:
        raise ClinRaGenInputError(f"arguments: plan knows no {device}; name a GPU like it, of {', '.join(GPUS)}")
    return min(names, key=lambda name: abs(GPUS[name].memory - memory))
