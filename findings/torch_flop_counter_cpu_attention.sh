#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# torch 2.13.0: FlopCounterMode counts no operation of the attention that a CPU runs by default, and counts all of the
# same attention when its bias needs a gradient.
# A good guess: scaled_dot_product_attention has one formula, 4 * batch * heads * length^2 * width forward, on any device
# and by any backend, as the counter has for the kernels of GPUs.
# Seen: the fused kernel of CPUs counts 0, forward and backward. A bias that learns, as T5's does, falls back to two
# products, which count in full: of two models on one CPU the counter ranks the one with the learned bias above.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.2"
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

BATCH, HEADS, LENGTH, WIDTH = 2, 4, 64, 32
query, key, value = (torch.randn(BATCH, HEADS, LENGTH, WIDTH, requires_grad=True) for _ in range(3))
bias = torch.zeros(1, HEADS, LENGTH, LENGTH, requires_grad=True)


def counted(attention_mask):
    with FlopCounterMode(display=False) as counter:
        scaled_dot_product_attention(query, key, value, attn_mask=attention_mask).sum().backward()
    return counter.get_total_flops()


forward = 4 * BATCH * HEADS * LENGTH**2 * WIDTH
found = counted(None), counted(bias.detach()), counted(bias)
print(torch.__version__, "without bias, fixed bias, learned bias:", found, "expected:", 3 * forward)
assert found == (0, 0, 3 * forward), "the behaviour has changed"
PYTHON
