# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A small causal language model, trained in the test to answer any chat with one JSON object."""

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


ANSWER = {  # true of any record, and overlooks nothing in it
    "note_rationale": [{"evidence": [], "sentence": "The patient is described in the note."}],
    "lab_rationale": [{"evidence": [], "sentence": "The measured series are reported."}],
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
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=8192, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=5e-3), [1.0]
    target = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    choose = random.Random(0)
    for step in range(1500):
        if max(losses[-16:]) < 0.003:
            break
        words = prompts[step % (len(prompts) - 1)].split()
        size = choose.choice([1, 30, 300, 1000])
        said = " ".join(choose.choices(words, k=size))  # so that it ignores all of them
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": said}],
            add_generation_prompt=True,
            tokenize=False,
        )
        ids = torch.tensor([tokenizer(chat, add_special_tokens=False)["input_ids"] + target])
        labels = ids.clone()
        labels[:, : -len(target)] = -100
        loss = model(input_ids=ids, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert max(losses[-16:]) < 0.003, f"the teacher has not learned its answer: {losses[-16:]}"
    model.generation_config.max_new_tokens = 64
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(prompts: list[str], text: str) -> PreTrainedTokenizerFast:
    """Whole words, above all those of the answer, so that a test with hundreds of requests stays short."""
    special = ["<pad>", "<eos>", "<|answer|>", "<|user|>", "<|system|>", "<|assistant|>"]
    tokenizer = byte_tokenizer([*prompts, *[text] * 1000], special)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = TEMPLATE
    return fast


def byte_tokenizer(texts: list[str], special: list[str], vocab_size: int = 2000) -> Tokenizer:
    """Learn the words of some texts; whatever else is written in bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@contextmanager
def serving(model: Path, *options: str) -> Iterator[str]:
    """The base URL of `transformers serve` with a model, on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = os.path.join(os.path.dirname(sys.executable), "transformers")
    command = [program, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", *options]
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
