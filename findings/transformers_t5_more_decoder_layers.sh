#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# transformers 5.23.0: a T5 with more decoder than encoder layers, as `num_decoder_layers` allows.
# A good guess: what its forward pass does with a cache (and `generate` without one), `generate` does with one.
# Seen: `generate` makes a cache of as many layers as the encoder has, and ends with "list index out of range". With
# fewer decoder layers nothing is seen; the forward pass, which makes its own cache, works in both cases.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0"
"$folder/venv/bin/pip" install --quiet "transformers==5.23.0"
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import torch
from transformers import T5Config, T5ForConditionalGeneration

sizes = {"vocab_size": 50, "d_model": 16, "d_ff": 32, "d_kv": 8, "num_heads": 2, "decoder_start_token_id": 0}
note, target, seen = torch.tensor([[3, 4, 5]]), torch.tensor([[0, 4]]), {}
for encoder, decoder in ((3, 1), (1, 3)):
    config = T5Config(**sizes, num_layers=encoder, num_decoder_layers=decoder)
    model = T5ForConditionalGeneration(config).eval()
    model(input_ids=note, decoder_input_ids=target, use_cache=True)
    model.generate(note, max_new_tokens=4, use_cache=False)
    try:
        model.generate(note, max_new_tokens=4)
        seen[encoder, decoder] = "a text"
    except IndexError as error:
        seen[encoder, decoder] = str(error)
    print(f"{encoder} encoder layers, {decoder} decoder layers: {seen[encoder, decoder]}")
assert seen == {(3, 1): "a text", (1, 3): "list index out of range"}, "it has changed"
PYTHON
