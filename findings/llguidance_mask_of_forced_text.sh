#!/usr/bin/env bash
# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
#
# llguidance 1.9.1: where the grammar forces a text, a token that holds it and more is accepted, but not in the mask.
# A good guess: the mask of the next token holds every token that the matcher accepts.
# Seen: behind `{"say": "` of a forced beginning, the added token `{"say": "fever` is valid and is masked; only the
# tokens of the forced text itself are allowed, so a model that would write the longer token has to spell it out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "llguidance==1.9.1" "tokenizers==0.23.3"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from llguidance import LLMatcher, LLTokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE({sign: i for i, sign in enumerate([*alphabet, "<eos>"])}, []))
tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer.add_tokens([AddedToken('{"say": "fever', normalized=False)])
long = tokenizer.token_to_id('{"say": "fever')

vocabulary = LLTokenizer(tokenizer.to_str(), eos_token=tokenizer.token_to_id("<eos>"))
schema = {"type": "object", "properties": {"say": {"type": "string"}}, "required": ["say"]}
form = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_json_schema(schema, overrides=form))
mask = matcher.compute_bitmask()
masked = not mask[long // 8] >> long % 8 & 1
accepted = matcher.validate_tokens([long]) == 1
print(version("llguidance"), f"accepted: {accepted}, masked: {masked}")
assert accepted, "the token does not fit the grammar: nothing is shown"
assert masked, "the behaviour has changed"
PYTHON
