# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Generation constrained to JSON of a schema, which is complete within its limit of tokens, for any model.

This file is also a `custom_generate/generate.py`: in a model's folder under that name it lets `transformers serve
FOLDER --trust-remote-code` keep to the `json_schema` of a request's `generation_config`.
"""

import json
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from transformers import LogitsProcessor


LONGEST_STRING, MOST_ITEMS = 200, 12  # characters, items: if a schema has no bound
PLAIN = r'[^"\\\x00-\x1f\x7f]'  # characters without an escape, so that a string can end after any of them
FORM = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
SPARE = 16  # tokens beyond the longest closing, as words may be tokenized differently
CLOSERS = ('"', "}", "]", ",", ":")


def parts_of(schema: dict) -> Iterator[dict]:
    """Yield the direct subschemas of a schema."""
    yield from schema.get("anyOf", ())
    yield from schema.get("properties", {}).values()
    yield from schema.get("prefixItems", ())
    if "items" in schema:
        yield schema["items"]


def bounded(schema: dict) -> dict:
    """Return a schema with bounds for strings, lists and objects, so that answers are finite."""
    schema = dict(schema)
    for name in ("anyOf", "prefixItems"):
        if name in schema:
            schema[name] = [bounded(part) for part in schema[name]]
    if "properties" in schema:
        schema["properties"] = {name: bounded(part) for name, part in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = bounded(schema["items"])
    if schema.get("type") == "object":
        schema["additionalProperties"] = False
    if schema.get("type") == "array":
        schema.setdefault("maxItems", MOST_ITEMS)
    if schema.get("type") == "string" and not {"enum", "const", "pattern"} & set(schema):
        schema["pattern"] = f"^{PLAIN}{{{schema.get('minLength', 0)},{schema.get('maxLength', LONGEST_STRING)}}}$"
    return schema


def endings(schema: dict) -> Iterator[str]:
    """Yield the ends of strings with a `pattern`, from their first example, with the quotation mark."""
    for part in parts_of(schema):
        yield from endings(part)
    if "pattern" in schema:
        text = schema["examples"][0]
        yield from (f'{text[place:]}"' for place in reversed(range(len(text))) if text[place] == " ")


def longest_ending(schema: dict) -> str:
    """Return a text at least as long as the ending of any answer that is closed as early as possible."""
    if "anyOf" in schema:
        return max(map(longest_ending, schema["anyOf"]), key=len)
    if "enum" in schema or "const" in schema:
        return max(map(json.dumps, schema.get("enum", [schema.get("const")])), key=len)
    if schema["type"] == "object":
        fields = (f"{json.dumps(name)}: {longest_ending(part)}" for name, part in schema["properties"].items())
        return f"{{{', '.join(fields)}}}"
    if schema["type"] == "array":
        items = schema.get("prefixItems") or [schema["items"]] * max(1, schema.get("minItems", 0))
        return f"[{', '.join(map(longest_ending, items))}]"
    if schema["type"] == "string":
        return json.dumps(schema.get("examples", ["x " * schema.get("minLength", 0)])[0])
    return "-00000"


@lru_cache(maxsize=4096)
def _grammar(schema: str) -> str:
    return LLMatcher.grammar_from_json_schema(schema, overrides=FORM)


class JsonOnly(LogitsProcessor):
    """
    Allow in each row of a batch only the tokens that its schema accepts next, and close it before its tokens run out.

    Args:
        vocabulary (`LLTokenizer`): of the model's tokenizer.
        schemas (list of `dict`): one a row, of objects, lists, strings, whole numbers, `enum`, `const` and `anyOf`.
        max_new_tokens (`int`): of one row.

    Raises:
        ValueError: for an unsupported schema, and for fewer tokens than an answer may need.
    """

    def __init__(self, vocabulary: LLTokenizer, schemas: list[dict], max_new_tokens: int):
        self.vocabulary, self.left = vocabulary, max_new_tokens
        self.matchers = [LLMatcher(vocabulary, _grammar(json.dumps(bounded(schema)))) for schema in schemas]
        self.endings = [list(map(vocabulary.tokenize_str, (*dict.fromkeys(endings(s)), *CLOSERS))) for s in schemas]
        self.reserves = [len(vocabulary.tokenize_str(longest_ending(schema))) + SPARE for schema in schemas]
        self.plans: list[list[int]] = [[] for _ in schemas]  # tokens that follow, once a row is closing
        self.begun = False
        for matcher in self.matchers:
            if matcher.is_error():
                raise ValueError(matcher.get_error().splitlines()[0])
        if max(self.reserves) >= max_new_tokens:
            raise ValueError(f"{max_new_tokens} tokens are too few for an answer, which may take {max(self.reserves)}")

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if self.begun:
            for matcher, token in zip(self.matchers, input_ids[:, -1].tolist(), strict=True):
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self.begun = True
        allowed = np.stack([self._allowed(i, scores.shape[1]) for i in range(len(self.matchers))])
        self.left -= 1
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -float("inf"))

    def _allowed(self, row: int, size: int) -> np.ndarray:
        """Return the allowed next tokens of a row, of shape `(size,)`; only the end after a complete text."""
        matcher = self.matchers[row]
        if not matcher.is_stopped() and self.left > self.reserves[row]:
            return _mask(matcher, size)
        allowed = np.zeros(size, dtype=bool)
        allowed[self._closing_token(row)] = True
        return allowed

    def _closing_token(self, row: int) -> int:
        """Return the next token on a short path to the end of an answer; the last one ends the text."""
        matcher = self.matchers[row]
        if matcher.is_stopped() or matcher.is_accepting():
            return self.vocabulary.eos_token
        if not self.plans[row]:
            ways = (matcher.compute_ff_tokens(), *map(list, self.endings[row]))
            shortest = next((way for way in ways if way and matcher.validate_tokens(way) == len(way)), None)
            self.plans[row] = shortest or [int(_mask(matcher, self.vocabulary.vocab_size).argmax())]
        return self.plans[row].pop(0)


def _mask(matcher: LLMatcher, size: int) -> np.ndarray:
    """Return the tokens that a matcher accepts next, as a mask of shape `(size,)`."""
    bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
    return np.pad(bits, (0, max(0, size - len(bits))))[:size].astype(bool)


def generate(model, **options):
    """Generate as transformers does, within the `json_schema` of the `generation_config`, if it has one."""
    config = options.get("generation_config")
    schema = getattr(config, "json_schema", None)
    if schema is not None:
        vocabulary = vocabulary_of(options["tokenizer"])
        only = JsonOnly(vocabulary, [schema] * len(options["input_ids"]), config.max_new_tokens)
        options["logits_processor"] = [*(options.get("logits_processor") or ()), only]
        options["eos_token_id"] = options["pad_token_id"] = vocabulary.eos_token
    return type(model).generate(model, **options)


@lru_cache(maxsize=4)
def vocabulary_of(tokenizer) -> LLTokenizer:
    """Return the vocabulary of a fast tokenizer; without an end token, its padding token ends texts."""
    end = tokenizer.pad_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    return from_tokenizer(tokenizer, n_vocab=len(tokenizer), eos_token=end)
