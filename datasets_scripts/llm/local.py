# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A causal language model in this process: what waits for an answer is answered in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from datasets_scripts.common.checkpoints import pretrained, pretrained_weights
from datasets_scripts.llm.answers import parse_answer
from datasets_scripts.llm.chat import Answer, Request
from datasets_scripts.llm.endpoint import Sampling
from datasets_scripts.llm.request_log import RequestLog
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


TOO_LONG = "too long a prompt"


@contextmanager
def _told(model: str, what: str) -> Iterator[None]:
    """
    Turn whatever a model's files, code and device raise into one line.

    Libraries have errors of many kinds for it, without a common base. A package that is missing passes: all commands
    tell of it.
    """
    try:
        yield
    except (ClinRaGenInputError, ImportError):
        raise
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ClinRaGenInputError(f"transformers:{model} {what}: {type(error).__name__}: {reason[:300]}") from error


class LocalModel:
    """
    Args:
        model (`str`): folder or Hub id of a causal language model with a chat template.
        log (`RequestLog`): answers; what it holds is not asked again.
        batch_size (`int`): answered at once, with the seed of the first; as many again may wait.

    Raises:
        ClinRaGenInputError: if there is no such model, it has no chat template, or no room for an answer.
    """

    def __init__(self, model: str, log: RequestLog, *, batch_size: int = 8, sampling: Sampling | None = None):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with _told(model, "cannot be loaded"):
            (checkpoint, options), (_, weights) = pretrained(model), pretrained_weights(model)
            self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options, padding_side="left")
            self.model = AutoModelForCausalLM.from_pretrained(checkpoint, **weights).eval()
        self.name, self.log, self.sampling = model, log, sampling or Sampling()
        self.room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 10**9
        self._check()
        if torch.accelerator.is_available():
            self.model.to(torch.accelerator.current_accelerator())
        self.concurrency = self.batch_size = batch_size

    def _check(self) -> None:
        """Raise a `ClinRaGenInputError` where no chat could be answered; a tokenizer without padding gets one."""
        if self.tokenizer.chat_template is None:
            raise ClinRaGenInputError(f"transformers:{self.name} has no chat template; take an instruct model")
        if self.room <= self.sampling.max_tokens:
            raise ClinRaGenInputError(
                f"transformers:{self.name} has room for {self.room} tokens, and --max-answer-tokens is "
                f"{self.sampling.max_tokens}: none is left for a record; give fewer, or take another model"
            )
        if self.tokenizer.pad_token is None:  # masked, whichever it is
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)

    async def __aenter__(self) -> LocalModel:
        self.waiting: asyncio.Queue = asyncio.Queue()
        self.worker = asyncio.ensure_future(self._work())
        return self

    async def __aexit__(self, *_) -> None:
        self.worker.cancel()
        await asyncio.gather(self.worker, return_exceptions=True)

    async def answer(self, request: Request) -> Answer:
        seed = self.sampling.seed if request.seed is None else request.seed
        key = self.log.key({"model": self.name, "messages": request.messages, **vars(self.sampling), "seed": seed})
        content = self.log.answer(key)
        if content is None:
            future = asyncio.get_running_loop().create_future()
            await self.waiting.put((key, request.messages, seed, future))
            content = await future
        return Answer(None, TOO_LONG) if content is None else parse_answer(content, request.schema)

    async def _work(self) -> None:
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < self.batch_size and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            try:
                chats = [messages for _, messages, _, _ in batch]
                texts = await asyncio.to_thread(self._generate, chats, batch[0][2])
            except Exception as error:  # to those who wait for it
                for *_, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (key, _, _, future), (text, read, written) in zip(batch, texts, strict=True):
                number = self.log.sent(key)
                if text is None:
                    self.log.failed(number, TOO_LONG)
                else:
                    self.log.answered(number, key, text, read, written)
                if not future.done():
                    future.set_result(text)

    def _generate(self, chats: list[list[dict]], seed: int) -> list[tuple[str | None, int, int]]:
        """Return text, tokens read and tokens written of each chat; no text where the prompt is too long."""
        with _told(self.name, "cannot answer"):
            return self._texts(chats, seed)

    def _prompt(self, chat: list[dict]) -> str:
        """Return a chat as one text; a template without system messages gets the first two as one."""
        from jinja2 import TemplateError

        fill = partial(self.tokenizer.apply_chat_template, add_generation_prompt=True, tokenize=False)
        try:
            return fill(chat)
        except TemplateError:
            if chat[0]["role"] != "system":
                raise
            system, first, *others = chat
            return fill([{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others])

    def _texts(self, chats: list[list[dict]], seed: int) -> list[tuple[str | None, int, int]]:
        import torch

        prompts = [self._prompt(chat) for chat in chats]
        lengths = [len(ids) for ids in self.tokenizer(prompts, add_special_tokens=False)["input_ids"]]
        short = [i for i, length in enumerate(lengths) if length + self.sampling.max_tokens <= self.room]
        results: list[tuple[str | None, int, int]] = [(None, 0, 0)] * len(chats)
        if not short:
            return results
        batch = self.tokenizer(
            [prompts[i] for i in short], add_special_tokens=False, padding=True, return_tensors="pt"
        ).to(self.model.device)
        batch.pop("token_type_ids", None)
        sampled = {"do_sample": True, "temperature": self.sampling.temperature} if self.sampling.temperature else {}
        torch.manual_seed(seed)
        with torch.inference_mode():
            ids = self.model.generate(
                **batch,
                **(sampled or {"do_sample": False}),
                max_new_tokens=self.sampling.max_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )[:, batch["input_ids"].shape[1] :]
        written = (ids != self.tokenizer.pad_token_id).sum(dim=1).tolist()
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        for i, text, count in zip(short, texts, written, strict=True):
            results[i] = text, lengths[i], count
        return results
