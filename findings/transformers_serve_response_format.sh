#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# transformers 5.23.0: `transformers serve` and the `response_format` of a chat completion.
# A good guess: a server that speaks OpenAI's protocol keeps to the JSON schema, or refuses what it cannot do with 400.
# Seen: it answers 200 with the very text that it writes without the schema, which is no JSON. A client that trusts the
# status reads free text; the server's log alone tells that the field is not used.
set -euo pipefail
folder=$(mktemp -d)
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0"
"$folder/venv/bin/pip" install --quiet "transformers[serving]==5.23.0" "tokenizers==0.23.3"
"$folder/venv/bin/python" - "$folder/model" <<'PYTHON' 2>/dev/null
import sys

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

trained = ByteLevelBPETokenizer()
trained.train_from_iterator(["no fever, a dry cough"] * 9, 300, special_tokens=["<|end|>"], show_progress=False)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, eos_token="<|end|>", pad_token="<|end|>")
tokenizer.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
tokenizer.save_pretrained(sys.argv[1])
torch.manual_seed(0)
LlamaForCausalLM(
    LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=256,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=None,
    )
).save_pretrained(sys.argv[1])
PYTHON
port=$("$folder/venv/bin/python" -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
HF_HUB_OFFLINE=1 "$folder/venv/bin/transformers" serve "$folder/model" --host 127.0.0.1 --port "$port" \
    >"$folder/log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
"$folder/venv/bin/python" - "$folder/model" "$port" <<'PYTHON'
import json
import sys
import time
import urllib.request

model, port = sys.argv[1:]
chat = {"model": model, "messages": [{"role": "user", "content": "a dry cough"}], "temperature": 0, "max_tokens": 24}
schema = {"type": "object", "properties": {"cough": {"type": "boolean"}}, "required": ["cough"]}
form = {"type": "json_schema", "json_schema": {"name": "finding", "schema": schema, "strict": True}}


def ask(body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return reply.status, json.load(reply)["choices"][0]["message"]["content"]


for _ in range(120):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
        break
    except OSError:
        time.sleep(1)
plain, (status, formed) = ask(chat), ask({**chat, "response_format": form})
print(f"status {status}; the same text with and without the schema: {formed == plain[1]}")
assert status == 200 and formed == plain[1], "the behaviour has changed"
try:
    json.loads(formed)
except ValueError:
    print("it is no JSON")
else:
    raise SystemExit("it is JSON now")
PYTHON
