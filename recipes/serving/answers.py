# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Answer chunks of records with a model folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from modeling_clinragen import ClinRaGenInputError, ClinRaGenPipeline
from modeling_clinragen.handler import EndpointHandler, RequestError
from recipes.models.folder import load_model_folder
from recipes.serving.record_files import Entry


BATCHES_PER_CHUNK = 4  # a chunk is sorted by note length, so that batches hold notes of similar length


def load_handler(model: str, revision: str | None, device: str | None) -> EndpointHandler:
    """Return the handler of a model folder or Hub id, with this installation's code: the folder's code is not run."""
    loaded, processor = load_model_folder(model, revision=revision)
    try:
        pipe = ClinRaGenPipeline(loaded, processor=processor, tokenizer=processor.tokenizer, device=device)
    except (RuntimeError, AssertionError):  # torch raises these for a missing device
        raise ClinRaGenInputError(f"--device: there is no {device}; leave it out or give cpu") from None
    if pipe.device.type == "meta":
        raise ClinRaGenInputError(f"--device: {device} holds no numbers; leave it out or give cpu")
    return EndpointHandler(pipe=pipe)


def chunks(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def answer_chunk(handler: EndpointHandler, chunk: list[Entry], batch_size: int, options: dict) -> list[dict]:
    """Return one answer per entry, in order, with its `id`; it depends on the chunk only, not on earlier ones."""
    answers: list[dict | None] = [None] * len(chunk)
    readable = []
    for i, entry in enumerate(chunk):
        try:
            if entry.error is not None:
                raise RequestError(422, entry.error)
            readable.append((i, handler.read_record(entry.record, f"{entry.place}: record")))
        except RequestError as error:
            answers[i] = {"id": entry.id, **entry.ids, "error": str(error)}
    readable.sort(key=lambda item: len(item[1]["note"]))
    for batch in chunks(readable, batch_size):
        for (i, _), answer in zip(batch, handler.try_answer([record for _, record in batch], options), strict=True):
            if isinstance(answer, Exception):
                answer = {"error": f"{chunk[i].place}: the model failed ({type(answer).__name__})"}
            answers[i] = {"id": chunk[i].id, **chunk[i].ids, **answer}
    return answers
