# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Greedy decoding on a CPU that stops computing the rows of a batch whose text has ended."""

from __future__ import annotations

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from .generation_clinragen import ClinRaGenDiagnosisLogitsProcessor


FINISHED_SHARE = 0.25  # of the rows, from which on those left are copied together
OUTPUTS = ("return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states")


def can_leave_rows(
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    cache: object,
) -> bool:
    """
    Tell if a call of `generate` without beams can go on with some of its rows: the most probable tokens are wanted,
    and no more than they, the cache is one that grows, and whatever else takes part reads each row by itself.
    """
    known = ("transformers.", __package__ + ".")
    return (
        not generation_config.do_sample
        and not any(getattr(generation_config, name) for name in OUTPUTS)
        and isinstance(cache, Cache)
        and not cache.is_compileable
        and all(type(part).__module__.startswith(known) for part in (*logits_processor, *stopping_criteria))
    )


def write_greedily(
    model,
    input_ids: torch.LongTensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    **model_kwargs,
) -> torch.LongTensor:
    """
    Write the most probable tokens, as `_sample` of transformers does, whose arguments these are.

    A row whose text has ended is not computed any more, which with rows of unequal length saves most of the work.

    Returns:
        `torch.LongTensor` of shape `(batch_size, length)`: rows that ended before the longest are padded.
    """
    padding = 0 if generation_config._pad_token_tensor is None else int(generation_config._pad_token_tensor)
    texts: dict[int, torch.LongTensor] = {}  # row of the batch -> its text, where that has ended
    rows, outputs = torch.arange(len(input_ids)), None  # of the batch, those that are still computed
    while True:
        step = {"next_sequence_length": None if outputs is None else 1, "is_first_iteration": outputs is None}
        outputs = model(**model.prepare_inputs_for_generation(input_ids, **step, **model_kwargs), return_dict=True)
        model_kwargs = model._update_model_kwargs_for_generation(
            outputs, model_kwargs, is_encoder_decoder=model.config.is_encoder_decoder
        )
        scores = logits_processor(input_ids, outputs.logits[:, -1].float())
        input_ids = torch.cat([input_ids, scores.argmax(dim=-1, keepdim=True)], dim=-1)
        for row in stopping_criteria(input_ids, None).nonzero().flatten().tolist():
            texts.setdefault(int(rows[row]), input_ids[row])
        left = torch.tensor([i for i, row in enumerate(rows.tolist()) if row not in texts], dtype=torch.long)
        if not len(left):
            return pad_sequence([texts[row] for row in sorted(texts)], batch_first=True, padding_value=padding)
        if len(left) <= (1 - FINISHED_SHARE) * len(rows):
            rows, input_ids = rows[left], input_ids[left]
            model_kwargs = {name: _rows_of(value, left) for name, value in model_kwargs.items()}
            _keep_rows(logits_processor, left)


def _keep_rows(logits_processor: LogitsProcessorList, index: torch.LongTensor) -> None:
    for processor in logits_processor:
        if isinstance(processor, ClinRaGenDiagnosisLogitsProcessor):
            processor.keep_rows(index)


def _rows_of(value: object, index: torch.LongTensor) -> object:
    """Return an argument of the model for some rows of the batch."""
    if isinstance(value, Cache):
        value.batch_select_indices(index)
        return value
    if hasattr(value, "select_rows"):
        return value.select_rows(index)
    return value[index] if isinstance(value, torch.Tensor) and value.dim() else value


__all__ = ["can_leave_rows", "write_greedily"]
