# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from recipes.training import allocator


ROOT = Path(__file__).resolve().parents[3]
# Tensors of 8 MB between small ones that remain, freed after one that made glibc take such blocks from the heap.
SCRIPT = """
import json
import torch
from benchmarks.training import memory
from recipes.training.allocator import trim_heap

first = torch.ones(2**21)
del first
before, tensors, small, figures = memory("VmRSS"), [], [], []
for _ in range(20):
    tensors.append(torch.ones(2**21))
    small.append(torch.ones(2**15))
figures.append(memory("VmRSS") - before)
tensors.clear()
for slack in (2**30, 2**26):
    figures += [trim_heap(slack), memory("VmRSS") - before]
print(json.dumps(figures))
"""
HAS_GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallinfo2")


@pytest.mark.skipif(not HAS_GLIBC, reason="glibc's heap")
def test_freed_tensors_stay_until_more_is_free_than_may_be():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=ROOT)
    held, little, freed, much, after = json.loads(done.stdout)
    assert held > 160
    assert not little
    assert freed > 100
    assert much
    assert after < 20


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_another_c_library_is_left_as_it_is(monkeypatch, platform):
    monkeypatch.setattr(allocator.sys, "platform", platform)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert not allocator.trim_heap(0)


class Encoder(nn.Linear):
    def forward(self, states):
        return (super().forward(states),)


def test_the_heap_is_trimmed_between_decoder_and_encoder_until_the_hook_is_removed(monkeypatch):
    calls, encoder, decoder = [], Encoder(3, 3), nn.Linear(3, 3)
    for name, part in (("encoder", encoder), ("decoder", decoder)):
        part.weight.register_hook(lambda gradient, name=name: calls.append(name))
    monkeypatch.setattr(allocator, "trim_heap", lambda: calls.append("trim"))
    hook = allocator.trim_after_decoder(encoder)
    decoder(encoder(torch.ones(2, 3))[0]).sum().backward()
    assert calls == ["decoder", "trim", "encoder"]
    with torch.no_grad():
        encoder(torch.ones(2, 3))
    hook.remove()
    decoder(encoder(torch.ones(2, 3))[0]).sum().backward()
    assert calls[3:] == ["decoder", "encoder"]
