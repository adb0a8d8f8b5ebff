#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# transformers 5.23.0 with gguf 0.19.0: the tokenizer of a GGUF file with a byte-level vocabulary.
# A good guess: it has the tokens that the file lists, each with a row of the model's embedding.
# Seen: where the file lists no <|endoftext|>, the tokenizer gets one more, though the file names another token of end
# and none for unknown words. Its id is the size of the model's vocabulary: a text that holds it has no embedding, and a
# check that all ids are below the vocabulary's size refuses the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0"
"$folder/venv/bin/pip" install --quiet "transformers==5.23.0" "gguf==0.19.0" "tokenizers==0.23.3"
"$folder/venv/bin/python" - "$folder" <<'PYTHON' 2>/dev/null
import json
import sys

import gguf
import numpy as np
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoConfig, AutoTokenizer

tokenizer = ByteLevelBPETokenizer()
tokenizer.train_from_iterator(
    ["fever and crackles", "no fever"] * 9, vocab_size=300, special_tokens=["<|end|>"], show_progress=False
)
vocabulary = tokenizer.get_vocab()
writer = gguf.GGUFWriter(f"{sys.argv[1]}/small.gguf", "llama")
writer.add_tokenizer_model("gpt2")
writer.add_token_list(sorted(vocabulary, key=vocabulary.get))
writer.add_token_types([3] + [1] * (len(vocabulary) - 1))
writer.add_token_merges([" ".join(pair) for pair in json.loads(tokenizer._tokenizer.to_str())["model"]["merges"]])
writer.add_bos_token_id(0)
writer.add_eos_token_id(0)
writer.add_vocab_size(len(vocabulary))
writer.add_block_count(1)
writer.add_context_length(64)
writer.add_embedding_length(32)
writer.add_feed_forward_length(32)
writer.add_head_count(2)
writer.add_head_count_kv(2)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_tensor("token_embd.weight", np.zeros((len(vocabulary), 32), dtype=np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()

config = AutoConfig.from_pretrained(sys.argv[1], gguf_file="small.gguf")
read = AutoTokenizer.from_pretrained(sys.argv[1], gguf_file="small.gguf")
more = read.get_vocab().keys() - vocabulary.keys()
print(f"tokens in the file {len(vocabulary)}, vocabulary of the model {config.vocab_size}, tokenizer {len(read)}: {more}")
assert config.vocab_size == len(vocabulary)
assert more == {"<|endoftext|>"} and read.convert_tokens_to_ids("<|endoftext|>") == config.vocab_size, "it has changed"
PYTHON
