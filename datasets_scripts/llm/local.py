# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
A causal language model in this process: waiting requests are answered in batches, each as JSON of its own schema.

The common beginning of the chats of a batch, such as system message and examples, is encoded once.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from datasets_scripts.common.checkpoints import pretrained, pretrained_weights
from datasets_scripts.llm.answers import parse_answer
from datasets_scripts.llm.chat import Answer, Request
from datasets_scripts.llm.endpoint import Sampling
from datasets_scripts.llm.json_only import JsonOnly, longest_ending, vocabulary_of
from datasets_scripts.llm.request_log import RequestLog
from modeling_clinragen.clinical_clinragen import ClinRaGenInputError


TOO_LONG = "too long a prompt"
SHORTEST_OPENING = 32  # tokens of a common beginning that is worth caching


@contextmanager
def _model_errors(model: str, what: str) -> Iterator[None]:
    """
    Turn any error of a model's files, code or device into one line.

    The libraries' errors have no common base class. Errors for missing packages pass through, because all commands
    report them.
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
        log (`RequestLog`): answers; those in it are not generated again.
        batch_size (`int`): requests answered at once, with the seed of the first; their answers have similar expected
            lengths.

    Raises:
        ClinRaGenInputError: if there is no such model, it has no chat template, or its context is too short.
    """

    def __init__(self, model: str, log: RequestLog, *, batch_size: int = 8, sampling: Sampling | None = None):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with _model_errors(model, "cannot be loaded"):
            (checkpoint, options), (_, weights) = pretrained(model), pretrained_weights(model)
            self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options, padding_side="left")
            self.model = AutoModelForCausalLM.from_pretrained(checkpoint, **weights).eval()
            if self.model.dtype == torch.float32 and multiplies_bfloat16():
                self.model.to(torch.bfloat16)
        self.name, self.log, self.sampling = model, log, sampling or Sampling()
        self.room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 10**9
        self._check()
        if torch.accelerator.is_available():
            self.model.to(torch.accelerator.current_accelerator())
        self.concurrency = self.batch_size = batch_size
        self.opening: list[int] = []  # common beginning of the last chats, as tokens
        self.opening_cache = None

    def _check(self) -> None:
        """Raise a `ClinRaGenInputError` if no chat can be answered; add a padding token to a tokenizer without one."""
        if self.tokenizer.chat_template is None:
            raise ClinRaGenInputError(f"transformers:{self.name} has no chat template; take an instruct model")
        if self.room <= self.sampling.max_tokens:
            raise ClinRaGenInputError(
                f"transformers:{self.name} has room for {self.room} tokens, and --max-answer-tokens is "
                f"{self.sampling.max_tokens}: none is left for a record; give fewer, or take another model"
            )
        if self.tokenizer.pad_token is None:  # any token will do, since padding is masked
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.convert_ids_to_tokens(0)
        with _model_errors(self.name, "has a tokenizer that cannot be kept to JSON"):
            self.vocabulary = vocabulary_of(self.tokenizer)

    async def __aenter__(self) -> LocalModel:
        self.waiting: asyncio.Queue = asyncio.Queue()
        self.worker = asyncio.ensure_future(self._work())
        return self

    async def __aexit__(self, *_) -> None:
        self.worker.cancel()
        await asyncio.gather(self.worker, return_exceptions=True)

    async def answer(self, request: Request) -> Answer:
        seed = self.sampling.seed if request.seed is None else request.seed
        asked = {"model": self.name, "messages": request.messages, "schema": request.allowed, "seed": seed}
        key = self.log.key({**vars(self.sampling), **asked})
        content = self.log.answer(key)
        if content is None:
            future = asyncio.get_running_loop().create_future()
            await self.waiting.put((key, request, seed, future))
            content = await future
        return Answer(None, TOO_LONG) if content is None else parse_answer(content, request.schema)

    async def _work(self) -> None:
        begun: list[tuple] = []
        while True:
            if not begun:
                begun.append(await self.waiting.get())
            while not self.waiting.empty():
                begun.append(self.waiting.get_nowait())
            batch = _by_similar_length(begun)[: self.batch_size]
            begun = [item for item in begun if item not in batch]
            try:
                texts = await asyncio.to_thread(self._generate, [request for _, request, _, _ in batch], batch[0][2])
            except Exception as error:  # passed on to the waiting requests
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

    def _generate(self, requests: list[Request], seed: int) -> list[tuple[str | None, int, int]]:
        """Return text, tokens read and tokens written of each request; no text where the prompt is too long."""
        with _model_errors(self.name, "cannot answer"):
            return self._texts(requests, seed)

    def _prompt(self, chat: list[dict]) -> str:
        """Return a chat as one text; for templates without system messages the first two are merged."""
        from jinja2 import TemplateError

        fill = partial(self.tokenizer.apply_chat_template, add_generation_prompt=True, tokenize=False)
        try:
            return fill(chat)
        except TemplateError:
            if chat[0]["role"] != "system":
                raise
            system, first, *others = chat
            return fill([{**first, "content": f"{system['content']}\n\n{first['content']}"}, *others])

    def _texts(self, requests: list[Request], seed: int) -> list[tuple[str | None, int, int]]:
        prompts = self.tokenizer([self._prompt(r.messages) for r in requests], add_special_tokens=False)["input_ids"]
        results: list[tuple[str | None, int, int]] = [(None, 0, 0)] * len(requests)
        short = [i for i, prompt in enumerate(prompts) if len(prompt) + self.sampling.max_tokens <= self.room]
        if not short:
            return results
        written = self._write([prompts[i] for i in short], [requests[i].allowed for i in short], seed)
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        for i, text, tokens in zip(short, texts, written, strict=True):
            results[i] = text, len(prompts[i]), len(tokens)
        return results

    def _write(self, prompts: list[list[int]], schemas: list[dict], seed: int) -> list[list[int]]:
        """Return the generated tokens of each prompt."""
        import torch

        opening = self._read_opening(prompts)
        longest, padding = max(map(len, prompts)), self.tokenizer.pad_token_id
        ids = [p[:opening] + [padding] * (longest - len(p)) + p[opening:] for p in prompts]
        mask = [[1] * opening + [0] * (longest - len(p)) + [1] * (len(p) - opening) for p in prompts]
        cache = copy.deepcopy(self.opening_cache) if opening else None
        if cache is not None:
            cache.batch_repeat_interleave(len(prompts))
        sampled = {"do_sample": True, "temperature": self.sampling.temperature} if self.sampling.temperature else {}
        only = self._only(schemas)
        torch.manual_seed(seed)
        with torch.inference_mode():
            written = self.model.generate(
                torch.tensor(ids, device=self.model.device),
                attention_mask=torch.tensor(mask, device=self.model.device),
                past_key_values=cache,
                **(sampled or {"do_sample": False}),
                logits_processor=[only],
                max_new_tokens=self.sampling.max_tokens,
                eos_token_id=self.vocabulary.eos_token,
                pad_token_id=padding,
            )[:, longest:].tolist()
        end = self.vocabulary.eos_token
        return [tokens[: tokens.index(end) if end in tokens else None] for tokens in written]

    def _only(self, schemas: list[dict]) -> JsonOnly:
        try:
            return JsonOnly(self.vocabulary, schemas, self.sampling.max_tokens)
        except ValueError as error:
            raise ClinRaGenInputError(f"transformers:{self.name}: {error}; raise --max-answer-tokens") from None

    def _read_opening(self, prompts: list[list[int]]) -> int:
        """Encode the common beginning of all prompts, unless it is cached, and return its length."""
        import torch

        own = _common_prefix([prompt[:-1] for prompt in prompts])
        known = _common_prefix([own, self.opening])
        opening = known if 2 * len(known) > len(own) else own
        if len(opening) < SHORTEST_OPENING:
            return 0
        if opening != self.opening:
            with torch.inference_mode():
                ids = torch.tensor([opening], device=self.model.device)
                cache = self.model(ids, use_cache=True, logits_to_keep=1).past_key_values
            plain = all(type(layer).__name__ == "DynamicLayer" for layer in getattr(cache, "layers", [None]))
            self.opening, self.opening_cache = opening, cache if plain else None
        return len(opening) if self.opening_cache is not None else 0


def _by_similar_length(waiting: list[tuple]) -> list[tuple]:
    """Sort waiting requests by similarity of length to the first: a batch takes as long as its longest answer."""
    sizes = {item[0]: (len(longest_ending(item[1].allowed)), len(item[1].messages[-1]["content"])) for item in waiting}
    first = sizes[waiting[0][0]]
    return sorted(waiting, key=lambda item: [abs(a - b) for a, b in zip(sizes[item[0]], first, strict=True)])


def _common_prefix(lists: list[list[int]]) -> list[int]:
    """Return the longest common prefix of the lists."""
    length = next((i for i, items in enumerate(zip(*lists)) if len(set(items)) > 1), min(map(len, lists)))  # noqa: B905
    return lists[0][:length]


def multiplies_bfloat16() -> bool:
    """Return whether the processor has bfloat16 multiplication, which is faster than float32."""
    import torch

    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
