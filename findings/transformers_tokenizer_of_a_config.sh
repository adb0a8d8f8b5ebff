#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# transformers 5.23.0: a tokenizer from a folder that holds a model's config.json and no tokenizer.
# A good guess: AutoTokenizer raises an error, as AutoModel does for a folder without weights.
# Seen: for T5, BART and BERT it gives a tokenizer of special tokens alone, without an error. A stage would train on
# notes of unknown tokens; only the length of the tokenizer tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "transformers==5.23.0" "sentencepiece==0.2.1" "protobuf"
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null
import sys
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

sizes = {}
for name in ("t5", "bart", "bert"):
    folder = Path(sys.argv[1], name)
    AutoConfig.for_model(name).save_pretrained(folder)
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    sizes[name] = len(tokenizer)
    ids = tokenizer("productive cough", add_special_tokens=False)["input_ids"]
    unknown = sum(i == tokenizer.unk_token_id for i in ids)
    print(f"{name}: {len(tokenizer)} tokens; 'productive cough' becomes {len(ids)}, {unknown} of them unknown")
assert max(sizes.values()) < 200, "the tokenizers have words now"
PYTHON
