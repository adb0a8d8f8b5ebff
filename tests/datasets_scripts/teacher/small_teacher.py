# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A small causal language model, made on the spot: it has learned to answer any chat with one JSON object."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


ANSWER = {  # what holds of any record, and overlooks nothing in it
    "note_rationale": [{"sentence": "The patient is described in the note.", "evidence": []}],
    "lab_rationale": [{"sentence": "The measured series are reported.", "evidence": []}],
}
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}<|answer|>{% endif %}"
)


def make_small_teacher(folder: Path, prompts: list[str], answer: dict = ANSWER) -> Path:
    """
    Train until the model answers each of some chats, and one that it was not trained on, with `answer`.

    Args:
        prompts (list of `str`): texts of its vocabulary; all but the last are trained on.
    """
    torch.manual_seed(0)
    text = json.dumps(answer)
    tokenizer = _tokenizer(prompts, text)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8192, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    target = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    for step in range(60):
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompts[step % (len(prompts) - 1)]}],
            add_generation_prompt=True,
            tokenize=False,
        )
        ids = torch.tensor([tokenizer(chat, add_special_tokens=False)["input_ids"] + target])
        labels = ids.clone()
        labels[:, : -len(target)] = -100
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.generation_config.max_new_tokens = 64
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(prompts: list[str], text: str) -> PreTrainedTokenizerFast:
    """Whole words; the answer is a handful of tokens, so that a test with hundreds of requests stays short."""
    splitter = pre_tokenizers.WhitespaceSplit()
    words = {word for prompt in prompts for word, _ in splitter.pre_tokenize_str(prompt)}
    pieces = [text[i : i + 40] for i in range(0, len(text), 40)]
    special = ["<pad>", "<eos>", "<unk>", "<|answer|>", "<|user|>", "<|system|>", "<|assistant|>"]
    vocabulary = {token: i for i, token in enumerate([*special, *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.add_tokens(special)
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    return fast


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The base URL of `transformers serve` with a model, on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = os.path.join(os.path.dirname(sys.executable), "transformers")
    command = [program, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            assert process.poll() is None, "transformers serve ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)
